"""How much is asked of an app at once, and until when."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from batchpush.batch_api.outcome import Reply
from batchpush.batch_api.requests import Caller
from batchpush.timing import Clock

CLIENT = cast(Any, None)
NOW = datetime(2026, 5, 4, tzinfo=UTC)


async def at_once(_: float) -> None:
    """Nobody waits here."""


def bounded(now: Callable[[], datetime]) -> Caller:
    """Three requests of an app at once."""
    turns = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(3))
    return Caller(CLIENT, Clock(now, lambda: 0.5, at_once), turns=turns)


async def attempted(calls: Caller, app: str, ask: Callable[[], Awaitable[Reply]]) -> int:
    """The number of attempts that began within a second."""
    return len([each async for each in calls.attempts(app, ask, NOW + timedelta(seconds=1))])


async def test_the_calls_of_an_app_at_once_are_bounded_and_no_app_waits_for_another() -> None:
    calls = bounded(lambda: NOW)
    begun: list[str] = []
    is_let_go = asyncio.Event()

    async def ask_ios() -> Reply:
        begun.append("ios")
        await is_let_go.wait()
        return Reply(201, b'{"token": "t"}')

    async def ask_android() -> Reply:
        begun.append("android")
        return Reply(201, b'{"token": "t"}')

    on_ios = asyncio.gather(*(attempted(calls, "ios", ask_ios) for _ in range(10)))
    await asyncio.gather(*(attempted(calls, "android", ask_android) for _ in range(10)))
    assert Counter(begun) == {"ios": 3, "android": 10}
    is_let_go.set()
    assert await on_ios == [1] * 10


async def test_a_call_that_waited_for_its_turn_too_long_does_not_begin() -> None:
    now = NOW
    calls = bounded(lambda: now)

    async def ask() -> Reply:
        nonlocal now
        await asyncio.sleep(0)  # until the others wait for their turn
        now = NOW + timedelta(seconds=1)
        return Reply(201, b'{"token": "t"}')

    found = await asyncio.gather(*(attempted(calls, "ios", ask) for _ in range(5)))
    assert found == [1, 1, 1, 0, 0]
