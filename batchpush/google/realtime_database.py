"""A Realtime Database client over REST: concurrent reads, shared fairly between events.

https://firebase.google.com/docs/reference/rest/database
"""

import asyncio
import json
import random
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from batchpush.errors import InvalidDocument, LookUpFailed
from batchpush.google.sources import Instance

if TYPE_CHECKING:
    import httpx

SCOPES = (
    "https://www.googleapis.com/auth/firebase.database",
    "https://www.googleapis.com/auth/userinfo.email",
)
CONNECTIONS = 200  # per instance
AT_ONCE = 100  # concurrent requests per event
CONNECT_TIMEOUT = 5.0  # seconds
TIMEOUT = 10.0  # seconds for one request, all attempts included
KEEP_ALIVE = 30.0  # seconds
MAX_ATTEMPTS = 3
MIN_PAUSE = 0.1  # seconds between two attempts
MAX_ANSWER = 10_000_000  # bytes

TRANSIENT = {429, 500, 502, 503, 504}
TOO_MUCH = {400, 413, 414}  # the path or value is at fault: a retry cannot help
HINTS = {
    401: "grant roles/firebasedatabase.admin to the service account",
    403: "grant roles/firebasedatabase.admin to the service account",
    404: "there is no such instance: see DATABASE_INSTANCE and REGION",
}

Headers = Callable[[], Awaitable[Mapping[str, str]]]


class Turns:
    """Admits at most `limit` requests at once, and queued ones round-robin by event.

    However many requests an event queues, another event waits for only one of them.
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: dict[object, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def turn(self, event: object) -> AsyncIterator[None]:
        if self._free:
            self._free -= 1
        else:
            await self._come(event)
        try:
            yield
        finally:
            self._pass_on()

    async def _come(self, event: object) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(event, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was granted already
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            event = next(iter(self._waiting))
            turns = self._waiting.pop(event)
            turn = turns.popleft()
            if turns:
                self._waiting[event] = turns  # to the back of the queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1


class RealtimeDatabase:
    """One instance. Its operations raise `LookUpFailed` if a request fails.

    `event` is any hashable object that identifies the event that the request is for.
    """

    def __init__(
        self,
        instance: Instance,
        transport: "httpx.AsyncBaseTransport",
        headers: Headers,
        emulator: str | None = None,
    ) -> None:
        self._transport, self._headers = transport, headers
        self._address = f"http://{emulator}" if emulator else f"https://{instance.host}"
        self._query = f"ns={instance.name}" if emulator else ""
        self._turns = Turns(CONNECTIONS)

    async def read(self, paths: Sequence[str], event: object) -> list[Any]:
        """The values at the paths, in the same order; None where there is no value.

        Raises `InvalidDocument` if a value is too large.
        """
        values: list[Any] = [None] * len(paths)
        to_read = iter(enumerate(paths))

        async def work() -> None:
            for number, path in to_read:
                if is_path(path):
                    values[number] = await self._ask("GET", path, event)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(AT_ONCE, len(paths))):
                    group.create_task(work())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return values

    async def names(self, path: str, event: object) -> set[str]:
        """The field names of the map at a path; empty if there is no map."""
        found = await self._ask("GET", path, event, query="shallow=true")
        return set(found) if isinstance(found, dict) else set()

    async def write(self, path: str, value: Any, event: object) -> None:
        """Replace the value at the path."""
        content = json.dumps(value).encode()
        await self._ask("PUT", path, event, query="print=silent", content=content)

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _ask(
        self, method: str, path: str, event: object, query: str = "", content: bytes = b""
    ) -> Any:
        import httpx

        from batchpush.http import request

        if not is_path(path):
            raise InvalidDocument(path, None, "is not a path in a Realtime Database")
        url = f"{self._address}/{_quoted(path)}.json"
        if parameters := "&".join(filter(None, (query, self._query))):
            url += f"?{parameters}"
        async with self._turns.turn(event):
            try:
                async with asyncio.timeout(TIMEOUT):
                    # Follows no redirects: the token is meant for this host only.
                    headers = [
                        (name.encode(), value.encode())
                        for name, value in (await self._headers()).items()
                    ]
                    asked = request(
                        method, httpx.URL(url), headers, {"connect": CONNECT_TIMEOUT}, content
                    )
                    return await self._attempts(asked, path)
            except TimeoutError:
                raise LookUpFailed(f"Realtime Database: no answer within {TIMEOUT:g} s") from None

    async def _attempts(self, request: "httpx.Request", path: str) -> Any:
        from batchpush.http import FAILURES

        pause = MIN_PAUSE
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                status, body = await self._attempt(request, path)
                problem = str(status)
            except FAILURES as error:
                status, problem = None, type(error).__name__
            if status is not None and status not in TRANSIENT:
                return _value(status, body, path)
            if attempt < MAX_ATTEMPTS:
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
                pause *= 2
        raise LookUpFailed(f"Realtime Database: {problem}")

    async def _attempt(self, request: "httpx.Request", path: str) -> tuple[int, bytes]:
        from batchpush.http import exchange

        response, body = await exchange(self._transport, request, MAX_ANSWER + 1)
        if len(body) > MAX_ANSWER:
            raise InvalidDocument(path, None, f"is larger than {MAX_ANSWER:,} bytes")
        return response.status_code, body


def _value(status: int, body: bytes, path: str) -> Any:
    if status == 204:
        return None
    if status in TOO_MUCH:
        raise InvalidDocument(path, None, f"was refused by the Realtime Database ({status})")
    if status != 200:
        hint = f": {HINTS[status]}" if status in HINTS else ""
        raise LookUpFailed(f"Realtime Database: {status}{hint}")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise LookUpFailed("Realtime Database: the answer is not JSON") from None


def is_path(path: str) -> bool:
    """Whether the path is valid in a Realtime Database."""
    return all(map(is_key, path.split("/")))


def is_key(text: str) -> bool:
    """Whether the text is valid as one segment of a path."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return False
    return 0 < size <= 768 and not re.search(r"[.$#\[\]/\x00-\x1f\x7f]", text)


def _quoted(path: str) -> str:
    """Quote each segment so that the server reads it literally: `%76` must not become `v`."""
    return "/".join(quote(segment, safe="") for segment in path.split("/"))
