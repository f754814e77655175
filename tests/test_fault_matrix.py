"""Everything that Batch may answer x everything that Firestore may do, at every step.

The delivery, the ledger and Google's client are the real ones. Each cell delivers an event, has
one thing go wrong on either side, and brings the event again until it is done.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from email.utils import format_datetime
from itertools import product
from typing import Any

import httpx
import pytest

from batchpush import (
    Change,
    Digest,
    Limit,
    LookUp,
    Message,
    Push,
    QuietHours,
    Recipients,
    Schedule,
)
from batchpush.batch_api.client import MayBegin, TooLate
from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.batch_api.requests import MAX_ATTEMPTS
from batchpush.delivery.digests import ITEMS, DigestChange
from batchpush.delivery.record import SETTLED as ENDS
from batchpush.delivery.record import CallRecord, CallState, DeliveryState, Record
from batchpush.environment import Settings
from batchpush.errors import LedgerRefused, RestKeyUnavailable, TryAgainLater
from batchpush.events.triggers import Watched
from batchpush.google.connection import TIMEOUT, RpcFailed, name_of
from batchpush.google.firestore import Firestore, FirestoreRefused, FirestoreUnavailable
from batchpush.google.protocol.firestore_pb2 import BatchWriteRequest, CommitRequest
from batchpush.testing import ManualClock, Queue
from batchpush.testing.memory import Memory, Operation
from batchpush.timing import Clock
from batchpush.worker import Worker, send_waiting_delivery, working_with
from batchpush.worker import worker as current_worker
from tests.deliveries import TIMING, change_at, greet
from tests.events import created
from tests.figures import figure
from tests.house import EVENING, MORNING, House
from tests.virtual import google_on_the_loops_clock, now, run
from tests.wires import Carry, Wire

REDELIVERY = TIMING.lease + 10  # seconds; whoever was killed has lost its lease by then
MAX_DELIVERIES = 6
TOKEN = Reply(201, b'{"token": "t"}')


@dataclass(frozen=True)
class Answer:
    """What Batch does with a call, what we hear of it, and what the README says it is."""

    reply: Reply | RestKeyUnavailable
    outcome: Outcome
    is_taken: bool = False
    after_date: int = 0  # seconds; the reply's Retry-After, as a date


def error(status: int, code: int = 1, **more: Any) -> Reply:
    body = json.dumps({"code": code, "type": "T", "message": "m"}).encode()
    return Reply(status, body, **more)


ANSWERS = {
    "201": Answer(TOKEN, Outcome.ACCEPTED, is_taken=True),
    "200 with a token": Answer(Reply(200, b'{"token": "t"}'), Outcome.ACCEPTED, is_taken=True),
    "201 without a token": Answer(Reply(201, b"{}"), Outcome.UNKNOWN, is_taken=True),
    "201, cut": Answer(Reply(201, b'{"tok'), Outcome.UNKNOWN, is_taken=True),
    "204": Answer(Reply(204), Outcome.UNKNOWN),
    "302": Answer(Reply(302), Outcome.UNKNOWN),
    "400": Answer(error(400, 31), Outcome.REFUSED),
    "401": Answer(error(401, 10), Outcome.NOT_SENT),
    "403": Answer(error(403, 12), Outcome.REFUSED),
    "404": Answer(error(404, 20), Outcome.REFUSED),
    "413, a web page": Answer(Reply(413, b"<html>"), Outcome.REFUSED),
    "429": Answer(error(429, 60), Outcome.NOT_SENT),
    "429, after seconds": Answer(error(429, 60, retry_after="7"), Outcome.NOT_SENT),
    "429, after too long": Answer(error(429, 60, retry_after="130"), Outcome.NOT_SENT),
    "429, after a date": Answer(error(429, 60), Outcome.NOT_SENT, after_date=20),
    "500 of Batch": Answer(error(500), Outcome.NOT_SENT),
    "500 of something": Answer(Reply(500, b"oops"), Outcome.UNKNOWN),
    "500 of something, taken": Answer(Reply(500, b"oops"), Outcome.UNKNOWN, is_taken=True),
    "502": Answer(Reply(502, b"<html>"), Outcome.UNKNOWN),
    "503": Answer(error(503, 2), Outcome.NOT_SENT),
    "504, taken": Answer(Reply(504), Outcome.UNKNOWN, is_taken=True),
    "no connection": Answer(Reply(sent=False, problem="no route"), Outcome.NOT_SENT),
    "no answer": Answer(Reply(problem="no answer"), Outcome.UNKNOWN),
    "no answer, taken": Answer(Reply(problem="no answer"), Outcome.UNKNOWN, is_taken=True),
    "no key": Answer(RestKeyUnavailable("down"), Outcome.NOT_SENT),
}


class Killed(BaseException):
    """The process ends here."""


class Batch:
    """What the app `ios` is answered in the first delivery is the cell's; all else is accepted."""

    def __init__(self, answer: Answer, time: ManualClock) -> None:
        self._answer, self._time = answer, time
        self.is_first = True
        self.accepted: Counter[str] = Counter()
        self.heard: Counter[tuple[str, Outcome]] = Counter()
        self.bodies: set[bytes] = set()

    async def send(self, app: str, body: bytes, may_begin: MayBegin) -> Reply:
        if not may_begin():
            raise TooLate
        await asyncio.sleep(0)
        answer = self._answer if app == "ios" and self.is_first else ANSWERS["201"]
        self.bodies.add(body)
        self.accepted[app] += answer.is_taken
        self.heard[app, answer.outcome] += 1
        if isinstance(answer.reply, RestKeyUnavailable):
            raise answer.reply
        if not answer.after_date:
            return answer.reply
        at = self._time.now() + timedelta(seconds=answer.after_date)
        return replace(answer.reply, retry_after=format_datetime(at))


