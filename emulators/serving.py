"""Shared by the emulators: a server for this machine only, and a client for it."""

import asyncio
import ipaddress
import json
import threading
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from typing import Any, TypeVar
from urllib.parse import urlsplit

from aiohttp import web
from yarl import URL

MAX_HEADER = 16 * 1024
MAX_BODY = 2 * 1024 * 1024

# A call that hangs on purpose must not delay the end of a test.
SHUTDOWN_SECONDS = 0.2
LOOP_SECONDS = 10.0

T = TypeVar("T")


def serve_forever(app: web.Application, host: str, port: int) -> None:
    """Serve until interrupted (Ctrl-C or SIGINT)."""

    async def serve() -> None:
        runner = await _start(app, host, port)
        try:
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    with suppress(KeyboardInterrupt):
        asyncio.run(serve())


@contextmanager
def in_background(app: web.Application) -> Iterator[str]:
    """Serve on a free loopback port in a separate thread; yields the URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="emulator", daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, loop).result(LOOP_SECONDS)

    try:
        runner = run(_start(app, "127.0.0.1", 0))
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            run(_end(runner))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(LOOP_SECONDS)
        loop.close()


async def _start(app: web.Application, host: str, port: int) -> web.AppRunner:
    runner = web.AppRunner(
        app,
        access_log=None,
        # A handler that waits on purpose ends when its client disconnects.
        handler_cancellation=True,
        shutdown_timeout=SHUTDOWN_SECONDS,
        max_field_size=MAX_HEADER,
        max_line_size=MAX_HEADER,
    )
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner


async def _end(runner: web.AppRunner) -> None:
    """Close all connections, including those still being accepted."""
    await runner.cleanup()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)  # closed transports report it in the loop's next iteration


def is_of_this_address(request: web.Request) -> bool:
    """False for a request that a page of another site made a browser send.

    Host exposes a site whose name resolves to our address (DNS rebinding), Origin all others.
    """
    host = request.headers.get("Host", "localhost")
    return _is_address(host) and request.headers.get("Origin") in (None, f"http://{host}")


def _is_address(host: str) -> bool:
    """Whether it is localhost or an IP address, as opposed to a name that anyone can register."""
    try:
        name = URL(f"http://{host}").host or ""
        return name == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False


class Handle:
    """Controls any running emulator, over HTTP only."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    def calls(self) -> list[dict[str, Any]]:
        """Every call received so far, oldest first."""
        calls: list[dict[str, Any]] = self._request("GET", "/__calls")
        return calls

    def clear(self) -> None:
        """Forget the calls."""
        self._request("DELETE", "/__calls")

    def fault(self, **fault: Any) -> None:
        """Script one fault; raises ValueError for a field that the emulator does not know."""
        self._request("POST", "/__faults", fault)

    def clear_faults(self) -> None:
        self._request("DELETE", "/__faults")

    def _request(
        self, method: str, path: str, data: Any = None, headers: dict[str, str] | None = None
    ) -> Any:
        """The parsed reply; raises ValueError with the reply's text on 400 and above."""
        body = None if data is None else json.dumps(data)
        # http.client ignores a proxy in the environment, which could not reach this loopback.
        with closing(HTTPConnection(urlsplit(self.url).netloc, timeout=10)) as connection:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            text = reply.read().decode()
        if reply.status >= 400:
            raise ValueError(f"{method} {path} got {reply.status}: {text}")
        return json.loads(text) if text else None
