"""What is known of a campaign in one app, and how that may change. Pure.

                 create, update               delete
    ABSENT ──> CLAIMED ──> APPLIED ──> CLAIMED ──> ABSENT
                 │  ▲         │ an edit, or a switch, is claimed again
                 ▼  │         ▼
        RETRY, or REFUSED, or HELD

A campaign is brought into line with its document as that is now, whatever event came: edits in
quick succession end with the last one. What may be under way is written down before it is: while
a create is under way it is among the `doubts`, and what an update makes of the campaign is not
known until it is answered. So nothing has to be guessed of an owner that died.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.documents import EPOCH

SKEW = timedelta(seconds=60)  # between our clock and Batch's
LOOK_AFTER = timedelta(seconds=15)  # until then Batch may still be working on a create
LONGEST_LEASE = timedelta(minutes=10)  # one that runs for longer is a mistake
MAX_TOKEN = 200  # characters; Batch's are UUIDs
MOST_NAMED = 10  # campaigns that may be the one that is looked for


class State(Enum):
    """What is true of a campaign in one app."""

    ABSENT = "ABSENT"  # Batch has none: it was deleted, or is not meant for this app
    CLAIMED = "CLAIMED"  # somebody is calling Batch, until the lease ends
    RETRY = "RETRY"  # Batch does not have it as it should be; the event will be delivered again
    APPLIED = "APPLIED"  # Batch has it as the document says
    REFUSED = "REFUSED"  # Batch or our validation refused what the document says now
    HELD = "HELD"  # it may be at Batch once or more, and cannot be found: a person decides


UNFINISHED = frozenset({State.CLAIMED, State.RETRY})
UNTIL_EDITED = frozenset({State.REFUSED, State.HELD})


class Step(Enum):
    """What is to be done next."""

    NOTHING = "nothing"
    WAIT = "wait"  # somebody else is at it, or a create is too young to be looked for
    NOTE = "note"  # only write it down
    LOOK = "look"  # for a create of which nobody knows whether Batch took it
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True)
class Wish:
    """What an app is to have: a campaign; or none; or, where it has a problem, nobody knows what.

    `version` names the state of the document that says so.
    """

    version: str
    body: bytes | None = None
    due: datetime | None = None
    problem: str | None = None

    @property
    def fingerprint(self) -> str:
        """The same for bodies that mean the same: Firestore does not keep a map's order."""
        assert self.body is not None
        canonical = json.dumps(json.loads(self.body), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def name(self) -> str:
        assert self.body is not None
        return str(json.loads(self.body)["name"])


@dataclass(frozen=True)
class Doubt:
    """A create of which nobody knows whether Batch took it."""

    name: str
    fingerprint: str
    at: datetime

    def may_be(self, row: Mapping[str, Any]) -> bool:
        """Whether it may be this row of Batch's list."""
        created = created_at(row)
        return row.get("name") == self.name and created is not None and created >= self.at - SKEW


def created_at(row: Mapping[str, Any]) -> datetime | None:
    """When a row of Batch's list was created; Batch leaves out the zone, which is GMT."""
    try:
        created = datetime.fromisoformat(str(row.get("created_date")))
    except ValueError:
        return None
    return created if created.tzinfo else created.replace(tzinfo=UTC)


def is_token(value: object) -> bool:
    """Whether it may be Batch's name for a campaign."""
    return isinstance(value, str) and 0 < len(value) <= MAX_TOKEN


@dataclass(frozen=True, kw_only=True)
class Publication:
    """One campaign in one app, as its state document says.

    `applied` is the fingerprint of what Batch has, where that is known. `tried` is the version of
    the document that was dealt with last. `live_from` is when the first phone may get it, None
    for a draft; `stats_at` when its statistics are to be asked for next, None for not any more,
    and `stats_of` when they were asked for last.
    `owner` is the claimant's nonce; `revision` grows with every write.
    """

    state: State = State.ABSENT
    campaign_token: str | None = None
    error: str | None = None
    updated_at: datetime = EPOCH
    applied: str | None = None
    tried: str | None = None
    doubts: tuple[Doubt, ...] = ()
    live_from: datetime | None = None
    stats_at: datetime | None = None
    stats_of: datetime | None = None
    owner: str = ""
    lease_until: datetime | None = None
    revision: int = 0

    def next_step(self, wish: Wish, now: datetime) -> Step:
        """What the wish asks for, as far as is known what Batch has."""
        if self.is_claimed and self.has_lease(now):
            return Step.WAIT
        if self.state in UNTIL_EDITED and self.tried == wish.version:
            return Step.NOTHING
        if wish.problem:
            return Step.NOTE
        if self.doubts and not self.campaign_token:
            is_too_young = -SKEW <= now - self.updated_at < LOOK_AFTER
            return Step.WAIT if is_too_young else Step.LOOK
        return self.step_without_doubts(wish)

    def step_without_doubts(self, wish: Wish) -> Step:
        """... once the doubts were looked for."""
        if wish.body is None:
            if self.campaign_token:
                return Step.DELETE
            return Step.NOTHING if self.state is State.ABSENT else Step.NOTE
        if not self.campaign_token:
            return Step.CREATE
        if self.applied != wish.fingerprint:
            return Step.UPDATE
        return Step.NOTHING if self.state is State.APPLIED else Step.NOTE

    def noted(self, wish: Wish, now: datetime) -> "Publication":
        """As it is without a call: refused by our validation, absent, or as it was before."""
        if wish.problem:
            return self._next(State.REFUSED, wish, now, error=wish.problem)
        return self._next(State.APPLIED if self.campaign_token else State.ABSENT, wish, now)

    def claimed(
        self, step: Step, wish: Wish, *, owner: str, now: datetime, lease_until: datetime
    ) -> "Publication":
        """As its owner writes it down before the call: prepared for never hearing the answer."""
        claimed = replace(
            self._next(State.CLAIMED, wish, now, error=self.error),
            owner=owner,
            lease_until=lease_until,
        )
        if step is Step.CREATE:
            doubt = Doubt(wish.name, wish.fingerprint, now)
            return replace(claimed, doubts=(*self.doubts, doubt))
        return claimed if step is Step.LOOK else replace(claimed, applied=None)

    def after(
        self,
        step: Step,
        wish: Wish,
        outcome: Outcome,
        reply: Reply,
        *,
        before: "Publication",
        now: datetime,
    ) -> "Publication":
        """As it is once Batch has answered; `before` is how it was before it was claimed."""
        error = reply.said() or reply.problem or f"Batch answered {reply.status}"
        if step is Step.DELETE and (outcome is Outcome.ACCEPTED or reply.status == 404):
            gone = replace(self, campaign_token=None, live_from=None, stats_at=None)
            return gone._next(State.ABSENT, wish, now)
        match outcome:
            case Outcome.ACCEPTED:
                token = self.campaign_token or str(reply.json()["campaign_token"])
                return self._as(token, wish.fingerprint)._applied(wish, now)
            case Outcome.REFUSED:
                known = self._with_what_was_known(before)
                return known._next(State.REFUSED, wish, now, error=known._about(error, now))
            case Outcome.NOT_SENT:
                known = self._with_what_was_known(before)
                return known._next(State.RETRY, wish, now, error=error)
            case Outcome.UNKNOWN:
                return self._next(State.RETRY, wish, now, error=error)

    def found(
        self, tokens: Collection[str] | None, wish: Wish, *, max_resends: int, now: datetime
    ) -> "Publication":
        """As it is once the doubts were looked for; None where Batch does not give its list.

        Still claimed, if there is a call to be made.
        """
        if tokens and len(tokens) == 1:
            (token,) = tokens
            of_all = {doubt.fingerprint for doubt in self.doubts}
            found = self._as(token, of_all.pop() if len(of_all) == 1 else None)
            is_as_wished = wish.body is not None and found.applied == wish.fingerprint
            return found._applied(wish, now) if is_as_wished else found
        if tokens:
            named = ", ".join(sorted(tokens)[:MOST_NAMED])
            more = f", and {len(tokens) - MOST_NAMED} more" if len(tokens) > MOST_NAMED else ""
            return self._held(wish, now, f"any of these may be it: {named}{more}")
        if tokens is not None and wish.body is None:
            return replace(self, doubts=())._next(State.ABSENT, wish, now)
        if wish.body is None or len(self.doubts) > max_resends:
            where = "Batch gives no list" if tokens is None else "it is not in Batch's list"
            times = f"created {len(self.doubts)} times without an answer"
            return self._held(wish, now, f"{times}, and {where}")
        return self

    @property
    def is_claimed(self) -> bool:
        return self.state is State.CLAIMED

    def has_lease(self, now: datetime) -> bool:
        """Whether its owner may still be at it."""
        until = self.lease_until
        return until is not None and timedelta() < until - now <= LONGEST_LEASE

    def _as(self, token: str, applied: str | None) -> "Publication":
        return replace(self, campaign_token=token, applied=applied, doubts=())

    def _applied(self, wish: Wish, now: datetime) -> "Publication":
        has_begun = self.live_from is not None and self.live_from <= now
        live_from = self.live_from if has_begun and wish.due is None else wish.due
        stats_at = self.stats_at if has_begun and self.stats_at else live_from
        return replace(self._next(State.APPLIED, wish, now), live_from=live_from, stats_at=stats_at)

    def _held(self, wish: Wish, now: datetime, error: str) -> "Publication":
        return self._next(State.HELD, wish, now, error=error)

    def _with_what_was_known(self, before: "Publication") -> "Publication":
        """The call did nothing: what was written down in case it did is taken back."""
        return replace(self, applied=before.applied, doubts=before.doubts)

    def _about(self, error: str, now: datetime) -> str:
        if not (self.campaign_token and self.live_from and self.live_from <= now):
            return error
        return f"{error}. It was due at {self.live_from:%Y-%m-%dT%H:%M:%SZ}: what is sent stays"

    def _next(
        self, state: State, wish: Wish, now: datetime, error: str | None = None
    ) -> "Publication":
        return replace(
            self,
            state=state,
            error=error,
            tried=wish.version,
            lease_until=None,
            updated_at=now,
            revision=self.revision + 1,
        )
