"""`preview`: the calls that a document would cause, without a project and without sending."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from batchpush.campaigns.state import Desired
from batchpush.google.protocol.firestore_pb2 import Document as Stored
from emulators.serving import in_background
from tests.network import Done, counted

ROOT = Path(__file__).parent.parent
SETTINGS = {  # all that matter here, so that nobody's .env does
    "BATCH_APPS": "ios=DEV5F2C9D1E,android=3A7B4C3D8E",
    "DEEPLINK_BASE": "myapp://",
    "DEFAULT_LANGUAGE": "en",
    "REGION": "us-central1",
    "SOURCES": "firestore",
}
ORDER = {"status": "delivered", "customer_id": "zoe"}
MESSAGE = {"sender_id": "ann", "text": "Dinner?"}


class Folder:
    """Files to preview, and a command line without any settings but these."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def file(self, name: str, content: Any) -> str:
        text = content if isinstance(content, str) else json.dumps(content)
        (self.path / name).write_text(text, encoding="utf-8")
        return str(self.path / name)

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "batchpush", "preview", *arguments],
            env=kept | SETTINGS | environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def calls(stdout: str) -> list[tuple[str, dict[str, Any]]]:
    """The apps and the body of each block."""
    _, *lines = stdout.splitlines()
    blocks: list[tuple[str, list[str]]] = []
    for line in lines:
        if line.startswith("  "):
            blocks[-1][1].append(line)
        else:
            blocks.append((line, []))
    return [(apps, json.loads("\n".join(body))) for apps, body in blocks]


def test_each_call_is_shown_with_its_app_its_masked_key_and_its_body(folder: Folder) -> None:
    people = {
        "conversations/c1": {"member_ids": ["ann", "bob", "zoe", "tim"]},
        "users/ann": {"display_name": "Ann"},
        "users/bob": {},
        "users/zoe": {"language": "fr", "batch": {"custom_ids": ["Z"]}},
    }
    done = folder.run(
        "new_message",
        *(
            "--document",
            folder.file("message.json", {"sender_id": "ann", "image_url": "https://x.io/1"}),
        ),
        *("--look-ups", folder.file("people.json", people)),
        *("--path", "conversations/c1/messages/m1"),
    )
    assert done.returncode == 0
    assert done.stdout.startswith(
        "new_message  conversations/c1/messages/m1: 4 requests, not sent\n"
    )
    english, french = calls(done.stdout)
    assert [apps for apps, _ in (english, french)] == ["ios DEV5…, android 3A7B…"] * 2
    assert english[1]["recipients"] == {"custom_ids": ["bob", "tim"]}
    assert french[1]["recipients"] == {"custom_ids": ["Z"]}
    assert "photo" in french[1]["message"]["body"]
    assert done.stderr == "looked up and not found: users/tim\n"
    assert "DEV5F2C9D1E" not in done.stdout


def test_a_profile_shows_the_attributes_that_batch_would_get(folder: Folder) -> None:
    profile = folder.file("ann.json", {"city": "Lyon", "topics": ["ski"], "display_name": "Ann"})
    arguments = ("profile", "--document", profile, "--path", "users/ann", "--json")
    done = folder.run(*arguments, MIRROR_PROFILES="true")
    (call, _) = json.loads(done.stdout)["calls"]
    assert call["request"] == "POST data/users/ann"
    values = {"u.city": "Lyon", "ut.topics": ["ski"]}
    assert call["body"] == {"overwrite": False, "values": values}
    off = folder.run(*arguments)
    assert (off.returncode, "profile" in off.stderr) == (2, True)


def test_a_deleted_account_shows_what_batch_would_be_asked(folder: Folder) -> None:
    before = folder.file("ann.json", {"batch": {"custom_ids": ["crm-7"]}})
    done = folder.run(
        *("account_deleted", "--before", before, "--path", "users/ann", "--json"),
        FORGET_DELETED_USERS="true",
    )
    shown = json.loads(done.stdout)["calls"]
    assert [call["body"]["id"]["value"] for call in shown] == ["ann", "crm-7"] * 2


