"""The security rules of Firestore: who may read and write what.

Its emulator is asked, by clients that say who they are. What people do in both databases is in
`tests/scenarios.py`; here are the types of each field, who may read, and what is in Firestore only.
"""

import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings

from batchpush import CallableRequest, CallRefused, Document
from handlers.app_to_app import notify
from tests.events import Stored
from tests.firestore_rules import Firestore
from tests.profiles import firestore_profiles
from tests.scenarios import (
    NO,
    NOBODY,
    NOW,
    SCENARIOS,
    WORLD,
    YES,
    Act,
    Scenario,
    answers,
    asks,
    forgets,
    has_members,
    invites,
    starts,
    withdraws,
)

RULES = Path("firestore.rules").read_text(encoding="utf-8")
MAIN = Path("main.py").read_text(encoding="utf-8")


class Row(NamedTuple):
    """What somebody does, and whether they may.

    `fields` are those of the document; the ones that change in an update, where None deletes and
    `unread_by.bob` is a field in a map; or those that a list is filtered by. The database sets
    those that are `NOW`.
    """

    says: str
    who: str | None
    does: str
    path: str
    fields: Any
    may: bool

    def __str__(self) -> str:
        return f"{self.path}: {self.says}"


def rows(*tables: Iterable[Row]) -> list[Any]:
    return [pytest.param(row, id=str(row)) for table in tables for row in table]


def wrong_values(
    who: str, path: str, good: Mapping[str, Any], wrong: Mapping[str, list[Any]], does: str
) -> Iterator[Row]:
    """A row for each wrong value of each field; the document is fine but for it."""
    yield Row("as it should be", who, does, path, good, YES)
    yield Row("a field that nobody knows", who, does, path, {**good, "is_admin": True}, NO)
    for field, values in wrong.items():
        for value in values:
            says = f"{field} {json.dumps(value)[:40]}"
            yield Row(says, who, does, path, {**good, field: value}, NO)


# Firestore. Ann, Bob and Cat talk; Eve has nothing to do with any of it.

STORED: dict[str, dict[str, Any]] = {
    "conversations/c": {"member_ids": ["ann", "bob", "cat"], "muted_by": ["bob", "cat"]},
    "conversations/c/invitations/dan": {},
    "batch_digests/i": {"person": "ann"},
    "users/ann/notifications/d1": {"body": "Hello", "read": False},
    "conversations/full": {"member_ids": ["ann", *(f"{number:0128}" for number in range(999))]},
    "conversations/full/invitations/dan": {},
    "conversations/c/messages/to-all": {"sender_id": "ann", "text": "Hello"},
    "conversations/c/messages/to-bob": {
        "sender_id": "ann",
        "text": "Hello",
        "recipient_ids": ["bob"],
        "unread_by": {"cat": False},
    },
    "conversations/c/messages/to-all/deliveries/d": {"state": "SENT"},
    "users/ann": {
        "display_name": "Ann",
        "quiet_hours": {"start": "22:00", "end": "07:30"},
        "plan": "paid",
    },
    "users/bob": {"batch": {"custom_ids": ["bob-at-batch"]}},
    "users/ann/friend_requests/bob": {},
    "users/ann/friend_requests/cat": {"status": "declined"},
    "users/ann/friend_requests/bob/deliveries/d": {"state": "SENT"},
    "users/ann/friends/cat": {"since": 2026},
    **{f"users/ann/friends/friend-{number}": {} for number in range(4)},
    **{f"users/asked-{n}/friend_requests/ann": {"status": "accepted"} for n in range(3)},
    "accounts/ann": {"spent": 10, "credit_limit": 100},
    "games/g": {"player_ids": ["ann", "bob"], "current_player_id": "ann"},
    "games/nobodys": {"current_player_id": "ann"},
    "orders/o": {"customer_id": "ann", "status": "paid"},
    "orders/o/deliveries/d": {"state": "SENT"},
    "flights/f": {"passenger_ids": ["ann"], "status": "delayed"},
    "trains/t": {"passenger_ids": ["ann"], "status": "on time"},
    "campaigns/k": {"name": "Sale"},
    "articles/a": {"published": True},
    "offers/o": {"open": True},
    "topics/ski/followers/bob": {},
    "pushes/p": {"group_id": "sale"},
    "pushes/p/delivery/state": {"state": "SENT"},
    "push_texts/fr": {"poke": {"title": "{sender}", "body": "Coucou"}},
    "push_texts/fr/delivery/state": {"state": "APPLIED"},
    "batch_deliveries/d": {"state": "SENT"},
    "batch_deliveries/d/batch_delivery_parts/0": {"bodies": ["{}"]},
    "batch_bursts/b": {"about": {}},
    "batch_limits/l": {"count": 1},
    "batch_looks/l": {"until": 1},
    "batch_stats/s": {"sent": 1},
    "batch_profiles/ann": {"state": "APPLIED"},
    "batch_receipts/r": {"state": "DONE"},
    "campaigns/k/batch/ios": {"state": "APPLIED"},
    "campaigns/k/batch/ios/stats/2026-05-04": {"sent": 1},
    "carts/ann": {"items": ["shoes"]},
}

