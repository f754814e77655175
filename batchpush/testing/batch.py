"""Batch in memory: a transport for `BatchClient`."""

import json
from collections import deque
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Call:
    """What Batch was asked, and what it answered.

    `app` is the app's key, and `body` what its JSON holds. `status` is None without an answer.
    """

    app: str
    method: str
    route: str
    body: Any = None
    status: int | None = None

    @property
    def is_accepted(self) -> bool:
        return self.status == 201


class Batch(httpx.AsyncBaseTransport):
    """Accepts every call, unless it is told what to answer, and remembers them all.

    Every call gets `answer` as long as there is one.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answer: httpx.Response | None = None
        self._answers: deque[httpx.Response | Exception] = deque()

    def answer_next(self, *answers: httpx.Response | Exception) -> None:
        """Set the replies to the next calls, one each; an exception is a failure of the network.

        `httpx.ConnectError` means that the call was not sent.
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
