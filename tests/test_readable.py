"""The log of `make dev`, as a person reads it."""

import json
from typing import Any

import pytest

from local.readable import Readable


def plain(line: str) -> str | None:
    return Readable(is_coloured=False)(line + "\n")


def of_function(**entry: Any) -> str:
    return f">  {json.dumps(entry)}"


SENT = {
    "severity": "INFO",
    "message": "delivery.sent",
    "function": "order_delivered",
    "event_id": "adedabd9-33db-4492-bdda-80c55a9dba4e",
    "document": "orders/1",
    "logging.googleapis.com/trace": "projects/p/traces/t",
    "data": {"delivery": "d3216572caf2" + "0" * 52, "reason": None, "milliseconds": 814},
}
ACCEPTED = SENT | {"message": "push.accepted", "app": "ios", "data": {"body": 0, "status": 201}}
CRASHED = {
    "severity": "ERROR",
    "message": "event.crashed",
    "error": "ValueError",
    "data": {"error": "boom", "raised_at": "main.py:7"},
}


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        (
            SENT,
            "INFO     order_delivered  orders/1  delivery.sent  "
            "delivery=d3216572caf2 milliseconds=814",
        ),
        (ACCEPTED, "INFO     order_delivered  orders/1  push.accepted  ios  status=201"),
        (CRASHED, "ERROR    event.crashed  kind=ValueError error=boom raised_at=main.py:7"),
        ({"severity": "DEBUG", "message": "push.none"}, "DEBUG    push.none"),
    ],
)
def test_a_line_has_the_time_and_what_happened_to_which_document(
    entry: dict[str, Any], told: str
) -> None:
    said = plain(of_function(**entry))
    assert said is not None
    time, _, rest = said.partition("  ")
    assert len(time) == len("12:34:56")
    assert rest == told


def test_what_users_wrote_cannot_control_the_terminal() -> None:
    hostile = "\x1b[2J\nspoofed"
    said = plain(of_function(**SENT | {"document": hostile, "data": {"reason": hostile}}))
    assert said is not None
    assert said.isprintable()


@pytest.mark.parametrize(("severity", "is_painted"), [("ERROR", True), ("INFO", False)])
def test_colours_are_for_a_terminal_and_for_what_matters(severity: str, is_painted: bool) -> None:
    line = of_function(severity=severity, message="event")
    assert ("\x1b" in str(Readable(is_coloured=True)(line))) is is_painted
    assert "\x1b" not in str(plain(line))


@pytest.mark.parametrize(
    "text",
    [
        "Traceback (most recent call last):",
        '  File "/home/ada/batchpush/venv/lib/site-packages/httpx.py", line 9, in get',
        "ZeroDivisionError: division by zero",
        '{"severity": "cut',
        "[1, 2]",
    ],
)
def test_what_else_a_function_prints_stays_as_it_is(text: str) -> None:
    assert plain(f">  {text}") == text


# As firebase-tools 15 printed it when handlers/orders.py had a syntax error, and then none.
RELOADED = """\
i  functions: Loaded environment variables from .env
 * Serving Flask app 'serving'
 * Debug mode: off

\x1b[31m\x1b[1mWARNING: This is a development server. Do not use it in production.\x1b[0m
 * Running on http://127.0.0.1:8081
\x1b[33mPress CTRL+C to quit\x1b[0m
[2026-11-28 23:16:41,820] ERROR in app: Exception on /__/functions.yaml [GET]
Traceback (most recent call last):
  File "/project/venv/lib/python3.11/site-packages/flask/app.py", line 1511, in wsgi_app
    response = self.full_dispatch_request()
               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  File "<frozen importlib._bootstrap>", line 241, in _call_with_frames_removed
  File "/project/main.py", line 31, in <module>
    from handlers import (
  File "/project/handlers/orders.py", line 44
    def broken(:
               ^
SyntaxError: invalid syntax
127.0.0.1 - - [28/Nov/2026 23:16:41] "\x1b[35m\x1b[1mGET /__/functions.yaml HTTP/1.1\x1b[0m" 500 -
Terminated
⬢  functions: Failed to load function definition from source: FirebaseError: Functions codebase
✔  functions: Loaded functions definitions from source: article, campaign, sweep.
i  functions[us-central1-sweep]: function ignored because the pubsub emulator does not exist.
✔  functions[us-central1-article]: firestore function initialized.
i  functions: Beginning execution of "us-central1-article"
i  functions: Finished "us-central1-article" in 4.310537ms
⚠  functions: Your function timed out after ~60s.
"""


def test_of_what_firebase_prints_only_what_helps_is_left() -> None:
    readable = Readable(is_coloured=False)
    said = [told for line in RELOADED.splitlines(keepends=True) if (told := readable(line))]
    assert [line.partition("  ")[2] if line[2] == ":" else line for line in said] == [
        "Traceback (most recent call last):",
        '  File "/project/main.py", line 31, in <module>',
        "    from handlers import (",
        '  File "/project/handlers/orders.py", line 44',
        "    def broken(:",
        "               ^",
        "SyntaxError: invalid syntax",
        "ERROR    the code does not load: the functions still run the code from before",
        "INFO     the code is loaded: 3 functions",
        "WARNING  Your function timed out after ~60s.",
    ]
