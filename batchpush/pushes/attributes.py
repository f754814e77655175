"""Attributes and tags, as Batch's Custom Data and Trigger Events APIs take them. Pure.

The limits are Batch's own. How it counts an emoji is known from a customer's tests only.
"""

import math
import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from batchpush.documents import Reference, as_list, is_blank, is_unicode, kind_of
from batchpush.errors import ConfigurationError, InvalidPush

MAX_TEXT = 64  # characters of a value or a tag, of which an emoji is two
MAX_INTEGER = 2**63 - 1

NAME = re.compile(r"[a-z0-9_]{1,30}")
ATTRIBUTE = re.compile(r"u\.[a-z0-9_]{1,30}|date\(u\.[a-z0-9_]{1,30}\)")
TAGS = re.compile(r"ut\.[a-z0-9_]{1,30}")
EXPECTED = "u.NAME, date(u.NAME) or ut.NAME, where NAME is at most 30 of a-z, 0-9 and _"


def check_names(names: Iterable[str]) -> None:
    """Raise `ConfigurationError` for a name that Batch does not take, or that comes twice."""
    seen: set[str] = set()
    for name in names:
        if not (ATTRIBUTE.fullmatch(name) or TAGS.fullmatch(name)):
            raise ConfigurationError(f"attribute {name}: expected {EXPECTED}")
        if name in seen:
            raise ConfigurationError(f"attribute {name}: has two sources")
        seen.add(name)


def size(text: str) -> int:
    """The length of a text for Batch."""
    return sum(2 if _is_emoji(character) else 1 for character in text)


def _is_emoji(character: str) -> bool:
    """Errs on the side of an emoji: a text that is left out is better than one that is refused."""
    return ord(character) > 0xFFFF or unicodedata.category(character) == "So"


def attribute(name: str, value: object, tell: Callable[[str], None]) -> Any:
    """The value of an attribute as Batch takes it, or None if there is none.

    `tell` gets the problem of a value, or of a tag, that is left out.
    """
    try:
        if value is None:
            return None
        if TAGS.fullmatch(name):
            return _tags(name, value, tell)
        return _date(name, value) if name.startswith("date(") else plain(name, value)
    except InvalidPush as error:
        tell(error.problem)
        return None


def _date(name: str, value: object) -> str:
    if not isinstance(value, datetime):
        raise InvalidPush(name, f"must be a time, not {kind_of(value)}")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds")


def plain(name: str, value: object) -> str | int | float | bool | None:
    """A text, a number or a boolean; None for a blank text."""
    if isinstance(value, str) and not isinstance(value, Reference):
        return text(name, value)
    if isinstance(value, int):  # a boolean, too
        if abs(value) > MAX_INTEGER:
            raise InvalidPush(name, "is too large a number")
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise InvalidPush(name, f"must be a text, a number or true or false, not {kind_of(value)}")


def text(name: str, value: str, limit: int = MAX_TEXT) -> str | None:
    """The text if it is short enough; None for a blank one."""
    if not is_unicode(value):
        raise InvalidPush(name, "is not valid Unicode")
    if is_blank(value):
        return None
    if size(value) > limit:
        raise InvalidPush(name, f"is longer than {limit} characters, of which an emoji is two")
    return value


def _tags(name: str, value: object, tell: Callable[[str], None]) -> list[str] | None:
    """The tags in order, each once; None if there is none, since Batch refuses an empty list."""
    items = as_list(value)
    if items is None:
        raise InvalidPush(name, f"must be a list of texts, not {kind_of(value)}")
    tags: dict[str, None] = {}
    for item in items:
        if item is None:
            continue  # a hole, in the Realtime Database
        try:
            if tag := tag_of(name, item):
                tags[tag] = None
        except InvalidPush as error:
            tell(f"holds a tag that {error.problem}")
    return list(tags) or None


def tag_of(name: str, value: object) -> str | None:
    if not isinstance(value, str) or isinstance(value, Reference):
        raise InvalidPush(name, f"must be a text, not {kind_of(value)}")
    return text(name, value)
