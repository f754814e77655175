"""Seals the process so that nothing leaves it: a preview runs the functions of `main.py` inside.

There are two safety nets, since a function may call anything. This package calls `leaving` before
it sends or writes. Everything else is stopped when Python opens a connection or starts a program,
and when gRPC, which connects without Python, creates a channel.
"""

import functools
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from batchpush.scoped import holding

# http.client.send also covers a connection that a look-up left open
SENDS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg", "http.client.send"})
STARTS = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"})


class NothingLeaves(Exception):
    """The process is sealed, and something was about to leave it."""


@dataclass
class Seal:
    """`attempts` lists what was stopped, even if the code that tried it caught the error."""

    attempts: list[str] = field(default_factory=list)


_seal: Seal | None = None
_reading: ContextVar[bool] = ContextVar("reading", default=False)


@contextmanager
def sealed() -> Iterator[Seal]:
    """Inside the block, nothing leaves the process except what `reading` allows."""
    global _seal
    _install()
    threads = set(threading.enumerate())
    _seal = Seal()
    try:
        yield _seal
    finally:
        if threads >= set(threading.enumerate()):  # a thread that is still running stays sealed
            _seal = None


def reading() -> AbstractContextManager[None]:
    """Inside the block, this task may connect in order to read; writes are still stopped."""
    return holding(_reading, True)


def leaving(what: str) -> None:
    """Call this before sending or writing; raises `NothingLeaves` in a sealed process.

    `what` continues a sentence that starts with a function's name: "publishes a campaign".
    """
    if _seal is not None:
        _seal.attempts.append(what)
        raise NothingLeaves(what)


@functools.cache
def _install() -> None:
    """Permanent: Python cannot remove an audit hook."""
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
