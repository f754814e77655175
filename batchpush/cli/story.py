"""The story of a delivery, in order: the event, who was left out, each call, the outcome."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from batchpush.delivery.record import CallRecord, CallState, DeliveryState, Record

MAX_NAMED = 5  # recipients by their ids in a line


@dataclass(frozen=True)
class Step:
    """One line of a story; `at` is None for what happened between two recorded times."""

    at: datetime | None
    what: str


MEANS = {
    DeliveryState.WAITING: "waits",
    DeliveryState.CLAIMED: "is being sent, or the sweep will resume it",
    DeliveryState.RETRY: "will be retried",
    DeliveryState.SENT: "Batch accepted every request; that is not yet a push on the phone",
    DeliveryState.REFUSED: "was refused for good",
    DeliveryState.HELD: "an outcome is unknown; replay --send --resend-unknown may send it twice",
    DeliveryState.EXPIRED: "became too old to send",
    DeliveryState.OBSOLETE: "there was nothing to send",
}


def story(record: Record) -> Iterator[Step]:
    """What is known of the delivery, the oldest first."""
    yield Step(record.event_time, f"event {record.event_id}: {record.document} was written")
    about = "".join(
        (
            f", group {record.group_id}" if record.group_id else "",
            f", event {record.event}" if record.event else "",
            f", caused by {record.sender}" if record.sender else "",
        )
    )
    yield Step(record.created_at, f"{record.function} handled it{about}")
    if record.ignored:
        yield Step(None, f"ignored fields of the document: {', '.join(record.ignored)}")
    for reason, user_ids in sorted(record.left_out):
        yield Step(None, f"left out, {reason}: {_named(user_ids)}")
    if record.not_before:
        yield Step(None, f"waits until {record.not_before:%Y-%m-%dT%H:%M:%SZ}")
    if record.waited_until:
        yield Step(record.waited_until, "the wait was over, and the handler was called again")
    if record.chunks:
        yield Step(None, f"split into {len(record.chunks)} chunks, each with its own record")
    for call in record.calls:
        yield Step(None, _of_call(record, call))
    reason = f": {record.reason}" if record.reason else f": {MEANS[record.state]}"
    yield Step(record.updated_at, f"{record.state.value}{reason}")


def _of_call(record: Record, call: CallRecord) -> str:
    body = record.bodies[call.body] if call.body < len(record.bodies) else ""
    to = f" to {_named(_recipients(body))}" if body else ""
    answer = "Batch accepted it" if call.state is CallState.ACCEPTED else call.state.value
    attempts = f"{call.tries} {'attempt' if call.tries == 1 else 'attempts'}"
    unknown = f", {call.unknown} with an unknown outcome" if call.unknown else ""
    status = f", status {call.status}" if call.status else ""
    problem = f": {call.problem}" if call.problem else ""
    return f"request for {call.app}{to}: {answer} ({attempts}{unknown}{status}){problem}"


def _recipients(body: str) -> list[str]:
    return [each for listed in json.loads(body).get("recipients", {}).values() for each in listed]


def _named(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - MAX_NAMED} more" if len(ids) > MAX_NAMED else ""
    return ", ".join(ids[:MAX_NAMED]) + more
