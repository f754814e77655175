"""Who is there, what is stored, and what honest people and back ends do while others attack."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from tests import scenarios
from tests.scenarios import NOW, Act, asks, changes, has_members, says, withdraws

BACK_END = "a back end"  # whom no rules stop

# A stranger, a friend of Ann's, a member, one who left, one who declined, one who is invited, and
# one who has not answered; and somebody who is not signed in.
ATTACKERS = ("eve", "dan", "cat", "lou", "gus", "ned", "fay")
HONEST_PEOPLE = ("ann", "bob", "zoe", "dig", "max", "hal", "ida")
CROWD = tuple(f"crowd-{number}" for number in range(55))
PEOPLE = (*scenarios.PEOPLE, "zoe", "dig", *CROWD)

START = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
DIGEST, MORNING = START + timedelta(hours=3), START + timedelta(hours=7)


# Zoe sleeps, Dig is told once a day, Max has other ids at Batch, Bob reads French.
WORLD: Mapping[str, Mapping[str, Any]] = {
    **scenarios.WORLD,
    **{f"users/{user_id}": {"display_name": user_id} for user_id in CROWD},
    "users/bob": {"display_name": "Bob", "language": "fr", "time_zone": "Europe/Paris"},
    "users/zoe": {
        "display_name": "Zoe",
        "quiet_hours": {"start": f"{START - timedelta(hours=1):%H:%M}", "end": f"{MORNING:%H:%M}"},
    },
    "users/dig": {"display_name": "Dig", "push_preferences": {"new_message": f"{DIGEST:%H:%M}"}},
    "users/cat/friends/zoe": {"since": 2026},
    "users/cat/friends/max": {"since": 2026},
    "conversations/c": {"member_ids": ["ann", "bob", "cat", "zoe", "dig", "max"], "muted_by": []},
    "conversations/pair": {"member_ids": ["ann", "bob"]},
    "conversations/night": {"member_ids": ["ann", "zoe"]},
    "conversations/open": {"member_ids": ["ann"]},
    "conversations/open/invitations/hal": {},
    "conversations/pair/messages/m": {"sender_id": "bob", "text": "Hi"},
}
FIRESTORE_ONLY: Mapping[str, Mapping[str, Any]] = {
    "topics/ski/followers/ann": {},
    "topics/ski/followers/bob": {},
}
AT_BATCH = {"max-at-batch": "max", "t": "max", "a": "max"}  # whose other ids these are


def _by_back_end(path: str, **fields: Any) -> tuple[str, Act]:
    return BACK_END, Act("set", path, fields, {path: fields})


def _in_firestore(who: str, path: str, **fields: Any) -> tuple[str, Act]:
    return who, Act("set", path, fields, {})


PASSENGERS = ["ann", "bob", "cat", "max", "zoe", "ned"]
JOURNEY = {"departs_at": f"{START + timedelta(days=1):%Y-%m-%dT%H:%M:00Z}", "number": "BP12"}
HONEST: tuple[tuple[str, Act], ...] = (
    ("ann", says({"sender_id": "ann", "text": "For Bob"}, "h1", "pair")),
    ("bob", says({"sender_id": "bob", "text": "For all"}, "h2")),
    ("bob", asks("max", "bob")),
    _by_back_end("games/g", name="Chess", current_player_id="ann", player_ids=["ann", "bob"]),
    _by_back_end("games/h", name="Go", current_player_id="cat", player_ids=["cat", "bob"]),
    ("ann", says({"sender_id": "ann", "text": "Good night"}, "h1", "night")),
    _by_back_end("games/h", name="Go", current_player_id="bob", player_ids=["cat", "bob"]),
    _by_back_end("orders/o", customer_id="max", status="delivered", number="A7"),
    _by_back_end("accounts/ann", spent=9, credit_limit=10, currency="EUR"),
    _by_back_end("accounts/ann", spent=10, credit_limit=10, currency="EUR"),
    _by_back_end("flights/f", status="delayed", passenger_ids=PASSENGERS, **JOURNEY),
    ("ann", changes({"unread_by.ann": True}, "h2")),
    _by_back_end("trains/t", status="cancelled", passenger_ids=PASSENGERS, **JOURNEY),
    _by_back_end(
        "pushes/p",
        group_id="news",
        recipients={"custom_ids": ["ann", "ned"]},
        message={"body": "For you"},
    ),
    ("bob", says({"sender_id": "bob", "text": "For two", "recipient_ids": ["ann", "max"]}, "h3")),
    ("hal", has_members("hal", "ann", "hal", conversation_id="open")),
    ("ann", says({"sender_id": "ann", "text": "Welcome"}, "h1", "open")),
    ("bob", withdraws("max", "bob")),
    ("bob", asks("ida", "bob")),
    _in_firestore(BACK_END, "articles/a", published=True, topics=["ski"], title="Snow"),
    _in_firestore("ann", "carts/ann", items=["shoes"], updated_at=NOW),
)
