"""Readers of a document's fields, beside those that `Document` has.

An absent field is None; one that is not what it should be is named by `InvalidDocument`.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from batchpush import EPOCH, INVISIBLE, Change, Document, InvalidDocument, is_blank, log

Value = TypeVar("Value")

OURS = ("reads", "quiet", "person")  # fields of recipients that are none of Batch's
MAX_AMOUNT = 10**15  # an amount beyond it is a mistake, and has no digits left behind its point
MAX_NAME = 1_000  # characters of a name that are looked at; a title shows some tens of them
MAX_ZONE = 64  # characters
HISTORY = timedelta(days=2)  # a date alone, of the day, may be one and a half days old
EXAMPLE = "2030-06-01T11:05:00Z"


def needed(read: Callable[[Document, str], Value | None], document: Document, field: str) -> Value:
    """What a reader finds, which has to be there: `needed(moment, flight, "departs_at")`."""
    value = read(document, field)
    if value is None:
        raise document.invalid(field, "is missing")
    return value


def status(document: Document) -> str:
    """The document's `status`; empty where there is none."""
    return document.string("status", default="")


def flag(document: Document, field: str) -> bool:
    """True or false, which is what an absent field means."""
    value = document.get(field)
    if value is not None and not isinstance(value, bool):
        raise document.invalid(field, "must be true or false")
    return bool(value)


def number(document: Document, field: str) -> int | float | None:
    value = document.get(field)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise document.invalid(field, "must be a number")
    if not abs(value) < MAX_AMOUNT:  # nor is "not a number" less than anything
        raise document.invalid(field, "is not an amount")
    return value


def label(document: Document, field: str) -> str | None:
    """What people call a thing: a text, such as a flight's `AF1234`, or a whole number.

    JavaScript and the Realtime Database know no whole numbers: theirs may come as 1042.0.
    """
    value: Any = document.get(field)
    is_whole = type(value) is int or (type(value) is float and value.is_integer())
    if is_whole and abs(value) < MAX_AMOUNT:
        return str(int(value))
    return one_line(document.string(field, default="")) or None


def one_line(text: str) -> str:
    """A name or a label as a title shows it; empty where a reader would see nothing of it.

    Control characters, changes of the direction of writing and zero-width characters go; white
    space of any kind and length becomes one space. Where an emoji or a script is made with joiners
    and selectors, they stay.
    """
    text = text[:MAX_NAME]
    if UNSEEN.search(text):
        text = _unseen_by_context().sub(lambda found: found[1] or "", text)
    return "" if is_blank(text) else " ".join(text.split())


UNSEEN = re.compile(rf"(?!\s)[{INVISIBLE}]")


@functools.cache
def _unseen_by_context() -> Any:
    """What goes, and in its group what stays."""
    import regex  # only names with such characters pay for it

    cursive = "Arab|Syrc|Mong|Mand|Mani|Phlp|Phag|Nkoo|Adlm|Rohg|Sogd"
    indic = "Deva|Beng|Guru|Gujr|Orya|Taml|Telu|Knda|Mlym|Sinh|Tibt|Mymr|Khmr|Limb|Cakm"
    joined = "".join(rf"\p{{scx={script}}}" for script in f"{cursive}|{indic}".split("|"))
    stays = (
        r"(?<=[\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f])\u200d"
        r"(?=\p{Extended_Pictographic})",  # a family of emoji
        r"(?<=(?![0-9#*])\p{Emoji})[\ufe0e\ufe0f]",  # an emoji in colour or not
        r"(?<=[0-9#*])\ufe0f(?=\u20e3)",  # a key
        r"(?<=\U0001f3f4)[\U000e0061-\U000e007a]{3,6}\U000e007f",  # the flag of a region
        rf"(?<=(?=[\p{{L}}\p{{M}}])[{joined}])[\u200c\u200d]",
        r"(?<=\p{Mong})[\u180b-\u180f]",
        r"(?<=\p{Han})[\ufe00-\ufe02\U000e0100-\U000e01ef]",  # the form of a character in a name
    )
    return regex.compile(rf"({'|'.join(stays)})|(?!\s)[{INVISIBLE}--\x1c-\x1f]", regex.VERSION1)


