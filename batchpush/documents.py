"""Documents of both databases, with readers that name an invalid field."""

import functools
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from batchpush.errors import InvalidDocument
from batchpush.logs import log

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

PEOPLE = "users"  # the collection of profiles
MAX_ID_BYTES = 1_500  # of one segment of a path, in Firestore


class Reference(str):
    """A Firestore reference: the path of a document, which must not pass for a text."""

    __slots__ = ()


class Document(dict[str, Any]):
    """A document's fields and its path. The readers raise `InvalidDocument`, naming the field.

    An absent field and a null one mean the same: the Realtime Database does not store nulls.
    """

    def __init__(self, path: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.path = path

    def invalid(self, field: str, problem: str) -> InvalidDocument:
        """An error to raise, which names this document and the field."""
        return InvalidDocument(self.path, field, problem)

    def string(self, field: str, default: str | None = None) -> str:
        """A text; required and not blank, unless a default is given."""
        value = self.get(field)
        if value is None:
            if default is None:
                raise self.invalid(field, "is missing")
            return default
        if not isinstance(value, str) or isinstance(value, Reference):
            raise self.invalid(field, f"must be a string, not {kind_of(value)}")
        if not is_unicode(value):
            raise self.invalid(field, "is not valid Unicode")
        if default is None and is_blank(value):
            raise self.invalid(field, "is empty")
        return value

    def id(self, field: str) -> str:
        """The id of another document: a string that is valid in a path.

        A reference to a profile counts as the user's id.
        """
        value = self.get(field)
        is_reference = isinstance(value, Reference)
        return self._checked_id(field, value if is_reference else self.string(field))

    def ids(self, field: str) -> tuple[str, ...] | None:
        """A list of ids, in order and without duplicates; None if the field is absent.

        Empty items, such as blank strings, are left out.
        """
        items = self._items(field)
        if items is None:
            return None
        return tuple(dict.fromkeys(self._checked_id(field, item) for item in items))

    def valid_ids(self, field: str) -> tuple[str, ...] | None:
        """Like `ids`, but without invalid items, so that they do not block the others.

        Logs a warning that names the field; raises `InvalidDocument` only if no item is valid.
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
        """The items of a list that are not empty."""
        value = self.get(field)
        if value is None:
            return None
        items = as_list(value)
        if items is None:
            raise self.invalid(field, f"must be a list of strings, not {kind_of(value)}")
        # A list in the Realtime Database has nulls in place of removed items.
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
    """A list, or a map of list indices as one; None for anything else.

    The Realtime Database returns such a map for a list that lost at least half of its items.
    """
    if isinstance(value, dict) and value and all(map(INDEX.fullmatch, value)):
        return [value[key] for key in sorted(value, key=int)]
    return value if isinstance(value, list) else None


INDEX = re.compile(r"0|[1-9][0-9]{0,8}")

# White space, control characters, and what a display ignores according to Unicode: zero-width
# characters, directional marks, fillers and variation selectors. Also the blank Braille pattern.
INVISIBLE = (
    r"\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
    r"\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
VISIBLE = re.compile(f"[^{INVISIBLE}]")


def is_blank(text: str) -> bool:
    """Whether the text has no visible character."""
    return VISIBLE.search(text) is None


def is_unicode(text: str) -> bool:
    """False for a text with a lone surrogate, which JSON can carry and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def storable(text: str) -> str:
    """The text without lone surrogates, which Firestore does not store."""
    return text.encode("utf-8", "replace").decode()


def is_document_id(text: str) -> bool:
    """Whether the text is valid as one segment of a path, in both databases."""
    return (
        0 < len(text) <= 768
        and bool(text.strip())
        and not re.search(r"[/\x00-\x1f\x7f]", text)
        and not re.fullmatch(r"__.*__", text)
        and is_segment(text)
    )


def is_segment(text: str) -> bool:
    """Whether it is safe in a request to a database: not too long, and not `.` or `..`."""
    return (
        is_unicode(text)
        and len(text.encode()) <= MAX_ID_BYTES
        and not re.fullmatch(r"(\.|%2e){1,2}", text, re.IGNORECASE)
    )


@functools.cache
def warn_of_field(field: str) -> None:
    """Log the name of a field with an invalid value, once per process, without the value."""
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


def kind_of(value: object) -> str:
    return KINDS.get(type(value), f"a {type(value).__name__}")
