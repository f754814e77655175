"""Decides who has to wait: until `send_at`, or the end of quiet hours or a coalescing window. Pure.

A burst is the pushes under one key, such as a conversation. The first one is sent at once and opens
a window for each of its recipients. Pushes that follow within the window wait for its end and are
combined into one.

    push ── window ──────────────┐ one push, which says how many
             push  push   push ──┘

A push that waits for the end of quiet hours opens a window until then, so that it becomes one, too.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import zip_longest
from typing import Any

from batchpush.events.change import Change
from batchpush.pushes.push import ID_LISTS, Recipients

MAX_ABOUT = 20  # documents that a delivery names besides its own: the newest
# A burst grows with what people write, and Firestore allows 1 MiB per document.
MAX_WINDOWS = 2_000
MAX_ABOUT_BYTES = 400_000
MAX_PART = 800_000  # bytes of ids in one waiting delivery


@dataclass(frozen=True)
class Window:
    """Until when further pushes have to wait, and the delivery that they join, if there is one."""

    until: datetime
    delivery: str | None = None


@dataclass(frozen=True)
class Joined:
    """The documents that joined a delivery while it waits: how many, and the paths of the newest.

    A document that changes and joins again counts once. `by` has the `name_of` who caused each, as
    far as it is known: of too many, those of whoever wrote the most go first. Otherwise somebody
    who writes a lot, and deletes it again, would leave nothing of what others wrote.
    """

    count: int = 0
    newest: Sequence[str] = ()
    by: Sequence[str] = ()

    def with_path(self, path: str, by: str) -> "Joined":
        others = [each for each in self._written if each[0] != path]
        is_new = len(others) == len(self.newest)
        return _joined(self.count + is_new, [*others, (path, by)], MAX_ABOUT)

    def with_newest(self, limit: int) -> "Joined":
        return _joined(self.count, self._written, limit)

    @property
    def _written(self) -> list[tuple[str, str]]:
        """Each path with whoever caused it, as far as that is known."""
        return list(zip_longest(self.newest, self.by[: len(self.newest)], fillvalue=""))

    @property
    def omitted(self) -> int:
        """The number of documents whose paths are not kept."""
        return self.count - len(self.newest)


def _joined(count: int, written: list[tuple[str, str]], limit: int) -> Joined:
    while len(written) > limit:
        ((most, _),) = Counter(by for _, by in written).most_common(1)
        written.remove(next(each for each in written if each[1] == most))
    by = tuple(by for _, by in written)
    return Joined(count, tuple(path for path, _ in written), by if any(by) else ())


@dataclass(frozen=True)
class Burst:
    """The recent pushes under one key.

    `windows` holds the recipients' windows by `name_of`; `about` holds, by delivery, the documents
    that joined it.
    """

    windows: Mapping[str, Window] = field(default_factory=dict)
    about: Mapping[str, Joined] = field(default_factory=dict)

    def open_window(self, name: str, now: datetime) -> Window | None:
        window = self.windows.get(name)
        return window if window and now < window.until else None

    def after(
        self, now: datetime, begun: Mapping[str, Window], about: Mapping[str, str], by: str = ""
    ) -> "Burst":
        """The burst with new windows, and with another document, by somebody, in deliveries."""
        windows = {name: each for name, each in self.windows.items() if now < each.until}
        joined = {
            delivery: self.about.get(delivery, Joined()).with_path(path, by)
            for delivery, path in about.items()
        }
        return Burst({**windows, **begun}, {**self.about, **joined}).bounded()

    def without(self, delivery: str) -> "Burst":
        """The burst when a delivery stops waiting: nothing can join it any more."""
        return Burst(
            {name: each for name, each in self.windows.items() if each.delivery != delivery},
            {name: joined for name, joined in self.about.items() if name != delivery},
        )

    def bounded(self) -> "Burst":
        """The burst cut to fit in one document, however many people write and wait.

        Dropping a window costs its recipient a separate push; a dropped path still counts.
        """
        windows, about = self.windows, self.about
        if len(windows) > MAX_WINDOWS:
            last = sorted(windows, key=lambda name: windows[name].until)[-MAX_WINDOWS:]
            windows = {name: windows[name] for name in last}
        if len(about) > MAX_WINDOWS:
            largest = sorted(about, key=lambda delivery: about[delivery].count)[-MAX_WINDOWS:]
            about = {delivery: about[delivery] for delivery in largest}
        limit = MAX_ABOUT
        while limit and _bytes_of_paths(about) > MAX_ABOUT_BYTES:
            limit //= 2
            about = {delivery: joined.with_newest(limit) for delivery, joined in about.items()}
        return Burst(windows, about)


def _bytes_of_paths(about: Mapping[str, Joined]) -> int:
    """The size of the paths, with the names of those who caused them."""
    return sum(
        len(text.encode()) for joined in about.values() for text in (*joined.newest, *joined.by)
    )


@dataclass(frozen=True)
class StoredBurst:
    """A burst as stored; `version` is None for a new one."""

    id: str
    burst: Burst
    version: Any

    def without(self, delivery: str) -> "StoredBurst":
        return replace(self, burst=self.burst.without(delivery))


def burst_id(change: Change, key: str) -> str:
    """Each function has its own bursts in each database."""
    return hashlib.sha256("\n".join((change.function, change.source, key)).encode()).hexdigest()


@dataclass(frozen=True)
class Deferral:
    """Who is notified now, who later and in which delivery, and the burst's new content.

    Everyone else already waits for another push of the burst, in one of the `joined` deliveries.
    """

    now: Sequence[Recipients]
    later: Mapping[str, "Part"]
    burst: Burst | None = None
    joined: Mapping[str, Sequence[Recipients]] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """Recipients who are notified at the same later time, in a delivery of their own."""

    until: datetime
    recipients: Sequence[Recipients]


def defer(  # noqa: PLR0913 - a push, its delivery and its burst, from which it makes all
    groups: Sequence[Recipients],
    *,
    document: str,
    delivery: str,
    now: datetime,
    claimant: str = "",
    by: str = "",
    burst: Burst | None = None,
    window: timedelta = timedelta(0),
) -> Deferral:
    """Decide which recipients wait, and in which delivery.

    If nobody is notified now, the first part keeps the id of `delivery`; other parts get new ids.
    A delivery may have to wait more than once: each `claimant` derives different ids. `by` is the
    `name_of` whoever caused the push.
    """
    at_once: list[tuple[str, Recipients]] = []
    waits = Waits()
    joined: dict[str, list[Recipients]] = {}
    for name, some, later in _each(groups, now, is_burst=burst is not None):
        opened = burst.open_window(name, now) if burst else None
        if opened and opened.delivery:
            joined.setdefault(opened.delivery, []).append(some)
        elif until := opened.until if opened else later:
            waits.add(name, some, until)
        else:
            at_once.append((name, some))
    ids = waits.ids(delivery, claimant, begins=not at_once)
    if burst:
        begun = {name: Window(now + window) for name, _ in at_once} if window else {}
        about = dict.fromkeys(joined, document)
        burst = burst.after(now, begun | waits.windows(ids), about, by)
    return Deferral(
        now=[some for _, some in at_once],
        later={ids[part]: Part(part[0], some) for part, some in waits.parts.items()},
        burst=burst,
        joined=joined,
    )


def _each(
    groups: Sequence[Recipients], now: datetime, is_burst: bool
) -> Iterator[tuple[str, Recipients, datetime | None]]:
    """Recipients who may wait separately: name in the burst, ids, and until when.

    Those who neither wait nor open a window stay in one group without a name.
    """
    for group in groups:
        until = group.waits_until(now)
        for name, some in units(group) if is_burst or until else [("", group)]:
            yield name, some, until


@dataclass
class Waits:
    """The waiting recipients in parts: each has one end and about `MAX_PART` bytes of ids."""

    parts: dict[tuple[datetime, int], list[Recipients]] = field(default_factory=dict)
    part_of: dict[str, tuple[datetime, int]] = field(default_factory=dict)
    sizes: dict[datetime, int] = field(default_factory=dict)

    def add(self, name: str, some: Recipients, until: datetime) -> None:
        self.sizes[until] = self.sizes.get(until, 0) + _size(some)
        part = until, self.sizes[until] // MAX_PART
        self.part_of[name] = part
        self.parts.setdefault(part, []).append(some)

    def ids(self, delivery: str, claimant: str, begins: bool) -> dict[tuple[datetime, int], str]:
        """The id of each part; if `begins`, the first part keeps the delivery's own id."""
        return {
            part: delivery if number == 0 and begins else _part_id(delivery, claimant, part)
            for number, part in enumerate(sorted(self.parts))
        }

    def windows(self, ids: Mapping[tuple[datetime, int], str]) -> dict[str, Window]:
        """A window for each waiting recipient, until the end of the wait."""
        return {name: Window(part[0], ids[part]) for name, part in self.part_of.items()}


