import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchpush import Document, InvalidDocument
from batchpush.documents import is_blank
from handlers.fields import (
    currency,
    flag,
    label,
    local_time,
    moment,
    needed,
    number,
    one_line,
    time_zone,
)
from tests.pushes import PATIENT

NOON = datetime(2026, 5, 4, 12, 5, tzinfo=UTC)


def read(reader: Callable[[Document, str], Any], value: Any) -> Any:
    return reader(Document("c/d", {"field": value}), "field")


@pytest.mark.parametrize(
    ("reader", "value", "read_as"),
    [
        (flag, True, True),
        (flag, False, False),
        (number, 5, 5),
        (number, -0.5, -0.5),
        (label, " AF1234 ", "AF1234"),
        (label, 6607, "6607"),
        (label, " ", None),
        (label, 1042.0, "1042"),
        (label, -0.0, "0"),
        (label, 820982911946154508, "820982911946154508"),
        (label, 820982911946154508.0, "820982911946154500"),  # as JavaScript shows it
        (label, 2**63 - 1, "9223372036854775807"),
        (label, 1e20, "100000000000000000000"),
        (label, "AF\u200b 12\n34\u202e", "AF 12 34"),
        (label, "\u200b\u2060", None),
        (moment, NOON, NOON),
        (moment, NOON.astimezone(timezone(timedelta(hours=2))), NOON),
        (moment, 1777896300000, NOON),
        (moment, 1777896300000.0, NOON),
        (moment, 1777896300, NOON),
        (moment, 1777896300.0, NOON),
        (moment, 1906542300, datetime(2030, 6, 1, 11, 5, tzinfo=UTC)),
        (moment, 10**9, datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)),
        (moment, 10**12, datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)),
        (moment, 10**10 - 1, datetime(2286, 11, 20, 17, 46, 39, tzinfo=UTC)),
        (moment, {"_seconds": 1777896300, "_nanoseconds": 0}, NOON),
        (moment, {"seconds": 1777896300, "nanoseconds": 0}, NOON),
        (moment, {"seconds": 1777896300.0, "nanoseconds": 999.0}, NOON),
        (moment, {"seconds": "1777896300", "nanos": 0}, NOON),
        (
            moment,
            {"seconds": 1777896300, "nanoseconds": 0, "type": "firestore/timestamp/1.0"},
            NOON,
        ),
        (moment, " 2026-05-04T12:05:00Z ", NOON),
        (moment, "2026-05-04 12:05:00.000000000+00:00", NOON),
        (moment, "2026-05-04T12:05:00Z", NOON),
        (moment, "2026-05-04T12:05:00.000Z", NOON),
        (moment, "2026-05-04T14:05:00+02:00", NOON),
        (moment, "", None),
        (moment, " \u200b", None),
        (time_zone, "", None),
        (time_zone, " ", None),
        (time_zone, " Europe/Paris ", ZoneInfo("Europe/Paris")),
        (time_zone, "europe/paris", ZoneInfo("Europe/Paris")),
        (time_zone, "AMERICA/ARGENTINA/BUENOS AIRES", ZoneInfo("America/Argentina/Buenos_Aires")),
        (time_zone, "utc", ZoneInfo("UTC")),
        (currency, "EUR", "EUR"),
        (currency, "eur", "EUR"),
        (currency, "", None),
    ],
)
def test_what_is_read(reader: Any, value: Any, read_as: Any) -> None:
    assert read(reader, value) == read_as


@pytest.mark.parametrize("reader", [number, label, moment, time_zone, currency])
def test_an_absent_field_is_none_unless_it_is_needed(reader: Any) -> None:
    assert read(reader, None) is None
    with pytest.raises(InvalidDocument, match="c/d: field is missing"):
        needed(reader, Document("c/d", {}), "field")


