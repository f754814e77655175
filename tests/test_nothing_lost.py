"""Nothing is lost without a record: what Firestore, Cloud Tasks, people and time may do to it.

In memory; `tests/test_delivery.py` and `tests/test_resume.py` have the same on the emulator.
"""

import json
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest

import batchpush.events.lookup
from batchpush import Change, LookUp, Message, Push, QuietHours, Recipients
from batchpush.delivery.record import DeliveryState, Record
from batchpush.errors import (
    DeliveryUnfinished,
    EventTurnedAway,
    InvalidDocument,
    LedgerUnavailable,
    LookUpFailed,
    TryAgainLater,
)
from batchpush.events.untouched import Untouched
from batchpush.google.firestore import (
    FirestoreMisconfigured,
    FirestoreRefused,
    FirestoreUnavailable,
)
from batchpush.testing.memory import Operation
from handlers import credit_limits, friend_requests, game_turns, messages
from handlers.people import people, recipients
from tests.deliveries import remind
from tests.events import created
from tests.house import EVENING, MORNING, NIGHT, House

MESSAGE = "conversations/{conversation_id}/messages/{message_id}"
MAINTENANCE = httpx.Response(503, json={"code": 2, "type": "MAINTENANCE_ERROR", "message": "m"})


@pytest.fixture
def house() -> House:
    return House()


async def message(house: House, name: str, sender: str = "ann", **fields: Any) -> Change:
    return await house.happens(
        messages.new_message,
        MESSAGE,
        {"sender_id": sender, "text": f"Hello {name}"} | fields,
        conversation_id="c1",
        message_id=name,
    )


async def conversation(house: House, *members: str, **profiles: dict[str, Any]) -> None:
    for each in {"ann", *members}:
        await house.stores(f"users/{each}", profiles.get(each, {}) | {"display_name": each})
    await house.stores("conversations/c1", {"member_ids": ["ann", *members]})


def logged(capsys: pytest.CaptureFixture[str], event: str) -> list[dict[str, Any]]:
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    return [line for line in lines if line["message"] == event]


# An event that is turned away is not one that is on record


async def test_carts_that_are_due_while_batch_is_down_are_all_told_later(house: House) -> None:
    pattern, day = "carts/{user_id}", timedelta(hours=24)
    for number in range(60):
        touched = house.clock.now() - day - timedelta(seconds=60 - number)
        await house.stores(f"carts/u{number}", {"items": ["hat"], "updated_at": touched})

    async def reminded(cart: Change) -> None:
        await house.worker.deliverer.deliver(cart, remind)

    look = Untouched(lambda: house.firestore, house.clock.now)
    house.batch.answer = MAINTENANCE
    await look.call(reminded, pattern, day)
    assert len(await house.records()) < 60, "some were turned away before anything was written"
    house.batch.answer = None
    for _ in range(4):
        house.clock.forward(1000)
        await look.call(reminded, pattern, day)
        await house.worker.sweep.run()
    assert Counter(who for who, _ in house.all_told()) == {f"u{number}": 1 for number in range(60)}


async def test_a_cart_that_fails_each_time_keeps_nobody_else_from_being_told(
    house: House,
) -> None:
    pattern, day = "carts/{user_id}", timedelta(hours=24)
    for number in range(60):
        touched = house.clock.now() - day - timedelta(seconds=60 - number)
        await house.stores(f"carts/u{number}", {"items": ["hat"], "updated_at": touched})

    async def remind(cart: Change, look_up: LookUp) -> Push:
        if cart.params["user_id"] == "u0":
            raise LookUpFailed("Firestore: UNAVAILABLE")
        people = Recipients(custom_ids=[cart.params["user_id"]])
        return Push(group_id="cart", recipients=people, message=Message("Still there"))

    async def reminded(cart: Change) -> None:
        await house.worker.deliverer.deliver(cart, remind)

    look = Untouched(lambda: house.firestore, house.clock.now)
    for _ in range(2):
        await look.call(reminded, pattern, day)
    told = Counter(who for who, _ in house.all_told())
    assert told == {f"u{number}": 1 for number in range(1, 60)}


