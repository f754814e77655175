"""What is measured: the documents that are written, and those that the functions read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batchpush.google.connection import Connection
from batchpush.google.firestore import Firestore
from batchpush.google.protocol.firestore_pb2 import DocumentEventData
from tests.events import firestore_body, firestore_headers

NUMBER = "0000000000"  # stands wherever a document or an event is named
SENDER = "sender-0000"
SENDERS = 3_000  # so that none of them reaches a limit
AUDIENCES = 1, 10, 100, 1_000
AT_ONCE = 400  # documents in one commit

PUSH = {
    "group_id": "order_shipped",
    "recipients": {"custom_ids": ["UhEJZ8bWzaNQLYyzSGbWKWNVq1n1"]},
    "message": {"title": "On its way", "body": "Hello Ann, your order is on its way. 📦"},
    "deeplink": "myapp://orders/4711",
}
MESSAGE = {"sender_id": SENDER, "image_url": "https://example.com/cat.jpg"}
APPS = 2


@dataclass(frozen=True, eq=False)
class Scenario:
    """A function, and the document whose creation calls it; `calls` is how many Batch receives.

    The name is `outbox`, or how many read a message.
    """

    name: str
    function: str
    path: str
    fields: Mapping[str, Any]
    calls: int

    def event(self) -> tuple[dict[str, str], bytes]:
        """Headers and body."""
        now = datetime.now(UTC)
        written = DocumentEventData.FromString(firestore_body(self.path, after=self.fields))
        written.value.create_time.FromDatetime(now)
        written.value.update_time.FromDatetime(now)
        event_id = f"{self.function}-{NUMBER}"
        headers = firestore_headers(self.path, event_id=event_id, time=now.isoformat())
        return headers, written.SerializeToString()

    def requests(self) -> Callable[[int], bytes]:
        """Events as they go over the line, each with a number of its own."""
        headers, body = self.event()
        lines = [
            "POST / HTTP/1.1",
            "host: localhost",
            f"content-length: {len(body)}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body

        def numbered(number: int) -> bytes:
            sender = sender_named(number % SENDERS)
            with_sender = request.replace(SENDER.encode(), sender.encode())
            return with_sender.replace(NUMBER.encode(), b"%010d" % number)

        return numbered


def sender_named(number: int) -> str:
    return f"sender-{number:04}"


def message_to(readers: int) -> Scenario:
    """A picture, sent in a conversation with so many others, half of whom read French."""
    languages = min(readers, 2)
    path = f"conversations/of-{readers}/messages/{NUMBER}"
    return Scenario(str(readers), "new_message", path, MESSAGE, APPS * languages)


OUTBOX = Scenario("outbox", "outbox", f"pushes/{NUMBER}", PUSH, APPS)
CHAT = message_to(2)


SCENARIOS = {
    each.name: each for each in (OUTBOX, CHAT, *(message_to(number) for number in AUDIENCES))
}


async def seed() -> None:
    """Store the conversations and profiles that messages need."""
    documents: dict[str, dict[str, Any]] = {
        f"users/{sender_named(number)}": {"display_name": "Ann", "language": "en"}
        for number in range(SENDERS)
    }
    for readers in {2, *AUDIENCES}:
        ids = [f"reader-{number:04}" for number in range(readers)]
        documents[f"conversations/of-{readers}"] = {"member_ids": ids}
        for number, reader in enumerate(ids):
            language = "fr" if number % 2 else "en"
            documents[f"users/{reader}"] = {"display_name": f"Bob {number}", "language": language}
    firestore = Firestore(Connection())
    writes = [firestore.put(path, fields) for path, fields in documents.items()]
    for start in range(0, len(writes), AT_ONCE):
        await firestore.commit(writes[start : start + AT_ONCE])
