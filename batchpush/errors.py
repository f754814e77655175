"""What can go wrong, as one tree.

    ConfigurationError        the deployer's mistake; raised at import, never retried
    BatchpushError
    ├── InvalidDocument       a document that no push can be made from
    ├── InvalidPush           a push or a campaign that Batch would refuse
    ├── MalformedEvent        a request that is not the CloudEvent of a database write
    ├── LedgerRefused         Firestore will never store what it was given
    ├── FirestoreRefused      a write or a read that Firestore will never take (in firestore.py)
    └── TryAgainLater         nothing is wrong with the event; it is to be redelivered
        ├── LookUpFailed          another document could not be read
        ├── LedgerUnavailable     the delivery record could not be read or written
        │   └── UnreadableRecord      a newer version wrote it, or nobody who knows its form
        ├── TasksUnavailable      Cloud Tasks did not accept a task
        ├── RestKeyUnavailable    there is no key to call Batch with
        ├── EventTurnedAway       nothing is recorded: only a redelivery can send the push
        └── DeliveryUnfinished    it is on record: a redelivery or the sweep finishes it

Everything but `TryAgainLater` is final: the same event would fail in the same way again.
None of these ever holds the REST key.
"""


class ConfigurationError(Exception):
    """A setting is missing or wrong; the message is one line that names it."""


class BatchpushError(Exception):
    """Base of all that can go wrong with one event."""


class InvalidDocument(BatchpushError):
    """A document's field is not what a push needs.

    `document` is the path of the document, `field` the name of the field (None where the
    whole document is meant).
    """

    def __init__(self, document: str, field: str | None, problem: str) -> None:
        self.document, self.field, self.problem = document, field, problem
        super().__init__(f"{document}: {field} {problem}" if field else f"{document}: {problem}")


class InvalidPush(BatchpushError):
    """A field of a push or a campaign is not what Batch accepts; `field` is Batch's name for it."""

    def __init__(self, field: str, problem: str) -> None:
        self.field, self.problem = field, problem
        super().__init__(f"{field} {problem}")


class MalformedEvent(BatchpushError):
    """The request is not the CloudEvent of a database write."""


class TryAgainLater(BatchpushError):
    """The event could not be handled now; an error for an answer has it redelivered."""


class LedgerRefused(BatchpushError):
    """Firestore will never store what it was given: it is too large, or no valid document."""


class LookUpFailed(TryAgainLater):
    """A document that the push depends on could not be read."""


class LedgerUnavailable(TryAgainLater):
    """Firestore did not read or write the delivery record."""


class UnreadableRecord(LedgerUnavailable):
    """A stored record has a form that this version does not know."""


class TasksUnavailable(TryAgainLater):
    """Cloud Tasks did not accept a task."""


class RestKeyUnavailable(TryAgainLater):
    """Secret Manager did not give the REST key, and none is in the cache."""


class EventTurnedAway(TryAgainLater):
    """What is left to do is not on record: it is lost unless the event is redelivered."""


class DeliveryUnfinished(TryAgainLater):
    """The delivery is on record and not settled: a redelivery or the sweep finishes it."""
