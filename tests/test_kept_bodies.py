"""How long the texts and recipients of a push are kept, on the emulator and in memory."""

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import batchpush.delivery.sweep
from batchpush.delivery.record import CallState, DeliveryState, Record
from batchpush.environment import Settings
from batchpush.google.firestore import FirestoreRefused, FirestoreUnavailable, WriteConflict
from batchpush.testing import ManualClock
from batchpush.testing.memory import Memory, Operation
from batchpush.worker import Worker
from tests.deliveries import change_at, claimed, greet, ledger_for, worker_in
from tests.events import streamed

WHERE = ["memory", pytest.param("emulator", marks=pytest.mark.suite)]
APPS = {"BATCH_APPS": "ios=A,android=B"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def made_in(memory: Memory, clock: ManualClock, **environment: str) -> Worker:
    made = worker_in(memory, clock.now)
    return replace(made, settings=Settings.from_environment(APPS | environment))


@pytest.fixture(params=WHERE)
async def made(request: pytest.FixtureRequest, clock: ManualClock) -> Worker:
    made = made_in(Memory(), clock)
    if request.param == "emulator":
        made.ledger = ledger_for(f"t{uuid.uuid4().hex}")
    return made


async def delivered(made: Worker, clock: ManualClock) -> Record:
    await made.deliverer.deliver(change_at(clock), greet)
    return await the_only(made, DeliveryState.SENT)


async def the_only(made: Worker, *states: DeliveryState) -> Record:
    (record,) = [record async for record in made.ledger.each(states)]
    return record


async def test_what_batch_accepted_is_forgotten_after_seven_days_and_that_it_did_is_not(
    made: Worker, clock: ManualClock
) -> None:
    record = await delivered(made, clock)
    clock.forward(timedelta(days=7).total_seconds())
    await made.sweep.run()
    assert await the_only(made, DeliveryState.SENT) == record
    assert record.bodies
    clock.forward(timedelta(days=1).total_seconds())
    await made.sweep.run()
    assert await the_only(made, DeliveryState.SENT) == replace(record, bodies=(), bodies_until=None)


@pytest.mark.parametrize(
    "state", [DeliveryState.REFUSED, DeliveryState.HELD, DeliveryState.EXPIRED]
)
async def test_what_a_person_may_replay_is_kept_as_long_as_its_record(
    made: Worker, clock: ManualClock, state: DeliveryState
) -> None:
    entry = await made.ledger.claim(claimed(bodies=('{"recipients":{"custom_ids":["bob"]}}',)))
    ends = {
        DeliveryState.REFUSED: "refused",
        DeliveryState.HELD: "held",
        DeliveryState.EXPIRED: "expired",
    }
    calls = [replace(call, state=CallState(ends[state])) for call in entry.record.calls]
    await made.sender.write(entry, entry.record.after(calls, clock.now()))
    clock.forward(timedelta(days=29).total_seconds())
    await made.sweep.run()
    assert (await the_only(made, state)).bodies == entry.record.bodies


async def test_the_chunks_of_a_large_audience_go_the_same_way(
    made: Worker, clock: ManualClock
) -> None:
    large = claimed(calls=(), bodies=(), chunks=("first-00000",))
    of_chunks = replace(made)
    of_chunks.ledger = made.ledger.chunks_of(large.id)
    chunk = claimed(id="first-00000", state=DeliveryState.RETRY, lease_until=None)
    await made.ledger.claim(large)
    await of_chunks.ledger.prepare(streamed([chunk]))
    await made.chunks.send(large.id, chunk.id)
    assert (await the_only(of_chunks, DeliveryState.SENT)).bodies == chunk.bodies
    clock.forward(timedelta(days=8).total_seconds())
    await made.sweep.run()
    assert (await the_only(of_chunks, DeliveryState.SENT)).bodies == ()


@pytest.mark.parametrize(
    ("days", "operations"), [("0", ["claim", "record"]), ("30", ["claim", "record"])]
)
async def test_an_event_takes_no_further_write_where_bodies_go_at_once_or_with_the_record(
    clock: ManualClock, days: str, operations: list[str]
) -> None:
    memory = Memory()
    made = made_in(memory, clock, KEEP_BODIES_DAYS=days)
    record = await delivered(made, clock)
    assert bool(record.bodies) is (days == "30")
    assert memory.operations[:2] == operations
    memory.operations.clear()
    clock.forward(timedelta(days=29).total_seconds())
    await made.sweep.run()
    assert set(memory.operations) == {"query"}


async def test_one_commit_deletes_the_bodies_of_many_and_a_sweep_ends_in_time(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batchpush.delivery.sweep, "DROPPED_AT_ONCE", 3)
    memory = Memory()
    made = made_in(memory, clock)
    for _ in range(13):
        await made.deliverer.deliver(change_at(clock), greet)
    clock.forward(timedelta(days=8).total_seconds())

    async def slow(name: str, operation: Operation) -> Any:
        clock.forward(25 if name == "record" else 0)
        return operation()

    memory.operations.clear()
    memory.strike = slow
    left = []
    for _ in range(2):
        await made.sweep.run()
        left.append(
            sum([bool(each.bodies) async for each in made.ledger.each([DeliveryState.SENT])])
        )
    assert left == [4, 0]
    assert memory.operations.count("record") == 5


@pytest.mark.parametrize(
    "error",
    [WriteConflict(), FirestoreUnavailable("NOT_FOUND"), FirestoreRefused("INVALID_ARGUMENT")],
)
@pytest.mark.parametrize("step", ["query", "record"])
async def test_what_stands_in_the_way_is_said_and_the_next_sweep_tries_again(
    clock: ManualClock, capsys: pytest.CaptureFixture[str], error: Exception, step: str
) -> None:
    memory = Memory()
    made = made_in(memory, clock)
    await delivered(made, clock)
    clock.forward(timedelta(days=8).total_seconds())

    async def failing(name: str, operation: Operation) -> Any:
        if name == step:
            raise error
        return operation()

    memory.strike = failing
    await made.sweep.drop_outdated()
    assert '"bodies.kept"' in capsys.readouterr().out
    memory.strike = None
    assert (await the_only(made, DeliveryState.SENT)).bodies
    await made.sweep.run()
    assert not (await the_only(made, DeliveryState.SENT)).bodies
