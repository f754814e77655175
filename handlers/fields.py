"""Readers of a document's fields, in addition to those of `Document`.

An absent field is None; an invalid one raises `InvalidDocument`, which names it.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from batchpush import (
    EPOCH,
    INVISIBLE,
    Change,
    Document,
    InvalidDocument,
    Schedule,
    is_blank,
    log,
)

Value = TypeVar("Value")

# Fields of recipients and messages that Batch does not have.
OURS = ("reads", "quiet", "person", "send_at", "digest", "deeplink", "media")
MAX_LABEL = 10**21  # from here on, JavaScript writes numbers with an exponent
MAX_AMOUNT = 10**15  # a larger amount is a mistake; a float would have no decimals left
MAX_NAME = 1_000  # characters of a name to look at; a title shows a few dozen
MAX_ZONE = 64  # characters
MAX_NAMES = 20  # of fields that are ignored, and characters of each
MAX_NAME_OF_FIELD = 100
HISTORY = timedelta(days=2)  # a date without a time may be one and a half days old on its own day
EXAMPLE = "2030-06-01T11:05:00Z"
LOCAL_EXAMPLE = "2030-06-01T18:30:00"
DATE_AND_TIME = re.compile(r"\d{4}-?\d\d-?\d\d[T ]\d\d", re.ASCII | re.IGNORECASE)
DIGITS = re.compile(r"-?[0-9]{1,20}")
CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(:[0-5][0-9](\.[0-9]+)?)?")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
A_SCHEDULE = 'must be a time of day such as "18:00", or one of the week such as "Friday 18:00"'


def needed(read: Callable[[Document, str], Value | None], document: Document, field: str) -> Value:
    """The value of a required field: `needed(moment, flight, "departs_at")`."""
    value = read(document, field)
    if value is None:
        raise document.invalid(field, "is missing")
    return value


def status(document: Document) -> str:
    """The document's `status`; empty if absent."""
    return document.string("status", default="")


def flag(document: Document, field: str) -> bool:
    """A boolean; an absent field is false."""
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
    if not abs(value) < MAX_AMOUNT:  # also true for NaN
        raise document.invalid(field, "is not an amount")
    return value


def label(document: Document, field: str) -> str | None:
    """What people call a thing: a text, such as a flight's `AF1234`, or a whole number.

    JavaScript and the Realtime Database have no integers, so 1042 may arrive as 1042.0.
    """
    value: Any = document.get(field)
    if type(value) in (int, float):
        if not abs(value) < MAX_LABEL or value % 1:  # also true for NaN
            raise document.invalid(field, "must be a string, or a whole number under 10^21")
        return str(int(Decimal(repr(value))))  # the digits that JavaScript shows
    return one_line(document.string(field, default="")) or None


def as_integer(value: Any) -> Any:
    """A whole number as an integer: see `label`; any other value as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def one_line(text: str) -> str:
    """A name or a label as one line for a title; empty if nothing of it is visible.

    Removes control characters, directional marks and zero-width characters, and collapses white
    space. Joiners and selectors that form an emoji or belong to a script stay.
    """
    text = text[:MAX_NAME]
    if UNSEEN.search(text):
        text = _unseen_by_context().sub(lambda found: found[1] or "", text)
    return "" if is_blank(text) else " ".join(text.split())


UNSEEN = re.compile(rf"(?!\s)[{INVISIBLE}]")


@functools.cache
def _unseen_by_context() -> Any:
    """Matches characters to remove; its group matches those to keep."""
    import regex  # imported only for names with such characters

    cursive = "Arab|Syrc|Mong|Mand|Mani|Phlp|Phag|Nkoo|Adlm|Rohg|Sogd"
    indic = "Deva|Beng|Guru|Gujr|Orya|Taml|Telu|Knda|Mlym|Sinh|Tibt|Mymr|Khmr|Limb|Cakm"
    joined = "".join(rf"\p{{scx={script}}}" for script in f"{cursive}|{indic}".split("|"))
    stays = (
        r"(?<=[\p{Extended_Pictographic}\p{Emoji_Modifier}]\ufe0f?)\u200d"
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

    A number is in seconds or milliseconds, whichever gives a time from 2001 to 2286.
    """
    value = _given(document, field)
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
    if not 1 < time.year < 9999:  # in some time zone, it would leave Python's range of years
        raise document.invalid(field, "is out of range for a date")
    return time


def _given(document: Document, field: str) -> Any:
    """A field's value; None also for a blank text, as a form writes one that is left empty."""
    value = document.get(field)
    return None if isinstance(value, str) and is_blank(value) else value


def local_time(document: Document, field: str) -> datetime | None:
    """A date and time of day without a zone, such as `2026-12-24T09:00`; None for other times."""
    value = document.get(field)
    text = value.strip() if isinstance(value, str) else ""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    if time.tzinfo is not None:
        return None
    if not DATE_AND_TIME.match(text):
        raise document.invalid(field, f"must be a date and time of day, such as {LOCAL_EXAMPLE}")
    if not 1 < time.year < 9999:
        raise document.invalid(field, "is out of range for a date")
    return time


