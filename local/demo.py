"""`make demo`: a write of each kind with its pushes, a campaign with its results, and a goodbye.

    a document --> Firestore --> the function --> Batch

Runs inside the suite. If a push is missing, exits with 1 and names the step that did not happen.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from google.cloud.firestore import Client
from google.cloud.firestore_v1.base_query import FieldFilter

from emulators.batch import Batch
from local.suite import PROJECT, request

WAIT_SECONDS = 60.0  # the first event starts the function's process

BEFORE: dict[str, dict[str, Any]] = {
    "users/ann": {"display_name": "Ann", "language": "en", "time_zone": "Europe/London"},
    "users/bob": {"display_name": "Bob", "language": "de", "time_zone": "Europe/Berlin"},
    "users/zoe": {"display_name": "Zoé", "language": "fr", "time_zone": "Europe/Paris"},
    "conversations/dinner": {"member_ids": ["ann", "bob", "zoe"]},
    "conversations/dinner/messages/0": {
        "sender_id": "zoe",
        "text": "Who brings dessert?",
        "recipient_ids": [],
    },
    "accounts/bob": {"spent": 940, "credit_limit": 1000, "currency": "EUR"},
    "games/chess": {"name": "Chess", "current_player_id": "ann"},
    "orders/7": {"customer_id": "zoe", "number": "A-7", "status": "shipped"},
    "flights/BP12": {
        "number": "BP12",
        "status": "scheduled",
        "departs_at": datetime(2030, 6, 1, 9, 30, tzinfo=UTC),
        "passenger_ids": ["ann", "zoe"],
    },
    "trains/9571": {
        "number": "9571",
        "status": "scheduled",
        "departs_at": datetime(2030, 6, 1, 7, 0, tzinfo=UTC),
        "passenger_ids": ["bob"],
    },
}


CAMPAIGN = "campaigns/sale"
EVERYBODY = ("everybody",)


@dataclass(frozen=True)
class Write:
    """A document to write, or changes to one, and the function that the write calls."""

    says: str
    path: str
    fields: Mapping[str, Any]
    function: str
    to: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.path} {json.dumps(self.fields, ensure_ascii=False, default=str)}"

    def happen(self, firestore: Client) -> None:
        firestore.document(self.path).set(self.fields, merge=True)


@dataclass(frozen=True)
class Later(Write):
    """A document whose push waits for some seconds."""

    seconds: float = 6.0

    def happen(self, firestore: Client) -> None:
        send_at = datetime.now(UTC) + timedelta(seconds=self.seconds)
        firestore.document(self.path).set({**self.fields, "send_at": send_at})


@dataclass(frozen=True)
class AppCall:
    """A request to `notify` by an app, as its signed-in user."""

    says: str
    user: str
    data: Mapping[str, Any]
    to: tuple[str, ...]
    function: str = "notify"

    def __str__(self) -> str:
        return f"notify({json.dumps(self.data)})"

    def happen(self, firestore: Client) -> None:
        headers = {"Authorization": f"Bearer {signed_in(self.user)}"}
        data = {**self.data, "request_id": uuid.uuid4().hex}
        posted("functions", f"/{PROJECT}/us-central1/notify", {"data": data}, headers)


def signed_in(user: str) -> str:
    """The ID token of a user in the Auth emulator, whose name is also the user id."""
    accounts = "/identitytoolkit.googleapis.com/v1"
    account = {"email": f"{user}@example.com", "password": "local-only"}
    posted(
        "auth",
        f"{accounts}/projects/{PROJECT}/accounts",
        account | {"localId": user},
        {"Authorization": "Bearer owner"},
    )
    path = f"{accounts}/accounts:signInWithPassword?key=local"
    token: str = posted("auth", path, account | {"returnSecureToken": True})["idToken"]
    return token


def posted(
    name: str, path: str, body: Mapping[str, Any], headers: Mapping[str, str] = {}
) -> dict[str, Any]:
    """The response of an emulator; raises `Missing` if it refuses."""
    headers = {"Content-Type": "application/json", **headers}
    status, answer = request(name, "POST", path, json.dumps(body), headers, timeout=WAIT_SECONDS)
    if status != 200:
        raise Missing(f"{name} answered {status}: {answer[:300]}")
    read: dict[str, Any] = json.loads(answer)
    return read


def run_now(function: str) -> None:
    """Run a scheduled function: there is no emulator of Cloud Scheduler."""
    path = f"/functions/projects/{PROJECT}/triggers/us-central1-{function}-0"
    headers = {"Content-Type": "application/json"}
    status, answer = request("functions", "POST", path, "{}", headers, timeout=WAIT_SECONDS)
    if status != 200:
        raise Missing(f"{function} answered {status}: {answer[:300]}")


EVENTS: tuple[Write | AppCall, ...] = (
    Write(
        "Ann writes to Bob and Zoé",
        "conversations/dinner/messages/1",
        {"sender_id": "ann", "text": "Dinner at eight? 🍝"},
        "new_message",
        ("bob", "zoe"),
    ),
    Write(
        "What Zoé wrote is still unread",
        "conversations/dinner/messages/0",
        {"unread_message": True, "recipient_ids": ["ann", "bob"]},
        "message_unread",
        ("ann", "bob"),
    ),
    Write(
        "Ann asks Zoé to be friends",
        "users/zoe/friend_requests/ann",
        {"status": "pending"},
        "friend_request",
        ("zoe",),
    ),
    Write("Bob spends his last", "accounts/bob", {"spent": 1000}, "credit_limit", ("bob",)),
    Write("Ann has moved", "games/chess", {"current_player_id": "bob"}, "game_turn", ("bob",)),
    Write("Zoé's order is there", "orders/7", {"status": "delivered"}, "order_delivered", ("zoe",)),
    Write(
        "A flight is late",
        "flights/BP12",
        {"status": "delayed", "departs_at": datetime(2030, 6, 1, 11, 5, tzinfo=UTC)},
        "flight_delayed",
        ("ann", "zoe"),
    ),
    Write(
        "A train does not run", "trains/9571", {"status": "cancelled"}, "train_cancelled", ("bob",)
    ),
    Write(
        "Another back end has something to say",
        "pushes/sale",
        {
            "group_id": "sale",
            "recipients": {"custom_ids": ["ann"]},
            "message": {"title": "Sale", "body": "Everything must go"},
        },
        "outbox",
        ("ann",),
    ),
    Later(
        "... and something for six seconds from now (send_at)",
        "pushes/soon",
        {
            "group_id": "sale",
            "recipients": {"custom_ids": ["zoe"]},
            "message": {"title": "Sale", "body": "It begins now"},
        },
        "outbox",
        ("zoe",),
    ),
    AppCall(
        "Ann's app pokes Bob",
        "ann",
        {"to": "bob", "template": "poke", "params": {"conversation_id": "dinner"}},
        ("bob",),
    ),
    Write(
        "An editor plans a campaign",
        CAMPAIGN,
        {
            "name": "Summer sale",
            "live": True,
            "push_time": datetime(2030, 6, 1, 9, 0, tzinfo=UTC),
            "messages": {"en": {"title": "Sale", "body": "Half price from Monday"}},
        },
        "campaign",
        EVERYBODY,
    ),
    Write(
        "... and has it sent at once",
        CAMPAIGN,
        {"push_time": "now", "messages": {"en": {"title": "Sale", "body": "Half price today"}}},
        "campaign",
        EVERYBODY,
    ),
)


class Missing(Exception):
    """A push did not arrive; the message names the step that did not happen."""


def main() -> int:
    firestore = Client()
    batch = Batch(os.environ["BATCH_EMULATOR_URL"])
    apps = [entry.partition("=")[0] for entry in os.environ["BATCH_APPS"].split(",")]
    for path, fields in BEFORE.items():
        firestore.document(path).set(fields)
    try:
        for event in EVENTS:
            show(event, firestore, batch, apps)
        show_cancelled(firestore)
        show_preference(firestore)
        show_digest(firestore, batch)
        show_results(firestore, batch, apps)
        show_targeted(firestore, batch, apps)
        show_forgotten(firestore, batch, apps)
    except Missing as missing:
        print(f"  {missing}", file=sys.stderr)
        return 1
    print(f"\nAll pushes arrived. `make dev` keeps this running; the phones are at {batch.url}")
    return 0


def show(event: Write | AppCall, firestore: Client, batch: Batch, apps: list[str]) -> None:
    """Trigger the event, and print each app's push as it arrives."""
    print(f"\n{event.says}:\n  {event}")
    batch.clear()
    log = Path(os.environ["SUITE_LOG"])
    log_before = log.stat().st_size
    started = time.monotonic()
    event.happen(firestore)
    awaited = {(app, person) for app in apps for person in event.to}
    for call in arriving(batch, started + WAIT_SECONDS):
        # A document that was there before may have a push as well.
        if call["accepted"] and set(recipients(call["body"])) <= set(event.to):
            milliseconds = (time.monotonic() - started) * 1000
            print(f"  {call['app']:<8} {words(call['body'])}  after {milliseconds:,.0f} ms")
            awaited -= {(call["app"], person) for person in recipients(call["body"])}
        if not awaited:
            return
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(log_before)
        missing = sorted({app for app, _ in awaited})
        raise Missing(what_did_not_happen(event, missing, batch.calls(), file.read()))


