"""How what is known of a campaign may change: one row per case."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.campaigns.state import (
    LOOK_AFTER,
    MAX_LEASE,
    CampaignState,
    Desired,
    Publication,
    Step,
    UnknownCreate,
    is_token,
)

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
        (replace(DOUBTED, updated_at=NOW + timedelta(seconds=5)), SALE, Step.WAIT),  # clocks
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
    claimed = before.claimed(step, SALE, owner="o", now=NOW, lease_until=NOW)
    after = claimed.after(step, SALE, outcome, reply, before=before, now=NOW)
    assert (after.state.value, after.campaign_token) == (state, token)
    assert (after.applied == SALE.fingerprint, len(after.doubts)) == (applied, doubts)
    assert bool(after.error) is (state in ("REFUSED", "RETRY"))
    assert (after.lease_until, after.tried) == (None, "v2")
    assert after.revision == before.revision + 2


@pytest.mark.parametrize(
    ("before", "step", "doubts"),
    [(NEW, Step.CREATE, 1), (APPLIED, Step.UPDATE, 0), (APPLIED, Step.DELETE, 0)],
)
def test_a_claim_is_prepared_for_an_owner_that_dies(
    before: Publication, step: Step, doubts: int
) -> None:
    claimed = before.claimed(step, SALE, owner="o", now=NOW, lease_until=NOW)
    assert (claimed.applied, len(claimed.doubts)) == (None, doubts)


def test_bodies_that_mean_the_same_have_one_fingerprint() -> None:
    turned = Desired("v3", json.dumps({"live": True, "name": "Sale"}).encode())
    assert turned.fingerprint == SALE.fingerprint
    assert OTHER.fingerprint != SALE.fingerprint


@pytest.mark.parametrize(
    ("row", "may_be"),
    [
        ({"name": "Sale", "created_date": "2026-05-04T10:20:05"}, True),
        ({"name": "Sale", "created_date": "2026-05-04T10:19:30"}, True),  # our clock is ahead
        ({"name": "Sale", "created_date": "2026-05-04T10:18:00"}, False),
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


def test_of_many_that_may_be_it_ten_are_named() -> None:
    tokens = [f"t{number:03}" for number in range(1000)]
    held = DOUBTED.found(tokens, SALE, max_resends=1, now=NOW)
    assert held.state is CampaignState.HELD
    assert (held.error or "").endswith("t008, t009, and 990 more")


@pytest.mark.parametrize(
    ("publication", "due", "live_from", "is_asked_for"),
    [
        (NEW, None, None, False),  # a draft
        (NEW, NOW, NOW, True),
        (replace(APPLIED, live_from=NOW + timedelta(1), stats_at=NOW), None, None, False),
        (
            replace(APPLIED, live_from=YESTERDAY, stats_at=NOW),
            None,
            YESTERDAY,
            True,
        ),
    ],
)
def test_results_are_asked_for_once_somebody_may_have_got_it(
    publication: Publication, due: datetime | None, live_from: datetime | None, is_asked_for: bool
) -> None:
    desired = replace(SALE, due=due)
    claimed = publication.claimed(Step.CREATE, desired, owner="o", now=NOW, lease_until=NOW)
    after = claimed.after(
        Step.CREATE, desired, Outcome.ACCEPTED, CREATED, before=publication, now=NOW
    )
    assert after.live_from == live_from
    assert (after.stats_at is not None) is is_asked_for
