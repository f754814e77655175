"""The delivery record and its state machine. Pure.

create ──> CLAIMED ──> SENT | REFUSED | HELD | EXPIRED      settled, never changes again
        │    ^ ^ │                                          (unless a person replays it)
        │    │ │ └────> RETRY ──┐
        │    │ └────────────────┘  resumed by a redelivery or the sweep, like a CLAIMED
        │    │                     whose lease expired
        └> WAITING ──> OBSOLETE                             settled
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, Self

from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.documents import storable
from batchpush.environment import CEP, settings
from batchpush.google.sources import CALLABLE
from batchpush.pushes.push import Call


class DeliveryState(Enum):
    """What is true of a delivery."""

    WAITING = "WAITING"  # until quiet hours or a coalescing window end; then it is planned again
    CLAIMED = "CLAIMED"  # a worker is sending it, until the lease expires
    RETRY = "RETRY"  # a call is not accepted yet, or a task not created; to be resumed
    SENT = "SENT"  # Batch accepted every call (accepted is not delivered)
    REFUSED = "REFUSED"  # Batch or our validation refused it for good; the record says why
    HELD = "HELD"  # a call's outcome is unknown and its resends are used up: a person decides
    EXPIRED = "EXPIRED"  # it became too old to send
    OBSOLETE = "OBSOLETE"  # nobody needs it any more: read, deleted, or part of another push


SETTLED = frozenset(DeliveryState) - {
    DeliveryState.WAITING,
    DeliveryState.CLAIMED,
    DeliveryState.RETRY,
}


class CallState(Enum):
    """What is true of one of its calls."""

    PENDING = "pending"  # not accepted yet, may be sent
    ACCEPTED = "accepted"  # never sent again
    REFUSED = "refused"
    HELD = "held"  # its outcome is unknown, and another resend is not allowed
    EXPIRED = "expired"


FORMAT = 1  # records of a later format are left to the version that wrote them
MAX_LEFT_OUT = 1_000  # people who get nothing, in one record
MAX_LEFT_OUT_BYTES = 50_000  # of their ids
MAX_PROBLEMS = 60_000  # bytes of problem texts in all calls of a record
MAX_PROBLEM = 2_000  # bytes of one problem text

ERASED = "erased"  # the problem of a call whose only recipient was erased


@dataclass(frozen=True)
class CallRecord:
    """One call: one body for one app."""

    app: str  # a name of BATCH_APPS, or `CEP`
    body: int  # its index in the record's bodies
    state: CallState = CallState.PENDING
    tries: int = 0  # attempts so far
    unknown: int = 0  # attempts whose outcome is unknown
    status: int | None = None  # of Batch's last response
    problem: str | None = None  # why the last attempt failed, or Batch's own error text

    def after(self, outcome: Outcome, reply: Reply, max_resends: int) -> "CallRecord":
        """The call after one more attempt."""
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
        """The call after an attempt whose outcome is unknown."""
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
        """Whether an operator may replay it."""
        is_done = self.state in (CallState.ACCEPTED, CallState.PENDING) or self.problem == ERASED
        return not is_done and (resend_unknown or not self.unknown)


STATE_AFTER = {
    Outcome.ACCEPTED: CallState.ACCEPTED,
    Outcome.REFUSED: CallState.REFUSED,
    Outcome.NOT_SENT: CallState.PENDING,
}
# The first row that matches any call gives the state of the delivery.
STATE_OF_CALLS = (
    (CallState.PENDING, DeliveryState.RETRY),
    (CallState.HELD, DeliveryState.HELD),
    (CallState.EXPIRED, DeliveryState.EXPIRED),
    (CallState.REFUSED, DeliveryState.REFUSED),
    (CallState.ACCEPTED, DeliveryState.SENT),
)


@dataclass(frozen=True, kw_only=True)
class Record:
    """One delivery: one event of one function. Times are UTC."""

    id: str  # hash of the function, the source and the event id; for a chunk, owner and number
    function: str  # the deployed function that was called
    source: str  # the source of the CloudEvent
    event_id: str  # the id of the CloudEvent, or the request_id of a callable request
    event_time: datetime
    document: str  # the path of the document that was written
    state: DeliveryState
    created_at: datetime
    updated_at: datetime
    best_before: datetime  # no attempt begins after this
    expire_at: datetime  # Firestore deletes the record some time after this
    owner: str  # the nonce of the last claim
    lease_until: datetime | None = None  # while CLAIMED: nobody else may resume it earlier
    revision: int = 0  # incremented by every write
    group_id: str | None = None  # the push's
    event: str | None = None  # Batch's name of the event that was triggered; None for a push
    reason: str | None = None  # why nothing was sent, in one sentence
    report_to: str | None = None  # the path of the summary to write once it is settled
    not_before: datetime | None = None  # while WAITING: the end of the wait
    waited_until: datetime | None = None  # the end of a wait that is over
    about: tuple[str, ...] = ()  # while WAITING: further documents behind the push
    omitted: int = 0  # how many more there are
    ignored: tuple[str, ...] = ()  # fields of the document that neither Batch nor we know
    left_out: tuple[tuple[str, tuple[str, ...]], ...] = ()  # user ids that get nothing, by reason
    people: tuple[str, ...] = ()  # with RECIPIENT_INDEX_DAYS: hashes of all whom it concerns
    people_until: str | None = None  # the day after which a sweep drops them
    day: str | None = None  # of `created_at`, to look for
    burst: str | None = None  # the id of the burst that it belongs to
    sender: str | None = None  # the user of the app who caused the push
    # Ids and times of waiting records claimed with this one, until their tasks exist. It may be
    # one of them itself.
    later: tuple[tuple[str, datetime], ...] = ()
    chunks: tuple[str, ...] = ()  # of a large audience: ids of the records that hold the calls
    calls: tuple[CallRecord, ...] = ()
    # JSON bodies of the calls, frozen by the claim; while WAITING, one that lists who waits.
    bodies: tuple[str, ...] = field(default=(), repr=False)
    bodies_until: str | None = None  # the day, such as 2026-12-02, after which a sweep drops them
    format: int = FORMAT  # the record format of the version that wrote it

    def evolve(self, **changes: Any) -> Self:
        """The record with other values: what `dataclasses.replace` does, in a fifth of the time."""
        assert changes.keys() <= self.__dict__.keys(), f"no fields of a record: {[*changes]}"
        evolved = object.__new__(type(self))
        evolved.__dict__.update(self.__dict__, **changes)
        return evolved

    def with_calls(self, calls: Collection[Call]) -> "Record":
        """The record with the push's calls frozen in it; equal bodies are stored once."""
        bodies = {body: i for i, body in enumerate(dict.fromkeys(call.body for call in calls))}
        return self.evolve(
            calls=tuple(CallRecord(call.app, bodies[call.body]) for call in calls),
            bodies=tuple(body.decode() for body in bodies),
        )

    def waiting(
        self, until: datetime, recipients: Mapping[str, Sequence[str]], fresh_for: timedelta
    ) -> "Record":
        """The record waiting to be sent to these lists of ids."""
        body = json.dumps({"recipients": recipients}, ensure_ascii=False, separators=(",", ":"))
        return self.evolve(
            state=DeliveryState.WAITING,
            not_before=until,
            best_before=until + fresh_for,
            expire_at=max(self.expire_at, until + (self.expire_at - self.created_at)),
            lease_until=None,
            calls=(),
            bodies=(body,),
        )

    @property
    def waits_for(self) -> dict[str, list[str]]:
        """The recipients of a waiting record: lists of ids."""
        lists: dict[str, list[str]] = json.loads(self.bodies[0])["recipients"]
        return lists

    def resumed(self, owner: str, now: datetime) -> "Record":
        """The record when its wait is over, claimed, and without calls yet."""
        return self.evolve(
            state=DeliveryState.CLAIMED,
            owner=owner,
            not_before=None,
            waited_until=self.not_before and min(self.not_before, now),
            about=(),
            omitted=0,
            left_out=(),
            people=(),
            burst=None,
            later=(),
            bodies=(),
            revision=self.revision + 1,
            updated_at=now,
        )

    def leaving_out(self, left_out: Mapping[str, Iterable[str]]) -> "Record":
        """The record with more people who get nothing, by reason, as many as it keeps."""
        if not left_out:
            return self
        listed = {reason: list(ids) for reason, ids in self.left_out}
        count = sum(map(len, listed.values()))
        size = sum(len(each.encode()) for ids in listed.values() for each in ids)
        for reason, ids in left_out.items():
            for each in dict.fromkeys(map(storable, ids)):
                count, size = count + 1, size + len(each.encode())
                if count > MAX_LEFT_OUT or size > MAX_LEFT_OUT_BYTES:
                    break
                listed.setdefault(reason, []).append(each)
        return self.evolve(left_out=tuple((reason, tuple(ids)) for reason, ids in listed.items()))

    def ended(self, state: DeliveryState, reason: str) -> "Record":
        """The record of a delivery that sends nothing."""
        return self.evolve(state=state, reason=storable(reason[:1000]), lease_until=None)

    def refused(self, reason: str, now: datetime) -> "Record":
        """The record of a push that Firestore refused, without any field that may be the cause."""
        return self.ended(DeliveryState.REFUSED, reason).evolve(
            report_to=None,
            not_before=None,
            about=(),
            omitted=0,
            left_out=(),
            people=(),
            burst=None,
            later=(),
            chunks=(),
            calls=(),
            bodies=(),
            revision=self.revision + 1,
            updated_at=now,
        )

    def without_problems(self) -> "Record":
        """The record at its smallest: the outcome of each call without its problem text."""
        calls = tuple(replace(call, problem=None) for call in self.calls)
        return self.evolve(calls=calls, report_to=None)

    def with_chunks(
        self,
        states: Mapping[str, DeliveryState],
        now: datetime,
        later: Sequence[tuple[str, datetime]] = (),
    ) -> "Record":
        """The record of a large audience, in the state that its chunks imply.

        `later` are the waiting records that still need a task.
        """
        of_chunks = {states.get(chunk) for chunk in self.chunks}
        ends = (
            DeliveryState.HELD,
            DeliveryState.EXPIRED,
            DeliveryState.REFUSED,
            DeliveryState.SENT,
        )
        settled = ends if of_chunks <= SETTLED and not later else ()
        end = next((end for end in settled if end in of_chunks), DeliveryState.RETRY)
        return self.evolve(later=tuple(later))._ended(end, now)

    def too_old(self, now: datetime) -> "Record":
        """The record of a delivery that was not sent in time."""
        return (
            self.after(self.calls, now) if self.calls else self._ended(DeliveryState.EXPIRED, now)
        )

    def _ended(self, state: DeliveryState, now: datetime) -> "Record":
        revision = self.revision + 1
        return self.evolve(state=state, lease_until=None, revision=revision, updated_at=now)

    @property
    def since(self) -> datetime:
        """When the push began to age: at its event, or at the end of its wait."""
        return self.waited_until or self.event_time

    @property
    def in_logs(self) -> dict[str, str]:
        """The names of its event in logs: not what the path of a callable request says of users."""
        if self.source.startswith(CALLABLE):
            return {"event_id": self.id}
        return {"event_id": self.event_id, "document": self.document}

    @property
    def is_in_firestore(self) -> bool:
        """Whether the document is in the record's own Firestore database, that of `DATABASE`."""
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
        """What the app that wrote the document may see."""
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
        if self.state is DeliveryState.WAITING:
            summary["until"] = self.not_before
        return summary | {"ignored": list(self.ignored)} if self.ignored else summary

    def _first_problem(self) -> str | None:
        if self.state is DeliveryState.SENT:
            return None
        return next((call.problem for call in self.calls if call.problem), None)

    def is_waiting(self, now: datetime) -> bool:
        """Whether it, or a chunk of an audience, is still to be sent later."""
        is_early = self.not_before is not None and now < self.not_before
        return self.state is DeliveryState.WAITING or (is_early and not self.is_settled)

    def is_free(self, now: datetime) -> bool:
        """Whether another worker may reclaim it."""
        if self.state is DeliveryState.CLAIMED:
            return self.lease_until is None or now >= self.lease_until
        return self.state is DeliveryState.RETRY

    def reclaimed(
        self, *, owner: str, now: datetime, lease_until: datetime, max_resends: int
    ) -> "Record":
        """The record as a new owner claims it, to send the rest.

        If the lease expired, each pending call may have been sent once without being recorded.
        """
        calls: Iterable[CallRecord] = self.calls
        if self.state is DeliveryState.CLAIMED:
            calls = [call.unanswered(max_resends) if call.is_pending else call for call in calls]
        claimed = self._next(calls, now, owner=owner)
        if claimed.is_settled:
            return claimed
        return claimed.evolve(state=DeliveryState.CLAIMED, lease_until=lease_until)

    def after(
        self,
        calls: Iterable[CallRecord],
        now: datetime,
        later: Sequence[tuple[str, datetime]] = (),
    ) -> "Record":
        """The record after its owner's attempts; `later` are the waits that still need a task."""
        return self._next(calls, now, later=tuple(later))

    def keeping_bodies(self, days: int) -> "Record":
        """The record with a limit on how long to keep its bodies, if Batch accepted every call.

        Other settled records keep them as long as the record exists: an operator may replay it. The
        limit is a day, not a time: sequential values limit an index to 500 writes a second.
        """
        if self.state is not DeliveryState.SENT or not self.bodies:
            return self
        if not days:
            return self.evolve(bodies=())
        until = self.updated_at + timedelta(days=days)
        is_sooner = until < self.expire_at
        return self.evolve(bodies_until=until.date().isoformat()) if is_sooner else self

    def replayed(self, *, now: datetime, best_before: datetime, resend_unknown: bool) -> "Record":
        """The record for an operator's replay: calls that Batch has not accepted become pending.

        Calls with an unknown outcome become pending only with `resend_unknown`.
        """
        calls = [
            replace(call, state=CallState.PENDING, unknown=0)
            if call.is_replayable(resend_unknown)
            else call
            for call in self.calls
        ]
        fresh = self.evolve(best_before=best_before, reason=None)
        return fresh._next(calls, now)

    def _next(self, calls: Iterable[CallRecord], now: datetime, **changes: Any) -> "Record":
        calls = tuple(calls)
        if now >= self.best_before:
            calls = tuple(
                replace(call, state=CallState.EXPIRED) if call.is_pending else call
                for call in calls
            )
        following = self.evolve(
            state=state_of(calls),
            calls=_bounded(calls),
            lease_until=None,
            revision=self.revision + 1,
            updated_at=now,
            **changes,
        )
        # Until those tasks exist, a redelivery or the sweep must come back to the record.
        return following.evolve(state=DeliveryState.RETRY) if following.later else following


def why_not_callable(app: str) -> str:
    """Why a call of a record cannot be made with the settings as they are now."""
    return "BATCH_PROJECT is not set" if app == CEP else f"BATCH_APPS no longer has {app}"


def _bounded(calls: Sequence[CallRecord]) -> tuple[CallRecord, ...]:
    """The calls with problem texts that fit in a record, each cut to an equal share if needed."""
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


def state_of(calls: Iterable[CallRecord]) -> DeliveryState:
    """The state of a delivery with these calls while no worker is sending it."""
    states = {call.state for call in calls}
    return next(
        (state for call_state, state in STATE_OF_CALLS if call_state in states),
        DeliveryState.RETRY,  # a large audience, whose chunks are not all settled
    )
