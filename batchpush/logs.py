"""Logs: one event, one line of JSON, one write.

Cloud Logging reads `severity` and `message`; the other field names are fixed and can be queried.
Text from users appears only under `data`, so that it cannot pass for one of our fields, and in the
path of the `document`, whose ids an app may choose.
"""

import json
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from types import MappingProxyType
from typing import Any

from batchpush.environment import LOG_LEVELS, settings
from batchpush.errors import BatchpushError

MAX_DATA = 20_000  # characters of `data`; Cloud Logging takes 256 KiB per line
MAX_ABOUT = 2_000  # of the event's id, and of the document's path

_about: ContextVar[Mapping[str, str | None]] = ContextVar("about", default=MappingProxyType({}))


@contextmanager
def about(*, function: str, event_id: str | None, document: str | None) -> Iterator[None]:
    """Add the event to every line logged inside the block, including lines of other tasks."""
    names = {"function": function, "event_id": event_id, "document": document}
    token = _about.set({name: text and text[:MAX_ABOUT] for name, text in names.items()})
    try:
        yield
    finally:
        _about.reset(token)


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
    entry = {
        "severity": severity,
        "message": event,
        **_about.get(),
        "app": app,
        "error": type(error).__name__ if error else None,
    }
    fields: dict[str, Any] = {name: value for name, value in entry.items() if value is not None}
    if data or of_error:
        fields["data"] = {**(data or {}), **of_error}
    line = _encode(fields)
    if len(line) > MAX_DATA:
        line = _bounded(fields)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


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
    return f"{type(error).__name__} at {raised_at(error)}"


def raised_at(error: BaseException) -> str | None:
    """The file and line that raised the error."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


# Made once: `json.dumps` makes an encoder for each call.
_encode = json.JSONEncoder(default=_plain).encode
