"""The state of a campaign in one app, and its transitions. Pure.

                 create, update               delete
    ABSENT ──> CLAIMED ──> APPLIED ──> CLAIMED ──> ABSENT
                 │  ▲         │ an edit or a switch claims it again
                 ▼  │         ▼
        RETRY, or REFUSED, or HELD

Every event reconciles the campaign with the current document, so after several quick edits the last
one wins. Before sending a request we store what it may change: a create is added to `doubts`, and
an update or a delete clears `applied` until Batch answers. If the owner dies, its successor does
not have to guess.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.documents import EPOCH, is_unicode

SKEW = timedelta(seconds=60)  # between our clock and Batch's
LOOK_AFTER = timedelta(seconds=15)  # before that, Batch may still be processing a create
MAX_LEASE = timedelta(minutes=10)  # ignore a longer one: no worker sets it
MAX_TOKEN = 200  # characters; Batch's are UUIDs
MAX_NAMED = 10  # candidate campaigns that an error text lists


class CampaignState(Enum):
    """What is true of a campaign in one app."""

    ABSENT = "ABSENT"  # Batch has no campaign: it was deleted, or is not meant for this app
    CLAIMED = "CLAIMED"  # a worker is calling Batch, until the lease expires
    RETRY = "RETRY"  # Batch does not have the desired state yet; the event is redelivered
    APPLIED = "APPLIED"  # Batch has the desired state
    REFUSED = "REFUSED"  # Batch or our validation refused the current document
    HELD = "HELD"  # Batch may have it, even twice, but we cannot identify it: a person decides


UNFINISHED = frozenset({CampaignState.CLAIMED, CampaignState.RETRY})
UNTIL_EDITED = frozenset({CampaignState.REFUSED, CampaignState.HELD})


class Step(Enum):
    """The next thing to do to reach the desired state."""

    NOTHING = "nothing"
    WAIT = "wait"  # another worker has the lease, or a create is too recent to look up
    NOTE = "note"  # store the state without a request
    LOOK = "look"  # search for a create whose outcome is unknown
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True)
class Desired:
    """The desired state of one app."""

    version: str  # of the campaign's document that it was derived from
    body: bytes | None = None  # the JSON for Batch; None if the app should have no campaign
    due: datetime | None = None  # when the first phone may get it; None for a draft
    problem: str | None = None  # why the document is invalid

    @property
    def fingerprint(self) -> str:
        """A hash that ignores key order, which Firestore's maps do not preserve."""
        assert self.body is not None
        canonical = json.dumps(json.loads(self.body), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def name(self) -> str:
        assert self.body is not None
        return str(json.loads(self.body)["name"])


@dataclass(frozen=True)
class UnknownCreate:
    """A create whose outcome is unknown."""

    name: str  # the campaign's, as in Batch's list
    fingerprint: str  # of the body that was sent
    at: datetime  # when it was claimed, by our clock

    def may_be(self, row: Mapping[str, Any]) -> bool:
        """Whether this row of Batch's list may be the result."""
        created = created_at(row)
        return row.get("name") == self.name and created is not None and created >= self.at - SKEW


def created_at(row: Mapping[str, Any]) -> datetime | None:
    """When a row of Batch's list was created. Batch omits the time zone, which is GMT."""
    try:
        created = datetime.fromisoformat(str(row.get("created_date")))
    except ValueError:
        return None
    return created if created.tzinfo else created.replace(tzinfo=UTC)


def is_token(value: object) -> bool:
    """Whether the value can be a campaign token."""
    return isinstance(value, str) and 0 < len(value) <= MAX_TOKEN and is_unicode(value)


@dataclass(frozen=True, kw_only=True)
class Publication:
    """One campaign in one app, as its state document stores it. Times are UTC."""

    state: CampaignState = CampaignState.ABSENT
    campaign_token: str | None = None  # Batch's id of the campaign; None if there is none we know
    error: str | None = None  # why it is not applied
    updated_at: datetime = EPOCH
    applied: str | None = None  # fingerprint of the body that Batch has; None if unknown
    tried: str | None = None  # version of the document that was reconciled last
    doubts: tuple[UnknownCreate, ...] = ()  # creates whose outcome is unknown
    live_from: datetime | None = None  # when the first phone may get it; None for a draft
    stats_at: datetime | None = None  # when to pull its statistics next; None for never
    stats_of: datetime | None = None  # when they were last pulled
    lease_until: datetime | None = None  # while CLAIMED: nobody else may resume it earlier
    revision: int = 0  # incremented by every write

    def next_step(self, desired: Desired, now: datetime) -> Step:
        """The next step from the observed to the desired state."""
        if self.is_claimed and self.has_lease(now):
            return Step.WAIT
        if self.state in UNTIL_EDITED and self.tried == desired.version:
            return Step.NOTHING
        if desired.problem:
            return Step.NOTE
        if self.doubts and not self.campaign_token:
            is_too_young = -SKEW <= now - self.updated_at < LOOK_AFTER
            return Step.WAIT if is_too_young else Step.LOOK
        return self.step_after_look(desired)

    def step_after_look(self, desired: Desired) -> Step:
        """The next step once there is no unknown create left to look up."""
        if desired.body is None:
            if self.campaign_token:
                return Step.DELETE
            return Step.NOTHING if self.state is CampaignState.ABSENT else Step.NOTE
        if not self.campaign_token:
            return Step.CREATE
        if self.applied != desired.fingerprint:
            return Step.UPDATE
        return Step.NOTHING if self.state is CampaignState.APPLIED else Step.NOTE

    def stops(self, desired: Desired) -> bool:
        """Whether an update to the desired state stops a campaign that is live."""
        return self.live_from is not None and desired.due is None

    def noted(self, desired: Desired, now: datetime) -> "Publication":
        """The state without a request: refused by our validation, absent, or still applied."""
        if desired.problem:
            return self._next(CampaignState.REFUSED, desired, now, error=desired.problem)
        return self._next(
            CampaignState.APPLIED if self.campaign_token else CampaignState.ABSENT, desired, now
        )

    def claimed(
        self, step: Step, desired: Desired, *, now: datetime, lease_until: datetime
    ) -> "Publication":
        """The state to store before the request.

        It stays correct even if the answer never arrives: see the module's docstring.
        """
        claimed = replace(
            self._next(CampaignState.CLAIMED, desired, now, error=self.error),
            lease_until=lease_until,
        )
        if step is Step.CREATE:
            doubt = UnknownCreate(desired.name, desired.fingerprint, now)
            return replace(claimed, doubts=(*self.doubts, doubt))
        return claimed if step is Step.LOOK else replace(claimed, applied=None)

    def after(
        self,
        step: Step,
        desired: Desired,
        outcome: Outcome,
        reply: Reply,
        *,
        before: "Publication",
        now: datetime,
    ) -> "Publication":
        """The state after the request; `before` is the state before the claim."""
        error = reply.why()
        if step is Step.DELETE and (outcome is Outcome.ACCEPTED or reply.status == 404):
            gone = replace(self, campaign_token=None, live_from=None, stats_at=None)
            return gone._next(CampaignState.ABSENT, desired, now)
        match outcome:
            case Outcome.ACCEPTED:
                token = self.campaign_token or str(reply.json()["campaign_token"])
                return self._as(token, desired.fingerprint)._applied(desired, now)
            case Outcome.REFUSED:
                restored = self._restored(before)
                return restored._next(
                    CampaignState.REFUSED, desired, now, error=restored._about(error, now)
                )
            case Outcome.NOT_SENT:
                restored = self._restored(before)
                return restored._next(CampaignState.RETRY, desired, now, error=error)
            case Outcome.UNKNOWN:
                return self._next(CampaignState.RETRY, desired, now, error=error)

    def found(
        self, tokens: Collection[str] | None, desired: Desired, *, max_resends: int, now: datetime
    ) -> "Publication":
        """The state after looking up the unknown creates; still claimed if a request must follow.

        `tokens` are the matches; None if Batch gives no list.
        """
        if tokens and len(tokens) == 1:
            (token,) = tokens
            of_all = {doubt.fingerprint for doubt in self.doubts}
            found = self._as(token, of_all.pop() if len(of_all) == 1 else None)
            is_as_desired = desired.body is not None and found.applied == desired.fingerprint
            return found._applied(desired, now) if is_as_desired else found
        if tokens:
            named = ", ".join(sorted(tokens)[:MAX_NAMED])
            more = f", and {len(tokens) - MAX_NAMED} more" if len(tokens) > MAX_NAMED else ""
            return self._held(desired, now, f"any of these may be it: {named}{more}")
        if tokens is not None and desired.body is None:
            return replace(self, doubts=())._next(CampaignState.ABSENT, desired, now)
        if desired.body is None or len(self.doubts) > max_resends:
            where = "Batch gives no list" if tokens is None else "it is not in Batch's list"
            times = f"created {len(self.doubts)} times without an answer"
            return self._held(desired, now, f"{times}, and {where}")
        return self

    @property
    def is_claimed(self) -> bool:
        return self.state is CampaignState.CLAIMED

    def has_lease(self, now: datetime) -> bool:
        """Whether its owner may still be working on it."""
        until = self.lease_until
        return until is not None and timedelta() < until - now <= MAX_LEASE

    def _as(self, token: str, applied: str | None) -> "Publication":
        return replace(self, campaign_token=token, applied=applied, doubts=())

    def _applied(self, desired: Desired, now: datetime) -> "Publication":
        has_begun = self.live_from is not None and self.live_from <= now
        live_from = self.live_from if has_begun and desired.due is None else desired.due
        stats_at = self.stats_at if has_begun and self.stats_at else live_from
        return replace(
            self._next(CampaignState.APPLIED, desired, now), live_from=live_from, stats_at=stats_at
        )

    def _held(self, desired: Desired, now: datetime, error: str) -> "Publication":
        return self._next(CampaignState.HELD, desired, now, error=error)

    def _restored(self, before: "Publication") -> "Publication":
        """Undo what `claimed` stored, since the request had no effect."""
        return replace(self, applied=before.applied, doubts=before.doubts)

    def _about(self, error: str, now: datetime) -> str:
        if not (self.campaign_token and self.live_from and self.live_from <= now):
            return error
        return f"{error}. It was due at {self.live_from:%Y-%m-%dT%H:%M:%SZ}: what is sent stays"

    def _next(
        self, state: CampaignState, desired: Desired, now: datetime, error: str | None = None
    ) -> "Publication":
        return replace(
            self,
            state=state,
            error=error,
            tried=desired.version,
            lease_until=None,
            updated_at=now,
            revision=self.revision + 1,
        )
