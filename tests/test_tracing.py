"""The trace of a request in log lines; and spans, at a collector that speaks OTLP."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush.logs import about, log
from batchpush.tracing import ENDPOINT, PACKAGE, Trace, read_trace
from tests.deliveries import REST_KEY
from tests.servers import serving
from tests.tables import table

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("traceparent", "found"),
    [
        (TRACEPARENT, Trace(TRACE, SPAN, True)),
        (f"00-{TRACE}-{SPAN}-00", Trace(TRACE, SPAN, False)),
        (f"00-{TRACE}-{SPAN}-03", Trace(TRACE, SPAN, True)),
        (f"00-{TRACE}-{SPAN}-a2", Trace(TRACE, SPAN, False)),
        (None, None),
        ("", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE[:-1]}-{SPAN}-01", None),
        (f"00-{TRACE}0-{SPAN}-01", None),
        (f"00-{TRACE[:-1]}g-{SPAN}-01", None),
        (f"00-{TRACE[:-1]}٣-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f"00-{TRACE}-{SPAN}-1", None),
        (f"{TRACEPARENT}-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f" {TRACEPARENT}", None),
        (f"{TRACEPARENT}\n", None),
        (f'{TRACEPARENT}", "severity": "ALERT', None),
        ("0" * 1_000_000, None),
    ],
    ids=lambda text: str(text)[:60],
)
def test_a_header_is_valid_to_its_last_character_or_ignored(
    traceparent: str | None, found: Trace | None
) -> None:
    assert read_trace(traceparent) == found


@given(st.text(alphabet="0123456789abcdefF-gé\n", max_size=60))
def test_whatever_is_sent_only_hex_is_read(traceparent: str) -> None:
    if found := read_trace(traceparent):
        assert int(found.trace_id, 16) > 0
        assert int(found.span_id, 16) > 0


def traced_lines(out: str) -> list[tuple[object, ...]]:
    """The fields of the trace of each line."""
    fields = ("trace", "spanId", "trace_sampled")
    read = [json.loads(line) for line in out.splitlines()]
    return [tuple(line.get(f"logging.googleapis.com/{name}") for name in fields) for line in read]


def test_the_lines_of_a_request_name_its_trace(capsys: pytest.CaptureFixture[str]) -> None:
    with about(function="f", event_id="e", document=None, traceparent=TRACEPARENT):
        log("INFO", "inside")
        with about(function="g", event_id="of one document", document=None):
            log("INFO", "further inside")
    log("INFO", "outside")
    of_request = (f"projects/demo-batchpush/traces/{TRACE}", SPAN, True)
    nothing = (None, None, None)
    assert traced_lines(capsys.readouterr().out) == [of_request, of_request, nothing]


# Spans


EVENT = """
import asyncio, json, sys
from datetime import UTC, datetime

import main
from batchpush.environment import settings
from batchpush.testing.batch import Batch
from batchpush.testing.memory import Memory
from batchpush.worker import working_with
from benchmarks.scenarios import OUTBOX
from tests.deliveries import client_for, worker_in
from tests.garbage import Request

async def deliver():
    headers, body = OUTBOX.event()
    client = client_for(settings(), Batch())
    chosen = {"BATCH_APPS": "ios=A,android=B", "DEEPLINK_SCHEMES": "myapp"}
    made = worker_in(Memory(), lambda: datetime.now(UTC), client, **chosen)
    with working_with(made):
        assert (await main.outbox(Request(headers | json.loads(sys.argv[1]), body)))[1] == 200

asyncio.run(deliver())
print(sorted(each for each in sys.modules if each.startswith("opentelemetry.")))
"""
REFUSED = """
import asyncio
from batchpush.events.callables import CallRefused, answer

async def refuse(call):
    raise CallRefused("permission-denied", "Ann is no friend of Bob")

async def call():
    try:
        await answer(refuse, "bob", {"request_id": "request-1"})
    except CallRefused:
        pass

