"""Firebase's callable functions, which an app calls directly as its signed-in user.

    app ──> size and shape ──> Firebase SDK: tokens, CORS ──> limits ──> handler ──> one delivery
            └──────── a thread for each call ───────────┘     └── one event loop for all ──┘

Callers may be hostile. A response is one of a few fixed texts; nothing the caller sent appears in
it or in a log.
"""

import asyncio
import functools
import io
import json
import logging
import os
import re
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from batchpush.documents import Document, is_document_id
from batchpush.environment import settings
from batchpush.errors import BatchpushError, TryAgainLater
from batchpush.events.change import Change
from batchpush.events.triggers import deployed_with
from batchpush.google.clients import firebase_app
from batchpush.google.sources import CALLABLE
from batchpush.logs import about, log, raised_at, show_to_developer
from batchpush.tracing import traced

MAX_BODY = 10_000  # bytes of a request
ANSWER_WITHIN = 60.0  # seconds; Firebase's clients wait 70

Code = Literal[
    "unauthenticated",
    "invalid-argument",
    "permission-denied",
    "resource-exhausted",
    "unavailable",
    "internal",
]
Answer = dict[str, bool]
Result = TypeVar("Result")

OK: Answer = {"ok": True}


class CallRefused(BatchpushError):
    """The response to the app: one of Firebase's codes, and a text without anything it sent."""

    def __init__(self, code: Code, text: str) -> None:
        self.code = code
        super().__init__(text)


@dataclass(frozen=True)
class CallableRequest:
    """One call of a function by a signed-in user.

    `caller` is their user id. `request_id` comes from the app and makes its retries idempotent.
    `data` is the rest of what it sent, unchecked.
    """

    function: str
    caller: str
    request_id: str
    data: Mapping[str, Any]
    time: datetime

    @property
    def change(self) -> Change:
        """The call as an event; the same `request_id` of another caller is another event."""
        path = f"{self.function}/{self.caller}/{self.request_id}"
        return Change(
            id=self.request_id,
            source=f"{CALLABLE}{self.function}/{self.caller}/databases/{settings().database}",
            path=path,
            params={},
            before=None,
            after=Document(path, self.data),
            time=self.time,
            database="firestore",
            function=self.function,
        )


Function = Callable[[CallableRequest], Awaitable[None]]


def on_call(function: Function) -> Any:
    """Let apps call the function with Firebase's client libraries.

    The Firebase SDK serves it and checks the tokens. Other functions do not import the SDK.
    """
    target = os.environ.get("FUNCTION_TARGET", function.__name__)
    if target != function.__name__ or "firestore" not in settings().sources:
        return function
    if "FUNCTION_TARGET" in os.environ:
        # The framework's server would handle only four calls at a time, despite `concurrency`.
        os.environ.setdefault("THREADS", str(settings().concurrency))
    return _guarded(_by_sdk(function))


# From the request to a call


@traced("event", lambda *_: {})
async def answer(function: Function, caller: str | None, data: Any) -> Answer:
    """The response to the app; raises only `CallRefused`."""
    call = read_call(function.__name__, caller, data, datetime.now(UTC))
    with about(function=call.function, event_id=call.change.delivery_id):
        try:
            await function(call)
        except CallRefused:
            raise
        except TryAgainLater as error:
            log("WARNING", "call.unfinished", error=error)
            raise _unfinished() from None
        except Exception as error:  # noqa: BLE001 - its text may quote what apps must not see
            _log_crash(error)
            raise CallRefused("internal", "this could not be done") from None
    return OK


def read_call(function: str, caller: str | None, data: Any, now: datetime) -> CallableRequest:
    """Raises `CallRefused` for a request that no function could use."""
    if caller is None:
        raise CallRefused("unauthenticated", "sign in first")
    if not is_document_id(caller):  # a custom identity provider may issue such ids
        raise CallRefused("permission-denied", "this user id cannot be used")
    if not isinstance(data, dict):
        raise CallRefused(
            "invalid-argument", f'the body must be {{"data": {{...}}}} of at most {MAX_BODY} bytes'
        )
    request_id = data.get("request_id")
    if not isinstance(request_id, str) or not re.fullmatch(r"[A-Za-z0-9_-]{8,64}", request_id):
        raise CallRefused(
            "invalid-argument", "request_id must be 8 to 64 letters, digits, _ and - only"
        )
    rest = {name: value for name, value in data.items() if name != "request_id"}
    return CallableRequest(function, caller, request_id, rest, now)


