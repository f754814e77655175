"""The local Batch API: what it takes, what it refuses, and how it fails on order."""

import json
import re
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulators.batch import Batch, create_app, running
from emulators.batch.__main__ import parse_arguments
from emulators.batch.checks import Posted
from emulators.batch.rules import RULES, refusal
from emulators.batch.stats import Sent, stats_reply
from emulators.serving import in_background
from local.tools import free_port

APPS = {
    "ios": "IOSKEY",
    "android": "ANDROIDKEY",
    "ios_driver": "IOSDRIVERKEY",
    "web": "DEVWEB",
}
REST_KEY = "0123456789abcdef"
HEADERS = {"X-Authorization": REST_KEY}
IOS = "/1.1/IOSKEY/transactional/send"
ANDROID = "/1.1/ANDROIDKEY/transactional/send"

VALID = {
    "group_id": "like",
    "recipients": {"custom_ids": ["ann"]},
    "message": {"title": "Hello", "body": "Bob likes you"},
}


def body(**changes: Any) -> dict[str, Any]:
    """A valid body with these fields set; `...` leaves a field out."""
    return {key: value for key, value in (VALID | changes).items() if value is not ...}


@pytest.fixture(scope="module")
def shared() -> Iterator[Batch]:
    with running(apps=APPS, rest_keys=[REST_KEY]) as batch:
        yield batch


@pytest.fixture
def batch(shared: Batch) -> Batch:
    shared.clear()
    shared.clear_faults()
    shared.accept_rest_keys(REST_KEY)
    return shared


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=60, trust_env=False) as client:
        yield client


Send = Callable[..., httpx.Response]


@pytest.fixture
def send(batch: Batch, http: httpx.Client) -> Send:
    def send(data: Any = VALID, path: str = IOS, **options: Any) -> httpx.Response:
        return http.post(batch.url + path, json=data, **({"headers": HEADERS} | options))

    return send


# --- what is taken


def test_a_valid_call_gets_201_and_a_token(batch: Batch, send: Send) -> None:
    reply = send()
    assert reply.status_code == 201
    assert uuid.UUID(reply.json()["token"]).version == 4


EVERYTHING = body(
    recipients={"custom_ids": ["a"], "install_ids": ["b"], "tokens": [], "advertising_ids": ["c"]},
    priority="high",
    time_to_live=3600,
    gcm_collapse_key={"enabled": True, "key": "default"},
    push_type="alert",
    labels=["one", "two", "three"],
    sandbox=False,
    media={"icon": "https://a.example/i.png", "picture": "https://a.example/p.png"},
    skip_media_check=True,
    deeplink="app://likes/1",
    custom_payload='{"like": 1}',
)
LANDING = {"theme": "plain", "actions": [{"action": "dismiss", "label": "OK", "args": {}}]}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(EVERYTHING, id="every field"),
        pytest.param(body(landing=LANDING), id="a landing"),
        pytest.param(body(message={"body": "text"}), id="no title"),
        pytest.param(body(message=..., push_type="background"), id="a silent push"),
        pytest.param(body(recipients={"tokens": ["t"] * 10_000}), id="10,000 IDs"),
        pytest.param(body(group_id="a" * 128), id="the longest group"),
        pytest.param(body(time_to_live=28 * 86400), id="the longest life"),
    ],
)
def test_takes(data: dict[str, Any], send: Send) -> None:
    reply = send(data, ANDROID)
    assert (reply.status_code, reply.text) == (201, reply.text)


# --- what is refused. The last column: is a lenient classify as strict?

HALF = {"custom_ids": ["a"] * 6_000, "tokens": ["b"] * 4_001}
PICTURE = {"picture": "https://a.example/p.png"}
MISSING, MALFORMED = (400, 30, "MISSING_PARAMETER"), (400, 31, "MALFORMED_PARAMETER")
STRICT, ALWAYS = False, True