asyncio.run(call())
"""
WITHOUT_PACKAGE = """
import sys
sys.modules["opentelemetry.exporter"] = None
import main
"""


def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": ".", "FUNCTION_TARGET": "outbox"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@dataclass
class Collector:
    """What arrives by OTLP over HTTP."""

    address: str = ""
    bodies: list[bytes] = field(default_factory=list)

    def spans(self) -> list["Span"]:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
            ExportTraceServiceRequest,
        )

        requests = map(ExportTraceServiceRequest.FromString, self.bodies)
        return [
            Span(
                name=span.name,
                trace_id=span.trace_id.hex(),
                id=span.span_id.hex(),
                parent=span.parent_span_id.hex(),
                attributes={
                    each.key: each.value.string_value or each.value.int_value
                    for each in span.attributes
                },
                error=span.status.message,
                events=len(span.events),
                service={each.key: each.value.string_value for each in of.resource.attributes}[
                    "service.name"
                ],
            )
            for request in requests
            for of in request.resource_spans
            for scope in of.scope_spans
            for span in scope.spans
        ]


@dataclass(frozen=True)
class Span:
    name: str
    trace_id: str
    id: str
    parent: str
    attributes: dict[str, str | int]
    error: str
    events: int
    service: str


@pytest.fixture
def collector() -> Iterator[Collector]:
    collected = Collector()

    class Collecting(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collected.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

    with serving(Collecting) as host:
        collected.address = f"http://{host}"
        yield collected


def test_the_spans_of_an_event_continue_the_trace_of_its_request(collector: Collector) -> None:
    header = json.dumps({"traceparent": TRACEPARENT})
    ended = run(EVENT, header, **{ENDPOINT: collector.address, "OTEL_BSP_SCHEDULE_DELAY": "10"})
    assert ended.returncode == 0, ended.stderr
    found = collector.spans()
    (event,) = [span for span in found if span.name == "event"]
    assert event.parent == SPAN
    assert {span.trace_id for span in found} == {TRACE}
    assert {span.service for span in found} == {"outbox"}
    inside = {(span.name, *span.attributes.items()) for span in found if span.parent == event.id}
    assert event.attributes == {"http.response.status_code": 200}
    answered = (("http.request.method", "POST"), ("http.response.status_code", 201))
    assert inside == {
        ("claim", ("batchpush.state", "CLAIMED")),
        ("request", ("batchpush.app", "ios"), *answered),
        ("request", ("batchpush.app", "android"), *answered),
        ("record", ("batchpush.state", "SENT")),
    }


def test_the_page_of_the_logs_has_every_span() -> None:
    page = Path("docs/logs.md").read_text(encoding="utf-8")
    stated = {
        row[0].strip("`"): set(re.findall(r"`([a-z]+\.[a-z._]+)`", row[2]))
        for row in table(page, header="span")
    }
    made: dict[str, set[str]] = {}
    for file in Path("batchpush").rglob("*.py"):
        for name, attributes in re.findall(
            r'@traced\(\s*"(\w+)",(.*?)\)\n *async', file.read_text(encoding="utf-8"), re.DOTALL
        ):
            made.setdefault(name, set()).update(re.findall(r'"([\w.]+)":', attributes))
    assert made == stated


def test_a_span_holds_no_key_no_text_and_nobody(collector: Collector) -> None:
    run(EVENT, json.dumps({}), **{ENDPOINT: collector.address})
    run(REFUSED, **{ENDPOINT: collector.address})
    (refused,) = [span for span in collector.spans() if span.error]
    assert (refused.error, refused.events) == ("CallRefused", 0)
    sent = b"".join(collector.bodies)
    for secret in (REST_KEY, "Ann", "UhEJZ8bWzaNQLYyzSGbWKWNVq1n1", "pushes/", "bob"):
        assert secret.encode() not in sent


def test_a_request_that_is_not_sampled_has_no_spans(collector: Collector) -> None:
    header = json.dumps({"traceparent": f"00-{TRACE}-{SPAN}-00"})
    assert run(EVENT, header, **{ENDPOINT: collector.address}).returncode == 0
    assert collector.bodies == []


def test_without_a_collector_nothing_of_opentelemetry_is_imported() -> None:
    ended = run(EVENT, json.dumps({"traceparent": TRACEPARENT}))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines()[-1] == "[]"


def test_without_a_collector_what_is_traced_stays_the_function_that_it_is() -> None:
    """So an event costs no more than without spans."""
    from batchpush.batch_api.client import BatchClient
    from batchpush.delivery.deliverer import Deliverer
    from batchpush.delivery.sending import Sender
    from batchpush.events import callables, triggers

    traced = (
        triggers.answer,
        callables.answer,
        Deliverer._claim,
        Sender.write,
        BatchClient.request,
    )
    assert [function for function in traced if hasattr(function, "__wrapped__")] == []


def test_a_package_that_is_missing_is_named_with_the_command_that_says_how_to_add_it() -> None:
    ended = run(WITHOUT_PACKAGE, **{ENDPOINT: "http://127.0.0.1:9"})
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"batchpush.errors.ConfigurationError: {ENDPOINT} is set, and {PACKAGE} is not "
        "installed: `python -m batchpush check` says how to add it"
    )
