"""What a large audience costs: memory, writes and time, from one recipient to a million.

    make bench               prints the table
    make bench WRITE=1       and writes it into docs/performance.md

Two apps; each row is a process of its own, against the Firestore emulator and a Batch emulator.
Memory is the highest resident size. Up to 10,000 recipients are listed; more are an `Audience`, as
if read from Firestore in pages.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.rest_key import RestKey, RestKeyCache
from batchpush.delivery.ledger import Ledger
from batchpush.environment import Settings
from batchpush.events.change import Change
from batchpush.events.lookup import PAGE, LookUp
from batchpush.google.cloud_tasks import Tasks
from batchpush.google.connection import Connection
from batchpush.google.firestore import Answer, Asked, Firestore, Method, Transport
from batchpush.google.protocol.firestore_pb2 import CommitRequest
from batchpush.pushes.push import MAX_RECIPIENTS, Audience, Message, Push, Recipients
from batchpush.timing import Timing
from batchpush.worker import Worker
from emulators.batch import running
from tests.events import created
from tests.tables import machine, write

SIZES = (1, 1_000, 10_000, 100_000, 1_000_000)


class Queue(Tasks):
    """Hands its tasks out in this process: what is measured is the work and not the queue."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.tasks: list[dict[str, Any]] = []

    async def enqueue(
        self, function: str, data: Mapping[str, Any], at: datetime | None = None
    ) -> None:
        self.tasks.append(dict(data))


class Counting:
    """The way to Firestore, on which what is written and read is counted."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.counts: Counter[str] = Counter()

    @property
    def database(self) -> str:
        return self._transport.database

    async def ask(self, method: Method[Asked, Answer], request: Asked) -> list[Answer]:
        answers = await self._transport.ask(method, request)
        if isinstance(request, CommitRequest):
            self.counts["writes"] += len(request.writes)
            self.counts["bytes"] += sum(write.ByteSize() for write in request.writes)
        else:
            self.counts["reads"] += len(answers)  # there is one for nothing, too, and it is billed
        return answers


async def deliver(size: int) -> dict[str, float]:
    settings = Settings.from_environment(os.environ | {"BATCH_APPS": "ios=I,android=A"})
    client = BatchClient(settings, Timing(), RestKeyCache(read_key))
    counting = Counting(Connection())
    firestore = Firestore(counting)
    ledger = Ledger(lambda: firestore, f"bench{uuid.uuid4().hex}")
    tasks = Queue(settings)
    worker = Worker(settings, lambda name: firestore, client, tasks)
    worker.ledger = ledger
    written = created("pushes/p1", {})
    change = replace(written, id=uuid.uuid4().hex, time=datetime.now(UTC), function="outbox")
    started = time.monotonic()
    await worker.deliverer.deliver(change, to_everybody(size))
    for task in tasks.tasks:
        await worker.chunks.send(**task)
    row = {"seconds": time.monotonic() - started, **counting.counts}
    entry = await ledger.read(change.delivery_id)
    assert entry is not None
    assert entry.record.state.value == "SENT", entry.record
    await client.aclose()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"reads": 0, "megabytes": peak, **row}


MESSAGE = Message("Everything must go", "Sale")


def to_everybody(size: int) -> Any:
    """A handler that lists its recipients, and streams those that are too many for one call."""
    pages = [range(start, min(start + PAGE, size)) for start in range(0, size, PAGE)]

    async def streamed() -> AsyncIterator[tuple[Recipients, Message]]:
        for page in pages:
            yield some(page), MESSAGE

    async def handler(change: Change, look_up: LookUp) -> Push:
        if size > MAX_RECIPIENTS:
            return Push(group_id="sale", recipients=Audience(streamed()))
        return Push(group_id="sale", recipients=some(range(size)), message=MESSAGE)

    return handler


def some(numbers: range) -> Recipients:
    """Ids as long as a Firebase user id."""
    return Recipients(custom_ids=[f"user-{number:022}" for number in numbers])


async def read_key() -> RestKey:
    return RestKey("local")


def measured(size: int, url: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.audience", str(size)]
    environment = os.environ | {"BATCH_API_URL": url, "LOG_LEVEL": "ERROR"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    row: dict[str, float] = json.loads(done.stdout)
    return row


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1].isdecimal():
        print(json.dumps(asyncio.run(deliver(int(sys.argv[1])))))
        return
    lines = [
        f"{machine()}:\n",
        "| recipients | documents written | written | documents read | peak memory | seconds |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    with running() as batch:
        for size in SIZES:
            row = measured(size, batch.url)
            batch.clear()
            lines.append(
                f"| {size:,} | {row['writes']:.0f} | {row['bytes'] / 1000:,.1f} kB "
                f"| {row['reads']:.0f} | {row['megabytes']:.0f} MB | {row['seconds']:.1f} |"
            )
    text = "\n".join(lines)
    print(text)
    if "--write" in sys.argv:
        write("performance.md", "make bench WRITE=1, audiences", text)


if __name__ == "__main__":
    main()
