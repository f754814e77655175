"""Who is left out of a push leaves a reason, not a gap."""

from datetime import timedelta
from typing import Any

import pytest

from batchpush import Change, Limit, LookUp, NoPush, Push, Recipients
from batchpush.delivery.record import (
    MAX_LEFT_OUT,
    MAX_LEFT_OUT_BYTES,
    DeliveryState,
    Record,
)
from batchpush.pushes.push import Message
from handlers import carts, credit_limits, friend_requests, game_turns, messages
from tests.deliveries import claimed
from tests.events import Stored, created
from tests.house import EVENING, MORNING, NIGHT, House
from tests.pushes import left_out

MESSAGE = "conversations/{conversation_id}/messages/{message_id}"


@pytest.fixture
def house() -> House:
    return House()


async def record_after(house: House, handler: Any, pattern: str, fields: Any, **params: Any) -> Any:
    change = await house.happens(handler, pattern, fields, **params)
    return await house.record_of(change)


def reasons(record: Record) -> dict[str, tuple[str, ...]]:
    return dict(record.left_out)


async def message(house: House, number: int = 1) -> Record:
    record: Record = await record_after(
        house,
        messages.new_message,
        MESSAGE,
        {"sender_id": "ann", "text": "Hello"},
        conversation_id="c1",
        message_id=f"m{number}",
    )
    return record


async def members(house: House, **profiles: dict[str, Any]) -> None:
    for each, profile in {"ann": {}, **profiles}.items():
        await house.stores(f"users/{each}", profile)
    await house.stores("conversations/c1", {"member_ids": ["ann", *profiles], "muted_by": ["eve"]})


async def test_a_message_says_who_was_left_out_and_why(house: House) -> None:
    await members(house, bob={}, eve={}, tom={"push_muted": True})
    record = await message(house)
    assert record.state is DeliveryState.SENT
    assert reasons(record) == {"muted the conversation": ("eve",), "muted": ("tom",)}
    assert [who for who, _ in house.all_told()] == ["bob"]


async def test_a_message_that_waits_keeps_who_was_left_out(house: House) -> None:
    house.clock.value = EVENING
    await members(house, bob={"quiet_hours": NIGHT}, eve={})
    record = await message(house)
    assert record.state is DeliveryState.WAITING
    assert reasons(record) == {"muted the conversation": ("eve",)}


async def test_only_the_record_of_the_message_itself_says_who_was_left_out(house: House) -> None:
    house.clock.value = EVENING
    await members(house, bob={"quiet_hours": NIGHT}, tom={}, eve={})
    record = await message(house)
    assert reasons(record)["muted the conversation"] == ("eve",)
    by_state = {each.state: each for each in await house.records()}
    assert reasons(by_state[DeliveryState.WAITING]) == {}


async def test_an_id_that_is_another_users_at_batch_is_left_out_and_said(house: House) -> None:
    await members(house, bob={"batch": {"custom_ids": ["crm-7"]}})
    await house.stores("conversations/c1", {"member_ids": ["ann", "bob", "crm-7"]})
    record = await message(house)
    assert reasons(record) == {"an id of another user at Batch": ("crm-7",)}


async def test_if_everybody_is_left_out_a_record_says_so_and_nothing_is_sent(house: House) -> None:
    await members(house, eve={}, tom={"push_muted": True})
    record = await message(house)
    assert (record.state, record.reason) == (DeliveryState.OBSOLETE, "everybody is left out")
    assert reasons(record) == {"muted the conversation": ("eve",), "muted": ("tom",)}
    assert house.all_told() == []


async def test_who_writes_alone_leaves_no_record(house: House) -> None:
    await members(house)
    change = await house.happens(
        messages.new_message,
        MESSAGE,
        {"sender_id": "ann", "text": "Hello"},
        conversation_id="c1",
        message_id="m1",
    )
    assert await house.worker.ledger.read(change.delivery_id) is None


async def test_one_person_who_muted_pushes_is_the_reason(house: House) -> None:
    await house.stores("users/ann", {"push_muted": True})
    under, over = ({"spent": spent, "credit_limit": 5} for spent in (1, 9))
    record = await record_after(
        house,
        credit_limits.credit_limit,
        "accounts/{user_id}",
        over,
        before=under,
        user_id="ann",
    )
    assert reasons(record) == {"muted": ("ann",)}
    game, turn = {"current_player_id": "tom"}, {"current_player_id": "ann"}
    record = await record_after(
        house, game_turns.game_turn, "games/{game_id}", turn, before=game, game_id="g1"
    )
    assert reasons(record) == {"muted": ("ann",)}


