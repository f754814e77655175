"""The documents of a rehearsal: those of `make demo`, in both databases, and what they lead to."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from local import demo

APPS = ("ios", "android")
OTHER_GROUPS = {"outbox": "sale"}  # the push itself says it
Push = tuple[str, str, str]  # app, group_id, person

# What leads to a push, apart from the campaign and the app's call.
WRITES = [each for each in demo.EVENTS if isinstance(each, demo.Write)]
EVENTS = [each for each in WRITES if each.function != "campaign"]

BURST = [
    ("conversations/lunch/messages/1", {"sender_id": "ann", "text": "Lunch?"}),
    ("conversations/lunch/messages/2", {"sender_id": "ann", "text": "At noon?"}),
]
OTHERS: Mapping[str, Mapping[str, Any]] = {
    "conversations/lunch": {"member_ids": ["ann", "bob"]},
    "users/ann/friends/bob": {"since": 2026},
    "users/bob/friends/ann": {"since": 2026},
    "carts/zoe": {
        "items": ["a book"],
        "updated_at": datetime.now(UTC) - timedelta(hours=25),
    },
    "articles/news": {
        "published": True,
        "title": {"en": "News"},
        "body": {"en": "Something happened"},
        "topics": ["politics"],
    },
}
LARGE = 10_001  # recipients, of whom one call takes 10,000


def before() -> dict[str, Mapping[str, Any]]:
    return {**demo.BEFORE, **OTHERS}


def pushes() -> Counter[Push]:
    """Those of `EVENTS`, once in each database."""
    return Counter(
        (app, OTHER_GROUPS.get(event.function, event.function), person)
        for event in EVENTS
        for person in event.to
        for app in APPS
        for _ in ("Firestore", "Realtime Database")
    )


def pushed(calls: list[dict[str, Any]]) -> Counter[Push]:
    """What Batch accepted; a campaign has no people."""
    return Counter(
        (call["app"], call["body"]["group_id"], person)
        for call in calls
        if call["accepted"] and "recipients" in (call["body"] or {})
        for person in call["body"]["recipients"].get("custom_ids", ())
    )


# --- The same in the Realtime Database ------------------------------------------------------------


def in_database() -> Iterator[tuple[str, Any, Any]]:
    """Each path with its value before the event, and after; one of them is None for no event."""
    changes = {each.path: each.fields for each in EVENTS}
    for path in {**demo.BEFORE, **changes}:
        have, change = demo.BEFORE.get(path), changes.get(path)
        after = {**(have or {}), **change} if change else None
        yield _path(path), _json(have), _json(after)


def _path(path: str) -> str:
    match path.split("/"):
        case ["conversations", conversation, "messages", message]:
            return f"messages/{conversation}/{message}"
        case ["users", user, "friend_requests", sender]:
            return f"friend_requests/{user}/{sender}"
    return path


def _json(fields: Mapping[str, Any] | None) -> Any:
    """Times are milliseconds there, and an empty list is nothing."""
    if fields is None:
        return None
    return {
        name: int(value.timestamp() * 1000) if isinstance(value, datetime) else value
        for name, value in fields.items()
        if value != []
    }