class Cell:
    """One event, and all that happens to it."""

    def __init__(self, answer: Answer, k: int) -> None:
        self.k = k
        self.time, self.memory = ManualClock(), Memory()
        self.firestore = Firestore(self.memory)
        self.batch = Batch(answer, self.time)
        self.settings = Settings.from_environment(
            {"BATCH_APPS": "ios=IOSKEY,android=ANDROIDKEY", "MAX_AMBIGUOUS_RESENDS": str(k)}
        )
        self.change = change_at(self.time)
        self.worker = self.process(self.batch)
        self.deliveries = 0

    def process(self, batch: Batch) -> Worker:
        return Worker(
            settings=self.settings,
            databases=lambda name: self.firestore,
            client=batch,  # type: ignore[arg-type]
            tasks=Queue(self.settings),
            timing=TIMING,
            clock=Clock(self.time.now, lambda: 1.0, self.time.sleep),
        )

    async def deliver(self) -> bool:
        """Whether the event is done; whatever else is raised fails the test."""
        self.deliveries += 1
        try:
            await self.worker.deliverer.deliver(self.change, greet)
        except TryAgainLater:
            return False
        except Killed:
            self.worker = self.process(self.batch)
            return False
        finally:
            self.batch.is_first = False
            self.time.forward(REDELIVERY)
        return True

    async def rival(self) -> None:
        """Another process is given the same event, and nothing goes wrong there."""
        strike, self.memory.strike = self.memory.strike, None
        is_first, self.batch.is_first = self.batch.is_first, False
        try:
            await self.process(self.batch).deliverer.deliver(self.change, greet)
        except TryAgainLater:
            pass
        finally:
            self.memory.strike, self.batch.is_first = strike, is_first

    async def record(self) -> Record:
        (name,) = self.memory.documents  # one event is one record
        change = self.change
        entry = await self.worker.ledger.read(change.delivery_id)
        assert entry is not None
        assert name.endswith(entry.record.id)
        return entry.record


# What Firestore does with one operation


async def unavailable(cell: Cell, operation: Operation) -> Any:
    raise FirestoreUnavailable("UNAVAILABLE")


async def unavailable_for_long(cell: Cell, operation: Operation) -> Any:
    """No lease lasts until an answer comes."""
    cell.time.forward(TIMING.lease)
    raise FirestoreUnavailable("UNAVAILABLE")


async def given_up(cell: Cell, operation: Operation) -> Any:
    raise FirestoreUnavailable("DEADLINE_EXCEEDED")


async def denied(cell: Cell, operation: Operation) -> Any:
    raise FirestoreUnavailable("PERMISSION_DENIED")


async def no_credentials(cell: Cell, operation: Operation) -> Any:
    raise FirestoreUnavailable("RefreshError")


