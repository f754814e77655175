import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush.batch_api.outcome import (
    MAX_RETRY_AFTER,
    MAX_WAIT,
    MIN_WAIT,
    MIN_WAIT_429,
    Outcome,
    Reply,
    Then,
    classify,
    outcome_table,
    retry_after,
    wait_before,
)

NOW = datetime(2026, 5, 4, 10, 0, tzinfo=UTC)
TOKEN = b'{"token": "4b5c1e6e-1d5b-4c3e-8f7a-0e9d8c7b6a59"}'
ERROR = b'{"code": 1, "type": "SERVER_ERROR", "message": "oops"}'
HTML = b"<html>oops</html>"
CEP_ERROR = b'{"error_code": "SERVER_ERROR", "error_message": "oops"}'
PARTIAL = b'{"code": "SUCCESS_WITH_PARTIAL_ERRORS", "errors": []}'


@pytest.mark.parametrize(
    ("reply", "outcome", "then"),
    [
        (Reply(201, TOKEN), Outcome.ACCEPTED, Then.DONE),
        (Reply(200, TOKEN), Outcome.ACCEPTED, Then.DONE),
        (Reply(200, b"{}"), Outcome.UNKNOWN, Then.RESEND),
        (Reply(201, b""), Outcome.UNKNOWN, Then.RESEND),
        (Reply(201, HTML), Outcome.UNKNOWN, Then.RESEND),
        (Reply(201, TOKEN[:20]), Outcome.UNKNOWN, Then.RESEND),
        (Reply(201, b'["token"]'), Outcome.UNKNOWN, Then.RESEND),
        (Reply(204), Outcome.UNKNOWN, Then.RESEND),
        (Reply(307), Outcome.UNKNOWN, Then.RESEND),
        (Reply(400, ERROR), Outcome.REFUSED, Then.DONE),
        (Reply(400, HTML), Outcome.REFUSED, Then.DONE),
        (Reply(401, ERROR), Outcome.NOT_SENT, Then.REDELIVERY),
        (Reply(403, ERROR), Outcome.REFUSED, Then.DONE),
        (Reply(404, ERROR), Outcome.REFUSED, Then.DONE),
        (Reply(413), Outcome.REFUSED, Then.DONE),
        (Reply(429, ERROR), Outcome.NOT_SENT, Then.AGAIN),
        (Reply(202, PARTIAL, accepts_nobody=True), Outcome.REFUSED, Then.DONE),
        (Reply(500, CEP_ERROR), Outcome.NOT_SENT, Then.AGAIN),
        (Reply(500, ERROR), Outcome.NOT_SENT, Then.AGAIN),
        (Reply(500, HTML), Outcome.UNKNOWN, Then.RESEND),
        (Reply(500), Outcome.UNKNOWN, Then.RESEND),
        (Reply(502, HTML), Outcome.UNKNOWN, Then.RESEND),
        (Reply(502, ERROR), Outcome.UNKNOWN, Then.RESEND),
        (Reply(503, HTML), Outcome.NOT_SENT, Then.AGAIN),
        (Reply(503, ERROR), Outcome.NOT_SENT, Then.AGAIN),
        (Reply(504, HTML), Outcome.UNKNOWN, Then.RESEND),
        (Reply(sent=False), Outcome.NOT_SENT, Then.AGAIN),
        (Reply(sent=True), Outcome.UNKNOWN, Then.RESEND),
    ],
)
def test_what_a_reply_means(reply: Reply, outcome: Outcome, then: Then) -> None:
    rule = classify(reply)
    assert (rule.outcome, rule.then) == (outcome, then)


@given(st.none() | st.integers(100, 599), st.binary(max_size=60), st.booleans())
def test_every_reply_means_something_and_only_a_token_means_accepted(
    status: int | None, body: bytes, sent: bool
) -> None:
    rule = classify(Reply(status, body, sent=sent))
    assert rule.outcome is not Outcome.ACCEPTED


