"""CloudEvents as the platform sends them, made from plain values."""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from google.cloud.firestore_v1._helpers import encode_dict

from batchpush.documents import Document as Fields
from batchpush.events.change import Change
from batchpush.google.protocol.firestore_pb2 import DocumentEventData

TIME = "2026-05-04T10:20:30.123456Z"
FIRESTORE = "//firestore.googleapis.com/projects/demo-batchpush/databases/(default)"
DATABASE = "//firebasedatabase.googleapis.com/projects/_/locations/us-central1/instances/demo"
DOCUMENTS = "projects/demo-batchpush/databases/(default)/documents"


def firestore_body(
    path: str, before: Mapping[str, Any] | None = None, after: Mapping[str, Any] | None = None
) -> bytes:
    event = DocumentEventData()
    for document, fields in ((event.old_value, before), (event.value, after)):
        if fields is not None:
            document.name = f"{DOCUMENTS}/{path}"
            for key, value in encode_dict(fields).items():
                raw = type(value).pb(value).SerializeToString()
                document.fields[key].ParseFromString(raw)
    body: bytes = event.SerializeToString()
    return body


def firestore_headers(
    path: str, *, event_id: str = "event-1", kind: str = "created", time: str = TIME
) -> dict[str, str]:
    return {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": FIRESTORE,
        "ce-type": f"google.cloud.firestore.document.v1.{kind}",
        "ce-time": time,
        "ce-subject": f"documents/{path}",
        "ce-location": "us-central1",
        "ce-project": "demo-batchpush",
        "ce-database": "(default)",
        "ce-namespace": "(default)",
        "ce-document": path,
        "ce-datacontenttype": "application/protobuf",
        "content-type": "application/protobuf",
    }


def database_body(data: Any, delta: Any) -> bytes:
    return json.dumps(
        {
            "@type": "type.googleapis.com/google.events.firebase.database.v1.ReferenceEventData",
            "data": data,
            "delta": delta,
        }
    ).encode()


def database_headers(
    path: str, *, event_id: str = "event-1", kind: str = "created", time: str = TIME
) -> dict[str, str]:
    return {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": DATABASE,
        "ce-type": f"google.firebase.database.ref.v1.{kind}",
        "ce-time": time,
        "ce-subject": f"refs/{path}",
        "ce-location": "us-central1",
        "ce-instance": "demo",
        "ce-firebasedatabasehost": "firebaseio.com",
        "ce-ref": path,
        "ce-datacontenttype": "application/json",
        "content-type": "application/json",
    }


def created(path: str, fields: Mapping[str, Any], **params: str) -> Change:
    """A `Change` as a handler gets it for a new document."""
    return changed(path, None, fields, **params)


def changed(
    path: str, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, **params: str
) -> Change:
    """A `Change` as a handler gets it for any write; None where there is no document."""
    return Change(
        id="event-1",
        source=FIRESTORE,
        path=path,
        params=params,
        before=None if before is None else Fields(path, before),
        after=None if after is None else Fields(path, after),
        time=datetime(2026, 5, 4, 10, 20, 30, tzinfo=UTC),
        database="firestore",
        function="test_function",
    )


Item = TypeVar("Item")


async def streamed(items: Iterable[Item]) -> AsyncIterator[Item]:
    for item in items:
        yield item


class Stored:
    """A look-up in documents held in memory, which remembers what was asked for at once."""

    def __init__(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        self._documents = documents
        self.reads: list[tuple[str, ...]] = []

    async def __call__(self, path: str) -> Fields | None:
        (document,) = await self.many(path)
        return document

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Fields | None]:
        self.reads.append(paths)
        return [
            Fields(path, self._documents[path]) if path in self._documents else None
            for path in paths
        ]

    async def pages(
        self, collection: str, *, fields: Sequence[str] = ()
    ) -> AsyncIterator[list[Fields]]:
        paths = [path for path in self._documents if path.rpartition("/")[0] == collection]
        for path in paths:
            yield [Fields(path, self._documents[path])]

    async def listed(self, collection: str, field: str, values: Sequence[str]) -> set[str]:
        found: set[str] = set()
        for path, document in self._documents.items():
            if path.rpartition("/")[0] == collection:
                value: Any = document
                for name in field.split("."):
                    value = value.get(name) if isinstance(value, Mapping) else None
                found |= set(values) & {each for each in value or () if isinstance(each, str)}
        return found
