"""The statistics: accepted pushes, results scripted by a test, and the rules of the query."""

import re
from calendar import monthrange
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import MAXYEAR, date, timedelta
from typing import Any

from emulators.batch.checks import is_integer
from emulators.batch.journal import is_dev
from emulators.batch.replies import (
    API_MISUSE,
    MALFORMED_PARAMETER,
    MISSING_PARAMETER,
    Reply,
)

MAX_WINDOW_MONTHS = 6  # official: doc.batch.com/api/transactional/stats, as the other rules here
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

COUNTERS = ("sent", "direct_open", "influenced_open", "reengaged", "errors")
CAMPAIGN_COUNTERS = ("sent", "sent_optins", "direct_open", "influenced_open", "reengaged", "errors")

Row = Mapping[str, Any]


class Sent:
    """The number of accepted IDs by app key, group and day, and the rows that a test scripted."""

    def __init__(self) -> None:
        self._days: defaultdict[tuple[str, str], Counter[date]] = defaultdict(Counter)
        self._scripted: dict[str, dict[date, Row]] = {}

    def add(self, app_key: str, group_id: str, day: date, count: int) -> None:
        self._days[app_key, group_id][day] += count

    def script(self, name: str, rows: Any) -> None:
        """Set the rows of a group or a campaign; raises ValueError."""
        if not isinstance(rows, list):
            raise ValueError("the rows must be a list")
        self._scripted[name] = dict(map(_read_row, rows))

    def group_rows(self, app_key: str, group_id: str) -> dict[date, Row]:
        accepted = self._days.get((app_key, group_id), Counter())
        scripted = self._scripted.get(group_id, {})
        days = accepted.keys() | scripted.keys()
        return {day: {"sent": accepted[day], **scripted.get(day, {})} for day in days}

    def campaign_rows(self, token: str, sent_on: date) -> dict[date, Row]:
        """Campaigns have no recipients here, so the day of sending has zeros unless scripted."""
        return {sent_on: {}} | self._scripted.get(token, {})

    def clear(self) -> None:
        self._days.clear()
        self._scripted.clear()


def _read_row(row: Any) -> tuple[date, Row]:
    if not isinstance(row, dict):
        raise ValueError("a row must be an object")
    day = _day(row.get("date"))
    if day is None:
        raise ValueError("`date` must be a day as YYYY-MM-DD")
    for name, value in row.items():
        if name not in {"date", "versions", *CAMPAIGN_COUNTERS}:
            raise ValueError(f"unknown key `{name}`; counters are {', '.join(CAMPAIGN_COUNTERS)}")
        if name in CAMPAIGN_COUNTERS and not (is_integer(value) and value >= 0):
            raise ValueError(f"`{name}` must be a whole number of at least 0")
    return day, row


def campaign_stats_reply(token: str, sent_on: date | None, sent: Sent) -> Reply:
    """Empty until the campaign is sent. Rows of an A/B test have `versions`, no `sent_optins`."""
    rows = {} if sent_on is None else sent.campaign_rows(token, sent_on)
    detail = []
    for day, row in sorted(rows.items()):
        is_test = "versions" in row
        counters = COUNTERS if is_test else CAMPAIGN_COUNTERS
        versions = {"versions": row["versions"]} if is_test else {}
        detail.append(_row(day, row, counters) | versions)
    return Reply(200, {"campaign_token": token, "detail": detail})


def stats_reply(
    app_key: str, group_id: str, query: Mapping[str, str], sent: Sent, today: date
) -> Reply:
    if is_dev(app_key):
        return API_MISUSE.reply("statistics need a live API key")
    if "since" not in query:
        return MISSING_PARAMETER.reply("`since` is missing")
    since = _day(query["since"])
    until = _day(query["until"]) if "until" in query else today
    if since is None or until is None:
        invalid = "since" if since is None else "until"
        return MALFORMED_PARAMETER.reply(f"`{invalid}` must be a day as YYYY-MM-DD")
    if since >= until:
        return MALFORMED_PARAMETER.reply("`since` must be before `until`")
    if until > _months_after(since, MAX_WINDOW_MONTHS):
        return MALFORMED_PARAMETER.reply(
            f"`until` is over {MAX_WINDOW_MONTHS} months after `since`"
        )
    detail = _rows(sent.group_rows(app_key, group_id), since, until)
    return Reply(200, {"group_id": group_id, "detail": detail})


def _day(text: Any) -> date | None:
    # fromisoformat also accepts 20260131 and week dates, which Batch does not document.
    if not isinstance(text, str) or DAY.fullmatch(text) is None:
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


def _rows(days: Mapping[date, Row], since: date, until: date) -> list[Row]:
    """One row for each requested day; none for a group that was never used."""
    if not days:
        return []
    window = (since + timedelta(n) for n in range((until - since).days + 1))
    return [_row(day, days.get(day, {}), COUNTERS) for day in window]


def _row(day: date, known: Row, counters: Iterable[str]) -> dict[str, Any]:
    return {"date": day.isoformat()} | {name: known.get(name, 0) for name in counters}
