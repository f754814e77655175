"""Whatever is written, and whatever comes as an event: an answer 200, a record, a line of JSON.

Through the function as it is served, the handler, the delivery and the client of Firestore.
`make torture` has 100,000 of them.
"""

import asyncio
import json
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

import main
from batchpush import worker
from batchpush.delivery import report
from batchpush.environment import process_settings
from batchpush.events import lookup
from batchpush.events.triggers import WATCHED as TRIGGERS
from batchpush.google.protocol.firestore_pb2 import BatchGetDocumentsResponse
from batchpush.google.realtime_database import RealtimeDatabase
from batchpush.google.sources import Instance
from batchpush.testing.memory import Memory
from tests.deliveries import worker_in
from tests.events import database_body
from tests.figures import figure
from tests.garbage import EXAMPLES, Garbage, Request, check_line, headers_for
from tests.seed import SEED

NOW = datetime(2026, 5, 4, 10, 21, tzinfo=UTC)

DELIVERING = re.findall(  # those that deliver a push; campaigns are judged by tests of their own
    r"async def (\w+)\(change.*\n +await deliver\(", Path("main.py").read_text(encoding="utf-8")
)
WATCHED = [
    (name, watched.path)
    for name, watched in TRIGGERS.items()
    if name.removesuffix("_rtdb") in {*DELIVERING, "outbox_changed"} - {"abandoned_cart"}
]
PEOPLE = ["ann", "bob"]
LIKELY: dict[str, Mapping[str, Any]] = {
    "message": {"sender_id": "ann", "text": "Hello", "recipient_ids": ["bob"]},
    "friend_request": {"status": "pending"},
    "credit_limit": {"spent": 10, "credit_limit": 5, "currency": "EUR"},
    "game_turn": {"current_player_id": "bob", "name": "Chess"},
    "order": {"status": "delivered", "customer_id": "ann", "number": "7"},
    "flight": {"status": "delayed", "number": "B1", "departs_at": 1, "passenger_ids": PEOPLE},
    "train": {"status": "cancelled", "number": "B1", "departs_at": 1, "passenger_ids": PEOPLE},
    "article": {"published": True, "topics": ["ski"], "title": "Snow", "push_time": None},
    "outbox": {
        "group_id": "g",
        "recipients": {"custom_ids": ["ann"]},
        "message": {"body": "Hello"},
        "media": {"picture": "https://example.com/p.jpg"},
        "deeplink": "myapp://x",
        "best_before": "2026-05-04T12:00:00Z",
    },
}
PROFILE = {"display_name": "Ann", "language": "fr", "batch": {"custom_ids": ["x"]}}


class Garbling(httpx.AsyncBaseTransport):
    """To a Realtime Database in which every document is there, and garbage."""

    def __init__(self, garbage: Garbage) -> None:
        self._garbage = garbage

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        value = self._garbage.document(PROFILE) if request.method == "GET" else None
        return httpx.Response(200, content=json.dumps(value, default=str).encode())


async def owner() -> dict[str, str]:
    return {}


class Garbled(Memory):
    """In it, every document that is looked up is there, and garbage."""

    def __init__(self, garbage: Garbage) -> None:
        super().__init__()
        self._garbage = garbage

    def found(self, name: str) -> BatchGetDocumentsResponse:
        path = name.partition("/documents/")[2]
        if not path.startswith(("users/", "conversations/")):
            return super().found(name)
        likely = PROFILE if path.startswith("users/") else {"member_ids": PEOPLE}
        found = BatchGetDocumentsResponse()
        document = self._garbage.firestore_document(path, self._garbage.document(likely))
        found.found.ParseFromString(document.SerializeToString())
        found.found.update_time.seconds = 1
        return found


@pytest.fixture
def garbage() -> Garbage:
    return Garbage(SEED)


@pytest.fixture
def memory(garbage: Garbage, monkeypatch: pytest.MonkeyPatch) -> Iterator[Memory]:
    memory = Garbled(garbage)
    made = worker_in(memory, now=lambda: NOW)
    monkeypatch.setattr(worker, "worker", lambda: made)
    monkeypatch.setenv("PUBLISH_ARTICLES", "followers")
    process_settings.cache_clear()
    realtime = RealtimeDatabase(Instance("demo", "us-central1"), Garbling(garbage), owner)
    for module in (lookup, report):
        monkeypatch.setattr(module, "realtime_database", lambda source: realtime)
    yield memory
    process_settings.cache_clear()