CLOSED = [
    Row(f"{who or 'nobody'} to {does}", who, does, path, {}, NO)
    for path in STORED
    if path.startswith(("batch_", "pushes/", "push_texts/", "campaigns/", "articles/", "offers/"))
    for who in (NOBODY, "ann")
    for does in ("get", "list", "create", "update", "delete")
] + [
    Row("all parts", "ann", "list", "**/batch_delivery_parts/0", {}, NO),
    Row("all deliveries", "ann", "list", "**/deliveries/0", {}, NO),
    Row("what no rule names", "ann", "get", "elsewhere/x", {}, NO),
    Row("what no rule names", "ann", "create", "elsewhere/x", {}, NO),
]

BOBS, ANNS = "topics/ski/followers/bob", "topics/ski/followers/ann"
LONG_TOPIC = f"topics/{'x' * 129}/followers/ann"
FOLLOWING = [
    Row("one's own", "ann", "create", ANNS, {}, YES),
    Row("with a field", "ann", "create", ANNS, {"since": 2026}, NO),
    Row("for somebody else", "eve", "create", ANNS, {}, NO),
    Row("without an account", NOBODY, "create", ANNS, {}, NO),
    Row("of a topic with too long a name", "ann", "create", LONG_TOPIC, {}, NO),
    Row("by a long id", "a" * 128, "create", f"topics/ski/followers/{'a' * 128}", {}, YES),
    Row("by a longer one", "a" * 129, "create", f"topics/ski/followers/{'a' * 129}", {}, NO),
    Row("one's own", "bob", "get", BOBS, {}, YES),
    Row("somebody else's", "eve", "get", BOBS, {}, NO),
    Row("everybody's", "bob", "list", BOBS, {}, NO),
    Row("no more", "bob", "delete", BOBS, {}, YES),
    Row("no more, of somebody else", "eve", "delete", BOBS, {}, NO),
    Row("changed", "bob", "update", BOBS, {"a": 1}, NO),
    Row("a topic", "ann", "create", "topics/ski", {}, NO),
]

TALK, NEW_TALK = "conversations/c", "conversations/new"
FRIENDS_OF_ANN = [f"friend-{number}" for number in range(4)]
ASKED_BY_ANN = [f"asked-{number}" for number in range(3)]


INVITED = f"{TALK}/invitations/dan"
FULL = ["ann", *(f"{number:0128}" for number in range(999))]
FULL_AND_DAN = {"member_ids": [*FULL, "dan"]}


def muted(*by: str) -> dict[str, Any]:
    return {"muted_by": list(by)}


def joined(*member_ids: str) -> dict[str, Any]:
    return {"member_ids": list(member_ids)}


