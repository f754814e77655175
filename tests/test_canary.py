"""A REST key that would be known again anywhere, through all that can go wrong."""

import asyncio
import base64
import io
import logging
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import pytest

import batchpush
import batchpush.cli.main as cli
from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.rest_key import RestKeyCache, key_reader
from batchpush.cli.deliveries import deliveries as listed
from batchpush.cli.deliveries import show
from batchpush.cli.records import OnRecords
from batchpush.cli.replay import replay
from batchpush.environment import Settings, process_settings
from batchpush.errors import TryAgainLater
from batchpush.events.callables import CallableRequest, CallRefused, answer
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp
from batchpush.google.firestore import Firestore
from batchpush.pushes.push import Message, Push, Recipients
from batchpush.testing import ManualClock, Queue
from batchpush.testing.memory import Memory
from batchpush.timing import Clock
from batchpush.worker import Worker
from emulators import secret_manager
from tests.deliveries import TIMING, change_at, greet

CANARY = "C4n4ry/Rest+Key=7f3a%9b&d1"
APP_KEYS = ("IOSAPPKEY", "ANDROIDAPPKEY")


def forms(secret: str) -> Iterator[str]:
    """How a text may be written, as it stands or inside of another."""
    raw = secret.encode()
    yield secret
    yield quote(secret, safe="")
    yield quote(secret)
    yield raw.hex()
    yield raw.hex().upper()
    for shift in range(3):  # where it begins inside of what is encoded
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            inside = encode(b"\0" * shift + raw).decode().rstrip("=")
            yield inside[4:-2]


def found(secret: str, text: str) -> list[str]:
    return [form for form in forms(secret) if form in text]


@pytest.mark.parametrize("encode", [str, quote, lambda s: s.encode().hex()])
def test_the_canary_is_found_where_it_is(encode: Callable[[str], str]) -> None:
    assert found(CANARY, f"log: {encode(CANARY)} and more")


@pytest.mark.parametrize("before", ["", "a", "ab", "abc"])
def test_the_canary_is_found_inside_of_base64(before: str) -> None:
    assert found(CANARY, base64.b64encode(f"{before}{CANARY}, and more".encode()).decode())


# A Batch that says the key back, in every way that it has


def http(status: int, body: str, headers: str = "") -> Callable[[str], bytes]:
    def said(key: str) -> bytes:
        text = body.replace("KEY", key).encode()
        head = (
            f"HTTP/1.1 {status} {key}\r\nContent-Length: {len(text)}\r\nX-Key: {key}\r\n{headers}"
        )
        return f"{head}\r\n".encode() + text

    return said


ERROR = '{"code": 10, "type": "KEY", "message": "the key KEY is not valid"}'
ANSWERS: Mapping[str, Callable[[str], bytes]] = {
    **{f"{status}": http(status, ERROR) for status in (200, 400, 401, 403, 404, 413, 500, 503)},
    "429": http(429, ERROR, "Retry-After: 1\r\n"),
    "201 with the key for a token": http(201, '{"token": "KEY"}'),
    "201, cut": lambda key: http(201, '{"token": "KEY"}')(key)[:-3],
    "302": http(302, "KEY", f"Location: https://example.com/{CANARY}\r\n"),
    "502, a web page": http(502, "<html>KEY"),
    "a broken status line": lambda key: f"{key} nonsense\r\n\r\n".encode(),
    "a broken header": lambda key: f"HTTP/1.1 201 OK\r\n{key}\x00: a\r\n\r\n".encode(),
    "no answer": lambda key: b"",
    "a wrong length": http(201, ERROR, "Content-Length: 7\r\n"),
    "a wrong encoding": http(201, ERROR, "Content-Encoding: gzip\r\n"),
    "a broken chunk": http(201, "KEY\r\nKEY", "Transfer-Encoding: chunked\r\n"),
}


