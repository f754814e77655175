"""What the tests of the ledger and of the delivery share: records and deliverers."""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.rest_key import RestKey, RestKeyCache
from batchpush.delivery.ledger import Ledger
from batchpush.delivery.record import CallRecord, DeliveryState, Record
from batchpush.environment import Settings
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp
from batchpush.google.connection import Connection
from batchpush.google.firestore import Answer, Asked, Firestore, Method, Transport
from batchpush.pushes.push import Message, Push, Recipients
from batchpush.testing import ManualClock, Memory, Queue
from batchpush.testing.batch import Batch
from batchpush.timing import Clock, Timing
from batchpush.worker import Worker
from tests.events import created

REST_KEY = "key-1"
TIMING = Timing(call=1.0)


async def _read_key() -> RestKey:
    return RestKey(REST_KEY)


def client_for(
    settings: Settings,
    transport: httpx.AsyncBaseTransport | None = None,
    timing: Timing = TIMING,
) -> BatchClient:
    return BatchClient(settings, timing, RestKeyCache(_read_key), transport)


class Counted:
    """A way to Firestore that remembers what was asked on it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.requests: list[tuple[str, Any]] = []

    @property
    def database(self) -> str:
        return self._transport.database

    async def ask(self, method: Method[Asked, Answer], request: Asked) -> list[Answer]:
        self.requests.append((method.name, request))
        return await self._transport.ask(method, request)


def ledger_for(collection: str, transport: Transport | None = None) -> Ledger:
    """A ledger whose requests can be counted: on the emulator, or on this transport."""
    firestore = Firestore(Counted(transport or Connection()))
    return Ledger(lambda: firestore, collection)


def worker_for(
    url: str,
    collection: str,
    time: ManualClock,
    transport: Transport | None = None,
    timing: Timing = TIMING,
    **environment: str,
) -> Worker:
    """A worker against a Batch emulator, and the Firestore emulator or this transport."""
    settings = Settings.from_environment(
        {"BATCH_APPS": "ios=IOSKEY,android=ANDROIDKEY", "BATCH_API_URL": url}
        | {"DELIVERIES_COLLECTION": collection}
        | environment
    )
    firestore = Firestore(Counted(transport or Connection()))
    return Worker(
        settings=settings,
        databases=lambda name: firestore,
        client=client_for(settings, timing=timing),
        tasks=Queue(settings),
        timing=timing,
        clock=Clock(time.now, lambda: 1.0, time.sleep),
    )


def worker_in(
    memory: Memory, now: Callable[[], datetime], client: Any = None, **environment: str
) -> Worker:
    """A worker against Firestore in memory and a Batch that takes everything, or this one."""
    settings = Settings.from_environment(
        {"BATCH_APPS": "ios=A,android=B", "DELIVERIES_COLLECTION": "d"} | environment
    )
    firestore = Firestore(memory)

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    return Worker(
        settings=settings,
        databases=lambda name: firestore,
        client=client or client_for(settings, Batch()),
        tasks=Queue(settings),
        clock=Clock(now, sleep=sleep),
    )


def change_at(time: ManualClock, path: str = "users/ann", **fields: Any) -> Change:
    return replace(created(path, fields), id=uuid.uuid4().hex, time=time.now())


async def greet(change: Change, look_up: LookUp) -> Push:
    return Push(
        group_id="greeting", recipients=Recipients(custom_ids=["bob"]), message=Message("Hello")
    )


async def remind(cart: Change, look_up: LookUp) -> Push:
    return Push(
        group_id="cart",
        recipients=Recipients(custom_ids=[cart.params["user_id"]]),
        message=Message("Still there"),
        fresh_for=timedelta(hours=6),
    )


def claimed(owner: str = "first", now: datetime | None = None, **fields: Any) -> Record:
    now = now or datetime.now(UTC)
    record = Record(
        id=uuid.uuid4().hex * 2,
        function="f",
        source="//firestore.googleapis.com/projects/p/databases/(default)",
        event_id="e",
        event_time=now,
        document="users/ann",
        state=DeliveryState.CLAIMED,
        created_at=now,
        updated_at=now,
        best_before=now + timedelta(hours=1),
        expire_at=now + timedelta(days=30),
        owner=owner,
        lease_until=now + timedelta(seconds=60),
        calls=(CallRecord("ios", 0), CallRecord("android", 0)),
        bodies=('{"group_id":"g"}',),
    )
    return replace(record, **fields)


@contextmanager
def rpcs(ledger: Ledger) -> Iterator[list[str]]:
    """The names of the calls to Firestore that are made meanwhile, on a ledger of this module."""
    counted = ledger.firestore.transport
    assert isinstance(counted, Counted)
    before, made = len(counted.requests), list[str]()
    try:
        yield made
    finally:
        made += [name for name, _ in counted.requests[before:]]
