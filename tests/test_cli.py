"""The operator's command line, against the Firestore emulator and the Batch emulator."""

import argparse
import asyncio
import functools
import importlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import batchpush.google.clients
from batchpush.cli import arguments, deliveries, finding, replay, terminal
from batchpush.cli import main as cli
from batchpush.cli.completion import commands_of
from batchpush.cli.version import VERSION
from batchpush.delivery.erasure import body_names, without
from batchpush.delivery.ledger import Entry, Ledger
from batchpush.delivery.record import CallRecord, CallState, DeliveryState, Record
from batchpush.delivery.replay import Replay
from batchpush.delivery.waiting import name_of
from batchpush.environment import process_settings
from batchpush.events.triggers import WATCHED
from batchpush.google.clients import firestore
from batchpush.google.connection import Connection
from batchpush.google.firestore import Firestore, WriteConflict
from batchpush.worker import process_worker
from emulators import batch
from tests.deliveries import claimed
from tests.network import counted

ROOT = Path(__file__).parent.parent
NOW = datetime.now(UTC).replace(microsecond=0)
APPS = {"ios": "IOSKEY", "android": "ANDROIDKEY", "web": "WEBKEY"}
REST_KEY = "the-rest-key"
P, A, R, H, E = (
    CallState.PENDING,
    CallState.ACCEPTED,
    CallState.REFUSED,
    CallState.HELD,
    CallState.EXPIRED,
)


def body(*custom_ids: str, **fields: Any) -> str:
    recipients = {"custom_ids": list(custom_ids)}
    message = {"title": "Ann", "body": "Hello"}
    push = {"group_id": "g", "message": message, **fields, "recipients": recipients}
    return json.dumps(push, ensure_ascii=False, separators=(",", ":"))


def a_record(state: DeliveryState, *calls: CallRecord, **fields: Any) -> Record:
    record = claimed(
        now=NOW,
        function="new_message",
        source="//firestore.googleapis.com/projects/demo-batchpush/databases/(default)",
        document="conversations/c1/messages/m1",
        state=state,
        lease_until=NOW + timedelta(seconds=60) if state is DeliveryState.CLAIMED else None,
        calls=calls,
        bodies=(body("bob", "zoé"),) if calls else (),
    )
    record = replace(record, **fields)
    return replace(record, day=record.created_at.date().isoformat())


# Pure: arguments and words


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-05-04", datetime(2026, 5, 4, tzinfo=UTC)),
        ("2026-05-04T10:20", datetime(2026, 5, 4, 10, 20, tzinfo=UTC)),
        ("2026-05-04T10:20:00Z", datetime(2026, 5, 4, 10, 20, tzinfo=UTC)),
        ("2026-05-04T10:20+02:00", datetime(2026, 5, 4, 8, 20, tzinfo=UTC)),
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise(text: str, time: datetime) -> None:
    assert arguments.when(text) == time


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
        ("99999d", timedelta(days=99999)),
    ],
)
def test_a_span_is_before_now(text: str, span: timedelta) -> None:
    assert abs(datetime.now(UTC) - span - arguments.when(text)) < timedelta(seconds=10)


@pytest.mark.parametrize("text", ["", "h", "-1h", "2w", "yesterday", "2026-13-01", "9999999d"])
def test_anything_else_is_no_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        arguments.when(text)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["unknown"],
        ["deliveries", "--state", "LOST"],
        ["deliveries", "--since", "soon"],
        ["deliveries", "--limit", "0"],
        ["show"],
        ["show", "abcdef1"],
        ["show", "../../users/ann"],
        ["deliveries", "--document", "orders"],
        ["erase"],
        ["erase", "--user", " "],
        ["erase", "--user", "users/ann"],
        ["erase", "--user", "ann", "--batch-id", " "],
        ["stats", "--since", "soon"],
        ["stats", "--csv", "--json"],
    ],
)
def test_a_wrong_argument_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["deliverys"], "unknown command deliverys; is deliveries meant? choose from init, "),
        (["frobnicate"], "unknown command frobnicate: choose from init, check, deploy, "),
        (["deliveries", "--state", "snt"], "unknown state SNT; is SENT meant? choose from WAITING"),
        (["completion", "fish"], "unknown shell fish: choose from bash, zsh"),
        (["deliveries", "--usr=ann"], "unknown option --usr; is --user meant? choose from --help"),
        (["deliveries", "--foo"], "usage: python -m batchpush deliveries [-h]"),
        (["show", "04b11cac", "6253"], "show: error: one argument too many: 6253"),
    ],
)
def test_a_wrong_choice_is_answered_with_the_valid_ones_and_the_closest(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(arguments)
    assert words in capsys.readouterr().err


def test_the_version_is_the_one_of_the_project(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["--version"])
    assert (exit_.value.code, capsys.readouterr().out) == (0, f"batchpush {VERSION}\n")


PRINTS_DATA = commands_of(cli.parser()).keys() - {"completion", "console", "deploy"}


@pytest.mark.parametrize("command", commands_of(cli.parser()))
def test_the_help_of_a_command_has_examples_that_it_takes(command: str) -> None:
    text = commands_of(cli.parser())[command].format_help()
    examples = re.findall(r"^  python -m batchpush ([^>\n]*)", text, re.MULTILINE)
    assert len(examples) > 1
    for example in examples:
        assert example.split()[0] == command
        cli.parser().parse_args(shlex.split(example))
    has_json = any("--json" in example for example in examples)
    assert ("--json" in text) == has_json == (command in PRINTS_DATA)


@pytest.mark.parametrize("command", commands_of(cli.parser()))
def test_every_argument_of_a_command_is_explained(command: str) -> None:
    arguments = commands_of(cli.parser())[command]._actions
    assert [each.option_strings or each.dest for each in arguments if not each.help] == []


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        ([], ""),
        ([CallRecord("ios", 0, A, 1, status=201)], "ios accepted"),
        ([CallRecord("ios", 0)], "ios pending"),
        (
            [CallRecord("ios", 0, A, 1), CallRecord("android", 0, P, 3, status=503)],
            "ios accepted, android pending (3 attempts, 503)",
        ),
        ([CallRecord("web", 0, H, 2, 2, 502)], "web held (2 attempts, 2 unknown, 502)"),
        (
            [CallRecord("ios", n, R if n == 2 else A, 1, status=400) for n in range(3)],
            "ios 2 accepted + 1 refused (1 attempt, 400)",
        ),
    ],
)
def test_the_calls_in_a_few_words_per_app(calls: list[CallRecord], words: str) -> None:
    assert deliveries.per_app(calls) == words


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("users/zoé/🍝", "users/zoé/🍝"),
        ("\x1b[2J", "\\u001b[2J"),
        ("\x9b2J", "\\u009b2J"),
        ("\x7f", "\\u007f"),
        ("a\nb", "a\\nb"),
        ("\u202egnp", "\\u202egnp"),
        ("\ud800", "\\ud800"),
        ('"\\', '"\\\\'),
    ],
)
def test_what_users_wrote_cannot_speak_to_the_terminal(text: str, printed: str) -> None:
    assert terminal.escaped(text) == printed
    quoted = printed.replace('"', '\\"')
    assert json.loads(f'"{quoted}"') == text
    written = a_record(
        DeliveryState.REFUSED,
        CallRecord("ios", 0, R, problem=text),
        reason=text,
        document=f"users/{text}",
        bodies=(body(text, deeplink=text),),
    )
    for line in [deliveries.line(written), *deliveries.page(written)]:
        assert line.isprintable()


