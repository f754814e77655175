"""Two days of messages, digests and times to come, as the clocks change; on a virtual clock.

The functions are those of `main.py`, with Firestore's client, the keys and all else of a process;
the platform kills processes, brings events twice, and runs the schedules as they are deployed.
"""

import asyncio
import functools
import itertools
import json
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

import main
from batchpush import testing
from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.rest_key import RestKey, RestKeyCache
from batchpush.delivery.digests import ITEMS
from batchpush.delivery.record import DeliveryState
from batchpush.environment import Settings
from batchpush.errors import DeliveryUnfinished, TryAgainLater
from batchpush.events.change import Change
from batchpush.events.triggers import WATCHED
from batchpush.google.cloud_tasks import Tasks
from batchpush.google.connection import TIMEOUT
from batchpush.google.firestore import Firestore
from batchpush.testing.memory import Memory
from batchpush.timing import Clock, Timing
from batchpush.worker import Worker, send_digests, send_waiting_delivery, sweep_deliveries
from batchpush.worker import working_with as working
from tests.events import created
from tests.figures import figure
from tests.seed import SEED
from tests.virtual import Platform, end, google_on_the_loops_clock, run, seconds
from tests.wires import Carry, Wire

EVENTS = int(os.environ.get("TORTURE_DAY", "120"))
HOUR = 3600.0
EVENTS_FOR, ENDS = 36 * HOUR, 62 * HOUR
DIGESTS, SWEEP = HOUR / 4, HOUR / 6  # as main.py has them
QUARTER = timedelta(minutes=15)
PROMPT, LATE = timedelta(minutes=5), timedelta(minutes=30)  # with a kill, and the next sweep
GONE = timedelta(minutes=4)  # after its event, a document is deleted or read
PER_GROUP = 20  # messages to the same people, so that a digest can count them
KILLED = 1 / 15  # of the works, with all that their process has under way
ZONES = (
    *("Europe/Paris", "Europe/London", "America/New_York"),
    *("Asia/Tokyo", "Asia/Kolkata", "Pacific/Auckland"),
)
SATURDAYS = {
    "summer time begins": datetime(2026, 3, 28, 6, tzinfo=UTC),
    "summer time ends": datetime(2026, 10, 24, 6, tzinfo=UTC),
}
SETTINGS = Settings.from_environment(
    {"BATCH_APPS": "ios=IOSKEY,android=ANDROIDKEY"}
    | {"NOTIFICATION_HISTORY_DAYS": "30", "RECIPIENT_INDEX_DAYS": "30"}
)
assert main.new_message
COUNT = re.compile(r"(\d+) new notifications")

work_of: ContextVar[str] = ContextVar("work_of")


# What a reader's own clock says at each quarter of an hour: nobody here has another time


@functools.cache
def moments(
    zone: str, at: time, weekday: int | None, since: datetime, *, again: bool = False
) -> list[datetime]:
    """When the clock first shows this time on each day, or each such weekday.

    A time that is skipped comes as much later as it is after the clock was put forward.
    One that is shown twice a day counts the second time, too, if it is to count `again`.
    """
    found, place = list[datetime](), ZoneInfo(zone)
    before = (since - QUARTER).astimezone(place)
    for quarter in range(10 * 24 * 4):
        moment = since + quarter * QUARTER
        local = moment.astimezone(place)
        expected = before.replace(tzinfo=None, fold=0) + QUARTER
        shown, wanted = local.replace(tzinfo=None, fold=0), datetime.combine(local, at)
        is_day = weekday is None or local.weekday() == weekday
        if is_day and (again or not local.fold):
            if wanted == shown:
                found.append(moment)
            elif expected <= wanted < shown:
                found.append(moment + (wanted - expected))
        before = local
    return found


@dataclass(frozen=True)
class Reader:
    """A person, and what they wish for."""

    name: str
    zone: str
    night: tuple[str, str] | None = None
    digest: str | None = None

    @property
    def profile(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"time_zone": self.zone, "language": "en"}
        if self.night:
            fields["quiet_hours"] = dict(zip(("start", "end"), self.night, strict=True))
        if self.digest:
            fields["push_preferences"] = {"new_message": self.digest}
        return fields

    def is_asleep(self, moment: datetime) -> bool:
        if self.night is None:
            return False
        start, end = map(time.fromisoformat, self.night)
        clock = moment.astimezone(ZoneInfo(self.zone)).time()
        return start <= clock < end if start < end else clock >= start or clock < end

    def told_at(self, moment: datetime, since: datetime) -> datetime:
        """When they are to be told of what happens at this moment."""
        if self.digest:
            *day, at = self.digest.split()
            weekday = 6 if day else None
            listed = moments(self.zone, time.fromisoformat(at), weekday, since)
            moment = next(each for each in listed if each > moment)
        if not self.night or not self.is_asleep(moment):
            return moment
        ends = moments(self.zone, time.fromisoformat(self.night[1]), None, since, again=True)
        return next(each for each in ends if each > moment)


