"""How what is known of a campaign may change: one row per case."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.campaigns.decide import desired_states, list_request, request_for
from batchpush.campaigns.state import (
    LOOK_AFTER,
    MAX_LEASE,
    SKEW,
    CampaignState,
    Desired,
    Publication,
    Step,
    UnknownCreate,
    is_token,
)
from batchpush.documents import Document
from batchpush.errors import InvalidPush
from batchpush.pushes.campaign import Campaign

NOW = datetime(2026, 5, 4, 10, 20, tzinfo=UTC)
YESTERDAY = NOW - timedelta(days=1)
FIRST, LAST = (datetime.min + timedelta(1)).replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
BODY = json.dumps({"name": "Sale", "live": True}).encode()
SALE = Desired("v2", BODY, due=NOW)
OTHER = Desired("v2", json.dumps({"name": "Another", "live": True}).encode())
NONE = Desired("")
WRONG = Desired("v2", problem="name is missing")
DOUBT = UnknownCreate("Sale", SALE.fingerprint, NOW)


def known(state: CampaignState, **fields: Any) -> Publication:
    return Publication(state=state, updated_at=NOW - timedelta(hours=1), **fields)


NEW = Publication()
APPLIED = known(CampaignState.APPLIED, campaign_token="t", applied=SALE.fingerprint, tried="v1")
CLAIMED = known(CampaignState.CLAIMED, lease_until=NOW + timedelta(seconds=1))
DOUBTED = known(CampaignState.RETRY, doubts=(DOUBT,))


@pytest.mark.parametrize(
    ("publication", "desired", "step"),
    [
        (NEW, SALE, Step.CREATE),
        (NEW, NONE, Step.NOTHING),
        (NEW, WRONG, Step.NOTE),
        (APPLIED, SALE, Step.NOTHING),
        (APPLIED, OTHER, Step.UPDATE),
        (APPLIED, NONE, Step.DELETE),
        (APPLIED, WRONG, Step.NOTE),
        (replace(APPLIED, applied=None), SALE, Step.UPDATE),  # nobody knows what Batch has
        (
            replace(APPLIED, state=CampaignState.REFUSED),
            SALE,
            Step.NOTE,
        ),  # edited back to what it was
        (replace(APPLIED, state=CampaignState.REFUSED, tried="v2"), OTHER, Step.NOTHING),
        (known(CampaignState.REFUSED, tried="v1"), SALE, Step.CREATE),
        (known(CampaignState.REFUSED, tried="v2"), SALE, Step.NOTHING),
        (known(CampaignState.REFUSED, tried="v1"), NONE, Step.NOTE),
        (known(CampaignState.RETRY, tried="v2"), SALE, Step.CREATE),
        (known(CampaignState.HELD, tried="v2", doubts=(DOUBT,)), SALE, Step.NOTHING),
        (known(CampaignState.HELD, tried="v1", doubts=(DOUBT,)), SALE, Step.LOOK),
        (known(CampaignState.HELD, doubts=(DOUBT,), campaign_token="t"), SALE, Step.UPDATE),
        (known(CampaignState.ABSENT), SALE, Step.CREATE),
        (DOUBTED, SALE, Step.LOOK),
        (DOUBTED, NONE, Step.LOOK),
        (replace(DOUBTED, updated_at=NOW - LOOK_AFTER / 2), SALE, Step.WAIT),
        (CLAIMED, SALE, Step.WAIT),
        (CLAIMED, WRONG, Step.WAIT),
        (replace(CLAIMED, lease_until=NOW), SALE, Step.CREATE),
        (replace(CLAIMED, lease_until=NOW + MAX_LEASE), SALE, Step.WAIT),
        (replace(CLAIMED, lease_until=NOW + timedelta(days=1)), SALE, Step.CREATE),  # a mistake
        (replace(CLAIMED, lease_until=LAST), SALE, Step.CREATE),
        (replace(DOUBTED, updated_at=LAST), SALE, Step.LOOK),
        (replace(DOUBTED, updated_at=FIRST), SALE, Step.LOOK),
        (replace(DOUBTED, updated_at=NOW - LOOK_AFTER), SALE, Step.LOOK),
        (replace(DOUBTED, updated_at=NOW + SKEW), SALE, Step.WAIT),  # clocks
        (replace(CLAIMED, lease_until=NOW, doubts=(DOUBT,)), SALE, Step.LOOK),
    ],
)
def test_what_is_known_and_what_is_wanted_say_what_to_do(
    publication: Publication, desired: Desired, step: Step
) -> None:
    assert publication.next_step(desired, NOW) is step


CREATED = Reply(201, b'{"campaign_token": "t"}')
REFUSAL = Reply(400, b'{"code": 31, "type": "MALFORMED_PARAMETER", "message": "no"}')
LOST = Reply(problem="no answer within 10 s")


@pytest.mark.parametrize(
    ("before", "step", "outcome", "reply", "state", "token", "applied", "doubts"),
    [
        (NEW, Step.CREATE, Outcome.ACCEPTED, CREATED, "APPLIED", "t", True, 0),
        (NEW, Step.CREATE, Outcome.REFUSED, REFUSAL, "REFUSED", None, False, 0),
        (NEW, Step.CREATE, Outcome.NOT_SENT, Reply(503), "RETRY", None, False, 0),
        (NEW, Step.CREATE, Outcome.UNKNOWN, LOST, "RETRY", None, False, 1),
        (DOUBTED, Step.CREATE, Outcome.UNKNOWN, LOST, "RETRY", None, False, 2),
        (DOUBTED, Step.CREATE, Outcome.ACCEPTED, CREATED, "APPLIED", "t", True, 0),
        (APPLIED, Step.UPDATE, Outcome.ACCEPTED, Reply(200), "APPLIED", "t", True, 0),
        (APPLIED, Step.UPDATE, Outcome.REFUSED, REFUSAL, "REFUSED", "t", True, 0),
        (APPLIED, Step.UPDATE, Outcome.UNKNOWN, LOST, "RETRY", "t", False, 0),
        (APPLIED, Step.DELETE, Outcome.ACCEPTED, Reply(200), "ABSENT", None, False, 0),
        (APPLIED, Step.DELETE, Outcome.REFUSED, Reply(404), "ABSENT", None, False, 0),
        (APPLIED, Step.DELETE, Outcome.REFUSED, Reply(403), "REFUSED", "t", True, 0),
    ],
)
def test_a_reply_says_what_is_known_then(
    before: Publication,
    step: Step,
    outcome: Outcome,
    reply: Reply,
    state: str,
    token: str | None,
    applied: bool,
    doubts: int,
) -> None:
    claimed = before.claimed(step, SALE, now=YESTERDAY, lease_until=NOW)
    after = claimed.after(step, SALE, outcome, reply, before=before, now=NOW)
    assert (after.state.value, after.campaign_token, after.updated_at) == (state, token, NOW)
    assert (after.applied == SALE.fingerprint, len(after.doubts)) == (applied, doubts)
    assert bool(after.error) is (state in ("REFUSED", "RETRY"))
    assert (after.lease_until, after.tried) == (None, "v2")
    assert after.revision == before.revision + 2


@pytest.mark.parametrize(
    ("before", "step", "applied", "doubts"),
    [
        (NEW, Step.CREATE, None, (DOUBT,)),
        (DOUBTED, Step.CREATE, None, (DOUBT, DOUBT)),
        (APPLIED, Step.UPDATE, None, ()),
        (APPLIED, Step.DELETE, None, ()),
        (replace(APPLIED, doubts=(DOUBT,)), Step.LOOK, APPLIED.applied, (DOUBT,)),
    ],
)
def test_a_claim_is_prepared_for_an_owner_that_dies(
    before: Publication, step: Step, applied: str | None, doubts: tuple[UnknownCreate, ...]
) -> None:
    until = NOW + timedelta(seconds=60)
    before = replace(before, error="no answer")
    claimed = before.claimed(step, SALE, now=NOW, lease_until=until)
    assert (claimed.applied, claimed.doubts) == (applied, doubts)
    assert claimed.state is CampaignState.CLAIMED
    assert (claimed.updated_at, claimed.lease_until) == (NOW, until)
    assert claimed.error == "no answer", "until there is another"


@pytest.mark.parametrize(
    ("outcome", "reply"), [(Outcome.ACCEPTED, Reply(200)), (Outcome.REFUSED, Reply(404))]
)
def test_a_campaign_that_is_gone_has_no_results(outcome: Outcome, reply: Reply) -> None:
    live = replace(APPLIED, live_from=YESTERDAY, stats_at=NOW)
    gone = live.after(Step.DELETE, NONE, outcome, reply, before=live, now=NOW)
    assert (gone.campaign_token, gone.live_from, gone.stats_at) == (None, None, None)


@pytest.mark.parametrize(
    ("before", "desired", "state", "error"),
    [
        (replace(APPLIED, state=CampaignState.REFUSED, error="no"), SALE, "APPLIED", None),
        (known(CampaignState.REFUSED, error="no"), NONE, "ABSENT", None),
        (APPLIED, WRONG, "REFUSED", "name is missing"),
        (NEW, WRONG, "REFUSED", "name is missing"),
    ],
)
def test_what_takes_no_request_is_noted(
    before: Publication, desired: Desired, state: str, error: str | None
) -> None:
    after = before.noted(desired, NOW)
    assert (after.state.value, after.error, after.updated_at) == (state, error, NOW)
    assert (after.tried, after.revision) == (desired.version, before.revision + 1)
    assert (after.campaign_token, after.applied) == (before.campaign_token, before.applied)


@pytest.mark.parametrize(
    ("live_from", "due", "stops"),
    [(NOW, None, True), (NOW, NOW, False), (None, None, False), (None, NOW, False)],
)
def test_an_update_to_a_draft_stops_what_is_live(
    live_from: datetime | None, due: datetime | None, stops: bool
) -> None:
    assert replace(APPLIED, live_from=live_from).stops(replace(SALE, due=due)) is stops


@pytest.mark.parametrize(
    ("before", "more"),
    [
        (replace(APPLIED, live_from=None), ""),
        (replace(APPLIED, live_from=NOW + timedelta(seconds=1)), ""),
        (
            replace(APPLIED, live_from=NOW),
            ". It was due at 2026-05-04T10:20:00Z: what is sent stays",
        ),
    ],
)
def test_a_refusal_after_it_was_due_says_so(before: Publication, more: str) -> None:
    claimed = before.claimed(Step.UPDATE, SALE, now=NOW, lease_until=NOW)
    after = claimed.after(Step.UPDATE, SALE, Outcome.REFUSED, REFUSAL, before=before, now=NOW)
    assert after.error == f"31 MALFORMED_PARAMETER: no{more}"


def test_bodies_that_mean_the_same_have_one_fingerprint() -> None:
    turned = Desired("v3", json.dumps({"live": True, "name": "Sale"}).encode())
    assert turned.fingerprint == SALE.fingerprint
    assert OTHER.fingerprint != SALE.fingerprint


@pytest.mark.parametrize(
    ("row", "may_be"),
    [
        ({"name": "Sale", "created_date": "2026-05-04T10:20:05"}, True),
        ({"name": "Sale", "created_date": "2026-05-04T10:19:30"}, True),  # our clock is ahead
        ({"name": "Sale", "created_date": "2026-05-04T10:19:00"}, True),
        ({"name": "Sale", "created_date": "2026-05-04T10:18:59"}, False),
        ({"name": "Another", "created_date": "2026-05-04T10:20:05"}, False),
        ({"name": "Sale", "created_date": "yesterday"}, False),
        ({"name": "Sale"}, False),
        ({"name": "Sale", "created_date": "2026-05-04T10:20:05Z"}, True),
        ({"name": "Sale", "created_date": "2026-05-04T12:20:05+02:00"}, True),
        ({"name": "Sale", "created_date": "2026-05-04T10:20:05+02:00"}, False),
        ({"name": "Sale", "created_date": "0001-01-01T00:00:00+23:59"}, False),
        ({"name": "Sale", "created_date": "9999-12-31T23:59:59-23:59"}, True),
        ({"name": "Sale", "created_date": "20260504000000000000-05-04T10:20:05"}, False),
        ({"name": "Sale", "created_date": 20260504}, False),
    ],
)
def test_a_create_is_known_by_its_name_and_time(row: dict[str, Any], may_be: bool) -> None:
    assert DOUBT.may_be(row) is may_be


@pytest.mark.parametrize(
    ("value", "may_be"),
    [("4b5c1e6e-1d5b", True), ("x" * 200, True), ("x" * 201, False), ("", False), (7, False)],
)
def test_a_token_is_a_short_text(value: object, may_be: bool) -> None:
    assert is_token(value) is may_be


CREATING = replace(CLAIMED, doubts=(DOUBT,))
TWICE = replace(CREATING, doubts=(DOUBT, replace(DOUBT, fingerprint="of another body")))


@pytest.mark.parametrize(
    ("claimed", "tokens", "desired", "state", "token", "applied", "error"),
    [
        (CREATING, {"t"}, SALE, "APPLIED", "t", SALE.fingerprint, None),
        (CREATING, {"t"}, OTHER, "CLAIMED", "t", SALE.fingerprint, None),
        (CREATING, {"t"}, NONE, "CLAIMED", "t", SALE.fingerprint, None),
        (TWICE, {"t"}, SALE, "CLAIMED", "t", None, None),
        (CREATING, {"t", "s"}, SALE, "HELD", None, None, "any of these may be it: s, t"),
        (CREATING, set(), NONE, "ABSENT", None, None, None),
        (CREATING, set(), SALE, "CLAIMED", None, None, None),
        (
            TWICE,
            set(),
            SALE,
            "HELD",
            None,
            None,
            "created 2 times without an answer, and it is not in Batch's list",
        ),
        (
            CREATING,
            None,
            NONE,
            "HELD",
            None,
            None,
            "created 1 times without an answer, and Batch gives no list",
        ),
        (CREATING, None, SALE, "CLAIMED", None, None, None),
    ],
)
def test_what_is_found_of_a_create_without_an_answer(
    claimed: Publication,
    tokens: set[str] | None,
    desired: Desired,
    state: str,
    token: str | None,
    applied: str | None,
    error: str | None,
) -> None:
    found = claimed.found(tokens, desired, max_resends=1, now=NOW)
    assert (found.state.value, found.campaign_token) == (state, token)
    assert (found.applied, found.error) == (applied, error)
    is_known = bool(token) or state == "ABSENT"
    assert found.doubts == (() if is_known else claimed.doubts)
    if found.state is not CampaignState.CLAIMED:
        assert (found.updated_at, found.tried) == (NOW, desired.version)
        assert (found.lease_until, found.revision) == (None, claimed.revision + 1)
    assert (found == claimed) is (state == "CLAIMED" and not token)


@pytest.mark.parametrize(
    ("number", "end"), [(10, "t008, t009"), (11, "t009, and 1 more"), (1000, "t009, and 990 more")]
)
def test_of_many_that_may_be_it_ten_are_named(number: int, end: str) -> None:
    tokens = [f"t{each:03}" for each in range(number)]
    held = DOUBTED.found(tokens, SALE, max_resends=1, now=NOW)
    assert held.state is CampaignState.HELD
    assert (held.error or "").endswith(end)


@pytest.mark.parametrize(
    ("publication", "due", "live_from", "stats_at"),
    [
        (NEW, None, None, None),  # a draft
        (NEW, NOW, NOW, NOW),
        (replace(APPLIED, live_from=NOW + timedelta(1), stats_at=NOW), None, None, None),
        (replace(APPLIED, live_from=YESTERDAY, stats_at=NOW), None, YESTERDAY, NOW),
        (replace(APPLIED, live_from=NOW, stats_at=NOW), None, NOW, NOW),
        (replace(APPLIED, live_from=YESTERDAY, stats_at=None), NOW, NOW, NOW),
    ],
)
def test_results_are_asked_for_once_somebody_may_have_got_it(
    publication: Publication,
    due: datetime | None,
    live_from: datetime | None,
    stats_at: datetime | None,
) -> None:
    desired = replace(SALE, due=due)
    claimed = publication.claimed(Step.CREATE, desired, now=NOW, lease_until=NOW)
    after = claimed.after(
        Step.CREATE, desired, Outcome.ACCEPTED, CREATED, before=publication, now=NOW
    )
    assert (after.live_from, after.stats_at) == (live_from, stats_at)


@pytest.mark.parametrize(
    ("step", "route", "body"),
    [
        (Step.CREATE, "campaigns/create", BODY),
        (Step.UPDATE, "campaigns/update/a%2Fb", BODY),
        (Step.DELETE, "campaigns/delete/a%2Fb", None),
    ],
)
def test_a_step_is_one_request(step: Step, route: str, body: bytes | None) -> None:
    request = request_for(step, replace(APPLIED, campaign_token="a/b"), SALE)
    assert (request.method, request.route, request.body) == ("POST", route, body)


def test_the_list_is_asked_for_page_by_page() -> None:
    request = list_request(2)
    assert (request.method, request.body) == ("GET", None)
    assert request.route == "campaigns/list?from_api=true&limit=100&from=200"


@pytest.mark.parametrize(
    ("reply", "created", "updated", "listed"),
    [
        (CREATED, True, True, False),
        (Reply(200), False, True, False),
        (Reply(200, b'{"campaign_token": ""}'), False, True, False),
        (Reply(200, b"[]"), False, True, True),
        (Reply(200, b"[7]"), False, True, False),
        (Reply(500, b"[]"), False, False, False),
        (Reply(500, b'{"campaign_token": "t"}'), False, False, False),
        (LOST, False, False, False),
    ],
)
def test_what_proves_that_batch_accepted_a_request(
    reply: Reply, created: bool, updated: bool, listed: bool
) -> None:
    create, update = (request_for(step, APPLIED, SALE) for step in (Step.CREATE, Step.UPDATE))
    proofs = [create.is_proof(reply), update.is_proof(reply), list_request(0).is_proof(reply)]
    assert proofs == [created, updated, listed]


PAGE = Document("campaigns/c", {})


def test_a_campaign_is_wanted_in_the_apps_that_it_names() -> None:
    def handler(document: Document) -> Campaign:
        messages = [{"language": "en", "body": "-50 %"}]
        name = f"Sale of {document.path}"
        return Campaign(name=name, messages=messages, live=True, push_time="now", apps=["ios"])

    ios, android = desired_states(PAGE, "v3", handler, ("ios", "android"), NOW).values()
    assert (ios.name, ios.due, ios.version) == ("Sale of campaigns/c", NOW, "v3")
    assert android == Desired("v3", None, NOW)
    none = desired_states(None, "", handler, ("ios", "android"), NOW)
    assert none == {"ios": Desired(""), "android": Desired("")}


def test_what_a_handler_raises_is_the_problem_in_every_app() -> None:
    def handler(document: Document) -> Campaign:
        raise InvalidPush("name", "x" * 2000)

    found = desired_states(PAGE, "v3", handler, ("ios", "android"), NOW)
    assert list(found) == ["ios", "android"]
    for desired in found.values():
        assert (desired.version, desired.body) == ("v3", None)
        assert len(desired.problem or "") == 1000
