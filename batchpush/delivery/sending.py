"""Sends a record's pending requests to Batch and records the outcome."""

import asyncio
import functools
import secrets
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from batchpush.batch_api.client import MayBegin
from batchpush.batch_api.outcome import Outcome, Reply, has_token, is_success
from batchpush.batch_api.requests import Caller
from batchpush.delivery.ledger import Entry, Ledger
from batchpush.delivery.record import (
    SETTLED,
    CallRecord,
    DeliveryState,
    Record,
    why_not_callable,
)
from batchpush.delivery.report import report
from batchpush.delivery.scheduling import Scheduler, chunk_task
from batchpush.environment import CEP, Settings
from batchpush.errors import DeliveryUnfinished, LedgerUnavailable
from batchpush.google.firestore import WriteConflict
from batchpush.google.protocol.firestore_pb2 import Write
from batchpush.logs import log
from batchpush.pushes.event import request_of
from batchpush.pushes.limits import OVER
from batchpush.timing import Clock, Timing
from batchpush.tracing import traced

PAUSE = 1.0  # seconds until an outcome is written again; each attempt has retries of its own
SHORT_WAIT = 15.0  # seconds; a task that is early by less waits here instead of being redelivered


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

    async def finish(self, entry: Entry, record: Record, beside: Sequence[Write] = ()) -> None:
        """Do what is left for a record that we claimed; `entry` is its stored form.

        What is `beside` is written with the outcome.
        """
        if record.state is DeliveryState.CLAIMED and record.chunks:
            entry = await self._hand_out(entry, record, beside)
        elif record.state is DeliveryState.CLAIMED:
            entry = await self.send(entry, record, beside)
        else:
            left = await self.scheduler.schedule(record)
            if record != entry.record:
                entry = await self.write(entry, record.evolve(later=()), beside)
            elif left:
                raise DeliveryUnfinished("Cloud Tasks did not accept every task for a later send")
        await conclude(entry.record)
        if entry.record.state is DeliveryState.RETRY and (
            entry.record.later or not entry.record.chunks
        ):
            raise DeliveryUnfinished("a request or a task is not accepted yet")

    async def wait_for(self, record: Record) -> None:
        """Wait for the end of the record's wait; raises `DeliveryUnfinished` if it is far off."""
        if record.not_before is None:
            return
        seconds = (record.not_before - self.clock.now()).total_seconds()
        if seconds > SHORT_WAIT:
            raise DeliveryUnfinished("it still has to wait")
        if seconds > 0:
            await self.clock.sleep(seconds)

    def reclaimed(self, record: Record) -> Record:
        """The record as we claim it now."""
        now = self.clock.now()
        return record.reclaimed(
            owner=secrets.token_hex(8),
            now=now,
            lease_until=self.timing.lease_until(now),
            max_resends=self.settings.max_ambiguous_resends,
        )

    async def send(self, entry: Entry, record: Record, beside: Sequence[Write] = ()) -> Entry:
        """Send the pending calls of a record that we claimed, and record the outcome."""
        refused: dict[str, list[str]] = {}
        sent = asyncio.gather(*(self._call(record, call, refused) for call in record.calls))
        left = await self.scheduler.schedule(record)  # while the calls are under way
        after = record.after(await sent, self.clock.now(), left)
        return await self.write(entry, after.leaving_out(refused) if refused else after, beside)

    async def _call(
        self, record: Record, call: CallRecord, refused: dict[str, list[str]]
    ) -> CallRecord:
        """Attempt one call until it is settled or its time is up.

        Adds the people whom Batch refuses in a call that it accepts, by reason.
        """
        if not call.is_pending:
            return call
        if call.app not in self.settings.callable_apps:
            return call.refused(why_not_callable(call.app))
        if call.app == CEP:
            return await self._track(record, call, refused)
        send, is_proof = self._request(record, call)
        stop = self._stop(record)
        async for rule, reply in self.caller.attempts(call.app, send, stop, is_proof):
            call = call.after(rule.outcome, reply, self.settings.max_ambiguous_resends)
            _log_attempt(call, rule.outcome)
        return call

    def _request(
        self, record: Record, call: CallRecord
    ) -> tuple[Callable[[MayBegin], Awaitable[Reply]], Callable[[Reply], bool]]:
        """How to send the call, and how a reply proves that Batch accepted it."""
        client, body = self.caller.client, record.bodies[call.body]
        if record.event is None:
            return functools.partial(client.send, call.app, body.encode()), has_token
        return functools.partial(client.request, call.app, "POST", *request_of(body)), is_success

    async def _track(
        self, record: Record, call: CallRecord, refused: dict[str, list[str]]
    ) -> CallRecord:
        """The same for CEP, whose calls are about many profiles."""
        from batchpush.batch_api.cep import Tracking, has_taken

        body = record.bodies[call.body].encode()
        tracking = Tracking.of(body)
        if problem := tracking.problem():
            return call.refused(problem)
        send = functools.partial(self.caller.client.send, CEP, body)
        profiles = len(tracking.custom_ids)
        stop = self._stop(record)
        async for rule, reply in self.caller.attempts(CEP, send, stop, has_taken, profiles):
            call = call.after(rule.outcome, reply, self.settings.max_ambiguous_resends)
            _log_attempt(call, rule.outcome)
            for reason, ids in reply.refused.items():
                refused.setdefault(reason, []).extend(ids)
                log(
                    "WARNING",
                    "push.people_refused",
                    app=CEP,
                    data={"people": len(ids), "reason": reason},
                )
        return call

    def _stop(self, record: Record) -> datetime:
        """The time from which no attempt may begin."""
        assert record.lease_until is not None
        return min(self.timing.last_start(record.lease_until), record.best_before)

    async def _hand_out(self, entry: Entry, record: Record, beside: Sequence[Write]) -> Entry:
        """Enqueue a task for every unsettled chunk and for every waiting record."""
        waits = await self.ledger.chunks_of(record.id).waits()
        states = {chunk: state for chunk, (state, _) in waits.items()}
        tasks = [
            chunk_task(record.id, chunk, waits.get(chunk, (None, None))[1])
            for chunk in record.chunks
            if states.get(chunk) not in SETTLED
        ]
        are_made, left = await asyncio.gather(
            self.scheduler.enqueue(tasks), self.scheduler.schedule(record)
        )
        if not all(are_made):
            raise DeliveryUnfinished("Cloud Tasks did not accept the task of every chunk")
        handed_out = record.with_chunks(states, self.clock.now(), left)
        return await self.write(entry, handed_out, beside)

    @traced("record", lambda entry, *_: {"batchpush.state": entry.record.state.value})
    async def write(self, entry: Entry, record: Record, beside: Sequence[Write] = ()) -> Entry:
        """Record the outcome, unless another worker has resumed the delivery.

        While Firestore fails, repeats this until the lease expires: what is accepted but not
        recorded is sent again.
        """
        kept = record.keeping_bodies(self.settings.keep_bodies_days)
        lease_until = entry.record.lease_until
        while True:
            try:
                return await self.ledger.settle(entry, kept, beside)
            except WriteConflict:
                raise DeliveryUnfinished(
                    "the lease expired and another worker resumed it"
                ) from None
            except LedgerUnavailable:
                if lease_until is None or self.clock.now() >= lease_until:
                    raise
            await self.clock.sleep(PAUSE)


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
    took = record.updated_at - record.since
    milliseconds = round(took / timedelta(milliseconds=1))
    data = {"delivery": record.id, "reason": record.reason, "milliseconds": milliseconds}
    # A flood is logged once per window, as `limit.reached`.
    is_over = bool(record.reason and record.reason.startswith(OVER))
    severity = "DEBUG" if is_over else "INFO" if is_well else "ERROR"
    log(severity, f"delivery.{record.state.name.lower()}", data=data)
    await report(record)