def readers(group: int) -> list[Reader]:
    """Some of each kind, where a group of people lives."""
    zone = ZONES[group % len(ZONES)]
    kinds: dict[str, dict[str, Any]] = {
        "awake": {},
        "asleep": {"night": ("22:00", "07:00")},
        "early": {"night": ("21:15", "02:30")},
        "daily": {"digest": "18:00"},
        "changed": {"digest": "02:30"},
        "weekly": {"digest": "Sunday 09:00"},
        "both": {"digest": "06:00", "night": ("22:00", "07:00")},
    }
    return [Reader(f"{kind}-{group}", zone, **wishes) for kind, wishes in kinds.items()]


@dataclass(frozen=True)
class Told:
    at: datetime
    reader: str
    text: str


@dataclass(frozen=True)
class Message:
    """A message to a group, or, to people of several zones, a push at a time of their clocks."""

    at: datetime
    text: str
    to: Mapping[str, datetime]  # when each of the readers is to be told
    is_gone: bool  # for whoever is not told at once


@dataclass(frozen=True)
class Request:
    """When it first came, and the work that each time was."""

    first: datetime
    works: list[str]


class Batch(testing.batch.Batch):
    """Takes everything, and remembers when, and whose work it was."""

    def __init__(self, world: "World") -> None:
        super().__init__()
        self._world = world
        self.requests: dict[tuple[str, bytes], list[Request]] = defaultdict(list)
        self.told: list[Told] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.05)
        answer = await super().handle_async_request(request)
        call = self.calls[-1]
        now, known = self._world.now(), self.requests[call.app, request.content]
        if known and now < known[-1].first + LATE:
            known[-1].works.append(work_of.get())
        else:  # the digests of two days may be in the same words
            known.append(Request(now, [work_of.get()]))
            if call.app == "IOSKEY":
                for name in call.body["recipients"]["custom_ids"]:
                    self.told.append(Told(now, name, call.body["message"]["body"]))
        await asyncio.sleep(0.05)
        return answer


class Line(Wire):
    async def carried(self, name: str, request: object, carry: Carry, seconds: float) -> list[Any]:
        await asyncio.sleep(0.01)
        answers = await carry()
        await asyncio.sleep(0.01)
        return answers


class DueTasks(Tasks):
    """Tasks that come at their time."""

    def __init__(self, world: "World") -> None:
        super().__init__(SETTINGS)
        self._world = world

    async def enqueue(
        self, function: str, data: Mapping[str, Any], at: datetime | None = None
    ) -> None:
        await asyncio.sleep(0.03)
        assert function == "sendlater"
        wait = (at - self._world.now()).total_seconds() if at else 0.0
        self._world.runs(self._world.brought(json.dumps(data), wait))


@dataclass
class Instance:
    """One process serves after another. A killed one's callers retry."""

    world: "World"
    worker: Worker
    under_way: dict["asyncio.Task[None]", str] = field(default_factory=dict)

    async def serve(self, work: str) -> None:
        task = asyncio.create_task(self.world.done(self.worker, work))
        self.under_way[task] = work
        self.world.may_kill(self)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            del self.under_way[task]
        if task.cancelled():
            raise DeliveryUnfinished("the process was killed")
        await task

    def is_struck(self) -> None:
        works = {name_of(work) for work in self.under_way.values()}
        if "sweep" in works or works & self.world.killed:
            return  # what was killed twice may be held, for a person to decide
        self.world.killed |= works
        self.world.kills += 1
        for task in self.under_way:
            task.cancel()
        self.worker = self.world.process()


def name_of(work: str) -> str:
    """The same for each task of a delivery."""
    if not work.startswith("{"):
        return work
    data = json.loads(work)
    return str(data.get("delivery") or data["digest"])


