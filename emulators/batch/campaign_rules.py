"""What Batch refuses in the body of a campaign, as a table of small checks.

Batch documents the fields at https://doc.batch.com/developer/api/mep/campaigns/parameters, of which
no whole copy could be read. Strict mode refuses a field that is not known here; lenient mode
accepts and stores it.
"""

import re
from typing import Any

from emulators.batch.checks import (
    CLIENT,
    DELIVERY_RULES,
    DOUBTFUL,
    GUESS,
    INFERRED,
    MALFORMED,
    MISSING,
    OFFICIAL,
    PARAMETERS,
    Check,
    Posted,
    Rule,
    are_strings,
    first_refusal,
    is_moment,
    is_not_empty,
    is_object,
    is_string,
    is_switch,
    no_nulls,
    only_known,
    optional,
    required,
)
from emulators.batch.replies import Reply

NOW = "now"
TIMES = ("push_time", "local_push_time")
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}")

MIN_NAME = 3

DOCUMENTED = {"name", "live", "labels", "priority", "time_to_live", "gcm_collapse_key"}
DOCUMENTED |= {"push_type", "push_time", "local_push_time", "messages", "targeting"}
# Campaigns have these, says Batch's guide for a CMS; unverified is whether they stand here or in
# each of the `messages`, and whether their names are those of a transactional push.
UNPLACED = {"media", "deeplink", "landing", "custom_payload"}
# The emulator's own name: recurring campaigns exist, and Batch's name for it was not found.
RECURRENCE = "recurrence"
FIELDS = frozenset(DOCUMENTED | UNPLACED | {RECURRENCE})

CREATE = OFFICIAL.at("doc.batch.com/api/campaigns/create")
VIEW = OFFICIAL.at("doc.batch.com/api/campaigns/get-campaign")
NODE = CLIENT.at("the Node client's schema")

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


def _is_push_time(value: Any) -> bool:
    return value == NOW or _is_time(value)


def _is_time(value: Any) -> bool:
    return is_moment(value, TIME)


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
    Rule(
        INFERRED.at("a transactional push with an unknown field was refused"),
        MALFORMED,
        only_known(FIELDS, "is not valid child of `campaign`"),
    ),
    Rule(GUESS, MALFORMED, no_nulls),
    Rule(PARAMETERS, MISSING, required("name")),
    Rule(PARAMETERS, MALFORMED, optional("name", f"at least {MIN_NAME} characters", _is_name)),
    Rule(PARAMETERS, MISSING, required("live")),
    Rule(PARAMETERS, MALFORMED, optional("live", "a boolean", is_switch)),
    # when
    Rule(NODE, MISSING, _some_time),
    Rule(NODE, MALFORMED, _one_time),
    Rule(CREATE, MALFORMED, optional("push_time", "now or yyyy-MM-ddTHH:mm:ss", _is_push_time)),
    # The page of in-app campaigns has `now` for the time in GMT only.
    Rule(NODE, MALFORMED, optional("local_push_time", "yyyy-MM-ddTHH:mm:ss", _is_time)),
    # what
    Rule(CREATE, MISSING, required("messages")),
    Rule(CREATE, MALFORMED, optional("messages", "an array of objects", _are_objects)),
    Rule(CREATE, MISSING, optional("messages", "one or more", bool)),
    Rule(CREATE, MISSING, _in_each_message(required("body"))),
    Rule(NODE, MALFORMED, _in_each_message(optional("body", "a string", is_string))),
    Rule(NODE, MALFORMED, _in_each_message(optional("title", "a string", is_string))),
    Rule(NODE, MALFORMED, _in_each_message(optional("language", "a string", is_string))),
    Rule(GUESS, MALFORMED, _in_each_message(optional("body", "not empty", is_not_empty))),
    Rule(
        DOUBTFUL.at("one client requires it, and Batch has shown messages without"),
        MISSING,
        _in_each_message(required("language")),
    ),
    # to whom
    Rule(VIEW, MALFORMED, optional("targeting", "an object", is_object)),
    Rule(VIEW, MALFORMED, optional("targeting.segments", "an array of strings", are_strings)),
    Rule(
        NODE,
        MALFORMED,
        optional("targeting.segments", f"among {', '.join(sorted(SEGMENTS))}", _are_segments),
    ),
    Rule(
        CLIENT.at("an Android app"), MALFORMED, optional("targeting.query", "an object", is_object)
    ),
    *DELIVERY_RULES,
)
