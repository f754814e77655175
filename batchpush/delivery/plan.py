"""Decides what a delivery claims. Pure.

A push becomes one record with the calls to send now, and one record for each part of its
recipients that has to wait.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import chain

from batchpush.delivery.digests import Item, items_of
from batchpush.delivery.history import Notification, notifications
from batchpush.delivery.ledger import INLINE
from batchpush.delivery.record import DeliveryState, Record
from batchpush.delivery.waiting import (
    MAX_ABOUT,
    Deferral,
    Part,
    StoredBurst,
    defer,
    ids_of,
    name_of,
    units,
    waiting_lists,
)
from batchpush.environment import CEP
from batchpush.errors import InvalidPush
from batchpush.google.firestore import Firestore
from batchpush.google.protocol.firestore_pb2 import Write
from batchpush.pushes.event import Event
from batchpush.pushes.limits import Counter, Over
from batchpush.pushes.push import MAX_AHEAD, Apps, Audience, Call, NoPush, Push, Recipients

CALL_BYTES = 100  # of a call in a record, without its app and problem
MAX_CONCERNED = 1_000  # people by whom a record can be found; nobody finds one that has more
OVER_LIMIT = "over a limit"
NO_CUSTOM_ID = "without a custom id, by which alone CEP knows people"
LATER_BYTES = 80  # of the id and the time of a waiting record


@dataclass(frozen=True)
class Plan:
    """A record to claim, and what the same commit writes.

    `push` is what to send now. `later` are the waiting records, `burst` is the burst's new content,
    `counters` count the push, `digests` are the items of people who get a digest, and `history` has
    the entries for inboxes. `told_later` are those whom limits count though they are not told now;
    `reached` has what was over a limit when counters were read.
    """

    record: Record
    push: Push | None = None
    is_large: bool = False
    later: Sequence[Record] = ()
    burst: StoredBurst | None = None
    counters: Sequence[Counter] = ()
    digests: Sequence[Item] = ()
    history: Sequence[Notification] = ()
    told_later: Sequence[Recipients] = ()
    reached: Sequence[tuple[Counter, Over]] = ()

    @property
    def is_for_later(self) -> bool:
        """Whether anybody gets the push later."""
        return bool(self.told_later) or self.record.state is DeliveryState.WAITING

    def beside(self, firestore: Firestore) -> list[Write]:
        """What else the claim writes."""
        if not self.digests and not self.history:
            return []
        items = [each.put(firestore) for each in self.digests]
        return items + [each.put(firestore) for each in self.history]

    @property
    def large(self) -> Push | None:
        """The push if its calls do not fit in one record."""
        return self.push if self.is_large else None

    def limited(self, overs: Sequence[Over], apps: Apps) -> "Plan":
        """The plan without those over a limit, among the recipients to notify now.

        Those whose push joins another one stay.
        """
        is_all = any(over.is_all for over in overs)
        names = _names_over(overs)
        if self.push is None or not (is_all or (names and not self.is_large)):
            return self
        over, others = _split(self.push, names)
        if not is_all and others:
            push = replace(self.push, recipients=others)
            record = self.record.with_calls(list(push.calls(apps)))
            record = record.leaving_out({OVER_LIMIT: ids_of(over)})
            history = self._history_without(names)
            return replace(self, record=record, push=push, history=history)
        record = self.record.ended(DeliveryState.REFUSED, _problem(overs))
        record = record.evolve(calls=(), bodies=(), chunks=())
        history = self._history_without(names_of(self.push))
        return replace(self, record=record, push=None, history=history)

    def too_old(self, now: datetime) -> "Plan":
        """The plan if it is too late to notify anybody now. People who wait still get the push.

        Of an audience, it is the chunks that expire.
        """
        if self.push is None or isinstance(self.push.recipients, Audience):
            return self
        record = self.record.too_old(now).evolve(later=self.record.later)
        history = self._history_without(names_of(self.push))
        return replace(self, record=record, push=None, history=history)

    def _history_without(self, names: Collection[str]) -> Sequence[Notification]:
        return [each for each in self.history if each.name not in names]


def within(push: Push, overs: Sequence[Over]) -> Push | None:
    """The push, leaving out those over a limit; None if that is everybody."""
    if any(over.is_all for over in overs):
        return None
    names = _names_over(overs)
    if not names:
        return push
    over, others = _split(push, names)
    left_out = {**push.left_out, OVER_LIMIT: list(ids_of(over))}
    return replace(push, recipients=others, left_out=left_out) if others else None


def _problem(overs: Sequence[Over]) -> str:
    """Why a push is refused: the limit of all, or that of each."""
    first = min((over for over in overs if over.problem), key=lambda over: not over.is_all)
    assert first.problem
    return first.problem


def _names_over(overs: Sequence[Over]) -> frozenset[str]:
    return frozenset[str]().union(*(over.names for over in overs))


def _split(push: Push, names: Collection[str]) -> tuple[list[Recipients], list[Recipients]]:
    """The recipients of these names, and the others."""
    everybody = [unit for group in push.groups for unit in units(group)]
    return (
        [some for name, some in everybody if name in names],
        [some for name, some in everybody if name not in names],
    )


def names_of(push: Push) -> set[str]:
    """The names of all recipients."""
    return names_in(push.groups)


def names_in(groups: Iterable[Recipients]) -> set[str]:
    return {name for group in groups for name, _ in units(group)}


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a plan depends on besides the push.

    `apps` are those of `BATCH_APPS`. `about` are the documents behind the push besides the record's
    own, and `omitted` counts those not listed. Without a `burst`, nothing is combined; `window` is
    how long each push of a burst delays the next one. Until the day `people_until`, records can be
    found by the people whom they concern. Entries of a history are kept for the time
    `history_for`; without it, there are none.
    """

    now: datetime
    lease_until: datetime
    apps: Apps
    about: Sequence[str] = ()
    omitted: int = 0
    burst: StoredBurst | None = None
    window: timedelta = timedelta(0)
    people_until: str | None = None
    history_for: timedelta | None = None


