from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

import batchpush.delivery.record
from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.delivery.record import (
    CallRecord,
    CallState,
    DeliveryState,
    Record,
    state_of,
    why_not_callable,
)
from batchpush.environment import CEP
from batchpush.errors import ConfigurationError
from batchpush.events.change import delivery_id
from batchpush.timing import Timing
from tests.deliveries import claimed

NOW = datetime(2026, 5, 4, tzinfo=UTC)
LATER = NOW + timedelta(seconds=60)
MUCH_LATER = NOW + timedelta(days=1)
P, A, R, H, E = (
    CallState.PENDING,
    CallState.ACCEPTED,
    CallState.REFUSED,
    CallState.HELD,
    CallState.EXPIRED,
)


def record(state: DeliveryState, *calls: CallState, unknown: int = 0) -> Record:
    return claimed(
        now=NOW,
        id="r",
        source="s",
        state=state,
        lease_until=LATER if state is DeliveryState.CLAIMED else None,
        calls=tuple(CallRecord("ios", 0, call, unknown=unknown) for call in calls),
        bodies=("{}",),
    )


def reclaimed(record: Record, now: datetime = LATER, max_resends: int = 1) -> Record:
    return record.reclaimed(
        owner="second",
        now=now,
        lease_until=now + timedelta(seconds=60),
        max_resends=max_resends,
    )


@pytest.mark.parametrize(
    ("calls", "state"),
    [
        ([A], DeliveryState.SENT),
        ([A, A], DeliveryState.SENT),
        ([A, R], DeliveryState.REFUSED),
        ([A, E], DeliveryState.EXPIRED),
        ([R, E], DeliveryState.EXPIRED),
        ([A, H], DeliveryState.HELD),
        ([R, E, H], DeliveryState.HELD),
        ([A, P], DeliveryState.RETRY),
        ([R, E, H, P], DeliveryState.RETRY),
        ([], DeliveryState.RETRY),
    ],
)
def test_the_state_of_a_delivery_is_that_of_its_least_finished_call(
    calls: list[CallState], state: DeliveryState
) -> None:
    assert state_of(CallRecord("ios", 0, call) for call in calls) is state


@pytest.mark.parametrize(
    ("outcome", "unknown", "max_resends", "state", "unknown_after"),
    [
        (Outcome.ACCEPTED, 0, 1, A, 0),
        (Outcome.REFUSED, 0, 1, R, 0),
        (Outcome.NOT_SENT, 1, 1, P, 1),
        (Outcome.UNKNOWN, 0, 0, H, 1),
        (Outcome.UNKNOWN, 0, 1, P, 1),
        (Outcome.UNKNOWN, 1, 1, H, 2),
        (Outcome.UNKNOWN, 1, 2, P, 2),
    ],
)
def test_a_call_after_a_try(
    outcome: Outcome, unknown: int, max_resends: int, state: CallState, unknown_after: int
) -> None:
    call = CallRecord("ios", 0, unknown=unknown).after(outcome, Reply(503), max_resends)
    assert (call.state, call.unknown, call.tries) == (state, unknown_after, 1)


@pytest.mark.parametrize(
    ("reply", "problem"),
    [
        (Reply(400, b'{"code": 31, "type": "T", "message": "m"}'), "31 T: m"),
        (Reply(400, b'{"code": 31, "type": "T", "message": "\\ud83d"}'), "31 T: ?"),
        (Reply(502, b"<html>"), None),
        (Reply(problem="no answer"), "no answer"),
    ],
)
def test_a_call_says_what_it_was_answered(reply: Reply, problem: str | None) -> None:
    call = CallRecord("ios", 0).after(Outcome.REFUSED, reply, max_resends=1)
    assert (call.status, call.problem) == (reply.status, problem)


def test_a_call_that_cannot_be_sent_says_why_and_keeps_no_older_answer() -> None:
    call = CallRecord("tv", 0, tries=2, status=503)
    assert call.refused("BATCH_APPS no longer has tv") == CallRecord(
        "tv", 0, R, tries=2, problem="BATCH_APPS no longer has tv"
    )