CONVERSATIONS = [
    Row("a member reads", "bob", "get", TALK, {}, YES),
    Row("a stranger reads", "eve", "get", TALK, {}, NO),
    Row("nobody reads", NOBODY, "get", TALK, {}, NO),
    Row("one's own, all of them", "bob", "list", TALK, {"member_ids": "bob"}, YES),
    Row("somebody's, all of them", "eve", "list", TALK, {"member_ids": "bob"}, NO),
    Row("everybody's, all of them", "bob", "list", TALK, {}, NO),
    *wrong_values(
        "ann",
        NEW_TALK,
        {"member_ids": ["ann", "cat"], "muted_by": []},
        {
            "member_ids": [
                "ann",
                None,
                7,
                [],
                {"ann": True},
                ["cat"],
                ["ann", 7],
                ["ann", None],
                ["ann", True],
                ["ann", {"id": "cat"}],
                ["ann", ""],
                ["ann", "ann"],
                ["ann", "cat", "cat"],
                ["ann", "x" * 512 * 1000],
                ["ann", "cat/friends/ann"],
                ["ann", "ann/friends/cat"],
                ["ann", *FRIENDS_OF_ANN],
            ],
            "muted_by": ["ann", None, 7, {"ann": True}, ["bob"], ["ann", "bob"], [7]],
        },
        "create",
    ),
    Row("without members", "ann", "create", NEW_TALK, muted(), NO),
    Row("three friends", "ann", "create", NEW_TALK, joined("ann", *FRIENDS_OF_ANN[1:]), YES),
    # Who accepted is found last: nine documents are read.
    Row("three who accepted", "ann", "create", NEW_TALK, joined("ann", *ASKED_BY_ANN), YES),
    Row("ann mutes", "ann", "update", TALK, muted("bob", "cat", "ann"), YES),
    Row("ann mutes in front", "ann", "update", TALK, muted("ann", "bob", "cat"), YES),
    Row("bob unmutes", "bob", "update", TALK, muted("cat"), YES),
    Row("bob mutes once more", "bob", "update", TALK, muted("bob", "cat"), YES),
    Row("a member twice", "ann", "update", TALK, muted("bob", "cat", "ann", "ann"), NO),
    Row("a member unmutes another", "bob", "update", TALK, muted("bob"), NO),
    Row("a member unmutes all", "bob", "update", TALK, {"muted_by": None}, NO),
    Row("a member mutes another", "bob", "update", TALK, muted("bob", "cat", "ann"), NO),
    Row("a member in place of another", "ann", "update", TALK, muted("bob", "ann"), NO),
    Row("a stranger mutes", "eve", "update", TALK, muted("bob", "cat", "eve"), NO),
    Row("nobody mutes", NOBODY, "update", TALK, muted("bob", "cat"), NO),
    Row("muted_by is a text", "ann", "update", TALK, {"muted_by": "ann"}, NO),
    Row("muted_by is a map", "ann", "update", TALK, {"muted_by": {"ann": True}}, NO),
    Row("a number is muted", "ann", "update", TALK, {"muted_by": ["bob", "cat", 7]}, NO),
    Row("a stranger takes it over", "eve", "set", TALK, {"member_ids": ["eve"]}, NO),
    Row("a member adds a field", "ann", "update", TALK, {"name": "Dinner"}, NO),
    Row("joined by one invited", "dan", "update", TALK, joined("ann", "bob", "cat", "dan"), YES),
    Row("joined in front", "dan", "update", TALK, joined("dan", "ann", "bob", "cat"), NO),
    Row("joined twice", "dan", "update", TALK, joined("ann", "bob", "cat", "dan", "dan"), NO),
    Row(
        "joined with another", "dan", "update", TALK, joined("ann", "bob", "cat", "dan", "eve"), NO
    ),
    Row("joined in place of another", "dan", "update", TALK, joined("ann", "bob", "dan"), NO),
    Row("joined again", "ann", "update", TALK, joined("ann", "bob", "cat", "ann"), NO),
    Row("joined and muted", "dan", "update", TALK, joined("ann", "dan") | muted("dan"), NO),
    Row("joined where it is full", "dan", "update", "conversations/full", FULL_AND_DAN, NO),
    Row("left with another", "ann", "update", TALK, joined("cat"), NO),
    Row("left by all", "ann", "update", TALK, joined(), NO),
    Row("an invitation is empty", "ann", "create", INVITED, {"text": "Come!"}, NO),
    Row("members read invitations", "ann", "list", INVITED, {}, YES),
    Row("one invited reads it", "dan", "get", INVITED, {}, YES),
    Row("one invited reads all", "dan", "list", INVITED, {}, NO),
    Row("a stranger reads it", "eve", "get", INVITED, {}, NO),
    Row("one invited reads the conversation", "dan", "get", TALK, {}, NO),
    Row("a member deletes it", "ann", "delete", TALK, {}, NO),
]

