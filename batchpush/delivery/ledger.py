"""The delivery record in Firestore: created to claim, updated with a precondition.

The normal case takes two writes, no read and no transaction: only one `create()` succeeds, and so
does only one update that names the version it started from.
"""

import functools
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta
from itertools import chain
from typing import Any

from batchpush.delivery.record import FORMAT, CallRecord, CallState, DeliveryState, Record
from batchpush.delivery.waiting import MAX_ABOUT, Burst, Joined, StoredBurst, Window
from batchpush.errors import LedgerRefused, LedgerUnavailable, UnreadableRecord
from batchpush.google.firestore import (
    DELETE_FIELD,
    IN,
    LESS_THAN,
    Firestore,
    Query,
    Stored,
    Version,
    WriteConflict,
    translated,
)
from batchpush.google.leased import is_own_write
from batchpush.google.protocol.firestore_pb2 import Write, WriteResult
from batchpush.logs import log
from batchpush.pushes.limits import Counter, Over

INLINE = 920_000  # bytes of bodies in one record; Firestore allows 1 MiB per document
COMMIT = 3_000_000  # bytes of records in one commit; the emulator allows 4 MiB, Firestore 10
PAGE = 50  # records per response, with their bodies; the largest are almost 1 MiB
SOURCES_PAGE = 1000  # records per response that holds only their source
CHUNKS = "batch_delivery_chunks"  # the subcollection with the chunks of a large audience
BURSTS = "batch_bursts"  # the collection of bursts
KEEP_BURST = timedelta(days=1)  # after its last window ends


@dataclass(frozen=True)
class Expiring:
    """A field that a sweep deletes, and the field with the last day to keep it."""

    field: str
    until: str


BODIES = Expiring("bodies", "bodies_until")
PEOPLE = Expiring("people", "people_until")


@dataclass(frozen=True)
class Entry:
    """A record as stored; `version` is its update time in Firestore.

    `counted` holds the numbers of each counter, including the claimed push.
    """

    record: Record
    version: Version
    counted: Sequence[Sequence[int]] = ()


@dataclass(frozen=True)
class Found:
    """A stored record or chunk, and the ledger that holds it."""

    ledger: "Ledger"
    stored: Stored

    @property
    def record(self) -> Record | None:
        """None if this version cannot read it."""
        try:
            return _from_document(self.stored.id, self.stored.fields)
        except UnreadableRecord:
            return None


