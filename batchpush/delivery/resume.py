"""Resumes a delivery that waited: calls its function again, with the documents as they are now."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from batchpush.delivery.ledger import Entry
from batchpush.delivery.record import DeliveryState, Record
from batchpush.delivery.resumed import ResumedChange
from batchpush.delivery.sending import Sender
from batchpush.delivery.waiting import Joined, StoredBurst
from batchpush.documents import Document
from batchpush.errors import BatchpushError, DeliveryUnfinished, InvalidDocument, TryAgainLater
from batchpush.events.change import Change, Late, path_params
from batchpush.events.lookup import LookUp
from batchpush.events.triggers import Watched
from batchpush.google.firestore import WriteConflict
from batchpush.logs import about, log
from batchpush.timing import Clock

MAX_READS = 10  # of one delivery, while others join its burst at the same time
SHORT_WAIT = 15.0  # seconds; a task that is early by less waits here instead of being redelivered


@dataclass
class Resumption:
    sender: Sender
    clock: Clock
    look_up_for: Callable[[Change], LookUp]
    functions: Mapping[str, Watched]

    async def resume(self, delivery: str) -> None:
        """Resume a waiting delivery; raises `TryAgainLater`."""
        for _ in range(MAX_READS):
            entry = await self.sender.ledger.read(delivery)
            if entry is None:
                log("ERROR", "delivery.missing", data={"delivery": delivery})
                return
            named = entry.record
            with about(function=named.function, event_id=named.event_id, document=named.document):
                if named.state is not DeliveryState.WAITING:
                    await self.sender.resume(entry)
                    return
                await self._until_its_time(named)
                try:
                    await self._call_again(entry)
                    return
                except WriteConflict:
                    await self.clock.sleep(self.clock.jitter())
        raise DeliveryUnfinished("other pushes keep joining its burst")

    async def _until_its_time(self, record: Record) -> None:
        assert record.not_before is not None
        seconds = (record.not_before - self.clock.now()).total_seconds()
        if seconds > SHORT_WAIT:
            raise DeliveryUnfinished("it still has to wait")
        if seconds > 0:
            await self.clock.sleep(seconds)

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
        change = _change(entry, burst, watched.path)
        joined = burst.burst.about.get(record.id, Joined()) if burst else Joined()
        try:
            documents = await self._read(change, record.document, *record.about, *joined.newest)
        except TryAgainLater:
            raise
        except BatchpushError as error:  # the database cannot be read, such as one that is not ours
            await self.end(entry, resumed.ended(DeliveryState.REFUSED, str(error)), burst)
            return
        late = Late(documents, record.omitted + joined.omitted)
        newest = documents[-1] if documents else None
        await watched.function(replace(change, after=newest, late=late))

    async def end(self, entry: Entry, record: Record, burst: StoredBurst | None) -> None:
        """Settle a delivery without sending anything; raises `WriteConflict`."""
        rest = burst and burst.without(record.id)
        ended = await self.sender.ledger.change(entry, record, burst=rest)
        await self.sender.finish(ended, ended.record)

    async def _read(self, change: Change, *paths: str) -> tuple[Document, ...]:
        """The documents that still exist and can be read."""
        look_up, left = self.look_up_for(change), dict.fromkeys(paths)
        while True:
            try:
                found = await look_up.many(*left)
            except InvalidDocument as error:
                if error.document not in left:
                    raise
                log("ERROR", "document.dropped", error=error)
                del left[error.document]
            else:
                return tuple(document for document in found if document is not None)


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
