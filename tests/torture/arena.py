"""Where a test lets processes loose: a Batch, a collection for the records, and the rules."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import Any, TypeVar

from google.cloud.firestore import Client

from batchpush.delivery.history import NOTIFICATIONS
from batchpush.delivery.waiting import name_of
from emulators.batch import Batch
from tests.seed import SEED
from tests.torture.worker import Spec, names

ROOT = Path(__file__).parents[2]
APPS = {"ios": "IOSKEY", "android": "ANDROIDKEY"}
DEADLINE = 300.0  # seconds, for what takes a few on an idle machine
BESIDE = {"NOTIFICATION_HISTORY_DAYS": "30", "RECIPIENT_INDEX_DAYS": "30"}
SHORT = {"call": 0.6, "budget": 1.5, "lease": 2.5}
SWEEPING = {**SHORT, "redelivery": 0.1}

T = TypeVar("T")


class Worker:
    """A process of `worker.py`, and what it has said so far."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self.said: list[dict[str, Any]] = []
        self._log = log
        self._news = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        with log.open("wb") as stderr:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=PIPE, stdout=PIPE, stderr=stderr
            )
        self._reader = asyncio.create_task(asyncio.to_thread(self._read))

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for line in stdout:
                self.said.append(json.loads(line))
                self._loop.call_soon_threadsafe(self._news.set)
        self._process.wait()
        self._loop.call_soon_threadsafe(self._news.set)

    async def says(
        self, what: str, count: int = 1, within: float = DEADLINE
    ) -> list[dict[str, Any]]:
        """What it has said of this, once that is so many lines."""
        async with asyncio.timeout(within):
            while len(lines := self.of(what)) < count:
                assert self._process.returncode is None, f"ended:\n{self._log.read_text()}"
                self._news.clear()
                await self._news.wait()
        return lines

    def of(self, what: str) -> list[dict[str, Any]]:
        return [line for line in self.said if line["say"] == what]

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def ends(self, status: int = 0, within: float = DEADLINE) -> "Worker":
        try:
            async with asyncio.timeout(within):
                await asyncio.shield(self._reader)
        except TimeoutError:
            said = "\n".join(map(str, self.said[-10:]))
            raise AssertionError(f"it goes on:\n{said}\n{self._log.read_text()}") from None
        assert self._process.returncode == status, self._log.read_text()
        broken = [line["reason"] for line in self.of("answered") if line["answer"] == "broken"]
        assert not broken, broken[0]
        return self

    def answers(self) -> dict[str, str]:
        """The last answer about each event."""
        return {line["event"]: line["answer"] for line in self.of("answered")}

    async def stop(self) -> None:
        self._process.kill()
        await self._reader
        assert self._process.stdin is not None
        self._process.stdin.close()


