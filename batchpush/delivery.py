"""The delivery of a push, on one screen.

change ──> handler ──> claim ──> calls, all at once ──> record
              ^          │
              └── wait <─┘  for the end of quiet hours, or of a burst
"""

import asyncio
import functools
import random
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

from batchpush.breaker import Breaker
from batchpush.calls import Caller
from batchpush.change import Change
from batchpush.client import BatchClient
from batchpush.errors import (
    DeliveryUnfinished,
    MalformedEvent,
    TryAgainLater,
)
from batchpush.firebase import firestore
from batchpush.firestore import Outrun
from batchpush.ledger import Entry, Ledger
from batchpush.logs import about, log, reason_of
from batchpush.lookup import LookUp, look_up_for
from batchpush.outcome import Outcome
from batchpush.plan import Plan, plan
from batchpush.push import Push
from batchpush.record import SETTLED, CallRecord, Record, State, record_id
from batchpush.report import report
from batchpush.settings import Settings, settings
from batchpush.tasks import Tasks
from batchpush.timing import Timing
from batchpush.waiting import burst_id

Handler = Callable[[Change, LookUp], Awaitable[Push | None]]
Deliver = Callable[[Change, Handler, str | None], Awaitable[None]]

SWEEP_LIMIT = 500  # records in one run
SWEEP_AT_ONCE = 20
SWEEP_FOR = timedelta(seconds=420)
REPLAY_WITHIN = timedelta(hours=1)
UNRECORDED_FOR = timedelta(hours=6)  # an event may fail before its claim
MOST_CLAIMS = 10  # of a push to whose burst others add at the same time


async def deliver(change: Change, handler: Handler, report_to: str | None = None) -> None:
    """Ask the handler for a push, and send it once.

    The outcome is written to `report_to`, a path below the document's, if there is one. Raises
    `TryAgainLater` when the event is to come again. Whatever else happens is in the delivery
    record.
    """
    if instead := _instead.get():
        await instead(change, handler, report_to)
        return
    made = deliverer()
    made.client.warm_up()
    await made.deliver(change, handler, report_to)


_instead: ContextVar[Deliver | None] = ContextVar("instead", default=None)


@contextmanager
def delivering_by(instead: Deliver) -> Iterator[None]:
    """Inside, `deliver` does this instead: a preview sends nothing."""
    token = _instead.set(instead)
    try:
        yield
    finally:
        _instead.reset(token)


async def sweep_deliveries() -> None:
    """Finish what the platform gave up on; see `Deliverer.sweep`."""
    await deliverer().sweep()


async def send_delivery_chunk(data: Mapping[str, Any]) -> None:
    """One chunk of a large audience: `{"delivery": ID, "chunk": ID}`."""
    delivery, chunk = data.get("delivery"), data.get("chunk")
    if not isinstance(delivery, str) or not isinstance(chunk, str):
        raise MalformedEvent("the task names no chunk")
    await deliverer().send_chunk(delivery, chunk)