def test_a_call_to_cep_is_shown_as_it_would_be_sent(folder: Folder) -> None:
    order = folder.file("order.json", ORDER)
    cep = {"CHANNEL": "ios=cep", "BATCH_PROJECT": "project_0123456789"}
    done = folder.run("order_delivered", "--document", order, **cep)
    android, project = calls(done.stdout)
    assert android[0] == "android 3A7B…"
    assert project[0] == "CEP proj…  track: POST profiles/update"
    profiles: Any = project[1]
    assert [each["events"][0]["name"] for each in profiles] == ["order_delivered"]


def test_the_language_is_the_one_of_people_who_have_none(folder: Folder) -> None:
    order = folder.file("order.json", ORDER)
    done = folder.run("order_delivered", "--document", order, "--language", "fr")
    ((_, body),) = calls(done.stdout)
    assert body["message"]["title"] == "Commande livrée"


def test_who_has_quiet_hours_is_told_apart(folder: Folder) -> None:
    now = datetime.now(UTC)
    start, end = (f"{now + timedelta(hours=hours):%H:%M}" for hours in (-1, 1))
    people = {"users/bob": {}, "users/zoe": {"quiet_hours": {"start": start, "end": end}}}
    message = folder.file("message.json", MESSAGE | {"recipient_ids": ["bob", "zoe"]})
    done = folder.run(
        *("new_message", "--document", message),
        *("--look-ups", folder.file("people.json", people)),
    )
    *shown, waiting = done.stdout.splitlines()
    ((_, body),) = calls("\n".join(shown))
    assert body["recipients"] == {"custom_ids": ["bob"]}
    assert re.fullmatch(rf"1 later, at \S+T{end}:00\S*", waiting)


def test_a_push_for_later_is_shown_with_its_time(folder: Folder) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    push = {"group_id": "g", "recipients": {"custom_ids": ["ann"]}, "message": {"body": "Hi"}}
    document = folder.file("push.json", push | {"send_at": at.isoformat()})
    done = folder.run("outbox", "--document", document)
    assert f"1 later, at {at:%Y-%m-%dT%H:%M}" in done.stdout
    assert "not found" not in done.stderr


def test_functions_of_the_realtime_database_are_shown_where_it_is_watched(folder: Folder) -> None:
    order = folder.file("order.json", ORDER)
    done = folder.run("order_delivered_rtdb", "--document", order, SOURCES="database")
    assert done.returncode == 0
    assert folder.run("order_delivered_rtdb", "--document", order).returncode == 2


def test_a_change_that_is_about_no_push_says_so(folder: Folder) -> None:
    order = folder.file("order.json", ORDER)
    done = folder.run("order_delivered", "--document", order, "--before", order)
    assert (done.returncode, done.stdout) == (
        0,
        "order_delivered  orders/order_id: nothing to send\n",
    )


def test_a_document_that_no_push_can_be_made_from_names_the_field(folder: Folder) -> None:
    document = folder.file("order.json", {"status": "delivered", "customer_id": 7})
    done = folder.run("order_delivered", "--document", document)
    assert done.returncode == 1
    assert "customer_id must be a string, not a number" in done.stdout


def test_wrong_settings_are_named_and_do_not_stop_it(folder: Folder) -> None:
    order = folder.file("order.json", ORDER)
    done = folder.run("order_delivered", "--document", order, BATCH_APPS="", REGION="?")
    assert done.returncode == 0
    assert "BATCH_APPS is not set" in done.stderr
    assert "REGION" in done.stderr
    assert "ios YOUR…" in done.stdout


