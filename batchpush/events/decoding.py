"""Decodes the CloudEvent of a database write into a `Change`.

The Firebase SDK is not used for this: it creates a client and looks up credentials for every event,
and it raises on values that the databases allow, such as a reference to another project, or a list
or a plain value at a Realtime Database path.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

from google.protobuf.message import DecodeError

from batchpush.documents import INDEX, Document, kind_of
from batchpush.errors import MalformedEvent
from batchpush.events.change import Change, path_params
from batchpush.google.protocol import firestore_pb2 as protocol
from batchpush.google.realtime_database import is_path
from batchpush.google.sources import check_database, check_firestore
from batchpush.google.values import plain

# Firestore


def from_firestore(function: str, pattern: str, headers: Mapping[str, str], body: bytes) -> Change:
    """Decode a `google.cloud.firestore.document.v1.*` CloudEvent in binary mode."""
    try:
        event = protocol.DocumentEventData.FromString(body)
    except DecodeError:
        raise MalformedEvent("the body is not a DocumentEventData message") from None
    # The name in the body, not the `ce-document` header: a header cannot hold every id verbatim.
    path = _document_path(event.value.name or event.old_value.name)
    attributes = _attributes(headers)
    check_firestore(attributes["source"])
    return Change(
        **attributes,
        function=function,
        path=path,
        params=_params(pattern, path),
        before=_document(path, event.old_value),
        after=_document(path, event.value),
        database="firestore",
    )


def _document_path(name: str) -> str:
    """`projects/P/databases/D/documents/users/u1` -> `users/u1`."""
    return name.partition("/documents/")[2]


def _document(path: str, document: protocol.Document) -> Document | None:
    if not document.name:
        return None
    database = document.name.partition("/documents/")[0]
    return Document(path, {k: plain(v, database) for k, v in document.fields.items()})


# Realtime Database


def from_database(function: str, pattern: str, headers: Mapping[str, str], body: bytes) -> Change:
    """Decode a `google.firebase.database.ref.v1.*` CloudEvent in binary mode."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise MalformedEvent("the body is not JSON") from None
    if not isinstance(event, dict):
        raise MalformedEvent("the body is not a JSON object")
    attributes = _attributes(headers)
    check_database(attributes["source"])
    path = _reference(headers.get("ce-ref", ""))
    before = event.get("data")
    try:
        after = apply_delta(before, event.get("delta"))
    except RecursionError:
        raise MalformedEvent("the value is nested too deeply") from None
    value = before if after is None else after
    is_map = value is None or isinstance(value, dict)
    return Change(
        **attributes,
        function=function,
        path=path,
        params=_params(pattern, path),
        before=Document(path, before) if isinstance(before, dict) else None,
        after=Document(path, after) if isinstance(after, dict) else None,
        database="database",
        misshapen=None if is_map else f"must be a map of fields, not {kind_of(value)}",
    )


def _reference(header: str) -> str:
    """The path of a value, from the `ce-ref` header; raises `MalformedEvent` for a `%` in an id.

    A header holds non-ASCII letters, spaces and `"` either as percent escapes (CloudEvents, HTTP
    binding, 3.1.3.2) or as UTF-8 bytes, which servers read as Latin-1. Nothing says which. So only
    necessary escapes are decoded, and an id with its own `%`, which could pass for another id, is
    refused.
    """
    text = _in_utf8(header).strip("/")
    try:
        path = unquote(text, errors="strict")
    except UnicodeDecodeError:
        path = text
    if "%" in path or ("%" in text and text.lower() != quote(path, UNESCAPED).lower()):
        raise MalformedEvent("an id with a % is not read from the Realtime Database")
    if not is_path(path):
        raise MalformedEvent("the header 'ce-ref' is not a path in a Realtime Database")
    return path


UNESCAPED = "".join(map(chr, range(0x21, 0x7F))).translate(dict.fromkeys(b'"%'))


def _in_utf8(header: str) -> str:
    try:
        return header.encode("latin-1").decode()
    except UnicodeEncodeError:
        return header
    except UnicodeDecodeError:
        raise MalformedEvent("the header 'ce-ref' is not UTF-8") from None


def apply_delta(before: Any, delta: Any) -> Any:
    """The value after a write, from the value before it and the delta.

    Nulls in the delta delete. As in the Realtime Database, a list is an object with integer keys,
    and an object whose keys are integers with few gaps is returned as a list.
    """
    return _shown(_merged(_tree(before), _tree(delta)))


def _tree(value: Any) -> Any:
    """Lists as objects, the way the database stores them."""
    if isinstance(value, list):
        value = {str(index): item for index, item in enumerate(value)}
    if isinstance(value, dict):
        return {key: _tree(item) for key, item in value.items()}
    return value


def _merged(before: Any, delta: Any) -> Any:
    if not isinstance(delta, dict):
        return delta
    merged = dict(before) if isinstance(before, dict) else {}
    for key, change in delta.items():
        merged[key] = _merged(merged.get(key), change)
    return {key: item for key, item in merged.items() if item is not None} or None


def _shown(tree: Any) -> Any:
    if not isinstance(tree, dict):
        return tree
    shown = {key: _shown(item) for key, item in tree.items()}
    shown = {key: item for key, item in shown.items() if item is not None}
    if not shown:
        return None
    if not all(map(INDEX.fullmatch, shown)):
        return shown
    length = max(int(key) for key in shown) + 1
    if len(shown) * 2 <= length:
        return shown
    return [shown.get(str(index)) for index in range(length)]


# Both


def _params(pattern: str, path: str) -> dict[str, str]:
    params = path_params(pattern, path)
    if params is None:
        raise MalformedEvent(f"the document is not at {pattern}")
    return params


def _attributes(headers: Mapping[str, str]) -> dict[str, Any]:
    """The attributes that identify the event, from the headers of binary mode."""
    try:
        return {
            "id": headers["ce-id"],
            "source": headers["ce-source"],
            "time": datetime.fromisoformat(headers["ce-time"]).astimezone(UTC),
        }
    except KeyError as missing:
        raise MalformedEvent(f"the header {missing} is missing") from None
    except (ValueError, OverflowError):
        raise MalformedEvent("the header 'ce-time' is not a time") from None
