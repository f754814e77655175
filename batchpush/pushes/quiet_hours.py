"""Quiet hours: when a person is not to be disturbed."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo


@dataclass(frozen=True)
class QuietHours:
    """From `start` to `end` of every day, past midnight where `end` is the earlier one."""

    start: time
    end: time
    zone: tzinfo

    def end_after(self, now: datetime) -> datetime | None:
        """When the quiet hours are over in which `now` lies; None outside of them."""
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
        # Where clocks are put back, the hour of the end comes twice.
        twice = (end.replace(fold=fold).astimezone(UTC) for fold in (0, 1))
        return next((moment for moment in twice if moment > now), None)
