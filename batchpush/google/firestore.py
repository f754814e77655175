"""Firestore: the few calls that a delivery needs, in the messages of its own protocol.

Google's client takes long to import in a cold start, and wraps every message and every value of it
in objects of its own; `make bench` shows the difference. What carries the messages is a
`Transport`: to Firestore that is `batchpush.google.connection`.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from google.protobuf.message import DecodeError, EncodeError
from google.protobuf.timestamp_pb2 import Timestamp

from batchpush.documents import MAX_ID_BYTES
from batchpush.errors import BatchpushError, LedgerRefused, LedgerUnavailable
from batchpush.google.protocol.firestore_pb2 import (
    BatchGetDocumentsRequest,
    BatchGetDocumentsResponse,
    CommitRequest,
    CommitResponse,
    Document,
    DocumentMask,
    RunQueryRequest,
    RunQueryResponse,
    Write,
    WriteResult,
)
from batchpush.google.values import encode, plain
from batchpush.sealed import leaving

MAX_WORDS = 300  # characters of Firestore's own words in an error

Version: TypeAlias = Timestamp  # Firestore's update time of a document, to the nanosecond


class WriteConflict(Exception):
    """Somebody else wrote the document first; `document` is its path, where that is known."""

    def __init__(self, problem: str = "", document: str | None = None) -> None:
        self.document = document
        super().__init__(problem)


class DocumentGone(WriteConflict):
    """The document that was to be updated is not there any more."""


class FirestoreUnavailable(Exception):
    """Firestore did not do what it was asked; the message is the name of the trouble."""


class FirestoreMisconfigured(FirestoreUnavailable):
    """... and does not until an operator has fixed it; the message has the command for that."""


class FirestoreRefused(BatchpushError):
    """Firestore does not take this request, however often it is sent; the message says why."""


@dataclass(frozen=True)
class Stored:
    """A document as it was read."""

    path: str
    fields: dict[str, Any]
    version: Version

    @property
    def id(self) -> str:
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Query:
    """Documents of a collection, in the order of their ids unless `order_by` names a field.

    `where` is a field, one of the operators, and a value. `begins_at` is the id of the first
    document, or with `itself=False` of the one before it; where a field gives the order, it goes
    with `from_value` of that field, or that value is alone. With `everywhere`, the documents are
    those of every collection of that name, below whatever document, and `begins_at` is a path.
    """

    collection: str
    where: tuple[str, int, Any] | None = None
    order_by: str = "__name__"
    from_value: Any = None
    begins_at: str | None = None
    itself: bool = True
    limit: int | None = None
    fields: Sequence[str] = ("__name__",)
    everywhere: bool = False

    def after(self, last: Stored) -> "Query":
        """The same query for what follows a document that it found."""
        return replace(
            self,
            from_value=None if self.order_by == "__name__" else last.fields[self.order_by],
            begins_at=last.path if self.everywhere else last.id,
            itself=False,
        )


DELETE_FIELD = object()  # the value of a field that an update removes
# Operators of a query, as the protocol has them.
LESS_THAN, LESS_THAN_OR_EQUAL, GREATER_THAN, GREATER_THAN_OR_EQUAL = 1, 2, 3, 4
IN, ARRAY_CONTAINS_ANY = 8, 9
ASCENDING = 1


def is_document(path: str) -> bool:
    """Whether a document may have this path; no other is ever there.

    https://firebase.google.com/docs/firestore/quotas#collections_documents_and_fields
    """
    segments = path.split("/")
    return len(segments) % 2 == 0 and all(map(_is_id, segments))


def _is_id(text: str) -> bool:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return False
    is_reserved = len(text) >= 4 and text.startswith("__") and text.endswith("__")
    return 0 < size <= MAX_ID_BYTES and text not in (".", "..") and not is_reserved


# What a database is asked, and by whom

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Method(Generic[Asked, Answer]):
    """A method of the protocol, and the messages that go and come; a stream has many answers."""

    name: str
    request: type[Asked]
    answer: type[Answer]
    is_stream: bool = True


COMMIT = Method("Commit", CommitRequest, CommitResponse, is_stream=False)
READ = Method("BatchGetDocuments", BatchGetDocumentsRequest, BatchGetDocumentsResponse)
QUERY = Method("RunQuery", RunQueryRequest, RunQueryResponse)
METHODS = COMMIT, READ, QUERY


class Transport(Protocol):
    """Carries requests to one database, and brings its answers."""

    @property
    def database(self) -> str:
        """Its name, `projects/P/databases/D`; raises `FirestoreMisconfigured`."""

    async def ask(self, method: Method[Asked, Answer], request: Asked) -> list[Answer]:
        """The answers to a request; raises as `Firestore` says."""


class Firestore:
    """One database, made in the worker.

    Its operations raise `FirestoreUnavailable`, `FirestoreRefused`, and `WriteConflict` where a
    write came too late. What makes a write raises `FirestoreRefused` for what Firestore cannot
    store.
    """

    def __init__(self, transport: Transport) -> None:
        """Nothing fails here; the first operation does, where there are no credentials."""
        self.transport = transport

    @functools.cached_property
    def _database(self) -> str:
        return self.transport.database

    # Writes, to be committed together

    def create(self, path: str, fields: Mapping[str, Any]) -> Write:
        """A document that must not be there yet."""
        write = self.put(path, fields)
        write.current_document.exists = False
        return write

    def put(self, path: str, fields: Mapping[str, Any]) -> Write:
        """A document, whatever was there."""
        write = Write()
        try:
            write.update.name = self._name(path)
            for field, value in fields.items():
                encode(value, write.update.fields[field])
        except UNSTORABLE as error:
            raise _refused(error) from None
        return write

    def update(self, path: str, fields: Mapping[str, Any], version: Version) -> Write:
        """Some fields of a document that nobody wrote since; `DELETE_FIELD` removes a field."""
        kept = {field: value for field, value in fields.items() if value is not DELETE_FIELD}
        write = self.put(path, kept)
        write.update_mask.field_paths.extend(fields)
        write.current_document.update_time.CopyFrom(version)
        return write

    def replace(self, path: str, fields: Mapping[str, Any], version: Version | None) -> Write:
        """An update of the document that was read in this version; a new one, where none was."""
        if version is None:
            return self.create(path, fields)
        return self.update(path, fields, version)

    def delete(self, path: str) -> Write:
        """No document, whether there was one or not."""
        return Write(delete=self._name(path))

    def count(self, path: str, counters: Iterable[str], fields: Mapping[str, Any]) -> Write:
        """Some fields, and one more in each counter; the result says what they count then."""
        write = self.put(path, fields)
        write.update_mask.field_paths.extend(fields)
        for counter in counters:
            write.update_transforms.add(field_path=counter).increment.integer_value = 1
        return write

    async def commit(self, writes: Iterable[Write]) -> Sequence[WriteResult]:
        """All of them or none; each result has `update_time`, the document's version."""
        leaving("writes to Firestore")
        try:
            request = CommitRequest(database=self._database, writes=writes)
        except UNSTORABLE as error:
            raise _refused(error) from None
        (answer,) = await self.transport.ask(COMMIT, request)
        results: Sequence[WriteResult] = answer.write_results
        return results

    # Reads

    async def read(self, *paths: str, fields: Iterable[str] = ()) -> dict[str, Stored]:
        """Those of the documents that are there, by their paths; only these fields, if any."""
        if not paths:
            return {}
        try:
            request = BatchGetDocumentsRequest(
                database=self._database,
                documents=map(self._name, paths),
                mask=DocumentMask(field_paths=fields) if fields else None,
            )
        except UNSTORABLE as error:
            raise _refused(error) from None
        answers = await self.transport.ask(READ, request)
        found = [self._stored(each.found) for each in answers if each.HasField("found")]
        return {document.path: document for document in found}

    async def find(self, query: Query) -> list[Stored]:
        """The documents of a query."""
        try:
            request = self._request(query)
        except UNSTORABLE as error:
            raise _refused(error) from None
        answers = await self.transport.ask(QUERY, request)
        return [self._stored(each.document) for each in answers if each.HasField("document")]

    def _request(self, query: Query) -> RunQueryRequest:
        above, _, collection = query.collection.rpartition("/")
        parent = f"{self._database}/documents/{above}".rstrip("/")
        request = RunQueryRequest(parent=parent)
        asked = request.structured_query
        asked.from_.add(collection_id=collection, all_descendants=query.everywhere)
        asked.order_by.add(direction=ASCENDING).field.field_path = query.order_by
        if query.where:
            condition = asked.where.field_filter
            condition.field.field_path, condition.op, value = query.where
            encode(value, condition.value)
        if query.order_by != "__name__":
            asked.order_by.add(direction=ASCENDING).field.field_path = "__name__"
        if query.from_value is not None:
            encode(query.from_value, asked.start_at.values.add())
        if query.begins_at:
            first = query.begins_at if query.everywhere else f"{query.collection}/{query.begins_at}"
            asked.start_at.values.add(reference_value=self._name(first))
        if asked.start_at.values:
            asked.start_at.before = query.itself
        if query.limit:
            asked.limit.value = query.limit
        for field in query.fields:
            asked.select.fields.add(field_path=field)
        return request

    def _name(self, path: str) -> str:
        if not is_document(path):
            raise FirestoreRefused(
                f"{path[:MAX_WORDS]} is not the path of a document: an id is missing, reserved, "
                f"or longer than {MAX_ID_BYTES} bytes"
            )
        return f"{self._database}/documents/{path}"

    def _stored(self, document: Document) -> Stored:
        path = document.name.partition("/documents/")[2]
        fields = {name: plain(each, self._database) for name, each in document.fields.items()}
        return Stored(path, fields, document.update_time)


# What our own encoder cannot put into a request; Firestore would refuse it.
UNSTORABLE = (TypeError, ValueError, OverflowError, RecursionError, DecodeError, EncodeError)


def _refused(error: Exception) -> FirestoreRefused:
    problem = f"{type(error).__name__}: {error}"[:MAX_WORDS]
    if isinstance(error, DecodeError | EncodeError):  # as protobuf says it
        problem = "it is nested too deeply"
    return FirestoreRefused(f"Firestore cannot store a value: {problem}")


@contextmanager
def translated() -> Iterator[None]:
    """Trouble of Firestore, in a word that has the event come again."""
    try:
        yield
    except FirestoreUnavailable as error:
        raise LedgerUnavailable(f"Firestore: {error}") from None
    except FirestoreRefused as error:
        raise LedgerRefused(f"Firestore: {error}") from None
