"""The delivery record in Firestore: claimed by a create, changed under a fence.

Two writes and no read when all goes well, and no transactions: `create()` has one winner, and so
has an update that names the version it was made from.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from batchpush.errors import LedgerUnavailable
from batchpush.record import CallRecord, CallState, Record, State
from batchpush.waiting import Burst, StoredBurst, Window

TIMEOUT = 10.0  # seconds for one operation, the client's own retries included
INLINE = 920_000  # bytes of bodies in one record; Firestore takes 1 MiB per document
COMMIT = 3_000_000  # bytes of records in one commit; the emulator takes 4 MiB, Firestore 10
CHUNKS = "batch_delivery_chunks"  # the subcollection of a large audience's records
BURSTS = "batch_bursts"  # the collection of the bursts
KEEP_BURST = timedelta(days=1)  # after its last window has ended


class Outrun(Exception):
    """Somebody else wrote the record first."""


@dataclass(frozen=True)
class Entry:
    """A record as it is stored; `version` is Firestore's update time of it."""

    record: Record
    version: Any


class Ledger:
    """Raises `LedgerUnavailable` when Firestore does not do what it is asked."""

    def __init__(self, client: Callable[[], Any], collection: str) -> None:
        """`client` gives the `AsyncClient`; it is called on first use, in the worker."""
        self._client = client
        self._collection = collection

    def chunks_of(self, record_id: str) -> "Ledger":
        """The ledger of a large audience's chunks, which are records like others."""
        return Ledger(self._client, f"{self._collection}/{record_id}/{CHUNKS}")

    async def claim(
        self, record: Record, later: Iterable[Record] = (), burst: StoredBurst | None = None
    ) -> Entry:
        """Create the record, or return the one that is there already.

        The entry is ours if its owner is: also when the client repeated a create whose answer
        it had lost. Records that wait are created with it, and the burst becomes what it is given
        as; raises `Outrun` where that was changed since.
        """
        batch = self._client().batch()
        for each in (record, *later):
            batch.create(self._reference(each.id), _to_document(each))
        self._report(batch, record)
        self._store(batch, burst)
        try:
            results = await self._commit(batch)
        except Outrun:
            found = await self.read(record.id)
            if found is None and burst:
                raise
            if found is None:
                raise LedgerUnavailable("the record was there and is gone") from None
            return found
        return Entry(record, results[0].update_time)

    async def prepare(self, records: Iterable[Record]) -> list[str]:
        """Write records that nobody knows of yet, in a few commits; returns their ids."""
        ids: list[str] = []
        batch, size = self._client().batch(), 0
        for record in records:
            length = sum(len(body.encode()) for body in record.bodies)
            if size and size + length > COMMIT:
                await self._commit(batch)
                batch, size = self._client().batch(), 0
            batch.set(self._reference(record.id), _to_document(record))
            ids.append(record.id)
            size += length
        await self._commit(batch)
        return ids

    async def _commit(self, batch: Any) -> Any:
        return await _asked(lambda options: batch.commit(**options))

    async def change(
        self,
        entry: Entry,
        record: Record,
        later: Iterable[Record] = (),
        burst: StoredBurst | None = None,
    ) -> Entry:
        """Write a later revision of the entry's record; raises `Outrun` if it was changed since.

        `later` and `burst` are as in `claim`.
        """
        client = self._client()
        batch = client.batch()
        option = client.write_option(last_update_time=entry.version)
        batch.update(self._reference(record.id), _changes(entry.record, record), option=option)
        for each in later:
            batch.create(self._reference(each.id), _to_document(each))
        self._report(batch, record)
        self._store(batch, burst)
        try:
            results = await self._commit(batch)
        except Outrun:
            found = await self.read(record.id)
            if found is None or not _is_same(found.record, record):
                raise
            return found
        return Entry(record, results[0].update_time)

    async def read(self, record_id: str) -> Entry | None:
        """The record with its bodies."""
        snapshot = await _asked(lambda options: self._reference(record_id).get(**options))
        if not snapshot.exists:
            return None
        return Entry(_from_document(snapshot.id, snapshot.to_dict()), snapshot.update_time)

    async def states(self) -> dict[str, State]:
        """The state of every record, by id."""
        query = self._records().select(["state"])
        snapshots = await _asked(lambda options: query.get(**options))
        return {snapshot.id: State(snapshot.get("state")) for snapshot in snapshots}

    async def unsettled(self, after: str, limit: int) -> list[str]:
        """Ids of records in CLAIMED or RETRY, in the order of their ids, from `after` on."""
        query = _in_states(self._records(), (State.CLAIMED, State.RETRY)).order_by("__name__")
        return await self._ids(query.start_after({"__name__": after}).limit(limit))

    async def overdue(self, before: datetime, limit: int) -> list[str]:
        """Ids of records whose wait was to end before this time; the first ones first."""
        from google.cloud.firestore_v1.base_query import FieldFilter

        query = self._records().where(filter=FieldFilter("not_before", "<", before))
        return await self._ids(query.order_by("not_before").limit(limit))

    async def read_burst(self, burst_id: str) -> StoredBurst:
        """The burst; an empty one where there is none yet."""
        reference = self._client().collection(BURSTS).document(burst_id)
        snapshot = await _asked(lambda options: reference.get(**options))
        if not snapshot.exists:
            return StoredBurst(burst_id, Burst(), None)
        return StoredBurst(burst_id, _to_burst(snapshot.to_dict()), snapshot.update_time)

    def _store(self, batch: Any, stored: StoredBurst | None) -> None:
        """Write the burst, unless it was changed since it was read."""
        if stored is None:
            return
        client = self._client()
        reference = client.collection(BURSTS).document(stored.id)
        if stored.version is None:
            batch.create(reference, _from_burst(stored.burst))
        else:
            option = client.write_option(last_update_time=stored.version)
            batch.update(reference, _from_burst(stored.burst), option=option)

    async def beginning_with(self, beginning: str, limit: int) -> list[str]:
        """Ids that begin so."""
        query = self._records().order_by("__name__").start_at({"__name__": beginning})
        ids = await self._ids(query.limit(limit))
        return [each for each in ids if each.startswith(beginning)]

    async def each(self, states: Iterable[State]) -> AsyncIterator[Record]:
        """Every record in one of the states."""
        from google.api_core.retry import AsyncRetry

        query = _in_states(self._records(), states)
        with _translated():
            # A read of everything may take long; only to begin it must not.
            async for snapshot in query.stream(timeout=600.0, retry=AsyncRetry(timeout=TIMEOUT)):
                yield _from_document(snapshot.id, snapshot.to_dict())

    async def _ids(self, query: Any) -> list[str]:
        snapshots = await _asked(lambda options: query.select([]).get(**options))
        return [snapshot.id for snapshot in snapshots]

    def _records(self) -> Any:
        return self._client().collection(self._collection)

    def _reference(self, record_id: str) -> Any:
        return self._records().document(record_id)

    def _report(self, batch: Any, record: Record) -> None:
        """Write the summary in the same commit, so that it says what the record says."""
        if record.report_to and record.is_settled and record.is_in_firestore:
            batch.set(self._client().document(record.report_to), record.summary())

    async def erase(self, entry: Entry, record: Record) -> None:
        """Write a later revision with fewer bodies; raises `Outrun` if it was changed since.

        Nothing is reported: the path of the document may be what was erased.
        """
        client = self._client()
        batch = client.batch()
        option = client.write_option(last_update_time=entry.version)
        batch.update(self._reference(record.id), _changes(entry.record, record), option=option)
        await self._commit(batch)


