"""A process that delivers events as a function's instance does, and can be made to die at it.

    python -m tests.torture.worker spec.json

The settings are in the environment, what to do is in a `Spec`: `{"events": ["e1"]}`. What happens
is said on standard output, one JSON object per line; the logs of batchpush go to standard error.
"""

import asyncio
import itertools
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import AsyncIterable, Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import batchpush.batch_api.requests
import batchpush.delivery.sweep
from batchpush import worker
from batchpush.batch_api.client import BatchClient, MayBegin
from batchpush.batch_api.outcome import Reply
from batchpush.batch_api.rest_key import RestKey, RestKeyCache
from batchpush.delivery.ledger import Entry, Ledger
from batchpush.delivery.record import DeliveryState, Record
from batchpush.environment import settings
from batchpush.errors import LedgerUnavailable, TasksUnavailable, TryAgainLater
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp
from batchpush.google.cloud_tasks import Tasks
from batchpush.google.connection import TIMEOUT, Connection
from batchpush.google.firestore import Firestore
from batchpush.pushes.limits import Limit
from batchpush.pushes.push import Message, Push, Recipients
from batchpush.pushes.quiet_hours import QuietHours
from batchpush.timing import Timing
from tests.events import created, streamed

JITTER = 0.008  # seconds; about as long as a commit takes on the emulator
ANSWERED_WITHIN = 1.0  # seconds
REDELIVERY = 0.2  # seconds, at most, until an event comes again
HALF_A_NIGHT, A_WHILE = timedelta(hours=6), timedelta(hours=3)
MANY = 10**6  # pushes; nobody comes to that limit

T = TypeVar("T")

chance = random.Random()  # noqa: S311 - seeded by what there is to do


@dataclass(frozen=True, kw_only=True)
class Trap:
    """Where a delivery stops: `at` is before, in or after a step; or between the two sends.

    The steps are prepare, claim, send, record and reclaim.
    """

    event: str
    at: str
    then: str = "die"  # or wait, until a line comes on standard input


@dataclass(frozen=True, kw_only=True)
class Spec:
    events: Sequence[str] = ()
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    audience: int = 2  # recipients
    # Each event has readers of its own: awake, in quiet hours or with a send_at.
    waits: bool = False
    lost_tasks: float = 0.0  # the share of tasks that Cloud Tasks does not accept
    copies: int = 1  # of each event, at once
    at_once: int = 100  # deliveries
    per_second: float | None = None  # events; None is as fast as it goes
    patience: float = 0.0  # seconds in which an event that is to come again does so
    tasks: Sequence[Mapping[str, str]] = ()  # of a large audience, each until it is done
    sweeps: bool = False  # afterwards, until nothing is left or the patience ends
    starts_on_go: bool = False  # says that it is ready, and waits for a line
    trap: Trap | None = None
    seed: str = ""
    timing: dict[str, float] = field(default_factory=dict)
    most_tries: int | None = None
    ledger_timeout: float | None = None  # seconds for one operation of Firestore

    def as_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Spec":
        values = json.loads(text)
        return cls(**values | {"trap": (trap := values.get("trap")) and Trap(**trap)})


class Traps:
    """Springs the one trap of this process, if any."""

    def __init__(self, trap: Trap | None) -> None:
        self._trap = trap
        self._one_is_answered = asyncio.Event()

    async def around(self, step: str, event: str, operation: Awaitable[T]) -> T:
        """Carry it out; never to its end, where that is the trap."""
        self._spring(f"before {step}", event)
        task = asyncio.ensure_future(operation)
        if self._is(f"in {step}", event):
            await asyncio.sleep(chance.uniform(0, JITTER))
            self._spring(f"in {step}", event)
        result = await task
        self._spring(f"after {step}", event)
        return result

    async def around_send(self, app: str, event: str, operation: Awaitable[T]) -> T:
        if not self._is("between sends", event):
            return await self.around("send", event, operation)
        if app == "android":
            with suppress(TimeoutError):  # another process may have had the answer already
                async with asyncio.timeout(ANSWERED_WITHIN):
                    await self._one_is_answered.wait()
            self._spring("between sends", event)
        result = await operation
        self._one_is_answered.set()
        return result

    def _is(self, point: str, event: str) -> bool:
        return self._trap is not None and (self._trap.at, self._trap.event) == (point, event)

    def _spring(self, point: str, event: str) -> None:
        if self._trap is None or not self._is(point, event):
            return
        if self._trap.then == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        self._trap = None
        say("trapped", event=event, at=point)
        sys.stdin.readline()  # the whole process waits, in this very place


class TrappedLedger(Ledger):
    traps: Traps

    def chunks_of(self, record_id: str) -> "TrappedLedger":
        chunks = TrappedLedger(self.client, super().chunks_of(record_id).collection)
        chunks.traps = self.traps
        return chunks

    async def claim(self, record: Record, *beside: Any) -> Entry:
        return await self.traps.around("claim", record.event_id, super().claim(record, *beside))

    async def change(self, entry: Entry, record: Record, *more: Any, **named: Any) -> Entry:
        step = "reclaim" if record.state is DeliveryState.CLAIMED else "record"
        written = super().change(entry, record, *more, **named)
        return await self.traps.around(step, record.event_id, written)

    async def prepare(self, records: AsyncIterable[Record]) -> list[str]:
        prepared = [record async for record in records]
        written = super().prepare(streamed(prepared))
        return await self.traps.around("prepare", prepared[0].event_id, written)


class TrappedClient(BatchClient):
    traps: Traps

    async def send(self, app: str, body: bytes, may_begin: MayBegin | None = None) -> Reply:
        event = json.loads(body)["group_id"]
        began = time.monotonic()
        reply = await self.traps.around_send(app, event, super().send(app, body, may_begin))
        say("sent", event=event, app=app, seconds=time.monotonic() - began)
        return reply


