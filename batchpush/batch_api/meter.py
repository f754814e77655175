"""Keeps the calls of one process within a rate that Batch documents."""

from datetime import UTC, datetime

MOMENT = 1e-6  # seconds, the smallest difference of two times


class Meter:
    """A bucket of `size` tokens that gets `rate` a second; a call takes one for each person.

    Whoever waits asks again: a push to one person does not stand behind one to thousands.
    """

    def __init__(self, rate: float, size: float) -> None:
        self._rate, self._size = rate, size
        self._tokens = size
        self._at = datetime.min.replace(tzinfo=UTC)

    def wait(self, cost: int, now: datetime) -> float:
        """Seconds until there are as many tokens; none if a clock could not tell them apart."""
        seconds = (cost - self._filled(now)) / self._rate
        return seconds if seconds > MOMENT else 0.0

    def take(self, cost: int, now: datetime) -> None:
        self._tokens, self._at = self._filled(now) - cost, now

    def _filled(self, now: datetime) -> float:
        self._at = min(self._at, now)  # a clock that was set back fills it from now on
        since = (now - self._at).total_seconds()
        return min(self._size, self._tokens + since * self._rate)
