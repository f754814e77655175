"""`stats`: pull the results that can still change, store and show them."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import sys
from datetime import timedelta

from batchpush.campaigns.results import as_csv, as_json_lines, as_table
from batchpush.cli.arguments import when
from batchpush.worker import Worker

PURPOSE = "Ask Batch for the results that can still change, store them in Firestore, and show them."
EXAMPLES = (
    "stats --since 30d --csv",
    "stats --since 2026-05-04 --json",
)
MAX_DAYS = timedelta(days=180)  # of results; Batch returns six months at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--since",
        metavar="WHEN",
        type=when,
        default="7d",
        help="the first day: 2026-05-04, or 7d, 30d ago (default: 7d; at most 180d)",
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        "--csv",
        action="store_const",
        dest="form",
        const=as_csv,
        default=as_table,
        help="print CSV instead of a table",
    )
    forms.add_argument(
        "--json",
        action="store_const",
        dest="form",
        const=as_json_lines,
        help="print one JSON object per line",
    )


async def stats(chosen: argparse.Namespace, made: Worker) -> int:
    pull = made.pull(max(chosen.since, made.clock.now() - MAX_DAYS).date())
    await pull.run()
    for app in pull.dev_apps:
        print(f"{app}: a Dev key has no results", file=sys.stderr)
    print(chosen.form(await pull.results.since(pull.since or made.clock.now().date())))
    if pull.failed:
        print(f"{pull.failed} of {pull.asked} requests failed: try again later", file=sys.stderr)
    return 1 if pull.failed else 0
