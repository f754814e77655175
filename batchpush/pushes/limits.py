"""Limits how many pushes one person may cause; Firestore keeps the count.

The commit that claims a push also counts it, which costs one more document write and no round
trip. Its response says whether the push exceeds a limit, before anything is sent.

That is too late for people who get the push later: other pushes join a deferred one as soon as it
is claimed. Their counters are read first, and the claim fails if one has changed since.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from batchpush.documents import EPOCH
from batchpush.google.firestore import Version

LIMITS = "batch_limits"  # the Firestore collection of the counters
COUNT = "calls"  # the field of a counter's document with the total
EACH = "to"  # the map field with a count for each recipient
MAX_EACH = 100  # recipients to count one by one; a larger number counts as one audience
MAX_KNOWN = 10_000  # counters that a process remembers


@dataclass(frozen=True)
class Limit:
    """At most `max_count` in a window of `seconds`, among those with the same `key`.

    With `each`, the limit applies per recipient, and only those over it are left out. Windows begin
    at fixed times, so up to twice as many can come close together around a window's end.
    """

    key: tuple[str, ...]
    max_count: int
    seconds: int = 60
    each: bool = False

    def window(self, now: datetime) -> tuple[str, datetime]:
        """The id of the window's counter, and when the window ends."""
        length = timedelta(seconds=self.seconds)
        number = (now - EPOCH) // length
        name = "\n".join((*self.key, str(self.seconds), str(number)))
        return hashlib.sha256(name.encode()).hexdigest(), EPOCH + (number + 1) * length


@dataclass(frozen=True)
class Counter:
    """A document that counts pushes for one limit, or for two limits with the same window.

    `names` holds the `name_of` each recipient to count, or one name for an audience as a whole. One
    that `is_read` counts only in the version that was read, or only where there was none.
    """

    id: str
    end: datetime
    seconds: int
    max_all: int | None = None
    max_each: int | None = None
    names: Sequence[str] = ()
    is_audience: bool = False
    is_read: bool = False
    version: Version | None = None

    @property
    def path(self) -> str:
        return f"{LIMITS}/{self.id}"

    @property
    def fields(self) -> list[str]:
        """The fields to increment: the total, then each recipient."""
        return [COUNT, *(f"{EACH}.n{name}" for name in self.names)]

    def after(self, stored: Mapping[str, Any]) -> list[int]:
        """The new values of `fields`, given those of the stored document."""
        to_each = stored.get(EACH, {})
        return [stored.get(COUNT, 0) + 1, *(to_each.get(f"n{name}", 0) + 1 for name in self.names)]

    def without(self, names: Collection[str]) -> "Counter":
        """The counter of the other recipients."""
        return replace(self, names=[name for name in self.names if name not in names])

    def over(self, counted: Sequence[int]) -> "Over":
        """What exceeds the limits, given the new values of `fields`."""
        in_all, *to_each = counted
        return self.over_of(
            self.max_all is not None and in_all > self.max_all,
            {
                name
                for name, number in zip(self.names, to_each, strict=True)
                if self.max_each is not None and number > self.max_each
            },
        )

    def over_of(self, is_all: bool, names: Collection[str]) -> "Over":
        """The result if the total, or these recipients, exceed the limit."""
        if is_all:
            return Over(f"{OVER}{self.max_all} in {self.seconds} s", is_all=True)
        if not names:
            return Over()
        problem = f"{OVER}{self.max_each} to one recipient in {self.seconds} s"
        return Over(problem, self.is_audience, frozenset(names))


OVER = "over the limit of "  # begins the reason of a push above a limit


@dataclass(frozen=True)
class Over:
    """What exceeds a limit: a whole push, or some of its recipients by name."""

    problem: str | None = None
    is_all: bool = False
    names: frozenset[str] = frozenset()


def counters(
    limits: Iterable[Limit], scope: Sequence[str], names: Collection[str], now: datetime
) -> list[Counter]:
    """The counters, in the current windows, of a push to the recipients of these names.

    `scope` is what is counted together: the function and the database, whoever calls.
    """
    found: dict[str, Counter] = {}
    for limit in limits:
        counter_id, end = replace(limit, key=(*scope, *limit.key)).window(now)
        is_audience = len(names) > MAX_EACH
        new = Counter(counter_id, end, limit.seconds, is_audience=is_audience)
        counter = found.get(counter_id, new)
        found[counter_id] = (
            replace(counter, max_each=limit.max_count, names=_counted(names))
            if limit.each
            else replace(counter, max_all=limit.max_count)
        )
    return list(found.values())


def _counted(names: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(names)) if len(names) <= MAX_EACH else (_audience(names),)


def _audience(names: Collection[str]) -> str:
    """One name for many recipients, the same for the same recipients."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:20]


@dataclass
class ReachedLimits:
    """Remembers which counters have reached a limit, so that a flood causes no more writes."""

    known: set[str] = field(default_factory=set)

    def note(self, counter: Counter, over: Over) -> bool:
        """Remember what exceeds a limit; returns whether any of it is new."""
        keys = {counter.id} if over.is_all else set()
        keys |= {f"{counter.id} {name}" for name in over.names}
        is_news = not keys <= self.known
        if len(self.known) + len(keys) > MAX_KNOWN:
            self.known.clear()
        self.known |= keys
        return is_news

    def over(self, counter: Counter) -> Over:
        """What is already known to exceed a limit, before counting again."""
        names = {name for name in counter.names if f"{counter.id} {name}" in self.known}
        return counter.over_of(counter.id in self.known, names)