class Ledger:
    """Raises `LedgerUnavailable` when Firestore fails, `LedgerRefused` when it always would."""

    def __init__(self, client: Callable[[], Firestore], collection: str) -> None:
        """`client` returns the database; it is called on first use, in the worker."""
        self.client = client
        self.collection = collection

    def chunks_of(self, record_id: str) -> "Ledger":
        """The ledger of a large audience's chunks, which are ordinary records."""
        return Ledger(self.client, f"{self.collection}/{record_id}/{CHUNKS}")

    async def claim(
        self,
        record: Record,
        later: Iterable[Record] = (),
        burst: StoredBurst | None = None,
        counters: Sequence[Counter] = (),
        beside: Sequence[Write] = (),
    ) -> Entry:
        """Create the record, or return the existing one.

        The claim is ours if the returned record has our owner, even if the client repeated a create
        after losing its response. The same commit creates the waiting records, counts the push,
        writes the burst and what else is `beside` the record; raises `WriteConflict` if the burst
        or a counter has changed since it was read, or if a write beside it is not possible any
        more.
        """
        writes = chain(
            map(self._create, (record, *later)),
            self._beside(record, burst),
            beside,
            map(self._count, counters),
        )
        try:
            results = await self._commit(writes)
        except WriteConflict:
            found = await self.read(record.id)
            if found is None and burst:
                raise _conflict(f"{BURSTS}/{burst.id}") from None
            if found is None and (beside or any(counter.is_read for counter in counters)):
                raise
            if found is None:
                raise LedgerUnavailable("the record existed and disappeared") from None
            return found
        counted = results[len(results) - len(counters) :]
        return Entry(record, results[0].update_time, tuple(map(_numbers, counted)))

    async def prepare(self, records: AsyncIterable[Record]) -> list[str]:
        """Write records that nothing refers to yet, in a few commits; returns their ids."""
        ids: list[str] = []
        pending: list[Write] = []
        size = 0
        async for record in records:
            write = self._put(record)
            length = write.ByteSize()
            if pending and size + length > COMMIT:
                await self._commit(pending)
                pending, size = [], 0
            pending.append(write)
            ids.append(record.id)
            size += length
        if pending:
            await self._commit(pending)
        return ids

    async def change(
        self,
        entry: Entry,
        record: Record,
        later: Iterable[Record] = (),
        burst: StoredBurst | None = None,
        beside: Iterable[Write] = (),
    ) -> Entry:
        """Write a new revision of the record; raises `WriteConflict` if it has changed since.

        `later`, `burst` and `beside` are as in `claim`; the error names the document that
        conflicted.
        """
        writes = chain(
            self._update(entry, record),
            map(self._create, later),
            self._beside(record, burst),
            beside,
        )
        try:
            results = await self._commit(writes)
        except WriteConflict:
            found = await self.read(record.id)
            if found and is_own_write(found.record, record):
                return found
            is_burst = found and burst and found.version == entry.version
            path = f"{BURSTS}/{burst.id}" if burst and is_burst else self._path(record.id)
            raise _conflict(path) from None
        return Entry(record, results[0].update_time)

    async def settle(self, entry: Entry, record: Record, beside: Sequence[Write] = ()) -> Entry:
        """Write the outcome of a delivery, without problem texts if Firestore refuses those.

        What Batch accepted must be recorded, or it would be sent again. Raises like `change`.
        """
        try:
            return await self.change(entry, record, beside=beside)
        except LedgerRefused as error:
            log("ERROR", "record.reduced", error=error)
            return await self.change(entry, record.without_problems(), beside=beside)

    async def erase(self, entry: Entry, record: Record, summary: str | None = None) -> None:
        """Write an erased revision; raises `WriteConflict` if the record has changed since.

        Writes no summary: the document's path may be what was erased. Deletes the one at `summary`.
        """
        deletes = (self.firestore.delete(each) for each in (summary,) if each)
        await self._commit(chain(self._update(entry, record), deletes))

    async def _commit(self, writes: Iterable[Write]) -> Sequence[WriteResult]:
        """The result of each write. Building a write can fail as well."""
        with translated():
            return await self.firestore.commit(list(writes))

    # The writes of one commit

    def _create(self, record: Record) -> Write:
        return self.firestore.create(self._path(record.id), to_document(record))

    def _put(self, record: Record) -> Write:
        return self.firestore.put(self._path(record.id), to_document(record))

    def _update(self, entry: Entry, record: Record) -> Iterator[Write]:
        changes = _changes(entry.record, record)
        yield self.firestore.update(self._path(record.id), changes, entry.version)

    def _beside(self, record: Record, burst: StoredBurst | None) -> Iterator[Write]:
        """The summary, to match the record; the burst, unless it has changed."""
        is_told = record.is_settled or record.state is DeliveryState.WAITING
        if record.report_to and is_told and record.is_in_firestore:
            yield self.firestore.put(record.report_to, record.summary())
        if burst is None:
            return
        path, document = f"{BURSTS}/{burst.id}", _from_burst(burst.burst)
        yield self.firestore.replace(path, document, burst.version)

    def _count(self, counter: Counter) -> Write:
        write = self.firestore.count(counter.path, counter.fields, {"expire_at": counter.end})
        return self.firestore.if_unchanged(write, counter.version) if counter.is_read else write

    # Reads

    async def read(self, record_id: str) -> Entry | None:
        """The record with its bodies; None if there is no such record."""
        stored = await self._read(self._path(record_id))
        return Entry(_from_document(stored.id, stored.fields), stored.version) if stored else None

    async def read_burst(self, burst_id: str) -> StoredBurst:
        """The burst; an empty one if none is stored yet."""
        stored = await self._read(f"{BURSTS}/{burst_id}")
        if stored is None:
            return StoredBurst(burst_id, Burst(), None)
        return StoredBurst(burst_id, _to_burst(stored.fields), stored.version)

    async def read_counters(self, counters: Sequence[Counter]) -> list[tuple[Counter, Over]]:
        """The counters in the version that was read, each with what would be over its limit."""
        fields = {field for counter in counters for field in counter.fields}
        with translated():
            found = await self.firestore.read(*(each.path for each in counters), fields=fields)
        read = []
        for counter in counters:
            stored = found.get(counter.path)
            over = counter.over(counter.after(stored.fields if stored else {}))
            version = stored.version if stored else None
            read.append((replace(counter, is_read=True, version=version), over))
        return read

    async def states(self) -> dict[str, DeliveryState]:
        """The state of every record, by id."""
        return {record_id: state for record_id, (state, _) in (await self.waits()).items()}

    async def waits(self) -> dict[str, tuple[DeliveryState, datetime | None]]:
        """The state of every record, and the end of its wait, by id."""
        found = await self._find(Query(self.collection, fields=["state", "not_before"]))
        return {
            stored.id: (_state_in(stored.id, stored.fields), stored.fields.get("not_before"))
            for stored in found
        }

    async def unsettled(self, after: str, limit: int) -> list[str]:
        """Ids of records in CLAIMED or RETRY that sort after `after`, in order."""
        where = [("state", IN, [DeliveryState.CLAIMED.value, DeliveryState.RETRY.value])]
        query = Query(self.collection, where, begins_at=after, itself=False, limit=limit)
        return [stored.id for stored in await self._find(query)]

    async def overdue(self, before: datetime) -> AsyncIterator[str]:
        """Ids of records whose wait should have ended before this time, the oldest first."""
        where = [("not_before", LESS_THAN, before)]
        query = Query(
            self.collection, where, order_by="not_before", fields=("not_before",), limit=PAGE
        )
        async for stored in self._all(query):
            yield stored.id

    async def beginning_with(self, beginning: str, limit: int) -> list[str]:
        """Ids with this prefix."""
        query = Query(self.collection, begins_at=beginning, limit=limit)
        found = [stored.id for stored in await self._find(query)]
        return [each for each in found if each.startswith(beginning)]

    async def each(self, states: Iterable[DeliveryState]) -> AsyncIterator[Record]:
        """Every readable record in one of the states, sorted by id."""
        where = [("state", IN, [state.value for state in states])]
        async for stored in self._all(Query(self.collection, where, limit=PAGE, fields=())):
            for record in _readable([stored]):
                yield record

    async def pages(self, query: Query) -> AsyncIterator[list[Record]]:
        """What the query finds, without the bodies; its limit is the page size."""
        with translated():
            async for page in self.firestore.pages(replace(query, fields=WITHOUT_BODIES)):
                yield list(_readable(page))

    async def outdated(self, expiring: "Expiring", today: date, limit: int) -> list[Stored]:
        """Records whose field should no longer be kept."""
        return await self._outdated(Query(self.collection), expiring, today, limit)

    async def outdated_chunks(self, expiring: "Expiring", today: date, limit: int) -> list[Stored]:
        """The same for chunks, below any record."""
        return await self._outdated(Query(CHUNKS, everywhere=True), expiring, today, limit)

    async def _outdated(
        self, query: Query, expiring: "Expiring", today: date, limit: int
    ) -> list[Stored]:
        where = [(expiring.until, LESS_THAN, today.isoformat())]
        return await self._find(replace(query, where=where, order_by=expiring.until, limit=limit))

    async def drop(self, expiring: "Expiring", found: Iterable[Stored]) -> None:
        """Delete the field of these records; raises `WriteConflict` if one has changed since."""
        gone = {expiring.field: DELETE_FIELD, expiring.until: DELETE_FIELD}
        await self._commit([self.firestore.update(each.path, gone, each.version) for each in found])

    async def everything(self) -> AsyncIterator[Found]:
        """Every record and every chunk, including chunks whose delivery was never claimed."""
        for query in (Query(self.collection), Query(CHUNKS, everywhere=True)):
            async for stored in self._all(replace(query, fields=(), limit=PAGE)):
                folder = stored.path.rpartition("/")[0]
                if folder.partition("/")[0] == self.collection:
                    yield Found(Ledger(self.client, folder), stored)

    async def sources(self) -> set[str]:
        """The distinct event sources of all records."""
        query = Query(self.collection, fields=("source",), limit=SOURCES_PAGE)
        return {stored.fields.get("source", "") async for stored in self._all(query)}

    def all_of(self, collection: str) -> AsyncIterator[Stored]:
        """Every document of a collection beside the records."""
        return self._all(Query(collection, fields=(), limit=PAGE))

    async def delete(self, stored: Stored) -> None:
        await self._commit([self.firestore.delete(stored.path)])

    async def rewrite(self, stored: Stored, changes: Mapping[str, Any]) -> None:
        """Write some fields; raises `WriteConflict` if the document has changed since."""
        await self._commit([self.firestore.update(stored.path, changes, stored.version)])

    async def _all(self, query: Query) -> AsyncIterator[Stored]:
        """Everything that the query finds, page by page; its limit is the page size."""
        with translated():
            async for page in self.firestore.pages(query):
                for stored in page:
                    yield stored

    async def _read(self, path: str) -> Stored | None:
        with translated():
            return (await self.firestore.read(path)).get(path)

    async def _find(self, query: Query) -> list[Stored]:
        with translated():
            return await self.firestore.find(query)

    @functools.cached_property
    def firestore(self) -> Firestore:
        return self.client()

    def _path(self, record_id: str) -> str:
        return f"{self.collection}/{record_id}"


