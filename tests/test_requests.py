"""How much is asked of an app at once, and until when."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx

from batchpush.batch_api.client import BatchClient, MayBegin, TooLate
from batchpush.batch_api.outcome import Outcome, Reply, is_success
from batchpush.batch_api.requests import Caller, Request
from batchpush.batch_api.rest_key import RestKey, RestKeyCache
from batchpush.environment import Settings
from batchpush.timing import Clock, Timing

CLIENT = cast(Any, None)
NOW = datetime(2026, 5, 4, tzinfo=UTC)


async def at_once(_: float) -> None:
    """Nobody waits here."""


def bounded(now: Callable[[], datetime]) -> Caller:
    """Three requests of an app at once."""
    turns = defaultdict[str, asyncio.Semaphore](lambda: asyncio.Semaphore(3))
    return Caller(CLIENT, Clock(now, lambda: 0.5, at_once), turns=turns)


async def attempted(calls: Caller, app: str, ask: Callable[[MayBegin], Awaitable[Reply]]) -> int:
    """The number of attempts that began within a second."""
    return len([each async for each in calls.attempts(app, ask, NOW + timedelta(seconds=1))])


async def test_the_calls_of_an_app_at_once_are_bounded_and_no_app_waits_for_another() -> None:
    calls = bounded(lambda: NOW)
    begun: list[str] = []
    is_let_go = asyncio.Event()

    async def ask_ios(_: MayBegin) -> Reply:
        begun.append("ios")
        await is_let_go.wait()
        return Reply(201, b'{"token": "t"}')

    async def ask_android(_: MayBegin) -> Reply:
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

    async def ask(may_begin: MayBegin) -> Reply:
        nonlocal now
        if not may_begin():
            raise TooLate
        await asyncio.sleep(0)  # until the others wait for their turn
        now = NOW + timedelta(seconds=1)
        return Reply(201, b'{"token": "t"}')

    found = await asyncio.gather(*(attempted(calls, "ios", ask) for _ in range(5)))
    assert found == [1, 1, 1, 0, 0]


async def test_a_call_whose_key_came_too_late_does_not_begin_and_is_no_failure() -> None:
    now, line = NOW, list[str]()

    async def read() -> RestKey:
        nonlocal now
        now += timedelta(seconds=10)
        return RestKey("key")

    async def answer(_: httpx.Request) -> httpx.Response:
        line.append("asked")
        return httpx.Response(201, json={"token": "t"})

    settings = Settings.from_environment({"BATCH_APPS": "ios=A"})
    client = BatchClient(settings, Timing(), RestKeyCache(read), httpx.MockTransport(answer))
    calls = Caller(client, Clock(lambda: now, lambda: 0.5, at_once))
    request = Request("POST", "transactional/send", is_success, b"{}")
    outcome, _ = await calls.call("ios", request, NOW + timedelta(seconds=10))
    assert (outcome, line) == (Outcome.NOT_SENT, [])
    outcome, _ = await calls.call("ios", request, now + timedelta(seconds=1))
    assert (outcome, line) == (Outcome.ACCEPTED, ["asked"])


async def test_a_second_post_with_a_new_key_does_not_begin_too_late() -> None:
    now, keys = NOW, list[str]()

    async def read() -> RestKey:
        nonlocal now
        now += timedelta(seconds=10)
        return RestKey(f"key{len(keys)}")

    async def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["x-authorization"])
        return httpx.Response(401 if keys[-1] == "key0" else 201, json={"token": "t"})

    cache = RestKeyCache(read, clock=lambda: (now - NOW).total_seconds() * 100)
    settings = Settings.from_environment({"BATCH_APPS": "ios=A"})
    client = BatchClient(settings, Timing(), cache, httpx.MockTransport(answer))
    calls = Caller(client, Clock(lambda: now, lambda: 0.5, at_once))
    request = Request("POST", "transactional/send", is_success, b"{}")
    outcome, reply = await calls.call("ios", request, NOW + timedelta(seconds=20))
    assert (outcome, reply.status, keys) == (Outcome.NOT_SENT, 401, ["key0"])
