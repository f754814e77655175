"""`Change`: one shape for a Firestore and a Realtime Database write.

The CloudEvents are decoded here and not by the Firebase SDK, which makes a client and looks up
credentials for every event, and which raises on values that the databases allow: a reference to
another project, a list or a plain value at a Realtime Database path.
"""

import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import quote, unquote

from google.events.cloud.firestore import DocumentEventData
from google.protobuf.message import DecodeError

from batchpush.errors import InvalidDocument, MalformedEvent
from batchpush.logs import log
from batchpush.realtime_database import is_path
from batchpush.sources import check_database, check_firestore

Database = Literal["firestore", "database"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

PEOPLE = "users"  # the collection of profiles
MAX_ID_BYTES = 1_500  # of one segment of a path, in Firestore


class Reference(str):
    """A Firestore reference: the path of a document, which is not to be taken for a text."""

    __slots__ = ()


class Document(dict[str, Any]):
    """A document's fields, and its path; the readers below name the field that is wrong.

    An absent field and a null one are the same: the Realtime Database does not store nulls.
    """

    def __init__(self, path: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.path = path

    def invalid(self, field: str, problem: str) -> InvalidDocument:
        return InvalidDocument(self.path, field, problem)

    def string(self, field: str, default: str | None = None) -> str:
        """A text; required and not blank unless there is a default."""
        value = self.get(field)
        if value is None:
            if default is None:
                raise self.invalid(field, "is missing")
            return default
        if not isinstance(value, str) or isinstance(value, Reference):
            raise self.invalid(field, f"must be a string, not {_kind(value)}")
        if not is_unicode(value):
            raise self.invalid(field, "is not valid Unicode")
        if default is None and is_blank(value):
            raise self.invalid(field, "is empty")
        return value

    def id(self, field: str) -> str:
        """The id of another document: a string that can stand in a path.

        A reference to a profile is the id of its person.
        """
        value = self.get(field)
        is_reference = isinstance(value, Reference)
        return self._checked_id(field, value if is_reference else self.string(field))

    def ids(self, field: str) -> tuple[str, ...] | None:
        """A list of ids, each once and in order; None where the field is absent.

        What holds nothing, such as an empty string, is left out.
        """
        items = self._items(field)
        if items is None:
            return None
        return tuple(dict.fromkeys(self._checked_id(field, item) for item in items))

    def valid_ids(self, field: str) -> tuple[str, ...] | None:
        """The ids of a list, without the items that are none: these do not hold up the others.

        Such a field is named in a warning; raises `InvalidDocument` only where no item is an id.
        """
        items = self._items(field)
        if items is None:
            return None
        ids, first_error = [], None
        for item in items:
            try:
                ids.append(self._checked_id(field, item))
            except InvalidDocument as error:
                first_error = first_error or error
        if first_error:
            if not ids:
                raise first_error
            warn_of_field(field)
        return tuple(dict.fromkeys(ids))

    def _items(self, field: str) -> list[Any] | None:
        """The items of a list that hold something."""
        value = self.get(field)
        if value is None:
            return None
        items = as_list(value)
        if items is None:
            raise self.invalid(field, f"must be a list of strings, not {_kind(value)}")
        # A Realtime Database list keeps the holes of removed items as nulls.
        return [
            item
            for item in items
            if item is not None and not (isinstance(item, str) and is_blank(item))
        ]

    def _checked_id(self, field: str, value: object) -> str:
        if isinstance(value, Reference):
            collection, _, value = value.partition("/")
            if collection != PEOPLE or not value or "/" in value:
                raise self.invalid(field, f"is a reference to a document outside {PEOPLE}/")
        if not isinstance(value, str):
            raise self.invalid(field, "must be a list of strings")
        if not is_document_id(value):
            raise self.invalid(field, "is not a document id")
        return value


def as_list(value: object) -> list[Any] | None:
    """A list, also where it comes as a map of its indices; None for anything else.

    That is what the Realtime Database makes of a list that lost more than half of its items.
    """
    if isinstance(value, dict) and value and all(map(INDEX.fullmatch, value)):
        return [value[key] for key in sorted(value, key=int)]
    return value if isinstance(value, list) else None


INDEX = re.compile(r"0|[1-9][0-9]{0,8}")

# White space, controls, and what Unicode has a display ignore: zero-width characters, directions
# of writing, fillers and variation selectors. So is the blank of Braille, which shows nothing.
INVISIBLE = (
    r"\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
    r"\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
VISIBLE = re.compile(f"[^{INVISIBLE}]")


def is_blank(text: str) -> bool:
    """Whether a reader would see nothing of the text."""
    return VISIBLE.search(text) is None


def is_unicode(text: str) -> bool:
    """False for a text with half of a surrogate pair, which JSON can carry and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_document_id(text: str) -> bool:
    """Whether the text can be one segment of a path, in both databases."""
    return (
        0 < len(text) <= 768
        and bool(text.strip())
        and not re.search(r"[/\x00-\x1f\x7f]", text)
        and not re.fullmatch(r"__.*__", text)
        and _is_segment(text)
    )


def _is_segment(text: str) -> bool:
    """Whether a database can be asked for it: not too long, and not a step up in an address."""
    return (
        is_unicode(text)
        and len(text.encode()) <= MAX_ID_BYTES
        and not re.fullmatch(r"(\.|%2e){1,2}", text, re.IGNORECASE)
    )


@functools.cache
def warn_of_field(field: str) -> None:
    """Name a field whose value is not understood, once per process, and not the value."""
    log("WARNING", "field.invalid", data={"field": field})


KINDS = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    Reference: "a reference",
    list: "a list",
    dict: "a map",
}


def _kind(value: object) -> str:
    return KINDS.get(type(value), f"a {type(value).__name__}")


@dataclass(frozen=True)
class Late:
    """What a push waited for is over: quiet hours, or a burst.

    `documents` are those that it is about, as they are now, the newest last; what was deleted
    meanwhile is left out, and so are as many older ones as `omitted` says, where they are too many
    to be read. `entry` and `burst` are what the ledger holds of it.
    """

    documents: tuple[Document, ...]
    entry: Any
    burst: Any
    omitted: int = 0


@dataclass(frozen=True)
class Change:
    """One write to one document.

    `id` and `source` are the CloudEvent's: together they name the event, also when it is
    delivered twice. `function` is the one that was called. `path` is the document's, without
    the database's name; `params` are the values of the `{...}` in the watched path. `before` is
    None for a create, `after` for a delete. Firestore timestamps are aware datetimes, references
    are paths (`Reference`), a reference into another database keeps its full name.

    A change whose push had to wait comes once more, `late`: `before` is None then, and `after` is
    the newest of the documents as they are now.
    """

    id: str
    source: str
    path: str
    params: Mapping[str, str]
    before: Document | None
    after: Document | None
    time: datetime
    database: Database
    function: str
    misshapen: str | None = None
    late: Late | None = None

    @property
    def documents(self) -> tuple[Document, ...]:
        """What the push is about: one document, or all of those that waited for it together."""
        return self.late.documents if self.late else (self.document,)

    def without(self, path: str) -> "Change | None":
        """A late change that is not about the document at the path; None if nothing is left."""
        if self.late is None:
            return None
        rest = tuple(each for each in self.late.documents if each.path != path)
        if not rest or len(rest) == len(self.late.documents):
            return None
        return replace(self, after=rest[-1], late=replace(self.late, documents=rest))

    @property
    def document(self) -> Document:
        """The document as the write left it, or as it was before it was deleted.

        Raises `InvalidDocument` for a Realtime Database value that is no map of fields; `before`
        and `after` are None then. So it does where an id of its path is one that no database can
        be asked for.
        """
        document = self.after if self.after is not None else self.before
        if self.misshapen or document is None:
            problem = self.misshapen or "was empty before and after the write"
            raise InvalidDocument(self.path, None, problem)
        for name, value in self.params.items():
            if not _is_segment(value):
                raise InvalidDocument(self.path, name, "is not a document id")
        return document

    def became(self, is_so: Callable[[Document], bool]) -> bool:
        """Whether something is so after the write and was not before it; a create counts.

        A document in which it could not be read before was not so. Of a late change, whether it
        is so still.
        """
        if self.document is not self.after or not is_so(self.after):
            return False
        try:
            return self.before is None or not is_so(self.before)
        except InvalidDocument:
            return True


def path_params(pattern: str, path: str) -> dict[str, str] | None:
    """The values of the pattern's `{...}` in a path; None where the path does not fit."""
    names, values = pattern.split("/"), path.split("/")
    if len(names) != len(values):
        return None
    params: dict[str, str] = {}
    for name, value in zip(names, values, strict=True):
        if name.startswith("{"):
            params[name.strip("{}")] = value
        elif name != value:
            return None
    return params


# Firestore


def from_firestore(function: str, pattern: str, headers: Mapping[str, str], body: bytes) -> Change:
    """Decode a `google.cloud.firestore.document.v1.*` CloudEvent in binary mode."""
    try:
        event = DocumentEventData.pb().FromString(body)
    except DecodeError:
        raise MalformedEvent("the body is not a DocumentEventData message") from None
    # The name in the body, not the `ce-document` header: a header cannot hold every id as it is.
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


def _document(path: str, document: Any) -> Document | None:
    if not document.name:
        return None
    database = document.name.partition("/documents/")[0]
    return Document(path, {k: plain(v, database) for k, v in document.fields.items()})


def plain(value: Any, database: str) -> Any:
    """A `Value` of Firestore as Python's own; `database` is `projects/P/databases/D`."""
    kind = value.WhichOneof("value_type")
    match kind:
        case None | "null_value":
            return None
        case "map_value":
            return {k: plain(v, database) for k, v in value.map_value.fields.items()}
        case "array_value":
            return [plain(v, database) for v in value.array_value.values]
        case "timestamp_value":
            stamp = value.timestamp_value
            return EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)
        case "reference_value":
            return Reference(value.reference_value.removeprefix(f"{database}/documents/"))
        case "geo_point_value":
            point = value.geo_point_value
            return {"latitude": point.latitude, "longitude": point.longitude}
        case _:
            return getattr(value, kind)


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
        misshapen=None if is_map else f"must be a map of fields, not {_kind(value)}",
    )


def _reference(header: str) -> str:
    """The path of a value, from the `ce-ref` header; raises `MalformedEvent` for one with a `%`.

    A header has letters beyond ASCII, spaces and `"` as percent escapes (CloudEvents, HTTP binding,
    3.1.3.2), or as bytes in UTF-8, which a server takes for Latin-1. Nothing says which. So an
    escape counts only where there must be one, and an id with a `%` of its own, which could pass
    for another id, is refused.
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
    """The value after a write, from the value before and what the write changed.

    Nulls in the delta delete. A list is an object with whole numbers for keys, and an object
    whose keys are mostly whole numbers is shown as a list, as the Realtime Database does it.
    """
    return _shown(_merged(_tree(before), _tree(delta)))


def _tree(value: Any) -> Any:
    """A list as the object that it is in the database."""
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
    """What names the event, in the headers of binary mode."""
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
