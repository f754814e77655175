"""The REST key is changed under load, well and badly; on a virtual clock."""

import asyncio
import itertools
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.rest_key import MIN_REFRESH_INTERVAL, RestKey, RestKeyCache
from batchpush.environment import Settings
from batchpush.google.firestore import Firestore
from batchpush.testing import Queue
from batchpush.testing.memory import Memory
from batchpush.timing import Clock, Timing
from batchpush.worker import Worker
from tests.deliveries import greet
from tests.events import created
from tests.figures import figure
from tests.seed import SEED
from tests.virtual import START, Instance, Platform, now, run, seconds

PER_SECOND = 2
CHANGED = 100.0  # seconds after the start; the first keys are read at 0 and 80
SETTINGS = Settings.from_environment({"BATCH_APPS": "ios=IOSKEY,android=ANDROIDKEY"})
ANSWERS = {
    201: b'{"token": "t"}',
    401: b'{"code": 10, "type": "AUTHENTICATION_INVALID", "message": "no"}',
}


class World(httpx.AsyncBaseTransport):
    """Two instances, of which the second starts just before the key is changed.

    Batch takes the key `new` from the change on, and `old` before; Secret Manager gives `wrong`
    for so many seconds after the change.
    """

    def __init__(self, wrong_for: float) -> None:
        self._right_at = CHANGED + wrong_for
        self.memory = Memory()
        self.reads: list[list[float]] = []
        self.calls: list[tuple[float, str, int]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        key = request.headers["X-Authorization"]
        await asyncio.sleep(0.05)
        status = 201 if key == ("old" if seconds() < CHANGED else "new") else 401
        self.calls.append((seconds(), key, status))
        return httpx.Response(status, content=ANSWERS[status])

    def instance(self) -> Instance:
        reads: list[float] = []
        self.reads.append(reads)

        async def read() -> RestKey:
            reads.append(seconds())
            await asyncio.sleep(0.1)
            if seconds() < CHANGED:
                return RestKey("old")
            return RestKey("wrong" if seconds() < self._right_at else "new")

        keys = RestKeyCache(read, clock=seconds)
        client = BatchClient(SETTINGS, Timing(), keys, transport=self)
        firestore = Firestore(self.memory)
        worker = Worker(SETTINGS, lambda name: firestore, client, Queue(SETTINGS), clock=Clock(now))

        async def deliver(event: int) -> None:
            at = START + timedelta(seconds=event / PER_SECOND)
            change = replace(created(f"users/{event}", {}), id=str(event), time=at)
            await worker.deliverer.deliver(change, greet)

        return deliver

    async def lives(self, until: float, quiet_after: float) -> Platform:
        platform = Platform([self.instance()], SETTINGS.concurrency, SEED)
        work = []
        for event in range(int(until * PER_SECOND)):
            if event == int((CHANGED - 20) * PER_SECOND):
                platform.starts(self.instance())
            work.append(asyncio.create_task(platform.brings(event)))
            await asyncio.sleep(1 / PER_SECOND)
        async with asyncio.timeout(quiet_after):
            await asyncio.gather(*work)
        return platform


@pytest.mark.parametrize("minutes_wrong", [0, 10])
def test_a_change_of_the_key_under_load_loses_nothing(minutes_wrong: int) -> None:
    world = World(wrong_for=minutes_wrong * 60)
    right_at = CHANGED + minutes_wrong * 60
    platform = run(world.lives(until=right_at + 60, quiet_after=900))

    states = [each.fields["state"].string_value for each in world.memory.documents.values()]
    assert states == ["SENT"] * len(platform.done_at)  # nothing is dead, and nothing is missing
    for reads in world.reads:
        assert all(b - a >= MIN_REFRESH_INTERVAL for a, b in itertools.pairwise(reads))
    last = max(at for at, key, _ in world.calls if key != "new")
    assert last <= right_at + 35
    assert sum(status == 201 for _, _, status in world.calls) == 2 * len(platform.done_at)
    what = f"a wrong key for {minutes_wrong} minutes" if minutes_wrong else "a new key"
    figure(
        f"{what}, the old one refused at once, {PER_SECOND} events a second",
        f"every event sent once; the last call with another key {last - right_at:.0f} s after the "
        f"right one was there; {max(map(len, world.reads))} reads of the secret by an instance",
    )
