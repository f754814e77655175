from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush import QuietHours

PARIS = ZoneInfo("Europe/Paris")


def quiet(start: str, end: str, zone: str = "Europe/Paris") -> QuietHours:
    return QuietHours(time.fromisoformat(start), time.fromisoformat(end), ZoneInfo(zone))


@pytest.mark.parametrize(
    ("hours", "now", "end"),
    [
        # over midnight
        (quiet("22:00", "07:00"), "2026-06-10T21:59+02:00", None),
        (quiet("22:00", "07:00"), "2026-06-10T22:00+02:00", "2026-06-11T07:00+02:00"),
        (quiet("22:00", "07:00"), "2026-06-11T00:00+02:00", "2026-06-11T07:00+02:00"),
        (quiet("22:00", "07:00"), "2026-06-11T06:59+02:00", "2026-06-11T07:00+02:00"),
        (quiet("22:00", "07:00"), "2026-06-11T07:00+02:00", None),
        # within a day
        (quiet("13:00", "15:00"), "2026-06-10T12:59+02:00", None),
        (quiet("13:00", "15:00"), "2026-06-10T13:00+02:00", "2026-06-10T15:00+02:00"),
        (quiet("13:00", "15:00"), "2026-06-10T15:00+02:00", None),
        # until and from midnight
        (quiet("22:00", "00:00"), "2026-06-10T23:00+02:00", "2026-06-11T00:00+02:00"),
        (quiet("00:00", "07:00"), "2026-06-10T23:00+02:00", None),
        (quiet("00:00", "07:00"), "2026-06-11T00:00+02:00", "2026-06-11T07:00+02:00"),
        # never
        (quiet("07:00", "07:00"), "2026-06-10T07:00+02:00", None),
        (quiet("07:00", "07:00"), "2026-06-10T06:59+02:00", None),
        # where they live, and not where the server stands
        (quiet("22:00", "07:00", "Asia/Tokyo"), "2026-06-10T14:00+00:00", "2026-06-10T22:00+00:00"),
        # clocks put forward: 02:30 is not on any clock that night
        (quiet("22:00", "02:30"), "2026-03-29T01:30+01:00", "2026-03-29T03:30+02:00"),
        # clocks put back: 02:30 comes twice, and so does what lies before it
        (quiet("22:00", "02:30"), "2026-10-25T02:10+02:00", "2026-10-25T02:30+02:00"),
        (quiet("22:00", "02:30"), "2026-10-25T02:40+02:00", None),
        (quiet("22:00", "02:30"), "2026-10-25T02:10+01:00", "2026-10-25T02:30+01:00"),
    ],
)
def test_when_quiet_hours_end(hours: QuietHours, now: str, end: str | None) -> None:
    expected = end and datetime.fromisoformat(end)
    assert hours.end_after(datetime.fromisoformat(now).astimezone(UTC)) == expected


@given(
    st.times().map(lambda clock: clock.replace(second=0, microsecond=0)),
    st.times().map(lambda clock: clock.replace(second=0, microsecond=0)),
    st.sampled_from(["Europe/Paris", "America/St_Johns", "Australia/Lord_Howe", "UTC"]),
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
)
def test_they_always_end_within_a_day(start: time, end: time, zone: str, now: datetime) -> None:
    over = QuietHours(start, end, ZoneInfo(zone)).end_after(now)
    if over is not None:
        assert 0 < (over - now).total_seconds() <= 25 * 3600
        assert over.tzinfo is UTC