def _conflict(path: str) -> WriteConflict:
    return WriteConflict(f"{path} was changed by another writer", path)


def _numbers(result: WriteResult) -> list[int]:
    """The new values of the counters in one write."""
    return [each.integer_value for each in result.transform_results]


# Conversion to documents. Fields with their default value are omitted: every field costs time and
# bytes. Those that queries ask for are indexed: see firestore.indexes.json.

DEFAULTS = {each.name: each.default for each in fields(Record) if each.name != "id"}
WITHOUT_BODIES = tuple(name for name in DEFAULTS if name != "bodies")
DEFAULTS_OF_CALL = {each.name: each.default for each in fields(CallRecord) if each.name != "state"}


def to_document(record: Record) -> dict[str, Any]:
    values = vars(record)
    return {
        name: STORED_AS[name](value) if name in STORED_AS else value
        for name, default in DEFAULTS.items()
        if (value := values[name]) != default
    }


def _changes(before: Record, after: Record) -> dict[str, Any]:
    """The fields that differ between two revisions, as an update."""
    was, now = vars(before), vars(after)
    return {
        name: DELETE_FIELD
        if value == default
        else STORED_AS[name](value)
        if name in STORED_AS
        else value
        for name, default in DEFAULTS.items()
        if (value := now[name]) != was[name]
    }


