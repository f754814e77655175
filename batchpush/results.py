"""What a campaign or a group of pushes came to on one day, and how it is exported. Pure."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

COUNTERS = ("sent", "direct_open", "influenced_open", "reengaged", "errors")
OPTIONAL = ("sent_optins", "versions")  # of campaigns, and of A/B tests
COLUMNS = ("date", "app", "campaign", "group_id", *COUNTERS, "open_rate")

STILL_CHANGES = timedelta(days=7)  # a day's results: people open a push days after it came
PULLED_FOR = timedelta(days=35)  # since the last push of a campaign; some recur every month
PULL_AGAIN = timedelta(minutes=50)  # at the earliest: the schedule is hourly, more or less


def day_rows(
    detail: Iterable[Any], since: date, about: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Batch's rows from a day on, by their days, as they are kept; empty days are left out."""
    rows = {}
    for row in detail:
        day = day_of(row)
        if day is None or day < since:
            continue
        counted = {name: row.get(name, 0) for name in COUNTERS}
        if any(counted.values()):
            more = _split({name: row[name] for name in OPTIONAL if name in row})
            rows[day.isoformat()] = {"date": day.isoformat(), **about, **more, **rated(counted)}
    return rows


def day_of(row: object) -> date | None:
    try:
        return date.fromisoformat(row["date"])  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        return None


def rated(counted: Mapping[str, Any]) -> dict[str, Any]:
    """The counters with the open rate as Batch defines it; None where nothing was sent."""
    opened = counted.get("direct_open", 0) + counted.get("influenced_open", 0)
    sent = counted.get("sent", 0)
    return {**counted, "open_rate": round(opened / sent, 4) if sent else None}


def _split(more: dict[str, Any]) -> dict[str, Any]:
    """Each version of an A/B test has an open rate of its own."""
    versions = more.get("versions")
    if not isinstance(versions, Mapping):
        return more
    return more | {"versions": {name: rated(version) for name, version in versions.items()}}


def next_pull(last_active: datetime, now: datetime) -> datetime | None:
    """When a campaign is to be asked for again: ever less often, and not for ever."""
    age = now - last_active
    return now + max(PULL_AGAIN, age / 24) if age < PULLED_FOR else None


# Export


def as_csv(rows: Iterable[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def as_json_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """An object per line."""
    return "\n".join(json.dumps(row, default=str, sort_keys=True) for row in rows)


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    shown = [COLUMNS, *([_cell(row.get(column)) for column in COLUMNS] for row in rows)]
    widths = [max(len(line[index]) for line in shown) for index in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in shown
    )


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.1%}" if isinstance(value, float) else str(value)