class Arena:
    def __init__(self, batch: Batch, collection: str, k: int, logs: Path) -> None:
        self.batch, self.collection, self.k = batch, collection, k
        self._logs = logs
        self._workers: list[Worker] = []
        self._firestore = Client()

    def start(self, spec: Spec, firestore: str | None = None) -> Worker:
        """`firestore` is where the worker looks for it, if that is not the emulator."""
        log = self._logs / f"worker-{len(self._workers)}-of-{self.collection}.log"
        environment = {
            **os.environ,
            "BATCH_APPS": ",".join(f"{app}={key}" for app, key in APPS.items()),
            "BATCH_API_URL": self.batch.url,
            "DELIVERIES_COLLECTION": self.collection,
            "MAX_AMBIGUOUS_RESENDS": str(self.k),
            "LOG_LEVEL": "WARNING",
            "FIRESTORE_EMULATOR_HOST": firestore or os.environ["FIRESTORE_EMULATOR_HOST"],
            **(BESIDE if spec.waits else {}),
        }
        told = log.with_suffix(".json")
        seeded = replace(spec, seed=f"{SEED} {len(self._workers)}")
        told.write_text(seeded.as_json())
        command = [sys.executable, "-m", "tests.torture.worker", str(told)]
        worker = Worker(command, environment, log)
        self._workers.append(worker)
        return worker

    async def run(self, spec: Spec, status: int = 0) -> Worker:
        return await self.start(spec).ends(status)

    async def redeliver(self, events: Iterable[str], **spec: Any) -> Worker:
        """Bring the events again and again, in a new process, until each is done."""
        events = list(events)
        values: dict[str, Any] = {
            "events": events,
            "patience": DEADLINE / 2,
            "timing": SHORT,
        } | spec
        worker = await self.run(Spec(**values))
        assert worker.answers() == dict.fromkeys(events, "done")
        return worker

    async def sweep(self) -> None:
        worker = await self.run(Spec(sweeps=True, patience=DEADLINE / 2, timing=SWEEPING))
        (swept,) = worker.of("swept")
        assert not swept["left"]

    async def close(self) -> None:
        await together(worker.stop() for worker in self._workers)
        self._firestore.close()

    # What came of it

    def records(self) -> dict[str, dict[str, Any]]:
        """The delivery records by their event, of which each has only one."""
        found = [record for record in self._stored() if record["state"] != "WAITING"]
        records = {record["event_id"]: record for record in found}
        assert len(records) == len(found)
        return records

    def waiting(self) -> list[dict[str, Any]]:
        """Those that wait."""
        return [record for record in self._stored() if record["state"] == "WAITING"]

    def _stored(self) -> list[dict[str, Any]]:
        documents = self._firestore.collection(self.collection).stream()
        return [{"id": each.id, **each.to_dict()} for each in documents]

    def _entries(self) -> set[tuple[str, str]]:
        """Whose history has an entry, and of which delivery."""
        everybody = self._firestore.collection_group(NOTIFICATIONS).stream()
        paths = [each.reference.path.split("/") for each in everybody]
        return {(user, entry) for _, user, _, entry in paths if user.startswith(self.collection)}

    def tasks(self) -> set[str]:
        """The deliveries for which a task was made, in any process, killed or not."""
        said = (line for worker in self._workers for line in worker.of("task"))
        return {line["data"]["delivery"] for line in said if line["function"] == "sendlater"}

    def arrived(self) -> Counter[tuple[str, str]]:
        """How often each call, an event and an app, reached Batch."""
        return Counter((call["body"]["group_id"], call["app"]) for call in self.batch.calls())

    def accepted(self) -> Counter[tuple[str, str]]:
        """How often Batch accepted it."""
        return Counter(
            (call["body"]["group_id"], call["app"])
            for call in self.batch.calls()
            if call["accepted"]
        )

    def check(self, events: Iterable[str]) -> str:
        """The promise, for these events and no others; returns the counts in words."""
        records, accepted = self.records(), self.accepted()
        assert set(records) == set(events)
        for event, record in records.items():
            assert record["state"] in ("SENT", "HELD"), record
            assert [call["app"] for call in record["calls"]] == list(APPS)
            states = {call["state"] for call in record["calls"]}
            assert states == {"accepted"} or ("held" in states and record["state"] == "HELD")
            for call in record["calls"]:
                self._check_call(call, accepted[event, call["app"]])
        self._check_bodies()
        ends = Counter(record["state"] for record in records.values())
        doubled = sum(count > 1 for count in accepted.values())
        return (
            f"{accepted.total():,} calls accepted, {doubled:,} of them more than once; "
            f"{ends['SENT']:,} events SENT, {ends['HELD']:,} HELD"
        )

    def check_beside(self) -> None:
        """Claims wrote what belongs to their records beside them: histories, indexes and waits."""
        entries: set[tuple[str, str]] = set()
        waits: Counter[tuple[str, ...]] = Counter()
        for event, record in self.records().items():
            _, *told, later = names(self.collection, event)
            entries |= {(name, record["id"]) for name in told}
            assert record["people"] == indexed(*told, later)
            waits.update((event, *indexed(name)) for name in (told[-1], later))
        assert self._entries() == entries
        waiting = self.waiting()
        assert Counter((record["event_id"], *record["people"]) for record in waiting) == waits

    def _check_call(self, call: dict[str, Any], accepted: int) -> None:
        assert accepted <= 1 + self.k, call
        if call["state"] == "accepted":
            assert accepted >= 1, call
        else:
            assert call["state"] == "held", call
            assert call["unknown"] == 1 + self.k, call

    def _check_bodies(self) -> None:
        """A call that is sent again is the same call."""
        bodies: dict[tuple[str, str], Any] = {}
        for call in self.batch.calls():
            known = bodies.setdefault((call["body"]["group_id"], call["app"]), call["body"])
            assert call["body"] == known


def indexed(*names: str) -> list[str]:
    return sorted(name_of("custom_ids", name) for name in names)


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Do it all at once; the first that fails ends the others."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(work) for work in works]
    return [task.result() for task in tasks]
