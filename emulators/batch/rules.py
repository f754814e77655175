"""What Batch refuses in the body of a transactional send, as a table of small checks."""

import json
import re
from collections.abc import Callable
from typing import Any

from emulators.batch.checks import (
    ABSENT,
    CLIENT,
    DELIVERY_RULES,
    EMPTY,
    GUESS,
    INFERRED,
    MALFORMED,
    MISSING,
    MODELS,
    OFFICIAL,
    THIRD_PARTY,
    Body,
    Check,
    Posted,
    Rule,
    first_refusal,
    is_not_empty,
    is_object,
    is_string,
    is_switch,
    is_text,
    known_keys,
    no_nulls,
    optional,
    required,
    value_at,
)
from emulators.batch.replies import Reply

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

GROUP_ID = re.compile(r"[A-Za-z0-9_-]+")
MAX_GROUP_ID = 128
MAX_RECIPIENTS = 10_000

# The copy of this page ends after group_id.
SEND = OFFICIAL.at("doc.batch.com/api/transactional/send")


def refusal(body: Any, platform: str | None, lenient: bool = False) -> Reply | None:
    """Batch's error for this parsed body, or None if Batch would accept it."""
    return first_refusal(RULES, body, platform, lenient)


def recipient_count(body: Body) -> int:
    return sum(len(ids) for ids in body["recipients"].values() if isinstance(ids, list))


# --- checks of one field each


def _only_known_fields(posted: Posted) -> str | None:
    unknown = [key for key in posted.body if key not in FIELDS]
    return f"`{unknown[0]}` is not valid child of `transactional`" if unknown else None


def _recipients_are_lists(posted: Posted) -> str | None:
    return next(
        (
            f"`recipients.{name}` must be an array"
            for name, ids in posted.body["recipients"].items()
            if not isinstance(ids, list)
        ),
        None,
    )


def _some_recipient(posted: Posted) -> str | None:
    return None if recipient_count(posted.body) else "`recipients` names nobody"


def _not_too_many_recipients(posted: Posted) -> str | None:
    count = recipient_count(posted.body)
    # The limit is for all lists together: Batch's own client adds them up before sending.
    too_many = count > MAX_RECIPIENTS
    return f"`recipients` holds {count} IDs, over {MAX_RECIPIENTS}" if too_many else None


def _ids_hold(words: str, holds: Callable[[Any], bool]) -> Check:
    def check(posted: Posted) -> str | None:
        for name, ids in posted.body["recipients"].items():
            if not all(map(holds, ids)):
                at = next(index for index, each in enumerate(ids) if not holds(each))
                return f"`recipients.{name}[{at}]` must be {words}"
        return None

    return check


def _is_background(posted: Posted) -> bool:
    return bool(value_at(posted.body, "push_type") == "background")


def _text_unless_background(path: str) -> Check:
    needed = required(path)

    def check(posted: Posted) -> str | None:
        return None if _is_background(posted) else needed(posted)

    return check


def _background_is_silent(posted: Posted) -> str | None:
    shown = [key for key in ("message", "media") if key in posted.body]
    return f"`{shown[0]}` with `push_type` background" if shown and _is_background(posted) else None


def _one_destination(posted: Posted) -> str | None:
    both = "deeplink" in posted.body and "landing" in posted.body
    return "`deeplink` and `landing` exclude each other" if both else None


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _media_are(words: str, holds: Callable[[Any], bool]) -> Check:
    def check(posted: Posted) -> str | None:
        media = posted.body.get("media", {})
        invalid = [kind for kind, value in media.items() if not holds(value)]
        return f"`media.{invalid[0]}` must be {words}" if invalid else None

    return check


def _is_https(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"https://[^\s/]\S*", value) is not None


def _no_icon_on_ios(posted: Posted) -> str | None:
    has_icon = value_at(posted.body, "media.icon") is not ABSENT
    return "`media.icon` is not for iOS" if has_icon and posted.platform == "ios" else None


# --- the table: the first broken rule is the answer, so the order is from coarse to fine

