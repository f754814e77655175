"""Has Batch forget somebody who left, and then our own records.

profile deleted ──> receipt ──> a request for each app and id ──> records ──> read back ──> DONE
                    └── at once, by the event of the deletion ──┘└── by the hourly sweep ──┘

The records are looked through once for everybody who left since: a record can name anyone.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from batchpush.batch_api.outcome import Outcome
from batchpush.batch_api.requests import Caller
from batchpush.delivery.erase import Eraser
from batchpush.delivery.erasure import Person, names
from batchpush.delivery.record import Record, why_not_callable
from batchpush.documents import EPOCH, PEOPLE, Document
from batchpush.environment import Settings
from batchpush.errors import DeliveryUnfinished
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp, profiles_of
from batchpush.google.firestore import WriteConflict
from batchpush.leaving.receipt import Receipt, ReceiptState, Removal, receipt_id
from batchpush.leaving.requests import removal_request, status_request
from batchpush.leaving.store import Entry, Receipts
from batchpush.logs import log
from batchpush.profiles.store import Profiles
from batchpush.sweeping import on_its_own, sweep_each
from batchpush.timing import Timing

CustomIds = Callable[[Document], Collection[str]]
LookUpIn = Callable[[str], LookUp]  # by the source of an event

SWEEP_FOR = timedelta(seconds=400)
FOR_EVER = timedelta(days=365)


@dataclass
class Leaver:
    """`look_up_in` reads the database that an event came from."""

    receipts: Receipts
    profiles: Profiles
    eraser: Eraser
    caller: Caller
    settings: Settings
    look_up_in: LookUpIn
    timing: Timing = field(default_factory=Timing)

    async def of_change(self, change: Change, custom_ids: CustomIds) -> None:
        """Have everything forgotten of the person whose profile was deleted.

        Does nothing if the profile is there again. Raises `TryAgainLater` if an app could not be
        asked.
        """
        user_id = change.document.path.rpartition("/")[2]
        look_up = self.look_up_in(change.source)
        if change.after is not None or await look_up(change.path) is not None:
            return
        theirs = await _of_nobody_else(look_up, set(custom_ids(change.document)) - {user_id})
        entry = await self.begin(user_id, theirs, change.time, change.source)
        await self.ask(entry)

    async def by_operator(
        self, user_id: str, ids: Collection[str], are_records_erased: bool
    ) -> None:
        """Have everything forgotten of a person whom an operator names.

        If their records are erased, they are so of these ids: others of the receipt are left.
        """
        now = self._now()
        entry = await self.ask(await self.begin(user_id, ids, now))
        is_all = set(entry.receipt.ids) <= {user_id, *ids}
        if are_records_erased and is_all and entry.receipt.records_erased_at is None:
            await self._write(entry, entry.receipt.with_records_erased(now))

    async def begin(
        self, user_id: str, ids: Collection[str], at: datetime, source: str = ""
    ) -> Entry:
        """The receipt: a new one, or the one there is, with what this leaving adds to it."""
        found = await self.receipts.of_user(user_id)
        entry = found or Entry(receipt_id(user_id), Receipt(left_at=EPOCH))
        begun = entry.receipt.begun(user_id, ids, tuple(self.settings.batch_apps), at, source)
        if begun is entry.receipt:
            return entry
        try:
            return await self.receipts.write(entry, begun)
        except WriteConflict:
            raise DeliveryUnfinished("another worker began the receipt") from None

    async def ask(self, entry: Entry) -> Entry:
        """Ask each app for what is not asked yet; raises `DeliveryUnfinished` if that fails."""
        if not entry.receipt.pending:
            return entry
        now = self._now()
        if entry.receipt.has_lease(now):
            raise DeliveryUnfinished("another worker asks Batch")
        await self._forget_attributes(entry.receipt.ids[0])
        lease_until = self.timing.lease_until(now)
        claimed = entry.receipt.claimed(now, lease_until)
        try:
            entry = await self.receipts.write(entry, claimed)
            asked = await asyncio.gather(
                *(
                    self._ask(removal, custom_id, self.timing.last_start(lease_until))
                    for removal, custom_id in entry.receipt.pending
                )
            )
            entry = await self._write(entry, entry.receipt.with_removals(asked, self._now()))
        except WriteConflict:
            raise DeliveryUnfinished("another worker resumed the receipt") from None
        if entry.receipt.pending:
            raise DeliveryUnfinished("an app could not be asked to forget a person yet")
        return entry

    async def _forget_attributes(self, user_id: str) -> None:
        """Delete what is known of their attributes; nothing is mirrored after this."""
        found, _ = (await self.profiles.read([user_id], with_profiles=False))[user_id]
        if found.version is None:
            return
        if found.mirrored.has_lease(self._now()):
            raise DeliveryUnfinished("their attributes are being sent")
        try:
            await self.profiles.forget(found)
        except WriteConflict:
            raise DeliveryUnfinished("their attributes are being sent") from None

    async def _ask(self, removal: Removal, custom_id: str, stop: datetime) -> Removal:
        if removal.app not in self.settings.batch_apps:
            return removal.refused(why_not_callable(removal.app))
        outcome, reply = await self.caller.call(removal.app, removal_request(custom_id), stop)
        return removal.asked(outcome, reply)

    async def _write(self, entry: Entry, receipt: Receipt) -> Entry:
        written = await self.receipts.write(entry, receipt)
        if receipt.state is not entry.receipt.state:
            is_done = receipt.state is ReceiptState.DONE
            errors = [f"{each.app}: {each.error}" for each in receipt.removals if each.error]
            data = {"receipt": entry.id, "problems": [] if is_done else errors}
            log("INFO" if is_done else "ERROR", f"receipt.{receipt.state.name.lower()}", data=data)
        return written

    # What has time

    async def sweep(self, lasts: timedelta = SWEEP_FOR) -> None:
        """Ask what is not asked yet, erase records, and read back where requests stand.

        Asking gets half of the time at most: a Batch that does not answer keeps no record.
        """
        now, clock = self._now(), self.caller.clock
        stop = now + lasts
        entries = [each async for each in self.receipts.all({ReceiptState.REQUESTED})]
        ids = [each.id for each in entries]
        await sweep_each(entries, self._ask_if_gone, clock=clock, stop=now + lasts / 2)
        await self._erase_records(ids, stop)
        await sweep_each(ids, self.read_back, clock=clock, stop=stop)

    async def _ask_if_gone(self, entry: Entry) -> None:
        """Ask what is not asked yet; of somebody who is back, it waits until they leave again."""
        receipt, now = entry.receipt, self._now()
        if not receipt.pending or not await self._is_back(receipt):
            await self.ask(entry)
            return
        waiting = [removal.of_who_is_back for removal, _ in receipt.pending]
        if not receipt.has_lease(now) and not set(waiting) <= set(receipt.removals):
            with suppress(WriteConflict):  # they have left again
                await self._write(entry, receipt.with_removals(waiting, now))

    async def _is_back(self, receipt: Receipt) -> bool:
        """Whether the profile is there again. An operator may name somebody who has one."""
        if not receipt.source:
            return False
        return await self.look_up_in(receipt.source)(f"{PEOPLE}/{receipt.ids[0]}") is not None

    async def read_back(self, id_: str) -> None:
        """Ask Batch where the requests of a receipt stand."""
        entry = await self.receipts.read(id_)
        if entry is None or not (asked := entry.receipt.to_read_back(self._now())):
            return
        stop = self._now() + timedelta(seconds=self.timing.budget)
        read = await asyncio.gather(*(self._read_back(each, stop) for each in asked))
        if read != asked:
            await self._write(entry, entry.receipt.with_removals(read, self._now()))

    async def _read_back(self, removal: Removal, stop: datetime) -> Removal:
        if removal.app not in self.settings.batch_apps:
            return removal.refused(why_not_callable(removal.app))
        request = status_request(removal.request_id or "")
        outcome, reply = await self.caller.call(removal.app, request, stop)
        if outcome is Outcome.ACCEPTED:
            return removal.read_back(reply.json())
        log("WARNING", "receipt.unread", app=removal.app, data={"error": reply.why()})
        return removal

    async def _erase_records(self, ids: Sequence[str], stop: datetime) -> None:
        """Erase these people from the records, in one look at all of them.

        Somebody who is back has a look of their own: what is of after their leaving stays.
        """
        gone, back = list[Entry](), list[Entry]()
        clock = self.caller.clock
        await sweep_each(ids, lambda id_: self._sort(id_, gone, back), clock=clock, stop=stop)
        for some, until in [(gone, None), *(([each], each.receipt.left_at) for each in back)]:
            if some:
                await self._erase(some, until, stop)

    async def _sort(self, id_: str, gone: list[Entry], back: list[Entry]) -> None:
        """Add a receipt whose records are to be erased to one of the lists."""
        entry = await self.receipts.read(id_)
        if entry and entry.receipt.ids and entry.receipt.records_erased_at is None:
            (back if await self._is_back(entry.receipt) else gone).append(entry)

    async def _erase(
        self, entries: Sequence[Entry], until: datetime | None, stop: datetime
    ) -> None:
        people = {each.id: _person(each.receipt) for each in entries}
        everybody = Person(
            frozenset().union(*(each.named for each in people.values())),
            frozenset().union(*(each.profile for each in people.values())),
        )
        is_cut = False

        def is_to_go_on(read: int) -> bool:
            nonlocal is_cut
            is_cut = self._now() >= stop
            return not is_cut

        left: set[str] = set()
        async for erased in self.eraser.erase(everybody, False, is_to_go_on, until):
            if erased.left:
                left |= {
                    id_
                    for id_, person in people.items()
                    if not isinstance(erased.what, Record) or names(erased.what, person)
                }
        if is_cut:
            log("ERROR", "receipts.too_many_records", data={"people": len(people)})
            return
        for entry in entries:
            if entry.id not in left:
                erased_now = entry.receipt.with_records_erased(self._now())
                await on_its_own(self._write(entry, erased_now), function="sweep")

    def _now(self) -> datetime:
        return self.caller.clock.now()


async def _of_nobody_else(look_up: LookUp, ids: set[str]) -> set[str]:
    """The ids that are no user's id, and that no profile lists: accounts may have been merged."""
    if not ids:
        return ids
    users = await profiles_of(look_up, ids)
    return ids - users.keys() - await look_up.listed(PEOPLE, "batch.custom_ids", sorted(ids))


def _person(receipt: Receipt) -> Person:
    user_id, *others = receipt.ids
    return Person.of(user_id, profile=others)