def _from_call(call: CallRecord) -> dict[str, Any]:
    kept = {
        name: value
        for name, default in DEFAULTS_OF_CALL.items()
        if (value := getattr(call, name)) != default
    }
    return kept | {"state": call.state.value}


# How to convert the fields that are not stored as they are.
STORED_AS: Mapping[str, Callable[[Any], Any]] = {
    "calls": lambda calls: [_from_call(call) for call in calls],
    "state": lambda state: state.value,
    "later": dict,
    "left_out": dict,
}


def _from_document(record_id: str, document: dict[str, Any]) -> Record:
    """Raises `UnreadableRecord` if a newer version wrote it, or if it is not a record."""
    if (found := document.get("format", FORMAT)) != FORMAT:
        raise UnreadableRecord(f"record {record_id} has the format {found}, not {FORMAT}")
    try:
        values = {name: value for name, value in document.items() if name in DEFAULTS}
        values["state"] = _state_in(record_id, document)
        values["later"] = tuple(values.get("later", {}).items())
        left_out = values.get("left_out", {}).items()
        values["left_out"] = tuple((reason, tuple(ids)) for reason, ids in left_out)
        for name in ("about", "bodies", "chunks", "ignored", "people"):
            values[name] = tuple(values.get(name, ()))
        values["calls"] = tuple(map(_to_call, values.get("calls", ())))
        return Record(id=record_id, **values)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise UnreadableRecord(f"record {record_id}: {type(error).__name__}") from None


def _readable(found: Iterable[Stored]) -> Iterator[Record]:
    for stored in found:
        try:
            yield _from_document(stored.id, stored.fields)
        except UnreadableRecord as error:
            log("ERROR", "record.unreadable", error=error)


def _state_in(record_id: str, document: Mapping[str, Any]) -> DeliveryState:
    try:
        return DeliveryState(document.get("state"))
    except ValueError:
        raise UnreadableRecord(f"record {record_id} has an unknown state") from None


def _to_call(call: Mapping[str, Any]) -> CallRecord:
    known = {name: value for name, value in call.items() if name in DEFAULTS_OF_CALL}
    return CallRecord(**known, state=CallState(call["state"]))


def _from_burst(burst: Burst) -> dict[str, Any]:
    document: dict[str, Any] = {
        "windows": {name: dict(vars(window)) for name, window in burst.windows.items()},
        "about": {
            delivery: {"count": joined.count, "newest": list(joined.newest), "by": list(joined.by)}
            for delivery, joined in burst.about.items()
        },
    }
    if burst.windows:
        last = max(window.until for window in burst.windows.values())
        document["expire_at"] = last + KEEP_BURST
    return document


def _to_burst(document: dict[str, Any]) -> Burst:
    windows = {name: _to_window(window) for name, window in document["windows"].items()}
    return Burst(
        windows, {delivery: _to_joined(each) for delivery, each in document["about"].items()}
    )


def _to_window(stored: Mapping[str, Any]) -> Window:
    """A later version may have stored more."""
    return Window(stored["until"], stored.get("delivery"))


def _to_joined(stored: Any) -> Joined:
    """The first version stored a list of all paths."""
    if isinstance(stored, list):
        return Joined(len(stored), tuple(stored)).with_newest(MAX_ABOUT)
    return Joined(stored["count"], tuple(stored.get("newest", ())), tuple(stored.get("by", ())))
