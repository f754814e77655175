"""`erase`: remove a person from all records."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import json
import sys

from batchpush.cli.arguments import add_json, batch_id, user_id
from batchpush.cli.deliveries import heading
from batchpush.cli.terminal import Interrupts, complain, escaped, show_progress
from batchpush.delivery.erase import Erased
from batchpush.delivery.record import Record
from batchpush.worker import Worker

PURPOSE = (
    "Remove a person from all records. Run it after deleting what they wrote, and before deleting "
    "their profile users/ID, which lists their other ids at Batch."
)

EXAMPLES = (
    "erase --user ann --dry-run",
    "erase --user ann",
    "erase --user ann --batch-id 5f2c9d1e --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--user", metavar="ID", type=user_id, required=True, help="the user id of the person"
    )
    parser.add_argument(
        "--batch-id",
        metavar="ID",
        type=batch_id,
        action="append",
        default=[],
        help="an id from `batch` of their profile, if that is deleted; can be repeated",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only show what would be done, and write nothing"
    )
    parser.add_argument(
        "--at-batch",
        action="store_true",
        help="also ask Batch, in every app, to remove them; `receipts` shows the outcome",
    )
    add_json(parser)


async def erase(chosen: argparse.Namespace, made: Worker) -> int:
    person = await made.eraser.person_of(chosen.user, chosen.batch_id, complain)
    changed = left = 0
    with Interrupts() as interrupts:

        def is_to_go_on(read: int) -> bool:
            show_progress(f"{read:,} records read")
            return not interrupts.came

        async for one in made.eraser.erase(person, chosen.dry_run, is_to_go_on):
            print(as_json(one) if chosen.json else page(one, chosen.dry_run))
            changed += bool(one.done)
            left += bool(one.left)
            show_progress(f"{changed:,} changed, {left:,} left")
            if interrupts.came:
                break
    show_progress("")
    is_whole = not interrupts.came and not chosen.dry_run
    if chosen.at_batch and is_whole:
        await made.leaver.by_operator(chosen.user, person.ids, are_records_erased=not left)
        complain("Batch is asked to remove them: `receipts --user` shows what became of it")
    counted = (
        f"{changed} would change, {left} would be left; nothing was written"
        if chosen.dry_run
        else f"{changed} changed, {left} left"
    )
    print(counted, file=sys.stderr if chosen.json else sys.stdout)
    if interrupts.came:
        complain("stopped before the end: run it again, what is erased stays erased")
    return 1 if interrupts.came or (left and not chosen.dry_run) else 0


def page(one: Erased, is_dry_run: bool) -> str:
    done = ", ".join(one.done)
    if done and is_dry_run:
        done = f"would be: {done}"
    about = heading(one.what) if isinstance(one.what, Record) else escaped(one.what)
    return "\n".join([about, *(f"  {escaped(text)}" for text in (done, one.left) if text)])


def as_json(one: Erased) -> str:
    """`id` is null for a document that is not a delivery."""
    id_, document = (
        (one.what.id, one.what.document) if isinstance(one.what, Record) else (None, one.what)
    )
    about = {"id": id_, "document": document, "done": list(one.done), "left": one.left}
    return json.dumps(about)
