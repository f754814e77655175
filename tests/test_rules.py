"""The security rules: who may read and write what.

Those of Firestore are asked through its emulator, by clients that say who they are. Google's
emulator of the Realtime Database can only be downloaded, so of its rules the form is checked.
"""

import base64
import json
import os
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from emulators.firestore import to_fields, to_value

RULES = Path("firestore.rules").read_text(encoding="utf-8")
DATABASE_RULES = Path("database.rules.json").read_text(encoding="utf-8")
MAIN = Path("main.py").read_text(encoding="utf-8")

NOBODY = None  # not signed in
YES, NO = True, False


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
    "conversations/c/messages/to-all": {"sender_id": "ann", "text": "Hello"},
    "conversations/c/messages/to-bob": {
        "sender_id": "ann",
        "text": "Hello",
        "recipient_ids": ["bob"],
        "unread_message": False,
    },
    "conversations/c/messages/to-eve": {  # who has left since
        "sender_id": "ann",
        "text": "Hello",
        "recipient_ids": ["eve"],
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
    "accounts/ann": {"spent": 10, "credit_limit": 100},
    "games/g": {"player_ids": ["ann", "bob"], "current_player_id": "ann"},
    "games/nobodys": {"current_player_id": "ann"},
    "orders/o": {"customer_id": "ann", "status": "paid"},
    "orders/o/deliveries/d": {"state": "SENT"},
    "flights/f": {"passenger_ids": ["ann"], "status": "delayed"},
    "trains/t": {"passenger_ids": ["ann"], "status": "on time"},
    "campaigns/k": {"name": "Sale"},
    "articles/a": {"published": True},
    "pushes/p": {"group_id": "sale"},
    "pushes/p/delivery/state": {"state": "SENT"},
    "batch_deliveries/d": {"state": "SENT"},
    "batch_deliveries/d/batch_delivery_parts/0": {"bodies": ["{}"]},
    "batch_bursts/b": {"about": {}},
    "batch_limits/l": {"count": 1},
    "batch_looks/l": {"until": 1},
    "batch_stats/s": {"sent": 1},
    "campaigns/k/batch/ios": {"state": "APPLIED"},
    "campaigns/k/batch/ios/stats/2026-05-04": {"sent": 1},
    "carts/ann": {"items": ["shoes"]},
}

CLOSED = [
    Row(f"{who or 'nobody'} to {does}", who, does, path, {}, NO)
    for path in STORED
    if path.startswith(("batch_", "pushes/", "campaigns/", "articles/"))
    for who in (NOBODY, "ann")
    for does in ("get", "list", "create", "update", "delete")
] + [
    Row("all parts", "ann", "list", "**/batch_delivery_parts/0", {}, NO),
    Row("all deliveries", "ann", "list", "**/deliveries/0", {}, NO),
    Row("what no rule names", "ann", "get", "elsewhere/x", {}, NO),
    Row("what no rule names", "ann", "create", "elsewhere/x", {}, NO),
]

TALK, NEW_TALK = "conversations/c", "conversations/new"
MEMBER_IDS = ["ann", "bob"]
JOINED = {"member_ids": ["ann", "bob", "cat", "eve"]}


def muted(*by: str) -> dict[str, Any]:
    return {"muted_by": list(by)}


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
        {"member_ids": MEMBER_IDS, "muted_by": []},
        {
            "member_ids": [
                "ann",
                None,
                7,
                [],
                {"ann": True},
                ["bob"],
                ["ann", 7],
                ["ann", None],
                ["ann", True],
                ["ann", {"id": "bob"}],
                ["ann", ""],
                ["ann", "x" * 512 * 1000],
                ["ann"] + [f"u{number}" for number in range(1000)],
            ],
            "muted_by": ["ann", None, 7, {"ann": True}, ["bob"], ["ann", "bob"], [7]],
        },
        "create",
    ),
    Row("without members", "ann", "create", NEW_TALK, muted(), NO),
    Row("of nobody", NOBODY, "create", NEW_TALK, {"member_ids": MEMBER_IDS}, NO),
    Row("of others", "eve", "create", NEW_TALK, {"member_ids": MEMBER_IDS}, NO),
    Row(
        "a thousand members with the longest ids",
        "ann",
        "create",
        NEW_TALK,
        {"member_ids": ["ann"] + [f"{number:0128}" for number in range(999)], "muted_by": ["ann"]},
        YES,
    ),
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
    Row("a member adds a member", "ann", "update", TALK, JOINED, NO),
    Row("a stranger joins", "eve", "update", TALK, JOINED, NO),
    Row("a stranger takes it over", "eve", "set", TALK, {"member_ids": ["eve"]}, NO),
    Row("a member adds a field", "ann", "update", TALK, {"name": "Dinner"}, NO),
    Row("a member deletes it", "ann", "delete", TALK, {}, NO),
]

