"""HTTP: sends httpx requests through a transport, which in production uses aiohttp's connections.

The transport is the seam for tests and other clients. It is called directly, because
`httpx.AsyncClient` takes almost twice the CPU for a request.

This module is imported in the background of the first event instead of with `main`: aiohttp loads
the certificates of all authorities, which takes a tenth of a cold start.
"""

import functools
import re
import ssl
from collections.abc import Iterable, Mapping

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

FAILURES = (
    httpx.TransportError,
    aiohttp.ClientError,
    OSError,
)  # some errors of aiohttp arrive untranslated
NEVER_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    httpx.ConnectError,
    httpx.ConnectTimeout,
)

address = functools.lru_cache(maxsize=100)(httpx.URL)  # the same few addresses repeat


MAX_KEEP_ALIVE = 60.0  # seconds; a longer silence may be cut by something on the way
TIMEOUT_OF = re.compile(rb"\btimeout\s*=\s*(\d{1,6})\b", re.IGNORECASE)


class Transport(AiohttpTransport):
    """Keeps idle connections as long as the server allows, if it says so in `Keep-Alive`.

    A request on a connection that the server is just closing may have been received or not. So a
    connection is given up a second early.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        for name, value in response.headers.raw:
            if len(name) == len(b"Keep-Alive") and name.lower() == b"keep-alive":
                self._keep(value)
        return response

    def _keep(self, header: bytes) -> None:
        connector = getattr(self.client, "connector", None)
        if connector is not None and (timeout := TIMEOUT_OF.search(header)):
            # aiohttp takes it only when a connector is made, before any server has answered.
            seconds = min(float(timeout[1]) - 1, MAX_KEEP_ALIVE)
            connector._keepalive_timeout = max(seconds, 0.0)


def transport(connections: int, keep_alive: float) -> httpx.AsyncBaseTransport:
    """`connections` is the maximum; bound to the loop that uses it.

    `keep_alive` is how many seconds an idle connection is kept if the server does not say.
    """

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=keep_alive),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    # aiohttp verifies with the certificates it has already loaded. This context is never used, but
    # without it, httpx would load them all again.
    unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return Transport(verify=unused, client=session)


def request(
    method: str,
    url: httpx.URL,
    headers: Iterable[tuple[bytes, bytes]],
    timeout: Mapping[str, float],
    body: bytes = b"",
) -> httpx.Request:
    """The same as `httpx.Request(..., content=body)`, for a third of the CPU.

    Asks for an uncompressed response, since the limit on its size counts plain bytes.
    """
    complete = [(b"Host", url.netloc), (b"Accept-Encoding", b"identity"), *headers]
    if body or method != "GET":
        complete.append((b"Content-Length", b"%d" % len(body)))
    made = httpx.Request(
        method,
        url,
        headers=complete,
        stream=httpx.ByteStream(body),
        extensions={"timeout": timeout},
    )
    made.read()  # otherwise it is sent in chunks
    return made


async def exchange(
    transport: httpx.AsyncBaseTransport, request: httpx.Request, max_bytes: int
) -> tuple[httpx.Response, bytes]:
    """The response and its first bytes; the rest is not read.

    Raises one of `FAILURES`, which may hold the request and the secrets in it.
    """
    response = await transport.handle_async_request(request)
    assert isinstance(response.stream, httpx.AsyncByteStream)
    body = bytearray()
    try:
        async for part in response.stream:
            body += part
            if len(body) >= max_bytes:
                break
    finally:
        await response.stream.aclose()  # closes the connection if the body is not read to its end
    del body[max_bytes:]
    return response, bytes(body)


def cause(error: Exception) -> BaseException:
    """aiohttp's own error: the transport also reports a lost connection as `ConnectTimeout`."""
    return error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
