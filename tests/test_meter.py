from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from batchpush.batch_api.meter import MOMENT, Meter

START = datetime(2026, 6, 10, tzinfo=UTC)


def test_a_full_bucket_lets_as_many_through_at_once_as_it_holds() -> None:
    meter = Meter(rate=300, size=1000)
    for _ in range(5):
        assert meter.wait(200, START) == 0
        meter.take(200, START)
    assert meter.wait(200, START) == 200 / 300
    assert meter.wait(1, START) == 1 / 300, "one to few people is let through before"


def test_time_fills_it_again_and_no_further() -> None:
    meter = Meter(rate=300, size=1000)
    meter.take(1000, START)
    later = START + timedelta(hours=1)
    assert meter.wait(1000, later) == 0
    meter.take(1000, later)
    assert meter.wait(1, later) > 0


def test_a_clock_that_goes_back_takes_nothing_out_and_puts_nothing_in() -> None:
    meter = Meter(rate=300, size=1000)
    meter.take(1000, START)
    back = START - timedelta(hours=1)
    assert meter.wait(300, back) == 1
    assert meter.wait(300, back + timedelta(seconds=1)) == 0, "it is filled from then on"


@given(costs=st.lists(st.integers(1, 200), max_size=50))
def test_whoever_waits_as_long_as_told_may_go_and_the_rate_is_kept(costs: list[int]) -> None:
    meter, now, taken = Meter(rate=300, size=1000), START, 0
    for cost in costs:
        while wait := meter.wait(cost, now):
            assert wait > MOMENT
            now += timedelta(seconds=wait)
        meter.take(cost, now)
        taken += cost
        assert taken <= 1000 + 300 * (now - START).total_seconds() + 1
