"""Finding deliveries by whom and what they are about."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from batchpush.cli.finding import Finder
from batchpush.delivery.erasure import Person, without
from batchpush.delivery.ledger import Ledger
from batchpush.delivery.record import DeliveryState, Record
from batchpush.delivery.search import Search
from batchpush.google.firestore import Firestore, FirestoreRefused
from batchpush.google.protocol.firestore_pb2 import CommitRequest
from batchpush.testing.memory import Memory
from handlers import messages
from tests.deliveries import claimed
from tests.house import EVENING, MORNING, NIGHT, House

MESSAGE = "conversations/{conversation_id}/messages/{message_id}"
EVERY = frozenset(DeliveryState)


async def found(ledger: Ledger, search: Search, limit: int = 50) -> list[Record]:
    pages: AsyncIterator[list[Record]] = ledger.pages(search.query(ledger.collection, limit=limit))
    return [record async for page in pages for record in page if search.matches(record)]


async def names(house: House, user_id: str) -> list[str]:
    records = await found(house.worker.ledger, Search(states=EVERY, person=user_id))
    return [record.document.rpartition("/")[2] for record in records]


async def say(house: House, number: int) -> None:
    await house.happens(
        messages.new_message,
        MESSAGE,
        {"sender_id": "ann", "text": "Hello"},
        conversation_id="c1",
        message_id=f"m{number}",
    )
    house.clock.forward(1)


@pytest.fixture
async def house() -> House:
    house = House(RECIPIENT_INDEX_DAYS="7")
    for each in ("ann", "bob", "eve", "tom"):
        await house.stores(f"users/{each}", {"quiet_hours": NIGHT} if each == "eve" else {})
    everybody = {"member_ids": ["ann", "bob", "eve", "tom"], "muted_by": ["tom"]}
    await house.stores("conversations/c1", everybody)
    return house


async def test_a_person_is_found_in_what_they_were_sent_are_waiting_for_or_were_left_out_of(
    house: House,
) -> None:
    await say(house, 1)
    await say(house, 2)
    assert await names(house, "bob") == ["m2", "m1"]
    assert await names(house, "tom") == ["m2", "m1"]
    assert await names(house, "ann") == []
    waits = await found(house.worker.ledger, Search(states=EVERY, person="eve"))
    assert [record.state for record in waits if record.state is not DeliveryState.SENT] == [
        DeliveryState.WAITING
    ]
    await house.run_tasks(MORNING)
    states = [
        each.state for each in await found(house.worker.ledger, Search(states=EVERY, person="eve"))
    ]
    assert states == [DeliveryState.SENT] * 3


async def test_without_the_setting_nobody_is_in_the_index() -> None:
    house = House()
    await house.stores("users/bob", {})
    await house.stores("conversations/c1", {"member_ids": ["ann", "bob"]})
    await say(house, 1)
    assert await names(house, "bob") == []
    assert all(not record.people for record in await house.records())


async def test_ids_in_the_index_are_hidden(house: House) -> None:
    await say(house, 1)
    (record, *_) = await found(house.worker.ledger, Search(states=EVERY, person="bob"))
    assert "bob" not in str(record.people)


async def test_a_sweep_takes_the_index_away_after_its_days(house: House) -> None:
    await say(house, 1)
    house.clock.forward(timedelta(days=7).total_seconds())
    await house.worker.sweep.drop_outdated()
    assert await names(house, "bob") == ["m1"]
    house.clock.forward(timedelta(days=1).total_seconds())
    await house.worker.sweep.drop_outdated()
    assert await names(house, "bob") == []


async def test_an_index_too_large_for_one_commit_goes_in_several(house: House) -> None:
    """Each person is an entry in it, and Firestore limits how many a commit may change."""
    for number in range(5):
        await say(house, number)
    house.clock.forward(timedelta(days=8).total_seconds())
    transport = house.firestore.transport

    class Small:
        database = transport.database

        async def ask(self, method: Any, request: Any) -> Any:
            if isinstance(request, CommitRequest) and len(request.writes) > 2:
                raise FirestoreRefused("INVALID_ARGUMENT: Transaction too big")
            return await transport.ask(method, request)

    house.firestore.transport = Small()
    await house.worker.sweep.drop_outdated()
    assert await names(house, "bob") == []


async def test_somebody_who_is_erased_is_not_found_any_more(house: House) -> None:
    await say(house, 1)
    (record, *_) = await found(house.worker.ledger, Search(states=EVERY, person="tom"))
    left = without(Person.of("tom"), record, house.clock.now()).record
    assert "tom" not in str(left)
    assert len(left.people) == len(record.people) - 1


T0 = datetime.fromisoformat("2026-06-10T10:00:00+00:00")


async def ledger_with(*records: Record) -> Ledger:
    memory = Firestore(Memory())
    ledger = Ledger(lambda: memory, "d")
    for number, record in enumerate(records):
        fields: dict[str, Any] = {"day": record.created_at.date().isoformat()}
        await ledger.claim(record.evolve(id=f"{number:064}", **fields))
    return ledger


def at(days: int, **fields: Any) -> Record:
    return claimed(created_at=T0 + timedelta(days=days), **fields)


@pytest.mark.parametrize(
    ("search", "found_days"),
    [
        ({}, [0, 1, 2, 3]),
        ({"states": {DeliveryState.HELD}}, [1, 3]),
        ({"states": {DeliveryState.SENT}}, [2, 0]),
        ({"function": "new_message"}, [3, 2, 1]),
        ({"function": "new_message", "states": {DeliveryState.HELD}}, [3, 1]),
        ({"function": "new_message", "since": T0 + timedelta(days=2)}, [3, 2]),
        ({"function": "new_message", "since": T0 + timedelta(days=2, hours=1)}, [3]),
        ({"function": "new_message", "until": T0 + timedelta(days=2)}, [2, 1]),
        ({"states": {DeliveryState.HELD}, "since": T0 + timedelta(days=2)}, [3]),
        ({"document": "a/1"}, [1, 0]),
        ({"document": "a/1", "since": T0 + timedelta(days=1)}, [1]),
        ({"document": "a/1", "states": {DeliveryState.HELD}}, [1]),
    ],
)
async def test_what_is_found(search: dict[str, Any], found_days: list[int]) -> None:
    held, sent = DeliveryState.HELD, DeliveryState.SENT
    ledger = await ledger_with(
        at(0, state=sent, function="outbox", document="a/1"),
        at(1, state=held, function="new_message", document="a/1"),
        at(2, state=sent, function="new_message", document="a/2"),
        at(3, state=held, function="new_message", document="a/3"),
    )
    records = await found(ledger, Search(**{"states": EVERY} | search), limit=1)
    days = [(record.created_at - T0).days for record in records]
    if search:
        assert days == found_days
    else:
        assert sorted(days) == found_days


async def test_a_search_goes_on_after_the_last_record_that_was_shown() -> None:
    ledger = await ledger_with(*(at(0, document="a/1") for _ in range(5)), at(1, document="a/1"))
    for search in (
        Search(states=EVERY, document="a/1"),
        Search(states=EVERY, function=claimed().function),
        Search(states=frozenset({DeliveryState.CLAIMED})),
    ):
        everything = await found(ledger, search)
        assert len(everything) == 6
        rest = ledger.pages(search.query(ledger.collection, everything[2], limit=2))
        assert [record.id async for page in rest for record in page] == [
            record.id for record in everything[3:]
        ]


async def test_the_bodies_are_not_read() -> None:
    ledger = await ledger_with(at(0, document="a/1"))
    (record,) = await found(ledger, Search(states=EVERY, document="a/1"))
    assert record.bodies == ()
    assert record.calls


async def test_the_time_of_a_record_in_the_evening_is_its_day(house: House) -> None:
    await say(house, 1)
    (record, *_) = await found(house.worker.ledger, Search(states=EVERY, person="bob"))
    assert record.day == EVENING.date().isoformat()


async def test_going_on_shows_each_delivery_of_a_day_once(house: House) -> None:
    """The index has the day, so the database sorts those of one day by id."""
    for number in range(7):
        await say(house, number)
    search = Search(states=EVERY, function="new_message")
    shown: list[str] = []
    last = None
    while True:
        finder = Finder(house.worker, search, limit=2, after=last)
        shown += [record.id for record in await finder.find()]
        if finder.is_all:
            break
        last = finder.last
    assert sorted(shown) == sorted(record.id for record in await house.records())
