import json
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchpush.errors import InvalidDocument
from batchpush.logs import about, log, reason_of


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines(keepends=True)


@given(st.text())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_was_written_a_line_stays_a_line(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    log("INFO", "event", data={"text": text})
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out)["data"] == {"text": text}


def test_a_line_has_only_the_fields_that_are_set(capsys: pytest.CaptureFixture[str]) -> None:
    log("INFO", "push.accepted", app="ios")
    assert json.loads(capsys.readouterr().out) == {
        "severity": "INFO",
        "message": "push.accepted",
        "app": "ios",
    }


def test_lines_inside_name_the_event(capsys: pytest.CaptureFixture[str]) -> None:
    with about(function="f", event_id="e", document="users/ann"):
        log("INFO", "inside")
    log("INFO", "outside")
    inside, outside = (json.loads(line) for line in lines(capsys))
    assert inside["document"] == "users/ann"
    assert "document" not in outside


def test_what_json_does_not_know_is_written_too(capsys: pytest.CaptureFixture[str]) -> None:
    log("INFO", "event", data={"at": datetime(2026, 1, 2, tzinfo=UTC), "what": {1}})
    assert json.loads(capsys.readouterr().out)["data"]["at"] == "2026-01-02T00:00:00+00:00"


def test_lines_below_the_level_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    log("DEBUG", "event")
    assert lines(capsys) == []


def test_of_an_error_its_place_is_told_and_nothing_that_it_held(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        local_variable = "secret"
        raise ValueError(f"failed after {len(local_variable)}")

    try:
        fail()
    except ValueError as error:
        log("ERROR", "event", error=error)
    out = capsys.readouterr().out
    assert "secret" not in out
    assert json.loads(out)["data"]["raised_at"].startswith(__file__)


def failed(document: object) -> ZeroDivisionError:
    try:
        raise ZeroDivisionError(f"in the document {document}")
    except ZeroDivisionError as error:
        return error


def test_the_traceback_of_a_handlers_error_is_printed_in_the_emulator_and_nowhere_else(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    error = failed("of Ann")
    masked = reason_of(error)
    log("ERROR", "event.crashed", error=error)
    in_production = capsys.readouterr()
    assert in_production.err == ""
    assert "Traceback" not in in_production.out
    assert "Ann" not in masked

    monkeypatch.setenv("FUNCTIONS_EMULATOR", "true")
    assert reason_of(error) == masked
    in_emulator = capsys.readouterr()
    assert in_emulator.err.startswith("Traceback (most recent call last):\n")
    assert in_emulator.err.endswith("ZeroDivisionError: in the document of Ann\n")
    log("ERROR", "event.crashed", error=error)
    crashed = capsys.readouterr()
    assert crashed.out == in_production.out
    assert crashed.err == in_emulator.err


def test_a_document_that_cannot_be_used_needs_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FUNCTIONS_EMULATOR", "true")
    assert reason_of(InvalidDocument("orders/7", "number", "is missing"))
    assert capsys.readouterr().err == ""
