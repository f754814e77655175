"""What Batch has of a person, and what it lacks. Pure.

                changed                accepted by every app
    APPLIED ──────────────> CLAIMED ──────────────────────────> APPLIED
                              │  ▲                                 ▲
                              ▼  │ the event, or the sweep         │ the document was edited
                            RETRY                 REFUSED by an app, the others have it

Every event reconciles Batch with the profile as it is now, so the newest wins, whatever came late
or twice. Values are absolute, so sending them again does no harm. What a request may change is
stored as unknown before it is sent: if its owner dies, the successor sends it again.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.documents import EPOCH
from batchpush.pushes.profile import Profile

MAX_LEASE = timedelta(minutes=10)  # ignore a longer one: no worker sets it
UNKNOWN = "?"  # in place of a fingerprint: a request may have changed the value

Values = Mapping[str, Any]  # by Batch's names; None clears
Changes = Mapping[str, Values]  # by custom id


class ProfileState(Enum):
    """What is true of a person's attributes at Batch."""

    CLAIMED = "CLAIMED"  # a worker is sending them, until the lease expires
    RETRY = "RETRY"  # an app does not have them yet; the event is redelivered
    APPLIED = "APPLIED"  # every app has them
    REFUSED = "REFUSED"  # an app refused them, until they change; the others have them


UNFINISHED = frozenset({ProfileState.CLAIMED, ProfileState.RETRY})


@dataclass(frozen=True)
class AppProfile:
    """What one app has: fingerprints of the values, by custom id and name."""

    sent: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    refused: str | None = None  # fingerprint of the changes that Batch refused
    error: str | None = None  # Batch's own words, or why there are none


@dataclass(frozen=True, kw_only=True)
class Mirrored:
    """What Batch has of one person, as the state document stores it. Times are UTC."""

    state: ProfileState = ProfileState.APPLIED
    apps: Mapping[str, AppProfile] = field(default_factory=dict)
    source: str = ""  # of the last event: the database that has the profile
    updated_at: datetime = EPOCH
    lease_until: datetime | None = None  # while CLAIMED: nobody else may resume it earlier
    revision: int = 0  # incremented by every write

    def changes(self, profile: Profile | None, apps: Sequence[str]) -> dict[str, Changes]:
        """What each app lacks. Without a profile, everything that we sent is cleared.

        Leaves out what the app refused. An id that is not theirs any more is left as it is: it may
        be somebody else's by now.
        """
        lacking = {app: self._lacking(app, profile) for app in apps}
        return {
            app: changes
            for app, changes in lacking.items()
            if changes and fingerprint(changes) != self._of(app).refused
        }

    def _lacking(self, app: str, profile: Profile | None) -> Changes:
        sent = self._of(app).sent
        ids, values = (profile.custom_ids, profile.values) if profile else (list(sent), {})
        changes = {each: _changed(values, sent.get(each, {})) for each in ids}
        return {each: changed for each, changed in changes.items() if changed}

    def _of(self, app: str) -> AppProfile:
        return self.apps.get(app, AppProfile())

    def claimed(
        self,
        changes: Mapping[str, Changes],
        *,
        source: str,
        now: datetime,
        lease_until: datetime,
    ) -> "Mirrored":
        """The state to store before the requests."""
        apps = {
            app: replace(self._of(app), sent=_merged(self._of(app).sent, changed, UNKNOWN))
            for app, changed in changes.items()
        }
        return replace(
            self,
            state=ProfileState.CLAIMED,
            apps={**self.apps, **apps},
            source=source,
            lease_until=lease_until,
            updated_at=now,
            revision=self.revision + 1,
        )

    def after(
        self,
        changes: Mapping[str, Changes],
        replies: Mapping[str, tuple[Outcome, Reply]],
        *,
        before: "Mirrored",
        now: datetime,
    ) -> "Mirrored":
        """The state after the requests; `before` is the state before the claim."""
        apps = {
            app: self._replied(app, changes[app], *reply, before=before)
            for app, reply in replies.items()
        }
        following = replace(
            self,
            apps={**self.apps, **apps},
            lease_until=None,
            updated_at=now,
            revision=self.revision + 1,
        )
        outcomes = {outcome for outcome, _ in replies.values()}
        if Outcome.UNKNOWN in outcomes:
            # Batch may carry it out later than what is sent next: keep everybody waiting.
            return replace(following, state=ProfileState.RETRY, lease_until=self.lease_until)
        if Outcome.NOT_SENT in outcomes:
            return replace(following, state=ProfileState.RETRY)
        is_refused = any(each.refused for each in following.apps.values())
        return replace(
            following, state=ProfileState.REFUSED if is_refused else ProfileState.APPLIED
        )

    def _replied(
        self, app: str, changes: Changes, outcome: Outcome, reply: Reply, *, before: "Mirrored"
    ) -> AppProfile:
        error = reply.why()
        match outcome:
            case Outcome.ACCEPTED:
                return AppProfile(_merged(self._of(app).sent, changes))
            case Outcome.REFUSED:
                return AppProfile(before._of(app).sent, fingerprint(changes), error)
            case Outcome.NOT_SENT:
                return replace(before._of(app), error=error)
            case Outcome.UNKNOWN:
                return replace(self._of(app), error=error)

    @property
    def is_empty(self) -> bool:
        """Whether Batch has nothing that we sent, nor refused any of it."""
        return not any(any(each.sent.values()) or each.refused for each in self.apps.values())

    @property
    def problems(self) -> dict[str, str]:
        """What went wrong, by app."""
        return {app: each.error for app, each in self.apps.items() if each.error}

    def has_lease(self, now: datetime) -> bool:
        """Whether its owner may still be working on it."""
        until = self.lease_until
        return until is not None and timedelta() < until - now <= MAX_LEASE


def _changed(values: Values, sent: Mapping[str, str]) -> Values:
    names = sorted({*values, *sent})
    return {
        name: values.get(name)
        for name in names
        if _fingerprint_or_none(values.get(name)) != sent.get(name)
    }


def _merged(
    sent: Mapping[str, Mapping[str, str]], changes: Changes, instead: str | None = None
) -> dict[str, dict[str, str]]:
    """The fingerprints after the changes, or `instead` of each; without cleared values."""
    merged = {identifier: dict(of_id) for identifier, of_id in sent.items()}
    for identifier, values in changes.items():
        of_id = merged.setdefault(identifier, {})
        for name, value in values.items():
            if found := instead or _fingerprint_or_none(value):
                of_id[name] = found
            else:
                of_id.pop(name, None)
    return merged


def _fingerprint_or_none(value: object) -> str | None:
    return None if value is None else fingerprint(value)


def fingerprint(value: object) -> str:
    """Short, and the same for equal values: the values themselves are not stored a second time."""
    canonical = json.dumps(value, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