@pytest.mark.parametrize(
    ("call", "resend_unknown", "words"),
    [
        (CallRecord("ios", 0, A, 1, status=201), True, "accepted (1 attempt, 201), would stay"),
        (
            CallRecord("ios", 0, A, 2, 1, 201),
            False,
            "accepted (2 attempts, 1 unknown, 201), would stay",
        ),
        (
            CallRecord("ios", 0, R, 1, status=400, problem="31 MALFORMED: no"),
            False,
            "refused (1 attempt, 400): 31 MALFORMED: no, would be sent",
        ),
        (CallRecord("ios", 0, E), False, "expired, would be sent"),
        (CallRecord("ios", 0, P, 5, status=503), False, "pending (5 attempts, 503), would be sent"),
        (CallRecord("ios", 0, P, 1, 1), False, "pending (1 attempt, 1 unknown), would be sent"),
        (
            CallRecord("ios", 0, H, 2, 2),
            False,
            "held (2 attempts, 2 unknown); its outcome is unknown, would stay "
            "(--send --resend-unknown sends it)",
        ),
        (
            CallRecord("ios", 0, H, 2, 2),
            True,
            "held (2 attempts, 2 unknown); its outcome is unknown, would be sent and may "
            "arrive twice",
        ),
        (
            CallRecord("ios", 0, E, 1, 1),
            False,
            "expired (1 attempt, 1 unknown); its outcome is unknown, would stay "
            "(--send --resend-unknown sends it)",
        ),
    ],
)
def test_what_a_replay_does_with_a_call(call: CallRecord, resend_unknown: bool, words: str) -> None:
    plan = replay.plan_replay(a_record(DeliveryState.HELD, call), resend_unknown, APPS)
    assert plan.lines == [f"ios body 0: {words}"]
    assert plan.is_sending is ("would be sent" in words)


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (a_record(DeliveryState.CLAIMED, CallRecord("ios", 0)), "it is being sent"),
        (a_record(DeliveryState.REFUSED, reason="m1: text is missing"), "m1: text is missing"),
        (
            a_record(DeliveryState.REFUSED, CallRecord("ios", 0, R), bodies=()),
            "its bodies were erased",
        ),
        (
            a_record(DeliveryState.REFUSED, CallRecord("ios", 0, R), bodies=("",)),
            "bodies were erased",
        ),
        (a_record(DeliveryState.REFUSED, CallRecord("tv", 0, R)), "BATCH_APPS no longer has tv"),
    ],
)
def test_what_cannot_be_replayed_says_why(record: Record, words: str) -> None:
    plan = replay.plan_replay(record, True, APPS)
    assert words in plan.lines[0]
    assert not plan.is_sending


# Pure: a person's id


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        (body("ann", "bob"), True),
        (body("ann-marie", "annie"), False),
        (body("bob", deeplink="myapp://users/ann"), True),
        (body("bob", deeplink="myapp://users/ann?from=push"), True),
        (body("bob", deeplink="myapp://users/annie"), False),
        (body("bob", media={"picture": "https://example.com/o/users%2Fann%2Fp.jpg"}), True),
        (body("bob", gcm_collapse_key={"key": "friend-request-ann"}), True),
        (body("bob", custom_payload='{"sender":"ann"}'), True),
        (body("bob", landing={"actions": [{"args": "ann"}]}), True),
        (body("bob", landing={"ann": 1}, group_id="ann"), False),
        (body("bob", message={"title": "ann", "body": "Hi"}), True),
        (body("bob", message={"title": "Ann", "body": "Hi ann!"}), False),
        ("", False),
    ],
)
def test_where_a_person_is_named_in_a_body(text: str, is_named: bool) -> None:
    assert body_names(text, "ann") is is_named


@pytest.mark.parametrize("person", ["zoé", 'a"b', "a\\b", "a.b", "-", "é 1"])
def test_an_id_of_any_characters_is_found(person: str) -> None:
    from urllib.parse import quote

    payload = json.dumps({"id": person}, ensure_ascii=False)
    assert body_names(body("bob", deeplink=f"myapp://users/{quote(person, safe='')}"), person)
    assert body_names(body("bob", custom_payload=payload), person)


@dataclass(frozen=True)
class Case:
    words: str
    record: Record
    done: tuple[str, ...]
    state: DeliveryState
    left: str | None = None
    calls: tuple[CallState, ...] = ()
    bodies: tuple[str, ...] = ()
    document: str = "conversations/c1/messages/m1"


def waiting(*custom_ids: str, **fields: Any) -> Record:
    morning, lists = NOW + timedelta(hours=8), {"custom_ids": custom_ids}
    return a_record(DeliveryState.WAITING, **fields).waiting(morning, lists, timedelta(hours=1))


