"""`probe`: every question is answered, nothing is sent to anybody, and no draft stays."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchpush.batch_api.outcome import Reply
from batchpush.cli import main as cli
from batchpush.cli.probe.answers import answer_of, differences
from batchpush.cli.probe.questions import CAMPAIGN, LATER, NOBODY, QUESTIONS, Question
from batchpush.environment import process_settings
from batchpush.testing import ManualClock
from batchpush.timing import Clock
from emulators import batch, secret_manager
from emulators.batch import Batch

APP_KEY, REST_KEY = "DEV-the-app-key", "the-rest-key"
APPS = {"ios": APP_KEY, "android": "the-live-key"}
MARKER = "batchpush probe 1a2b3c4d"
SEND = ["probe", "--send", "--app", "ios"]

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Batch]:
    """Batch, and the secret, on this machine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LOG_LEVEL", "ERROR")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "demo-batchpush")
    monkeypatch.setenv("BATCH_APPS", ",".join(f"{app}={key}" for app, key in APPS.items()))
    with (
        batch.running(apps=APPS, rest_keys=[REST_KEY]) as api,
        secret_manager.running() as of_secrets,
    ):
        of_secrets.add_version("demo-batchpush", "batch-rest-api-key", REST_KEY)
        monkeypatch.setenv("BATCH_API_URL", api.url)
        monkeypatch.setenv("SECRET_MANAGER_URL", of_secrets.url)
        process_settings.cache_clear()
        yield api
    process_settings.cache_clear()


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch gives a Dev key the list, which its documentation denies."""
    monkeypatch.setattr("emulators.batch.campaigns.is_dev", lambda app_key: False)


def asked(*arguments: str, code: int = 0) -> None:
    assert cli.main([*SEND, *arguments]) == code


def campaigns_left(api: Batch) -> list[str]:
    return [each["body"]["name"] for each in api.campaigns() if each["state"] != "deleted"]


# The table


BODIES = [question for question in QUESTIONS if isinstance(question.body, dict)]


def test_every_question_has_a_name_and_a_sentence() -> None:
    assert len({question.name for question in QUESTIONS}) == len(QUESTIONS)
    assert all(question.asks.endswith("?") for question in QUESTIONS)


@pytest.mark.parametrize(
    "question", [each for each in BODIES if "campaigns" in each.route], ids=lambda each: each.name
)
def test_a_campaign_is_a_draft_that_is_due_in_months_and_goes_to_nobody(question: Question) -> None:
    body = question.body
    assert body["live"] is False
    times = {body.get("push_time"), body.get("local_push_time")} - {None}
    assert times <= {LATER, f"{LATER}Z", "2099-12-31T09:00:00", "someday"}
    if "targeting" in body or CAMPAIGN not in question.route:
        query = body["targeting"]["query"]
        assert query == NOBODY or (query == question.offers and "batchpush_probe" in str(query))


@pytest.mark.parametrize(
    "question", [each for each in BODIES if "send" in each.route], ids=lambda each: each.name
)
def test_a_push_has_no_recipient_and_no_message(question: Question) -> None:
    assert "message" not in question.body
    assert not any(question.body.get("recipients", {}).values())
    assert not question.body.get("messages")
    assert question.body.get("push_type") != "background"


@pytest.mark.parametrize(
    "body", [each.body for each in QUESTIONS if not isinstance(each.body, dict | None)]
)
def test_any_other_body_is_not_an_object(body: Any) -> None:
    if isinstance(body, bytes):
        with pytest.raises(ValueError, match="Expecting value"):
            json.loads(body)
    else:
        assert body == []


# Asking


def test_without_send_the_questions_are_listed_and_nothing_is_asked(
    api: Batch, capsys: Captured
) -> None:
    assert cli.main(["probe"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines[::2]] == [each.name for each in QUESTIONS]
    assert "nothing was sent" in last
    assert cli.main(["probe", "--json"]) == 0
    out, err = capsys.readouterr()
    listed = [json.loads(line) for line in out.splitlines()]
    assert [each["name"] for each in listed] == [each.name for each in QUESTIONS]
    assert listed[0].keys() == {"name", "question", "request"}
    assert "nothing was sent" in err
    assert api.calls() == []


def test_every_question_is_answered_and_nothing_is_sent(api: Batch, capsys: Captured) -> None:
    asked()
    out, err = capsys.readouterr()
    report = json.loads(out)
    entries = report["questions"]
    assert report["app"] == "ios"
    assert [entry["name"] for entry in entries] == [each.name for each in QUESTIONS]
    assert {type(entry["answer"]["status"]) for entry in entries} == {int}
    assert not any(
        call["accepted"] for call in api.calls() if call["route"] == "transactional/send"
    )
    assert {each["app"] for each in api.campaigns()} == {"ios"}
    assert campaigns_left(api) == []
    assert err == ""


def test_the_answers_are_those_of_batch_without_what_changes(api: Batch, tmp_path: Path) -> None:
    asked("--output", str(tmp_path / "report.json"))
    entries = json.loads((tmp_path / "report.json").read_text())["questions"]
    answers = {entry["name"]: entry["answer"] for entry in entries}
    assert answers["draft"] == {
        "status": 201,
        "headers": {"content-type": "application/json"},
        "body": {"campaign_token": "{id}"},
    }
    told = {name: answer["body"].get("type", answer["status"]) for name, answer in answers.items()}
    assert {name: told[name] for name in EXPECTED} == EXPECTED
    (update,) = [entry for entry in entries if entry["name"] == "update"]
    assert update["request"]["path"] == "/1.1/{app key}/campaigns/update/{campaign}"
    assert update["request"]["body"]["name"] == "{marker} update"
    assert update["seconds"] >= 0


EXPECTED = {
    "wrong-rest-key": "AUTHENTICATION_INVALID",
    "wrong-app-key": "AUTHENTICATION_INVALID",
    "unknown-route": "ROUTE_NOT_FOUND",
    "not-json": "MALFORMED_JSON_BODY",
    "no-name": "MISSING_PARAMETER",
    "short-name": "MALFORMED_PARAMETER",
    "media-in-message": 201,
    "view": "API_MISUSE",
    "update-in-part": 200,
    "delete": 200,
    "delete-again": "ROUTE_NOT_FOUND",
    "send-to-nobody": "MISSING_PARAMETER",
    "send-unknown-field": "MALFORMED_PARAMETER",
}


def test_no_key_is_anywhere(api: Batch, tmp_path: Path, capsys: Captured) -> None:
    api.fault(route="campaigns/create", status=418, body=f"<p>{APP_KEY} {REST_KEY}</p>")
    api.fault(
        route="campaigns/create",
        status=418,
        body={APP_KEY: REST_KEY, "escaped": "".join(f"%{ord(char):02x}" for char in APP_KEY)},
        headers={"X-RateLimit-For": f"{APP_KEY} {REST_KEY}", "Retry-After": APP_KEY},
    )
    asked("--output", "report.json")
    asked("--compare", "report.json")
    shown = "".join([*capsys.readouterr(), (tmp_path / "report.json").read_text()])
    assert APP_KEY not in shown
    assert REST_KEY not in shown
    assert "<p>**** ****</p>" in shown


def test_a_limit_is_waited_for_and_reported(api: Batch, capsys: Captured) -> None:
    limit = {"Retry-After": "0", "X-RateLimit-Remaining": "0", "X-Other": "hidden"}
    api.fault(route="transactional/send", status=429, headers=limit)
    asked()
    entries = {each["name"]: each for each in json.loads(capsys.readouterr().out)["questions"]}
    entry = entries["send-not-json"]
    assert entry["answer"]["status"] == 400
    (earlier,) = entry["earlier"]
    assert earlier["answer"]["status"] == 429
    assert earlier["answer"]["headers"] == {
        "content-type": "application/json",
        "retry-after": "0",
        "x-ratelimit-remaining": "0",
    }


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The emulator is far away now, and no time passes while it is waited for."""
    clock = ManualClock()
    monkeypatch.setattr("batchpush.cli.probe.prober.is_loopback", lambda url: False)
    made = Clock(clock.now, lambda: 0.5, clock.sleep)
    monkeypatch.setattr("batchpush.cli.probe.command.Clock", lambda: made)
    return clock


