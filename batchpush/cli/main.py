"""The command line: before a deployment, `check`, `preview` and `send-test`; after it, what became
of the pushes, and what can be done about it.
"""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import asyncio
import io
import json
import os
import re
import sys
from collections.abc import (
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from batchpush.campaigns.results import as_csv, as_json_lines, as_table
from batchpush.cli import check as checking
from batchpush.cli import preview as previewing
from batchpush.cli import send_test as testing
from batchpush.cli.terminal import (
    CannotDo,
    batch_id,
    escaped,
    indented_json,
    prepare_environment,
    user_id,
    warn_of_emulators,
)
from batchpush.delivery.ledger import Entry
from batchpush.delivery.record import CallRecord, CallState, Record, State
from batchpush.delivery.replay import REPLAY_WITHIN
from batchpush.errors import ConfigurationError, DeliveryUnfinished, TryAgainLater
from batchpush.google.firestore import WriteConflict
from batchpush.worker import Worker, worker

SHORT_ID = 12  # characters of an id that a list shows
MIN_ID = 8  # characters of one that a command takes
MAX_DAYS = timedelta(days=180)  # of results; Batch gives no more than six months

Command = Callable[[argparse.Namespace], int]
OnRecords = Callable[[argparse.Namespace, Worker], Awaitable[int]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 all is done, 1 something is left, 2 the command could not be carried out."""
    from google.auth.exceptions import GoogleAuthError

    chosen = parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that is not UTF-8
    try:
        command: Command = chosen.command
        code = command(chosen)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head` has seen enough; what Python still flushes goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (CannotDo, ConfigurationError, TryAgainLater) as error:
        problem = str(error)
    except GoogleAuthError as error:
        problem = f"{type(error).__name__}: try gcloud auth application-default login"
    except KeyboardInterrupt:
        problem = "interrupted; the sweep finishes what was being sent"
    complain(problem)
    return 2


def complain(text: str) -> None:
    print(f"batchpush: {escaped(text)}", file=sys.stderr)


def on_records(command: OnRecords) -> Command:
    """A command that needs the project's records."""

    async def carry_out(chosen: argparse.Namespace) -> int:
        made = worker()
        try:
            return await command(chosen, made)
        finally:
            await made.client.aclose()

    def prepared(chosen: argparse.Namespace) -> int:
        prepare_environment(chosen.project)
        warn_of_emulators()
        return asyncio.run(carry_out(chosen))

    return prepared


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--project", metavar="ID", help="the Google Cloud project, else GOOGLE_CLOUD_PROJECT"
    )
    top = argparse.ArgumentParser(
        prog="python -m batchpush", description="From a deployment to its pushes."
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, purpose: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, parents=[common], help=purpose, description=purpose)
        added.set_defaults(command=command)
        return added

    checking.add_arguments(add("check", checking.check, checking.PURPOSE))
    previewing.add_arguments(add("preview", previewing.preview, previewing.PURPOSE))
    testing.add_arguments(add("send-test", testing.send_test, testing.PURPOSE))

    listing = add("deliveries", on_records(deliveries), "List deliveries, the newest first.")
    listing.add_argument(
        "--state",
        nargs="+",
        type=state,
        default=[each for each in State if each not in (State.SENT, State.OBSOLETE)],
        help="only in these states: " + ", ".join(each.value for each in State) + "; else all but "
        "SENT and OBSOLETE",
    )
    listing.add_argument(
        "--since", metavar="WHEN", type=when, help="2026-05-04T10:20 (UTC), or 30m, 2h, 3d ago"
    )
    listing.add_argument("--limit", metavar="N", type=count, default=50, help="at most (50)")
    listing.add_argument("--json", action="store_true", help="one JSON object per line")

    showing = add("show", on_records(show), "Show all of a delivery.")
    showing.add_argument("id", metavar="ID", type=prefix, help="its id, or how it begins")

    replaying = add("replay", on_records(replay), "Say what would be sent again, or send it.")
    replaying.add_argument("ids", metavar="ID", nargs="+", type=prefix)
    replaying.add_argument("--send", action="store_true", help="do it")
    replaying.add_argument(
        "--resend-unknown",
        action="store_true",
        help="also what Batch may have accepted: people may get it twice",
    )

    erasing = add(
        "erase",
        on_records(erase),
        "Remove a person from all records: run it after what they wrote is deleted, and before "
        "their profile users/ID is, which says what else Batch knows them by.",
    )
    erasing.add_argument("--user", metavar="ID", type=user_id, required=True)
    erasing.add_argument(
        "--batch-id",
        metavar="ID",
        type=batch_id,
        action="append",
        default=[],
        help="an id that their profile had in batch, if it is deleted; may be given several times",
    )
    erasing.add_argument("--dry-run", action="store_true", help="only say what would be done")

    results = add(
        "stats",
        on_records(stats),
        "Ask Batch for the results that can still change, store them in Firestore, and show them.",
    )
    results.add_argument(
        "--since", metavar="WHEN", type=when, default="7d", help="from this day on (7d), to 180d"
    )
    forms = results.add_mutually_exclusive_group()
    forms.add_argument("--csv", action="store_const", dest="form", const=as_csv, default=as_table)
    forms.add_argument(
        "--json", action="store_const", dest="form", const=as_json_lines, help="an object per line"
    )
    return top


# Arguments: argparse tells what a parser raises.


def state(text: str) -> State:
    return State(text.upper())


def count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError("expected a whole number from 1")
    return int(text)


def when(text: str) -> datetime:
    """A time, which is UTC unless it says otherwise, or a span before now."""
    if span := re.fullmatch(r"([0-9]{1,5})([mhd])", text):
        unit = {"m": "minutes", "h": "hours", "d": "days"}[span[2]]
        return datetime.now(UTC) - timedelta(**{unit: int(span[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("expected 2026-05-04T10:20, or 30m, 2h, 3d") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def prefix(text: str) -> str:
    if not re.fullmatch(rf"[0-9a-fA-F]{{{MIN_ID},64}}", text):
        raise argparse.ArgumentTypeError(f"expected {MIN_ID} to 64 hex characters of an id")
    return text.lower()


# Commands


async def deliveries(chosen: argparse.Namespace, made: Worker) -> int:
    found = [
        replace(record, bodies=())
        async for record in made.ledger.each(chosen.state)
        if chosen.since is None or record.created_at >= chosen.since
    ]
    # Sorted here: an index of a time limits how many records can be written per second.
    found.sort(key=lambda record: record.created_at, reverse=True)
    shown = found[: chosen.limit]
    for record in shown:
        print(json.dumps(as_json(record)) if chosen.json else line(record))
    counted = f"{len(found)} {'delivery' if len(found) == 1 else 'deliveries'}"
    if len(shown) < len(found):
        counted = f"{len(shown)} of {counted}; --limit shows more"
    print(counted, file=sys.stderr if chosen.json else sys.stdout)
    return 0


async def show(chosen: argparse.Namespace, made: Worker) -> int:
    entry = await read(made, await full_id(made, chosen.id))
    print("\n".join(page(entry.record, where_bodies_went(entry.record, made))))
    return 0


def where_bodies_went(record: Record, made: Worker) -> str:
    """Why a record with calls has no bodies; an erasure is a write, the sweep's deletion is not."""
    days = made.settings.keep_bodies_days
    is_old = made.clock.now() >= record.updated_at + timedelta(days=days)
    if record.state is State.SENT and is_old:
        return f"were deleted after {days} days (KEEP_BODIES_DAYS)"
    return "were erased"


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
        print("nothing was sent; --send does it")
        return 0
    return 0 if all(end is State.SENT for end in ends) else 1


async def _replayed(made: Worker, entry: Entry, resend_unknown: bool) -> State:
    try:
        record = await made.replay.replay(entry, resend_unknown)
    except (WriteConflict, DeliveryUnfinished):
        print("  somebody else took it up: see `show`")
        return State.CLAIMED
    for call in record.calls:
        print(f"  {escaped(told(call))}")
    later = "; the sweep tries again" if record.state is State.RETRY else ""
    print(f"  now {record.state.value}{later}")
    return record.state


async def erase(chosen: argparse.Namespace, made: Worker) -> int:
    person = await made.eraser.person_of(chosen.user, chosen.batch_id, complain)
    changed = left = 0
    async for one in made.eraser.erase(person, chosen.dry_run):
        told_done = ", ".join(one.done)
        if told_done and chosen.dry_run:
            told_done = f"would be: {told_done}"
        print(heading(one.what) if isinstance(one.what, Record) else escaped(one.what))
        print("\n".join(f"  {escaped(text)}" for text in (told_done, one.left) if text))
        changed += bool(one.done)
        left += bool(one.left)
    print(f"{changed} changed, {left} left" + ("; nothing was written" if chosen.dry_run else ""))
    return 1 if left and not chosen.dry_run else 0


async def stats(chosen: argparse.Namespace, made: Worker) -> int:
    pull = made.pull(max(chosen.since, made.clock.now() - MAX_DAYS).date())
    await pull.run()
    for app in pull.dev_apps:
        print(f"{app}: a Dev key has no statistics", file=sys.stderr)
    print(chosen.form(await pull.results.since(pull.since or made.clock.now().date())))
    if pull.failed:
        print(f"{pull.failed} of {pull.asked} calls failed: try again later", file=sys.stderr)
    return 1 if pull.failed else 0


# Finding records


async def full_id(made: Worker, beginning: str) -> str:
    """The id that begins so; raises `CannotDo` if there is none, or another one."""
    ids = await made.ledger.beginning_with(beginning, limit=2)
    if not ids:
        raise CannotDo(f"there is no delivery {beginning}")
    if len(ids) > 1:
        raise CannotDo(f"more than one delivery begins with {beginning}")
    return ids[0]


async def read(made: Worker, record_id: str) -> Entry:
    entry = await made.ledger.read(record_id)
    if entry is None:
        raise CannotDo(f"there is no delivery {record_id}")
    return entry


# Words


def line(record: Record) -> str:
    """A record in a list."""
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
    """`ios accepted, android 2 accepted + 1 refused (3 tries, 400)`"""
    apps: dict[str, dict[CallState, list[CallRecord]]] = {}
    for call in calls:
        apps.setdefault(call.app, {}).setdefault(call.state, []).append(call)
    return ", ".join(f"{app} {_in_states(groups)}" for app, groups in apps.items())


def _in_states(groups: Mapping[CallState, Sequence[CallRecord]]) -> str:
    is_one = sum(map(len, groups.values())) == 1
    return " + ".join(
        ("" if is_one else f"{len(calls)} ")
        + state.value
        + ("" if state is CallState.ACCEPTED else tries(max(calls, key=lambda call: call.tries)))
        for state, calls in groups.items()
    )


def told(call: CallRecord) -> str:
    """A call on a line of its own."""
    problem = f": {call.problem}" if call.problem else ""
    return f"{call.app} body {call.body}: {call.state.value}{tries(call)}{problem}"


def tries(call: CallRecord) -> str:
    """` (3 tries, 1 unknown, 503)`"""
    words = [
        call.tries and f"{call.tries} {'try' if call.tries == 1 else 'tries'}",
        call.unknown and f"{call.unknown} unknown",
        call.status and str(call.status),
    ]
    said = ", ".join(word for word in words if word)
    return f" ({said})" if said else ""


def page(record: Record, no_bodies: str = "were erased") -> Iterator[str]:
    """All of a record; `no_bodies` says why it has none."""
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
    return {name: _plain(getattr(record, name)) for name in names}


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


# What a replay would do


@dataclass(frozen=True)
class Plan:
    lines: Sequence[str]
    is_sending: bool = False


def plan_replay(record: Record, resend_unknown: bool, apps: Iterable[str]) -> Plan:
    """What a replay does, call by call, or why there is none."""
    if record.state is State.CLAIMED:
        return Plan(["somebody is sending it, or the sweep will take it up"])
    if record.state is State.WAITING:
        return Plan([f"it waits until {_plain(record.not_before)}"])
    if record.chunks:
        told = f"{len(record.chunks)} chunks: what Batch has not accepted of them would be sent"
        return Plan([told], is_sending=True)
    if not record.calls:
        return Plan([f"there is nothing to send: {record.reason}"])
    now = record.updated_at
    after = record.replayed(now=now, best_before=now + REPLAY_WITHIN, resend_unknown=resend_unknown)
    to_send = [call for call in after.calls if call.is_pending]
    if any(not body_of(record, call) for call in to_send):
        return Plan(["its bodies were erased"])
    if unknown := {call.app for call in to_send} - set(apps):
        return Plan([f"BATCH_APPS has no {', '.join(sorted(unknown))} any more"])
    lines = [would(before, after) for before, after in zip(record.calls, after.calls, strict=True)]
    return Plan(lines, is_sending=bool(to_send))


def body_of(record: Record, call: CallRecord) -> str:
    return record.bodies[call.body] if call.body < len(record.bodies) else ""


def would(before: CallRecord, after: CallRecord) -> str:
    """What a replay does with one call."""
    if before.state is CallState.ACCEPTED:
        return f"{told(before)}, stays"
    if before.unknown and before.state is not CallState.PENDING:
        doubt = f"{told(before)}; nobody knows whether Batch took it"
        if after.is_pending:
            return f"{doubt}, would be sent and may come twice"
        return f"{doubt}, stays (--resend-unknown sends it)"
    return f"{told(before)}, would be sent"
