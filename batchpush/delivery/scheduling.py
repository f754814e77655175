"""Schedules tasks in Cloud Tasks: for each chunk of a large audience, and for each wait."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from batchpush.delivery.record import Record
from batchpush.errors import TasksUnavailable
from batchpush.google.cloud_tasks import Tasks
from batchpush.logs import log
from batchpush.timing import Clock, Timing

MAX_AHEAD = timedelta(days=29)


@dataclass(frozen=True)
class Task:
    """A call of a task function with some data, not before `at`."""

    function: str
    data: Mapping[str, str]
    at: datetime | None = None


def chunk_task(delivery: str, chunk: str, at: datetime | None = None) -> Task:
    return Task("sendchunk", {"delivery": delivery, "chunk": chunk}, at)


def resume_task(delivery: str, at: datetime | None = None) -> Task:
    return Task("sendlater", {"delivery": delivery}, at)


def within_reach(task: Task, now: datetime) -> Task:
    """The task, at the latest time that Cloud Tasks accepts; its data says when it was to come.

    https://cloud.google.com/tasks/docs/quotas: a task can be scheduled 30 days ahead.
    """
    if task.at is None:
        return task
    at = min(task.at, now + MAX_AHEAD)
    return replace(task, data={**task.data, "at": at.isoformat()}, at=at)


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
        now = self.clock.now()
        return await asyncio.gather(*(self._enqueued(within_reach(task, now)) for task in tasks))

    async def _enqueued(self, task: Task) -> bool:
        try:
            await self.tasks.enqueue(task.function, task.data, task.at)
        except Exception as error:  # noqa: BLE001 - concurrent sends must still be recorded
            severity = "WARNING" if isinstance(error, TasksUnavailable) else "ERROR"
            log(severity, "task.refused", error=error, data=task.data)
            return False
        return True
