"""Events for a marketer's automations: a handler returns one in place of a push."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush import (
    Change,
    Event,
    InvalidPush,
    LookUp,
    Message,
    NoPush,
    Push,
    QuietHours,
    Recipients,
)
from batchpush.batch_api.outcome import Outcome, Reply, classify, is_success
from batchpush.delivery import erasure
from batchpush.delivery.planning import Returned
from batchpush.delivery.record import CallState, DeliveryState
from batchpush.errors import TryAgainLater
from batchpush.pushes.event import request_of
from emulators.batch.tracked import MAX_EVENTS, events_refusal
from tests.house import EVENING, MORNING, NIGHT, House
from tests.pushes import ANYTHING

ANN = Recipients(custom_ids=["ann"])
PAGE = Path("docs/events.md").read_text(encoding="utf-8")
BUSY = httpx.Response(503, json={"code": 2, "type": "MAINTENANCE_ERROR", "message": "later"})
REFUSED = httpx.Response(400, json={"code": 31, "type": "MALFORMED_PARAMETER", "message": "no"})


def event(**fields: Any) -> Event:
    return replace(
        Event(
            name="ue.added_to_cart",
            recipients=ANN,
            attributes={"article": "shoes", "price": 49.9, "is_new": True, "size": None},
            label="Shoes",
            tags=["sale"],
        ),
        **fields,
    )


def made(event: Event, now: datetime = EVENING) -> list[tuple[str, Any]]:
    """The routes and bodies of its requests to one app."""
    calls = [request_of(call.body.decode()) for call in event.calls(("ios",), now)]
    return [(route, json.loads(body)) for route, body in calls]


def test_an_event_of_one_person_has_their_route() -> None:
    ((route, body),) = made(event())
    assert route == "events/users/ann"
    attributes = {"article": "shoes", "price": 49.9, "is_new": True}
    told = {"name": "ue.added_to_cart", "label": "Shoes", "tags": ["sale"]}
    assert body == {"events": [told | {"attributes": attributes}]}


@pytest.mark.parametrize(
    ("time", "sent"),
    [
        (EVENING - timedelta(hours=23), EVENING - timedelta(hours=23)),
        (EVENING - timedelta(milliseconds=1), EVENING - timedelta(seconds=1)),
        ((EVENING - timedelta(hours=1)).astimezone(ZoneInfo("Asia/Tokyo")), None),
        (EVENING + timedelta(seconds=30), EVENING),  # a clock that is ahead of ours
    ],
)
def test_a_time_is_in_utc_and_not_in_the_future(time: datetime, sent: datetime | None) -> None:
    ((_, body),) = made(event(time=time))
    expected = sent or EVENING - timedelta(hours=1)
    assert body["events"][0]["time"] == f"{expected:%Y-%m-%dT%H:%M:%S}"


def test_several_people_share_calls_of_at_most_a_thousand_events() -> None:
    ids = [f"u{number}" for number in range(2_500)]
    requests = made(event(recipients=[Recipients(custom_ids=ids), ANN, ANN]))
    assert [(route, len(body)) for route, body in requests] == [
        ("events/users", 1000),
        ("events/users", 1000),
        ("events/users", 501),
    ]
    assert [each["id"] for _, body in requests for each in body] == [*ids, "ann"]
    assert all(events_refusal("", body, EVENING) is None for _, body in requests)


@pytest.mark.parametrize(
    ("custom_id", "route"), [("a/b c", "events/users/a%2Fb%20c"), ("..", "events/users")]
)
def test_an_id_leads_to_no_other_route(custom_id: str, route: str) -> None:
    assert made(event(recipients=Recipients(custom_ids=[custom_id])))[0][0] == route


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"name": "added_to_cart"}, "name must be ue.NAME"),
        ({"name": "ue.Added"}, "name must be ue.NAME"),
        ({"name": "ue." + "x" * 31}, "name must be"),
        ({"recipients": ()}, "recipients names nobody"),
        ({"recipients": Recipients(install_ids=["i"])}, "recipients names nobody by a custom id"),
        ({"recipients": Recipients(custom_ids=[" "])}, "recipients.custom_ids must be"),
        ({"recipients": Recipients(custom_ids=list(map(str, range(10_001))))}, "10000 people"),
        ({"label": "x" * 201}, "label is longer than 200"),
        ({"attributes": {f"a{n}": n for n in range(16)}}, "attributes must be at most 15"),
        ({"attributes": {"Size": 1}}, "attributes has a name"),
        ({"attributes": {"city": "🍝" * 33}}, "attributes.city is longer than 64"),
        ({"attributes": {"size": [1]}}, "attributes.size must be a text, a number"),
        ({"attributes": {"size": float("inf")}}, "attributes.size must be"),
        ({"tags": ["x" * 65]}, "tags is longer than 64"),
        ({"tags": [f"t{n}" for n in range(11)]}, "tags must be a list of at most 10"),
        ({"tags": "sale"}, "tags must be a list"),
        ({"tags": [1]}, "tags must be a text"),
        ({"time": EVENING + timedelta(minutes=2)}, "time must not be in the future"),
        ({"time": EVENING - timedelta(hours=25)}, "time must be at most 24 hours ago"),
        ({"time": datetime(2026, 6, 10)}, "time must be a time with a zone"),
        ({"apps": ["watch"]}, "apps names apps"),
        ({"fresh_for": timedelta(days=2)}, "fresh_for must be"),
    ],
)
def test_what_batch_would_refuse_names_the_field(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidPush, match=problem):
        made(event(**fields))


TEXTS = st.text(max_size=70)


@given(
    st.dictionaries(st.sampled_from(["size", "city", "a1"]) | TEXTS, ANYTHING | TEXTS, max_size=16),
    st.none() | st.text(max_size=210),
    st.lists(TEXTS, max_size=11),
    st.none() | st.timedeltas(timedelta(hours=-25), timedelta(minutes=2)).map(EVENING.__add__),
)
def test_what_is_not_refused_here_batch_takes(
    attributes: dict[str, Any], label: str | None, tags: list[str], time: datetime | None
) -> None:
    try:
        requests = made(event(attributes=attributes, label=label, tags=tags, time=time))
    except InvalidPush:
        return
    for route, body in requests:
        custom_id = route.removeprefix("events/users").removeprefix("/")
        assert events_refusal(custom_id, body, EVENING) is None


# Through the ledger


async def added(change: Change, look_up: LookUp) -> Returned:
    fields = change.document
    if fields.get("nobody"):
        return NoPush({"muted": ["ann"]})
    return event(
        recipients=Recipients(custom_ids=fields.get("ids", ["ann"])),
        attributes=fields.get("attributes", {}),
    )


async def happens(house: House, **fields: Any) -> Change:
    return await house.happens(added, "carts/{id}", {"n": 1, **fields}, id="c1", event_id="e1")


def tracked(house: House, app: str = "A") -> list[str]:
    """The routes that an app accepted."""
    calls = [call for call in house.batch.calls if call.app == app and call.is_accepted]
    return [call.route for call in calls]


async def test_an_event_is_recorded_as_what_it_was_and_sent_once() -> None:
    house = House()
    change = await happens(house)
    await house.watches["added"].function(change)
    assert tracked(house, "A") == tracked(house, "B") == ["events/users/ann"]
    record = await house.record_of(change)
    assert (record.state, record.event) == (DeliveryState.SENT, "ue.added_to_cart")
    assert record.group_id is None  # no results can be asked for


async def test_quiet_hours_do_not_hold_it_back() -> None:
    house = House()
    await house.stores("users/ann", {"quiet_hours": NIGHT})
    await happens(house)
    assert len(tracked(house)) == 1


async def test_a_push_that_waited_does_not_become_an_event() -> None:
    """Those who wait are remembered as a push's recipients."""
    house = House()

    async def changes_its_mind(change: Change, look_up: LookUp) -> Returned:
        if change.late:
            return event()
        night = QuietHours(time(22), time(7), UTC)
        return Push(
            group_id="g",
            recipients=Recipients(custom_ids=["ann"], quiet=night),
            message=Message("Hello"),
        )

    change = await house.happens(changes_its_mind, "carts/{id}", {}, id="c1")
    await house.run_tasks(MORNING)
    record = await house.record_of(change)
    reason = "name cannot be an Event where a push had to wait"
    assert (record.state, record.reason) == (DeliveryState.REFUSED, reason)
    assert house.batch.calls == []


async def test_what_batch_did_not_take_comes_with_the_redelivery() -> None:
    house = House()
    house.batch.answer = BUSY
    with pytest.raises(TryAgainLater):
        await happens(house)
    house.batch.answer = None
    house.clock.forward(70)
    change = await happens(house)
    assert tracked(house, "A") == tracked(house, "B") == ["events/users/ann"]
    assert (await house.record_of(change)).state is DeliveryState.SENT


async def test_a_lost_answer_is_sent_again_once_and_then_held() -> None:
    house = House(MAX_AMBIGUOUS_RESENDS="1", BATCH_APPS="ios=A")
    house.batch.answer_next(httpx.ReadTimeout("lost"), httpx.ReadTimeout("lost"))
    for _ in range(3):
        try:
            change = await happens(house)
        except TryAgainLater:
            house.clock.forward(70)
    assert len(house.batch.calls) == 2
    record = await house.record_of(change)
    assert record.state is DeliveryState.HELD
    entry = await house.worker.ledger.read(record.id)
    assert entry is not None
    await house.worker.replay.replay(entry, resend_unknown=True)
    assert house.batch.calls[-1].route == "events/users/ann"
    assert (await house.record_of(change)).state is DeliveryState.SENT


async def test_what_batch_refuses_is_recorded_with_its_words() -> None:
    house = House()
    house.batch.answer = REFUSED
    change = await happens(house)
    record = await house.record_of(change)
    assert record.state is DeliveryState.REFUSED
    assert record.calls[0].problem == "31 MALFORMED_PARAMETER: no"


async def test_what_a_handler_got_wrong_is_recorded_with_the_field() -> None:
    house = House()
    change = await happens(house, attributes={"Size": 1})
    record = await house.record_of(change)
    assert record.state is DeliveryState.REFUSED
    assert "attributes has a name" in (record.reason or "")
    assert house.batch.calls == []


async def test_an_event_that_is_too_old_expires() -> None:
    house = House()
    house.batch.answer = BUSY
    with pytest.raises(TryAgainLater):
        await happens(house)
    house.clock.forward(3601)
    (record,) = await house.records()
    entry = await house.worker.ledger.read(record.id)
    assert entry is not None
    await house.worker.sender.resume(entry)
    (record,) = await house.records()
    assert record.state is DeliveryState.EXPIRED


async def test_what_the_platform_gave_up_on_is_finished_by_the_sweep() -> None:
    house = House(BATCH_APPS="ios=A")
    house.batch.answer = BUSY
    with pytest.raises(TryAgainLater):
        await happens(house)
    house.batch.answer = None
    house.clock.forward(901)
    await house.worker.sweep.run()
    assert tracked(house) == ["events/users/ann"]


async def test_a_person_who_is_erased_is_taken_out_of_an_event_that_is_still_to_be_sent() -> None:
    house = House(BATCH_APPS="ios=A")
    house.batch.answer = BUSY
    with pytest.raises(TryAgainLater):
        await happens(house, ids=["ann", "bob"])
    (record,) = await house.records()
    erased = erasure.without("ann", record, house.clock.now()).record
    route, body = request_of(erased.bodies[0])
    assert (route, b"ann" in body) == ("events/users/bob", False)
    alone = erasure.without("bob", erased, house.clock.now()).record
    assert alone.calls[0].state is CallState.REFUSED
    assert not erasure.names(alone, "ann")
    assert not erasure.names(alone, "bob")


async def test_an_event_can_be_found_by_whom_it_happened_to() -> None:
    house = House(RECIPIENT_INDEX_DAYS="7")
    change = await happens(house, ids=["ann", "bob"])
    assert len((await house.record_of(change)).people) == 2


async def test_nobody_is_left_to_track() -> None:
    house = House()
    change = await happens(house, nobody=True)
    record = await house.record_of(change)
    assert (record.state, record.event) == (DeliveryState.OBSOLETE, None)


async def test_the_handler_of_the_page_works() -> None:
    (handler, _) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(compile(handler, "events.md", "exec"), namespace)  # noqa: S102 - it is our page
    returned = namespace["added_to_cart"]
    house = House()
    cart = {"items": ["shoes"]}
    await house.happens(returned, "carts/{user_id}", cart, user_id="ann")
    assert tracked(house) == ["events/users/ann"]
    more = {"items": ["shoes"], "note": "gift"}
    await house.happens(returned, "carts/{user_id}", more, before=cart, user_id="ann")
    assert len(tracked(house)) == 1


# The local Batch


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ({}, None),
        ({"time": "2026-06-10T22:00:00", "label": "x", "tags": ["a"]}, None),
        ({"name": "added"}, "`name` must be"),
        ({"time": "2026-06-10T23:30:00"}, "in the future"),
        ({"time": "2026-06-09T22:00:00"}, "over 24 hours"),
        ({"time": "soon"}, "`time` must be"),
        ({"label": "x" * 201}, "at most 200"),
        ({"attributes": {f"a{n}": 1 for n in range(16)}}, "at most 15"),
        ({"attributes": {"A": 1}}, "a name that is not known"),
        ({"attributes": {"a": "x" * 65}}, "at most 64"),
        ({"tags": ["x"] * 11}, "at most 10"),
        ({"data": {}}, "`data` is not known"),
    ],
)
def test_events_are_judged(told: dict[str, Any], problem: str | None) -> None:
    body = {"events": [{"name": "ue.added_to_cart"} | told]}
    refused = events_refusal("ann", body, EVENING)
    assert (refused is None) == (problem is None)
    assert refused is None or problem is None or problem in refused.body["message"]


def test_a_thousand_events_are_taken_over_all_people_and_no_more() -> None:
    one = {"name": "ue.x"}
    full = [{"id": "ann", "events": [one] * 600}, {"id": "bob", "events": [one] * 400}]
    assert events_refusal("", full, EVENING) is None
    over = [*full, {"id": "eve", "events": [one]}]
    refused = events_refusal("", over, EVENING)
    assert refused is not None
    assert str(MAX_EVENTS) in refused.body["message"]


def test_a_reply_without_a_token_is_proof_enough() -> None:
    assert classify(Reply(200, b"{}"), is_success).outcome is Outcome.ACCEPTED
