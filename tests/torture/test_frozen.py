"""SIGSTOP: an owner that is frozen past the end of its lease, and wakes up."""

import signal

import pytest

from tests.torture.arena import SHORT, Arena, together
from tests.torture.conftest import Arenas
from tests.torture.worker import Spec, Trap

pytestmark = pytest.mark.suite

FROZEN = ["after claim", "before send", "before record"]


@pytest.mark.parametrize("k", [0, 1])
async def test_an_owner_that_outlived_its_lease_is_fenced_off(arena_for: Arenas, k: int) -> None:
    """Once it is awake, it sends nothing: the last thing it does before is to look at the clock."""
    arenas = {at: arena_for(k) for at in FROZEN}
    await together(_freeze(arena, at) for at, arena in arenas.items())
    for arena in arenas.values():
        arena.check(["frozen"])


async def _freeze(arena: Arena, at: str) -> None:
    trap = Trap(event="frozen", at=at, then="wait")
    owner = arena.start(Spec(events=["frozen"], trap=trap, timing=SHORT))
    await owner.says("trapped")
    owner.signal(signal.SIGSTOP)
    before = arena.arrived()

    await arena.redeliver(["frozen"])  # the other one waits for the lease, and takes over
    taken_over, arrived = arena.records()["frozen"], arena.arrived()
    assert taken_over["state"] == ("SENT" if arena.k else "HELD")
    assert (arrived - before).total() == (2 if arena.k else 0)

    owner.go()
    owner.signal(signal.SIGCONT)
    await owner.ends()
    (answer,) = owner.of("answered")
    assert answer["answer"] == "again"
    assert "the lease expired and another worker resumed it" in answer["reason"]
    assert arena.arrived() == arrived
    assert arena.records()["frozen"] == taken_over
