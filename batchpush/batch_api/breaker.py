"""A pause per app, so that an outage of Batch does not burn the instance."""

from datetime import UTC, datetime, timedelta

from batchpush.batch_api.outcome import MAX_RETRY_AFTER

FAILURES = 10  # in a row, over all events of the instance
OPEN = timedelta(seconds=5)
LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Breaker:
    """After some failures in a row, calls of the app are turned away; now and then one may try.

    A `Retry-After` is for all calls of the app: none goes before its end.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._open_until = LONG_AGO
        self._not_before = LONG_AGO

    def allow_request(self, now: datetime) -> bool:
        """Whether a call may go, as far as the failures before it are concerned."""
        if self.is_open(now):
            return False
        self._open_until = now + OPEN  # this one tries; the others wait for what comes of it
        return True

    def is_open(self, now: datetime) -> bool:
        """Whether calls are turned away; unlike `allow_request`, asking changes nothing."""
        return self._failures >= FAILURES and now < self._open_until

    def pause(self, now: datetime) -> float:
        """Seconds that the server has asked to wait still."""
        return max(0.0, (self._not_before - now).total_seconds())

    def record_success(self) -> None:
        self._failures = 0

    def record_failure(self, now: datetime, retry_after: float | None) -> None:
        self._failures += 1
        if self._failures >= FAILURES:
            self._open_until = now + OPEN
        if retry_after:
            pause = timedelta(seconds=min(retry_after, MAX_RETRY_AFTER))
            self._not_before = max(self._not_before, now + pause)
