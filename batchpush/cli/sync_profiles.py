"""`sync-profiles`: show how many people's attributes Batch lacks, or have them sent."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import json
import sys

from batchpush.cli.arguments import add_json, user_id
from batchpush.cli.discovery import load
from batchpush.cli.terminal import CannotDo, Interrupts, show_progress
from batchpush.profiles.mirror import ProfileHandler
from batchpush.worker import Worker

PURPOSE = (
    "Show how many people's attributes Batch lacks, or have tasks send them. Run it again to see "
    "what is left: what Batch has is not sent again."
)
EXAMPLES = ("sync-profiles", "sync-profiles --send --json")
FILE = "handlers.attributes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--send", action="store_true", help="make the tasks that send them")
    parser.add_argument("--after", metavar="USER", type=user_id, help="begin after this user id")
    add_json(parser, "one JSON object")


async def sync_profiles(chosen: argparse.Namespace, made: Worker) -> int:
    if not made.settings.mirror_profiles:
        raise CannotDo("MIRROR_PROFILES is false: nothing of a profile goes to Batch")
    handler = _handler()
    people = lacking = refused = unnamed = tasks = 0
    upto = after = chosen.after or ""
    with Interrupts() as interrupts:
        async for page in made.backfill.pages(after, handler):
            if chosen.send and page.lacking:
                await made.backfill.enqueue(page)
                tasks += 1
            people, lacking = people + page.people, lacking + page.lacking
            refused, unnamed = refused + page.refused, unnamed + page.unnamed
            upto = page.upto
            show_progress(f"{people:,} people read, {lacking:,} to be sent")
            if interrupts.came:
                break
    show_progress("")
    counted = {
        "people": people,
        "lacking": lacking,
        "refused": refused,
        "unnamed": unnamed,
        "tasks": tasks,
    }
    if chosen.json:
        print(json.dumps(counted | {"after": upto if interrupts.came else None}))
    else:
        print(in_words(**counted))
    where = sys.stderr if chosen.json else sys.stdout
    if interrupts.came:
        print(f"stopped before the end: go on with --after {json.dumps(upto)}", file=where)
    elif lacking and not chosen.send:
        print("nothing was sent; add --send to send it", file=where)
    return 1 if interrupts.came else 0


def in_words(people: int, lacking: int, refused: int, unnamed: int, tasks: int) -> str:
    lines = [f"{people:,} people; Batch lacks something of {lacking:,}"]
    if refused:
        lines.append(f"refused by an app, until they change: {refused:,} (batch_profiles says why)")
    if unnamed:
        lines.append(f"without a custom id, so that nothing of them is mirrored: {unnamed:,}")
    if tasks:
        lines.append(f"{tasks:,} tasks made; run it again to see what is left")
    return "\n".join(lines)


def _handler() -> ProfileHandler:
    load()
    handler: ProfileHandler = sys.modules[FILE].profile
    return handler
