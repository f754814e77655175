"""How often a user may call: counted in Firestore, in memory and on the emulator."""

import asyncio
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from batchpush.delivery import call_limits
from batchpush.delivery.call_limits import CallLimits
from batchpush.delivery.ledger import Ledger
from batchpush.errors import LookUpFailed
from batchpush.events.callables import CallRefused
from batchpush.google.firestore import Firestore, FirestoreUnavailable
from batchpush.pushes.limits import LIMITS, Limit
from batchpush.testing import Memory
from tests.deliveries import ledger_for, rpcs

NOW = datetime(2026, 5, 4, 10, 20, 30, tzinfo=UTC)


@pytest.fixture(params=["memory", pytest.param("emulator", marks=pytest.mark.suite)])
async def ledger(request: pytest.FixtureRequest) -> Ledger:
    return ledger_for("unused", Memory() if request.param == "memory" else None)


@pytest.fixture
async def counted(ledger: Ledger) -> CallLimits:
    return CallLimits(lambda: ledger.firestore)


def limits(most: int = 5) -> list[Limit]:
    unique = uuid.uuid4().hex
    return [Limit((unique, "ann"), 100), Limit((unique, "ann", "bob"), most)]


async def passes(counted: CallLimits, limits: Sequence[Limit], now: datetime) -> bool:
    try:
        await counted.count(limits, now)
    except CallRefused as refused:
        return refused.code != "resource-exhausted"
    return True


async def test_a_limit_holds_exactly_however_many_come_at_once(counted: CallLimits) -> None:
    ours = limits(most=5)
    passed = await asyncio.gather(*(passes(counted, ours, NOW) for _ in range(20)))
    assert passed.count(True) == 5
    assert not await passes(counted, ours, NOW + timedelta(seconds=29))
    assert await passes(counted, ours, NOW + timedelta(seconds=30))  # the next minute
    assert await passes(counted, [ours[0]], NOW)


async def test_of_a_thousand_calls_in_a_minute_five_pass_and_few_are_written(
    ledger: Ledger, counted: CallLimits
) -> None:
    ours = limits(most=5)
    with rpcs(ledger) as made:
        passed = [
            each
            for _ in range(50)
            for each in await asyncio.gather(*(passes(counted, ours, NOW) for _ in range(20)))
        ]
    assert (len(passed), passed.count(True)) == (1000, 5)
    assert len(made) <= 20


async def test_a_call_is_counted_with_one_write_and_no_read(
    ledger: Ledger, counted: CallLimits
) -> None:
    ours = limits(most=1)
    with rpcs(ledger) as made:
        assert await passes(counted, ours, NOW)
        assert not await passes(counted, ours, NOW)
        assert not await passes(counted, ours, NOW)
    assert made == ["Commit", "Commit"]  # a counter that is over is not written again
    name, end = ours[1].window(NOW)
    path = f"{LIMITS}/{name}"
    assert (await ledger.firestore.read(path))[path].fields == {"calls": 2, "expire_at": end}
    assert end == datetime(2026, 5, 4, 10, 21, tzinfo=UTC)


async def test_a_refused_call_is_told_why(counted: CallLimits) -> None:
    ours = limits(most=0)
    for _ in range(2):  # as Firestore counts it, and as the process remembers
        with pytest.raises(CallRefused, match=r"^too many requests; try again in a minute$"):
            await counted.count(ours, NOW)


async def test_what_a_process_remembers_is_bounded(
    ledger: Ledger, counted: CallLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call_limits, "MAX_KNOWN", 2)
    ours = [limits(most=0) for _ in range(3)]
    for each in ours:
        assert not await passes(counted, each, NOW)
    with rpcs(ledger) as made:
        assert not await passes(counted, ours[2], NOW)
        assert made == []
        assert not await passes(counted, ours[0], NOW)
    assert made == ["Commit"], "forgotten here, and still known in Firestore"


async def test_without_firestore_a_call_may_be_made_again() -> None:
    memory = Memory()

    async def down(name: str, operation: object) -> None:
        raise FirestoreUnavailable("down")

    memory.strike = down
    counted = CallLimits(lambda: Firestore(memory))
    with pytest.raises(LookUpFailed, match=r"^Firestore: down$"):
        await counted.count(limits(), NOW)