REFUSED: list[tuple[str, Any, tuple[int, int, str], str, bool]] = [
    ("a list", [VALID], MALFORMED, "body", ALWAYS),
    ("null", None, MALFORMED, "body", ALWAYS),
    ("unknown field", body(sound="ding"), MALFORMED, "sound", ALWAYS),
    ("several languages", body(messages={"en": {}}), MALFORMED, "messages", ALWAYS),
    ("no group", body(group_id=...), MISSING, "group_id", ALWAYS),
    ("group is a number", body(group_id=7), MALFORMED, "group_id", ALWAYS),
    ("group with a space", body(group_id="a b"), MALFORMED, "group_id", ALWAYS),
    ("group with a line end", body(group_id="a\n"), MALFORMED, "group_id", ALWAYS),
    ("group with an accent", body(group_id="é"), MALFORMED, "group_id", ALWAYS),
    ("empty group", body(group_id=""), MALFORMED, "group_id", ALWAYS),
    ("group too long", body(group_id="a" * 129), MALFORMED, "group_id", STRICT),
    ("no recipients", body(recipients=...), MISSING, "recipients", ALWAYS),
    ("recipients is a list", body(recipients=["a"]), MALFORMED, "recipients", ALWAYS),
    ("unknown list", body(recipients={"ids": ["a"]}), MALFORMED, "recipients.ids", ALWAYS),
    ("one ID, no list", body(recipients={"tokens": "a"}), MALFORMED, "recipients.tokens", ALWAYS),
    ("no list", body(recipients={}), MISSING, "recipients", ALWAYS),
    ("empty list", body(recipients={"tokens": []}), MISSING, "recipients", ALWAYS),
    ("10,001 over all lists", body(recipients=HALF), MALFORMED, "recipients", ALWAYS),
    ("ID is a number", body(recipients={"tokens": ["a", 1]}), MALFORMED, "tokens[1]", STRICT),
    ("ID is empty", body(recipients={"tokens": [""]}), MALFORMED, "tokens[0]", STRICT),
    ("no message", body(message=...), MISSING, "message", ALWAYS),
    ("message is text", body(message="hi"), MALFORMED, "message", ALWAYS),
    ("no body", body(message={"title": "t"}), MISSING, "message.body", ALWAYS),
    ("body is a number", body(message={"body": 1}), MALFORMED, "message.body", ALWAYS),
    ("body is empty", body(message={"body": ""}), MALFORMED, "message.body", STRICT),
    ("title: number", body(message={"body": "b", "title": 1}), MALFORMED, "message.title", ALWAYS),
    ("title: empty", body(message={"body": "b", "title": ""}), MALFORMED, "message.title", STRICT),
    ("title: null", body(message={"body": "b", "title": None}), MALFORMED, "message.title", STRICT),
    ("sound in message", body(message={"body": "b", "x": 1}), MALFORMED, "message.x", STRICT),
    ("priority urgent", body(priority="urgent"), MALFORMED, "priority", ALWAYS),
    ("priority is a list", body(priority=["high"]), MALFORMED, "priority", ALWAYS),
    ("life as text", body(time_to_live="60"), MALFORMED, "time_to_live", ALWAYS),
    ("life as fraction", body(time_to_live=60.5), MALFORMED, "time_to_live", ALWAYS),
    ("life as boolean", body(time_to_live=True), MALFORMED, "time_to_live", ALWAYS),
    ("life below 0", body(time_to_live=-1), MALFORMED, "time_to_live", ALWAYS),
    ("life over 28 days", body(time_to_live=2_419_201), MALFORMED, "time_to_live", ALWAYS),
    ("life 0", body(time_to_live=0), MALFORMED, "time_to_live", STRICT),
    ("collapse key as text", body(gcm_collapse_key="a"), MALFORMED, "gcm_collapse_key", ALWAYS),
    ("collapse key empty", body(gcm_collapse_key={}), MALFORMED, "gcm_collapse_key", STRICT),
    ("collapse unknown", body(gcm_collapse_key={"x": 1}), MALFORMED, "gcm_collapse_key.x", STRICT),
    ("collapse on", body(gcm_collapse_key={"enabled": 1}), MALFORMED, "key.enabled", STRICT),
    ("collapse name", body(gcm_collapse_key={"key": ""}), MALFORMED, "key.key", STRICT),
    ("push type", body(push_type="loud"), MALFORMED, "push_type", STRICT),
    ("label as text", body(labels="a"), MALFORMED, "labels", ALWAYS),
    ("label is a number", body(labels=[1]), MALFORMED, "labels", ALWAYS),
    ("four labels", body(labels=list("abcd")), MALFORMED, "labels", ALWAYS),
    ("sandbox as text", body(sandbox="false"), MALFORMED, "sandbox", ALWAYS),
    ("media as text", body(media="https://a.example"), MALFORMED, "media", ALWAYS),
    ("media empty", body(media={}), MALFORMED, "media", STRICT),
    ("media kind", body(media={"gif": "https://a.example"}), MALFORMED, "media.gif", ALWAYS),
    ("media is a number", body(media={"audio": 1}), MALFORMED, "media.audio", ALWAYS),
    ("media over http", body(media={"audio": "http://a.b"}), MALFORMED, "media.audio", STRICT),
    ("media without host", body(media={"video": "https://"}), MALFORMED, "media.video", STRICT),
    ("icon on iOS", body(media={"icon": "https://a.example"}), MALFORMED, "media.icon", STRICT),
    ("skip as text", body(skip_media_check="no"), MALFORMED, "skip_media_check", STRICT),
    ("deep link is an object", body(deeplink={}), MALFORMED, "deeplink", ALWAYS),
    ("deep link empty", body(deeplink=""), MALFORMED, "deeplink", STRICT),
    ("deep link null", body(deeplink=None), MALFORMED, "deeplink", STRICT),
    ("landing as text", body(landing="x"), MALFORMED, "landing", ALWAYS),
    ("landing empty", body(landing={}), MALFORMED, "landing", STRICT),
    ("two places", body(landing=LANDING, deeplink="a://b"), MALFORMED, "landing", STRICT),
    ("payload as object", body(custom_payload={"a": 1}), MALFORMED, "custom_payload", ALWAYS),
    ("payload not JSON", body(custom_payload="a=1"), MALFORMED, "custom_payload", STRICT),
    ("payload a JSON list", body(custom_payload="[1]"), MALFORMED, "custom_payload", STRICT),
    ("payload empty", body(custom_payload=""), MALFORMED, "custom_payload", STRICT),
    ("template is a number", body(wp_template=1), MALFORMED, "wp_template", STRICT),
    ("silent with text", body(push_type="background"), MALFORMED, "message", STRICT),
    (
        "silent with media",
        body(push_type="background", message=..., media=PICTURE),
        MALFORMED,
        "media",
        STRICT,
    ),
]


