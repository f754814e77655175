"""The clients of the two databases, made on first use and kept for the life of the worker.

Not at import: a gRPC channel made before the server forks its worker can hang for ever.
"""

import asyncio
import functools
import os
import threading
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from batchpush.environment import project_id, settings
from batchpush.errors import InvalidDocument, LedgerUnavailable
from batchpush.google.credentials import Credentials
from batchpush.google.firestore import (
    Firestore,
    FirestoreRefused,
    Meaning,
    WriteConflict,
    fix_of,
    meaning_of,
    problem_of,
)
from batchpush.google.realtime_database import CONNECTIONS, KEEP_ALIVE, SCOPES, RealtimeDatabase
from batchpush.google.sources import instance_of
from batchpush.sealed import leaving

TIMEOUT = 10.0  # seconds for one operation, the client's own retries included


@functools.cache
def firestore(database: str) -> Firestore:
    """A Firestore database, with one connection for all events."""
    return Firestore(database)


@functools.cache
def firestore_client(database: str) -> Any:
    """The same by Google's `AsyncClient`, for what runs seldom and asks for more."""
    leaving("writes to Firestore")
    from google.cloud.firestore import AsyncClient

    with _translated():
        return AsyncClient(database=database)


async def asked(method: str, operation: Callable[[dict[str, Any]], Awaitable[Any]]) -> Any:
    """Carry out a call of one of the methods of Firestore's protocol, within `TIMEOUT`."""
    from google.api_core.retry import AsyncRetry

    with _translated(method):
        return await operation({"timeout": TIMEOUT, "retry": AsyncRetry(timeout=TIMEOUT)})


async def read_all(client: Any, paths: Collection[str]) -> dict[str, Any]:
    """The documents at the paths, in one batched read: what was found, by path.

    Raises `InvalidDocument` for a reference into another database, of which Google's client makes
    nothing.
    """
    references = [client.document(path) for path in paths]

    async def read(options: dict[str, Any]) -> dict[str, Any]:
        found = client.get_all(references, **options)
        return {snapshot.reference.path: snapshot async for snapshot in found}

    try:
        return await asked("BatchGetDocuments", read)  # type: ignore[no-any-return]
    except ValueError as error:
        raise InvalidDocument(next(iter(paths)), None, str(error)) from None


async def queried(query: Any) -> list[Any]:
    """What a query finds."""
    found: list[Any] = await asked("RunQuery", lambda options: query.get(**options))
    return found


@contextmanager
def _translated(method: str = "") -> Iterator[None]:
    """That another write came first is for the caller to know; the rest is Firestore's trouble."""
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

    try:
        yield
    except RetryError as error:
        raise LedgerUnavailable(f"Firestore: {type(error.cause).__name__}") from None
    except GoogleAPICallError as error:
        raise _meant(method, error) from None
    except DefaultCredentialsError as error:
        fix = fix_of(Meaning.NO_IDENTITY, None, "")
        raise LedgerUnavailable(f"Firestore: {type(error).__name__}. {fix}") from None
    except GoogleAuthError as error:
        raise LedgerUnavailable(f"Firestore: {type(error).__name__}") from None


def _meant(method: str, error: Any) -> Exception:
    """What the rules for Firestore's answers say of an error of Google's client."""
    code = error.grpc_status_code.name if error.grpc_status_code else type(error).__name__
    meaning = meaning_of(method, code, error.message)
    problem = problem_of(code, error.message)
    match meaning:
        case Meaning.TRANSIENT:
            return LedgerUnavailable(f"Firestore: {type(error).__name__}")
        case Meaning.CONFLICT | Meaning.GONE:
            return WriteConflict(problem)
        case Meaning.REFUSED:
            return FirestoreRefused(problem)
    return LedgerUnavailable(
        f"Firestore: {problem}. {fix_of(meaning, project_id(), settings().database)}"
    )


def realtime_database(source: str) -> RealtimeDatabase:
    """The Realtime Database instance that an event came from, with its connections.

    Raises `MalformedEvent` for a source that is none.
    """
    from batchpush.http import transport

    emulator = os.environ.get("FIREBASE_DATABASE_EMULATOR_HOST")
    # A connection belongs to the loop that it was made on.
    key = instance_of(source), emulator, asyncio.get_running_loop()
    if key not in _realtime_databases:
        headers = _owner if emulator else _credentials().headers
        line = transport(CONNECTIONS, KEEP_ALIVE)
        _realtime_databases[key] = RealtimeDatabase(key[0], line, headers, emulator)
    return _realtime_databases[key]


_realtime_databases: dict[object, RealtimeDatabase] = {}


async def close_realtime_databases() -> None:
    """For a command that ends: a worker keeps its connections."""
    while _realtime_databases:
        _, database = _realtime_databases.popitem()
        await database.aclose()


async def _owner() -> dict[str, str]:
    return {"Authorization": "Bearer owner"}


@functools.cache
def _credentials() -> Credentials:
    return Credentials(*SCOPES)


def firebase_app() -> Any:
    """The Admin SDK's app, for Cloud Tasks and for App Check.

    Threads ask for it, several at once when a process is new, and it can be made only once.
    """
    with _making:
        return _made_app()


_making = threading.Lock()


@functools.cache
def _made_app() -> Any:
    import firebase_admin

    return firebase_admin.initialize_app(options={"httpTimeout": TIMEOUT})
