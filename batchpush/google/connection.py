"""The gRPC transport to Firestore, and the classification of its errors.

Like Google's client, it retries transient errors; all attempts together end within `TIMEOUT`.
"""

import asyncio
import functools
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar
from urllib.parse import quote

from batchpush.environment import project_id
from batchpush.google.credentials import Credentials, CredentialsUnavailable, NoCredentials
from batchpush.google.firestore import (
    COMMIT,
    MAX_WORDS,
    METHODS,
    WRITE,
    Answer,
    Asked,
    DocumentGone,
    FirestoreMisconfigured,
    FirestoreRefused,
    FirestoreUnavailable,
    Method,
    WriteConflict,
)
from batchpush.google.group_commit import GroupCommit, Outcome
from batchpush.google.protocol.firestore_pb2 import (
    BatchGetDocumentsRequest,
    BatchWriteRequest,
    CommitRequest,
    CommitResponse,
    RunQueryRequest,
    Write,
    WriteResult,
)

HOST = "firestore.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/datastore"
TIMEOUT = 10.0  # seconds for one operation, all attempts included
# Keepalive, in seconds: silence before a ping while a request is pending, then the wait for its
# answer before the connection is closed. Without it, a connection silently dropped by a middlebox
# stays in use until TCP gives up, about 15 minutes later. Google's client also uses 30 s
# (`_DEFAULT_CHANNEL_OPTIONS` in google-cloud-firestore). 5 s leave an operation time to retry on a
# new connection.
KEEPALIVE = 30.0, 5.0
MIN_PAUSE, MAX_PAUSE = 0.1, 2.0  # seconds between two attempts

Result = TypeVar("Result")


