"""A Firebase project in memory, to test handlers with.

    import main  # the functions
    from batchpush.testing import Project

    async def test_the_buyer_is_told() -> None:
        project = Project({"users/ann": {"language": "fr"}})
        await project.write("orders/o1", {"customer_id": "ann", "status": "delivered"})
        assert project.told("ann") == ["Votre commande o1 est arrivée"]

Firestore, Cloud Tasks and Batch are in memory, and the clock stands still. The code between them is
the deployed code: a write takes the path of a real event, except for its decoding.
"""

import os
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.rest_key import RestKey, RestKeyCache
from batchpush.delivery.record import Record
from batchpush.documents import Document
from batchpush.environment import Settings
from batchpush.errors import TasksUnavailable
from batchpush.events.change import Change, path_params
from batchpush.events.triggers import WATCHED, Watched
from batchpush.google.cloud_tasks import Tasks
from batchpush.google.firestore import Firestore
from batchpush.testing.batch import Batch, Call
from batchpush.testing.memory import Memory
from batchpush.timing import Clock, Timing
from batchpush.worker import Worker, send_waiting_delivery, working_with


class ManualClock:
    """A clock that stands still until you set it, or until the code under test sleeps."""

    def __init__(self, now: datetime | None = None) -> None:
        self.value = now or datetime.now(UTC).replace(microsecond=0)
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self.value

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.forward(seconds)

    def forward(self, seconds: float) -> None:
        """Move the clock on."""
        self.value += timedelta(seconds=seconds)


class Queue(Tasks):
    """Keeps tasks instead of sending them to Cloud Tasks; set `is_down` to make it fail."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.tasks: list[tuple[str, dict[str, Any]]] = []
        self.times: list[datetime | None] = []
        self.is_down = False

    async def enqueue(
        self, function: str, data: Mapping[str, Any], at: datetime | None = None
    ) -> None:
        if self.is_down:
            raise TasksUnavailable("Cloud Tasks: down")
        self.tasks.append((function, dict(data)))
        self.times.append(at)

    def take_due(self, now: datetime) -> list[tuple[str, dict[str, Any]]]:
        """Remove the tasks that are due, and return them."""
        kept = list(zip(self.tasks, self.times, strict=True))
        left = [(task, at) for task, at in kept if at and at > now]
        self.tasks, self.times = [task for task, _ in left], [at for _, at in left]
        return [task for task, at in kept if not at or at <= now]


class Project:
    """Calls the functions in `main.py` that watch Firestore, as the platform would.

    `documents`, keyed by path, exist from the start and trigger nothing. `settings` are environment
    variables that override those of the process. Use `wait_until` to end quiet hours and coalescing
    windows, and `record` to find out why nothing was sent.
    """

    def __init__(
        self,
        documents: Mapping[str, Mapping[str, Any]] | None = None,
        now: datetime | None = None,
        functions: Mapping[str, Watched] | None = None,
        **settings: str,
    ) -> None:
        self.clock, self.memory, self.batch = ManualClock(now), Memory(), Batch()
        self.firestore = Firestore(self.memory)
        self.functions = WATCHED if functions is None else functions
        chosen = Settings.from_environment(APPS | dict(os.environ) | settings)
        timing = Timing()
        self.queue = Queue(chosen)
        self.worker = Worker(
            chosen,
            databases=lambda name: self.firestore,
            client=BatchClient(chosen, timing, RestKeyCache(_read_key), self.batch),
            tasks=self.queue,
            timing=timing,
            clock=Clock(self.clock.now, lambda: 1.0, self.clock.sleep),
            functions=self.functions,
        )
        self._events: dict[tuple[str, str], str] = {}
        for path, fields in (documents or {}).items():
            self.hold(path, fields)

    def hold(self, path: str, fields: Mapping[str, Any]) -> None:
        """Store a document without triggering any function."""
        self.memory.store(self.firestore.put(path, fields).update)

    async def write(self, path: str, fields: Mapping[str, Any]) -> list[Call]:
        """Create or replace the document; returns the requests that Batch received as a result.

        Raises `TryAgainLater` if the platform would have to redeliver the event.
        """
        before = await self._read(path)
        self.hold(path, fields)
        return await self._written(path, before, await self._read(path))

    async def delete(self, path: str) -> list[Call]:
        """Delete the document; returns the requests that Batch received as a result."""
        before = await self._read(path)
        self.memory.remove(path)
        return await self._written(path, before, None)

    async def wait_until(self, time: datetime) -> list[Call]:
        """Set the clock and run what is due; returns the requests that Batch received."""
        self.clock.value = time
        seen = len(self.batch.calls)
        await self.worker.digests.look()
        await self._run_tasks()
        return self.batch.calls[seen:]

    def told(self, user_id: str) -> list[str]:
        """The texts that the user received: one per push, however many apps there are."""
        settings = self.worker.settings
        (app, *_) = settings.batch_apps
        key = settings.batch_project if app in settings.cep_apps else settings.batch_apps[app]
        return [
            text
            for call in self.batch.calls
            if call.is_accepted and call.app == key and call.route in PUSHES
            for text in call.words_to(user_id)
        ]

    async def record(self, function: str, path: str) -> Record:
        """The delivery record of the function for the latest write to the document."""
        entry = await self.worker.ledger.read(self._events[function, path])
        assert entry is not None, f"{function} sent nothing for {path}"
        return entry.record

    async def _read(self, path: str) -> Document | None:
        found = (await self.firestore.read(path)).get(path)
        return Document(path, found.fields) if found else None

    async def _written(
        self, path: str, before: Document | None, after: Document | None
    ) -> list[Call]:
        seen = len(self.batch.calls)
        for name, watched in self.functions.items():
            params = path_params(watched.path, path)
            if params is not None and watched.is_called_for(before, after):
                change = Change(
                    id=uuid.uuid4().hex,
                    source=f"//firestore.googleapis.com/projects/{PROJECT}/databases/(default)",
                    path=path,
                    params=params,
                    before=before,
                    after=after,
                    time=self.clock.now(),
                    database="firestore",
                    function=name,
                )
                self._events[name, path] = change.delivery_id
                with working_with(self.worker):
                    await watched.function(change)
        await self._run_tasks()
        return self.batch.calls[seen:]

    async def _run_tasks(self) -> None:
        while due := self.queue.take_due(self.clock.now()):
            for function, data in due:
                await self.run_task(function, data)

    async def run_task(self, function: str, data: Mapping[str, str]) -> None:
        """Call a task function. Raises `TryAgainLater` if Cloud Tasks would have to retry it."""
        with working_with(self.worker):
            if function == "sendlater":
                await send_waiting_delivery(data)
            else:
                await self.worker.chunks.send(data["delivery"], data["chunk"])


PUSHES = ("transactional/send", "profiles/update")  # routes
PROJECT = "demo-batchpush"
APPS = {"BATCH_APPS": "ios=IOSKEY,android=ANDROIDKEY"}


async def _read_key() -> RestKey:
    return RestKey("0123456789abcdef0123456789abcdef")
