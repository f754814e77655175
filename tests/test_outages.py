"""Each service that we need is away for half an hour, alone and with each other: nothing is lost.

The clock is virtual; the services are in memory. The clients of Batch and of Firestore, the keys,
the tokens, the deliveries, the ledger and the sweep are the real ones.
"""

import asyncio
import itertools
import json
import os
import random
from collections import Counter
from collections.abc import Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from google.auth.credentials import TokenState
from google.auth.exceptions import TransportError

from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.rest_key import RestKey, RestKeyCache
from batchpush.delivery.record import DeliveryState
from batchpush.environment import Settings
from batchpush.errors import RestKeyUnavailable, TasksUnavailable, TryAgainLater
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp
from batchpush.events.triggers import Watched
from batchpush.google.cloud_tasks import Tasks
from batchpush.google.connection import TIMEOUT, RpcFailed
from batchpush.google.credentials import Credentials, CredentialsUnavailable
from batchpush.google.firestore import Firestore
from batchpush.pushes.push import Message, Push, Recipients
from batchpush.pushes.quiet_hours import QuietHours
from batchpush.testing.memory import Memory
from batchpush.timing import Clock, Timing
from batchpush.worker import Worker, send_waiting_delivery, working_with
from tests.events import created
from tests.figures import figure
from tests.seed import SEED
from tests.virtual import (
    START,
    Instance,
    Platform,
    end,
    google_on_the_loops_clock,
    now,
    run,
    seconds,
)
from tests.wires import Carry, Wire

# A twentieth of the events of test_outage.py: there are fifteen outages here.
PER_SECOND = float(os.environ.get("TORTURE_EVENTS_PER_SECOND", "0.5")) / 20
MINUTE = 60.0
BEGINS, ENDS = 2 * MINUTE, 32 * MINUTE
LAST_EVENT, SETTLED_BY = ENDS + 3 * MINUTE, ENDS + 60 * MINUTE
SWEEP = 10 * MINUTE
DUE = 22 * MINUTE, 37 * MINUTE  # when nights end: during the outage, and after it
EXPIRE = 7 * MINUTE, 14 * MINUTE  # when the first tokens of two instances do
TOKEN_FOR, STALE = 60 * MINUTE, 225.0  # google-auth replaces a token 3:45 before its end
COLD_START = 12 * MINUTE  # a third instance, which has no key and no token yet
BURST = 4  # events at once as the outage begins, and as a token expires
LOST = 3  # of so many tasks that are due while Cloud Tasks is away, it loses one

BATCH, FIRESTORE, TASKS = "Batch", "Firestore", "Cloud Tasks"
SECRETS, TOKENS = "Secret Manager", "the token endpoint"
SERVICES = (BATCH, FIRESTORE, TASKS, SECRETS, TOKENS)

K = 1
SETTINGS = Settings.from_environment(
    {"BATCH_APPS": "ios=IOSKEY,android=ANDROIDKEY", "MAX_AMBIGUOUS_RESENDS": str(K)}
)
TOKEN = b'{"token": "t"}'
IN_MAINTENANCE = b'{"code": 2, "type": "MAINTENANCE_ERROR", "message": "later"}'


class Token:
    """google-auth's credentials, on our clock; it is stale for the last minutes."""

    def __init__(self, world: "World", until: float) -> None:
        self._world, self._until = world, until

    @property
    def token_state(self) -> TokenState:
        left = self._until - seconds()
        if left <= 0:
            return TokenState.INVALID
        return TokenState.FRESH if left > STALE else TokenState.STALE

    def apply(self, headers: dict[str, str]) -> None:
        headers["authorization"] = "Bearer t"

    def refresh(self, request: object) -> None:
        if self._world.is_away(TOKENS):
            raise TransportError("away")
        self._until = seconds() + TOKEN_FOR


class FoundCredentials(Credentials):
    def __init__(self, token: Token) -> None:
        super().__init__()
        self._found = token, "demo-batchpush"


class Line(Wire):
    """The way to a Firestore that refuses, keeps silent, or loses what it was about to answer."""

    def __init__(self, world: "World", credentials: Credentials) -> None:
        super().__init__(world.memory, credentials, TIMEOUT)
        self._world = world

    async def carried(self, name: str, request: object, carry: Carry, seconds: float) -> list[Any]:
        world = self._world
        await asyncio.sleep(0.01)
        if world.is_away(FIRESTORE):
            if world.chance.random() < 0.5:
                await asyncio.sleep(seconds)
            raise RpcFailed("UNAVAILABLE", "away")
        answers = await carry()
        await asyncio.sleep(0.01)
        if world.is_away(FIRESTORE):
            world.answers_lost += 1
            raise RpcFailed("UNAVAILABLE", "away")
        return answers


