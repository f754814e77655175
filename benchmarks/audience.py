"""What a large audience costs: memory, writes and time, from one recipient to a million.

    make bench

Two apps; each row is a process of its own, against the Firestore emulator and a Batch stand-in.
Memory is the highest resident size, the recipients' ids included.
"""

import asyncio
import json
import os
import resource
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from batchpush.change import Change, Document
from batchpush.client import BatchClient
from batchpush.delivery import Deliverer
from batchpush.firebase import firestore
from batchpush.ledger import Ledger
from batchpush.lookup import LookUp
from batchpush.push import Message, Push, Recipients
from batchpush.record import record_id
from batchpush.rest_key import RestKey, RestKeyCache
from batchpush.settings import Settings
from batchpush.tasks import Tasks
from batchpush.timing import Timing
from emulators.batch import running

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


class Counting(Ledger):
    """Counts the documents written."""

    writes = 0

    def chunks_of(self, record_id: str) -> "Counting":
        return Counting(self._client, super().chunks_of(record_id)._collection)

    async def _commit(self, writes: Sequence[Any]) -> Any:
        Counting.writes += len(writes)
        return await super()._commit(writes)


async def deliver(size: int) -> dict[str, float]:
    settings = Settings.from_environment(os.environ | {"BATCH_APPS": "ios=I,android=A"})
    client = BatchClient(settings, Timing(), RestKeyCache(read_key))
    ledger = Counting(lambda: firestore("(default)"), f"bench{uuid.uuid4().hex}")
    tasks = Queue(settings)
    deliverer = Deliverer(ledger, client, tasks, settings)
    change = Change(
        id=uuid.uuid4().hex,
        source="//firestore.googleapis.com/projects/p/databases/(default)",
        path="pushes/p1",
        params={},
        before=None,
        after=Document("pushes/p1", {}),
        time=datetime.now(UTC),
        database="firestore",
        function="outbox",
    )
    started = time.monotonic()
    await deliverer.deliver(change, to_everybody(size))
    for task in tasks.tasks:
        await deliverer.send_chunk(**task)
    seconds = time.monotonic() - started
    entry = await ledger.read(record_id(change.function, change.source, change.id))
    assert entry is not None
    assert entry.record.state.value == "SENT", entry.record
    await client.aclose()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"writes": Counting.writes, "megabytes": peak, "seconds": seconds}


def to_everybody(size: int) -> Any:
    async def handler(change: Change, look_up: LookUp) -> Push:
        ids = [f"user-{number:022}" for number in range(size)]  # as long as a Firebase user id
        message = Message("Everything must go", "Sale")
        return Push(group_id="sale", recipients=Recipients(custom_ids=ids), message=message)

    return handler


async def read_key() -> RestKey:
    return RestKey("local")


def measured(size: int, url: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.audience", str(size)]
    environment = os.environ | {"BATCH_API_URL": url, "LOG_LEVEL": "ERROR"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    row: dict[str, float] = json.loads(done.stdout)
    return row


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(asyncio.run(deliver(int(sys.argv[1])))))
        return
    print("| recipients | writes | peak memory | seconds |\n|---:|---:|---:|---:|")
    with running() as batch:
        for size in SIZES:
            row = measured(size, batch.url)
            batch.clear()
            memory, seconds = f"{row['megabytes']:.0f} MB", f"{row['seconds']:.1f}"
            print(f"| {size:,} | {row['writes']:.0f} | {memory} | {seconds} |", flush=True)


if __name__ == "__main__":
    main()
