"""A category that somebody switched off leaves them out of its pushes, and changes nothing else."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import handlers.categories
from batchpush import CallableRequest, Change, LookUp, NoPush, Push
from batchpush.delivery.record import DeliveryState
from batchpush.events.lookup import DatabaseLookUp
from handlers import (
    app_to_app,
    carts,
    credit_limits,
    flights,
    friend_requests,
    game_turns,
    messages,
    orders,
    trains,
)
from handlers.categories import CATEGORIES, Category
from tests.events import DATABASE, Stored, changed
from tests.house import MORNING, NIGHT, House
from tests.pushes import Returned, bodies, left_out, read_by
from tests.realtime_database import Database
from tests.test_people import somebody

NOW = changed("a/b", None, {}).time
HI = {"sender_id": "ann", "text": "Hi", "recipient_ids": ["bob", "cyd"]}
MESSAGE = {"conversation_id": "c1", "message_id": "m1"}
TRIP = {"number": 7, "departs_at": NOW + timedelta(days=1), "passenger_ids": ["bob", "cyd"]}
CART = {"items": ["hat"], "updated_at": NOW - timedelta(days=9)}

Tell = Callable[[Stored], Awaitable[Returned]]


def of_write(
    handler: Callable[[Change, LookUp], Awaitable[Returned]],
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any],
    **params: str,
) -> Tell:
    return lambda look_up: handler(changed("a/b", before, after, **params), look_up)


def of_call(template: str) -> Tell:
    data = {"to": "bob", "template": template}
    call = CallableRequest("notify", "ann", "request-1", data, datetime.now(UTC))
    return lambda look_up: app_to_app.notify(call, look_up)


# What tells Bob, by category; some tell Cyd too.
KINDS: Mapping[str, Tell] = {
    "new_message": of_write(messages.new_message, None, HI, **MESSAGE),
    "message_unread": of_write(
        messages.message_unread, HI, HI | {"unread_by": {"bob": True, "cyd": True}}, **MESSAGE
    ),
    "friend_request": of_write(
        friend_requests.friend_request, None, {}, user_id="bob", sender_id="ann"
    ),
    "credit_limit": of_write(
        credit_limits.credit_limit, None, {"spent": 9, "credit_limit": 5}, user_id="bob"
    ),
    "game_turn": of_write(game_turns.game_turn, None, {"current_player_id": "bob"}, game_id="g1"),
    "order_delivered": of_write(
        orders.order_delivered, None, {"status": "delivered", "customer_id": "bob"}, order_id="o1"
    ),
    "flight_delayed": of_write(
        flights.flight_delayed, None, TRIP | {"status": "delayed"}, flight_id="f1"
    ),
    "train_cancelled": of_write(
        trains.train_cancelled, None, TRIP | {"status": "cancelled"}, train_id="t1"
    ),
    "abandoned_cart": of_write(carts.abandoned_cart, None, CART, user_id="bob"),
    **{template: of_call(template) for template in app_to_app.TEMPLATES},
}


def stored(**profile: Any) -> Stored:
    return Stored({"users/ann/friends/bob": {}, "users/bob": profile, "users/cyd": {}})


async def told(category: str, **profile: Any) -> Returned:
    """What becomes of Bob's push if his profile is this."""
    return await KINDS[category](stored(**profile))


# The followers of a topic are read as a stream: see `tests/test_followers.py`.
STREAMED = {"article"}
OPTIONAL = sorted(
    KINDS.keys() & {name for name, each in CATEGORIES.items() if not each.is_required}
)
REQUIRED = sorted(KINDS.keys() - set(OPTIONAL))


def test_every_push_has_a_category() -> None:
    assert KINDS.keys() | STREAMED == CATEGORIES.keys()


@pytest.mark.parametrize("category", KINDS)
async def test_the_pushes_of_a_category_have_its_name(category: str) -> None:
    push = await told(category)
    assert {body["group_id"] for body in bodies(push)} == {category}
    assert "bob" in read_by(push)


@pytest.mark.parametrize("category", OPTIONAL)
async def test_who_switched_a_category_off_is_left_out_and_the_record_says_why(
    category: str,
) -> None:
    usual = await told(category)
    returned = await told(category, push_preferences={category: False})
    assert left_out(returned) == {f"switched off {category}": ["bob"]}
    others = {who: text for who, text in read_by(usual).items() if who != "bob"}
    assert read_by(returned) == others
    assert isinstance(returned, Push if others else NoPush)