def moment(document: Document, field: str) -> datetime | None:
    """A Firestore timestamp, also as a map; ISO 8601 with an offset; or a number since 1970.

    A number is seconds or milliseconds, whichever of them makes it a time of 2001 to 2286.
    """
    value = document.get(field)
    if value is None:
        return None
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value.strip())
        elif type(value) in (int, float):
            value = _since_1970(value)
            if value is None:
                raise document.invalid(
                    field, "is not a date and time: a number must be seconds or milliseconds"
                )
        elif isinstance(value, Mapping):
            value = _of_a_map(value)
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise document.invalid(
                field, f"must be a date and time with its zone, such as {EXAMPLE}"
            )
        time = value.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise document.invalid(field, f"is not a date and time such as {EXAMPLE}") from None
    if not 1 < time.year < 9999:  # in some time zone its year would have no number
        raise document.invalid(field, "is out of any calendar")
    return time


def _since_1970(number: float) -> datetime | None:
    if 10**9 <= number < 10**10:
        return EPOCH + timedelta(seconds=number)
    if 10**12 <= number < 10**13:
        return EPOCH + timedelta(milliseconds=number)
    return None


def _of_a_map(value: Mapping[str, Any]) -> datetime | None:
    """A timestamp as the Admin SDKs and the clients make a map of it."""
    for names in (("_seconds", "_nanoseconds"), ("seconds", "nanoseconds"), ("seconds", "nanos")):
        if value.keys() - {"type"} == set(names):  # newer clients say what it is, too
            seconds, nanoseconds = (int(value[name]) for name in names)
            return EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
    return None


def is_history(change: Change, time: datetime | None, after: timedelta = HISTORY) -> bool:
    """Whether a document's own time is so long ago that nobody wants to be told any more.

    An import of an old database writes many of them: they leave no record.
    """
    is_old = time is not None and time + after < change.time
    if is_old:
        log("DEBUG", "document.old")
    return is_old


def understood(
    read: Callable[[Document, str], Value], document: Document, field: str
) -> Value | None:
    """What a reader finds; None also for what it refuses, in a field that may be the app's own."""
    try:
        return read(document, field)
    except InvalidDocument:
        return None


def time_zone(document: Document, field: str) -> ZoneInfo | None:
    """A time zone by its IANA name, such as `Europe/Paris`."""
    name = document.get(field)
    zone = zone_named(name)
    if name is not None and zone is None:
        raise document.invalid(field, "is not the name of a time zone")
    return zone


def zone_named(name: object) -> ZoneInfo | None:
    """The time zone, however its name is cased; None where there is none of that name."""
    return _zone(name.strip()) if isinstance(name, str) and len(name) <= MAX_ZONE else None


@functools.lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; not a path; a folder, such as `America`
        known = _zones().get(name.replace(" ", "_").casefold())
        return ZoneInfo(known) if known else None


@functools.cache
def _zones() -> dict[str, str]:
    """All names of time zones, by how they are compared."""
    return {name.casefold(): name for name in available_timezones()}


def currency(document: Document, field: str) -> str | None:
    """A currency by its ISO 4217 code, such as `EUR`."""
    code = document.string(field, default="").strip()
    if not code:
        return None
    from babel.numbers import normalize_currency  # only amounts pay for it

    known = normalize_currency(code)
    if known is None:
        raise document.invalid(field, "is not the code of a currency")
    return known


def part(document: Document, field: str, kind: type) -> Any:
    """A map as the value of Batch's that it stands for, such as a `Media`."""
    value = document.get(field)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise document.invalid(field, "must be a map")
    known = {each.name: each.default for each in fields(kind) if each.name not in OURS}
    for key in value.keys() - known.keys():
        raise document.invalid(f"{field}.{key}", f"is not one of {', '.join(known)}")
    for key, default in known.items():
        if default is MISSING and key not in value:
            raise document.invalid(f"{field}.{key}", "is missing")
    return kind(**value)