@dataclass
class Deliverer:
    """Everything that a delivery needs; time, chance and sleep come from outside."""

    ledger: Ledger
    client: BatchClient
    tasks: Tasks
    settings: Settings
    timing: Timing = field(default_factory=Timing)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    jitter: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    breakers: dict[str, Breaker] = field(default_factory=lambda: defaultdict(Breaker))

    @property
    def caller(self) -> Caller:
        return Caller(self.client, self.now, self.jitter, self.sleep, self.breakers)

    async def deliver(self, change: Change, handler: Handler, report_to: str | None = None) -> None:
        """Raises `Outrun` for a late change that somebody else took up, or added to."""
        for _ in range(MOST_CLAIMS):
            planned = await self._plan(change, handler, report_to)
            if planned is None:
                return
            self._turn_away(planned.record)
            try:
                entry = await self._claim(planned, change)
            except Outrun:
                if change.late:
                    raise
                await self.sleep(self.jitter())
                continue
            if entry.record.owner == planned.record.owner:
                await self._finish(entry)
            else:
                await self.resume(entry)
            return
        raise DeliveryUnfinished("others add to its burst all the time")

    async def resume(self, entry: Entry) -> None:
        """Carry on with a delivery that somebody else began."""
        if entry.record.is_settled:
            return
        if entry.record.state is State.WAITING:
            await self._put_off(entry.record)
            return
        if not entry.record.is_free(self.now()):
            raise DeliveryUnfinished("somebody else is sending it")
        try:
            taken = await self.ledger.change(entry, self._taken_up(entry.record))
        except Outrun:
            raise DeliveryUnfinished("somebody else took it up") from None
        await self._finish(taken)

    async def end(self, entry: Entry, record: Record) -> None:
        """Settle a delivery of which nothing is sent; raises `Outrun`."""
        await self._finish(await self.ledger.change(entry, record))

    async def _finish(self, entry: Entry) -> None:
        await self._put_off(entry.record)
        if entry.record.state is State.CLAIMED:
            entry = await (self._hand_out if entry.record.chunks else self._send_all)(entry)
        _log_end(entry.record)
        await report(entry.record)
        if entry.record.state is State.RETRY and not entry.record.chunks:
            raise DeliveryUnfinished("not every call is accepted yet")

    async def _put_off(self, record: Record) -> None:
        """Have what waits taken up when its time has come."""
        tasks = (
            self.tasks.enqueue("sendlater", {"delivery": delivery}, at)
            for delivery, at in record.later
        )
        await asyncio.gather(*tasks)

    # From the change to a record

    async def _plan(self, change: Change, handler: Handler, report_to: str | None) -> Plan | None:
        """What to claim: the handler's push, or why there can be none."""
        record, since = self._begun(change, report_to)
        try:
            push = await self._push(change, handler)
            if push is not None:
                return await self._planned(record, since, change, push)
            if change.late:
                return Plan(record.ended(State.OBSOLETE, "nobody is left to be told"))
            return None
        except TryAgainLater as error:
            if self.now() < since + UNRECORDED_FOR:
                raise
            return Plan(record.ended(State.EXPIRED, str(error)))
        except Exception as error:
            # Also a mistake in a handler: it fails the same way each time, and the platform
            # would bring the event back for a day.
            return Plan(record.ended(State.REFUSED, reason_of(error)))

    def _begun(self, change: Change, report_to: str | None) -> tuple[Record, datetime]:
        """A new record, or the one that waited; and since when its push is fresh."""
        if change.late is None:
            return self._record(change, report_to), change.time
        waited = change.late.entry.record
        return waited.woken(owner=secrets.token_hex(8), now=self.now()), waited.not_before

    def _turn_away(self, record: Record) -> None:
        """Have an event come again, at no cost, while Batch seems to be down for all its apps.

        For some hours only: the platform gives up after a day, and by then there is a record.
        """
        apps = {call.app for call in record.calls if call.is_pending}
        is_down = bool(apps) and all(self.breakers[app].is_open(self.now()) for app in apps)
        if is_down and self.now() < record.event_time + UNRECORDED_FOR:
            raise DeliveryUnfinished("Batch does not answer")

    async def _push(self, change: Change, handler: Handler) -> Push | None:
        """What the handler says; of a late change, only to those who wait for it."""
        if change.late is None:
            return await handler(change, look_up_for(change))
        push = await handler(change, look_up_for(change)) if change.late.documents else None
        return push and push.only_to(change.late.entry.record.waits_for)

    async def _planned(self, record: Record, since: datetime, change: Change, push: Push) -> Plan:
        window = timedelta(seconds=self.settings.coalesce_seconds)
        burst = None
        if push.burst and window and not change.late:
            burst = await self.ledger.read_burst(burst_id(change, push.burst))
        others = change.late.documents if change.late else ()
        return plan(
            record,
            push,
            since=since,
            now=self.now(),
            lease_until=self._lease_until(),
            apps=tuple(self.settings.batch_apps),
            burst=burst,
            window=window,
            about=[each.path for each in others if each.path != record.document],
        )

    async def _claim(self, planned: Plan, change: Change) -> Entry:
        late, record = change.late, planned.record
        if planned.large:
            if late is None and (found := await self.ledger.read(record.id)):
                return found
            record = replace(record, chunks=await self._prepare(record, planned.large))
        if late is None:
            return await self.ledger.claim(record, planned.later, planned.burst)
        burst = late.burst and late.burst.without(record.id)
        return await self.ledger.change(late.entry, record, planned.later, burst)

    def _record(self, change: Change, report_to: str | None) -> Record:
        now = self.now()
        record = Record(
            id=record_id(change.function, change.source, change.id),
            function=change.function,
            source=change.source,
            event_id=change.id,
            event_time=change.time,
            document=change.path,
            state=State.CLAIMED,
            created_at=now,
            updated_at=now,
            best_before=change.time,
            expire_at=now + timedelta(days=self.settings.keep_deliveries_days),
            owner=secrets.token_hex(8),
        )
        if self.settings.mirror_deliveries and not report_to and record.is_in_firestore:
            report_to = f"deliveries/{record.id}"
        return replace(record, report_to=f"{change.path}/{report_to}") if report_to else record

    def _taken_up(self, record: Record) -> Record:
        return record.taken_up(
            owner=secrets.token_hex(8),
            now=self.now(),
            lease_until=self._lease_until(),
            most_resends=self.settings.max_ambiguous_resends,
        )

    def _lease_until(self) -> datetime:
        return self.now() + timedelta(seconds=self.timing.lease)

    # From a record to Batch

    async def _send_all(self, entry: Entry) -> Entry:
        """Send what is pending in a record that is ours, and write down what came of it."""
        record = entry.record
        calls = await asyncio.gather(*(self._send(record, call) for call in record.calls))
        return await self._written(entry, record.after(calls, self.now()))

    async def _written(self, entry: Entry, record: Record) -> Entry:
        try:
            return await self.ledger.change(entry, record)
        except Outrun:
            raise DeliveryUnfinished("the lease ended, and somebody took it up") from None

    async def _send(self, record: Record, call: CallRecord) -> CallRecord:
        """Try one call until it is settled, or its time is up."""
        if not call.is_pending:
            return call
        if call.app not in self.settings.batch_apps:
            return call.refused(f"BATCH_APPS has no {call.app} any more")
        send = functools.partial(self.client.send, call.app, record.bodies[call.body].encode())
        async for rule, reply in self.caller.tries(call.app, send, self._stop(record)):
            call = call.after(rule.outcome, reply, self.settings.max_ambiguous_resends)
            _log_try(call, rule.outcome)
        return call

    def _stop(self, record: Record) -> datetime:
        """When no call may begin any more; one that has begun ends before the lease does."""
        assert record.lease_until is not None
        begun = record.lease_until - timedelta(seconds=self.timing.lease)
        return min(begun + timedelta(seconds=self.timing.budget), record.best_before)

    # A large audience: its chunks are records of their own, sent by tasks

    async def _prepare(self, record: Record, push: Push) -> tuple[str, ...]:
        """Write the chunks, before anybody can know of them; the names are this claimant's."""

        def chunks() -> Iterator[Record]:
            calls = push.calls(tuple(self.settings.batch_apps))
            for number, of_chunk in groupby(calls, key=lambda call: call.chunk):
                chunk = replace(record, id=f"{record.owner}-{number:05}", report_to=None)
                yield replace(chunk.with_calls(list(of_chunk)), state=State.RETRY, lease_until=None)

        return tuple(await self.ledger.chunks_of(record.id).prepare(chunks()))

    async def _hand_out(self, entry: Entry) -> Entry:
        """Enqueue a task for every chunk that is not settled."""
        record = entry.record
        states = await self.ledger.chunks_of(record.id).states()
        tasks = [
            self.tasks.enqueue("sendchunk", {"delivery": record.id, "chunk": chunk})
            for chunk in record.chunks
            if states.get(chunk) not in SETTLED
        ]
        await asyncio.gather(*tasks)
        return await self._written(entry, record.with_chunks(states, self.now()))

    async def send_chunk(self, delivery: str, chunk: str) -> None:
        """Raises `TryAgainLater` when the task is to come again."""
        of_chunks = replace(self, ledger=self.ledger.chunks_of(delivery))
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
        """Settle a large audience whose chunks are settled; whoever sees it first does it."""
        entry = await self.ledger.read(delivery)
        if entry is None or entry.record.is_settled:
            return
        states = await self.ledger.chunks_of(delivery).states()
        with suppress(Outrun):
            entry = await self.ledger.change(entry, entry.record.with_chunks(states, self.now()))
            _log_end(entry.record)
            await report(entry.record)

    # What a person wants sent again

    async def replay(self, entry: Entry, resend_unknown: bool) -> Record:
        """Send again what Batch has not accepted; returns the record with what came of it.

        Raises `DeliveryUnfinished` while somebody is sending, or where the sweep has to find out.
        """
        if entry.record.state is State.CLAIMED:
            raise DeliveryUnfinished("somebody is sending it, or the sweep will take it up")
        if entry.record.state is State.WAITING:
            raise DeliveryUnfinished("it waits")
        if entry.record.chunks:
            return await self._replay_chunks(entry, resend_unknown)
        pending = entry.record.replayed(
            now=self.now(), best_before=self.now() + REPLAY_WITHIN, resend_unknown=resend_unknown
        )
        if not pending.is_settled:
            entry = await self.ledger.change(entry, self._taken_up(pending))
            entry = await self._send_all(entry)
            await report(entry.record)
        return entry.record

    async def _replay_chunks(self, entry: Entry, resend_unknown: bool) -> Record:
        of_chunks = replace(self, ledger=self.ledger.chunks_of(entry.record.id))
        for chunk in entry.record.chunks:
            found = await of_chunks.ledger.read(chunk)
            if found and found.record.state is not State.SENT:
                await of_chunks.replay(found, resend_unknown)
        states = await of_chunks.ledger.states()
        entry = await self.ledger.change(entry, entry.record.with_chunks(states, self.now()))
        await report(entry.record)
        return entry.record

    # What the platform gave up on

    async def sweep(self) -> None:
        """Take up deliveries whose lease ended, or whose redelivery never came.

        Bounded per run; it begins at a random place, so that every record has its turn.
        """
        ids = await self.ledger.unsettled(after=secrets.token_hex(32), limit=SWEEP_LIMIT)
        if len(ids) < SWEEP_LIMIT:
            ids += await self.ledger.unsettled(after="0", limit=SWEEP_LIMIT - len(ids))
        ids = list(dict.fromkeys(ids))
        stop = self.now() + SWEEP_FOR
        for start in range(0, len(ids), SWEEP_AT_ONCE):
            if self.now() >= stop:
                break  # what is under way must end before the platform ends the function
            await asyncio.gather(*map(self._swept, ids[start : start + SWEEP_AT_ONCE]))
        await self._sweep_waiting()

    async def _sweep_waiting(self) -> None:
        """Make a task again for what should have been taken up long ago."""
        before = self.now() - timedelta(seconds=self.timing.redelivery)
        for delivery in await self.ledger.overdue(before, SWEEP_LIMIT):
            await self.tasks.enqueue("sendlater", {"delivery": delivery})

    async def _swept(self, record_id: str) -> None:
        entry = await self.ledger.read(record_id)
        if entry is None or not self._is_abandoned(entry.record):
            return
        with about(
            function="sweep", event_id=entry.record.event_id, document=entry.record.document
        ):
            try:
                await self.resume(entry)
            except TryAgainLater as error:
                log("WARNING", "event.unfinished", error=error)
            except Exception as error:  # one record must not keep the sweep from the others
                log("ERROR", "event.crashed", error=error)

    def _is_abandoned(self, record: Record) -> bool:
        if record.state is not State.RETRY:
            return record.is_free(self.now())
        return self.now() >= record.updated_at + timedelta(seconds=self.timing.redelivery)


def _log_try(call: CallRecord, outcome: Outcome) -> None:
    data = {"body": call.body, "try": call.tries, "status": call.status, "problem": call.problem}
    severity = "INFO" if outcome is Outcome.ACCEPTED else "WARNING"
    log(severity, f"push.{outcome.name.lower()}", app=call.app, data=data)


def _log_end(record: Record) -> None:
    is_well = record.state in (State.SENT, State.RETRY, State.WAITING, State.OBSOLETE)
    took = record.updated_at - (record.waited_until or record.event_time)
    milliseconds = round(took / timedelta(milliseconds=1))
    data = {"delivery": record.id, "reason": record.reason, "milliseconds": milliseconds}
    log("INFO" if is_well else "ERROR", f"delivery.{record.state.name.lower()}", data=data)


@functools.cache
def deliverer() -> Deliverer:
    """The one of this worker, made on first use."""
    chosen, timing = settings(), Timing()
    ledger = Ledger(lambda: firestore(chosen.database), chosen.deliveries_collection)
    return Deliverer(ledger, BatchClient(chosen, timing), Tasks(chosen), chosen, timing)
