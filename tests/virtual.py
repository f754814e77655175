"""Hours in seconds: an event loop on which nothing waits, and the platform's redeliveries on it."""

import asyncio
import random
from collections.abc import Callable, Collection, Coroutine, Sequence
from concurrent.futures import Executor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, TypeVar, TypeVarTuple

import pytest

from batchpush.errors import TryAgainLater

START = datetime(2026, 5, 4, tzinfo=UTC)
MIN_BACKOFF, MAX_BACKOFF = 10.0, 600.0  # seconds, Eventarc's
UNEVEN = 0.1  # so much more or less of it

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Instance = Callable[[Any], Coroutine[Any, Any, None]]


class VirtualLoop(asyncio.SelectorEventLoop):
    """Where everything waits for the clock, the clock moves on to the next who does."""

    def __init__(self) -> None:
        super().__init__()
        self._seconds = 0.0
        self._selector.select = self._moved_on  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._seconds

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """What a thread would do is done at once: nobody could wait for it on this clock."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is for whoever awaits the thread
            done.set_exception(error)
        return done

    def _moved_on(self, timeout: float | None) -> list[Any]:
        assert timeout is not None, "everything waits for something that cannot come"
        self._seconds += timeout
        return []


def run(work: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def seconds() -> float:
    return asyncio.get_running_loop().time()


def now() -> datetime:
    return START + timedelta(seconds=seconds())


def google_on_the_loops_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our clients of Google, which measure time by themselves, do so on the loop's clock."""
    clock = SimpleNamespace(monotonic=seconds)
    for module in ("connection", "credentials"):
        monkeypatch.setattr(f"batchpush.google.{module}.time", clock)


async def end(work: Collection[asyncio.Task[None]]) -> None:
    """Cancel what is still under way; raises what any of it raised."""
    for each in work:
        each.cancel()
    for ended in await asyncio.gather(*work, return_exceptions=True):
        if ended is not None and not isinstance(ended, asyncio.CancelledError):
            raise ended


class Platform:
    """Brings every event to one of the instances, and again until it is done."""

    def __init__(
        self,
        instances: Sequence[Callable[[Any], Coroutine[Any, Any, None]]],
        at_once: int,
        seed: int,
    ) -> None:
        self._at_once = at_once
        self._instances: list[tuple[Instance, asyncio.Semaphore]] = []
        for each in instances:
            self.starts(each)
        self._random = random.Random(seed)  # noqa: S311 - the same chance for a seed
        self.done_at: dict[Any, float] = {}
        self.deliveries = 0

    def starts(self, instance: Instance) -> None:
        self._instances.append((instance, asyncio.Semaphore(self._at_once)))

    async def brings(self, event: Any) -> None:
        backoff = MIN_BACKOFF
        while not await self._delivered(event):
            await asyncio.sleep(backoff * self._random.uniform(1 - UNEVEN, 1 + UNEVEN))
            backoff = min(backoff * 2, MAX_BACKOFF)
        self.done_at[event] = seconds()

    async def _delivered(self, event: Any) -> bool:
        try:
            await self.once(event)
        except TryAgainLater:
            return False
        return True

    async def once(self, event: Any) -> None:
        """Bring it to an instance; raises what that does."""
        instance, is_free = self._random.choice(self._instances)
        self.deliveries += 1
        async with is_free:
            await instance(event)
