"""The receipts in Firestore: `batch_receipts/{hash of the user id}`.

They need no transactions: see `batchpush.google.leased`.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from batchpush.google import leased
from batchpush.google.firestore import (
    IN,
    Firestore,
    Query,
    Stored,
    Version,
    translated,
)
from batchpush.leaving.receipt import Receipt, ReceiptState, Removal, RemovalState, receipt_id
from batchpush.logs import log

RECEIPTS = "batch_receipts"
PAGE = 100


@dataclass(frozen=True)
class Entry:
    """A receipt as stored."""

    id: str
    receipt: Receipt
    version: Version | None = None


class Receipts:
    """Reads and writes receipts. Raises `LedgerUnavailable` if Firestore fails."""

    def __init__(self, client: Callable[[], Firestore]) -> None:
        """`client` returns the database; it is called on first use, in the worker."""
        self._client = client

    async def of_user(self, user_id: str) -> Entry | None:
        return await self.read(receipt_id(user_id))

    async def read(self, id_: str) -> Entry | None:
        path = f"{RECEIPTS}/{id_}"
        with translated():
            stored = (await self._client().read(path)).get(path)
        return _entry(stored) if stored else None

    async def write(self, entry: Entry, receipt: Receipt) -> Entry:
        """Replace the stored receipt; raises `WriteConflict` if somebody else wrote it first."""
        path = f"{RECEIPTS}/{entry.id}"
        version = await leased.write(self._client(), path, _to_document(receipt), entry.version)
        return Entry(entry.id, receipt, version)

    async def all(self, states: Collection[ReceiptState]) -> AsyncIterator[Entry]:
        """Every readable receipt in one of the states, by id."""
        where = [("state", IN, sorted(each.value for each in states))]
        query = Query(RECEIPTS, where, limit=PAGE, fields=())
        with translated():
            async for page in self._client().pages(query):
                for stored in page:
                    if entry := _entry(stored):
                        yield entry


def _entry(stored: Stored) -> Entry | None:
    """None for a receipt that this version cannot read, which it leaves alone."""
    try:
        return Entry(stored.id, _of_document(stored.fields), stored.version)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        log("ERROR", "receipt.unreadable", error=error, data={"receipt": stored.path})
        return None


def _to_document(receipt: Receipt) -> dict[str, Any]:
    removals = [vars(each) | {"state": each.state.value} for each in receipt.removals]
    return vars(receipt) | {"state": receipt.state.value, "removals": removals}


def _of_document(document: Mapping[str, Any]) -> Receipt:
    removals = tuple(
        Removal(**each | {"state": RemovalState(each["state"])}) for each in document["removals"]
    )
    return Receipt(
        state=ReceiptState(document["state"]),
        left_at=document["left_at"],
        source=str(document.get("source", "")),
        removals=removals,
        ids=tuple(document["ids"]),
        records_erased_at=document["records_erased_at"],
        updated_at=document["updated_at"],
        lease_until=document["lease_until"],
        revision=int(document["revision"]),
    )
