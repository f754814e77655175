"""What Batch refuses in the body of a campaign, as a table of small checks.

Keys without a rule are accepted and stored: campaigns can have recurrence, A/B tests, media, deep
links, custom payloads and landings, but their field names are not public.
"""

import re
from datetime import datetime
from typing import Any

from emulators.batch.checks import (
    CLIENT,
    DELIVERY_RULES,
    DOUBTFUL,
    MALFORMED,
    MISSING,
    OFFICIAL,
    Check,
    Posted,
    Rule,
    are_strings,
    first_refusal,
    is_not_empty,
    is_object,
    is_string,
    is_switch,
    no_nulls,
    optional,
    required,
)
from emulators.batch.replies import Reply

NOW = "now"
TIMES = ("push_time", "local_push_time")
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")

MIN_NAME = 3
SEGMENTS = frozenset({"NEW", "ONE_TIME", "ENGAGED", "DORMANT", "IMPORTED"})


def campaign_refusal(body: Any, lenient: bool = False) -> Reply | None:
    """Batch's error for this parsed body, or None if Batch would accept it."""
    return first_refusal(CAMPAIGN_RULES, body, None, lenient)


# --- checks of one field each


def _some_time(posted: Posted) -> str | None:
    given = any(name in posted.body for name in TIMES)
    return None if given else "`push_time` is missing, and so is `local_push_time`"


def _one_time(posted: Posted) -> str | None:
    both = all(name in posted.body for name in TIMES)
    return "`push_time` and `local_push_time` exclude each other" if both else None


def _is_time(value: Any) -> bool:
    if value == NOW:
        return True
    # fromisoformat also accepts other formats, and zones.
    if not isinstance(value, str) or TIME.fullmatch(value) is None:
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= MIN_NAME


def _are_objects(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_object, value))


def _are_segments(value: Any) -> bool:
    return set(value) <= SEGMENTS


def _in_each_message(check: Check) -> Check:
    def check_each(posted: Posted) -> str | None:
        for index, message in enumerate(posted.body["messages"]):
            if problem := check(Posted(message, posted.platform)):
                return f"in `messages[{index}]`, {problem}"
        return None

    return check_each


# --- the table: the first broken rule is the answer, so the order is from coarse to fine

CAMPAIGN_RULES = (
    Rule(DOUBTFUL, MALFORMED, no_nulls),
    Rule(OFFICIAL, MISSING, required("name")),
    Rule(OFFICIAL, MALFORMED, optional("name", f"at least {MIN_NAME} characters", _is_name)),
    Rule(OFFICIAL, MISSING, required("live")),
    Rule(OFFICIAL, MALFORMED, optional("live", "a boolean", is_switch)),
    # when
    Rule(CLIENT, MISSING, _some_time),
    Rule(CLIENT, MALFORMED, _one_time),
    Rule(OFFICIAL, MALFORMED, optional("push_time", "now or yyyy-MM-ddTHH:mm:ss", _is_time)),
    Rule(CLIENT, MALFORMED, optional("local_push_time", "now or yyyy-MM-ddTHH:mm:ss", _is_time)),
    # what
    Rule(OFFICIAL, MISSING, required("messages")),
    Rule(OFFICIAL, MALFORMED, optional("messages", "an array of objects", _are_objects)),
    Rule(OFFICIAL, MISSING, optional("messages", "one or more", bool)),
    Rule(OFFICIAL, MISSING, _in_each_message(required("body"))),
    Rule(CLIENT, MALFORMED, _in_each_message(optional("body", "a string", is_string))),
    Rule(CLIENT, MALFORMED, _in_each_message(optional("title", "a string", is_string))),
    Rule(CLIENT, MALFORMED, _in_each_message(optional("language", "a string", is_string))),
    Rule(DOUBTFUL, MALFORMED, _in_each_message(optional("body", "not empty", is_not_empty))),
    # One client requires a language, but Batch has shown messages without one.
    Rule(DOUBTFUL, MISSING, _in_each_message(required("language"))),
    # to whom
    Rule(OFFICIAL, MALFORMED, optional("targeting", "an object", is_object)),
    Rule(OFFICIAL, MALFORMED, optional("targeting.segments", "an array of strings", are_strings)),
    Rule(
        CLIENT,
        MALFORMED,
        optional("targeting.segments", f"among {', '.join(sorted(SEGMENTS))}", _are_segments),
    ),
    Rule(CLIENT, MALFORMED, optional("targeting.query", "an object", is_object)),
    *DELIVERY_RULES,
)
