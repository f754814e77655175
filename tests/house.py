"""Everything around a delivery, in memory: Firestore, Cloud Tasks, a Batch, and a clock."""

import asyncio
import json
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from batchpush.batch_api.outcome import Reply
from batchpush.delivery.planning import PushHandler
from batchpush.delivery.record import Record, State
from batchpush.errors import TryAgainLater
from batchpush.events.change import Change
from batchpush.events.triggers import WATCHED, Watched
from batchpush.testing.memory import Memory
from tests.deliveries import Queue, Time, worker_in
from tests.events import changed, created

EVENING = datetime(2026, 6, 10, 23, 0, tzinfo=UTC)
MORNING = datetime(2026, 6, 11, 7, 0, tzinfo=UTC)
NIGHT = {"start": "22:00", "end": "07:00"}


class Batch:
    """Accepts every call, or answers with what it was given to answer."""

    def __init__(self) -> None:
        self.answer: Reply | None = None
        self.bodies: list[dict[str, Any]] = []
        self.calls: Counter[str] = Counter()

    def warm_up(self) -> None:
        pass

    async def send(self, app: str, body: bytes) -> Reply:
        await asyncio.sleep(0)
        self.calls[app] += 1
        if self.answer:
            return self.answer
        if app == "ios":
            self.bodies.append(json.loads(body))
        return Reply(201, b'{"token": "t"}')


class House:
    """What happens in it stays in it. `settings` are environment variables."""

    def __init__(self, **settings: str) -> None:
        self.clock, self.memory, self.batch = Time(), Memory(), Batch()
        self.clock.value = EVENING
        apps = {"BATCH_APPS": "ios=A,android=B"}
        self.made = worker_in(self.memory, self.clock.now, self.batch, **(apps | settings))
        self.firestore = self.made.ledger.firestore
        self._watched = dict(WATCHED)

    @property
    def tasks(self) -> Queue:
        assert isinstance(self.made.tasks, Queue)
        return self.made.tasks

    async def stores(self, path: str, fields: dict[str, Any] | None) -> None:
        strike, self.memory.strike = self.memory.strike, None
        if fields is None:
            self.memory.documents.pop(self.memory.name_of(path), None)
        else:
            await self.firestore.commit([self.firestore.put(path, fields)])
        self.memory.strike = strike

    async def happens(
        self,
        handler: PushHandler,
        pattern: str,
        fields: dict[str, Any],
        *,
        event_id: str | None = None,
        before: dict[str, Any] | None = None,
        **params: str,
    ) -> Change:
        """Somebody writes a document, and its event comes; what is raised is not hidden."""
        path = "/".join(each.format(**params) for each in pattern.split("/"))
        await self.stores(path, fields)

        async def watching(change: Change) -> None:
            await self.made.deliverer.deliver(change, handler)

        WATCHED[handler.__name__] = Watched(pattern, watching)
        change = replace(
            changed(path, before, fields, **params) if before else created(path, fields, **params),
            id=event_id or uuid.uuid4().hex,
            function=handler.__name__,
            time=self.clock.now(),
        )
        await watching(change)
        return change

    async def record(self, change: Change) -> Record:
        entry = await self.made.ledger.read(change.delivery_id)
        assert entry is not None
        return entry.record

    async def records(self) -> list[Record]:
        return [record async for record in self.made.ledger.each(State)]

    async def run_tasks(self, at: datetime) -> None:
        """The time has come, and every task; those that fail come again."""
        self.clock.value = at
        for _ in range(3):
            tasks, self.tasks.tasks, self.tasks.times = self.tasks.tasks, [], []
            for function, data in tasks:
                try:
                    if function == "sendlater":
                        await self.made.resumption.resume(data["delivery"])
                    else:
                        await self.made.chunks.send(data["delivery"], data["chunk"])
                except TryAgainLater:
                    self.tasks.tasks.append((function, data))
                    self.tasks.times.append(None)

    def told(self) -> list[tuple[str, str]]:
        """Whom an app told what, in order."""
        return [
            (identifier, body["message"]["body"])
            for body in self.batch.bodies
            for listed in body["recipients"].values()
            for identifier in listed
        ]

    def close(self) -> None:
        WATCHED.clear()
        WATCHED.update(self._watched)