def units(group: Recipients) -> Iterator[tuple[str, Recipients]]:
    """Splits a group into recipients who are notified separately, with their names in a burst.

    A person is one unit, however many ids they have; so is each id without a known person. A
    person's name is that of their user id as a custom id.
    """
    if group.person is not None:
        yield name_of("custom_ids", group.person), group
        return
    for name in ID_LISTS:
        for identifier in getattr(group, name):
            yield name_of(name, identifier), group.with_ids({name: (identifier,)})


def ids_of(groups: Sequence[Recipients]) -> Iterator[str]:
    """The user ids of the recipients, or the ids at Batch of people who are not known users."""
    for group in groups:
        yield from (group.person,) if group.person is not None else group.ids


def waiting_lists(groups: Sequence[Recipients]) -> Mapping[str, Sequence[str]]:
    """The recipients of a waiting delivery, each once, and people by user id.

    A person's other ids may change during the wait.
    """
    lists: dict[str, dict[str, None]] = {name: {} for name in ID_LISTS}
    for group in groups:
        for name in ID_LISTS:
            lists[name].update(dict.fromkeys(_waits_as(group, name)))
    return {name: list(listed) for name, listed in lists.items() if listed}


def _waits_as(group: Recipients, name: str) -> Sequence[str]:
    if group.person is None:
        listed: Sequence[str] = getattr(group, name)
        return listed
    return (group.person,) if name == "custom_ids" else ()


def _size(group: Recipients) -> int:
    """The bytes that a record needs for a waiting group."""
    return sum(len(each.encode()) + 4 for name in ID_LISTS for each in _waits_as(group, name))


def name_of(id_list: str, identifier: str) -> str:
    """A recipient's name in a burst: short, and not readable as the id."""
    return hashlib.sha256(f"{id_list} {identifier}".encode()).hexdigest()[:20]


def _part_id(delivery: str, claimant: str, part: tuple[datetime, int]) -> str:
    until, number = part
    text = f"{delivery}\n{claimant}\n{until.isoformat()}\n{number}"
    return hashlib.sha256(text.encode()).hexdigest()


def is_anyone_quiet(groups: Sequence[Recipients], now: datetime) -> bool:
    """Whether any of the recipients has quiet hours now."""
    return any(group.quiet and group.quiet.end_after(now) for group in groups)