def test_batch_itself_is_asked_once_a_second(
    api: Batch, clock: ManualClock, capsys: Captured
) -> None:
    begun = clock.now()
    asked()
    assert (clock.now() - begun).total_seconds() >= len(api.calls()) > len(QUESTIONS)


def test_no_question_waits_for_long_but_a_deletion_does(
    api: Batch, clock: ManualClock, capsys: Captured
) -> None:
    for route in ("campaigns/stats", "campaigns/delete"):
        api.fault(route=route, status=429, headers={"Retry-After": "300"})
    asked(code=1)
    entries = {each["name"]: each for each in json.loads(capsys.readouterr().out)["questions"]}
    assert entries["targeting-attribute"]["answer"]["status"] == 201
    assert entries["stats"]["answer"]["status"] == 429
    assert "not asked" in entries["group-stats"]["answer"]["problem"]
    assert campaigns_left(api) == []


def test_the_first_query_that_batch_accepts_is_used(api: Batch, capsys: Captured) -> None:
    api.fault(route="campaigns/create", status=400)
    asked()
    entries = json.loads(capsys.readouterr().out)["questions"]
    (entry,) = [each for each in entries if each["name"] == "draft"]
    assert entry["request"]["body"]["targeting"] == {"query": {"c.batchpush_probe": "nobody"}}