TO_ALL, TO_BOB = "conversations/c/messages/to-all", "conversations/c/messages/to-bob"
NEW = "conversations/c/messages/new"
HELLO = {"sender_id": "ann", "text": "Hello"}
PICTURE = {"sender_id": "ann", "image_url": "https://example.com/p.jpg"}
MESSAGES = [
    Row("a member reads", "cat", "get", TO_ALL, {}, YES),
    Row("a member reads all", "cat", "list", TO_ALL, {}, YES),
    Row("a stranger reads", "eve", "get", TO_ALL, {}, NO),
    Row("a stranger reads all", "eve", "list", TO_ALL, {}, NO),
    Row("nobody reads", NOBODY, "get", TO_ALL, {}, NO),
    Row("everybody's messages", "ann", "list", "**/messages/to-all", {}, NO),
    *wrong_values(
        "ann",
        NEW,
        {**HELLO, **PICTURE, "recipient_ids": ["bob"], "unread_message": False},
        {
            "sender_id": ["bob", "eve", "", None, 7, ["ann"]],
            "text": [None, 7, True, ["Hello"], {"en": "Hello"}, "x" * 4001],
            "image_url": [
                "http://example.com/p.jpg",
                "javascript:alert(1)",
                "x https://example.com/p.jpg",
                'https://example.com/p.jpg" x',
                "",
                None,
                7,
                ["https://example.com/p.jpg"],
                "https://example.com/" + "x" * 2048,
            ],
            "recipient_ids": [
                "bob",
                None,
                7,
                {"bob": True},
                ["eve"],
                ["bob", "eve"],
                ["bob", 7],
                ["bob"] * 1001,
            ],
            "unread_message": ["true", None, 1, [True]],
        },
        "create",
    ),
    Row("a text only", "ann", "create", NEW, HELLO, YES),
    Row("a picture only", "ann", "create", NEW, PICTURE, YES),
    Row("the longest text", "ann", "create", NEW, {**HELLO, "text": "x" * 4000}, YES),
    Row("neither text nor picture", "ann", "create", NEW, {"sender_id": "ann"}, NO),
    Row("an empty text", "ann", "create", NEW, {**HELLO, "text": ""}, NO),
    Row("without a sender", "ann", "create", NEW, {"text": "Hello"}, NO),
    Row("another one's mark dropped", "bob", "update", TO_BOB, {"unread_by": {"bob": True}}, NO),
    Row("a mark on a message to another", "cat", "update", TO_BOB, {"unread_by.cat": True}, YES),
    Row("its sender changed", "bob", "update", TO_BOB, {"sender_id": "bob"}, NO),
    Row("written over by its sender", "ann", "set", TO_BOB, HELLO, NO),
    Row("deleted by nobody", NOBODY, "delete", TO_ALL, {}, NO),
    Row("its sender reads the outcome", "ann", "get", f"{TO_ALL}/deliveries/d", {}, YES),
    Row("its sender reads all outcomes", "ann", "list", f"{TO_ALL}/deliveries/d", {}, YES),
    Row("its recipient reads the outcome", "bob", "get", f"{TO_ALL}/deliveries/d", {}, NO),
    Row("a stranger reads the outcome", "eve", "get", f"{TO_ALL}/deliveries/d", {}, NO),
    Row("nobody reads the outcome", NOBODY, "get", f"{TO_ALL}/deliveries/d", {}, NO),
    *(
        Row(f"its sender to {does} it", "ann", does, f"{TO_ALL}/deliveries/{name}", {"x": 1}, NO)
        for does, name in (("create", "new"), ("update", "d"), ("set", "d"), ("delete", "d"))
    ),
]

