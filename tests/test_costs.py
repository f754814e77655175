"""What an event takes, in figures that are the same on every machine; `make bench` has times."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import FrameType
from typing import Any

import pytest

import main
from batchpush import worker
from benchmarks.load import event
from tests.deliveries import worker_in
from tests.firestore import Memory
from tests.garbage import Request

MAX_CALLS = 800  # of Python functions, without those of aiohttp, grpc and the server


async def test_an_event_costs_no_more_calls_of_functions_than_it_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = worker_in(Memory(), now=lambda: datetime.now(UTC))
    monkeypatch.setattr(worker, "worker", lambda: made)
    headers, body = event()
    for number in range(3):  # what is imported and kept comes with the first
        with counted() as calls:
            answer = await main.outbox(Request(headers | {"ce-id": f"e{number}"}, body))
        assert answer == ("done", 200)
    assert calls[0] <= MAX_CALLS


@contextmanager
def counted() -> Iterator[list[int]]:
    """The calls of Python functions that were made inside."""
    calls = [0]

    def count(frame: FrameType, what: str, _: Any) -> None:
        calls[0] += what == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield calls
    finally:
        sys.setprofile(before)
