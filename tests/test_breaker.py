from datetime import UTC, datetime, timedelta

from batchpush.batch_api.breaker import FAILURES, OPEN, Breaker
from batchpush.batch_api.outcome import MAX_RETRY_AFTER

NOW = datetime(2026, 5, 4, tzinfo=UTC)
A_CALL = 2 * OPEN


def tripped() -> Breaker:
    """Its calls failed just now, and took their time."""
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.allow_request(NOW - A_CALL)
        breaker.record_failure(NOW, None)
    return breaker


def test_after_some_failures_in_a_row_calls_are_turned_away() -> None:
    assert tripped().is_open(NOW)
    assert not tripped().allow_request(NOW)


def test_an_answer_in_between_begins_the_row_anew() -> None:
    breaker = Breaker()
    for _ in range(3):
        for _ in range(FAILURES - 1):
            breaker.record_failure(NOW, None)
        assert breaker.allow_request(NOW)
        breaker.record_success()


def test_now_and_then_one_call_tries_for_the_others() -> None:
    breaker = tripped()
    later = NOW + OPEN
    assert [breaker.allow_request(later) for _ in range(3)] == [True, False, False]
    breaker.record_failure(later, None)
    assert not breaker.allow_request(later + OPEN / 2)
    assert breaker.allow_request(later + OPEN)
    breaker.record_success()
    assert all(breaker.allow_request(later + OPEN) for _ in range(3))


def test_a_retry_after_is_for_every_call_and_the_latest_end_counts() -> None:
    breaker = Breaker()
    breaker.record_failure(NOW, None)
    assert breaker.pause(NOW) == 0.0
    breaker.record_failure(NOW, 30.0)
    breaker.record_failure(NOW, 10.0)
    assert breaker.pause(NOW + timedelta(seconds=20)) == 10.0
    breaker.record_success()
    assert breaker.pause(NOW + timedelta(seconds=29)) == 1.0
    assert breaker.pause(NOW + timedelta(seconds=31)) == 0.0


def test_no_retry_after_blocks_an_app_for_years() -> None:
    breaker = Breaker()
    breaker.record_failure(NOW, 99_999_999.0)
    assert breaker.pause(NOW) == MAX_RETRY_AFTER
    breaker.record_failure(NOW, float("inf"))
    assert breaker.pause(NOW) == MAX_RETRY_AFTER


def test_a_clock_that_is_set_back_keeps_no_app_from_its_requests() -> None:
    breaker = tripped()
    breaker.record_failure(NOW, 30.0)
    back = NOW - timedelta(hours=1)
    assert breaker.pause(back) == 0.0
    assert breaker.allow_request(back)
    breaker.record_failure(back, 20.0)
    assert breaker.pause(back) == 20.0
    assert not breaker.allow_request(back)
