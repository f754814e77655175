"""Logs: one event, one line of JSON, one write.

Cloud Logging reads `severity` and `message`; the other field names are fixed and can be queried.
Text from users appears only under `data`, so that it cannot pass for one of our fields, and in the
path of the `document`, whose ids an app may choose.
"""

import functools
import json
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from datetime import datetime
from types import MappingProxyType
from typing import Any, TextIO

from batchpush.environment import LOG_LEVELS, in_emulator, project_id, settings
from batchpush.errors import BatchpushError
from batchpush.scoped import holding
from batchpush.tracing import Trace, read_trace, trace

MAX_DATA = 20_000  # characters of `data`; Cloud Logging takes 256 KiB per line
MAX_ABOUT = 2_000  # of the event's id, and of the document's path

_output: ContextVar[TextIO | None] = ContextVar("output", default=None)
_about: ContextVar[Mapping[str, str | None]] = ContextVar("about", default=MappingProxyType({}))


def written_to(output: TextIO) -> AbstractContextManager[None]:
    """Write the lines logged inside the block there, instead of to stdout."""
    return holding(_output, output)


@contextmanager
def about(
    *,
    function: str,
    event_id: str | None = None,
    document: str | None = None,
    traceparent: str | None = None,
) -> Iterator[None]:
    """Add the event to every line logged inside the block, including lines of other tasks.

    `traceparent` is the request's header. Without one, the trace around the block stays.
    """
    names = {"function": function, "event_id": event_id, "document": document}
    event = _about.set({name: text and text[:MAX_ABOUT] for name, text in names.items()})
    request = trace.set(read_trace(traceparent) or trace.get())
    try:
        yield
    finally:
        trace.reset(request)
        _about.reset(event)


def log(
    severity: str,
    event: str,
    *,
    app: str | None = None,
    error: BaseException | None = None,
    data: Mapping[str, Any] | None = None,
) -> None:
    """Write one line; `event` is a fixed name such as `push.accepted`.

    For an error, writes its type, text and origin, never its local variables.
    """
    if LOG_LEVELS.index(severity) < LOG_LEVELS.index(settings().log_level):
        return
    of_error = {"error": str(error), "raised_at": raised_at(error)} if error else {}
    if error:
        show_to_developer(error)
    entry = {
        "severity": severity,
        "message": event,
        **_about.get(),
        "app": app,
        "error": type(error).__name__ if error else None,
    }
    fields: dict[str, Any] = {name: value for name, value in entry.items() if value is not None}
    if found := trace.get():
        fields |= _of_trace(found)
    if data or of_error:
        fields["data"] = {**(data or {}), **of_error}
    line = _encode(fields)
    if len(line) > MAX_DATA:
        line = _bounded(fields)
    output = _output.get() or sys.stdout
    output.write(line + "\n")
    output.flush()


@functools.lru_cache(maxsize=100)  # an event has several lines
def _of_trace(request: Trace) -> Mapping[str, Any]:
    """The fields by which Cloud Logging shows all lines of a trace together."""
    return {
        "logging.googleapis.com/trace": f"projects/{project_id()}/traces/{request.trace_id}",
        "logging.googleapis.com/spanId": request.span_id,
        "logging.googleapis.com/trace_sampled": request.is_sampled,
    }


def _bounded(fields: dict[str, Any]) -> str:
    """The line with `data` cut if too long: Cloud Logging would split it and break the JSON."""
    text = _encode(fields.get("data", {}))
    if len(text) > MAX_DATA:
        fields["data"] = {"cut": text[:MAX_DATA]}
    return _encode(fields)


def reason_of(error: Exception) -> str:
    """What may be recorded about an error; for a foreign one, only its type and origin.

    The text of a foreign error may hold anything.
    """
    if isinstance(error, BatchpushError):
        return str(error)
    show_to_developer(error)
    return f"{type(error).__name__} at {raised_at(error)}"


def show_to_developer(error: BaseException) -> None:
    """Print the traceback of a foreign error, in the emulator only: it may hold anything."""
    if in_emulator() and not isinstance(error, BatchpushError):
        traceback.print_exception(error)


def raised_at(error: BaseException) -> str | None:
    """The file and line that raised the error."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


# Made once: `json.dumps` makes an encoder for each call.
_encode = json.JSONEncoder(default=_plain).encode
