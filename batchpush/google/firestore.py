"""Firestore over gRPC: the few calls that a delivery needs, in the messages of its own protocol.

Google's client takes long to import in a cold start, and wraps every message and every value of it
in objects of its own; `make bench` shows the difference. What stays as it is there: a call is
repeated while the trouble may pass, and all of it ends within `TIMEOUT`.
"""

import asyncio
import functools
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any
from urllib.parse import quote

from google.events.cloud.firestore import Document as EventDocument
from google.events.cloud.firestore import Value as EventValue
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from google.protobuf.message import DecodeError, EncodeError
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import Int32Value

from batchpush.documents import EPOCH, MAX_ID_BYTES
from batchpush.environment import project_id
from batchpush.errors import BatchpushError, LedgerRefused, LedgerUnavailable
from batchpush.google.credentials import Credentials, CredentialsUnavailable, NoCredentials
from batchpush.google.values import plain
from batchpush.sealed import leaving

HOST = "firestore.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/datastore"
TIMEOUT = 10.0  # seconds for one operation, all its tries included
# Seconds of silence, while an answer is awaited, until a ping is sent; and until the connection is
# given up if the ping is not answered. Without them, a connection that something on the way has
# forgotten stays in use until TCP gives up, a quarter of an hour later. 30 s are those of Google's
# client: `_DEFAULT_CHANNEL_OPTIONS` of google-cloud-firestore. 5 s leave an operation time to be
# repeated on a new connection.
KEEPALIVE = 30.0, 5.0
MIN_PAUSE, MAX_PAUSE = 0.1, 2.0  # seconds between two tries
MAX_WORDS = 300  # characters of Firestore's own words in an error

SECOND = timedelta(seconds=1)

Version = Any  # Firestore's update time of a document, to the nanosecond


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
LESS_THAN, IN, ARRAY_CONTAINS_ANY = 1, 8, 9  # operators of a query, as the protocol has them
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


