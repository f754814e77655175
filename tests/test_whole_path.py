"""From the write to Batch's journal, on the emulator suite."""

import json
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from google.cloud.firestore import Client
from google.cloud.firestore_v1.base_query import FieldFilter

from emulators.batch import Batch
from emulators.secret_manager import SecretManager
from tests.events import database_body, database_headers

pytestmark = pytest.mark.suite

APPS = ["android", "ios", "web"]
DEADLINE = 30.0  # seconds; the first event starts the function's process


def until(what: str, found: Callable[[], Any]) -> Any:
    """What `found` returns, once it is true."""
    deadline = time.monotonic() + DEADLINE
    while not (result := found()):
        assert time.monotonic() < deadline, f"no {what} within {DEADLINE:g} s"
        time.sleep(0.02)
    return result


@pytest.fixture
def batch() -> Batch:
    batch = Batch(os.environ["BATCH_EMULATOR_URL"])
    batch.clear_faults()
    batch.clear()
    return batch


@pytest.fixture(scope="session")
def firestore() -> Client:
    client = Client()
    people = {
        "ann": {"display_name": "Ann", "language": "en"},
        "bob": {"display_name": "Bob", "language": "en"},
        "zoé": {"display_name": "Zoé", "language": "fr"},
        "tom": {"display_name": "Tom"},
    }
    for user_id, user in people.items():
        client.document(f"users/{user_id}").set(user)
    return client


@pytest.fixture
def unique() -> str:
    return uuid.uuid4().hex[:12]


def calls_about(batch: Batch, word: str) -> list[dict[str, Any]]:
    """The journal's answered calls that hold the word."""
    calls = [call for call in batch.calls() if word in json.dumps(call, ensure_ascii=False)]
    return [call for call in calls if call["reply"]]


def log_lines_about(word: str) -> list[dict[str, Any]]:
    """What the functions logged about it, as the Functions emulator passes it on."""
    log = Path(os.environ["SUITE_LOG"]).read_text(encoding="utf-8", errors="replace")
    lines = [re.search(r"\{\"severity\".*\}", line) for line in log.splitlines() if word in line]
    return [json.loads(line.group()) for line in lines if line]


def settled_records(firestore: Client, document: str) -> list[dict[str, Any]]:
    """The delivery records of a document, once nobody is sending any more."""
    query = firestore.collection("batch_deliveries").where(
        filter=FieldFilter("document", "==", document)
    )
    records = [snapshot.to_dict() for snapshot in query.get()]
    return [record for record in records if record["state"] not in ("CLAIMED", "RETRY")]


# Firestore


def test_a_message_is_one_call_per_app_to_those_who_want_it(
    firestore: Client, batch: Batch, unique: str
) -> None:
    firestore.document(f"conversations/{unique}").set(
        {"member_ids": ["ann", "bob", "zoé", "tom"], "muted_by": ["tom"]}
    )
    write = {"sender_id": "ann", "text": "Hello", "image_url": "https://example.com/p.jpg"}
    firestore.document(f"conversations/{unique}/messages/m1").set(write)
    batch.wait_for_calls(3, timeout=DEADLINE)
    # A second message, whose calls come after any that the first might still cause.
    firestore.document(f"conversations/{unique}/messages/m2").set(write | {"text": "The second"})
    until("second push", lambda: len(calls_about(batch, "The second")) == 3)

    calls = calls_about(batch, "Hello")
    assert sorted(call["app"] for call in calls) == APPS
    for call in calls:
        assert call["path"] == f"/1.1/{call['app_key']}/transactional/send"
        assert call["reply"]["status"] == 201
        assert call["body"] == {
            "group_id": "new_message",
            "recipients": {"custom_ids": ["bob", "zoé"]},
            "message": {"title": "Ann", "body": "Hello"},
            "deeplink": f"myapp://conversations/{unique}",
            "media": {"picture": "https://example.com/p.jpg"},
            "gcm_collapse_key": {"enabled": True, "key": f"conversation-{unique}"},
        }
    (record,) = until(
        "record", lambda: settled_records(firestore, f"conversations/{unique}/messages/m1")
    )
    assert record["state"] == "SENT"
    assert [call["state"] for call in record["calls"]] == ["accepted"] * 3
    keys = {call["headers"]["x-authorization"] for call in calls}
    assert len(keys) == 1
    assert re.fullmatch(r"[0-9a-f]{32}", keys.pop())


