"""Our function beside what one would write instead, in one run on one machine.

    make bench               prints the table, in less than 10 minutes
    make bench WRITE=1       and puts it into README.md
    make bench BESIDE=DIR    our function beside the one of another checkout, and of nothing else

Every function does the same: a Firestore event comes in, is claimed in Firestore, goes to Batch
for two apps, and what came of it is recorded, and told to whoever wrote the document. Ours is
`outbox`, the one that reads no other documents. It does more: it validates the push, reads its key
from Secret Manager, and writes its log. The functions take turns, so that a busy moment of the
machine meets them all; a ratio is the median of those of each round.
"""

import argparse
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
CELLS = ((0, 16), (0, 80), (50, 16), (50, 80))  # Batch's milliseconds, events at once


@dataclass(frozen=True)
class Measured:
    """One function under one load, in one round."""

    events_per_second: float
    p50: float
    p99: float
    cpu: float  # milliseconds for one event


Results = dict[tuple[int, int], dict[Server, list[Measured]]]


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


def load(port: int, seconds: float, concurrency: int) -> dict[str, Any]:
    """Every event of a run has a number of its own."""
    global first_event
    first_event += 1_000_000
    arguments = map(str, (port, seconds, concurrency, first_event))
    command = [sys.executable, "-m", "benchmarks.load", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measure(running: Running, batch: Provider, cell: tuple[int, int]) -> Measured:
    delay, concurrency = cell
    batch.answer_after(delay)
    before = batch.calls()
    with running.measured() as cpu:
        result = load(running.port, SECONDS, concurrency)
    calls = batch.calls() - before
    if result["failed"] or calls != 2 * result["events"]:
        raise running.fails(f"made {calls} calls in {result}")
    return Measured(
        events_per_second=result["events"] / result["seconds"],
        p50=result["p50"],
        p99=result["p99"],
        cpu=cpu[0] / result["events"] * 1000,
    )


def rounds(running: list[Running], batch: Provider) -> Results:
    results: Results = {cell: {each.server: [] for each in running} for cell in CELLS}
    for number in range(ROUNDS):
        for cell in CELLS:
            turn = number % len(running)
            for each in running[turn:] + running[:turn]:
                measured = measure(each, batch, cell)
                results[cell][each.server].append(measured)
                say(f"{each.server.name} {cell}: {measured}")
    return results


def cold_starts(servers: Iterable[Server], batch: Provider, log: Path) -> dict[Server, list[float]]:
    """Milliseconds from the start of the process to the answer to its first event."""
    found: dict[Server, list[float]] = {server: [] for server in servers}
    batch.answer_after(0)
    for number in range(COLD_STARTS):
        for server, times in found.items():
            began = time.perf_counter()
            with started(server, batch.url, log) as running:
                first_answer(running, number)
                times.append((time.perf_counter() - began) * 1000)
    return found


# The table


def tables(results: Results, memory: dict[Server, float], cold: dict[Server, list[float]]) -> str:
    lines = [
        "| Batch answers after | events at once | | events/s | batchpush is faster by | p50 ms "
        "| p99 ms | CPU ms per event |",
        "|---:|---:|---|---:|---|---:|---:|---:|",
    ]
    for (delay, concurrency), of_cell in results.items():
        for server, rounds_of in of_cell.items():
            ratio = "" if server == OURS else spread(of_cell[OURS], rounds_of)
            speed, p50, p99, cpu = (
                statistics.median(getattr(each, name) for each in rounds_of)
                for name in ("events_per_second", "p50", "p99", "cpu")
            )
            lines.append(
                f"| {delay} ms | {concurrency} | {server.name} | {speed:,.0f} | {ratio} "
                f"| {p50:.0f} | {p99:.0f} | {cpu:.2f} |"
            )
    lines += ["", "| | memory after it | cold start |", "|---|---:|---:|"]
    for server, times in cold.items():
        megabytes = f"{memory[server]:.0f} MB" if server in memory else ""
        lines.append(f"| {server.name} | {megabytes} | {statistics.median(times):.0f} ms |")
    return "\n".join(lines)


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
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    parser.add_argument(
        "--beside", metavar="DIR", type=Path, help="measure ours beside the one of that checkout"
    )
    options = parser.parse_args()
    peers = (checkout(options.beside),) if options.beside else PEER_SERVERS
    with tempfile.TemporaryDirectory() as directory, provider() as batch, ExitStack() as stack:
        log = Path(directory, "functions.log")
        floor = load(batch.port, 2.0, 80)
        print(f"Load and provider alone: {floor['events'] / floor['seconds']:,.0f} requests/s\n")
        cold = cold_starts((OURS, *peers, EMPTY), batch, log)
        running = []
        for server in (OURS, *peers):
            one = stack.enter_context(started(server, batch.url, log))
            first_answer(one, 0)
            load(one.port, 2.0, 80)  # not measured: it is warm afterwards
            running.append(one)
        results = rounds(running, batch)
        memory = {each.server: each.megabytes() for each in running}
    text = f"{machine(node())}:\n\n{tables(results, memory, cold)}"
    print(text)
    if options.write:
        write("make bench WRITE=1", text)


if __name__ == "__main__":
    main()
