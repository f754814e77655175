"""An arena for each test, and no process left when it ends."""

import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from emulators import batch
from tests.torture.arena import APPS, Arena

Arenas = Callable[[int], Arena]


@pytest.fixture
async def arena_for(tmp_path: Path) -> AsyncIterator[Arenas]:
    """`arena_for(k)` makes one in which a call may be sent again k times."""
    arenas: list[Arena] = []
    with ExitStack() as stack:

        def make(k: int) -> Arena:
            running = stack.enter_context(batch.running(apps=APPS))
            arenas.append(Arena(running, f"torture_{uuid.uuid4().hex[:12]}", k, tmp_path))
            return arenas[-1]

        yield make
        for arena in arenas:
            await arena.close()