async def test_an_event_that_is_turned_away_is_told_from_one_on_record(house: House) -> None:
    house.batch.answer = MAINTENANCE
    await conversation(house, "bob")
    raised = []
    for number in range(12):
        with pytest.raises(TryAgainLater) as error:
            await message(house, f"m{number}")
        raised.append(type(error.value))
    assert raised[0] is DeliveryUnfinished
    assert raised[-1] is EventTurnedAway
    assert len(await house.records()) == raised.count(DeliveryUnfinished)


# What Firestore will never store


def refusing(house: House, step: str, times: int = 1) -> None:
    """Firestore refuses the next operations of this kind for good."""
    left = [times]

    async def strike(name: str, operation: Operation) -> Any:
        if name == step and left[0]:
            left[0] -= 1
            raise FirestoreRefused("INVALID_ARGUMENT: the document is too large")
        return operation()

    house.memory.strike = strike


async def test_what_firestore_never_stores_ends_in_a_small_record_that_says_why(
    house: House,
) -> None:
    await conversation(house, "bob")
    refusing(house, "claim")
    change = await message(house, "m1")
    record = await house.record_of(change)
    assert (record.state, record.bodies, record.calls) == (DeliveryState.REFUSED, (), ())
    assert record.reason == "Firestore: INVALID_ARGUMENT: the document is too large"
    await house.worker.deliverer.deliver(change, messages.new_message)
    assert house.all_told() == [], "and it is not delivered again"


async def test_a_push_that_waited_and_cannot_be_stored_ends_so_too(house: House) -> None:
    await conversation(house, "bob", bob={"quiet_hours": NIGHT})
    change = await message(house, "m1")
    refusing(house, "reclaim")
    await house.run_tasks(MORNING)
    record = await house.record_of(change)
    assert record.state is DeliveryState.REFUSED
    assert "too large" in (record.reason or "")


