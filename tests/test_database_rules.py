"""The security rules of the Realtime Database: who may read and write what.

targaryen evaluates them; see `tests/database_rules.py`. What people do in both databases is in
`tests/scenarios.py`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from tests.database_rules import SERVER_TIME, Database, RuleError, check_rules
from tests.profiles import database_profiles
from tests.pushes import PATIENT
from tests.scenarios import (
    NO,
    NOBODY,
    NOW,
    PEOPLE,
    SCENARIOS,
    TALKING,
    TODAY,
    WORLD,
    YES,
    Act,
    Scenario,
    asks,
    database_world,
    forgets,
    has_members,
    starts,
    withdraws,
)

RULES = Path("database.rules.json").read_text(encoding="utf-8")
MAIN = Path("main.py").read_text(encoding="utf-8")
TIME = int(TODAY.timestamp() * 1000)
NEW = {"members": {"ann": True, "bob": True}}
ALL = {"ann": True, "bob": True, "cat": True, "dan": True}

EMPTY = Database(RULES, None, TIME)
STORED = EMPTY.written(
    database_world(WORLD)
    | {
        "accounts/ann": {"spent": 10, "credit_limit": 100},
        "games/g": {"players": {"ann": True}, "current_player_id": "ann"},
        "orders/o": {"customer_id": "ann", "status": "paid"},
        "flights/f": {"passengers": {"ann": True}, "status": "delayed"},
        "trains/t": {"passengers": {"ann": True}, "status": "on time"},
        "pushes/p": {"group_id": "sale"},
    }
)


def writes(act: Act) -> Mapping[str, Any]:
    return {path: _as_an_app_writes(value) for path, value in act.database.items()}


def _as_an_app_writes(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _as_an_app_writes(each) for name, each in value.items()}
    return SERVER_TIME if value is NOW else value


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_who_may_do_what_in_the_realtime_database_as_in_firestore(scenario: Scenario) -> None:
    assert STORED.may_write(scenario.who, writes(scenario.act)) == scenario.may


@pytest.mark.parametrize("left", ["messages", "invitations"])
def test_what_everybody_left_is_nobodys_to_take_over(left: str) -> None:
    """Without members there is no conversation here, but still what belonged to it."""
    database = STORED.written({"messages" if left == "invitations" else "invitations": None})
    for who in TALKING:
        act = has_members(who)
        assert database.may_write(who, writes(act))
        database = database.written(writes(act))
    database = database.written({"conversations/c": None})  # also who muted it
    assert not database.may_write("eve", writes(starts("c", "eve")))
    assert not database.may_write("ann", writes(starts("c", "ann")))
    assert database.written({left: None}).may_write("ann", writes(starts("c", "ann")))


# As in Firestore, but for what a list and its length are there.


@pytest.mark.parametrize(
    ("says", "who", "written", "may"),
    [
        ("four friends", "ann", {**NEW, "members": ALL | {"lou": True}}, YES),
        ("a list beside the keys", "ann", {**NEW, "member_ids": ["ann", "bob"]}, YES),
        ("a list of others", "ann", {**NEW, "member_ids": ["ann", "eve"]}, NO),
        ("a list without the keys", "ann", {"member_ids": ["ann", "bob"]}, NO),
        ("a key that is not true", "ann", {"members": {"ann": True, "bob": False}}, NO),
        ("a key with more below it", "ann", {"members": {"ann": {"role": "admin"}}}, NO),
        ("a field that nobody knows", "ann", {**NEW, "is_admin": True}, NO),
        ("a text for a list", "ann", {**NEW, "member_ids": "ann"}, NO),
        ("muted in a list", "ann", {**NEW, "muted_by": ["ann"]}, NO),
        ("no map", "ann", "ann", NO),
    ],
)
def test_what_a_new_conversation_may_hold(says: str, who: str, written: Any, may: bool) -> None:
    stored = STORED.written({"friends/ann/lou": True})
    assert stored.may_write(who, {"conversations/new": written}) == may, says


@pytest.mark.parametrize(
    ("path", "value", "may"),
    [
        ("users/ann/batch/install_ids", {"4": "i"}, YES),
        ("users/ann/batch/install_ids", {"5": "i"}, NO),
        ("users/ann/batch/install_ids", {"x": "i"}, NO),
        ("users/ann/batch/install_ids/00", "i", NO),
        ("users/ann/batch/install_ids/0", {"x": "i"}, NO),
        ("users/ann/batch/custom_ids", "ann", NO),
        ("users/ann/push_preferences/game_turn/x", False, NO),
        ("users/ann/display_name", {"x": "Ann"}, NO),
        ("users/ann/display_name/x", "Ann", NO),
        ("users/ann/display_name", "😀" * 50, YES),
        ("users/ann/display_name", "😀" * 51, NO),
        ("users/ann", None, NO),
        ("users/ann/batch/install_ids", None, YES),
        ("users/max/batch/custom_ids", ["max-at-batch"], YES),
        ("messages/c/m/unread_by/bob/x", True, NO),
        ("messages/c/m/unread_by", None, NO),
        ("messages/c", None, NO),
        ("messages/c/new/recipient_ids", ["bob"], NO),
        ("friend_requests/ann", None, NO),
        ("friend_requests/ann/bob/status", None, NO),
        ("friend_requests/ann/bob", {"status": "accepted"}, NO),
        ("conversations/c", None, NO),
        ("conversations/c/members", None, NO),
        ("conversations/c/members/eve/x", True, NO),
        ("invitations/c", None, NO),
        ("invitations/c/eve/x", True, NO),
    ],
)
def test_what_paths_above_and_below_let_a_person_do(path: str, value: Any, may: bool) -> None:
    for who in PEOPLE:
        owner = {"users/max/batch/custom_ids": "max"}.get(path, "ann")
        assert STORED.may_write(who, {path: value}) == (may and who == owner), who


@pytest.mark.parametrize(
    ("field", "value", "may"),
    [
        ("image_url", "https://example.com/i", YES),
        ("recipient_ids", ["bob", "cat"], YES),
        ("recipient_ids", "bob", NO),
        ("sent_at", SERVER_TIME, YES),
        pytest.param("sent_at", TIME, YES, id="the time of the write"),
        pytest.param("sent_at", TIME - 1, NO, id="an earlier time"),
        ("unread_message", True, YES),
        ("unread_message", "yes", NO),
        ("unread_by", True, NO),
        ("unread_by", {"bob": True}, NO),
        ("is_system", True, NO),
    ],
)
def test_what_a_message_may_hold(field: str, value: Any, may: bool) -> None:
    message = {"sender_id": "ann", "text": "Hi"}
    assert STORED.may_write("ann", {"messages/c/new": message})
    assert STORED.may_write("ann", {"messages/c/new": {**message, field: value}}) == may


def test_a_friend_request_holds_nothing_else() -> None:
    asked = {"status": "pending"}
    assert STORED.may_write("ann", {"friend_requests/eve/ann": asked})
    assert not STORED.may_write("ann", {"friend_requests/eve/ann": {**asked, "since": 1}})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("display_name", "Ann"),
        ("language", "en"),
        ("time_zone", "UTC"),
        ("push_muted", True),
        ("push_preferences", {"game_turn": False}),
        ("push_preferences/game_turn", False),
        ("quiet_hours", {"start": "22:00", "end": "07:00"}),
        ("batch", {"install_ids": ["i"]}),
        ("batch/custom_ids", ["ann"]),
        ("batch/install_ids", ["i"]),
    ],
)
def test_each_field_of_a_profile_is_written_by_its_owner_alone(field: str, value: Any) -> None:
    for who in (*PEOPLE, NOBODY):
        assert STORED.may_write(who, {f"users/ann/{field}": value}) == (who == "ann"), who


@pytest.mark.parametrize("index", ["01", "1000", "x", "-1"])
def test_recipients_are_a_list(index: str) -> None:
    message = {"sender_id": "ann", "text": "Hi"}
    for key, may in (("999", YES), (index, NO)):
        written = {"messages/c/new": {**message, "recipient_ids": {key: "bob"}}}
        assert STORED.may_write("ann", written) == may


@pytest.mark.parametrize(
    ("who", "path", "may"),
    [
        ("ann", "conversations/c", YES),
        ("eve", "conversations/c", NO),
        ("ned", "conversations/c", NO),
        (NOBODY, "conversations/c", NO),
        ("ann", "conversations", NO),
        ("ann", "messages/c", YES),
        ("ned", "messages/c", NO),
        ("ann", "messages", NO),
        ("ann", "invitations/c", YES),
        ("ned", "invitations/c/ned", YES),
        ("ned", "invitations/c", NO),
        ("eve", "invitations/c/ned", NO),
        ("ann", "friend_requests/ann", YES),
        ("bob", "friend_requests/ann/bob", YES),
        ("bob", "friend_requests/ann", NO),
        ("eve", "friend_requests/ann/bob", NO),
        ("ann", "friends/ann", YES),
        ("cat", "friends/ann", NO),
        ("ann", "users/ann", YES),
        ("bob", "users/ann", NO),
        ("ann", "users", NO),
        *(
            (who, path, who == "ann")
            for path in ("accounts/ann", "games/g", "orders/o", "flights/f", "trains/t")
            for who in ("ann", "eve", NOBODY)
        ),
        ("ann", "pushes/p", NO),
        ("ann", "", NO),
    ],
)
def test_who_reads_what(who: str | None, path: str, may: bool) -> None:
    assert STORED.may_read(who, path) == may


@pytest.mark.parametrize(
    "path",
    ["accounts/ann", "games/g", "orders/o", "flights/f", "trains/t", "pushes/p", "elsewhere/x"],
)
def test_what_back_ends_write_no_client_writes(path: str) -> None:
    value = {"status": "delivered", "customer_id": "ann", "current_player_id": "ann"}
    for who in ("ann", "eve", NOBODY):
        for written in ({path: value}, {path: None}, {f"{path}/status": "delivered"}):
            assert not STORED.may_write(who, written)


def test_a_request_asked_and_taken_back_in_a_loop_is_asked_once_a_day() -> None:
    """Each one that is created is a push."""
    database, asked = STORED, []
    for hour in range(0, 75, 3):
        database = replace(database, now=TIME + hour * 3600 * 1000)
        for act in (forgets("ann", "eve"), asks("ann", "eve"), withdraws("ann", "eve")):
            if database.may_write("eve", writes(act)):
                database = database.written(writes(act))
                asked += [hour] if act == asks("ann", "eve") else []
    assert asked == [0, 27, 54]


# `tests/test_rules.py` has the same for Firestore, with `notify`, which reads nothing here.


def test_a_stranger_who_writes_whatever_they_may_has_nobody_in_a_conversation() -> None:
    values = (True, None, "pending", "accepted", {"status": "pending"}, {"status": "accepted"})
    paths = [
        f"{collection}/{one}/{other}"
        for collection in ("friend_requests", "friends", "invitations", "conversations")
        for one in ("ann", "eve", "new")
        for other in ("ann", "eve", "ann/status", "eve/status", "members/ann", "members/eve")
    ]
    database, done = EMPTY.written({"users/ann/display_name": "Ann"}), set[str]()
    for _ in range(2):  # what one write makes possible is tried too
        for written in (
            *({path: value} for path in paths for value in values),
            *(writes(starts("new", *members)) for members in (("eve",), ("eve", "ann"), ("ann",))),
        ):
            if database.may_write("eve", written):
                database = database.written(written)
                done |= written.keys()
    assert {"friend_requests/ann/eve", "conversations/new", "invitations/new/ann"} <= done
    assert not database.may_write("eve", writes(starts("other", "eve", "ann")))
    assert database.root["conversations"] == {"new": {"members": {"eve": True}}}


@PATIENT
@given(database_profiles("ann"))
def test_a_profile_that_other_tests_take_for_accepted_is_accepted(profile: dict[str, Any]) -> None:
    written = {f"users/ann/{field}": value for field, value in profile.items()}
    assert EMPTY.may_write("ann", written)


# Their form


def rule_at(path: str) -> dict[str, Any]:
    """The node of the rules for a path such as `games/{game_id}`."""
    node = json.loads(RULES)["rules"]
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


NODES = dict(nodes(json.loads(RULES)["rules"]))
WATCHED = sorted(set(re.findall(r'value_\w+\("([^"]+)"\)', MAIN)))


@pytest.mark.parametrize("path", [*WATCHED, "users/{user_id}", "conversations/{conversation_id}"])
def test_a_watched_value_is_checked_and_has_no_field_that_is_not_named(path: str) -> None:
    rule = rule_at(path)
    assert isinstance(rule[".validate"], str)
    assert list(rule)[-1] == "$other"
    assert rule["$other"] == {".validate": False}


def test_every_field_of_the_realtime_database_is_checked() -> None:
    """A list or a map without a check of its own could as well be a text."""
    collections = {
        f"/{name}"
        for name in (
            "messages/$conversation_id",
            "invitations/$conversation_id",
            "friend_requests/$user_id",
            "friends/$user_id",
        )
    }
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
    "rule",
    [
        "",
        "auth != null &&",
        "auth !== null)",
        "(auth !== null",
        "auth.uid === $user_id",
        "data.exist()",
        "data.val() === 'open",
        "auth.uid = 'ann'",
    ],
)
def test_what_is_no_rule_is_found(rule: str) -> None:
    with pytest.raises(RuleError):
        check_rules(json.dumps({"rules": {".read": rule}}))
