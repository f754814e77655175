"""Finds deliveries for a command, page by page, and asks before it reads very many."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import sys
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field

from batchpush.cli.arguments import document_path, prefix, state, user_id, when
from batchpush.cli.records import full_id, read
from batchpush.cli.terminal import CannotDo, Interrupts, show_progress
from batchpush.delivery.record import DeliveryState, Record
from batchpush.delivery.search import USUAL, Search
from batchpush.worker import Worker

PAGE = 100  # records in one answer
ASK_AFTER = 1_000  # records read between two questions
STATES = ", ".join(each.value for each in DeliveryState)


def add_filters(parser: argparse.ArgumentParser, without_states: str) -> None:
    """The options that choose deliveries; `without_states` says what holds without --state."""
    parser.add_argument(
        "--state",
        metavar="STATE",
        nargs="+",
        type=state,
        choices=list(DeliveryState),
        help=f"only in these states: {STATES}; {without_states}",
    )
    parser.add_argument(
        "--user",
        metavar="ID",
        type=user_id,
        help="only what this user was sent or left out of; needs RECIPIENT_INDEX_DAYS",
    )
    parser.add_argument(
        "--document", metavar="PATH", type=document_path, help="only about this document"
    )
    parser.add_argument(
        "--function", metavar="NAME", help="only of this function of main.py, such as new_message"
    )
    parser.add_argument(
        "--since",
        metavar="WHEN",
        type=when,
        help="from this time on: 2026-05-04T10:20 (UTC), or 30m, 2h, 3d ago",
    )
    parser.add_argument(
        "--until", metavar="WHEN", type=when, help="up to this time, in the same form"
    )
    parser.add_argument(
        "--after",
        metavar="ID",
        type=prefix,
        help="continue after this delivery, the last one shown",
    )
    parser.add_argument(
        "--yes",
        action="store_true",
        help=f"continue without asking after each {ASK_AFTER:,} records",
    )


def is_filtered(chosen: argparse.Namespace) -> bool:
    """Whether any filter is given."""
    filters = ("state", "user", "document", "function", "since", "until", "after")
    return any(getattr(chosen, name) is not None for name in filters)


def search_for(chosen: argparse.Namespace, made: Worker) -> Search:
    if chosen.user is not None and not made.settings.recipient_index_days:
        raise CannotDo(
            "a search by user needs RECIPIENT_INDEX_DAYS, which is 0: set it, and deploy; "
            "deliveries from then on are found by user"
        )
    is_about_one = chosen.user is not None or chosen.document is not None
    usual: Collection[DeliveryState] = () if is_about_one else USUAL
    return Search(
        states=chosen.state or [each for each in DeliveryState if each not in usual],
        person=chosen.user,
        document=chosen.document,
        function=chosen.function,
        since=chosen.since,
        until=chosen.until,
    )


@dataclass
class Finder:
    """Reads what a search finds. `is_to_go_on` is asked after each `ASK_AFTER` records."""

    made: Worker
    search: Search
    limit: int
    after: Record | None = None
    is_to_go_on: Callable[[str], bool] = lambda question: True
    interrupts: Interrupts = field(default_factory=Interrupts)
    is_all: bool = True  # whether nothing was left unread
    last: Record | None = None  # the last one read, if the database sorts: go on after it

    async def find(self) -> list[Record]:
        """The newest records up to the limit."""
        found = [record async for record in self._matching()]
        self.is_all = self.is_all and len(found) <= self.limit
        if self.search.is_newest_first and len(found) > self.limit:
            # Where it sorts by day, the one too many need not be the oldest.
            found.pop()
            self.last = found[-1]
        found.sort(key=lambda record: record.created_at, reverse=True)
        return found[: self.limit]

    async def _matching(self) -> AsyncIterator[Record]:
        """One more than the limit, or all where the database does not sort them by time."""
        limit = self.limit + 1 if self.search.is_newest_first else None
        ledger, seen, matching = self.made.ledger, 0, 0
        query = self.search.query(
            ledger.collection, self.after, limit=min(PAGE, limit) if limit else PAGE
        )
        async for page in ledger.pages(query):
            for record in page:
                if self.search.matches(record):
                    matching += 1
                    yield record
                    if matching == limit:
                        return
            before, seen = seen, seen + len(page)
            if page and self.search.is_newest_first:
                self.last = page[-1]
            told = f"{seen:,} deliveries read, {matching:,} found"
            show_progress(told)
            is_asked = seen // ASK_AFTER > before // ASK_AFTER
            if self.interrupts.came or (is_asked and not self.is_to_go_on(f"{told}; read on?")):
                self.is_all = False
                return


async def finder(chosen: argparse.Namespace, made: Worker, interrupts: Interrupts) -> Finder:
    """For the chosen filters and limit."""
    after = (await read(made, await full_id(made, chosen.after))).record if chosen.after else None
    search = search_for(chosen, made)

    def is_to_go_on(question: str) -> bool:
        return bool(chosen.yes) or _answers_yes(question)

    return Finder(made, search, chosen.limit, after, is_to_go_on, interrupts)


def _answers_yes(question: str) -> bool:
    if not sys.stdin.isatty():
        print(f"batchpush: {question} Give --yes, or narrow it down", file=sys.stderr)
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
