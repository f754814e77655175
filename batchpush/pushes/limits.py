"""How much one person may have pushed to others, counted in Firestore.

A push is counted in the commit that claims it, which costs a write of one document more and no
round trip. The answer says whether it was one too many, before anything is sent.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from batchpush.documents import EPOCH

LIMITS = "batch_limits"  # the Firestore collection of the counters
COUNT = "calls"  # the field that counts all, in a counter's document
EACH = "to"  # the field, a map, that counts each recipient
MAX_EACH = 100  # recipients who are counted one by one; more of them are counted as one audience
MAX_KNOWN = 10_000  # counters that a process remembers


@dataclass(frozen=True)
class Limit:
    """At most so many in a window of so many seconds, among those with the same `key`.

    With `each`, so many to the same recipient: who had them is left out. Windows begin at fixed
    times: at the turn of one, twice as many can come close together.
    """

    key: tuple[str, ...]
    max_count: int
    seconds: int = 60
    each: bool = False

    def window(self, now: datetime) -> tuple[str, datetime]:
        """The id of the counter, a new one for each window, and when the window ends."""
        number = int((now - EPOCH).total_seconds() // self.seconds)
        name = "\n".join((*self.key, str(self.seconds), str(number)))
        end = EPOCH + timedelta(seconds=(number + 1) * self.seconds)
        return hashlib.sha256(name.encode()).hexdigest(), end


@dataclass(frozen=True)
class Counter:
    """A document that counts a push for one limit, or for two in the same window.

    `names` are those of the recipients to count, by `name_of` them; or there is one, of all of
    them as an audience.
    """

    id: str
    end: datetime
    seconds: int
    max_all: int | None = None
    max_each: int | None = None
    names: Sequence[str] = ()
    is_audience: bool = False

    @property
    def path(self) -> str:
        return f"{LIMITS}/{self.id}"

    @property
    def fields(self) -> list[str]:
        """What is counted: all, then every recipient."""
        return [COUNT, *(f"{EACH}.n{name}" for name in self.names)]

    def over(self, counted: Sequence[int]) -> "Over":
        """What is over the limits, once these are the numbers of `fields`."""
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
        """That all is over, or these recipients are."""
        if is_all:
            return Over(f"{OVER}{self.max_all} in {self.seconds} s", is_all=True)
        if not names:
            return Over()
        problem = f"{OVER}{self.max_each} to one recipient in {self.seconds} s"
        return Over(problem, self.is_audience, frozenset(names))


OVER = "over the limit of "  # how the reason of a push begins that was one too many


@dataclass(frozen=True)
class Over:
    """What was one too many: all of a push, or some of its recipients by name."""

    problem: str | None = None
    is_all: bool = False
    names: frozenset[str] = frozenset()


def counters(
    limits: Iterable[Limit], scope: Sequence[str], names: Collection[str], now: datetime
) -> list[Counter]:
    """The documents that count a push to the recipients of these names, each limit in its window.

    `scope` says what is counted together: the function and the database.
    """
    found: dict[str, Counter] = {}
    for limit in limits:
        scoped = Limit((*scope, *limit.key), limit.max_count, limit.seconds)
        counter_id, end = scoped.window(now)
        before = found.get(counter_id, Counter(counter_id, end, limit.seconds))
        found[counter_id] = Counter(
            counter_id,
            end,
            limit.seconds,
            max_all=before.max_all if limit.each else limit.max_count,
            max_each=limit.max_count if limit.each else before.max_each,
            names=_counted(names) if limit.each else before.names,
            is_audience=len(names) > MAX_EACH,
        )
    return list(found.values())


def _counted(names: Collection[str]) -> tuple[str, ...]:
    return tuple(sorted(names)) if len(names) <= MAX_EACH else (_audience(names),)


def _audience(names: Collection[str]) -> str:
    """One name for many recipients; the same for the same ones."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:20]


@dataclass
class Known:
    """The counters that a process knows to be over, so that a flood costs no more writes."""

    _over: dict[str, datetime] = field(default_factory=dict)

    def note(self, counter: Counter, over: Over) -> bool:
        """Remember what is over; whether any of it is news."""
        keys = {counter.id} if over.is_all else set()
        keys |= {f"{counter.id} {name}" for name in over.names}
        is_news = not keys <= self._over.keys()
        if len(self._over) + len(keys) > MAX_KNOWN:
            self._over.clear()
        self._over.update(dict.fromkeys(keys, counter.end))
        return is_news

    def over(self, counter: Counter) -> Over:
        """What is known to be over before it is counted once more."""
        names = {name for name in counter.names if f"{counter.id} {name}" in self._over}
        return counter.over_of(counter.id in self._over, names)