def test_the_key_was_read_from_secret_manager_and_is_in_no_log(
    firestore: Client, batch: Batch, unique: str
) -> None:
    firestore.document(f"conversations/{unique}").set({"member_ids": ["ann", "bob"]})
    firestore.document(f"conversations/{unique}/messages/m1").set(
        {"sender_id": "ann", "text": "Hello"}
    )
    key = batch.wait_for_calls(3, timeout=DEADLINE)[0]["headers"]["x-authorization"]
    reads = SecretManager(os.environ["SECRET_MANAGER_EMULATOR_URL"]).calls()
    assert any("batch-rest-api-key/versions/latest" in json.dumps(read) for read in reads)
    log = Path(os.environ["SUITE_LOG"]).read_text(encoding="utf-8", errors="replace")
    assert key not in log


def test_a_friend_request_is_read_in_the_language_of_the_one_who_is_asked(
    firestore: Client, batch: Batch, unique: str
) -> None:
    firestore.document(f"users/{unique}").set({"language": "fr"})
    firestore.document(f"users/{unique}/friend_requests/ann").set({"status": "pending"})
    until("push", lambda: len(calls_about(batch, unique)) == 3)
    calls = calls_about(batch, unique)
    assert sorted(call["app"] for call in calls) == APPS
    assert {call["body"]["message"]["body"] for call in calls} == {"Ann souhaite devenir votre ami"}
    assert calls[0]["body"]["recipients"] == {"custom_ids": [unique]}


@pytest.mark.parametrize(
    ("conversation", "message", "problem"),
    [
        ({"member_ids": ["ann", "bob"]}, {"text": "Hello"}, "sender_id is missing"),
        ({"member_ids": ["ann", "bob"]}, {"sender_id": "ann", "text": 5}, "text must be a string"),
        ({"member_ids": {"bob": True}}, {"sender_id": "ann", "text": "Hi"}, "member_ids must be"),
    ],
)
def test_a_malformed_document_is_one_log_line_and_no_push(
    firestore: Client,
    batch: Batch,
    unique: str,
    conversation: dict[str, Any],
    message: dict[str, Any],
    problem: str,
) -> None:
    firestore.document(f"conversations/{unique}").set(conversation)
    firestore.document(f"conversations/{unique}/messages/m1").set(message)
    (line,) = until("log line", lambda: log_lines_about(f"{unique}/messages/m1"))
    assert line["message"] == "delivery.refused"
    assert line["document"] == f"conversations/{unique}/messages/m1"
    assert problem in line["data"]["reason"]
    assert calls_about(batch, unique) == []
    (record,) = settled_records(firestore, f"conversations/{unique}/messages/m1")
    assert record["state"] == "REFUSED"
    assert problem in record["reason"]


def test_an_outage_of_batch_ends_in_a_record_that_waits(
    firestore: Client, batch: Batch, unique: str
) -> None:
    """The emulator never brings an event again; the platform does, and so does the sweep."""
    batch.fault(app="ios", status=504)
    firestore.document(f"conversations/{unique}").set({"member_ids": ["ann", "bob"]})
    firestore.document(f"conversations/{unique}/messages/m1").set(
        {"sender_id": "ann", "text": "Hello"}
    )
    (line,) = until(
        "end",
        lambda: [said for said in log_lines_about(unique) if said["message"] == "delivery.retry"],
    )
    found = firestore.document(f"batch_deliveries/{line['data']['delivery']}").get().to_dict()
    assert found["state"] == "RETRY"
    states = {call["app"]: call["state"] for call in found["calls"]}
    assert states == {"ios": "pending", "android": "accepted", "web": "accepted"}


