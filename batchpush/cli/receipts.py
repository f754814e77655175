"""`receipts`: who left, what was asked of Batch, and what became of it."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import json
import sys
from collections.abc import AsyncIterator, Iterator

from batchpush.cli.arguments import add_json, user_id
from batchpush.cli.deliveries import moment
from batchpush.cli.terminal import CannotDo, escaped
from batchpush.leaving.leaver import FOR_EVER
from batchpush.leaving.receipt import ReceiptState, Removal
from batchpush.leaving.store import Entry
from batchpush.worker import Worker

PURPOSE = (
    "Show the receipts of people who left, after reading back from Batch where their requests "
    "stand. A receipt keeps no id of the person once all is done; --user finds theirs."
)
EXAMPLES = ("receipts", "receipts --user ann --json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--user", metavar="ID", type=user_id, help="only this person's receipt")
    parser.add_argument(
        "--finish",
        action="store_true",
        help="finish everything that is left, as the hourly sweep would, however long it takes",
    )
    add_json(parser)


async def receipts(chosen: argparse.Namespace, made: Worker) -> int:
    if chosen.finish:
        await made.leaver.sweep(FOR_EVER)
    shown = [entry async for entry in _entries(chosen, made)]
    if chosen.user and not shown:
        raise CannotDo(f"there is no receipt of {chosen.user}")
    for entry in shown:
        print(as_json(entry) if chosen.json else "\n".join(page(entry)))
    done = sum(entry.receipt.state is ReceiptState.DONE for entry in shown)
    where = sys.stderr if chosen.json else sys.stdout
    print(f"{done} of {len(shown)} done", file=where)
    return 0 if done == len(shown) else 1


async def _entries(chosen: argparse.Namespace, made: Worker) -> AsyncIterator[Entry]:
    """The receipts, each read again after its requests were read back."""
    leaver = made.leaver
    if chosen.user:
        found = await leaver.receipts.of_user(chosen.user)
        ids = [found.id] if found else []
    else:
        ids = [each.id async for each in leaver.receipts.all(frozenset(ReceiptState))]
    for id_ in ids:
        await leaver.read_back(id_)
        if entry := await leaver.receipts.read(id_):
            yield entry


def page(entry: Entry) -> Iterator[str]:
    receipt = entry.receipt
    yield f"{entry.id[:12]}  {receipt.state.value:<9}  left {moment(receipt.left_at)}"
    for each in receipt.removals:
        yield escaped(f"  {each.app}  {each.who[:12]}  {each.state.value}{_more(each)}")
    erased = receipt.records_erased_at
    yield f"  our records: {f'erased {moment(erased)}' if erased else 'still to be erased'}"


def _more(removal: Removal) -> str:
    said = {"request": removal.request_id, "Batch says": removal.status, "error": removal.error}
    return "".join(f"  {name} {value}" for name, value in said.items() if value)


def as_json(entry: Entry) -> str:
    receipt = entry.receipt
    erased = receipt.records_erased_at
    return json.dumps(
        {
            "id": entry.id,
            "state": receipt.state.value,
            "left_at": moment(receipt.left_at),
            "records_erased_at": moment(erased) if erased else None,
            "removals": [vars(each) | {"state": each.state.value} for each in receipt.removals],
        }
    )
