"""Batch is away for half an hour, or asks for patience: what that costs, and what comes of it.

The deliveries, the ledger and Google's client are the real ones; the clock is not, and the
platform brings events again as Eventarc does. `make torture` has 20 events per second.
"""

import asyncio
import math
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate, product
from typing import Any

import pytest

from batchpush.batch_api.breaker import FAILURES
from batchpush.batch_api.client import MayBegin, TooLate
from batchpush.batch_api.outcome import Reply
from batchpush.delivery.record import DeliveryState
from batchpush.environment import Settings
from batchpush.errors import DeliveryUnfinished, EventTurnedAway
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp
from batchpush.google.firestore import Firestore
from batchpush.pushes.push import Message, Push, Recipients
from batchpush.testing import Queue
from batchpush.testing.memory import Memory, Operation
from batchpush.timing import Clock
from batchpush.worker import Worker
from tests.events import created
from tests.figures import figure
from tests.seed import SEED
from tests.virtual import (
    MAX_BACKOFF,
    MIN_BACKOFF,
    START,
    UNEVEN,
    Platform,
    now,
    run,
    seconds,
)

PER_SECOND = float(os.environ.get("TORTURE_EVENTS_PER_SECOND", "0.5"))
MINUTE = 60.0
WELL_BEFORE, OUTAGE, AFTERWARDS = 2 * MINUTE, 30 * MINUTE, 15 * MINUTE
BEGINS, ENDS = WELL_BEFORE, WELL_BEFORE + OUTAGE
INSTANCES = 2
SETTINGS = Settings.from_environment({"BATCH_APPS": "ios=IOSKEY,android=ANDROIDKEY"})

Answer = Callable[[], Awaitable[Reply]]


async def accepted() -> Reply:
    await asyncio.sleep(0.05)
    return Reply(201, b'{"token": "t"}')


async def in_maintenance() -> Reply:
    await asyncio.sleep(0.05)
    return Reply(503, b'{"code": 2, "type": "MAINTENANCE_ERROR", "message": "later"}')


async def not_there() -> Reply:
    await asyncio.sleep(5)
    return Reply(sent=False, problem="ConnectionTimeoutError")


@dataclass(frozen=True)
class Call:
    instance: int
    app: str
    came: float
    answered: float
    status: int | None


class Batch:
    """Answers as it is told to, and remembers it."""

    def __init__(self, answer: Callable[[], Answer]) -> None:
        self._answer = answer
        self.calls: list[Call] = []
        self.accepted: Counter[tuple[bytes, str]] = Counter()

    async def send(self, instance: int, app: str, body: bytes) -> Reply:
        came = seconds()
        reply = await self._answer()()
        self.calls.append(Call(instance, app, came, seconds(), reply.status))
        self.accepted[body, app] += reply.status == 201
        return reply

    def most_per_second(self, since: float) -> int:
        return max(Counter(int(call.came) for call in self.calls if call.came >= since).values())


@dataclass(frozen=True)
class Line:
    """The client of one instance."""

    batch: Batch
    instance: int

    async def send(self, app: str, body: bytes, may_begin: MayBegin) -> Reply:
        if not may_begin():
            raise TooLate
        return await self.batch.send(self.instance, app, body)


class World:
    def __init__(self, answer: Callable[[], Answer]) -> None:
        self.memory, self.batch = Memory(), Batch(answer)
        self.memory.strike = self._as_slow_as_firestore
        instances = [self._instance(number) for number in range(INSTANCES)]
        self.platform = Platform(instances, SETTINGS.concurrency, SEED)
        self.events: dict[str, float] = {}

    async def _as_slow_as_firestore(self, name: str, operation: Operation) -> object:
        await asyncio.sleep(0.02)
        return operation()

    def worker(self, instance: int) -> Worker:
        firestore = Firestore(self.memory)
        return Worker(
            settings=SETTINGS,
            databases=lambda name: firestore,
            client=Line(self.batch, instance),  # type: ignore[arg-type]
            tasks=Queue(SETTINGS),
            clock=Clock(now),
        )

    def _instance(self, number: int) -> Callable[[str], Coroutine[Any, Any, None]]:
        worker = self.worker(number)

        async def deliver(event: str) -> None:
            at = START + timedelta(seconds=self.events[event])
            await worker.deliverer.deliver(event_at(at, event), greet)

        return deliver

    async def passes(self, until: float) -> None:
        """Events come, and at the end of the time nobody waits any more."""
        work: set[asyncio.Task[None]] = set()
        for number in range(int(until * PER_SECOND)):
            event = f"e{number}"
            self.events[event] = seconds()
            work.add(asyncio.create_task(self.platform.brings(event)))
            await asyncio.sleep(1 / PER_SECOND)
        for each in work:
            each.cancel()
        await asyncio.gather(*work, return_exceptions=True)


def event_at(time: datetime, name: str = "e") -> Change:
    return replace(created(f"users/{name}", {}), id=name, time=time)


async def greet(change: Change, look_up: LookUp) -> Push:
    return Push(group_id="g", recipients=Recipients(custom_ids=["bob"]), message=Message(change.id))