def test_a_file_may_be_what_the_rest_api_of_firestore_answers(folder: Folder) -> None:
    def answer(path: str, **fields: Any) -> dict[str, Any]:
        name = f"projects/p/databases/(default)/documents/{path}"
        return {"name": name, "fields": fields, "createTime": "2026-05-04T10:20:30.123456789Z"}

    before = answer("orders/7", status={"stringValue": "paid"}, customer_id={"stringValue": "zoe"})
    order = before["fields"] | {"status": {"stringValue": "delivered"}}
    people = {"users/zoe": answer("users/zoe", language={"stringValue": "fr"})}
    done = folder.run(
        *("order_delivered", "--document", folder.file("order.json", {"fields": order})),
        *("--before", folder.file("before.json", before)),
        *("--look-ups", folder.file("people.json", people)),
    )
    ((_, body),) = calls(done.stdout)
    assert body["message"]["title"] == "Commande livrée"
    assert body["recipients"] == {"custom_ids": ["zoe"]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["new_mesage", "--document", "message.json"],
            "new_mesage; is new_message meant? choose from",
        ),
        (["push_text", "--document", "message.json"], "unknown function push_text: choose from"),
        (["notify", "--document", "message.json"], "unknown function notify"),
        (["new_message"], "give --document"),
        (["campaign"], "give --document, or only --before for a deletion"),
        (
            ["campaign", "--document", "message.json", "--state", "message.json"],
            "message.json: sender_id is not a JSON object",
        ),
        (
            ["campaign", "--document", "message.json", "--state", "apps.json"],
            "apps.json: unknown app io; is ios meant? choose from ios, android",
        ),
        (
            ["campaign", "--document", "message.json", "--state", "times.json"],
            "times.json: ios: live_from is unknown to this version",
        ),
        (["new_message", "--document", "gone.json"], "gone.json: No such file"),
        (
            ["new_message", "--document", "text.json"],
            "text.json is not JSON: line 2, column 3: Expecting",
        ),
        (["new_message", "--document", "list.json"], "list.json is not a JSON object"),
        (
            ["new_message", "--document", "message.json", "--look-ups", "message.json"],
            "message.json: sender_id is not a JSON object",
        ),
        (
            ["new_message", "--document", "message.json", "--before", "message.json"],
            "leave out --before",
        ),
        (["message_unread", "--document", "message.json"], "give --before"),
        (
            ["new_message", "--document", "message.json", "--path", "users/ann"],
            "new_message watches conversations/{conversation_id}/messages/{message_id}",
        ),
        (["new_message", "--document", "message.json", "--language", "tlh"], "DEFAULT_LANGUAGE"),
    ],
)
def test_what_cannot_be_shown_is_one_line(folder: Folder, arguments: list[str], said: str) -> None:
    folder.file("message.json", MESSAGE)
    folder.file("text.json", '{"a":\n  what}')
    folder.file("list.json", "[]")
    folder.file("apps.json", {"io": {"state": "APPLIED"}})
    folder.file("times.json", {"ios": {"state": "APPLIED", "live_from": "soon"}})
    paths = [str(folder.path / each) if each.endswith(".json") else each for each in arguments]
    done = folder.run(*paths)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.startswith("batchpush: ")
    assert done.stderr.count("\n") == 1


def test_documents_of_a_project_are_read_and_nothing_else_is_done(folder: Folder) -> None:
    asked: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((request.method, request.path))
        known = request.path == "/users/sender_id.json"
        return web.json_response({"display_name": "Ann"} if known else None)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    request = folder.file("request.json", {"status": "pending"})
    with in_background(app) as url:
        done = folder.run(
            *("friend_request_rtdb", "--document", request, "--project", "demo-batchpush"),
            SOURCES="database",
            FIREBASE_DATABASE_EMULATOR_HOST=url.removeprefix("http://"),
        )
    ((_, body),) = calls(done.stdout)
    assert "Ann" in str(body["message"])
    assert {method for method, _ in asked} == {"GET"}
    assert ("GET", "/users/sender_id.json") in asked


# Campaigns and articles

SALE = {
    "name": "Flash sale",
    "live": True,
    "push_time": "2030-06-01T09:00:00Z",
    "messages": {"en": {"title": "Two hours only", "body": "Half price"}},
}
TOKEN = "5f2c9d1e-0a7b"
APPLIED = {"state": "APPLIED", "campaign_token": TOKEN, "live_from": "2030-06-01T09:00:00Z"}
DOUBT = {"name": "Flash sale", "fingerprint": "f", "at": "2026-05-04T10:20:30Z"}
ARTICLE = {"published": True, "title": "Storm", "topics": ["weather"]}
ANNOUNCED = {"name": "Storm", "live": True, "push_time": "2030-06-01T09:00:00Z"} | SALE


