"""The clients of the two databases, made on first use and kept for the life of the worker.

Not at import: a gRPC channel made before the server forks its worker can hang for ever.
"""

import functools
import threading
from typing import Any

TIMEOUT = 10.0  # seconds for one look-up, the client's own retries included


@functools.cache
def firestore_client(database: str) -> Any:
    """The `AsyncClient` of a Firestore database, with one connection for all events."""
    from google.cloud.firestore import AsyncClient

    return AsyncClient(database=database)


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
