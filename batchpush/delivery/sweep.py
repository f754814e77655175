"""Finishes what the platform gave up on, and deletes bodies that are no longer needed."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from batchpush.delivery.ledger import BODIES, PEOPLE, Expiring
from batchpush.delivery.record import SETTLED, DeliveryState, Record
from batchpush.delivery.scheduling import resume_task
from batchpush.delivery.sending import Sender
from batchpush.errors import LedgerRefused, LedgerUnavailable
from batchpush.google.firestore import Stored, WriteConflict
from batchpush.logs import log
from batchpush.sweeping import on_its_own

MAX_SWEPT = 500  # records in one run
AT_ONCE = 20
SWEEP_FOR = timedelta(seconds=420)
DROPPED_AT_ONCE = 300  # records in one commit
DROP_FOR = timedelta(seconds=60)
Look = Callable[[Expiring, date, int], Awaitable[list[Stored]]]


@dataclass
class Sweep:
    sender: Sender

    async def run(self) -> None:
        """Resume deliveries whose lease expired, or whose redelivery or task never came."""
        stop = self._now() + SWEEP_FOR
        await self._sweep_unfinished(stop)
        await self._sweep_waiting(stop)
        await self.drop_outdated()

    async def _sweep_unfinished(self, stop: datetime) -> None:
        """Bounded per run, and starts at a random id, so that every record gets its turn."""
        ledger = self.sender.ledger
        ids = await ledger.unsettled(after=secrets.token_hex(32), limit=MAX_SWEPT)
        if len(ids) < MAX_SWEPT:
            ids += await ledger.unsettled(after="0", limit=MAX_SWEPT - len(ids))
        ids = list(dict.fromkeys(ids))
        for start in range(0, len(ids), AT_ONCE):
            if self._now() >= stop:
                break  # running work must end before the platform stops the function
            some = ids[start : start + AT_ONCE]
            await asyncio.gather(
                *(on_its_own(self._sweep_one(each), function="sweep") for each in some)
            )

    async def _sweep_one(self, record_id: str) -> None:
        entry = await self.sender.ledger.read(record_id)
        if entry is None or not self._is_abandoned(entry.record):
            return
        if entry.record.chunks and await self._only_waits(entry.record):
            return
        await on_its_own(self.sender.resume(entry), function="sweep", **entry.record.in_logs)

    def _is_abandoned(self, record: Record) -> bool:
        now = self._now()
        if record.state is DeliveryState.RETRY:
            return record.updated_at <= self.sender.timing.redelivered_since(now)
        return record.is_free(now)

    async def _only_waits(self, record: Record) -> bool:
        """Whether all its chunks that are left wait, with a task each, for a time to come."""
        if record.state is not DeliveryState.RETRY or record.later:
            return False
        chunks = (await self.sender.ledger.chunks_of(record.id).waits()).values()
        left = [until for state, until in chunks if state not in SETTLED]
        late = self.sender.timing.redelivered_since(self._now())
        return bool(left) and all(until is not None and until > late for until in left)

    async def _sweep_waiting(self, stop: datetime) -> None:
        """Schedule again what should have been resumed long ago."""
        before = self.sender.timing.redelivered_since(self._now())
        async for delivery in self.sender.ledger.overdue(before):
            if self._now() >= stop:
                break
            await self.sender.scheduler.enqueue([resume_task(delivery)])

    async def drop_outdated(self) -> None:
        """Delete bodies and people that have been kept long enough, as far as the time allows."""
        stop, ledger = self._now() + DROP_FOR, self.sender.ledger
        for look, expiring in (
            (ledger.outdated, BODIES),
            (ledger.outdated_chunks, BODIES),
            (ledger.outdated, PEOPLE),
        ):
            try:
                await self._drop(look, expiring, stop)
            except (WriteConflict, LedgerUnavailable, LedgerRefused) as error:
                log("WARNING", "bodies.kept", error=error)

    async def _drop(self, look: Look, expiring: Expiring, stop: datetime) -> None:
        at_once = DROPPED_AT_ONCE
        while self._now() < stop:
            found = await look(expiring, self._now().date(), at_once)
            try:
                if found:
                    await self.sender.ledger.drop(expiring, found)
            except LedgerRefused:  # each person is an entry in an index, and a commit takes so many
                if at_once == 1:
                    raise
                at_once //= 2
                continue
            if len(found) < at_once:
                break

    def _now(self) -> datetime:
        return self.sender.clock.now()
