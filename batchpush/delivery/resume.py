"""What waited: the function that put it off is called once more, with the documents as they are."""

from dataclasses import replace

from batchpush.delivery.deliverer import Deliverer
from batchpush.delivery.ledger import Entry
from batchpush.delivery.record import Record, State
from batchpush.delivery.waiting import Joined
from batchpush.documents import Document
from batchpush.errors import (
    BatchpushError,
    DeliveryUnfinished,
    InvalidDocument,
    TryAgainLater,
)
from batchpush.events.change import Change, Late, path_params
from batchpush.events.lookup import look_up_for
from batchpush.events.triggers import WATCHED
from batchpush.google.firestore import WriteConflict
from batchpush.logs import about, log

MAX_READS = 10  # at a burst to which others add at the same time
SHORT_WAIT = 15.0  # seconds for which a task that comes early is kept rather than sent back


async def wake(made: Deliverer, delivery: str) -> None:
    for _ in range(MAX_READS):
        entry = await made.ledger.read(delivery)
        if entry is None:
            log("ERROR", "delivery.missing", data={"delivery": delivery})
            return
        record = entry.record
        with about(function=record.function, event_id=record.event_id, document=record.document):
            if record.state is not State.WAITING:
                await made.resume(entry)
                return
            await _until_its_time(made, record)
            try:
                await _reclaimed(made, entry)
                return
            except WriteConflict:
                await made.sleep(made.jitter())
    raise DeliveryUnfinished("others add to its burst all the time")


async def _until_its_time(made: Deliverer, record: Record) -> None:
    assert record.not_before is not None
    seconds = (record.not_before - made.now()).total_seconds()
    if seconds > SHORT_WAIT:
        raise DeliveryUnfinished("it has to wait still")
    if seconds > 0:
        await made.sleep(seconds)


async def _reclaimed(made: Deliverer, entry: Entry) -> None:
    record = entry.record
    watched = WATCHED.get(record.function)
    burst = await made.ledger.read_burst(record.burst) if record.burst else None
    if watched is None:
        gone = f"main.py has no {record.function} any more"
        await made.end(entry, _woken(made, record).ended(State.REFUSED, gone), burst)
        return
    if made.now() >= record.best_before:
        await made.end(entry, _woken(made, record).too_old(made.now()), burst)
        return
    change = Change(
        id=record.event_id,
        source=record.source,
        path=record.document,
        params=path_params(watched.path, record.document) or {},
        before=None,
        after=None,
        time=record.event_time,
        database="database" if record.is_in_database else "firestore",
        function=record.function,
    )
    joined = burst.burst.about.get(record.id, Joined()) if burst else Joined()
    try:
        documents = await _read(change, record.document, *record.about, *joined.newest)
    except TryAgainLater:
        raise
    except BatchpushError as error:  # of a database that cannot be asked, such as none of ours
        await made.end(entry, _woken(made, record).ended(State.REFUSED, str(error)), burst)
        return
    late = Late(documents, entry, burst, record.omitted + joined.omitted)
    await watched.function(replace(change, after=documents[-1] if documents else None, late=late))


def _woken(made: Deliverer, record: Record) -> Record:
    return record.woken(record.owner, made.now())


async def _read(change: Change, *paths: str) -> tuple[Document, ...]:
    """Those of the documents that are there still, and can be read."""
    look_up, left = look_up_for(change), dict.fromkeys(paths)
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
