"""Batch over HTTP."""

import asyncio
import logging

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from batchpush.outcome import Reply
from batchpush.rest_key import RestKeyCache, key_reader
from batchpush.settings import Settings
from batchpush.timing import Timing

CONNECT_TIMEOUT = 5.0  # seconds, also for a free connection of the pool
KEEP_ALIVE = 4.0  # seconds; a connection that Batch may have closed by now is not tried
MAX_REPLY = 16_384  # bytes of an answer that are read
MAX_LIST = 1_000_000  # bytes of a list, or of statistics


class BatchClient:
    """One per worker: its connections stay open between events."""

    def __init__(
        self, settings: Settings, timing: Timing, rest_key: RestKeyCache | None = None
    ) -> None:
        self._apps = settings.batch_apps
        self._url = settings.batch_api_url
        self._seconds = timing.call
        self._rest_key = rest_key or RestKeyCache(key_reader(settings))
        connections = settings.concurrency * len(settings.batch_apps)
        # aiohttp under httpx's interface: httpx's own transport takes several times the CPU.
        transport = AiohttpTransport(
            limits=httpx.Limits(max_connections=connections, keepalive_expiry=KEEP_ALIVE)
        )
        # Its lines hold the address, and so the app key, and what a server says for a reason.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        self._http = httpx.AsyncClient(
            transport=transport,
            timeout=httpx.Timeout(timing.call, connect=CONNECT_TIMEOUT, pool=CONNECT_TIMEOUT),
            follow_redirects=False,
            trust_env=False,
        )

    async def send(self, app: str, body: bytes) -> Reply:
        """One call of the Transactional API; see `request`."""
        return await self.request(app, "POST", "transactional/send", body)

    async def request(self, app: str, method: str, route: str, body: bytes | None = None) -> Reply:
        """One call for an app; a second try if the key was rotated meanwhile.

        Raises `RestKeyUnavailable`, and nothing else: whatever happens on the line is a `Reply`.
        """
        key = await self._rest_key.get()
        reply = await self._asked(app, method, route, body, key.reveal())
        if reply.status == 401 and (new_key := await self._rest_key.replaced(key)):
            reply = await self._asked(app, method, route, body, new_key.reveal())
        return reply

    async def _asked(
        self, app: str, method: str, route: str, body: bytes | None, key: str
    ) -> Reply:
        request = self._http.build_request(
            method,
            f"{self._url}/1.1/{self._apps[app]}/{route}",
            content=body,
            headers={
                "X-Authorization": key,
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",  # the answer is read as it comes
            },
        )
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._http.send(request, stream=True)
                try:
                    return Reply(
                        response.status_code,
                        _masked(
                            await _beginning(response, MAX_LIST if method == "GET" else MAX_REPLY),
                            key,
                        ),
                        retry_after=response.headers.get("retry-after"),
                    )
                finally:
                    await response.aclose()
        except TimeoutError:
            return Reply(problem=f"no answer within {self._seconds:g} s")
        except (httpx.HTTPError, aiohttp.ClientError) as error:
            # Only the names: an exception of httpx holds the request, and so the key.
            return Reply(sent=not _never_connected(error), problem=_names(error))

    async def aclose(self) -> None:
        await self._http.aclose()


async def _beginning(response: httpx.Response, most: int) -> bytes:
    body = b""
    async for part in response.aiter_raw():
        body += part
        if len(body) >= most:
            break
    return body[:most]


def _masked(body: bytes, key: str) -> bytes:
    """The body without the key, which an error could quote; some JSON has `\\/` for a slash."""
    for quoted in (key, key.replace("/", "\\/")):
        body = body.replace(quoted.encode(), b"****")
    return body


def _never_connected(error: Exception) -> bool:
    """Whether there was no connection, which alone proves that nothing was sent.

    httpx-aiohttp turns a connection that breaks after the request was written into
    `httpx.ConnectTimeout` too, so the original exception has to say it.
    """
    cause = error.__cause__ or error
    return isinstance(cause, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


def _names(error: Exception) -> str:
    return type(error.__cause__ or error).__name__
