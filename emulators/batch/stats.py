"""The transactional statistics: what was taken per group and day, and the question's rules."""

import re
from calendar import monthrange
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import MAXYEAR, date, timedelta
from typing import Any

from emulators.batch.replies import (
    API_MISUSE,
    MALFORMED_PARAMETER,
    MISSING_PARAMETER,
    Reply,
)

LONGEST_WINDOW_MONTHS = 6
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Sent:
    """How many IDs were taken, by app key, group and day."""

    def __init__(self) -> None:
        self._days: defaultdict[tuple[str, str], Counter[date]] = defaultdict(Counter)

    def add(self, app_key: str, group_id: str, day: date, count: int) -> None:
        self._days[app_key, group_id][day] += count

    def days(self, app_key: str, group_id: str) -> Counter[date]:
        return self._days.get((app_key, group_id), Counter())

    def clear(self) -> None:
        self._days.clear()


def stats_reply(
    app_key: str, group_id: str, query: Mapping[str, str], sent: Sent, today: date
) -> Reply:
    if app_key.startswith("DEV"):
        return API_MISUSE.reply("statistics need a live API key")
    if "since" not in query:
        return MISSING_PARAMETER.reply("`since` is missing")
    since = _day(query["since"])
    until = _day(query["until"]) if "until" in query else today
    if since is None or until is None:
        wrong = "since" if since is None else "until"
        return MALFORMED_PARAMETER.reply(f"`{wrong}` must be a day as YYYY-MM-DD")
    if since >= until:
        return MALFORMED_PARAMETER.reply("`since` must be before `until`")
    if until > _months_after(since, LONGEST_WINDOW_MONTHS):
        return MALFORMED_PARAMETER.reply(
            f"`until` is over {LONGEST_WINDOW_MONTHS} months after `since`"
        )
    detail = _rows(sent.days(app_key, group_id), since, until)
    return Reply(200, {"group_id": group_id, "detail": detail})


def _day(text: str) -> date | None:
    # fromisoformat also takes 20260131 and week dates, which Batch does not document.
    if DAY.fullmatch(text) is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _months_after(day: date, months: int) -> date:
    years, month = divmod(day.month - 1 + months, 12)
    year = day.year + years
    if year > MAXYEAR:
        return date.max
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _rows(days: Mapping[date, int], since: date, until: date) -> list[dict[str, Any]]:
    """One row for each day asked for; none for a group that was never sent to."""
    if not days:
        return []
    window = (since + timedelta(n) for n in range((until - since).days + 1))
    return [_row(day, days.get(day, 0)) for day in window]


def _row(day: date, sent: int) -> dict[str, Any]:
    # Nobody opens anything here, so only `sent` can be other than 0.
    opened = {"direct_open": 0, "influenced_open": 0, "reengaged": 0, "errors": 0}
    return {"date": day.isoformat(), "sent": sent} | opened
