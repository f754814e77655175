"""What Cloud Tasks does not accept is trouble that may pass, whatever its client raises."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import firebase_admin.functions
import pytest
from firebase_admin.exceptions import UnavailableError
from google.auth.exceptions import RefreshError
from requests.exceptions import ConnectionError as NoConnection

from batchpush.environment import Settings
from batchpush.errors import TasksUnavailable
from batchpush.google.cloud_tasks import Tasks


@pytest.mark.parametrize(
    "trouble",
    [
        UnavailableError("down"),
        RefreshError("no token"),
        NoConnection("no route"),
        ValueError("the credentials cannot be refreshed"),
    ],
    ids=lambda trouble: type(trouble).__name__,
)
async def test_a_task_that_is_not_made_is_said_to_be_so_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise trouble

    monkeypatch.setattr(firebase_admin.functions, "task_queue", failing)
    tasks = Tasks(Settings.from_environment({"BATCH_APPS": "ios=A"}))
    with pytest.raises(TasksUnavailable, match=f"^Cloud Tasks: {type(trouble).__name__}$"):
        await tasks.enqueue("sendlater", {"delivery": "d"})


async def test_a_cloud_tasks_that_hangs_takes_no_thread_from_the_key(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    is_let_go = threading.Event()
    monkeypatch.setattr(firebase_admin.functions, "task_queue", lambda *_, **__: is_let_go.wait())
    tasks = Tasks(Settings.from_environment({"BATCH_APPS": "ios=A"}))
    hanging = [asyncio.create_task(tasks.enqueue("sendlater", {})) for _ in range(30)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(20):
            assert await asyncio.to_thread(lambda: "the key") == "the key"
    finally:
        is_let_go.set()
    await asyncio.gather(*hanging, return_exceptions=True)
