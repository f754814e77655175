"""firebase-tools' Logging emulator, with the lines that a test writes, and Batch beside it."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from emulators.batch.project import NEEDED, Project
from emulators.batch.server import create_app
from emulators.serving import in_background

ROOT = Path(__file__).parent.parent
POLL_SECONDS = 0.05
NOWHERE = "127.0.0.1:9"

# As firebase-tools 15 had it from Python, in one piece.
SYNTAX_ERROR = f"""\
[2026-11-28 23:16:41,820] ERROR in app: Exception on /__/functions.yaml [GET]
Traceback (most recent call last):
  File "/venv/lib/python3.11/site-packages/flask/app.py", line 1511, in wsgi_app
    response = self.full_dispatch_request()
  File "<frozen importlib._bootstrap>", line 241, in _call_with_frames_removed
  File "{ROOT}/main.py", line 31, in <module>
    from handlers import (
  File "{ROOT}/handlers/orders.py", line 44
    def broken(:
               ^
SyntaxError: invalid syntax
127.0.0.1 - - [28/Nov/2026 23:16:41] "GET /__/functions.yaml HTTP/1.1" 500 -
Terminated
"""


class FirebaseLog:
    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.url = ""

    @classmethod
    @contextmanager
    def served(cls) -> "Iterator[FirebaseLog]":
        log, app = cls(), web.Application()
        app.add_routes([web.get("/", log.follow)])
        with in_background(app) as log.url:
            yield log

    def write(self, level: str, message: str, **data: Any) -> None:
        at = time.time() * 1000
        self.lines.append({"level": level, "data": data, "timestamp": at, "message": message})

    async def follow(self, request: web.Request) -> web.WebSocketResponse:
        """Send all lines, as the emulator does to who connects, and then each new one."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        sent = 0
        while not socket.closed:
            for line in self.lines[sent:]:
                await socket.send_json(line)
                sent += 1
            await asyncio.sleep(POLL_SECONDS)
        return socket


@contextmanager
def beside(log: FirebaseLog, **environ: str) -> Iterator[str]:
    """A Batch emulator whose project has this log, and nothing else that answers."""
    project = Project.around(
        dict.fromkeys(NEEDED, NOWHERE) | {"LOGGING_EMULATOR_URL": log.url} | environ
    )
    with in_background(create_app({}, [], project=project)) as url:
        yield url
