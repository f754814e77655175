"""Python imports this before a function of the suite, to record what the function calls.

It writes a line for each gRPC method and each HTTP method and address, once per process, to the
file in RECORDED_CALLS. It is not part of a deployment.
"""

import atexit
import importlib.abc
import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

known: set[str] = set()


def record(line: str) -> None:
    if line in known:
        return
    known.add(line)
    with open(os.environ["RECORDED_CALLS"], "a", encoding="utf-8") as file:
        file.write(f"{line}\n")  # one short write, so that processes do not mix their lines


def watch_grpc(module: ModuleType) -> None:
    for name, kind in vars(module).items():
        if name.endswith("MultiCallable") and "__call__" in vars(kind):
            kind.__call__ = watched(kind.__call__, lambda call, *_: call._method.decode())


def watch_http(module: ModuleType) -> None:
    """Watch http.client, which requests, urllib3 and urllib use."""

    def address(connection: Any, method: str, url: str) -> str:
        return f"{method} {connection.host}:{connection.port}{url.partition('?')[0]}"

    connection = module.HTTPConnection
    connection.putrequest = watched(connection.putrequest, address)


def watch_httpx(module: ModuleType) -> None:
    """Watch httpx over aiohttp."""

    def address(_: Any, request: Any) -> str:
        path, _, _ = request.url.raw_path.partition(b"?")
        return f"{request.method} {request.url.netloc.decode()}{path.decode()}"

    transport = module.AiohttpTransport
    transport.handle_async_request = watched(transport.handle_async_request, address)


def watched(function: Callable[..., Any], line: Callable[..., str]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        record(line(*args[:3]))
        return function(*args, **kwargs)

    return call


WATCH = {
    "grpc.aio._channel": watch_grpc,
    "grpc._channel": watch_grpc,
    "http.client": watch_http,
    "httpx_aiohttp.transport": watch_httpx,
}


class Watch(importlib.abc.MetaPathFinder):
    """Patches a module after its import, without importing any itself."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in WATCH:
            return None
        sys.meta_path.remove(self)
        try:
            spec = importlib.util.find_spec(name)
        finally:
            sys.meta_path.insert(0, self)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def executed(module: ModuleType) -> None:
                execute(module)
                WATCH[name](module)

            spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


def linger() -> None:
    """Wait until the output has been read.

    firebase-tools asks a Python process where the Firebase SDK is, and uses whatever it has read
    when the process exits. On a busy machine that can be nothing, and then it serves no function.
    """
    sys.stdout.flush()
    time.sleep(0.3)


if "RECORDED_CALLS" in os.environ:
    sys.meta_path.insert(0, Watch())
    if sys.argv[:1] == ["-c"]:
        atexit.register(linger)
