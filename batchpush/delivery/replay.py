"""Replays a delivery when an operator asks for it."""

from dataclasses import dataclass
from datetime import timedelta

from batchpush.delivery.ledger import Entry
from batchpush.delivery.record import DeliveryState, Record
from batchpush.delivery.report import report
from batchpush.delivery.sending import Sender
from batchpush.errors import DeliveryUnfinished

REPLAY_WITHIN = timedelta(hours=1)


@dataclass
class Replay:
    sender: Sender

    async def replay(self, entry: Entry, resend_unknown: bool) -> Record:
        """Send what Batch has not accepted; returns the record with the outcome.

        Raises `DeliveryUnfinished` for a delivery that waits, or that a worker has claimed.
        """
        if entry.record.state is DeliveryState.CLAIMED:
            raise DeliveryUnfinished("it is being sent, or the sweep will resume it")
        if entry.record.is_waiting(self.sender.clock.now()):
            raise DeliveryUnfinished("it is still waiting")
        if entry.record.chunks:
            return await self._replay_chunks(entry, resend_unknown)
        now = self.sender.clock.now()
        pending = entry.record.replayed(
            now=now, best_before=now + REPLAY_WITHIN, resend_unknown=resend_unknown
        )
        if not pending.is_settled:
            entry = await self.sender.ledger.change(entry, self.sender.reclaimed(pending))
            entry = await self.sender.send(entry, entry.record)
            await report(entry.record)
        return entry.record

    async def _replay_chunks(self, entry: Entry, resend_unknown: bool) -> Record:
        of_chunks = Replay(self.sender.of_chunks(entry.record.id))
        now = self.sender.clock.now()
        for chunk in entry.record.chunks:
            found = await of_chunks.sender.ledger.read(chunk)
            is_sent = found is None or found.record.state is DeliveryState.SENT
            if found and not is_sent and not found.record.is_waiting(now):
                await of_chunks.replay(found, resend_unknown)
        states = await of_chunks.sender.ledger.states()
        after = entry.record.with_chunks(states, self.sender.clock.now())
        entry = await self.sender.ledger.change(entry, after)
        await report(entry.record)
        return entry.record
