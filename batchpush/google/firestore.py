"""A small Firestore client that speaks the protocol's own messages.

Google's client slows a cold start with its imports and wraps every message and value in objects of
its own; `make bench` measures the difference. A `Transport` carries the messages: see
`batchpush.google.connection`.
"""

import functools
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
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
    BatchWriteRequest,
    BatchWriteResponse,
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

MAX_WORDS = 300  # characters of Firestore's own message in an error

Version: TypeAlias = Timestamp  # a document's update time, to the nanosecond


class WriteConflict(Exception):
    """Somebody else wrote the document first. `document` is its path, if known."""

    def __init__(self, problem: str = "", document: str | None = None) -> None:
        self.document = document
        super().__init__(problem)


class DocumentGone(WriteConflict):
    """The document to update no longer exists."""


class FirestoreUnavailable(Exception):
    """Firestore could not carry out the request. The message names the cause."""


class FirestoreMisconfigured(FirestoreUnavailable):
    """... and cannot until an operator fixes it. The message includes the command for that."""


class FirestoreRefused(BatchpushError):
    """Firestore will never accept this request. The message says why."""


@dataclass(frozen=True)
class Stored:
    """A document as read from Firestore."""

    path: str
    fields: dict[str, Any]
    version: Version

    @property
    def id(self) -> str:
        return self.path.rpartition("/")[2]


Condition: TypeAlias = tuple[str, int, Any]  # a field, an operator below, and a value


@dataclass(frozen=True)
class Query:
    """A query for documents of one collection that meet every condition."""

    collection: str  # its path
    where: Sequence[Condition] = ()
    order_by: str = "__name__"  # a field; by default, the path
    descending: bool = False
    from_value: Any = None  # start at this value of the `order_by` field; `begins_at` needs it then
    begins_at: str | None = None  # start at the document with this id; with `everywhere`, this path
    itself: bool = True  # include the document at the start
    limit: int | None = None
    fields: Sequence[str] = ("__name__",)  # to return; all if empty
    everywhere: bool = False  # search all collections with this id, at any depth below the parent

    def after(self, last: Stored) -> "Query":
        """The same query, starting after a document that it returned."""
        return replace(
            self,
            from_value=None if self.order_by == "__name__" else last.fields[self.order_by],
            begins_at=last.path if self.everywhere else last.id,
            itself=False,
        )


DELETE_FIELD = object()  # as a value, makes an update remove the field
# Enum values of the protocol's query operators and directions.
LESS_THAN, LESS_THAN_OR_EQUAL, GREATER_THAN, GREATER_THAN_OR_EQUAL, EQUAL = 1, 2, 3, 4, 5
ARRAY_CONTAINS, IN, ARRAY_CONTAINS_ANY = 7, 8, 9
ASCENDING, DESCENDING = 1, 2
AND = 1