@pytest.mark.parametrize("category", REQUIRED)
async def test_a_required_category_cannot_be_switched_off_or_muted(category: str) -> None:
    profile = {"push_preferences": {category: False}, "push_muted": True}
    assert await told(category, **profile) == await told(category)


def test_orders_flights_and_trains_are_required() -> None:
    assert REQUIRED == ["flight_delayed", "order_delivered", "train_cancelled"]


@pytest.mark.parametrize("category", KINDS)
@pytest.mark.parametrize("wrong", [5, "off", [], ["game_turn"], {}, {"": False}])
async def test_other_switches_and_wrong_values_change_nothing(category: str, wrong: Any) -> None:
    for chosen in (
        wrong,
        {category: True},
        {category: wrong},
        {category: None},
        dict.fromkeys(CATEGORIES.keys() - {category}, False),
    ):
        assert await told(category, push_preferences=chosen) == await told(category)


@pytest.mark.parametrize("category", OPTIONAL)
async def test_muted_goes_first(category: str) -> None:
    for chosen in (True, False):
        muted = await told(category, push_muted=True, push_preferences={category: chosen})
        assert left_out(muted) == {"muted": ["bob"]}


@pytest.mark.parametrize("category", OPTIONAL)
async def test_a_category_that_is_off_by_default_reaches_only_those_who_switched_it_on(
    category: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = await told(category)
    off = dict(CATEGORIES) | {category: Category(is_on=False)}
    monkeypatch.setattr(handlers.categories, "CATEGORIES", off)
    assert "bob" in left_out(await told(category))[f"switched off {category}"]
    read = read_by(await told(category, push_preferences={category: True}))
    assert read == {"bob": read_by(usual)["bob"]}


@pytest.mark.parametrize("category", REQUIRED)
async def test_a_team_may_make_any_category_optional(
    category: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers.categories, "CATEGORIES", {category: Category()})
    for profile, why in (
        ({"push_preferences": {category: False}}, f"switched off {category}"),
        ({"push_muted": True}, "muted"),
    ):
        returned = await told(category, **profile)
        assert left_out(returned) == {why: ["bob"]}
        assert "bob" not in read_by(returned)


def test_pushes_without_a_table_can_be_muted_and_are_on() -> None:
    assert somebody().why_not_told("chess") is None
    assert somebody(push_muted=True).why_not_told("chess") == "muted"


@pytest.mark.parametrize("category", KINDS)
async def test_a_preference_costs_no_read(category: str) -> None:
    reads = []
    for chosen in ({}, {category: True}, {category: False}):
        look_up = stored(push_preferences=chosen)
        await KINDS[category](look_up)
        reads.append(look_up.reads)
    assert reads[0] == reads[1] == reads[2]


async def test_in_the_realtime_database_it_is_the_same(database: Database) -> None:
    database.values["users", "bob"] = {"push_preferences": {"game_turn": False}}
    turn = changed("games/g1", None, {"current_player_id": "bob"}, game_id="g1")
    returned = await game_turns.game_turn(turn, DatabaseLookUp(DATABASE))
    assert left_out(returned) == {"switched off game_turn": ["bob"]}
    assert database.read == [("users", "bob")]


# In the record


async def say_hello(house: House) -> None:
    await house.happens(
        messages.new_message,
        "conversations/{conversation_id}/messages/{message_id}",
        HI,
        conversation_id="c1",
        message_id="m1",
    )


OFF = {"push_preferences": {"new_message": False}}


async def test_the_record_says_who_switched_it_off_beside_who_muted_it() -> None:
    house = House()
    await house.stores("users/bob", OFF)
    await house.stores("users/cyd", {"push_muted": True})
    await say_hello(house)
    (record,) = await house.records()
    assert record.state is DeliveryState.OBSOLETE
    assert dict(record.left_out) == {"muted": ("cyd",), "switched off new_message": ("bob",)}


async def test_what_is_switched_off_in_the_night_is_not_told_in_the_morning() -> None:
    house = House()
    for who in ("bob", "cyd"):
        await house.stores(f"users/{who}", {"quiet_hours": NIGHT})
    await say_hello(house)
    await house.stores("users/bob", {"quiet_hours": NIGHT} | OFF)
    await house.run_tasks(MORNING)
    assert house.all_told() == [("cyd", "Hi")]
    (record,) = await house.records()
    assert dict(record.left_out) == {"switched off new_message": ("bob",)}