@pytest.mark.parametrize(
    ("data", "error", "field", "when"),
    [row[1:] for row in REFUSED],
    ids=[row[0] for row in REFUSED],
)
def test_refuses(data: Any, error: tuple[int, int, str], field: str, when: bool) -> None:
    reply = refusal(data, "ios")
    assert reply is not None
    assert (reply.status, reply.body["code"], reply.body["type"]) == error
    assert field in reply.body["message"]
    assert (refusal(data, "ios", lenient=True) is not None) == when


def test_every_rule_of_the_table_has_a_row_that_it_refuses_first() -> None:
    bodies = [row[1] for row in REFUSED if isinstance(row[1], dict)]
    answering = [next(rule for rule in RULES if rule.check(Posted(data, "ios"))) for data in bodies]
    assert set(answering) == set(RULES)


def test_a_refusal_over_http_names_the_field(batch: Batch, send: Send) -> None:
    reply = send(body(sound="ding"))
    assert reply.status_code == 400
    assert reply.json() == {
        "code": 31,
        "type": "MALFORMED_PARAMETER",
        "message": "`sound` is not valid child of `transactional`",
    }
    [call] = batch.calls()
    assert not call["accepted"]
    assert call["reply"] == {"status": 400, "body": reply.json()}


@pytest.mark.parametrize(
    ("path", "icon_is_taken"),
    [(IOS, False), ("/1.1/IOSDRIVERKEY/transactional/send", False), (ANDROID, True)],
)
def test_the_app_behind_the_key_sets_the_platform(
    path: str, icon_is_taken: bool, send: Send
) -> None:
    reply = send(body(media={"icon": "https://a.example/i.png"}), path)
    assert (reply.status_code == 201) is icon_is_taken


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
NEARLY_VALID = st.builds(
    lambda changes: VALID | changes,
    st.dictionaries(st.sampled_from(sorted(EVERYTHING | {"landing": 1, "wp_template": 1})), JSON),
)


@pytest.mark.parametrize("lenient", [False, True])
@given(data=JSON | NEARLY_VALID)
@settings(max_examples=100, deadline=None)
def test_any_json_is_taken_or_refused_with_batchs_error(lenient: bool, data: Any) -> None:
    reply = refusal(data, "ios", lenient)
    if reply is not None:
        assert 400 <= reply.status < 500
        assert reply.body.keys() == {"code", "type", "message"}


@given(data=JSON | NEARLY_VALID)
@settings(max_examples=50, deadline=None)
def test_any_json_is_answered_and_journaled_over_http(
    data: Any, shared: Batch, http: httpx.Client
) -> None:
    shared.clear()
    reply = http.post(shared.url + IOS, content=json.dumps(data), headers=HEADERS)
    expected = {"token"} if reply.status_code == 201 else {"code", "type", "message"}
    assert reply.json().keys() == expected
    assert [call["body"] for call in shared.calls()] == [data]
    assert http.get(shared.url).status_code == 200


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"title=x", b'{"a": NaN}', b"\xff\xfe", b"[" * 100_000, b"1" * 5_000],
    ids=["empty", "half", "form", "NaN", "not UTF-8", "too deep", "too long a number"],
)
def test_a_body_that_is_not_json_gets_32_and_is_journaled_as_text(
    content: bytes, batch: Batch, send: Send
) -> None:
    reply = send(None, content=content)
    assert (reply.status_code, reply.json()["code"]) == (400, 32)
    assert batch.calls()[0]["body"] == content.decode("utf-8", "replace")