SETTINGS = {
    "display_name": "Zoé",
    "language": "pt-BR",
    "time_zone": "America/Port-au-Prince",
    "push_muted": True,
    "push_preferences": {"game_turn": False, "new_message": True, "article": "Friday 18:00"},
    "quiet_hours": {"start": "22:00", "end": "07:30"},
    "batch": {
        "custom_ids": ["zoe"],
        "install_ids": ["i1"],
    },
}
WRONG_SETTINGS: dict[str, list[Any]] = {
    "display_name": [None, 7, ["Zoé"], "x" * 101],
    "language": [None, 7, "", ["fr"], "fr FR", "x" * 36],
    "time_zone": [None, 7, "", ["UTC"], "Europe/Paris;", "x" * 65],
    "push_muted": [None, "true", 1],
    "push_preferences": [
        None,
        False,
        ["game_turn"],
        {"game_turn": None},
        {"game_turn": "false"},
        {"game_turn": 0},
        {"game_turn": "6 PM"},
        {"game_turn": "Freitag 18:00"},
        {"game_turn": ["18:00"]},
        {"order_delivered": "18:00"},
        {"chess": False},
        {"Game_turn": False},
    ],
    "quiet_hours": [
        None,
        "22:00-07:30",
        ["22:00", "07:30"],
        {},
        {"start": "22:00"},
        {"end": "07:30"},
        {"start": "24:00", "end": "07:30"},
        {"start": "22:00", "end": "24:00"},
        {"start": "22:00", "end": "7:30"},
        {"start": "22:00", "end": "07:60"},
        {"start": 22, "end": "07:30"},
        {"start": "22:00", "end": "07:30", "days": "all"},
    ],
    "batch": [
        None,
        "zoe",
        ["zoe"],
        {"users": ["zoe"]},
        {"custom_ids": "zoe"},
        {"custom_ids": {"zoe": True}},
        {"custom_ids": [7]},
        {"custom_ids": None},
        {"custom_ids": ["bob"]},
        {"custom_ids": ["zoe", "bob"]},
        {"custom_ids": ["zoe", "zoe"]},
        *(
            {"install_ids": wrong}
            for wrong in (None, "i1", {"i1": True}, [7], [None], [""], [{"x": "i1"}], ["x"] * 6)
        ),
        {"tokens": None},
        {"tokens": ["t1"]},
        {"advertising_ids": None},
    ],
}
ANN, BOB = "users/ann", "users/bob"
GIVEN = {"custom_ids": ["bob-at-batch"]}
MORE = {"custom_ids": ["bob-at-batch", "eve"]}
EVES = {"custom_ids": ["eve"]}
USERS = [
    *wrong_values("zoe", "users/zoe", SETTINGS, WRONG_SETTINGS, "create"),
    Row("of another one", "eve", "create", "users/zoe", SETTINGS, NO),
    Row("of nobody", NOBODY, "create", "users/zoe", SETTINGS, NO),
    Row("the owner reads", "ann", "get", ANN, {}, YES),
    Row("another one reads", "bob", "get", ANN, {}, NO),
    Row("nobody reads", NOBODY, "get", ANN, {}, NO),
    Row("everybody's", "ann", "list", ANN, {}, NO),
    Row("the owner mutes", "ann", "update", ANN, {"push_muted": True}, YES),
    Row("the owner ends quiet hours", "ann", "update", ANN, {"quiet_hours": None}, YES),
    Row("another one mutes", "eve", "update", ANN, {"push_muted": True}, NO),
    Row("nobody mutes", NOBODY, "update", ANN, {"push_muted": True}, NO),
    Row("another one redirects", "eve", "update", ANN, {"batch": {"tokens": ["eves"]}}, NO),
    Row("the owner redirects", "ann", "update", ANN, {"batch": EVES}, NO),
    Row(
        "what a back end gave is kept",
        "bob",
        "update",
        BOB,
        {"batch": {**GIVEN, "install_ids": ["i"]}},
        YES,
    ),
    Row("what a back end gave is dropped", "bob", "update", BOB, {"batch": None}, YES),
    Row("more than a back end gave", "bob", "update", BOB, {"batch": MORE}, NO),
    Row("the owner changes what is not theirs", "ann", "update", ANN, {"plan": "free"}, NO),
    Row("the owner takes it away", "ann", "set", ANN, {"display_name": "Ann"}, NO),
    Row("the owner updates to a wrong type", "ann", "update", ANN, {"push_muted": "yes"}, NO),
    Row("the owner deletes", "ann", "delete", ANN, {}, NO),
]
TOLD = f"{ANN}/notifications/d1"
INBOX = [
    Row("the owner reads", "ann", "get", TOLD, {}, YES),
    Row("the owner lists", "ann", "list", TOLD, {}, YES),
    Row("another one reads", "bob", "get", TOLD, {}, NO),
    Row("another one lists", "bob", "list", TOLD, {}, NO),
    Row("the owner has read it", "ann", "update", TOLD, {"read": True}, YES),
    Row("... or not", "ann", "update", TOLD, {"read": False}, YES),
    Row("... or so", "ann", "update", TOLD, {"read": "yes"}, NO),
    Row("without saying whether", "ann", "update", TOLD, {"read": None}, NO),
    Row("another one has read it", "bob", "update", TOLD, {"read": True}, NO),
    Row("the owner changes what was said", "ann", "update", TOLD, {"body": "Hi"}, NO),
    Row("the owner throws it away", "ann", "delete", TOLD, {}, YES),
    Row("another one does", "bob", "delete", TOLD, {}, NO),
    Row("the owner writes one", "ann", "create", f"{ANN}/notifications/d2", {"read": False}, NO),
    Row("another one does", "bob", "create", f"{ANN}/notifications/d2", {"read": False}, NO),
]

