"""Campaigns, articles and results made of garbage: an answer 200, a state, a line of JSON.

As for pushes, through the functions as they are served, on a Firestore in which every document is
garbage. `make torture` has 10,000 of each.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.message import DecodeError

import main
from batchpush import worker
from batchpush.batch_api.client import MayBegin
from batchpush.batch_api.outcome import Reply
from batchpush.environment import Settings
from batchpush.google.cloud_tasks import Tasks
from batchpush.google.firestore import Firestore
from batchpush.google.protocol.firestore_pb2 import Document
from batchpush.testing.memory import Memory
from batchpush.timing import Clock
from tests.figures import figure
from tests.garbage import EXAMPLES, Garbage, Request, check_line, headers_for
from tests.seed import SEED

NOW = datetime(2026, 5, 4, 10, 21, tzinfo=UTC)
SETTINGS = Settings.from_environment({"BATCH_APPS": "ios=A,android=B", "PUBLISH_ARTICLES": "live"})

LIKELY = {
    "campaigns": {
        "name": "Summer sale",
        "live": True,
        "push_time": "2030-06-01T09:00:00Z",
        "messages": {"en": {"title": "Sale", "body": "Half price"}},
        "targeting": {"segments": ["NEW"]},
        "media": {"picture": "https://example.com/p.jpg"},
        "deeplink": "myapp://sale",
        "labels": ["SALES"],
        "batch": {"recurrence": {"frequency": "daily"}},
    },
    "articles": {
        "published": True,
        "title": {"en": "Storm", "fr": "Tempête"},
        "topics": ["weather"],
        "summary": "Stay at home",
        "image_url": "https://example.com/p.jpg",
        "push_time": "2030-06-01T09:00:00Z",
    },
}
DAY = {"date": "2026-05-03", "sent": 10, "direct_open": 2, "influenced_open": 1, "versions": {}}


class Batch:
    """Takes every campaign, and has results of all kinds."""

    def __init__(self, garbage: Garbage) -> None:
        self._garbage = garbage

    async def request(
        self, app: str, method: str, route: str, body: bytes | None, _: MayBegin
    ) -> Reply:
        json.loads(body or b"{}")
        if "stats" not in route:
            return Reply(201, b'{"campaign_token": "t"}')
        rows = [self._garbage.document(DAY) for _ in range(3)] + [self._garbage.value()]
        return Reply(200, json.dumps({"detail": rows}).encode())


async def at_once(_: float) -> None:
    """Nobody waits here."""


class World:
    """Of documents by their paths, and what watches them."""

    def __init__(self) -> None:
        self.garbage = Garbage(SEED)
        self.memory = Memory()
        self.firestore = Firestore(self.memory)
        self.worker = worker.Worker(
            SETTINGS,
            databases=lambda name: self.firestore,
            client=Batch(self.garbage),  # type: ignore[arg-type]
            tasks=Tasks(SETTINGS),
            clock=Clock(lambda: NOW, lambda: 0.5, at_once),
        )

    def put(self, path: str, fields: dict[str, Any]) -> None:
        """As somebody may have written it who is not us."""
        made = Document()
        document = self.garbage.firestore_document(path, fields)
        with suppress(DecodeError):  # deeper than Firestore's documents are
            made.ParseFromString(document.SerializeToString())
        made.name = self.memory.name_of(path)
        self.memory.store(made)

    def put_whole(self, path: str, fields: dict[str, Any]) -> None:
        """As our own functions write it."""
        self.memory.store(self.firestore.put(path, fields).update)

    def of(self, collection: str) -> list[Document]:
        documents = self.memory.documents
        return [made for name, made in documents.items() if f"/{collection}/" in name]

    def event(self, collection: str, number: int) -> Request:
        """A document is written, and may be another one by the time that its event comes."""
        garbage, path = self.garbage, f"{collection}/{number}"
        likely = LIKELY[collection]
        before = garbage.random.choice((None, garbage.document(likely)))
        after = garbage.huge() if number % 500 == 0 else garbage.document(likely)
        if garbage.random.random() < 0.9:
            self.put(path, after)
        if garbage.random.random() < 0.2:
            self.put(f"campaigns/article-{number}", garbage.document({"live": True}))
        headers = headers_for("firestore", path, f"e{number}")
        body = garbage.firestore_body(path, before, after)
        if garbage.random.random() < 0.1:
            headers = garbage.headers(headers)
        if garbage.random.random() < 0.1:
            body = garbage.body(body)
        return Request(headers, body)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(worker, "worker", lambda: world.worker)
    return world


def feed(
    function: Any, requests: Callable[[int], Request], capsys: pytest.CaptureFixture[str]
) -> int:
    count = max(200, EXAMPLES // 10)

    async def fed() -> None:
        for number in range(count):
            answer = await function(requests(number))
            where = f"example {number} of seed {SEED}: {function.__name__} answered {answer}"
            said = capsys.readouterr().out
            assert answer == ("done", 200), f"{where}\n{said[-3000:]}"
            for line in said.splitlines():
                check_line(line, where)

    asyncio.run(fed())
    return count


def test_campaigns_of_garbage_end_with_a_state(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    ends: Counter[str] = Counter()

    def event(number: int) -> Request:
        ends.update(each.fields["state"].string_value for each in world.of("batch"))
        world.memory.documents.clear()
        return world.event("campaigns", number)

    count = feed(main.campaign, event, capsys)
    assert {"APPLIED", "REFUSED"} <= ends.keys() <= {"APPLIED", "REFUSED", "ABSENT"}
    figure(
        f"{count:,} campaigns of garbage, for two apps",
        f"every event answered 200; {ends['APPLIED']:,} at Batch, {ends['REFUSED']:,} refused on "
        "record",
    )


def test_articles_of_garbage_are_campaigns_or_nothing(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    made = 0

    def event(number: int) -> Request:
        nonlocal made
        made += any("topics" in json.dumps(str(each)) for each in world.of("campaigns"))
        world.memory.documents.clear()
        return world.event("articles", number)

    count = feed(main.article, event, capsys)
    assert made
    figure(f"{count:,} articles of garbage", f"every event answered 200; {made:,} campaigns")


def test_results_of_garbage_keep_nobody_from_his_own(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = 0

    def schedule(number: int) -> Request:
        nonlocal kept
        kept += len(world.of("stats"))
        world.memory.documents.clear()
        token = world.garbage.random.choice(("t", "a/b", "", 7))  # a person may have written it
        state = {"state": "APPLIED", "campaign_token": token, "stats_at": NOW}
        world.put_whole("campaigns/c1/batch/ios", state)
        return Request({}, world.garbage.body(b"{}"))

    count = feed(main.pull_stats, schedule, capsys)
    assert kept
    figure(
        f"{count:,} answers of garbage for the results of a campaign",
        f"every run answered 200; {kept:,} days kept",
    )
