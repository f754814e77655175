"""The local Batch's Customer Engagement Platform: what is taken, what is refused, what is shown."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators import batch as emulator
from emulators.batch import Batch, create_app
from emulators.batch.cep import PROFILE_RULES, RULES, Cep, fingerprint, tracked
from emulators.serving import in_background

HEADERS = {"Authorization": "Bearer key-1", "X-Batch-Project": "project_1"}
NOW = datetime(2026, 7, 31, 12, 0, tzinfo=UTC)
ANN = {"identifiers": {"custom_id": "ann"}}


class Clock:
    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def batch(clock: Clock) -> Iterator[Batch]:
    app = create_app({"ios": "I"}, ["key-1"], now=clock, batch_project="project_1")
    with in_background(app) as url:
        yield Batch(url)


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60, trust_env=False) as client:
        yield client


def update(http: httpx.Client, batch: Batch, body: Any, **headers: str) -> httpx.Response:
    url = f"{batch.url}/2.11/profiles/update"
    return http.post(url, json=body, headers=HEADERS | headers)


def event(**changes: Any) -> dict[str, Any]:
    return ANN | {"events": [{"name": "order_shipped"} | changes]}


def attributes(**values: Any) -> dict[str, Any]:
    return ANN | {"attributes": values}


# --- as public clients send them

SEGMENT = [
    {
        "identifiers": {"custom_id": "8de68ddc"},
        "attributes": {
            "$email_address": "ann@example.com",
            "$phone_number": "+33612345678",
            "$email_marketing": "subscribed",
            "$sms_marketing": None,
            "$language": "fr",
            "$region": "FR",
            "firstname": "Ann",
            "date(birthday)": "1990-06-06T18:13:48Z",
            "url(avatar)": "https://example.com/a.png",
            "orders": 3,
            "is_premium": True,
        },
        "events": [
            {
                "name": "order_completed",
                "attributes": {
                    "total": 23.99,
                    "coupon": None,
                    "date(shipped_at)": "2026-07-30T08:00:00Z",
                    "labels": ["first", "gift"],
                    "address": {"city": "Paris", "zip_code": 75003},
                    "items": [{"name": "Tee", "url(item_url)": "https://example.com/tee"}],
                },
            }
        ],
    },
    {"identifiers": {"custom_id": "test-custom-id"}},
]
SNOWPARK = [
    {
        "identifiers": {"custom_id": str(number)},
        "attributes": {
            "first_name": "Ann",
            "lifetime_value": 120.5,
            "opted_in": False,
            "date(created_at)": "2026-07-01T00:00:00Z",
            "url(profile_page)": "https://example.com/u/1",
        },
    }
    for number in range(200)
]
ADAPTER = [
    {
        "identifiers": {"custom_id": "crm-7781"},
        "attributes": {
            "contact_id": "c1",
            "risk_score": None,
            "date(last_reply_at)": "2026-07-31T11:59:00.000Z",
        },
        "events": [
            {
                "name": "message_read",
                "time": "2026-07-31T11:59:00.000Z",
                "attributes": {"channel": "rcs", "send_id": "s1"},
            }
        ],
    }
]


@pytest.mark.parametrize("version", ["2.1", "2.4", "2.5", "2.11", "2.13"])
@pytest.mark.parametrize("body", [SEGMENT, SNOWPARK, ADAPTER], ids=["connector", "sync", "adapter"])
def test_takes_what_public_clients_send(
    body: Any, version: str, batch: Batch, http: httpx.Client
) -> None:
    reply = http.post(f"{batch.url}/{version}/profiles/update", json=body, headers=HEADERS)
    assert (reply.status_code, reply.json()) == (202, {"code": "SUCCESS"})


def test_a_job_that_posts_more_than_200_profiles_is_refused(
    batch: Batch, http: httpx.Client
) -> None:
    """As a public sync job does, which was written for an older version."""
    reply = update(http, batch, SNOWPARK * 5)
    assert (reply.status_code, reply.json()["error_code"]) == (400, "MALFORMED_PARAMETER")


# --- what is refused as a whole

WHOLE: list[tuple[str, Any, str]] = [
    ("an object", ANN, "array"),
    ("nothing", [], "no profiles"),
    ("too many", [ANN] * 201, "over 200"),
    ("a text", ["ann"], "[0]: `identifiers`"),
    ("nobody", [ANN, {}], "[1]: `identifiers` is missing"),
    ("no id", [{"identifiers": {}}], "one of"),
    ("two ids", [{"identifiers": {"custom_id": "a", "installation": {}}}], "one of"),
    ("a number", [{"identifiers": {"custom_id": 7}}], "`custom_id`"),
    ("a blank id", [{"identifiers": {"custom_id": " "}}], "`custom_id`"),
    ("a long id", [{"identifiers": {"custom_id": "x" * 1024}}], "`custom_id`"),
    ("an unknown part", [ANN | {"tags": []}], "`tags`"),
    ("one event", [ANN | {"events": {"name": "x"}}], "`events`"),
]


@pytest.mark.parametrize(
    ("body", "says"), [row[1:] for row in WHOLE], ids=[row[0] for row in WHOLE]
)
def test_refuses_the_call(body: Any, says: str, batch: Batch, http: httpx.Client) -> None:
    reply = update(http, batch, body)
    assert (reply.status_code, reply.json()["error_code"]) == (400, "MALFORMED_PARAMETER")
    assert says in reply.json()["error_message"]
    assert not batch.calls()[0]["accepted"]


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ({"Authorization": "Bearer other"}, 401, "AUTHENTICATION_INVALID"),
        ({"Authorization": "key-1"}, 401, "AUTHENTICATION_INVALID"),
        ({"Authorization": "", "X-Authorization": "key-1"}, 401, "AUTHENTICATION_INVALID"),
        ({"X-Batch-Project": ""}, 400, "MALFORMED_PARAMETER"),
        ({"X-Batch-Project": "project_2"}, 403, "API_MISUSE"),
    ],
)
def test_refuses_other_keys(
    headers: dict[str, str], status: int, error: str, batch: Batch, http: httpx.Client
) -> None:
    reply = update(http, batch, [ANN], **headers)
    assert (reply.status_code, reply.json()["error_code"]) == (status, error)


def test_other_routes_and_garbage_are_not_known(batch: Batch, http: httpx.Client) -> None:
    send = http.post(f"{batch.url}/2.11/transactional/send", json=[ANN], headers=HEADERS)
    assert send.status_code == 404
    url = f"{batch.url}/2.11/profiles/update"
    garbage = http.post(url, content=b"[{", headers=HEADERS)
    assert (garbage.status_code, garbage.json()["error_code"]) == (400, "MALFORMED_JSON_BODY")


# --- what is refused of one profile

OLD = (NOW - timedelta(hours=25)).strftime("%Y-%m-%dT%H:%M:%SZ")
SOON = (NOW + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
ITEMS: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("a dash", event(name="order-shipped"), "name of an event", None),
    ("capitals", event(name="Order"), "name of an event", None),
    ("a long name", event(name="x" * 31), "name of an event", None),
    ("no name", ANN | {"events": [{}]}, "name of an event", None),
    ("16 events", ANN | {"events": [{"name": "x"}] * 16}, "over 15 events", None),
    ("old", event(time=OLD), "24 hours", None),
    ("soon", event(time=SOON), "24 hours", None),
    ("no time", event(time="today"), "24 hours", None),
    ("no month", event(time="2026-13-01T00:00:00Z"), "24 hours", None),
    (
        "large",
        event(attributes={f"a{n}": ["x" * 300] * 10 for n in range(10)}),
        "25000 bytes",
        None,
    ),
    ("a list", event(attributes=["x"]), "must be an object", None),
    ("empty", event(attributes={"title": ""}), "invalid value", "title"),
    ("long", event(attributes={"title": "x" * 301}), "invalid value", "title"),
    ("camel", event(attributes={"orderId": "1"}), "invalid name", "orderId"),
    ("no date", event(attributes={"date(at)": "today"}), "invalid value", "date(at)"),
    ("no url", event(attributes={"url(x)": 5}), "invalid value", "url(x)"),
    ("inside", event(attributes={"address": {"Zip": 1}}), "invalid value", "address"),
    ("numbers", event(attributes={"sizes": [1]}), "invalid value", "sizes"),
    ("of events", attributes(**{"$label": "x"}), "invalid name", "$label"),
    ("of profiles", event(attributes={"$region": "FR"}), "invalid name", "$region"),
    ("51", attributes(**{f"a{n}": 1 for n in range(51)}), "over 50 attributes", None),
]


@pytest.mark.parametrize(
    ("profile", "reason", "attribute"), [row[1:] for row in ITEMS], ids=[row[0] for row in ITEMS]
)
def test_refuses_one_profile_of_several(
    profile: dict[str, Any], reason: str, attribute: str | None, batch: Batch, http: httpx.Client
) -> None:
    reply = update(http, batch, [ANN, profile, event()])
    assert (reply.status_code, reply.json()["code"]) == (202, "SUCCESS_WITH_PARTIAL_ERRORS")
    (error,) = reply.json()["errors"]
    assert error["bulk_index"] == 1
    assert error["category"] in ("attribute", "event")
    assert reason in error["reason"]
    assert error.get("attribute") == attribute


def test_adding_to_a_list_and_deleting_an_attribute_are_known(
    batch: Batch, http: httpx.Client
) -> None:
    reply = update(http, batch, [attributes(topics={"$add": ["ski"]}, city=None)])
    assert reply.json() == {"code": "SUCCESS"}


def test_after_1000_profiles_at_once_300_a_second_are_taken(
    batch: Batch, http: httpx.Client, clock: Clock
) -> None:
    statuses = [update(http, batch, [ANN] * 200).status_code for _ in range(6)]
    assert statuses == [202] * 5 + [429]
    clock.time += timedelta(seconds=1)
    assert update(http, batch, [ANN] * 200).status_code == 202
    assert update(http, batch, [ANN] * 200).status_code == 429


def test_a_lenient_platform_counts_nothing_and_guesses_nothing(http: httpx.Client) -> None:
    with emulator.running(lenient=True) as batch:
        for _ in range(6):
            assert update(http, batch, [ANN] * 200).status_code == 202
        assert update(http, batch, []).status_code == 202


# --- faults, journal, page


def test_faults_are_for_the_project_the_route_or_the_event(
    batch: Batch, http: httpx.Client
) -> None:
    for fault in ({"app": "CEP"}, {"route": "profiles/update"}, {"group_id": "order_shipped"}):
        batch.fault(status=503, **fault)
        assert update(http, batch, [event()]).status_code == 503
        assert update(http, batch, [event()]).status_code == 202
    batch.fault(status=503, app="ios")
    assert update(http, batch, [event()]).status_code == 202


def test_the_journal_has_calls_as_it_has_others(batch: Batch, http: httpx.Client) -> None:
    update(http, batch, [event()])
    (call,) = batch.calls()
    assert (call["app"], call["app_key"], call["route"]) == ("CEP", None, "profiles/update")
    assert call["body"] == [event()]
    assert call["headers"]["authorization"] == "Bearer key-1"
    assert call["accepted"]
    assert call["reply"] == {"status": 202, "body": {"code": "SUCCESS"}}


def test_events_are_shown_with_those_whom_they_reach() -> None:
    body = [event(), event() | {"identifiers": {"custom_id": "bob"}}, event(name="other"), ANN]
    reply = {"code": "SUCCESS_WITH_PARTIAL_ERRORS", "errors": [{"bulk_index": 2}]}
    assert tracked(body, reply) == [{"name": "order_shipped", "to": ["ann", "bob"]}]


def test_a_call_is_found_by_the_push_in_its_record() -> None:
    record = (
        '{"group_id":"order_shipped","message":{"body":"Hi"},"recipients":{"custom_ids":["ann"]}}'
    )
    call = '[{"identifiers":{"custom_id":"ann"},"events":[{"name":"order_shipped"}]}]'
    assert fingerprint(record) == fingerprint(call)
    assert fingerprint("[]") == "[]"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
PROFILE = st.fixed_dictionaries(
    {"identifiers": st.just({"custom_id": "ann"})},
    optional={
        "attributes": st.dictionaries(st.text(max_size=3), JSON),
        "events": st.lists(JSON | st.fixed_dictionaries({"name": JSON, "attributes": JSON})),
    },
)


@pytest.mark.parametrize("lenient", [False, True])
@given(body=JSON | st.lists(PROFILE, max_size=3))
def test_any_json_is_answered(lenient: bool, body: Any) -> None:
    headers = {"authorization": "Bearer k", "x-batch-project": "p"}
    reply = Cep("", lenient, lambda: NOW).reply(headers, body, True, bool)
    assert reply.status in (202, 400)
    tracked(body, reply.body)


def test_every_rule_says_where_it_was_found_and_has_a_row() -> None:
    assert all(rule.source.place for rule in (*RULES, *PROFILE_RULES))
    whole = [row[1] for row in WHOLE if isinstance(row[1], list)]
    answering = [next(rule for rule in RULES if rule.check(body)) for body in whole]
    assert set(answering) == set(RULES)
    named = [next(r for r in PROFILE_RULES if [*r.check(row[1], NOW)]) for row in ITEMS]
    assert set(named) == set(PROFILE_RULES)
