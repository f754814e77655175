"""Our functions beside what one would write instead, in one run on one machine.

    make bench               prints the tables, in about 12 minutes
    make bench WRITE=1       and writes them into docs/performance.md
    make bench BESIDE=DIR    our functions beside those of another checkout, and of nothing else

Every function does the same. `outbox`: a Firestore event comes in, is claimed in Firestore, goes to
Batch for two apps, and what came of it is recorded, and told to whoever wrote the document.
`new_message`: a conversation and three profiles are read, and the message goes to two people in two
languages. Ours do more: they validate the push, read their key from Secret Manager, count the
sender's pushes, and write their log. The functions take turns, so that a busy moment of the machine
meets them all; a ratio is the median of those of each round.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.scenarios import AUDIENCES, CHAT, OUTBOX, SCENARIOS, Scenario, seed
from benchmarks.servers import (
    EMPTY,
    OURS,
    PEER_SERVERS,
    Running,
    Server,
    checkout,
    first_answer,
    started,
)
from local.tools import free_port
from tests.tables import machine, write

ROUNDS = 3
COLD_STARTS = 7
SECONDS = 4.0  # of load, for one function in one round


@dataclass(frozen=True)
class Cell:
    """A row of the table: a document, Batch's milliseconds, and events at once."""

    scenario: Scenario
    delay: int
    at_once: int


CELLS = (
    Cell(OUTBOX, 0, 1),
    Cell(OUTBOX, 0, 16),
    Cell(OUTBOX, 0, 80),
    Cell(OUTBOX, 50, 16),
    Cell(OUTBOX, 50, 80),
    Cell(CHAT, 0, 16),
    Cell(CHAT, 50, 80),
)
GROWTH = tuple(Cell(SCENARIOS[str(readers)], 0, 16) for readers in AUDIENCES)


@dataclass(frozen=True)
class Measured:
    """One function under one load, in one round."""

    events_per_second: float
    p50: float
    p99: float
    cpu: float  # milliseconds for one event


Results = dict[Cell, dict[Server, list[Measured]]]


