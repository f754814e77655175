from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batchpush import InvalidDocument, Push
from handlers.trains import train_cancelled
from tests.events import Stored, changed
from tests.pushes import bodies, read_by, sent

STORED: dict[str, Any] = {
    "users/bob": {"language": "en"},
    "users/eva": {"language": "de", "time_zone": "Europe/Berlin", "push_muted": True},
    "users/zoé": {"language": "fr", "time_zone": "Europe/Paris"},
    "users/luz": {"language": "es", "time_zone": "Atlantic/Canary"},
}
RUNS = {
    "status": "scheduled",
    "number": 6607,
    "departs_at": datetime(2026, 5, 4, 12, 5, tzinfo=UTC),
    "passenger_ids": ["bob", "eva", "zoé", "luz"],
}
CANCELLED = RUNS | {"status": "cancelled"}


async def pushed(before: Any, after: Any, look_up: Stored | None = None) -> Push | None:
    train = changed("trains/t1", before, after, train_id="t1")
    return sent(await train_cancelled(train, look_up or Stored(STORED)))


async def test_each_passenger_reads_which_train_in_their_language_and_time_zone() -> None:
    look_up = Stored(STORED)
    push = await pushed(RUNS, CANCELLED, look_up)
    assert read_by(push) == {
        "bob": "It was due to depart on Mon, May 4 at 12:05\u202fPM UTC",
        "eva": "Geplante Abfahrt: Mo., 4. Mai um 14:05 CEST",
        "zoé": "Il devait partir le lun. 4 mai à 14:05 CEST",
        "luz": "Salida prevista: lun, 4 may, 13:05 WEST",
    }
    assert {body["message"]["title"] for body in bodies(push)} == {
        "Train 6607 cancelled",
        "Zug 6607 fällt aus",
        "Train 6607 supprimé",
        "Tren 6607 cancelado",
    }
    assert look_up.reads == [tuple(STORED)]


async def test_the_push_is_in_time_or_not_at_all() -> None:
    push = await pushed(RUNS, CANCELLED)
    assert push is not None
    assert (push.group_id, push.priority) == ("train_cancelled", "high")
    assert push.fresh_for == timedelta(hours=6)
    assert push.deeplink == "myapp://trains/t1"
    assert push.gcm_collapse_key is not None
    assert push.gcm_collapse_key.key == "train-t1"


async def test_the_trains_time_zone_is_for_those_whose_own_is_not_known() -> None:
    read = read_by(await pushed(RUNS, CANCELLED | {"time_zone": "Europe/Paris"}))
    assert read["bob"] == "It was due to depart on Mon, May 4 at 2:05\u202fPM CEST"
    assert read["luz"] == "Salida prevista: lun, 4 may, 13:05 WEST"


@pytest.mark.parametrize("before", [None, {}, RUNS, RUNS | {"status": 5}])
async def test_becoming_cancelled_is_a_push(before: Any) -> None:
    assert await pushed(before, CANCELLED) is not None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (CANCELLED, CANCELLED),
        (CANCELLED, CANCELLED | {"departs_at": 5, "passenger_ids": ["bob"]}),
        (CANCELLED, RUNS),
        (RUNS, RUNS | {"status": "delayed"}),
        (RUNS, RUNS | {"platform": 5}),
        (RUNS, {}),
        (None, RUNS),
        (CANCELLED, None),
        (RUNS, None),
        (RUNS, CANCELLED | {"passenger_ids": []}),
        (None, CANCELLED | {"departs_at": "2019-06-01T11:05:00Z"}),  # an import of old ones
    ],
)
async def test_no_other_write_is(before: Any, after: Any) -> None:
    look_up = Stored(STORED)
    assert await pushed(before, after, look_up) is None
    assert look_up.reads == []


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"status": []}, "trains/t1: status must be a string, not a list"),
        ({"number": None}, "trains/t1: number is missing"),
        ({"departs_at": None}, "trains/t1: departs_at is missing"),
        ({"departs_at": "2026-05-04T12:05"}, "trains/t1: departs_at must be a date and time with"),
        ({"passenger_ids": None}, "trains/t1: passenger_ids is missing"),
        ({"passenger_ids": [5]}, "trains/t1: passenger_ids must be a list of strings"),
        ({"time_zone": 1}, "trains/t1: time_zone is not the name of a time zone"),
    ],
)
async def test_a_malformed_train_is_named_with_its_field(fields: Any, error: str) -> None:
    with pytest.raises(InvalidDocument, match=error):
        await pushed(RUNS, CANCELLED | fields)
