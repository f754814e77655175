"""Documents that one owner at a time may change: a delivery's record, a campaign's state.

There are no transactions: a create has one winner, and so has an update that names the version it
was made from (`Firestore.replace`). Whose write is stored, the document says itself: a write that
was repeated because its answer was lost, and is told that it came second, is known as our own.
"""

from typing import Protocol


class Leased(Protocol):
    """`owner` is the claimant's nonce; `revision` grows with every write."""

    @property
    def owner(self) -> str: ...

    @property
    def revision(self) -> int: ...


def is_own_write(found: Leased, written: Leased) -> bool:
    """Whether what is stored is what we wrote, and lost the answer to."""
    return (found.owner, found.revision) == (written.owner, written.revision)
