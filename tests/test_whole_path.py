"""From the write to Batch's journal, on the emulator suite."""

import json
import os
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
import pytest
from google.cloud.firestore import Client
from google.cloud.firestore_v1.base_query import FieldFilter

from batchpush.delivery.history import ABOUT, History, Notification, about
from batchpush.events.push_texts import PushTexts, push_texts
from batchpush.google.connection import Connection
from batchpush.google.firestore import Firestore
from emulators.batch import Batch
from emulators.secret_manager import SecretManager
from tests.events import database_body, database_headers
from tests.servers import serving
from tests.waits import DEADLINE, until

pytestmark = pytest.mark.suite

APPS = ["android", "ios", "web"]


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


AT = datetime(2030, 6, 1, 9, 30, tzinfo=UTC)
KINDS: dict[str, tuple[str, dict[str, Any] | None, dict[str, Any], str]] = {
    # function: the path, the document before, what the write makes of it, what is said
    "message_unread": (
        "conversations/{}/messages/m1",
        {"sender_id": "ann", "text": "Hello", "recipient_ids": []},
        {"sender_id": "ann", "text": "Hello", "recipient_ids": ["bob"], "unread_message": True},
        "Still unread: Hello",
    ),
    "credit_limit": (
        "accounts/{}",
        {"spent": 999, "credit_limit": 1000, "currency": "EUR"},
        {"spent": 1000, "credit_limit": 1000, "currency": "EUR"},
        "€1,000.00",
    ),
    "game_turn": ("games/{}", {"name": "Go"}, {"name": "Go", "current_player_id": "bob"}, "Go"),
    "order_delivered": (
        "orders/{}",
        {"status": "shipped", "customer_id": "bob", "number": "A7"},
        {"status": "delivered", "customer_id": "bob", "number": "A7"},
        "A7",
    ),
    "flight_delayed": (
        "flights/{}",
        {"status": "scheduled", "number": "BP1", "departs_at": AT, "passenger_ids": ["bob"]},
        {
            "status": "delayed",
            "number": "BP1",
            "departs_at": AT + timedelta(hours=1),
            "passenger_ids": ["bob"],
        },
        "10:30",
    ),
    "train_cancelled": (
        "trains/{}",
        {"status": "scheduled", "number": "71", "departs_at": AT, "passenger_ids": ["bob"]},
        {"status": "cancelled", "number": "71", "departs_at": AT, "passenger_ids": ["bob"]},
        "71",
    ),
    "outbox": (
        "pushes/{}",
        None,
        {
            "group_id": "sale",
            "recipients": {"custom_ids": ["bob"]},
            "message": {"body": "Everything must go"},
            "deeplink": "myapp://{}",
        },
        "Everything must go",
    ),
}


def about_it(fields: dict[str, Any], unique: str) -> dict[str, Any]:
    """The document, with its own name where it wants one."""
    link = fields.get("deeplink")
    return fields | ({"deeplink": link.format(unique)} if link else {})


@pytest.mark.parametrize("function", KINDS)
def test_every_kind_of_write_is_pushed_as_it_becomes_so_and_never_else(
    firestore: Client, batch: Batch, unique: str, function: str
) -> None:
    path, before, after, said = KINDS[function]
    document = firestore.document(path.format(unique))
    if before:
        document.set(before)
        document.update({"unrelated": 0})
    document.set(about_it(after, unique))
    until("push", lambda: len(calls_about(batch, unique)) == 3)
    document.update({"unrelated": 1})
    document.set(about_it(after, unique))
    document.delete()
    # Another one, whose push comes after any that these might still cause.
    another = f"{unique[::-1]}-another"
    if before:
        firestore.document(path.format(another)).set(before)
    firestore.document(path.format(another)).set(about_it(after, another))
    until("another push", lambda: len(calls_about(batch, another)) == 3)

    (record,) = until("record", lambda: settled_records(firestore, document.path))
    assert (record["function"], record["state"]) == (function, "SENT")
    calls = calls_about(batch, unique)
    assert sorted(call["app"] for call in calls) == APPS
    assert {said in str(call["body"]["message"]) for call in calls} == {True}, calls