def show_cancelled(firestore: Client) -> None:
    """Schedule a push, cancel it, and print what its state document says of both."""
    path = "pushes/never"
    print(f"\nA push is planned for tomorrow, and then cancelled:\n  {path}")
    push = {
        "group_id": "sale",
        "recipients": {"custom_ids": ["bob"]},
        "message": {"body": "Never mind"},
        "send_at": datetime.now(UTC) + timedelta(days=1),
    }
    firestore.document(path).set(push)
    for state, change in (("WAITING", {"cancelled": True}), ("OBSOLETE", {})):
        told = state_of(firestore, path, state)
        why = f"until {told['until']:%A, %H:%M} UTC" if "until" in told else told["reason"]
        print(f"  {told['state']:<8} {why}")
        if change:
            firestore.document(path).update(change)


def state_of(firestore: Client, path: str, state: str) -> dict[str, Any]:
    """The state document of a push, once it says this state."""
    deadline = time.monotonic() + WAIT_SECONDS
    told: dict[str, Any] = {}
    while time.monotonic() < deadline:
        told = firestore.document(f"{path}/delivery/state").get().to_dict() or {}
        if told.get("state") == state:
            return told
        time.sleep(0.02)
    raise Missing(f"{path}/delivery/state is not {state} within {WAIT_SECONDS:g} s: {told}")


