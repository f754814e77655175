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
    assert done.stdout.startswith("new_message  conversations/c1/messages/m1: 4 calls, not sent\n")
    english, french = calls(done.stdout)
    assert [apps for apps, _ in (english, french)] == ["ios DEV5…, android 3A7B…"] * 2
    assert english[1]["recipients"] == {"custom_ids": ["bob"]}
    assert french[1]["recipients"] == {"custom_ids": ["Z"]}
    assert "photo" in french[1]["message"]["body"]
    assert done.stderr == "looked up and not there: users/tim\n"
    assert "DEV5F2C9D1E" not in done.stdout


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
    assert re.fullmatch(rf"1 in quiet hours until \S+T{end}:00\S*", waiting)


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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no_such", "--document", "message.json"], "no write calls no_such"),
        (["notify", "--document", "message.json"], "no write calls notify"),
        (["new_message", "--document", "gone.json"], "gone.json: No such file"),
        (["new_message", "--document", "text.json"], "text.json is not JSON"),
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
    folder.file("text.json", "not JSON")
    folder.file("list.json", "[]")
    paths = [str(folder.path / each) if each.endswith(".json") else each for each in arguments]
    done = folder.run(*paths)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.startswith("batchpush: ")
    assert done.stderr.count("\n") == 1