@pytest.mark.parametrize("function", KINDS.keys() - {"outbox"})
def test_what_is_created_as_it_is_to_become_is_pushed_where_that_makes_sense(
    firestore: Client, batch: Batch, unique: str, function: str
) -> None:
    path, _, after, said = KINDS[function]
    firestore.document(path.format(unique)).set(after)
    until("push", lambda: len(calls_about(batch, unique)) == 3)
    calls = calls_about(batch, unique)
    # A message that is unread from the start is a new message.
    expected = "Hello" if function == "message_unread" else said
    assert {expected in str(call["body"]["message"]) for call in calls} == {True}, calls
    assert {"Still" in str(call["body"]["message"]) for call in calls} == {False}


def test_in_quiet_hours_a_push_waits_until_a_task_finds_that_they_are_over(
    firestore: Client, batch: Batch, unique: str
) -> None:
    now = datetime.now(UTC)
    hours = {
        "start": f"{now - timedelta(hours=1):%H:00}",
        "end": f"{now + timedelta(hours=2):%H:00}",
    }
    firestore.document(f"users/{unique}").set({"quiet_hours": hours, "display_name": "Sleeper"})
    firestore.document(f"users/{unique}/friend_requests/ann").set({"status": "pending"})
    query = firestore.collection("batch_deliveries").where(
        filter=FieldFilter("document", "==", f"users/{unique}/friend_requests/ann")
    )
    (record,) = until("record", query.get)
    assert record.get("state") == "WAITING"
    assert record.get("not_before").minute == 0
    assert calls_about(batch, unique) == []
    # The emulator's queue brings the task at once, and again after 10, 20, 40 seconds and so on.
    firestore.document(f"users/{unique}").update({"quiet_hours": None})
    record.reference.update({"not_before": datetime.now(UTC)})

    def ended() -> dict[str, Any] | None:
        found = record.reference.get().to_dict()
        return found if found["state"] not in ("WAITING", "CLAIMED", "RETRY") else None

    end = until("end", ended, within=2 * DEADLINE)
    assert end["state"] == "SENT", end
    assert len(calls_about(batch, unique)) == 3


def test_what_became_of_a_push_is_written_beside_it(
    firestore: Client, batch: Batch, unique: str
) -> None:
    wrong = {"group_id": "sale", "recipients": {"custom_ids": ["bob"]}, "message": {"text": "x"}}
    firestore.document(f"pushes/{unique}").set(wrong)
    state = firestore.document(f"pushes/{unique}/delivery/state")
    found = until("state", lambda: state.get().to_dict())
    assert found["state"] == "REFUSED"
    assert "message.text is not one of body, title" in found["reason"]


def test_what_became_of_texts_in_other_words_is_written_below_them(firestore: Client) -> None:
    document = firestore.document("push_texts/es")
    document.set({"poke": {"title": "{sender}", "body": "Un saludo"}, "call_me": {"title": "x"}})
    state = firestore.document("push_texts/es/delivery/state")
    try:
        problems = ["call_me: has no body"]
        until("state", lambda: (state.get().to_dict() or {}).get("problems") == problems)
        assert state.get().to_dict()["texts"] == ["poke"]
    finally:
        document.delete()
    until("end", lambda: (state.get().to_dict() or {})["state"] == "ABSENT")


async def test_a_process_reads_texts_in_other_words_from_firestore(firestore: Client) -> None:
    firestore.document("push_texts/es").set({"poke": {"title": "{sender}", "body": "Un saludo"}})
    try:
        await PushTexts(lambda: Firestore(Connection()), lambda: datetime.now(UTC)).use()
        assert push_texts("es")["poke"]["body"] == "Un saludo"
        assert push_texts("fr") == {}
    finally:
        firestore.document("push_texts/es").delete()