def show_preference(firestore: Client) -> None:
    """Switch a category off, and print why nobody gets the push."""
    path, off = "games/go", {"push_preferences": {"game_turn": False}}
    print(f"\nBob wants to hear of no more games:\n  users/bob {json.dumps(off)}")
    firestore.document("users/bob").update(off)
    firestore.document(path).set({"name": "Go", "current_player_id": "bob"})
    print(f"  {path} {told_to_nobody(firestore, path)}")


def told_to_nobody(firestore: Client, path: str) -> dict[str, Any]:
    """Whom the record of a write leaves out, by reason."""
    deadline = time.monotonic() + WAIT_SECONDS
    query = firestore.collection(os.environ.get("DELIVERIES_COLLECTION", "batch_deliveries"))
    while time.monotonic() < deadline:
        for record in query.where(filter=FieldFilter("document", "==", path)).stream():
            left_out: dict[str, Any] = record.get("left_out")
            return left_out
        time.sleep(0.02)
    raise Missing(f"{path} has no delivery within {WAIT_SECONDS:g} s")


def show_digest(firestore: Client, batch: Batch) -> None:
    """Two conversations with somebody who has a digest, and the one push that tells of both."""
    choice = {"push_preferences": {"new_message": "18:00"}}
    print(f"\nZoé gets her messages at six, in a digest:\n  users/zoe {json.dumps(choice)}")
    firestore.document("users/zoe").update(choice)
    firestore.document("conversations/work").set({"member_ids": ["bob", "zoe"]})
    written = {"conversations/dinner/messages/2": "ann", "conversations/work/messages/1": "bob"}
    for path, sender in written.items():
        message = {"sender_id": sender, "text": "Are you there?", "recipient_ids": ["zoe"]}
        firestore.document(path).set(message)
        print(f"  {path} {told_to_nobody(firestore, path)}")
    batch.clear()
    for item in firestore.collection("batch_digests").stream():
        item.reference.update({"until": datetime.now(UTC)})  # not to wait for six
    run_now("digests")
    for call in arriving(batch, time.monotonic() + WAIT_SECONDS):
        print(f"  {call['app']:<8} {words(call['body'])}")
        if call["app"] == "web":
            return
    raise Missing(f"the digest does not arrive within {WAIT_SECONDS:g} s")


def show_results(firestore: Client, batch: Batch, apps: list[str]) -> None:
    """Script some opens of the campaign, and print the results."""
    print("\nPeople open it, and the results come back (python -m batchpush stats):")
    today = datetime.now(UTC).date().isoformat()
    for app, token in tokens(firestore, apps).items():
        opened = {"sent": 1000, "direct_open": 50 + 10 * len(app), "influenced_open": 20}
        batch.script_stats(token, [{"date": today} | opened])
    subprocess.run(command("stats"), check=False)
    for app in apps:
        path = f"{CAMPAIGN}/batch/{app}/stats/{today}"
        if not firestore.document(path).get().exists:
            raise Missing(f"no results of {app}: there is no {path}")


