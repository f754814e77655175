"""Reconciles people's attributes: from `users/{id}` to each app at Batch.

profile as it is now ──> what each app lacks ──> claim ──> is it so still? ──> requests ──> state

An event that comes after the claim waits for its end. One that came before it may have found
nothing to do, if it undid what the claim is about: so the profile is read once more.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.batch_api.requests import Caller
from batchpush.documents import Document
from batchpush.environment import Settings
from batchpush.errors import DeliveryUnfinished
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp, profiles_of
from batchpush.google.firestore import WriteConflict
from batchpush.logs import log
from batchpush.profiles.requests import bodies, request_for
from batchpush.profiles.state import (
    UNFINISHED,
    Changes,
    Mirrored,
    ProfileState,
    fingerprint,
)
from batchpush.profiles.store import Entry, Profiles
from batchpush.pushes.profile import Profile
from batchpush.sweeping import some_of, sweep_each
from batchpush.timing import Timing

ProfileHandler = Callable[[Document], Profile]
LookUpIn = Callable[[str], LookUp]  # by the source of an event

MAX_READS = 10  # of one person, while other workers change the state at the same time
MAX_SWEPT = 10_000
SWEEP_FOR = timedelta(seconds=420)
SKEW = timedelta(seconds=60)  # between two clocks
NOT_OF_PEOPLE = frozenset({403, 404, 405, 410})  # statuses that are about the app or the route


@dataclass(frozen=True)
class Wanted:
    """A person's state, and what Batch lacks, by app. `source` has their profile.

    Of somebody without a custom id (`is_unnamed`), Batch can be told nothing.
    """

    entry: Entry
    changes: Mapping[str, Changes]
    source: str
    is_unnamed: bool = False


@dataclass(frozen=True)
class Claimed:
    """What was claimed, and the state before it."""

    entry: Entry
    before: Mirrored
    changes: Mapping[str, Changes]


@dataclass
class Mirror:
    """`look_up_in` reads the database that an event came from."""

    profiles: Profiles
    caller: Caller
    settings: Settings
    look_up_in: LookUpIn
    timing: Timing = field(default_factory=Timing)

    async def of_change(self, change: Change, handler: ProfileHandler) -> None:
        """Have Batch get what it lacks of the person whose profile changed; see `mirror`."""
        user_id = change.document.path.rpartition("/")[2]
        if not _is_same(change, handler):
            await self.mirror(user_id, change.source, handler)

    async def mirror(self, user_id: str, source: str, handler: ProfileHandler) -> None:
        """Have Batch get what it lacks of one person.

        Raises `TryAgainLater` if an app does not have it yet, or if others keep changing it.
        """
        for _ in range(MAX_READS):
            (wanted,) = await self.wanted([user_id], source, handler)
            if not wanted.changes:
                return
            if end := (await self.send([wanted], handler)).get(user_id):
                if end.state in UNFINISHED:
                    raise DeliveryUnfinished(f"attributes: {end.problems}")
                return
            await self.caller.clock.sleep(self.caller.clock.jitter())
        raise DeliveryUnfinished("other workers keep changing what is known of the person")

    async def wanted(
        self, user_ids: Sequence[str], source: str, handler: ProfileHandler
    ) -> list[Wanted]:
        """What Batch lacks of each person, as their profiles are now.

        A profile is never read before its state: an older one would then overwrite what is newer.
        Firestore reads both at one moment.
        """
        is_in_firestore = source.startswith("//firestore.")
        look_up = self.look_up_in(source)
        found = await self.profiles.read(user_ids, with_profiles=is_in_firestore)
        wanted = []
        for user_id, (entry, document) in found.items():
            if not is_in_firestore:
                document = await look_up(f"users/{user_id}")
            changes = await self._changes(entry, document, handler, look_up)
            wanted.append(Wanted(entry, changes or {}, source, is_unnamed=changes is None))
        return wanted

    async def _changes(
        self, entry: Entry, document: Document | None, handler: ProfileHandler, look_up: LookUp
    ) -> Mapping[str, Changes] | None:
        """None for a profile without a custom id."""
        if document is None and self.settings.forget_deleted_users:
            return {}  # Batch is asked to remove them instead
        try:
            profile = None if document is None else handler(document)
        except Exception as error:  # noqa: BLE001 - a retry cannot fix a handler's bug
            log("ERROR", "profile.broken", error=error)
            return {}
        if profile is not None:
            profile = await self._theirs(entry.user_id, profile, look_up)
            if not profile.custom_ids:
                return None
        return entry.mirrored.changes(profile, tuple(self.settings.batch_apps))

    async def _theirs(self, user_id: str, profile: Profile, look_up: LookUp) -> Profile:
        """The profile without ids of other users: anyone can write any id into their own."""
        others = set(profile.custom_ids) - {user_id}
        taken = await profiles_of(look_up, others) if others else {}
        if taken:
            log("WARNING", "profile.batch_ids", data={"people": len(taken)})
        theirs = tuple(each for each in profile.custom_ids if each not in taken)
        return replace(profile, custom_ids=theirs)

    # Sending

    async def send(self, wanted: Sequence[Wanted], handler: ProfileHandler) -> dict[str, Mirrored]:
        """Claim, send and record what is wanted.

        Returns the state of those whom we claimed and whose profiles had not changed by then.
        """
        claims = await asyncio.gather(*map(self._claim, wanted))
        claimed = await self._unchanged([each for each in claims if each], handler)
        begun = min((each.entry.mirrored.updated_at for each in claimed.values()), default=None)
        if begun is None:
            return {}
        stop = self.timing.last_start(self.timing.lease_until(begun))
        apps = sorted({app for each in claimed.values() for app in each.changes})
        answers = await asyncio.gather(
            *(self._of_app(app, claimed, stop) for app in apps), return_exceptions=True
        )
        replies: dict[str, Mapping[str, tuple[Outcome, Reply]]] = {}
        for app, answer in zip(apps, answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            replies[app] = answer
        ends = await asyncio.gather(*(self._record(each, replies) for each in claimed.values()))
        return {end.user_id: end.mirrored for end in ends if end}

    async def _claim(self, wanted: Wanted) -> Claimed | None:
        """None if somebody else claimed it."""
        now, entry = self._now(), wanted.entry
        if entry.mirrored.has_lease(now):
            return None
        claimed = entry.mirrored.claimed(
            wanted.changes,
            source=wanted.source,
            now=now,
            lease_until=self.timing.lease_until(now),
        )
        try:
            stored = await self.profiles.write(entry, claimed)
        except WriteConflict:
            return None
        return Claimed(stored, entry.mirrored, wanted.changes)

    async def _unchanged(
        self, claims: Sequence[Claimed], handler: ProfileHandler
    ) -> dict[str, Claimed]:
        """Those of whom the same is wanted still; the claims of the others are undone."""
        claimed = {each.entry.user_id: each for each in claims}
        if not claimed:
            return {}
        for now in await self.wanted([*claimed], claims[0].entry.mirrored.source, handler):
            user_id = now.entry.user_id
            if fingerprint(now.changes) != fingerprint(claimed[user_id].changes):
                await self._undo(claimed.pop(user_id))
        return claimed

    async def _undo(self, claimed: Claimed) -> None:
        """Store the state as it was before the claim, if nobody has resumed it since."""
        entry, before = claimed.entry, claimed.before
        with suppress(WriteConflict):
            if before.revision:
                revision = entry.mirrored.revision + 1
                await self.profiles.write(entry, replace(before, revision=revision))
            else:
                await self.profiles.forget(entry)

    async def _of_app(
        self, app: str, claimed: Mapping[str, Claimed], stop: datetime
    ) -> dict[str, tuple[Outcome, Reply]]:
        """The reply about each person of whom the app lacks something; a request is about many."""
        of_people = {
            user_id: each.changes[app] for user_id, each in claimed.items() if app in each.changes
        }
        parts = await asyncio.gather(*(self._call(app, some, stop) for some in bodies(of_people)))
        return {user_id: reply for part in parts for user_id, reply in part.items()}

    async def _call(
        self, app: str, of_people: Mapping[str, Changes], stop: datetime
    ) -> dict[str, tuple[Outcome, Reply]]:
        """One request. If Batch refuses several people at once, each half is asked for alone.

        So what Batch refuses of one person keeps nobody else's from it. What it refuses of the app
        or of the route, it would refuse of each half.
        """
        outcome, reply = await self.caller.call(app, request_for(of_people.values()), stop)
        is_about_people = outcome is Outcome.REFUSED and reply.status not in NOT_OF_PEOPLE
        if is_about_people and len(of_people) > 1:
            people = list(of_people.items())
            halves = people[: len(people) // 2], people[len(people) // 2 :]
            parts = [await self._call(app, dict(half), stop) for half in halves]
            return parts[0] | parts[1]
        return dict.fromkeys(of_people, (outcome, reply))

    async def _record(
        self, claimed: Claimed, replies: Mapping[str, Mapping[str, tuple[Outcome, Reply]]]
    ) -> Entry | None:
        """None if the lease expired and somebody else resumed it."""
        user_id = claimed.entry.user_id
        own = {app: replies[app][user_id] for app in claimed.changes}
        after = claimed.entry.mirrored.after(
            claimed.changes, own, before=claimed.before, now=self._now()
        )
        _log_end(after, claimed.changes)
        try:
            entry = await self.profiles.write(claimed.entry, after)
        except WriteConflict:
            return None
        if after.is_empty and after.state not in UNFINISHED:
            with suppress(WriteConflict):
                await self.profiles.forget(entry)
        return entry

    # People whom the platform has given up on

    async def sweep(self, handler: ProfileHandler) -> None:
        """Resume those whose lease has expired or whose redelivery never came."""
        stop = self._now() + SWEEP_FOR
        await sweep_each(
            await some_of(self.profiles.unfinished(), self._is_abandoned, MAX_SWEPT),
            lambda entry: self.mirror(entry.user_id, entry.mirrored.source, handler),
            clock=self.caller.clock,
            stop=stop,
            document=lambda entry: f"users/{entry.user_id}",
        )

    def _is_abandoned(self, entry: Entry) -> bool:
        mirrored, now = entry.mirrored, self._now()
        if not mirrored.source:
            return False  # it is unreadable: the person's next write repairs it
        if mirrored.state is ProfileState.CLAIMED:
            return not mirrored.has_lease(now)
        since = now - mirrored.updated_at
        return since >= timedelta(seconds=self.timing.redelivery) or since < -SKEW

    def _now(self) -> datetime:
        return self.caller.clock.now()


def _is_same(change: Change, handler: ProfileHandler) -> bool:
    """Whether Batch need not know of the change. By fingerprints: for Python, `1 == True`."""
    with suppress(Exception):  # `wanted` says what is wrong with a handler
        if change.before is not None and change.after is not None:
            before, after = handler(change.before), handler(change.after)
            return fingerprint(vars(before)) == fingerprint(vars(after))
    return False


def _log_end(after: Mirrored, changes: Mapping[str, Changes]) -> None:
    severity = {ProfileState.RETRY: "WARNING", ProfileState.REFUSED: "ERROR"}
    counted = {app: sum(map(len, of_app.values())) for app, of_app in changes.items()}
    data = {"attributes": counted, "problems": after.problems}
    log(severity.get(after.state, "DEBUG"), f"profile.{after.state.name.lower()}", data=data)