def test_campaigns_of_others_are_not_in_the_report(
    api: Batch, listed: None, capsys: Captured
) -> None:
    body = {"name": "secret plans", "live": False, "push_time": "2030-01-01T00:00:00"}
    api.add_dashboard_campaign(APP_KEY, body | {"messages": [{"language": "en", "body": "Hi"}]})
    asked()
    out = capsys.readouterr().out
    entries = {each["name"]: each["answer"] for each in json.loads(out)["questions"]}
    (row,) = entries["list"]["body"]
    assert (row["name"], row["created_date"]) == ("{marker} draft", "{time}")
    assert "secret plans" not in out
    assert campaigns_left(api) == ["secret plans"]


# What is refused


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--app", "android"], "android has no Dev key, which begins with DEV"),
        (["--app", "andriod"], "--app: unknown app andriod; is android meant? choose from ios"),
        ([], "--app: choose one of ios, android"),
        (["--app", "ios", "--compare", "none.json"], "none.json: No such file or directory"),
        (["--app", "ios", "--compare", "other.json"], "other.json is not a report of probe"),
        (["--app", "ios", "--output", "none/report.json"], "No such file or directory"),
    ],
)
def test_what_is_refused_sends_nothing(
    api: Batch, capsys: Captured, arguments: list[str], words: str
) -> None:
    Path("other.json").write_text('{"questions": [{"name": "draft"}]}')
    assert cli.main(["probe", "--send", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert api.calls() == []


def test_the_only_app_need_not_be_named(
    api: Batch, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("BATCH_APPS", f"ios={APP_KEY}")
    process_settings.cache_clear()
    assert cli.main(["probe", "--send"]) == 0


def test_without_the_rest_key_nothing_is_sent(
    api: Batch, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setenv("BATCH_REST_KEY_SECRET", "another-secret")
    process_settings.cache_clear()
    Path("report.json").write_text("of yesterday")
    asked("--output", "report.json", code=2)
    assert Path("report.json").read_text() == "of yesterday"
    assert "another-secret: NotFound" in capsys.readouterr().err
    assert api.calls() == []


# What must not be left


@pytest.mark.parametrize("fault", [{"cut": True}, {"reset": True, "accept": True}])
def test_a_draft_whose_token_was_lost_is_found_and_deleted(
    api: Batch, listed: None, fault: dict[str, bool], capsys: Captured
) -> None:
    api.fault(route="campaigns/create", **fault)
    asked(code=1)
    assert campaigns_left(api) == []
    assert "1 of 101 questions have no answer: targeting-tag" in capsys.readouterr().err


def test_a_draft_that_cannot_be_found_is_named(api: Batch, capsys: Captured) -> None:
    api.fault(route="campaigns/create", cut=True)
    asked(code=1)
    (left,) = campaigns_left(api)
    assert f"delete it in the dashboard: {left}\n" in capsys.readouterr().err


def test_a_draft_without_its_name_is_not_taken_for_gone(
    api: Batch, listed: None, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    unnamed = next(each for each in QUESTIONS if each.name == "short-name")
    monkeypatch.setattr("batchpush.cli.probe.prober.QUESTIONS", (unnamed,))
    api.fault(route="campaigns/create", status=502)
    asked(code=1)
    assert "short-name\n" in capsys.readouterr().err


def test_drafts_that_batch_keeps_are_named(api: Batch, capsys: Captured) -> None:
    api.fault(route="campaigns/delete", status=403, times=None)
    asked(code=1)
    left = campaigns_left(api)
    err = capsys.readouterr().err
    assert len(left) == err.count("delete it in the dashboard") > 1
    assert "targeting-tag\n" in err


def test_a_deletion_without_an_answer_is_repeated(api: Batch, capsys: Captured) -> None:
    api.fault(route="campaigns/delete", reset=True, times=2)
    api.fault(route="campaigns/delete", cut=True)
    asked()
    assert campaigns_left(api) == []
    assert capsys.readouterr().err == ""


def test_when_batch_is_down_the_rest_is_not_asked(api: Batch, capsys: Captured) -> None:
    api.fault(reset=True, times=None)
    asked(code=1)
    assert len(api.calls()) < 20
    entries = json.loads(capsys.readouterr().out)["questions"]
    assert entries[0]["answer"].keys() == {"problem"}
    assert entries[-1]["answer"] == {"problem": "not asked: Batch does not answer at present"}


@pytest.mark.parametrize("route", ["campaigns/create", "campaigns/update"])
def test_an_interrupt_deletes_what_is_there(api: Batch, listed: None, route: str) -> None:
    """Ctrl-C comes while a draft is being created, or while later questions are about it."""
    api.fault(route=route, hang=True)
    # A process in the background of a shell ignores it, and so would all that it starts.
    minds = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    run_it = "from batchpush.cli.main import main; raise SystemExit(main())"
    command = [sys.executable, "-W", "error", "-c", f"{minds}; {run_it}", *SEND]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        while route not in {call["route"] for call in api.wait_for_calls(1)}:
            pass
        assert len(campaigns_left(api)) == 1
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=60)
    assert (run.returncode, out) == (2, "")
    assert err == "batchpush: interrupted; no report was written\n"
    assert campaigns_left(api) == []


# Comparing


def test_a_report_equals_itself_asked_again(api: Batch, capsys: Captured) -> None:
    asked("--output", "first.json")
    asked("--output", "second.json", "--compare", "first.json")
    assert capsys.readouterr() == ("", "")
    assert json.loads(Path("second.json").read_text())["questions"]


def test_an_answer_that_changed_is_named(api: Batch, capsys: Captured) -> None:
    asked("--output", "first.json")
    limit = {"X-RateLimit-Limit": "60"}
    api.fault(route="campaigns/list", status=404, headers=limit, body={"code": 20, "type": "\x1b"})
    asked("--compare", "first.json")
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "wrong-rest-key  body.code: theirs 10, ours 20",
        "wrong-rest-key  body.message: theirs "
        '"`X-Authorization` must hold the REST API key", ours nothing',
        'wrong-rest-key  body.type: theirs "AUTHENTICATION_INVALID", ours "\\u001b"',
        'wrong-rest-key  headers.x-ratelimit-limit: theirs nothing, ours "present"',
        "wrong-rest-key  status: theirs 401, ours 404",
    ]


def entry(name: str, **answer: Any) -> dict[str, Any]:
    return {"name": name, "request": {"method": "GET"}, "answer": answer}


def test_how_long_it_took_and_what_is_left_of_a_limit_is_no_difference() -> None:
    ours = entry("a", headers={"x-ratelimit-remaining": "1"}) | {"seconds": 1}
    theirs = entry("a", headers={"x-ratelimit-remaining": "2"}) | {"seconds": 2, "earlier": []}
    assert list(differences([theirs], [ours])) == []


def test_a_question_that_only_one_report_has_is_named() -> None:
    assert list(differences([entry("a"), entry("b")], [entry("a"), entry("c")])) == [
        "c: their report has no such question",
        "b: our report has no such question",
    ]


def test_what_a_report_says_cannot_speak_to_the_terminal() -> None:
    theirs = entry("a\x1b", body={"\x9b": "\x7f"}), entry("b")
    ours = entry("a\x1b", body={}), entry("b", body=[0, False])
    assert all(line.isprintable() for line in differences(theirs, ours))
    assert list(differences([entry("b", body=[0])], [entry("b", body=[False])])) == [
        "b  body.0: theirs 0, ours false"
    ]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b'{"token": "5f0f6d1e-9c2b-4f0e-8a57-0a3b4c5d6e7f"}', {"token": "{id}"}),
        (b'{"5f0f6d1e9c2b4f0e8a570a3b4c5d6e7f": 1}', {"{id}": 1}),
        (b'["batchpush probe 1a2b3c4d 2026-05-04T10:20:30Z"]', ["{marker} {time}Z"]),
        (b'["2026-05-04 10:20 batchpush probe 1a2b3c4d"]', ["{time} {marker}"]),
        (b'[{"name": "of somebody else"}]', []),
        (
            b'{"date": "2026-05-04", "sent": 7, "is": null}',
            {"date": "{day}", "sent": 7, "is": None},
        ),
        (b"<html>2026-05-04</html>", "<html>{day}</html>"),
        (b"\xff" + b"x" * 5_000, "\ufffd" + "x" * 1_999),
        (b"", ""),
    ],
)
def test_what_differs_from_run_to_run_is_a_placeholder(body: bytes, shown: Any) -> None:
    assert answer_of(Reply(200, body), {}, APP_KEY, MARKER)["body"] == shown
