from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush import Document, InvalidDocument
from handlers.fields import currency, flag, label, moment, needed, number, time_zone
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
        (moment, NOON, NOON),
        (moment, NOON.astimezone(timezone(timedelta(hours=2))), NOON),
        (moment, 1777896300000, NOON),
        (moment, 1777896300000.0, NOON),
        (moment, 0, datetime(1970, 1, 1, tzinfo=UTC)),
        (moment, "2026-05-04T12:05:00Z", NOON),
        (moment, "2026-05-04T12:05:00.000Z", NOON),
        (moment, "2026-05-04T14:05:00+02:00", NOON),
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
        (label, 1.5, "must be a string, not a number"),
        (moment, True, "must be a date and time with its zone"),
        (moment, {"seconds": 5}, "must be a date and time with its zone"),
        (moment, datetime(2026, 5, 4), "must be a date and time with its zone"),
        (moment, "2026-05-04T12:05:00", "must be a date and time with its zone"),
        (moment, "2026-05-04", "must be a date and time with its zone"),
        (moment, "soon", "is not a date and time"),
        (moment, "", "is not a date and time"),
        (moment, "\ud800", "is not a date and time"),
        (moment, float("nan"), "is not a date and time"),
        (moment, float("inf"), "is not a date and time"),
        (moment, 10**400, "is not a date and time"),
        (moment, "0001-01-01T00:00:00+14:00", "is not a date and time"),
        (moment, datetime.max.replace(tzinfo=UTC), "is out of any calendar"),
        (time_zone, "Mars/Olympus", "is not the name of a time zone"),
        (time_zone, "America", "is not the name of a time zone"),
        (time_zone, "/etc/localtime", "is not the name of a time zone"),
        (time_zone, "", "is not the name of a time zone"),
        (time_zone, 5, "is not the name of a time zone"),
        (currency, "EURO", "is not the code of a currency"),
        (currency, 5, "must be a string, not a number"),
    ],
)
def test_what_is_wrong_is_named(reader: Any, value: Any, problem: str) -> None:
    with pytest.raises(InvalidDocument, match=f"c/d: field {problem}"):
        read(reader, value)


SCALARS = st.booleans() | st.integers() | st.floats() | st.text() | st.datetimes()
AWARE = st.datetimes(timezones=st.timezones())


@pytest.mark.parametrize("reader", [flag, number, label, moment, time_zone, currency])
@PATIENT
@given(value=SCALARS | AWARE | st.lists(SCALARS, max_size=2))
def test_a_value_is_read_or_refused(reader: Any, value: Any) -> None:
    with suppress(InvalidDocument):
        read(reader, value)


@PATIENT
@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_a_time_is_the_same_in_the_three_ways_to_write_it(time: datetime) -> None:
    time = time.replace(microsecond=time.microsecond // 1000 * 1000)
    milliseconds = round(time.timestamp() * 1000)
    assert read(moment, time) == time
    assert read(moment, time.isoformat()) == time
    assert read(moment, milliseconds) == time
