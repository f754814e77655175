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
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby

from batchpush.batch_api.breaker import Breaker
from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.outcome import Outcome
from batchpush.batch_api.requests import Caller
from batchpush.delivery.ledger import Entry, Ledger
from batchpush.delivery.plan import Plan, names_of, plan
from batchpush.delivery.record import SETTLED, CallRecord, Record, State
from batchpush.delivery.report import report
from batchpush.delivery.waiting import StoredBurst, burst_id
from batchpush.environment import Settings
from batchpush.errors import (
    DeliveryUnfinished,
    EventTurnedAway,
    InvalidDocument,
    LedgerRefused,
    LedgerUnavailable,
    TasksUnavailable,
    TryAgainLater,
    UnreadableRecord,
)
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp, look_up_for
from batchpush.google.cloud_tasks import Tasks
from batchpush.google.firestore import WriteConflict
from batchpush.logs import about, log, reason_of
from batchpush.pushes.limits import OVER, Known, counters
from batchpush.pushes.push import Push
from batchpush.timing import Timing

PushHandler = Callable[[Change, LookUp], Awaitable[Push | None]]

SWEEP_LIMIT = 500  # records in one run
SWEEP_AT_ONCE = 20
SWEEP_FOR = timedelta(seconds=420)
REPLAY_WITHIN = timedelta(hours=1)
DROPPED_AT_ONCE = 300  # records whose bodies one commit deletes
DROP_FOR = timedelta(seconds=60)
UNRECORDED_FOR = timedelta(hours=6)  # an event may fail before its claim
MAX_CLAIMS = 10  # of a push to whose burst others add at the same time


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
    known: Known = field(default_factory=Known)

    @property
    def _apps(self) -> tuple[str, ...]:
        return tuple(self.settings.batch_apps)

    @property
    def caller(self) -> Caller:
        return Caller(self.client, self.now, self.jitter, self.sleep, self.breakers)

    async def deliver(
        self, change: Change, handler: PushHandler, report_to: str | None = None
    ) -> None:
        """Raises `WriteConflict` for a late change that somebody else resumed, or added to."""
        for _ in range(MAX_CLAIMS):
            planned = await self._plan(change, handler, report_to)
            if planned is None:
                return
            self._turn_away(planned.record)
            try:
                entry = await self._claim(planned, change)
            except WriteConflict:
                if change.late:
                    raise
                await self.sleep(self.jitter())
                continue
            if entry.record.owner == planned.record.owner:
                await self._finish(entry, self._within_limits(planned, entry))
            else:
                await self.resume(entry)
            return
        raise EventTurnedAway("others add to its burst all the time")

    async def resume(self, entry: Entry) -> None:
        """Carry on with a delivery that somebody else began."""
        record = entry.record
        if record.is_settled:
            return
        if record.state is State.WAITING:
            await self._finish(entry, record)
            return
        if not record.is_free(self.now()):
            raise DeliveryUnfinished("somebody else is sending it")
        try:
            taken = await self.ledger.settle(entry, self._reclaimed(record))
        except WriteConflict:
            raise DeliveryUnfinished("somebody else resumed it") from None
        await self._finish(taken, taken.record)

    async def end(self, entry: Entry, record: Record, burst: StoredBurst | None) -> None:
        """Settle a delivery that waits, and of which nothing is sent; raises `WriteConflict`."""
        rest = burst and burst.without(record.id)
        ended = await self.ledger.change(entry, record, burst=rest)
        await self._finish(ended, ended.record)

    async def _finish(self, entry: Entry, record: Record) -> None:
        """Do what is left to do for a record that is ours; `entry` is what is stored of it."""
        if record.state is State.CLAIMED:
            entry = await (self._hand_out if record.chunks else self._send_all)(entry, record)
        else:
            left = await self._make_tasks(record)
            if record != entry.record:
                entry = await self._written(entry, replace(record, later=()))
            elif left:
                raise DeliveryUnfinished("Cloud Tasks did not accept the tasks of what waits")
        _log_end(entry.record)
        await report(entry.record)
        if entry.record.state is State.RETRY and (entry.record.later or not entry.record.chunks):
            raise DeliveryUnfinished("not every call is accepted, or not every task")

    async def _make_tasks(self, record: Record) -> Sequence[tuple[str, datetime]]:
        """Have what waits resumed when its time has come; returns what Cloud Tasks did not accept.

        What should have been resumed long ago is the sweep's.
        """
        if not record.later:
            return ()
        long_ago = self.now() - timedelta(seconds=self.timing.redelivery)
        later = [each for each in record.later if each[1] > long_ago]
        tasks = [("sendlater", {"delivery": delivery}, at) for delivery, at in later]
        are_made = await self._enqueued(tasks)
        return [each for each, is_made in zip(later, are_made, strict=True) if not is_made]

    async def _enqueued(
        self, tasks: Iterable[tuple[str, Mapping[str, str], datetime | None]]
    ) -> Sequence[bool]:
        """Whether Cloud Tasks accepted each of the tasks; one that it did not keeps no other."""

        async def enqueued(function: str, data: Mapping[str, str], at: datetime | None) -> bool:
            try:
                await self.tasks.enqueue(function, data, at)
            except Exception as error:  # whatever it is, calls that are under way are recorded
                severity = "WARNING" if isinstance(error, TasksUnavailable) else "ERROR"
                log(severity, "task.refused", error=error, data=data)
                return False
            return True

        return await asyncio.gather(*(enqueued(*task) for task in tasks))

    # From the change to a record

    async def _plan(
        self, change: Change, handler: PushHandler, report_to: str | None
    ) -> Plan | None:
        """What to claim: the handler's push, or why there can be none."""
        record, since = self._begun(change, report_to)
        try:
            push = await self._push(change, handler)
            if push is not None:
                return self._limited(await self._planned(record, since, change, push), push)
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
            raise EventTurnedAway("Batch does not answer")

    async def _push(self, change: Change, handler: PushHandler) -> Push | None:
        """What the handler says; of a late change, only to those who wait for it."""
        if change.late is None:
            return await handler(change, look_up_for(change))
        push = await self._of_valid_documents(change, handler) if change.late.documents else None
        return push and push.only_to(change.late.entry.record.waits_for)

    async def _of_valid_documents(self, change: Change, handler: PushHandler) -> Push | None:
        """The push of a late change, without the documents that became invalid meanwhile."""
        while True:
            try:
                return await handler(change, look_up_for(change))
            except InvalidDocument as error:
                rest = change.without(error.document)
                if rest is None:
                    raise
                log("ERROR", "document.dropped", error=error)
                change = rest

    async def _planned(self, record: Record, since: datetime, change: Change, push: Push) -> Plan:
        late = change.late
        others = [each.path for each in late.documents] if late else []
        planned = functools.partial(
            plan,
            record,
            push,
            since=since,
            now=self.now(),
            lease_until=self._lease_until(),
            apps=self._apps,
            about=[path for path in others if path != record.document],
            omitted=late.omitted if late else 0,
        )
        window = timedelta(seconds=self.settings.coalesce_seconds if push.burst else 0)
        key = push.burst or push.state
        if late or key is None:
            return planned()
        if not window:
            alone = planned()
            if not alone.record.later:
                return alone
        return planned(burst=await self.ledger.read_burst(burst_id(change, key)), window=window)

    def _limited(self, planned: Plan, push: Push) -> Plan:
        """The plan with what counts it, and without what is known to be over a limit."""
        if planned.push is None or not push.limits or planned.record.waited_until:
            return planned
        scope = (planned.record.function, planned.record.source)
        found = counters(push.limits, scope, names_of(planned.push), self.now())
        limited = planned.limited([self.known.over(counter) for counter in found], self._apps)
        return replace(limited, counters=found) if limited.push else limited

    def _within_limits(self, planned: Plan, entry: Entry) -> Record:
        """What is to be done of a claim, once it is known how much was counted."""
        if not planned.counters:
            return entry.record
        # Nothing is known where the claim's answer was lost; its push is one, and no flood.
        counted = zip(planned.counters, entry.counted, strict=False)
        overs = [(counter, counter.over(numbers)) for counter, numbers in counted]
        for counter, over in overs:
            if over.problem and self.known.note(counter, over):
                log("WARNING", "limit.reached", data={"problem": over.problem})
        record = replace(planned, record=entry.record)
        return record.limited([over for _, over in overs], self._apps).record

    async def _claim(self, planned: Plan, change: Change) -> Entry:
        """Claim what is planned; what Firestore will never store becomes a record that says so."""
        try:
            return await self._claimed(planned, change)
        except LedgerRefused as error:
            refused = planned.record.refused(str(error), self.now())
            return await self._claimed(Plan(refused), change)

    async def _claimed(self, planned: Plan, change: Change) -> Entry:
        late, record = change.late, planned.record
        if planned.large:
            if late is None and (found := await self.ledger.read(record.id)):
                return found
            record = replace(record, chunks=await self._prepare(record, planned.large))
        if late is None:
            return await self.ledger.claim(record, planned.later, planned.burst, planned.counters)
        burst = late.burst and late.burst.without(record.id)
        return await self.ledger.change(late.entry, record, planned.later, burst)

    def _record(self, change: Change, report_to: str | None) -> Record:
        now = self.now()
        record = Record(
            id=change.delivery_id,
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

    def _reclaimed(self, record: Record) -> Record:
        return record.reclaimed(
            owner=secrets.token_hex(8),
            now=self.now(),
            lease_until=self._lease_until(),
            max_resends=self.settings.max_ambiguous_resends,
        )

    def _lease_until(self) -> datetime:
        return self.now() + timedelta(seconds=self.timing.lease)

    # From a record to Batch

    async def _send_all(self, entry: Entry, record: Record) -> Entry:
        """Send what is pending in a record that is ours, and write down what came of it."""
        sent = asyncio.gather(*(self._send(record, call) for call in record.calls))
        left = await self._make_tasks(record)  # while the calls are under way
        return await self._written(entry, record.after(await sent, self.now(), left))

    async def _written(self, entry: Entry, record: Record) -> Entry:
        kept = record.keeping_bodies(self.settings.keep_bodies_days)
        try:
            return await self.ledger.settle(entry, kept)
        except WriteConflict:
            raise DeliveryUnfinished("the lease ended, and somebody else resumed it") from None

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
            calls = push.calls(self._apps)
            for number, of_chunk in groupby(calls, key=lambda call: call.chunk):
                chunk = replace(
                    record, id=f"{record.owner}-{number:05}", report_to=None, burst=None, later=()
                )
                yield replace(chunk.with_calls(list(of_chunk)), state=State.RETRY, lease_until=None)

        return tuple(await self.ledger.chunks_of(record.id).prepare(chunks()))

    async def _hand_out(self, entry: Entry, record: Record) -> Entry:
        """Enqueue a task for every chunk that is not settled, and for what waits."""
        states = await self.ledger.chunks_of(record.id).states()
        tasks = [
            ("sendchunk", {"delivery": record.id, "chunk": chunk}, None)
            for chunk in record.chunks
            if states.get(chunk) not in SETTLED
        ]
        are_made, left = await asyncio.gather(self._enqueued(tasks), self._make_tasks(record))
        entry = await self._written(entry, record.with_chunks(states, self.now(), left))
        if not all(are_made):
            raise DeliveryUnfinished("Cloud Tasks did not accept the tasks of every chunk")
        return entry

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
        with suppress(WriteConflict):
            concluded = entry.record.with_chunks(states, self.now(), entry.record.later)
            entry = await self.ledger.change(entry, concluded)
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
            entry = await self.ledger.change(entry, self._reclaimed(pending))
            entry = await self._send_all(entry, entry.record)
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
        """Resume deliveries whose lease ended, or whose redelivery or task never came."""
        stop = self.now() + SWEEP_FOR
        await self._sweep_unfinished(stop)
        await self._sweep_waiting(stop)
        await self._drop_old_bodies()

    async def _sweep_unfinished(self, stop: datetime) -> None:
        """Bounded per run; it begins at a random place, so that every record has its turn."""
        ids = await self.ledger.unsettled(after=secrets.token_hex(32), limit=SWEEP_LIMIT)
        if len(ids) < SWEEP_LIMIT:
            ids += await self.ledger.unsettled(after="0", limit=SWEEP_LIMIT - len(ids))
        ids = list(dict.fromkeys(ids))
        for start in range(0, len(ids), SWEEP_AT_ONCE):
            if self.now() >= stop:
                break  # what is under way must end before the platform ends the function
            await asyncio.gather(*map(self._swept, ids[start : start + SWEEP_AT_ONCE]))

    async def _sweep_waiting(self, stop: datetime) -> None:
        """Make a task again for what should have been resumed long ago."""
        before = self.now() - timedelta(seconds=self.timing.redelivery)
        async for delivery in self.ledger.overdue(before):
            if self.now() >= stop:
                break
            await self._enqueued([("sendlater", {"delivery": delivery}, None)])

    async def _drop_old_bodies(self) -> None:
        """Delete the bodies of what was sent long enough ago; the rest is for the next sweep."""
        stop = self.now() + DROP_FOR
        for look in (self.ledger.with_old_bodies, self.ledger.chunks_with_old_bodies):
            try:
                while self.now() < stop:
                    found = await look(self.now().date(), DROPPED_AT_ONCE)
                    if found:
                        await self.ledger.drop_bodies(found)
                    if len(found) < DROPPED_AT_ONCE:
                        break
            except (WriteConflict, LedgerUnavailable) as error:
                log("WARNING", "bodies.kept", error=error)

    async def _swept(self, record_id: str) -> None:
        with about(function="sweep", event_id=None, document=None):
            try:
                entry = await self.ledger.read(record_id)
            except UnreadableRecord as error:
                log("ERROR", "record.unreadable", error=error)
                return
            except TryAgainLater as error:
                log("WARNING", "event.unfinished", error=error)
                return
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
    # A flood has its line once per window, as `limit.reached`.
    is_over = bool(record.reason and record.reason.startswith(OVER))
    severity = "DEBUG" if is_over else "INFO" if is_well else "ERROR"
    log(severity, f"delivery.{record.state.name.lower()}", data=data)
