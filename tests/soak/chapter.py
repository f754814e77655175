"""Five minutes of a soak: conversations, a new key, a restart of Firestore, and the promise."""

import asyncio
import random
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import httpx
from google.cloud.firestore import Client

from batchpush.errors import TryAgainLater
from batchpush.google.protocol.firestore_pb2 import DocumentEventData
from emulators.batch import Batch
from emulators.secret_manager import SecretManager
from local.suite import PROJECT
from tests.events import firestore_body, firestore_headers
from tests.torture.emulator import Emulator
from tests.torture.proxy import Line, Proxy
from tests.virtual import Platform

APPS = {"ios": "IOSKEY", "android": "ANDROIDKEY"}
SECRET = "soaked-rest-key"
MAX_RESENDS = 1
PER_CONVERSATION = 10  # messages
MEMBERS = 3
LANGUAGES = ("en", "fr", "ja")
CHANGES_PER_SECOND = 2.0  # of profiles
TWICE = 50  # one of so many events is delivered twice, at once
AT_ONCE = 80  # deliveries, as an instance takes them
DONE_SECONDS = 900.0  # until the last redelivery, on a slow machine


@dataclass(frozen=True)
class World:
    """What is around the process."""

    batch: Batch
    secret_manager: SecretManager
    emulator: Emulator
    proxy: Proxy  # between the process and Firestore
    firestore: Client


@dataclass
class Tally:
    events: int = 0
    deliveries: int = 0
    doubled: int = 0  # requests that Batch accepted twice
    held: int = 0
    keys: int = 0
    restarts: int = 0
    profiles: int = 0  # changes

    def add(self, other: "Tally") -> None:
        for name, count in vars(other).items():
            setattr(self, name, getattr(self, name) + count)


class Chapter:
    """So many seconds of events, with people and conversations of its own."""

    def __init__(self, world: World, name: str, seconds: float, per_second: float) -> None:
        self.world, self.name = world, name
        self._seconds, self._per_second = seconds, per_second
        self._events = int(seconds * per_second)
        self._random = random.Random(name)  # noqa: S311 - the same again
        self._is_up = asyncio.Lock()  # Firestore; whoever holds it needs it up, or restarts it
        self.tally = Tally(events=self._events)

    async def passes(self, url: str) -> None:
        """Everything of the chapter, until each event is done."""
        await asyncio.to_thread(self._write_people)
        # gunicorn closes an idle connection after 2 seconds, perhaps just as a request comes.
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=0)
        async with httpx.AsyncClient(limits=limits, timeout=DONE_SECONDS) as client:

            async def instance(event: int) -> None:
                response = await client.post(url, **self._request(event))
                if not response.is_success:
                    raise TryAgainLater

            platform = Platform([instance], AT_ONCE, self._random.randrange(2**32))
            async with asyncio.timeout(self._seconds + DONE_SECONDS), asyncio.TaskGroup() as group:
                troubles = [
                    group.create_task(self._rotates(after=self._seconds / 4)),
                    group.create_task(self._restarts(after=self._seconds / 2)),
                    group.create_task(self._changes_profiles()),
                ]
                brought = await self._brings(platform, group)
                await asyncio.wait([*brought, *troubles])
        self.tally.deliveries = platform.deliveries

    async def _brings(
        self, platform: Platform, group: asyncio.TaskGroup
    ) -> list[asyncio.Task[None]]:
        loop, brought = asyncio.get_running_loop(), []
        began = loop.time()
        for event in range(self._events):
            await asyncio.sleep(began + event / self._per_second - loop.time())
            for _ in range(1 if event % TWICE else 2):
                brought.append(group.create_task(platform.brings(event)))
        return brought

    async def _rotates(self, after: float) -> None:
        """Batch takes the new key at once, and the old one no more."""
        await asyncio.sleep(after)
        await asyncio.to_thread(rotate, self.world)
        self.tally.keys += 1

    async def _restarts(self, after: float) -> None:
        await asyncio.sleep(after)
        async with self._is_up:
            emulator, proxy = self.world.emulator, self.world.proxy
            await proxy.become(Line.REFUSED)
            await asyncio.to_thread(emulator.save)
            emulator.kill()
            await asyncio.to_thread(emulator.start)
            await proxy.become(Line.WELL)
        self.tally.restarts += 1

    async def _changes_profiles(self) -> None:
        for number in range(int(self._seconds * CHANGES_PER_SECOND)):
            await asyncio.sleep(1 / CHANGES_PER_SECOND)
            person = self._random.choice(self._people)
            changed = {"language": self._random.choice(LANGUAGES), "display_name": f"P{number}"}
            async with self._is_up:
                document = self.world.firestore.document(f"users/{person}")
                await asyncio.to_thread(document.update, changed)
            self.tally.profiles += 1

    # Its documents

    def _write_people(self) -> None:
        writer = self.world.firestore.bulk_writer()
        users = {f"users/{person}": {"display_name": person} for person in self._people}
        talks = {
            f"conversations/{talk}": {"member_ids": members(talk)}
            for talk in {self._talk(event) for event in range(self._events)}
        }
        for path, fields in (users | talks).items():
            writer.set(self.world.firestore.document(path), fields)
        writer.close()

    def _talk(self, event: int) -> str:
        return f"{self.name}-{event // PER_CONVERSATION}"

    @cached_property
    def _people(self) -> list[str]:
        talks = range(-(-self._events // PER_CONVERSATION))
        return [person for talk in talks for person in members(f"{self.name}-{talk}")]

    def _request(self, event: int) -> Mapping[str, Any]:
        talk, now = self._talk(event), datetime.now(UTC)
        path = f"conversations/{talk}/messages/{event}"
        picture = f"https://example.com/{self.name}/{event}.jpg"
        fields = {"sender_id": members(talk)[event % MEMBERS], "image_url": picture}
        written = DocumentEventData.FromString(firestore_body(path, after=fields))
        written.value.create_time.FromDatetime(now)
        written.value.update_time.FromDatetime(now)
        headers = firestore_headers(path, event_id=f"{self.name}-{event}", time=now.isoformat())
        return {"headers": headers, "content": written.SerializeToString()}

    # What came of it

    def check(self) -> None:
        """Every event has its record and has reached its readers; nobody was told too often."""
        records = list(self.world.firestore.collection("batch_deliveries").stream())
        states = Counter(record.get("state") for record in records)
        assert len(records) == self._events, f"{len(records)} records of {self._events} events"
        assert set(states) <= {"SENT", "HELD"}, states
        self.tally.held = states["HELD"]
        told: Counter[tuple[str, str, str]] = Counter()
        for call in self.world.batch.calls():
            if call["accepted"]:
                about = call["body"]["media"]["picture"]
                for person in call["body"]["recipients"]["custom_ids"]:
                    told[about, call["app"], person] += 1
        assert max(told.values()) <= 1 + MAX_RESENDS
        missing = self._events * len(APPS) * (MEMBERS - 1) - len(told)
        assert missing <= 0 or self.tally.held, f"{missing} were not told"
        assert missing >= 0, "somebody was told who should not be"
        self.tally.doubled = sum(count > 1 for count in told.values())


def members(talk: str) -> list[str]:
    return [f"{talk}-{number}" for number in range(MEMBERS)]


def rotate(world: World) -> None:
    key = secrets.token_hex(16)
    version = world.secret_manager.add_version(PROJECT, SECRET, key)
    world.batch.accept_rest_keys(key)
    if version > 1:
        world.secret_manager.disable_version(PROJECT, SECRET, version - 1)
