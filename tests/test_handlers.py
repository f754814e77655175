"""What is true of every handler, whatever documents hold."""

from contextlib import suppress
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush import InvalidDocument
from batchpush.events.decoding import from_database, from_firestore
from handlers import (
    carts,
    credit_limits,
    flights,
    friend_requests,
    game_turns,
    messages,
    orders,
    trains,
)
from tests.events import (
    Stored,
    changed,
    database_body,
    database_headers,
    firestore_body,
    firestore_headers,
)
from tests.pushes import ANYTHING, PATIENT, bodies, read_by

PARAMS = {
    name: name.removesuffix("_id")
    for name in ("conversation_id", "message_id", "user_id", "sender_id", "game_id", "order_id")
} | {"flight_id": "f1", "train_id": "t1"}
HANDLERS = [
    messages.new_message,
    messages.message_unread,
    friend_requests.friend_request,
    credit_limits.credit_limit,
    game_turns.game_turn,
    orders.order_delivered,
    flights.flight_delayed,
    trains.train_cancelled,
    carts.abandoned_cart,
]
LIKELY = {
    "status": st.sampled_from(["pending", "delivered", "delayed", "cancelled"]),
    "number": st.text(min_size=1, max_size=90) | st.integers(1, 9999),
    "departs_at": st.datetimes(timezones=st.just(UTC)) | st.integers(0, 4 * 10**12),
    "delivered_at": st.datetimes(timezones=st.just(UTC)),
    "time_zone": st.sampled_from(["Europe/Paris", "Asia/Dubai", "Mars/Olympus"]),
    "passenger_ids": st.lists(st.sampled_from(["ann", "bob", "zoé"]), max_size=3),
    "recipient_ids": st.lists(st.sampled_from(["ann", "bob", "zoé"]), max_size=3),
    "customer_id": st.sampled_from(["ann", "zoé"]),
    "current_player_id": st.sampled_from(["ann", "zoé"]),
    "sender_id": st.sampled_from(["ann", "zoé"]),
    "text": st.text(max_size=300),
    "name": st.text(max_size=90),
    "unread_message": st.booleans(),
    "unread_by": st.dictionaries(st.sampled_from(["ann", "bob", "zoé"]), st.booleans()),
    "spent": st.integers(0, 10) | st.floats(0, 10),
    "credit_limit": st.integers(0, 10) | st.floats(0, 10),
    "currency": st.sampled_from(["EUR", "jpy", "XX"]),
}
WRONG = st.dictionaries(st.sampled_from(sorted(LIKELY)), ANYTHING, max_size=2)
DOCUMENTS = st.none() | st.builds(lambda a, b: a | b, st.fixed_dictionaries(LIKELY), WRONG)
STORED: dict[str, Any] = {
    "users/ann": {"display_name": "Ann", "language": "de", "time_zone": "Asia/Tokyo"},
    "users/zoé": {"display_name": 5, "language": ["fr"], "batch": {"tokens": ["t1", 5]}},
    "users/0": {},
    "users/7": {},
}


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.__name__)
@PATIENT
@given(before=DOCUMENTS, after=DOCUMENTS)
async def test_any_write_is_a_valid_push_or_none_or_named(
    handler: Any, before: Any, after: Any
) -> None:
    change = changed("a/b", before, after, **PARAMS)
    with suppress(InvalidDocument):
        bodies(await handler(change, Stored(STORED)))


ACCOUNT = {"spent": 5, "credit_limit": 10}


@pytest.mark.parametrize(
    ("handler", "path", "pattern", "before", "written"),
    [
        (
            messages.message_unread,
            "messages/c1/m1",
            "messages/{conversation_id}/{message_id}",
            {"sender_id": "ann", "text": "Hi", "recipient_ids": ["zoé"]},
            {"unread_message": True},
        ),
        (
            messages.message_unread,
            "messages/c1/m1",
            "messages/{conversation_id}/{message_id}",
            {"sender_id": "ann", "text": "Hi", "recipient_ids": ["zoé", "7"]},
            {"unread_by": {"7": True, "ann": False}},
        ),
        (
            messages.message_unread,
            "messages/c1/m1",
            "messages/{conversation_id}/{message_id}",
            {"sender_id": "ann", "text": "Hi", "recipient_ids": ["zoé", "0"]},
            {"unread_by": {"0": True}},
        ),
        (credit_limits.credit_limit, "accounts/ann", "accounts/{user_id}", ACCOUNT, {"spent": 10}),
        (
            game_turns.game_turn,
            "games/g1",
            "games/{game_id}",
            {"current_player_id": "ann"},
            {"current_player_id": "zoé"},
        ),
        (
            orders.order_delivered,
            "orders/o1",
            "orders/{order_id}",
            {"status": "sent", "customer_id": "ann"},
            {"status": "delivered"},
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_both_databases_tell_the_same(
    handler: Any, path: str, pattern: str, before: Any, written: Any
) -> None:
    in_firestore = from_firestore(
        "f",
        pattern,
        firestore_headers(path, kind="written"),
        firestore_body(path, before, before | written),
    )
    in_database = from_database(
        "f", pattern, database_headers(path, kind="written"), database_body(before, written)
    )
    pushes = [await handler(change, Stored(STORED)) for change in (in_firestore, in_database)]
    assert pushes[0] == pushes[1]
    assert read_by(pushes[0])
