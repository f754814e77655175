"""Everything around a delivery, in memory: Firestore, Cloud Tasks, a Batch, and a clock."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from batchpush.delivery.planning import PushHandler
from batchpush.delivery.record import DeliveryState, Record
from batchpush.errors import TryAgainLater
from batchpush.events.change import Change
from batchpush.events.triggers import Watched
from batchpush.testing import Project
from tests.events import changed, created

EVENING = datetime(2026, 6, 10, 23, 0, tzinfo=UTC)
MORNING = datetime(2026, 6, 11, 7, 0, tzinfo=UTC)
NIGHT = {"start": "22:00", "end": "07:00"}


class House(Project):
    """A project whose functions a test names itself. `settings` are environment variables."""

    def __init__(self, **settings: str) -> None:
        self.watches: dict[str, Watched] = {}
        settings = {"BATCH_APPS": "ios=A,android=B", "DELIVERIES_COLLECTION": "d"} | settings
        super().__init__(None, EVENING, self.watches, **settings)

    async def stores(self, path: str, fields: dict[str, Any] | None) -> None:
        if fields is None:
            self.memory.remove(path)
        else:
            self.hold(path, fields)

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
            await self.worker.deliverer.deliver(change, handler)

        self.watches[handler.__name__] = Watched(pattern, watching)
        change = replace(
            changed(path, before, fields, **params) if before else created(path, fields, **params),
            id=event_id or uuid.uuid4().hex,
            function=handler.__name__,
            time=self.clock.now(),
        )
        await watching(change)
        return change

    async def record_of(self, change: Change) -> Record:
        entry = await self.worker.ledger.read(change.delivery_id)
        assert entry is not None
        return entry.record

    async def records(self) -> list[Record]:
        return [record async for record in self.worker.ledger.each(DeliveryState)]

    async def run_tasks(self, at: datetime) -> None:
        """The time has come, and every task; those that fail come again."""
        self.clock.value = at
        for _ in range(3):
            tasks, self.queue.tasks, self.queue.times = self.queue.tasks, [], []
            for function, data in tasks:
                try:
                    await self.run_task(function, data)
                except TryAgainLater:
                    self.queue.tasks.append((function, data))
                    self.queue.times.append(None)

    def all_told(self) -> list[tuple[str, str]]:
        """Whom an app told what, in order."""
        return [
            (identifier, call.body["message"]["body"])
            for call in self.batch.calls
            if call.app == "A" and call.is_accepted
            for listed in call.body["recipients"].values()
            for identifier in listed
        ]
