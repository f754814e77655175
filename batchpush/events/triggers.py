"""The decorators of `main.py`, which say what calls a function.

They use the Firebase SDK to describe the function to the Firebase CLI, but serve it themselves. One
event loop handles all events of an instance. An event is answered with an error only to have it
redelivered.
"""

import functools
import gc
import inspect
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import functions_framework.aio

from batchpush.documents import Document
from batchpush.environment import settings, watched_instance
from batchpush.errors import BatchpushError, MalformedEvent, TryAgainLater
from batchpush.events.change import Change, Database
from batchpush.events.decoding import from_database, from_firestore
from batchpush.logs import about, log
from batchpush.timing import FUNCTION_TIMEOUT
from batchpush.tracing import traced

MEMORY_MB = 512
SCHEDULED_TIMEOUT = 540  # seconds
GARBAGE = 20_000  # new objects, some megabytes, before a collection; Python's default is 700

Answer = tuple[str, int]
Function = Callable[[Change], Awaitable[None]]
Kind = Literal["created", "updated", "written", "deleted", "untouched"]
Decode = Callable[[str, str, Mapping[str, str], bytes], Change]


@dataclass(frozen=True)
class Watched:
    """A function of `main.py`, and the pattern with `{...}` that it watches.

    It is called when a document is `created`, `updated`, `deleted` or `written` in any way; with
    `untouched`, a schedule calls it.
    """

    path: str
    function: Function
    kind: Kind = "written"
    database: Database = "firestore"

    def is_called_for(self, before: Document | None, after: Document | None) -> bool:
        """Whether a write that changes a Firestore document from `before` to `after` calls it."""
        match self.kind:
            case "created":
                is_of_kind = before is None and after is not None
            case "updated":
                is_of_kind = before is not None and after is not None
            case "written":
                is_of_kind = before is not None or after is not None
            case "deleted":
                is_of_kind = before is not None and after is None
            case "untouched":
                is_of_kind = False
        return is_of_kind and self.database == "firestore"


WATCHED: dict[str, Watched] = {}  # by the function's name
ENDPOINT = "__firebase_endpoint__"  # the attribute that the CLI's discovery looks for
TWIN = "_rtdb"  # the suffix of the second function, which watches the Realtime Database


def on_document_created(
    firestore: str | None = None, *, database: str | None = None
) -> Callable[[Function], Any]:
    """Call the function when a document is created at a path that matches a pattern with `{...}`.

    `firestore` is the pattern in Firestore, `database` the one in the Realtime Database. With both,
    two functions are deployed; the name of the second ends in `_rtdb`.
    """
    return _on_write("created", firestore, database)


def on_document_updated(
    firestore: str | None = None, *, database: str | None = None
) -> Callable[[Function], Any]:
    """... when an existing document is changed."""
    return _on_write("updated", firestore, database)


def on_document_written(
    firestore: str | None = None, *, database: str | None = None
) -> Callable[[Function], Any]:
    """... when a document is created, changed or deleted."""
    return _on_write("written", firestore, database)


def on_document_deleted(
    firestore: str | None = None, *, database: str | None = None
) -> Callable[[Function], Any]:
    """... when a document is deleted."""
    return _on_write("deleted", firestore, database)


def only_with(switch: str) -> Callable[[Any], Any]:
    """Deploy the function, and its twin, only if this switch of the settings is on."""

    def decorate(function: Any) -> Any:
        if not _is_serving() and not getattr(settings(), switch):
            functions = inspect.unwrap(function).__globals__
            twin = functions.get(function.__name__ + TWIN, function)
            for each in (function, twin):
                vars(each).pop(ENDPOINT, None)
        return function

    return decorate


def on_schedule(schedule: str) -> Callable[[Callable[[], Awaitable[None]]], Any]:
    """Call the function on a schedule of Cloud Scheduler, such as `every 10 minutes`."""

    def decorate(function: Callable[[], Awaitable[None]]) -> Any:
        async def serve(request: Any) -> Answer:
            traceparent = request.headers.get("traceparent")
            with about(function=function.__name__, traceparent=traceparent):
                return await answer(function())

        return _served(function, serve, lambda: _scheduled(schedule)(function))

    return decorate


def on_task_dispatched(function: Callable[[Mapping[str, Any]], Awaitable[None]]) -> Any:
    """Call the function with the data of each task of its queue in Cloud Tasks."""

    async def serve(request: Any) -> Answer:
        body = await request.body()

        async def worked() -> None:
            await function(_task_data(body))

        traceparent = request.headers.get("traceparent")
        with about(function=function.__name__, traceparent=traceparent):
            return await answer(worked())

    return _served(function, serve, lambda: _dispatched()(function))


