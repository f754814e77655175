"""The trace of a request: its log lines name it, and OpenTelemetry's spans continue it.

Spans are made where `OTEL_EXPORTER_OTLP_ENDPOINT` is set. Without it, `traced` returns a function
as it is, and nothing of OpenTelemetry is imported.
"""

import functools
import os
import re
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar, cast

from batchpush.errors import ConfigurationError

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PACKAGE = "opentelemetry-exporter-otlp-proto-http"  # brings opentelemetry-sdk
# https://www.w3.org/TR/trace-context/#traceparent-header; ids of zeros only are invalid.
TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]([0-9a-f])")

Attributes = Callable[..., Mapping[str, str | int | None]]
Function = TypeVar("Function", bound=Callable[..., Coroutine[Any, Any, Any]])


class Trace(NamedTuple):
    trace_id: str
    span_id: str
    is_sampled: bool


trace: ContextVar[Trace | None] = ContextVar("trace", default=None)


def read_trace(traceparent: str | None) -> Trace | None:
    """The trace that a header names; None for a malformed one, which anybody may have sent."""
    found = TRACEPARENT.fullmatch(traceparent or "")
    return Trace(found[1], found[2], bool(int(found[3], 16) & 1)) if found else None


IS_ON = bool(os.environ.get(ENDPOINT))

if IS_ON:
    try:
        from opentelemetry.context import Context
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import (
            NonRecordingSpan,
            SpanContext,
            StatusCode,
            TraceFlags,
            Tracer,
            get_current_span,
            set_span_in_context,
        )
    except ImportError:
        raise ConfigurationError(
            f"{ENDPOINT} is set, and {PACKAGE} is not installed: "
            "`python -m batchpush check` says how to add it"
        ) from None


def traced(name: str, attributes: Attributes) -> Callable[[Function], Function]:
    """Make a span of each call of an async function.

    `attributes` gets the result and the arguments. What it returns leaves the project: never the
    key, a text, or an id of a person.
    """

    def decorate(function: Function) -> Function:
        return _spanned(name, attributes, function) if IS_ON else function

    return decorate


def _spanned(name: str, attributes: Attributes, function: Function) -> Function:
    @functools.wraps(function)
    async def spanned(*args: Any, **kwargs: Any) -> Any:
        with _tracer().start_as_current_span(
            name,
            _context(),
            record_exception=False,  # its text may hold anything
            set_status_on_exception=False,
        ) as span:
            try:
                result = await function(*args, **kwargs)
            except BaseException as error:
                span.set_status(StatusCode.ERROR, type(error).__name__)
                raise
            for key, value in attributes(result, *args, **kwargs).items():
                if value is not None:
                    span.set_attribute(key, value)
            return result

    return cast(Function, spanned)


@functools.cache
def _tracer() -> "Tracer":
    """Made on first use: it starts a thread, and the server forks before that."""
    os.environ.setdefault("OTEL_SERVICE_NAME", os.environ.get("FUNCTION_TARGET", "batchpush"))
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider.get_tracer("batchpush")


def _context() -> "Context | None":
    """Where a span belongs: to the one around it, or else to the request's."""
    request = trace.get()
    if request is None or get_current_span().get_span_context().is_valid:
        return None
    return set_span_in_context(
        NonRecordingSpan(
            SpanContext(
                int(request.trace_id, 16),
                int(request.span_id, 16),
                is_remote=True,
                trace_flags=TraceFlags(request.is_sampled),
            )
        )
    )
