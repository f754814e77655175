"""The delivery record in Firestore: claimed by a create, changed under a fence.

Two writes and no read when all goes well, and no transactions: `create()` has one winner, and so
has an update that names the version it was made from.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

from batchpush.errors import LedgerUnavailable
from batchpush.record import CallRecord, CallState, Record, State

TIMEOUT = 10.0  # seconds for one operation, the client's own retries included
INLINE = 920_000  # bytes of bodies in one record; Firestore takes 1 MiB per document
COMMIT = 3_000_000  # bytes of records in one commit; the emulator takes 4 MiB, Firestore 10
CHUNKS = "batch_delivery_chunks"  # the subcollection of a large audience's records


CHANGING = frozenset(  # the fields that a later revision may change
    {
        "best_before",
        "calls",
        "lease_until",
        "owner",
        "reason",
        "revision",
        "state",
        "updated_at",
    }
)


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

    async def claim(self, record: Record) -> Entry:
        """Create the record, or return the one that is there already.

        The entry is ours if its owner is: also when the client repeated a create whose answer
        it had lost.
        """
        batch = self._client().batch()
        batch.create(self._reference(record.id), _to_document(record))
        self._report(batch, record)
        try:
            results = await self._commit(batch)
        except Outrun:
            found = await self.read(record.id)
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

    async def change(self, entry: Entry, record: Record) -> Entry:
        """Write a later revision of the entry's record; raises `Outrun` if it was changed since."""
        client = self._client()
        batch = client.batch()
        document = {name: value for name, value in _to_document(record).items() if name in CHANGING}
        option = client.write_option(last_update_time=entry.version)
        batch.update(self._reference(record.id), document, option=option)
        self._report(batch, record)
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
        batch.update(self._reference(record.id), _to_document(record), option=option)
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


# As a document. Only `state` is indexed: see firestore.indexes.json.


def _to_document(record: Record) -> dict[str, Any]:
    document = {each.name: getattr(record, each.name) for each in fields(record)}
    del document["id"]
    document["state"] = record.state.value
    document["bodies"], document["chunks"] = list(record.bodies), list(record.chunks)
    document["calls"] = [
        {each.name: getattr(call, each.name) for each in fields(call)} | {"state": call.state.value}
        for call in record.calls
    ]
    return document


def _from_document(record_id: str, document: dict[str, Any]) -> Record:
    known = {each.name for each in fields(Record)}
    values = {name: value for name, value in document.items() if name in known}
    values["state"] = State(values["state"])
    values["bodies"], values["chunks"] = tuple(values["bodies"]), tuple(values["chunks"])
    values["calls"] = tuple(
        CallRecord(**call | {"state": CallState(call["state"])}) for call in values["calls"]
    )
    return Record(id=record_id, **values)
