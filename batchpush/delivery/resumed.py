"""`ResumedChange`: what waited, as it comes back."""

from dataclasses import dataclass

from batchpush.delivery.ledger import Entry
from batchpush.delivery.waiting import StoredBurst
from batchpush.events.change import Change


@dataclass(frozen=True, kw_only=True)
class ResumedChange(Change):
    """A change whose push waited, with what the ledger holds of it.

    `entry` is the record that waits; `burst` is the burst that it belongs to, if it does.
    """

    entry: Entry
    burst: StoredBurst | None