def of_campaign(
    folder: Folder, after: Any, state: Any = None, before: Any = None
) -> list[dict[str, Any]]:
    """The calls that `preview campaign --json` shows."""
    given = {"--document": after, "--state": state, "--before": before}
    files = [
        each
        for option, content in given.items()
        if content is not None
        for each in (option, folder.file(f"{option[2:]}.json", content))
    ]
    done = folder.run("campaign", *files, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    calls: list[dict[str, Any]] = json.loads(done.stdout)["calls"]
    return calls


UPDATE, DELETE = f"POST campaigns/update/{TOKEN}", f"POST campaigns/delete/{TOKEN}"


PUSH = {"group_id": "sale", "recipients": {"custom_ids": ["ann"]}, "message": {"body": "Sale"}}


@pytest.mark.parametrize(
    ("function", "document"),
    [
        ("campaign", SALE | {"targetting": {"segments": ["NEW"]}, "author": "ann"}),
        ("outbox", PUSH | {"author": "ann", "targetting": 1}),
    ],
)
def test_fields_that_are_ignored_are_named(
    folder: Folder, function: str, document: dict[str, Any]
) -> None:
    file = folder.file("document.json", document)
    done = folder.run(function, "--document", file)
    assert done.stdout.endswith("\nignored fields of the document: author, targetting\n")
    as_json = folder.run(function, "--document", file, "--json")
    assert json.loads(as_json.stdout)["ignored"] == ["author", "targetting"]


def test_a_push_that_nobody_gets_says_why(folder: Folder) -> None:
    document = folder.file("push.json", PUSH | {"cancelled": True})
    done = folder.run("outbox", "--document", document)
    assert done.stdout == "outbox  pushes/push_id: nothing to send: cancelled\n"


@pytest.mark.parametrize(
    ("after", "state", "step", "request_"),
    [
        (SALE, None, "create", "POST campaigns/create"),
        (SALE, {"state": "ABSENT"}, "create", "POST campaigns/create"),
        (SALE, {"state": "REFUSED", "tried": "x"}, "create", "POST campaigns/create"),
        (SALE, APPLIED, "update", UPDATE),
        (SALE | {"live": False}, APPLIED, "stop", UPDATE),
        (SALE | {"live": False}, APPLIED | {"live_from": None}, "update", UPDATE),
        (None, APPLIED, "delete", DELETE),
        (SALE | {"apps": ["android"]}, APPLIED, "delete", DELETE),
        (None, None, "no request: it stays ABSENT", None),
        (None, {"state": "REFUSED", "tried": "x"}, "no request: it becomes ABSENT", None),
        (
            SALE,
            {"state": "RETRY", "doubts": [DOUBT]},
            "look for a create whose outcome is unknown",
            "GET campaigns/list?from_api=true&limit=100&from=0",
        ),
    ],
)
def test_a_campaign_shows_the_call_of_each_app_against_its_stored_state(
    folder: Folder, after: Any, state: Any, step: str, request_: str | None
) -> None:
    states = None if state is None else {"ios": state}
    ios, android = of_campaign(folder, after, states, before=SALE)
    assert (ios["app"], ios["step"], ios["request"]) == ("ios", step, request_)
    assert android["request"] == ("POST campaigns/create" if after else None)
    if step in ("create", "update", "stop"):
        assert (ios["body"]["name"], ios["body"]["live"]) == (SALE["name"], after["live"])
    else:
        assert ios["body"] is None


def test_while_another_worker_has_the_lease_there_is_no_call(folder: Folder) -> None:
    until = datetime.now(UTC) + timedelta(minutes=5)
    claimed = {"state": "CLAIMED", "lease_until": until.isoformat()}
    (ios, _) = of_campaign(folder, SALE, {"ios": claimed})
    assert ios["step"] == "no request yet: another is under way, or its outcome is too recent"
    assert ios["request"] is None


def test_what_batch_has_already_is_not_sent_again(folder: Folder) -> None:
    (ios, _) = of_campaign(folder, SALE)
    fingerprint = Desired("", json.dumps(ios["body"]).encode()).fingerprint
    (ios, _) = of_campaign(folder, SALE, {"ios": APPLIED | {"applied": fingerprint}})
    assert (ios["step"], ios["request"]) == ("no request: it stays APPLIED", None)


def test_a_stored_state_may_be_what_the_rest_api_of_firestore_answers(folder: Folder) -> None:
    fields = {
        "state": {"stringValue": "APPLIED"},
        "campaign_token": {"stringValue": TOKEN},
        "live_from": {"timestampValue": "2030-06-01T09:00:00Z"},
    }
    (ios, _) = of_campaign(folder, SALE | {"live": False}, {"ios": {"fields": fields}})
    assert ios["step"] == "stop"


@pytest.mark.parametrize(
    ("function", "document", "said"),
    [
        ("campaign", SALE | {"name": 7}, "name must be a string, not a number"),
        ("campaign", SALE | {"messages": {}}, "messages"),
        ("campaign", SALE | {"live": "yes"}, "live must be true or false"),
        ("campaign", SALE | {"apps": ["tv"]}, "apps names apps that are not in BATCH_APPS: ['tv']"),
        ("article", ARTICLE | {"title": None}, "title is missing"),
        ("article", ARTICLE | {"published": "yes"}, "published must be true or false"),
    ],
)
def test_a_document_that_no_campaign_can_be_made_from_names_the_field(
    folder: Folder, function: str, document: dict[str, Any], said: str
) -> None:
    done = folder.run(function, "--document", folder.file("document.json", document))
    assert done.returncode == 1
    assert f"{function}s/{function}_id: no campaign can be made from it: " in done.stdout
    assert said in done.stdout


def test_an_article_shows_the_campaign_that_it_becomes_and_its_calls(folder: Folder) -> None:
    article = folder.file("article.json", ARTICLE)
    done = folder.run("article", "--document", article, "--json", PUBLISH_ARTICLES="live")
    written, published = map(json.loads, done.stdout.splitlines())
    path = "campaigns/article-article_id"
    assert written["writes"][path]["live"] is True
    assert (published["function"], published["document"]) == ("campaign", path)
    assert [call["request"] for call in published["calls"]] == ["POST campaigns/create"] * 2
    assert done.stderr == f"looked up and not found: {path}\n"


def test_an_article_that_is_withdrawn_stops_its_campaign(folder: Folder) -> None:
    files = {
        "--document": ARTICLE | {"published": False},
        "--before": ARTICLE,
        "--look-ups": {"campaigns/article-article_id": ANNOUNCED},
        "--state": {"ios": APPLIED},
    }
    given = [each for name, value in files.items() for each in (name, folder.file(name, value))]
    done = folder.run("article", *given)
    assert done.returncode == 0
    assert f"ios DEV5…  stop: POST campaigns/update/{TOKEN}\n" in done.stdout
    again = folder.run("article", *given[:2], "--before", given[1])
    assert again.stdout == "article  articles/article_id: no campaign changes\n"


def test_neither_needs_credentials_or_a_connection(tmp_path: Path) -> None:
    (tmp_path / "sale.json").write_text(json.dumps(SALE))
    (tmp_path / "article.json").write_text(json.dumps(ARTICLE))
    (tmp_path / "state.json").write_text(json.dumps({"ios": APPLIED}))
    (tmp_path / "main.py").symlink_to(ROOT / "main.py")
    (tmp_path / "handlers").symlink_to(ROOT / "handlers")
    with counted(tmp_path) as network:
        done = network.run(
            ["preview", "campaign", "--document", "sale.json"],
            ["preview", "campaign", "--before", "sale.json", "--state", "state.json"],
            ["preview", "article", "--document", "article.json"],
            cwd=tmp_path,
            GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "none"),
        )
        assert network.memory.operations == []
    assert [(each.code, each.connections) for each in done] == [(0, [])] * 3