def test_what_an_owner_did_is_all_that_changes_in_its_record() -> None:
    claimed = replace(record(DeliveryState.CLAIMED, P), later=(("d2", LATER),))
    accepted = replace(claimed.calls[0], state=A)
    assert claimed.after([accepted], LATER) == replace(
        record(DeliveryState.SENT, A), revision=1, updated_at=LATER
    )


@pytest.mark.parametrize(
    ("state", "now", "free"),
    [
        (DeliveryState.CLAIMED, NOW, False),
        (DeliveryState.CLAIMED, LATER, True),
        (DeliveryState.RETRY, NOW, True),
        (DeliveryState.SENT, LATER, False),
        (DeliveryState.REFUSED, LATER, False),
        (DeliveryState.HELD, LATER, False),
        (DeliveryState.EXPIRED, LATER, False),
    ],
)
def test_who_may_take_it_up(state: DeliveryState, now: datetime, free: bool) -> None:
    assert record(state, A).is_free(now) is free


def test_an_owner_that_died_may_have_sent_what_was_pending() -> None:
    taken = reclaimed(record(DeliveryState.CLAIMED, P, A, R))
    assert [(call.state, call.unknown) for call in taken.calls] == [(P, 1), (A, 0), (R, 0)]
    assert (taken.state, taken.owner, taken.revision) == (DeliveryState.CLAIMED, "second", 1)


def test_an_owner_that_died_too_often_leaves_it_to_a_person() -> None:
    assert reclaimed(record(DeliveryState.CLAIMED, P), max_resends=0).state is DeliveryState.HELD
    assert reclaimed(record(DeliveryState.CLAIMED, P, unknown=1)).state is DeliveryState.HELD


def test_a_retry_was_told_of_and_nothing_is_in_doubt() -> None:
    taken = reclaimed(record(DeliveryState.RETRY, P))
    assert (taken.state, taken.calls[0].unknown) == (DeliveryState.CLAIMED, 0)


def test_what_is_too_old_is_not_sent_any_more() -> None:
    old = NOW + timedelta(hours=1)
    taken = reclaimed(record(DeliveryState.RETRY, P, A), now=old)
    assert (taken.state, [call.state for call in taken.calls]) == (DeliveryState.EXPIRED, [E, A])


@pytest.mark.parametrize(
    ("call", "unknown", "resend_unknown", "after"),
    [
        (A, 0, True, A),
        (R, 0, False, P),
        (E, 0, False, P),
        (E, 1, False, E),
        (H, 2, False, H),
        (H, 2, True, P),
        (E, 1, True, P),
    ],
)
def test_what_a_person_may_have_sent_again(
    call: CallState, unknown: int, resend_unknown: bool, after: CallState
) -> None:
    again = record(DeliveryState.HELD, call, unknown=unknown).replayed(
        now=MUCH_LATER,
        best_before=MUCH_LATER + timedelta(hours=1),
        resend_unknown=resend_unknown,
    )
    assert again.calls[0].state is after
    assert after is not P or again.calls[0].unknown == 0


def test_what_is_sent_again_is_not_what_it_was_refused_for_any_more() -> None:
    refused = replace(record(DeliveryState.REFUSED, R), reason="group_id must be letters")
    again = refused.replayed(now=LATER, best_before=MUCH_LATER, resend_unknown=False)
    assert again == replace(
        record(DeliveryState.RETRY, P), best_before=MUCH_LATER, revision=1, updated_at=LATER
    )


@pytest.mark.parametrize(
    ("state", "days", "until"),
    [
        (DeliveryState.SENT, 7, "2026-05-11"),
        (DeliveryState.SENT, 29, "2026-06-02"),
        (DeliveryState.SENT, 30, None),  # the record goes by then itself
        (DeliveryState.RETRY, 7, None),
        (DeliveryState.REFUSED, 7, None),
        (DeliveryState.HELD, 7, None),
        (DeliveryState.EXPIRED, 7, None),
    ],
)
def test_bodies_of_what_batch_accepted_are_kept_for_some_days(
    state: DeliveryState, days: int, until: str | None
) -> None:
    ended = record(state, A)
    assert ended.keeping_bodies(days) == replace(ended, bodies_until=until)


