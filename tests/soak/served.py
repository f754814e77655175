"""`new_message` of main.py, in a process that counts the tasks of its event loop on a signal.

Started by functions-framework, like the function itself. On SIGRTMIN it writes the count into the
file that `SOAK_TASKS` names.
"""

import asyncio
import os
import signal
from pathlib import Path

from main import new_message

__all__ = ["new_message"]


def count_tasks(number: int, frame: object) -> None:
    Path(os.environ["SOAK_TASKS"]).write_text(str(len(asyncio.all_tasks())), encoding="ascii")


# gunicorn resets the signals that it knows in its workers; this one it does not know.
signal.signal(signal.SIGRTMIN, count_tasks)
