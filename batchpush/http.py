"""HTTP: requests of httpx, carried by a transport: in production, over aiohttp's connections.

The transport is the seam where a test, or another client, comes in. It is called as it is, and not
through `httpx.AsyncClient`, which takes near to twice the CPU for a call.

This module is imported with the first event, whose claim it does not hold up, and not with `main`:
aiohttp loads the certificates of all authorities, which takes a tenth of a cold start.
"""

import functools
import ssl
from collections.abc import Iterable, Mapping

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

FAILURES = (
    httpx.TransportError,
    aiohttp.ClientError,
    OSError,
)  # some of aiohttp's come as they are
NEVER_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    httpx.ConnectError,
    httpx.ConnectTimeout,
)

address = functools.lru_cache(maxsize=100)(httpx.URL)  # of what is called again and again


def transport(connections: int, keep_alive: float) -> httpx.AsyncBaseTransport:
    """At most so many connections, open for so many seconds; it belongs to the loop of its use."""

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=keep_alive),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    # aiohttp verifies with the certificates that it has loaded. This context is never used:
    # without it, httpx would load them all once more.
    unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return AiohttpTransport(verify=unused, client=session)


def request(
    method: str,
    url: httpx.URL,
    headers: Iterable[tuple[bytes, bytes]],
    timeout: Mapping[str, float],
    body: bytes = b"",
) -> httpx.Request:
    """What `httpx.Request(..., content=body)` makes, for a third of the CPU.

    The answer is to come as it is: it is read to a limit, which counts no compressed bytes.
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
    made.read()  # or it would be sent in chunks
    return made


async def exchange(
    transport: httpx.AsyncBaseTransport, request: httpx.Request, most: int
) -> tuple[httpx.Response, bytes]:
    """The answer and its first bytes; what may still come is not waited for.

    Raises one of `FAILURES`, which may hold the request with all that is secret in it.
    """
    response = await transport.handle_async_request(request)
    assert isinstance(response.stream, httpx.AsyncByteStream)
    body = bytearray()
    try:
        async for part in response.stream:
            body += part
            if len(body) >= most:
                break
    finally:
        await response.stream.aclose()  # before its end, this closes the connection
    del body[most:]
    return response, bytes(body)


def cause(error: Exception) -> BaseException:
    """What aiohttp said: the transport calls a connection that was cut a `ConnectTimeout`, too."""
    return error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
