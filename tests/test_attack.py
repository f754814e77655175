"""Hostile people against the rules and the functions behind them; `make attack` has many more.

A rule that lets more through than it should is found, so that a quiet attack means something.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchpush.environment import process_settings
from batchpush.testing.batch import Call
from tests.attack.agreement import Diff
from tests.attack.episode import Episodes, Failure, total
from tests.attack.gates import DatabaseGate, FirestoreGate, Gate, Step
from tests.attack.judge import TOO_MANY, Judge
from tests.attack.stage import Heard, settings_of_an_attack
from tests.firestore_rules import Firestore
from tests.scenarios import Act

DATABASE_RULES = Path("database.rules.json").read_text(encoding="utf-8")
FIRESTORE_RULES = Path("firestore.rules").read_text(encoding="utf-8")
EPISODES = 6
MAX_EPISODES = 100  # until what is weaker is found
SEED = 1


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    with settings_of_an_attack():
        yield


def attacked(gate: Gate, episodes: int) -> Failure | None:
    """The first failure, if there is one."""
    attacks = Episodes(gate, SEED)
    found = next(filter(None, map(attacks.attack, range(episodes))), None)
    if found is None:
        assert total(attacks.tally).accepted > 10 * episodes
        assert total(attacks.tally).pushes > episodes
    return found


def weakened(rules: str, *conditions: tuple[str, str]) -> str:
    """The rules with other conditions in the place of some of theirs."""
    for condition, instead in conditions:
        assert condition in rules, condition
        rules = rules.replace(condition, instead)
    return rules


def test_the_realtime_database_withstands_an_attack() -> None:
    assert attacked(DatabaseGate(DATABASE_RULES), EPISODES) is None


MEMBERS = "root.child('conversations').child($conversation_id).child('members')"
IN = f"{MEMBERS}.child(auth.uid).val() === true"
IS_SENDER = "newData.child('sender_id').val() === auth.uid"
WEAKER_IN_DATABASE: dict[str, tuple[tuple[str, str], ...]] = {
    "messages by strangers": ((f"{IS_SENDER} && {IN}", IS_SENDER),),
    "messages as somebody else": ((f"{IS_SENDER} && ", ""),),
    "messages to who is no member": ((f"{MEMBERS}.child(newData.val()).val() === true", "true"),),
    "conversations with strangers": (
        ("root.child('friends').child(auth.uid).child($user_id).exists()", "true"),
    ),
    "marks for others": (
        ("auth.uid === $user_id && newData.exists() && data", "data"),
        ("newData.isBoolean() && $user_id === auth.uid && root", "root"),
    ),
    "requests as somebody else": (
        ("auth.uid === $sender_id && $sender_id !== $user_id && ", ""),
        ("auth.uid === $sender_id && (newData.val() === 'pending'", "(newData.val() === 'pending'"),
    ),
    "friends without their answer": (
        ("(auth.uid === $user_id && (newData.val() === 'accepted'", "(true && (true"),
        ("auth.uid === $user_id && data.parent().exists() && data", "data"),
    ),
    "orders by anybody": (
        (
            """data.child('customer_id').val() === auth.uid",
        ".write": false""",
            """data.child('customer_id').val() === auth.uid",
        ".write": "auth != null\"""",
        ),
    ),
    "members removed by others": (
        ("auth.uid === $user_id && (!newData.exists() ||", "(!newData.exists() ||"),
    ),
    "muted by others": (
        (f"auth.uid === $user_id && {IN}", IN),
        ('newData.val() === true && $user_id === auth.uid"', 'newData.val() === true"'),
    ),
    "ids of others": (("($index === '0' && newData.val() === auth.uid)", "true"),),
}


@pytest.mark.parametrize("weaker", WEAKER_IN_DATABASE)
def test_what_a_weaker_rule_lets_through_is_found(weaker: str) -> None:
    rules = weakened(DATABASE_RULES, *WEAKER_IN_DATABASE[weaker])
    failure = attacked(DatabaseGate(rules), MAX_EPISODES)
    assert failure