REQUEST = "users/bob/friend_requests/ann"
WITHDRAWN = {"status": "withdrawn", "updated_at": NOW}
ASKED, DECLINED = "users/ann/friend_requests/bob", "users/ann/friend_requests/cat"
FRIENDS = [
    *wrong_values(
        "ann",
        REQUEST,
        {"status": "pending"},
        {"status": ["accepted", "declined", "", None, 7, True, ["pending"]]},
        "create",
    ),
    Row("without a status", "ann", "create", REQUEST, {}, YES),
    Row("forged", "eve", "create", REQUEST, {"status": "pending"}, NO),
    Row("forged by the receiver", "bob", "create", REQUEST, {"status": "pending"}, NO),
    Row("of nobody", NOBODY, "create", REQUEST, {"status": "pending"}, NO),
    Row("of oneself", "ann", "create", "users/ann/friend_requests/ann", {}, NO),
    Row("the receiver reads", "ann", "get", ASKED, {}, YES),
    Row("the receiver reads all", "ann", "list", ASKED, {}, YES),
    Row("the sender reads", "bob", "get", ASKED, {}, YES),
    Row("the sender reads all", "bob", "list", ASKED, {}, NO),
    Row("a stranger reads", "eve", "get", ASKED, {}, NO),
    Row("nobody reads", NOBODY, "get", ASKED, {}, NO),
    Row("accepted", "ann", "update", ASKED, {"status": "accepted"}, YES),
    Row("withdrawn", "bob", "update", ASKED, {"status": "withdrawn", "updated_at": NOW}, YES),
    Row("withdrawn with a field", "bob", "update", ASKED, WITHDRAWN | {"note": "x"}, NO),
    Row("a time without more", "bob", "update", ASKED, {"updated_at": NOW}, NO),
    Row(
        "asked with a time", "eve", "set", "users/ann/friend_requests/eve", {"updated_at": NOW}, NO
    ),
    Row("declined", "ann", "update", ASKED, {"status": "declined"}, YES),
    Row("an answer that is none", "ann", "update", ASKED, {"status": True}, NO),
    Row("an answer taken back", "ann", "update", DECLINED, {"status": None}, NO),
    Row("an answer with a field", "ann", "update", ASKED, {"status": "accepted", "note": "x"}, NO),
    Row("its sender reads the outcome", "bob", "get", f"{ASKED}/deliveries/d", {}, NO),
    Row("its receiver reads the outcome", "ann", "get", f"{ASKED}/deliveries/d", {}, NO),
    Row("the owner reads", "ann", "get", "users/ann/friends/cat", {}, YES),
    Row("the owner reads all", "ann", "list", "users/ann/friends/cat", {}, YES),
    Row("the friend reads", "cat", "get", "users/ann/friends/cat", {}, NO),
    Row("nobody reads", NOBODY, "get", "users/ann/friends/cat", {}, NO),
    Row("the owner adds", "ann", "create", "users/ann/friends/eve", {}, NO),
    Row("the friend adds", "eve", "create", "users/ann/friends/eve", {}, NO),
    Row("the owner changes", "ann", "update", "users/ann/friends/cat", {"since": 1}, NO),
    Row("the owner ends it", "ann", "delete", "users/ann/friends/cat", {}, NO),
]