def test_a_reference_into_another_project_is_no_obstacle(
    firestore: Client, batch: Batch, unique: str
) -> None:
    firestore.document(f"conversations/{unique}").set({"member_ids": ["ann", "bob"]})
    elsewhere = Client(project="another-project").document("files/f1")
    firestore.document(f"conversations/{unique}/messages/m1").set(
        {"sender_id": "ann", "text": "Look", "file": elsewhere}
    )
    until("push", lambda: len(calls_about(batch, unique)) == 3)


# Realtime Database: no emulator of it can be had here, so its events are posted to the Functions
# emulator as it would post them, and look-ups are answered from memory.


VALUES: dict[str, Any] = {
    "users/ann": {"display_name": "Ann"},
    "users/zoé": {"display_name": "Zoé", "language": "fr"},
    "conversations/rtdb": {"member_ids": ["ann", None, "zoé", "tom"], "muted_by": ["tom"]},
    "conversations/map": {"member_ids": {"ann": True}},
}


class CannedDatabase(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/").removesuffix(".json")
        body = json.dumps(VALUES.get(path)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture(scope="session")
def database() -> Iterator[Callable[[str, str, Any], None]]:
    """Writes a new value: the event goes to the function that watches the path."""
    host, port = os.environ["FIREBASE_DATABASE_EMULATOR_HOST"].split(":")
    server = ThreadingHTTPServer((host, int(port)), CannedDatabase)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()

    def write(function: str, path: str, value: Any) -> None:
        url = (
            f"{os.environ['FUNCTIONS_EMULATOR_URL']}/functions/projects/demo-batchpush"
            f"/triggers/us-central1-{function}-0"
        )
        now = datetime.now(UTC).isoformat()
        headers = database_headers(path, event_id=uuid.uuid4().hex, time=now)
        httpx.post(
            url, content=database_body(None, value), headers=headers, timeout=DEADLINE
        ).raise_for_status()

    yield write
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_message_in_the_realtime_database_is_one_call_per_app(
    database: Callable[[str, str, Any], None], batch: Batch, unique: str
) -> None:
    database("new_message_rtdb", f"messages/rtdb/{unique}", {"sender_id": "ann", "text": unique})
    until("push", lambda: len(calls_about(batch, unique)) == 3)
    calls = calls_about(batch, unique)
    assert sorted(call["app"] for call in calls) == APPS
    assert calls[0]["body"]["recipients"] == {"custom_ids": ["zoé"]}
    assert calls[0]["body"]["message"] == {"title": "Ann", "body": unique}


def test_a_friend_request_in_the_realtime_database_is_one_call_per_app(
    database: Callable[[str, str, Any], None], batch: Batch
) -> None:
    database("friend_request_rtdb", "friend_requests/zo%C3%A9/ann", {"status": "pending"})
    until("push", lambda: len(calls_about(batch, "Ann souhaite devenir votre ami")) == 3)
    assert calls_about(batch, "souhaite")[0]["body"]["recipients"] == {"custom_ids": ["zoé"]}


@pytest.mark.parametrize(
    ("conversation", "value", "problem"),
    [
        ("rtdb", ["a", "list"], "must be a map of fields, not a list"),
        ("rtdb", "a text", "must be a map of fields, not a string"),
        ("rtdb", {"text": "Hello"}, "sender_id is missing"),
        ("map", {"sender_id": "ann", "text": "Hello"}, "member_ids must be a list of strings"),
    ],
)
def test_a_malformed_value_is_one_log_line_and_no_push(
    database: Callable[[str, str, Any], None],
    batch: Batch,
    unique: str,
    conversation: str,
    value: Any,
    problem: str,
) -> None:
    database("new_message_rtdb", f"messages/{conversation}/{unique}", value)
    (line,) = until("log line", lambda: log_lines_about(unique))
    assert line["message"] == "delivery.refused"
    assert problem in line["data"]["reason"]
    assert calls_about(batch, unique) == []
