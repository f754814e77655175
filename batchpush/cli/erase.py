"""`erase`: remove a person from all records."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse

from batchpush.cli.arguments import batch_id, user_id
from batchpush.cli.deliveries import heading
from batchpush.cli.terminal import complain, escaped
from batchpush.delivery.record import Record
from batchpush.worker import Worker

PURPOSE = (
    "Remove a person from all records. Run it after deleting what they wrote, and before deleting "
    "their profile users/ID, which lists their other ids at Batch."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", metavar="ID", type=user_id, required=True)
    parser.add_argument(
        "--batch-id",
        metavar="ID",
        type=batch_id,
        action="append",
        default=[],
        help="an id from the field batch of their profile, if that is deleted; can be repeated",
    )
    parser.add_argument("--dry-run", action="store_true", help="only show what would be done")


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
