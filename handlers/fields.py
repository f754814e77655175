"""Readers of a document's fields, beside those that `Document` has.

An absent field is None; one that is not what it should be is named by `InvalidDocument`.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from batchpush import Document
from batchpush.change import EPOCH

Value = TypeVar("Value")

OURS = ("reads", "quiet", "person")  # fields of recipients that are none of Batch's
MOST = 10**15  # an amount beyond it is a mistake, and has no digits left behind its point


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
    if not abs(value) < MOST:  # nor is "not a number" less than anything
        raise document.invalid(field, "is not an amount")
    return value


def label(document: Document, field: str) -> str | None:
    """What people call a thing: a text, such as a flight's `AF1234`, or a whole number."""
    value = document.get(field)
    if type(value) is int and abs(value) < MOST:
        return str(value)
    return document.string(field, default="").strip() or None


def moment(document: Document, field: str) -> datetime | None:
    """A Firestore timestamp, milliseconds since 1970, or a date and time as ISO 8601 has it."""
    value = document.get(field)
    if value is None:
        return None
    try:
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        elif type(value) in (int, float):
            value = EPOCH + timedelta(milliseconds=value)
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise document.invalid(field, "must be a date and time with its zone")
        time = value.astimezone(UTC)
    except (ValueError, OverflowError):
        raise document.invalid(field, "is not a date and time") from None
    if not 1 < time.year < 9999:  # in some time zone its year would have no number
        raise document.invalid(field, "is out of any calendar")
    return time


def time_zone(document: Document, field: str) -> ZoneInfo | None:
    """A time zone by its IANA name, such as `Europe/Paris`."""
    name = document.get(field)
    zone = zone_named(name)
    if name is not None and zone is None:
        raise document.invalid(field, "is not the name of a time zone")
    return zone


def zone_named(name: object) -> ZoneInfo | None:
    """The time zone; None where there is none of that name."""
    if not isinstance(name, str) or not name:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; not a path; a folder, such as `America`
        return None


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