async def lasting(change: Change, look_up: LookUp) -> Push:
    return replace(await greet(change, look_up), fresh_for=timedelta(hours=24))


def highest_rate() -> float:
    """Calls in one second after the outage, with six standard deviations for the worst of many."""
    pauses = [min(MIN_BACKOFF * 2**number, MAX_BACKOFF) for number in range(100)]
    rounds = sum(begins * (1 - UNEVEN) <= OUTAGE for begins in accumulate(pauses))
    events = (1 + rounds) * PER_SECOND
    return float(len(SETTINGS.batch_apps) * (events + 6 * math.sqrt(events)))


@pytest.mark.parametrize("down", [in_maintenance, not_there])
def test_an_outage_of_half_an_hour_loses_nothing_and_costs_firestore_little(down: Answer) -> None:
    """All is accepted in time, with few operations of Firestore, and at no higher rate than it may.

    Each event comes again after 10 seconds, then 20, 40, ... and each of these rounds brings them
    at the rate at which they came, since it is as much later for all. So at the worst moment, the
    end, there are as many times that rate as rounds have begun, and the new events. What comes on
    top is chance: the pauses are not even. Nothing else adds to it: an instance that finds an app
    down keeps no calls back, it has the events come again.
    """

    async def outage() -> World:
        world = World(lambda: down if BEGINS <= seconds() < ENDS else accepted)
        await world.passes(until=ENDS + AFTERWARDS)
        return world

    world = run(outage())
    waited = [event for event, at in world.events.items() if at < ENDS]
    in_time = [event for event in waited if event in world.platform.done_at]
    assert len(in_time) >= 0.9999 * len(waited)
    calls = world.batch.accepted
    assert set(calls.values()) == {0, 1} or set(calls.values()) == {1}
    per_event = len(world.memory.operations) / len(world.events)
    assert per_event <= 6
    burst = world.batch.most_per_second(ENDS)
    assert burst <= highest_rate()
    attempts = sum(BEGINS <= call.came < ENDS for call in world.batch.calls)
    share = 100 * len(in_time) / len(waited)
    figure(
        f"Batch {down.__name__.replace('_', ' ')} for 30 minutes, {PER_SECOND:g} events a second",
        f"{share:.2f} % of {len(waited)} accepted within 15 minutes of its return; {per_event:.1f} "
        f"Firestore operations per event; {attempts / (OUTAGE / MINUTE):.0f} calls a minute "
        f"meanwhile; at most {burst} calls in a second afterwards, "
        f"{len(SETTINGS.batch_apps) * PER_SECOND:g} in a usual one",
    )


def test_a_storm_of_429_is_given_the_time_that_it_asks_for() -> None:
    """No call goes before the end of a `Retry-After` that its instance has heard."""
    asks_for = 20.0

    async def storm() -> World:
        async def too_many() -> Reply:
            await asyncio.sleep(0.05)
            return Reply(429, retry_after=f"{asks_for:g}")

        world = World(lambda: too_many if int(seconds() / MINUTE) % 2 else accepted)
        await world.passes(until=10 * MINUTE)
        return world

    calls = run(storm()).batch.calls
    assert {call.status for call in calls} == {201, 429}
    heard = [call for call in calls if call.status == 429]
    for refused, call in product(heard, calls):
        if (refused.instance, refused.app) == (call.instance, call.app):
            assert not refused.answered < call.came < refused.answered + asks_for - 1e-6


# What an event finds while Batch is away


async def tripped() -> tuple[World, Worker]:
    """An instance that has seen Batch fail, and its world without a record."""
    world = World(lambda: in_maintenance)
    worker = world.worker(0)
    for app in SETTINGS.batch_apps:
        for _ in range(FAILURES):
            worker.caller.breakers[app].record_failure(now(), None)
    return world, worker


def test_an_event_that_is_turned_away_costs_firestore_nothing() -> None:
    async def turned_away() -> None:
        world, worker = await tripped()
        with pytest.raises(EventTurnedAway, match="does not answer"):
            await worker.deliverer.deliver(event_at(now()), greet)
        assert world.memory.operations == []

    run(turned_away())


@pytest.mark.parametrize(
    ("age", "state"),
    [(timedelta(hours=6), DeliveryState.RETRY), (timedelta(hours=24), DeliveryState.EXPIRED)],
)
def test_before_the_platform_gives_up_there_is_a_record(
    age: timedelta, state: DeliveryState
) -> None:
    async def recorded() -> DeliveryState:
        world, worker = await tripped()
        with suppress(DeliveryUnfinished):
            await worker.deliverer.deliver(event_at(now() - age), lasting)
        (record_id,) = (name.rpartition("/")[2] for name in world.memory.documents)
        entry = await worker.ledger.read(record_id)
        assert entry is not None
        return entry.record.state

    assert run(recorded()) is state


def test_while_one_app_is_well_its_calls_go() -> None:
    async def half() -> World:
        world, worker = await tripped()
        worker.caller.breakers["ios"].record_success()
        with pytest.raises(DeliveryUnfinished, match="a request or a task is not accepted yet"):
            await worker.deliverer.deliver(event_at(now()), greet)
        return world

    assert {call.app for call in run(half()).batch.calls} == {"ios"}
