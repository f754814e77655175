"""Sends a record's pending calls to Batch and records the outcome."""

import asyncio
import functools
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from batchpush.batch_api.outcome import Outcome
from batchpush.batch_api.requests import Caller
from batchpush.delivery.ledger import Entry, Ledger
from batchpush.delivery.record import SETTLED, CallRecord, DeliveryState, Record
from batchpush.delivery.report import report
from batchpush.delivery.scheduling import Scheduler, chunk_task
from batchpush.environment import Settings
from batchpush.errors import DeliveryUnfinished
from batchpush.google.firestore import WriteConflict
from batchpush.logs import log
from batchpush.pushes.limits import OVER
from batchpush.timing import Clock, Timing


@dataclass
class Sender:
    """Sends what is left of a record that we claimed, and records the outcome."""

    ledger: Ledger
    caller: Caller
    scheduler: Scheduler
    settings: Settings
    timing: Timing
    clock: Clock

    def of_chunks(self, delivery: str) -> "Sender":
        """The sender of a large audience's chunks, which are ordinary records."""
        return replace(self, ledger=self.ledger.chunks_of(delivery))

    def is_down(self, apps: Collection[str]) -> bool:
        """Whether Batch seems down for all of the apps; False for no apps."""
        now = self.clock.now()
        return bool(apps) and all(self.caller.breakers[app].is_open(now) for app in apps)

    async def resume(self, entry: Entry) -> None:
        """Resume a delivery that another worker began; raises `TryAgainLater`."""
        record = entry.record
        if record.is_settled:
            return
        if record.state is DeliveryState.WAITING:
            await self.finish(entry, record)
            return
        if not record.is_free(self.clock.now()):
            raise DeliveryUnfinished("another worker is sending it")
        try:
            reclaimed = await self.ledger.settle(entry, self.reclaimed(record))
        except WriteConflict:
            raise DeliveryUnfinished("another worker resumed it") from None
        await self.finish(reclaimed, reclaimed.record)

    async def finish(self, entry: Entry, record: Record) -> None:
        """Do what is left for a record that we claimed; `entry` is its stored form."""
        if record.state is DeliveryState.CLAIMED:
            entry = await (self._hand_out if record.chunks else self.send)(entry, record)
        else:
            left = await self.scheduler.schedule(record)
            if record != entry.record:
                entry = await self.write(entry, record.evolve(later=()))
            elif left:
                raise DeliveryUnfinished("Cloud Tasks did not accept every task for a later send")
        await conclude(entry.record)
        if entry.record.state is DeliveryState.RETRY and (
            entry.record.later or not entry.record.chunks
        ):
            raise DeliveryUnfinished("a call or a task is not accepted yet")

    def reclaimed(self, record: Record) -> Record:
        """The record as we claim it now."""
        now = self.clock.now()
        return record.reclaimed(
            owner=secrets.token_hex(8),
            now=now,
            lease_until=self.timing.lease_until(now),
            max_resends=self.settings.max_ambiguous_resends,
        )

    async def send(self, entry: Entry, record: Record) -> Entry:
        """Send the pending calls of a record that we claimed, and record the outcome."""
        sent = asyncio.gather(*(self._call(record, call) for call in record.calls))
        left = await self.scheduler.schedule(record)  # while the calls are under way
        return await self.write(entry, record.after(await sent, self.clock.now(), left))

    async def _call(self, record: Record, call: CallRecord) -> CallRecord:
        """Attempt one call until it is settled or its time is up."""
        if not call.is_pending:
            return call
        if call.app not in self.settings.batch_apps:
            return call.refused(f"BATCH_APPS no longer has {call.app}")
        body = record.bodies[call.body].encode()
        send = functools.partial(self.caller.client.send, call.app, body)
        async for rule, reply in self.caller.attempts(call.app, send, self._stop(record)):
            call = call.after(rule.outcome, reply, self.settings.max_ambiguous_resends)
            _log_attempt(call, rule.outcome)
        return call

    def _stop(self, record: Record) -> datetime:
        """The time from which no attempt may begin."""
        assert record.lease_until is not None
        return min(self.timing.last_start(record.lease_until), record.best_before)

    async def _hand_out(self, entry: Entry, record: Record) -> Entry:
        """Enqueue a task for every unsettled chunk and for every waiting record."""
        states = await self.ledger.chunks_of(record.id).states()
        tasks = [
            chunk_task(record.id, chunk)
            for chunk in record.chunks
            if states.get(chunk) not in SETTLED
        ]
        are_made, left = await asyncio.gather(
            self.scheduler.enqueue(tasks), self.scheduler.schedule(record)
        )
        entry = await self.write(entry, record.with_chunks(states, self.clock.now(), left))
        if not all(are_made):
            raise DeliveryUnfinished("Cloud Tasks did not accept the task of every chunk")
        return entry

    async def write(self, entry: Entry, record: Record) -> Entry:
        """Record the outcome, unless another worker has resumed the delivery."""
        kept = record.keeping_bodies(self.settings.keep_bodies_days)
        try:
            return await self.ledger.settle(entry, kept)
        except WriteConflict:
            raise DeliveryUnfinished("the lease expired and another worker resumed it") from None


def _log_attempt(call: CallRecord, outcome: Outcome) -> None:
    data = {"body": call.body, "try": call.tries, "status": call.status, "problem": call.problem}
    severity = "INFO" if outcome is Outcome.ACCEPTED else "WARNING"
    log(severity, f"push.{outcome.name.lower()}", app=call.app, data=data)


async def conclude(record: Record) -> None:
    """Log the outcome of a delivery, and report it to the app that wrote the document."""
    is_well = record.state in (
        DeliveryState.SENT,
        DeliveryState.RETRY,
        DeliveryState.WAITING,
        DeliveryState.OBSOLETE,
    )
    took = record.updated_at - (record.waited_until or record.event_time)
    milliseconds = round(took / timedelta(milliseconds=1))
    data = {"delivery": record.id, "reason": record.reason, "milliseconds": milliseconds}
    # A flood is logged once per window, as `limit.reached`.
    is_over = bool(record.reason and record.reason.startswith(OVER))
    severity = "DEBUG" if is_over else "INFO" if is_well else "ERROR"
    log(severity, f"delivery.{record.state.name.lower()}", data=data)
    await report(record)
