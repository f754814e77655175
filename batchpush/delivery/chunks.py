"""Large audiences: each chunk has its own record below the delivery's; tasks send the chunks."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

from batchpush.delivery.ledger import Ledger
from batchpush.delivery.record import DeliveryState, Record
from batchpush.delivery.sending import Sender, conclude
from batchpush.google.firestore import WriteConflict
from batchpush.logs import log
from batchpush.pushes.push import Push


async def prepare(
    ledger: Ledger, record: Record, push: Push, apps: Sequence[str]
) -> tuple[str, ...]:
    """Write the chunks before the claim that refers to them; ids begin with the owner's nonce."""

    def chunks() -> Iterator[Record]:
        for number, calls in groupby(push.calls(apps), key=lambda call: call.chunk):
            chunk = record.evolve(
                id=f"{record.owner}-{number:05}", report_to=None, burst=None, later=()
            )
            yield chunk.with_calls(list(calls)).evolve(state=DeliveryState.RETRY, lease_until=None)

    return tuple(await ledger.chunks_of(record.id).prepare(chunks()))


@dataclass
class Chunks:
    """Sends one chunk at a time, and settles the delivery after the last one."""

    sender: Sender

    async def send(self, delivery: str, chunk: str) -> None:
        """Raises `TryAgainLater` to have the task redelivered."""
        of_chunks = self.sender.of_chunks(delivery)
        entry = await of_chunks.ledger.read(chunk)
        if entry is None:
            log("ERROR", "chunk.missing", data={"delivery": delivery, "chunk": chunk})
            return
        await of_chunks.resume(entry)
        owner, _, _ = chunk.rpartition("-")
        following = await of_chunks.ledger.unsettled(after=owner, limit=1)
        if not any(each.startswith(owner) for each in following):
            await self._conclude(delivery)

    async def _conclude(self, delivery: str) -> None:
        """Settle the delivery once all its chunks are; the first worker to notice does it."""
        ledger = self.sender.ledger
        entry = await ledger.read(delivery)
        if entry is None or entry.record.is_settled:
            return
        states = await ledger.chunks_of(delivery).states()
        now = self.sender.clock.now()
        with suppress(WriteConflict):
            concluded = entry.record.with_chunks(states, now, entry.record.later)
            entry = await ledger.change(entry, concluded)
            await conclude(entry.record)
