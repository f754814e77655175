"""`deliveries` and `show`: print what happened to the pushes."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from batchpush.cli.arguments import AN_ID, add_json, count, prefix
from batchpush.cli.finding import add_filters, finder
from batchpush.cli.records import full_id, read
from batchpush.cli.story import story
from batchpush.cli.terminal import Interrupts, escaped, indented_json, show_progress
from batchpush.delivery.record import CallRecord, CallState, DeliveryState, Record
from batchpush.worker import Worker

PURPOSE = "List deliveries, newest first."
EXAMPLES = (
    "deliveries --since 2h",
    "deliveries --user UhEJZ8bWzaNQLYyz --since 2d",
    "deliveries --document orders/o1 --json",
)
PURPOSE_OF_SHOW = "Show one delivery: its story, and its record in full."
EXAMPLES_OF_SHOW = ("show 04b11cac6253", "show 04b11cac6253 --json")
SHORT_ID = 12  # characters of an id in a list


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_filters(parser, "by default all but SENT and OBSOLETE, or all with --user or --document")
    parser.add_argument(
        "--limit",
        metavar="N",
        type=count,
        default=50,
        help="list at most N deliveries (default: 50)",
    )
    add_json(parser)


def add_arguments_of_show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", type=prefix, help=AN_ID)
    add_json(parser, "one JSON object, with the bodies")


async def deliveries(chosen: argparse.Namespace, made: Worker) -> int:
    with Interrupts() as interrupts:
        searching = await finder(chosen, made, interrupts)
        found = await searching.find()
    show_progress("")
    for record in found:
        print(json.dumps(as_json(record)) if chosen.json else line(record))
    counted = f"{len(found)} {'delivery' if len(found) == 1 else 'deliveries'}"
    if not searching.is_all:
        counted += "; there may be more: " + (
            f"go on with --after {searching.last.id[:SHORT_ID]}"
            if searching.last
            else "raise --limit, or narrow it down"
        )
    print(counted, file=sys.stderr if chosen.json else sys.stdout)
    return 0


async def show(chosen: argparse.Namespace, made: Worker) -> int:
    entry = await read(made, await full_id(made, chosen.id))
    if chosen.json:
        told_in_order = [{"at": _plain(step.at), "what": step.what} for step in story(entry.record)]
        whole = {"bodies": bodies_of(entry.record), "story": told_in_order}
        print(json.dumps(as_json(entry.record) | whole))
        return 0
    for step in story(entry.record):
        at = moment(step.at) if step.at else ""
        print(f"{at:<20}  {escaped(step.what)}")
    print()
    print("\n".join(page(entry.record, where_bodies_went(entry.record, made))))
    return 0


def where_bodies_went(record: Record, made: Worker) -> str:
    """Why a record has no bodies; an erasure changes `updated_at`, the sweep does not."""
    days = made.settings.keep_bodies_days
    is_old = made.clock.now() >= record.updated_at + timedelta(days=days)
    if record.state is DeliveryState.SENT and is_old:
        return f"were deleted after {days} days (KEEP_BODIES_DAYS)"
    return "were erased"


# Formatting


def line(record: Record) -> str:
    """A record as one line of a list."""
    until = f"until {moment(record.not_before)}" if record.not_before else ""
    words = (heading(record), until, escaped(per_app(record.calls)), escaped(record.reason or ""))
    return "  ".join(filter(None, words))


def heading(record: Record) -> str:
    words = (
        record.id[:SHORT_ID],
        f"{record.state.value:<7}",
        moment(record.created_at),
        record.function,
        record.document,
    )
    return "  ".join(map(escaped, words))


def moment(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def per_app(calls: Iterable[CallRecord]) -> str:
    """`ios accepted, android 2 accepted + 1 refused (3 attempts, 400)`"""
    apps: dict[str, dict[CallState, list[CallRecord]]] = {}
    for call in calls:
        apps.setdefault(call.app, {}).setdefault(call.state, []).append(call)
    return ", ".join(f"{app} {_in_states(groups)}" for app, groups in apps.items())


def _in_states(groups: Mapping[CallState, Sequence[CallRecord]]) -> str:
    is_one = sum(map(len, groups.values())) == 1
    return " + ".join(
        ("" if is_one else f"{len(calls)} ")
        + state.value
        + ("" if state is CallState.ACCEPTED else attempts(max(calls, key=lambda call: call.tries)))
        for state, calls in groups.items()
    )


def told(call: CallRecord) -> str:
    """A call as one line."""
    problem = f": {call.problem}" if call.problem else ""
    return f"{call.app} body {call.body}: {call.state.value}{attempts(call)}{problem}"


def attempts(call: CallRecord) -> str:
    """` (3 attempts, 1 unknown, 503)`"""
    words = [
        call.tries and f"{call.tries} {'attempt' if call.tries == 1 else 'attempts'}",
        call.unknown and f"{call.unknown} unknown",
        call.status and str(call.status),
    ]
    said = ", ".join(word for word in words if word)
    return f" ({said})" if said else ""


def page(record: Record, no_bodies: str = "were erased") -> Iterator[str]:
    """The lines of a full record; `no_bodies` says why it has no bodies."""
    for name, value in as_json(record).items():
        if name != "calls":
            yield f"{name:<12}  {'' if value is None else escaped(value)}".rstrip()
    yield "calls"
    yield from (f"  {escaped(told(call))}" for call in record.calls)
    yield "bodies"
    for number, body in enumerate(record.bodies):
        yield f"  {number}" if body else f"  {number} was erased"
        if body:
            yield from indented_json(body, "    ")
    if record.calls and not record.bodies:
        yield f"  {no_bodies}"


def as_json(record: Record) -> dict[str, Any]:
    """A record without its bodies."""
    names = [each.name for each in fields(Record) if each.name != "bodies"]
    left_out = {reason: list(user_ids) for reason, user_ids in record.left_out}
    return {name: _plain(getattr(record, name)) for name in names} | {"left_out": left_out}


def bodies_of(record: Record) -> list[Any]:
    """The bodies; None for one that was erased."""
    return [json.loads(body) if body else None for body in record.bodies]


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, CallRecord):
        return _plain(vars(value))
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return value
