"""The receipt of a person who left: what was asked of Batch, and what became of it. Pure.

    REQUESTED ──> DONE       every app has removed them, or never knew them; our records are erased
        └───────> REFUSED    an app refused, or is gone; our records are erased

A request to remove somebody can be repeated, so an unknown outcome is simply asked again. The
person's ids stand in the receipt only as long as something has to be done with them; hashes stay.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.delivery.waiting import name_of
from batchpush.documents import EPOCH, storable

MAX_LEASE = timedelta(minutes=10)  # ignore a longer one: no worker sets it
SHOWN_FOR = timedelta(days=30)  # after that, Batch does not show a request any more
NOT_FOUND = "user not found"  # Batch's words for somebody whom it does not know
BACK = "the profile is there again"  # our words for why an app is not asked
MAX_ERROR = 500  # characters


class ReceiptState(Enum):
    """What is true of a person who left."""

    REQUESTED = "REQUESTED"  # something is left to do, or Batch is not done
    DONE = "DONE"  # Batch and our records have forgotten them
    REFUSED = "REFUSED"  # an app refused to: the receipt says why, a person decides


class RemovalState(Enum):
    """What is true of one id in one app."""

    PENDING = "pending"  # not asked, or the outcome is unknown
    ASKED = "asked"  # Batch took the request
    DONE = "done"  # Batch removed them, or never knew them
    REFUSED = "refused"  # by Batch, or the app is no longer in the settings


@dataclass(frozen=True)
class Removal:
    """The removal of one id from one app."""

    app: str
    who: str  # a hash of the id
    state: RemovalState = RemovalState.PENDING
    request_id: str | None = None  # Batch's
    status: str | None = None  # Batch's own word
    error: str | None = None

    def asked(self, outcome: Outcome, reply: Reply) -> "Removal":
        """The removal after its request."""
        said = reply.json()
        if outcome is Outcome.ACCEPTED:
            request_id = said.get("request_id")
            known = storable(request_id) if isinstance(request_id, str) else None
            return replace(self, state=RemovalState.ASKED, request_id=known, error=None)
        error, is_refused = reply.why(), outcome is Outcome.REFUSED
        if is_refused and NOT_FOUND in error.lower():
            return replace(self, state=RemovalState.DONE, error=NOT_FOUND)
        state = RemovalState.REFUSED if is_refused else RemovalState.PENDING
        return replace(self, state=state, error=error[:MAX_ERROR])

    @property
    def of_who_is_back(self) -> "Removal":
        """It waits until they leave again."""
        return replace(self, error=BACK)

    def refused(self, why: str) -> "Removal":
        return replace(self, state=RemovalState.REFUSED, error=why)

    def read_back(self, row: Mapping[str, Any]) -> "Removal":
        """The removal after Batch said where it stands."""
        status, error = row.get("status"), row.get("error")
        read = replace(
            self,
            status=storable(str(status)[:MAX_ERROR]) if status else self.status,
            error=storable(str(error)[:MAX_ERROR]) if error else None,
        )
        if status != "done":
            return read
        is_done = not error or NOT_FOUND in str(error).lower()
        return replace(read, state=RemovalState.DONE if is_done else RemovalState.REFUSED)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """One person, as the stored receipt has it. Times are UTC."""

    state: ReceiptState = ReceiptState.REQUESTED
    left_at: datetime  # when their profile was deleted, or an operator asked
    source: str = ""  # of the deletion: the database that had the profile; "" for an operator
    removals: tuple[Removal, ...] = ()
    ids: tuple[str, ...] = ()  # the user id first; none once nothing has to be done with them
    records_erased_at: datetime | None = None
    updated_at: datetime = EPOCH
    lease_until: datetime | None = None
    revision: int = 0  # incremented by every write

    def begun(
        self,
        user_id: str,
        ids: Collection[str],
        apps: Sequence[str],
        at: datetime,
        source: str = "",
    ) -> "Receipt":
        """The receipt once each app has to remove them by each of these ids.

        What is not removed since an earlier leaving stays to be done, and so do the ids for it. An
        event that is older than the receipt, or the same, adds only what the receipt does not have.
        """
        ordered = (user_id, *sorted({*ids, *self.ids} - {user_id}))
        known = {(each.app, each.who): each for each in self.removals}
        to_ask = {
            (app, who(each)): Removal(app, who(each)) for app in apps for each in (user_id, *ids)
        }
        if at > self.left_at:
            left = {key: each for key, each in known.items() if each.state is not RemovalState.DONE}
            removals = left | to_ask
        elif to_ask.keys() <= known.keys():
            return self
        else:
            removals = known | {key: each for key, each in to_ask.items() if key not in known}
        return replace(
            self,
            state=ReceiptState.REQUESTED,
            left_at=max(at, self.left_at),
            source=source if at > self.left_at else self.source,
            removals=tuple(removals.values()),
            ids=ordered,
            records_erased_at=None,
            updated_at=at,
            lease_until=None,
            revision=self.revision + 1,
        )

    @property
    def pending(self) -> list[tuple[Removal, str]]:
        """What to ask Batch for, each with the id."""
        ids = {who(each): each for each in self.ids}
        return [
            (each, ids[each.who])
            for each in self.removals
            if each.state is RemovalState.PENDING and each.who in ids
        ]

    def claimed(self, now: datetime, lease_until: datetime) -> "Receipt":
        return self._next(now, lease_until=lease_until)

    def with_removals(self, changed: Collection[Removal], now: datetime) -> "Receipt":
        """The receipt after what Batch answered about some removals."""
        of = {(each.app, each.who): each for each in changed}
        removals = tuple(of.get((each.app, each.who), each) for each in self.removals)
        return self._next(now, removals=removals, lease_until=None)

    def with_records_erased(self, now: datetime) -> "Receipt":
        return self._next(now, records_erased_at=now, lease_until=None)

    def has_lease(self, now: datetime) -> bool:
        """Whether its owner may still be working on it."""
        until = self.lease_until
        return until is not None and timedelta() < until - now <= MAX_LEASE

    def to_read_back(self, now: datetime) -> list[Removal]:
        """The requests whose end Batch can still tell."""
        is_shown = now - self.left_at < SHOWN_FOR
        asked = [each for each in self.removals if each.state is RemovalState.ASKED]
        return [each for each in asked if each.request_id and is_shown]

    def _next(self, now: datetime, **changes: Any) -> "Receipt":
        following = replace(self, updated_at=now, revision=self.revision + 1, **changes)
        states = {each.state for each in following.removals}
        if RemovalState.PENDING in states or following.records_erased_at is None:
            return following
        following = replace(following, ids=())
        if RemovalState.ASKED in states:
            return following
        is_refused = RemovalState.REFUSED in states
        return replace(following, state=ReceiptState.REFUSED if is_refused else ReceiptState.DONE)


def who(identifier: str) -> str:
    """A custom id as receipts and records name it: a hash, and not readable as the id."""
    return name_of("custom_ids", identifier)


def receipt_id(user_id: str) -> str:
    """The id of the person's receipt: whoever knows the user id finds it, and nobody else."""
    return hashlib.sha256(f"receipt {user_id}".encode()).hexdigest()[:40]