def test_the_page_shows_the_table_that_decides() -> None:
    assert outcome_table() in Path("docs/reliability.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-3", None),
        ("1.5", None),
        ("0", 0.0),
        (" 7 ", 7.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        ("Mon, 04 May 2026 10:01:00", 60.0),
        ("600", MAX_RETRY_AFTER),
        ("601", MAX_RETRY_AFTER),
        ("9" * 8, MAX_RETRY_AFTER),
        ("9" * 400, MAX_RETRY_AFTER),
        ("9" * 5000, MAX_RETRY_AFTER),
        ("-9" * 400, None),
        ("inf", None),
        ("nan", None),
        ("1e3", None),
        ("\u0663", None),  # a digit, and not an ASCII one
        ("\u00b2", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER),
        ("Fri, 31 Dec 9999 23:59:59 -2359", MAX_RETRY_AFTER),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        ("Mon, 04 May 20260000000000000000 10:01:00 GMT", None),
        ("Mon, 04 May 2026 10:01:00 +99999999999999999999", None),
        ("Mon, 04 May 2026 99:99:99 GMT", None),
        ("Mon, 32 May 2026 10:01:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_a_date(
    header: str | None, seconds: float | None
) -> None:
    assert retry_after(Reply(503, retry_after=header), NOW) == seconds


DATE_LIKE = st.builds(
    "{}, {} {} {} {}:{}:{} {}".format,
    st.sampled_from(["Mon", "Sun", ""]),
    st.integers(-1, 40) | st.integers(),
    st.sampled_from(["Jan", "Feb", "Dec", "Foo"]),
    st.integers(),
    st.integers(-1, 70) | st.integers(),
    st.integers(-1, 70) | st.integers(),
    st.integers(-1, 70) | st.integers(),
    st.sampled_from(["GMT", "", "PST"]) | st.integers().map("{:+d}".format),
)
HEADERS = st.text() | st.integers().map(str) | st.floats().map(str) | DATE_LIKE


@given(HEADERS)
def test_no_retry_after_crashes_or_blocks_an_app_for_long(header: str) -> None:
    seconds = retry_after(Reply(503, retry_after=header), NOW)
    assert seconds is None or 0 <= seconds <= MAX_RETRY_AFTER


@given(st.integers(1, 60), st.floats(0, 1))
def test_the_backoff_has_full_jitter_and_a_limit(attempt: int, chance: float) -> None:
    wait = wait_before(attempt, Reply(503), NOW, lambda: chance)
    assert 0 <= wait <= min(MAX_WAIT, MIN_WAIT * 2 ** (attempt - 1))


@pytest.mark.parametrize(("status", "least"), [(503, 0.0), (429, 5.0)])
def test_each_wait_may_be_twice_as_long_as_the_one_before(status: int, least: float) -> None:
    waits = [wait_before(attempt, Reply(status), NOW, lambda: 1.0) for attempt in range(1, 7)]
    assert waits == [least + backoff for backoff in (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)]


def test_the_servers_word_goes_before_the_backoff() -> None:
    assert wait_before(5, Reply(503, retry_after="30"), NOW, lambda: 0.5) == 30.0
    assert wait_before(1, Reply(429, retry_after="1"), NOW, lambda: 0.5) == 1.0
    at = format_datetime(NOW + timedelta(seconds=20), usegmt=True)
    assert wait_before(1, Reply(503, retry_after=at), NOW, lambda: 0.5) == 20.0


def test_a_429_without_a_word_waits_as_batch_asks_for() -> None:
    assert wait_before(1, Reply(429), NOW, lambda: 0.0) >= MIN_WAIT_429


def test_of_an_error_batchs_own_words_are_kept_and_no_more() -> None:
    assert Reply(500, ERROR).said() == "1 SERVER_ERROR: oops"
    assert Reply(500, HTML).said() is None
    long = json.dumps({"code": 1, "message": "x" * 10_000}).encode()
    assert len(Reply(400, long).said() or "") == 500
    cep = json.dumps({"error_code": "X", "error_message": "x" * 600}).encode()
    assert len(Reply(400, cep).said() or "") == 500
    assert len(Reply(202, b"{}", refused={"x" * 600: ["ann"]}).said() or "") == 500


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (Reply(200), Outcome.ACCEPTED),
        (Reply(201, b'{"token": "t"}'), Outcome.UNKNOWN),  # no proof here
        (Reply(503), Outcome.NOT_SENT),
    ],
)
def test_another_route_has_another_proof(reply: Reply, outcome: Outcome) -> None:
    assert classify(reply, lambda reply: reply.status == 200).outcome is outcome


@pytest.mark.parametrize(
    ("body", "rows"),
    [(b'[{"a": 1}]', [{"a": 1}]), (b"[]", []), (b"[1]", None), (b"{}", None), (b"[{", None)],
)
def test_a_list_of_objects_is_rows(body: bytes, rows: object) -> None:
    assert Reply(200, body).rows() == rows


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(400, ERROR), "1 SERVER_ERROR: oops"),
        (Reply(400, CEP_ERROR), "SERVER_ERROR: oops"),
        (Reply(202, b'{"code": "SUCCESS"}'), None),
        (Reply(202, PARTIAL), None),
        (Reply(400, b'{"code": "X"}'), "X None: None"),
        (
            Reply(202, PARTIAL, refused={"too old": ["ann", "bob"], "other": ["eve"]}),
            "SUCCESS_WITH_PARTIAL_ERRORS: 3 refused, too old",
        ),
        (Reply(500, HTML), None),
    ],
)
def test_what_batch_said_is_read_in_both_shapes(reply: Reply, said: str | None) -> None:
    assert reply.said() == said


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(400, ERROR, problem="cut"), "1 SERVER_ERROR: oops"),
        (Reply(sent=False, problem="no connection"), "no connection"),
        (Reply(502, HTML), "Batch answered 502"),
        (Reply(400, rb'{"code": 1, "type": "T", "message": "\ud83c"}'), "1 T: ?"),
    ],
)
def test_why_a_reply_accepts_nothing_is_said_so_that_it_can_be_stored(
    reply: Reply, why: str
) -> None:
    assert reply.why() == why