async def _asked(operation: Callable[[dict[str, Any]], Awaitable[Any]]) -> Any:
    """Carry it out within `TIMEOUT`."""
    from google.api_core.retry import AsyncRetry

    with _translated():
        return await operation({"timeout": TIMEOUT, "retry": AsyncRetry(timeout=TIMEOUT)})


@contextmanager
def _translated() -> Iterator[None]:
    """That another write came first is for the caller to know; the rest is Firestore's trouble."""
    from google.api_core.exceptions import (
        AlreadyExists,
        FailedPrecondition,
        GoogleAPICallError,
        RetryError,
    )
    from google.auth.exceptions import GoogleAuthError

    try:
        yield
    except (AlreadyExists, FailedPrecondition):
        raise Outrun from None
    except RetryError as error:
        raise LedgerUnavailable(f"Firestore: {type(error.cause).__name__}") from None
    except (GoogleAPICallError, GoogleAuthError) as error:
        raise LedgerUnavailable(f"Firestore: {type(error).__name__}") from None


def _in_states(query: Any, states: Iterable[State]) -> Any:
    from google.cloud.firestore_v1.base_query import FieldFilter

    return query.where(filter=FieldFilter("state", "in", [state.value for state in states]))


def _is_same(found: Record, written: Record) -> bool:
    """Whether what is stored is our own write, of which we lost the answer."""
    return (found.owner, found.revision) == (written.owner, written.revision)


# As a document. Only `state` is indexed, and `not_before` of what waits: see
# firestore.indexes.json.

STORED = tuple(each.name for each in fields(Record) if each.name != "id")


def _to_document(record: Record) -> dict[str, Any]:
    document = {name: _stored(name, getattr(record, name)) for name in STORED}
    if record.not_before is None:
        del document["not_before"]
    return document


def _changes(before: Record, after: Record) -> dict[str, Any]:
    """The fields that a later revision has to write."""
    from google.cloud.firestore import DELETE_FIELD

    names = [name for name in STORED if getattr(before, name) != getattr(after, name)]
    changes = {name: _stored(name, getattr(after, name)) for name in names}
    if "not_before" in changes and after.not_before is None:
        changes["not_before"] = DELETE_FIELD
    return changes


def _stored(name: str, value: Any) -> Any:
    if name == "calls":
        return [
            {each.name: getattr(call, each.name) for each in fields(call)}
            | {"state": call.state.value}
            for call in value
        ]
    if name == "state":
        return value.value
    if name == "later":
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _from_document(record_id: str, document: dict[str, Any]) -> Record:
    known = {each.name for each in fields(Record)}
    values = {name: value for name, value in document.items() if name in known}
    values["state"] = State(values["state"])
    values["later"] = tuple(values.get("later", {}).items())
    for name in ("about", "bodies", "chunks"):
        values[name] = tuple(values.get(name, ()))
    values["calls"] = tuple(
        CallRecord(**call | {"state": CallState(call["state"])}) for call in values["calls"]
    )
    return Record(id=record_id, **values)


def _from_burst(burst: Burst) -> dict[str, Any]:
    document: dict[str, Any] = {
        "windows": {name: dict(vars(window)) for name, window in burst.windows.items()},
        "about": {delivery: list(paths) for delivery, paths in burst.about.items()},
    }
    if burst.windows:
        last = max(window.until for window in burst.windows.values())
        document["expire_at"] = last + KEEP_BURST
    return document


def _to_burst(document: dict[str, Any]) -> Burst:
    windows = {name: Window(**window) for name, window in document["windows"].items()}
    return Burst(windows, document["about"])
