"""Firestore's process is killed and started again under load."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.figures import figure
from tests.torture.arena import DEADLINE, SHORT, together
from tests.torture.conftest import Arenas
from tests.torture.emulator import Emulator
from tests.torture.proxy import Line, in_front_of
from tests.torture.worker import Spec

pytestmark = pytest.mark.suite

SECONDS = float(os.environ.get("TORTURE_KILLED", "8"))  # of load
PER_SECOND = 50.0  # events, for both values of k together
KILLS = max(2, int(SECONDS / 30))
TIMEOUT = 1.0  # seconds for one operation of the ledger


@pytest.fixture
def emulator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    emulator = Emulator(tmp_path)
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", emulator.address)
    try:
        emulator.start()
        yield emulator
    finally:
        emulator.kill()


async def test_firestore_killed_under_load_loses_nothing(
    emulator: Emulator, arena_for: Arenas
) -> None:
    """It comes back with every document, but under other update times.

    So what is being recorded at a kill is doubted, as if somebody else had taken it up: the
    emulator is a little worse than Firestore.
    """
    count = int(SECONDS * PER_SECOND / 2)
    events = [f"killed-{number}" for number in range(count)]
    spec = Spec(
        events=events,
        per_second=PER_SECOND / 2,
        patience=SECONDS,
        timing=SHORT,
        ledger_timeout=TIMEOUT,
        starts_on_go=True,
    )
    arenas = [arena_for(k) for k in (0, 1)]
    async with in_front_of(emulator.address) as proxy:
        workers = [arena.start(spec, proxy.address) for arena in arenas]
        await together(worker.says("ready") for worker in workers)
        for worker in workers:
            worker.go()
        for number in range(1, KILLS + 1):
            so_many = count * number // (KILLS + 1)
            await workers[0].says("came", so_many, within=SECONDS + DEADLINE)
            await proxy.become(Line.REFUSED)
            await asyncio.to_thread(emulator.save)
            emulator.kill()
            await asyncio.to_thread(emulator.start)
            await proxy.become(Line.WELL)
        await together(worker.ends(within=SECONDS + DEADLINE) for worker in workers)

    what = f"Firestore killed {KILLS} times in {SECONDS:g} s, {PER_SECOND:g} events a second"
    for arena, worker in zip(arenas, workers, strict=True):
        answers = worker.answers()
        again = {line["event"] for line in worker.of("answered") if line["answer"] == "again"}
        await arena.redeliver(event for event in events if answers[event] != "done")
        await arena.sweep()
        found = f"{arena.check(events)}; {len(again):,} of {count:,} were delivered again"
        figure(f"{what}, k = {arena.k}", found)
