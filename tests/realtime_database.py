"""A Realtime Database over HTTP, which remembers what it was asked and answers as it is told."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from emulators.serving import in_background


class Database:
    """Values by their paths, which are as they came: only split, and each segment decoded."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, ...], Any] = {}
        self.requests: list[tuple[str, tuple[str, ...]]] = []
        self.headers: list[dict[str, str]] = []
        self.queries: list[str] = []
        self.connections: set[Any] = set()
        self.seconds = 0.0  # that an answer takes
        self.answer_from = 0  # requests at once; until then, all of them wait
        self._enough, self.is_busy = asyncio.Event(), threading.Event()
        self.answers: list[web.Response | None] = []  # instead of the value, one for each request
        self.in_flight = self.most_in_flight = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        raw, _, query = request.raw_path.partition("?")
        path = tuple(map(unquote, raw.removesuffix(".json").strip("/").split("/")))
        self.requests.append((request.method, path))
        self.headers.append(dict(request.headers))
        self.queries.append(query)
        assert request.transport
        self.connections.add(request.transport.get_extra_info("peername"))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.most_in_flight >= self.answer_from:
                self._enough.set()
                self.is_busy.set()
            await self._enough.wait()
            await asyncio.sleep(self.seconds)
            if self.answers and (answer := self.answers.pop(0)):
                return answer
            if request.method == "PUT":
                self.values[path] = await request.json()
            value = self.values.get(path)
            if "shallow=true" in query and isinstance(value, dict):
                value = dict.fromkeys(value, True)
            return web.json_response(value, dumps=json.dumps)
        finally:
            self.in_flight -= 1

    @property
    def read(self) -> list[tuple[str, ...]]:
        return [path for method, path in self.requests if method == "GET"]

    @property
    def written(self) -> list[tuple[str, ...]]:
        return [path for method, path in self.requests if method == "PUT"]


@contextmanager
def served() -> Iterator[tuple[Database, str]]:
    """A database, and its host and port."""
    database, app = Database(), web.Application()
    app.router.add_route("*", "/{path:.*}", database.serve)
    with in_background(app) as url:
        yield database, url.removeprefix("http://")
