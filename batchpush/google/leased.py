"""Documents that only one owner at a time may change: a delivery's record, a campaign's state.

There are no transactions. A create has one winner, and so does an update that names the version it
is based on (`Firestore.replace`). If the answer to a write is lost, its retry gets a write
conflict; the owner and revision in the document then show whether the stored write is ours.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from batchpush.google.firestore import Firestore, Version, WriteConflict, translated

OWN_WRITE = ("owner", "revision")  # the fields that only one write has


class Leased(Protocol):
    """`owner` is the nonce of the last claim; every write increments `revision`."""

    @property
    def owner(self) -> str: ...

    @property
    def revision(self) -> int: ...


def is_own_write(found: Leased, written: Leased) -> bool:
    """Whether `found` is the write whose answer we lost."""
    return all(getattr(found, name) == getattr(written, name) for name in OWN_WRITE)


async def write(
    client: Firestore, path: str, fields: Mapping[str, Any], version: Version | None
) -> Version:
    """Replace the stored document, or create it without a version; returns its new version.

    Raises `WriteConflict` if somebody else wrote it first, `LedgerUnavailable` if Firestore fails.
    """
    with translated():
        try:
            (result,) = await client.commit([client.replace(path, fields, version)])
        except WriteConflict:
            found = (await client.read(path)).get(path)
            if found is None or any(found.fields.get(name) != fields[name] for name in OWN_WRITE):
                raise
            return found.version
    return result.update_time
