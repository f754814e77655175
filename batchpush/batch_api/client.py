"""Batch's API, with the REST key of the moment."""

import asyncio
import functools
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from batchpush.batch_api.outcome import Reply
from batchpush.batch_api.rest_key import RestKeyCache, key_reader
from batchpush.environment import CEP, Settings
from batchpush.timing import Timing
from batchpush.tracing import traced

if TYPE_CHECKING:
    import httpx

    from batchpush.batch_api.line import Line


MAX_AT_ONCE = 100  # requests for one app; a push in many languages has many

MayBegin = Callable[[], bool]


class TooLate(Exception):
    """The time of a request was up before it began: the key took too long."""


class BatchClient:
    """One per worker: its connections stay open between events."""

    def __init__(
        self,
        settings: Settings,
        timing: Timing,
        rest_key: RestKeyCache | None = None,
        transport: "httpx.AsyncBaseTransport | None" = None,
    ) -> None:
        self._apps = settings.batch_apps
        self._project = settings.batch_project
        self._url = settings.batch_api_url
        self._seconds = timing.call
        self._rest_key = rest_key or RestKeyCache(key_reader(settings))
        self._given = transport
        self._connections = MAX_AT_ONCE * (len(self._apps) + bool(self._project))

    def warm_up(self) -> None:
        """Begin what the first call will wait for; nothing fails here that it will not tell."""
        _ = self._warming

    @functools.cached_property
    def _warming(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._warm())

    async def _warm(self) -> None:
        imported = asyncio.to_thread(importlib.import_module, "batchpush.batch_api.line")
        await asyncio.gather(self._rest_key.get(), imported, return_exceptions=True)

    @functools.cached_property
    def _line(self) -> "Line":
        """Made on the loop."""
        from batchpush.batch_api.line import Line

        return Line(
            self._apps, self._url, self._seconds, self._connections, self._given, self._project
        )

    async def send(self, app: str, body: bytes, may_begin: MayBegin | None = None) -> Reply:
        """One call of the Transactional API, or of CEP's Profile API; see `request`."""
        if app != CEP:
            return await self.request(app, "POST", "transactional/send", body, may_begin)
        from batchpush.batch_api.cep import Tracking

        tracking = Tracking.of(body)
        reply = await self.request(CEP, "POST", tracking.route, tracking.body, may_begin)
        return tracking.read(reply)

    @traced(
        "request",
        lambda reply, _, app, method, *__: {
            "batchpush.app": app,
            "http.request.method": method,
            "http.response.status_code": reply.status,
        },
    )
    async def request(
        self,
        app: str,
        method: str,
        route: str,
        body: bytes | None = None,
        may_begin: MayBegin | None = None,
    ) -> Reply:
        """One call for an app; a second attempt if the key was rotated meanwhile.

        `may_begin` is asked right before each, since reading the key may take seconds. Raises
        `TooLate` if the first may not begin, or `RestKeyUnavailable`; whatever happens on the line
        is a `Reply`.
        """
        key = await self._rest_key.get()
        if may_begin and not may_begin():
            raise TooLate
        reply = await self._line.ask(app, method, route, body, key.reveal())
        if reply.status == 401 and (new_key := await self._rest_key.replaced(key)):
            if may_begin and not may_begin():
                return reply
            reply = await self._line.ask(app, method, route, body, new_key.reveal())
        return reply

    async def aclose(self) -> None:
        await self._line.aclose()
