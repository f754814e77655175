"""From a record to Batch: what is pending is sent, and what came of it is written down."""

import asyncio
import functools
import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from batchpush.batch_api.outcome import Outcome
from batchpush.batch_api.requests import Caller
from batchpush.delivery.ledger import Entry, Ledger
from batchpush.delivery.record import SETTLED, CallRecord, Record, State
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
    """Carries out what a record that is ours still asks for, and writes down what came of it."""

    ledger: Ledger
    caller: Caller
    scheduler: Scheduler
    settings: Settings
    timing: Timing
    clock: Clock

    def of_chunks(self, delivery: str) -> "Sender":
        """The sender of a large audience's chunks, which are records like others."""
        return replace(self, ledger=self.ledger.chunks_of(delivery))

    def is_down(self, apps: Collection[str]) -> bool:
        """Whether Batch seems to be down for all of the apps; there is at least one."""
        now = self.clock.now()
        return bool(apps) and all(self.caller.breakers[app].is_open(now) for app in apps)

    async def resume(self, entry: Entry) -> None:
        """Carry on with a delivery that somebody else began; raises `TryAgainLater`."""
        record = entry.record
        if record.is_settled:
            return
        if record.state is State.WAITING:
            await self.finish(entry, record)
            return
        if not record.is_free(self.clock.now()):
            raise DeliveryUnfinished("somebody else is sending it")
        try:
            taken = await self.ledger.settle(entry, self.reclaimed(record))
        except WriteConflict:
            raise DeliveryUnfinished("somebody else resumed it") from None
        await self.finish(taken, taken.record)

    async def finish(self, entry: Entry, record: Record) -> None:
        """Do what is left to do for a record that is ours; `entry` is what is stored of it."""
        if record.state is State.CLAIMED:
            entry = await (self._hand_out if record.chunks else self.send)(entry, record)
        else:
            left = await self.scheduler.wake(record)
            if record != entry.record:
                entry = await self.write(entry, replace(record, later=()))
            elif left:
                raise DeliveryUnfinished("Cloud Tasks did not accept the tasks of what waits")
        await conclude(entry.record)
        if entry.record.state is State.RETRY and (entry.record.later or not entry.record.chunks):
            raise DeliveryUnfinished("not every call is accepted, or not every task")

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
        """Send what is pending in a record that is ours, and write down what came of it."""
        sent = asyncio.gather(*(self._call(record, call) for call in record.calls))
        left = await self.scheduler.wake(record)  # while the calls are under way
        return await self.write(entry, record.after(await sent, self.clock.now(), left))

    async def _call(self, record: Record, call: CallRecord) -> CallRecord:
        """Try one call until it is settled, or its time is up."""
        if not call.is_pending:
            return call
        if call.app not in self.settings.batch_apps:
            return call.refused(f"BATCH_APPS has no {call.app} any more")
        body = record.bodies[call.body].encode()
        send = functools.partial(self.caller.client.send, call.app, body)
        async for rule, reply in self.caller.attempts(call.app, send, self._stop(record)):
            call = call.after(rule.outcome, reply, self.settings.max_ambiguous_resends)
            _log_attempt(call, rule.outcome)
        return call

    def _stop(self, record: Record) -> datetime:
        """When no call may begin any more."""
        assert record.lease_until is not None
        return min(self.timing.last_start(record.lease_until), record.best_before)

    async def _hand_out(self, entry: Entry, record: Record) -> Entry:
        """Enqueue a task for every chunk that is not settled, and for what waits."""
        states = await self.ledger.chunks_of(record.id).states()
        tasks = [
            chunk_task(record.id, chunk)
            for chunk in record.chunks
            if states.get(chunk) not in SETTLED
        ]
        are_made, left = await asyncio.gather(
            self.scheduler.enqueue(tasks), self.scheduler.wake(record)
        )
        entry = await self.write(entry, record.with_chunks(states, self.clock.now(), left))
        if not all(are_made):
            raise DeliveryUnfinished("Cloud Tasks did not accept the tasks of every chunk")
        return entry

    async def write(self, entry: Entry, record: Record) -> Entry:
        """Write what became of a record that is ours, as long as nobody else resumed it."""
        kept = record.keeping_bodies(self.settings.keep_bodies_days)
        try:
            return await self.ledger.settle(entry, kept)
        except WriteConflict:
            raise DeliveryUnfinished("the lease ended, and somebody else resumed it") from None


def _log_attempt(call: CallRecord, outcome: Outcome) -> None:
    data = {"body": call.body, "try": call.tries, "status": call.status, "problem": call.problem}
    severity = "INFO" if outcome is Outcome.ACCEPTED else "WARNING"
    log(severity, f"push.{outcome.name.lower()}", app=call.app, data=data)


async def conclude(record: Record) -> None:
    """Say what became of a delivery: in the log, and to the app that wrote the document."""
    is_well = record.state in (State.SENT, State.RETRY, State.WAITING, State.OBSOLETE)
    took = record.updated_at - (record.waited_until or record.event_time)
    milliseconds = round(took / timedelta(milliseconds=1))
    data = {"delivery": record.id, "reason": record.reason, "milliseconds": milliseconds}
    # A flood has its line once per window, as `limit.reached`.
    is_over = bool(record.reason and record.reason.startswith(OVER))
    severity = "DEBUG" if is_over else "INFO" if is_well else "ERROR"
    log(severity, f"delivery.{record.state.name.lower()}", data=data)
    await report(record)
