"""The errors, as one tree.

    ConfigurationError        the deployer's mistake; raised at import, never retried
    HandlerFailed             a handler's stream of recipients raised an error
    BatchpushError
    ├── InvalidDocument       no push can be made from a document
    ├── InvalidPush           Batch would refuse a push or a campaign
    ├── MalformedEvent        a request is not the CloudEvent of a database write
    ├── LedgerRefused         Firestore will never store a record
    ├── FirestoreRefused      Firestore will never accept a read or a write (in firestore.py)
    └── TryAgainLater         the event is valid and must be redelivered
        ├── LookUpFailed          another document could not be read
        ├── LedgerUnavailable     the delivery record could not be read or written
        │   └── UnreadableRecord      its format is newer or unknown
        ├── TasksUnavailable      Cloud Tasks did not accept a task
        ├── RestKeyUnavailable    there is no key to call Batch with
        ├── EventTurnedAway       nothing is recorded: only a redelivery can send the push
        └── DeliveryUnfinished    it is recorded: a redelivery or the sweep finishes it

Everything but `TryAgainLater` is final: the same event would fail the same way again.
None of these ever holds the REST key.
"""


class ConfigurationError(Exception):
    """A setting is missing or invalid; the message is one line that names it."""


class HandlerFailed(Exception):
    """A handler's stream of recipients raised this error."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__(f"{type(error).__name__}: {error}")


class BatchpushError(Exception):
    """Base of the errors of one event."""


class InvalidDocument(BatchpushError):
    """A document, or one of its fields, cannot be used for a push.

    `document` is its path; `field` is None if the problem is the whole document.
    """

    def __init__(self, document: str, field: str | None, problem: str) -> None:
        self.document, self.field, self.problem = document, field, problem
        super().__init__(f"{document}: {field} {problem}" if field else f"{document}: {problem}")


class InvalidPush(BatchpushError):
    """Batch would not accept a field of a push or a campaign; `field` is Batch's name for it."""

    def __init__(self, field: str, problem: str) -> None:
        self.field, self.problem = field, problem
        super().__init__(f"{field} {problem}")


class MalformedEvent(BatchpushError):
    """The request is not the CloudEvent of a database write."""


class TryAgainLater(BatchpushError):
    """The event cannot be handled now; answering with an error makes the platform redeliver it."""


class LedgerRefused(BatchpushError):
    """Firestore will never store the record: it is too large or not a valid document."""


class LookUpFailed(TryAgainLater):
    """A document that the push depends on could not be read."""


class LedgerUnavailable(TryAgainLater):
    """Firestore did not read or write the delivery record."""


class UnreadableRecord(LedgerUnavailable):
    """A stored record has a format that this version cannot read."""


class TasksUnavailable(TryAgainLater):
    """Cloud Tasks did not accept a task."""


class RestKeyUnavailable(TryAgainLater):
    """Secret Manager did not return the REST key, and none is cached."""


class EventTurnedAway(TryAgainLater):
    """Nothing is recorded yet: without a redelivery, the push is lost."""


class DeliveryUnfinished(TryAgainLater):
    """The delivery is recorded but not settled: a redelivery or the sweep finishes it."""
