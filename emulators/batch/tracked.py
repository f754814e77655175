"""The Trigger Events API, version 1.0: what happened to people, and what it refuses."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from emulators.batch.checks import (
    ABSENT,
    CLIENT,
    DOUBTFUL,
    INFERRED,
    MALFORMED,
    MISSING,
    OFFICIAL,
    Check,
    Posted,
    Rule,
    first_refusal,
    is_moment,
    is_object,
    no_nulls,
    only_known,
    optional,
    required,
    value_at,
)
from emulators.batch.limits import MAX_TEXT, is_short, is_value
from emulators.batch.replies import Reply

FIELDS = frozenset({"name", "time", "label", "attributes", "tags"})
NAME = re.compile(r"[a-z0-9_]{1,30}")
TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})?"
)

MAX_EVENTS = 1_000
MAX_ATTRIBUTES = 15
MAX_TAGS = 10
MAX_LABEL = 200
MAX_AGE = timedelta(hours=24)


@dataclass(frozen=True)
class Tracked:
    """An event that was taken."""

    app: str | None
    id: str
    event: Mapping[str, Any]


def events_in(custom_id: str, body: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The events of an accepted body, each with the custom id that it is of."""
    for person in [body | {"id": custom_id}] if custom_id else body:
        for event in person["events"]:
            yield person["id"], event


def events_refusal(custom_id: str, body: Any, now: datetime, lenient: bool = False) -> Reply | None:
    """Batch's error for this parsed body, or None if Batch would accept it.

    Without an id in the path, the body is a list of people.
    """
    people = [body] if custom_id else body
    if not isinstance(people, list) or not people:
        return MALFORMED.reply("the body must be a list of people")
    for person in people:
        rules = PERSON_RULES if custom_id else (*PERSON_RULES, *ENTRY_RULES)
        if refused := first_refusal(rules, person, None, lenient):
            return refused
    events = [event for person in people for event in person["events"]]
    if len(events) > MAX_EVENTS:
        return MALFORMED.reply(f"the body holds {len(events)} events, over {MAX_EVENTS}")
    timed = (*EVENT_RULES, Rule(OFFICIAL, MALFORMED, _recent(now)))
    return next(filter(None, (first_refusal(timed, each, None, lenient) for each in events)), None)


# --- checks of one field each


def _recent(now: datetime) -> Check:
    def check(posted: Posted) -> str | None:
        text = value_at(posted.body, "time")
        if text is ABSENT:
            return None
        time = datetime.fromisoformat(text)
        time = time if time.tzinfo else time.replace(tzinfo=UTC)
        if time > now:
            return "`time` is in the future"
        return "`time` is over 24 hours ago" if time < now - MAX_AGE else None

    return check


def _is_name(value: Any) -> bool:
    is_prefixed = isinstance(value, str) and value.startswith("ue.")
    return is_prefixed and NAME.fullmatch(value.removeprefix("ue.")) is not None


def _of_attributes(words: str, holds: Callable[[str, Any], bool]) -> Check:
    def check(posted: Posted) -> str | None:
        attributes = value_at(posted.body, "attributes")
        for name, value in {} if attributes is ABSENT else attributes.items():
            if not holds(name, value):
                return f"`attributes.{name}` {words}"
        return None

    return check


PERSON_RULES = (
    Rule(CLIENT, MISSING, required("events")),
    Rule(CLIENT, MALFORMED, optional("events", "an array", lambda v: isinstance(v, list))),
    Rule(INFERRED, MALFORMED, optional("events", "one or more", bool)),
)
ENTRY_RULES = (
    Rule(CLIENT, MISSING, required("id")),
    Rule(CLIENT, MALFORMED, optional("id", "a text", lambda v: isinstance(v, str) and v != "")),
)
EVENT_RULES = (
    Rule(DOUBTFUL, MALFORMED, no_nulls),
    Rule(CLIENT, MISSING, required("name")),
    Rule(CLIENT, MALFORMED, optional("name", "ue. and at most 30 of a-z, 0-9 and _", _is_name)),
    Rule(INFERRED, MALFORMED, only_known(FIELDS)),
    Rule(
        INFERRED, MALFORMED, optional("time", "yyyy-MM-ddTHH:mm:ss", lambda v: is_moment(v, TIME))
    ),
    Rule(
        OFFICIAL,
        MALFORMED,
        optional(
            "label",
            f"a text of at most {MAX_LABEL}",
            lambda v: isinstance(v, str) and 0 < len(v) <= MAX_LABEL,
        ),
    ),
    Rule(OFFICIAL, MALFORMED, optional("attributes", "an object", is_object)),
    Rule(
        OFFICIAL,
        MALFORMED,
        optional("attributes", f"at most {MAX_ATTRIBUTES}", lambda v: len(v) <= MAX_ATTRIBUTES),
    ),
    Rule(
        OFFICIAL,
        MALFORMED,
        _of_attributes(
            "has a name that is not known", lambda name, _: NAME.fullmatch(name) is not None
        ),
    ),
    Rule(
        OFFICIAL,
        MALFORMED,
        _of_attributes(
            f"must be a text of at most {MAX_TEXT}, a number or a boolean", lambda _, v: is_value(v)
        ),
    ),
    Rule(OFFICIAL, MALFORMED, optional("tags", "an array", lambda v: isinstance(v, list))),
    Rule(
        OFFICIAL,
        MALFORMED,
        optional(
            "tags",
            f"at most {MAX_TAGS} texts of at most {MAX_TEXT}",
            lambda v: len(v) <= MAX_TAGS and all(map(is_short, v)),
        ),
    ),
)
