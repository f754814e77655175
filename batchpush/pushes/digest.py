"""Digests: one push a day, or a week, for everything of one kind."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batchpush.pushes.push import Message


@dataclass(frozen=True)
class Schedule:
    """Every day at a time of day, or once a week: Monday is 0."""

    at: time
    weekday: int | None = None

    def next_after(self, now: datetime, zone: tzinfo) -> datetime:
        """The next such moment. A time that a clock change skips comes an hour later."""
        today = now.astimezone(zone).date()
        wait = 0 if self.weekday is None else (self.weekday - today.weekday()) % 7
        step = 1 if self.weekday is None else 7
        moments = (self._on(today + timedelta(days), zone) for days in (wait, wait + step))
        return next(moment for moment in moments if moment > now)

    def _on(self, day: date, zone: tzinfo) -> datetime:
        return datetime.combine(day, self.at, zone).astimezone(UTC)


@dataclass(frozen=True)
class Digest:
    """When recipients get a digest of one kind of pushes; each of them gets their own.

    `says` words a number of things; with true, there are more than that.
    """

    schedule: Schedule
    zone: tzinfo
    says: "Callable[[int, bool], Message]" = field(compare=False, repr=False)

    def next_after(self, now: datetime) -> datetime:
        return self.schedule.next_after(now, self.zone)