def test_the_states_of_a_project_are_read_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "sale.json").write_text(json.dumps(SALE))
    (tmp_path / "main.py").symlink_to(ROOT / "main.py")
    (tmp_path / "handlers").symlink_to(ROOT / "handlers")
    with counted(tmp_path) as network:
        state = Stored(name=network.memory.name_of("campaigns/campaign_id/batch/ios"))
        state.fields["state"].string_value = "APPLIED"
        state.fields["campaign_token"].string_value = TOKEN
        network.memory.store(state)
        command = ["preview", "campaign", "--document", "sale.json", "--project", "demo-batchpush"]
        (done,) = network.run(command, cwd=tmp_path)
        assert (done.code, network.writes) == (0, [])
    assert f"ios DEV5…  update: {UPDATE}" in done.out
    assert "android 3A7B…  create: POST campaigns/create" in done.out


# Nothing leaves


MAIN = """
import asyncio, os, subprocess, threading, urllib.request
import batchpush
from batchpush import deliver, on_document_written
from handlers import campaigns, orders

async def posting(change, look_up):
    post()

def post():
    urllib.request.urlopen("http://127.0.0.1:9/", b"")

def post_in_a_thread():
    thread = threading.Thread(target=post)
    thread.start()
    thread.join()

def write_with_google_s_client():
    from google.cloud.firestore import Client
    Client().document("orders/7").set({"status": "lost"})
"""
FUNCTION = """
@on_document_written("orders/{{order_id}}")
async def {name}(change):
    {body}
"""
LEAVES = {
    "await batchpush.sweep_deliveries()": "sends or writes",
    "await batchpush.sweep_campaigns(campaigns.campaign)": "sends or writes",
    "await batchpush.pull_results()": "sends or writes",
    "await batchpush.send_delivery_chunk({'delivery': 'a', 'chunk': 'b'})": "sends or writes",
    "await batchpush.send_waiting_delivery({'delivery': 'a'})": "sends or writes",
    "batchpush.worker.worker()": "sends or writes",
    "await batchpush.google.clients.firestore('(default)').commit([])": "writes to Firestore",
    "write_with_google_s_client()": "uses the network",
    "post()": "uses the network",
    "await asyncio.to_thread(post)": "uses the network",
    "post_in_a_thread()": "uses the network",
    "await asyncio.open_connection('127.0.0.1', 9)": "uses the network",
    "subprocess.run(['true'])": "starts a program",
    "os.system('true')": "starts a program",
    "await deliver(change, posting)": "uses the network",
}
AROUND = [
    "{}",
    "await deliver(change, orders.order_delivered); {}",
    "try: {}\n    except Exception: pass",
]
BODIES = {around.format(body): said for body, said in LEAVES.items() for around in AROUND} | {
    "pass": "calls none of deliver, publish, announce, mirror and forget",
    "1 / 0": "ZeroDivisionError",
}


