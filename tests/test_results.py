from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from batchpush.campaigns.results import as_csv, as_json_lines, as_table, day_rows, next_pull, rated

ABOUT = {"app": "ios", "group_id": "sale"}
QUIET = {"sent": 0, "direct_open": 0, "influenced_open": 0, "reengaged": 0, "errors": 0}
BUSY = {"sent": 8, "direct_open": 1, "influenced_open": 2, "reengaged": 1, "errors": 0}


@pytest.mark.parametrize(
    ("sent", "direct", "influenced", "rate"),
    [(100, 10, 5, 0.15), (3, 1, 0, 0.3333), (0, 0, 0, None), (0, 1, 0, None)],
)
def test_the_open_rate_is_all_opens_by_what_was_sent(
    sent: int, direct: int, influenced: int, rate: float | None
) -> None:
    counted = {"sent": sent, "direct_open": direct, "influenced_open": influenced}
    assert rated(counted) == counted | {"open_rate": rate}


def test_a_day_is_kept_with_what_it_is_about() -> None:
    rows = day_rows([{"date": "2026-05-04"} | BUSY], date.min, ABOUT)
    assert rows == {"2026-05-04": {"date": "2026-05-04", "open_rate": 0.375} | ABOUT | BUSY}


@pytest.mark.parametrize(
    "row",
    [
        {"date": "2026-05-04"} | QUIET,  # nothing happened
        {"date": "2026-05-01"} | BUSY,  # too old to change
        {"date": "yesterday"} | BUSY,
        BUSY,
        "2026-05-04",
        {"date": "2026-05-04"} | BUSY | {"sent": "many"},
        {"date": "2026-05-04"} | BUSY | {"errors": 2**63},
        {"date": "2026-05-04"} | BUSY | {"sent": -1},
        {"date": "2026-05-04"} | BUSY | {"sent": float("inf")},
        {"date": "2026-05-04"} | BUSY | {"sent": True},
        {"date": "20260504000000000000-05-04"} | BUSY,
        {"date": 20260504} | BUSY,
    ],
)
def test_what_says_nothing_new_is_left_out(row: Any) -> None:
    assert day_rows([row], date(2026, 5, 2), ABOUT) == {}


def test_the_versions_of_a_test_have_open_rates_of_their_own() -> None:
    versions = {"a": {"sent": 4, "direct_open": 1}, "b": {"sent": 4, "influenced_open": 2}}
    row = {"date": "2026-05-04", "versions": versions} | BUSY
    kept = day_rows([row], date.min, ABOUT)["2026-05-04"]["versions"]
    assert {name: version["open_rate"] for name, version in kept.items()} == {"a": 0.25, "b": 0.5}


@pytest.mark.parametrize(
    "versions",
    [
        "a",
        ["a"],
        {"a": 1},
        {"a": {"sent": None}},
        {"a": {"sent": -1}},
        {"a": {"sent": 1.5}},
        {"a": {"sent": 2**63}},
        {"a": {"": 1}},
        {"a": {"__sent__": 1}},
        {"": {"sent": 1}},
        {"__a__": {"sent": 1}},
        {"x" * 1501: {"sent": 1}},
        {"\ud800": {"sent": 1}},
        {"a": {f"c{number}": 1 for number in range(1000)}},
    ],
)
def test_versions_of_another_shape_are_left_out(versions: Any) -> None:
    row = {"date": "2026-05-04", "versions": versions, "sent_optins": "few"} | BUSY
    kept = day_rows([row], date.min, ABOUT)["2026-05-04"]
    assert not kept.get("versions")
    assert kept["sent"] == BUSY["sent"]


def test_a_hundred_versions_are_kept_and_no_more() -> None:
    versions = {f"v{number}": {"sent": 1} for number in range(1000)}
    row = {"date": "2026-05-04", "versions": versions} | BUSY
    assert len(day_rows([row], date.min, ABOUT)["2026-05-04"]["versions"]) == 100


def test_days_that_are_not_yet_are_left_out() -> None:
    rows = [{"date": day} | BUSY for day in ("2026-05-04", "2026-05-05", "9999-12-31")]
    assert list(day_rows(rows, date.min, ABOUT, until=date(2026, 5, 4))) == ["2026-05-04"]


@pytest.mark.parametrize(
    ("age", "again"),
    [
        (timedelta(0), timedelta(minutes=50)),
        (timedelta(days=1), timedelta(hours=1)),
        (timedelta(days=7), timedelta(hours=7)),
        (timedelta(days=34), timedelta(hours=34)),
        (timedelta(days=35), None),
    ],
)
def test_a_campaign_is_asked_for_less_and_less_often(
    age: timedelta, again: timedelta | None
) -> None:
    now = datetime(2026, 5, 4, tzinfo=UTC)
    assert next_pull(now - age, now) == (again and now + again)


ROWS: list[Mapping[str, Any]] = [
    {"date": "2026-05-04", "open_rate": 0.375, "updated": 1} | ABOUT | BUSY,
    {"date": "2026-05-05", "app": "ios", "campaign": 'a, "b"', "open_rate": None} | BUSY,
]


def test_results_are_exported_as_csv() -> None:
    assert as_csv(ROWS) == (
        "date,app,campaign,group_id,sent,direct_open,influenced_open,reengaged,errors,open_rate\n"
        "2026-05-04,ios,,sale,8,1,2,1,0,0.375\n"
        '2026-05-05,ios,"a, ""b""",,8,1,2,1,0,'
    )


def test_results_are_exported_as_an_object_per_line() -> None:
    first, second = as_json_lines(ROWS).split("\n")
    assert first.startswith('{"app": "ios", "date": "2026-05-04"')
    assert '"open_rate": null' in second


def test_results_are_shown_as_a_table() -> None:
    head, first, _ = as_table(ROWS).split("\n")
    assert head.split()[:2] == ["date", "app"]
    assert first.split() == ["2026-05-04", "ios", "sale", "8", "1", "2", "1", "0", "37.5%"]