def example(garbage: Garbage, number: int) -> tuple[str, Request]:
    """A function, and a request to it."""
    function, pattern = garbage.random.choice(WATCHED)
    database = "database" if function.endswith("_rtdb") else "firestore"
    ids = ("ann", "x1", "é'\"", *(("a\n\x1b", "a.b") if database == "firestore" else ()))
    path = re.sub(r"\{\w+\}", lambda _: garbage.random.choice(ids), pattern)
    likely = next(
        fields for name, fields in LIKELY.items() if name in function or is_of(name, pattern)
    )
    after: Any = garbage.huge() if number % 500 == 0 else garbage.document(likely)
    before: Any = garbage.random.choice((None, {}, garbage.document(likely)))
    if garbage.random.random() < 0.02:
        after = None
    if database == "firestore":
        body = garbage.firestore_body(path, before, after)
    else:
        if garbage.random.random() < 0.05:
            after = garbage.value()
        body = database_body(before, after)
    headers = headers_for(database, path, f"e{number}")
    if garbage.random.random() < 0.1:
        headers = garbage.headers(headers)
    if garbage.random.random() < 0.1:
        body = garbage.body(body)
    return function, Request(headers, body)


def is_of(name: str, pattern: str) -> bool:
    return name == "message" and "messages" in pattern


def test_garbage_is_answered_with_200_and_a_line_of_json(
    memory: Memory, garbage: Garbage, capsys: pytest.CaptureFixture[str]
) -> None:
    took: list[float] = []
    ends: dict[str, int] = {}

    async def feed() -> None:
        for number in range(EXAMPLES):
            function, request = example(garbage, number)
            began = time.perf_counter()
            answer = await getattr(main, function)(request)
            took.append(time.perf_counter() - began)
            where = f"example {number} of seed {SEED}: {function} answered {answer}"
            assert answer == ("done", 200), f"{where}\n{capsys.readouterr().out[-3000:]}"
            for line in capsys.readouterr().out.splitlines():
                check_line(line, where)
            for document in memory.documents.values():
                state = document.fields["state"].string_value
                ends[state] = ends.get(state, 0) + 1
                reason = document.fields["reason"].string_value
                assert not re.match(r"\w+ at /", reason), f"{where}: {reason}"
            memory.documents.clear()

    asyncio.run(feed())
    assert {"SENT", "REFUSED"} <= ends.keys()  # some of it is well enough to go on
    took.sort()
    p99, longest = (1000 * took[int(share * (len(took) - 1))] for share in (0.99, 1))
    figure(
        f"{EXAMPLES:,} events of garbage",
        f"every one answered 200; {ends['SENT']:,} sent, {ends['REFUSED']:,} refused on record; "
        f"p99 {p99:.1f} ms, the longest {longest:.0f} ms",
    )


FORGED = [
    'x"}\n{"severity": "EMERGENCY", "message": "forged"}',
    "\x1b[2J\x1b]0;title\x07\r\n",
    "\u2028\u2029\x85\x9b31m",
    "\ud800",
    "x" * 1_000_000,
]


@pytest.mark.parametrize("text", FORGED, ids=["JSON", "a terminal", "lines", "half", "a megabyte"])
@pytest.mark.parametrize("where", ["value", "field", "id", "event"])
async def test_a_line_of_the_log_cannot_be_forged(
    text: str, where: str, memory: Memory, capsys: pytest.CaptureFixture[str]
) -> None:
    fields: dict[str, Any] = {"group_id": text if where == "value" else "g", "recipients": {}}
    fields["message"] = {text if where == "field" else "subject": "Hello"}
    path = f"pushes/{text if where == 'id' else 'p1'}"
    # A header is sent in Latin-1.
    event_id = text.encode("latin-1", "replace").decode("latin-1") if where == "event" else "e1"
    headers = headers_for("database", quote(path, errors="replace"), event_id)
    answer = await vars(main)["outbox_rtdb"](Request(headers, database_body(None, fields)))
    assert answer == ("done", 200)
    own_place = {"id": "document", "event": "event_id"}.get(where, "data")
    for line in capsys.readouterr().out.splitlines():
        check_line(line, where)
        assert {name for name, value in json.loads(line).items() if text[:9] in str(value)} <= {
            own_place,
            "data",
        }
