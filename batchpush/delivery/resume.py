"""Resumes a delivery that waited: calls its function again, with the documents as they are now."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from batchpush.delivery.conflicts import until_written
from batchpush.delivery.history import History
from batchpush.delivery.ledger import Entry
from batchpush.delivery.record import DeliveryState, Record
from batchpush.delivery.resumed import ResumedChange
from batchpush.delivery.scheduling import resume_task
from batchpush.delivery.search import Search
from batchpush.delivery.sending import SHORT_WAIT, Sender
from batchpush.delivery.waiting import Joined, StoredBurst
from batchpush.errors import BatchpushError, DeliveryUnfinished, TryAgainLater
from batchpush.events.change import Change, Late, path_params
from batchpush.events.lookup import LookUp, still_readable
from batchpush.events.triggers import Watched
from batchpush.logs import about, log
from batchpush.timing import Clock

PAGE = 50  # waiting deliveries about one document, read at once


@dataclass
class Resumption:
    sender: Sender
    clock: Clock
    look_up_for: Callable[[Change], LookUp]
    functions: Mapping[str, Watched]
    history: History

    async def resume(self, delivery: str, planned: datetime | None = None) -> None:
        """Resume a waiting delivery; raises `TryAgainLater`.

        `planned` is when its task was to come. One that comes then and is too early schedules the
        next: the wait is too long for one task, or was extended.
        """
        resume = functools.partial(self._resume, delivery, planned)
        await until_written(resume, self.clock, "other pushes keep joining its burst")

    async def _resume(self, delivery: str, planned: datetime | None) -> None:
        entry = await self.sender.ledger.read(delivery)
        if entry is None:
            log("ERROR", "delivery.missing", data={"delivery": delivery})
            return
        named = entry.record
        with about(function=named.function, **named.in_logs):
            if named.state is not DeliveryState.WAITING:
                await self.sender.resume(entry)
            elif not planned or not await self._scheduled_again(named, planned):
                await self.sender.wait_for(named)
                await self._call_again(entry)

    async def _scheduled_again(self, record: Record, planned: datetime) -> bool:
        now, patience = self.clock.now(), timedelta(seconds=SHORT_WAIT)
        is_early = record.not_before is not None and record.not_before > now + patience
        if not is_early or planned > now + patience:
            return False
        following = resume_task(record.id, record.not_before)
        (is_made,) = await self.sender.scheduler.enqueue([following])
        if not is_made:
            raise DeliveryUnfinished("Cloud Tasks did not accept the task for a longer wait")
        return True

    async def again(self, function: str, path: str, source: str) -> None:
        """Ask the handler again for what waits to be sent about a document that has changed."""
        search = Search(states=[DeliveryState.WAITING], document=path)
        ledger = self.sender.ledger
        async for page in ledger.pages(search.query(ledger.collection, limit=PAGE)):
            for record in page:
                is_one = record.function == function and record.source == source
                if is_one and search.matches(record):
                    ask = functools.partial(self._ask_again, record.id)
                    await until_written(ask, self.clock, "other workers keep changing it")

    async def _ask_again(self, delivery: str) -> None:
        entry = await self.sender.ledger.read(delivery)
        if entry is not None and entry.record.state is DeliveryState.WAITING:
            await self._call_again(entry)

    async def _call_again(self, entry: Entry) -> None:
        record = entry.record
        watched = self.functions.get(record.function)
        burst = await self.sender.ledger.read_burst(record.burst) if record.burst else None
        resumed = record.resumed(record.owner, self.clock.now())
        if watched is None:
            gone = f"main.py has no {record.function} any more"
            await self.end(entry, resumed.ended(DeliveryState.REFUSED, gone), burst)
            return
        if self.clock.now() >= record.best_before:
            await self.end(entry, resumed.too_old(self.clock.now()), burst)
            return
        if later := await self._told_by(record):
            told = f"told by a later write of its document, in {later}"
            await self.end(entry, resumed.ended(DeliveryState.OBSOLETE, told))
            return
        change = _change(entry, burst, watched.path)
        joined = burst.burst.about.get(record.id, Joined()) if burst else Joined()
        paths = record.document, *record.about, *joined.newest
        try:
            documents = await still_readable(self.look_up_for(change), paths)
        except TryAgainLater:
            raise
        except BatchpushError as error:  # the database cannot be read, such as one that is not ours
            await self.end(entry, resumed.ended(DeliveryState.REFUSED, str(error)), burst)
            return
        read_by = await self.history.read_by(record.waits_for.get("custom_ids", ()), paths)
        omitted = record.omitted + joined.omitted
        late = Late(documents, omitted, read_by=read_by, since=resumed.since)
        newest = documents[-1] if documents else None
        await watched.function(replace(change, after=newest, late=late))

    async def _told_by(self, record: Record) -> str | None:
        """The delivery to everybody whom this one waits for, of a later write of its document.

        An audience is read when it is due: both would say the same, to the same people.
        """
        if any(record.waits_for.values()):
            return None
        states = set(DeliveryState) - {DeliveryState.REFUSED}
        search = Search(states=states, document=record.document, function=record.function)
        ledger = self.sender.ledger
        async for page in ledger.pages(search.query(ledger.collection, limit=PAGE)):
            for each in page:
                is_later = (each.event_time, each.event_id) > (record.event_time, record.event_id)
                if is_later and each.source == record.source and search.matches(each):
                    return each.id
        return None

    async def end(self, entry: Entry, record: Record, burst: StoredBurst | None = None) -> None:
        """Settle a delivery without sending anything; raises `WriteConflict`."""
        rest = burst and burst.without(record.id)
        ended = await self.sender.ledger.change(entry, record, burst=rest)
        await self.sender.finish(ended, ended.record)


def _change(entry: Entry, burst: StoredBurst | None, pattern: str) -> ResumedChange:
    record = entry.record
    return ResumedChange(
        id=record.event_id,
        source=record.source,
        path=record.document,
        params=path_params(pattern, record.document) or {},
        before=None,
        after=None,
        time=record.event_time,
        database="database" if record.is_in_database else "firestore",
        function=record.function,
        entry=entry,
        burst=burst,
    )
