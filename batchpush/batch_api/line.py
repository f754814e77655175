"""The line to Batch: one request, and what came of it.

Imported with the first event, as `batchpush.http` is.
"""

import asyncio
from collections.abc import Mapping

import httpx

from batchpush.batch_api.masking import masked, masked_text
from batchpush.batch_api.outcome import Reply
from batchpush.environment import CEP
from batchpush.http import (
    FAILURES,
    NEVER_CONNECTED,
    address,
    cause,
    exchange,
    request,
    transport,
)

KEEP_ALIVE = 4.0  # seconds; a connection that Batch may have closed by now is not tried
MAX_REPLY = 16_384  # bytes of an answer that are read
MAX_LIST = 1_000_000  # bytes of a list, of statistics, or of CEP's errors about many profiles
SLACK = 1_000  # bytes more, in which a key may be cut off
RETRY_AFTER = b"retry-after"
JSON = (b"Content-Type", b"application/json")
# Batch gives each of its APIs a version of its own; the others, of pushes and campaigns, are 1.1.
VERSION = "1.1"
VERSIONS = {"data": "1.0", "events": "1.0", "gdpr": "1.0"}  # by the first segment of a route
# official: the server of Batch's OpenAPI description of cep/profiles/update; newer ones exist
CEP_VERSION = "2.11"
# Seconds to connect, or to get a free connection of the pool: aiohttp counts both as one.
TIMEOUT = {"pool": 5.0}


class Line:
    """Belongs to the loop of its use. `apps` are app keys by name; an answer is waited for so long
    as `seconds`.
    """

    def __init__(
        self,
        apps: Mapping[str, str],
        url: str,
        seconds: float,
        connections: int,
        given: httpx.AsyncBaseTransport | None = None,
        project: str = "",
    ) -> None:
        self._url = url
        self._keys = apps
        self._project = project.encode()
        self._seconds = seconds
        self._transport = given or transport(connections, KEEP_ALIVE)

    async def ask(self, app: str, method: str, route: str, body: bytes | None, key: str) -> Reply:
        """Whatever happens on the line is a `Reply`."""
        if app == CEP:
            base = CEP_VERSION
            headers = [(b"Authorization", b"Bearer " + key.encode()), JSON]
            headers.append((b"X-Batch-Project", self._project))
        else:
            base = f"{VERSIONS.get(route.partition('/')[0], VERSION)}/{self._keys[app]}"
            headers = [(b"X-Authorization", key.encode()), JSON]
        asked = request(
            method, address(f"{self._url}/{base}/{route}"), headers, TIMEOUT, body or b""
        )
        limit = MAX_LIST if method == "GET" or app == CEP else MAX_REPLY
        try:
            async with asyncio.timeout(self._seconds):
                response, answer = await exchange(self._transport, asked, limit + SLACK)
        except TimeoutError:
            return Reply(problem=f"no answer within {self._seconds:g} s")
        except FAILURES as error:
            # Only the name: an exception may hold the request, and so the key.
            failure = cause(error)
            return Reply(
                sent=not isinstance(failure, NEVER_CONNECTED), problem=type(failure).__name__
            )
        retry_after = None
        for name, value in response.headers.raw:  # httpx would decode them all to look one up
            if name.lower() == RETRY_AFTER:
                retry_after = masked_text(value.decode("latin-1"), key)
        return Reply(
            response.status_code,
            _beginning(answer, limit, key),
            retry_after,
        )

    async def aclose(self) -> None:
        await self._transport.aclose()


def _beginning(answer: bytes, limit: int, key: str) -> bytes:
    """The first bytes of an answer, masked; where it is cut, its end may hold a part of the key."""
    if len(answer) == limit + SLACK:
        return masked(answer, key)[:-SLACK]
    return masked(answer, key)[:limit]
