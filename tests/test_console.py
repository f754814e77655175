"""The console's server: who may ask it, and what it answers."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from batchpush.campaigns.state import CampaignState
from batchpush.cli import finding
from batchpush.cli.console import answers, command
from batchpush.cli.console.server import HEADERS, PAGE
from batchpush.delivery.record import CallRecord, CallState, DeliveryState
from batchpush.google.connection import Meaning, fix_of
from batchpush.google.firestore import FirestoreMisconfigured, WriteConflict
from local import suite
from tests.console import REST_KEY, TOKEN, campaign, client, conversation, record
from tests.house import House

HELD = CallRecord("ios", 0, CallState.HELD, 2, 2, 502)
REFUSED = CallRecord("ios", 0, CallState.REFUSED, 1, status=400, problem="no title")
APPLIED, BROKEN = CampaignState.APPLIED, CampaignState.REFUSED


@pytest.fixture
def house() -> House:
    return House(RECIPIENT_INDEX_DAYS="7")


# Who may ask

ASKED = [
    ("GET", "/api/project"),
    ("GET", "/api/deliveries"),
    ("GET", f"/api/deliveries/{'a' * 64}"),
    ("POST", f"/api/deliveries/{'a' * 64}/replay"),
    ("GET", "/api/campaigns"),
]


@pytest.mark.parametrize(("method", "path"), ASKED)
@pytest.mark.parametrize(
    "header", [None, "", TOKEN, "Bearer ", "Bearer other", "Bearer é", f"Basic {TOKEN}"]
)
async def test_nothing_of_the_project_is_told_or_sent_without_the_token(
    house: House, method: str, path: str, header: str | None
) -> None:
    async with client(house.worker) as asking:
        del asking.headers["authorization"]
        headers = [] if header is None else [(b"authorization", header.encode("latin-1"))]
        answer = await asking.request(method, f"{path}?token={TOKEN}", headers=headers)
    assert answer.status_code == 403
    assert answer.json()["problem"] == "Open the address that the command printed"
    assert house.memory.operations == []


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:4013", 200),
        ("localhost:4013", 200),
        ("evil.example:4013", 400),
        ("127.0.0.1.evil.example", 400),
        ("localhost.evil.example:4013", 400),
        ("192.168.1.10:4013", 400),
        ("0.0.0.0:4013", 400),
    ],
)
@pytest.mark.parametrize("path", ["/", "/page.js", "/api/project"])
async def test_a_name_that_leads_to_this_machine_from_elsewhere_is_refused(
    house: House, host: str, status: int, path: str
) -> None:
    async with client(house.worker, host=host) as asking:
        assert (await asking.get(path)).status_code == status


@pytest.mark.parametrize(
    "path", ["/", "/page.css", "/none.js", "/api/project", "/api/none", "/api/deliveries?state=X"]
)
@pytest.mark.parametrize("token", [TOKEN, "other"])
async def test_no_answer_is_cached_framed_or_runs_what_is_not_the_pages(
    house: House, path: str, token: str
) -> None:
    async with client(house.worker, token) as asking:
        answer = await asking.get(path)
    assert answer.headers.items() >= HEADERS.items()
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


async def test_only_a_post_replays(house: House) -> None:
    held = await record(house, DeliveryState.REFUSED, REFUSED)
    async with client(house.worker) as asking:
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            answer = await asking.request(method, f"/api/deliveries/{held.id}/replay")
            assert answer.status_code == 405
    assert house.batch.calls == []


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for file in PAGE.iterdir():
        addresses = re.findall(r"https?://[^\s\"']+|url\([^)]*\)", file.read_text("utf-8"))
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}


async def test_no_answer_has_the_rest_key_or_an_app_key(house: House) -> None:
    house = House(BATCH_APPS="ios=IOSAPPKEY,android=ANDROIDAPPKEY", RECIPIENT_INDEX_DAYS="7")
    await conversation(house)
    refused = await record(house, DeliveryState.REFUSED, REFUSED)
    campaign(house, "c1", ios=APPLIED)
    async with client(house.worker) as asking:
        shown = await asking.get(f"/api/deliveries/{refused.id}")
        texts = [shown.text]
        for path in ("project", "deliveries?user=bob", "campaigns?all=yes"):
            texts.append((await asking.get(f"/api/{path}")).text)
        texts.append((await replay(asking, refused.id, shown.json()["version"])).text)
    assert '"SENT"' in texts[-1]
    assert not [text for text in texts if REST_KEY in text or "APPKEY" in text]


# Searching


async def found(asking: httpx.AsyncClient, **parameters: Any) -> dict[str, Any]:
    answer = await asking.get("/api/deliveries", params=parameters)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


async def test_a_user_is_told_what_they_were_sent_wait_for_and_were_left_out_of(
    house: House,
) -> None:
    await conversation(house)
    async with client(house.worker) as asking:
        (of_tom,) = (await found(asking, user="tom"))["deliveries"]
        of_eve = (await found(asking, user="eve"))["deliveries"]
        (of_bob,) = (await found(asking, user="bob", state="SENT"))["deliveries"]
        nothing = await found(asking, user="ann")
    assert (of_tom["left_out"], of_tom["state"]) == (["muted the conversation"], "SENT")
    assert (of_bob["left_out"], of_bob["apps"]) == ([], "ios accepted, android accepted")
    assert "2026-06-11T07:00:00Z" in [each["not_before"] for each in of_eve]
    assert (nothing["deliveries"], nothing["next"]) == ([], None)


async def test_a_search_by_user_says_which_setting_it_needs() -> None:
    house = House()
    async with client(house.worker) as asking:
        answer = await asking.get("/api/deliveries?user=ann")
    assert answer.status_code == 400
    assert answer.json()["problem"].startswith(
        "a search by user needs RECIPIENT_INDEX_DAYS, which is 0: set it, and deploy"
    )


SEARCHES: list[dict[str, Any]] = [
    {},
    {"document": "orders/o1"},
    {"function": "f"},
    {"function": "f", "state": ["REFUSED", "HELD"]},
    {"state": ["REFUSED", "HELD", "SENT"]},
]


@pytest.mark.parametrize("search", SEARCHES, ids=str)
async def test_more_continues_until_each_delivery_was_shown_once(
    house: House, monkeypatch: pytest.MonkeyPatch, search: dict[str, Any]
) -> None:
    monkeypatch.setattr(answers, "PAGE", 3)
    monkeypatch.setattr(finding, "PAGE", 2)
    stored = [(await record(house, DeliveryState.REFUSED, REFUSED)).id for _ in range(10)]
    shown: list[dict[str, Any]] = []
    async with client(house.worker) as asking:
        page = await found(asking, **search)
        shown += page["deliveries"]
        while page["next"]:
            page = await found(asking, **search | page["next"])
            assert page["is_continued"]
            shown += page["deliveries"]
            assert len(page["deliveries"]) <= 3
    assert sorted(each["id"] for each in shown) == sorted(stored)
    if "document" in search or not search:
        assert [each["id"] for each in shown] == stored[::-1]


@pytest.mark.parametrize("search", [{"document": "orders/o1", "state": "SENT"}, {}], ids=str)
async def test_a_search_asks_before_it_reads_very_many(
    house: House, monkeypatch: pytest.MonkeyPatch, search: dict[str, Any]
) -> None:
    """Also where the database does not sort: then it reads them again, and further."""
    monkeypatch.setattr(finding, "ASK_AFTER", 4)
    monkeypatch.setattr(finding, "PAGE", 2)
    for _ in range(10):
        last = await record(house, DeliveryState.REFUSED, REFUSED)
    questions: list[str] = []
    async with client(house.worker) as asking:
        page = await found(asking, **search)
        while page["next"]:
            questions.append(page["question"])
            page = await found(asking, **search | page["next"])
    assert questions[0] == f"4 deliveries read, {0 if search else 4} found; read on?"
    assert len(questions) == 2
    assert search or page["deliveries"][0]["id"] == last.id


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ("user=a/b", "expected a user id"),
        ("document=orders", "expected the path of a document: orders/o1"),
        ("state=SEND", "unknown state SEND; is SENT meant?"),
        ("since=yesterday", "expected 2026-05-04T10:20, or 30m, 2h, 3d"),
        ("after=xyz", "expected 8 to 64 hex characters of an id"),
        ("after=abcdef0123", "there is no delivery abcdef0123"),
        ("skip=-1", "expected a whole number of at least 1"),
    ],
)
async def test_a_search_that_cannot_be_is_one_sentence(
    house: House, parameters: str, problem: str
) -> None:
    async with client(house.worker) as asking:
        answer = await asking.get(f"/api/deliveries?{parameters}")
    assert answer.status_code == 400
    assert answer.json()["problem"].startswith(problem)


async def test_since_leaves_out_what_is_older(house: House) -> None:
    old = await record(house, DeliveryState.REFUSED, REFUSED)
    house.clock.forward(timedelta(days=2).total_seconds())
    new = await record(house, DeliveryState.REFUSED, REFUSED)
    async with client(house.worker) as asking:
        page = await found(asking, since=house.clock.now().date().isoformat())
    assert [each["id"] for each in page["deliveries"]] == [new.id] != [old.id]


# One delivery


async def replay(asking: httpx.AsyncClient, record_id: str, version: str, **more: str) -> Any:
    parameters = {"version": version} | more
    return await asking.post(f"/api/deliveries/{record_id}/replay", params=parameters)


async def test_a_delivery_tells_its_story_with_calls_bodies_and_who_was_left_out(
    house: House,
) -> None:
    await conversation(house)
    async with client(house.worker) as asking:
        (listed,) = (await found(asking, user="tom"))["deliveries"]
        shown = (await asking.get(f"/api/deliveries/{listed['id'][:12]}")).json()
    steps = [step["what"] for step in shown["story"]]
    assert "left out, muted the conversation: tom" in steps
    assert steps[-1].startswith("SENT: ")
    assert shown["left_out"]["muted the conversation"] == ["tom"]
    assert {call["app"]: call["status"] for call in shown["calls"]} == {"ios": 201, "android": 201}
    assert shown["bodies"][0]["recipients"] == {"custom_ids": ["bob"]}
    assert shown["no_bodies"] is None


@pytest.mark.parametrize(
    ("state", "calls", "reason", "plan", "anyway", "why_not"),
    [
        (DeliveryState.SENT, [], None, False, False, "Batch accepted every request"),
        (
            DeliveryState.REFUSED,
            [],
            "text is missing",
            False,
            False,
            "there is nothing to send: text is missing",
        ),
        (DeliveryState.REFUSED, [REFUSED], None, True, False, None),
        (DeliveryState.HELD, [HELD], None, False, True, None),
        (DeliveryState.HELD, [HELD, REFUSED], None, True, True, None),
        (
            DeliveryState.CLAIMED,
            [REFUSED],
            None,
            False,
            False,
            "it is being sent, or the sweep will resume it",
        ),
    ],
)
async def test_what_a_delivery_offers(
    house: House,
    state: DeliveryState,
    calls: list[CallRecord],
    reason: str | None,
    plan: bool,
    anyway: bool,
    why_not: str | None,
) -> None:
    stored = await record(house, state, *calls, reason=reason)
    async with client(house.worker) as asking:
        offer = (await asking.get(f"/api/deliveries/{stored.id}")).json()["replay"]
    assert (bool(offer["plan"]), bool(offer["anyway"])) == (plan, anyway)
    assert offer["why_not"] == why_not
    assert house.batch.calls == []


async def test_a_replay_sends_that_one_and_says_what_became_of_it(house: House) -> None:
    stored = await record(house, DeliveryState.REFUSED, REFUSED)
    await record(house, DeliveryState.REFUSED, REFUSED)
    async with client(house.worker) as asking:
        version = (await asking.get(f"/api/deliveries/{stored.id}")).json()["version"]
        answer = await replay(asking, stored.id, version)
    assert answer.json() == {
        "state": "SENT",
        "says": ["ios body 0: accepted (2 attempts, 201)", "now SENT"],
    }
    assert len(house.batch.calls) == 1


async def test_a_held_call_goes_only_if_it_is_to_be_sent_anyway(house: House) -> None:
    stored = await record(house, DeliveryState.HELD, HELD)
    async with client(house.worker) as asking:
        version = (await asking.get(f"/api/deliveries/{stored.id}")).json()["version"]
        refused = await replay(asking, stored.id, version)
        assert (refused.status_code, house.batch.calls) == (400, [])
        sent = await replay(asking, stored.id, version, resend_unknown="yes")
    assert sent.json()["state"] == "SENT"


async def test_a_delivery_that_changed_after_it_was_shown_is_not_replayed(house: House) -> None:
    stored = await record(house, DeliveryState.REFUSED, REFUSED)
    async with client(house.worker) as asking:
        version = (await asking.get(f"/api/deliveries/{stored.id}")).json()["version"]
        assert (await replay(asking, stored.id, version)).status_code == 200
        again = await replay(asking, stored.id, version)
    assert again.status_code == 409
    assert again.json()["problem"] == "it changed since you looked at it, and nothing was sent"
    assert len(house.batch.calls) == 1


async def test_a_delivery_that_somebody_claims_at_the_same_moment_is_left_to_them(
    house: House,
) -> None:
    stored = await record(house, DeliveryState.REFUSED, REFUSED)

    async def outrun(name: str, operation: Any) -> Any:
        if name == "reclaim":
            raise WriteConflict("it was changed")
        return operation()

    async with client(house.worker) as asking:
        version = (await asking.get(f"/api/deliveries/{stored.id}")).json()["version"]
        house.memory.strike = outrun
        answer = await replay(asking, stored.id, version)
    assert (answer.status_code, house.batch.calls) == (409, [])
    assert answer.json()["problem"] == "another worker is sending it"


# Campaigns


async def test_campaigns_are_listed_with_their_states_and_reasons_page_by_page(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "PAGE", 2)
    for name in ("c1", "c2", "c3"):
        campaign(house, name, android=APPLIED, ios=BROKEN)
    house.memory.remove("campaigns/c3")
    async with client(house.worker) as asking:
        first = (await asking.get("/api/campaigns")).json()
        second = (await asking.get("/api/campaigns", params={"after": first["next"]})).json()
        whole = (await asking.get("/api/campaigns?all=yes")).json()
    assert [each["name"] for each in first["campaigns"]] == ["The c1", "The c2"]
    (last,) = second["campaigns"]
    assert (last["path"], last["name"], second["next"]) == ("campaigns/c3", None, None)
    (app,) = last["apps"]
    assert (app["app"], app["state"]) == ("ios", "REFUSED")
    assert app["error"] == "targeting: unknown segment"
    assert [each["state"] for each in whole["campaigns"][0]["apps"]] == ["APPLIED", "REFUSED"]


# What stands in the way


@pytest.mark.parametrize("path", ["deliveries", "deliveries/" + "a" * 64, "campaigns"])
@pytest.mark.parametrize(
    ("meaning", "command"),
    [
        (Meaning.NO_IDENTITY, "gcloud auth application-default login"),
        (
            Meaning.NO_PERMISSION,
            "gcloud projects add-iam-policy-binding p --member=user:YOUR_EMAIL "
            "--role=roles/datastore.user",
        ),
        (Meaning.NO_INDEX, "firebase deploy --only firestore:indexes --project p"),
    ],
)
async def test_an_error_of_google_comes_with_the_command_that_fixes_it(
    house: House, path: str, meaning: Meaning, command: str
) -> None:
    async def refuse(name: str, operation: Any) -> Any:
        raise FirestoreMisconfigured(f"DENIED: words. {fix_of(meaning, 'p', '(default)')}")

    house.memory.strike = refuse
    async with client(house.worker) as asking:
        answer = await asking.get(f"/api/{path}")
    assert answer.status_code == 503
    assert answer.json() == {"problem": "Firestore: DENIED: words", "fix": command}


@pytest.mark.filterwarnings("ignore")
async def test_an_error_of_ours_is_an_answer_too(house: House) -> None:
    async def fail(name: str, operation: Any) -> Any:
        raise RuntimeError("secret")

    house.memory.strike = fail
    async with client(house.worker) as asking:
        answer = await asking.get("/api/deliveries")
    assert answer.status_code == 500
    assert answer.json()["problem"] == "RuntimeError: the terminal says where"


# The command

ROOT = Path(__file__).parent.parent


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command in a process of its own, and the first line that it prints."""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "batchpush", "console", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline()
        finally:
            process.kill()