# --- routes and keys


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        pytest.param("POST", IOS, {}, (401, 10), id="no key"),
        pytest.param("POST", IOS, {"X-Authorization": "x"}, (401, 10), id="unknown key"),
        pytest.param(
            "POST", IOS, {"Authorization": f"Bearer {REST_KEY}"}, (401, 10), id="the wrong header"
        ),
        pytest.param("POST", "/1.1/NO/transactional/send", HEADERS, (401, 10), id="unknown app"),
        pytest.param("GET", IOS, HEADERS, (404, 20), id="method"),
        pytest.param("POST", IOS.replace("1.1", "1.0"), HEADERS, (404, 20), id="version"),
        pytest.param("POST", IOS + "/", HEADERS, (404, 20), id="a slash too many"),
        pytest.param("POST", "/1.1/IOSKEY/data/users", HEADERS, (404, 20), id="another API"),
        pytest.param("POST", "/", HEADERS, (404, 20), id="the root"),
    ],
)
def test_routes_and_keys(
    method: str,
    path: str,
    headers: dict[str, str],
    expected: tuple[int, int],
    batch: Batch,
    http: httpx.Client,
) -> None:
    reply = http.request(method, batch.url + path, headers=headers, json=VALID)
    assert (reply.status_code, reply.json()["code"]) == expected
    assert [call["path"] for call in batch.calls()] == [path]


def test_rest_keys_can_be_rotated_but_not_read(
    batch: Batch, send: Send, http: httpx.Client
) -> None:
    batch.accept_rest_keys("new", "newer")
    assert send().status_code == 401
    assert send(headers={"X-Authorization": "newer"}).status_code == 201
    assert http.get(f"{batch.url}/__rest_keys").status_code == 404
    with pytest.raises(ValueError, match="non-empty"):
        batch.accept_rest_keys("")


def test_without_configuration_any_keys_are_taken_if_there_is_one(http: httpx.Client) -> None:
    with running() as batch:
        url = f"{batch.url}/1.1/ANY/transactional/send"
        assert http.post(url, json=VALID, headers={"X-Authorization": "any"}).status_code == 201
        assert http.post(url, json=VALID).status_code == 401
        assert [call["app"] for call in batch.calls()] == [None, None]


def test_a_lenient_server_takes_what_is_only_guessed_to_be_wrong(http: httpx.Client) -> None:
    with running(lenient=True) as batch:
        url = f"{batch.url}/1.1/ANY/transactional/send"
        assert http.post(url, json=body(deeplink=None), headers=HEADERS).status_code == 201


def test_headers_of_16_kb_and_bodies_of_2_mb_pass(batch: Batch, send: Send) -> None:
    assert send(headers=HEADERS | {"X-Trace": "x" * 16_000}).status_code == 201
    assert send(body(custom_payload=json.dumps({"x": "x" * 2_000_000}))).status_code == 201
    reply = send(body(custom_payload="x" * 2_200_000))
    assert (reply.status_code, reply.json()["code"]) == (400, 31)
    assert batch.calls()[-1]["body"] == ""


# --- statistics


TODAY = date(2026, 7, 31)
SENT_TWICE = Sent()
SENT_TWICE.add("KEY", "like", date(2026, 7, 30), 2)
SENT_TWICE.add("KEY", "like", date(2026, 7, 30), 1)


def test_statistics_have_a_row_for_each_day() -> None:
    query = {"since": "2026-07-29"}
    reply = stats_reply("KEY", "like", query, SENT_TWICE, TODAY)
    assert reply.status == 200
    assert reply.body["group_id"] == "like"
    days = [(row["date"], row["sent"]) for row in reply.body["detail"]]
    assert days == [("2026-07-29", 0), ("2026-07-30", 3), ("2026-07-31", 0)]
    counters = {"date", "sent", "direct_open", "influenced_open", "reengaged", "errors"}
    assert reply.body["detail"][0].keys() == counters
    assert stats_reply("KEY", "never", query, SENT_TWICE, TODAY).body["detail"] == []