async def test_who_has_read_what_in_their_history_is_found(unique: str) -> None:
    emulated = Firestore(Connection())
    history = History(lambda: emulated, 90)
    for number, reader in enumerate((f"{unique}-a", f"{unique}-b")):
        entry = Notification(reader, f"d{number}", {ABOUT: about("games/g"), "read": not number})
        await emulated.commit([entry.put(emulated)])
    readers = [f"{unique}-a", f"{unique}-b", f"{unique}-c"]
    assert await history.read_by(readers, ["games/g", "games/h"]) == {
        "games/g": frozenset({f"{unique}-a"})
    }


def test_a_digest_tells_of_two_conversations_at_once(
    firestore: Client, batch: Batch, unique: str
) -> None:
    reader = f"{unique}-reader"
    profile = {"push_preferences": {"new_message": "18:00"}}
    firestore.document(f"users/{reader}").set(profile)
    for number in range(2):
        conversation = firestore.document(f"conversations/{unique}-{number}")
        conversation.set({"member_ids": [reader, "bob"]})
        conversation.collection("messages").add({"sender_id": "bob", "text": unique})
    items = firestore.collection("batch_digests").where(filter=FieldFilter("person", "==", reader))
    found = until("items", lambda: len(items.get()) == 2 and items.get())
    for item in found:
        item.reference.update({"until": datetime.now(UTC)})
    scheduled("digests")

    def pushes() -> list[Any]:
        return [call for call in batch.pushes() if reader in str(call["body"]["recipients"])]

    until("digest", lambda: len(pushes()) == 3)
    assert {call["body"]["message"]["body"] for call in pushes()} == {"2 new notifications"}
    until("end", lambda: not items.get())
    scheduled("digests")
    assert len(pushes()) == 3


def test_a_large_audience_is_sent_in_chunks_through_cloud_tasks(
    firestore: Client, batch: Batch, unique: str
) -> None:
    ids = [f"{unique}-{number}" for number in range(25_003)]
    push = {"group_id": "sale", "recipients": {"custom_ids": ids}, "message": {"body": "Hello"}}
    document = firestore.document(f"pushes/{unique}")
    document.set(push)
    state = firestore.document(f"pushes/{unique}/delivery/state")
    assert until("state", lambda: state.get().to_dict())["state"] == "SENT"
    (record,) = settled_records(firestore, document.path)
    assert len(record["chunks"]) == 3
    calls = [call for call in batch.pushes() if call["body"]["group_id"] == "sale"]
    for app in APPS:
        told = [
            user
            for call in calls
            if call["app"] == app
            for user in call["body"]["recipients"]["custom_ids"]
            if user.startswith(unique)
        ]
        assert sorted(told) == sorted(ids)


def test_an_outage_of_batch_ends_in_a_record_that_waits(
    firestore: Client, batch: Batch, unique: str
) -> None:
    """The emulator never brings an event again; the platform does, and so does the sweep."""
    batch.fault(app="ios", status=504, route="transactional/send")
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


# Campaigns, results and carts


def scheduled(function: str, timeout: float = DEADLINE) -> None:
    """Call it as Cloud Scheduler would; there is no emulator of that."""
    url = os.environ["FUNCTIONS_EMULATOR_URL"]
    route = f"/functions/projects/demo-batchpush/triggers/us-central1-{function}-0"
    httpx.post(url + route, json={}, timeout=timeout).raise_for_status()


def states_of(firestore: Client, campaign: str) -> dict[str, dict[str, Any]]:
    """The state document of each app."""
    states = firestore.collection(f"{campaign}/batch").stream()
    return {state.id: state.to_dict() for state in states}


def have_all(firestore: Client, campaign: str, **fields: Any) -> bool:
    """Whether the state documents of all apps say so."""
    states = states_of(firestore, campaign)
    is_so = all(state[name] == fields[name] for state in states.values() for name in fields)
    return sorted(states) == APPS and is_so