class SaidTasks(Tasks):
    """Says what Cloud Tasks would be given, and accepts it or does not."""

    lost: float = 0.0

    async def enqueue(
        self, function: str, data: Mapping[str, Any], at: datetime | None = None
    ) -> None:
        await asyncio.sleep(chance.uniform(0, JITTER))
        if chance.random() < self.lost:
            raise TasksUnavailable("Cloud Tasks: Unavailable")
        say("task", function=function, data=dict(data))


class Worker:
    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        timing, traps = Timing(**spec.timing), Traps(spec.trap)
        firestore = Firestore(Connection(seconds=spec.ledger_timeout or TIMEOUT))
        self.ledger = TrappedLedger(lambda: firestore, settings().deliveries_collection)
        self.client = TrappedClient(settings(), timing, RestKeyCache(constant_key))
        self.ledger.traps = self.client.traps = traps
        tasks = SaidTasks(settings())
        tasks.lost = spec.lost_tasks
        self.worker = worker.Worker(settings(), lambda name: firestore, self.client, tasks, timing)
        self.worker.ledger = self.ledger
        self.free = asyncio.Semaphore(spec.at_once)
        self.ends_at = time.monotonic() + spec.patience

    async def run(self) -> None:
        await self.warm_up()
        if self.spec.starts_on_go:
            say("ready")
            sys.stdin.readline()
        began = time.monotonic()
        self.ends_at = began + self.spec.patience
        async with asyncio.TaskGroup() as deliveries:
            for number, event in enumerate(self.spec.events, 1):
                for _ in range(self.spec.copies):
                    deliveries.create_task(self.see_through(event))
                if self.spec.per_second:
                    say("came", event=event)
                    await asyncio.sleep(began + number / self.spec.per_second - time.monotonic())
        for task in self.spec.tasks:
            await self.see_through_task(task)
        if self.spec.sweeps:
            await self.sweep()
        await self.client.aclose()

    async def warm_up(self) -> None:
        """Read once: the first use imports for a second, which no lease and no timeout has."""
        while time.monotonic() < self.ends_at:
            with suppress(LedgerUnavailable):
                await self.ledger.read("0")
                return

    async def see_through(self, event: str) -> None:
        while True:
            async with self.free:
                answer = await self.deliver(event)
            if answer == "done" or time.monotonic() >= self.ends_at:
                return
            await asyncio.sleep(chance.uniform(0.1, 1) * REDELIVERY)

    async def see_through_task(self, task: Mapping[str, str]) -> None:
        while time.monotonic() < self.ends_at:
            try:
                await self.worker.chunks.send(**task)
            except TryAgainLater:
                await asyncio.sleep(REDELIVERY)
            else:
                return

    async def deliver(self, event: str) -> str:
        answer, reason = "done", None
        try:
            await self.worker.deliverer.deliver(self.change(event), self.handler)
        except TryAgainLater as error:
            answer, reason = "again", f"{type(error).__name__}: {error}"
        except Exception:  # noqa: BLE001 - it is one of the answers
            answer, reason = "broken", traceback.format_exc()
        say("answered", event=event, answer=answer, reason=reason)
        return answer

    async def handler(self, change: Change, look_up: LookUp) -> Push:
        push = Push(
            group_id=change.id,
            recipients=Recipients(custom_ids=people(self.spec.audience)),
            message=Message("Hello"),
        )
        if not self.spec.waits:
            return push
        begun, ends = change.time - HALF_A_NIGHT, change.time + HALF_A_NIGHT
        sender, *awake, sleeper, later = names(change.function, change.id)
        recipients = [
            Recipients(custom_ids=awake),
            Recipients(custom_ids=[sleeper], quiet=QuietHours(begun.time(), ends.time(), UTC)),
            Recipients(custom_ids=[later], send_at=change.time + A_WHILE),
        ]
        limits = [Limit((sender,), MANY), Limit((sender,), MANY, each=True)]
        return replace(push, recipients=recipients, sender=sender, limits=limits)

    def change(self, event: str) -> Change:
        """Each arena has a function of its own, and so records and entries of its own."""
        written = created(f"torture/{event}", {"id": event})
        time, function = datetime.fromisoformat(self.spec.time), self.ledger.collection
        return replace(written, id=event, time=time, function=function)

    async def sweep(self) -> None:
        for number in itertools.count(1):
            await self.worker.sweep.run()
            left = await self.ledger.unsettled(after="0", limit=1000)
            if not left or time.monotonic() >= self.ends_at:
                say("swept", sweeps=number, left=len(left))
                return
            await asyncio.sleep(REDELIVERY)


def names(arena: str, event: str) -> list[str]:
    """An event's sender, two readers who are awake, one in quiet hours and one with a send_at."""
    return [f"{arena}-{event}-{name}" for name in ("ann", "bob", "eve", "zoe", "tim")]


def people(count: int) -> list[str]:
    return [f"user-{number}" for number in range(count)]


async def constant_key() -> RestKey:
    return RestKey("torture-key")


def say(what: str, **about: Any) -> None:
    _said.write(json.dumps({"say": what, **about}) + "\n")
    _said.flush()


_said = sys.stdout


async def main(spec: Spec) -> None:
    if spec.most_tries is not None:
        batchpush.batch_api.requests.MAX_ATTEMPTS = spec.most_tries
    chance.seed(spec.seed)
    await Worker(spec).run()


if __name__ == "__main__":
    sys.stdout = sys.stderr
    asyncio.run(main(Spec.from_json(Path(sys.argv[1]).read_text())))
