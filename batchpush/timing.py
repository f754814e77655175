"""How long things may take, in seconds, and the clock that says so.

    claim ──────── budget ──────┐ the last send has begun, and ends within `call`
      └─────────── lease ───────────────┐ somebody else may take over
      └─────────── function ───────────────────────────────┐ the platform gives up waiting

The lease follows from our own budget and not from the platform's timeout: a request that the
platform gave up on keeps running.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from batchpush.errors import ConfigurationError

FUNCTION_TIMEOUT = 120


@dataclass(frozen=True)
class Timing:
    """Raises `ConfigurationError` when a call could still be under way as the lease ends."""

    call: float = 10.0
    budget: float = 45.0
    lease: float = 60.0
    redelivery: float = 900.0  # after so long in RETRY, the platform has given up

    def __post_init__(self) -> None:
        if not self.call < self.budget < self.budget + self.call < self.lease < FUNCTION_TIMEOUT:
            raise ConfigurationError("timing: the budget and a call must end before the lease")

    def lease_until(self, now: datetime) -> datetime:
        """When a lease ends that begins now."""
        return now + timedelta(seconds=self.lease)

    def last_start(self, lease_until: datetime) -> datetime:
        """When no call may begin any more: one that has begun ends before the lease does."""
        return lease_until - timedelta(seconds=self.lease - self.budget)

    def redelivered_since(self, now: datetime) -> datetime:
        """What was to be redelivered before this time will not be: the platform has given up."""
        return now - timedelta(seconds=self.redelivery)


@dataclass(frozen=True)
class Clock:
    """Time, chance and sleep; `jitter` gives a number from 0 to 1, `sleep` takes seconds."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    jitter: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