def plan(record: Record, push: Push, context: Context) -> Plan:
    """What to claim for a checked push; raises `InvalidPush` for problems found in its calls."""
    record, push = _begun(record, push, context)
    is_too_old = context.now >= record.best_before
    if is_too_old:  # nobody is notified now, so nobody has to wait for the next push of a burst
        context = replace(context, window=timedelta(0))
    groups = push.groups
    _check_times(push.send_at, groups, context.now)
    others = [group for group in groups if group.digest is None]
    if record.waited_until or len(others) == len(groups):
        planned = _planned(record, push, context)
    else:
        planned = _with_digests(record, push, others, context)
    if context.history_for is not None:
        history = notifications(record, push, context.now, context.history_for)
        planned = replace(planned, history=history)
    return planned.too_old(context.now) if is_too_old else planned


def _check_times(send_at: datetime | None, groups: Iterable[Recipients], now: datetime) -> None:
    times = [send_at, *(group.send_at for group in groups)]
    if any(at and at > now + MAX_AHEAD for at in times):
        raise InvalidPush("send_at", f"must be at most {MAX_AHEAD.days} days ahead")


def plan_refused(record: Record, push: Push, overs: Sequence[Over], context: Context) -> Plan:
    """What to claim for a push that is over these limits."""
    record, push = _begun(record, push, context)
    record = _concerning(record, push.groups, context)
    return Plan(record.ended(DeliveryState.REFUSED, _problem(overs)))


def plan_within(
    planned: Plan,
    record: Record,
    push: Push,
    context: Context,
    read: Sequence[tuple[Counter, Over]],
) -> Plan:
    """The plan without those over the limits of counters that were read, where some wait.

    The claim's response would come too late: a deferred push is sent by a task of its own, and
    others join it.
    """
    overs = [over for _, over in read]
    rest = within(push, overs)
    if rest is None:
        return replace(plan_refused(record, push, overs, context), reached=read)
    limited = planned if rest is push else plan(record, rest, context)
    names = _names_over(overs)
    counted = [counter.without(names) for counter, _ in read]
    return replace(limited, counters=counted, reached=read)


