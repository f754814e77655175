"""Shared by the commands that use the project's records."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable

from batchpush.cli.terminal import CannotDo, prepare_environment, warn_of_emulators
from batchpush.delivery.ledger import Entry
from batchpush.google.clients import close_realtime_databases
from batchpush.worker import Worker, worker

Command = Callable[[argparse.Namespace], int]
OnRecords = Callable[[argparse.Namespace, Worker], Awaitable[int]]


def on_records(command: OnRecords) -> Command:
    """Run a command with the project's environment and a worker."""

    async def carry_out(chosen: argparse.Namespace) -> int:
        made = worker()
        try:
            return await command(chosen, made)
        finally:
            await made.client.aclose()
            await close_realtime_databases()

    def prepared(chosen: argparse.Namespace) -> int:
        prepare_environment(chosen.project)
        warn_of_emulators()
        return asyncio.run(carry_out(chosen))

    return prepared


async def full_id(made: Worker, beginning: str) -> str:
    """The only id with this beginning; raises `CannotDo` if there is none, or more than one."""
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
