"""What the Batch emulator finds out about the project around it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulators.batch.functions_log import FunctionsLog
from emulators.batch.journal import Address, Call, as_rfc3339
from emulators.batch.project import NEEDED, Project
from emulators.batch.watched import called_by
from emulators.firestore import to_fields
from tests.firebase_log import ROOT, SYNTAX_ERROR

START = datetime(2030, 1, 1, tzinfo=UTC)


def at(milliseconds: int) -> datetime:
    return START + timedelta(milliseconds=milliseconds)


def call(text: str, app: str = "ios", received: int = 100) -> Call:
    return Call(Address(None), app, "POST", "/", text, {}, received_at=at(received))


@pytest.fixture
def project() -> Project:
    found = Project.around(dict.fromkeys(NEEDED, "x"))
    assert found is not None
    return found


def record(name: str, claimed: int, recorded: int) -> dict[str, Any]:
    """Of one call to ios."""
    return {
        "id": name,
        "function": "greet",
        "event_time": as_rfc3339(at(10)),
        "created_at": as_rfc3339(at(claimed)),
        "updated_at": as_rfc3339(at(recorded)),
        "calls": [{"app": "ios", "body": 0}],
    }


@pytest.mark.parametrize(
    ("one", "delivery"),
    [
        (call("words", received=85), "sent"),
        (call("words", received=95), "claimed"),  # still being sent
        (call("words", received=25), "retried"),
        (call("words", received=65), "retried"),  # a replay, recorded at 70
        (call("words", received=9), None),
        (call("words", app="android"), None),
        (call("others"), "other"),
        (call("erased"), None),
        (call("unheard"), None),
    ],
)
def test_a_call_is_of_the_delivery_that_sent_these_words_at_the_time(
    project: Project, one: Call, delivery: str | None
) -> None:
    bodies = {"claimed": "words", "erased": None, "sent": "words", "other": "others"}
    for name, body in (bodies | {"retried": "words"}).items():
        project.bodies[name] = [body] if body else []
    project.remember(
        [
            record("claimed", 90, 90),
            record("erased", 90, 90),
            record("sent", 80, 88),
            record("other", 60, 62),
            record("retried", 20, 70),
        ]
    )
    assert project.delivery_of(one) == delivery


@pytest.mark.parametrize(
    ("beginnings", "called_at"),
    [
        ([], None),
        ([("greet", 30)], 30),
        ([("greet", 5), ("greet", 30), ("other", 31), ("greet", 60)], 30),
        ([("greet", 30), ("greet", 31)], None),  # one of two, nobody knows which
    ],
)
def test_when_a_function_was_called_is_told_only_if_it_is_certain(
    project: Project, beginnings: list[tuple[str, int]], called_at: int | None
) -> None:
    for function, milliseconds in beginnings:
        line = {
            "message": f'Beginning execution of "us-central1-{function}"',
            "timestamp": at(milliseconds).timestamp() * 1000,
        }
        project.log.read(line)
    assert project.called_at(record("one", 50, 50)) == (
        None if called_at is None else as_rfc3339(at(called_at))
    )


def trigger(name: str, kind: str, pattern: str) -> dict[str, Any]:
    event = {
        "eventType": f"google.cloud.firestore.document.v1.{kind}",
        "eventFilters": {"database": "(default)"},
        "eventFilterPathPatterns": {"document": pattern},
    }
    return {"name": name, "eventTrigger": event}


BACKENDS = {
    "backends": [
        {
            "functionTriggers": [
                trigger("new_message", "created", "conversations/{conversation_id}/messages/{id}"),
                trigger("message_unread", "updated", "conversations/{c}/messages/{id}"),
                trigger("order", "written", "orders/{order_id}"),
                trigger("audit", "written", "audited/{path=**}"),
                {"name": "sweep", "eventTrigger": {"eventType": "pubsub", "resource": ""}},
                {"name": "notify", "httpsTrigger": {}},
            ]
        },
        {
            "functionTriggers": [
                {
                    "name": "config",
                    "eventTrigger": {
                        "eventType": "google.cloud.firestore.document.v1.written",
                        "eventFilters": {"document": "config/main"},
                    },
                }
            ]
        },
    ]
}


@pytest.mark.parametrize(
    ("path", "kind", "functions"),
    [
        ("conversations/c1/messages/m1", "created", ["new_message"]),
        ("conversations/c1/messages/m1", "updated", ["message_unread"]),
        ("conversations/c1", "created", []),
        ("orders/7", "created", ["order"]),
        ("orders/7", "updated", ["order"]),
        ("orders/7/lines/1", "updated", []),
        ("order/7", "created", []),
        ("audited/a/b/c", "created", ["audit"]),
        ("config/main", "updated", ["config"]),
        ("config/xmain", "updated", []),
    ],
)
def test_which_functions_a_write_calls(path: str, kind: str, functions: list[str]) -> None:
    assert called_by(BACKENDS, path, kind) == functions


def lines(*messages: tuple[str, str]) -> FunctionsLog:
    log = FunctionsLog(ROOT)
    for level, message in messages:
        log.read({"level": level, "message": message, "data": {}, "timestamp": 0})
    return log


FAILED = ("error", "Failed to load function definition from source: FirebaseError: ...")


@pytest.mark.parametrize(
    ("complaint", "problem"),
    [
        (SYNTAX_ERROR, "handlers/orders.py:44: SyntaxError: invalid syntax"),
        (
            'Traceback (most recent call last):\n  File "/else/x.py", line 3, in f\n'
            "batchpush.errors.ConfigurationError: BATCH_APPS is not set",
            "/else/x.py:3: batchpush.errors.ConfigurationError: BATCH_APPS is not set",
        ),
        ("killed", "the terminal says why"),
        ("", "the terminal says why"),
    ],
)
def test_code_that_does_not_load_is_told_with_its_place(complaint: str, problem: str) -> None:
    in_pieces = [("error", complaint[:300]), ("error", complaint[300:])]
    assert lines(*in_pieces, FAILED).problem == problem
    loaded = ("info", "Loaded functions definitions from source: article.")
    assert lines(*in_pieces, FAILED, loaded).problem is None
    # The traceback of an error that is over does not explain a later one.
    assert lines(*in_pieces, FAILED, loaded, FAILED).problem == "the terminal says why"


@pytest.mark.parametrize("missing", NEEDED)
def test_without_all_of_the_suite_there_is_no_project(missing: str) -> None:
    environ = {name: "x" for name in NEEDED if name != missing}
    assert Project.around(environ) is None


async def test_a_delivery_without_calls_is_listed_too(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a document that is refused, the record holds what is wrong and nothing to send."""
    stored = {key: value for key, value in record("one", 50, 50).items() if key != "calls"}
    name = "projects/p/databases/(default)/documents/d/one"

    async def firestore(method: str, path: str, data: Any = None) -> Any:
        listed = {"name": name, "fields": to_fields({**stored, "state": "REFUSED"})}
        return {"name": name} if method == "GET" else [{"document": listed}]

    monkeypatch.setattr(project, "_firestore", firestore)
    (delivery,) = await project.deliveries()
    assert (delivery["id"], delivery["state"], delivery["calls"]) == ("one", "REFUSED", [])
