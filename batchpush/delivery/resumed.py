"""`ResumedChange`: a change whose delivery resumes after a wait."""

from dataclasses import dataclass

from batchpush.delivery.ledger import Entry
from batchpush.delivery.waiting import StoredBurst
from batchpush.events.change import Change


@dataclass(frozen=True, kw_only=True)
class ResumedChange(Change):
    """A change whose push waited, with its record, and the burst that it belongs to, if any."""

    entry: Entry
    burst: StoredBurst | None
