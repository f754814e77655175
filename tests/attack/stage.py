"""Plays what was done through the functions of main.py, with everything around them in memory."""

import asyncio
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest

import main
from batchpush import CallableRequest, CallRefused, worker
from batchpush.delivery import report
from batchpush.documents import Document, Reference
from batchpush.environment import process_settings
from batchpush.events import lookup
from batchpush.events.change import path_params
from batchpush.events.decoding import apply_delta
from batchpush.events.triggers import WATCHED
from batchpush.events.untouched import Untouched
from batchpush.google.protocol.firestore_pb2 import DocumentEventData, Value
from batchpush.google.realtime_database import RealtimeDatabase
from batchpush.google.sources import Instance
from batchpush.testing import Batch, Call, Project
from batchpush.timing import Clock
from handlers import app_to_app
from handlers.carts import UNTOUCHED_FOR
from tests.attack.gates import Step
from tests.attack.world import ATTACKERS, FIRESTORE_ONLY, HONEST_PEOPLE, START, WORLD
from tests.database_rules import Database, segments
from tests.deliveries import client_for
from tests.events import DOCUMENTS, database_body, database_headers, firestore_headers
from tests.garbage import Request
from tests.scenarios import database_world

MAX_TIMES = 300  # when something is due, in one attack
LATER = -1  # the step of a push that had to wait
STEP: ContextVar[int] = ContextVar("step", default=LATER)


@dataclass(frozen=True)
class Heard:
    """A call that Batch accepted, and the step that caused it."""

    step: int
    call: Call


class Listening(Batch):
    """A Batch that remembers which step each push came of."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Heard] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await super().handle_async_request(request)
        if self.calls[-1].route == "transactional/send":
            self.heard.append(Heard(STEP.get(), self.calls[-1]))
        return answer


class Broken(Exception):
    """A function answered with an error, or did not finish."""


@contextmanager
def settings_of_an_attack() -> Iterator[None]:
    """Articles go to followers, and look-ups in the Realtime Database come to the stage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PUBLISH_ARTICLES", "followers")
        process_settings.cache_clear()
        for module in (lookup, report):
            patch.setattr(module, "realtime_database", lambda source: HELD.get())
        yield
    process_settings.cache_clear()


HELD: ContextVar[RealtimeDatabase] = ContextVar("held")


async def played(database: str, steps: Sequence[Step], seed: str) -> list[Heard]:
    """What Batch accepts now, and until all that waits was told. Raises `Broken`."""
    stage = FirestoreStage(seed) if database == "firestore" else DatabaseStage(seed)
    return await stage.play(steps)


class Stage:
    def __init__(self, seed: str, documents: Mapping[str, Mapping[str, Any]]) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - the same order of events each time
        self.project = Project(None, START, BATCH_APPS="ios=A")
        # One minute, in which all of the limits hold: a pause takes no time.
        self.project.worker.clock = Clock(self.project.clock.now, sleep=_no_time)
        self.batch = Listening()
        self.project.worker.client = client_for(self.project.worker.settings, self.batch)
        self.events = 0
        for path, fields in documents.items():
            self.hold(path, fields)

    def hold(self, path: str, fields: Mapping[str, Any]) -> None:
        self.project.hold(path, fields)
        stored = self.project.memory.documents[self.project.memory.name_of(path)].fields
        for name, value in fields.items():
            _with_references(value, stored[name])

    async def play(self, steps: Sequence[Step]) -> list[Heard]:
        number = 0
        while number < len(steps):
            following = number + 1
            while following < len(steps) and steps[following].is_beside:
                following += 1
            together = [self._at(each, steps[each]) for each in range(number, following)]
            self.project.memory.strike = self._in_turns if len(together) > 1 else None
            await asyncio.gather(*together)
            number = following
        self.project.memory.strike = None
        await self.notify()
        try:
            await self.project.wait_until(START)
            for time in self._times():
                await self._wait_until(time)
        except Exception as error:
            raise Broken(f"what waited: {error!r}") from error
        self._check_all_settled()
        return self.batch.heard

    async def _in_turns(self, name: str, operation: Any) -> Any:
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)
        return operation()

    async def _at(self, number: int, step: Step) -> None:
        STEP.set(number)
        await self.does(step)

    async def does(self, step: Step) -> None:
        raise NotImplementedError

    async def notify(self) -> None:
        """Everybody who attacks calls the function that apps call, at the end."""

    async def call(self, function: str, headers: dict[str, str], body: bytes) -> None:
        with worker.working_with(self.project.worker):
            answer = await getattr(main, function)(Request(headers, body))
        if answer != ("done", 200):
            raise Broken(f"{function} answered {answer}")

    def event_id(self) -> str:
        self.events += 1
        return f"event-{self.events}"

    def _times(self) -> Iterator[datetime]:
        """When something is due, one after another."""
        carts = START + UNTOUCHED_FOR
        for _ in range(MAX_TIMES):
            due = {at for at in self.project.queue.times if at}
            for name, document in self.project.memory.documents.items():
                if "/batch_digests/" in name:
                    until = document.fields["until"].timestamp_value
                    due.add(datetime.fromtimestamp(until.seconds, UTC))
            if carts > self.project.clock.now():
                due.add(carts)
            if not due:
                return
            yield max(min(due), self.project.clock.now())
        raise Broken(f"something is due again and again: {sorted(map(str, due))}")

    async def _wait_until(self, time: datetime) -> None:
        await self.project.wait_until(time)
        cart = WATCHED["abandoned_cart"]
        with worker.working_with(self.project.worker):
            look = Untouched(lambda: self.project.firestore, self.project.clock.now)
            await look.call(cart.function, cart.path, UNTOUCHED_FOR)

    def _check_all_settled(self) -> None:
        for name, document in self.project.memory.documents.items():
            if "/batch_deliveries/" in name and "state" in document.fields:
                state = document.fields["state"].string_value
                if state not in ("SENT", "REFUSED", "OBSOLETE"):
                    about = document.fields["document"].string_value
                    raise Broken(f"the delivery about {about} is still {state}")