def _unfinished() -> CallRefused:
    return CallRefused("unavailable", "not done yet; try again with the same request_id")


def _log_crash(error: Exception) -> None:
    """Log only the error's type and origin: its text may hold what the caller sent."""
    show_to_developer(error)
    data = {"kind": type(error).__name__, "raised_at": raised_at(error)}
    log("ERROR", "call.crashed", data=data)


# Serving


def _by_sdk(function: Function) -> Any:
    """The function as the Firebase SDK serves it and describes it to the CLI."""
    from firebase_functions import https_fn

    def serve(request: Any) -> Answer:
        try:
            return run(answer(function, request.auth and request.auth.uid, request.data))
        except CallRefused as refusal:
            code = https_fn.FunctionsErrorCode(refusal.code)
            raise https_fn.HttpsError(code, str(refusal)) from None

    functools.update_wrapper(serve, function)
    options = deployed_with() | {"enforce_app_check": settings().enforce_app_check}
    return https_fn.on_call(**options)(serve)


def _guarded(by_sdk: Any) -> Any:
    """Wrap the SDK's function so that its responses and logs reveal nothing about a call."""

    def serve(request: Any) -> Any:
        traceparent = request.headers.get("traceparent")
        with about(function=by_sdk.__name__, traceparent=traceparent):
            try:
                _prepare()
                response = by_sdk(_tamed(request))
            except Exception as error:  # noqa: BLE001 - the framework would send its text
                _log_crash(error)
                return {"error": {"status": "INTERNAL", "message": "this could not be done"}}, 500
            if response.status_code >= 400:
                log("WARNING", "call.refused", data=response.get_json()["error"])
            return response

    logging.getLogger().addFilter(_is_not_of_the_sdk)
    return functools.update_wrapper(serve, by_sdk)


def _tamed(request: Any) -> Any:
    """The request with a body that the SDK accepts: `{"data": null}` replaces any other.

    For other bodies, the SDK would log keys and values, or respond with an internal error.
    """
    body = _read(request.stream)
    if request.method == "POST" and not _has_only_data(body):
        body = b'{"data": null}'
    environ = {name: value for name, value in request.environ.items() if name not in ABOUT_THE_BODY}
    if not settings().enforce_app_check:
        # The SDK would still fetch keys to check the token.
        environ.pop("HTTP_X_FIREBASE_APPCHECK", None)
    return type(request)(
        environ | {"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
    )


ABOUT_THE_BODY = {"HTTP_TRANSFER_ENCODING", "HTTP_CONTENT_ENCODING", "wsgi.input_terminated"}


def _read(stream: Any) -> bytes:
    """The body; empty if too large. Reads all of it: a client that still sends sees no response."""
    body = b""
    while part := stream.read(65_536):
        body = body + part if len(body) <= MAX_BODY else body
    return body if len(body) <= MAX_BODY else b""


def _has_only_data(body: bytes) -> bool:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(given, dict) and given.keys() == {"data"}


def _is_not_of_the_sdk(line: logging.LogRecord) -> bool:
    """Replace the SDK's log lines, which quote tokens, bodies and errors, with our own."""
    if "firebase_functions" not in line.pathname:
        return True
    if error := sys.exc_info()[1]:
        log("WARNING", "call.unverified", data={"kind": type(error).__name__})
    return False


# The event loop


_starting = threading.Lock()


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run it on the event loop; if it takes too long, raises `CallRefused` and lets it continue."""
    future = asyncio.run_coroutine_threadsafe(work, _prepare())
    try:
        return future.result(ANSWER_WITHIN)
    except TimeoutError:
        raise _unfinished() from None


def _prepare() -> asyncio.AbstractEventLoop:
    """The event loop and Firebase app, created by the first call: the server forks before that."""
    with _starting:
        firebase_app()
        return _loop()


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """One loop for the process, since connections belong to the loop that created them."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="batchpush", daemon=True).start()
    return loop
