"""Batch over HTTP."""

import asyncio
import functools
import importlib
from typing import TYPE_CHECKING

from batchpush.batch_api.masking import masked, masked_text
from batchpush.batch_api.outcome import Reply
from batchpush.batch_api.rest_key import RestKeyCache, key_reader
from batchpush.environment import Settings
from batchpush.timing import Timing

if TYPE_CHECKING:
    import httpx

CONNECT_TIMEOUT = 5.0  # seconds, including the wait for a free connection in the pool
KEEP_ALIVE = 4.0  # seconds; Batch may have closed an older connection
MAX_REPLY = 16_384  # bytes to read of a reply
MAX_LIST = 1_000_000  # bytes to read of a list or of statistics
SLACK = 1_000  # extra bytes, so that the cut does not hide part of a key from masking


class BatchClient:
    """One per worker; connections stay open between events."""

    def __init__(
        self,
        settings: Settings,
        timing: Timing,
        rest_key: RestKeyCache | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        self._apps = settings.batch_apps
        self._url = settings.batch_api_url
        self._seconds = timing.call
        self._rest_key = rest_key or RestKeyCache(key_reader(settings))
        self._given = transport
        self._connections = settings.concurrency * len(settings.batch_apps)

    def warm_up(self) -> None:
        """Start what the first request needs; any failure here surfaces in that request."""
        _ = self._warming

    @functools.cached_property
    def _warming(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._warm())

    async def _warm(self) -> None:
        imported = asyncio.to_thread(importlib.import_module, "batchpush.http")
        await asyncio.gather(self._rest_key.get(), imported, return_exceptions=True)

    @functools.cached_property
    def _transport(self) -> "httpx.AsyncBaseTransport":
        from batchpush.http import transport

        return self._given or transport(self._connections, KEEP_ALIVE)

    async def send(self, app: str, body: bytes) -> Reply:
        """One request to the Transactional API; see `request`."""
        return await self.request(app, "POST", "transactional/send", body)

    async def request(self, app: str, method: str, route: str, body: bytes | None = None) -> Reply:
        """One request for an app; a second one if the key has been rotated.

        Raises only `RestKeyUnavailable`: any failure on the network is a `Reply`.
        """
        key = await self._rest_key.get()
        reply = await self._asked(app, method, route, body, key.reveal())
        if reply.status == 401 and (new_key := await self._rest_key.replaced(key)):
            reply = await self._asked(app, method, route, body, new_key.reveal())
        return reply

    async def _asked(
        self, app: str, method: str, route: str, body: bytes | None, key: str
    ) -> Reply:
        from batchpush.http import FAILURES, NEVER_CONNECTED, address, cause, exchange, request

        asked = request(
            method,
            address(f"{self._url}/1.1/{self._apps[app]}/{route}"),
            [(b"X-Authorization", key.encode()), (b"Content-Type", b"application/json")],
            {"pool": CONNECT_TIMEOUT},  # aiohttp includes connecting in it
            body or b"",
        )
        max_bytes = MAX_LIST if method == "GET" else MAX_REPLY
        try:
            async with asyncio.timeout(self._seconds):
                response, answer = await exchange(self._transport, asked, max_bytes + SLACK)
        except TimeoutError:
            return Reply(problem=f"no answer within {self._seconds:g} s")
        except FAILURES as error:
            # Only the type's name: an exception may hold the request, and with it the key.
            failure = cause(error)
            return Reply(
                sent=not isinstance(failure, NEVER_CONNECTED), problem=type(failure).__name__
            )
        retry_after = response.headers.get("retry-after")
        return Reply(
            response.status_code,
            _beginning(answer, max_bytes, key),
            retry_after and masked_text(retry_after, key),
        )

    async def aclose(self) -> None:
        await self._transport.aclose()


def _beginning(answer: bytes, max_bytes: int, key: str) -> bytes:
    """The first bytes of a reply, masked; the end of a cut reply may hold part of the key."""
    if len(answer) == max_bytes + SLACK:
        return masked(answer, key)[:-SLACK]
    return masked(answer, key)[:max_bytes]