TO_ALL, TO_BOB = "conversations/c/messages/to-all", "conversations/c/messages/to-bob"
NEW = "conversations/c/messages/new"
MARK = {"unread_message": True}
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
    Row("forged by a member", "bob", "create", NEW, HELLO, NO),
    Row("forged by a stranger", "eve", "create", NEW, HELLO, NO),
    Row("from a stranger", "eve", "create", NEW, {**HELLO, "sender_id": "eve"}, NO),
    Row("from nobody", NOBODY, "create", NEW, HELLO, NO),
    Row("where there is no conversation", "ann", "create", "conversations/x/messages/m", HELLO, NO),
    Row("marked as unread", "cat", "update", TO_ALL, MARK, YES),
    Row("unread for its recipient", "bob", "update", TO_BOB, MARK, YES),
    Row("read by its recipient", "bob", "update", TO_BOB, {"unread_message": False}, YES),
    Row("marked by another member", "cat", "update", TO_BOB, MARK, NO),
    Row("marked by its sender", "ann", "update", TO_ALL, MARK, NO),
    Row("marked by a stranger", "eve", "update", TO_ALL, MARK, NO),
    Row("marked by one who left", "eve", "update", "conversations/c/messages/to-eve", MARK, NO),
    Row("marked by nobody", NOBODY, "update", TO_ALL, MARK, NO),
    Row("marked with a text", "bob", "update", TO_BOB, {"unread_message": "true"}, NO),
    Row("marked with a number", "bob", "update", TO_BOB, {"unread_message": 1}, NO),
    Row("the mark taken away", "bob", "update", TO_BOB, {"unread_message": None}, NO),
    Row("marked and changed", "bob", "update", TO_BOB, {**MARK, "text": "x"}, NO),
    Row("sent on by its recipient", "bob", "update", TO_BOB, {"recipient_ids": ["cat"]}, NO),
    Row("its sender changed", "bob", "update", TO_BOB, {"sender_id": "bob"}, NO),
    Row("its text changed by its sender", "ann", "update", TO_BOB, {"text": "Bye"}, NO),
    Row("written over by its sender", "ann", "set", TO_BOB, HELLO, NO),
    Row("deleted by its sender", "ann", "delete", TO_ALL, {}, YES),
    Row("deleted by its recipient", "bob", "delete", TO_BOB, {}, NO),
    Row("deleted by a stranger", "eve", "delete", TO_ALL, {}, NO),
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
    "quiet_hours": {"start": "22:00", "end": "07:30"},
    "batch": {
        "custom_ids": ["zoe"],
        "install_ids": ["i1"],
        "tokens": ["t1"],
        "advertising_ids": [],
    },
}
WRONG_SETTINGS: dict[str, list[Any]] = {
    "display_name": [None, 7, ["Zoé"], "x" * 101],
    "language": [None, 7, "", ["fr"], "fr FR", "x" * 36],
    "time_zone": [None, 7, "", ["UTC"], "Europe/Paris;", "x" * 65],
    "push_muted": [None, "true", 1],
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
        {"custom_ids": ["bob"]},
        {"custom_ids": ["zoe", "bob"]},
        {"custom_ids": ["zoe", "zoe"]},
        *(
            {name: wrong}
            for name in ("install_ids", "tokens", "advertising_ids")
            for wrong in (None, "i1", {"i1": True}, [7], [None], [""], [{"x": "i1"}], ["x"] * 21)
        ),
        {"tokens": ["x" * 512 * 21]},
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
        {"batch": {**GIVEN, "tokens": ["t"]}},
        YES,
    ),
    Row("what a back end gave is dropped", "bob", "update", BOB, {"batch": None}, YES),
    Row("more than a back end gave", "bob", "update", BOB, {"batch": MORE}, NO),
    Row("the owner changes what is not theirs", "ann", "update", ANN, {"plan": "free"}, NO),
    Row("the owner takes it away", "ann", "set", ANN, {"display_name": "Ann"}, NO),
    Row("the owner updates to a wrong type", "ann", "update", ANN, {"push_muted": "yes"}, NO),
    Row("the owner deletes", "ann", "delete", ANN, {}, NO),
]

