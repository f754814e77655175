"""What one person writes into their profile leaves what everybody else is sent as it was."""

import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, reject, settings

from batchpush.google.firestore import FirestoreRefused
from batchpush.testing.batch import Batch
from handlers import flights, messages
from tests.deliveries import client_for
from tests.house import MORNING, NIGHT, House
from tests.profiles import accepted_profiles
from tests.pushes import HOSTILE

OTHERS: Mapping[str, dict[str, Any]] = {
    "ann": {"display_name": "Ann"},
    "cyd": {"language": "fr", "time_zone": "Europe/Paris"},
    "dan": {"quiet_hours": NIGHT},
    "eve": {"quiet_hours": NIGHT, "batch": {"install_ids": ["eve-1", "eve-2"]}},
}
FLIGHT = {"number": "BP1", "status": "delayed", "departs_at": MORNING + timedelta(days=1)}

Sent = list[tuple[str, str, str]]


def sent_to(batch: Batch) -> Iterator[tuple[str, str, str]]:
    """Every recipient of every call, with the app and what they were sent."""
    for call in batch.calls:
        frame = {name: value for name, value in call.body.items() if name != "recipients"}
        for listed in call.body["recipients"].values():
            for each in listed:
                yield call.app, each, json.dumps(frame, sort_keys=True)


async def told(profile: dict[str, Any] | None) -> Sent:
    """What everybody but Bob is sent in an evening and the next morning, to each app."""
    house = House()
    batch = Batch()
    house.worker.client = client_for(house.worker.settings, batch)
    for user_id, fields in OTHERS.items():
        await house.stores(f"users/{user_id}", fields)
    if profile is not None:
        await house.stores("users/bob", profile)
    people = [*OTHERS, "bob"]
    await house.stores("conversations/c1", {"member_ids": people})
    for name in ("m1", "m2"):
        await house.happens(
            messages.new_message,
            "conversations/{conversation_id}/messages/{message_id}",
            {"sender_id": "ann", "text": f"Hello {name}"},
            conversation_id="c1",
            message_id=name,
        )
    await house.happens(
        flights.flight_delayed,
        "flights/{flight_id}",
        FLIGHT | {"passenger_ids": people},
        flight_id="f1",
    )
    await house.run_tasks(MORNING)
    of_others = {*OTHERS, "eve-1", "eve-2"}
    return sorted(each for each in sent_to(batch) if each[1] in of_others)


@given(accepted_profiles("bob") | HOSTILE)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_a_profile_holds_the_others_are_sent_the_same(
    profile: dict[str, Any],
) -> None:
    try:
        found = await told(profile)
    except FirestoreRefused:  # half a surrogate pair, which nobody can write there
        reject()
    assert found == await told({})


@pytest.mark.parametrize(
    "profile",
    [
        {"batch": {"tokens": ["t" * 5_000]}},
        {"batch": {"install_ids": ["x" * 1_000 + str(each) for each in range(60)]}},
        {"batch": {"custom_ids": [5, None, ""]}, "quiet_hours": "never"},
        {"push_preferences": {"new_message": False, "flight_delayed": False}},
        {"push_preferences": ["new_message"]},
        {"display_name": ["Bob"], "language": {"en": True}, "time_zone": 7, "push_muted": "no"},
    ],
)
async def test_the_known_ways_to_silence_others_do_not(
    profile: dict[str, Any],
) -> None:
    assert await told(profile) == await told({})


async def test_many_with_long_ids_and_the_same_quiet_hours_wait_and_are_told() -> None:
    house = House()
    members = [f"u{number}" for number in range(32)]
    for user_id in members:
        ids = [f"{user_id}-{number:0500}" for number in range(60)]
        await house.stores(
            f"users/{user_id}", {"quiet_hours": NIGHT, "batch": {"install_ids": ids}}
        )
    await house.stores("users/zoe", {})
    await house.stores("conversations/c1", {"member_ids": [*members, "zoe"]})
    await house.happens(
        messages.new_message,
        "conversations/{conversation_id}/messages/{message_id}",
        {"sender_id": "ann", "text": "Hello"},
        conversation_id="c1",
        message_id="m1",
    )
    assert [who for who, _ in house.all_told()] == ["zoe"]
    await house.run_tasks(MORNING)
    assert {who.partition("-")[0] for who, _ in house.all_told()} == {*members, "zoe"}