RULES = (
    Rule(CLIENT.at("an error of Batch that a client quotes"), MALFORMED, _only_known_fields),
    Rule(GUESS, MALFORMED, no_nulls),
    # group_id
    Rule(SEND, MISSING, required("group_id")),
    Rule(SEND, MALFORMED, optional("group_id", "a string", is_string)),
    Rule(
        SEND,
        MALFORMED,
        optional("group_id", "letters, digits, _ and -", lambda v: bool(GROUP_ID.fullmatch(v))),
    ),
    Rule(
        THIRD_PARTY,
        MALFORMED,
        optional(
            "group_id",
            f"at most {MAX_GROUP_ID} characters",
            lambda v: len(v) <= MAX_GROUP_ID,
        ),
    ),
    # recipients
    Rule(MODELS, MISSING, required("recipients")),
    Rule(MODELS, MALFORMED, optional("recipients", "an object", is_object)),
    Rule(MODELS, MALFORMED, known_keys("recipients", RECIPIENT_LISTS)),
    Rule(MODELS, MALFORMED, _recipients_are_lists),
    Rule(CLIENT.at("Batch's own sample refuses it before sending"), MISSING, _some_recipient),
    Rule(OFFICIAL.at("the help center"), MALFORMED, _not_too_many_recipients),
    Rule(INFERRED.at("a client's fix"), MALFORMED, _ids_hold("a string", is_string)),
    Rule(GUESS, MALFORMED, _ids_hold("a non-empty string", is_text)),
    # message
    Rule(THIRD_PARTY, MALFORMED, _background_is_silent),
    Rule(MODELS, MISSING, _text_unless_background("message")),
    Rule(MODELS, MALFORMED, optional("message", "an object", is_object)),
    Rule(MODELS, MISSING, _text_unless_background("message.body")),
    Rule(MODELS, MALFORMED, optional("message.body", "a string", is_string)),
    Rule(MODELS, MALFORMED, optional("message.title", "a string", is_string)),
    Rule(GUESS, MALFORMED, optional("message.body", "not empty", is_not_empty)),
    Rule(EMPTY, MALFORMED, optional("message.title", "left out if empty", is_not_empty)),
    Rule(INFERRED.at("no client sends another"), MALFORMED, known_keys("message", MESSAGE_FIELDS)),
    # delivery
    *DELIVERY_RULES,
    Rule(CLIENT.at("Batch's own sample"), MALFORMED, optional("sandbox", "a boolean", is_switch)),
    # media
    Rule(MODELS, MALFORMED, optional("media", "an object", is_object)),
    Rule(EMPTY, MALFORMED, optional("media", "left out if empty", is_not_empty)),
    Rule(MODELS, MALFORMED, known_keys("media", MEDIA_KINDS)),
    Rule(MODELS, MALFORMED, _media_are("a string", is_string)),
    Rule(THIRD_PARTY, MALFORMED, _media_are("an https:// URL", _is_https)),
    Rule(INFERRED.at("a client strips it"), MALFORMED, _no_icon_on_ios),
    Rule(THIRD_PARTY, MALFORMED, optional("skip_media_check", "a boolean", is_switch)),
    # what a tap opens
    Rule(MODELS, MALFORMED, optional("deeplink", "a string", is_string)),
    Rule(EMPTY, MALFORMED, optional("deeplink", "left out if empty", is_not_empty)),
    Rule(MODELS, MALFORMED, optional("landing", "an object", is_object)),
    Rule(EMPTY, MALFORMED, optional("landing", "left out if empty", is_not_empty)),
    Rule(THIRD_PARTY, MALFORMED, _one_destination),
    Rule(
        CLIENT.at("Batch's own sample"),
        MALFORMED,
        optional("custom_payload", "a string", is_string),
    ),
    Rule(
        GUESS,
        MALFORMED,
        optional("custom_payload", "a JSON object in a string", _is_json_object),
    ),
    Rule(EMPTY, MALFORMED, optional("wp_template", "a non-empty string", is_text)),
)