REQUEST = "users/bob/friend_requests/ann"
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
    Row("declined", "ann", "update", ASKED, {"status": "declined"}, YES),
    Row("accepted by its sender", "bob", "update", ASKED, {"status": "accepted"}, NO),
    Row("accepted by a stranger", "eve", "update", ASKED, {"status": "accepted"}, NO),
    Row("accepted by nobody", NOBODY, "update", ASKED, {"status": "accepted"}, NO),
    Row("made to wait again", "ann", "update", DECLINED, {"status": "pending"}, NO),
    Row("asked once more", "cat", "update", DECLINED, {"status": "pending"}, NO),
    Row("an answer that is none", "ann", "update", ASKED, {"status": True}, NO),
    Row("an answer taken back", "ann", "update", DECLINED, {"status": None}, NO),
    Row("an answer with a field", "ann", "update", ASKED, {"status": "accepted", "note": "x"}, NO),
    Row("withdrawn", "bob", "delete", ASKED, {}, YES),
    Row("withdrawn after the answer", "cat", "delete", DECLINED, {}, NO),
    Row("deleted by its receiver", "ann", "delete", ASKED, {}, NO),
    Row("deleted by a stranger", "eve", "delete", ASKED, {}, NO),
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
    Row("the owner fills it", "ann", "touch", "carts/ann", {"items": ["hat"]}, YES),
    Row("a new one", "bob", "touch", "carts/bob", {"items": [{"id": "hat", "count": 2}]}, YES),
    Row("a stranger fills it", "eve", "touch", "carts/ann", {"items": ["hat"]}, NO),
    Row("no list", "ann", "touch", "carts/ann", {"items": "hat"}, NO),
    Row("too many", "ann", "touch", "carts/ann", {"items": ["hat"] * 201}, NO),
    Row("a field that nobody knows", "ann", "touch", "carts/ann", {"items": [], "total": 5}, NO),
]


