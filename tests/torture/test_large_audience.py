"""SIGKILL, while a large audience is prepared and sent."""

import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.torture.arena import APPS, DEADLINE, SHORT, Arena
from tests.torture.conftest import Arenas
from tests.torture.worker import Spec, Trap, people

pytestmark = pytest.mark.suite

AUDIENCE = 25_003
CHUNKS = 3


def spec(trap: str | None = None, **values: Any) -> Spec:
    deadly = Trap(event="sale", at=trap) if trap else None
    return Spec(audience=AUDIENCE, trap=deadly, patience=DEADLINE / 2, timing=SHORT, **values)


def accepted(arena: Arena, app: str) -> Counter[str]:
    calls = [call for call in arena.batch.calls() if call["app"] == app and call["accepted"]]
    return Counter(user for call in calls for user in call["body"]["recipients"]["custom_ids"])


async def enqueued(arena: Arena) -> Sequence[Mapping[str, str]]:
    """The tasks of the audience, once its event was delivered well."""
    worker = await arena.run(spec(events=["sale"]))
    return [line["data"] for line in worker.of("task")]


@pytest.mark.parametrize("death", ["before prepare", "after prepare", "in claim", "after claim"])
async def test_killed_before_the_tasks_are_made_it_is_sent_once(
    arena_for: Arenas, death: str
) -> None:
    arena = arena_for(1)
    await arena.run(spec(death, events=["sale"]), status=-signal.SIGKILL)
    tasks = await enqueued(arena)
    assert len(tasks) == CHUNKS
    await arena.run(spec(tasks=tasks))
    for app in APPS:
        assert accepted(arena, app) == Counter(people(AUDIENCE))
    assert arena.records()["sale"]["state"] == "SENT"


@pytest.mark.parametrize("k", [0, 1])
@pytest.mark.parametrize("death", ["after send", "between sends", "before record"])
async def test_killed_within_a_chunk_at_most_that_chunk_is_sent_again(
    arena_for: Arenas, death: str, k: int
) -> None:
    arena = arena_for(k)
    first, second, third = await enqueued(arena)
    await arena.run(spec(tasks=[first]))
    await arena.run(spec(death, tasks=[second]), status=-signal.SIGKILL)
    await arena.run(spec(tasks=[first, second, third]))  # Cloud Tasks may bring any again
    state = arena.records()["sale"]["state"]
    assert state == ("SENT" if k else "HELD")
    for app in APPS:
        told = accepted(arena, app)
        twice = [user for user, times in told.items() if times > 1]
        assert max(told.values()) <= 1 + k
        assert len(twice) <= 10_000
        assert (set(told) == set(people(AUDIENCE))) or state == "HELD"
