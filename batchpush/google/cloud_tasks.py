"""Cloud Tasks: work that runs outside the event that caused it."""

import asyncio
import contextvars
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from batchpush.environment import Settings
from batchpush.errors import TasksUnavailable
from batchpush.google.clients import firebase_app

AT_ONCE = 20  # concurrent requests to Cloud Tasks


class Tasks:
    """The queues of the deployed task functions, one per function."""

    def __init__(self, settings: Settings) -> None:
        self._region = settings.region
        self._free = asyncio.Semaphore(AT_ONCE)
        # Not asyncio's own, which reads the REST key and tokens: Cloud Tasks may take its time.
        self._threads = ThreadPoolExecutor(AT_ONCE, "tasks")

    async def enqueue(
        self, function: str, data: Mapping[str, Any], at: datetime | None = None
    ) -> None:
        """Enqueue a call of `function` with `data`. Keep the data small: ids, not recipients.

        The task runs no earlier than `at`; Google's emulator ignores the time.

        Raises `TasksUnavailable`.
        """
        async with self._free:
            loop, context = asyncio.get_running_loop(), contextvars.copy_context()
            await loop.run_in_executor(
                self._threads, context.run, self._enqueue, function, data, at
            )

    def _enqueue(self, function: str, data: Mapping[str, Any], at: datetime | None) -> None:
        from firebase_admin import functions
        from firebase_admin.exceptions import FirebaseError
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

        options = functions.TaskOptions(schedule_time=at)
        name = f"locations/{self._region}/functions/{function}"
        try:
            functions.task_queue(name, app=firebase_app()).enqueue({"data": dict(data)}, options)
        # firebase_admin raises ValueError if it cannot refresh its credentials.
        except (FirebaseError, GoogleAuthError, RequestException, ValueError) as error:
            raise TasksUnavailable(f"Cloud Tasks: {type(error).__name__}") from None