def _begun(record: Record, push: Push, context: Context) -> tuple[Record, Push]:
    """The record with what it says of any push, and the push to those whom its apps know."""
    burst = context.burst
    record = record.evolve(
        group_id=push.group_id,
        ignored=tuple(push.ignored),
        best_before=record.since + push.fresh_for,
        burst=burst.id if burst else None,
        lease_until=context.lease_until,
        sender=push.sender or record.sender,
    ).leaving_out(push.left_out)
    if isinstance(context.apps, Mapping) and push.called(context.apps) == [CEP]:
        push, unknown = _with_custom_ids(push)
        record = record.leaving_out({NO_CUSTOM_ID: unknown})
    return record, push


def _with_digests(
    record: Record, push: Push, others: Sequence[Recipients], context: Context
) -> Plan:
    """What to claim if only the `others` get this push, and everybody else a digest."""
    record, items = _in_digests(record, push, context)
    readers = [group for group in push.groups if group.digest is not None]
    if others:
        rest = _planned(record, replace(push, recipients=others), context)
        return replace(rest, digests=items, told_later=[*rest.told_later, *readers])
    record = _concerning(record, push.groups, context)
    record = record.ended(DeliveryState.OBSOLETE, "told in digests")
    return Plan(record, digests=items, told_later=readers)


def _in_digests(record: Record, push: Push, context: Context) -> tuple[Record, list[Item]]:
    """An item for each reader of a digest, and the record that says so."""
    items: list[Item] = []
    told: dict[str, list[str]] = {}
    for group in push.groups:
        for item in items_of(record, group, context.now):
            items.append(item)
            why = f"told in the digest of {item.until:%Y-%m-%dT%H:%MZ}"
            told.setdefault(why, []).append(item.person)
    return record.leaving_out(told), items


