"""Schedules tasks in Cloud Tasks: for each chunk of a large audience, and for each wait."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from batchpush.delivery.record import Record
from batchpush.errors import TasksUnavailable
from batchpush.google.cloud_tasks import Tasks
from batchpush.logs import log
from batchpush.timing import Clock, Timing


@dataclass(frozen=True)
class Task:
    """A call of a task function with some data, not before `at`."""

    function: str
    data: Mapping[str, str]
    at: datetime | None = None


def chunk_task(delivery: str, chunk: str) -> Task:
    return Task("sendchunk", {"delivery": delivery, "chunk": chunk})


def resume_task(delivery: str, at: datetime | None = None) -> Task:
    return Task("sendlater", {"delivery": delivery}, at)


@dataclass
class Scheduler:
    tasks: Tasks
    timing: Timing
    clock: Clock

    async def schedule(self, record: Record) -> Sequence[tuple[str, datetime]]:
        """Schedule the waiting records; returns those whose task Cloud Tasks did not accept.

        Those long overdue are left to the sweep.
        """
        if not record.later:
            return ()
        long_ago = self.timing.redelivered_since(self.clock.now())
        later = [each for each in record.later if each[1] > long_ago]
        are_made = await self.enqueue(resume_task(delivery, at) for delivery, at in later)
        return [each for each, is_made in zip(later, are_made, strict=True) if not is_made]

    async def enqueue(self, tasks: Iterable[Task]) -> Sequence[bool]:
        """Whether Cloud Tasks accepted each of the tasks; a failure does not stop the others."""
        return await asyncio.gather(*map(self._enqueued, tasks))

    async def _enqueued(self, task: Task) -> bool:
        try:
            await self.tasks.enqueue(task.function, task.data, task.at)
        except Exception as error:  # noqa: BLE001 - concurrent sends must still be recorded
            severity = "WARNING" if isinstance(error, TasksUnavailable) else "ERROR"
            log(severity, "task.refused", error=error, data=task.data)
            return False
        return True