async def _no_time(seconds: float) -> None:
    await asyncio.sleep(0)


def _with_references(value: Any, stored: Value) -> None:
    """References as what they are; our client never writes any."""
    match value:
        case Reference():
            stored.reference_value = f"{DOCUMENTS}/{value}"
        case list():
            for each, item in zip(value, stored.array_value.values, strict=True):
                _with_references(each, item)
        case dict():
            for name, each in value.items():
                _with_references(each, stored.map_value.fields[name])


class FirestoreStage(Stage):
    def __init__(self, seed: str) -> None:
        super().__init__(seed, {**WORLD, **FIRESTORE_ONLY})

    async def does(self, step: Step) -> None:
        for path, _, after in step.diffs:
            name = self.project.memory.name_of(path)
            event = DocumentEventData()
            if old := self.project.memory.documents.get(name):
                event.old_value.CopyFrom(old)
            if after is None:
                self.project.memory.remove(path)
            else:
                self.hold(path, after)
                event.value.CopyFrom(self.project.memory.documents[name])
            body = event.SerializeToString()
            for function in called_for("firestore", path, old, after):
                headers = firestore_headers(path, event_id=self.event_id(), time=START.isoformat())
                await self.call(function, headers, body)

    async def notify(self) -> None:
        places = [
            name.rpartition("/")[2]
            for name in self.project.memory.documents
            if name.rpartition("/")[0].endswith("documents/conversations")
        ]
        for caller in ATTACKERS:
            for to in HONEST_PEOPLE:
                params = {"conversation_id": self.chance.choice(places)}
                data = {"to": to, "template": "poke", "params": self.chance.choice((params, {}))}
                now = self.project.clock.now()
                request = CallableRequest("notify", caller, self.event_id(), data, now)
                with worker.working_with(self.project.worker), suppress(CallRefused):
                    limits = app_to_app.limits(request)
                    await worker.deliver_call(request, app_to_app.notify, limits=limits)


class DatabaseStage(Stage):
    def __init__(self, seed: str) -> None:
        super().__init__(seed, {})
        empty = Database("", None, int(START.timestamp() * 1000))
        self.database = empty.written(database_world(WORLD))
        HELD.set(RealtimeDatabase(Instance("demo", "us-central1"), Reads(self), _nobody))

    async def does(self, step: Step) -> None:
        before = self.database
        self.database = after = before.written(step.update)
        for path in sorted(_places(step.update, before.root, after.root)):
            was, now = value_at(before.root, path), value_at(after.root, path)
            if was == now:
                continue
            body = database_body(as_shown(was), _delta(was, now))
            place = "/".join(path)
            for function in called_for("database", place, was, now):
                headers = database_headers(
                    quote(place), event_id=self.event_id(), time=START.isoformat()
                )
                await self.call(function, headers, body)


class Reads(httpx.AsyncBaseTransport):
    """To the Realtime Database of a stage."""

    def __init__(self, stage: DatabaseStage) -> None:
        self.stage = stage

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raw = request.url.raw_path.decode().partition("?")[0].removesuffix(".json")
        path = tuple(map(unquote, raw.strip("/").split("/")))
        value = as_shown(value_at(self.stage.database.root, path))
        return httpx.Response(200, content=json.dumps(value).encode())


async def _nobody() -> dict[str, str]:
    return {}


def called_for(database: str, path: str, before: object, after: object) -> list[str]:
    """The functions that a write calls."""
    documents = [None if each is None else Document(path, {}) for each in (before, after)]
    return [
        name
        for name, watched in WATCHED.items()
        if watched.database == database
        and path_params(watched.path, path) is not None
        and replace(watched, database="firestore").is_called_for(*documents)
    ]


WATCHED_IN_DATABASE = {
    tuple(watched.path.split("/")) for watched in WATCHED.values() if watched.database == "database"
}


def _places(update: Mapping[str, Any], *trees: Any) -> set[tuple[str, ...]]:
    """The watched places that an update touches: where it writes, above it, and below it."""
    return {
        place
        for path in map(segments, update)
        for pattern in WATCHED_IN_DATABASE
        if pattern[0] == path[0]
        for tree in trees
        for place in _below(tree, path[: len(pattern)], len(pattern))
    }


def _below(tree: Any, path: tuple[str, ...], depth: int) -> Iterator[tuple[str, ...]]:
    if len(path) == depth:
        yield path
        return
    value = value_at(tree, path)
    for name in value if isinstance(value, dict) else ():
        yield from _below(tree, (*path, name), depth)


def value_at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def as_shown(value: Any) -> Any:
    """The value as the Realtime Database returns it: with lists where keys are numbers."""
    return apply_delta(None, value)


def _delta(before: Any, after: Any) -> Any:
    """What an event says of a change: only what differs, and null for what is gone."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return after
    return {
        name: _delta(before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
    }
