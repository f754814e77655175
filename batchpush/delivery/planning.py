"""Turns a change into a plan: asks the handler for a push and decides what to claim."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from batchpush.delivery.ledger import Entry, Ledger
from batchpush.delivery.plan import Context, Plan, names_of, plan
from batchpush.delivery.record import DeliveryState, Record
from batchpush.delivery.resumed import ResumedChange
from batchpush.delivery.waiting import burst_id, is_anyone_quiet
from batchpush.environment import Settings
from batchpush.errors import InvalidDocument, InvalidPush, TryAgainLater
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp
from batchpush.logs import log, reason_of
from batchpush.pushes.limits import ReachedLimits, counters
from batchpush.pushes.push import Push
from batchpush.timing import Clock, Timing

PushHandler = Callable[[Change, LookUp], Awaitable[Push | None]]

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
    def apps(self) -> tuple[str, ...]:
        return tuple(self.settings.batch_apps)

    async def plan(
        self, change: Change, handler: PushHandler, report_to: str | None
    ) -> Plan | None:
        """A plan for the handler's push, or for the reason it failed; None if there is no push."""
        record, since = self._begun(change, report_to)
        try:
            push = await self._push(change, handler)
        except TryAgainLater as error:
            if self.clock.now() < since + UNRECORDED_FOR:
                raise
            return Plan(record.ended(DeliveryState.EXPIRED, str(error)))
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            # A bug in a handler fails the same way each time, and the platform would redeliver the
            # event for a day.
            return Plan(record.ended(DeliveryState.REFUSED, reason_of(error)))
        if push is None:
            is_resumed = isinstance(change, ResumedChange)
            nobody = "nobody is left to be told"
            return Plan(record.ended(DeliveryState.OBSOLETE, nobody)) if is_resumed else None
        try:
            return self._limited(await self._planned(record, since, change, push), push)
        except InvalidPush as error:
            return Plan(record.ended(DeliveryState.REFUSED, reason_of(error)))

    # The record

    def _begun(self, change: Change, report_to: str | None) -> tuple[Record, datetime]:
        """A new record or the one that waited, and the time from which its push counts as fresh."""
        if not isinstance(change, ResumedChange):
            return self._new_record(change, report_to), change.time
        waited = change.entry.record
        assert waited.not_before is not None
        return waited.resumed(owner=secrets.token_hex(8), now=self.clock.now()), waited.not_before

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
        )
        if self.settings.mirror_deliveries and not report_to and record.is_in_firestore:
            report_to = f"deliveries/{record.id}"
        return record.evolve(report_to=f"{change.path}/{report_to}") if report_to else record

    # The push

    async def _push(self, change: Change, handler: PushHandler) -> Push | None:
        """The handler's push, checked; after a wait, only for those who waited."""
        if not isinstance(change, ResumedChange):
            push = await handler(change, self.look_up_for(change))
        elif change.documents:
            push = await self._of_valid_documents(change, handler)
            push = push and push.only_to(change.entry.record.waits_for)
        else:
            return None
        if push is not None:
            push.check()
        return push

    async def _of_valid_documents(self, change: ResumedChange, handler: PushHandler) -> Push | None:
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

    # The plan

    async def _planned(self, record: Record, since: datetime, change: Change, push: Push) -> Plan:
        now = self.clock.now()
        context = Context(
            since=since,
            now=now,
            lease_until=self.timing.lease_until(now),
            apps=self.apps,
        )
        if isinstance(change, ResumedChange):
            others = [each.path for each in change.documents if each.path != record.document]
            omitted = change.late.omitted if change.late else 0
            return plan(record, push, replace(context, about=others, omitted=omitted))
        seconds = self.settings.coalesce_seconds if push.burst else 0
        key = push.burst or push.state
        if key and (seconds or is_anyone_quiet(push.groups, now)):
            burst = await self.ledger.read_burst(burst_id(change, key))
            context = replace(context, burst=burst, window=timedelta(seconds=seconds))
        return plan(record, push, context)

    # Limits

    def _limited(self, planned: Plan, push: Push) -> Plan:
        """The plan with its counters, and without recipients already known to be over a limit."""
        if planned.push is None or not push.limits or planned.record.waited_until:
            return planned
        scope = (planned.record.function, planned.record.source)
        found = counters(push.limits, scope, names_of(planned.push), self.clock.now())
        overs = [self.known.over(counter) for counter in found]
        limited = planned.limited(overs, self.apps)
        return replace(limited, counters=found) if limited.push else limited

    def within_limits(self, planned: Plan, entry: Entry) -> Record:
        """The part of a claim that its counters allow."""
        if not planned.counters:
            return entry.record
        # If the claim's response was lost, its counts are unknown; one push is no flood.
        counted = zip(planned.counters, entry.counted, strict=False)
        overs = [(counter, counter.over(numbers)) for counter, numbers in counted]
        for counter, over in overs:
            if over.problem and self.known.note(counter, over):
                log("WARNING", "limit.reached", data={"problem": over.problem})
        record = replace(planned, record=entry.record)
        return record.limited([over for _, over in overs], self.apps).record
