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
MAX_LEASE = timedelta(minutes=10)  # one that runs for longer is a mistake
MAX_TOKEN = 200  # characters; Batch's are UUIDs
MAX_NAMED = 10  # campaigns that may be the one that is looked for


class CampaignState(Enum):
    """What is true of a campaign in one app."""

    ABSENT = "ABSENT"  # Batch has none: it was deleted, or is not meant for this app
    CLAIMED = "CLAIMED"  # somebody is calling Batch, until the lease ends
    RETRY = "RETRY"  # Batch does not have it as it should be; the event is redelivered
    APPLIED = "APPLIED"  # Batch has it as the document says
    REFUSED = "REFUSED"  # Batch or our validation refused what the document says now
    HELD = "HELD"  # it may be at Batch once or more, and cannot be found: a person decides


UNFINISHED = frozenset({CampaignState.CLAIMED, CampaignState.RETRY})
UNTIL_EDITED = frozenset({CampaignState.REFUSED, CampaignState.HELD})


class Step(Enum):
    """What is to be done next."""

    NOTHING = "nothing"
    WAIT = "wait"  # somebody else has the lease, or a create is too recent to look for
    NOTE = "note"  # only store it
    LOOK = "look"  # for a create whose outcome is unknown
    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True)
class Desired:
    """The desired state of one app: a campaign, or none; with a `problem`, the document is invalid.

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
class UnknownCreate:
    """A create whose outcome is unknown."""

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

    state: CampaignState = CampaignState.ABSENT
    campaign_token: str | None = None
    error: str | None = None
    updated_at: datetime = EPOCH
    applied: str | None = None
    tried: str | None = None
    doubts: tuple[UnknownCreate, ...] = ()
    live_from: datetime | None = None
    stats_at: datetime | None = None
    stats_of: datetime | None = None
    owner: str = ""
    lease_until: datetime | None = None
    revision: int = 0

    def next_step(self, desired: Desired, now: datetime) -> Step:
        """What leads to the desired state, given what is known of Batch's."""
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
        """... once the unknown creates were looked for."""
        if desired.body is None:
            if self.campaign_token:
                return Step.DELETE
            return Step.NOTHING if self.state is CampaignState.ABSENT else Step.NOTE
        if not self.campaign_token:
            return Step.CREATE
        if self.applied != desired.fingerprint:
            return Step.UPDATE
        return Step.NOTHING if self.state is CampaignState.APPLIED else Step.NOTE

    def noted(self, desired: Desired, now: datetime) -> "Publication":
        """As it is without a call: refused by our validation, absent, or as it was before."""
        if desired.problem:
            return self._next(CampaignState.REFUSED, desired, now, error=desired.problem)
        return self._next(
            CampaignState.APPLIED if self.campaign_token else CampaignState.ABSENT, desired, now
        )

    def claimed(
        self, step: Step, desired: Desired, *, owner: str, now: datetime, lease_until: datetime
    ) -> "Publication":
        """As its owner stores it before the call: ready for an answer that never comes."""
        claimed = replace(
            self._next(CampaignState.CLAIMED, desired, now, error=self.error),
            owner=owner,
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
        """As it is once Batch has answered; `before` is how it was before it was claimed."""
        error = reply.said() or reply.problem or f"Batch answered {reply.status}"
        if step is Step.DELETE and (outcome is Outcome.ACCEPTED or reply.status == 404):
            gone = replace(self, campaign_token=None, live_from=None, stats_at=None)
            return gone._next(CampaignState.ABSENT, desired, now)
        match outcome:
            case Outcome.ACCEPTED:
                token = self.campaign_token or str(reply.json()["campaign_token"])
                return self._as(token, desired.fingerprint)._applied(desired, now)
            case Outcome.REFUSED:
                known = self._with_what_was_known(before)
                return known._next(
                    CampaignState.REFUSED, desired, now, error=known._about(error, now)
                )
            case Outcome.NOT_SENT:
                known = self._with_what_was_known(before)
                return known._next(CampaignState.RETRY, desired, now, error=error)
            case Outcome.UNKNOWN:
                return self._next(CampaignState.RETRY, desired, now, error=error)

    def found(
        self, tokens: Collection[str] | None, desired: Desired, *, max_resends: int, now: datetime
    ) -> "Publication":
        """As it is once the unknown creates were looked for; `tokens` is None without Batch's list.

        Still claimed, if there is a call to be made.
        """
        if tokens and len(tokens) == 1:
            (token,) = tokens
            of_all = {doubt.fingerprint for doubt in self.doubts}
            found = self._as(token, of_all.pop() if len(of_all) == 1 else None)
            is_as_wished = desired.body is not None and found.applied == desired.fingerprint
            return found._applied(desired, now) if is_as_wished else found
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
        """Whether its owner may still be at it."""
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

    def _with_what_was_known(self, before: "Publication") -> "Publication":
        """The call did nothing: undo what was stored in case it did."""
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
