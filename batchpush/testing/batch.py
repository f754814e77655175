"""Batch in memory: what `BatchClient` is given as its transport."""

import json
from collections import deque
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Call:
    """What Batch was asked: `app` is the app's key, and `body` what its JSON holds."""

    app: str
    method: str
    route: str
    body: Any = None


class Batch(httpx.AsyncBaseTransport):
    """Accepts every call, unless it is told what to answer, and remembers them all."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._answers: deque[httpx.Response | Exception] = deque()

    def answer_next(self, *answers: httpx.Response | Exception) -> None:
        """The next calls get these, one each; an exception is what happens on the line.

        `httpx.ConnectError` stands for a call that was not sent.
        """
        self._answers += answers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        app, _, route = request.url.path.partition("/1.1/")[2].partition("/")
        body = json.loads(request.content) if request.content else None
        self.calls.append(Call(app, request.method, route, body))
        if not self._answers:
            return httpx.Response(201, json={"token": f"token-{len(self.calls)}"})
        answer = self._answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer
