"""Pushes to people on Batch's Customer Engagement Platform: events of their profiles."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import main  # noqa: F401 - the functions
from batchpush import Audience, Event, Media, Message, NoPush, Push, Recipients
from batchpush.batch_api.cep import Tracking, has_taken
from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.outcome import Outcome, Reply, classify
from batchpush.delivery.erasure import without
from batchpush.delivery.record import CallState, DeliveryState, Record
from batchpush.environment import Settings
from batchpush.errors import InvalidPush, TryAgainLater
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp
from batchpush.pushes.push import is_text
from batchpush.testing import Project
from batchpush.timing import Timing
from emulators import batch
from emulators.batch.cep import Cep
from tests.deliveries import client_for
from tests.house import MORNING, NIGHT, House

PROJECT = "project_1"
CEP: Any = {"CHANNEL": "cep", "BATCH_PROJECT": PROJECT}
ANN = Recipients(custom_ids=["ann"])
SUCCESS = {"code": "SUCCESS"}


def partial(*errors: dict[str, Any]) -> httpx.Response:
    return httpx.Response(202, json={"code": "SUCCESS_WITH_PARTIAL_ERRORS", "errors": errors})


def no(index: int, reason: str = "invalid value", **more: str) -> dict[str, Any]:
    return {"category": "attribute", "bulk_index": index, "reason": reason} | more


async def pushed(house: House, push: Push) -> Record:
    """The record of an event of which a handler made this push."""

    async def handler(change: Change, look_up: LookUp) -> Push | NoPush | None:
        return push

    change = await house.happens(handler, "orders/{id}", {"n": 1}, id="o1")
    await house.run_tasks(house.clock.now())
    return await house.record_of(change)


def a_push(**changes: Any) -> Push:
    fields = {"group_id": "order_delivered", "recipients": ANN, "message": Message("Hi")}
    return Push(**cast(Any, fields | changes))


# --- what is sent


async def test_the_same_handlers_send_one_event_named_like_the_group_for_all_apps() -> None:
    project = Project({"users/ann": {}}, BATCH_APPS="ios=I,android=A,web=W", **CEP)
    order = {"status": "delivered", "customer_id": "ann", "number": "7"}
    (call,) = await project.write("orders/o1", order)
    assert (call.app, call.method, call.route) == (PROJECT, "POST", "profiles/update")
    (profile,) = call.body
    assert profile["identifiers"] == {"custom_id": "ann"}
    (event,) = profile["events"]
    assert event["name"] == "order_delivered"
    assert event["attributes"]["body"] == project.told("ann")[0]
    record = await project.record("order_delivered", "orders/o1")
    assert [(each.app, each.state) for each in record.calls] == [("CEP", CallState.ACCEPTED)]
    assert record.state is DeliveryState.SENT


async def test_the_values_of_a_push_are_the_attributes_of_its_event() -> None:
    house = House(**CEP)
    await pushed(
        house,
        a_push(
            message=Message("Hi", "Title"),
            deeplink="https://example.com/o1",
            media=Media(picture="https://example.com/p.png", icon="https://example.com/i.png"),
            custom_payload={"order": "o1"},
            priority="high",
            labels=["ORDERS"],
        ),
    )
    (call,) = house.batch.calls
    assert call.body[0]["events"] == [
        {
            "name": "order_delivered",
            "attributes": {
                "title": "Title",
                "body": "Hi",
                "deeplink": "https://example.com/o1",
                "custom_payload": '{"order":"o1"}',
                "picture": "https://example.com/p.png",
                "icon": "https://example.com/i.png",
            },
        }
    ]


async def test_an_event_that_a_handler_returns_is_one_of_the_project_too() -> None:
    """In as many requests as CEP needs, beside the older API for an app that stays."""
    house = House(CHANNEL="ios=cep", BATCH_PROJECT=PROJECT)
    ids = [f"u{number}" for number in range(201)]

    async def handler(change: Change, look_up: LookUp) -> Event:
        return Event(
            name="ue.added_to_cart",
            recipients=Recipients(custom_ids=ids),
            attributes={"price": 7, "gift": True},
            label="Tea",
            tags=["tea"],
        )

    change = await house.happens(handler, "carts/{id}", {"n": 1}, id="c1")
    calls = [(call.app, call.route, len(call.body)) for call in house.batch.calls]
    assert sorted(calls) == [
        ("B", "events/users", 201),
        (PROJECT, "profiles/update", 1),
        (PROJECT, "profiles/update", 200),
    ]
    event = next(call for call in house.batch.calls if call.app == PROJECT).body[0]["events"]
    attributes = {"price": 7, "gift": True, "$label": "Tea", "$tags": ["tea"]}
    assert event == [{"name": "added_to_cart", "attributes": attributes}]
    assert (await house.record_of(change)).state is DeliveryState.SENT


async def test_an_app_that_stays_is_called_as_before_beside_the_project() -> None:
    house = House(CHANNEL="ios=cep", BATCH_PROJECT=PROJECT)
    both = Recipients(custom_ids=["ann"], tokens=["t"])
    record = await pushed(house, a_push(recipients=both, labels=["ORDERS"]))
    of_android, of_project = house.batch.calls
    assert of_android.app == "B"
    assert of_android.body["recipients"] == {"custom_ids": ["ann"], "tokens": ["t"]}
    assert of_android.body["labels"] == ["ORDERS"]
    assert of_project.app == PROJECT
    assert [each["identifiers"]["custom_id"] for each in of_project.body] == ["ann"]
    assert [call.app for call in record.calls] == ["android", "CEP"]


@pytest.mark.parametrize(
    ("apps", "called"), [(["ios"], [PROJECT]), (["android"], ["B"]), (["ios", "web"], [PROJECT])]
)
async def test_a_push_for_some_apps_calls_only_what_those_are_on(
    apps: list[str], called: list[str]
) -> None:
    house = House(
        BATCH_APPS="ios=A,android=B,web=C", CHANNEL="ios=cep,web=cep", BATCH_PROJECT=PROJECT
    )
    await pushed(house, a_push(apps=apps))
    assert [call.app for call in house.batch.calls] == called


async def test_a_call_has_at_most_200_profiles_and_each_person_once() -> None:
    house = House(**CEP)
    people = [f"u{number}" for number in range(450)]
    record = await pushed(house, a_push(recipients=Recipients(custom_ids=[*people, "u1"])))
    assert [len(call.body) for call in house.batch.calls] == [200, 200, 50]
    told = [each["identifiers"]["custom_id"] for call in house.batch.calls for each in call.body]
    assert told == people
    assert record.state is DeliveryState.SENT
    assert len(record.calls) == 3


async def test_an_audience_is_sent_in_chunks_of_200() -> None:
    async def groups() -> AsyncIterator[tuple[Recipients, Message]]:
        for number in range(500):
            yield Recipients(custom_ids=[f"u{number}"]), Message("Snow")

    house = House(**CEP)
    record = await pushed(house, a_push(message=None, recipients=Audience(groups())))
    assert sorted(len(call.body) for call in house.batch.calls) == [100, 200, 200]
    assert record.state is DeliveryState.SENT
    assert len(record.chunks) == 3


async def test_what_waits_for_the_morning_is_an_event_then() -> None:
    house = House(**CEP)
    await house.stores("users/ann", {"quiet_hours": NIGHT})

    async def handler(change: Change, look_up: LookUp) -> Push:
        from handlers.people import people, recipients

        return a_push(recipients=recipients(await people(look_up, "ann"), "g"))

    await house.happens(handler, "orders/{id}", {"n": 1}, id="o1")
    assert house.batch.calls == []
    await house.run_tasks(MORNING)
    assert [call.app for call in house.batch.calls] == [PROJECT]


@pytest.mark.parametrize("text", ["x" * 301, "💪" * 151, "é" * 400])
async def test_a_text_that_is_too_long_is_cut_between_characters(text: str) -> None:
    body = json.dumps(
        {"group_id": "g", "message": {"body": text}, "recipients": {"custom_ids": []}}
    )
    cut = Tracking.of(body.encode()).event["attributes"]["body"]
    assert len(cut.encode("utf-16-le")) <= 600
    assert text.startswith(cut.removesuffix("…"))
    assert cut.endswith("…")


# --- what the platform does not take


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"group_id": "order-delivered"}, "group_id must be 1 to 30 of a-z, 0-9 and _"),
        ({"group_id": "Order"}, "group_id must be 1 to 30"),
        ({"group_id": "x" * 31}, "group_id must be 1 to 30"),
        ({"deeplink": "https://example.com/" + "x" * 300}, "deeplink must be at most 300"),
        ({"custom_payload": {"text": "x" * 300}}, "custom_payload must be at most 300"),
    ],
)
async def test_what_cep_would_refuse_is_refused_and_the_field_is_named(
    changes: dict[str, Any], problem: str
) -> None:
    house = House(CHANNEL="ios=cep", BATCH_PROJECT=PROJECT)
    record = await pushed(house, a_push(**changes))
    assert [call.app for call in house.batch.calls] == ["B"]  # the other app is told
    accepted, refused = record.calls
    assert (accepted.state, refused.state) == (CallState.ACCEPTED, CallState.REFUSED)
    assert refused.problem is not None
    assert refused.problem.startswith(problem)
    assert record.state is DeliveryState.REFUSED


async def test_who_has_no_custom_id_is_left_out_on_record() -> None:
    house = House(**CEP)
    bob = Recipients(install_ids=["i1"], person="bob")
    eve = Recipients(custom_ids=["e1"], install_ids=["i2"], person="eve")
    record = await pushed(house, a_push(recipients=[ANN, bob, eve]))
    (call,) = house.batch.calls
    assert [each["identifiers"]["custom_id"] for each in call.body] == ["ann", "e1"]
    assert dict(record.left_out) == {
        "without a custom id, by which alone CEP knows people": ("bob",)
    }


async def test_a_push_to_nobody_with_a_custom_id_is_refused() -> None:
    house = House(**CEP)
    record = await pushed(house, a_push(recipients=Recipients(tokens=["t"])))
    assert house.batch.calls == []
    assert record.state is DeliveryState.REFUSED
    assert record.reason == "recipients.custom_ids is empty, and CEP knows people by no other id"


WORDS = st.text(min_size=1, max_size=400).filter(is_text)
FIELDS = st.fixed_dictionaries(
    {
        "group_id": st.text("abXY09_-", min_size=1, max_size=40),
        "message": st.builds(Message, WORDS) | st.builds(Message, WORDS, WORDS),
    },
    optional={
        "deeplink": st.integers(1, 400).map(lambda length: "https://example.com/" + "x" * length),
        "custom_payload": st.dictionaries(st.text(max_size=5), st.text(max_size=400)),
        "media": st.just(Media(picture="https://example.com/p.png")),
        "labels": st.just(["ORDERS"]),
    },
)


@given(FIELDS)
def test_what_passes_here_passes_the_known_rules_of_cep(fields: dict[str, Any]) -> None:
    try:
        (call,) = a_push(**fields).calls({"ios": "CEP"})
    except InvalidPush:
        return  # no push of MEP either
    tracking = Tracking.of(call.body)
    headers = {"authorization": "Bearer k", "x-batch-project": PROJECT}
    local = Cep(PROJECT, lenient=False, now=lambda: datetime.now(UTC))
    reply = local.reply(headers, json.loads(tracking.body), True, bool)
    is_taken, passes = reply.body == SUCCESS, tracking.problem() is None
    assert is_taken or not passes
    assert passes or not is_taken or not call.body.isascii(), "only here, an emoji counts as two"


# --- what Batch answers


async def test_of_a_partial_success_each_who_is_refused_is_on_record() -> None:
    house = House(**CEP)
    house.batch.answer_next(
        partial(no(1, attribute="title"), no(2, "unknown timezone"), no(2, "a second reason"))
    )
    record = await pushed(house, a_push(recipients=Recipients(custom_ids=["ann", "bob", "eve"])))
    assert record.state is DeliveryState.SENT
    assert [call.state for call in record.calls] == [CallState.ACCEPTED]
    assert dict(record.left_out) == {
        "refused by Batch: title, invalid value": ("bob",),
        "refused by Batch: unknown timezone": ("eve",),
    }


async def test_a_call_in_which_everybody_is_refused_is_refused() -> None:
    house = House(**CEP)
    house.batch.answer_next(partial(no(0, "no such project")))
    record = await pushed(house, a_push())
    assert record.state is DeliveryState.REFUSED
    (call,) = record.calls
    assert call.status == 202
    assert call.problem == (
        "SUCCESS_WITH_PARTIAL_ERRORS: 1 refused, refused by Batch: no such project"
    )
    assert dict(record.left_out) == {"refused by Batch: no such project": ("ann",)}


@pytest.mark.parametrize(
    "errors",
    [None, 5, ["x"], [{}], [no(7)], [no(-1)], [no(True)], [{"bulk_index": "0"}]],
)
def test_errors_that_name_nobody_refuse_nobody(errors: Any) -> None:
    body = json.dumps({"code": "SUCCESS_WITH_PARTIAL_ERRORS", "errors": errors}).encode()
    reply = Tracking({"name": "g"}, ["ann"]).read(Reply(202, body))
    assert reply.refused == {}
    assert classify(reply, has_taken).outcome is Outcome.ACCEPTED


MEP_ERROR = b'{"code": 60, "type": "TOO_MANY_REQUESTS", "message": "slow"}'
CEP_ERROR = b'{"error_code": "SERVER_ERROR", "error_message": "oops"}'


@pytest.mark.parametrize(
    ("reply", "outcome", "said"),
    [
        (Reply(202, json.dumps(SUCCESS).encode()), Outcome.ACCEPTED, None),
        (Reply(202, b'{"token": "t"}'), Outcome.UNKNOWN, None),
        (Reply(202, b'{"code": "SUC'), Outcome.UNKNOWN, None),
        (Reply(429, MEP_ERROR), Outcome.NOT_SENT, "60 TOO_MANY_REQUESTS: slow"),
        (Reply(500, CEP_ERROR), Outcome.NOT_SENT, "SERVER_ERROR: oops"),
        (Reply(500, b"oops"), Outcome.UNKNOWN, None),
        (Reply(503, b""), Outcome.NOT_SENT, None),
        (Reply(400, CEP_ERROR), Outcome.REFUSED, "SERVER_ERROR: oops"),
        (Reply(400, MEP_ERROR), Outcome.REFUSED, "60 TOO_MANY_REQUESTS: slow"),
        (Reply(401, CEP_ERROR), Outcome.NOT_SENT, "SERVER_ERROR: oops"),
        (Reply(problem="no answer"), Outcome.UNKNOWN, None),
    ],
)
def test_both_shapes_of_errors_are_read(reply: Reply, outcome: Outcome, said: str | None) -> None:
    assert classify(reply, has_taken).outcome is outcome
    assert reply.said() == said


async def test_what_may_have_been_taken_is_sent_again_no_more_often_than_promised() -> None:
    house = House(MAX_AMBIGUOUS_RESENDS="1", **CEP)
    house.batch.answer = httpx.Response(504)

    async def handler(change: Change, look_up: LookUp) -> Push:
        return a_push()

    for _ in range(4):
        try:
            change = await house.happens(handler, "orders/{id}", {"n": 1}, event_id="e", id="o1")
            break
        except TryAgainLater:
            house.clock.forward(120)
    assert len(house.batch.calls) == 2
    assert (await house.record_of(change)).state is DeliveryState.HELD


async def test_a_second_event_of_the_platform_sends_nothing() -> None:
    house = House(**CEP)

    async def handler(change: Change, look_up: LookUp) -> Push:
        return a_push()

    for _ in range(3):
        await house.happens(handler, "orders/{id}", {"n": 1}, event_id="e", id="o1")
    assert len(house.batch.calls) == 1


async def test_no_more_than_300_profiles_a_second_follow_the_first_1000() -> None:
    house = House(**CEP)
    at: list[tuple[float, int]] = []
    begun = house.clock.now()
    take = house.batch.handle_async_request

    async def noted(request: httpx.Request) -> httpx.Response:
        seconds = (house.clock.now() - begun).total_seconds()
        at.append((seconds, len(json.loads(request.content))))
        return await take(request)

    house.batch.handle_async_request = noted  # type: ignore[method-assign]
    people = [f"u{number}" for number in range(3000)]
    record = await pushed(house, a_push(recipients=Recipients(custom_ids=people)))
    assert record.state is DeliveryState.SENT
    assert sum(number for _, number in at) == 3000
    for until, _ in at:
        assert sum(number for seconds, number in at if seconds <= until) <= 1000 + 300 * until + 1


async def test_a_wait_that_batch_asks_for_is_kept() -> None:
    house = House(**CEP)
    house.batch.answer_next(httpx.Response(429, headers={"Retry-After": "7"}))
    record = await pushed(house, a_push())
    assert record.state is DeliveryState.SENT
    assert 7 in house.clock.slept


async def test_a_project_that_is_not_set_any_more_refuses_what_was_pending() -> None:
    house = House(**CEP)
    house.batch.answer = httpx.Response(503)

    async def handler(change: Change, look_up: LookUp) -> Push:
        return a_push()

    with pytest.raises(TryAgainLater):
        await house.happens(handler, "orders/{id}", {"n": 1}, event_id="e", id="o1")
    (record,) = await house.records()
    later = House()
    later.memory, later.firestore = house.memory, house.firestore
    later.worker.databases = lambda name: house.firestore
    later.clock.value = house.clock.now() + timedelta(minutes=2)
    entry = await later.worker.ledger.read(record.id)
    assert entry is not None
    await later.worker.sender.resume(entry)
    (record,) = await house.records()
    assert record.calls[0].problem == "BATCH_PROJECT is not set"
    assert later.batch.calls == []


async def test_results_are_asked_for_where_there_are_any() -> None:
    house = House(CHANNEL="ios=cep", BATCH_PROJECT=PROJECT)
    await pushed(house, a_push())
    house.batch.calls.clear()
    house.batch.answer = httpx.Response(200, json={"detail": []})
    await house.worker.pull().run()
    assert [(call.app, call.route) for call in house.batch.calls] == [
        ("B", "transactional/stats/order_delivered")
    ]


async def test_an_erased_person_is_told_nothing_and_the_others_are() -> None:
    house = House(**CEP)
    house.batch.answer = httpx.Response(503)
    both = Recipients(custom_ids=["ann-7777777777777777", "bob"])

    async def handler(change: Change, look_up: LookUp) -> Push:
        return a_push(recipients=both)

    with pytest.raises(TryAgainLater):
        await house.happens(handler, "orders/{id}", {"n": 1}, event_id="e", id="o1")
    (record,) = await house.records()
    entry = await house.worker.ledger.read(record.id)
    assert entry is not None
    erased = without("ann-7777777777777777", entry.record, house.clock.now())
    entry = await house.worker.ledger.change(entry, erased.record)
    house.batch.answer = None
    house.clock.forward(60)
    await house.worker.sender.resume(entry)
    assert [each["identifiers"]["custom_id"] for each in house.batch.calls[-1].body] == ["bob"]


# --- the line, with the local Batch


@pytest.fixture
def api() -> Iterator[batch.Batch]:
    with batch.running({"ios": "I"}, ["key-1"], batch_project=PROJECT) as api:
        yield api


BODY = next(a_push().calls({"ios": "CEP"})).body


async def test_the_line_to_the_project_has_its_headers(api: batch.Batch) -> None:
    settings = Settings.from_environment({"BATCH_APPS": "ios=I", "BATCH_API_URL": api.url} | CEP)
    client = client_for(settings)
    reply = await client.send("CEP", BODY)
    await client.aclose()
    assert classify(reply, has_taken).outcome is Outcome.ACCEPTED
    (call,) = api.calls()
    assert call["path"] == "/2.11/profiles/update"
    assert call["headers"]["authorization"] == "Bearer key-1"
    assert call["headers"]["x-batch-project"] == PROJECT
    assert "x-authorization" not in call["headers"]
    assert (call["app"], call["route"], call["accepted"]) == ("CEP", "profiles/update", True)


@pytest.mark.parametrize(
    "quoted", ["Authorization: Bearer key-1", "Bearer%20key-1", "\\u006bey-1", "&#107;ey-1"]
)
async def test_a_reply_that_quotes_the_bearer_header_is_masked(
    quoted: str, api: batch.Batch
) -> None:
    settings = Settings.from_environment({"BATCH_APPS": "ios=I", "BATCH_API_URL": api.url} | CEP)
    client = client_for(settings)
    api.fault(status=400, body={"error_code": "X", "error_message": quoted})
    reply = await client.send("CEP", BODY)
    await client.aclose()
    assert reply.status == 400
    assert "key-1" not in f"{reply} {reply.said()}"
    assert "****" in reply.body.decode()


async def test_a_key_that_was_rotated_is_read_anew(api: batch.Batch) -> None:
    from tests.test_client import Keys

    keys = Keys("old", "key-1")
    settings = Settings.from_environment({"BATCH_APPS": "ios=I", "BATCH_API_URL": api.url} | CEP)
    client = BatchClient(settings, Timing(call=1.0), keys.cache)
    await keys.cache.get()
    keys.now = 60
    reply = await client.send("CEP", BODY)
    await client.aclose()
    assert reply.status == 202
    assert [call["reply"]["status"] for call in api.calls()] == [401, 202]


async def test_a_long_list_of_errors_is_read_whole(api: batch.Batch) -> None:
    """An accepted call whose reply is cut would be sent again, to those who got it."""
    people = [f"user-{number:04}" for number in range(200)]
    push = a_push(recipients=Recipients(custom_ids=people))
    (call,) = push.calls({"ios": "CEP"})
    errors = [no(number, "r" * 120, attribute="title") for number in range(199)]
    said = {"code": "SUCCESS_WITH_PARTIAL_ERRORS", "errors": errors}
    api.fault(status=202, body=said)
    settings = Settings.from_environment({"BATCH_APPS": "ios=I", "BATCH_API_URL": api.url} | CEP)
    client = client_for(settings)
    reply = await client.send("CEP", call.body)
    await client.aclose()
    assert classify(reply, has_taken).outcome is Outcome.ACCEPTED
    assert sum(map(len, reply.refused.values())) == 199
