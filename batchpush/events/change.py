"""`Change`: one shape for writes to Firestore and to the Realtime Database."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal, Self

from batchpush.documents import Document, is_segment
from batchpush.errors import InvalidDocument

Database = Literal["firestore", "database"]


@dataclass(frozen=True)
class Late:
    """Marks a change whose wait for quiet hours, a coalescing window or a digest is over.

    `documents` are the documents that the push is about, as they are now, the newest last. Deleted
    ones are left out. `omitted` counts older ones left out because there are too many to read.
    `reader` is the user whose digest is due: the push is for them only. `read_by` has the users who
    have read of a document in their notification history, by its path. `since` is the end of the
    wait, from which the push ages.
    """

    documents: tuple[Document, ...]
    omitted: int = 0
    reader: str | None = None
    read_by: Mapping[str, frozenset[str]] = field(default_factory=dict)
    since: datetime | None = None


@dataclass(frozen=True)
class Change:
    """One write to one document.

    `id` and `source` are the CloudEvent's: together they identify the event across redeliveries.
    `function` is the deployed function that was called. `path` is the document's, without the
    database's name; `params` are the values of the `{...}` in the watched path. `before` is None
    for a create, `after` for a delete. Firestore timestamps are aware datetimes and references are
    paths (`Reference`); a reference into another database keeps its full name.

    A change whose push had to wait is handled again with `late` set: then `before` is None, and
    `after` is the newest of the documents as they are now.
    """

    id: str
    source: str
    path: str
    params: Mapping[str, str]
    before: Document | None
    after: Document | None
    time: datetime
    database: Database
    function: str
    misshapen: str | None = None
    late: Late | None = None

    @property
    def delivery_id(self) -> str:
        """The id of the delivery record."""
        return delivery_id(self.function, self.source, self.id)

    @property
    def documents(self) -> tuple[Document, ...]:
        """What the push is about: one document, or all that waited together."""
        return self.late.documents if self.late else (self.document,)

    def without(self, path: str) -> Self | None:
        """A late change without the document at the path; None if no document is left."""
        if self.late is None:
            return None
        rest = tuple(each for each in self.late.documents if each.path != path)
        if not rest or len(rest) == len(self.late.documents):
            return None
        return replace(self, after=rest[-1], late=replace(self.late, documents=rest))

    @property
    def document(self) -> Document:
        """The document after the write, or before it if it was deleted.

        Raises `InvalidDocument` for a Realtime Database value that is not a map of fields, in which
        case `before` and `after` are None, and for a path with an id that cannot be requested.
        """
        document = self.after if self.after is not None else self.before
        if self.misshapen or document is None:
            problem = self.misshapen or "was empty before and after the write"
            raise InvalidDocument(self.path, None, problem)
        for name, value in self.params.items():
            if not is_segment(value):
                raise InvalidDocument(self.path, name, "is not a document id")
        return document

    def became(self, is_so: Callable[[Document], bool]) -> bool:
        """Whether `is_so` holds after the write and did not hold before it; a create counts.

        If `is_so` cannot read the document as it was before, it did not hold. For a late change,
        whether it still holds.
        """
        if self.document is not self.after or not is_so(self.after):
            return False
        try:
            return self.before is None or not is_so(self.before)
        except InvalidDocument:
            return True


def delivery_id(function: str, source: str, event_id: str) -> str:
    """The id of the record. Two functions that watch one document get separate records."""
    return hashlib.sha256("\n".join((function, source, event_id)).encode()).hexdigest()


def path_params(pattern: str, path: str) -> dict[str, str] | None:
    """The values of the pattern's `{...}` in a path; None if the path does not match."""
    names, values = pattern.split("/"), path.split("/")
    if len(names) != len(values):
        return None
    params: dict[str, str] = {}
    for name, value in zip(names, values, strict=True):
        if name.startswith("{"):
            params[name.strip("{}")] = value
        elif name != value:
            return None
    return params