def _since_1970(number: float) -> datetime | None:
    if 10**9 <= number < 10**10:
        return EPOCH + timedelta(seconds=number)
    if 10**12 <= number < 10**13:
        return EPOCH + timedelta(milliseconds=number)
    return None


def _of_a_map(value: Mapping[str, Any]) -> datetime | None:
    """A timestamp from the maps that the Admin SDKs and client SDKs make of it."""
    for names in (("_seconds", "_nanoseconds"), ("seconds", "nanoseconds"), ("seconds", "nanos")):
        if value.keys() - {"type"} == set(names):  # newer clients add its type
            seconds, nanoseconds = (_whole(value[name]) for name in names)
            if not 0 <= nanoseconds < 10**9:
                raise ValueError
            return EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1000)
    return None


def _whole(value: Any) -> int:
    """A whole number; a 64-bit integer may be a text in JSON. Raises ValueError for others."""
    is_whole = type(value) is int or (type(value) is float and value.is_integer())
    if is_whole or (isinstance(value, str) and DIGITS.fullmatch(value)):
        return int(value)
    raise ValueError


def is_history(change: Change, time: datetime | None, after: timedelta = HISTORY) -> bool:
    """Whether the document's own time is so long ago that nobody needs a push any more.

    Importing an old database writes many such documents: they leave no record.
    """
    is_old = time is not None and time + after < change.time
    if is_old:
        log("DEBUG", "document.old")
    return is_old


def is_of_an_archive(change: Change, published: str, time: str, after: timedelta) -> bool:
    """Whether the write publishes a document whose own time is long ago.

    `published` and `time` name its fields. What cannot be read is for the handler to refuse.
    """
    was = change.before and understood(flag, change.before, published)
    if change.after is None or was or not understood(flag, change.after, published):
        return False
    return is_history(change, understood(moment, change.after, time), after)


def understood(
    read: Callable[[Document, str], Value], document: Document, field: str
) -> Value | None:
    """The value of a field; None also if it is invalid, since the app may use it differently."""
    try:
        return read(document, field)
    except InvalidDocument:
        return None


def time_zone(document: Document, field: str) -> ZoneInfo | None:
    """A time zone by its IANA name, such as `Europe/Paris`."""
    name = _given(document, field)
    zone = zone_named(name)
    if name is not None and zone is None:
        raise document.invalid(field, "is not the name of a time zone")
    return zone


def clock(text: object) -> time | None:
    """`22:00` or `7:00`; seconds are ignored."""
    found = CLOCK.fullmatch(text.strip()) if isinstance(text, str) else None
    return time(int(found[1]), int(found[2])) if found else None


def schedule(text: object) -> Schedule | None:
    """`18:00`, every day, or `Friday 18:00`, once a week."""
    if not isinstance(text, str):
        return None
    day, _, at = text.strip().rpartition(" ")
    time_of_day = clock(at)
    if time_of_day is None or (day and day.strip().casefold() not in WEEKDAYS):
        return None
    weekday = WEEKDAYS.index(day.strip().casefold()) if day else None
    return Schedule(time_of_day, weekday)


def zone_named(name: object) -> ZoneInfo | None:
    """The time zone with this name in any letter case; None if there is none."""
    return _zone(name.strip()) if isinstance(name, str) and len(name) <= MAX_ZONE else None


@functools.lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown, not a path, or a folder such as `America`
        known = _zones().get(name.replace(" ", "_").casefold())
        return ZoneInfo(known) if known else None


@functools.cache
def _zones() -> dict[str, str]:
    """All names of time zones by their case-folded form."""
    return {name.casefold(): name for name in available_timezones()}


def currency(document: Document, field: str) -> str | None:
    """A currency by its ISO 4217 code, such as `EUR`."""
    code = document.string(field, default="").strip()
    if not code:
        return None
    from babel.numbers import normalize_currency  # imported only for amounts

    known = normalize_currency(code)
    if known is None:
        raise document.invalid(field, "is not the code of a currency")
    return known


def part(document: Document, field: str, kind: type) -> Any:
    """A map as an instance of `kind`, such as `Media`; nulls in it count as absent."""
    value = document.get(field)
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise document.invalid(field, "must be a map")
    given = {key: each for key, each in value.items() if each is not None}
    known = _known_of(kind)
    for key in given.keys() - known.keys():
        raise document.invalid(f"{field}.{key}", f"is not one of {', '.join(known)}")
    for key, default in known.items():
        if default is MISSING and key not in given:
            raise document.invalid(f"{field}.{key}", "is missing")
    return kind(**given)


def names_of(ignored: Iterable[str]) -> tuple[str, ...]:
    """Names of fields that are ignored, limited in number and length."""
    names = sorted(each.encode("utf-8", "replace").decode()[:MAX_NAME_OF_FIELD] for each in ignored)
    return tuple(names[:MAX_NAMES])


@functools.cache
def _known_of(kind: type) -> dict[str, Any]:
    """The default of each field that a document may give."""
    return {each.name: each.default for each in fields(kind) if each.name not in OURS}
