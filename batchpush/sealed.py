"""A process that sends and writes nothing: a preview runs the functions of `main.py` inside it.

Two nets, since a function may call anything. What this package would send or write asks
`leaving` first. All else is stopped where Python opens a connection or starts a program, and where
gRPC, which connects without Python, makes a channel.
"""

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

# http.client.send: also on a connection that a look-up left open
SENDS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg", "http.client.send"})
STARTS = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"})


class NothingLeaves(Exception):
    """The process is sealed, and something was about to leave it."""


@dataclass
class Seal:
    """`attempts` says what was stopped, also where the code that tried it caught the error."""

    attempts: list[str] = field(default_factory=list)


_seal: Seal | None = None
_reading: ContextVar[bool] = ContextVar("reading", default=False)


@contextmanager
def sealed() -> Iterator[Seal]:
    """Nothing leaves the process inside, but for what `reading` allows."""
    global _seal
    _install()
    threads = set(threading.enumerate())
    _seal = Seal()
    try:
        yield _seal
    finally:
        if threads >= set(threading.enumerate()):  # a thread that goes on stays sealed in
            _seal = None


@contextmanager
def reading() -> Iterator[None]:
    """Inside, this task may connect to read; what writes is stopped all the same."""
    token = _reading.set(True)
    try:
        yield
    finally:
        _reading.reset(token)


def leaving(what: str) -> None:
    """Called by what sends or writes, before it does; raises `NothingLeaves` in a sealed process.

    `what` goes on from the name of a function: "publishes a campaign".
    """
    if _seal is not None:
        _seal.attempts.append(what)
        raise NothingLeaves(what)


@functools.cache
def _install() -> None:
    """For good: Python keeps an audit hook until it ends."""
    import grpc
    import grpc.aio

    sys.addaudithook(_audit)
    for module in (grpc, grpc.aio):
        for name in ("secure_channel", "insecure_channel"):
            setattr(module, name, _checked(getattr(module, name)))


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _seal is None or _reading.get():
        return
    if event in SENDS and arguments[1] is not None:  # None: no address, on a connected socket
        leaving("uses the network")
    if event in STARTS:
        leaving("starts a program")


def _checked(channel: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(channel)
    def made(*arguments: Any, **options: Any) -> Any:
        if not _reading.get():
            leaving("uses the network")
        return channel(*arguments, **options)

    return made