@pytest.mark.parametrize(
    ("app_key", "since", "until", "status"),
    [
        pytest.param("KEY", "2026-01-31", "2026-07-31", 200, id="six months"),
        pytest.param("KEY", "2025-08-31", "2026-02-28", 200, id="to a shorter month"),
        pytest.param("KEY", "2026-01-30", "2026-07-31", 400, id="over six months"),
        pytest.param("KEY", "9999-10-01", "9999-12-31", 200, id="the end of time"),
        pytest.param("KEY", None, "2026-07-31", 400, id="no since"),
        pytest.param("KEY", "2026-07-31", None, 400, id="until is today"),
        pytest.param("KEY", "2026-07-31", "2026-07-30", 400, id="backwards"),
        pytest.param("KEY", "20260701", None, 400, id="not YYYY-MM-DD"),
        pytest.param("KEY", "2026-06-31", None, 400, id="no such day"),
        pytest.param("KEY", "2026-07-01", "today", 400, id="until is a word"),
        pytest.param("DEVKEY", "2026-07-01", None, 403, id="a dev key"),
    ],
)
def test_statistics_questions(
    app_key: str, since: str | None, until: str | None, status: int
) -> None:
    query = {"since": since, "until": until}
    given_only = {name: text for name, text in query.items() if text is not None}
    assert stats_reply(app_key, "like", given_only, SENT_TWICE, TODAY).status == status


def test_statistics_of_a_group_can_be_scripted(
    batch: Batch, send: Send, http: httpx.Client
) -> None:
    send()
    today = datetime.now(UTC).date()
    batch.script_stats("like", [{"date": str(today), "direct_open": 1, "influenced_open": 2}])
    since = today - timedelta(days=1)
    url = f"{batch.url}/1.1/IOSKEY/transactional/stats/like?since={since}"
    empty = {"sent": 0, "direct_open": 0, "influenced_open": 0, "reengaged": 0, "errors": 0}
    opened = empty | {"sent": 1, "direct_open": 1, "influenced_open": 2}
    detail = http.get(url, headers=HEADERS).json()["detail"]
    assert detail == [{"date": str(since), **empty}, {"date": str(today), **opened}]


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ({}, "list"),
        ([[]], "object"),
        ([{"sent": 1}], "date"),
        ([{"date": "2026-02-30"}], "date"),
        ([{"date": "2026-02-01", "opened": 1}], "opened"),
        ([{"date": "2026-02-01", "sent": -1}], "sent"),
        ([{"date": "2026-02-01", "errors": True}], "errors"),
    ],
    ids=str,
)
def test_scripted_statistics_that_cannot_be_meant_are_refused(
    rows: Any, named: str, batch: Batch
) -> None:
    with pytest.raises(ValueError, match=f"400.*{named}"):
        batch.script_stats("like", rows)


def test_statistics_count_what_was_taken(http: httpx.Client) -> None:
    with in_background(
        create_app(APPS, [REST_KEY], now=lambda: datetime(2026, 7, 31, tzinfo=UTC))
    ) as url:
        for data in (VALID, body(recipients={"tokens": ["a", "b"]}), body(sound=1)):
            http.post(url + IOS, json=data, headers=HEADERS)
        stats = f"{url}/1.1/IOSKEY/transactional/stats/like?since=2026-07-30"
        reply = http.get(stats, headers=HEADERS)
        assert [row["sent"] for row in reply.json()["detail"]] == [0, 3]


# --- the journal