def test_a_document_is_a_campaign_in_every_app_and_its_results_come_back(
    firestore: Client, batch: Batch, unique: str
) -> None:
    document = firestore.document(f"campaigns/{unique}")
    document.set(
        {
            "name": f"Sale {unique}",
            "live": True,
            "push_time": datetime.now(UTC) + timedelta(days=1),
            "messages": {"en": {"title": "Sale", "body": "Half price"}},
        }
    )
    until("campaign", lambda: have_all(firestore, document.path, state="APPLIED"))
    creates = calls_about(batch, unique)
    assert sorted(call["app"] for call in creates) == APPS
    assert all(call["path"].endswith("/campaigns/create") for call in creates)

    batch.clear()
    document.update({"messages.en.body": "Everything must go", "push_time": "now"})
    until("edit", lambda: len(calls_about(batch, "Everything must go")) == 3)
    until("edit's end", lambda: have_all(firestore, document.path, state="APPLIED"))
    tokens = {
        app: state["campaign_token"] for app, state in states_of(firestore, document.path).items()
    }
    for call in calls_about(batch, "Everything must go"):
        assert call["path"].endswith(f"/campaigns/update/{tokens[call['app']]}")

    today = datetime.now(UTC).date().isoformat()
    opened = {"sent": 1000, "direct_open": 80, "influenced_open": 20}
    batch.script_stats(tokens["ios"], [{"date": today} | opened])
    scheduled("pull_stats", timeout=300)  # a second for each campaign and group that there is
    row = firestore.document(f"{document.path}/batch/ios/stats/{today}").get().to_dict()
    assert row is not None
    assert (row["sent"], row["open_rate"]) == (1000, 0.1)

    document.delete()
    until("deletion", lambda: have_all(firestore, document.path, state="ABSENT"))
    there = [each["state"] for each in batch.campaigns() if unique in json.dumps(each)]
    assert there == ["deleted"] * 3


def test_what_is_wrong_with_a_campaign_is_where_its_editor_looks(
    firestore: Client, batch: Batch, unique: str
) -> None:
    document = firestore.document(f"campaigns/{unique}")
    document.set({"name": "Sale", "push_time": "soon", "messages": {"en": {"body": "Hello"}}})
    until("state", lambda: have_all(firestore, document.path, state="REFUSED"))
    error = f"{document.path}: push_time is not a date and time such as 2030-06-01T11:05:00Z"
    assert have_all(firestore, document.path, error=error)
    assert calls_about(batch, unique) == []


def test_an_article_that_is_published_is_a_draft_at_batch(
    firestore: Client, batch: Batch, unique: str
) -> None:
    article = firestore.document(f"articles/{unique}")
    article.set({"title": f"Storm {unique}", "topics": ["weather"], "published": False})
    article.update({"published": True})
    campaign = f"campaigns/article-{unique}"
    until("campaign", lambda: have_all(firestore, campaign, state="APPLIED"))
    bodies = [call["body"] for call in calls_about(batch, unique)]
    assert len(bodies) == 3
    assert {body["live"] for body in bodies} == {False}
    assert bodies[0]["targeting"] == {"query": {"t.topics": {"$contains": ["weather"]}}}
    assert bodies[0]["deeplink"] == f"myapp://articles/{unique}"


def test_who_left_a_cart_alone_is_reminded_once(
    firestore: Client, batch: Batch, unique: str
) -> None:
    touched = datetime.now(UTC) - timedelta(hours=24, minutes=5)
    firestore.document(f"carts/{unique}").set({"items": ["hat"], "updated_at": touched})
    for _ in range(2):
        scheduled("abandoned_cart")
    calls = calls_about(batch, unique)
    assert sorted(call["app"] for call in calls) == APPS
    assert calls[0]["body"]["recipients"] == {"custom_ids": [unique]}
    (record,) = settled_records(firestore, f"carts/{unique}")
    assert (record["function"], record["state"]) == ("abandoned_cart", "SENT")


