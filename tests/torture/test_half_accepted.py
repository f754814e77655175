"""One app's call is accepted, the other's is not."""

import pytest

from tests.torture.conftest import Arenas
from tests.torture.worker import Spec

pytestmark = pytest.mark.suite


async def test_only_the_call_that_was_not_accepted_is_sent_again(arena_for: Arenas) -> None:
    arena = arena_for(0)
    arena.batch.fault(app="android", status=503, times=2)
    spec = Spec(events=["half"], most_tries=1)

    answers = [(await arena.run(spec)).answers()["half"] for _ in range(3)]

    assert answers == ["again", "again", "done"]
    assert arena.arrived() == {("half", "ios"): 1, ("half", "android"): 3}
    assert arena.records()["half"]["state"] == "SENT"
    arena.check(["half"])
