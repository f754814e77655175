"""Firestore goes away: at the claim, at the record, and for a while under load."""

import os

import pytest

from tests.figures import figure
from tests.torture.arena import APPS, DEADLINE, SHORT, Arena, together
from tests.torture.conftest import Arenas
from tests.torture.proxy import Line, Proxy, in_front_of
from tests.torture.worker import Spec, Trap

pytestmark = pytest.mark.suite

CUT = float(os.environ.get("TORTURE_CUT", "6"))  # seconds
BEFORE = AFTER = 1.0  # seconds of load
PER_SECOND = 20.0
TIMEOUT = 1.0  # seconds for one operation of the ledger
OUTLASTING = {"call": 0.6, "budget": CUT + 1, "lease": CUT + 10}  # as 60 seconds do most outages
OUTAGES = [Line.REFUSED, Line.STALLED, Line.DEAF]


def firestore() -> str:
    return os.environ["FIRESTORE_EMULATOR_HOST"]


@pytest.mark.parametrize("k", [0, 1])
async def test_down_at_the_claim_nothing_is_sent_until_the_redelivery(
    arena_for: Arenas, k: int
) -> None:
    arenas = {line: arena_for(k) for line in OUTAGES}
    await together(_down_at_claim(arena, line) for line, arena in arenas.items())
    for arena in arenas.values():
        arena.check(["claim"])


async def _down_at_claim(arena: Arena, line: Line) -> None:
    async with in_front_of(firestore()) as proxy:
        await _cut_at(arena, proxy, line, "before claim", "claim")
        assert not arena.arrived()
        await proxy.become(Line.WELL)
    await arena.redeliver(["claim"])
    if line is Line.REFUSED:  # else Firestore may have made the record, and nobody knew
        assert arena.arrived() == {("claim", app): 1 for app in APPS}


@pytest.mark.parametrize("k", [0, 1])
async def test_down_at_the_record_the_calls_are_doubted(arena_for: Arenas, k: int) -> None:
    arenas = {line: arena_for(k) for line in OUTAGES}
    await together(_down_at_record(arena, line) for line, arena in arenas.items())
    for arena in arenas.values():
        arena.check(["record"])


async def _down_at_record(arena: Arena, line: Line) -> None:
    async with in_front_of(firestore()) as proxy:
        await _cut_at(arena, proxy, line, "before record", "record")
        await proxy.become(Line.WELL)
    await arena.redeliver(["record"])
    if line is Line.STALLED:  # the record may have got through when the line was well again
        return
    is_recorded = line is Line.DEAF
    assert arena.records()["record"]["state"] == ("SENT" if is_recorded or arena.k else "HELD")
    sends = 1 if is_recorded else 1 + arena.k
    assert arena.arrived() == {("record", app): sends for app in APPS}


async def _cut_at(arena: Arena, proxy: Proxy, line: Line, at: str, event: str) -> None:
    """Deliver an event, with the line cut at that place."""
    trap = Trap(event=event, at=at, then="wait")
    spec = Spec(events=[event], trap=trap, timing=SHORT, ledger_timeout=TIMEOUT, starts_on_go=True)
    worker = arena.start(spec, proxy.address)
    await worker.says("ready")
    worker.go()
    await worker.says("trapped")
    await proxy.become(line)
    worker.go()
    await worker.ends()
    (answer,) = worker.of("answered")
    assert answer["answer"] == "again"
    assert answer["reason"].startswith("LedgerUnavailable: Firestore: ")


@pytest.mark.parametrize("k", [0, 1])
async def test_an_outage_under_load_ends_with_a_record_of_every_event(
    arena_for: Arenas, k: int
) -> None:
    arenas = {line: arena_for(k) for line in OUTAGES}
    counts = await together(_outage(arena, line) for line, arena in arenas.items())
    for line, count in zip(OUTAGES, counts, strict=True):
        what = f"the line to Firestore {line.value} for {CUT:g} s, {PER_SECOND:g} events a second"
        figure(f"{what}, k = {k}", count)


async def _outage(arena: Arena, line: Line) -> str:
    count = int(PER_SECOND * (BEFORE + CUT + AFTER))
    events = [f"load-{number}" for number in range(count)]
    spec = Spec(
        events=events,
        per_second=PER_SECOND,
        timing=OUTLASTING,
        ledger_timeout=TIMEOUT,
        starts_on_go=True,
    )
    async with in_front_of(firestore()) as proxy:
        worker = arena.start(spec, proxy.address)
        await worker.says("ready")
        worker.go()
        await worker.says("came", int(PER_SECOND * BEFORE))
        await proxy.become(line)
        await worker.says("came", int(PER_SECOND * (BEFORE + CUT)), within=CUT + DEADLINE)
        await proxy.become(Line.WELL)
        await worker.ends()
    answers = worker.answers()
    unfinished = [event for event in events if answers[event] != "done"]
    assert unfinished
    await arena.redeliver(unfinished)
    await arena.sweep()
    again = f"{len(unfinished):,} of {count:,} were delivered again afterwards"
    return f"{arena.check(events)}; {again}"
