"""What Google brings to a function by itself, again and again until it is taken.

Eventarc, Cloud Tasks, Cloud Scheduler --> Deliveries --> front end of Cloud Run --> function
                                               ^                                        |
                                               +---- not 2xx: later again, if it may ---+
"""

import asyncio
import math
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from emulators.google_cloud.cloud_run import FrontEnd, Sent
from emulators.google_cloud.id_tokens import IdTokens


@dataclass(frozen=True)
class Pace:
    """How deliveries are made, beside what their kind says.

    At least once and in any order is all that Google promises: with `copies`, each comes so many
    times at once, and each copy up to `spread` seconds late. Pauses are `speed` times as short.
    """

    copies: int = 1
    spread: float = 0.0
    speed: float = 1.0


@dataclass(frozen=True)
class Retries:
    """The pause doubles from `min_backoff` to `max_backoff` seconds."""

    max_attempts: float = math.inf
    max_seconds: float = math.inf
    min_backoff: float = 0.0
    max_backoff: float = 0.0

    def pause(self, attempts: int) -> float:
        # An exponent of a float is at most 1023.
        return min(self.min_backoff * 2.0 ** min(attempts - 1, 60), self.max_backoff)


ONCE = Retries(max_attempts=1)


class State(StrEnum):
    WAITING = "WAITING"  # due, or to be retried
    TAKEN = "TAKEN"  # the function answered 2xx
    DROPPED = "DROPPED"  # given up


@dataclass
class Delivery:
    """`statuses` are the function's answers so far."""

    kind: str
    id: str
    function: str
    account: str
    state: State = State.WAITING
    statuses: list[int] = field(default_factory=list)


Attempt = Callable[[int], Sent]  # the request, by the number of answers before it


class Deliveries:
    def __init__(self, front_end: FrontEnd, tokens: IdTokens) -> None:
        self.pace = Pace()
        self._front_end, self._tokens = front_end, tokens
        self._all: list[Delivery] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(each) for each in self._all]

    def clear(self) -> None:
        """Forget those that have ended."""
        self._all = [each for each in self._all if each.state is State.WAITING]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(
        self,
        delivery: Delivery,
        audience: str,
        attempt: Attempt,
        retries: Retries = ONCE,
        delay: float = 0.0,
    ) -> None:
        self._all.append(delivery)
        task = asyncio.create_task(self._deliver(delivery, audience, attempt, retries, delay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(
        self, delivery: Delivery, audience: str, attempt: Attempt, retries: Retries, delay: float
    ) -> None:
        waited = delay
        await asyncio.sleep(delay)
        while delivery.state is State.WAITING:
            sent = attempt(len(delivery.statuses))
            signed = sent.signed(self._tokens.issue(delivery.account, audience))
            reply = await self._front_end.call(delivery.function, signed)
            delivery.statuses.append(reply.status)
            pause = retries.pause(len(delivery.statuses))
            waited += pause
            if reply.status // 100 == 2:
                delivery.state = State.TAKEN
            elif len(delivery.statuses) >= retries.max_attempts or waited > retries.max_seconds:
                delivery.state = State.DROPPED
            else:
                await asyncio.sleep(pause / self.pace.speed)

    def late(self) -> float:
        """A delay within the spread."""
        return random.uniform(0, self.pace.spread)  # noqa: S311 - no secret


def paced(data: Any) -> Pace:
    """Read from JSON; raises ValueError or TypeError."""
    pace = Pace(**data)
    if pace.copies < 1 or pace.spread < 0 or pace.speed <= 0:
        raise ValueError("copies are at least 1, spread is at least 0, and speed is above 0")
    return pace
