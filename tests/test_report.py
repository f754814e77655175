"""What the app that wrote a push is told in the Realtime Database."""

import json
from typing import Any

import pytest

import main
from batchpush import worker
from batchpush.delivery.record import DeliveryState
from batchpush.delivery.report import report
from batchpush.testing.memory import Memory
from tests.deliveries import claimed, worker_in
from tests.events import DATABASE, database_body, database_headers
from tests.garbage import Request
from tests.realtime_database import Database

STATE = ("pushes", "p1", "delivery", "state")


def settled(**fields: Any) -> Any:
    own = {"source": DATABASE, "document": "pushes/p1", "report_to": "pushes/p1/delivery/state"}
    return claimed(**own | {"state": DeliveryState.SENT} | fields)


async def test_the_outcome_is_written_below_the_document(database: Database) -> None:
    database.values["pushes", "p1"] = {"group_id": "g", "delivery": {"state": {}}}
    await report(settled())
    assert database.written == [STATE]
    assert database.values[STATE]["state"] == "SENT"


@pytest.mark.parametrize(
    "left", [None, {"delivery": {"state": {"state": "SENT"}}}, "a text", ["a", "list"], {}]
)
async def test_a_document_that_is_gone_or_is_no_map_is_left_as_it_is(
    database: Database, left: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    database.values["pushes", "p1"] = left
    await report(settled())
    assert database.written == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "record",
    [
        settled(state=DeliveryState.CLAIMED),
        settled(report_to=None),
        settled(source="//firestore.googleapis.com/projects/p/databases/(default)"),
    ],
    ids=["not settled", "to nobody", "in Firestore"],
)
async def test_nothing_else_is_reported_here(database: Database, record: Any) -> None:
    await report(record)
    assert database.requests == []


@pytest.mark.parametrize(
    "fields",
    [
        {"source": "//firebasedatabase.googleapis.com/x"},
        {"document": "pushes/..", "report_to": "pushes/../delivery/state"},
    ],
    ids=["source", "path"],
)
async def test_a_report_that_cannot_be_written_is_logged(
    database: Database, fields: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    await report(settled(**fields))
    assert json.loads(capsys.readouterr().out)["message"] == "report.failed"
    assert database.requests == []


async def test_a_push_that_was_deleted_is_neither_made_again_nor_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = Memory()
    made = worker_in(memory, now=lambda: settled().created_at)
    monkeypatch.setattr(worker, "worker", lambda: made)
    written = {"delivery": {"state": {"function": "outbox_rtdb", "state": "SENT"}}}
    headers = database_headers("pushes/p1")
    assert await vars(main)["outbox_rtdb"](Request(headers, database_body(None, written))) == (
        "done",
        200,
    )
    assert memory.documents == {}
    assert database.requests == []
    assert capsys.readouterr().out == ""