def test_it_listens_on_loopback_prints_its_address_and_ends_with_ctrl_c() -> None:
    with started("--project", "demo-batchpush", "--port", "0") as (process, line):
        printed = re.fullmatch(
            r"Open (http://127\.0\.0\.1:\d+)/#token=([\w-]{43}) \(Ctrl-C ends it\)\n", line
        )
        assert printed
        address, token = printed.groups()
        with httpx.Client(trust_env=False) as asking:
            assert asking.get(address).text.startswith("<!doctype html>")
            headers = {"authorization": f"Bearer {token}"}
            project = asking.get(f"{address}/api/project", headers=headers).json()
        assert (project["id"], project["emulator"]) == (
            "demo-batchpush",
            os.environ.get("FIRESTORE_EMULATOR_HOST", "127.0.0.1:8080"),
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with started("--project", "demo-batchpush", "--port", port) as (process, line):
            assert (process.wait(60), line) == (2, "")
            assert process.stderr is not None
            assert process.stderr.read() == (
                f"batchpush: cannot listen on 127.0.0.1:{port}: Address already in use; "
                "--port 0 picks a free port\n"
            )


def test_a_demo_project_is_looked_for_where_the_suite_has_it() -> None:
    assert {
        "FIRESTORE_EMULATOR_HOST": suite.address("firestore"),
        "BATCH_API_URL": suite.url("batch"),
        "SECRET_MANAGER_URL": suite.url("secret_manager"),
    } == command.EMULATORS
    assert command.PORT not in suite.PORTS.values()