BACK_ENDS = [
    Row(f"{who or 'nobody'} to {does}", who, does, path, {}, who == "ann" and does == "get")
    for path in ("accounts/ann", "games/g", "orders/o", "flights/f", "trains/t")
    for who in (NOBODY, "ann", "eve")
    for does in ("get", "list", "create", "set", "update", "delete")
] + [
    Row("one's own", "ann", "list", "orders/o", {"customer_id": "ann"}, YES),
    Row("somebody's", "eve", "list", "orders/o", {"customer_id": "ann"}, NO),
    Row("one's own", "bob", "list", "games/g", {"player_ids": "bob"}, YES),
    Row("one's own", "ann", "list", "flights/f", {"passenger_ids": "ann"}, YES),
    Row("one's own", "ann", "list", "trains/t", {"passenger_ids": "ann"}, YES),
    Row("nobody's", "ann", "get", "games/nobodys", {}, NO),
    Row("makes oneself a customer", "eve", "update", "orders/o", {"customer_id": "eve"}, NO),
    Row("makes oneself a passenger", "eve", "update", "flights/f", {"passenger_ids": ["eve"]}, NO),
    Row("raises the limit", "ann", "update", "accounts/ann", {"credit_limit": 10**6}, NO),
    Row("the customer reads the outcome", "ann", "get", "orders/o/deliveries/d", {}, NO),
]

CARTS = [
    Row("the owner reads", "ann", "get", "carts/ann", {}, YES),
    Row("a stranger reads", "eve", "get", "carts/ann", {}, NO),
    Row("everybody's, all of them", "ann", "list", "carts/ann", {}, NO),
    Row("the owner empties it", "ann", "delete", "carts/ann", {}, YES),
    Row("a stranger empties it", "eve", "delete", "carts/ann", {}, NO),
    Row("a time of one's own", "ann", "set", "carts/ann", {"items": [], "updated_at": 1}, NO),
    Row("no time", "ann", "set", "carts/ann", {"items": []}, NO),
    Row(
        "the owner fills it", "ann", "set", "carts/ann", {"items": ["hat"], "updated_at": NOW}, YES
    ),
    Row(
        "a new one",
        "bob",
        "set",
        "carts/bob",
        {"items": [{"id": "hat", "count": 2}], "updated_at": NOW},
        YES,
    ),
    Row(
        "a stranger fills it", "eve", "set", "carts/ann", {"items": ["hat"], "updated_at": NOW}, NO
    ),
    Row("no list", "ann", "set", "carts/ann", {"items": "hat", "updated_at": NOW}, NO),
    Row("too many", "ann", "set", "carts/ann", {"items": ["hat"] * 201, "updated_at": NOW}, NO),
    Row(
        "a field that nobody knows",
        "ann",
        "set",
        "carts/ann",
        {"items": [], "total": 5, "updated_at": NOW},
        NO,
    ),
]


@pytest.fixture(scope="module")
def firestore() -> Iterator[Firestore]:
    """Rules are a project's, so no other test has to live by ours."""
    firestore = Firestore(
        os.environ["FIRESTORE_EMULATOR_HOST"], f"demo-rules-{uuid.uuid4().hex[:12]}"
    )
    with firestore.http:
        firestore.load(RULES)
        yield firestore


@pytest.mark.suite
@pytest.mark.parametrize(
    "row", rows(CLOSED, FOLLOWING, CONVERSATIONS, MESSAGES, USERS, INBOX, FRIENDS, CARTS, BACK_ENDS)
)
def test_who_may_do_what_in_firestore(firestore: Firestore, row: Row) -> None:
    firestore.store(STORED)
    assert firestore.may(row.who, row.does, row.path, row.fields) == row.may


@pytest.mark.suite
@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_who_may_do_what_in_firestore_as_in_the_realtime_database(
    firestore: Firestore, scenario: Scenario
) -> None:
    firestore.store(WORLD)
    act = scenario.act
    assert firestore.may(scenario.who, act.does, act.path, act.fields) == scenario.may


@pytest.mark.suite
@given(firestore_profiles("ann"))
@settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_a_profile_that_other_tests_take_for_accepted_is_accepted(
    firestore: Firestore, profile: dict[str, Any]
) -> None:
    firestore.store({})
    assert firestore.may("ann", "create", "users/ann", profile)


# `notify` takes it for permission that a document is there, or what it says. Eve knows nobody.

