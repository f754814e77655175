"""A replay of a large audience: whatever happens to it, it can go on, and nobody is told twice."""

import json
from collections import Counter

import httpx
import pytest

import batchpush.pushes.push
from batchpush import Change, LookUp, Message, Push, Recipients
from batchpush.delivery.erasure import Person
from batchpush.delivery.record import DeliveryState, Record
from tests.crashes import killed_at
from tests.house import EVENING, House

PEOPLE = {f"user{number}" for number in range(6)}
REFUSED = httpx.Response(403, json={"code": 12, "type": "API_MISUSE", "message": "no"})


async def sale(change: Change, look_up: LookUp) -> Push:
    recipients = Recipients(custom_ids=sorted(PEOPLE))
    return Push(group_id="sale", recipients=recipients, message=Message("Everything must go"))


@pytest.fixture
async def refused(monkeypatch: pytest.MonkeyPatch) -> tuple[House, Change]:
    """An audience of three chunks, all of which Batch has refused."""
    monkeypatch.setattr(batchpush.pushes.push, "MAX_RECIPIENTS", 2)
    house = House(BATCH_APPS="ios=A")
    house.batch.answer = REFUSED
    change = await house.happens(sale, "sales/{sale_id}", {}, sale_id="s1")
    await house.run_tasks(EVENING)
    assert (await house.record_of(change)).state is DeliveryState.REFUSED
    house.batch.answer = None
    house.batch.calls.clear()
    return house, change


async def replay(house: House, change: Change) -> Record:
    entry = await house.worker.ledger.read(change.delivery_id)
    assert entry is not None
    return await house.worker.replay.replay(entry, resend_unknown=False)


def told(house: House) -> Counter[str]:
    """How often each person was told, as Batch saw it."""
    return Counter(
        each
        for call in house.batch.calls
        if call.is_accepted
        for each in json.loads(json.dumps(call.body))["recipients"]["custom_ids"]
    )


async def test_a_replay_of_a_large_audience_tells_each_once(refused: tuple[House, Change]) -> None:
    assert (await replay(*refused)).state is DeliveryState.SENT
    assert told(refused[0]) == dict.fromkeys(PEOPLE, 1)


@pytest.mark.parametrize("is_done", [True, False])
@pytest.mark.parametrize("step", range(20))
async def test_a_replay_that_is_killed_anywhere_can_go_on(
    refused: tuple[House, Change], step: int, is_done: bool
) -> None:
    house, change = refused
    with killed_at(house, step, is_done):
        await replay(house, change)
    was_unknown = {who for who, times in told(house).items() if times}
    for _ in range(2):
        house.clock.forward(901)
        await house.worker.sweep.run()
        await house.run_tasks(house.clock.now())
    if (await house.record_of(change)).state is not DeliveryState.SENT:
        assert (await replay(house, change)).state is DeliveryState.SENT
    counted = told(house)
    assert counted.keys() == PEOPLE
    twice = {who for who, times in counted.items() if times > 1}
    assert len(twice) <= 2, "at most those of the one chunk that was under way"
    assert twice <= was_unknown
    assert max(counted.values()) <= 2


async def test_somebody_who_is_erased_keeps_nobody_else_from_it(
    refused: tuple[House, Change],
) -> None:
    house, change = refused
    async for _ in house.worker.eraser.erase(Person.of("user0"), False):
        pass
    await replay(house, change)
    assert told(house).keys() >= {"user2", "user3", "user4", "user5"}
    assert "user0" not in told(house)
    await replay(house, change)
    assert max(told(house).values()) == 1