IOS, ANDROID = CallRecord("ios", 0), CallRecord("android", 1)
STILL = "the id is in a push still to be sent: run this again once it is settled"
ERASURES = (
    Case(
        "what was sent is dropped",
        a_record(DeliveryState.SENT, replace(IOS, state=A), bodies=(body("ann", "bob"),)),
        ("bodies dropped",),
        DeliveryState.SENT,
        calls=(A,),
    ),
    Case(
        "the id is replaced in the path, also without a body",
        a_record(
            DeliveryState.REFUSED,
            document="users/ann/friend_requests/ann-marie",
            report_to="users/ann/friend_requests/ann-marie/deliveries/f",
        ),
        ("id replaced",),
        DeliveryState.REFUSED,
        document="users/(erased)/friend_requests/ann-marie",
    ),
    Case(
        "a retry does not go to the person any more",
        a_record(DeliveryState.RETRY, IOS, bodies=(body("ann", "bob"),)),
        ("removed from the recipients",),
        DeliveryState.RETRY,
        calls=(P,),
        bodies=(body("bob"),),
    ),
    Case(
        "a retry to nobody else is refused, and the record settled and emptied",
        a_record(
            DeliveryState.RETRY, IOS, bodies=(body("ann"),), document="users/ann/friend_requests/b"
        ),
        (
            "removed from the recipients",
            "body 0 dropped",
            "ios body 0 refused: it has no recipient left",
            "id replaced",
        ),
        DeliveryState.REFUSED,
        calls=(R,),
        document="users/(erased)/friend_requests/b",
    ),
    Case(
        "of two bodies, only the one to nobody else is refused",
        a_record(DeliveryState.RETRY, IOS, ANDROID, bodies=(body("ann"), body("bob"))),
        (
            "removed from the recipients",
            "body 0 dropped",
            "ios body 0 refused: it has no recipient left",
        ),
        DeliveryState.RETRY,
        calls=(R, P),
        bodies=("", body("bob")),
    ),
    Case(
        "a body that nothing will be sent of is dropped",
        a_record(
            DeliveryState.RETRY,
            replace(IOS, state=A),
            ANDROID,
            bodies=(body("ann", "bob"), body("zoé")),
        ),
        ("removed from the recipients", "body 0 dropped"),
        DeliveryState.RETRY,
        calls=(A, P),
        bodies=("", body("zoé")),
    ),
    Case(
        "a link that is still to be sent stays until it is",
        a_record(
            DeliveryState.RETRY, IOS, bodies=(body("ann", "bob", deeplink="myapp://users/ann"),)
        ),
        ("removed from the recipients",),
        DeliveryState.RETRY,
        left=STILL,
        calls=(P,),
        bodies=(body("bob", deeplink="myapp://users/ann"),),
    ),
    Case(
        "the path stays until it is settled",
        a_record(DeliveryState.RETRY, IOS, document="users/ann/x/y"),
        (),
        DeliveryState.RETRY,
        left=STILL,
        calls=(P,),
        bodies=(body("bob", "zoé"),),
        document="users/ann/x/y",
    ),
    Case(
        "what waits does not wait to tell the person",
        waiting("ann", "bob"),
        ("removed from the recipients",),
        DeliveryState.WAITING,
        bodies=('{"recipients":{"custom_ids":["bob"]}}',),
    ),
    Case(
        "what waits to tell nobody else is dropped",
        waiting("ann", document="users/ann/friend_requests/b"),
        ("removed from the recipients", "bodies dropped", "id replaced"),
        DeliveryState.OBSOLETE,
        document="users/(erased)/friend_requests/b",
    ),
    Case(
        "what somebody is sending is left alone",
        a_record(DeliveryState.CLAIMED, IOS, bodies=(body("ann"),)),
        (),
        DeliveryState.CLAIMED,
        left="it is being sent: run this again in a minute",
        calls=(P,),
        bodies=(body("ann"),),
    ),
    Case(
        "an owner whose lease ended is sending no more",
        a_record(DeliveryState.CLAIMED, IOS, bodies=(body("ann", "bob"),), lease_until=NOW),
        ("removed from the recipients",),
        DeliveryState.CLAIMED,
        calls=(P,),
        bodies=(body("bob"),),
    ),
)


@pytest.mark.parametrize("case", ERASURES, ids=lambda case: case.words)
def test_a_record_without_a_person(case: Case) -> None:
    erasure = without("ann", case.record, NOW)
    record = erasure.record
    assert (tuple(erasure.done), erasure.left) == (case.done, case.left)
    assert (record.state, record.bodies, record.document) == (
        case.state,
        case.bodies,
        case.document,
    )
    assert tuple(call.state for call in record.calls) == case.calls
    assert case.left or "ann" not in (record.report_to or "").split("/")
    # The fence: whoever read the record before cannot take this write for their own.
    assert (record.owner != case.record.owner) is bool(case.done)
    assert record.revision - case.record.revision == bool(case.done)
    again = without("ann", record, NOW)
    assert (tuple(again.done), again.left) == ((), case.left)


def test_sentences_lose_the_id_where_it_is_part_of_a_path_or_quoted() -> None:
    reason = "users/a: a field of a is missing; users/ab too"
    call = CallRecord("ios", 0, R, problem="31: 'a' is not a custom id")
    erased = without("a", a_record(DeliveryState.REFUSED, call, reason=reason), NOW).record
    assert erased.reason == "users/(erased): a field of a is missing; users/ab too"
    assert erased.calls[0].problem == "31: '(erased)' is not a custom id"


# Behind a network that counts


@pytest.fixture(scope="module")
def watched() -> list[str]:
    """The functions of `main.py` that get a change."""
    importlib.import_module("main")
    return list(WATCHED)


def test_no_command_sends_or_writes_unless_it_says_so(tmp_path: Path, watched: list[str]) -> None:
    """docs/handlers.md lists those that say so."""
    record = a_record(
        DeliveryState.HELD, CallRecord("ios", 0, H, 2, 2), CallRecord("android", 0, R)
    )
    document = tmp_path / "document.json"
    document.write_text(json.dumps({"name": "Sale", "title": "Sale", "live": True}))
    given, project = ["--document", str(document)], ["--project", "demo-batchpush"]
    alone = [
        ["preview", name, *given, *before]
        for name in watched
        for before in ([], ["--before", str(document)])
    ]
    alone += [[], ["--help"], ["check", "--offline"], ["check", *project]]
    alone += [["send-test", "--to", "bob", *project], ["stats", "--help"]]
    # A look-up in the Realtime Database is a connection, too.
    in_project = [["preview", name, *given] for name in watched if not name.endswith("_rtdb")]
    in_project += [
        ["deliveries"],
        ["deliveries", "--state", "HELD", "--json"],
        ["show", record.id],
        ["replay", record.id],
        ["replay", record.id, "--resend-unknown"],
        ["replay", record.id, "--json"],
        ["erase", "--user", "bob", "--dry-run"],
    ]
    in_project = [[*command, *project] for command in in_project]
    with counted(tmp_path) as network:
        done = network.run(*alone, SOURCES="firestore,database")
        assert network.memory.operations == []
        firestore = Firestore(network.memory)
        asyncio.run(Ledger(lambda: firestore, "batch_deliveries").claim(record))
        network.memory.operations.clear()
        done += network.run(*in_project, SOURCES="firestore,database")
        assert network.memory.operations != []
        assert network.writes == []
    by_command = dict(zip(map(" ".join, alone + in_project), done, strict=True))
    for command, each in by_command.items():
        assert (each.code in (0, 1, 2), each.connections) == (True, []), (command, each)
        if command.startswith("preview campaign "):
            assert (each.code, "no campaign can be made" in each.out) == (1, True)
    sent, shown, replayed, erased = (
        by_command[f"{command} --project demo-batchpush"]
        for command in (
            "send-test --to bob",
            f"show {record.id}",
            f"replay {record.id}",
            "erase --user bob --dry-run",
        )
    )
    assert (sent.code, "nothing was sent" in sent.err) == (2, True)
    assert record.id in shown.out
    assert "would be sent" in replayed.out
    assert "would be" in erased.out
    assert "store" in by_command["stats --help"].out


