"""Everything that Batch may answer x everything that Firestore may do, at every step.

The delivery, the ledger and Google's client are the real ones. Each cell delivers an event, has
one thing go wrong on either side, and brings the event again until it is done.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, time, timedelta
from email.utils import format_datetime
from itertools import product
from typing import Any

import pytest

from batchpush import Change, Limit, LookUp, Message, Push, QuietHours, Recipients
from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.batch_api.requests import MAX_ATTEMPTS
from batchpush.delivery.record import CallRecord, CallState, DeliveryState, Record
from batchpush.environment import Settings
from batchpush.errors import RestKeyUnavailable, TryAgainLater
from batchpush.events.triggers import Watched
from batchpush.google.firestore import Firestore, FirestoreRefused, FirestoreUnavailable
from batchpush.testing import ManualClock, Queue
from batchpush.testing.memory import Memory, Operation
from batchpush.timing import Clock
from batchpush.worker import Worker
from tests.deliveries import TIMING, change_at, greet
from tests.figures import figure
from tests.house import MORNING, House

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

    async def send(self, app: str, body: bytes) -> Reply:
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


FAULTS: Sequence[Callable[[Cell, Operation], Any]] = (
    unavailable,
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


def test_the_matrix_is_large() -> None:
    assert len(CELLS) >= 1600
    figure(
        "every answer of Batch x every fault of Firestore x every step, k = 0 and 1",
        f"{len(CELLS):,} cells, the promise asserted in each",
    )


@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize("name", ANSWERS)
async def test_the_promise_holds_in_every_cell(name: str, k: int) -> None:
    for _, _, fault, step in (cell for cell in CELLS if cell[:2] == (name, k)):
        await check_cell(ANSWERS[name], k, fault, step)


async def check_cell(
    answer: Answer, k: int, fault: Callable[[Cell, Operation], Any], step: tuple[int, str]
) -> None:
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


# Those who wait: everything that Firestore and Cloud Tasks may do to one who is awake and one who
# sleeps. Batch accepts everything here.


class Night:
    """One event in the evening, for bob who is awake and zoe who sleeps."""

    def __init__(self, k: int) -> None:
        self.house = House(MAX_AMBIGUOUS_RESENDS=str(k))
        self.time, self.memory, self.made = self.house.clock, self.house.memory, self.house.worker
        self.change = change_at(self.time)
        self.deliveries = 0

    async def deliver(self) -> bool:
        self.deliveries += 1
        try:
            await self.made.deliverer.deliver(self.change, greet_both)
        except (TryAgainLater, Killed):
            return False
        finally:
            self.house.queue.is_down = False
            self.time.forward(self.made.timing.lease + 10)
        return True

    async def rival(self) -> None:
        strike, self.memory.strike = self.memory.strike, None
        with suppress(TryAgainLater):
            await self.made.deliverer.deliver(self.change, greet_both)
        self.memory.strike = strike

    async def morning(self) -> None:
        """What was not done by the evening's redeliveries is the sweep's, and the tasks'."""
        self.house.watches[self.change.function] = Watched("users/{user_id}", self._served)
        self.time.forward(self.made.timing.redelivery)
        await self.made.sweep.run()
        await self.house.run_tasks(max(MORNING, self.time.now()))
        self.time.forward(self.made.timing.redelivery + 1)
        await self.made.sweep.run()
        await self.house.run_tasks(self.time.now())

    async def _served(self, change: Change) -> None:
        await self.made.deliverer.deliver(change, greet_both)


async def greet_both(change: Change, look_up: LookUp) -> Push:
    night = QuietHours(time(22), time(7), UTC)
    awake, asleep = Recipients(custom_ids=["bob"]), Recipients(custom_ids=["zoe"], quiet=night)
    return Push(
        group_id="g",
        recipients=[awake, asleep],
        message=Message("Hello"),
        fresh_for=timedelta(hours=6),
        state="s",
        sender="ann",
        limits=[Limit(("ann",), 60), Limit(("ann",), 20, each=True)],
    )


@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize("is_task_lost", [False, True])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
async def test_the_promise_holds_for_those_who_wait(fault: Any, is_task_lost: bool, k: int) -> None:
    for step in ("claim", "record", "reclaim"):
        night = Night(k)
        await night.house.stores("users/ann", {})
        night.house.queue.is_down = is_task_lost
        struck: list[str] = []

        async def strike(
            name: str,
            operation: Operation,
            *,
            night: Any = night,
            struck: Any = struck,
            step: str = step,
        ) -> Any:
            if name != step or struck:
                return operation()
            struck.append(name)
            return await fault(night, operation)

        night.memory.strike = strike
        while not await night.deliver() and night.deliveries < 3:
            pass
        night.memory.strike = None
        await night.morning()
        where = f"k={k}, {fault.__name__} at {step}"
        told = Counter(who for who, _ in night.house.all_told())
        states = Counter([record.state for record in await night.house.records()])
        assert set(states) <= {DeliveryState.SENT, DeliveryState.HELD, DeliveryState.REFUSED}, where
        assert told["bob"] <= 1 + k, where
        if DeliveryState.REFUSED in states:
            assert fault is refused_for_good, where
            assert not told, where
            continue
        assert told["zoe"] == 1, where
        if DeliveryState.HELD not in states:
            assert told["bob"] >= 1, where