class Provider:
    """The Batch of this run, in a process of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def calls(self) -> int:
        with urllib.request.urlopen(self.url) as reply:  # noqa: S310
            return int(reply.read())

    def answer_after(self, milliseconds: int) -> None:
        request = urllib.request.Request(f"{self.url}/{milliseconds}", method="PUT")  # noqa: S310
        urllib.request.urlopen(request).close()  # noqa: S310


@contextmanager
def provider() -> Iterator[Provider]:
    running = Provider(free_port())
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.provider", str(running.port)])
    try:
        for _ in range(1000):
            try:
                running.calls()
                break
            except OSError:
                time.sleep(0.01)
        yield running
    finally:
        process.terminate()
        process.wait()


first_event = 0


def load(port: int, seconds: float, at_once: int, name: str) -> dict[str, Any]:
    """Every event of a run has a number of its own."""
    global first_event
    first_event += 1_000_000
    arguments = map(str, (port, seconds, at_once, first_event, name))
    command = [sys.executable, "-m", "benchmarks.load", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measure(running: Running, batch: Provider, cell: Cell) -> Measured:
    batch.answer_after(cell.delay)
    before = batch.calls()
    with running.measured() as cpu:
        result = load(running.port, SECONDS, cell.at_once, cell.scenario.name)
    calls = batch.calls() - before
    if result["failed"] or calls != cell.scenario.calls * result["events"]:
        raise running.fails(f"made {calls} calls in {result}")
    return Measured(
        events_per_second=result["events"] / result["seconds"],
        p50=result["p50"],
        p99=result["p99"],
        cpu=cpu[0] / result["events"] * 1000,
    )


def rounds(running: list[Running], batch: Provider, cells: Iterable[Cell]) -> Results:
    """Each cell is measured on the servers that run its function."""
    results: Results = {cell: {} for cell in cells}
    for number in range(ROUNDS):
        for cell, measured in results.items():
            serving = [each for each in running if each.scenario.function == cell.scenario.function]
            turn = number % len(serving)
            for each in serving[turn:] + serving[:turn]:
                one = measure(each, batch, cell)
                measured.setdefault(each.server, []).append(one)
                say(f"{each.server.name} {cell.scenario.name} {cell.delay} {cell.at_once}: {one}")
    return results


def cold_starts(servers: Iterable[Server], batch: Provider, log: Path) -> dict[Server, list[float]]:
    """Milliseconds from the start of the process to the answer to its first event."""
    found: dict[Server, list[float]] = {server: [] for server in servers}
    batch.answer_after(0)
    for number in range(COLD_STARTS):
        for server, times in found.items():
            began = time.perf_counter()
            with started(server, OUTBOX, batch.url, log) as running:
                first_answer(running, number)
                times.append((time.perf_counter() - began) * 1000)
    return found


# The table


def table_of_cells(results: Results) -> list[str]:
    lines = [
        "| function | Batch answers after | events at once | | events/s | batchpush is faster by "
        "| p50 ms | p99 ms | CPU ms per event |",
        "|---|---:|---:|---|---:|---|---:|---:|---:|",
    ]
    for cell, of_cell in results.items():
        for server, rounds_of in of_cell.items():
            ratio = "" if server == OURS else spread(of_cell[OURS], rounds_of)
            speed, cpu = median(rounds_of, "events_per_second"), median(rounds_of, "cpu")
            p50, p99 = median(rounds_of, "p50"), median(rounds_of, "p99")
            lines.append(
                f"| `{cell.scenario.function}` | {cell.delay} ms | {cell.at_once} | {server.name} "
                f"| {speed:,.0f} | {ratio} | {p50:.0f} | {p99:.0f} | {cpu:.2f} |"
            )
    return lines


def table_of_growth(results: Results) -> list[str]:
    servers = [OURS, *(server for server in next(iter(results.values())) if server != OURS)]
    names = " | ".join(f"{server.name}: events/s | CPU ms per event" for server in servers)
    lines = [f"| recipients | calls | {names} |", "|---:" * (2 + 2 * len(servers)) + "|"]
    for cell, of_cell in results.items():
        costs = " | ".join(
            f"{median(of_cell[server], 'events_per_second'):,.0f} "
            f"| {median(of_cell[server], 'cpu'):.2f}"
            for server in servers
        )
        lines.append(f"| {cell.scenario.name} | {cell.scenario.calls} | {costs} |")
    return lines


def table_of_servers(memory: dict[Server, float], cold: dict[Server, list[float]]) -> list[str]:
    lines = ["| | memory after it | cold start |", "|---|---:|---:|"]
    for server, times in cold.items():
        megabytes = f"{memory[server]:.0f} MB" if server in memory else ""
        lines.append(f"| {server.name} | {megabytes} | {statistics.median(times):.0f} ms |")
    return lines


def median(rounds_of: Iterable[Measured], name: str) -> float:
    values: list[float] = [getattr(each, name) for each in rounds_of]
    return statistics.median(values)


def spread(ours: list[Measured], theirs: list[Measured]) -> str:
    ratios = [
        our.events_per_second / their.events_per_second
        for our, their in zip(ours, theirs, strict=True)
    ]
    return f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"


def node() -> str:
    version = subprocess.run(["node", "--version"], capture_output=True, text=True)  # noqa: S607
    return f"Node {version.stdout.strip().removeprefix('v')}"


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--write", action="store_true", help="write it into docs/performance.md")
    parser.add_argument(
        "--beside", metavar="DIR", type=Path, help="measure ours beside the one of that checkout"
    )
    options = parser.parse_args()
    peers = (checkout(options.beside),) if options.beside else PEER_SERVERS
    asyncio.run(seed())
    with tempfile.TemporaryDirectory() as directory, provider() as batch, ExitStack() as stack:
        log = Path(directory, "functions.log")
        floor = load(batch.port, 2.0, 80, OUTBOX.name)
        print(f"Load and provider alone: {floor['events'] / floor['seconds']:,.0f} requests/s\n")
        cold = cold_starts((OURS, *peers, EMPTY), batch, log)
        running = []
        for scenario, server in itertools.product((OUTBOX, CHAT), (OURS, *peers)):
            one = stack.enter_context(started(server, scenario, batch.url, log))
            first_answer(one, 0)
            load(one.port, 2.0, 80, scenario.name)  # not measured: it is warm afterwards
            running.append(one)
        results = rounds(running, batch, CELLS)
        memory = {each.server: each.megabytes() for each in running if each.scenario == OUTBOX}
        growing = [each for each in running if each.server in (OURS, peers[-1])]
        growth = rounds(growing, batch, GROWTH)
    found = [table_of_cells(results), table_of_growth(growth), table_of_servers(memory, cold)]
    text = f"{machine(node())}:\n\n" + "\n\n".join("\n".join(lines) for lines in found)
    print(text)
    if options.write:
        write("performance.md", "make bench WRITE=1", text)


if __name__ == "__main__":
    main()
