"""What Batch refuses in the body of a transactional send, as a table of small checks.

Batch publishes only part of these rules; the rest was gathered from what its clients do. So each
rule says how well it is known, and a lenient judge drops those that are guesses.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from emulators.batch.replies import MALFORMED_PARAMETER, MISSING_PARAMETER, ErrorKind, Reply

FIELDS = frozenset(
    {
        "group_id",
        "recipients",
        "message",
        "priority",
        "time_to_live",
        "gcm_collapse_key",
        "push_type",
        "labels",
        "sandbox",
        "media",
        "skip_media_check",
        "deeplink",
        "custom_payload",
        "landing",
        "wp_template",
    }
)
MESSAGE_FIELDS = frozenset({"title", "body"})
RECIPIENT_LISTS = frozenset({"custom_ids", "install_ids", "tokens", "advertising_ids"})
MEDIA_KINDS = frozenset({"icon", "picture", "audio", "video"})
COLLAPSE_FIELDS = frozenset({"enabled", "key"})

GROUP_ID = re.compile(r"[A-Za-z0-9_-]+")
LONGEST_GROUP_ID = 128
MOST_RECIPIENTS = 10_000
MOST_LABELS = 3
LONGEST_TIME_TO_LIVE = 28 * 24 * 3600

Body = Mapping[str, Any]


class Confidence(Enum):
    OFFICIAL = "read in Batch's documentation"
    CLIENT = "seen in the code of a public client"
    INFERRED = "concluded from what clients send or stopped sending"
    DOUBTFUL = "one source, a contradiction, or a guess"


WELL_KNOWN = {Confidence.OFFICIAL, Confidence.CLIENT}


@dataclass(frozen=True)
class Send:
    body: Body
    platform: str | None
    """ios, android, web...; None when the app behind the key is not known."""


Check = Callable[[Send], str | None]
"""The text of the error, or None when there is nothing to say."""


@dataclass(frozen=True)
class Rule:
    confidence: Confidence
    error: ErrorKind
    check: Check


def refusal(body: Any, platform: str | None, lenient: bool = False) -> Reply | None:
    """The error that Batch would answer to this parsed body, or None if it would take it."""
    if not isinstance(body, dict):
        return MALFORMED_PARAMETER.reply("the body must be an object")
    send = Send(_without_nulls(body) if lenient else body, platform)
    for rule in WELL_KNOWN_RULES if lenient else RULES:
        if problem := rule.check(send):
            return rule.error.reply(problem)
    return None


def recipient_count(body: Body) -> int:
    return sum(len(ids) for ids in body["recipients"].values() if isinstance(ids, list))


# --- looking into a body

ABSENT = object()


def _at(body: Body, path: str) -> Any:
    """The value at `message.title`, say; ABSENT when it or its parent is not there."""
    value: Any = body
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return ABSENT
        value = value[key]
    return value


def _without_nulls(body: Body) -> Body:
    """Take null for absent, in the body and in the objects right below it."""
    return {
        key: {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value
        for key, value in body.items()
        if value is not None
    }


def _two_levels(body: Body) -> Iterator[tuple[str, Any]]:
    for key, value in body.items():
        yield key, value
        if isinstance(value, Mapping):
            yield from ((f"{key}.{child}", inner) for child, inner in value.items())


# --- checks that several fields share


def _required(path: str) -> Check:
    def check(send: Send) -> str | None:
        return f"`{path}` is missing" if _at(send.body, path) is ABSENT else None

    return check


def _optional(path: str, words: str, holds: Callable[[Any], bool]) -> Check:
    """Where the field is given, it must hold."""

    def check(send: Send) -> str | None:
        value = _at(send.body, path)
        return None if value is ABSENT or holds(value) else f"`{path}` must be {words}"

    return check


def _known_keys(path: str, known: Collection[str]) -> Check:
    def check(send: Send) -> str | None:
        keys = _at(send.body, path)
        unknown = [] if keys is ABSENT else [key for key in keys if key not in known]
        return f"`{path}.{unknown[0]}` is not valid child of `{path}`" if unknown else None

    return check


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_not_empty(value: Any) -> bool:
    return value not in ("", {})


# --- checks of one field each


def _only_known_fields(send: Send) -> str | None:
    unknown = [key for key in send.body if key not in FIELDS]
    return f"`{unknown[0]}` is not valid child of `transactional`" if unknown else None


def _no_nulls(send: Send) -> str | None:
    nulls = [path for path, value in _two_levels(send.body) if value is None]
    return f"`{nulls[0]}` is null: leave the key out" if nulls else None


def _recipients_are_lists(send: Send) -> str | None:
    return next(
        (
            f"`recipients.{name}` must be an array"
            for name, ids in send.body["recipients"].items()
            if not isinstance(ids, list)
        ),
        None,
    )


def _some_recipient(send: Send) -> str | None:
    return None if recipient_count(send.body) else "`recipients` names nobody"


def _not_too_many_recipients(send: Send) -> str | None:
    count = recipient_count(send.body)
    # The limit counts all lists together: Batch's own client adds them up before it sends.
    too_many = count > MOST_RECIPIENTS
    return f"`recipients` holds {count} IDs, over {MOST_RECIPIENTS}" if too_many else None


def _ids_hold(words: str, holds: Callable[[Any], bool]) -> Check:
    def check(send: Send) -> str | None:
        for name, ids in send.body["recipients"].items():
            if not all(map(holds, ids)):
                at = next(index for index, each in enumerate(ids) if not holds(each))
                return f"`recipients.{name}[{at}]` must be {words}"
        return None

    return check


def _is_background(send: Send) -> bool:
    return bool(_at(send.body, "push_type") == "background")


def _text_unless_background(path: str) -> Check:
    required = _required(path)

    def check(send: Send) -> str | None:
        return None if _is_background(send) else required(send)

    return check


def _background_is_silent(send: Send) -> str | None:
    shown = [key for key in ("message", "media") if key in send.body]
    return f"`{shown[0]}` with `push_type` background" if shown and _is_background(send) else None


def _one_destination(send: Send) -> str | None:
    both = "deeplink" in send.body and "landing" in send.body
    return "`deeplink` and `landing` exclude each other" if both else None


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _are_strings(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_string, value))


def _media_are(words: str, holds: Callable[[Any], bool]) -> Check:
    def check(send: Send) -> str | None:
        media = send.body.get("media", {})
        wrong = [kind for kind, value in media.items() if not holds(value)]
        return f"`media.{wrong[0]}` must be {words}" if wrong else None

    return check


def _is_https(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"https://[^\s/]\S*", value) is not None


def _no_icon_on_ios(send: Send) -> str | None:
    has_icon = _at(send.body, "media.icon") is not ABSENT
    return "`media.icon` is not for iOS" if has_icon and send.platform == "ios" else None


# --- the table: the first rule that is broken is the answer, so the order is from coarse to fine

OFFICIAL, CLIENT = Confidence.OFFICIAL, Confidence.CLIENT
INFERRED, DOUBTFUL = Confidence.INFERRED, Confidence.DOUBTFUL
MISSING, MALFORMED = MISSING_PARAMETER, MALFORMED_PARAMETER

RULES = (
    Rule(CLIENT, MALFORMED, _only_known_fields),
    Rule(DOUBTFUL, MALFORMED, _no_nulls),
    # group_id
    Rule(OFFICIAL, MISSING, _required("group_id")),
    Rule(OFFICIAL, MALFORMED, _optional("group_id", "a string", _is_string)),
    Rule(
        OFFICIAL,
        MALFORMED,
        _optional("group_id", "letters, digits, _ and -", lambda v: bool(GROUP_ID.fullmatch(v))),
    ),
    Rule(
        DOUBTFUL,
        MALFORMED,
        _optional(
            "group_id",
            f"at most {LONGEST_GROUP_ID} characters",
            lambda v: len(v) <= LONGEST_GROUP_ID,
        ),
    ),
    # recipients
    Rule(CLIENT, MISSING, _required("recipients")),
    Rule(CLIENT, MALFORMED, _optional("recipients", "an object", _is_object)),
    Rule(CLIENT, MALFORMED, _known_keys("recipients", RECIPIENT_LISTS)),
    Rule(CLIENT, MALFORMED, _recipients_are_lists),
    Rule(CLIENT, MISSING, _some_recipient),
    Rule(OFFICIAL, MALFORMED, _not_too_many_recipients),
    Rule(INFERRED, MALFORMED, _ids_hold("a string", _is_string)),
    Rule(DOUBTFUL, MALFORMED, _ids_hold("a string that is not empty", _is_text)),
    # message
    Rule(DOUBTFUL, MALFORMED, _background_is_silent),
    Rule(CLIENT, MISSING, _text_unless_background("message")),
    Rule(CLIENT, MALFORMED, _optional("message", "an object", _is_object)),
    Rule(CLIENT, MISSING, _text_unless_background("message.body")),
    Rule(CLIENT, MALFORMED, _optional("message.body", "a string", _is_string)),
    Rule(CLIENT, MALFORMED, _optional("message.title", "a string", _is_string)),
    Rule(DOUBTFUL, MALFORMED, _optional("message.body", "not empty", _is_not_empty)),
    Rule(INFERRED, MALFORMED, _optional("message.title", "left out if empty", _is_not_empty)),
    Rule(INFERRED, MALFORMED, _known_keys("message", MESSAGE_FIELDS)),
    # delivery
    Rule(
        OFFICIAL,
        MALFORMED,
        _optional("priority", "normal or high", lambda v: v in ("normal", "high")),
    ),
    Rule(OFFICIAL, MALFORMED, _optional("time_to_live", "an integer", _is_integer)),
    Rule(
        OFFICIAL,
        MALFORMED,
        _optional(
            "time_to_live",
            f"from 0 to {LONGEST_TIME_TO_LIVE} seconds",
            lambda v: 0 <= v <= LONGEST_TIME_TO_LIVE,
        ),
    ),
    # Batch's text gives 0 a meaning and forbids it in the same paragraph.
    Rule(DOUBTFUL, MALFORMED, _optional("time_to_live", "over 0", lambda v: v != 0)),
    Rule(CLIENT, MALFORMED, _optional("gcm_collapse_key", "an object", _is_object)),
    Rule(
        INFERRED,
        MALFORMED,
        _optional("gcm_collapse_key", "left out if empty", _is_not_empty),
    ),
    Rule(INFERRED, MALFORMED, _known_keys("gcm_collapse_key", COLLAPSE_FIELDS)),
    Rule(INFERRED, MALFORMED, _optional("gcm_collapse_key.enabled", "a boolean", _is_switch)),
    Rule(INFERRED, MALFORMED, _optional("gcm_collapse_key.key", "a non-empty string", _is_text)),
    Rule(
        DOUBTFUL,
        MALFORMED,
        _optional("push_type", "alert or background", lambda v: v in ("alert", "background")),
    ),
    Rule(OFFICIAL, MALFORMED, _optional("labels", "an array of strings", _are_strings)),
    Rule(
        OFFICIAL,
        MALFORMED,
        _optional("labels", f"at most {MOST_LABELS}", lambda v: len(v) <= MOST_LABELS),
    ),
    Rule(CLIENT, MALFORMED, _optional("sandbox", "a boolean", _is_switch)),
    # media
    Rule(CLIENT, MALFORMED, _optional("media", "an object", _is_object)),
    Rule(INFERRED, MALFORMED, _optional("media", "left out if empty", _is_not_empty)),
    Rule(CLIENT, MALFORMED, _known_keys("media", MEDIA_KINDS)),
    Rule(CLIENT, MALFORMED, _media_are("a string", _is_string)),
    Rule(DOUBTFUL, MALFORMED, _media_are("an https:// URL", _is_https)),
    Rule(INFERRED, MALFORMED, _no_icon_on_ios),
    Rule(DOUBTFUL, MALFORMED, _optional("skip_media_check", "a boolean", _is_switch)),
    # what a tap opens
    Rule(CLIENT, MALFORMED, _optional("deeplink", "a string", _is_string)),
    Rule(INFERRED, MALFORMED, _optional("deeplink", "left out if empty", _is_not_empty)),
    Rule(CLIENT, MALFORMED, _optional("landing", "an object", _is_object)),
    Rule(INFERRED, MALFORMED, _optional("landing", "left out if empty", _is_not_empty)),
    Rule(DOUBTFUL, MALFORMED, _one_destination),
    Rule(CLIENT, MALFORMED, _optional("custom_payload", "a string", _is_string)),
    Rule(
        DOUBTFUL,
        MALFORMED,
        _optional("custom_payload", "a JSON object in a string", _is_json_object),
    ),
    Rule(INFERRED, MALFORMED, _optional("wp_template", "a non-empty string", _is_text)),
)

WELL_KNOWN_RULES = tuple(rule for rule in RULES if rule.confidence in WELL_KNOWN)
