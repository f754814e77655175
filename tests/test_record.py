from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from batchpush.errors import ConfigurationError
from batchpush.outcome import Outcome, Reply
from batchpush.record import CallRecord, CallState, Record, State, record_id, state_of
from batchpush.timing import Timing

NOW = datetime(2026, 5, 4, tzinfo=UTC)
LATER = NOW + timedelta(seconds=60)
P, A, R, H, E = (
    CallState.PENDING,
    CallState.ACCEPTED,
    CallState.REFUSED,
    CallState.HELD,
    CallState.EXPIRED,
)


def record(state: State, *calls: CallState, unknown: int = 0) -> Record:
    return Record(
        id="r",
        function="f",
        source="s",
        event_id="e",
        event_time=NOW,
        document="users/ann",
        state=state,
        created_at=NOW,
        updated_at=NOW,
        best_before=NOW + timedelta(hours=1),
        expire_at=NOW + timedelta(days=30),
        owner="first",
        lease_until=LATER if state is State.CLAIMED else None,
        calls=tuple(CallRecord("ios", 0, call, unknown=unknown) for call in calls),
        bodies=("{}",),
    )


def taken_up(record: Record, now: datetime = LATER, most_resends: int = 1) -> Record:
    return record.taken_up(
        owner="second",
        now=now,
        lease_until=now + timedelta(seconds=60),
        most_resends=most_resends,
    )


@pytest.mark.parametrize(
    ("calls", "state"),
    [
        ([A], State.SENT),
        ([A, A], State.SENT),
        ([A, R], State.REFUSED),
        ([A, E], State.EXPIRED),
        ([R, E], State.EXPIRED),
        ([A, H], State.HELD),
        ([R, E, H], State.HELD),
        ([A, P], State.RETRY),
        ([R, E, H, P], State.RETRY),
    ],
)
def test_the_state_of_a_delivery_is_that_of_its_least_finished_call(
    calls: list[CallState], state: State
) -> None:
    assert state_of(CallRecord("ios", 0, call) for call in calls) is state


@pytest.mark.parametrize(
    ("outcome", "unknown", "most_resends", "state", "unknown_after"),
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
    outcome: Outcome, unknown: int, most_resends: int, state: CallState, unknown_after: int
) -> None:
    call = CallRecord("ios", 0, unknown=unknown).after(outcome, Reply(503), most_resends)
    assert (call.state, call.unknown, call.tries) == (state, unknown_after, 1)


@pytest.mark.parametrize(
    ("state", "now", "free"),
    [
        (State.CLAIMED, NOW, False),
        (State.CLAIMED, LATER, True),
        (State.RETRY, NOW, True),
        (State.SENT, LATER, False),
        (State.REFUSED, LATER, False),
        (State.HELD, LATER, False),
        (State.EXPIRED, LATER, False),
    ],
)
def test_who_may_take_it_up(state: State, now: datetime, free: bool) -> None:
    assert record(state, A).is_free(now) is free


def test_an_owner_that_died_may_have_sent_what_was_pending() -> None:
    taken = taken_up(record(State.CLAIMED, P, A, R))
    assert [(call.state, call.unknown) for call in taken.calls] == [(P, 1), (A, 0), (R, 0)]
    assert (taken.state, taken.owner, taken.revision) == (State.CLAIMED, "second", 1)


def test_an_owner_that_died_too_often_leaves_it_to_a_person() -> None:
    assert taken_up(record(State.CLAIMED, P), most_resends=0).state is State.HELD
    assert taken_up(record(State.CLAIMED, P, unknown=1)).state is State.HELD


def test_a_retry_was_told_of_and_nothing_is_in_doubt() -> None:
    taken = taken_up(record(State.RETRY, P))
    assert (taken.state, taken.calls[0].unknown) == (State.CLAIMED, 0)


def test_what_is_too_old_is_not_sent_any_more() -> None:
    old = NOW + timedelta(hours=1)
    taken = taken_up(record(State.RETRY, P, A), now=old)
    assert (taken.state, [call.state for call in taken.calls]) == (State.EXPIRED, [E, A])


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
    again = record(State.HELD, call, unknown=unknown).replayed(
        now=LATER, best_before=LATER + timedelta(hours=1), resend_unknown=resend_unknown
    )
    assert again.calls[0].state is after
    assert after is not P or again.calls[0].unknown == 0


def test_two_functions_and_two_sources_have_records_of_their_own() -> None:
    ids = {record_id(f, s, "e") for f in ("f", "g") for s in ("s", "t")}
    assert len(ids) == 4
    assert record_id("f", "s", "e") in ids


def test_bodies_do_not_show_in_a_repr() -> None:
    assert "secret" not in repr(replace(record(State.SENT, A), bodies=("secret",)))


@pytest.mark.parametrize(
    "timing",
    [{"call": 50.0}, {"budget": 55.0}, {"lease": 50.0}, {"lease": 130.0}, {"budget": 5.0}],
)
def test_times_that_would_let_two_send_at_once_are_refused(timing: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError):
        Timing(**timing)
