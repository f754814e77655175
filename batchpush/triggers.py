"""The decorators of `main.py`: a function that is called for every write to a path.

They describe the function to the Firebase CLI by way of the Firebase SDK, and serve it
themselves: the event is decoded here, on one event loop for all of an instance's events, and
answered with an error only when it is to be delivered again.
"""

import functools
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import functions_framework.aio

from batchpush.change import Change, Database, from_database, from_firestore
from batchpush.errors import BatchpushError, TryAgainLater
from batchpush.logs import about, log
from batchpush.settings import settings

MEMORY_MB = 512
TIMEOUT = 120  # seconds

Function = Callable[[Change], Awaitable[None]]
Decode = Callable[[str, Mapping[str, str], bytes], Change]


def document_created(path: str) -> Callable[[Function], Any]:
    """Call the function when a Firestore document is created at a path with `{...}` in it."""
    return _trigger("firestore", path, from_firestore, _firestore_created)


def value_created(path: str) -> Callable[[Function], Any]:
    """Call the function when a Realtime Database value is created at a path with `{...}`."""
    return _trigger("database", path, from_database, _database_created)


def _trigger(
    database: Database,
    path: str,
    decode: Decode,
    described: Callable[[str], Callable[[Function], Any]],
) -> Callable[[Function], Any]:
    def decorate(function: Function) -> Any:
        @functools.wraps(function)
        async def serve(request: Any) -> tuple[str, int]:
            return await handle(function, path, decode, request.headers, await request.body())

        if database in settings().sources and not _is_serving():
            endpoint = described(path)(function).__firebase_endpoint__
            # The SDK has no option for it. Without it, an event that fails once is gone.
            endpoint.eventTrigger["retry"] = True
            serve.__firebase_endpoint__ = endpoint  # type: ignore[attr-defined]
        return functions_framework.aio.http(serve)

    return decorate


async def handle(
    function: Function, path: str, decode: Decode, headers: Mapping[str, str], body: bytes
) -> tuple[str, int]:
    """Answer one event: 200 settles it, 503 has it delivered again."""
    with about(
        function=function.__name__,
        event_id=headers.get("ce-id"),
        document=headers.get("ce-document") or headers.get("ce-ref"),
    ):
        try:
            await function(decode(path, headers, body))
        except TryAgainLater as error:
            log("WARNING", "event.unfinished", error=error)
            return "to be delivered again", 503
        except BatchpushError as error:
            log("ERROR", "event.refused", error=error)
        except Exception as error:
            # A mistake in a handler fails the same way each time; the platform would bring
            # the event back for a day.
            log("ERROR", "event.crashed", error=error)
        return "done", 200


def _is_serving() -> bool:
    """Whether this process runs one function, as opposed to being asked which there are.

    The answer needs the Firebase SDK, whose import would be most of a cold start.
    """
    return "FUNCTION_TARGET" in os.environ


def _firestore_created(path: str) -> Any:
    from firebase_functions import firestore_fn

    return firestore_fn.on_document_created(document=path, **_options())


def _database_created(path: str) -> Any:
    from firebase_functions import db_fn

    return db_fn.on_value_created(reference=path, **_options())


def _options() -> dict[str, Any]:
    return {
        "region": settings().region,
        "memory": MEMORY_MB,
        "timeout_sec": TIMEOUT,
        "concurrency": settings().concurrency,
        "cpu": 1,  # the platform wants a whole one for more than one event at a time
    }
