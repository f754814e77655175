"""How a push is delivered, on one screen.

change ──> plan ──> claim ──> send: calls, all at once ──> record
             ^        │
             └─ wait <┘  for the end of quiet hours, or of a coalescing window
"""

from dataclasses import dataclass

from batchpush.delivery.chunks import prepare
from batchpush.delivery.digests import DigestChange
from batchpush.delivery.ledger import Entry, Ledger
from batchpush.delivery.plan import Plan
from batchpush.delivery.planning import UNRECORDED_FOR, Planner, PushHandler
from batchpush.delivery.record import DeliveryState, Record
from batchpush.delivery.resumed import ResumedChange
from batchpush.delivery.sending import Sender
from batchpush.errors import EventTurnedAway, HandlerFailed, LedgerRefused
from batchpush.events.change import Change
from batchpush.google.firestore import WriteConflict
from batchpush.google.protocol.firestore_pb2 import Write
from batchpush.logs import log
from batchpush.timing import Clock
from batchpush.tracing import traced

MAX_CLAIMS = 10  # of one push, while others join its burst or are counted at the same time


@dataclass
class Deliverer:
    """Delivers the push of a change once; the delivery record says what happened."""

    planner: Planner
    ledger: Ledger
    sender: Sender
    clock: Clock

    async def deliver(
        self, change: Change, handler: PushHandler, report_to: str | None = None
    ) -> None:
        """Raises `TryAgainLater` to have the event redelivered.

        Raises `WriteConflict` if the change waited and another worker told or extended it.
        """
        for _ in range(MAX_CLAIMS):
            planned = await self.planner.plan(change, handler, report_to)
            if planned is None:
                log("DEBUG", "push.none")
                return
            if isinstance(change, DigestChange) and planned.record.not_before:
                await change.defer(self.ledger.firestore, planned.record.not_before)
                return
            self._turn_away(planned.record)
            try:
                entry = await self._claim(planned, change)
            except WriteConflict:
                if change.late:
                    raise
                await self.clock.sleep(self.clock.jitter())
                continue
            if entry.record.owner == planned.record.owner:
                limited = self.planner.within_limits(planned, entry)
                is_less = len(limited.history) < len(planned.history)
                taken_back = self._taken_back(planned, limited) if is_less else ()
                await self.sender.finish(entry, limited.record, taken_back)
            else:
                await self.sender.resume(entry)
            return
        raise EventTurnedAway("other pushes keep joining its burst, or being counted with it")

    def _taken_back(self, planned: Plan, limited: Plan) -> list[Write]:
        """Deletes what the claim wrote into the histories of those who are over a limit."""
        kept = {each.path for each in limited.history}
        gone = [each.path for each in planned.history if each.path not in kept]
        return [self.ledger.firestore.delete(path) for path in gone]

    def _turn_away(self, record: Record) -> None:
        """Have the event redelivered, at no cost, while Batch seems down for all of its apps.

        Only for some hours: the platform gives up after a day, and a record must exist by then.
        """
        now = self.clock.now()
        apps = {call.app for call in record.calls if call.is_pending}
        if self.sender.is_down(apps) and now < record.event_time + UNRECORDED_FOR:
            raise EventTurnedAway("Batch does not answer")

    @traced("claim", lambda entry, *_: {"batchpush.state": entry.record.state.value})
    async def _claim(self, planned: Plan, change: Change) -> Entry:
        """Claim the plan; if that can never succeed, claim a record that says so."""
        try:
            return await self._claimed(planned, change)
        except LedgerRefused as error:
            refused = Plan(planned.record.refused(str(error), self.clock.now()))
        except HandlerFailed as error:
            refused = self.planner.failed(planned.record, error.error)
        return await self._claimed(refused, change)

    async def _claimed(self, planned: Plan, change: Change) -> Entry:
        record, is_new = planned.record, not isinstance(change, ResumedChange)
        if planned.large:
            if is_new and (found := await self.ledger.read(record.id)):
                return found
            chunks = await prepare(self.ledger, record, planned.large, self.planner.apps)
            record = record.evolve(chunks=chunks)
            if not chunks:
                record = record.ended(DeliveryState.OBSOLETE, "its audience is empty")
        if not isinstance(change, ResumedChange):
            firestore = self.ledger.firestore
            beside = planned.beside(firestore)
            if isinstance(change, DigestChange):
                if planned.push and change.is_more:
                    await change.drop_older(firestore)
                beside += change.consumed(firestore)
            return await self.ledger.claim(
                record, planned.later, planned.burst, planned.counters, beside
            )
        burst = planned.burst or (change.burst and change.burst.without(record.id))
        beside = planned.beside(self.ledger.firestore)
        return await self.ledger.change(change.entry, record, planned.later, burst, beside)
