"""Who has to wait: for the end of quiet hours, or of a burst. Pure.

A burst is what is pushed under one key, such as a conversation: the first push of it goes at
once, and opens a window for each of its recipients. What comes before the window ends waits for
its end, together, and is told then in one push.

    push ── window ──────────────┐ one push, which says how many
             push  push   push ──┘
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from batchpush.change import Change
from batchpush.push import ID_LISTS, Recipients


@dataclass(frozen=True)
class Window:
    """Until when more of the same has to wait, and the delivery in which it does already."""

    until: datetime
    delivery: str | None = None


@dataclass(frozen=True)
class Burst:
    """What was pushed of late under one key.

    `windows` are those of its recipients, by `name_of` them; `about` are the paths of the
    documents that wait in a delivery, beside the one that it is of.
    """

    windows: Mapping[str, Window] = field(default_factory=dict)
    about: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def open_window(self, name: str, now: datetime) -> Window | None:
        window = self.windows.get(name)
        return window if window and now < window.until else None

    def after(
        self, now: datetime, begun: Mapping[str, Window], about: Mapping[str, str]
    ) -> "Burst":
        """The burst with windows that open now, and a document more in some deliveries."""
        windows = {name: each for name, each in self.windows.items() if now < each.until}
        paths = {
            delivery: (*self.about.get(delivery, ()), path) for delivery, path in about.items()
        }
        return Burst({**windows, **begun}, {**self.about, **paths})

    def without(self, delivery: str) -> "Burst":
        """The burst once a delivery waits no more: what comes now is not told in it."""
        return Burst(
            {name: each for name, each in self.windows.items() if each.delivery != delivery},
            {name: paths for name, paths in self.about.items() if name != delivery},
        )


@dataclass(frozen=True)
class StoredBurst:
    """A burst and what it was read as: `version` is None where it is a new one."""

    id: str
    burst: Burst
    version: Any

    def without(self, delivery: str) -> "StoredBurst":
        return replace(self, burst=self.burst.without(delivery))


def burst_id(change: Change, key: str) -> str:
    """Each function of each database has its own bursts."""
    return hashlib.sha256("\n".join((change.function, change.source, key)).encode()).hexdigest()


@dataclass(frozen=True)
class Arrangement:
    """Who is told now, who later in which delivery, and what becomes of the burst.

    Who is in neither is told in another push of the burst, for which they wait already.
    """

    now: Sequence[Recipients]
    later: Mapping[str, "Part"]
    burst: Burst | None = None


@dataclass(frozen=True)
class Part:
    """Those who are told at the same later time, in a delivery of their own."""

    until: datetime
    recipients: Sequence[Recipients]


def arrange(
    groups: Sequence[Recipients],
    *,
    document: str,
    delivery: str,
    now: datetime,
    burst: Burst | None = None,
    window: timedelta = timedelta(0),
) -> Arrangement:
    """Who of the recipients waits, and in which delivery.

    The first part of a push is the `delivery` itself; the parts that wait longer get ids of their
    own, the same each time that the same push is arranged.
    """
    at_once: list[Recipients] = []
    waiting: dict[datetime, list[Recipients]] = {}
    waits: dict[str, datetime] = {}
    counted: set[str] = set()
    told: list[str] = []
    for group in groups:
        quiet_until = group.quiet.end_after(now) if group.quiet else None
        for name, some in _each(group) if burst else [("", group)]:
            opened = burst.open_window(name, now) if burst else None
            if opened and opened.delivery:
                counted.add(opened.delivery)
            elif until := opened.until if opened else quiet_until:
                waits[name] = until
                waiting.setdefault(until, []).append(some)
            else:
                told.append(name)
                at_once.append(some)

    ids = {
        until: delivery if number == 0 and not at_once else _part_id(delivery, until)
        for number, until in enumerate(sorted(waiting))
    }
    if burst:
        begun = {name: Window(now + window) for name in told}
        begun |= {name: Window(until, ids[until]) for name, until in waits.items()}
        burst = burst.after(now, begun, dict.fromkeys(counted, document))
    return Arrangement(
        now=at_once,
        later={ids[until]: Part(until, some) for until, some in waiting.items()},
        burst=burst,
    )


def _each(group: Recipients) -> Iterator[tuple[str, Recipients]]:
    """Every id of a group by itself."""
    for name in ID_LISTS:
        for identifier in getattr(group, name):
            yield name_of(name, identifier), group.with_ids({name: (identifier,)})


def name_of(id_list: str, identifier: str) -> str:
    """A recipient's name in a burst: short, and not to be read as the id."""
    return hashlib.sha256(f"{id_list} {identifier}".encode()).hexdigest()[:20]


def _part_id(delivery: str, until: datetime) -> str:
    return hashlib.sha256(f"{delivery}\n{until.isoformat()}".encode()).hexdigest()
