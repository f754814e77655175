"""Batch in memory: a transport for `BatchClient`."""

import json
from collections import deque
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Call:
    """One request to Batch, and the status of its answer."""

    app: str  # the app key
    method: str
    route: str  # the path after the app key
    body: Any = None  # the decoded JSON
    status: int | None = None  # None if there was no answer

    @property
    def is_accepted(self) -> bool:
        return self.status == 201


class Batch(httpx.AsyncBaseTransport):
    """Records every request in `calls` and accepts it, unless you set another answer.

    `answer_next` sets the answers to the next requests; `answer`, if set, is for all others.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answer: httpx.Response | None = None
        self._answers: deque[httpx.Response | Exception] = deque()

    def answer_next(self, *answers: httpx.Response | Exception) -> None:
        """Set the answers to the next requests, one each. An exception is a network failure.

        `httpx.ConnectError` means that the request was not sent.
        """
        self._answers += answers

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        app, _, route = request.url.path.partition("/1.1/")[2].partition("/")
        body = json.loads(request.content) if request.content else None
        answer = self._next_answer()
        status = answer.status_code if isinstance(answer, httpx.Response) else None
        self.calls.append(Call(app, request.method, route, body, status))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _next_answer(self) -> httpx.Response | Exception:
        if self._answers:
            return self._answers.popleft()
        return self.answer or httpx.Response(201, json={"token": f"token-{len(self.calls) + 1}"})
