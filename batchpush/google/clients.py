"""The clients of the two databases, made on first use and kept for the life of the worker.

Not at import: a gRPC channel made before the server forks its worker can hang for ever.
"""

import asyncio
import functools
import os
import threading
from typing import Any

from batchpush.google.connection import Connection
from batchpush.google.credentials import Credentials
from batchpush.google.firestore import Firestore
from batchpush.google.realtime_database import CONNECTIONS, KEEP_ALIVE, SCOPES, RealtimeDatabase
from batchpush.google.sources import instance_of

TIMEOUT = 10.0  # seconds for one request of the Admin SDK


@functools.cache
def firestore(database: str) -> Firestore:
    """A Firestore database, with one connection for all events."""
    return Firestore(Connection(database))


def realtime_database(source: str) -> RealtimeDatabase:
    """The Realtime Database instance that an event came from, with its connections.

    Raises `MalformedEvent` for a source that is none.
    """
    from batchpush.http import transport

    emulator = os.environ.get("FIREBASE_DATABASE_EMULATOR_HOST")
    # A connection belongs to the loop that it was made on.
    key = instance_of(source), emulator, asyncio.get_running_loop()
    if key not in _realtime_databases:
        headers = _owner if emulator else credentials().headers
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
def credentials() -> Credentials:
    return Credentials(*SCOPES)


def firebase_app() -> Any:
    """The Admin SDK's app, for Cloud Tasks and for App Check.

    Threads ask for it, several at once when a process is new, and it can be made only once.
    """
    with _making:
        return made_app()


_making = threading.Lock()


@functools.cache
def made_app() -> Any:
    import firebase_admin

    return firebase_admin.initialize_app(options={"httpTimeout": TIMEOUT})