class Firestore:
    """A project of the emulator with our rules, for clients of which each says who it is."""

    def __init__(self, host: str, project: str) -> None:
        self.root = f"projects/{project}/databases/(default)/documents"
        self.project = project
        self.http = httpx.Client(base_url=f"http://{host}", trust_env=False)

    def load(self, rules: str) -> None:
        files = [{"name": "security.rules", "content": rules}]
        path = f"/emulator/v1/projects/{self.project}:securityRules"
        reply = self.http.put(path, json={"rules": {"files": files}})
        assert reply.status_code == 200, reply.text
        assert not reply.json().get("issues"), reply.text

    def store(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Have these documents and no others."""
        admin = {"Authorization": "Bearer owner"}
        self.http.delete(f"/emulator/v1/{self.root}", headers=admin).raise_for_status()
        writes = [
            {"update": {"name": f"{self.root}/{path}", "fields": to_fields(fields)}}
            for path, fields in documents.items()
        ]
        self.http.post(
            f"/v1/{self.root}:commit", json={"writes": writes}, headers=admin
        ).raise_for_status()

    def may(self, row: Row) -> bool:
        reply = self.http.send(self._request(row))
        assert reply.status_code in (200, 403), reply.text
        return reply.status_code == 200

    def _request(self, row: Row) -> httpx.Request:
        headers = {"Authorization": f"Bearer {unsigned(row.who)}"} if row.who else {}
        url = f"/v1/{self.root}/{row.path}"
        deleted = {name for name, value in row.fields.items() if value is None}
        kept = row.fields.keys() - (deleted if row.does == "update" else set())
        body = {"fields": to_fields({name: row.fields[name] for name in kept})}
        match row.does:
            case "get" | "delete":
                return self.http.build_request(row.does.upper(), url, headers=headers)
            case "create" | "set":
                return self.http.build_request("PATCH", url, json=body, headers=headers)
            case "update":
                params = {"updateMask.fieldPaths": list(row.fields)}
                return self.http.build_request(
                    "PATCH", url, params=params, json=body, headers=headers
                )
            case "touch":
                name = f"{self.root}/{row.path}"
                now = {"fieldPath": "updated_at", "setToServerValue": "REQUEST_TIME"}
                write = {"update": {"name": name} | body, "updateTransforms": [now]}
                url = f"/v1/{self.root}:commit"
                return self.http.build_request(
                    "POST", url, json={"writes": [write]}, headers=headers
                )
            case _:
                parent, collection, _ = f"/{row.path}".rsplit("/", 2)
                return self.http.build_request(
                    "POST",
                    f"/v1/{self.root}{parent.removesuffix('/**')}:runQuery",
                    json={"structuredQuery": query(collection, parent == "/**", row.fields)},
                    headers=headers,
                )


def unsigned(user_id: str) -> str:
    """An ID token as the emulator takes it: signed by nobody."""
    parts = ({"alg": "none", "typ": "JWT"}, {"sub": user_id, "user_id": user_id})
    texts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
    return ".".join(text.rstrip("=") for text in texts) + "."


def query(collection: str, everywhere: bool, equal: Mapping[str, str]) -> dict[str, Any]:
    asked: dict[str, Any] = {"from": [{"collectionId": collection, "allDescendants": everywhere}]}
    for field, value in equal.items():
        asked["where"] = {
            "fieldFilter": {
                "field": {"fieldPath": field},
                "op": "ARRAY_CONTAINS" if field.endswith("_ids") else "EQUAL",
                "value": to_value(value),
            }
        }
    return asked


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
    "row", rows(CLOSED, CONVERSATIONS, MESSAGES, USERS, FRIENDS, CARTS, BACK_ENDS)
)
def test_who_may_do_what_in_firestore(firestore: Firestore, row: Row) -> None:
    firestore.store(STORED)
    assert firestore.may(row) == row.may


def test_every_watched_collection_is_in_the_firestore_rules() -> None:
    watched = set(re.findall(r'document_\w+\("(?:.*/)?(\w+)/\{\w+\}"', MAIN))
    assert watched <= set(re.findall(r"match /(\w+)/\{", RULES))


def test_no_deployment_can_put_the_rules_in_place_of_a_teams_own() -> None:
    """The CLI deploys the rules that `firebase.json` names, over those that are there."""
    assert ".rules" not in Path("firebase.json").read_text(encoding="utf-8")
    assert '"rules"' not in Path("firebase.json").read_text(encoding="utf-8")


# The Realtime Database


def rule_at(path: str) -> dict[str, Any]:
    """The node of the rules for a path such as `games/{game_id}`."""
    node = json.loads(DATABASE_RULES)["rules"]
    for segment in path.split("/"):
        node = node["$" + segment.strip("{}") if segment.startswith("{") else segment]
    assert isinstance(node, dict)
    return node


def nodes(rules: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node of the rules' tree, with its path."""
    yield path, rules
    for name, inner in rules.items():
        if isinstance(inner, dict):
            yield from nodes(inner, f"{path}/{name}")


NODES = dict(nodes(json.loads(DATABASE_RULES)["rules"]))
WATCHED = sorted(set(re.findall(r'value_\w+\("([^"]+)"\)', MAIN)))


@pytest.mark.parametrize("path", [*WATCHED, "users/{user_id}", "conversations/{conversation_id}"])
def test_a_watched_value_is_checked_and_has_no_field_that_is_not_named(path: str) -> None:
    rule = rule_at(path)
    assert isinstance(rule[".validate"], str)
    assert list(rule)[-1] == "$other"
    assert rule["$other"] == {".validate": False}


def test_every_field_of_the_realtime_database_is_checked() -> None:
    """A list or a map without a check of its own could as well be a text."""
    collections = {"/messages/$conversation_id", "/friend_requests/$user_id"}
    unchecked = {path for path in NODES if "/$" in path and ".validate" not in NODES[path]}
    assert unchecked == collections


def test_what_is_not_opened_is_closed_in_the_realtime_database() -> None:
    """A rule opens everything below it, so nothing may be open above a person's own."""
    assert (NODES[""][".read"], NODES[""][".write"]) == (False, False)
    assert (NODES["/pushes"][".read"], NODES["/pushes"][".write"]) == (False, False)
    for path, rule in NODES.items():
        for opening in (rule.get(".read", False), rule.get(".write", False)):
            if opening is not False:
                assert "/$" in path, path
                assert opening.startswith("auth != null && "), path
                assert not path.startswith(("/pushes", "/batch_")), path


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        (path, kind, text)
        for path, rule in NODES.items()
        for kind, text in rule.items()
        if kind.startswith(".") and isinstance(text, str)
    ],
)
def test_a_rule_is_a_whole_expression(path: str, kind: str, text: str) -> None:
    assert kind in {".read", ".write", ".validate"}
    assert text.count("'") % 2 == 0
    code = re.sub(r"'[^']*'|/\^.*?\$/", "", text)  # without texts and patterns
    open_brackets: list[str] = []
    for character in code:
        if character in "([":
            open_brackets.append(character)
        elif character in ")]":
            assert open_brackets, text
            assert open_brackets.pop() + character in ("()", "[]"), text
    assert not open_brackets
    assert set(re.findall(r"\$\w+", code)) <= set(path.split("/"))