def test_bodies_that_are_kept_for_no_day_are_not_in_the_outcome() -> None:
    assert record(DeliveryState.SENT, A).keeping_bodies(0) == replace(
        record(DeliveryState.SENT, A), bodies=()
    )
    assert record(DeliveryState.HELD, H).keeping_bodies(0) == record(DeliveryState.HELD, H)


# What waits


def test_what_waits_holds_to_whom_it_goes_and_nothing_to_be_sent() -> None:
    waiting = record(DeliveryState.CLAIMED, P).waiting(
        LATER, {"custom_ids": ["zoé"]}, timedelta(hours=1)
    )
    assert waiting == replace(
        record(DeliveryState.WAITING),
        not_before=LATER,
        best_before=LATER + timedelta(hours=1),
        expire_at=waiting.expire_at,
        bodies=('{"recipients":{"custom_ids":["zoé"]}}',),
    )
    claimed = record(DeliveryState.CLAIMED)
    assert waiting.expire_at - LATER == claimed.expire_at - claimed.created_at, "kept as long"
    assert waiting.waits_for == {"custom_ids": ["zoé"]}


def test_once_the_wait_is_over_it_is_a_new_owners_and_waits_for_nothing() -> None:
    waiting = record(DeliveryState.CLAIMED).waiting(
        LATER, {"custom_ids": ["ann"]}, timedelta(hours=1)
    )
    resumed = replace(waiting, about=("users/bob",), burst="b").resumed("second", MUCH_LATER)
    assert resumed == replace(
        record(DeliveryState.CLAIMED),
        owner="second",
        lease_until=None,
        waited_until=LATER,
        best_before=waiting.best_before,
        expire_at=waiting.expire_at,
        bodies=(),
        revision=1,
        updated_at=MUCH_LATER,
    )


# Ends


def test_a_push_of_which_nothing_is_sent_says_why_in_1000_characters_at_most() -> None:
    ended = record(DeliveryState.CLAIMED).ended(DeliveryState.REFUSED, "é" * 2000)
    assert ended == replace(record(DeliveryState.REFUSED), reason="é" * 1000)


@pytest.mark.parametrize(
    ("calls", "after", "state"),
    [
        ([P, A], [E, A], DeliveryState.EXPIRED),
        ([A, R], [A, R], DeliveryState.REFUSED),
        ([], [], DeliveryState.EXPIRED),
    ],
)
def test_what_nobody_began_to_send_in_time_is_expired(
    calls: list[CallState], after: list[CallState], state: DeliveryState
) -> None:
    assert record(DeliveryState.CLAIMED, *calls).too_old(MUCH_LATER) == replace(
        record(state, *after), revision=1, updated_at=MUCH_LATER
    )


@pytest.mark.parametrize(
    ("chunks", "state"),
    [
        ([DeliveryState.SENT, DeliveryState.SENT], DeliveryState.SENT),
        ([DeliveryState.SENT, DeliveryState.REFUSED], DeliveryState.REFUSED),
        ([DeliveryState.REFUSED, DeliveryState.EXPIRED], DeliveryState.EXPIRED),
        ([DeliveryState.EXPIRED, DeliveryState.HELD], DeliveryState.HELD),
        ([DeliveryState.HELD, DeliveryState.CLAIMED], DeliveryState.RETRY),
        ([DeliveryState.SENT, DeliveryState.RETRY], DeliveryState.RETRY),
        ([DeliveryState.SENT], DeliveryState.RETRY),  # nothing is known of the other yet
    ],
)
def test_the_state_of_a_large_audience_is_that_of_its_least_finished_chunk(
    chunks: list[DeliveryState], state: DeliveryState
) -> None:
    large = replace(record(DeliveryState.CLAIMED), chunks=("0", "1"))
    states = {str(number): chunk for number, chunk in enumerate(chunks)}
    assert large.with_chunks(states, LATER) == replace(
        large, state=state, lease_until=None, revision=1, updated_at=LATER
    )