async def refused_for_good(cell: Cell, operation: Operation) -> Any:
    raise FirestoreRefused("INVALID_ARGUMENT: too large")


async def answer_lost(cell: Cell, operation: Operation) -> Any:
    operation()
    raise FirestoreUnavailable("DEADLINE_EXCEEDED")


async def repeated(cell: Cell, operation: Operation) -> Any:
    """The client lost the answer, and asked again by itself."""
    operation()
    return operation()


async def killed_before(cell: Cell, operation: Operation) -> Any:
    raise Killed


async def killed_after(cell: Cell, operation: Operation) -> Any:
    operation()
    raise Killed


async def rival_first(cell: Cell, operation: Operation) -> Any:
    await cell.rival()
    return operation()


async def rival_after_a_freeze(cell: Cell, operation: Operation) -> Any:
    cell.time.forward(TIMING.lease)
    await cell.rival()
    return operation()


Fault = Callable[[Any, Operation], Awaitable[Any]]  # of a cell, or of what else has a rival
FAULTS: Sequence[Fault] = (
    unavailable,
    unavailable_for_long,
    given_up,
    denied,
    no_credentials,
    refused_for_good,
    answer_lost,
    repeated,
    killed_before,
    killed_after,
    rival_first,
    rival_after_a_freeze,
)

# The operations of a delivery and of a redelivery; the last two where there is something left.
AT_FIRST = ((1, "claim"), (1, "record"))
SETTLED = ((2, "claim"), (2, "read"))
UNSETTLED = (*SETTLED, (2, "reclaim"), (2, "record"))


def is_unsettled(answer: Answer, k: int) -> bool:
    """Whether the first delivery, without a fault of Firestore, leaves something to be done.

    Where Batch says when, the first delivery waits for it if there is time, and is answered alike.
    """
    return answer.outcome is Outcome.NOT_SENT or (answer.outcome is Outcome.UNKNOWN and k > 0)


def steps(answer: Answer, k: int) -> Sequence[tuple[int, str]]:
    return AT_FIRST + (UNSETTLED if is_unsettled(answer, k) else SETTLED)


CELLS = [
    (name, k, fault, step)
    for (name, answer), k, fault in product(ANSWERS.items(), (0, 1), FAULTS)
    for step in steps(answer, k)
    if (fault, step[1]) != (refused_for_good, "read")  # what can be read can always be read
]


@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize("name", ANSWERS)
async def test_the_promise_holds_in_every_cell(name: str, k: int) -> None:
    for _, _, fault, step in (cell for cell in CELLS if cell[:2] == (name, k)):
        await check_cell(ANSWERS[name], k, fault, step)


async def check_cell(answer: Answer, k: int, fault: Fault, step: tuple[int, str]) -> None:
    cell = Cell(answer, k)
    where = f"k={k}, {fault.__name__} at {step}"
    struck: list[str] = []

    async def strike(name: str, operation: Operation) -> Any:
        if struck or (cell.deliveries, name) != step:
            return operation()
        struck.append(name)
        return await fault(cell, operation)

    cell.memory.strike = strike
    # The platform brings some events twice, done or not.
    while not await cell.deliver() or cell.deliveries < 2:
        assert cell.deliveries < MAX_DELIVERIES, where
    assert struck, f"{where} was never reached"
    check_promise(cell, await cell.record(), where)


def check_promise(cell: Cell, record: Record, where: str) -> None:
    ends = {
        CallState.ACCEPTED: DeliveryState.SENT,
        CallState.REFUSED: DeliveryState.REFUSED,
        CallState.HELD: DeliveryState.HELD,
    }
    assert record.is_settled, where
    assert len(cell.batch.bodies) <= 1, where  # what was claimed is what is sent
    if not record.calls:
        assert record.state is DeliveryState.REFUSED, where
        assert record.reason == "Firestore: INVALID_ARGUMENT: too large", where
        assert not cell.batch.bodies, where
        return
    assert record.state in {ends[call.state] for call in record.calls}, where
    for call in record.calls:
        accepted, heard = cell.batch.accepted[call.app], cell.batch.heard
        # One process at most was lost in each cell, with what it had heard.
        in_doubt = heard[call.app, Outcome.UNKNOWN] + 1
        assert accepted <= 1 + cell.k, where
        if call.state is CallState.ACCEPTED:
            assert accepted >= 1, where
        elif call.state is CallState.REFUSED:
            assert heard[call.app, Outcome.REFUSED], where
            assert accepted == 0 or in_doubt > 1, where
        else:
            assert in_doubt > cell.k, where
            assert call.unknown == cell.k + 1, where


