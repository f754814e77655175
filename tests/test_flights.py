from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batchpush import InvalidDocument, Push
from batchpush.documents import Reference
from batchpush.events.decoding import from_database, from_firestore
from handlers.flights import flight_delayed
from tests.events import (
    Stored,
    changed,
    database_body,
    database_headers,
    firestore_body,
    firestore_headers,
)
from tests.pushes import bodies, read_by, sent

STORED: dict[str, Any] = {
    "users/ann": {"language": "en", "time_zone": "America/New_York"},
    "users/bob": {"language": "en"},
    "users/eva": {"language": "de", "time_zone": "Europe/Berlin", "push_muted": True},
    "users/zoé": {"language": "fr", "time_zone": "Europe/Paris"},
    "users/luz": {"language": "es", "time_zone": "Mars/Olympus"},
}
NOON = datetime(2026, 5, 4, 12, 5, tzinfo=UTC)
ON_TIME = {
    "status": "scheduled",
    "number": "AF1234",
    "departs_at": NOON - timedelta(hours=2),
    "passenger_ids": ["ann", "bob", "eva", "zoé", "luz"],
}
DELAYED = ON_TIME | {"status": "delayed", "departs_at": NOON}
LATER = DELAYED | {"departs_at": NOON + timedelta(minutes=30)}


async def pushed(before: Any, after: Any, look_up: Stored | None = None) -> Push | None:
    flight = changed("flights/f1", before, after, flight_id="f1")
    return sent(await flight_delayed(flight, look_up or Stored(STORED)))


async def test_each_passenger_reads_the_new_departure_in_their_language_and_time_zone() -> None:
    look_up = Stored(STORED)
    assert read_by(await pushed(ON_TIME, DELAYED, look_up)) == {
        "ann": "New departure: Mon, May 4 at 8:05\u202fAM EDT",
        "bob": "New departure: Mon, May 4 at 12:05\u202fPM UTC",
        "eva": "Neue Abflugzeit: Mo., 4. Mai um 14:05 CEST",
        "zoé": "Nouveau départ\u00a0: lun. 4 mai à 14:05 CEST",
        "luz": "Nueva salida: lun, 4 may, 12:05 UTC",
    }
    assert look_up.reads == [tuple(STORED)]


async def test_the_flights_time_zone_is_for_those_whose_own_is_not_known() -> None:
    read = read_by(await pushed(ON_TIME, DELAYED | {"time_zone": "Asia/Tokyo"}))
    assert read["ann"] == "New departure: Mon, May 4 at 8:05\u202fAM EDT"
    assert read["bob"] == "New departure: Mon, May 4 at 9:05\u202fPM JST"
    assert read["luz"] == "Nueva salida: lun, 4 may, 21:05 JST"


async def test_the_push_is_in_time_or_not_at_all() -> None:
    push = await pushed(ON_TIME, DELAYED | {"passenger_ids": ["bob"]})
    assert bodies(push) == [
        {
            "group_id": "flight_delayed",
            "recipients": {"custom_ids": ["bob"]},
            "message": {
                "title": "Flight AF1234 delayed",
                "body": "New departure: Mon, May 4 at 12:05\u202fPM UTC",
            },
            "deeplink": "myapp://flights/f1",
            "gcm_collapse_key": {"key": "flight-f1", "enabled": True},
            "priority": "high",
        }
    ]
    assert push is not None
    assert push.fresh_for == timedelta(hours=6)


async def test_one_profile_or_item_of_garbage_keeps_nobody_else_from_the_push() -> None:
    eve = {
        "batch": {"tokens": ["t" * 5000], "install_ids": [5], "custom_ids": ["a\nb"]},
        "quiet_hours": {"start": "marker"},
        "display_name": "\u202e",
    }
    passengers = ["", "bob", 5, "a/b", Reference("users/eve"), "tim"]
    push = await pushed(
        ON_TIME, DELAYED | {"passenger_ids": passengers}, Stored(STORED | {"users/eve": eve})
    )
    assert list(read_by(push)) == ["bob", "eve", "tim"], "tim has no profile: a back end named him"


