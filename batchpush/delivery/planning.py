"""Turns a change into a plan: asks the handler for a push and decides what to claim."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from batchpush.delivery.digests import DigestChange, combined, only_to
from batchpush.delivery.ledger import Entry, Ledger
from batchpush.delivery.plan import (
    Context,
    Plan,
    names_in,
    names_of,
    plan,
    plan_event,
    plan_refused,
    plan_within,
    to_nobody,
    within,
)
from batchpush.delivery.record import DeliveryState, Record
from batchpush.delivery.resumed import ResumedChange
from batchpush.delivery.waiting import Burst, StoredBurst, burst_id, is_anyone_quiet
from batchpush.environment import Settings
from batchpush.errors import InvalidDocument, InvalidPush, TryAgainLater
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp
from batchpush.google.sources import without_caller
from batchpush.logs import log, reason_of
from batchpush.pushes.event import Event
from batchpush.pushes.limits import ReachedLimits, counters
from batchpush.pushes.push import Apps, NoPush, Push
from batchpush.timing import Clock, Timing

Returned = Push | Event | NoPush | None
PushHandler = Callable[[Change, LookUp], Awaitable[Returned]]

UNRECORDED_FOR = timedelta(hours=6)  # how long an event may keep failing before its claim


@dataclass
class Planner:
    """Asks handlers and decides what to claim; `known` are limits already reached."""

    ledger: Ledger
    settings: Settings
    timing: Timing
    clock: Clock
    look_up_for: Callable[[Change], LookUp]
    known: ReachedLimits = field(default_factory=ReachedLimits)

    @property
    def apps(self) -> Apps:
        return self.settings.push_apps

    async def plan(
        self, change: Change, handler: PushHandler, report_to: str | None
    ) -> Plan | None:
        """A plan for the handler's push, or for the reason it failed; None if there is no push."""
        record = self._begun(change, report_to)
        try:
            push = await self._push(change, handler)
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            return self.failed(record, error)
        if push is None:
            nobody = "nobody is left to tell"
            return Plan(record.ended(DeliveryState.OBSOLETE, nobody)) if change.late else None
        if isinstance(push, NoPush):
            return Plan(to_nobody(record, push, self._context(record)))
        try:
            if isinstance(push, Event):
                return plan_event(record, push, self._context(record))
            context = await self._context_of(record, change, push)
            if change.late:  # its limits counted it when its event came
                return _planned_late(change, record, push, context)
            return await self._limited(record, push, context)
        except InvalidPush as error:
            return Plan(record.ended(DeliveryState.REFUSED, reason_of(error)))

    def failed(self, record: Record, error: Exception) -> Plan:
        """A plan that records why a handler failed; raises the error if a redelivery may help."""
        if not isinstance(error, TryAgainLater):
            # A bug in a handler fails the same way each time, and the platform would redeliver the
            # event for a day.
            return Plan(record.ended(DeliveryState.REFUSED, reason_of(error)))
        if self.clock.now() < record.since + UNRECORDED_FOR:
            raise error
        return Plan(record.ended(DeliveryState.EXPIRED, str(error)))

    # The record

    def _begun(self, change: Change, report_to: str | None) -> Record:
        """A new record, or the one that waited."""
        if isinstance(change, DigestChange):
            return self._new_record(change, None).evolve(waited_until=change.time)
        if not isinstance(change, ResumedChange):
            return self._new_record(change, report_to)
        return change.entry.record.resumed(owner=secrets.token_hex(8), now=self.clock.now())

    def _new_record(self, change: Change, report_to: str | None) -> Record:
        now = self.clock.now()
        record = Record(
            id=change.delivery_id,
            function=change.function,
            source=change.source,
            event_id=change.id,
            event_time=change.time,
            document=change.path,
            state=DeliveryState.CLAIMED,
            created_at=now,
            updated_at=now,
            best_before=change.time,
            expire_at=now + timedelta(days=self.settings.keep_deliveries_days),
            owner=secrets.token_hex(8),
            day=now.date().isoformat(),
        )
        if self.settings.mirror_deliveries and not report_to and record.is_in_firestore:
            report_to = f"deliveries/{record.id}"
        return record.evolve(report_to=f"{change.path}/{report_to}") if report_to else record

    # The push

    async def _push(self, change: Change, handler: PushHandler) -> Returned:
        """The handler's push, checked; after a wait, only for those who waited."""
        if isinstance(change, DigestChange):
            push = await self._of_a_digest(change, handler)
        elif not isinstance(change, ResumedChange):
            push = await handler(change, self.look_up_for(change))
        elif change.documents:
            push = await self._of_valid_documents(change, handler)
            if isinstance(push, Push):
                push = push.only_to(change.still_waits_for())
            elif isinstance(push, Event):
                raise InvalidPush("name", "cannot be an Event where a push had to wait")
        else:
            return None
        if isinstance(push, Push):
            push.check()
        elif isinstance(push, Event):
            push.check(self.clock.now())
        return push

    async def _of_valid_documents(self, change: ResumedChange, handler: PushHandler) -> Returned:
        """The push after a wait, without documents that have become invalid."""
        while True:
            try:
                return await handler(change, self.look_up_for(change))
            except InvalidDocument as error:
                rest = change.without(error.document)
                if rest is None:
                    raise
                log("ERROR", "document.dropped", error=error)
                change = rest

    async def _of_a_digest(self, change: DigestChange, handler: PushHandler) -> Returned:
        """One push for the newest documents that there is still something to tell of."""
        look_up = self.look_up_for(change)
        no_push: NoPush | None = None
        async for changes, older in change.unread(look_up):
            told = []
            for each in changes:
                push = await self._of_one(each, change.person, handler, look_up)
                if isinstance(push, NoPush):
                    no_push = push
                elif push:
                    told.append(push)
            if told:
                return combined(told, older, self.clock.now())
        return no_push

    async def _of_one(
        self, change: Change, person: str, handler: PushHandler, look_up: LookUp
    ) -> Push | NoPush | None:
        """What a document adds to a person's digest; an error in it does not affect the others."""
        try:
            push = await handler(change, look_up)
            if isinstance(push, Event):
                raise InvalidPush("name", "cannot be an Event where a push had to wait")
            if isinstance(push, Push) and (push := await only_to(push, person)):
                push.check()
        except TryAgainLater:
            raise
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            log("ERROR", "document.dropped", error=error)
            return None
        return push

    # The plan

    async def _context_of(self, record: Record, change: Change, push: Push) -> Context:
        context = self._context(record)
        if change.late:
            others = [each.path for each in change.documents if each.path != record.document]
            return replace(context, about=others, omitted=change.late.omitted)
        seconds = self.settings.coalesce_seconds if push.burst else 0
        key = push.burst or push.state
        is_combined = bool(key) and not push.is_scheduled(context.now)
        at_once = [group for group in push.groups if not group.digest] if is_combined else ()
        if key and at_once and (seconds or is_anyone_quiet(at_once, context.now)):
            burst = await self.ledger.read_burst(burst_id(change, key))
            context = replace(context, burst=burst, window=timedelta(seconds=seconds))
        return context

    def _context(self, record: Record) -> Context:
        now, days = self.clock.now(), self.settings.recipient_index_days
        history_days = self.settings.notification_history_days
        until = min(now + timedelta(days=days), record.expire_at)
        return Context(
            now=now,
            lease_until=self.timing.lease_until(now),
            apps=self.apps,
            people_until=until.date().isoformat() if days else None,
            history_for=timedelta(days=history_days) if history_days else None,
        )

    # Limits

    async def _limited(self, record: Record, push: Push, context: Context) -> Plan:
        """The plan with its counters, and without recipients known to be over a limit."""
        planned = plan(record, push, context)
        is_told = planned.push or planned.is_for_later
        if not is_told or not push.limits:
            return planned
        names = names_of(planned.push) if planned.push else set()
        scope = (record.function, without_caller(record.source))
        found = counters(push.limits, scope, names | names_in(planned.told_later), context.now)
        known = [self.known.over(counter) for counter in found]
        if not planned.is_for_later:
            limited = planned.limited(known, self.apps)
            return replace(limited, counters=found) if limited.push else limited
        if within(push, known) is None:
            return plan_refused(record, push, known, context)
        read = await self.ledger.read_counters(found)
        return plan_within(planned, record, push, context, read)

    def within_limits(self, planned: Plan, entry: Entry) -> Plan:
        """The part of a claim that its counters allow."""
        claimed = (
            planned if entry.record is planned.record else replace(planned, record=entry.record)
        )
        if not planned.counters and not planned.reached:
            return claimed
        # If the claim's response was lost, its counts are unknown; one push is no flood.
        counted = zip(planned.counters, entry.counted, strict=False)
        overs = [(counter, counter.over(numbers)) for counter, numbers in counted]
        for counter, over in (*planned.reached, *overs):
            if over.problem and self.known.note(counter, over):
                log("WARNING", "limit.reached", data={"problem": over.problem})
        return claimed.limited([over for _, over in overs], self.apps)


def _planned_late(change: Change, record: Record, push: Push, context: Context) -> Plan:
    """The plan of a push that waited, and may have to wait once more."""
    burst = change.burst if isinstance(change, ResumedChange) else None
    if burst and is_anyone_quiet(push.groups, context.now):
        return _in_burst_again(burst.without(record.id), record, push, context)
    return plan(record, push, context)


def _in_burst_again(burst: StoredBurst, record: Record, push: Push, context: Context) -> Plan:
    """The plan of a push that has to wait once more, where others of its burst can join it."""
    # By itself, since what joins another delivery brings only one document with it.
    planned = plan(record, push, replace(context, burst=replace(burst, burst=Burst())))
    assert planned.burst
    begun = planned.burst.burst.windows
    burst = replace(burst, burst=burst.burst.after(context.now, begun, {}))
    return replace(planned, burst=burst)