@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize("name", ANSWERS)
async def test_without_a_fault_of_firestore_every_answer_ends_as_the_table_says(
    name: str, k: int
) -> None:
    answer = ANSWERS[name]
    cell = Cell(answer, k)
    is_done = await cell.deliver()
    assert is_done is not is_unsettled(answer, k)
    first = {call.app: call for call in (await cell.record()).calls}
    assert first["android"].state is CallState.ACCEPTED
    pending_tries = {Outcome.NOT_SENT: range(1, MAX_ATTEMPTS + 1), Outcome.UNKNOWN: range(1, 2)}
    assert first["ios"].tries in pending_tries.get(answer.outcome, range(1, 2))

    while not is_done:
        is_done = await cell.deliver()
    end = {
        Outcome.ACCEPTED: DeliveryState.SENT,
        Outcome.REFUSED: DeliveryState.REFUSED,
        Outcome.NOT_SENT: DeliveryState.SENT,
        Outcome.UNKNOWN: DeliveryState.SENT if k else DeliveryState.HELD,
    }
    assert (await cell.record()).state is end[answer.outcome]
    assert cell.batch.accepted["android"] == 1
    is_sent = end[answer.outcome] is DeliveryState.SENT
    in_doubt = answer.outcome is Outcome.UNKNOWN and answer.is_taken
    assert cell.batch.accepted["ios"] == is_sent + in_doubt


# The matrix is worth its seconds only if it sees what would break the promise.


def taken_for_unsent(record: Record, **changes: Any) -> Record:
    """An owner that died is taken for one that sent nothing."""
    return TAKEN_UP(replace(record, state=DeliveryState.RETRY), **changes)


TAKEN_UP = Record.reclaimed
MISTAKES: Sequence[tuple[Any, str, Any]] = (
    (Record, "reclaimed", taken_for_unsent),
    (CallRecord, "unanswered", lambda call, max_resends: call),
    (Memory, "check", lambda memory, write: None),
)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake[1])
async def test_the_matrix_sees_what_would_break_the_promise(
    monkeypatch: pytest.MonkeyPatch, mistake: tuple[Any, str, Any]
) -> None:
    monkeypatch.setattr(*mistake)
    with pytest.raises(AssertionError):
        await test_the_promise_holds_in_every_cell("no answer, taken", k=0)


# Those who wait: one event for some who are awake, asleep, at another time or in a digest. Here it
# is every operation of Firestore in the life of all their deliveries that one thing happens to,
# while all is well otherwise, no task is made at first, the awake are over a limit, or Batch
# refuses their push for good.

THREE = EVENING + timedelta(hours=4)  # when `tim` is to be told
WAITING = {"zoe", "tim", "dan"}
FIRST = "an event before"
WITHOUT_OPERATION = (
    unavailable,
    unavailable_for_long,
    killed_before,
    rival_first,
    rival_after_a_freeze,
)
LOOKS = ("read", "query")  # what they do to Firestore does not matter
Work = Callable[[Worker], Awaitable[None]]
Step = tuple[str, str, int]  # of which work, the operation, and its number there


