"""Decides what a delivery claims. Pure.

A push becomes one record with the calls to send now, and one record for each part of its
recipients that has to wait.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from batchpush.delivery.ledger import INLINE
from batchpush.delivery.record import DeliveryState, Record
from batchpush.delivery.waiting import (
    MAX_ABOUT,
    Deferral,
    Part,
    StoredBurst,
    defer,
    units,
    waiting_lists,
)
from batchpush.pushes.limits import Counter, Over
from batchpush.pushes.push import MAX_RECIPIENTS, Call, Push

CALL_BYTES = 100  # of a call in a record, without its app and problem
LATER_BYTES = 80  # of the id and the time of a waiting record


@dataclass(frozen=True)
class Plan:
    """A record to claim, and what the same commit writes.

    `push` is what to send now. `later` are the waiting records, `burst` is the burst's new content,
    and `counters` count the push.
    """

    record: Record
    push: Push | None = None
    is_large: bool = False
    later: Sequence[Record] = ()
    burst: StoredBurst | None = None
    counters: Sequence[Counter] = ()

    @property
    def large(self) -> Push | None:
        """The push if its calls do not fit in one record."""
        return self.push if self.is_large else None

    def limited(self, overs: Sequence[Over], apps: Sequence[str]) -> "Plan":
        """The plan without those over a limit, among the recipients to notify now.

        Waiting recipients stay: however many pushes they get, they are notified once.
        """
        problem = next((over.problem for over in overs if over.is_all), None)
        names = frozenset[str]().union(*(over.names for over in overs))
        if self.push is None or not (problem or (names and not self.is_large)):
            return self
        if not problem and (push := _to_others(self.push, names)):
            record, is_large = _claimed(self.record, push, apps)
            return replace(self, record=record, push=push, is_large=is_large)
        problem = problem or next(over.problem for over in overs if over.problem)
        record = self.record.ended(DeliveryState.REFUSED, problem)
        record = record.evolve(calls=(), bodies=(), chunks=())
        return replace(self, record=record, push=None, is_large=False)


def _to_others(push: Push, names: Collection[str]) -> Push | None:
    """The push without the recipients of these names; None if nobody is left."""
    groups = [some for group in push.groups for name, some in units(group) if name not in names]
    return replace(push, recipients=groups) if groups else None


def names_of(push: Push) -> set[str]:
    """The names of all recipients."""
    return {name for group in push.groups for name, _ in units(group)}


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a plan depends on besides the push.

    The freshness of a push counts from `since`: its event, or the end of its wait. `apps` are those
    of `BATCH_APPS`. `about` are the documents behind the push besides the record's own, and
    `omitted` counts those not listed. Without a `burst`, nothing is combined; `window` is how long
    each push of a burst delays the next one.
    """

    since: datetime
    now: datetime
    lease_until: datetime
    apps: Sequence[str]
    about: Sequence[str] = ()
    omitted: int = 0
    burst: StoredBurst | None = None
    window: timedelta = timedelta(0)


def plan(record: Record, push: Push, context: Context) -> Plan:
    """What to claim for a checked push; raises `InvalidPush` for problems found in its calls."""
    burst = context.burst
    record = record.evolve(
        group_id=push.group_id,
        ignored=tuple(push.ignored),
        best_before=context.since + push.fresh_for,
        burst=burst.id if burst else None,
        lease_until=context.lease_until,
        sender=push.sender or record.sender,
    )
    if context.now >= record.best_before:
        return Plan(_claimed(record, push, context.apps)[0].too_old(context.now))
    deferral = defer(
        push.groups,
        document=record.document,
        delivery=record.id,
        claimant=record.owner,
        now=context.now,
        burst=burst.burst if burst else None,
        window=context.window,
    )
    later = _later(record, push, deferral, context)
    if later:
        waits = tuple((delivery, part.until) for delivery, part in deferral.later.items())
        record = record.evolve(later=waits)
    at_once, is_large = None, False
    if deferral.now:
        at_once = replace(push, recipients=deferral.now) if later or burst else push
        record, is_large = _claimed(record, at_once, context.apps)
    elif first := later.pop(record.id, None):
        record = first.evolve(report_to=record.report_to, later=record.later)
    else:
        told_in = ", ".join(sorted(deferral.joined))
        record = record.ended(
            DeliveryState.OBSOLETE, f"told in another push of its burst: {told_in}"
        )
    if burst and deferral.burst:
        burst = replace(burst, burst=deferral.burst)
    return Plan(record, at_once, is_large, tuple(later.values()), burst)


def _later(record: Record, push: Push, deferral: Deferral, context: Context) -> dict[str, Record]:
    """The waiting records by id; the record itself may be one of them."""
    kept = tuple(context.about[-MAX_ABOUT:])
    omitted = context.omitted + len(context.about) - len(kept)
    waiting = record.evolve(about=kept, omitted=omitted)
    return {
        delivery: _waiting(waiting.evolve(id=delivery), part, push.fresh_for)
        for delivery, part in deferral.later.items()
    }


def _claimed(record: Record, push: Push, apps: Sequence[str]) -> tuple[Record, bool]:
    """The record with the push's calls, and False; without them, and True, if they do not fit."""
    room = INLINE - LATER_BYTES * len(record.later) - _bytes(*record.about)
    calls = calls_of_one_record(push, apps, room)
    return (record, True) if calls is None else (record.with_calls(calls), False)


def calls_of_one_record(push: Push, apps: Sequence[str], room: int = INLINE) -> list[Call] | None:
    """The calls of a push; None if they do not fit in one record."""
    if push.size > MAX_RECIPIENTS:
        next(push.calls(apps))  # raises an error of the push now, while it can be reported
        return None
    calls = list(push.calls(apps))
    size = sum(map(len, {call.body for call in calls}))
    size += sum(CALL_BYTES + len(call.app) for call in calls)
    return calls if size <= room else None


def _bytes(*texts: str) -> int:
    return sum(len(text.encode()) for text in texts)


def _waiting(record: Record, part: Part, fresh_for: timedelta) -> Record:
    waiting = record.waiting(part.until, waiting_lists(part.recipients), fresh_for)
    return waiting.evolve(report_to=None)
