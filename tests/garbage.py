"""Documents, values and events as no app should write them, by a seeded chance."""

import json
import os
import random
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from batchpush.google.protocol.firestore_pb2 import Document, DocumentEventData, Value
from tests.events import DATABASE, DOCUMENTS, FIRESTORE, TIME

EXAMPLES = int(os.environ.get("TORTURE_EXAMPLES", "2000"))

LINE = {"severity", "message", "function", "event_id", "document", "app", "error", "data"}
MAX_LINE = 64_000  # characters, escaped
# Firestore's fields for the values that stand for themselves
PLAIN = {
    bool: "boolean_value",
    int: "integer_value",
    float: "double_value",
    str: "string_value",
}

# What the handlers read, so that garbage gets past the first check.
# fmt: off
FIELDS = [
    "sender_id", "text", "image_url", "recipient_ids", "unread_message", "member_ids",
    "unread_by", "members",
    "muted_by", "status", "spent", "credit_limit", "currency", "current_player_id",
    "customer_id", "passenger_ids", "departs_at", "delivered_at", "time_zone", "number", "name",
    "title", "group_id", "recipients", "message", "custom_ids", "install_ids", "tokens",
    "advertising_ids", "reads", "body", "deeplink", "media", "picture", "icon",
    "gcm_collapse_key", "enabled", "key", "priority", "time_to_live", "push_type", "labels",
    "custom_payload", "landing", "theme", "actions", "sandbox", "skip_media_check",
    "wp_template", "apps", "best_before", "display_name", "language", "push_muted", "batch",
    "push_preferences", "quiet_hours", "from", "until", "0", "1", "2", "new_at_batch",
    "live", "messages", "push_time", "local_push_time", "targeting", "query", "segments",
    "language", "published", "topics", "summary", "en", "stopped_by_article",
]
# fmt: on
VALUES: list[Any] = [
    *("ann", "bob", "delivered", "delayed", "cancelled", "pending", "EUR", "Europe/Paris", "fr"),
    *("high", "2030-06-01T11:05:00+00:00", "https://example.com/p.jpg", "myapp://a", "{}", "ios"),
    *(
        "22:00",
        "07:00",
        "g",
        "",
        " ",
        "/",
        "..",
        "__x__",
        "a/b",
        "a\nb",
        "\x00",
        "\u2028",
        "\x1b[31m",
    ),
    *('"}\n{"severity": "ALERT"}', "é" * 800, "😀" * 300, "\ufeff", "\u202e", "{}{0}%s$x"),
    *(True, False, None, 0, 1, -1, 2**63 - 1, -(2**63), 0.1, -0.0, 1e308, 1767225600000),
    *(float("nan"), float("inf"), float("-inf")),
]


