"""Two hours of events through one process: what it holds at the end, and what it sent.

    make soak                prints the table
    make soak WRITE=1        and writes it into docs/reliability.md
    make soak HOURS=1        a shorter one

20 messages a second reach `new_message`, served as it is deployed. Every five minutes the REST key
changes and Firestore is killed and started again; profiles change all the time. After each of these
chapters the process rests, its memory, open files and tasks are counted, and every event of the
chapter must have been sent. Exits with 1 where it was not, or where the process grows.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from unittest.mock import patch

from google.cloud.firestore import Client

from emulators import batch, secret_manager
from local.programs import Interrupted, raise_on_signals
from tests.figures import as_table
from tests.soak.chapter import APPS, MAX_RESENDS, SECRET, Chapter, Tally, World, rotate
from tests.soak.process import Holding, Process, per_hour, serving
from tests.tables import machine, write
from tests.torture.emulator import Emulator
from tests.torture.proxy import in_front_of

PER_SECOND = 20.0
SECONDS = 300.0  # of a chapter
REST = 10.0  # seconds; what was held for a chapter is given back
# Hours in which the process comes to the most that it holds at once: garbage is collected late, and
# the allocator keeps what it was once given.
WARM_UP = 0.75

# How much more an hour is no growth of ours: a block, or 90 bytes, with one of ten events. gRPC for
# Python loses half a kilobyte with each stream that fails, as those under way when Firestore goes.
# What is resident can grow with nothing lost: after a burst, pages stay of which little is in use.
FLAT = {"resident": 6.0, "in_use": 0.6, "objects": 7_200.0, "files": 2.0, "tasks": 1.0}

# Everything that a process could keep too much of is on.
SETTINGS = {
    "BATCH_APPS": ",".join(f"{app}={key}" for app, key in APPS.items()),
    "BATCH_REST_KEY_SECRET": SECRET,
    "MAX_AMBIGUOUS_RESENDS": str(MAX_RESENDS),
    "NOTIFICATION_HISTORY_DAYS": "7",
    "RECIPIENT_INDEX_DAYS": "7",
    "PROFILE_CACHE_SECONDS": "5",
    "PUSH_TEXTS": "true",
    "LOG_LEVEL": "WARNING",
}


class Soak:
    def __init__(self, world: World, process: Process, seconds: float, per_second: float) -> None:
        self._world, self._process = world, process
        self._seconds, self._per_second = seconds, per_second
        self._began = time.monotonic()
        self.tally = Tally()
        self.holdings: list[Holding] = []

    @property
    def hours(self) -> float:
        """Since the start."""
        return (time.monotonic() - self._began) / 3600

    async def chapter(self) -> None:
        name = f"c{len(self.holdings)}"
        chapter = Chapter(self._world, name, self._seconds, self._per_second)
        await chapter.passes(self._process.url)
        await asyncio.sleep(REST)
        self.holdings.append(await asyncio.to_thread(self._process.holding, self.hours))
        await asyncio.to_thread(chapter.check)
        self.tally.add(chapter.tally)
        self._world.batch.clear()
        await asyncio.to_thread(self._world.emulator.clear)

    def figure(self) -> tuple[str, str]:
        tally, (first, *_, last), more = self.tally, warm(self.holdings), slopes(self.holdings)
        return (
            f"{last.hours:.1f} hours at {self._per_second:g} events a second through one process, "
            f"with {tally.keys} new keys, {tally.restarts} restarts of Firestore and "
            f"{tally.profiles:,} changes of profiles",
            f"{tally.events:,} events in {tally.deliveries:,} deliveries, {tally.held:,} HELD; "
            f"{tally.doubled:,} people told twice by an app; "
            f"after {first.hours:.1f} hours and at the end, "
            f"memory {first.resident:.1f} and {last.resident:.1f} MB, "
            f"{more['resident']:+.2f} MB an hour; "
            f"in use of malloc's {first.in_use:.1f} and {last.in_use:.1f} MB, "
            f"{more['in_use']:+.2f} MB an hour; "
            f"of Python's {first.objects:,} and {last.objects:,} blocks, "
            f"{more['objects']:+,.0f} an hour; "
            f"open files {first.files} and {last.files}, {more['files']:+.2f} an hour; "
            f"tasks {first.tasks} and {last.tasks}, {more['tasks']:+.2f} an hour",
        )


@asynccontextmanager
async def soaked(folder: Path, seconds: float, per_second: float) -> AsyncIterator[Soak]:
    with ExitStack() as stack:
        running = stack.enter_context(batch.running(apps=APPS))
        secrets = stack.enter_context(secret_manager.running())
        emulator = Emulator(folder)
        stack.callback(emulator.kill)
        emulator.start()
        firestore = client_of(emulator)
        stack.callback(firestore.close)
        async with in_front_of(emulator.address) as proxy:
            world = World(running, secrets, emulator, proxy, firestore)
            rotate(world)
            environment = SETTINGS | {
                "FIRESTORE_EMULATOR_HOST": proxy.address,
                "BATCH_API_URL": running.url,
                "SECRET_MANAGER_URL": secrets.url,
            }
            with serving(folder, environment) as process:
                yield Soak(world, process, seconds, per_second)


def client_of(emulator: Emulator) -> Client:
    with patch.dict(os.environ, {"FIRESTORE_EMULATOR_HOST": emulator.address}):
        return Client()


def warm(holdings: Sequence[Holding]) -> list[Holding]:
    return [each for each in holdings if each.hours >= WARM_UP]


def slopes(holdings: Sequence[Holding]) -> dict[str, float]:
    """What there is more of after each hour, once the process is warm."""
    return {what: per_hour(warm(holdings), what) for what in FLAT}


def growing(more: Mapping[str, float]) -> list[str]:
    return [f"{what}: {more[what]:+.2f} an hour" for what in FLAT if more[what] > FLAT[what]]


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument(
        "--write", action="store_true", help="write the table into docs/reliability.md"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="batchpush-soak-") as folder:
        async with soaked(Path(folder), SECONDS, PER_SECOND) as soak:
            while soak.hours < options.hours or len(warm(soak.holdings)) < 2:
                await soak.chapter()
                print(soak.holdings[-1], soak.tally, flush=True)
    found = f"{machine()}:\n\n{as_table([soak.figure()])}"
    print(found)
    if grows := growing(slopes(soak.holdings)):
        print("it grows:", *grows, sep="\n")
        return 1
    if options.write:
        write("reliability.md", "make soak WRITE=1", found)
    return 0


if __name__ == "__main__":
    # gunicorn hides its environment, by which the suite would find what is left.
    raise_on_signals()
    try:
        sys.exit(asyncio.run(main()))
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_code)