def is_document(path: str) -> bool:
    """Whether the path is a valid document path.

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


# Requests, and the transport that carries them

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Method(Generic[Asked, Answer]):
    """A method of the protocol and its message types. A stream has any number of answers."""

    name: str
    request: type[Asked]
    answer: type[Answer]
    is_stream: bool = True


COMMIT = Method("Commit", CommitRequest, CommitResponse, is_stream=False)
READ = Method("BatchGetDocuments", BatchGetDocumentsRequest, BatchGetDocumentsResponse)
QUERY = Method("RunQuery", RunQueryRequest, RunQueryResponse)
WRITE = Method("BatchWrite", BatchWriteRequest, BatchWriteResponse, is_stream=False)
METHODS = COMMIT, WRITE, READ, QUERY


class Transport(Protocol):
    """Carries requests to one database and returns its answers."""

    @property
    def database(self) -> str:
        """The resource name, `projects/P/databases/D`. Raises `FirestoreMisconfigured`."""

    async def ask(self, method: Method[Asked, Answer], request: Asked) -> list[Answer]:
        """Send the request and return its answers. Raises the errors listed in `Firestore`."""


class Firestore:
    """One database. Create it in the worker.

    Its operations raise `FirestoreUnavailable`, `FirestoreRefused`, or `WriteConflict` if somebody
    else wrote first. The methods that build a `Write` raise `FirestoreRefused` for values that
    Firestore cannot store.
    """

    def __init__(self, transport: Transport) -> None:
        """Never fails: missing credentials make the first operation fail."""
        self.transport = transport

    @functools.cached_property
    def _database(self) -> str:
        return self.transport.database

    # Writes: build them, then commit them together

    def create(self, path: str, fields: Mapping[str, Any]) -> Write:
        """Create a document; the commit fails if it exists."""
        return self.if_unchanged(self.put(path, fields), None)

    def put(self, path: str, fields: Mapping[str, Any]) -> Write:
        """Create or replace a document."""
        write = Write()
        try:
            write.update.name = self._name(path)
            for field, value in fields.items():
                encode(value, write.update.fields[field])
        except UNSTORABLE as error:
            raise _refused(error) from None
        return write

    def update(self, path: str, fields: Mapping[str, Any], version: Version) -> Write:
        """Update these fields if the document still has this version; see `DELETE_FIELD`."""
        kept = {field: value for field, value in fields.items() if value is not DELETE_FIELD}
        write = self.put(path, kept)
        write.update_mask.field_paths.extend(fields)
        return self.if_unchanged(write, version)

    def replace(self, path: str, fields: Mapping[str, Any], version: Version | None) -> Write:
        """Update the document if it still has this version; create it if `version` is None."""
        if version is None:
            return self.create(path, fields)
        return self.update(path, fields, version)

    def delete(self, path: str, version: Version | None = None, must_exist: bool = False) -> Write:
        """Delete the document if it exists; with a version, only if it still has that.

        The commit fails if it must exist and does not.
        """
        write = Write(delete=self._name(path))
        if must_exist:
            write.current_document.exists = True
        if version is not None:
            write.current_document.update_time.CopyFrom(version)
        return write

    def count(self, path: str, counters: Iterable[str], fields: Mapping[str, Any]) -> Write:
        """Set the fields and increment each counter; the result has the new counts."""
        write = self.put(path, fields)
        write.update_mask.field_paths.extend(fields)
        for counter in counters:
            write.update_transforms.add(field_path=counter).increment.integer_value = 1
        return write

    def if_unchanged(self, write: Write, version: Version | None) -> Write:
        """The write, failing unless the document has this version, or for None, is absent."""
        if version is None:
            write.current_document.exists = False
        else:
            write.current_document.update_time.CopyFrom(version)
        return write

    async def commit(self, writes: Iterable[Write]) -> Sequence[WriteResult]:
        """Commit all writes or none. Each result's `update_time` is the document's new version."""
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
        """Read the documents that exist, keyed by path; with `fields`, only those fields."""
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
        try:
            request = self._request(query)
        except UNSTORABLE as error:
            raise _refused(error) from None
        answers = await self.transport.ask(QUERY, request)
        return [self._stored(each.document) for each in answers if each.HasField("document")]

    async def pages(self, query: Query) -> AsyncIterator[list[Stored]]:
        """Everything that the query finds; its limit, which must be set, is the page size."""
        page = await self.find(query)
        yield page
        while len(page) == query.limit:
            query = query.after(page[-1])
            page = await self.find(query)
            yield page

    def _request(self, query: Query) -> RunQueryRequest:
        above, _, collection = query.collection.rpartition("/")
        parent = f"{self._database}/documents/{above}".rstrip("/")
        request = RunQueryRequest(parent=parent)
        asked = request.structured_query
        asked.from_.add(collection_id=collection, all_descendants=query.everywhere)
        direction = DESCENDING if query.descending else ASCENDING
        asked.order_by.add(direction=direction).field.field_path = query.order_by
        if query.where:
            asked.where.composite_filter.op = AND
        for field, operator, value in query.where:
            condition = asked.where.composite_filter.filters.add().field_filter
            condition.field.field_path, condition.op = field, operator
            encode(value, condition.value)
        if query.order_by != "__name__":
            asked.order_by.add(direction=direction).field.field_path = "__name__"
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


# What our encoder raises for a value that Firestore would refuse.
UNSTORABLE = (TypeError, ValueError, OverflowError, RecursionError, DecodeError, EncodeError)


def _refused(error: Exception) -> FirestoreRefused:
    problem = f"{type(error).__name__}: {error}"[:MAX_WORDS]
    if isinstance(error, DecodeError | EncodeError):  # protobuf's error for it
        problem = "it is nested too deeply"
    return FirestoreRefused(f"Firestore cannot store a value: {problem}")


@contextmanager
def translated() -> Iterator[None]:
    """Translate Firestore's errors into those that make the platform redeliver the event."""
    try:
        yield
    except FirestoreUnavailable as error:
        raise LedgerUnavailable(f"Firestore: {error}") from None
    except FirestoreRefused as error:
        raise LedgerRefused(f"Firestore: {error}") from None
