"""Waiting for something to be so."""

import time
from collections.abc import Callable
from typing import Any

DEADLINE = 120.0  # seconds; the first event on the emulators starts its function's process


def until(what: str, found: Callable[[], Any], within: float = DEADLINE) -> Any:
    """What `found` returns, once it is true."""
    deadline = time.monotonic() + within
    while not (result := found()):
        assert time.monotonic() < deadline, f"no {what} within {within:g} s"
        time.sleep(0.02)
    return result