def test_an_attack_is_the_same_again_and_comes_down_to_few_writes() -> None:
    rules = weakened(DATABASE_RULES, *WEAKER_IN_DATABASE["messages by strangers"])
    found = attacked(DatabaseGate(rules), MAX_EPISODES)
    assert found
    again = Episodes(DatabaseGate(rules), SEED)
    assert again.attack(found.episode) == found
    assert len(again.least(found).hostile) == 1


def test_more_pushes_than_the_limits_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    for setting in ("MAX_PUSHES_PER_SENDER", "MAX_PUSHES_PER_PAIR"):
        monkeypatch.setenv(setting, "1000")
    process_settings.cache_clear()
    failure = attacked(DatabaseGate(DATABASE_RULES), MAX_EPISODES)
    assert failure is not None
    assert failure.violation.rule == TOO_MANY


@pytest.mark.parametrize(
    ("writes", "found"),
    [
        ([["m1"], ["m1"]], ["2 reminders of 1 messages to dan"]),
        ([["m1"], ["m2"]], []),
        ([["m1", "m2"]], []),
    ],
)
def test_somebody_is_reminded_once_a_day_of_a_message(
    writes: list[list[str]], found: list[str]
) -> None:
    """Each of the writes marks some messages; two reminders come of them."""
    paths = [[f"conversations/c/messages/{each}" for each in write] for write in writes]
    steps = [
        Step(
            "dan", Act("update", write[0], {}, {}), tuple(Diff(each, {}, {}) for each in write), {}
        )
        for write in paths
    ]
    body = {"group_id": "message_unread", "recipients": {"custom_ids": ["dan"]}}
    reminder = Call("A", "POST", "transactional/send", body, 201)
    heard = [Heard(0, reminder), Heard(len(steps) - 1, reminder)]
    assert [each.says for each in Judge([], []).violations(steps, heard)] == found


# Firestore


@pytest.fixture(scope="module")
def firestore() -> Iterator[Firestore]:
    host = os.environ["FIRESTORE_EMULATOR_HOST"]
    firestore = Firestore(host, f"demo-attack-{uuid.uuid4().hex[:12]}")
    with firestore.http:
        yield firestore


@pytest.mark.suite
def test_firestore_withstands_an_attack(firestore: Firestore) -> None:
    assert attacked(FirestoreGate(firestore, FIRESTORE_RULES), EPISODES) is None


WEAKER_IN_FIRESTORE: dict[str, tuple[str, str]] = {
    "messages by strangers": (
        "is_new_id(message_id)\n          && is_among(member_ids())",
        "is_new_id(message_id)",
    ),
    "messages as somebody else": ("&& is_user(message.sender_id)", ""),
    "messages to who is no member": ("&& user_ids.hasOnly(member_ids())", ""),
    "conversations with strangers": (
        "return is_user(user_id) || is_friend(user_id)",
        "return is_user_id(user_id) || is_friend(user_id)",
    ),
    "joining without an invitation": (
        "&& resource.data.member_ids.size() < 1000",
        "|| resource.data.member_ids.size() < 1000",
    ),
    "marks for others": (
        "after.diff(before).affectedKeys().hasOnly([request.auth.uid])\n            &&",
        "after.diff(before).affectedKeys().hasOnly([request.auth.uid])\n            ||",
    ),
    "requests as somebody else": (
        "allow create: if is_user(sender_id)\n          &&",
        "allow create: if",
    ),
    "muted by others": ("&& after.removeAll(me) == before.removeAll(me)", ""),
    "ids of others": ("|| ids.custom_ids == [user_id])", "|| ids.custom_ids is list)"),
    "deliveries by anybody": (
        "match /batch_deliveries/{document=**} { allow read, write: if false; }",
        "match /batch_deliveries/{document=**} { allow write; }",
    ),
}


@pytest.mark.suite
@pytest.mark.parametrize("weaker", WEAKER_IN_FIRESTORE)
def test_what_a_weaker_rule_of_firestore_lets_through_is_found(
    firestore: Firestore, weaker: str
) -> None:
    rules = weakened(FIRESTORE_RULES, WEAKER_IN_FIRESTORE[weaker])
    failure = attacked(FirestoreGate(firestore, rules), MAX_EPISODES)
    assert failure