async def test_those_who_read_the_same_share_a_call() -> None:
    passengers = [f"u{number}" for number in range(50)]
    (call,) = bodies(await pushed(ON_TIME, DELAYED | {"passenger_ids": passengers}))
    assert call["recipients"] == {"custom_ids": passengers}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, DELAYED),
        ({}, DELAYED),
        (ON_TIME, DELAYED),
        (ON_TIME | {"departs_at": NOON}, DELAYED),
        (DELAYED, LATER),
        (LATER, DELAYED),
        (DELAYED, DELAYED | {"departs_at": NOON + timedelta(seconds=60)}),
        (DELAYED, DELAYED | {"departs_at": NOON - timedelta(seconds=1)}),
        (DELAYED | {"departs_at": None}, DELAYED),
        (DELAYED | {"departs_at": "soon"}, DELAYED),
        (DELAYED | {"status": 5}, DELAYED),
    ],
)
async def test_a_delay_and_each_new_time_is_a_push(before: Any, after: Any) -> None:
    assert await pushed(before, after) is not None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (DELAYED, DELAYED),
        (DELAYED, DELAYED | {"gate": "B7", "passenger_ids": ["ann"]}),
        (DELAYED, DELAYED | {"departs_at": "2026-05-04T14:05:00+02:00"}),  # the same moment
        (DELAYED, DELAYED | {"departs_at": NOON + timedelta(milliseconds=1)}),
        (DELAYED, DELAYED | {"departs_at": NOON + timedelta(seconds=59)}),
        (None, DELAYED | {"departs_at": NOON - timedelta(days=3)}),  # an import of old ones
        (DELAYED, LATER | {"status": "boarding"}),
        (ON_TIME, ON_TIME | {"departs_at": NOON}),
        (None, ON_TIME),
        (ON_TIME, {}),
        (DELAYED, None),
        (ON_TIME, None),
        (DELAYED | {"departs_at": None}, DELAYED | {"departs_at": None, "gate": "B7"}),
        (ON_TIME, DELAYED | {"passenger_ids": []}),
    ],
)
async def test_no_other_write_is(before: Any, after: Any) -> None:
    look_up = Stored(STORED)
    assert await pushed(before, after, look_up) is None
    assert look_up.reads == []


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"status": True}, "flights/f1: status must be a string, not a boolean"),
        ({"number": None}, "flights/f1: number is missing"),
        ({"number": True}, "flights/f1: number must be a string, not a boolean"),
        ({"departs_at": None}, "flights/f1: departs_at is missing"),
        ({"departs_at": "14:05"}, "flights/f1: departs_at is not a date and time"),
        (
            {"departs_at": 1777896300_000_000},
            "flights/f1: departs_at is not a date and time: a number must be seconds or milli",
        ),
        ({"departs_at": True}, "flights/f1: departs_at must be a date and time with its zone"),
        ({"passenger_ids": None}, "flights/f1: passenger_ids is missing"),
        ({"passenger_ids": "ann"}, "flights/f1: passenger_ids must be a list of strings"),
        (
            {"passenger_ids": [f"u{number}" for number in range(1001)]},
            "flights/f1: passenger_ids has 1001 people; the maximum is 1000",
        ),
        ({"time_zone": "Mars/Olympus"}, "flights/f1: time_zone is not the name of a time zone"),
    ],
)
async def test_a_malformed_flight_is_named_with_its_field(fields: Any, error: str) -> None:
    with pytest.raises(InvalidDocument, match=error):
        await pushed(ON_TIME, DELAYED | fields)


async def test_both_databases_tell_the_same() -> None:
    path, pattern = "flights/f1", "flights/{flight_id}"
    changes = [
        from_firestore(
            "flight_delayed",
            pattern,
            firestore_headers(path, kind="written"),
            firestore_body(path, ON_TIME, DELAYED),
        )
    ]
    for noon in (1777896300000, 1777896300, "2026-05-04T12:05:00Z"):
        before = ON_TIME | {"departs_at": 1777889100000}
        delta = {"status": "delayed", "departs_at": noon}
        headers = database_headers(path, kind="written")
        body = database_body(before, delta)
        changes.append(from_database("flight_delayed_rtdb", pattern, headers, body))
    first, *others = [await flight_delayed(change, Stored(STORED)) for change in changes]
    assert first is not None
    assert others == [first] * 3