def _task_data(body: bytes) -> Mapping[str, Any]:
    try:
        data = json.loads(body)["data"]
    except (ValueError, KeyError, TypeError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise MalformedEvent("the body is not a task's")
    return data


def _on_write(kind: Kind, firestore: str | None, database: str | None) -> Callable[[Function], Any]:
    def decorate(function: Function) -> Any:
        if firestore and database:
            twin = _renamed(function, function.__name__ + TWIN)
            # The Firebase CLI and the framework find functions among the globals of main.py.
            function.__globals__[twin.__name__] = _watching("database", kind, database, twin)
        if firestore:
            return _watching("firestore", kind, firestore, function)
        assert database, "a path to watch, in Firestore or in the Realtime Database"
        return _watching("database", kind, database, function)

    return decorate


def _renamed(function: Function, name: str) -> Function:
    async def renamed(change: Change) -> None:
        await function(change)

    functools.update_wrapper(renamed, function)
    renamed.__name__ = renamed.__qualname__ = name
    return renamed


def _watching(database: Database, kind: Kind, path: str, function: Function) -> Any:
    """The function, served and deployed for writes to one path."""
    decode = from_firestore if database == "firestore" else from_database
    WATCHED[function.__name__] = Watched(path, function, kind, database)

    async def serve(request: Any) -> Answer:
        return await handle(function, path, decode, request.headers, await request.body())

    def described() -> Any:
        if database not in settings().sources:
            return None
        return _by_sdk(database, path, kind)(function)

    return _served(function, serve, described)


async def handle(
    function: Function, path: str, decode: Decode, headers: Mapping[str, str], body: bytes
) -> Answer:
    """Answer one event: 200 settles it, 503 makes the platform redeliver it."""

    async def handled() -> None:
        await function(decode(function.__name__, path, headers, body))

    with about(
        function=function.__name__,
        event_id=headers.get("ce-id"),
        document=headers.get("ce-document") or headers.get("ce-ref"),
        traceparent=headers.get("traceparent"),
    ):
        return await answer(handled())


@traced("event", lambda answer, _: {"http.response.status_code": answer[1]})
async def answer(work: Awaitable[None]) -> Answer:
    """Answer with an error, to have the event redelivered, only if that may help."""
    try:
        await work
    except TryAgainLater as error:
        log("WARNING", "event.unfinished", error=error)
        return "to be delivered again", 503
    except BatchpushError as error:
        log("ERROR", "event.refused", error=error)
    except Exception as error:  # noqa: BLE001 - the event must not be lost
        # Not a bug in a handler, which is recorded, but in this package or a library.
        log("ERROR", "event.crashed", error=error)
        return "to be delivered again", 503
    return "done", 200


def _served(
    function: Callable[..., Any],
    serve: Callable[[Any], Awaitable[Answer]],
    described: Callable[[], Any],
) -> Any:
    """The function as the framework serves it, described for the CLI during its discovery."""

    async def posted(request: Any) -> Answer:
        if request.method != "POST":  # a probe
            return "only POST is answered", 405
        answer = await serve(request)
        _settle_in()
        return answer

    functools.update_wrapper(posted, function)
    if not _is_serving() and (by_sdk := described()):
        endpoint = getattr(by_sdk, ENDPOINT)
        if endpoint.eventTrigger:
            # The SDK has no option for this. Without it, an event that fails once is lost.
            endpoint.eventTrigger["retry"] = True
        vars(posted).update(vars(by_sdk))
    return functions_framework.aio.http(posted)


@functools.cache
def _settle_in() -> None:
    """Exclude everything imported and connected so far from garbage collection."""
    gc.freeze()


def _is_serving() -> bool:
    """Whether this process serves a function, as opposed to the CLI's discovery of functions.

    Discovery needs the Firebase SDK, whose import would take most of a cold start.
    """
    return "FUNCTION_TARGET" in os.environ


if _is_serving():
    gc.set_threshold(GARBAGE)  # this early, it speeds up most of a cold start


def _by_sdk(database: Database, path: str, kind: str) -> Any:
    from firebase_functions import db_fn, firestore_fn

    options = deployed_with() | {"min_instances": settings().min_instances}
    if database == "firestore":
        options["database"] = settings().database
        return getattr(firestore_fn, f"on_document_{kind}")(document=path, **options)
    return getattr(db_fn, f"on_value_{kind}")(
        reference=path, instance=watched_instance(), **options
    )


def _scheduled(schedule: str) -> Any:
    from firebase_functions import scheduler_fn

    options = deployed_with() | {"concurrency": 1, "timeout_sec": SCHEDULED_TIMEOUT}
    return scheduler_fn.on_schedule(schedule=schedule, **options)


def _dispatched() -> Any:
    from firebase_functions import options, tasks_fn

    return tasks_fn.on_task_dispatched(
        retry_config=options.RetryConfig(
            max_attempts=100, min_backoff_seconds=10, max_backoff_seconds=600
        ),
        rate_limits=options.RateLimits(max_concurrent_dispatches=20),
        **deployed_with(),
    )


def deployed_with() -> dict[str, Any]:
    options = {
        "region": settings().region,
        "memory": MEMORY_MB,
        "timeout_sec": FUNCTION_TIMEOUT,
        "concurrency": settings().concurrency,
        "cpu": 1,  # the platform requires a whole one for more than one event at a time
    }
    if account := settings().service_account:
        options["service_account"] = _whole(account)
    return options


def _whole(account: str) -> str:
    """The service account with its project, which the CLI omits in the jobs of schedules.

    `GCLOUD_PROJECT` is the project that the CLI deploys to.
    """
    project = os.environ.get("GCLOUD_PROJECT")
    is_short = account.endswith("@") and project
    return f"{account}{project}.iam.gserviceaccount.com" if is_short else account
