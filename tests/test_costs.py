"""What an event takes, in figures that are the same on every machine; `make bench` has times."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import pytest

import main
from batchpush import worker
from batchpush.batch_api.client import MayBegin
from batchpush.batch_api.outcome import Reply
from batchpush.environment import settings
from batchpush.testing import Project
from batchpush.testing.batch import Batch
from batchpush.testing.memory import Memory
from benchmarks.scenarios import OUTBOX
from tests.deliveries import client_for, worker_in
from tests.garbage import Request

MAX_CALLS = 720  # of Python functions, without those of the line to Batch, grpc and the server
TEST_KIT = f"{os.sep}batchpush{os.sep}testing{os.sep}"
MAX_CALLS_FOR_A_CALL = 10  # of our own functions, for one call to Batch


class Accepting:
    """A Batch that takes every call at once, without a line to it."""

    def warm_up(self) -> None:
        pass

    async def send(self, app: str, body: bytes, may_begin: MayBegin) -> Reply:
        json.loads(body)
        assert may_begin()
        return Reply(201, b'{"token": "t"}')


async def test_an_event_costs_no_more_calls_of_functions_than_it_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = worker_in(Memory(), lambda: datetime.now(UTC), Accepting())
    monkeypatch.setattr(worker, "worker", lambda: made)
    headers, body = OUTBOX.event()
    headers["traceparent"] = f"00-{'a' * 32}-{'b' * 16}-01"
    found = []
    for number in range(5):
        with counted() as calls:
            answer = await main.outbox(Request(headers | {"ce-id": f"e{number}"}, body))
        assert answer == ("done", 200)
        found.append(calls[0])
    # The first imports what is kept, and garbage of other tests may be collected in any.
    assert min(found) <= MAX_CALLS


@pytest.mark.parametrize(("on", "read"), [("false", []), ("true", ["query"])])
async def test_texts_in_other_words_cost_nothing_while_they_are_off(
    on: str, read: list[str]
) -> None:
    project = Project({"users/ann": {}}, PUSH_TEXTS=on)
    order = {"status": "delivered", "customer_id": "ann"}
    await project.write("orders/o1", order)
    first, project.memory.operations = project.memory.operations, []
    with counted(f"events{os.sep}push_texts") as calls:
        await project.write("orders/o2", order)
    assert first.count("query") == len(read)
    assert "query" not in project.memory.operations  # at most one a minute
    # Off, an event calls one function there for its words, which finds none.
    assert calls[0] == (1 if on == "false" else 3)


async def test_the_other_platform_costs_nothing_while_no_app_is_on_it() -> None:
    project = Project({"users/ann": {}})
    await project.write("orders/o1", {"status": "delivered", "customer_id": "ann"})
    with counted(f"batch_api{os.sep}cep") as events, counted(f"batch_api{os.sep}meter") as waits:
        await project.write("orders/o2", {"status": "delivered", "customer_id": "ann"})
    assert (events[0], waits[0]) == (0, 0)


async def test_a_call_to_batch_costs_no_more_calls_of_our_functions_than_it_did() -> None:
    """httpx and aiohttp are left out: a new version of theirs is no fault of ours."""
    client = client_for(settings(), Batch())
    for _ in range(3):
        with counted(f"{os.sep}batchpush{os.sep}") as calls:
            assert (await client.send("ios", b"{}")).status == 201
    assert calls[0] <= MAX_CALLS_FOR_A_CALL


@contextmanager
def counted(where: str = "") -> Iterator[list[int]]:
    """The calls of Python functions that were made inside, of those in files with such a path.

    The test kit, which stands for services outside, is not counted.
    """
    calls = [0]

    def count(frame: FrameType, what: str, _: Any) -> None:
        file = frame.f_code.co_filename
        calls[0] += what == "call" and where in file and TEST_KIT not in file

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(before)