class Life:
    """An event in the evening, and its redeliveries, tasks, looks for digests and sweeps."""

    def __init__(self, k: int, trouble: str) -> None:
        self.house = House(
            MAX_AMBIGUOUS_RESENDS=str(k), NOTIFICATION_HISTORY_DAYS="30", RECIPIENT_INDEX_DAYS="30"
        )
        self.time, self.memory = self.house.clock, self.house.memory
        self.change = change_at(self.time)
        self.house.watches[self.change.function] = Watched("users/{user_id}", served)
        self.worker = self.house.worker
        self.phase = ""
        self.operations: list[Step] = []
        self.work: Work | None = None
        self.trouble = trouble

    async def does(self, phase: str, work: Work) -> bool:
        """Whether it is done; whatever else is raised fails the test."""
        self.phase, self.work = phase, work
        try:
            with working_with(self.worker):
                await work(self.worker)
        except TryAgainLater:
            return False
        except LedgerRefused:
            return True  # to the platform; the sweep finishes what was claimed
        except Killed:
            self.worker = replace(self.worker)
            return False
        finally:
            self.time.forward(self.worker.timing.lease + 10)
        return True

    async def rival(self) -> None:
        """Another process is given the same work, and nothing goes wrong there."""
        strike, self.memory.strike = self.memory.strike, None
        other = replace(self.worker)
        assert self.work is not None
        with suppress(TryAgainLater), working_with(other):
            await self.work(other)
        self.memory.strike = strike

    async def passes(self) -> None:
        await self.house.stores("users/ann", {})
        if self.trouble == "over a limit":
            strike, self.memory.strike = self.memory.strike, None
            await self.worker.deliverer.deliver(replace(self.change, id=FIRST), greet_bob)
            self.memory.strike = strike
        if self.trouble == "refused by Batch":
            self.house.batch.answer_next(*(httpx.Response(400, json=NO) for _ in range(2)))
        self.house.queue.is_down = self.trouble == "no task"
        for _ in range(3):
            is_done = await self.does("event", delivers(self.change))
            self.house.queue.is_down = False
            if is_done:
                break
        await self._later("sweep", sweeps)
        await self._tasks(THREE)
        await self._tasks(MORNING)
        for _ in range(2):
            await self.does("look", looks)
            await self._tasks(self.time.now())
            await self._later("sweep", sweeps)
            await self._tasks(self.time.now())

    async def _later(self, phase: str, work: Work) -> None:
        self.time.forward(self.worker.timing.redelivery)
        await self.does(phase, work)

    async def _tasks(self, at: datetime) -> None:
        self.time.value = max(at, self.time.now())
        for _ in range(3):
            for function, data in self.house.queue.take_due(self.time.now()):
                if not await self.does("digest" if "digest" in data else "resume", tells(data)):
                    await self.house.queue.enqueue(function, data)


NO = {"code": 31, "type": "T", "message": "m"}


def delivers(change: Change) -> Work:
    async def work(worker: Worker) -> None:
        await worker.deliverer.deliver(change, greet_all)

    return work


def tells(data: Mapping[str, Any]) -> Work:
    async def work(worker: Worker) -> None:
        await send_waiting_delivery(data)

    return work


async def looks(worker: Worker) -> None:
    await worker.digests.look()


async def sweeps(worker: Worker) -> None:
    await worker.sweep.run()


async def served(change: Change) -> None:
    await current_worker().deliverer.deliver(change, greet_all)


async def greet_all(change: Change, look_up: LookUp) -> Push:
    night = QuietHours(time(22), time(7), UTC)
    digest = Digest(Schedule(time(7)), UTC, lambda number, or_more: Message(f"{number} things"))
    return replace(
        await greet_bob(change, look_up),
        recipients=[
            Recipients(custom_ids=["bob"]),
            Recipients(custom_ids=["zoe"], quiet=night),
            Recipients(custom_ids=["tim"], send_at=THREE),
            Recipients(custom_ids=["dan"], digest=digest),
        ],
    )


async def greet_bob(change: Change, look_up: LookUp) -> Push:
    return Push(
        group_id="g",
        recipients=Recipients(custom_ids=["bob"]),
        message=Message(change.id),
        fresh_for=timedelta(hours=6),
        state="s",
        sender="ann",
        limits=[Limit(("ann",), 60, seconds=3600), Limit(("ann",), 1, seconds=3600, each=True)],
    )


TROUBLES = ("", "no task", "over a limit", "refused by Batch")


async def life_with(
    k: int, trouble: str, fault: Fault | None = None, step: Step | None = None
) -> Life:
    life = Life(k, trouble)
    seen: Counter[tuple[str, str]] = Counter()

    async def strike(name: str, operation: Operation) -> Any:
        seen[life.phase, name] += 1
        here = life.phase, name, seen[life.phase, name]
        life.operations.append(here)
        return await fault(life, operation) if fault and here == step else operation()

    life.memory.strike = strike
    await life.passes()
    life.memory.strike = None
    return life


