"""Replays a delivery when an operator asks for it."""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from batchpush.delivery.chunks import Chunks
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
        """Replay chunk by chunk. If that is cut short, the sweep finishes those that are begun."""
        ledger, now = self.sender.ledger, self.sender.clock.now()
        begun = entry.record.with_chunks({}, now).evolve(owner=secrets.token_hex(8))
        await ledger.change(entry, begun)
        of_chunks = Replay(self.sender.of_chunks(begun.id))
        for chunk in begun.chunks:
            found = await of_chunks.sender.ledger.read(chunk)
            if found and _can_be_replayed(found.record):
                await of_chunks.replay(found, resend_unknown)
        await Chunks(self.sender).conclude(begun.id)
        after = await ledger.read(begun.id)
        return after.record if after else begun


def _can_be_replayed(chunk: Record) -> bool:
    """Unsettled chunks are the sweep's; without its bodies, nothing of a chunk can be sent."""
    is_there = bool(chunk.bodies) and all(chunk.bodies)
    return chunk.is_settled and chunk.state is not DeliveryState.SENT and is_there
