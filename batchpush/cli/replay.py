"""`replay`: show what would be sent again, or send it."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from batchpush.cli.arguments import prefix
from batchpush.cli.deliveries import heading, moment, told
from batchpush.cli.records import full_id, read
from batchpush.cli.terminal import escaped
from batchpush.delivery.ledger import Entry
from batchpush.delivery.record import CallRecord, CallState, DeliveryState, Record
from batchpush.delivery.replay import REPLAY_WITHIN
from batchpush.errors import DeliveryUnfinished
from batchpush.google.firestore import WriteConflict
from batchpush.worker import Worker

PURPOSE = "Show what would be sent again, or send it."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="+", type=prefix)
    parser.add_argument("--send", action="store_true", help="send it")
    parser.add_argument(
        "--resend-unknown",
        action="store_true",
        help="also resend calls with an unknown outcome: people may get the push twice",
    )


async def replay(chosen: argparse.Namespace, made: Worker) -> int:
    ids = dict.fromkeys([await full_id(made, each) for each in chosen.ids])
    entries = [await read(made, record_id) for record_id in ids]
    ends = []
    for entry in entries:
        plan = plan_replay(entry.record, chosen.resend_unknown, made.settings.batch_apps)
        print(heading(entry.record))
        if chosen.send and plan.is_sending:
            ends.append(await _replayed(made, entry, chosen.resend_unknown))
        else:
            print("\n".join(f"  {escaped(text)}" for text in plan.lines))
            ends.append(entry.record.state)
    if not chosen.send:
        print("nothing was sent; add --send to send it")
        return 0
    return 0 if all(end is DeliveryState.SENT for end in ends) else 1


async def _replayed(made: Worker, entry: Entry, resend_unknown: bool) -> DeliveryState:
    try:
        record = await made.replay.replay(entry, resend_unknown)
    except (WriteConflict, DeliveryUnfinished):
        print("  another worker resumed it: see `show`")
        return DeliveryState.CLAIMED
    for call in record.calls:
        print(f"  {escaped(told(call))}")
    later = "; the sweep will retry it" if record.state is DeliveryState.RETRY else ""
    print(f"  now {record.state.value}{later}")
    return record.state


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
        told = f"{len(record.chunks)} chunks: calls that Batch has not accepted would be sent"
        return Plan([told], is_sending=True)
    if not record.calls:
        return Plan([f"there is nothing to send: {record.reason}"])
    now = record.updated_at
    after = record.replayed(now=now, best_before=now + REPLAY_WITHIN, resend_unknown=resend_unknown)
    to_send = [call for call in after.calls if call.is_pending]
    if any(not body_of(record, call) for call in to_send):
        return Plan(["its bodies were erased"])
    if unknown := {call.app for call in to_send} - set(apps):
        return Plan([f"BATCH_APPS no longer has {', '.join(sorted(unknown))}"])
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
        return f"{unknown}, would stay (--resend-unknown sends it)"
    return f"{told(before)}, would be sent"
