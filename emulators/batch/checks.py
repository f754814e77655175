"""The parts of every rule table: rules, how well each is known, and checks of single fields.

Batch publishes only some of its rules; the others were derived from what its clients do. So each
rule says how well it is known, and lenient mode skips those that are guesses.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from emulators.batch.replies import MALFORMED_PARAMETER, MISSING_PARAMETER, ErrorKind, Reply

COLLAPSE_FIELDS = frozenset({"enabled", "key"})
MAX_LABELS = 3
MAX_TIME_TO_LIVE = 28 * 24 * 3600

Body = Mapping[str, Any]


class Confidence(Enum):
    OFFICIAL = "read in Batch's documentation"
    CLIENT = "seen in the code of a public client"
    INFERRED = "concluded from what clients send or stopped sending"
    DOUBTFUL = "one source, a contradiction, or a guess"


OFFICIAL, CLIENT = Confidence.OFFICIAL, Confidence.CLIENT
INFERRED, DOUBTFUL = Confidence.INFERRED, Confidence.DOUBTFUL
MISSING, MALFORMED = MISSING_PARAMETER, MALFORMED_PARAMETER
WELL_KNOWN = {OFFICIAL, CLIENT}


@dataclass(frozen=True)
class Posted:
    body: Body
    platform: str | None
    """ios, android, web...; None if the app of the key is unknown."""


Check = Callable[[Posted], str | None]
"""Returns the text of the error, or None if there is none."""


@dataclass(frozen=True)
class Rule:
    confidence: Confidence
    error: ErrorKind
    check: Check


def first_refusal(
    rules: Iterable[Rule], body: Any, platform: str | None, lenient: bool
) -> Reply | None:
    """The error of the first rule that the parsed body breaks, or None if it breaks none."""
    if not isinstance(body, dict):
        return MALFORMED.reply("the body must be an object")
    posted = Posted(without_nulls(body) if lenient else body, platform)
    for rule in rules:
        is_asked = rule.confidence in WELL_KNOWN or not lenient
        if is_asked and (problem := rule.check(posted)):
            return rule.error.reply(problem)
    return None


# --- looking into a body

ABSENT = object()


def value_at(body: Body, path: str) -> Any:
    """The value at a path such as `message.title`; ABSENT if it or a parent is missing."""
    value: Any = body
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return ABSENT
        value = value[key]
    return value


def without_nulls(body: Body) -> dict[str, Any]:
    """Remove nulls from the body and from the objects directly below it."""
    return {
        key: {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value
        for key, value in body.items()
        if value is not None
    }


def two_levels(body: Body) -> Iterator[tuple[str, Any]]:
    for key, value in body.items():
        yield key, value
        if isinstance(value, Mapping):
            yield from ((f"{key}.{child}", inner) for child, inner in value.items())


# --- checks shared by several fields


def required(path: str) -> Check:
    def check(posted: Posted) -> str | None:
        return f"`{path}` is missing" if value_at(posted.body, path) is ABSENT else None

    return check


def optional(path: str, words: str, holds: Callable[[Any], bool]) -> Check:
    """If the field is present, it must pass."""

    def check(posted: Posted) -> str | None:
        value = value_at(posted.body, path)
        return None if value is ABSENT or holds(value) else f"`{path}` must be {words}"

    return check


def known_keys(path: str, known: Collection[str]) -> Check:
    def check(posted: Posted) -> str | None:
        keys = value_at(posted.body, path)
        unknown = [] if keys is ABSENT else [key for key in keys if key not in known]
        return f"`{path}.{unknown[0]}` is not valid child of `{path}`" if unknown else None

    return check


def no_nulls(posted: Posted) -> str | None:
    nulls = [path for path, value in two_levels(posted.body) if value is None]
    return f"`{nulls[0]}` is null: leave the key out" if nulls else None


def is_string(value: Any) -> bool:
    return isinstance(value, str)


def is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_not_empty(value: Any) -> bool:
    return value not in ("", {})


def are_strings(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_string, value))


# --- rules shared by transactional pushes and campaigns

DELIVERY_RULES = (
    Rule(
        OFFICIAL,
        MALFORMED,
        optional("priority", "normal or high", lambda v: v in ("normal", "high")),
    ),
    Rule(OFFICIAL, MALFORMED, optional("time_to_live", "an integer", is_integer)),
    Rule(
        OFFICIAL,
        MALFORMED,
        optional(
            "time_to_live",
            f"from 0 to {MAX_TIME_TO_LIVE} seconds",
            lambda v: 0 <= v <= MAX_TIME_TO_LIVE,
        ),
    ),
    # Batch's text gives 0 a meaning and forbids it in the same paragraph.
    Rule(DOUBTFUL, MALFORMED, optional("time_to_live", "over 0", lambda v: v != 0)),
    Rule(CLIENT, MALFORMED, optional("gcm_collapse_key", "an object", is_object)),
    Rule(
        INFERRED,
        MALFORMED,
        optional("gcm_collapse_key", "left out if empty", is_not_empty),
    ),
    Rule(INFERRED, MALFORMED, known_keys("gcm_collapse_key", COLLAPSE_FIELDS)),
    Rule(INFERRED, MALFORMED, optional("gcm_collapse_key.enabled", "a boolean", is_switch)),
    Rule(INFERRED, MALFORMED, optional("gcm_collapse_key.key", "a non-empty string", is_text)),
    Rule(
        DOUBTFUL,
        MALFORMED,
        optional("push_type", "alert or background", lambda v: v in ("alert", "background")),
    ),
    Rule(OFFICIAL, MALFORMED, optional("labels", "an array of strings", are_strings)),
    Rule(
        OFFICIAL,
        MALFORMED,
        optional("labels", f"at most {MAX_LABELS}", lambda v: len(v) <= MAX_LABELS),
    ),
)
