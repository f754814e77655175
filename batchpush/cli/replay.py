"""`replay`: show what would be sent again, or send it."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from batchpush.cli.arguments import AN_ID, add_json, count, prefix
from batchpush.cli.deliveries import heading, moment, told
from batchpush.cli.finding import add_filters, finder, is_filtered
from batchpush.cli.records import full_id, read
from batchpush.cli.terminal import CannotDo, Interrupts, escaped, show_progress
from batchpush.delivery.ledger import Entry
from batchpush.delivery.record import (
    CallRecord,
    CallState,
    DeliveryState,
    Record,
    why_not_callable,
)
from batchpush.delivery.replay import REPLAY_WITHIN
from batchpush.errors import DeliveryUnfinished
from batchpush.google.firestore import WriteConflict
from batchpush.worker import Worker

PURPOSE = "Show what would be sent again, or send it."
EXAMPLES = (
    "replay 04b11cac6253",
    "replay 04b11cac6253 --send",
    "replay --state HELD --since 2h --resend-unknown --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="*", type=prefix, help=AN_ID)
    add_filters(parser, "needed unless ids are given")
    parser.add_argument(
        "--limit",
        metavar="N",
        type=count,
        default=1_000,
        help="at most N deliveries (default: 1000)",
    )
    parser.add_argument(
        "--send", action="store_true", help="send it; without it, only show what would be sent"
    )
    parser.add_argument(
        "--resend-unknown",
        action="store_true",
        help="also resend requests whose outcome is unknown: people may get the push twice",
    )
    add_json(parser)


async def replay(chosen: argparse.Namespace, made: Worker) -> int:
    with Interrupts() as interrupts:
        ids, is_all = await _ids(chosen, made, interrupts)
        ends: list[Replayed] = []
        for number, record_id in enumerate(ids):
            if interrupts.came:
                break
            show_progress(f"{number:,} of {len(ids):,}")
            ends.append(await _one(chosen, made, await read(made, record_id)))
    show_progress("")
    _conclude(chosen, ends, len(ids) if is_all else None)
    is_done = len(ends) == len(ids) and all(end.state is DeliveryState.SENT for end in ends)
    return 0 if is_done or not chosen.send else 1


async def _ids(
    chosen: argparse.Namespace, made: Worker, interrupts: Interrupts
) -> tuple[list[str], bool]:
    """What to replay, and whether that is everything that was asked for."""
    if chosen.ids and is_filtered(chosen):
        raise CannotDo("give either ids or filters such as --state")
    if chosen.ids:
        return [*dict.fromkeys([await full_id(made, each) for each in chosen.ids])], True
    if not chosen.state:
        raise CannotDo("give the ids of deliveries, or --state with the states to replay")
    searching = await finder(chosen, made, interrupts)
    found = await searching.find()
    return [record.id for record in found], searching.is_all


@dataclass(frozen=True)
class Replayed:
    """The state of a delivery now, and whether there was something to send."""

    state: DeliveryState
    is_sending: bool


async def _one(chosen: argparse.Namespace, made: Worker, entry: Entry) -> Replayed:
    """Show the plan, or carry it out."""
    plan = plan_replay(entry.record, chosen.resend_unknown, made.settings.callable_apps)
    state, lines = entry.record.state, plan.lines
    if chosen.send and plan.is_sending:
        state, lines = await _replayed(made, entry, chosen.resend_unknown)
    as_data = as_json(entry.record, state, lines, plan.is_sending)
    print(as_data if chosen.json else page(entry.record, lines))
    return Replayed(state, plan.is_sending)


def _conclude(chosen: argparse.Namespace, ends: Sequence[Replayed], of: int | None) -> None:
    """Say what was not done; `of` is None if there may be more than what was found."""
    where = sys.stderr if chosen.json else sys.stdout
    if (done := len(ends)) != of:
        total = f" of {of:,}" if of else "; there may be more"
        rest = "run it again for the rest: what was sent is no longer found"
        print(f"{done:,}{total}; {rest}" if chosen.send else f"{done:,}{total}", file=where)
    if not chosen.send:
        add = "; add --send to send it" if any(end.is_sending for end in ends) else ""
        print(f"nothing was sent{add}", file=where)


async def _replayed(
    made: Worker, entry: Entry, resend_unknown: bool
) -> tuple[DeliveryState, Sequence[str]]:
    """The state after the replay, and what to say of it."""
    try:
        record = await made.replay.replay(entry, resend_unknown)
    except (WriteConflict, DeliveryUnfinished):
        return DeliveryState.CLAIMED, ["another worker resumed it: see `show`"]
    return record.state, outcome(record)


def outcome(record: Record) -> list[str]:
    """What to say of a record after its replay."""
    later = "; the sweep will retry it" if record.state is DeliveryState.RETRY else ""
    return [*map(told, record.calls), f"now {record.state.value}{later}"]


def page(record: Record, lines: Iterable[str]) -> str:
    return "\n".join([heading(record), *(f"  {escaped(line)}" for line in lines)])


def as_json(record: Record, state: DeliveryState, lines: Iterable[str], is_sending: bool) -> str:
    """`state` is the one that it is in now."""
    about = {"id": record.id, "function": record.function, "document": record.document}
    return json.dumps(about | {"state": state.value, "says": list(lines), "sends": is_sending})


@dataclass(frozen=True)
class Plan:
    lines: Sequence[str]
    is_sending: bool = False


def plan_replay(record: Record, resend_unknown: bool, apps: Iterable[str]) -> Plan:
    """What a replay would do, call by call, or why it cannot."""
    if record.state is DeliveryState.CLAIMED:
        return Plan(["it is being sent, or the sweep will resume it"])
    if record.state is DeliveryState.WAITING and record.not_before:
        return Plan([f"it waits until {moment(record.not_before)}"])
    if record.chunks:
        told = f"{len(record.chunks)} chunks: requests that Batch has not accepted would be sent"
        return Plan([told], is_sending=True)
    if not record.calls:
        return Plan([f"there is nothing to send: {record.reason}"])
    now = record.updated_at
    after = record.replayed(now=now, best_before=now + REPLAY_WITHIN, resend_unknown=resend_unknown)
    to_send = [call for call in after.calls if call.is_pending]
    if any(not body_of(record, call) for call in to_send):
        return Plan(["its bodies were erased"])
    if unknown := {call.app for call in to_send} - set(apps):
        return Plan([*map(why_not_callable, sorted(unknown))])
    lines = [would(before, after) for before, after in zip(record.calls, after.calls, strict=True)]
    return Plan(lines, is_sending=bool(to_send))


def body_of(record: Record, call: CallRecord) -> str:
    return record.bodies[call.body] if call.body < len(record.bodies) else ""


def would(before: CallRecord, after: CallRecord) -> str:
    """What a replay would do with one call."""
    if before.state is CallState.ACCEPTED:
        return f"{told(before)}, would stay"
    if before.unknown and before.state is not CallState.PENDING:
        unknown = f"{told(before)}; its outcome is unknown"
        if after.is_pending:
            return f"{unknown}, would be sent and may arrive twice"
        return f"{unknown}, would stay (--send --resend-unknown sends it)"
    return f"{told(before)}, would be sent"
