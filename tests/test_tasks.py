"""What Cloud Tasks does not accept is trouble that may pass, whatever its client raises."""

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
