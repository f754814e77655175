from datetime import UTC, datetime, timedelta

from batchpush.breaker import FAILURES, OPEN, Breaker
from batchpush.outcome import MAX_RETRY_AFTER

NOW = datetime(2026, 5, 4, tzinfo=UTC)
A_CALL = 2 * OPEN


def tripped() -> Breaker:
    """Its calls failed just now, and took their time."""
    breaker = Breaker()
    for _ in range(FAILURES):
        assert breaker.admits(NOW - A_CALL)
        breaker.failed(NOW, None)
    return breaker


def test_after_some_failures_in_a_row_calls_are_turned_away() -> None:
    assert tripped().is_open(NOW)
    assert not tripped().admits(NOW)


def test_an_answer_in_between_begins_the_row_anew() -> None:
    breaker = Breaker()
    for _ in range(3):
        for _ in range(FAILURES - 1):
            breaker.failed(NOW, None)
        assert breaker.admits(NOW)
        breaker.answered()


def test_now_and_then_one_call_tries_for_the_others() -> None:
    breaker = tripped()
    later = NOW + OPEN
    assert [breaker.admits(later) for _ in range(3)] == [True, False, False]
    breaker.failed(later, None)
    assert not breaker.admits(later + OPEN / 2)
    assert breaker.admits(later + OPEN)
    breaker.answered()
    assert all(breaker.admits(later + OPEN) for _ in range(3))


def test_a_retry_after_is_for_every_call_and_the_latest_end_counts() -> None:
    breaker = Breaker()
    breaker.failed(NOW, None)
    assert breaker.pause(NOW) == 0.0
    breaker.failed(NOW, 30.0)
    breaker.failed(NOW, 10.0)
    assert breaker.pause(NOW + timedelta(seconds=20)) == 10.0
    breaker.answered()
    assert breaker.pause(NOW + timedelta(seconds=29)) == 1.0
    assert breaker.pause(NOW + timedelta(seconds=31)) == 0.0


def test_no_retry_after_blocks_an_app_for_years() -> None:
    breaker = Breaker()
    breaker.failed(NOW, 99_999_999.0)
    assert breaker.pause(NOW) == MAX_RETRY_AFTER
    breaker.failed(NOW, float("inf"))
    assert breaker.pause(NOW) == MAX_RETRY_AFTER