class Garbage:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - the same garbage each time

    def text(self, of: str = string.printable + "é😀\u2028\x9b") -> str:
        length = self.random.choice((0, 1, 3, 10, 60, 1600))
        return "".join(self.random.choices(of, k=length))

    def value(self, depth: int = 0) -> Any:
        """As JSON knows them."""
        kind = self.random.random()
        if kind < 0.55 or depth > 4:
            return self.random.choice(VALUES)
        if kind < 0.65:
            return self.text()
        if kind < 0.8:
            return [self.value(depth + 1) for _ in range(self.random.randrange(4))]
        return self.fields(depth + 1)

    def fields(self, depth: int = 0) -> dict[str, Any]:
        count = self.random.choice((0, 1, 2, 4, 12, 50 if depth == 0 else 3))
        return {self.name(): self.value(depth) for _ in range(count)}

    def name(self) -> str:
        return self.random.choice(FIELDS) if self.random.random() < 0.9 else self.text()

    def document(self, likely: Mapping[str, Any]) -> dict[str, Any]:
        """What the handler wants, with some of it broken; or nothing of the kind."""
        if self.random.random() < 0.2:
            return self.fields()
        document = dict(likely)
        for name in self.random.sample(sorted(document), k=min(len(document), 2)):
            if self.random.random() < 0.6:
                document[name] = self.value()
        return document | (self.fields() if self.random.random() < 0.2 else {})

    def huge(self) -> dict[str, Any]:
        """Near the largest document, in one of its ways."""
        return self.random.choice(
            (
                {"text": "x" * 1_000_000, "sender_id": "ann"},
                {f"field-{number}": number for number in range(20_000)},
                {"recipient_ids": [f"user-{number}" for number in range(50_000)]},
                {"apps": [f"app-{number}" for number in range(50_000)], "group_id": "g"},
                {"message": {"k" * 500_000: 1}, "group_id": "g", "recipients": {}},
                {"custom_payload": deep(20), "text": deep(20)},
            )
        )

    # Firestore's events

    def firestore_body(self, path: str, before: Any, after: Any) -> bytes:
        event = DocumentEventData()
        for name, fields in (("old_value", before), ("value", after)):
            if fields is not None:
                getattr(event, name).CopyFrom(self.firestore_document(path, fields))
        return bytes(event.SerializeToString())

    def firestore_document(self, path: str, fields: Mapping[str, Any]) -> Document:
        document = Document(name=f"{DOCUMENTS}/{path}")
        for name, value in fields.items():
            self._fill(document.fields[name], value)
        return document

    def _fill(self, pb: Value, value: Any) -> None:
        """The value as Firestore holds it, or now and then another of its kinds."""
        if self.random.random() < 0.03:
            return self._fill_with_another(pb)
        match value:
            case None:
                pb.null_value = 0
            case bool() | int() | float() | str():
                setattr(pb, PLAIN[type(value)], value)
            case list():
                pb.array_value.SetInParent()
                for each in value:
                    self._fill(pb.array_value.values.add(), each)
            case dict():
                pb.map_value.SetInParent()
                for key, each in value.items():
                    self._fill(pb.map_value.fields[key], each)
        return None

    def _fill_with_another(self, pb: Value) -> None:
        match self.random.randrange(5):
            case 0:
                pb.bytes_value = b"\xff\x00" * self.random.randrange(5)
            case 1:
                pb.reference_value = self.random.choice(
                    (f"{DOCUMENTS}/users/ann", "projects/other/databases/x/documents/a/b")
                )
            case 2:
                pb.geo_point_value.latitude = float("nan")
            case 3:
                pb.timestamp_value.seconds = self.random.choice(
                    (0, 253_402_300_799, -62_135_596_800)
                )
            case _:
                pb.timestamp_value.nanos = 999_999_999

    # Whatever else comes as an event

    def headers(self, headers: dict[str, str]) -> dict[str, str]:
        """The event's headers, one of them gone or wrong."""
        name = self.random.choice(sorted(headers))
        rest = {key: value for key, value in headers.items() if key != name}
        if self.random.random() < 0.5:
            return rest
        wrong: tuple[Callable[[], str], ...] = (
            self.text,
            lambda: "",
            lambda: "9999-12-31T23:59:59.999999999-23:59",
            lambda: "0001-01-01T00:00:00+23:59",
            lambda: "2026-02-30T00:00:00Z",
            lambda: "%ff%00/%2e%2e",
            lambda: "/" * 5000,
        )
        return rest | {name: self.random.choice(wrong)()}

    def body(self, body: bytes) -> bytes:
        """The body, cut, scrambled, or another."""
        at = self.random.randrange(len(body) + 1)
        return self.random.choice(
            (
                b"",
                body[:at],
                body[:at] + self.random.randbytes(3) + body[at:],
                self.random.randbytes(40),
                b"null",
                b"[]",
                b'{"data": 1, "delta": {"a": {"b": 1}}}',
                b"[" * 100_000,
                b'{"delta":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
                b'{"delta": {"text": "\\ud800", "sender_id": "\\udfff"}}',
                b'{"delta": {"spent": ' + b"9" * 5_000 + b"}}",
                b'{"delta": {"spent": NaN, "credit_limit": -Infinity}}',
                json.dumps(self.value()).encode(),
                "é".encode("latin-1"),
            )
        )


def deep(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": [value]}
    return value


def headers_for(database: str, path: str, event_id: str) -> dict[str, str]:
    own = {"ce-document": path} if database == "firestore" else {"ce-ref": path}
    source = FIRESTORE if database == "firestore" else DATABASE
    return {"ce-id": event_id, "ce-source": source, "ce-time": TIME, "ce-type": "x", **own}


@dataclass(frozen=True)
class Request:
    """As much of Starlette's as a function looks at."""

    headers: dict[str, str]
    content: bytes
    method: str = "POST"

    async def body(self) -> bytes:
        return self.content


def check_line(line: str, where: str) -> None:
    """A line of the log is one object of bounded length, and tells of no mistake of ours."""
    entry = json.loads(line)
    assert entry.keys() <= LINE, where
    assert len(line) <= MAX_LINE, where
    assert line.isascii(), where
    assert entry["message"] != "event.crashed", line