class RpcFailed(Exception):
    """A gRPC status other than OK: of a request, or of one of its writes."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(code, details)
        self.code, self.details = code, details


OK = 0


def name_of(code: int) -> str:
    """Of a status code, such as `ABORTED`; of a number that is none, `UNKNOWN`."""
    import grpc

    names = {each.value[0]: each.name for each in grpc.StatusCode}
    return str(names.get(code, "UNKNOWN"))


class Connection:
    """A connection to one database, shared by all events. Create it in the worker, on its loop."""

    def __init__(
        self,
        database: str = "(default)",
        *,
        project: str | None = None,
        seconds: float = TIMEOUT,
        keepalive: tuple[float, float] = KEEPALIVE,
        credentials: Credentials | None = None,
    ) -> None:
        """Never fails: credentials are looked up on first use. An emulator needs none.

        Without `project`, the platform names it, or on a laptop the credentials do. `seconds` is
        the time limit of one operation; for `keepalive`, see `KEEPALIVE`.
        """
        self._id, self._project = database, project
        self._seconds = seconds
        self._keepalive = keepalive
        self._emulator = os.environ.get("FIRESTORE_EMULATOR_HOST")
        self._credentials = credentials or (None if self._emulator else Credentials(SCOPE))

    @functools.cached_property
    def database(self) -> str:
        """The resource name, `projects/P/databases/D`. Raises `FirestoreMisconfigured`."""
        try:
            named = self._project or project_id()
            project = named or (self._credentials and self._credentials.project)
        except NoCredentials as error:
            raise _without_credentials(error) from None
        return f"projects/{project}/databases/{self._id}"

    async def ask(self, method: Method[Asked, Answer], request: Asked) -> list[Answer]:
        """Send the request and return its answers: one, or for a stream any number.

        A commit of one write shares its request with others.
        """

        async def once(seconds: float) -> list[Any]:
            if isinstance(request, CommitRequest) and len(request.writes) == 1:
                return [CommitResponse(write_results=[await self._group.write(request.writes[0])])]
            return await self._send(method, request, seconds)

        def failed(status: RpcFailed) -> Exception | None:
            return self._failure(method.name, request, status.code, status.details)

        return await _with_retries(once, self._seconds, failed)

    async def _send(
        self, method: Method[Asked, Answer], request: Asked, seconds: float
    ) -> list[Answer]:
        """Once, without retries. Raises RpcFailed."""
        import grpc

        if method.is_stream and self._is_down():
            raise RpcFailed("UNAVAILABLE", "there is no connection, and gRPC is making one")
        metadata = [*self._routed(request), *await self._signed()]
        call = self._calls[method.name](request, timeout=seconds, metadata=metadata)
        try:
            return [each async for each in call] if method.is_stream else [await call]
        except grpc.aio.AioRpcError as error:
            raise RpcFailed(error.code().name, error.details() or "") from None

    def _is_down(self) -> bool:
        """Whether gRPC would fail a request at once.

        A stream that it fails costs half a kilobyte that is never given back (grpcio 1.85).
        """
        import grpc

        state = self._channel.get_state(try_to_connect=True)
        return bool(state is grpc.ChannelConnectivity.TRANSIENT_FAILURE)

    @functools.cached_property
    def _group(self) -> GroupCommit:
        return GroupCommit(self._write)

    async def _write(self, writes: Sequence[Write]) -> Sequence[Outcome]:
        """Each write on its own, by a request that needs the role of a commit and costs as much.

        The role has `datastore.entities.create` and `.update`, which batchWrite needs
        (https://cloud.google.com/firestore/docs/security/iam); the price is by documents, whatever
        the request (https://cloud.google.com/firestore/pricing).
        """
        if len(writes) == 1:
            return [await self._alone(writes[0])]
        request = BatchWriteRequest(database=self.database, writes=writes)
        try:
            (answer,) = await self._send(WRITE, request, self._seconds)
        except RpcFailed as status:
            if meaning_of(COMMIT.name, status.code, status.details) is Meaning.TRANSIENT:
                raise
            # One of them may be what Firestore refuses; the others are not to suffer for it.
            return await asyncio.gather(*map(self._alone, writes), return_exceptions=True)
        if not len(answer.write_results) == len(answer.status) == len(writes):
            raise RpcFailed("INTERNAL", "BatchWrite does not answer for every write")
        return [
            result if status.code == OK else RpcFailed(name_of(status.code), status.message)
            for result, status in zip(answer.write_results, answer.status, strict=True)
        ]

    async def _alone(self, write: Write) -> WriteResult:
        request = CommitRequest(database=self.database, writes=[write])
        (answer,) = await self._send(COMMIT, request, self._seconds)
        result: WriteResult = answer.write_results[0]
        return result

    def _failure(self, method: str, request: object, code: str, details: str) -> Exception | None:
        """The exception for a gRPC status; None if it is transient."""
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
        _, project, _, database = self.database.split("/")
        account = self._credentials.account if self._credentials else None
        return FirestoreMisconfigured(f"{problem}. {fix_of(meaning, project, database, account)}")

    def _routed(self, request: object) -> list[tuple[str, str]]:
        """Routing headers: without them, Google finds only the default database."""
        match request:
            case RunQueryRequest():
                routing = f"parent={_quoted(request.parent)}"
            case CommitRequest() | BatchWriteRequest() | BatchGetDocumentsRequest():
                routing = f"database={_quoted(request.database)}"
        return [
            ("google-cloud-resource-prefix", self.database),
            ("x-goog-request-params", routing),
        ]

    async def _signed(self) -> list[tuple[str, str]]:
        if self._credentials is None:
            return [("authorization", "Bearer owner")]
        return list((await self._credentials.headers()).items())

    @functools.cached_property
    def _channel(self) -> Any:
        import grpc.aio

        silence, answer = (int(seconds * 1000) for seconds in self._keepalive)
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", -1),
            ("grpc.keepalive_time_ms", silence),
            ("grpc.keepalive_timeout_ms", answer),
            ("grpc.http2.ping_timeout_ms", answer),  # otherwise gRPC was seen to wait a minute
        ]
        return (
            grpc.aio.insecure_channel(self._emulator, options)
            if self._emulator
            else grpc.aio.secure_channel(HOST, grpc.ssl_channel_credentials(), options)
        )

    @functools.cached_property
    def _calls(self) -> dict[str, Any]:
        channel = self._channel
        return {
            method.name: (channel.unary_stream if method.is_stream else channel.unary_unary)(
                f"/google.firestore.v1.Firestore/{method.name}",
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.answer.FromString,
            )
            for method in METHODS
        }


@functools.lru_cache
def _quoted(name: str) -> str:
    return quote(name, safe="")


async def _with_retries(
    operation: Callable[[float], Awaitable[Result]],
    seconds: float,
    failed: Callable[[RpcFailed], Exception | None],
) -> Result:
    """Run the operation, and retry transient errors until `seconds` have passed.

    The operation receives the seconds left. `failed` maps a status to the exception to raise, or
    to None to retry.
    """
    end, pause = time.monotonic() + seconds, MIN_PAUSE
    while True:
        left = end - time.monotonic()
        try:
            async with asyncio.timeout(left):
                return await operation(left)
        except TimeoutError:
            raise FirestoreUnavailable("DEADLINE_EXCEEDED") from None
        except NoCredentials as error:
            raise _without_credentials(error) from None
        except CredentialsUnavailable as error:
            problem = str(error)
        except RpcFailed as status:
            if final := failed(status):
                raise final from None
            problem = status.code
        if time.monotonic() + pause >= end:
            raise FirestoreUnavailable(problem)
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311
        pause = min(pause * 2, MAX_PAUSE)


# The error codes: https://cloud.google.com/firestore/docs/understand-error-codes, and how to handle
# each: https://firebase.google.com/docs/firestore/use-rest-api#error_codes


class Meaning(Enum):
    """What a gRPC status says about its request."""

    TRANSIENT = "a retry may succeed"
    CONFLICT = "a document is not in the state that the write requires"
    GONE = "the document to update does not exist"
    REFUSED = "Firestore will never accept this request"
    # An operator can fix these:
    NO_PERMISSION = "the account may not use the database"
    NO_IDENTITY = "the credentials are invalid"
    NO_API = "the API is not enabled"
    NO_DATABASE = "the database does not exist"
    NO_INDEX = "the query needs a missing index"
    DATASTORE_MODE = "the database is in Datastore mode"


@dataclass(frozen=True)
class Rule:
    """A row of `RULES`: `words` must occur in the lowercased details; empty fields match all."""

    code: str
    words: str
    meaning: Meaning
    method: str = ""


RULES = (
    Rule("ALREADY_EXISTS", "", Meaning.CONFLICT),
    # A database in Datastore mode answers every request like this.
    Rule("FAILED_PRECONDITION", "datastore", Meaning.DATASTORE_MODE),
    Rule("FAILED_PRECONDITION", "", Meaning.CONFLICT, method="Commit"),
    Rule("FAILED_PRECONDITION", "", Meaning.NO_INDEX),
    # "No document to update: projects/..."; the emulator: "no entity to update: app: ...", but
    # FAILED_PRECONDITION if the write names a version.
    Rule("NOT_FOUND", "to update", Meaning.GONE),
    # "The database (default) does not exist for project ...", or no details at all.
    Rule("NOT_FOUND", "", Meaning.NO_DATABASE),
    # "Cloud Firestore API has not been used in project ... before or it is disabled."
    Rule("PERMISSION_DENIED", "or it is disabled", Meaning.NO_API),
    Rule("PERMISSION_DENIED", "", Meaning.NO_PERMISSION),
    Rule("UNAUTHENTICATED", "", Meaning.NO_IDENTITY),
    # A document or index entry that is too large, an invalid id or field name, a value that cannot
    # be nested, or a commit over 10 MiB.
    Rule("INVALID_ARGUMENT", "", Meaning.REFUSED),
    Rule("OUT_OF_RANGE", "", Meaning.REFUSED),
    # gRPC's own limits (the emulator's is 4 MiB). Unlike a quota, they do not recover.
    Rule("RESOURCE_EXHAUSTED", "message exceeds maximum size", Meaning.REFUSED),
    Rule("RESOURCE_EXHAUSTED", "message larger than max", Meaning.REFUSED),
    # Everything else is transient: UNAVAILABLE, INTERNAL, ABORTED (contention on a document),
    # RESOURCE_EXHAUSTED (a quota). UNIMPLEMENTED too: gRPC maps an intermediary's HTTP 404 to it.
    # https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
)

FIX = "Fix it with: "  # before the command, in a message
FIXES = {
    Meaning.NO_PERMISSION: "gcloud projects add-iam-policy-binding {project} "
    "--member={member} --role=roles/datastore.user",
    Meaning.NO_IDENTITY: "gcloud auth application-default login",
    Meaning.NO_API: "gcloud services enable firestore.googleapis.com --project={project}",
    Meaning.NO_DATABASE: "gcloud firestore databases create --project={project} "
    "--database='{database}' --location=LOCATION",
    Meaning.NO_INDEX: "firebase deploy --only firestore:indexes --project {project}",
    Meaning.DATASTORE_MODE: "gcloud firestore databases update --project={project} "
    "--database='{database}' --type=firestore-native",
}


def fix_of(meaning: Meaning, project: str | None, database: str, account: str | None = None) -> str:
    """A sentence with the command that fixes it; `meaning` must be a key of `FIXES`.

    Without `account`, the credentials are those of a person.
    """
    member = f"serviceAccount:{account}" if account else "user:YOUR_EMAIL"
    known = {"project": project or "PROJECT", "member": member}
    return FIX + FIXES[meaning].format(database=database, **known)


def problem_of(code: str, details: str) -> str:
    """The code and the start of Firestore's own message, on one line."""
    words = " ".join(details.split())[:MAX_WORDS]
    return f"{code}: {words}" if words else code


def meaning_of(method: str, code: str, words: str) -> Meaning:
    """Classify a status by the first rule that matches; without one, it is transient."""
    for rule in RULES:
        if rule.code == code and rule.words in words.lower() and rule.method in ("", method):
            return rule.meaning
    return Meaning.TRANSIENT


def _document_in_the_way(words: str, request: object) -> str | None:
    """The path of the document that the error names, or of the only one in the request."""
    # "Document already exists: projects/P/databases/D/documents/users/ann"; the emulator:
    # "entity already exists: EntityRef{partitionRef=dev~P, path=/users/ann}".
    if named := re.search(r"/documents/(.+)$|path=/([^}]+)\}", words):
        return named[1] or named[2]
    names = {write.update.name for write in getattr(request, "writes", ())}
    return names.pop().partition("/documents/")[2] if len(names) == 1 else None


def _without_credentials(error: NoCredentials) -> FirestoreMisconfigured:
    return FirestoreMisconfigured(f"{error}. {fix_of(Meaning.NO_IDENTITY, None, '')}")