@pytest.mark.parametrize(
    ("state", "own_reason", "problems", "reason"),
    [
        (DeliveryState.REFUSED, "group_id must be letters", [None], "group_id must be letters"),
        (DeliveryState.REFUSED, None, [None, "31 T: m", "32 T: n"], "31 T: m"),
        (DeliveryState.EXPIRED, None, [None], None),
        (DeliveryState.SENT, None, ["2 MAINTENANCE_ERROR: later"], None),
    ],
)
def test_an_app_is_told_what_became_of_its_push_and_why(
    state: DeliveryState, own_reason: str | None, problems: list[str | None], reason: str | None
) -> None:
    calls = tuple(CallRecord("ios", 0, A, problem=problem) for problem in problems)
    ended = replace(record(state), reason=own_reason, calls=(*calls, CallRecord("web", 1, R)))
    assert ended.summary() == {
        "function": "f",
        "state": state.value,
        "reason": reason,
        "apps": {"ios": ["accepted"] * len(problems), "web": ["refused"]},
        "updated_at": NOW,
        "expire_at": NOW + timedelta(days=30),
    }


def test_an_event_finds_its_record_after_every_deployment() -> None:
    assert delivery_id("f", "s", "e") == (
        "a17ab58f02e475164a459f32f70d468b2ec55d95e2631608358ffbffb8b11633"
    )


def test_two_functions_and_two_sources_have_records_of_their_own() -> None:
    ids = {delivery_id(f, s, "e") for f in ("f", "g") for s in ("s", "t")}
    assert len(ids) == 4
    assert delivery_id("f", "s", "e") in ids


def test_bodies_do_not_show_in_a_repr() -> None:
    assert "secret" not in repr(replace(record(DeliveryState.SENT, A), bodies=("secret",)))


