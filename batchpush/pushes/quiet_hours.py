"""Quiet hours: when not to disturb a person."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo


@dataclass(frozen=True)
class QuietHours:
    """From `start` to `end` every day, past midnight if `end` is the earlier time."""

    start: time
    end: time
    zone: tzinfo

    def end_after(self, now: datetime) -> datetime | None:
        """When the current quiet hours end; None outside of quiet hours."""
        local = now.astimezone(self.zone)
        clock = local.time()
        is_before_midnight = self.start > self.end and clock >= self.start
        is_quiet = is_before_midnight or (
            clock < self.end and (self.start > self.end or clock >= self.start)
        )
        if not is_quiet:
            return None
        end = datetime.combine(
            local.date() + timedelta(days=is_before_midnight), self.end, self.zone
        )
        # When clocks go back, the hour of the end happens twice.
        twice = (end.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
        return next(moment for moment in twice if moment > now)
