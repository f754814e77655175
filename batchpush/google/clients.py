"""Database clients, created on first use and kept for the life of the worker.

Never create them at import: a gRPC channel opened before the server forks its worker can hang
forever.
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

TIMEOUT = 10.0  # seconds per Admin SDK request


@functools.cache
def firestore(database: str) -> Firestore:
    """The client for a database id; all events share its connection."""
    return Firestore(Connection(database))


def realtime_database(source: str) -> RealtimeDatabase:
    """The client for the instance named by an event's `source`; events share its connections.

    Raises `MalformedEvent` if the source is not an instance.
    """
    from batchpush.http import transport

    emulator = os.environ.get("FIREBASE_DATABASE_EMULATOR_HOST")
    # A connection belongs to the event loop that opened it.
    key = instance_of(source), emulator, asyncio.get_running_loop()
    if key not in _realtime_databases:
        headers = _owner if emulator else credentials().headers
        line = transport(CONNECTIONS, KEEP_ALIVE)
        _realtime_databases[key] = RealtimeDatabase(key[0], line, headers, emulator)
    return _realtime_databases[key]


_realtime_databases: dict[object, RealtimeDatabase] = {}


async def close_realtime_databases() -> None:
    """Close all connections when a command exits. A worker never calls this."""
    while _realtime_databases:
        _, database = _realtime_databases.popitem()
        await database.aclose()


async def _owner() -> dict[str, str]:
    return {"Authorization": "Bearer owner"}


@functools.cache
def credentials() -> Credentials:
    return Credentials(*SCOPES)


def firebase_app() -> Any:
    """The Admin SDK's app, used for Cloud Tasks and App Check.

    The SDK allows one `initialize_app` per process, and several threads may need the app at once
    in a new process, hence the lock.
    """
    with _making:
        return made_app()


_making = threading.Lock()


@functools.cache
def made_app() -> Any:
    import firebase_admin

    return firebase_admin.initialize_app(options={"httpTimeout": TIMEOUT})