class LateTasks(Tasks):
    """Cloud Tasks, as one instance reaches it."""

    def __init__(self, world: "World", credentials: Credentials) -> None:
        super().__init__(SETTINGS)
        self._world, self._credentials = world, credentials

    async def enqueue(
        self, function: str, data: Mapping[str, Any], at: datetime | None = None
    ) -> None:
        try:
            await self._credentials.headers()
        except CredentialsUnavailable as error:
            raise TasksUnavailable(f"Cloud Tasks: {error}") from None
        await asyncio.sleep(0.05)
        if self._world.is_away(TASKS):
            raise TasksUnavailable("Cloud Tasks: ServiceUnavailable")
        self._world.runs(self._world.task(function, json.dumps(dict(data)), at))


@dataclass
class Event:
    number: int
    at: float

    @property
    def people(self) -> dict[str, float | None]:
        """Each reader, and when their quiet hours or wait ends; None if they are awake."""
        due = DUE[self.number // 4 % 2]
        awake, asleep, later = (f"{kind}-{self.number}" for kind in ("awake", "asleep", "later"))
        chosen: tuple[dict[str, float | None], ...] = (
            {awake: None},
            {awake: None, asleep: due},
            {asleep: due},
            {awake: None, later: due},
        )
        return chosen[self.number % 4]

    def groups(self) -> list[Recipients]:
        return [self._group(name, due) for name, due in self.people.items()]

    def _group(self, name: str, due: float | None) -> Recipients:
        group = Recipients(custom_ids=[name])
        if due is None:
            return group
        at = START + timedelta(seconds=due)
        if name.startswith("later"):
            return replace(group, send_at=at)
        begun = (at - timedelta(hours=9)).time()
        return replace(group, quiet=QuietHours(begun, at.time(), UTC))


class World(httpx.AsyncBaseTransport):
    """Some services, which are away for half an hour, and the instances that need them."""

    def __init__(self, *away: str) -> None:
        self._away = away
        self.chance = random.Random(SEED)  # noqa: S311 - the same for a seed
        self.memory = Memory()
        self.accepted: Counter[tuple[str, bytes]] = Counter()
        self.told: Counter[tuple[str, str]] = Counter()
        self.last_told = 0.0
        self.answers_lost = 0
        self.lost_tasks = self._due_tasks = 0  # of those due while Cloud Tasks is away
        self.events: dict[str, Event] = {}
        self._work: set[asyncio.Task[None]] = set()
        self.platform = Platform([], SETTINGS.concurrency, SEED)
        for expires in EXPIRE:
            self.platform.starts(self._instance(Token(self, expires)))

    def is_away(self, service: str) -> bool:
        return service in self._away and BEGINS <= seconds() < ENDS

    # An instance

    def _instance(self, token: Token) -> Instance:
        credentials = FoundCredentials(token)
        firestore = Firestore(Line(self, credentials))

        async def read_key() -> RestKey:
            try:
                await credentials.headers()
            except CredentialsUnavailable as error:
                raise RestKeyUnavailable(f"the secret: {error}") from None
            await asyncio.sleep(0.1)
            if self.is_away(SECRETS):
                raise RestKeyUnavailable("the secret: ServiceUnavailable")
            return RestKey("key")

        timing = Timing()
        keys = RestKeyCache(read_key, clock=seconds)
        worker = Worker(
            SETTINGS,
            lambda name: firestore,
            BatchClient(SETTINGS, timing, keys, transport=self),
            LateTasks(self, credentials),
            timing,
            Clock(now, self.chance.random),
            functions={"tell": Watched("things/{id}", lambda change: tell(change))},
        )

        async def tell(change: Change) -> None:
            await worker.deliverer.deliver(change, self._handler)

        async def serve(what: str) -> None:
            if what == "sweep":
                await worker.sweep.run()
            elif what in self.events:
                event = self.events[what]
                change = created(f"things/{what}", {"id": what})
                at = START + timedelta(seconds=event.at)
                await tell(replace(change, id=what, time=at, function="tell"))
            else:
                with working_with(worker):
                    await send_waiting_delivery(json.loads(what))

        return serve

    async def _handler(self, change: Change, look_up: LookUp) -> Push | None:
        return Push(
            group_id="g",
            recipients=self.events[change.id].groups(),
            message=Message(f"About {change.id}"),
            fresh_for=timedelta(hours=2),
        )

    # The services

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.is_away(BATCH):
            if self.chance.random() < 0.5:
                await asyncio.sleep(5)
                raise httpx.ConnectTimeout("away")
            return httpx.Response(503, content=IN_MAINTENANCE)
        await asyncio.sleep(0.05)
        body = await request.aread()
        *_, app, _, _ = request.url.path.split("/")
        self.accepted[app, body] += 1
        for name in json.loads(body)["recipients"]["custom_ids"]:
            self.told[app, name] += 1
        self.last_told = seconds()
        return httpx.Response(201, content=TOKEN)

    async def task(self, function: str, data: str, at: datetime | None) -> None:
        """Comes when it is due, or once Cloud Tasks is back, unless that has lost it."""
        assert function == "sendlater"
        await asyncio.sleep(max(0.0, (at - now()).total_seconds()) if at else 0.0)
        if self.is_away(TASKS):
            self._due_tasks += 1
            if self._due_tasks % LOST == 1:
                self.lost_tasks += 1
                return
            await asyncio.sleep(ENDS - seconds())
        await self.platform.brings(data)

    async def _sweeps(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            with suppress(TryAgainLater):
                await self.platform.once("sweep")

    # What happens

    def runs(self, work: Coroutine[Any, Any, None]) -> None:
        self._work.add(asyncio.create_task(work))

    def _comes(self) -> None:
        number = len(self.events)
        name = f"e{number}"
        self.events[name] = Event(number, seconds())
        document = Firestore(self.memory).put(f"things/{name}", {"id": name}).update
        self.memory.store(document)
        self.runs(self.platform.brings(name))

    async def passes(self) -> None:
        self.runs(self._sweeps())
        moments = sorted(
            [
                *((number / PER_SECOND, 1) for number in range(int(LAST_EVENT * PER_SECOND))),
                # Some are under way as the outage begins, and as a token expires.
                *(
                    (moment - 0.015 * part, BURST)
                    for moment in (BEGINS, *EXPIRE)
                    for part in (1, 4)
                ),
                (COLD_START, 0),
            ]
        )
        for moment, count in moments:
            await asyncio.sleep(moment - seconds())
            if moment == COLD_START:
                self.platform.starts(self._instance(Token(self, until=0)))
            for _ in range(count):
                self._comes()
        await asyncio.sleep(SETTLED_BY - seconds())
        await end(self._work)

    # What came of it

    def check(self) -> None:
        """The promise."""
        records = [
            document.fields
            for name, document in self.memory.documents.items()
            if "/batch_deliveries/" in name
        ]
        states = {DeliveryState(fields["state"].string_value) for fields in records}
        assert states <= {DeliveryState.SENT, DeliveryState.HELD}
        assert {fields["event_id"].string_value for fields in records} == set(self.events)
        assert set(self.platform.done_at) >= set(self.events)
        assert max(self.accepted.values()) <= 1 + K
        for event in self.events.values():
            for name, due in event.people.items():
                told = [self.told[app, name] for app in SETTINGS.batch_apps.values()]
                assert min(told) >= 1, name
                assert max(told) <= (1 + K if due is None else 1), name

    @property
    def per_event(self) -> float:
        return len(self.memory.operations) / len(self.events)

    @property
    def late_by(self) -> float:
        """Minutes from the return to the last that was told."""
        return (self.last_told - ENDS) / MINUTE

    @property
    def doubled(self) -> int:
        return sum(count > 1 for count in self.accepted.values())


@pytest.fixture(autouse=True)
def _on_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    google_on_the_loops_clock(monkeypatch)


def outage_of(*services: str) -> World:
    """The world after it; whoever slept or waited was told once, whoever was awake at least once.

    Of the tasks that Cloud Tasks lost, nobody but the sweep knows.
    """

    async def outage() -> World:
        world = World(*services)
        await world.passes()
        return world

    world = run(outage())
    world.check()
    assert bool(world.answers_lost) == (FIRESTORE in services)
    assert bool(world.lost_tasks) == (TASKS in services)
    assert world.per_event <= 30
    assert world.late_by <= 45
    return world


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_is_away_for_half_an_hour_loses_nothing(service: str) -> None:
    world = outage_of(service)
    found = (
        f"; {world.lost_tasks} tasks that it lost found by the sweep" if world.lost_tasks else ""
    )
    figure(
        f"{service[0].upper()}{service[1:]} away for 30 minutes, "
        f"an event every {1 / PER_SECOND:g} s, sleepers and times to come",
        f"everybody told of {len(world.events):,} events, {world.doubled} of "
        f"{world.accepted.total():,} calls accepted twice, the last {world.late_by:.0f} minutes "
        f"after its return; {world.per_event:.1f} Firestore operations per event{found}",
    )


def test_nor_do_two_that_are_away_at_once() -> None:
    worlds = [outage_of(*pair) for pair in itertools.combinations(SERVICES, 2)]
    figure(
        f"each two of {', '.join(SERVICES[:-1])} and {SERVICES[-1]} away for 30 minutes, "
        f"an event every {1 / PER_SECOND:g} s",
        f"everybody told of {sum(len(world.events) for world in worlds):,} events in "
        f"{len(worlds)} outages; at worst {max(world.doubled for world in worlds)} calls accepted "
        f"twice, the last {max(world.late_by for world in worlds):.0f} minutes after the return, "
        f"{max(world.per_event for world in worlds):.1f} Firestore operations per event",
    )