@asynccontextmanager
async def telltale(says: Callable[[str], bytes]) -> AsyncIterator[str]:
    """A server that answers every call like this; its address."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in head)
        }
        await reader.readexactly(int(headers["content-length"]))
        assert headers["x-authorization"] == CANARY
        writer.write(says(headers["x-authorization"]))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1")
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def to_many(change: Change, look_up: LookUp) -> Push:
    everybody = Recipients(custom_ids=[f"user-{number}" for number in range(10_001)])
    return Push(group_id="many", recipients=everybody, message=Message("Hello"))


async def clumsy(change: Change, look_up: LookUp) -> Push:
    raise RuntimeError(repr(vars(change)))


class Witness:
    """Everything that anybody gets to see."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._logged = io.StringIO()
        self.handler = logging.StreamHandler(self._logged)

    async def watches(self, work: Any) -> None:
        try:
            await work
        except (TryAgainLater, CallRefused) as error:
            self.seen += [repr(error), *traceback.format_exception(error)]

    def sees(self, *things: object) -> None:
        self.seen += [f"{thing!r} {thing} {getattr(thing, '__dict__', '')}" for thing in things]

    def logged(self) -> str:
        return self._logged.getvalue()


@pytest.fixture
def witness() -> Iterator[Witness]:
    witness, root = Witness(), logging.getLogger()
    level = root.level
    root.addHandler(witness.handler)
    root.setLevel(logging.DEBUG)
    yield witness
    root.setLevel(level)
    root.removeHandler(witness.handler)


@pytest.fixture(autouse=True)
def everything_is_logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LOG_LEVEL", "DEBUG")
    process_settings.cache_clear()
    yield
    monkeypatch.undo()
    process_settings.cache_clear()


@pytest.fixture
def secrets(service_account: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", service_account)
    with secret_manager.running() as secrets:
        secrets.add_version("demo-batchpush", "batch-rest-api-key", CANARY)
        yield secrets.url


def worker_for(url: str, secrets: str, memory: Memory, clock: ManualClock) -> Worker:
    chosen = Settings.from_environment(
        {
            "BATCH_APPS": f"ios={APP_KEYS[0]},android={APP_KEYS[1]}",
            "BATCH_API_URL": url,
            "SECRET_MANAGER_URL": secrets,
            "DELIVERIES_COLLECTION": "d",
        }
    )
    firestore = Firestore(memory)
    return Worker(
        settings=chosen,
        databases=lambda name: firestore,
        client=BatchClient(chosen, TIMING, RestKeyCache(key_reader(chosen))),
        tasks=Queue(chosen),
        timing=TIMING,
        clock=Clock(clock.now, sleep=clock.sleep),
    )


@pytest.mark.parametrize("says", ANSWERS.values(), ids=ANSWERS)
async def test_the_rest_key_is_never_seen(
    says: Callable[[str], bytes],
    witness: Witness,
    secrets: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    memory, clock = Memory(), ManualClock()
    async with telltale(says) as url:
        worker = worker_for(url, secrets, memory, clock)
        await deliveries(worker, witness, clock)
        witness.sees(worker, *vars(worker).values(), *memory.documents.values())
        witness.sees(*vars(worker.client).values(), *vars(batchpush).values())
        ids = [name.rpartition("/")[2] for name in memory.documents if name.count("/") == 6]
        for record_id in ids:
            await operate(worker, show, "show", record_id)
        await operate(
            worker, listed, "deliveries", "--json", "--state", "SENT", "REFUSED", "HELD", "RETRY"
        )
        await operate(worker, replay, "replay", *ids, "--send")
        await worker.client.aclose()
    logged = "\n".join((*capfd.readouterr(), witness.logged()))
    assert "push." in logged
    assert not found(CANARY, "\n".join((logged, *witness.seen)))
    assert not [key for key in APP_KEYS if key in logged]


async def deliveries(worker: Worker, witness: Witness, clock: ManualClock) -> None:
    """An event for everything that may be delivered, each of them twice."""
    changes = [change_at(clock) for _ in range(3)]
    for _ in range(2):
        for change, handler in zip(changes, (greet, to_many, clumsy), strict=True):
            await witness.watches(worker.deliverer.deliver(change, handler))
        clock.forward(TIMING.lease)
    for name, task in worker.tasks.tasks[:1]:  # type: ignore[attr-defined]
        witness.sees(name, task)
        await witness.watches(worker.chunks.send(task["delivery"], task["chunk"]))

    async def called(call: CallableRequest) -> None:
        await worker.deliverer.deliver(call.change, greet)

    await witness.watches(answer(called, "ann", {"request_id": "request-1"}))


async def operate(worker: Worker, command: OnRecords, *arguments: str) -> None:
    """The operator's command line, without its start and end."""
    await command(cli.parser().parse_args(arguments), worker)