def test_the_journal_holds_what_came_in_order(batch: Batch, send: Send) -> None:
    first, second = send(), send(body(group_id="two"), ANDROID)
    calls = batch.wait_for_calls(2)
    assert calls[0] == {
        "app_key": "IOSKEY",
        "app": "ios",
        "route": "transactional/send",
        "method": "POST",
        "path": IOS,
        "body": VALID,
        "headers": {
            "x-authorization": REST_KEY,
            "content-type": "application/json",
            "user-agent": calls[0]["headers"]["user-agent"],
        },
        "received_at": calls[0]["received_at"],
        "answered_at": calls[0]["answered_at"],
        "accepted": True,
        "reply": {"status": 201, "body": first.json()},
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", calls[0]["received_at"])
    assert datetime.fromisoformat(calls[0]["received_at"]).tzinfo is not None
    assert calls[0]["received_at"] <= calls[0]["answered_at"]
    assert calls[1]["app"] == "android"
    assert calls[1]["reply"]["body"] == second.json()
    batch.clear()
    assert batch.calls() == []


def test_waiting_in_vain_shows_what_came(batch: Batch, send: Send) -> None:
    send()
    with pytest.raises(AssertionError, match=r"1 of 2 calls .*\n.*Bob likes you"):
        batch.wait_for_calls(2, timeout=0.03)


# --- the page, see also test_page.py


def shown(batch: Batch, http: httpx.Client) -> Any:
    """The first that the page's stream says."""
    with http.stream("GET", f"{batch.url}/__events") as events:
        line = next(events.iter_lines())
    return json.loads(line.removeprefix("data: "))


def test_the_page_is_served_from_here_alone(batch: Batch, http: httpx.Client) -> None:
    page = http.get(batch.url)
    assert "default-src 'none'; script-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "no-referrer"
    files = re.findall(r'(?:href|src)="([^"#]+)"', page.text)
    assert len(files) >= 3
    for file in files:
        assert http.get(f"{batch.url}{file}").status_code == 200
    assert http.get(f"{batch.url}/__page/nothing.js").status_code == 404


def test_the_stream_has_calls_of_any_shape_and_no_rest_key(
    batch: Batch, send: Send, http: httpx.Client
) -> None:
    for sent in ([1], {"recipients": "ann"}, {"recipients": {"custom_ids": "ann"}}, "x"):
        assert send(sent).status_code == 400
    assert send(body(recipients={"custom_ids": [str(n) for n in range(250)]})).status_code == 201
    view = shown(batch, http)
    assert REST_KEY not in json.dumps(view)
    *_, last = view["calls"]
    assert len(view["calls"]) == 5
    assert last["recipients"] == {"custom_ids": 250}
    assert len(last["body"]["recipients"]["custom_ids"]) == 100
    assert view["deliveries"] is None


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:4010", "Origin": "http://localhost:4010"}, 200),
        ({"Host": "[::1]:4010"}, 200),
        ({"Host": "evil.example"}, 403),  # a name that was made to point here
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost:4010", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost:4010", "Origin": "http://localhost:3000"}, 403),
        ({"Host": "localhost:4010", "Origin": "null"}, 403),
        ({"Host": "["}, 403),
    ],
)
def test_pages_of_other_sites_can_order_nothing(
    batch: Batch, http: httpx.Client, headers: dict[str, str], status: int
) -> None:
    for path in ("/", "/__calls"):
        assert http.get(f"{batch.url}{path}", headers=headers).status_code == status
    reply = http.post(f"{batch.url}/__faults", json={"status": 503}, headers=headers)
    assert reply.status_code == status


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/__documents/orders/7"),
        ("POST", f"/__deliveries/{'0' * 64}/replay"),
        ("POST", "/__sweep"),
        ("POST", "/__rest_keys/rotate"),
    ],
)
def test_alone_there_is_nothing_to_write_to(
    batch: Batch, http: httpx.Client, method: str, path: str
) -> None:
    reply = http.request(method, f"{batch.url}{path}", json={})
    assert reply.status_code == 503
    assert "runs alone" in reply.json()["message"]


# --- faults


def raw_call(url: str, data: Any = VALID) -> socket.socket:
    """A connection on which the call has been written and nothing read."""
    content = json.dumps(data).encode()
    address = urlsplit(url)
    connection = socket.create_connection((address.hostname, address.port), timeout=60)
    connection.sendall(
        f"POST {IOS} HTTP/1.1\r\nHost: x\r\nX-Authorization: {REST_KEY}\r\n"
        f"Content-Length: {len(content)}\r\n\r\n".encode()
        + content
    )
    return connection


