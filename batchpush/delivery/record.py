"""What the delivery record says, and how it may change. Pure.

create ──> CLAIMED ──> SENT | REFUSED | HELD | EXPIRED      settled, never changes again
        │    ^ ^ │                                          (unless a person replays it)
        │    │ │ └────> RETRY ──┐
        │    │ └────────────────┘  resumed by a redelivery or the sweep; so is a CLAIMED
        │    │                     whose lease ended
        └> WAITING ──> OBSOLETE                             settled
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.environment import settings
from batchpush.pushes.push import Call


class State(Enum):
    """What is true of a delivery."""

    WAITING = "WAITING"  # for the end of quiet hours or of a burst; it is looked at again then
    CLAIMED = "CLAIMED"  # somebody is sending, until the lease ends
    RETRY = "RETRY"  # some call is not accepted, or some task not made; it is redelivered
    SENT = "SENT"  # Batch accepted every call (accepted is not delivered)
    REFUSED = "REFUSED"  # Batch or our validation refused it for good; the record says why
    HELD = "HELD"  # a call's outcome stayed unknown, its resends are used up: a person decides
    EXPIRED = "EXPIRED"  # it became too old to send
    OBSOLETE = "OBSOLETE"  # nobody is to be told any more: it was read, deleted or told otherwise


SETTLED = frozenset(State) - {State.WAITING, State.CLAIMED, State.RETRY}


class CallState(Enum):
    """What is true of one of its calls."""

    PENDING = "pending"  # not accepted yet, may be sent
    ACCEPTED = "accepted"  # never sent again
    REFUSED = "refused"
    HELD = "held"  # may have been accepted more often than allowed if it were sent again
    EXPIRED = "expired"


FORMAT = 1  # a record of a later one is left to the version that wrote it
MAX_PROBLEMS = 60_000  # bytes of what Batch said, in all calls of a record
MAX_PROBLEM = 2_000  # bytes of what it said of one

ERASED = "erased"  # the problem of a call whose only recipient asked to be forgotten


@dataclass(frozen=True)
class CallRecord:
    """One call: one body for one app."""

    app: str  # a name of BATCH_APPS
    body: int  # its place among the record's bodies
    state: CallState = CallState.PENDING
    tries: int = 0  # attempts so far
    unknown: int = 0  # attempts whose outcome nobody knows
    status: int | None = None  # of Batch's last answer
    problem: str | None = None  # what went wrong in the last attempt, or what Batch said of it

    def after(self, outcome: Outcome, reply: Reply, max_resends: int) -> "CallRecord":
        """The call after one more try."""
        problem = reply.problem or reply.said()
        tried = replace(
            self,
            tries=self.tries + 1,
            status=reply.status,
            problem=problem and storable(problem[: MAX_PROBLEM // 4]),
            state=STATE_AFTER.get(outcome, self.state),
        )
        return tried.unanswered(max_resends) if outcome is Outcome.UNKNOWN else tried

    def unanswered(self, max_resends: int) -> "CallRecord":
        """The call after a send of which nobody knows whether Batch took it."""
        unknown = self.unknown + 1
        state = CallState.PENDING if unknown <= max_resends else CallState.HELD
        return replace(self, unknown=unknown, state=state)

    def refused(self, problem: str) -> "CallRecord":
        """The call as one that cannot be sent."""
        return replace(self, state=CallState.REFUSED, status=None, problem=problem)

    @property
    def is_pending(self) -> bool:
        return self.state is CallState.PENDING

    def is_replayable(self, resend_unknown: bool) -> bool:
        """Whether a person may have it sent again."""
        is_done = self.state in (CallState.ACCEPTED, CallState.PENDING) or self.problem == ERASED
        return not is_done and (resend_unknown or not self.unknown)


STATE_AFTER = {
    Outcome.ACCEPTED: CallState.ACCEPTED,
    Outcome.REFUSED: CallState.REFUSED,
    Outcome.NOT_SENT: CallState.PENDING,
}
# The first of these that a call is in is the state of the delivery.
STATE_OF_CALLS = (
    (CallState.PENDING, State.RETRY),
    (CallState.HELD, State.HELD),
    (CallState.EXPIRED, State.EXPIRED),
    (CallState.REFUSED, State.REFUSED),
    (CallState.ACCEPTED, State.SENT),
)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One delivery: one event of one function. Times are UTC."""

    id: str  # hash of the function, the source and the event's id; of a chunk, its owner and number
    function: str  # the deployed one that was called
    source: str  # where the event came from, as its CloudEvent says
    event_id: str  # the CloudEvent's; of a callable request, what the app called it
    event_time: datetime
    document: str  # the path of what was written
    state: State
    created_at: datetime
    updated_at: datetime
    best_before: datetime  # no call begins after this
    expire_at: datetime  # Firestore deletes the record some time after this
    owner: str  # the nonce of whoever claimed it last
    lease_until: datetime | None = None  # while it is CLAIMED: nobody else resumes it before
    revision: int = 0  # one more with every write
    group_id: str | None = None  # the push's
    reason: str | None = None  # why nothing was sent, in one sentence
    report_to: str | None = None  # the path at which a summary is written once it is settled
    not_before: datetime | None = None  # while it is WAITING: until when
    waited_until: datetime | None = None  # until when it waited
    about: tuple[str, ...] = ()  # while it is WAITING: further documents that it tells of
    omitted: int = 0  # how many more of them there are
    ignored: tuple[str, ...] = ()  # fields of the document that are neither Batch's nor ours
    burst: str | None = None  # the id of the coalescing window that it belongs to
    sender: str | None = None  # the user of the app who caused the push
    # Ids and times of what waits and was claimed with this one, which may be among them, as long as
    # their tasks are still to be made.
    later: tuple[tuple[str, datetime], ...] = ()
    chunks: tuple[str, ...] = ()  # of a large audience: ids of the records below, which have calls
    calls: tuple[CallRecord, ...] = ()
    # JSON texts of the calls, frozen as claimed; while it is WAITING, one that says who waits.
    bodies: tuple[str, ...] = field(default=(), repr=False)
    bodies_until: str | None = None  # the day, such as 2026-12-02, after which a sweep drops them
    format: int = FORMAT  # the newest form of a record that its writer knew

    def with_calls(self, calls: Collection[Call]) -> "Record":
        """The record with the calls of a push frozen in it; equal bodies are kept once."""
        bodies = {body: i for i, body in enumerate(dict.fromkeys(call.body for call in calls))}
        return replace(
            self,
            calls=tuple(CallRecord(call.app, bodies[call.body]) for call in calls),
            bodies=tuple(body.decode() for body in bodies),
        )

    def waiting(
        self, until: datetime, recipients: Mapping[str, Sequence[str]], fresh_for: timedelta
    ) -> "Record":
        """The record as one that waits, to be sent then to these lists of ids."""
        body = json.dumps({"recipients": recipients}, ensure_ascii=False, separators=(",", ":"))
        return replace(
            self,
            state=State.WAITING,
            not_before=until,
            best_before=until + fresh_for,
            lease_until=None,
            calls=(),
            bodies=(body,),
        )

    @property
    def waits_for(self) -> dict[str, list[str]]:
        """To whom a record that waits is to be sent: lists of ids."""
        lists: dict[str, list[str]] = json.loads(self.bodies[0])["recipients"]
        return lists

    def woken(self, owner: str, now: datetime) -> "Record":
        """The record once its wait is over, with nothing in it that is to be sent yet."""
        return replace(
            self,
            state=State.CLAIMED,
            owner=owner,
            not_before=None,
            waited_until=self.not_before,
            about=(),
            omitted=0,
            burst=None,
            later=(),
            bodies=(),
            revision=self.revision + 1,
            updated_at=now,
        )

    def ended(self, state: State, reason: str) -> "Record":
        """The record of a push of which there is nothing to send."""
        return replace(self, state=state, reason=storable(reason[:1000]), lease_until=None)

    def refused(self, reason: str, now: datetime) -> "Record":
        """The record of a push that Firestore does not store, without all that may be why."""
        return replace(
            self.ended(State.REFUSED, reason),
            report_to=None,
            not_before=None,
            about=(),
            omitted=0,
            burst=None,
            later=(),
            chunks=(),
            calls=(),
            bodies=(),
            revision=self.revision + 1,
            updated_at=now,
        )

    def without_problems(self) -> "Record":
        """The record at its smallest: what became of each call, but not what Batch said."""
        calls = tuple(replace(call, problem=None) for call in self.calls)
        return replace(self, calls=calls, report_to=None)

    def with_chunks(
        self,
        states: Mapping[str, State],
        now: datetime,
        later: Sequence[tuple[str, datetime]] = (),
    ) -> "Record":
        """The record of a large audience, in the state of its least finished chunk.

        `later` are the tasks still to make of what waits.
        """
        of_chunks = {states.get(chunk) for chunk in self.chunks}
        ends = (State.HELD, State.EXPIRED, State.REFUSED, State.SENT)
        settled = ends if of_chunks <= SETTLED and not later else ()
        end = next((end for end in settled if end in of_chunks), State.RETRY)
        return replace(self, later=tuple(later))._ended(end, now)

    def too_old(self, now: datetime) -> "Record":
        """The record as one that nobody began to send in time."""
        return self.after(self.calls, now) if self.calls else self._ended(State.EXPIRED, now)

    def _ended(self, state: State, now: datetime) -> "Record":
        revision = self.revision + 1
        return replace(self, state=state, lease_until=None, revision=revision, updated_at=now)

    @property
    def is_in_firestore(self) -> bool:
        """Whether the document is where the record is: in the Firestore database of `DATABASE`."""
        return self.source.startswith("//firestore.") and self.source.endswith(
            f"/{settings().database}"
        )

    @property
    def is_in_database(self) -> bool:
        """Whether the document is in a Realtime Database."""
        return self.source.startswith("//firebasedatabase.")

    @property
    def is_settled(self) -> bool:
        return self.state in SETTLED

    def summary(self) -> dict[str, Any]:
        """What the app that wrote the document may know."""
        apps: dict[str, list[str]] = {}
        for call in self.calls:
            apps.setdefault(call.app, []).append(call.state.value)
        summary = {
            "function": self.function,
            "state": self.state.value,
            "reason": self.reason or self._first_problem(),
            "apps": apps,
            "updated_at": self.updated_at,
            "expire_at": self.expire_at,
        }
        return summary | {"ignored": list(self.ignored)} if self.ignored else summary

    def _first_problem(self) -> str | None:
        if self.state is State.SENT:
            return None
        return next((call.problem for call in self.calls if call.problem), None)

    def is_free(self, now: datetime) -> bool:
        """Whether somebody else may take it up."""
        if self.state is State.CLAIMED:
            return self.lease_until is None or now >= self.lease_until
        return self.state is State.RETRY

    def reclaimed(
        self, *, owner: str, now: datetime, lease_until: datetime, max_resends: int
    ) -> "Record":
        """The record as a new owner claims it, to send what is left.

        An owner whose lease ended may have sent each pending call once without telling.
        """
        calls: Iterable[CallRecord] = self.calls
        if self.state is State.CLAIMED:
            calls = [call.unanswered(max_resends) if call.is_pending else call for call in calls]
        claimed = self._next(calls, now, owner=owner)
        if claimed.is_settled:
            return claimed
        return replace(claimed, state=State.CLAIMED, lease_until=lease_until)

    def after(
        self,
        calls: Iterable[CallRecord],
        now: datetime,
        later: Sequence[tuple[str, datetime]] = (),
    ) -> "Record":
        """The record once its owner has done what it could; `later` are the tasks still to make."""
        return self._next(calls, now, later=tuple(later))

    def keeping_bodies(self, days: int) -> "Record":
        """The record with its bodies kept for so many days, if Batch accepted every call.

        What else is settled keeps them as long as the record is kept: a person may replay it. A day
        and not a time: values that follow one another limit an index to 500 writes a second.
        """
        if self.state is not State.SENT or not self.bodies:
            return self
        if not days:
            return replace(self, bodies=())
        until = self.updated_at + timedelta(days=days)
        is_sooner = until < self.expire_at
        return replace(self, bodies_until=until.date().isoformat()) if is_sooner else self

    def replayed(self, *, now: datetime, best_before: datetime, resend_unknown: bool) -> "Record":
        """The record as a person has it sent again: what Batch has not accepted is pending.

        Calls of which nobody knows stay as they are, unless they are wanted too.
        """
        calls = [
            replace(call, state=CallState.PENDING, unknown=0)
            if call.is_replayable(resend_unknown)
            else call
            for call in self.calls
        ]
        fresh = replace(self, best_before=best_before, reason=None)
        return fresh._next(calls, now)

    def _next(self, calls: Iterable[CallRecord], now: datetime, **changes: Any) -> "Record":
        calls = tuple(calls)
        if now >= self.best_before:
            calls = tuple(
                replace(call, state=CallState.EXPIRED) if call.is_pending else call
                for call in calls
            )
        following = replace(
            self,
            state=state_of(calls),
            calls=_bounded(calls),
            lease_until=None,
            revision=self.revision + 1,
            updated_at=now,
            **changes,
        )
        # Until the tasks are made, a redelivery or the sweep has something to do.
        return replace(following, state=State.RETRY) if following.later else following


def _bounded(calls: Sequence[CallRecord]) -> tuple[CallRecord, ...]:
    """The calls with problems that fit in a record, each cut to an equal share if need be."""
    if len(calls) * MAX_PROBLEM <= MAX_PROBLEMS:
        return tuple(calls)
    problems = [call.problem.encode() for call in calls if call.problem]
    if sum(map(len, problems)) <= MAX_PROBLEMS:
        return tuple(calls)
    share = MAX_PROBLEMS // len(problems)
    return tuple(
        replace(call, problem=call.problem.encode()[:share].decode("utf-8", "ignore"))
        if call.problem
        else call
        for call in calls
    )


def state_of(calls: Iterable[CallRecord]) -> State:
    """The state of a delivery that nobody is sending."""
    states = {call.state for call in calls}
    return next(
        (state for call_state, state in STATE_OF_CALLS if call_state in states),
        State.RETRY,  # a large audience, whose chunks are not all settled
    )


def storable(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can carry and Firestore cannot."""
    return text.encode("utf-8", "replace").decode()
