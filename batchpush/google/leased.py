"""Documents that only one owner at a time may change: a delivery's record, a campaign's state.

There are no transactions. A create has one winner, and so does an update that names the version it
is based on (`Firestore.replace`). If the answer to a write is lost, its retry gets a write
conflict; the document then shows whether the stored write is ours: a record by its owner and
revision, a state by its owner alone, which each write sets to a new one.
"""

import secrets
from collections.abc import Mapping
from typing import Any, Protocol

from batchpush.google.firestore import Firestore, Version, WriteConflict, translated


class Leased(Protocol):
    """A delivery's record: `owner` is the nonce of its claim, and `revision` counts its writes."""

    @property
    def owner(self) -> str: ...

    @property
    def revision(self) -> int: ...


def is_own_write(found: Leased, written: Leased) -> bool:
    """Whether `found` is the write whose answer we lost."""
    return (found.owner, found.revision) == (written.owner, written.revision)


async def write(
    client: Firestore, path: str, fields: Mapping[str, Any], version: Version | None
) -> Version:
    """Replace a stored state, or create it without a version; returns its new version.

    Raises `WriteConflict` if somebody else wrote it first, `LedgerUnavailable` if Firestore fails.
    """
    owner = secrets.token_hex(8)
    with translated():
        try:
            replaced = client.replace(path, {**fields, "owner": owner}, version)
            (result,) = await client.commit([replaced])
        except WriteConflict:
            found = (await client.read(path)).get(path)
            if found is None or found.fields.get("owner") != owner:
                raise
            return found.version
    return result.update_time
