"""The same event many times at once."""

import os

import pytest

from tests.figures import figure
from tests.torture.arena import APPS, DEADLINE, together
from tests.torture.conftest import Arenas
from tests.torture.worker import Spec

pytestmark = pytest.mark.suite

PROCESSES = 4
EVENTS = int(os.environ.get("TORTURE_STORM", "400"))
PATIENT = {"call": 35.0, "budget": 60.0, "lease": 100.0}  # with a machine that stands still


@pytest.mark.parametrize(
    ("count", "times", "waits"),
    [(EVENTS, 8, False), (EVENTS // 5, 8, True), (80, 32, True), (20, 64, False)],
)
async def test_an_event_that_comes_many_times_at_once_is_sent_once(
    arena_for: Arenas, count: int, times: int, waits: bool
) -> None:
    """With waits, each claim writes histories, an index, counts and those who wait beside it."""
    arena = arena_for(1)
    events = [f"storm-{number}" for number in range(count)]
    patience = DEADLINE + count * times / 50  # seconds; a slow machine may wait for leases
    spec = Spec(
        events=events,
        waits=waits,
        copies=times // PROCESSES,
        at_once=64,
        patience=patience,
        starts_on_go=True,
        timing=PATIENT,
    )
    workers = [arena.start(spec) for _ in range(PROCESSES)]
    await together(worker.says("ready") for worker in workers)
    for worker in workers:
        worker.go()
    await together(worker.ends(within=patience + DEADLINE) for worker in workers)

    for worker in workers:
        assert worker.answers() == dict.fromkeys(events, "done")
    doubled = {event for (event, _), sends in arena.arrived().items() if sends > 1}
    assert not doubled, [arena.records()[event] for event in doubled]
    assert arena.arrived() == {(event, app): 1 for event in events for app in APPS}
    deliveries = sum(len(worker.of("answered")) for worker in workers)
    if waits:
        arena.check_beside()
    beside = ", with histories, limits and waits" if waits else ""
    figure(
        f"{count:,} events{beside}, each {times} times at once over {PROCESSES} processes, k = 1",
        f"{arena.check(events)}; {deliveries:,} deliveries",
    )
    assert {record["state"] for record in arena.records().values()} == {"SENT"}
