"""Daily statistics of campaigns and of groups of pushes, and their export. Pure."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any

from batchpush.documents import is_unicode

COUNTERS = ("sent", "direct_open", "influenced_open", "reengaged", "errors")
COLUMNS = ("date", "app", "campaign", "group_id", *COUNTERS, "open_rate")

MAX_COUNT = 2**63 - 1  # the largest integer in Firestore
MAX_VERSIONS = 100  # versions of one campaign; also counters of one version

STILL_CHANGES = timedelta(days=7)  # how long a day's counters may grow: opens come late
PULLED_FOR = timedelta(days=35)  # after a campaign's last push; some recur monthly
PULL_AGAIN = timedelta(minutes=50)  # at the earliest; the hourly schedule drifts


def day_rows(
    detail: Iterable[Any], since: date, about: Mapping[str, Any], until: date = date.max
) -> dict[str, dict[str, Any]]:
    """Convert Batch's rows for the days from `since` to `until` to our documents, keyed by day.

    Each includes the fields of `about`. Days without counts and malformed rows are left out.
    """
    rows = {}
    for row in detail:
        day = day_of(row)
        if day is None or not since <= day <= until:
            continue
        counted = {name: row.get(name, 0) for name in COUNTERS}
        if _are_counts(counted) and any(counted.values()):
            rows[day.isoformat()] = {
                "date": day.isoformat(),
                **about,
                **_more(row),
                **rated(counted),
            }
    return rows


def day_of(row: object) -> date | None:
    """The day of one of Batch's rows; None if the row is malformed."""
    try:
        return date.fromisoformat(row["date"])  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        return None


def rated(counted: Mapping[str, Any]) -> dict[str, Any]:
    """Add the open rate as Batch defines it, from 0 to 1; None if nothing was sent."""
    opened = counted.get("direct_open", 0) + counted.get("influenced_open", 0)
    sent = counted.get("sent", 0)
    return {**counted, "open_rate": round(opened / sent, 4) if sent else None}


def _more(row: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that only campaigns and A/B tests have; each version gets its own open rate."""
    more: dict[str, Any] = {}
    if _is_count(row.get("sent_optins")):
        more["sent_optins"] = row["sent_optins"]
    versions = row.get("versions")
    if isinstance(versions, Mapping):
        more["versions"] = {
            name: rated(version)
            for name, version in islice(versions.items(), MAX_VERSIONS)
            if _is_name(name) and _are_counts(version)
        }
    return more


def _are_counts(counters: object) -> bool:
    return (
        isinstance(counters, Mapping)
        and len(counters) <= MAX_VERSIONS
        and all(_is_name(name) and _is_count(value) for name, value in counters.items())
    )


def _is_name(text: str) -> bool:
    """Whether it is a valid Firestore field name: not empty, `__reserved__` or too long."""
    return bool(re.fullmatch(r"(?!__.*__$).{1,100}", text)) and is_unicode(text)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def next_pull(last_active: datetime, now: datetime) -> datetime | None:
    """When to pull a campaign again: less and less often, and None after `PULLED_FOR`."""
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