def read_to_end(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


ERROR_BODIES = [
    (400, 31, "MALFORMED_PARAMETER"),
    (401, 10, "AUTHENTICATION_INVALID"),
    (403, 12, "API_MISUSE"),
    (404, 20, "ROUTE_NOT_FOUND"),
    (429, 60, "TOO_MANY_REQUESTS"),
    (500, 1, "SERVER_ERROR"),
    (503, 2, "MAINTENANCE_ERROR"),
]


@pytest.mark.parametrize(("status", "code", "type"), ERROR_BODIES)
def test_a_status_comes_with_batchs_own_error(
    status: int, code: int, type: str, batch: Batch, send: Send
) -> None:
    batch.fault(status=status)
    reply = send()
    assert (reply.status_code, reply.json()["code"], reply.json()["type"]) == (status, code, type)
    [call] = batch.calls()
    assert (call["accepted"], call["reply"]["status"]) == (False, status)
    assert send().status_code == 201


@pytest.mark.parametrize("status", [502, 504, 418])
def test_a_gateway_answers_in_html(status: int, batch: Batch, send: Send) -> None:
    batch.fault(status=status)
    reply = send()
    assert reply.status_code == status
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.text.startswith("<html>")


@pytest.mark.parametrize(
    ("body", "text", "content_type"),
    [
        ("oops", "oops", "text/plain; charset=utf-8"),
        ("", "", "text/plain; charset=utf-8"),
        ({"code": 9}, '{"code": 9}', "application/json"),
    ],
    ids=["text", "nothing", "JSON"],
)
def test_a_fault_can_bring_its_body_and_headers(
    body: Any, text: str, content_type: str, batch: Batch, send: Send
) -> None:
    batch.fault(status=429, body=body, headers={"Retry-After": "2"})
    reply = send()
    assert (reply.status_code, reply.text) == (429, text)
    assert reply.headers["retry-after"] == "2"
    assert reply.headers["content-type"] == content_type


def test_a_fault_can_lie_about_the_content_type(batch: Batch, send: Send) -> None:
    batch.fault(status=201, body="<html>", headers={"content-type": "application/json"})
    assert send().headers.get_list("content-type") == ["application/json"]


def test_a_status_that_has_no_body_has_none(batch: Batch, send: Send) -> None:
    batch.fault(status=204)
    assert (send().status_code, send().status_code) == (204, 201)


def test_a_2xx_status_counts_as_accepted(batch: Batch, send: Send) -> None:
    batch.fault(status=200, body="not JSON")
    assert send().text == "not JSON"
    assert batch.calls()[0]["accepted"]


def test_a_delayed_answer_is_accepted_before_it_comes(batch: Batch) -> None:
    batch.fault(delay=0.2)
    with closing(raw_call(batch.url)) as connection:
        [call] = batch.wait_for_calls(1)
        assert (call["accepted"], call["reply"]) == (True, None)
        assert connection.recv(65536).startswith(b"HTTP/1.1 201")
    assert batch.calls()[0]["reply"]["status"] == 201


def test_a_client_that_gave_up_was_accepted_all_the_same(batch: Batch, send: Send) -> None:
    batch.fault(delay=60)
    with pytest.raises(httpx.ReadTimeout):
        send(timeout=0.05)
    [call] = batch.wait_for_calls(1)
    assert (call["accepted"], call["reply"]) == (True, None)


def test_a_reset_is_a_tcp_rst_and_not_accepted(batch: Batch) -> None:
    batch.fault(reset=True)
    with closing(raw_call(batch.url)) as connection, pytest.raises(ConnectionResetError):
        read_to_end(connection)
    [call] = batch.calls()
    assert (call["accepted"], call["reply"]) == (False, None)


def test_a_cut_answer_ends_in_the_middle_of_its_body(batch: Batch, send: Send) -> None:
    batch.fault(cut=True)
    with closing(raw_call(batch.url)) as connection:
        head, _, rest = read_to_end(connection).partition(b"\r\n\r\n")
    promised = re.search(rb"Content-Length: (\d+)", head)
    assert head.startswith(b"HTTP/1.1 201 Created\r\n")
    assert promised is not None
    assert len(rest) == int(promised[1]) // 2
    assert batch.calls()[0]["accepted"]
    batch.fault(cut=True)
    with pytest.raises(httpx.RemoteProtocolError):
        send()


def test_a_hanging_call_shows_until_the_faults_are_cleared(batch: Batch) -> None:
    batch.fault(hang=True)
    with closing(raw_call(batch.url)) as connection:
        [call] = batch.wait_for_calls(1)
        assert (call["accepted"], call["reply"]) == (True, None)
        connection.setblocking(False)
        with pytest.raises(BlockingIOError):
            connection.recv(1)
        connection.settimeout(60)
        batch.clear_faults()
        assert read_to_end(connection) == b""


def test_a_hanging_call_does_not_hold_up_the_end(http: httpx.Client) -> None:
    with running() as batch:
        batch.fault(hang=True)
        connection = raw_call(batch.url)
        batch.wait_for_calls(1)
        started = time.monotonic()
    assert time.monotonic() - started < 30
    connection.close()


def test_a_dripping_answer_comes_byte_by_byte_and_whole(batch: Batch) -> None:
    batch.fault(drip=0.002)
    with closing(raw_call(batch.url)) as connection:
        received = b""
        pieces = 0
        while not received.endswith(b'"}'):
            received += connection.recv(65536)
            pieces += 1
    assert pieces > 3
    assert json.loads(received.partition(b"\r\n\r\n")[2]) == batch.calls()[0]["reply"]["body"]


@pytest.mark.parametrize(
    ("fault", "accepted"),
    [
        ({"status": 500, "accept": True}, True),
        ({"status": 201, "accept": False}, False),
        ({"reset": True, "accept": True}, True),
        ({"cut": True, "accept": False}, False),
        ({"cut": True, "status": 500}, False),
        ({"hang": True, "accept": False}, False),
        ({"delay": 0, "accept": False}, False),
        ({"drip": 0.0001}, True),
    ],
    ids=str,
)
def test_whether_batch_took_the_call_can_be_set(
    fault: dict[str, Any], accepted: bool, batch: Batch
) -> None:
    batch.fault(**fault)
    with closing(raw_call(batch.url)):
        [call] = batch.wait_for_calls(1)
    assert call["accepted"] is accepted


def test_an_invalid_call_is_refused_and_leaves_an_accepting_fault(batch: Batch, send: Send) -> None:
    batch.fault(status=500, accept=True)
    assert send(body(sound="ding")).status_code == 400
    assert send().status_code == 500
    assert send().status_code == 201


def test_a_refusing_fault_comes_before_the_keys(batch: Batch, send: Send) -> None:
    batch.fault(status=503)
    assert send(headers={}).status_code == 503
    assert send(headers={}).status_code == 401


def test_faults_meet_the_calls_that_they_name_in_order(
    batch: Batch, send: Send, http: httpx.Client
) -> None:
    scripted = [
        {"app": "android", "status": 500, "times": 2},
        {"app": "IOSKEY", "status": 503},
        {"group_id": "two", "status": 429, "times": None},
    ]
    assert http.post(f"{batch.url}/__faults", json=scripted).status_code == 200
    answers = [
        send().status_code,
        send().status_code,
        send(body(group_id="two")).status_code,
        send(body(group_id="two"), ANDROID).status_code,
        send(VALID, ANDROID).status_code,
        send(VALID, ANDROID).status_code,
        send(body(group_id="two"), ANDROID).status_code,
    ]
    assert answers == [503, 201, 429, 500, 500, 201, 429]
    remaining = [{"group_id": "two", "status": 429, "times": None}]
    assert http.get(f"{batch.url}/__faults").json() == remaining
    batch.clear_faults()
    assert http.get(f"{batch.url}/__faults").json() == []
    assert send(body(group_id="two")).status_code == 201


def test_remaining_faults_are_listed_with_the_times_that_are_left(
    batch: Batch, send: Send, http: httpx.Client
) -> None:
    batch.fault(status=500, times=3)
    send()
    assert http.get(f"{batch.url}/__faults").json() == [{"times": 2, "status": 500}]


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ({"statuss": 500}, "statuss"),
        ({"status": "500"}, "status"),
        ({"status": 99}, "status"),
        ({"status": 500, "times": 0}, "times"),
        ({"status": 500, "times": True}, "times"),
        ({"delay": -1}, "delay"),
        ({"drip": "slow"}, "drip"),
        ({"reset": 1}, "reset"),
        ({"status": 200, "headers": {"A": "b\r\nc: d"}}, "headers"),
        ({"status": 200, "body": 7}, "body"),
        ({"app": "ios"}, "needs one of"),
        ({"route": "send", "status": 500}, "route"),
        ({"reset": True, "hang": True}, "exclude"),
    ],
    ids=str,
)
def test_a_fault_that_cannot_be_meant_is_refused(
    fault: dict[str, Any], named: str, batch: Batch, http: httpx.Client
) -> None:
    with pytest.raises(ValueError, match=f"400.*{named}"):
        batch.fault(**fault)
    both = [{"status": 500}, fault]
    assert http.post(f"{batch.url}/__faults", json=both).status_code == 400
    assert http.get(f"{batch.url}/__faults").json() == []