@pytest.fixture(scope="module")
def previews(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Done]:
    """What came of previews of functions of a `main.py`, by their bodies."""
    folder = tmp_path_factory.mktemp("project")
    names = {body: f"function_{number}" for number, body in enumerate(BODIES)}
    functions = [FUNCTION.format(name=name, body=body) for body, name in names.items()]
    (folder / "main.py").write_text(MAIN + "".join(functions))
    (folder / "handlers").symlink_to(ROOT / "handlers")
    (folder / "order.json").write_text(json.dumps(ORDER))
    with counted(folder) as network:
        commands = [["preview", name, "--document", "order.json"] for name in names.values()]
        done = network.run(*commands, cwd=folder)
        assert network.memory.operations == []
    return dict(zip(names, done, strict=True))


@pytest.mark.parametrize(("body", "said"), BODIES.items())
def test_a_function_that_does_more_than_deliver_is_not_run_to_its_end(
    previews: dict[str, Done], body: str, said: str
) -> None:
    done = previews[body]
    assert (done.code, done.out, done.connections) == (2, "", [])
    last = done.err.splitlines()[-1]  # a thread says itself what it died of
    assert last.startswith("batchpush: ")
    assert said in last


def test_a_function_that_delivers_twice_is_shown_twice(tmp_path: Path) -> None:
    twice = FUNCTION.format(
        name="twice", body=AROUND[1].format("await deliver(change, orders.order_delivered)")
    )
    (tmp_path / "main.py").write_text(MAIN + twice)
    (tmp_path / "handlers").symlink_to(ROOT / "handlers")
    (tmp_path / "order.json").write_text(json.dumps(ORDER))
    with counted(tmp_path) as network:
        (done,) = network.run(["preview", "twice", "--document", "order.json"], cwd=tmp_path)
    assert done.code == 0
    assert done.out.count(": 2 requests, not sent") == 2
