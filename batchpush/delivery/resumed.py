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

    def still_waits_for(self) -> dict[str, list[str]]:
        """The recipients, as lists of ids, without users who have read of everything."""
        lists = self.entry.record.waits_for
        if self.late is None or not self.late.read_by:
            return lists
        readers = [self.late.read_by.get(each.path, frozenset()) for each in self.documents]
        done = frozenset.intersection(*readers)
        custom_ids = [each for each in lists.get("custom_ids", ()) if each not in done]
        return lists | {"custom_ids": custom_ids}
