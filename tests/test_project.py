"""What the stand-in finds out about the project around it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulators.batch.journal import Address, Call, as_rfc3339
from emulators.batch.project import NEEDED, Project

START = datetime(2030, 1, 1, tzinfo=UTC)


def at(milliseconds: int) -> datetime:
    return START + timedelta(milliseconds=milliseconds)


def call(text: str, app: str = "ios", received: int = 100) -> Call:
    return Call(Address(None), app, "POST", "/", text, {}, received_at=at(received))


@pytest.fixture
def project() -> Project:
    """Two deliveries of the same words, and one of others; the newest first."""
    project = Project.around(dict.fromkeys(NEEDED, "x"))
    assert project is not None
    for name, claimed, body in (
        ("other", 90, "others"),
        ("late", 80, "words"),
        ("early", 10, "words"),
    ):
        calls = [{"app": "ios", "body": 0}]
        record = {"id": name, "created_at": as_rfc3339(at(claimed)), "calls": calls}
        project.records.append(record)
        project.bodies[name] = [body]
    return project


@pytest.mark.parametrize(
    ("one", "delivery"),
    [
        (call("words"), "late"),
        (call("words", received=79), "early"),
        (call("words", received=9), None),
        (call("words", app="android"), None),
        (call("others"), "other"),
        (call("unheard"), None),
    ],
)
def test_a_call_is_of_the_newest_delivery_before_it_that_says_the_same(
    project: Project, one: Call, delivery: str | None
) -> None:
    assert project.delivery_of(one) == delivery


def test_a_delivery_whose_bodies_were_erased_has_no_calls(project: Project) -> None:
    project.bodies["other"] = []
    assert project.delivery_of(call("others")) is None


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
        project.remember_beginning(line)
    record: dict[str, Any] = {
        "function": "greet",
        "event_time": as_rfc3339(at(10)),
        "created_at": as_rfc3339(at(50)),
    }
    assert project.called_at(record) == (None if called_at is None else as_rfc3339(at(called_at)))


@pytest.mark.parametrize("missing", NEEDED)
def test_without_all_of_the_suite_there_is_no_project(missing: str) -> None:
    environ = {name: "x" for name in NEEDED if name != missing}
    assert Project.around(environ) is None
