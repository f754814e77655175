"""The delivery of a push, on one screen.

change ──> plan ──> claim ──> send: calls, all at once ──> record
             ^        │
             └─ wait <┘  for the end of quiet hours, or of a burst
"""

from dataclasses import dataclass, replace

from batchpush.delivery.chunks import prepare
from batchpush.delivery.ledger import Entry, Ledger
from batchpush.delivery.plan import Plan
from batchpush.delivery.planning import UNRECORDED_FOR, Planner, PushHandler
from batchpush.delivery.record import Record
from batchpush.delivery.resumed import ResumedChange
from batchpush.delivery.sending import Sender
from batchpush.errors import EventTurnedAway, LedgerRefused
from batchpush.events.change import Change
from batchpush.google.firestore import WriteConflict
from batchpush.timing import Clock

MAX_CLAIMS = 10  # of a push to whose burst others add at the same time


@dataclass
class Deliverer:
    """Delivers the push of a change, once; whatever happens to it is in its record."""

    planner: Planner
    ledger: Ledger
    sender: Sender
    clock: Clock

    async def deliver(
        self, change: Change, handler: PushHandler, report_to: str | None = None
    ) -> None:
        """Raises `TryAgainLater` when the event is to be redelivered.

        Raises `WriteConflict` for what waited, where somebody else resumed it or added to it.
        """
        for _ in range(MAX_CLAIMS):
            planned = await self.planner.plan(change, handler, report_to)
            if planned is None:
                return
            self._turn_away(planned.record)
            try:
                entry = await self._claim(planned, change)
            except WriteConflict:
                if isinstance(change, ResumedChange):
                    raise
                await self.clock.sleep(self.clock.jitter())
                continue
            if entry.record.owner == planned.record.owner:
                await self.sender.finish(entry, self.planner.within_limits(planned, entry))
            else:
                await self.sender.resume(entry)
            return
        raise EventTurnedAway("others add to its burst all the time")

    def _turn_away(self, record: Record) -> None:
        """Have an event redelivered, at no cost, while Batch seems to be down for all its apps.

        For some hours only: the platform gives up after a day, and by then there is a record.
        """
        now = self.clock.now()
        apps = {call.app for call in record.calls if call.is_pending}
        if self.sender.is_down(apps) and now < record.event_time + UNRECORDED_FOR:
            raise EventTurnedAway("Batch does not answer")

    async def _claim(self, planned: Plan, change: Change) -> Entry:
        """Claim what is planned; what Firestore will never store becomes a record that says so."""
        try:
            return await self._claimed(planned, change)
        except LedgerRefused as error:
            refused = planned.record.refused(str(error), self.clock.now())
            return await self._claimed(Plan(refused), change)

    async def _claimed(self, planned: Plan, change: Change) -> Entry:
        record, is_new = planned.record, not isinstance(change, ResumedChange)
        if planned.large:
            if is_new and (found := await self.ledger.read(record.id)):
                return found
            chunks = await prepare(self.ledger, record, planned.large, self.planner.apps)
            record = replace(record, chunks=chunks)
        if not isinstance(change, ResumedChange):
            return await self.ledger.claim(record, planned.later, planned.burst, planned.counters)
        burst = change.burst and change.burst.without(record.id)
        return await self.ledger.change(change.entry, record, planned.later, burst)