# --- as a program


def test_runs_as_a_program() -> None:
    port = free_port()
    command = [sys.executable, "-m", "emulators.batch", "--port", str(port), "--apps", "ios=KEY"]
    root = Path(__file__).parent.parent
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE) as program:
        try:
            batch = Batch(f"http://127.0.0.1:{port}")
            wait_until_ready(batch)
            assert batch.calls() == []
        finally:
            program.terminate()


def wait_until_ready(batch: Batch, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while True:
        try:
            batch.calls()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the emulator did not start"


def test_apps_come_from_the_option_or_the_environment() -> None:
    environ = {"BATCH_APPS": "ios=A, android=B"}
    assert parse_arguments([], environ).apps == {"ios": "A", "android": "B"}
    assert parse_arguments(["--apps", "web=C"], environ).apps == {"web": "C"}
    assert parse_arguments([], {}).apps == {}
    assert parse_arguments(["--rest-key", "a", "--rest-key", "b"], {}).rest_key == ["a", "b"]


def test_a_malformed_list_of_apps_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--apps", "ios"], {})
    assert "--apps" in capsys.readouterr().err


def test_judges_batchpush_without_sharing_its_code() -> None:
    sources = (Path(__file__).parent.parent / "emulators" / "batch").rglob("*.py")
    importing = [
        path for path in sources if re.search(r"(from|import) batchpush", path.read_text())
    ]
    assert importing == []