async def test_an_outcome_that_cannot_be_stored_is_stored_in_fewer_words(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    await conversation(house, "bob")
    refusing(house, "record")
    change = await message(house, "m1")
    assert (await house.record_of(change)).state is DeliveryState.SENT
    house.clock.forward(1000)
    await house.worker.sweep.run()
    assert len(house.all_told()) == 1, "what Batch accepted is not sent again"
    assert len(logged(capsys, "record.reduced")) == 1


def cannot_record(house: House, until: datetime) -> None:
    """Firestore fails whenever an outcome is to be recorded, until this time."""

    async def strike(name: str, operation: Operation) -> Any:
        if name == "record" and house.clock.now() < until:
            raise FirestoreUnavailable("UNAVAILABLE")
        return operation()

    house.memory.strike = strike


async def test_an_outcome_is_recorded_once_firestore_is_back_within_the_lease() -> None:
    house = House(MAX_AMBIGUOUS_RESENDS="0")
    await conversation(house, "bob")
    cannot_record(house, house.clock.now() + timedelta(seconds=house.worker.timing.lease - 5))
    change = await message(house, "m1")
    assert (await house.record_of(change)).state is DeliveryState.SENT


async def test_an_outcome_that_cannot_be_recorded_within_the_lease_comes_again(
    house: House,
) -> None:
    await conversation(house, "bob")
    begun, lease = house.clock.now(), timedelta(seconds=house.worker.timing.lease)
    cannot_record(house, begun + 2 * lease)
    with pytest.raises(LedgerUnavailable, match="UNAVAILABLE"):
        await message(house, "m1")
    assert lease <= house.clock.now() - begun < 2 * lease


@pytest.mark.parametrize(
    "trouble",
    [
        FirestoreMisconfigured("PERMISSION_DENIED. Fix it with: gcloud ..."),
        FirestoreUnavailable("UNAVAILABLE"),
    ],
)
async def test_what_may_pass_or_can_be_fixed_comes_again_and_says_how(
    house: House, trouble: Exception
) -> None:
    await conversation(house, "bob")

    async def strike(name: str, operation: Operation) -> Any:
        if name == "claim":
            raise trouble
        return operation()

    house.memory.strike = strike
    with pytest.raises(LedgerUnavailable, match=str(trouble)):
        await message(house, "m1", event_id="e1")
    house.memory.strike = None
    await message(house, "m1", event_id="e1")
    assert len(house.all_told()) == 1


# Tasks that are not made


@pytest.mark.parametrize("k", ["0", "1"])
async def test_without_cloud_tasks_those_who_are_awake_are_told_and_the_others_later(
    k: str,
) -> None:
    house = House(MAX_AMBIGUOUS_RESENDS=k)
    await conversation(house, "bob", "zoe", zoe={"quiet_hours": NIGHT})
    house.queue.is_down = True
    with pytest.raises(DeliveryUnfinished):
        await message(house, "m1", event_id="e1")
    assert house.all_told() == [("bob", "Hello m1")]
    (record,) = [each for each in await house.records() if each.calls]
    assert record.state is DeliveryState.RETRY
    assert {call.unknown for call in record.calls} == {0}, "nothing is in doubt"
    house.queue.is_down = False
    await house.worker.deliverer.deliver(await _same(house, record), messages.new_message)
    assert {each.state for each in await house.records()} == {
        DeliveryState.SENT,
        DeliveryState.WAITING,
    }
    await house.run_tasks(MORNING)
    assert house.all_told() == [("bob", "Hello m1"), ("zoe", "Hello m1")]


async def _same(house: House, record: Record) -> Change:
    """The event of a record, once more."""
    return replace(
        created(record.document, {"sender_id": "ann", "text": "Hello m1"}),
        id=record.event_id,
        source=record.source,
        function=record.function,
        time=record.event_time,
    )


async def test_the_sweep_makes_the_tasks_that_nobody_else_made(house: House) -> None:
    await conversation(house, "bob", "zoe", zoe={"quiet_hours": NIGHT})
    house.queue.is_down = True
    with pytest.raises(DeliveryUnfinished):
        await message(house, "m1")
    house.queue.is_down = False
    house.clock.forward(house.worker.timing.redelivery)
    await house.worker.sweep.run()
    assert len(house.queue.tasks) == 1
    await house.run_tasks(MORNING)
    assert house.all_told() == [("bob", "Hello m1"), ("zoe", "Hello m1")]
    assert {each.state for each in await house.records()} == {DeliveryState.SENT}


async def test_where_all_sleep_and_no_task_is_made_the_sweep_finds_them_in_the_morning(
    house: House,
) -> None:
    await conversation(house, "bob", bob={"quiet_hours": NIGHT})
    house.queue.is_down = True
    with pytest.raises(DeliveryUnfinished):
        await message(house, "m1")
    house.queue.is_down = False
    house.clock.value = MORNING + timedelta(seconds=house.worker.timing.redelivery + 1)
    await house.worker.sweep.run()
    await house.run_tasks(house.clock.now())
    assert house.all_told() == [("bob", "Hello m1")]


async def crowd(change: Change, look_up: LookUp) -> Push:
    """More than one call takes, and some who sleep."""
    night = QuietHours(EVENING.time(), MORNING.time(), EVENING.tzinfo)  # type: ignore[arg-type]
    awake = Recipients(custom_ids=[f"u{number}" for number in range(10_001)])
    asleep = Recipients(custom_ids=["zoe"], quiet=night)
    return Push(group_id="g", recipients=[awake, asleep], message=Message("Hello"))


async def test_a_large_audience_without_cloud_tasks_is_resumed_and_no_chunk_makes_its_tasks(
    house: House,
) -> None:
    house.queue.is_down = True
    with pytest.raises(DeliveryUnfinished):
        await house.happens(crowd, "crowds/{crowd_id}", {}, crowd_id="x", event_id="e1")
    house.queue.is_down = False
    house.clock.forward(house.worker.timing.redelivery)
    await house.worker.sweep.run()
    made = Counter(function for function, _ in house.queue.tasks)
    assert made == {"sendchunk": 2, "sendlater": 1}
    chunks = [task for task in house.queue.tasks if task[0] == "sendchunk"]
    later = [task for task in house.queue.tasks if task[0] == "sendlater"]
    house.queue.tasks = chunks
    await house.run_tasks(house.clock.now())
    assert not house.queue.tasks
    house.queue.tasks = later
    await house.run_tasks(MORNING)
    told = Counter(who for who, _ in house.all_told())
    assert len(told) == 10_002
    assert set(told.values()) == {1}
    assert not house.queue.tasks


# Documents that grow with what people write


async def test_however_much_is_written_in_a_night_one_push_tells_of_it(house: House) -> None:
    await conversation(house, "bob", "zoe", zoe={"quiet_hours": NIGHT})
    for number in range(200):
        await message(house, f"m{number}", sender=f"user{number % 20}")
        house.clock.forward(60)
    (burst,) = [
        document for name, document in house.memory.documents.items() if "/batch_bursts/" in name
    ]
    assert burst.ByteSize() < 3_000
    await house.run_tasks(MORNING)
    assert [text for who, text in house.all_told() if who == "zoe"] == ["21+ new messages"]
    assert len([text for who, text in house.all_told() if who == "bob"]) == 200


# Waiting again


async def test_who_has_to_wait_as_long_as_another_is_told_with_nobody_lost(house: House) -> None:
    until = {"start": "22:00", "end": "09:00"}
    await conversation(house, "bob", "zoe", bob={"quiet_hours": NIGHT}, zoe={"quiet_hours": until})
    await message(house, "m1")
    await conversation(house, "bob", "zoe", bob={"quiet_hours": until}, zoe={"quiet_hours": until})
    await house.run_tasks(MORNING)
    await house.run_tasks(MORNING + timedelta(hours=2))
    assert sorted(house.all_told()) == [("bob", "Hello m1"), ("zoe", "Hello m1")]
    assert {record.state for record in await house.records()} == {DeliveryState.SENT}


async def test_who_stores_another_id_while_they_sleep_is_told_in_the_morning(
    house: House,
) -> None:
    await conversation(house, "bob", "zoe", bob={"quiet_hours": NIGHT}, zoe={"quiet_hours": NIGHT})
    await message(house, "m1")
    new = {"quiet_hours": NIGHT, "batch": {"install_ids": ["i1"]}}
    await house.stores("users/bob", new)
    await house.run_tasks(MORNING)
    assert sorted(house.all_told()) == [("i1", "Hello m1"), ("zoe", "Hello m1")]


async def test_what_an_earlier_version_waits_for_is_found_by_the_ids_of_then(house: House) -> None:
    """It stored the Batch ids of a person, and not the person."""
    installed = {"quiet_hours": NIGHT, "batch": {"install_ids": ["i1"]}}
    await conversation(house, "bob", bob=installed)
    change = await message(house, "m1")
    entry = await house.worker.ledger.read((await house.record_of(change)).id)
    assert entry is not None
    old = entry.record.waiting(MORNING, {"install_ids": ["i1"]}, timedelta(hours=1))
    await house.worker.ledger.change(entry, replace(old, revision=entry.record.revision + 1))
    await house.run_tasks(MORNING)
    assert house.all_told() == [("i1", "Hello m1")]


# What became invalid, or too old


async def test_a_document_that_became_invalid_is_dropped_and_the_others_are_told(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    await conversation(house, "bob", bob={"quiet_hours": NIGHT})
    changes = [await message(house, f"m{number}") for number in range(3)]
    await house.stores(changes[1].path, {"sender_id": "ann", "text": 5})
    await house.run_tasks(MORNING)
    assert house.all_told() == [("bob", "2 new messages")]
    (line,) = logged(capsys, "document.dropped")
    assert changes[1].path in line["data"]["error"]
    assert (await house.record_of(changes[0])).state is DeliveryState.SENT


async def test_an_only_document_that_became_invalid_is_refused(house: House) -> None:
    await conversation(house, "bob", bob={"quiet_hours": NIGHT})
    change = await message(house, "m1")
    await house.stores(change.path, {"sender_id": "ann", "text": 5})
    await house.run_tasks(MORNING)
    assert (await house.record_of(change)).state is DeliveryState.REFUSED


async def test_what_waits_for_a_database_that_is_none_ends_with_a_reason(house: House) -> None:
    """And no sweep makes a task for it for ever."""
    await conversation(house, "bob", bob={"quiet_hours": NIGHT})
    record = await house.record_of(await message(house, "m1"))
    strange = replace(record, id="f" * 64, source="//elsewhere.example.com/databases/x y", later=())
    await house.worker.ledger.claim(strange)
    house.clock.value = MORNING + timedelta(seconds=house.worker.timing.redelivery + 1)
    for _ in range(2):
        await house.worker.sweep.run()
        await house.run_tasks(house.clock.now())
    entry = await house.worker.ledger.read(strange.id)
    assert entry is not None
    assert entry.record.state is DeliveryState.REFUSED
    assert entry.record.reason
    assert [each async for each in house.worker.ledger.overdue(house.clock.now())] == []


@pytest.mark.parametrize("unreadable", [0, 1])
async def test_a_document_that_cannot_be_read_any_more_is_dropped(
    house: House, monkeypatch: pytest.MonkeyPatch, unreadable: int
) -> None:
    await conversation(house, "bob", bob={"quiet_hours": NIGHT})
    changes = [await message(house, f"m{number}") for number in range(3)]
    path = changes[unreadable].path
    many = batchpush.events.lookup.FirestoreLookUp.many

    async def refusing(look_up: Any, *paths: str, fields: Any = ()) -> Any:
        if path in paths:
            raise InvalidDocument(path, None, "is larger than 10,000,000 bytes")
        return await many(look_up, *paths, fields=fields)

    monkeypatch.setattr(batchpush.events.lookup.FirestoreLookUp, "many", refusing)
    await house.run_tasks(MORNING)
    assert house.all_told() == [("bob", "2 new messages")]


@pytest.mark.parametrize(
    "end", [DeliveryState.EXPIRED, DeliveryState.REFUSED, DeliveryState.OBSOLETE]
)
async def test_a_delivery_that_is_not_sent_after_all_leaves_its_burst(
    house: House, end: DeliveryState
) -> None:
    await conversation(house, "bob", bob={"quiet_hours": NIGHT})
    change = await message(house, "m1")
    if end is DeliveryState.REFUSED:
        await house.stores(change.path, {"sender_id": "ann", "text": 5})
    if end is DeliveryState.OBSOLETE:
        await house.stores(change.path, None)
    await house.run_tasks(MORNING + timedelta(hours=3 if end is DeliveryState.EXPIRED else 0))
    assert (await house.record_of(change)).state is end
    (burst,) = [
        document for name, document in house.memory.documents.items() if "/batch_bursts/" in name
    ]
    assert not burst.fields["windows"].map_value.fields
    await message(house, "m2")
    assert house.all_told()[-1] == ("bob", "Hello m2")


# A state is told once


@pytest.mark.parametrize("turns", [1, 3])
async def test_your_turn_is_said_once_in_the_morning(house: House, turns: int) -> None:
    await house.stores("users/bob", {"quiet_hours": NIGHT})
    for number in range(turns):
        game = {"current_player_id": "bob", "name": "Go", "move": number}
        await house.happens(game_turns.game_turn, "games/{game_id}", game, game_id="g1")
        house.clock.forward(3600)
    await house.run_tasks(MORNING)
    assert house.all_told() == [("bob", "It’s your turn")]


async def test_two_games_are_told_of_one_by_one(house: House) -> None:
    await house.stores("users/bob", {"quiet_hours": NIGHT})
    for game_id in ("g1", "g2"):
        game = {"current_player_id": "bob"}
        await house.happens(game_turns.game_turn, "games/{game_id}", game, game_id=game_id)
    await house.run_tasks(MORNING)
    assert len(house.all_told()) == 2


async def test_by_day_every_turn_is_told(house: House) -> None:
    house.clock.value = MORNING
    await house.stores("users/bob", {"quiet_hours": NIGHT})
    for _ in range(3):
        game = {"current_player_id": "bob"}
        await house.happens(game_turns.game_turn, "games/{game_id}", game, game_id="g1")
    assert len(house.all_told()) == 3


async def test_a_limit_that_is_reached_thrice_in_a_night_is_told_once(house: House) -> None:
    await house.stores("users/bob", {"quiet_hours": NIGHT})
    for spent in (10, 20, 30):
        account = {"spent": spent, "credit_limit": 10}
        await house.happens(
            credit_limits.credit_limit, "accounts/{user_id}", account, user_id="bob"
        )
    await house.run_tasks(MORNING)
    assert house.all_told() == [("bob", "You’ve spent 30, and your limit is 10")]


async def test_a_friend_request_that_is_made_again_and_again_is_told_once(house: House) -> None:
    await house.stores("users/bob", {"quiet_hours": NIGHT})
    for _ in range(5):
        await house.happens(
            friend_requests.friend_request,
            "users/{user_id}/friend_requests/{sender_id}",
            {"status": "pending"},
            user_id="bob",
            sender_id="ann",
        )
    await house.run_tasks(MORNING)
    assert len(house.all_told()) == 1


# The sweep


async def garbage_in_ledger(house: House, record_id: str, **fields: Any) -> None:
    await house.stores(f"d/{record_id}", {"state": "RETRY"} | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"state": "CLAIMED", "calls": "none"},
        {"calls": [{"app": "ios", "state": "delivered"}]},
        {"format": 2},
        {"later": 7},
        {"created_at": "yesterday", "updated_at": 5},
    ],
)
async def test_a_record_that_cannot_be_read_keeps_the_sweep_from_no_other(
    house: House, fields: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    await conversation(house, "bob")
    house.batch.answer = MAINTENANCE
    with pytest.raises(DeliveryUnfinished):
        await message(house, "m1")
    house.batch.answer = None
    for number in range(3):
        await garbage_in_ledger(house, f"{number:064}", **fields)
    house.clock.forward(house.worker.timing.redelivery)
    await house.worker.sweep.run()
    assert house.all_told() == [("bob", "Hello m1")]
    assert [record.state for record in await house.records()] == [DeliveryState.SENT]
    assert len(logged(capsys, "record.unreadable")) >= 3


async def test_firestore_that_fails_once_keeps_the_sweep_from_no_other_record(
    house: House,
) -> None:
    house.batch.answer = MAINTENANCE
    await conversation(house, "bob")
    for number in range(2):
        with pytest.raises(DeliveryUnfinished):
            await message(house, f"m{number}")
    house.batch.answer = None
    house.clock.forward(house.worker.timing.redelivery)
    struck: list[str] = []

    async def strike(name: str, operation: Operation) -> Any:
        if name == "read" and not struck:
            struck.append(name)
            raise FirestoreUnavailable("UNAVAILABLE")
        return operation()

    house.memory.strike = strike
    await house.worker.sweep.run()
    assert len(house.all_told()) == 1
    await house.worker.sweep.run()
    assert len(house.all_told()) == 2


async def test_whatever_is_overdue_gets_a_task_however_much_it_is(house: House) -> None:
    await conversation(house, "bob", bob={"quiet_hours": NIGHT})
    change = await message(house, "m1")
    record = await house.record_of(change)
    for number in range(120):
        waiting = replace(record, id=f"{number:064}", later=())
        await house.worker.ledger.claim(waiting)
    house.queue.tasks.clear()
    house.clock.value = MORNING + timedelta(seconds=house.worker.timing.redelivery + 1)
    await house.worker.sweep.run()
    made = [data["delivery"] for _, data in house.queue.tasks]
    assert len(made) == len(set(made)) == 121


async def test_people_and_recipients_of_a_late_push_are_those_who_waited(house: House) -> None:
    """Whoever comes into a conversation in the night is not told of what was written before."""
    await conversation(house, "bob", bob={"quiet_hours": NIGHT})
    await message(house, "m1")
    await conversation(house, "bob", "eve", bob={"quiet_hours": NIGHT})
    await house.run_tasks(MORNING)
    assert house.all_told() == [("bob", "Hello m1")]


async def test_an_awake_person_with_ids_of_their_own_is_told_by_them(house: House) -> None:
    async def greet(change: Change, look_up: LookUp) -> Push:
        told = await people(look_up, "bob")
        return Push(group_id="g", recipients=recipients(told, "g"), message=Message("Hello"))

    await house.stores("users/bob", {"batch": {"install_ids": ["i1"], "custom_ids": ["crm-1"]}})
    await house.happens(greet, "greetings/{id}", {}, id="x")
    assert sorted(who for who, _ in house.all_told()) == ["crm-1", "i1"]
