"""What the Firebase CLI learns from `main.py`, and what importing it costs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

MANIFEST = """
from firebase_functions.private.serving import functions_as_yaml, get_functions
print(functions_as_yaml(get_functions()))
"""
WOKEN = """
import json, main
from batchpush.events.triggers import WATCHED
print(json.dumps(list(WATCHED)))
"""
IN_USE = """
import asyncio, json, sys
import main
from batchpush.batch_api.client import BatchClient
from batchpush.google.connection import Connection
from batchpush.google.firestore import Firestore, FirestoreUnavailable
from batchpush.batch_api.rest_key import RestKey, RestKeyCache
from batchpush.environment import settings
from batchpush.timing import Timing

async def key():
    return RestKey("key")

async def use():
    try:
        await Firestore(Connection(seconds=0.1)).read("users/ann")
    except FirestoreUnavailable:
        client = BatchClient(settings(), Timing(), RestKeyCache(key))
        await client.send("ios", b"{}")
        await client.aclose()

asyncio.run(use())
print(json.dumps(sorted(sys.modules)))
"""
IMPORTED = """
import json, sys
import main
print(json.dumps(sorted(sys.modules)))
"""


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=os.environ | {"PYTHONPATH": "."} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def manifest(**environment: str) -> dict[str, Any]:
    """What the CLI would read."""
    read: dict[str, Any] = yaml.safe_load(python(MANIFEST, **environment))
    return read


FIRESTORE = {
    "new_message": ("created", "conversations/{conversation_id}/messages/{message_id}"),
    "message_unread": ("updated", "conversations/{conversation_id}/messages/{message_id}"),
    "friend_request": ("created", "users/{user_id}/friend_requests/{sender_id}"),
    "credit_limit": ("written", "accounts/{user_id}"),
    "game_turn": ("written", "games/{game_id}"),
    "order_delivered": ("written", "orders/{order_id}"),
    "flight_delayed": ("written", "flights/{flight_id}"),
    "train_cancelled": ("written", "trains/{train_id}"),
    "outbox": ("created", "pushes/{push_id}"),
    "outbox_changed": ("written", "pushes/{push_id}"),
    "campaign": ("written", "campaigns/{campaign_id}"),
    "article": ("written", "articles/{article_id}"),
    "article_followers": ("written", "articles/{article_id}"),
    "subscription_offer": ("written", "offers/{offer_id}"),
    "push_texts": ("written", "push_texts/{language}"),
}
SWITCHED = {  # by a setting: each function with what it watches, if it does
    "MIRROR_PROFILES": {
        "profile": "written",
        "profile_rtdb": "written",
        "syncprofiles": None,
        "profile_sweep": None,
    },
    "FORGET_DELETED_USERS": {
        "account_deleted": "deleted",
        "account_deleted_rtdb": "deleted",
        "receipt_sweep": None,
    },
}
DATABASE = {
    "new_message_rtdb": ("created", "messages/{conversation_id}/{message_id}"),
    "message_unread_rtdb": ("updated", "messages/{conversation_id}/{message_id}"),
    "friend_request_rtdb": ("created", "friend_requests/{user_id}/{sender_id}"),
    "credit_limit_rtdb": ("written", "accounts/{user_id}"),
    "game_turn_rtdb": ("written", "games/{game_id}"),
    "order_delivered_rtdb": ("written", "orders/{order_id}"),
    "flight_delayed_rtdb": ("written", "flights/{flight_id}"),
    "train_cancelled_rtdb": ("written", "trains/{train_id}"),
    "outbox_rtdb": ("created", "pushes/{push_id}"),
    "outbox_changed_rtdb": ("written", "pushes/{push_id}"),
}
ALWAYS = {
    "sendchunk",
    "sendlater",
    "sweep",
    "campaign_sweep",
    "pull_stats",
    "abandoned_cart",
    "digests",
}


@pytest.mark.parametrize(
    ("sources", "functions"),
    [
        ("firestore", FIRESTORE.keys() | {"notify"} | ALWAYS),
        ("database", DATABASE.keys() | ALWAYS),
        ("firestore,database", FIRESTORE.keys() | DATABASE.keys() | {"notify"} | ALWAYS),
    ],
)
def test_the_sources_decide_which_functions_are_deployed(sources: str, functions: set[str]) -> None:
    assert manifest(SOURCES=sources)["endpoints"].keys() == functions


@pytest.mark.parametrize("switch", SWITCHED)
def test_what_is_switched_off_is_not_deployed(switch: str) -> None:
    both = {"SOURCES": "firestore,database"}
    without = manifest(**both)["endpoints"]
    on = manifest(**both, **{switch: "true"})["endpoints"]
    assert on.keys() - without.keys() == SWITCHED[switch].keys()
    for name, kind in SWITCHED[switch].items():
        if kind:
            trigger = on[name]["eventTrigger"]
            where = "ref" if name.endswith("_rtdb") else "document"
            assert trigger["retry"] is True
            assert trigger["eventFilterPathPatterns"][where] == "users/{user_id}"
            assert trigger["eventType"].endswith(f".v1.{kind}")


def test_every_function_is_deployed_with_retries_on_its_path() -> None:
    sources = "firestore,database"
    read = manifest(SOURCES=sources, REGION="europe-west1", CONCURRENCY="40", MIN_INSTANCES="2")
    endpoints = read["endpoints"]
    for name, (write, path) in (FIRESTORE | DATABASE).items():
        endpoint = endpoints[name]
        trigger = endpoint["eventTrigger"]
        filters = trigger["eventFilterPathPatterns"]
        assert trigger["retry"] is True
        assert filters["document" if name in FIRESTORE else "ref"] == path
        assert trigger["eventType"] == (
            f"google.cloud.firestore.document.v1.{write}"
            if name in FIRESTORE
            else f"google.firebase.database.ref.v1.{write}"
        )
        assert endpoint["entryPoint"] == name
        assert endpoint["platform"] == "gcfv2"
        assert endpoint["region"] == ["europe-west1"]
        assert endpoint["concurrency"] == 40
        assert endpoint["cpu"] == 1
        assert endpoint["availableMemoryMb"] == 512
        assert endpoint["timeoutSeconds"] == 120
        assert endpoint["minInstances"] == 2


@pytest.mark.parametrize(
    ("environment", "instance"),
    [
        ({}, "demo-batchpush-default-rtdb"),
        ({"FIREBASE_CONFIG": '{"databaseURL": "https://old.firebaseio.com"}'}, "old"),
        ({"DATABASE_INSTANCE": "chosen"}, "chosen"),
    ],
)
def test_one_realtime_database_is_watched(environment: dict[str, str], instance: str) -> None:
    endpoints = manifest(SOURCES="database", **environment)["endpoints"]
    for name in DATABASE:
        trigger = endpoints[name]["eventTrigger"]
        assert trigger["eventFilters"] == {"instance": instance}
        assert "instance" not in trigger["eventFilterPathPatterns"]


@pytest.mark.parametrize(
    ("named", "account"),
    [
        ("batchpush@", "batchpush@demo-batchpush.iam.gserviceaccount.com"),
        ("push@other.iam.gserviceaccount.com", "push@other.iam.gserviceaccount.com"),
    ],
)
def test_every_function_runs_as_the_service_account_of_the_settings(
    named: str, account: str
) -> None:
    """In full: of a short name, the CLI makes no schedule that can call its function."""
    endpoints = manifest(SOURCES="firestore,database", SERVICE_ACCOUNT=named)["endpoints"]
    assert endpoints.keys() == FIRESTORE.keys() | DATABASE.keys() | {"notify"} | ALWAYS
    assert {each["serviceAccountEmail"] for each in endpoints.values()} == {account}


def test_without_one_they_run_as_the_project_s_default() -> None:
    endpoints = manifest()["endpoints"].values()
    assert not any(each.get("serviceAccountEmail") for each in endpoints)


@pytest.mark.parametrize("database", ["(default)", "orders"])
def test_the_database_of_the_settings_is_watched(database: str) -> None:
    endpoints = manifest(SOURCES="firestore,database", DATABASE=database)["endpoints"]
    watched = {name: endpoints[name]["eventTrigger"]["eventFilters"] for name in FIRESTORE}
    assert {filters["database"] for filters in watched.values()} == {database}


def test_no_other_database_is_named_in_the_code() -> None:
    """Records, limits, looks, campaigns and results are in the one of the settings."""
    naming = [
        file.name
        for file in Path("batchpush").rglob("*.py")
        if '"(default)"' in file.read_text(encoding="utf-8")
    ]
    assert sorted(naming) == ["connection.py", "environment.py"]


@pytest.mark.parametrize(
    ("function", "schedule"),
    [
        ("sweep", "every 10 minutes"),
        ("campaign_sweep", "every 10 minutes"),
        ("pull_stats", "every 60 minutes"),
        ("abandoned_cart", "every 15 minutes"),
        ("digests", "every 15 minutes"),
    ],
)
def test_what_has_to_be_looked_for_is_deployed_on_a_schedule(function: str, schedule: str) -> None:
    read = manifest(REGION="europe-west1")
    sweep = read["endpoints"][function]
    assert sweep["scheduleTrigger"]["schedule"] == schedule
    assert sweep["region"] == ["europe-west1"]
    assert (sweep["concurrency"], sweep["timeoutSeconds"]) == (1, 540)
    assert "cloudscheduler.googleapis.com" in {needed["api"] for needed in read["requiredAPIs"]}


def test_whatever_waits_finds_its_function_again() -> None:
    """A push that waited is asked for once more, in another process."""
    code = Path("main.py").read_text(encoding="utf-8")
    delivering = set(re.findall(r"async def (\w+)\(change: Change\).*\n +await deliver\(", code))
    woken = json.loads(python(WOKEN, FUNCTION_TARGET="sendlater"))
    others = {"campaign", "article", "outbox_changed", "subscription_offer", "push_texts"}
    assert delivering == FIRESTORE.keys() - others | {"abandoned_cart"}
    assert delivering | DATABASE.keys() <= set(woken)


def test_chunks_are_sent_by_a_queue_that_tries_for_a_day() -> None:
    queue = manifest()["endpoints"]["sendchunk"]["taskQueueTrigger"]
    assert queue["retryConfig"]["maxAttempts"] == 100
    assert queue["retryConfig"]["maxBackoffSeconds"] == 600


NOWHERE = {"FIRESTORE_EMULATOR_HOST": "127.0.0.1:9", "BATCH_API_URL": "http://127.0.0.1:9"}


def test_a_serving_function_does_not_import_what_it_may_not_need() -> None:
    modules = set(json.loads(python(IMPORTED, FUNCTION_TARGET="new_message")))
    assert not modules & {
        "aiohttp",
        "babel",
        "firebase_admin",
        "firebase_functions",
        "google.cloud.firestore",
        "google.cloud.secretmanager_v1",
        "grpc",
        "httpx",
        "httpx_aiohttp",
        "opentelemetry",
        "regex",
        "requests",
    }


def test_a_serving_function_imports_nothing_for_campaigns_and_operators() -> None:
    modules = json.loads(python(IN_USE, FUNCTION_TARGET="new_message", **NOWHERE))
    others = ("batchpush.campaigns.", "batchpush.cli", "batchpush.delivery.eras")
    assert [each for each in modules if each.startswith(others)] == []


def test_the_first_event_imports_none_of_google_s_heavy_clients() -> None:
    modules = set(json.loads(python(IN_USE, FUNCTION_TARGET="new_message", **NOWHERE)))
    assert "grpc" in modules
    assert not modules & {
        "firebase_admin",
        "firebase_functions",
        "google.api_core",
        "google.cloud.firestore",
        "opentelemetry",
        "requests",
    }


def test_handlers_are_ours_and_not_those_of_an_installed_package() -> None:
    here = os.path.join(os.getcwd(), "handlers", "__init__.py")
    assert python("import handlers; print(handlers.__file__)").strip() == here