async def cells_of_life(k: int, trouble: str) -> list[tuple[Step, Fault]]:
    """Each operation of a life in which nothing goes wrong, with what may."""
    well = await life_with(k, trouble)
    return [
        (step, fault)
        for step in dict.fromkeys(well.operations)
        for fault in (WITHOUT_OPERATION if step[1] in LOOKS else FAULTS)
    ]


@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_the_promise_holds_for_those_who_wait(trouble: str, k: int) -> None:
    for step, fault in await cells_of_life(k, trouble):
        life = await life_with(k, trouble, fault, step)
        where = f"{trouble or 'all well'}, k={k}, {fault.__name__} at {step}"
        if (fault, step) == (refused_for_good, ("event", "claim", 1)):
            assert not WAITING & {who for who, _ in life.house.all_told()}, where
        else:
            await check_life(life, k, where)


async def check_life(life: Life, k: int, where: str) -> None:
    told = Counter(who for who, text in life.house.all_told() if text != FIRST)
    states = Counter([record.state for record in await life.house.records()])
    assert set(states) <= ENDS, where
    assert max(told.values(), default=0) <= 1 + k, where
    assert told.total() <= len(WAITING) + 1 + k, where
    awake = {"bob"} if life.trouble in ("", "no task") else set()
    untold = (WAITING | awake) - set(told)
    assert len(untold) <= states[DeliveryState.HELD] + states[DeliveryState.REFUSED], where
    left = [name for name in life.memory.documents if f"/{ITEMS}/" in name]
    assert not left, where


MISTAKES_OF_LIVES: Sequence[tuple[Any, str, Any]] = (
    (Record, "reclaimed", taken_for_unsent),
    (DigestChange, "consumed", lambda change, firestore: []),
    (Memory, "check", lambda memory, write: None),
)


@pytest.mark.parametrize("mistake", MISTAKES_OF_LIVES, ids=lambda mistake: mistake[1])
async def test_the_lives_see_what_would_break_the_promise(
    monkeypatch: pytest.MonkeyPatch, mistake: tuple[Any, str, Any]
) -> None:
    monkeypatch.setattr(*mistake)
    with pytest.raises(AssertionError):
        await test_the_promise_holds_for_those_who_wait("", k=0)


# Those who come at once: three events of one process, whose writes share requests, one of them
# delivered by another process before. Something happens to a request, or to one write in it.


@dataclass(frozen=True)
class Hit:
    """A request with writes, at its time of being carried out, and the one write that is hit."""

    crowd: "Crowd"
    request: Any
    carry: Carry
    index: int
    seconds: float

    @property
    def write(self) -> Any:
        return self.request.writes[self.index % len(self.request.writes)]

    async def without_it(self) -> list[Any]:
        """Everything but the one write is done; its place in the answer is empty."""
        writes, place = list(self.request.writes), self.index % len(self.request.writes)
        del writes[place]
        answer = await self.crowd.line.each_alone(writes)
        for answers in (answer.write_results, answer.status):
            after = list(answers)[place:]
            del answers[place:]
            answers.add()
            answers.extend(after)
        return [answer]

    def says(self, answers: list[Any], code: int) -> list[Any]:
        """The answers, with another status for the one write; alone, it fails the request."""
        if isinstance(self.request, CommitRequest):
            raise RpcFailed(name_of(code), "about one write")
        status = answers[0].status[self.index % len(self.request.writes)]
        status.code, status.message = code, "about one write"
        return answers

    async def but_for_it(self) -> list[Any]:
        return [] if isinstance(self.request, CommitRequest) else await self.without_it()


async def request_not_done(hit: Hit) -> list[Any]:
    raise RpcFailed("UNAVAILABLE", "")


async def request_answer_lost(hit: Hit) -> list[Any]:
    with suppress(RpcFailed):
        await hit.carry()
    raise RpcFailed("UNAVAILABLE", "")


async def request_silent(hit: Hit) -> list[Any]:
    with suppress(RpcFailed):
        await hit.carry()
    await asyncio.sleep(hit.seconds)
    raise RpcFailed("DEADLINE_EXCEEDED", "")


async def request_refused(hit: Hit) -> list[Any]:
    raise RpcFailed("INVALID_ARGUMENT", "too large")


async def request_half_answered(hit: Hit) -> list[Any]:
    answers = await hit.carry()
    if isinstance(hit.request, BatchWriteRequest):
        del answers[0].status[:]
    return answers