ALONE: list[Mapping[str, Any]] = [
    {},
    {"status": "pending"},
    {"status": "accepted"},
    {"status": "withdrawn", "updated_at": NOW},
    {"member_ids": ["eve"]},
    {"member_ids": ["ann", "eve"]},
    {"member_ids": ["eve", "ann"], "muted_by": []},
]


class InEmulator(Stored):
    """A look-up of what is in the emulator."""

    def __init__(self, firestore: Firestore) -> None:
        super().__init__({})
        self.firestore = firestore

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Document | None]:
        self.reads.append(paths)
        found = [self.firestore.read(path) for path in paths]
        return [
            None if each is None else Document(path, each)
            for path, each in zip(paths, found, strict=True)
        ]


async def is_permitted(look_up: InEmulator, caller: str, to: str) -> bool:
    data = {"to": to, "template": "poke", "params": {"conversation_id": "new"}}
    try:
        await notify(
            CallableRequest("notify", caller, "request-1", data, datetime.now(UTC)), look_up
        )
    except CallRefused:
        return False
    return True


@pytest.mark.suite
@pytest.mark.parametrize("world", [{}, WORLD], ids=["empty", "full"])
async def test_nothing_that_a_stranger_writes_lets_them_notify_somebody(
    firestore: Firestore, world: Mapping[str, Any]
) -> None:
    """Every path that `notify` reads, with whatever might be taken for permission there."""
    firestore.store({"users/ann": {}, "users/eve": {}, **world})
    look_up = InEmulator(firestore)
    assert not await is_permitted(look_up, "eve", "ann")
    ((*paths,),) = look_up.reads
    written = [
        (does, path)
        for _ in range(2)  # what one write makes possible is tried too
        for path in (*paths, f"{paths[-1]}/invitations/eve", f"{paths[-1]}/invitations/ann")
        for does in ("create", "update", "delete")
        for fields in ALONE
        if firestore.may("eve", does, path, fields)
    ]
    assert {"users/ann/friend_requests/eve", "conversations/new"} <= {path for _, path in written}
    assert not await is_permitted(InEmulator(firestore), "eve", "ann")
    assert not await is_permitted(InEmulator(firestore), "ann", "eve")


@pytest.mark.suite
@pytest.mark.parametrize(
    ("agreed", "may"),
    [
        ([("eve", asks("ann", "eve"))], False),
        ([("eve", asks("ann", "eve")), ("ann", answers("ann", "eve", "declined"))], False),
        ([("eve", asks("ann", "eve")), ("ann", answers("ann", "eve", "accepted"))], True),
        ([("eve", starts("new", "eve")), ("eve", invites("ann", "new"))], False),
        (
            [
                ("eve", starts("new", "eve")),
                ("eve", invites("ann", "new")),
                ("ann", has_members("ann", "eve", "ann", conversation_id="new")),
            ],
            True,
        ),
    ],
)
async def test_two_who_agree_may_notify_each_other(
    firestore: Firestore, agreed: list[tuple[str, Act]], may: bool
) -> None:
    firestore.store({"users/ann": {}, "users/eve": {}})
    for who, act in agreed:
        assert firestore.may(who, act.does, act.path, act.fields)
    assert await is_permitted(InEmulator(firestore), "eve", "ann") is may
    assert await is_permitted(InEmulator(firestore), "ann", "eve") is may


@pytest.mark.suite
def test_a_request_asked_and_taken_back_in_a_loop_is_asked_once(firestore: Firestore) -> None:
    """Each document that is created is a push."""
    firestore.store({"users/ann": {}})
    tries = [asks("ann", "eve"), withdraws("ann", "eve"), forgets("ann", "eve")]
    answered = [firestore.may("eve", act.does, act.path, act.fields) for act in tries * 3]
    assert answered == [True, True, False] + [False] * 6


def test_every_watched_collection_is_in_the_firestore_rules() -> None:
    watched = set(re.findall(r'document_\w+\("(?:.*/)?(\w+)/\{\w+\}"', MAIN))
    assert watched <= set(re.findall(r"match /(\w+)/\{", RULES))


def test_no_deployment_can_put_the_rules_in_place_of_a_teams_own() -> None:
    """The CLI deploys the rules that `firebase.json` names, over those that are there."""
    assert ".rules" not in Path("firebase.json").read_text(encoding="utf-8")
    assert '"rules"' not in Path("firebase.json").read_text(encoding="utf-8")