def _planned(record: Record, push: Push, context: Context) -> Plan:
    """What to claim for the recipients of this push."""
    burst = context.burst
    if isinstance(push.recipients, Audience):
        if push.send_at and push.send_at > context.now:  # it is read when it is sent
            record = record.evolve(later=((record.id, push.send_at),))
            return Plan(record.waiting(push.send_at, {}, push.fresh_for))
        return Plan(record, push, is_large=True)
    deferral = defer(
        push.groups,
        document=record.document,
        delivery=record.id,
        claimant=record.owner,
        by=name_of("custom_ids", record.sender) if record.sender else "",
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
        record = _concerning(record, push.groups, context)
        record = record.leaving_out(_waiting_elsewhere(deferral))
        record, is_large = _claimed(record, at_once, context.apps)
    elif first := later.pop(record.id, None):
        record = first.evolve(report_to=record.report_to, later=record.later)
    else:
        told_in = ", ".join(sorted(deferral.joined))
        record = _concerning(record, push.groups, context).ended(
            DeliveryState.OBSOLETE, f"told in another push of its burst: {told_in}"
        )
    if burst and deferral.burst:
        burst = replace(burst, burst=deferral.burst)
    told_later = _told_later(deferral, context)
    return Plan(record, at_once, is_large, tuple(later.values()), burst, told_later=told_later)


def _with_custom_ids(push: Push) -> tuple[Push, list[str]]:
    """The push to those whom CEP knows, and the ids of the others; raises `InvalidPush`."""
    if isinstance(push.recipients, Audience):
        return push, []
    known = [group.with_ids({"custom_ids": group.custom_ids}) for group in push.groups]
    others = [
        group.with_ids(vars(group) | {"custom_ids": ()})
        for group in push.groups
        if group.person is None or not group.custom_ids
    ]
    kept = [group for group in known if len(group)]
    if not kept:
        raise InvalidPush("recipients.custom_ids", "is empty, and CEP knows people by no other id")
    return replace(push, recipients=kept), list(ids_of(others))


def _later(record: Record, push: Push, deferral: Deferral, context: Context) -> dict[str, Record]:
    """The waiting records by id; the record itself may be one of them."""
    kept = tuple(context.about[-MAX_ABOUT:])
    omitted = context.omitted + len(context.about) - len(kept)
    waiting = record.evolve(about=kept, omitted=omitted)
    later = {
        delivery: _waiting(waiting.evolve(id=delivery), part, push.fresh_for)
        for delivery, part in deferral.later.items()
    }
    return {
        delivery: _concerning(
            each if delivery == record.id else each.evolve(left_out=()),
            deferral.later[delivery].recipients,
            context,
        )
        for delivery, each in later.items()
    }


def _told_later(deferral: Deferral, context: Context) -> tuple[Recipients, ...]:
    """The recipients who are not told now, for limits.

    With a coalescing window, what joins another push is none of its own, at any hour.
    """
    joined = () if context.window else deferral.joined.values()
    return tuple(chain(*(part.recipients for part in deferral.later.values()), *joined))


def _waiting_elsewhere(deferral: Deferral) -> dict[str, Iterator[str]]:
    """The recipients whom another delivery notifies later."""
    waits = {
        f"told after {part.until:%Y-%m-%dT%H:%MZ}, in {delivery}": ids_of(part.recipients)
        for delivery, part in deferral.later.items()
    }
    joined = {
        f"told with others, in {delivery}": ids_of(some)
        for delivery, some in deferral.joined.items()
    }
    return waits | joined


def plan_event(record: Record, event: Event, context: Context) -> Plan:
    """What to claim for an event: all of it goes out now. Raises `InvalidPush`."""
    record = record.evolve(
        event=event.name,
        ignored=tuple(event.ignored),
        best_before=record.since + event.fresh_for,
        lease_until=context.lease_until,
        sender=event.sender or record.sender,
    ).leaving_out(event.left_out)
    record = record.with_calls(list(event.calls(context.apps, context.now)))
    record = _concerning(record, event.groups, context)
    return Plan(record.too_old(context.now) if context.now >= record.best_before else record)


def to_nobody(record: Record, no_push: NoPush, context: Context) -> Record:
    """The record of an event that notifies nobody."""
    record = _concerning(record.leaving_out(no_push.left_out), (), context)
    return record.ended(DeliveryState.OBSOLETE, no_push.reason)


def _concerning(record: Record, groups: Sequence[Recipients], context: Context) -> Record:
    """The record, to be found by its recipients and by whom it leaves out, if they are few."""
    if context.people_until is None or sum(map(len, groups)) > MAX_CONCERNED:
        return record
    names = {name for group in groups for name, _ in units(group)}
    names |= {name_of("custom_ids", each) for _, ids in record.left_out for each in ids}
    if not names or len(names) > MAX_CONCERNED:
        return record
    return record.evolve(people=tuple(sorted(names)), people_until=context.people_until)


def _claimed(record: Record, push: Push, apps: Apps) -> tuple[Record, bool]:
    """The record with the push's calls, and False; without them, and True, if they do not fit."""
    room = INLINE - LATER_BYTES * len(record.later)
    calls = calls_of_one_record(push, apps, room)
    return (record, True) if calls is None else (record.with_calls(calls), False)


def calls_of_one_record(push: Push, apps: Apps, room: int = INLINE) -> list[Call] | None:
    """The calls of a push; None if they do not fit in one record."""
    if push.is_large:
        if not isinstance(push.recipients, Audience):
            next(push.calls(apps))  # raises an error of the push before its chunks are written
        return None
    calls = list(push.calls(apps))
    size = sum(map(len, {call.body for call in calls}))
    size += sum(CALL_BYTES + len(call.app) for call in calls)
    return calls if size <= room else None


def _waiting(record: Record, part: Part, fresh_for: timedelta) -> Record:
    waiting = record.waiting(part.until, waiting_lists(part.recipients), fresh_for)
    return waiting.evolve(report_to=None)