async def one_refused(hit: Hit) -> list[Any]:
    return hit.says(await hit.but_for_it(), 3)


async def one_unavailable(hit: Hit) -> list[Any]:
    return hit.says(await hit.but_for_it(), 14)


async def one_unknown(hit: Hit) -> list[Any]:
    return hit.says(await hit.but_for_it(), 2)


async def one_unknown_and_done(hit: Hit) -> list[Any]:
    return hit.says(await hit.carry(), 2)


async def one_of_a_number_that_is_none(hit: Hit) -> list[Any]:
    return hit.says(await hit.carry(), 99)


async def one_done_and_denied(hit: Hit) -> list[Any]:
    """As if its answer had been lost within Google, which repeated it."""
    return hit.says(await hit.carry(), 6 if hit.write.current_document.HasField("exists") else 9)


async def one_cancelled(hit: Hit) -> list[Any]:
    hit.crowd.cancel(hit.write.update.name)
    return await hit.carry()


async def all_killed_before(hit: Hit) -> list[Any]:
    hit.crowd.cancel()
    raise RpcFailed("CANCELLED", "")


async def all_killed_after(hit: Hit) -> list[Any]:
    with suppress(RpcFailed):
        await hit.carry()
    hit.crowd.cancel()
    raise RpcFailed("CANCELLED", "")


OF_REQUESTS = (
    request_not_done,
    request_answer_lost,
    request_silent,
    request_refused,
    request_half_answered,
    all_killed_before,
    all_killed_after,
)
OF_ONE = (
    one_refused,
    one_unavailable,
    one_unknown,
    one_unknown_and_done,
    one_of_a_number_that_is_none,
    one_done_and_denied,
    one_cancelled,
)
CROWD = 3  # events
WRITES = (CROWD, CROWD - 1)  # in a request: claims, of which one is too late, and outcomes
CROWDED = [
    (k, fault, request, index, lasts)
    for k, fault, request in product((0, 1), OF_REQUESTS + OF_ONE, range(len(WRITES)))
    for index in (range(WRITES[request]) if fault in OF_ONE else (0,))
    # From this request on, until the deliveries give up; a record that says why is never refused.
    for lasts in ((False,) if fault in (request_refused, one_refused) else (False, True))
]


class CrowdLine(Wire):
    def __init__(self, crowd: "Crowd") -> None:
        super().__init__(crowd.memory, None, TIMEOUT)
        self._crowd = crowd

    async def carried(self, name: str, request: Any, carry: Carry, seconds: float) -> list[Any]:
        await asyncio.sleep(0.01)
        self._crowd.asked_about(request)
        if not isinstance(request, CommitRequest | BatchWriteRequest):
            return await carry()
        return await self._crowd.carried(request, carry, seconds)