class Firestore:
    """One database, on one connection; made in the worker, used on one event loop.

    Its operations raise `FirestoreUnavailable`, `FirestoreRefused`, and `WriteConflict` where a
    write came too late. What makes a write raises `FirestoreRefused` for what Firestore cannot
    store.
    """

    def __init__(
        self,
        database: str = "(default)",
        seconds: float = TIMEOUT,
        keepalive: tuple[float, float] = KEEPALIVE,
    ) -> None:
        """Nothing fails here; the first operation does, where there are no credentials."""
        self._keepalive = keepalive
        self._id = database
        self._seconds = seconds
        self._emulator = os.environ.get("FIRESTORE_EMULATOR_HOST")
        self._credentials = None if self._emulator else Credentials(SCOPE)

    @functools.cached_property
    def _database(self) -> str:
        """Its name; the platform names the project, and for a person on a laptop ADC does."""
        try:
            project = project_id() or (self._credentials and self._credentials.project)
        except NoCredentials as error:
            raise _without_credentials(error) from None
        return f"projects/{project}/databases/{self._id}"

    # Writes, to be committed together

    def create(self, path: str, fields: Mapping[str, Any]) -> Any:
        """A document that must not be there yet."""
        write = self.put(path, fields)
        write.current_document.exists = False
        return write

    def put(self, path: str, fields: Mapping[str, Any]) -> Any:
        """A document, whatever was there."""
        write = messages()["Write"]()
        with _storable:
            write.update.name = self._name(path)
            for field, value in fields.items():
                _encode(value, write.update.fields[field])
        return write

    def update(self, path: str, fields: Mapping[str, Any], version: Version) -> Any:
        """Some fields of a document that nobody wrote since; `DELETE_FIELD` removes a field."""
        kept = {field: value for field, value in fields.items() if value is not DELETE_FIELD}
        write = self.put(path, kept)
        write.update_mask.field_paths.extend(fields)
        write.current_document.update_time.CopyFrom(version)
        return write

    def delete(self, path: str) -> Any:
        """No document, whether there was one or not."""
        return messages()["Write"](delete=self._name(path))

    def count(self, path: str, counters: Iterable[str], fields: Mapping[str, Any]) -> Any:
        """Some fields, and one more in each counter; the result says what they count then."""
        write = self.put(path, fields)
        write.update_mask.field_paths.extend(fields)
        for counter in counters:
            write.update_transforms.add(field_path=counter).increment.integer_value = 1
        return write

    async def commit(self, writes: Iterable[Any]) -> Sequence[Any]:
        """All of them or none; each result has `update_time`, the document's version."""
        leaving("writes to Firestore")
        with _storable:
            request = messages()["CommitRequest"](database=self._database, writes=writes)
        (answer,) = await self._asked("Commit", request)
        results: Sequence[Any] = answer.write_results
        return results

    # Reads

    async def read(self, *paths: str, fields: Iterable[str] = ()) -> dict[str, Stored]:
        """Those of the documents that are there, by their paths; only these fields, if any."""
        if not paths:
            return {}
        with _storable:
            request = messages()["BatchGetDocumentsRequest"](
                database=self._database,
                documents=map(self._name, paths),
                mask={"field_paths": fields} if fields else None,
            )
        answers = await self._asked("BatchGetDocuments", request)
        found = [self._stored(each.found) for each in answers if each.HasField("found")]
        return {document.path: document for document in found}

    async def find(self, query: Query) -> list[Stored]:
        """The documents of a query."""
        with _storable:
            request = self._request(query)
        answers = await self._asked("RunQuery", request)
        return [self._stored(each.document) for each in answers if each.HasField("document")]

    def _request(self, query: Query) -> Any:
        above, _, collection = query.collection.rpartition("/")
        parent = f"{self._database}/documents/{above}".rstrip("/")
        request = messages()["RunQueryRequest"](parent=parent)
        asked = request.structured_query
        asked.from_.add(collection_id=collection, all_descendants=query.everywhere)
        asked.order_by.add(direction=ASCENDING).field.field_path = query.order_by
        if query.where:
            condition = asked.where.field_filter
            condition.field.field_path, condition.op, value = query.where
            _encode(value, condition.value)
        if query.order_by != "__name__":
            asked.order_by.add(direction=ASCENDING).field.field_path = "__name__"
        if query.from_value is not None:
            _encode(query.from_value, asked.start_at.values.add())
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
            raise FirestoreRefused(f"{path[:MAX_WORDS]} is not the path of a document")
        return f"{self._database}/documents/{path}"

    def _stored(self, document: Any) -> Stored:
        path = document.name.partition("/documents/")[2]
        fields = {name: plain(each, self._database) for name, each in document.fields.items()}
        return Stored(path, fields, document.update_time)

    # The connection

    async def _asked(self, method: str, request: Any) -> list[Any]:
        """The answers; there is one, or for a read as many as there are documents."""

        async def once(seconds: float) -> list[Any]:
            metadata = [*self._routed(request), *await self._signed()]
            call = self._methods[method](request, timeout=seconds, metadata=metadata)
            return [await call] if method == "Commit" else [each async for each in call]

        def failed(error: Any) -> Exception | None:
            return self._failure(method, request, error.code().name, error.details() or "")

        answers: list[Any] = await _tried(once, self._seconds, failed)
        return answers

    def _failure(self, method: str, request: Any, code: str, details: str) -> Exception | None:
        """What is raised for a status of gRPC; None for trouble that may pass."""
        problem = problem_of(code, details)
        meaning = meaning_of(method, code, details)
        match meaning:
            case Meaning.TRANSIENT:
                return None
            case Meaning.REFUSED:
                return FirestoreRefused(problem)
            case Meaning.GONE:
                return DocumentGone(problem, _document_in_the_way(details, request))
            case Meaning.CONFLICT:
                return WriteConflict(problem, _document_in_the_way(details, request))
        _, project, _, database = self._database.split("/")
        account = self._credentials.account if self._credentials else None
        return FirestoreMisconfigured(f"{problem}. {fix_of(meaning, project, database, account)}")

    def _routed(self, request: Any) -> list[tuple[str, str]]:
        """Where it belongs: without these, Google knows of no database but the default one."""
        field = "parent" if request.DESCRIPTOR.name == "RunQueryRequest" else "database"
        routing = f"{field}={_quoted(getattr(request, field))}"
        return [
            ("google-cloud-resource-prefix", self._database),
            ("x-goog-request-params", routing),
        ]

    async def _signed(self) -> list[tuple[str, str]]:
        """Who we are."""
        if self._credentials is None:
            return [("authorization", "Bearer owner")]
        return list((await self._credentials.headers()).items())

    @functools.cached_property
    def _methods(self) -> dict[str, Any]:
        import grpc.aio

        silence, answer = (int(seconds * 1000) for seconds in self._keepalive)
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.keepalive_time_ms", silence),
            ("grpc.keepalive_timeout_ms", answer),
            ("grpc.http2.ping_timeout_ms", answer),  # else gRPC waits for a minute, as observed
        ]
        channel = (
            grpc.aio.insecure_channel(self._emulator, options)
            if self._emulator
            else grpc.aio.secure_channel(HOST, grpc.ssl_channel_credentials(), options)
        )
        kinds = messages()
        made = {
            "Commit": channel.unary_unary,
            "BatchGetDocuments": channel.unary_stream,
            "RunQuery": channel.unary_stream,
        }
        return {
            name: make(
                f"/google.firestore.v1.Firestore/{name}",
                request_serializer=kinds[f"{name}Request"].SerializeToString,
                response_deserializer=kinds[f"{name}Response"].FromString,
            )
            for name, make in made.items()
        }


