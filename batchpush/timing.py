"""How long things may take, in seconds.

    claim ──────── budget ──────┐ the last send has begun, and ends within `call`
      └─────────── lease ───────────────┐ somebody else may take over
      └─────────── function ───────────────────────────────┐ the platform gives up waiting

The lease follows from our own budget and not from the platform's timeout: a request that the
platform gave up on keeps running.
"""

from dataclasses import dataclass

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