class Crowd:
    """Events that come at once, and all that happens to them."""

    def __init__(self, k: int, fault: Any, request: int, index: int, lasts: bool) -> None:
        self.k, self.fault, self.index = k, fault, index
        self._hits = range(request, 1000) if lasts else range(request, request + 1)
        self._requests = 0
        self.memory = Memory()
        self.accepted: Counter[tuple[str, str]] = Counter()
        self.settings = Settings.from_environment(
            {"BATCH_APPS": "ios=IOSKEY,android=ANDROIDKEY", "MAX_AMBIGUOUS_RESENDS": str(k)}
        )
        self.changes = [
            replace(created(f"users/{number}", {}), id=f"e{number}", time=now())
            for number in range(CROWD)
        ]
        self.hit: set[str] = set()  # ids of the events of the writes that were hit
        self.asked: Counter[str] = Counter()  # how often about each event's record
        self.at_first: Counter[str] = Counter()  # the same, before any redelivery
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def process(self) -> Worker:
        self.line = CrowdLine(self)
        firestore = Firestore(self.line)
        return Worker(
            settings=self.settings,
            databases=lambda name: firestore,
            client=self,  # type: ignore[arg-type]
            tasks=Queue(self.settings),
            timing=TIMING,
            clock=Clock(now, lambda: 1.0),
        )

    async def send(self, app: str, body: bytes, may_begin: MayBegin) -> Reply:
        if not may_begin():
            raise TooLate
        await asyncio.sleep(0.05)
        self.accepted[json.loads(body)["message"]["body"], app] += 1
        return TOKEN

    def asked_about(self, request: Any) -> None:
        self.asked.update(each.id for each in self.changes if each.delivery_id in str(request))

    async def carried(self, request: Any, carry: Carry, seconds: float) -> list[Any]:
        number, self._requests = self._requests, self._requests + 1
        if self.fault is None or number not in self._hits:
            return await carry()
        if number == self._hits.start:
            assert len(request.writes) == WRITES[number]
        hit = Hit(self, request, carry, self.index, seconds)
        self.hit |= {
            change.id for change in self.changes if change.delivery_id in hit.write.update.name
        }
        answers: list[Any] = await self.fault(hit)
        return answers

    def cancel(self, document: str | None = None) -> None:
        """The delivery of this record is cancelled, or, with their process, all are."""
        for change in self.changes:
            if document is None or change.delivery_id in document:
                self._tasks[change.id].cancel()

    async def deliver(self, worker: Worker, changes: Sequence[Change]) -> list[Change]:
        """At once; returns those that are not done."""
        self._tasks = {
            change.id: asyncio.create_task(worker.deliverer.deliver(change, greet_by_name))
            for change in changes
        }
        ended = await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for error in ended:
            if error and not isinstance(error, TryAgainLater | asyncio.CancelledError):
                raise error
        return [change for change, error in zip(changes, ended, strict=True) if error]

    async def passes(self) -> set[str]:
        """The ids of those that were not done at once."""
        fault, self.fault = self.fault, None
        await self.deliver(self.process(), self.changes[:1])
        self.fault, self._requests = fault, 0
        self.asked.clear()
        left = undone = await self.deliver(self.process(), self.changes)
        self.fault, self.at_first = None, self.asked.copy()
        for _ in range(MAX_DELIVERIES):
            await asyncio.sleep(REDELIVERY)
            left = await self.deliver(self.process(), left)
        assert not left
        return {change.id for change in undone}

    async def check(self, undone: set[str], where: str) -> None:
        ledger = self.process().ledger
        for change in self.changes:
            entry = await ledger.read(change.delivery_id)
            assert entry is not None, where
            record = entry.record
            accepted = [self.accepted[change.id, app] for app in self.settings.batch_apps]
            assert record.is_settled, where
            assert max(accepted) <= 1 + self.k, where
            if record.state is DeliveryState.SENT:
                assert min(accepted) >= 1, where
            elif record.state is DeliveryState.REFUSED:
                assert accepted == [0, 0], where
            else:
                assert all(call.unknown == self.k + 1 for call in record.calls), where
            if change.id not in self.hit:  # a neighbour
                assert change.id not in undone, where
                assert accepted == [1, 1], where
                assert self.at_first[change.id] == 2, where  # its claim, and a look or its outcome


async def greet_by_name(change: Change, look_up: LookUp) -> Push:
    return replace(await greet(change, look_up), message=Message(change.id))


@pytest.mark.parametrize("fault", [*OF_REQUESTS, *OF_ONE], ids=lambda fault: fault.__name__)
def test_the_promise_holds_for_those_who_come_at_once(
    monkeypatch: pytest.MonkeyPatch, fault: Any
) -> None:
    google_on_the_loops_clock(monkeypatch)

    async def cell(k: int, request: int, index: int, lasts: bool) -> None:
        crowd = Crowd(k, fault, request, index, lasts)
        undone = await crowd.passes()
        assert crowd.hit, "the request was never made"
        if fault in OF_REQUESTS:
            crowd.hit = {change.id for change in crowd.changes}
        where = f"k={k}, {fault.__name__} at request {request}, write {index}, lasts: {lasts}"
        await crowd.check(undone, where)

    for k, of, request, index, lasts in CROWDED:
        if of is fault:
            run(cell(k, request, index, lasts))


async def test_the_matrix_is_large() -> None:
    lives = [len(await cells_of_life(k, trouble)) for k, trouble in product((0, 1), TROUBLES)]
    cells = len(CELLS) + sum(lives) + len(CROWDED)
    assert cells >= 4_000
    figure(
        "every answer of Batch x every fault of Firestore x every step: immediate, deferred, "
        "digests and grouped writes, k = 0 and 1",
        f"{cells:,} cells, the promise asserted in each",
    )
