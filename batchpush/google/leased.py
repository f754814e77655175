"""Documents that only one owner at a time may change: a delivery's record, a campaign's state.

There are no transactions. A create has one winner, and so does an update that names the version it
is based on (`Firestore.replace`). If the answer to a write is lost, its retry gets a write
conflict; the owner and revision in the document then show whether the stored write is ours.
"""

from typing import Protocol


class Leased(Protocol):
    """`owner` is the nonce of the last claim; every write increments `revision`."""

    @property
    def owner(self) -> str: ...

    @property
    def revision(self) -> int: ...


def is_own_write(found: Leased, written: Leased) -> bool:
    """Whether `found` is the write whose answer we lost."""
    return (found.owner, found.revision) == (written.owner, written.revision)
