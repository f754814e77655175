"""Finds the ids that Batch has for a person, and removes them from everything stored.

`erasure` decides what happens to each record.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from batchpush.delivery.digests import ITEMS
from batchpush.delivery.erasure import (
    Erasure,
    Person,
    burst_without,
    is_item_of,
    names,
    profile_ids,
    strings,
    without,
)
from batchpush.delivery.history import NOTIFICATIONS, SENDER, is_user
from batchpush.delivery.ledger import BURSTS, PAGE, Entry, Found, Ledger
from batchpush.delivery.record import DeliveryState, Record
from batchpush.delivery.waiting import name_of
from batchpush.environment import Settings
from batchpush.errors import BatchpushError, LookUpFailed
from batchpush.events.lookup import DatabaseLookUp, FirestoreLookUp, LookUp, profiles_of
from batchpush.google.firestore import EQUAL, Query, Stored, WriteConflict, translated
from batchpush.timing import Clock

MEANWHILE = "it changed in the meantime: run this again"
NEWER = "a newer version wrote it and must erase it"
WAITS = "it waits, and may tell of what is newer"
BY_HAND = "pass their other ids at Batch with --batch-id"


@dataclass(frozen=True)
class Erased:
    """What was done to a record or to the document at a path, and what has to wait."""

    what: Record | str
    done: Sequence[str] = ()
    left: str | None = None


@dataclass
class Eraser:
    ledger: Ledger
    settings: Settings
    clock: Clock

    # Finding the person

    async def person_of(
        self, user_id: str, batch_ids: Collection[str], tell: Callable[[str], None]
    ) -> Person:
        """The person, with every id in their profiles and in `batch_ids`.

        `tell` receives hints about ids that the operator may have to add. Raises `LookUpFailed`.
        """
        of_profiles: set[str] = set()
        is_found = False
        for place, look_up in await self._databases():
            try:
                profiles = await profiles_of(look_up, [user_id])
                if not profiles:
                    continue
                is_found = True
                ids = profile_ids(profiles[user_id]) - {user_id, *batch_ids}
                taken = await profiles_of(look_up, ids)
            except BatchpushError as error:
                if batch_ids:
                    continue
                problem = f"users/{user_id} of {place} cannot be read ({error}): {BY_HAND}"
                raise LookUpFailed(problem) from None
            of_profiles |= ids - taken.keys()
            for each in taken:
                whose = f"users/{user_id} names {each}, who is another user"
                tell(f"{whose}; if they are the same person, add --batch-id {each}")
        if not is_found and not batch_ids:
            tell(f"there is no users/{user_id}: {BY_HAND}")
        return Person.of(user_id, *batch_ids, profile=of_profiles)

    async def _databases(self) -> list[tuple[str, LookUp]]:
        """The databases that may hold a profile: Firestore, and those that records came from."""
        firestore = FirestoreLookUp(self.ledger.firestore)
        found: list[tuple[str, LookUp]] = [("Firestore", firestore)]
        if "database" in self.settings.sources:
            for source in sorted(await self.ledger.sources()):
                if source.startswith("//firebasedatabase."):
                    found.append((source.rpartition("/")[2], DatabaseLookUp(source)))
        return found

    # Erasing

    async def erase(
        self,
        person: Person,
        dry_run: bool,
        is_to_go_on: Callable[[int], bool] = lambda read: True,
        until: datetime | None = None,
    ) -> AsyncIterator[Erased]:
        """Remove the person from everything that names them; a dry run only reports.

        `is_to_go_on` is asked with the number of records read so far, before anything is changed.
        What is newer than `until` stays; so do bursts then, which have no time and end by
        themselves, and a push that waits: it tells also of what came later.
        """
        # Find everything before changing anything: a stream must not wait for its consumer.
        found: list[tuple[Ledger, str, bool]] = []
        read = 0
        async for each in self.ledger.everything():
            read += 1
            if not is_to_go_on(read):
                return
            if _names(each, person) and _is_of(each.stored, "event_time", until):
                found.append((each.ledger, each.stored.path, each.record is not None))
        for ledger, path, is_readable in found:
            entry = await ledger.read(path.rpartition("/")[2]) if is_readable else None
            if entry and until and entry.record.state is DeliveryState.WAITING:
                yield Erased(entry.record, left=WAITS)
            elif entry and names(entry.record, person):
                yield await self._of_record(ledger, entry, person, dry_run)
            elif not is_readable:
                yield Erased(path, left=NEWER)
        for item in [*await self._notifications(person, until), *await self._items(person, until)]:
            yield await self._of_item(item, dry_run)
        for burst, changes in [] if until else await self._bursts(person):
            yield await self._of_burst(burst, changes, dry_run)

    async def _of_record(
        self, ledger: Ledger, entry: Entry, person: Person, dry_run: bool
    ) -> Erased:
        erasure = without(person, entry.record, self.clock.now())
        if erasure.done and not dry_run:
            try:
                await ledger.erase(entry, erasure.record, erasure.summary)
            except WriteConflict:
                erasure = Erasure(entry.record, left=MEANWHILE)
        return Erased(entry.record if dry_run else erasure.record, erasure.done, erasure.left)

    async def _notifications(self, person: Person, until: datetime | None) -> list[Stored]:
        """Their histories, and what others' tell of them as the sender."""
        firestore, found = self.ledger.firestore, dict[str, Stored]()
        senders = Query(NOTIFICATIONS, everywhere=True, limit=PAGE, fields=("sent_at",))
        with translated():
            for user_id in filter(is_user, sorted(person.ids)):
                theirs = replace(
                    senders, collection=f"users/{user_id}/{NOTIFICATIONS}", everywhere=False
                )
                sent = replace(senders, where=[(SENDER, EQUAL, name_of("custom_ids", user_id))])
                for query in (theirs, sent):
                    async for page in firestore.pages(query):
                        found |= {each.path: each for each in page}
        return [each for each in found.values() if _is_of(each, "sent_at", until)]

    async def _items(self, person: Person, until: datetime | None) -> list[Stored]:
        """The items of their digests, and of others' digests about them."""
        items = self.ledger.all_of(ITEMS)
        theirs = [each async for each in items if is_item_of(person, each.fields)]
        return [each for each in theirs if _is_of(each, "at", until)]

    async def _bursts(self, person: Person) -> list[tuple[Stored, Mapping[str, Any]]]:
        """The bursts that name them, each with the fields that change."""
        return [
            (each, changes)
            async for each in self.ledger.all_of(BURSTS)
            if (changes := burst_without(person, each.fields))
        ]

    async def _of_item(self, item: Stored, dry_run: bool) -> Erased:
        if not dry_run:
            await self.ledger.delete(item)
        return Erased(item.path, ["deleted"])

    async def _of_burst(self, burst: Stored, changes: Mapping[str, Any], dry_run: bool) -> Erased:
        if not dry_run:
            try:
                await self.ledger.rewrite(burst, changes)
            except WriteConflict:
                return Erased(burst.path, left=MEANWHILE)
        return Erased(burst.path, [f"removed from its {' and '.join(sorted(changes))}"])


def _is_of(stored: Stored, field: str, until: datetime | None) -> bool:
    """Whether it is not newer; one without a time counts as old."""
    at = stored.fields.get(field)
    return until is None or not isinstance(at, datetime) or at <= until


def _names(found: Found, person: Person) -> bool:
    if record := found.record:
        return names(record, person)
    return any(person.is_in_words(text) for text in strings(found.stored.fields))
