"""The Customer Engagement Platform: its Profile API, which tracks events and updates profiles.

It sends no push itself: in Batch, an automation made in the dashboard does, for an event. What
breaks a rule of the call is refused as a whole; what breaks a rule of one profile is left out, and
the reply names it, although it is a success.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from emulators.batch.checks import (
    CLIENT,
    GUESS,
    INFERRED,
    MALFORMED,
    OFFICIAL,
    THIRD_PARTY,
    Source,
)
from emulators.batch.replies import (
    API_MISUSE,
    AUTHENTICATION_INVALID,
    MALFORMED_JSON_BODY,
    TOO_MANY_REQUESTS,
    ErrorKind,
    Reply,
)

APP = "CEP"  # in place of the name of an app
ROUTES = {"profiles/update": ("POST", re.compile(r"/2\.[0-9]{1,3}/profiles/update"))}
HEADERS = ("authorization", "x-batch-project")

MAX_PROFILES = 200
MAX_EVENTS = 15  # of one profile
MAX_ATTRIBUTES = 50
MAX_TEXT = 300
MAX_URL = 2048
MAX_EVENT = 25_000  # bytes
MAX_AGE = timedelta(hours=24)
RATE, BURST = 300, 1000  # profiles a second, and at once

NAME = re.compile(r"[a-z0-9_]{1,30}")
TYPED = re.compile(r"(date|url)\((.*)\)")
PROFILE_NATIVES = {"$email_address", "$email_marketing", "$phone_number", "$sms_marketing"}
PROFILE_NATIVES |= {"$language", "$region", "$timezone"}
EVENT_NATIVES = {"$label", "$tags"}
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:?\d\d)?")

PAGE = OFFICIAL.at("doc.batch.com/developer/api/cep/profiles/update")
SEGMENT = CLIENT.at("Segment's connector")
QUOTED = CLIENT.at("a TypeScript adapter, which quotes that page")


def error(kind: ErrorKind, message: str) -> Reply:
    """Newer clients read these two keys; pages of this platform have those of `ErrorKind`."""
    return Reply(kind.status, {"error_code": kind.type, "error_message": message})


@dataclass(frozen=True)
class Rule:
    """A rule of the whole call; `check` returns the text of the error."""

    source: Source
    error: ErrorKind
    check: Callable[[Sequence[Any]], str | None]


@dataclass(frozen=True)
class ProfileRule:
    """A rule of one profile; `check` yields what is wrong, and the attribute if it is one."""

    source: Source
    category: str
    check: Callable[[Mapping[str, Any], datetime], Iterator[tuple[str, str | None]]]


# --- the call


def _each(problem: Callable[[Any], str | None]) -> Callable[[Sequence[Any]], str | None]:
    def check(profiles: Sequence[Any]) -> str | None:
        found = ((index, problem(each)) for index, each in enumerate(profiles))
        return next((f"[{index}]: {text}" for index, text in found if text), None)

    return check


def _identified(profile: Any) -> str | None:
    identifiers = profile.get("identifiers") if isinstance(profile, dict) else None
    if not isinstance(identifiers, dict):
        return "`identifiers` is missing"
    both = {"custom_id", "installation"} & identifiers.keys()
    return None if len(both) == 1 else "`identifiers` needs one of `custom_id`, `installation`"


def _named(profile: Any) -> str | None:
    custom_id = profile["identifiers"].get("custom_id", "x")
    is_id = isinstance(custom_id, str) and custom_id.strip() and len(custom_id) < 1024
    return None if is_id else "`custom_id` must be a string under 1024 characters"


def _of_known_parts(profile: Any) -> str | None:
    kinds = {"identifiers": dict, "attributes": dict, "events": list}
    wrong = [name for name, value in profile.items() if not isinstance(value, kinds.get(name, ()))]
    return f"`{wrong[0]}` is not valid child of a profile" if wrong else None


RULES = (
    Rule(
        PAGE,
        MALFORMED,
        lambda them: f"over {MAX_PROFILES} profiles" if len(them) > MAX_PROFILES else None,
    ),
    Rule(GUESS, MALFORMED, lambda them: None if them else "no profiles"),
    Rule(PAGE, MALFORMED, _each(_identified)),
    Rule(OFFICIAL.at("pages of the SDKs"), MALFORMED, _each(_named)),
    Rule(INFERRED.at("that page names no other"), MALFORMED, _each(_of_known_parts)),
)


# --- one profile


def _few_attributes(profile: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, str | None]]:
    if len(profile.get("attributes", {})) > MAX_ATTRIBUTES:
        yield f"over {MAX_ATTRIBUTES} attributes", None


def _attributes(profile: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, str | None]]:
    yield from _invalid(profile.get("attributes", {}), PROFILE_NATIVES)


def _few_events(profile: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, str | None]]:
    if len(profile.get("events", [])) > MAX_EVENTS:
        yield f"over {MAX_EVENTS} events", None


def _names(profile: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, str | None]]:
    for event in profile.get("events", []):
        name = event.get("name") if isinstance(event, dict) else None
        if not isinstance(name, str) or not NAME.fullmatch(name):
            yield "the name of an event must be 1 to 30 of a-z, 0-9 and _", None


def _times(profile: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, str | None]]:
    for event in _events(profile):
        if "time" in event and not _is_of_today(event["time"], now):
            yield "the time of an event must be in the last 24 hours", None


def _sizes(profile: Mapping[str, Any], now: datetime) -> Iterator[tuple[str, str | None]]:
    for event in _events(profile):
        if len(json.dumps(event, ensure_ascii=False).encode()) > MAX_EVENT:
            yield f"an event is over {MAX_EVENT} bytes", None


def _event_attributes(
    profile: Mapping[str, Any], now: datetime
) -> Iterator[tuple[str, str | None]]:
    for event in _events(profile):
        attributes = event.get("attributes", {})
        if isinstance(attributes, dict):
            yield from _invalid(attributes, EVENT_NATIVES)
        else:
            yield "the attributes of an event must be an object", None


def _events(profile: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [event for event in profile.get("events", []) if isinstance(event, dict)]


def _is_of_today(time: Any, now: datetime) -> bool:
    if not isinstance(time, str) or not DATE.fullmatch(time):
        return False
    try:
        at = datetime.fromisoformat(time)
    except ValueError:  # such as a 13th month
        return False
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return now - MAX_AGE <= at <= now + timedelta(seconds=1)


def _invalid(attributes: Mapping[str, Any], natives: set[str]) -> Iterator[tuple[str, str | None]]:
    for name, value in attributes.items():
        typed = TYPED.fullmatch(name)
        plain = typed[2] if typed else name
        if not NAME.fullmatch(plain) and name not in natives:
            yield "invalid name", name
        elif not _is_value(typed[1] if typed else "", value):
            yield "invalid value", name


def _is_value(kind: str, value: Any) -> bool:
    if value is None or isinstance(value, bool | int | float):
        return kind != "url"
    if kind == "date":
        return isinstance(value, str) and DATE.fullmatch(value) is not None
    if isinstance(value, str):
        return 0 < len(value) <= (MAX_URL if kind == "url" else MAX_TEXT)
    if isinstance(value, list):
        return all(isinstance(each, str | dict) and _is_value("", each) for each in value)
    changes = value.keys() <= {"$add", "$remove"}
    return changes or not [*_invalid(value, set())]


PROFILE_RULES = (
    ProfileRule(SEGMENT, "attribute", _few_attributes),
    ProfileRule(QUOTED, "attribute", _attributes),
    ProfileRule(QUOTED, "event", _few_events),
    ProfileRule(SEGMENT, "event", _names),
    ProfileRule(QUOTED, "event", _times),
    ProfileRule(THIRD_PARTY, "event", _sizes),
    ProfileRule(QUOTED, "attribute", _event_attributes),
)


# --- the platform


class Cep:
    """One project; without a key, any that is not empty is accepted."""

    def __init__(self, project: str, lenient: bool, now: Callable[[], datetime]) -> None:
        self.project, self.lenient, self.now = project, lenient, now
        self._tokens, self._at = float(BURST), datetime.min.replace(tzinfo=UTC)

    def reply(
        self, headers: Mapping[str, str], body: Any, is_json: bool, is_key: Callable[[str], bool]
    ) -> Reply:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not is_key(key):
            return error(AUTHENTICATION_INVALID, "`Authorization` must be Bearer and the REST key")
        project = headers.get("x-batch-project", "")
        if not project:
            return error(MALFORMED, "`X-Batch-Project` is missing")
        if self.project and project != self.project:
            return error(API_MISUSE, "the REST key is not valid for this project")
        if not is_json:
            return error(MALFORMED_JSON_BODY, "the body is not JSON")
        if not isinstance(body, list):
            return error(MALFORMED, "the body must be an array")
        for rule in RULES:
            if self._asks(rule.source) and (problem := rule.check(body)):
                return error(rule.error, problem)
        if not self.lenient and not self._has_tokens(len(body)):
            return error(TOO_MANY_REQUESTS, f"over {RATE} profiles a second")
        return self._updated(body)

    def _updated(self, profiles: Sequence[Mapping[str, Any]]) -> Reply:
        errors = [
            {"category": rule.category, "bulk_index": index, "reason": reason}
            | ({"attribute": attribute} if attribute else {})
            for index, profile in enumerate(profiles)
            for rule in PROFILE_RULES
            if self._asks(rule.source)
            for reason, attribute in rule.check(profile, self.now())
        ]
        if errors:
            return Reply(202, {"code": "SUCCESS_WITH_PARTIAL_ERRORS", "errors": errors})
        return Reply(202, {"code": "SUCCESS"})

    def _asks(self, source: Source) -> bool:
        return source.is_well_known or not self.lenient

    def _has_tokens(self, number: int) -> bool:
        now = self.now()
        since = max(0.0, (now - self._at).total_seconds())
        self._tokens, self._at = min(float(BURST), self._tokens + since * RATE), now
        if self._tokens < number:
            return False
        self._tokens -= number
        return True


# --- what calls say


def first_name(body: Any) -> str | None:
    """The name of the first event in a call, which a fault may be for."""
    for profile in body if isinstance(body, list) else []:
        for event in _events(profile) if isinstance(profile, dict) else []:
            if isinstance(event.get("name"), str):
                return str(event["name"])
    return None


def tracked(body: Any, reply: Any) -> list[dict[str, Any]]:
    """The events that an accepted call tracks, each with those whom it is for."""
    errors = reply.get("errors", []) if isinstance(reply, dict) else []
    refused = {each.get("bulk_index") for each in errors if isinstance(each, dict)}
    events: dict[str, dict[str, Any]] = {}
    for index, profile in enumerate(body if isinstance(body, list) else []):
        if index in refused or not isinstance(profile, dict):
            continue
        custom_id = str(profile.get("identifiers", {}).get("custom_id", "an installation"))
        for event in _events(profile):
            told = events.setdefault(json.dumps(event, sort_keys=True), event | {"to": []})
            told["to"].append(custom_id)
    return list(events.values())


def fingerprint(text: str) -> str:
    """What the body of a call and of its delivery record have in common: the event, and for whom.

    The record has the push, of which the call is made.
    """
    try:
        body = json.loads(text)
        if isinstance(body, list):
            name = body[0]["events"][0]["name"]
            return json.dumps([name, [each["identifiers"]["custom_id"] for each in body]])
        return json.dumps([body["group_id"], body["recipients"]["custom_ids"]])
    except (ValueError, LookupError, TypeError, RecursionError):
        return text