@functools.lru_cache
def _quoted(name: str) -> str:
    return quote(name, safe="")


async def _tried(
    operation: Callable[[float], Awaitable[Any]],
    seconds: float,
    failed: Callable[[Any], Exception | None],
) -> Any:
    """Carry it out, again and again while the trouble may pass and there is time.

    `failed` gives what is raised for an `AioRpcError`; None if trying again may help.
    """
    import grpc

    end, pause = time.monotonic() + seconds, MIN_PAUSE
    while True:
        left = end - time.monotonic()
        try:
            async with asyncio.timeout(left):
                return await operation(left)
        except TimeoutError:
            raise FirestoreUnavailable(grpc.StatusCode.DEADLINE_EXCEEDED.name) from None
        except NoCredentials as error:
            raise _without_credentials(error) from None
        except CredentialsUnavailable as error:
            trouble = str(error)
        except grpc.aio.AioRpcError as error:
            if final := failed(error):
                raise final from None
            trouble = error.code().name
        if time.monotonic() + pause >= end:
            raise FirestoreUnavailable(trouble)
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
        pause = min(pause * 2, MAX_PAUSE)


# What went wrong: https://cloud.google.com/firestore/docs/understand-error-codes, and what to do
# about each code: https://firebase.google.com/docs/firestore/use-rest-api#error_codes


class Meaning(Enum):
    """What a status of gRPC says about the request that it answers."""

    TRANSIENT = "it may pass"
    CONFLICT = "a document is not as the write expects it"
    GONE = "a document that is to be updated is not there"
    REFUSED = "this request will never be taken"
    # What an operator can fix
    NO_PERMISSION = "the account may not use the database"
    NO_IDENTITY = "the credentials are not valid"
    NO_API = "the API is not enabled"
    NO_DATABASE = "there is no such database"
    NO_INDEX = "a query needs an index that is not there"
    DATASTORE_MODE = "the database speaks another protocol"


@dataclass(frozen=True)
class Rule:
    """A row of the table: the status, and what its words have to contain; any, where empty."""

    code: str
    words: str
    meaning: Meaning
    method: str = ""


