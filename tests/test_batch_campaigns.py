"""The local Batch API's campaigns: what is taken, what is refused, when they are sent."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.batch import Batch, create_app
from emulators.batch.campaign_rules import CAMPAIGN_RULES, campaign_refusal
from emulators.batch.campaigns import Campaigns
from emulators.batch.checks import DELIVERY_RULES, Confidence, Posted, Rule
from emulators.batch.rules import RULES
from emulators.serving import in_background

APPS = {"ios": "IOSKEY", "android": "ANDROIDKEY", "test": "DEVKEY"}
HEADERS = {"X-Authorization": "0123456789abcdef"}
START = datetime(2026, 7, 31, 12, 0, tzinfo=UTC)

VALID: dict[str, Any] = {
    "name": "Breaking news",
    "live": True,
    "push_time": "now",
    "messages": [{"language": "en", "title": "Flood", "body": "The river rises"}],
}
LATER = {"push_time": "2026-07-31T13:00:00"}


def body(**changes: Any) -> dict[str, Any]:
    """A valid body with these fields set; `...` leaves a field out."""
    return {key: value for key, value in (VALID | changes).items() if value is not ...}


def messages(**changes: Any) -> dict[str, Any]:
    """A valid body whose second message is changed so."""
    message = {"language": "fr", "body": "La rivière monte", **changes}
    given = {key: value for key, value in message.items() if value is not ...}
    return body(messages=[*VALID["messages"], given])


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def advance(self, **by: float) -> None:
        self.time += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def batch(clock: Clock) -> Iterator[Batch]:
    with in_background(create_app(APPS, HEADERS.values(), now=clock)) as url:
        yield Batch(url)


class Api:
    """The Campaigns API of one app, as a client calls it."""

    def __init__(self, http: httpx.Client, url: str, key: str) -> None:
        self._http = http
        self._url = f"{url}/1.1/{key}/campaigns"

    def post(self, path: str, data: Any = None) -> httpx.Response:
        return self._http.post(f"{self._url}/{path}", json=data, headers=HEADERS)

    def get(self, path: str, **query: Any) -> httpx.Response:
        return self._http.get(f"{self._url}/{path}", params=query, headers=HEADERS)

    def create(self, **changes: Any) -> str:
        reply = self.post("create", body(**changes))
        assert reply.status_code == 201, reply.text
        token: str = reply.json()["campaign_token"]
        return token

    def names(self, **query: Any) -> list[str]:
        return [row["name"] for row in self.get("list", **query).json()]


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def ios(batch: Batch, http: httpx.Client) -> Api:
    return Api(http, batch.url, "IOSKEY")


@pytest.fixture
def android(batch: Batch, http: httpx.Client) -> Api:
    return Api(http, batch.url, "ANDROIDKEY")


def states(batch: Batch) -> list[str]:
    return [campaign["state"] for campaign in batch.campaigns()]


def outcome(reply: httpx.Response) -> tuple[int, int]:
    return reply.status_code, reply.json()["code"]


# --- what is taken

EVERYTHING = body(
    push_time=...,
    local_push_time="2026-07-31T18:30:00",
    targeting={"segments": ["NEW", "ENGAGED"], "query": {"t.topics": {"$contains": ["news"]}}},
    labels=["one", "two", "three"],
    priority="high",
    time_to_live=3600,
    gcm_collapse_key={"enabled": True, "key": "default"},
    push_type="alert",
    media={"picture": "https://a.example/p.png"},
    deeplink="app://news/1",
    recurrence={"every": "day"},
)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(VALID, id="now"),
        pytest.param(body(**LATER), id="later"),
        pytest.param(EVERYTHING, id="every field, and those whose place is unverified"),
        pytest.param(body(name="abc", live=False), id="a draft with the shortest name"),
        pytest.param(messages(deeplink="app://x"), id="two languages"),
    ],
)
def test_takes(data: dict[str, Any], ios: Api) -> None:
    reply = ios.post("create", data)
    assert reply.status_code == 201
    assert re.fullmatch(r"[0-9a-f]{32}", reply.json()["campaign_token"])


def test_each_create_makes_another_campaign(batch: Batch, ios: Api) -> None:
    assert ios.create() != ios.create()
    assert [(each["app"], each["body"]["name"]) for each in batch.campaigns()] == [
        ("ios", "Breaking news"),
        ("ios", "Breaking news"),
    ]


# --- what is refused. The last column: is a lenient classify as strict?

MISSING, MALFORMED = (400, 30, "MISSING_PARAMETER"), (400, 31, "MALFORMED_PARAMETER")
STRICT, ALWAYS = False, True

REFUSED: list[tuple[str, Any, tuple[int, int, str], str, bool]] = [
    ("a list", [VALID], MALFORMED, "body", ALWAYS),
    ("unknown field", body(colour="red"), MALFORMED, "`colour` is not valid child", STRICT),
    ("null", body(deeplink=None), MALFORMED, "deeplink", STRICT),
    ("no name", body(name=...), MISSING, "name", ALWAYS),
    ("short name", body(name="ab"), MALFORMED, "name", ALWAYS),
    ("name is a number", body(name=123), MALFORMED, "name", ALWAYS),
    ("no live", body(live=...), MISSING, "live", ALWAYS),
    ("live as text", body(live="true"), MALFORMED, "live", ALWAYS),
    ("no time", body(push_time=...), MISSING, "push_time", ALWAYS),
    ("two times", body(local_push_time="2026-07-31T13:00:00"), MALFORMED, "exclude", ALWAYS),
    ("local now", body(push_time=..., local_push_time="now"), MALFORMED, "local_push_t", ALWAYS),
    ("a zone", body(push_time="2026-07-31T13:00:00Z"), MALFORMED, "push_time", ALWAYS),
    ("no seconds", body(push_time="2026-07-31T13:00"), MALFORMED, "push_time", ALWAYS),
    ("no such day", body(push_time="2026-02-30T13:00:00"), MALFORMED, "push_time", ALWAYS),
    ("a number", body(push_time=1785502800), MALFORMED, "push_time", ALWAYS),
    ("local", body(push_time=..., local_push_time="8 am"), MALFORMED, "local_push_time", ALWAYS),
    ("no messages", body(messages=...), MISSING, "messages", ALWAYS),
    ("one message", body(messages=VALID["messages"][0]), MALFORMED, "messages", ALWAYS),
    ("texts", body(messages=["Flood"]), MALFORMED, "messages", ALWAYS),
    ("nothing to say", body(messages=[]), MISSING, "messages", ALWAYS),
    ("no body", messages(body=...), MISSING, "in `messages[1]`, `body`", ALWAYS),
    ("body is a number", messages(body=1), MALFORMED, "in `messages[1]`, `body`", ALWAYS),
    ("title is a number", messages(title=1), MALFORMED, "in `messages[1]`, `title`", ALWAYS),
    ("language", messages(language=1), MALFORMED, "in `messages[1]`, `language`", ALWAYS),
    ("empty body", messages(body=""), MALFORMED, "in `messages[1]`, `body`", STRICT),
    ("no language", messages(language=...), MISSING, "in `messages[1]`, `language`", STRICT),
    ("targeting", body(targeting=["NEW"]), MALFORMED, "targeting", ALWAYS),
    ("segment", body(targeting={"segments": "NEW"}), MALFORMED, "targeting.segments", ALWAYS),
    ("segments", body(targeting={"segments": ["OLD"]}), MALFORMED, "targeting.segments", ALWAYS),
    ("query", body(targeting={"query": "x"}), MALFORMED, "targeting.query", ALWAYS),
    ("four labels", body(labels=list("abcd")), MALFORMED, "labels", ALWAYS),
    ("priority", body(priority="urgent"), MALFORMED, "priority", ALWAYS),
]


@pytest.mark.parametrize(
    ("data", "error", "field", "when"),
    [row[1:] for row in REFUSED],
    ids=[row[0] for row in REFUSED],
)
def test_refuses(data: Any, error: tuple[int, int, str], field: str, when: bool) -> None:
    reply = campaign_refusal(data)
    assert reply is not None
    assert (reply.status, reply.body["code"], reply.body["type"]) == error
    assert field in reply.body["message"]
    assert (campaign_refusal(data, lenient=True) is not None) == when


def test_every_rule_of_the_table_has_a_row_that_it_refuses_first() -> None:
    bodies = [row[1] for row in REFUSED if isinstance(row[1], dict)]
    answering = [
        next(rule for rule in CAMPAIGN_RULES if rule.check(Posted(data, None))) for data in bodies
    ]
    # Those of delivery have their rows among the transactional ones.
    assert set(answering) | set(DELIVERY_RULES) == set(CAMPAIGN_RULES)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
NEARLY_VALID = st.builds(
    lambda changes: VALID | changes,
    st.dictionaries(st.sampled_from(sorted(EVERYTHING | VALID)), JSON),
)


@pytest.mark.parametrize("lenient", [False, True])
@given(data=JSON | NEARLY_VALID)
@settings(max_examples=100)
def test_any_json_is_taken_or_refused_with_batchs_error(lenient: bool, data: Any) -> None:
    reply = campaign_refusal(data, lenient)
    if reply is not None:
        assert reply.body.keys() == {"code", "type", "message"}


@given(data=NEARLY_VALID)
@settings(max_examples=100)
def test_whatever_is_taken_can_be_shown(data: dict[str, Any]) -> None:
    if campaign_refusal(data) is None:
        campaigns = Campaigns()
        campaigns.create("IOSKEY", "0" * 32, data, START)
        [campaign] = campaigns
        json.dumps([campaign.as_json(), campaign.row()])


# --- update and delete


def test_an_update_changes_what_it_names_and_removes_nothing(batch: Batch, ios: Api) -> None:
    token = ios.create(live=False, labels=["news"], **LATER)
    reply = ios.post(f"update/{token}", {"name": "Flood over", "priority": "high"})
    assert reply.status_code == 200
    [campaign] = batch.campaigns()
    assert campaign["body"] == body(
        live=False, labels=["news"], name="Flood over", priority="high", **LATER
    )


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param({"name": "ab"}, 31, id="a bad field"),
        pytest.param({"local_push_time": "2026-08-01T08:00:00"}, 31, id="a time of the other kind"),
        pytest.param({"labels": None}, 31, id="taking away"),
        pytest.param(["name"], 31, id="a list"),
    ],
)
def test_an_update_must_leave_what_could_be_created(
    data: Any, code: int, batch: Batch, ios: Api
) -> None:
    token = ios.create(**LATER)
    assert outcome(ios.post(f"update/{token}", data)) == (400, code)
    assert batch.campaigns()[0]["body"] == body(**LATER)


def test_a_completed_campaign_cannot_be_set_live_again(batch: Batch, ios: Api) -> None:
    token = ios.create()
    assert outcome(ios.post(f"update/{token}", {"live": True, **LATER})) == (400, 31)
    assert ios.post(f"update/{token}", {"live": False}).status_code == 200
    assert states(batch) == ["completed"]


def test_a_recurring_campaign_goes_on_after_its_first_sending(batch: Batch, ios: Api) -> None:
    token = ios.create(recurrence={"every": "day"})
    assert states(batch) == ["running"]
    assert ios.post(f"update/{token}", {"live": True}).status_code == 200


def test_a_deleted_campaign_is_gone_for_batch_and_seen_by_tests(batch: Batch, ios: Api) -> None:
    token = ios.create(**LATER)
    assert ios.post(f"delete/{token}").status_code == 200
    assert states(batch) == ["deleted"]
    assert ios.names() == []
    assert outcome(ios.post(f"delete/{token}")) == (404, 20)
    assert outcome(ios.get(token)) == (404, 20)


@pytest.mark.parametrize("path", ["update/{}", "delete/{}"])
@pytest.mark.parametrize("token", ["0" * 32, "another app's"])
def test_a_token_that_the_app_does_not_have_is_not_found(
    path: str, token: str, batch: Batch, ios: Api, android: Api
) -> None:
    of_android = android.create(**LATER)
    reply = ios.post(path.format(of_android if "app" in token else token), {"live": False})
    assert outcome(reply) == (404, 20)
    assert states(batch) == ["scheduled"]


def test_a_campaign_of_the_dashboard_is_listed_and_cannot_be_updated(
    batch: Batch, ios: Api
) -> None:
    token = batch.add_dashboard_campaign("IOSKEY", body(name="By hand"))
    ios.create()
    assert outcome(ios.post(f"update/{token}", {"live": False})) == (403, 12)
    assert ios.names() == ["Breaking news", "By hand"]
    assert ios.names(from_api="false") == ["By hand"]
    with pytest.raises(ValueError, match="name"):
        batch.add_dashboard_campaign("IOSKEY", {})


# --- view and list


def test_a_view_is_the_creation_and_what_batch_knows(ios: Api) -> None:
    token = ios.create()
    assert ios.get(token).json() == VALID | {
        "push_time": "2026-07-31T12:00:00",
        "campaign_token": token,
        "from_api": True,
        "dev_only": False,
        "created_date": "2026-07-31T12:00:00",
    }


def test_a_list_has_the_newest_first_and_basic_rows(clock: Clock, ios: Api, android: Api) -> None:
    ios.create(name="older", push_time=..., local_push_time="2026-08-01T08:00:00")
    clock.advance(minutes=1)
    token = ios.create(name="newer", live=False)
    android.create(name="another app's")
    newer, older = ios.get("list").json()
    assert newer == {
        "campaign_token": token,
        "from_api": True,
        "dev_only": False,
        "created_date": "2026-07-31T12:01:00",
        "name": "newer",
        "live": False,
        "push_time": "2026-07-31T12:01:00",
    }
    assert older.keys() == newer.keys() - {"push_time"} | {"local_push_time"}


def test_a_list_comes_in_pages_of_10_unless_asked_otherwise(ios: Api) -> None:
    names = [f"number {number}" for number in range(12)]
    for name in names:
        ios.create(name=name)
    names.reverse()
    assert ios.names() == names[:10]
    assert ios.names(limit=100) == names
    assert ios.names(**{"from": 10}, limit=1) == names[10:11]
    assert ios.names(**{"from": 12}) == []


def test_a_list_can_be_of_the_live_ones_or_the_others(ios: Api) -> None:
    ios.create(name="sent")
    ios.create(name="scheduled", **LATER)
    ios.create(name="draft", live=False)
    assert ios.names(live="true") == ["scheduled", "sent"]
    assert ios.names(live="false") == ["draft"]


@pytest.mark.parametrize(
    "query", [{"limit": "101"}, {"limit": "ten"}, {"from": "-1"}, {"live": "1"}], ids=str
)
def test_a_list_asked_for_wrongly_is_refused(query: dict[str, str], ios: Api) -> None:
    reply = ios.get("list", **query)
    assert outcome(reply) == (400, 31)
    assert next(iter(query)) in reply.json()["message"]


def test_a_lenient_server_takes_a_large_limit_for_100(http: httpx.Client) -> None:
    with in_background(create_app({}, [], lenient=True)) as url:
        assert Api(http, url, "KEY").get("list", limit=1000).status_code == 200


def test_a_dev_key_writes_but_does_not_read(batch: Batch, http: httpx.Client) -> None:
    dev = Api(http, batch.url, "DEVKEY")
    token = dev.create(**LATER)
    assert dev.post(f"update/{token}", {"live": False}).status_code == 200
    for path in ("list", token, f"stats/{token}"):
        assert outcome(dev.get(path)) == (403, 12)
    assert batch.campaigns()[0]["dev_only"] is True


# --- sending


def test_a_campaign_is_sent_when_it_is_live_and_due(clock: Clock, batch: Batch, ios: Api) -> None:
    ios.create(name="at once")
    ios.create(name="later", **LATER)
    draft = ios.create(name="draft", live=False)
    assert states(batch) == ["completed", "scheduled", "draft"]
    clock.advance(hours=2)
    assert states(batch) == ["completed", "completed", "draft"]
    ios.post(f"update/{draft}", {"live": True})
    assert [campaign["sent_at"] for campaign in batch.campaigns()] == [
        "2026-07-31T12:00:00.000Z",
        "2026-07-31T13:00:00.000Z",
        "2026-07-31T14:00:00.000Z",
    ]


def test_what_was_stopped_before_its_time_is_not_sent(clock: Clock, batch: Batch, ios: Api) -> None:
    token = ios.create(**LATER)
    ios.post(f"update/{token}", {"live": False})
    ios.post(f"delete/{ios.create(**LATER)}")
    clock.advance(hours=2)
    assert states(batch) == ["draft", "deleted"]
    assert [campaign["sent_at"] for campaign in batch.campaigns()] == [None, None]


def test_an_update_comes_too_late_for_what_was_due(clock: Clock, batch: Batch, ios: Api) -> None:
    token = ios.create(**LATER)
    clock.advance(hours=2)
    ios.post(f"update/{token}", {"live": False})
    assert states(batch) == ["completed"]


# --- statistics


def test_statistics_are_empty_until_the_campaign_was_sent(
    clock: Clock, batch: Batch, ios: Api
) -> None:
    token = ios.create(**LATER)
    batch.script_stats(token, [{"date": "2026-08-01", "sent": 10, "direct_open": 4}])
    assert ios.get(f"stats/{token}").json() == {"campaign_token": token, "detail": []}
    clock.advance(hours=2)
    zeros = {
        "sent": 0,
        "sent_optins": 0,
        "direct_open": 0,
        "influenced_open": 0,
        "reengaged": 0,
        "errors": 0,
    }
    assert ios.get(f"stats/{token}").json()["detail"] == [
        {"date": "2026-07-31"} | zeros,
        {"date": "2026-08-01"} | zeros | {"sent": 10, "direct_open": 4},
    ]


def test_an_ab_test_has_versions_in_its_statistics(batch: Batch, ios: Api) -> None:
    token = ios.create()
    versions = {"a": {"sent": 1}, "b": {"sent": 2}}
    batch.script_stats(token, [{"date": "2026-07-31", "sent": 3, "versions": versions}])
    [row] = ios.get(f"stats/{token}").json()["detail"]
    assert (row["sent"], row["versions"]) == (3, versions)
    assert "sent_optins" not in row


# --- the journal and faults


def test_calls_are_in_the_journal_with_their_routes(batch: Batch, ios: Api) -> None:
    token = ios.create(**LATER)
    ios.post(f"update/{token}", {"live": False})
    for path in ("list", token, f"stats/{token}"):
        ios.get(path)
    ios.post(f"delete/{token}")
    calls = batch.calls()
    assert [call["route"] for call in calls] == [
        "campaigns/create",
        "campaigns/update",
        "campaigns/list",
        "campaigns/view",
        "campaigns/stats",
        "campaigns/delete",
    ]
    assert calls[1]["app"] == "ios"
    assert calls[1]["body"] == {"live": False}
    assert calls[1]["reply"] == {"status": 200, "body": {}}
    assert all(call["accepted"] for call in calls)


def test_a_body_that_is_not_json_gets_32(ios: Api, batch: Batch, http: httpx.Client) -> None:
    url = f"{batch.url}/1.1/IOSKEY/campaigns/create"
    reply = http.post(url, content=b"{", headers=HEADERS)
    assert outcome(reply) == (400, 32)


@pytest.mark.parametrize(
    ("fault", "created"),
    [
        ({"reset": True, "accept": True}, 1),
        ({"cut": True}, 1),
        ({"status": 500, "accept": True}, 1),
        ({"status": 200, "body": ""}, 1),
        ({"reset": True}, 0),
        ({"status": 500}, 0),
    ],
    ids=str,
)
def test_a_lost_answer_may_hide_a_campaign(
    fault: dict[str, Any], created: int, batch: Batch, ios: Api
) -> None:
    batch.fault(route="campaigns/create", **fault)
    assert ios.names() == []
    with suppress(httpx.TransportError):
        assert ios.post("create", VALID).status_code != 201
    assert len(ios.names()) == created


def test_a_hanging_create_has_made_the_campaign(batch: Batch, ios: Api, http: httpx.Client) -> None:
    batch.fault(route="campaigns/create", hang=True)
    with pytest.raises(httpx.ReadTimeout):
        http.post(
            f"{batch.url}/1.1/IOSKEY/campaigns/create", json=VALID, headers=HEADERS, timeout=0.2
        )
    assert ios.names() == ["Breaking news"]


def test_another_2xx_keeps_the_answer(batch: Batch, ios: Api) -> None:
    batch.fault(status=200)
    reply = ios.post("create", VALID)
    assert reply.status_code == 200
    assert reply.json() == {"campaign_token": batch.campaigns()[0]["campaign_token"]}


def test_campaigns_outlive_the_journal_and_can_be_forgotten(batch: Batch, ios: Api) -> None:
    ios.create()
    batch.clear()
    assert ios.names() == ["Breaking news"]
    batch.clear_campaigns()
    assert (ios.names(), batch.campaigns()) == ([], [])


# --- how well it is known


@pytest.mark.parametrize("rule", [*RULES, *CAMPAIGN_RULES], ids=lambda rule: rule.source.place)
def test_every_rule_says_where_it_was_found(rule: Rule) -> None:
    assert rule.source.place


def test_lenient_mode_keeps_the_rules_that_are_documented_or_seen_in_clients() -> None:
    lenient = {rule.source.confidence for rule in CAMPAIGN_RULES if rule.source.is_well_known}
    assert lenient == {Confidence.OFFICIAL, Confidence.CLIENT}
