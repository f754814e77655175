"""The parts of every rule table: rules, how well each is known, and checks of single fields.

Of Batch's documentation, only copies of some pages could be read, some of them in part; the other
rules were derived from what its clients do. So each rule says where it was found and how well it is
known, and lenient mode skips those that are guesses.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from emulators.batch.replies import MALFORMED_PARAMETER, MISSING_PARAMETER, ErrorKind, Reply

COLLAPSE_FIELDS = frozenset({"enabled", "key"})
MAX_LABELS = 3
MAX_TIME_TO_LIVE = 28 * 24 * 3600
PUSH_TYPES = ("alert", "background")

Body = Mapping[str, Any]


class Confidence(Enum):
    OFFICIAL = "read in Batch's documentation"
    CLIENT = "seen in the code of a public client"
    INFERRED = "concluded from what clients send or stopped sending"
    DOUBTFUL = "one source, a contradiction, or a guess"


@dataclass(frozen=True)
class Source:
    """How well a rule is known, and the page or the client that it was found in."""

    confidence: Confidence
    place: str = ""

    def at(self, place: str) -> "Source":
        return Source(self.confidence, place)

    @property
    def is_well_known(self) -> bool:
        return self.confidence in (Confidence.OFFICIAL, Confidence.CLIENT)


OFFICIAL, CLIENT = Source(Confidence.OFFICIAL), Source(Confidence.CLIENT)
INFERRED, DOUBTFUL = Source(Confidence.INFERRED), Source(Confidence.DOUBTFUL)
MISSING, MALFORMED = MISSING_PARAMETER, MALFORMED_PARAMETER

# Sources of several rules. The copy of the page of parameters ends with gcm_collapse_key.
PARAMETERS = OFFICIAL.at("doc.batch.com/api/campaigns/parameters")
MODELS = CLIENT.at("what the public clients of five languages declare")
EMPTY = INFERRED.at("a client stopped sending empty values as defaults")
THIRD_PARTY = DOUBTFUL.at("one third-party tool, which is wrong elsewhere")
GUESS = DOUBTFUL.at("a guess")


@dataclass(frozen=True)
class Posted:
    body: Body
    platform: str | None
    """ios, android, web...; None if the app of the key is unknown."""


Check = Callable[[Posted], str | None]
"""Returns the text of the error, or None if there is none."""


@dataclass(frozen=True)
class Rule:
    source: Source
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
        is_asked = rule.source.is_well_known or not lenient
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


def only_known(known: Collection[str], problem: str = "is not known") -> Check:
    """At the top of the body."""

    def check(posted: Posted) -> str | None:
        unknown = [key for key in posted.body if key not in known]
        return f"`{unknown[0]}` {problem}" if unknown else None

    return check


def is_moment(value: Any, form: re.Pattern[str]) -> bool:
    """Whether it is a time of this form; `fromisoformat` also accepts other forms, and zones."""
    if not isinstance(value, str) or form.fullmatch(value) is None:
        return False
    try:
        datetime.fromisoformat(value)
    except ValueError:
        return False
    return True


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


# --- rules shared by transactional pushes and campaigns: that they are alike is an inference

COLLAPSE_KEY = INFERRED.at("the same four clients send no other form")

DELIVERY_RULES = (
    Rule(
        PARAMETERS,
        MALFORMED,
        optional("priority", "normal or high", lambda v: v in ("normal", "high")),
    ),
    Rule(PARAMETERS, MALFORMED, optional("time_to_live", "an integer", is_integer)),
    Rule(
        PARAMETERS,
        MALFORMED,
        optional(
            "time_to_live",
            f"from 0 to {MAX_TIME_TO_LIVE} seconds",
            lambda v: 0 <= v <= MAX_TIME_TO_LIVE,
        ),
    ),
    Rule(
        DOUBTFUL.at("the page of parameters gives 0 a meaning, and forbids it in the next line"),
        MALFORMED,
        optional("time_to_live", "over 0", lambda v: v != 0),
    ),
    Rule(PARAMETERS, MALFORMED, optional("gcm_collapse_key", "an object", is_object)),
    Rule(EMPTY, MALFORMED, optional("gcm_collapse_key", "left out if empty", is_not_empty)),
    Rule(COLLAPSE_KEY, MALFORMED, known_keys("gcm_collapse_key", COLLAPSE_FIELDS)),
    Rule(COLLAPSE_KEY, MALFORMED, optional("gcm_collapse_key.enabled", "a boolean", is_switch)),
    Rule(COLLAPSE_KEY, MALFORMED, optional("gcm_collapse_key.key", "a non-empty string", is_text)),
    Rule(
        DOUBTFUL.at("the page of parameters names background, a third-party tool alert"),
        MALFORMED,
        optional("push_type", " or ".join(PUSH_TYPES), lambda v: v in PUSH_TYPES),
    ),
    Rule(PARAMETERS, MALFORMED, optional("labels", "an array of strings", are_strings)),
    Rule(
        PARAMETERS,
        MALFORMED,
        optional("labels", f"at most {MAX_LABELS}", lambda v: len(v) <= MAX_LABELS),
    ),
)