def show_targeted(firestore: Client, batch: Batch, apps: list[str]) -> None:
    """Mirror attributes of people, target a campaign by them, and print whom it is for."""
    print("\nBatch learns who skis (handlers/attributes.py):")
    topics = {"ann": ["art"], "zoe": ["ski"]}
    for who, of in topics.items():
        firestore.document(f"users/{who}").update({"topics": of})
        print(f"  users/{who} {json.dumps({'topics': of})}")

    def known() -> dict[tuple[str, str], Any]:
        return {(each["app"], each["id"]): each["values"] for each in batch.profiles()}

    everybody = {(app, who): {"ut.topics": of} for app in apps for who, of in topics.items()}
    awaited("attributes in every app", lambda: everybody.items() <= known().items())
    print("\n... and a campaign is for them:\n  campaigns/snow")
    campaign = {
        "name": "Snow",
        "live": True,
        "push_time": "now",
        "messages": {"en": {"title": "Snow", "body": "The lifts are open"}},
        "targeting": {"query": {"ut.topics": {"$contains": ["ski"]}}},
    }
    firestore.document("campaigns/snow").set(campaign)

    def sent() -> dict[str, Any]:
        ours = [each for each in batch.campaigns() if each["body"]["name"] == "Snow"]
        return {each["app"]: each["audience"] for each in ours}

    awaited("campaign in every app", lambda: sent() == {app: ["zoe"] for app in apps})
    for app, audience in sorted(sent().items()):
        print(f"  {app:<8} Snow: The lifts are open  -> {', '.join(audience)}")


def show_forgotten(firestore: Client, batch: Batch, apps: list[str]) -> None:
    """Delete an account, and print the receipt once Batch has forgotten the person."""
    print("\nZoé deletes her account, and Batch forgets her (python -m batchpush receipts):")
    firestore.document("users/zoe").delete()
    awaited("removal", lambda: all(each["id"] != "zoe" for each in batch.profiles()))
    receipt = command("receipts", "--user", "zoe", "--finish")
    awaited("receipt", lambda: subprocess.run(receipt, capture_output=True).returncode == 0)
    subprocess.run(receipt[:-1], check=False)


def command(*arguments: str) -> list[str]:
    """One of ours, on the emulators' project, whichever one this clone is deployed to."""
    name, *others = arguments
    return [sys.executable, "-m", "batchpush", name, "--project", PROJECT, *others]


def awaited(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_so():
        if time.monotonic() > deadline:
            raise Missing(f"no {what} within {WAIT_SECONDS:g} s")
        time.sleep(0.02)


def tokens(firestore: Client, apps: list[str]) -> dict[str, str]:
    """The campaign's token in each app, once the campaign is applied everywhere."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        states = {
            state.id: state.to_dict() or {}
            for state in firestore.collection(f"{CAMPAIGN}/batch").stream()
        }
        if [states.get(app, {}).get("state") for app in apps] == ["APPLIED"] * len(apps):
            return {app: states[app]["campaign_token"] for app in apps}
        time.sleep(0.02)
    raise Missing(f"the campaign is not applied everywhere within {WAIT_SECONDS:g} s: {states}")


def arriving(batch: Batch, deadline: float) -> Iterator[dict[str, Any]]:
    """The calls that Batch has answered, as they arrive, until the deadline."""
    seen = 0
    while time.monotonic() < deadline:
        calls = batch.calls()
        while seen < len(calls) and calls[seen]["reply"]:
            yield calls[seen]
            seen += 1
        time.sleep(0.005)


def recipients(body: Mapping[str, Any]) -> list[str]:
    ids: list[str] = body.get("recipients", {}).get("custom_ids", list(EVERYBODY))
    return ids


def words(body: Mapping[str, Any]) -> str:
    message = body.get("message") or body["messages"][0]
    return f"{message['title']}: {message['body']}  -> {', '.join(recipients(body))}"


def what_did_not_happen(
    event: Write | AppCall, apps: list[str], calls: list[dict[str, Any]], log: str
) -> str:
    """The first step on the way to the push that left no trace."""
    missing = f"no push for {', '.join(apps)} within {WAIT_SECONDS:g} s: "
    if refused := [call for call in calls if not call["accepted"]]:
        return missing + f"Batch answered {refused[-1]['reply']}"
    if lines := [line for line in log.splitlines() if f'"function": "{event.function}"' in line]:
        return missing + f"{event.function} was called and said {lines[-1].strip()}"
    if event.function in log:
        return missing + f"{event.function} was called and did not call Batch"
    return missing + f"the write did not call {event.function}"


if __name__ == "__main__":
    sys.exit(main())
