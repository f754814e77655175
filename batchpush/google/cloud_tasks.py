"""Cloud Tasks: work that leaves the event that caused it."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from batchpush.environment import Settings
from batchpush.errors import TasksUnavailable
from batchpush.google.clients import firebase_app

AT_ONCE = 20  # requests to Cloud Tasks


class Tasks:
    """The queues of the deployed task functions."""

    def __init__(self, settings: Settings) -> None:
        self._region = settings.region
        self._free = asyncio.Semaphore(AT_ONCE)

    async def enqueue(
        self, function: str, data: Mapping[str, Any], at: datetime | None = None
    ) -> None:
        """Have the function called with the data, which is small: ids, not recipients.

        Not before `at`, where it is given; Google's emulator does not know of it.

        Raises `TasksUnavailable`.
        """
        async with self._free:
            await asyncio.to_thread(self._enqueue, function, data, at)

    def _enqueue(self, function: str, data: Mapping[str, Any], at: datetime | None) -> None:
        from firebase_admin import functions
        from firebase_admin.exceptions import FirebaseError
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

        options = functions.TaskOptions(schedule_time=at)
        name = f"locations/{self._region}/functions/{function}"
        try:
            functions.task_queue(name, app=firebase_app()).enqueue({"data": dict(data)}, options)
        # firebase_admin raises ValueError where its credentials cannot be refreshed.
        except (FirebaseError, GoogleAuthError, RequestException, ValueError) as error:
            raise TasksUnavailable(f"Cloud Tasks: {type(error).__name__}") from None
