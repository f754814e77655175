"""The clients of the two databases, made on first use and kept for the life of the worker.

Not at import: a gRPC channel made before the server forks its worker can hang for ever.
"""

import functools
import threading
from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from batchpush.errors import InvalidDocument, LedgerUnavailable
from batchpush.firestore import (
    Firestore,
    FirestoreRefused,
    Meaning,
    Outrun,
    fix_of,
    meaning_of,
    problem_of,
)
from batchpush.settings import project_id

TIMEOUT = 10.0  # seconds for one operation, the client's own retries included


@functools.cache
def firestore(database: str) -> Firestore:
    """A Firestore database, with one connection for all events."""
    return Firestore(database)


@functools.cache
def firestore_client(database: str) -> Any:
    """The same by Google's `AsyncClient`, for what runs seldom and asks for more."""
    from google.cloud.firestore import AsyncClient

    with _translated():
        return AsyncClient(database=database)


async def asked(operation: Callable[[dict[str, Any]], Awaitable[Any]]) -> Any:
    """Carry it out within `TIMEOUT`."""
    from google.api_core.retry import AsyncRetry

    with _translated():
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
        return await asked(read)  # type: ignore[no-any-return]
    except ValueError as error:
        raise InvalidDocument(next(iter(paths)), None, str(error)) from None


async def queried(query: Any) -> list[Any]:
    """What a query finds."""
    try:
        return await asked(lambda options: query.get(**options))  # type: ignore[no-any-return]
    except Outrun:  # it has another meaning here
        fix = fix_of(Meaning.NO_INDEX, project_id(), "")
        raise LedgerUnavailable(f"an index is missing: deploy firestore:indexes. {fix}") from None


@contextmanager
def _translated() -> Iterator[None]:
    """That another write came first is for the caller to know; the rest is Firestore's trouble."""
    from google.api_core.exceptions import GoogleAPICallError, RetryError
    from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError

    try:
        yield
    except RetryError as error:
        raise LedgerUnavailable(f"Firestore: {type(error.cause).__name__}") from None
    except GoogleAPICallError as error:
        raise _meant(error) from None
    except DefaultCredentialsError as error:
        fix = fix_of(Meaning.NO_IDENTITY, None, "")
        raise LedgerUnavailable(f"Firestore: {type(error).__name__}. {fix}") from None
    except GoogleAuthError as error:
        raise LedgerUnavailable(f"Firestore: {type(error).__name__}") from None


def _meant(error: Any) -> Exception:
    """What the rules for Firestore's answers say of an error of Google's client."""
    code = error.grpc_status_code.name if error.grpc_status_code else type(error).__name__
    meaning = meaning_of("Commit", code, error.message)
    problem = problem_of(code, error.message)
    match meaning:
        case Meaning.TRANSIENT:
            return LedgerUnavailable(f"Firestore: {type(error).__name__}")
        case Meaning.CONFLICT | Meaning.GONE:
            return Outrun(problem)
        case Meaning.REFUSED:
            return FirestoreRefused(problem)
    return LedgerUnavailable(f"Firestore: {problem}. {fix_of(meaning, project_id(), '(default)')}")


def database_reference(source: str, path: str) -> Any:
    """A place in the Realtime Database instance that an event came from.

    `source` is `//firebasedatabase.googleapis.com/projects/_/locations/L/instances/I`. Raises
    ValueError for what is no path there.
    """
    from firebase_admin import db

    location, _, instance = source.partition("/locations/")[2].partition("/instances/")
    host = "firebaseio.com" if location == "us-central1" else f"{location}.firebasedatabase.app"
    return db.reference(path, app=firebase_app(), url=f"https://{instance}.{host}")


def firebase_app() -> Any:
    """The Admin SDK's app, for the Realtime Database and for Cloud Tasks.

    Threads ask for it, several at once when a process is new, and it can be made only once.
    """
    with _making:
        return _made_app()


_making = threading.Lock()


@functools.cache
def _made_app() -> Any:
    import firebase_admin

    return firebase_admin.initialize_app(options={"httpTimeout": TIMEOUT})
