"""SIGKILL, wherever a delivery can be."""

import asyncio
import itertools
import os
import signal
from dataclasses import dataclass
from typing import Any

import pytest

from tests.figures import figure
from tests.torture.arena import DEADLINE, SHORT, Arena, together
from tests.torture.conftest import Arenas
from tests.torture.worker import Spec, Trap

pytestmark = pytest.mark.suite

KILLS = int(os.environ.get("TORTURE_KILLS", "40"))
AT_ONCE = 4  # processes

ONCE = [
    ("before claim",),
    ("in claim",),
    ("after claim",),
    ("before send",),
    ("in send",),
    ("after send",),
    ("between sends",),
    ("before record",),
    ("in record",),
    ("after record",),
]
# The second one takes up what the first one left: to send it again, or, with k = 0, to hold it.
TWICE = {
    0: [
        ("after claim", "before record"),
        ("before send", "in record"),
        ("before record", "after record"),
    ],
    1: [
        ("after claim", "before reclaim"),
        ("before send", "in reclaim"),
        ("before record", "after reclaim"),
        ("between sends", "between sends"),
        ("in send", "before record"),
    ],
}


@dataclass(frozen=True)
class Case:
    """An event and two that are delivered beside it, which the death finds anywhere."""

    number: int
    deaths: tuple[str, ...]
    is_left_to_the_sweep: bool  # unless there is no record: then only a redelivery helps

    @property
    def event(self) -> str:
        return f"killed-{self.number}"

    @property
    def events(self) -> list[str]:
        return [self.event, f"beside-{self.number}-1", f"beside-{self.number}-2"]


def cases(k: int, kills: int) -> list[Case]:
    """The list over and over; each second time, the sweep finishes what is left."""
    chosen: list[Case] = []
    deaths = ONCE + TWICE[k]
    for number, those in enumerate(itertools.cycle(deaths)):
        if kills <= 0:
            break
        chosen.append(Case(number, those, is_left_to_the_sweep=number // len(deaths) % 2 == 1))
        kills -= len(those)
    return chosen


@pytest.mark.parametrize("k", [0, 1])
async def test_a_process_killed_anywhere_doubles_nothing_and_loses_nothing(
    arena_for: Arenas, k: int
) -> None:
    arena = arena_for(k)
    chosen = cases(k, KILLS // 2)
    counts = await _killed_everywhere(arena, chosen)
    kills = sum(len(case.deaths) for case in chosen)
    figure(f"{kills} processes killed, wherever a delivery can be, k = {k}", counts)


@pytest.mark.parametrize("k", [0, 1])
async def test_nor_does_it_lose_those_who_wait_where_tasks_are_not_made_either(
    arena_for: Arenas, k: int
) -> None:
    """One of three tasks is not accepted; claims write histories, indexes, counts and waits."""
    arena = arena_for(k)
    chosen = cases(k, KILLS // 4)
    counts = await _killed_everywhere(arena, chosen, waits=True, lost_tasks=0.3)
    arena.check_beside()
    assert not [record for record in arena.records().values() if record.get("later")]
    waiting, made = arena.waiting(), arena.tasks()
    assert {record["id"] for record in waiting} <= made
    kills = sum(len(case.deaths) for case in chosen)
    figure(
        f"{kills} processes killed, with histories, limits and waits, one of three tasks not "
        f"accepted, k = {k}",
        f"{counts}; {len(waiting):,} who wait, each with a task; histories as the records say",
    )


async def _killed_everywhere(arena: Arena, chosen: list[Case], **spec: Any) -> str:
    free = asyncio.Semaphore(AT_ONCE)

    async def killed(case: Case) -> None:
        async with free:
            await _kill(arena, case, **spec)

    await together(map(killed, chosen))
    records = arena.records()
    for case in chosen:
        assert (case.event in records) or case.deaths[0] in ("before claim", "in claim")
        assert (case.event not in records) or case.deaths[0] != "before claim"

    redelivered = [
        event
        for case in chosen
        for event in case.events
        if event not in records or not case.is_left_to_the_sweep
    ]
    await arena.redeliver(redelivered, **spec)
    await arena.sweep()
    return arena.check(event for case in chosen for event in case.events)


async def _kill(arena: Arena, case: Case, **spec: Any) -> None:
    for death in case.deaths:
        trap = Trap(event=case.event, at=death)
        told = Spec(events=case.events, trap=trap, patience=DEADLINE / 2, timing=SHORT, **spec)
        await arena.run(told, status=-signal.SIGKILL)