@pytest.mark.parametrize(
    "timing",
    [{"call": 50.0}, {"budget": 55.0}, {"lease": 50.0}, {"lease": 130.0}, {"budget": 5.0}],
)
def test_times_that_would_let_two_send_at_once_are_refused(timing: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        Timing(**timing)


@pytest.mark.parametrize(
    ("source", "is_there"),
    [
        ("//firestore.googleapis.com/projects/p/databases/(default)", True),
        ("//firestore.googleapis.com/projects/p/databases/orders", False),
        ("//firestore.googleapis.com/projects/p/databases/x-(default)", False),
        ("//firebase.callable/notify/ann/databases/(default)", False),
        ("//firebasedatabase.googleapis.com/projects/_/locations/us-central1/instances/i", False),
    ],
)
def test_a_document_is_where_its_record_is_in_the_same_database(
    source: str, is_there: bool
) -> None:
    assert replace(record(DeliveryState.SENT), source=source).is_in_firestore is is_there


def test_a_problem_is_cut_to_what_fits_in_any_script() -> None:
    call = CallRecord("ios", 0).after(Outcome.REFUSED, Reply(400, problem="x" * 9999), 1)
    assert call.problem == "x" * 500


@pytest.mark.parametrize(
    ("state", "not_before", "is_waiting"),
    [
        (DeliveryState.WAITING, None, True),
        (DeliveryState.RETRY, None, False),
        (DeliveryState.RETRY, NOW, False),
        (DeliveryState.RETRY, LATER, True),
        (DeliveryState.REFUSED, LATER, False),
    ],
)
def test_whether_something_is_still_to_be_sent_later(
    state: DeliveryState, not_before: datetime | None, is_waiting: bool
) -> None:
    assert replace(record(state, P), not_before=not_before).is_waiting(NOW) is is_waiting


LARGE = replace(
    record(DeliveryState.RETRY, P),
    report_to="a/b/c/d",
    not_before=LATER,
    about=("x/y",),
    omitted=3,
    left_out=(("muted", ("bob",)),),
    people=("n",),
    burst="b",
    later=(("r", LATER),),
    chunks=("c",),
)


def test_of_what_firestore_refuses_the_least_is_kept() -> None:
    least = replace(record(DeliveryState.REFUSED), reason="too large", calls=(), bodies=())
    refused = LARGE.refused("too large", LATER)
    assert refused == replace(least, revision=LARGE.revision + 1, updated_at=LATER)


def test_an_outcome_is_kept_without_its_words() -> None:
    call = CallRecord("ios", 0, R, status=400, problem="x" * 400)
    settled = replace(record(DeliveryState.REFUSED), calls=(call,), report_to="a/b/c/d")
    smallest = replace(settled, calls=(replace(call, problem=None),), report_to=None)
    assert settled.without_problems() == smallest


@pytest.mark.parametrize(
    ("app", "why"), [("web", "BATCH_APPS no longer has web"), (CEP, "BATCH_PROJECT is not set")]
)
def test_why_a_call_cannot_be_made(app: str, why: str) -> None:
    assert why_not_callable(app) == why


@pytest.mark.parametrize("now", [NOW, LATER, MUCH_LATER])
def test_a_record_whose_wait_is_over_is_claimed_without_what_it_waited_with(now: datetime) -> None:
    waiting = replace(
        record(DeliveryState.WAITING),
        not_before=LATER,
        about=("users/ann",),
        omitted=3,
        left_out=(("muted", ("eve",)),),
        people=("n",),
        burst="b",
        later=(("d2", MUCH_LATER),),
        revision=4,
    )
    assert waiting.resumed("second", now) == replace(
        record(DeliveryState.CLAIMED),
        owner="second",
        lease_until=None,
        waited_until=min(now, LATER),
        bodies=(),
        revision=5,
        updated_at=now,
    )
    assert replace(waiting, not_before=None).resumed("second", now).waited_until is None


def test_until_the_tasks_of_those_who_wait_exist_a_record_is_unfinished() -> None:
    sent = record(DeliveryState.CLAIMED, P)
    accepted = [replace(each, state=A) for each in sent.calls]
    assert sent.after(accepted, LATER, [("d2", LATER)]).state is DeliveryState.RETRY
    assert sent.after(accepted, LATER, []).state is DeliveryState.SENT


def test_the_app_is_told_which_fields_were_ignored() -> None:
    sent = record(DeliveryState.SENT, A)
    assert "ignored" not in sent.summary()
    assert replace(sent, ignored=("created_at",)).summary()["ignored"] == ["created_at"]


def test_problems_that_just_fit_in_a_record_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batchpush.delivery.record, "MAX_PROBLEMS", 600)
    begun = record(DeliveryState.CLAIMED, P, P)
    problems = ["a" * 100, "b" * 500]
    refused = [
        replace(call, state=R, problem=problem)
        for call, problem in zip(begun.calls, problems, strict=True)
    ]
    assert [call.problem for call in begun.after(refused, NOW).calls] == problems


@pytest.mark.parametrize(
    ("each", "kept"), [("é" * 100, "é" * 100), ("é" * 101, "é" * 100), ("é" * 200, "é" * 100)]
)
def test_the_problems_of_all_requests_fit_in_a_record(
    monkeypatch: pytest.MonkeyPatch, each: str, kept: str
) -> None:
    """Each is cut to an equal share, and within no character."""
    monkeypatch.setattr(batchpush.delivery.record, "MAX_PROBLEMS", 600)
    begun = record(DeliveryState.CLAIMED, P, P, P, P)
    refused = [replace(call, state=R, problem=each) for call in begun.calls[:3]]
    calls = begun.after([*refused, replace(begun.calls[3], state=A)], NOW).calls
    assert [call.problem for call in calls] == [kept, kept, kept, None]
