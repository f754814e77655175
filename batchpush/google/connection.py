"""The way to Firestore: gRPC, and what its answers mean.

As with Google's client, a call is repeated while the trouble may pass, and all of it ends within
`TIMEOUT`.
"""

import asyncio
import functools
import os
import random
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar
from urllib.parse import quote

from batchpush.environment import project_id
from batchpush.google.credentials import Credentials, CredentialsUnavailable, NoCredentials
from batchpush.google.firestore import (
    MAX_WORDS,
    METHODS,
    Answer,
    Asked,
    DocumentGone,
    FirestoreMisconfigured,
    FirestoreRefused,
    FirestoreUnavailable,
    Method,
    WriteConflict,
)
from batchpush.google.protocol.firestore_pb2 import (
    BatchGetDocumentsRequest,
    CommitRequest,
    RunQueryRequest,
)

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

Result = TypeVar("Result")


class Connection:
    """To one database, for all events; made in the worker, used on one event loop."""

    def __init__(
        self,
        database: str = "(default)",
        *,
        project: str | None = None,
        seconds: float = TIMEOUT,
        keepalive: tuple[float, float] = KEEPALIVE,
        credentials: Credentials | None = None,
    ) -> None:
        """Nothing fails here.

        The platform names the project, and for a person on a laptop the credentials do, unless it
        is given. An emulator needs no credentials.
        """
        self._id, self._project = database, project
        self._seconds = seconds
        self._keepalive = keepalive
        self._emulator = os.environ.get("FIRESTORE_EMULATOR_HOST")
        self._credentials = credentials or (None if self._emulator else Credentials(SCOPE))

    @functools.cached_property
    def database(self) -> str:
        """Its name, `projects/P/databases/D`."""
        try:
            named = self._project or project_id()
            project = named or (self._credentials and self._credentials.project)
        except NoCredentials as error:
            raise _without_credentials(error) from None
        return f"projects/{project}/databases/{self._id}"

    async def ask(self, method: Method[Asked, Answer], request: Asked) -> list[Answer]:
        """The answers; there is one, or for a read as many as there are documents."""

        async def once(seconds: float) -> list[Answer]:
            metadata = [*self._routed(request), *await self._signed()]
            call = self._calls[method.name](request, timeout=seconds, metadata=metadata)
            return [each async for each in call] if method.is_stream else [await call]

        def failed(error: Any) -> Exception | None:
            return self._failure(method.name, request, error.code().name, error.details() or "")

        return await _tried(once, self._seconds, failed)

    def _failure(self, method: str, request: object, code: str, details: str) -> Exception | None:
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
        _, project, _, database = self.database.split("/")
        account = self._credentials.account if self._credentials else None
        return FirestoreMisconfigured(f"{problem}. {fix_of(meaning, project, database, account)}")

    def _routed(self, request: object) -> list[tuple[str, str]]:
        """Where it belongs: without these, Google knows of no database but the default one."""
        match request:
            case RunQueryRequest():
                routing = f"parent={_quoted(request.parent)}"
            case CommitRequest() | BatchGetDocumentsRequest():
                routing = f"database={_quoted(request.database)}"
        return [
            ("google-cloud-resource-prefix", self.database),
            ("x-goog-request-params", routing),
        ]

    async def _signed(self) -> list[tuple[str, str]]:
        """Who we are."""
        if self._credentials is None:
            return [("authorization", "Bearer owner")]
        return list((await self._credentials.headers()).items())

    @functools.cached_property
    def _calls(self) -> dict[str, Any]:
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


async def _tried(
    operation: Callable[[float], Awaitable[Result]],
    seconds: float,
    failed: Callable[[Any], Exception | None],
) -> Result:
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


def _document_in_the_way(words: str, request: object) -> str | None:
    """The path of the document that Firestore names, or of the only one that was written."""
    # "Document already exists: projects/P/databases/D/documents/users/ann"; the emulator:
    # "entity already exists: EntityRef{partitionRef=dev~P, path=/users/ann}".
    if named := re.search(r"/documents/(.+)$|path=/([^}]+)\}", words):
        return named[1] or named[2]
    names = {write.update.name for write in getattr(request, "writes", ())}
    return names.pop().partition("/documents/")[2] if len(names) == 1 else None


def _without_credentials(error: NoCredentials) -> FirestoreMisconfigured:
    return FirestoreMisconfigured(f"{error}. {fix_of(Meaning.NO_IDENTITY, None, '')}")
