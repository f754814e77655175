"""Ten seconds of what `make soak` does for two hours, and whether it sees a process grow."""

from pathlib import Path

import pytest

from tests.soak.__main__ import WARM_UP, growing, slopes, soaked
from tests.soak.process import Holding

HOURS = range(6)


@pytest.mark.suite
async def test_ten_seconds_lose_nothing_and_leave_no_task(tmp_path: Path) -> None:
    async with soaked(tmp_path, seconds=10, per_second=20) as soak:
        await soak.chapter()
        assert (soak.tally.events, soak.tally.keys, soak.tally.restarts) == (200, 1, 1)
        await soak.chapter()
    first, second = soak.holdings
    assert second.tasks == first.tasks


@pytest.mark.parametrize(
    ("more_an_hour", "grows"),
    [
        ({}, []),
        ({"resident": 5}, []),
        ({"resident": 7}, ["resident: +7.00 an hour"]),
        ({"in_use": 1, "objects": 8000}, ["in_use: +1.00 an hour", "objects: +8000.00 an hour"]),
        ({"files": 3, "tasks": 2}, ["files: +3.00 an hour", "tasks: +2.00 an hour"]),
        ({"resident": -5, "tasks": -5}, []),
    ],
)
def test_what_grows_is_named(more_an_hour: dict[str, int], grows: list[str]) -> None:
    at_first = {"resident": 100, "in_use": 20, "objects": 400_000, "files": 20, "tasks": 10}
    held = [
        Holding(
            hour, **{what: n + hour * more_an_hour.get(what, 0) for what, n in at_first.items()}
        )
        for hour in HOURS
    ]
    assert growing(slopes(held)) == grows


def test_what_fills_at_first_is_no_growth() -> None:
    held = [Holding(hour, 100 if hour >= WARM_UP else 10, 20, 400_000, 20, 2) for hour in HOURS]
    assert growing(slopes(held)) == []
