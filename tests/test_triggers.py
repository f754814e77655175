import json
from typing import Any

import httpx
import pytest
from functions_framework.aio import create_asgi_app

import main
from batchpush.errors import (
    DeliveryUnfinished,
    InvalidDocument,
    InvalidPush,
    LedgerUnavailable,
    LookUpFailed,
    RestKeyUnavailable,
)
from batchpush.events.change import Change
from batchpush.events.decoding import from_database, from_firestore
from batchpush.events.triggers import handle
from tests.events import database_headers, firestore_body, firestore_headers
from tests.garbage import Request

PATTERN, PATH = "users/{user_id}", "users/ann"


async def answer(
    error: Exception | None, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[dict[str, Any]]]:
    """The status that the platform gets, and the lines that are logged."""

    async def function(change: Change) -> None:
        if error:
            raise error

    body = firestore_body(PATH, None, {})
    _, status = await handle(function, PATTERN, from_firestore, firestore_headers(PATH), body)
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (None, 200, None),
        (InvalidDocument("users/ann", "name", "is missing"), 200, "event.refused"),
        (InvalidPush("group_id", "is wrong"), 200, "event.refused"),
        (KeyError("name"), 503, "event.crashed"),
        (LedgerUnavailable("Firestore: Unavailable"), 503, "event.unfinished"),
        (LookUpFailed("Firestore: Unavailable"), 503, "event.unfinished"),
        (RestKeyUnavailable("secret: NotFound"), 503, "event.unfinished"),
        (DeliveryUnfinished("2 calls"), 503, "event.unfinished"),
    ],
)
async def test_only_what_may_end_better_is_delivered_again(
    error: Exception | None, status: int, line: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    answered, lines = await answer(error, capsys)
    assert answered == status
    assert [entry["message"] for entry in lines] == ([line] if line else [])


async def test_the_line_names_the_function_the_event_the_document_and_the_field(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, (line,) = await answer(InvalidDocument("users/ann", "name", "is missing"), capsys)
    assert line["severity"] == "ERROR"
    assert (line["function"], line["event_id"], line["document"]) == ("function", "event-1", PATH)
    assert line["error"] == "InvalidDocument"
    assert line["data"]["error"] == "users/ann: name is missing"


@pytest.mark.parametrize(
    ("decode", "headers", "body"),
    [
        (from_firestore, {}, b""),
        (from_firestore, firestore_headers(PATH), b"\xff"),
        (from_firestore, firestore_headers("pets/rex"), firestore_body("pets/rex", None, {})),
        (from_database, {}, b"{}"),
        (from_database, database_headers(PATH), b"garbage"),
    ],
)
async def test_an_event_that_is_garbage_is_logged_once_and_never_comes_again(
    decode: Any, headers: Any, body: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    async def function(change: Change) -> None:
        raise AssertionError("called with garbage")

    _, status = await handle(function, PATTERN, decode, headers, body)
    (line,) = capsys.readouterr().out.splitlines()
    assert status == 200
    assert json.loads(line)["message"] == "event.refused"


TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize("function", ["new_message", "sendchunk", "sweep"])
async def test_the_lines_of_events_tasks_and_schedules_name_the_trace_of_the_request(
    function: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken() -> None:
        raise InvalidDocument("users/ann", "name", "is missing")

    monkeypatch.setattr(main, "sweep_deliveries", broken)
    monkeypatch.setenv("FUNCTION_TARGET", function)
    headers = firestore_headers(PATH) | {"traceparent": TRACEPARENT}
    await vars(main)[function](Request(headers, b"garbage"))
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["message"] == "event.refused"
    assert json.loads(line)["logging.googleapis.com/trace"] == (
        "projects/demo-batchpush/traces/4bf92f3577b34da6a3ce929d0e0e4736"
    )


async def test_a_function_is_served_on_the_event_loop(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUNCTION_TARGET", "new_message")
    monkeypatch.setenv("FUNCTION_SIGNATURE_TYPE", "cloudevent")
    app = create_asgi_app("new_message", "main.py", "cloudevent")
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://function") as http:
        response = await http.post("/", content=b"garbage", headers=firestore_headers(PATH))
    assert (response.status_code, response.text) == (200, "done")
    assert json.loads(capsys.readouterr().out)["function"] == "new_message"


@pytest.mark.parametrize("function", ["new_message", "sendchunk", "sweep"])
async def test_whoever_looks_whether_it_is_there_causes_nothing(
    function: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUNCTION_TARGET", function)
    monkeypatch.setenv("FUNCTION_SIGNATURE_TYPE", "http")
    transport = httpx.ASGITransport(app=create_asgi_app(function, "main.py"))
    async with httpx.AsyncClient(transport=transport, base_url="http://function") as http:
        assert (await http.get("/")).status_code == 405
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"data": 5}', b'{"data": {"delivery": 7}}'])
async def test_a_task_that_is_garbage_is_logged_and_never_comes_again(
    body: bytes, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUNCTION_TARGET", "sendchunk")
    monkeypatch.setenv("FUNCTION_SIGNATURE_TYPE", "http")
    transport = httpx.ASGITransport(app=create_asgi_app("sendchunk", "main.py"))
    async with httpx.AsyncClient(transport=transport, base_url="http://function") as http:
        assert (await http.post("/", content=body)).status_code == 200
    assert json.loads(capsys.readouterr().out)["error"] == "MalformedEvent"
