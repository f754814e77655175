"""Batch in memory: a transport for `BatchClient`."""

import json
from collections import deque
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Call:
    """One request to Batch, and the status of its answer."""

    app: str  # the app key; for CEP, the project's
    method: str
    route: str  # the path after the app key, or after CEP's version
    body: Any = None  # the decoded JSON
    status: int | None = None  # None if there was no answer

    @property
    def is_accepted(self) -> bool:
        return self.status in (201, 202)

    def words_to(self, user_id: str) -> list[str]:
        """The texts for the user in it; for CEP, which its automation may say in other words."""
        if isinstance(self.body, list):
            tracked = [each for each in self.body if each["identifiers"]["custom_id"] == user_id]
            events = [event for each in tracked for event in each["events"]]
            return [event.get("attributes", {}).get("body", "") for event in events]
        is_for = user_id in self.body["recipients"].get("custom_ids", ())
        return [self.body["message"]["body"]] if is_for else []


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
        project = request.headers.get("x-batch-project")
        if project:
            app, route = project, request.url.path.removeprefix("/").partition("/")[2]
        else:
            _, _, app, route = request.url.path.split("/", 3)  # the first part is a version
        body = json.loads(request.content) if request.content else None
        answer = self._next_answer(route, is_for_cep=bool(project))
        status = answer.status_code if isinstance(answer, httpx.Response) else None
        self.calls.append(Call(app, request.method, route, body, status))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _next_answer(self, route: str, is_for_cep: bool) -> httpx.Response | Exception:
        if self._answers:
            return self._answers.popleft()
        if self.answer is not None:
            return self.answer
        if is_for_cep:
            return httpx.Response(202, json={"code": "SUCCESS"})
        if route == "campaigns/list":
            return httpx.Response(200, json=[])
        token = f"token-{len(self.calls) + 1}"
        name = "campaign_token" if route == "campaigns/create" else "token"
        return httpx.Response(201, json={name: token})