@pytest.mark.parametrize(
    ("reader", "value", "problem"),
    [
        (flag, "true", "must be true or false"),
        (flag, 1, "must be true or false"),
        (number, "5", "must be a number"),
        (number, True, "must be a number"),
        (number, float("nan"), "is not an amount"),
        (number, float("inf"), "is not an amount"),
        (number, 10**15, "is not an amount"),
        (number, -(10**400), "is not an amount"),
        (label, True, "must be a string, not a boolean"),
        (label, 1.5, "must be a string, or a whole number under 10.21"),
        (label, 1e21, "must be a string, or a whole number"),
        (label, float("nan"), "must be a string, or a whole number"),
        (label, float("-inf"), "must be a string, or a whole number"),
        (moment, True, "must be a date and time with its zone"),
        (moment, {"seconds": 5}, "must be a date and time with its zone"),
        (moment, {"seconds": 5, "minutes": 5}, "must be a date and time with its zone"),
        (moment, {"_seconds": "5s", "_nanoseconds": 0}, "is not a date and time"),
        (moment, {"_seconds": None, "_nanoseconds": 0}, "is not a date and time"),
        (moment, {"_seconds": 10**18, "_nanoseconds": 0}, "is not a date and time"),
        (moment, {"seconds": 1777896300, "nanoseconds": 10**9}, "is not a date and time"),
        (moment, {"seconds": 1777896300, "nanoseconds": -1}, "is not a date and time"),
        (moment, {"seconds": 1777896300, "nanoseconds": 0.5}, "is not a date and time"),
        (moment, {"seconds": 1777896300, "nanos": False}, "is not a date and time"),
        (moment, {"seconds": True, "nanoseconds": 0}, "is not a date and time"),
        (moment, {"seconds": "1_777_896_300", "nanos": 0}, "is not a date and time"),
        (moment, {"seconds": " 1777896300", "nanos": 0}, "is not a date and time"),
        (moment, {"seconds": float("nan"), "nanos": 0}, "is not a date and time"),
        (moment, 1777896300_000_000, ".*a number must be seconds or milliseconds"),
        (moment, 1777896300_000_000_000, ".*a number must be seconds or milliseconds"),
        (moment, 0, ".*a number must be seconds or milliseconds"),
        (moment, 86400, ".*a number must be seconds or milliseconds"),
        (moment, 10**9 - 1, ".*a number must be seconds or milliseconds"),
        (moment, 10**10, ".*a number must be seconds or milliseconds"),
        (moment, 10**12 - 1, ".*a number must be seconds or milliseconds"),
        (moment, 10**13, ".*a number must be seconds or milliseconds"),
        (moment, -1777896300, ".*a number must be seconds or milliseconds"),
        (
            moment,
            "Sat Jun 01 2030 11:05:00 GMT+0000 (UTC)",
            "is not a date and time such as 2030-06-01T11:05:00Z",
        ),
        (moment, "Sat, 01 Jun 2030 11:05:00 GMT", "is not a date and time such as 2030"),
        (moment, "6/1/2030, 11:05:00 AM", "is not a date and time such as 2030"),
        (moment, "1906542300", "is not a date and time such as 2030"),
        (
            moment,
            "2030-06-01T11:05:00.000",
            "must be a date and time with its zone, such as 2030-06-01T11:05:00Z",
        ),
        (moment, datetime(2026, 5, 4), "must be a date and time with its zone"),
        (moment, "2026-05-04T12:05:00", "must be a date and time with its zone"),
        (moment, "2026-05-04", "must be a date and time with its zone"),
        (moment, "soon", "is not a date and time"),
        (moment, "\ud800", "is not a date and time"),
        (moment, float("nan"), "is not a date and time"),
        (moment, float("inf"), "is not a date and time"),
        (moment, 10**400, "is not a date and time"),
        (moment, "0001-01-01T00:00:00+14:00", "is not a date and time"),
        (moment, datetime.max.replace(tzinfo=UTC), "is out of range for a date"),
        (time_zone, "Mars/Olympus", "is not the name of a time zone"),
        (time_zone, "America", "is not the name of a time zone"),
        (time_zone, "/etc/localtime", "is not the name of a time zone"),
        (time_zone, "x" * 100_000, "is not the name of a time zone"),
        (time_zone, "CEST", "is not the name of a time zone"),
        (time_zone, 5, "is not the name of a time zone"),
        (currency, "EURO", "is not the code of a currency"),
        (currency, 5, "must be a string, not a number"),
    ],
)
def test_what_is_wrong_is_named(reader: Any, value: Any, problem: str) -> None:
    with pytest.raises(InvalidDocument, match=f"c/d: field {problem}"):
        read(reader, value)


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("2030-05-02", "must be a date and time of day, such as 2030-06-01T18:30:00"),
        ("20300502", "must be a date and time of day"),
        ("2030-W20", "must be a date and time of day"),
        ("2030-W20-1T09:00", "must be a date and time of day"),
        ("0001-01-01T00:00:00", "is out of range for a date"),
        ("9999-12-31T23:59:59", "is out of range for a date"),
    ],
)
def test_a_local_time_has_a_date_and_a_time_of_day(written: str, problem: str) -> None:
    with pytest.raises(InvalidDocument, match=f"c/d: field {problem}"):
        read(local_time, written)


