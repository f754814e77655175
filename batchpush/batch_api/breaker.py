"""A circuit breaker per app, so that an outage of Batch does not waste the instance's time."""

from datetime import UTC, datetime, timedelta

from batchpush.batch_api.outcome import MAX_RETRY_AFTER

FAILURES = 10  # in a row, across all events of the instance
OPEN = timedelta(seconds=5)
LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Breaker:
    """Rejects an app's requests after several failures in a row, except for an occasional probe.

    A `Retry-After` applies to all requests of the app: none is sent before it ends.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._open_until = LONG_AGO
        self._not_before = LONG_AGO

    def allow_request(self, now: datetime) -> bool:
        """Whether earlier failures permit a request."""
        if self.is_open(now):
            return False
        self._open_until = now + OPEN  # this request probes; the others wait for its outcome
        return True

    def is_open(self, now: datetime) -> bool:
        """Whether requests are rejected; unlike `allow_request`, this changes nothing."""
        left = self._open_until - now  # more than `OPEN` if the clock was set back
        return self._failures >= FAILURES and timedelta() < left <= OPEN

    def pause(self, now: datetime) -> float:
        """Seconds left of the wait that the server asked for; none after the clock was set back."""
        seconds = (self._not_before - now).total_seconds()
        return seconds if 0.0 < seconds <= MAX_RETRY_AFTER else 0.0

    def record_success(self) -> None:
        self._failures = 0

    def record_failure(self, now: datetime, retry_after: float | None) -> None:
        self._failures += 1
        if self._failures >= FAILURES:
            self._open_until = now + OPEN
        if retry_after:
            pause = max(self.pause(now), min(retry_after, MAX_RETRY_AFTER))
            self._not_before = now + timedelta(seconds=pause)
