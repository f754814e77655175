"""What a delivery claims. Pure.

A push becomes one record with the calls of those who are told now, and a record for each part of
its recipients that has to wait.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from batchpush.errors import InvalidPush
from batchpush.ledger import INLINE
from batchpush.push import ID_LISTS, MAX_RECIPIENTS, Call, Push, Recipients
from batchpush.record import Record, State
from batchpush.waiting import Part, StoredBurst, arrange


@dataclass(frozen=True)
class Plan:
    """A record to claim, and what is written with it.

    `large` is the push whose calls one record cannot hold; `later` are records that wait; `burst`
    is the burst as it is then.
    """

    record: Record
    large: Push | None = None
    later: Sequence[Record] = ()
    burst: StoredBurst | None = None


def plan(
    record: Record,
    push: Push,
    *,
    since: datetime,
    now: datetime,
    lease_until: datetime,
    apps: Sequence[str],
    burst: StoredBurst | None = None,
    window: timedelta = timedelta(0),
    about: Sequence[str] = (),
) -> Plan:
    """What to claim for a push; raises `InvalidPush`.

    It is fresh for so long `since` its event, or since its wait was over. `about` are the documents
    that it is about, beside the record's own.
    """
    push.check()
    record = replace(
        record,
        group_id=push.group_id,
        ignored=tuple(push.ignored),
        best_before=since + push.best_before,
        burst=burst.id if burst else None,
        lease_until=lease_until,
    )
    if now >= record.best_before:
        return Plan(_claimed(record, push, apps)[0].too_old(now))
    arranged = arrange(
        push.groups,
        document=record.document,
        delivery=record.id,
        now=now,
        burst=burst.burst if burst else None,
        window=window,
    )
    later = {
        delivery: _waiting(replace(record, id=delivery, about=tuple(about)), part, push.best_before)
        for delivery, part in arranged.later.items()
    }
    if later:
        waits = tuple((delivery, part.until) for delivery, part in arranged.later.items())
        record = replace(record, later=waits)
    large = None
    if arranged.now:
        at_once = replace(push, recipients=arranged.now) if later or burst else push
        record, large = _claimed(record, at_once, apps)
    elif first := later.pop(record.id, None):
        record = replace(first, report_to=record.report_to, later=record.later)
    else:
        record = record.ended(State.OBSOLETE, "told in another push of its burst")
    if burst and arranged.burst:
        burst = replace(burst, burst=arranged.burst)
    return Plan(record, large, tuple(later.values()), burst)


def _claimed(record: Record, push: Push, apps: Sequence[str]) -> tuple[Record, Push | None]:
    """The record with the calls of the push, or without them and the push that is too large."""
    calls = calls_of_one_record(push, apps)
    return (record, push) if calls is None else (record.with_calls(calls), None)


def calls_of_one_record(push: Push, apps: Sequence[str]) -> list[Call] | None:
    """The calls of a push; None when they are too many for one record."""
    if push.size > MAX_RECIPIENTS:
        next(push.calls(apps))  # raises what is wrong with it while that can be told
        return None
    calls = list(push.calls(apps))
    return calls if sum(map(len, {call.body for call in calls})) <= INLINE else None


def _waiting(record: Record, part: Part, fresh_for: timedelta) -> Record:
    waiting = record.waiting(part.until, _lists(part.recipients), fresh_for)
    if len(waiting.bodies[0].encode()) > INLINE:
        raise InvalidPush("recipients", "are too many who have quiet hours at the same time")
    return replace(waiting, report_to=None)


def _lists(groups: Sequence[Recipients]) -> Mapping[str, Sequence[str]]:
    """All ids of the groups, each once."""
    ids = {
        name: list(dict.fromkeys(each for group in groups for each in getattr(group, name)))
        for name in ID_LISTS
    }
    return {name: listed for name, listed in ids.items() if listed}