@pytest.mark.parametrize("written", ["2030-05-02T09:00", " 2030-05-02 09:00:00 ", "20300502T0900"])
def test_a_local_time_is_written_as_iso_8601_has_it(written: str) -> None:
    assert read(local_time, written) == datetime(2030, 5, 2, 9)


SCALARS = st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes()
AWARE = st.datetimes(timezones=st.timezones())


@pytest.mark.parametrize("reader", [flag, number, label, moment, time_zone, currency])
@PATIENT
@given(value=SCALARS | AWARE | st.lists(SCALARS, max_size=2))
def test_a_value_is_read_or_refused(reader: Any, value: Any) -> None:
    with suppress(InvalidDocument):
        read(reader, value)


@PATIENT
@given(st.datetimes(datetime(2001, 9, 10), datetime(2286, 11, 20), timezones=st.just(UTC)))
def test_a_time_is_the_same_in_all_the_ways_to_write_it(time: datetime) -> None:
    time = time.replace(microsecond=time.microsecond // 1000 * 1000)
    milliseconds = round(time.timestamp() * 1000)
    assert read(moment, time) == time
    assert read(moment, time.isoformat()) == time
    assert read(moment, milliseconds) == time
    assert read(moment, milliseconds // 1000) == time.replace(microsecond=0)
    seconds, nanoseconds = milliseconds // 1000, time.microsecond * 1000
    assert read(moment, {"_seconds": seconds, "_nanoseconds": nanoseconds}) == time


@PATIENT
@given(st.integers() | st.floats())
def test_no_number_is_a_time_of_1970(number: float) -> None:
    with suppress(InvalidDocument):
        assert 2001 <= read(moment, number).year <= 2286


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Ann", "Ann"),
        (" Ann \n\tLee\u2028von\u00a0Berg ", "Ann Lee von Berg"),
        ("\u202eAnn\u202c", "Ann"),
        ("\u2066Ann\u2069\u200e\u200f\u061c", "Ann"),
        ("A\x00n\x1bn\x9b\x7f", "Ann"),
        ("An\u200bn\u2060\ufeff\u00ad", "Ann"),
        ("An\u200dn\u200c", "Ann"),
        ("a \u200b b", "a b"),
        ("a\ufe0fb\U000e0061\U000e007f", "ab"),
        ("\u0645\u202e\u200b\u0646", "\u0645\u0646"),
        ("\u0645\u200c\u200c\u200c\u0646", "\u0645\u200c\u0646"),
        ("\u200b\u2060", ""),
        ("\u3164", ""),
        ("\u2800 \u2800", ""),
        ("\u202e \n", ""),
        ("x" * 5000, "x" * 1000),
    ],
)
def test_a_name_is_one_line_of_what_is_seen(written: str, shown: str) -> None:
    assert one_line(written) == shown


@pytest.mark.parametrize(
    "name",
    [
        "👩‍👩‍👧‍👦",
        "👩🏽‍🚀 Ann",
        "🤷🏽‍♂️",
        "🏳️‍🌈",
        "❤️‍🔥",
        "1️⃣",
        "🏴󠁧󠁢󠁥󠁮󠁧󠁿",
        "می\u200cخواهم",
        "ه\u200d",
        "क्\u200dष",
        "ශ්\u200dරී",
        "র\u200d্য",
        "葛\U000e0100城",
        "ᠠ\u180b",
        "José Müller-Łuków",
        "עברית",
    ],
)
def test_what_emoji_and_scripts_are_made_with_stays(name: str) -> None:
    assert one_line(name) == name


@PATIENT
@example("\ufe0f\u200d🈯")  # a selector that goes leaves a joiner with nothing to join
@given(st.text(max_size=40) | st.text("an \n\u200b\u200c\u200d\u202e\ufe0f👩👦م1", max_size=12))
def test_of_any_name_nothing_is_left_that_turns_or_breaks_the_line(name: str) -> None:
    shown = one_line(name)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f]", shown)
    assert shown == " ".join(shown.split()) == one_line(shown)
    assert not shown or not is_blank(shown)
