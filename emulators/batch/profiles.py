"""The Custom Data API, version 1.0: attributes of people, by custom id, and what it refuses."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from emulators.batch.checks import (
    CLIENT,
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
    is_switch,
    only_known,
    optional,
    required,
)
from emulators.batch.limits import MAX_TEXT, is_short, is_value
from emulators.batch.replies import Reply

MAX_PEOPLE = 10_000
NAME = re.compile(r"(u|ut)\.[a-z0-9_]{1,30}|date\(u\.[a-z0-9_]{1,30}\)")
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")

Key = tuple[str, str]  # an app key, and a custom id


@dataclass
class Profiles:
    """Every attribute that was sent, by app and custom id."""

    _values: dict[Key, dict[str, Any]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[Key, dict[str, Any]]]:
        return iter(self._values.items())

    def of_app(self, app_key: str) -> dict[str, dict[str, Any]]:
        """The attributes of everybody in an app, by custom id."""
        return {each: values for (key, each), values in self if key == app_key}

    def update(self, app_key: str, custom_id: str, update: Mapping[str, Any]) -> None:
        key = app_key, custom_id
        known = {} if update.get("overwrite") else self._values.get(key, {})
        merged = known | update["values"]
        self._values[key] = {name: each for name, each in merged.items() if each is not None}

    def remove(self, app_key: str, custom_id: str) -> None:
        self._values.pop((app_key, custom_id), None)

    def clear(self) -> None:
        self._values.clear()


def updates(custom_id: str, body: Any) -> dict[str, Any]:
    """The updates of an accepted body, by custom id."""
    return {custom_id: body} if custom_id else {each["id"]: each["update"] for each in body}


def profile_refusal(custom_id: str, body: Any, lenient: bool = False) -> Reply | None:
    """Batch's error for this parsed body, or None if Batch would accept it.

    Without an id in the path, the body is a list of people.
    """
    if custom_id:
        return first_refusal(UPDATE_RULES, body, None, lenient)
    if not isinstance(body, list) or not body:
        return MALFORMED.reply("the body must be a list of people")
    if len(body) > MAX_PEOPLE:
        return MALFORMED.reply(f"the body holds {len(body)} people, over {MAX_PEOPLE}")
    for index, each in enumerate(body):
        refused = first_refusal(ENTRY_RULES, each, None, lenient)
        refused = refused or first_refusal(UPDATE_RULES, each["update"], None, lenient)
        if refused is not None:
            message = f"[{index}]: {refused.body['message']}"
            return Reply(refused.status, refused.body | {"message": message})
    return None


# --- checks of one value each


def _of_each(words: str, holds: Any, among: str = "") -> Check:
    """Each value whose name begins so must pass; null clears it."""

    def check(posted: Posted) -> str | None:
        for name, value in posted.body["values"].items():
            if name.startswith(among) and value is not None and not holds(name, value):
                return f"`values.{name}` must be {words}"
        return None

    return check


def _known_names(posted: Posted) -> str | None:
    unknown = [name for name in posted.body["values"] if not NAME.fullmatch(name)]
    return f"`values.{unknown[0]}` is no name of an attribute" if unknown else None


UPDATE_RULES = (
    Rule(CLIENT, MISSING, required("values")),
    Rule(INFERRED, MALFORMED, only_known(("overwrite", "values"))),
    Rule(CLIENT, MALFORMED, optional("values", "an object", is_object)),
    Rule(INFERRED, MALFORMED, optional("values", "not empty", bool)),
    Rule(CLIENT, MALFORMED, optional("overwrite", "a boolean", is_switch)),
    Rule(OFFICIAL, MALFORMED, _known_names),
    Rule(CLIENT, MALFORMED, _of_each("an array", lambda _, v: isinstance(v, list), "ut.")),
    # A customer's tests show an error for an empty list: null clears one instead.
    Rule(CLIENT, MALFORMED, _of_each("left out or null if empty", lambda _, v: bool(v), "ut.")),
    Rule(
        OFFICIAL,
        MALFORMED,
        _of_each(f"texts of at most {MAX_TEXT}", lambda _, v: all(map(is_short, v)), "ut."),
    ),
    Rule(
        CLIENT, MALFORMED, _of_each("yyyy-MM-ddTHH:mm:ss", lambda _, v: is_moment(v, TIME), "date(")
    ),
    Rule(
        OFFICIAL,
        MALFORMED,
        _of_each(
            f"a text of at most {MAX_TEXT}, a number or a boolean", lambda _, v: is_value(v), "u."
        ),
    ),
)
ENTRY_RULES = (
    Rule(CLIENT, MISSING, required("id")),
    Rule(CLIENT, MALFORMED, optional("id", "a text", lambda v: isinstance(v, str) and v != "")),
    Rule(CLIENT, MISSING, required("update")),
    Rule(CLIENT, MALFORMED, optional("update", "an object", is_object)),
)


# --- who a campaign is for


def audience(
    query: Mapping[str, Any] | None, people: Mapping[str, Mapping[str, Any]]
) -> list[str] | None:
    """The custom ids that a campaign's `targeting.query` means; None if that is not known.

    Only what clients are seen to send is understood: a value, or `$contains` of tags.
    """
    if not isinstance(query, Mapping) or not query:
        return None
    found = set(people)
    for name, condition in query.items():
        if isinstance(condition, Mapping) and set(condition) != {"$contains"}:
            return None
        found &= {
            each
            for each, values in people.items()
            if name in values and _meets(values[name], condition)
        }
    return sorted(found)


def _meets(value: Any, condition: Any) -> bool:
    if not isinstance(condition, Mapping):
        return bool(value == condition)
    asked, tags = condition["$contains"], value
    is_asked = isinstance(asked, list) and isinstance(tags, list)
    return is_asked and any(each in tags for each in asked)