RULES = (
    Rule("ALREADY_EXISTS", "", Meaning.CONFLICT),
    # Of a database in Datastore mode, every request is answered so.
    Rule("FAILED_PRECONDITION", "datastore", Meaning.DATASTORE_MODE),
    Rule("FAILED_PRECONDITION", "", Meaning.CONFLICT, method="Commit"),
    Rule("FAILED_PRECONDITION", "", Meaning.NO_INDEX),
    # "No document to update: projects/..."; the emulator: "no entity to update: app: ...". The
    # emulator calls it a FAILED_PRECONDITION where the write named the version.
    Rule("NOT_FOUND", "to update", Meaning.GONE),
    # "The database (default) does not exist for project ...", or no words at all.
    Rule("NOT_FOUND", "", Meaning.NO_DATABASE),
    # "Cloud Firestore API has not been used in project ... before or it is disabled."
    Rule("PERMISSION_DENIED", "or it is disabled", Meaning.NO_API),
    Rule("PERMISSION_DENIED", "", Meaning.NO_PERMISSION),
    Rule("UNAUTHENTICATED", "", Meaning.NO_IDENTITY),
    # A document or an index entry that is too large, an id or a field that is not allowed, a value
    # that cannot be nested, a commit of more than 10 MiB.
    Rule("INVALID_ARGUMENT", "", Meaning.REFUSED),
    Rule("OUT_OF_RANGE", "", Meaning.REFUSED),
    # gRPC's own limits; the emulator's is 4 MiB. Other than a quota, they stay as they are.
    Rule("RESOURCE_EXHAUSTED", "message exceeds maximum size", Meaning.REFUSED),
    Rule("RESOURCE_EXHAUSTED", "message larger than max", Meaning.REFUSED),
    # All others, such as UNAVAILABLE, INTERNAL, ABORTED (many write one document at once) and
    # RESOURCE_EXHAUSTED. UNIMPLEMENTED is how gRPC reads the 404 of something on the way:
    # https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
)

FIXES = {
    Meaning.NO_PERMISSION: "gcloud projects add-iam-policy-binding {project} "
    "--member=serviceAccount:{account} --role=roles/datastore.user",
    Meaning.NO_IDENTITY: "gcloud auth application-default login",
    Meaning.NO_API: "gcloud services enable firestore.googleapis.com --project={project}",
    Meaning.NO_DATABASE: "gcloud firestore databases create --project={project} "
    "--database='{database}' --location=LOCATION",
    Meaning.NO_INDEX: "firebase deploy --only firestore:indexes --project {project}",
    Meaning.DATASTORE_MODE: "gcloud firestore databases update --project={project} "
    "--database='{database}' --type=firestore-native",
}


def fix_of(meaning: Meaning, project: str | None, database: str, account: str | None = None) -> str:
    """The command for what an operator can fix, as a sentence."""
    known = {"project": project or "PROJECT", "account": account or "SERVICE_ACCOUNT"}
    return "Fix it with: " + FIXES[meaning].format(database=database, **known)


def problem_of(code: str, details: str) -> str:
    """The code, and the beginning of Firestore's own words on one line."""
    words = " ".join(details.split())[:MAX_WORDS]
    return f"{code}: {words}" if words else code


def meaning_of(method: str, code: str, words: str) -> Meaning:
    """The first rule that applies; what no rule knows may pass."""
    for rule in RULES:
        if rule.code == code and rule.words in words.lower() and rule.method in ("", method):
            return rule.meaning
    return Meaning.TRANSIENT


def _document_in_the_way(words: str, request: Any) -> str | None:
    """The path of the document that Firestore names, or of the only one that was written."""
    # "Document already exists: projects/P/databases/D/documents/users/ann"; the emulator:
    # "entity already exists: EntityRef{partitionRef=dev~P, path=/users/ann}".
    if named := re.search(r"/documents/(.+)$|path=/([^}]+)\}", words):
        return named[1] or named[2]
    names = {write.update.name for write in getattr(request, "writes", ())}
    return names.pop().partition("/documents/")[2] if len(names) == 1 else None