# Realtime Database: no emulator of it can be had here, so its events are posted to the Functions
# emulator as it would post them, and look-ups are answered from memory.


VALUES: dict[str, Any] = {
    "users/ann": {"display_name": "Ann"},
    "users/bob": {"display_name": "Bob"},
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

    def do_PUT(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/").removesuffix(".json")
        VALUES[path] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.do_GET()


@pytest.fixture(scope="session")
def database() -> Iterator[Callable[..., None]]:
    """Writes a new value: the event goes to the function that watches the path."""
    _, port = os.environ["FIREBASE_DATABASE_EMULATOR_HOST"].split(":")

    def write(function: str, path: str, value: Any, before: Any = None) -> None:
        url = (
            f"{os.environ['FUNCTIONS_EMULATOR_URL']}/functions/projects/demo-batchpush"
            f"/triggers/us-central1-{function}-0"
        )
        VALUES[unquote(path)] = value
        now = datetime.now(UTC).isoformat()
        headers = database_headers(path, event_id=uuid.uuid4().hex, time=now)
        httpx.post(
            url, content=database_body(before, value), headers=headers, timeout=DEADLINE
        ).raise_for_status()

    with serving(CannedDatabase, int(port)):
        yield write


def test_a_message_in_the_realtime_database_is_one_call_per_app(
    database: Callable[..., None], batch: Batch, unique: str
) -> None:
    database("new_message_rtdb", f"messages/rtdb/{unique}", {"sender_id": "ann", "text": unique})
    until("push", lambda: len(calls_about(batch, unique)) == 3)
    calls = calls_about(batch, unique)
    assert sorted(call["app"] for call in calls) == APPS
    assert calls[0]["body"]["recipients"] == {"custom_ids": ["zoé"]}
    assert calls[0]["body"]["message"] == {"title": "Ann", "body": unique}


def test_a_friend_request_in_the_realtime_database_is_one_call_per_app(
    database: Callable[..., None], batch: Batch
) -> None:
    database("friend_request_rtdb", "friend_requests/zo%C3%A9/ann", {"status": "pending"})
    until("push", lambda: len(calls_about(batch, "Ann souhaite devenir votre ami")) == 3)
    assert calls_about(batch, "souhaite")[0]["body"]["recipients"] == {"custom_ids": ["zoé"]}


@pytest.mark.parametrize("function", KINDS)
def test_every_kind_of_value_is_pushed_as_it_becomes_so_and_never_else(
    database: Callable[..., None], batch: Batch, unique: str, function: str
) -> None:
    path, fields_before, fields_after, said = KINDS[function]
    path = path.format(unique).replace("conversations/", "").replace("/messages/", "/")
    path = f"messages/{path}" if function == "message_unread" else path
    before, after = in_json(fields_before), in_json(about_it(fields_after, unique))

    def write(value: Any, before: Any) -> None:
        if function != "outbox" or (value and not before):  # it is told of new values only
            database(f"{function}_rtdb", path, value, before)

    # In any order: what came after the push is told before it, and again.
    write(after | {"unrelated": 1}, after)
    write(None, after)
    assert calls_about(batch, unique) == []
    write(after, before)
    write(after | {"unrelated": 1}, after)
    write(after, after)
    write(before, before)
    until("push", lambda: len(calls_about(batch, unique)) == 3)
    calls = calls_about(batch, unique)
    assert sorted(call["app"] for call in calls) == APPS
    assert {said in str(call["body"]["message"]) for call in calls} == {True}, calls
    if function == "outbox":
        state = until("state", lambda: VALUES.get(f"pushes/{unique}/delivery/state"))
        assert state["state"] == "SENT"


def in_json(fields: dict[str, Any] | None) -> Any:
    """As the Realtime Database holds it: times are milliseconds."""
    return json.loads(json.dumps(fields, default=lambda time: int(time.timestamp() * 1000)))


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
    database: Callable[..., None],
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
