"""Large audiences: each chunk has its own record below the delivery's; tasks send the chunks."""

from collections.abc import AsyncIterable, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from batchpush.delivery.digests import Item, items_of, write_items
from batchpush.delivery.ledger import Ledger
from batchpush.delivery.record import DeliveryState, Record
from batchpush.delivery.sending import Sender, conclude
from batchpush.errors import HandlerFailed
from batchpush.google.firestore import WriteConflict
from batchpush.logs import log
from batchpush.pushes.push import Apps, Audience, Message, Push, Recipients

ITEMS_AT_ONCE = 300  # of digests, in one commit


async def prepare(ledger: Ledger, record: Record, push: Push, apps: Apps) -> tuple[str, ...]:
    """Write the chunks before the claim that refers to them; ids begin with the owner's nonce.

    Raises `HandlerFailed` if the handler's stream of recipients does.
    """

    if isinstance(push.recipients, Audience):
        at_once = _at_once(ledger, record, push.recipients.groups)
        push = replace(push, recipients=Audience(at_once))

    async def chunks() -> AsyncIterator[Record]:
        try:
            async for calls, until in push.chunks(apps, record.updated_at):
                yield _chunk(record, calls[0].chunk, push.fresh_for, until).with_calls(calls)
        except Exception as error:
            raise HandlerFailed(error) from error

    return tuple(await ledger.chunks_of(record.id).prepare(chunks()))


async def _at_once(
    ledger: Ledger, record: Record, groups: AsyncIterable[tuple[Recipients, Message | None]]
) -> AsyncIterator[tuple[Recipients, Message | None]]:
    """The groups without readers of digests, whose items are written.

    They are written before the claim: as of the event, or of the end of its wait, so that an event
    that is delivered again writes the same ones.
    """
    items: list[Item] = []
    async for group, message in groups:
        if group.digest is None:
            yield group, message
            continue
        items.extend(items_of(record, group, record.since))
        if len(items) >= ITEMS_AT_ONCE:
            await write_items(ledger.firestore, items)
            items = []
    await write_items(ledger.firestore, items)


def _chunk(record: Record, number: int, fresh_for: timedelta, until: datetime | None) -> Record:
    """A chunk's record without calls; its task is scheduled for the end of its quiet hours."""
    return record.evolve(
        id=f"{record.owner}-{number:05}",
        state=DeliveryState.RETRY,
        lease_until=None,
        report_to=None,
        burst=None,
        later=(),
        not_before=until,
        best_before=until + fresh_for if until else record.best_before,
    )


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
        if not entry.record.is_settled:
            await of_chunks.wait_for(entry.record)
        await of_chunks.resume(entry)
        owner, _, _ = chunk.rpartition("-")
        following = await of_chunks.ledger.unsettled(after=owner, limit=1)
        if not any(each.startswith(owner) for each in following):
            await self.conclude(delivery)

    async def conclude(self, delivery: str) -> None:
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
