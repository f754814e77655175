"""Batch takes a call, and its answer does not arrive."""

from typing import Any

import pytest

from tests.torture.arena import APPS, SHORT
from tests.torture.conftest import Arenas
from tests.torture.worker import Spec

pytestmark = pytest.mark.suite

FAULTS: dict[str, dict[str, Any]] = {
    "reset": {"reset": True, "accept": True},
    "hang": {"hang": True},
    "cut": {"cut": True},
    "drip": {"drip": 0.2},
}


@pytest.mark.parametrize("k", [0, 1, 2])
async def test_a_lost_answer_is_asked_for_k_times_and_then_held(arena_for: Arenas, k: int) -> None:
    arena = arena_for(k)
    for event, fault in FAULTS.items():
        arena.batch.fault(group_id=event, times=None, **fault)
    spec = Spec(events=list(FAULTS), timing=SHORT)

    workers = [await arena.run(spec) for _ in range(k + 2)]

    answers = [set(worker.answers().values()) for worker in workers]
    assert answers == [{"again"}] * k + [{"done"}] * 2
    every_call = {(event, app): 1 + k for event in FAULTS for app in APPS}
    assert arena.arrived() == arena.accepted() == every_call
    assert {record["state"] for record in arena.records().values()} == {"HELD"}
    sends = [line for worker in workers for line in worker.of("sent")]
    longest = max(line["seconds"] for line in sends)
    assert longest <= SHORT["call"] + 1
    arena.check(FAULTS)