async def test_the_owner_of_a_cart_who_muted_pushes_is_the_reason() -> None:
    day_before = created("carts/ann", {}).time - timedelta(days=1)
    cart = created("carts/ann", {"items": ["hat"], "updated_at": day_before}, user_id="ann")
    muted = Stored({"users/ann": {"push_muted": True}})
    assert left_out(await carts.abandoned_cart(cart, muted)) == {"muted": ["ann"]}


async def test_a_friend_request_to_somebody_who_muted_pushes(house: House) -> None:
    await house.stores("users/bob", {"push_muted": True})
    pattern = "users/{user_id}/friend_requests/{sender_id}"
    record = await record_after(
        house, friend_requests.friend_request, pattern, {}, user_id="bob", sender_id="ann"
    )
    assert reasons(record) == {"muted": ("bob",)}


async def test_who_is_over_a_limit_is_named_and_the_others_are_told(house: House) -> None:
    async def poke(change: Change, look_up: LookUp) -> Push:
        return Push(
            group_id="poke",
            recipients=Recipients(custom_ids=change.document.ids("to") or ()),
            message=Message("Hello"),
            limits=[Limit(("poke",), 1, each=True)],
        )

    for number, to in enumerate((["bob"], ["bob", "tom"])):
        record = await record_after(house, poke, "pokes/{id}", {"to": to}, id=f"p{number}")
    assert reasons(record) == {"over a limit": ("bob",)}
    assert [who for who, _ in house.all_told()] == ["bob", "tom"]


async def test_who_is_told_later_is_said_with_the_delivery_that_tells_them(house: House) -> None:
    await members(house, bob={}, tom={"quiet_hours": NIGHT})
    first, second = await message(house, 1), await message(house, 2)
    (waiting,) = [r for r in await house.records() if r.state is DeliveryState.WAITING]
    assert reasons(first) == {f"told after 2026-06-11T07:00Z, in {waiting.id}": ("tom",)}
    assert reasons(second) == {f"told with others, in {waiting.id}": ("tom",)}


async def test_who_waits_is_not_left_out_and_who_is_left_out_does_not_wait(house: House) -> None:
    await members(house, bob={"quiet_hours": NIGHT}, tom={"push_muted": True})
    record = await message(house)
    assert record.state is DeliveryState.WAITING
    assert reasons(record) == {"muted": ("tom",)}
    await house.stores("users/bob", {"push_muted": True})
    await house.run_tasks(MORNING)
    (record,) = await house.records()
    assert record.state is DeliveryState.OBSOLETE
    assert reasons(record)["muted"] == ("bob", "tom")


async def test_a_handler_of_a_teams_own_gives_reasons_of_its_own(house: House) -> None:
    async def offer(change: Change, look_up: LookUp) -> Push:
        return Push(
            group_id="offer",
            recipients=Recipients(custom_ids=["ann"]),
            message=Message("Half the price"),
            left_out={"has it already": ["bob"]},
        )

    async def nothing(change: Change, look_up: LookUp) -> NoPush:
        return NoPush({"has it already": ["bob"]})

    for handler, state in ((offer, DeliveryState.SENT), (nothing, DeliveryState.OBSOLETE)):
        record = await record_after(house, handler, "offers/{offer_id}", {}, offer_id="o1")
        assert (record.state, reasons(record)) == (state, {"has it already": ("bob",)})


def test_a_record_keeps_only_so_many_and_each_once() -> None:
    many = [f"u{number}" for number in range(MAX_LEFT_OUT + 5)]
    record = claimed().leaving_out({"muted": ["ann", "ann"], "blocked": many})
    assert [(reason, len(ids)) for reason, ids in record.left_out] == [
        ("muted", 1),
        ("blocked", MAX_LEFT_OUT - 1),
    ]


def test_the_ids_of_those_left_out_take_little_of_a_record() -> None:
    """Batch may refuse many in a call that it accepts, and that has to be recorded."""
    long = [f"{number:0500}" for number in range(MAX_LEFT_OUT)]
    record = claimed().leaving_out({"muted": long[:90], "unknown at Batch": long})
    assert [(reason, len(ids)) for reason, ids in record.left_out] == [
        ("muted", 90),
        ("unknown at Batch", MAX_LEFT_OUT_BYTES // 500 - 90),
    ]
    assert record.leaving_out({"blocked": ["x"]}) == record


def test_reasons_survive_what_follows() -> None:
    record = claimed().leaving_out({"muted": ["ann"]})
    (call, *_) = record.calls
    assert reasons(record.after([call], EVENING)) == {"muted": ("ann",)}
