"""HTTP: sends httpx requests through a transport, which in production uses aiohttp's connections.

The transport is the seam for tests and other clients. It is called directly, because
`httpx.AsyncClient` takes almost twice the CPU for a request.

This module is imported in the background of the first event instead of with `main`: aiohttp loads
the certificates of all authorities, which takes a tenth of a cold start.
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
)  # some errors of aiohttp arrive untranslated
NEVER_CONNECTED = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    httpx.ConnectError,
    httpx.ConnectTimeout,
)

address = functools.lru_cache(maxsize=100)(httpx.URL)  # the same few addresses repeat


def transport(connections: int, keep_alive: float) -> httpx.AsyncBaseTransport:
    """`connections` is the maximum, `keep_alive` is in seconds; bound to the loop that uses it."""

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=keep_alive),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    # aiohttp verifies with the certificates it has already loaded. This context is never used, but
    # without it, httpx would load them all again.
    unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return AiohttpTransport(verify=unused, client=session)


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