class _Storable:
    """What our own encoder cannot put into a request is refused, as Firestore would."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, TypeError | ValueError | OverflowError | RecursionError):
            raise FirestoreRefused(f"Firestore cannot store a value: {_brief(error)}") from None
        if isinstance(error, DecodeError | EncodeError):  # as protobuf says it
            raise FirestoreRefused("Firestore cannot store a value: it is nested too deeply")


_storable = _Storable()


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:MAX_WORDS]


def _without_credentials(error: NoCredentials) -> FirestoreMisconfigured:
    return FirestoreMisconfigured(f"{error}. {fix_of(Meaning.NO_IDENTITY, None, '')}")


def _encode(value: Any, into: Any) -> None:
    """Fill a message of the kind Value."""
    if value is None:
        into.null_value = 0
    elif isinstance(value, str):
        into.string_value = value
    elif isinstance(value, bool):
        into.boolean_value = value
    elif isinstance(value, int):
        into.integer_value = value
    elif isinstance(value, float):
        into.double_value = value
    elif isinstance(value, datetime):
        since = value - EPOCH
        into.timestamp_value.seconds = since // SECOND
        into.timestamp_value.nanos = since.microseconds * 1000
    elif isinstance(value, dict):
        into.map_value.SetInParent()
        for key, item in value.items():
            _encode(item, into.map_value.fields[key])
    elif isinstance(value, bytes):
        into.bytes_value = value
    elif isinstance(value, list | tuple):
        into.array_value.SetInParent()
        for item in value:
            _encode(item, into.array_value.values.add())
    else:
        raise TypeError(f"it has no form for {type(value).__name__}")


# The protocol: of google/firestore/v1/*.proto, the messages and fields that are used here. A
# document and a value are those of the events, which are the same on the wire.

PROTOCOL = """
DocumentMask: repeated string field_paths = 1
Precondition: bool exists = 1, Timestamp update_time = 2
FieldTransform: string field_path = 1, Value increment = 3
Write: Document update = 1, string delete = 2, DocumentMask update_mask = 3, \
    Precondition current_document = 4, repeated FieldTransform update_transforms = 7
CommitRequest: string database = 1, repeated Write writes = 2
WriteResult: Timestamp update_time = 1, repeated Value transform_results = 2
CommitResponse: repeated WriteResult write_results = 1
BatchGetDocumentsRequest: string database = 1, repeated string documents = 2, DocumentMask mask = 3
BatchGetDocumentsResponse: Document found = 1
FieldReference: string field_path = 2
Projection: repeated FieldReference fields = 2
CollectionSelector: string collection_id = 2, bool all_descendants = 3
FieldFilter: FieldReference field = 1, int32 op = 2, Value value = 3
Filter: FieldFilter field_filter = 2
Order: FieldReference field = 1, int32 direction = 2
Cursor: repeated Value values = 1, bool before = 2
StructuredQuery: Projection select = 1, repeated CollectionSelector from_ = 2, Filter where = 3, \
    repeated Order order_by = 4, Int32Value limit = 5, Cursor start_at = 7
RunQueryRequest: string parent = 1, StructuredQuery structured_query = 2
RunQueryResponse: Document document = 1
"""
PACKAGE = "batchpush.google.firestore"
BORROWED = {
    "Document": EventDocument.pb().DESCRIPTOR,
    "Value": EventValue.pb().DESCRIPTOR,
    "Timestamp": Timestamp.DESCRIPTOR,
    "Int32Value": Int32Value.DESCRIPTOR,
}
PLAIN = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "bool": FieldDescriptorProto.TYPE_BOOL,
    "int32": FieldDescriptorProto.TYPE_INT32,
}
LABELS = FieldDescriptorProto.LABEL_OPTIONAL, FieldDescriptorProto.LABEL_REPEATED


@functools.cache
def messages() -> dict[str, Any]:
    """The classes of the protocol's messages, by their names."""
    file = FileDescriptorProto(
        name="batchpush/firestore.proto",
        package=PACKAGE,
        syntax="proto2",  # in which a `false` that is set is sent
        dependency={borrowed.file.name for borrowed in BORROWED.values()},
    )
    for line in PROTOCOL.replace("\\\n", "").strip().splitlines():
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name)
        for field in fields.split(","):
            *label, kind, field_name, _, number = field.split()
            message.field.add(
                name=field_name,
                number=int(number),
                label=LABELS[bool(label)],
                type=PLAIN.get(kind, FieldDescriptorProto.TYPE_MESSAGE),
                type_name=None if kind in PLAIN else _full_name(kind),
            )
    pool = descriptor_pool.Default()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f"{PACKAGE}.{message.name}")
        )
        for message in file.message_type
    }


def _full_name(kind: str) -> str:
    return f".{BORROWED[kind].full_name if kind in BORROWED else f'{PACKAGE}.{kind}'}"


@contextmanager
def translated() -> Iterator[None]:
    """Trouble of Firestore, in a word that has the event come again."""
    try:
        yield
    except FirestoreUnavailable as error:
        raise LedgerUnavailable(f"Firestore: {error}") from None
    except FirestoreRefused as error:
        raise LedgerRefused(f"Firestore: {error}") from None
