"""Carts that are left alone, on the real Firestore emulator."""

import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
from google.cloud.firestore import AsyncClient

import batchpush.events.untouched
from batchpush.errors import LookUpFailed
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp
from batchpush.events.untouched import Untouched
from batchpush.google.connection import Connection
from batchpush.google.firestore import Firestore, Query, Stored
from batchpush.pushes.push import Push
from batchpush.testing import ManualClock
from emulators import batch
from tests.deliveries import REST_KEY, remind, worker_for

pytestmark = pytest.mark.suite

DAY = timedelta(hours=24)


@pytest.fixture(scope="module")
def server() -> Iterator[batch.Batch]:
    with batch.running(apps={"ios": "IOSKEY", "android": "ANDROIDKEY"}, rest_keys=[REST_KEY]) as it:
        yield it


@pytest.fixture
def api(server: batch.Batch) -> batch.Batch:
    server.clear_faults()
    server.clear()
    return server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Shop:
    """Its carts, in a collection of its own, and what looks for those that are left alone."""

    def __init__(self, url: str, clock: ManualClock) -> None:
        self.clock = clock
        self.worker = worker_for(url, f"t{uuid.uuid4().hex}", clock, BATCH_APPS="ios=IOSKEY")
        self.ledger = self.worker.ledger
        self.client = AsyncClient(project="demo-batchpush")
        self.firestore = Firestore(Connection())
        self.collection = f"c{uuid.uuid4().hex}"
        self.broken = False

        async def remind_unless_broken(cart: Change, look_up: LookUp) -> Push:
            if self.broken:
                raise LookUpFailed("Firestore: Unavailable")
            return await remind(cart, look_up)

        async def reminded(cart: Change) -> None:
            await self.worker.deliverer.deliver(cart, remind_unless_broken)

        reminded.__name__ = f"remind_{self.collection}"
        self.function = reminded

    async def touch(self, user_id: str, ago: timedelta = timedelta(0)) -> None:
        cart = {"items": ["hat"], "updated_at": self.clock.now() - ago}
        await self.client.collection(self.collection).document(user_id).set(cart)

    async def look(self) -> None:
        untouched = Untouched(lambda: self.firestore, self.clock.now)
        await untouched.call(self.function, f"{self.collection}/{{user_id}}", DAY)


@pytest.fixture
async def shop(api: batch.Batch, clock: ManualClock) -> AsyncIterator[Shop]:
    shop = Shop(api.url, clock)
    yield shop
    await shop.worker.client.aclose()


def told(api: batch.Batch) -> list[str]:
    return [call["body"]["recipients"]["custom_ids"][0] for call in api.calls()]


async def test_who_left_a_cart_alone_is_told_once(shop: Shop, api: batch.Batch) -> None:
    await shop.touch("ann", DAY + timedelta(minutes=5))
    await shop.touch("bob", DAY - timedelta(minutes=5))
    for _ in range(3):
        await shop.look()
    assert told(api) == ["ann"]
    shop.clock.forward(600)
    await shop.look()
    assert told(api) == ["ann", "bob"]


async def test_a_cart_that_is_touched_again_is_another_one(shop: Shop, api: batch.Batch) -> None:
    await shop.touch("ann", DAY + timedelta(minutes=5))
    await shop.look()
    await shop.touch("ann")
    await shop.look()
    assert told(api) == ["ann"]
    shop.clock.forward(DAY.total_seconds() + 60)
    await shop.look()
    assert told(api) == ["ann", "ann"]


async def test_what_a_look_could_not_do_is_found_by_the_next(shop: Shop, api: batch.Batch) -> None:
    await shop.touch("ann", DAY + timedelta(minutes=5))
    shop.broken = True
    await shop.look()
    shop.broken = False
    await shop.look()
    assert told(api) == ["ann"]


async def test_what_batch_did_not_take_is_left_to_the_sweep(shop: Shop, api: batch.Batch) -> None:
    await shop.touch("ann", DAY + timedelta(minutes=5))
    api.fault(status=503, times=5)
    await shop.look()
    api.clear_faults()
    await shop.look()
    assert len(told(api)) == 5
    shop.clock.forward(shop.worker.timing.redelivery)
    await shop.worker.sweep.run()
    assert len(told(api)) == 6


async def test_a_look_that_dies_midway_tells_nobody_twice(
    shop: Shop, api: batch.Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        await shop.touch(f"user{number}", DAY + timedelta(minutes=number + 1))

    async def dies(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr(Untouched, "_come_to", dies)
        with pytest.raises(RuntimeError):
            await shop.look()
    await shop.look()
    assert sorted(told(api)) == [f"user{number}" for number in range(5)]


async def test_more_than_a_page_is_told_oldest_first(
    shop: Shop, api: batch.Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batchpush.events.untouched, "PAGE", 2)
    for number in range(5):
        await shop.touch(f"user{number}", DAY + timedelta(minutes=5))
    await shop.look()
    assert sorted(told(api)) == [f"user{number}" for number in range(5)]


async def test_a_look_that_finds_nothing_reads_no_cart(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shop.touch("ann")
    found: list[list[Stored]] = []

    async def counted(firestore: Firestore, query: Query) -> list[Stored]:
        found.append(await find(firestore, query))
        return found[-1]

    find = Firestore.find
    monkeypatch.setattr(Firestore, "find", counted)
    await shop.look()
    assert found == [[]]


async def test_a_cart_with_a_reference_into_another_database_keeps_nobody_from_being_told(
    shop: Shop, api: batch.Batch
) -> None:
    elsewhere = AsyncClient(project="demo-batchpush", database="other").document("hats/1")
    cart = {"items": [elsewhere], "updated_at": shop.clock.now() - DAY - timedelta(minutes=5)}
    await shop.client.collection(shop.collection).document("ann").set(cart)
    await shop.touch("bob", DAY + timedelta(minutes=5))
    await shop.look()
    assert sorted(told(api)) == ["ann", "bob"]


async def test_a_cart_from_long_before_the_first_look_is_left_alone(
    shop: Shop, api: batch.Batch
) -> None:
    await shop.touch("ann", timedelta(days=9))
    await shop.look()
    assert told(api) == []
