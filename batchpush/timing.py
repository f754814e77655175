"""Time limits in seconds, and the clock.

    claim ──────── budget ──────┐ the last attempt has begun, and ends within `call`
      └─────────── lease ───────────────┐ another worker may reclaim it
      └─────────── function ───────────────────────────────┐ the platform stops waiting

The lease follows from our own budget, not from the platform's timeout: a request keeps running
after the platform gives up on it.
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
    """Raises `ConfigurationError` if an attempt could outlast the lease."""

    call: float = 10.0
    budget: float = 45.0
    lease: float = 60.0
    redelivery: float = 900.0  # after so long in RETRY, the platform has given up

    def __post_init__(self) -> None:
        if not self.call < self.budget < self.budget + self.call < self.lease < FUNCTION_TIMEOUT:
            raise ConfigurationError("timing: the budget and a call must end before the lease")

    def lease_until(self, now: datetime) -> datetime:
        """When a lease that begins now expires."""
        return now + timedelta(seconds=self.lease)

    def last_start(self, lease_until: datetime) -> datetime:
        """The time from which no attempt may begin: a running one must end before the lease."""
        return lease_until - timedelta(seconds=self.lease - self.budget)

    def redelivered_since(self, now: datetime) -> datetime:
        """What was last written before this time is no longer redelivered by the platform."""
        return now - timedelta(seconds=self.redelivery)


@dataclass(frozen=True)
class Clock:
    """Time, randomness and sleep; `jitter` returns a number from 0 to 1, `sleep` takes seconds."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    jitter: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