# On the emulator


@dataclass
class Operator:
    """Runs the command line in this process, and looks into its collection."""

    api: batch.Batch
    collection: str
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> tuple[int, list[str], str]:
        """The exit code, the lines on stdout, and stderr."""
        self.capsys.readouterr()
        forget_clients()
        code = cli.main(arguments)
        out, err = self.capsys.readouterr()
        assert REST_KEY not in out + err
        return code, out.splitlines(), err

    def store(self, *records: Record, below: Record | None = None) -> None:
        """Write records; with `below`, as chunks of that one."""

        async def claim(ledger: Ledger) -> None:
            for record in records:
                await (ledger.chunks_of(below.id) if below else ledger).claim(record)

        self.asked(claim)

    def stored(self, record: Record, below: Record | None = None) -> Record:
        async def read(ledger: Ledger) -> Entry | None:
            return await (ledger.chunks_of(below.id) if below else ledger).read(record.id)

        entry = self.asked(read)
        assert entry is not None
        found: Record = entry.record
        return found

    def asked(self, question: Callable[[Ledger], Awaitable[Any]]) -> Any:
        async def ask() -> Any:
            firestore = Firestore(Connection())
            return await question(Ledger(lambda: firestore, self.collection))

        return asyncio.run(ask())


def forget_clients() -> None:
    """The package's clients are bound to the event loop that they were made in."""
    for made in (process_settings, process_worker, firestore):
        made.cache_clear()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """One that the command line may change, in a folder without a `.env`."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "GOOGLE_CLOUD_PROJECT": "demo-batchpush",
        "LOG_LEVEL": "INFO",
        "BATCH_APPS": ",".join(f"{name}={key}" for name, key in APPS.items()),
        "DELIVERIES_COLLECTION": f"deliveries_{uuid.uuid4().hex}",
        "MAX_AMBIGUOUS_RESENDS": "1",
        "FUNCTIONS_EMULATOR": "true",
        "BATCH_REST_API_KEY": REST_KEY,
    }.items():
        monkeypatch.setenv(name, value)
    forget_clients()
    yield monkeypatch
    forget_clients()


@pytest.fixture
def operator(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Operator]:
    with batch.running(apps=APPS, rest_keys=[REST_KEY]) as api:
        environment.setenv("BATCH_API_URL", api.url)
        yield Operator(api, os.environ["DELIVERIES_COLLECTION"], capsys)


def calls_in(*states: CallState, **fields: Any) -> tuple[CallRecord, ...]:
    return tuple(
        CallRecord(app, 0, state, **fields) for app, state in zip(APPS, states, strict=False)
    )


@pytest.mark.suite
def test_deliveries_are_listed_newest_first_without_the_sent(operator: Operator) -> None:
    records = {
        state: a_record(
            state,
            CallRecord("ios", 0, A, 1, status=201),
            CallRecord("android", 0, R, 1, status=400),
            created_at=NOW - timedelta(hours=hours),
            reason="why" if state is DeliveryState.REFUSED else None,
        )
        for hours, state in enumerate(DeliveryState)
    }
    operator.store(*records.values())
    code, lines, _ = operator.run("deliveries")
    assert code == 0
    assert [line.split()[:2] for line in lines[:-1]] == [
        [records[state].id[:12], state.value]
        for state in DeliveryState
        if state not in (DeliveryState.SENT, DeliveryState.OBSOLETE)
    ]
    assert lines[-1] == "6 deliveries"
    refused = next(line for line in lines if "REFUSED" in line)
    assert refused == "  ".join(
        [
            records[DeliveryState.REFUSED].id[:12],
            "REFUSED",
            records[DeliveryState.REFUSED].created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "new_message",
            "conversations/c1/messages/m1",
            "ios accepted, android refused (1 attempt, 400)",
            "why",
        ]
    )


@pytest.mark.suite
@pytest.mark.parametrize(
    ("arguments", "ages", "words"),
    [
        (["--state", "SENT"], [3], "1 delivery"),
        (["--state", "held", "sent"], [1, 2, 3], "3 deliveries"),
        (["--since", "90m"], [1], "1 delivery"),
        (
            ["--limit", "1"],
            [1],
            "1 delivery; there may be more: raise --limit, or narrow it down",
        ),
        (["--since", "1m"], [], "0 deliveries"),
        (["--until", "90m"], [2], "1 delivery"),
        (["--function", "new_message"], [1, 2], "2 deliveries"),
        (["--function", "outbox"], [], "0 deliveries"),
        (["--document", "conversations/c1/messages/m1"], [1, 2, 3], "3 deliveries"),
        (["--document", "conversations/c1/messages/m1", "--state", "sent"], [3], "1 delivery"),
        (["--document", "conversations/c1/messages/m2"], [], "0 deliveries"),
    ],
)
def test_a_list_can_be_narrowed(
    operator: Operator, arguments: list[str], ages: list[int], words: str
) -> None:
    states = {1: DeliveryState.HELD, 2: DeliveryState.HELD, 3: DeliveryState.SENT}
    records = {
        hours: a_record(
            state, CallRecord("ios", 0, H), created_at=datetime.now(UTC) - timedelta(hours=hours)
        )
        for hours, state in states.items()
    }
    operator.store(*records.values())
    _, lines, _ = operator.run("deliveries", *arguments)
    assert [line[:12] for line in lines[:-1]] == [records[age].id[:12] for age in ages]
    assert lines[-1] == words
    _, lines, err = operator.run("deliveries", "--json", *arguments)
    assert [json.loads(line)["id"] for line in lines] == [records[age].id for age in ages]
    assert err == f"{words}\n"


@pytest.mark.suite
def test_a_record_of_a_later_version_is_told_beside_the_json(operator: Operator) -> None:
    readable, later = (a_record(DeliveryState.HELD) for _ in range(2))
    operator.store(readable, later)

    async def spoil(ledger: Ledger) -> None:
        spoilt = ledger.firestore.put(f"{operator.collection}/{later.id}", {"state": "HELD"})
        await ledger.firestore.commit([spoilt])

    operator.asked(spoil)
    _, lines, err = operator.run("replay", "--state", "HELD", "--json")
    assert [json.loads(line)["id"] for line in lines] == [readable.id]
    assert '"record.unreadable"' in err


@pytest.mark.suite
def test_a_persons_deliveries_come_page_by_page_and_no_more_are_read_than_shown(
    operator: Operator, environment: pytest.MonkeyPatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment.setenv("RECIPIENT_INDEX_DAYS", "30")
    people = (name_of("custom_ids", "ann"),)
    records = [
        a_record(
            DeliveryState.SENT,
            created_at=datetime.now(UTC) - timedelta(minutes=number),
            people=people if number % 3 == 0 else (name_of("custom_ids", "bob"),),
        )
        for number in range(30)
    ]
    operator.store(*records)
    of_ann = [record.id[:12] for record in records[::3]]
    read = 0
    ask = Connection.ask

    async def counting(connection: Connection, *asked: Any) -> list[Any]:
        nonlocal read
        answers = await ask(connection, *asked)
        read += len(answers)
        return answers

    monkeypatch.setattr(Connection, "ask", counting)
    code, lines, _ = operator.run("deliveries", "--user", "ann", "--limit", "4")
    assert code == 0
    assert [line[:12] for line in lines[:-1]] == of_ann[:4]
    assert lines[-1] == f"4 deliveries; there may be more: go on with --after {of_ann[3]}"
    assert read <= 4 + 2
    _, lines, _ = operator.run("deliveries", "--user", "ann", "--after", of_ann[3])
    assert [line[:12] for line in lines[:-1]] == of_ann[4:]
    assert lines[-1] == "6 deliveries"


@pytest.mark.suite
def test_a_user_is_not_looked_for_without_the_index(operator: Operator) -> None:
    code, lines, err = operator.run("deliveries", "--user", "ann")
    assert (code, lines) == (2, [])
    assert "a search by user needs RECIPIENT_INDEX_DAYS, which is 0" in err


@pytest.mark.suite
def test_very_many_are_not_read_without_being_asked_for(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "ASK_AFTER", 4)
    monkeypatch.setattr(finding, "PAGE", 2)
    operator.store(*(a_record(DeliveryState.HELD, *calls_in(H)) for _ in range(9)))
    code, lines, err = operator.run(
        "deliveries", "--document", "conversations/c1/messages/m1", "--state", "SENT"
    )
    assert (code, len(lines)) == (0, 1)
    assert "4 deliveries read, 0 found; read on? Give --yes, or narrow it down" in err
    assert "there may be more" in lines[-1]
    code, lines, err = operator.run("deliveries", "--yes")
    assert (lines[-1], err) == ("9 deliveries", "")


@pytest.mark.suite
def test_many_are_replayed_by_what_they_have_in_common(operator: Operator) -> None:
    held = [a_record(DeliveryState.HELD, CallRecord("ios", 0, H, 2, 2)) for _ in range(3)]
    other = a_record(DeliveryState.HELD, CallRecord("ios", 0, H, 2, 2), function="outbox")
    operator.store(*held, other, a_record(DeliveryState.EXPIRED, *calls_in(E)))
    those = ["--state", "HELD", "--since", "2h", "--function", "new_message"]
    code, lines, _ = operator.run("replay", *those, "--resend-unknown")
    assert (code, lines[-1]) == (0, "nothing was sent; add --send to send it")
    assert operator.api.calls() == []
    code, lines, _ = operator.run("replay", *those, "--resend-unknown", "--send")
    assert code == 0
    assert [operator.stored(record).state for record in held] == [DeliveryState.SENT] * 3
    assert operator.stored(other).state is DeliveryState.HELD
    code, lines, _ = operator.run("replay", held[0].id)
    assert (code, lines[-1]) == (0, "nothing was sent")


@pytest.mark.suite
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give the ids of deliveries, or --state with the states to replay"),
        (["--since", "2h"], "give the ids of deliveries, or --state with the states to replay"),
        (["a" * 8, "--state", "HELD"], "give either ids or filters such as --state"),
    ],
)
def test_a_replay_of_everything_is_never_meant(
    operator: Operator, arguments: list[str], words: str
) -> None:
    assert operator.run("replay", *arguments) == (2, [], f"batchpush: {words}\n")


@pytest.mark.suite
def test_of_two_replays_at_once_one_sends(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = a_record(DeliveryState.HELD, CallRecord("ios", 0, H, 2, 2))
    operator.store(record)
    before = Replay.replay

    async def after_another(self: Replay, entry: Entry, resend_unknown: bool) -> Record:
        await before(self, entry, resend_unknown)
        return await before(self, entry, resend_unknown)

    monkeypatch.setattr(Replay, "replay", after_another)
    _, lines, _ = operator.run("replay", record.id, "--resend-unknown", "--send")
    assert "  another worker resumed it: see `show`" in lines
    assert len(operator.api.calls()) == 1
    assert operator.stored(record).state is DeliveryState.SENT


@pytest.mark.suite
def test_the_first_ctrl_c_finishes_the_replay_under_way_and_says_how_to_go_on(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [a_record(DeliveryState.HELD, CallRecord("ios", 0, H, 2, 2)) for _ in range(3)]
    operator.store(*held)
    before = Replay.replay

    async def interrupted(self: Replay, entry: Entry, resend_unknown: bool) -> Record:
        os.kill(os.getpid(), signal.SIGINT)
        return await before(self, entry, resend_unknown)

    monkeypatch.setattr(Replay, "replay", interrupted)
    code, lines, err = operator.run("replay", "--state", "HELD", "--resend-unknown", "--send")
    states = sorted(operator.stored(record).state.value for record in held)
    assert (code, states) == (1, ["HELD", "HELD", "SENT"])
    assert lines[-1] == "1 of 3; run it again for the rest: what was sent is no longer found"
    assert "press Ctrl-C again to stop at once" in err


@pytest.mark.suite
def test_what_show_replay_and_erase_print_as_json(operator: Operator) -> None:
    record = a_record(DeliveryState.EXPIRED, *calls_in(E), bodies=(body("ann", "bob"), ""))
    operator.store(record)
    about = {"id": record.id, "document": record.document}
    code, (shown,), _ = operator.run("show", record.id, "--json")
    assert code == 0
    assert json.loads(shown)["bodies"] == [json.loads(record.bodies[0]), None]
    assert json.loads(shown)["state"] == "EXPIRED"
    code, (dry,), err = operator.run("replay", record.id, "--json")
    assert json.loads(dry) == about | {
        "function": "new_message",
        "state": "EXPIRED",
        "says": ["ios body 0: expired, would be sent"],
        "sends": True,
    }
    assert (code, err) == (0, "nothing was sent; add --send to send it\n")
    code, (erased,), err = operator.run("erase", "--user", "ann", "--dry-run", "--json")
    assert json.loads(erased) == about | {"done": ["bodies dropped"], "left": None}
    assert (code, err.splitlines()[-1]) == (
        0,
        "1 would change, 0 would be left; nothing was written",
    )
    code, (sent,), _ = operator.run("replay", record.id, "--send", "--json")
    assert (code, json.loads(sent)["state"]) == (0, "SENT")
    assert json.loads(sent)["says"][-1] == "now SENT"


@pytest.mark.suite
def test_show_tells_everything(operator: Operator) -> None:
    record = a_record(
        DeliveryState.HELD,
        CallRecord("ios", 0, H, 2, 2, 502, "no answer"),
        bodies=(body("zoé", deeplink="\x9b"),),
    )
    operator.store(record)
    code, lines, _ = operator.run("show", record.id[:8].upper())
    page = "\n".join(lines)
    assert code == 0
    assert f"id            {record.id}" in lines
    assert "state         HELD" in lines
    assert "  ios body 0: held (2 attempts, 2 unknown, 502): no answer" in lines
    assert json.loads(page.partition("bodies\n  0\n")[2]) == json.loads(record.bodies[0])
    assert '"zoé"' in page


@pytest.mark.suite
def test_show_begins_with_the_story(operator: Operator) -> None:
    record = a_record(
        DeliveryState.REFUSED,
        CallRecord("ios", 0, A, 1, status=201),
        CallRecord("android", 0, R, 1, status=400, problem="no such app"),
        group_id="new_message",
        sender="ann",
        left_out=(("muted", ("tom",)), ("told after 2026-06-11T07:00Z, in 04b1", ("eve",))),
        ignored=("created_by",),
    )
    operator.store(record)
    _, lines, _ = operator.run("show", record.id)
    _, (as_json,), _ = operator.run("show", record.id, "--json")
    told = [step["what"] for step in json.loads(as_json)["story"]]
    assert [line[22:] for line in lines[: len(told)]] == told
    assert told == [
        f"event {record.event_id}: conversations/c1/messages/m1 was written",
        "new_message handled it, group new_message, caused by ann",
        "ignored fields of the document: created_by",
        "left out, muted: tom",
        "left out, told after 2026-06-11T07:00Z, in 04b1: eve",
        "request for ios to bob, zoé: Batch accepted it (1 attempt, status 201)",
        "request for android to bob, zoé: refused (1 attempt, status 400): no such app",
        "REFUSED: was refused for good",
    ]


@pytest.mark.suite
@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("a" * 8, "more than one delivery begins with aaaaaaaa"),
        ("a" * 11, "there is no delivery aaaaaaaaaaa"),
        ("f" * 64, f"there is no delivery {'f' * 64}"),
    ],
)
@pytest.mark.parametrize("command", ["show", "replay"])
def test_an_id_that_is_not_there_or_not_the_only_one(
    operator: Operator, command: str, asked: str, words: str
) -> None:
    operator.store(
        *(
            a_record(DeliveryState.HELD, *calls_in(H), id=("a" * 8 + last).ljust(64, "0"))
            for last in "bc"
        )
    )
    assert operator.run(command, asked) == (2, [], f"batchpush: {words}\n")


@pytest.mark.suite
def test_a_replay_is_dry_unless_told(operator: Operator) -> None:
    record = a_record(DeliveryState.REFUSED, *calls_in(A, R))
    operator.store(record)
    code, lines, _ = operator.run("replay", record.id)
    assert code == 0
    assert lines[1:] == [
        "  ios body 0: accepted, would stay",
        "  android body 0: refused, would be sent",
        "nothing was sent; add --send to send it",
    ]
    assert operator.api.calls() == []
    assert operator.stored(record) == record


@pytest.mark.suite
def test_a_replay_sends_what_batch_has_not_accepted(operator: Operator) -> None:
    record = a_record(
        DeliveryState.HELD,
        CallRecord("ios", 0, A),
        CallRecord("android", 0, R),
        CallRecord("web", 0, H, 2, 2),
    )
    operator.store(record)
    code, lines, _ = operator.run("replay", record.id[:12], "--send")
    assert (code, lines[-1]) == (1, "  now HELD")
    assert [call["app"] for call in operator.api.calls()] == ["android"]
    code, lines, _ = operator.run("replay", record.id, record.id[:8], "--send", "--resend-unknown")
    assert (code, lines[-1]) == (0, "  now SENT")
    assert [call["app"] for call in operator.api.calls()] == ["android", "web"]
    assert operator.api.calls()[0]["body"] == json.loads(record.bodies[0])
    assert operator.stored(record).state is DeliveryState.SENT
    code, lines, _ = operator.run("replay", record.id, "--send")
    assert (code, len(operator.api.calls())) == (0, 2)


@pytest.mark.suite
@pytest.mark.parametrize(
    ("state", "days", "words"),
    [
        (DeliveryState.SENT, 8, "  were deleted after 7 days (KEEP_BODIES_DAYS)"),
        (DeliveryState.SENT, 6, "  were erased"),
        (DeliveryState.REFUSED, 8, "  were erased"),
    ],
)
def test_show_says_why_there_are_no_bodies(
    operator: Operator, state: DeliveryState, days: int, words: str
) -> None:
    record = a_record(state, *calls_in(A), bodies=(), updated_at=NOW - timedelta(days=days))
    operator.store(record)
    code, lines, _ = operator.run("show", record.id)
    assert (code, lines[-2:]) == (0, ["bodies", words])


@pytest.mark.suite
@pytest.mark.parametrize(
    ("fault", "state", "words"),
    [
        ({"status": 400}, DeliveryState.REFUSED, "  now REFUSED"),
        ({"status": 401}, DeliveryState.RETRY, "  now RETRY; the sweep will retry it"),
        ({"status": 502}, DeliveryState.RETRY, "  now RETRY; the sweep will retry it"),
    ],
)
def test_a_replay_that_fails_again_says_so(
    operator: Operator, fault: dict[str, Any], state: DeliveryState, words: str
) -> None:
    record = a_record(DeliveryState.EXPIRED, *calls_in(E))
    operator.store(record)
    operator.api.fault(**fault)
    code, lines, _ = operator.run("replay", record.id, "--send")
    assert (code, lines[-1]) == (1, words)
    assert str(fault["status"]) in lines[-2]
    assert operator.stored(record).state is state


@pytest.mark.suite
@pytest.mark.parametrize(
    ("record", "words"),
    [
        (a_record(DeliveryState.REFUSED, reason="text is missing"), "text is missing"),
        (a_record(DeliveryState.CLAIMED, *calls_in(P)), "it is being sent"),
        (a_record(DeliveryState.REFUSED, *calls_in(R), bodies=()), "bodies were erased"),
        (a_record(DeliveryState.REFUSED, CallRecord("tv", 0, R)), "BATCH_APPS no longer has tv"),
    ],
)
def test_what_cannot_be_replayed_is_not_touched(
    operator: Operator, record: Record, words: str
) -> None:
    operator.store(record)
    code, lines, _ = operator.run("replay", record.id, "--send", "--resend-unknown")
    assert code == 1
    assert words in lines[1]
    assert operator.stored(record) == record
    assert operator.api.calls() == []


@pytest.mark.suite
def test_an_erased_person_is_nowhere_in_the_records(operator: Operator) -> None:
    bodies = (body("ann", "bob"), body("zoé"))
    sent = a_record(DeliveryState.SENT, IOS, ANDROID, bodies=bodies, document="users/ann/x/y")
    sent = replace(sent, calls=tuple(replace(call, state=A) for call in sent.calls))
    retry = a_record(DeliveryState.RETRY, IOS, ANDROID, bodies=bodies)
    unconcerned = a_record(DeliveryState.SENT, *calls_in(A), bodies=(body("ann-marie"),))
    chunk = replace(sent, id="first-00000")
    large = a_record(DeliveryState.SENT, bodies=(), chunks=(chunk.id,))
    records = sent, retry, unconcerned, large
    operator.store(*records)
    operator.store(chunk, below=large)

    code, lines, _ = operator.run("erase", "--user", "ann", "--dry-run")
    assert (code, lines[-1]) == (0, "3 would change, 0 would be left; nothing was written")
    assert tuple(map(operator.stored, records)) == records

    code, lines, _ = operator.run("erase", "--user", "ann")
    assert (code, lines[-1]) == (0, "3 changed, 0 left")
    assert "users/(erased)/x/y" in "\n".join(lines)
    assert operator.stored(unconcerned) == unconcerned
    assert operator.stored(retry).bodies == (body("bob"), body("zoé"))
    assert operator.stored(retry).calls == retry.calls
    for record in (operator.stored(sent), operator.stored(chunk, below=large)):
        assert (record.document, record.bodies) == ("users/(erased)/x/y", ())

    assert operator.run("erase", "--user", "ann")[:2] == (0, ["0 changed, 0 left"])


@pytest.mark.suite
def test_an_erased_retry_is_sent_to_the_others(operator: Operator) -> None:
    record = a_record(DeliveryState.RETRY, *calls_in(A, P, P), bodies=(body("ann", "bob"),))
    operator.store(record)
    assert operator.run("erase", "--user", "ann")[0] == 0
    assert operator.run("replay", record.id, "--send")[0] == 0
    calls = operator.api.calls()
    assert sorted(call["app"] for call in calls) == ["android", "web"]
    assert {str(call["body"]["recipients"]) for call in calls} == {"{'custom_ids': ['bob']}"}


@pytest.mark.suite
@pytest.mark.parametrize(
    ("record", "words"),
    [
        (
            a_record(DeliveryState.CLAIMED, IOS, lease_until=NOW + timedelta(days=1)),
            "it is being sent",
        ),
        (a_record(DeliveryState.RETRY, IOS, document="users/bob/x/y"), "once it is settled"),
    ],
)
def test_what_cannot_be_erased_yet_is_exit_code_1(
    operator: Operator, record: Record, words: str
) -> None:
    record = replace(record, bodies=(body("zoé", deeplink="myapp://bob"),))
    operator.store(record)
    code, lines, _ = operator.run("erase", "--user", "bob")
    assert (code, lines[-1]) == (1, "0 changed, 1 left")
    assert words in lines[-2]
    assert operator.stored(record) == record


@pytest.mark.suite
def test_an_erasure_gives_way_to_who_was_faster(operator: Operator) -> None:
    record = a_record(DeliveryState.RETRY, IOS, bodies=(body("ann", "bob"),))
    operator.store(record)

    async def erase_late(ledger: Ledger) -> None:
        entry = await ledger.read(record.id)
        assert entry is not None
        late = without("ann", entry.record, NOW)
        await ledger.change(entry, replace(entry.record, owner="second", revision=1))
        with pytest.raises(WriteConflict):
            await ledger.erase(entry, late.record)

    operator.asked(erase_late)
    assert operator.stored(record).bodies == record.bodies


# Results


@pytest.mark.suite
@pytest.mark.parametrize(
    ("form", "row"),
    [
        ([], "{day} ios {group} 20 3 1 0 0 20.0%"),
        (["--csv"], "{day},ios,,{group},20,3,1,0,0,0.2"),
        (["--json"], '"group_id": "{group}", "influenced_open": 1, "open_rate": 0.2'),
    ],
)
def test_results_are_fetched_and_shown(
    operator: Operator, environment: pytest.MonkeyPatch, form: list[str], row: str
) -> None:
    group, day = f"g{uuid.uuid4().hex}", NOW.date().isoformat()
    environment.setenv("BATCH_APPS", "ios=IOSKEY,test=DEVKEY")
    operator.store(a_record(DeliveryState.SENT, *calls_in(A), group_id=group))
    opened = {"sent": 20, "direct_open": 3, "influenced_open": 1}
    operator.api.script_stats(group, [{"date": day} | opened])
    code, lines, err = operator.run("stats", *form)
    assert (code, err) == (0, "test: a Dev key has no results\n")
    (found,) = [line for line in lines if group in line]
    assert row.format(day=day, group=group) in " ".join(found.split())


@pytest.mark.suite
def test_results_that_cannot_be_had_now_are_exit_code_1(operator: Operator) -> None:
    operator.store(a_record(DeliveryState.SENT, *calls_in(A), group_id="g"))
    operator.api.fault(app="ios", status=502)
    code, _, err = operator.run("stats")
    assert code == 1
    assert "requests failed: try again later" in err


# What stands in the way


def test_a_firestore_that_does_not_answer_is_one_line(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:9")
    hurried = functools.partial(Connection, seconds=0.5)
    environment.setattr(batchpush.google.clients, "Connection", hurried)
    for command in (["deliveries"], ["show", "a" * 8], ["erase", "--user", "ann"]):
        forget_clients()
        assert cli.main(command) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("batchpush: Firestore: ")
        assert err.count("\n") == 1


@pytest.mark.parametrize(("project", "warned"), [("my-project", True), ("demo-batchpush", False)])
def test_an_emulator_in_the_place_of_a_project_is_told(
    tmp_path: Path, project: str, warned: bool
) -> None:
    record = a_record(DeliveryState.HELD, CallRecord("ios", 0, H))
    with counted(tmp_path) as network:
        done = network.run(
            ["deliveries", "--project", project],
            ["replay", record.id, "--project", project],
            ["erase", "--user", "bob", "--project", project],
            ["preview", "new_message", "--document", os.devnull, "--project", project],
            ["stats", "--help"],
            FIREBASE_DATABASE_EMULATOR_HOST="",
        )
    told = f"batchpush: FIRESTORE_EMULATOR_HOST is set: this looks at an emulator, not at {project}"
    assert [told in each.err for each in done] == [warned, warned, warned, False, False]


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ({"BATCH_APPS"}, "batchpush: BATCH_APPS is not set: see .env.example\n"),
        (
            {"GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"},
            "batchpush: no project: run firebase use --add, or give --project\n",
        ),
    ],
)
def test_a_missing_setting_is_one_line(
    environment: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    missing: set[str],
    words: str,
) -> None:
    (tmp_path / "main.py").touch()
    for name in missing:
        environment.delenv(name)
    assert cli.main(["deliveries"]) == 2
    assert capsys.readouterr() == ("", words)


@pytest.mark.parametrize("command", [["deliveries"], ["check"], ["preview", "new_message"]])
def test_a_folder_without_main_is_named(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    environment.delenv("BATCH_APPS")
    assert cli.main(command) == 2
    told = "batchpush: there is no main.py here: run this in the folder that has it\n"
    assert capsys.readouterr() == ("", told)


@pytest.mark.parametrize(
    ("firebaserc", "variable", "arguments", "project"),
    [
        ({"default": "live"}, "", [], "live"),
        ({"default": "live", "staging": "test"}, "", [], "live"),
        ({"default": "live", "staging": "test"}, "", ["--project", "staging"], "test"),
        ({"default": "live"}, "live", [], "live"),
        ({"default": "live"}, "default", [], "live"),
        ({"default": "live"}, "test", ["--project", "test"], "test"),
        ({}, "test", [], "test"),
        ({"live": "live", "staging": "test"}, "staging", [], "test"),
    ],
)
def test_a_command_looks_at_what_is_deployed_to_unless_it_is_told_otherwise(
    environment: pytest.MonkeyPatch,
    tmp_path: Path,
    firebaserc: dict[str, str],
    variable: str,
    arguments: list[str],
    project: str,
) -> None:
    environment.delenv("GCLOUD_PROJECT", raising=False)
    environment.setenv("GOOGLE_CLOUD_PROJECT", variable)
    environment.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "firebase.json").write_text("{}")
    (tmp_path / ".firebaserc").write_text(json.dumps({"projects": firebaserc}))
    chosen = cli.parser().parse_args(["deliveries", *arguments])
    terminal.prepare_environment(chosen.project)
    assert os.environ["GOOGLE_CLOUD_PROJECT"] == project


def test_of_two_projects_no_command_picks_one(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    environment.setenv("GOOGLE_CLOUD_PROJECT", "test")
    (tmp_path / ".firebaserc").write_text('{"projects": {"default": "live"}}')
    for command in (["deliveries"], ["replay", "--state", "HELD", "--send"]):
        assert cli.main(command) == 2
        assert capsys.readouterr().err == (
            "batchpush: GOOGLE_CLOUD_PROJECT is test, and `firebase deploy` takes live (default): "
            "say which with --project\n"
        )


def test_a_line_of_dot_env_that_is_no_variable_is_told(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    environment.delenv("BATCH_APPS")
    (tmp_path / "main.py").touch()
    (tmp_path / ".env").write_text("REGION=us-east1\nBATCH_APPS ios=A\n")
    assert cli.main(["deliveries"]) == 2
    assert capsys.readouterr().err == (
        "batchpush: .env:2 is not NAME=VALUE\nbatchpush: BATCH_APPS is not set: see .env.example\n"
    )


def test_missing_credentials_are_one_line(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    environment.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    environment.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    assert cli.main(["deliveries"]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == (
        "",
        "batchpush: Firestore: DefaultCredentialsError. "
        "Fix it with: gcloud auth application-default login\n",
    )


def test_dot_env_is_read_and_the_environment_wins(
    environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "main.py").touch()
    (tmp_path / ".env").write_text("BATCH_APPS=tv=TVKEY\nREGION=europe-west1\nDEEPLINK_BASE=$x\n")
    environment.setenv("REGION", "us-east1")
    for name in ("BATCH_APPS", "DEEPLINK_BASE"):
        environment.delenv(name)
    terminal.prepare_environment("another-project")
    assert os.environ["BATCH_APPS"] == "tv=TVKEY"
    assert os.environ["DEEPLINK_BASE"] == "$x"
    assert os.environ["REGION"] == "us-east1"
    assert os.environ["GOOGLE_CLOUD_PROJECT"] == "another-project"


def test_a_dot_env_in_utf_16_is_one_line(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("BATCH_APPS=tv=TVKEY\n", encoding="utf-16")
    assert cli.main(["deliveries"]) == 2
    assert capsys.readouterr() == ("", "batchpush: .env is UTF-16: save it as UTF-8\n")


@pytest.mark.suite
def test_it_runs_as_a_module_and_into_a_pipe_that_closes(operator: Operator) -> None:
    record = a_record(DeliveryState.HELD, *calls_in(H))
    operator.store(record)
    command = [sys.executable, "-W", "error", "-m", "batchpush", "deliveries"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(record.id[:12])
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as closed:
        assert closed.stdout is not None
        assert closed.stderr is not None
        closed.stdout.close()
        assert closed.stderr.read() == b""
    assert closed.returncode == 1