class World:
    """Two days from a moment on, with all that is written, told and killed."""

    def __init__(self, since: datetime) -> None:
        self.since = since
        self.chance = random.Random(SEED)  # noqa: S311 - the same for a seed
        self.memory, self.batch = Memory(), Batch(self)
        self.documents = Firestore(self.memory)
        self.killed: set[str] = set()
        self.kills = 0
        self.events: dict[str, tuple[str, Change]] = {}
        self.messages: list[Message] = []
        self._work: set[asyncio.Task[None]] = set()
        instances = [Instance(self, self.process()) for _ in range(3)]
        self.platform = Platform([each.serve for each in instances], SETTINGS.concurrency, SEED)
        self.groups = [readers(group) for group in range(-(-EVENTS // PER_GROUP))]
        for reader in itertools.chain(*self.groups):
            self.stores(f"users/{reader.name}", reader.profile)

    def now(self) -> datetime:
        return self.since + timedelta(seconds=seconds())

    def process(self) -> Worker:
        firestore, timing = Firestore(Line(self.memory, None, TIMEOUT)), Timing()
        return Worker(
            SETTINGS,
            lambda name: firestore,
            BatchClient(SETTINGS, timing, RestKeyCache(key, clock=seconds), transport=self.batch),
            DueTasks(self),
            timing,
            Clock(self.now, self.chance.random),
        )

    def may_kill(self, instance: Instance) -> None:
        if self.chance.random() < KILLED:
            loop = asyncio.get_running_loop()
            loop.call_later(self.chance.uniform(0, 0.25), instance.is_struck)

    def stores(self, path: str, fields: dict[str, Any]) -> None:
        self.memory.store(self.documents.put(path, fields).update)

    # Works

    async def done(self, worker: Worker, work: str) -> None:
        work_of.set(name_of(work))
        with working(worker):
            if work == "sweep":
                await sweep_deliveries()
            elif work == "digests":
                await send_digests()
            elif work in self.events:
                function, change = self.events[work]
                await WATCHED[function].function(change)
            else:
                await send_waiting_delivery(json.loads(work))

    def runs(self, work: Coroutine[Any, Any, None]) -> None:
        self._work.add(asyncio.create_task(work))

    async def brought(self, work: str, wait: float = 0.0) -> None:
        await asyncio.sleep(max(0.0, wait))
        await self.platform.brings(work)

    async def _every(self, pause: float, work: str) -> None:
        while True:
            await asyncio.sleep(pause)
            with suppress(TryAgainLater):
                await self.platform.once(work)

    # What happens

    def _written(self, number: int) -> None:
        if number % 10 == 9:
            self._push_at_their_time(number)
        else:
            self._message(number)

    def _event(self, function: str, path: str, fields: dict[str, Any], **params: str) -> Change:
        """Delivered at least once; some events are redelivered."""
        self.stores(path, fields)
        name = f"e{len(self.events)}"
        change = replace(
            created(path, fields, **params), id=name, time=self.now(), function=function
        )
        self.events[name] = function, change
        self.runs(self.brought(name))
        if self.chance.random() < 0.2:
            self.runs(self.brought(name, self.chance.uniform(1, 3 * HOUR)))
        return change

    def _message(self, number: int) -> None:
        at, group = self.now(), self.groups[number % len(self.groups)]
        sender = f"bob-{number}"
        members = [sender, *(reader.name for reader in group)]
        self.stores(f"conversations/c{number}", {"member_ids": members})
        to = {reader.name: reader.told_at(at, self.since) for reader in group}
        end = self.chance.randrange(7)
        text = f"Message {number}"
        self.messages.append(Message(at, text, to, is_gone=end in (1, 3, 5)))
        path = f"conversations/c{number}/messages/m{number}"
        fields = {"sender_id": sender, "text": text}
        params = {"conversation_id": f"c{number}", "message_id": f"m{number}"}
        change = self._event("new_message", path, fields, **params)

        def is_gone() -> None:
            waiting = [name for name, moment in to.items() if moment > at]
            if end == 1:
                for name in waiting:
                    entry = f"users/{name}/notifications/{change.delivery_id}"
                    stored = self.memory.documents[self.memory.name_of(entry)]
                    stored.fields["read"].boolean_value = True
            elif end == 3:
                self.memory.remove(path)
            elif end == 5:
                self.stores(path, fields | {"unread_by": dict.fromkeys(waiting, False)})

        asyncio.get_running_loop().call_later(GONE.total_seconds(), is_gone)

    def _push_at_their_time(self, number: int) -> None:
        at = self.now()
        changes = (self.since + timedelta(days=1)).date()
        clock = ("02:30", "09:00", "12:15")[number // 10 % 3]
        local = datetime.combine(changes, time.fromisoformat(clock))
        some = [self.groups[(number + each) % len(self.groups)][0] for each in range(3)]
        to = {}
        for reader in some:
            days = moments(reader.zone, local.time(), None, self.since - timedelta(days=1))
            place = ZoneInfo(reader.zone)
            due = next(each for each in days if each.astimezone(place).date() == changes)
            to[reader.name] = max(at, due)
        text, path = f"Push {number}", f"pushes/p{number}"
        is_gone = self.chance.randrange(4) == 0
        self.messages.append(Message(at, text, to, is_gone))
        fields = {
            "group_id": "sale",
            "recipients": {"custom_ids": sorted(to)},
            "message": {"body": text},
            "send_at": local.isoformat(),
        }
        self._event("outbox", path, fields, push_id=f"p{number}")
        if is_gone:
            loop = asyncio.get_running_loop()
            loop.call_later(GONE.total_seconds(), self.memory.remove, path)

    async def passes(self) -> None:
        self.runs(self._every(DIGESTS, "digests"))
        self.runs(self._every(SWEEP, "sweep"))
        for number in range(EVENTS):
            # In the first minutes of a quarter, on which what people wish for begins and ends.
            planned = number * EVENTS_FOR / EVENTS
            moment = planned // DIGESTS * DIGESTS + 60 + planned % 240
            await asyncio.sleep(max(0.0, moment - seconds()))
            self._written(number)
        await asyncio.sleep(ENDS - seconds())
        await end(self._work)

    # What came of it

    def check(self) -> None:
        told: dict[str, list[Told]] = defaultdict(list)
        for each in self.batch.told:
            told[each.reader].append(each)
        for reader in itertools.chain(*self.groups):
            self._check_reader(reader, told[reader.name])
        for request in itertools.chain(*self.batch.requests.values()):
            assert len(request.works) == 1 or (self.killed & {*request.works}), request
            assert len(request.works) <= 1 + SETTINGS.max_ambiguous_resends
        ends = self.since + timedelta(seconds=ENDS)
        left = Counter(item["person"].string_value for item in self._stored(ITEMS))
        everybody = itertools.chain(*(each.to.items() for each in self.messages))
        assert left == Counter(name for name, due in everybody if due > ends)
        records = self._stored(SETTINGS.deliveries_collection)
        events = {record["event_id"].string_value for record in records}
        assert events >= set(self.events)
        settled = {DeliveryState.SENT.value, DeliveryState.OBSOLETE.value}
        assert {record["state"].string_value for record in records} <= settled

    def _stored(self, collection: str) -> list[Mapping[str, Any]]:
        found = self.memory.documents.items()
        return [each.fields for name, each in found if f"/documents/{collection}/" in name]

    def _check_reader(self, reader: Reader, told: list[Told]) -> None:
        assert not [each for each in told if reader.is_asleep(each.at)]
        expected = list(self._expected(reader))
        if reader.digest:
            digests = Counter(due for due, _, _ in expected)
            expected = [(due, LATE, str(count)) for due, count in digests.items()]
            told = [replace(each, text=str(number_in(each.text))) for each in told]
        told = sorted(told, key=lambda each: (each.at, each.text))
        for due, within, text in sorted(expected):
            matching = [
                each for each in told if due <= each.at <= due + within and each.text == text
            ]
            assert len(matching) == 1, (reader, due, text, told)
            told.remove(matching[0])
        assert not told, reader

    def _expected(self, reader: Reader) -> Iterator[tuple[datetime, timedelta, str]]:
        """What each reader is told, when, and the latest time for it."""
        for message in self.messages:
            due = message.to.get(reader.name)
            if due is None or due > self.since + timedelta(seconds=ENDS):
                continue
            if due <= message.at:
                yield due, PROMPT, message.text
            elif not message.is_gone:
                yield due, LATE, message.text


def number_in(text: str) -> int:
    """How many messages a digest tells of."""
    found = COUNT.fullmatch(text)
    return int(found[1]) if found else 1


async def key() -> RestKey:
    return RestKey("key")


@pytest.fixture(autouse=True)
def _on_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    google_on_the_loops_clock(monkeypatch)


@pytest.mark.parametrize("what", SATURDAYS)
def test_everybody_is_told_once_and_when_they_want_to_be(what: str) -> None:
    async def days() -> World:
        world = World(SATURDAYS[what])
        await world.passes()
        return world

    world = run(days())
    world.check()
    people = len(world.groups) * len(world.groups[0])
    digests = [each for each in world.batch.told if COUNT.fullmatch(each.text)]
    doubled = sum(len(each.works) > 1 for each in itertools.chain(*world.batch.requests.values()))
    figure(
        f"two days on which {what}: {EVENTS:,} events, {people:,} people in {len(ZONES)} zones, "
        f"{world.kills} processes killed",
        f"{len(world.batch.told):,} told, {len(digests):,} of them in digests, each when their own "
        "clock says, nobody in quiet hours or of what was read or deleted meanwhile; "
        f"{doubled} calls accepted twice, all of processes killed in between",
    )
