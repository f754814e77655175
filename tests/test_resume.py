"""What waits, in memory and on the Firestore emulator: quiet hours, bursts, and what may happen."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from batchpush import Change, Document, Message, Push, QuietHours, Recipients
from batchpush.delivery.erasure import without
from batchpush.delivery.ledger import Entry
from batchpush.delivery.planning import PushHandler
from batchpush.delivery.record import DeliveryState, Record
from batchpush.delivery.resumed import ResumedChange
from batchpush.delivery.sending import SHORT_WAIT
from batchpush.errors import DeliveryUnfinished, InvalidDocument, LookUpFailed, MalformedEvent
from batchpush.events.change import Late
from batchpush.events.lookup import LookUp
from batchpush.events.triggers import WATCHED, Watched
from batchpush.google.firestore import Version
from batchpush.testing import ManualClock, Memory, Queue
from batchpush.timing import Timing
from batchpush.worker import Worker, send_waiting_delivery
from emulators import batch
from handlers import credit_limits, friend_requests, game_turns, messages
from tests.deliveries import REST_KEY, claimed, rpcs, worker_for
from tests.events import DATABASE, FIRESTORE, Stored, created

APPS = {"ios": "IOSKEY", "android": "ANDROIDKEY"}
EVENING = datetime(2026, 6, 10, 23, 0, tzinfo=UTC)
MORNING = datetime(2026, 6, 11, 7, 0, tzinfo=UTC)
LATE = MORNING + timedelta(hours=3)
NIGHT = {"start": "22:00", "end": "07:00"}


WAITING = {"custom_ids": ["ann", "bob"], "tokens": ["t"]}


@pytest.mark.parametrize(
    ("lists", "read_by", "left"),
    [
        (WAITING, None, WAITING),
        (WAITING, {}, WAITING),
        (WAITING, {"m/1": {"ann"}}, WAITING),  # she has not read the other one
        (WAITING, {"m/1": {"ann"}, "m/2": {"ann", "bob"}}, WAITING | {"custom_ids": ["bob"]}),
        ({"tokens": ["t"]}, {"m/1": {"ann"}, "m/2": {"ann"}}, {"tokens": ["t"], "custom_ids": []}),
    ],
)
def test_who_has_read_of_everything_waits_no_more(
    lists: dict[str, list[str]],
    read_by: dict[str, set[str]] | None,
    left: dict[str, list[str]],
) -> None:
    record = claimed(now=EVENING).waiting(MORNING, lists, timedelta(hours=1))
    documents = (Document("m/1", {}), Document("m/2", {}))
    late = None
    if read_by is not None:
        late = Late(documents, read_by={path: frozenset(ids) for path, ids in read_by.items()})
    event = vars(created("m/2", {})) | {"late": late}
    change = ResumedChange(**event, entry=Entry(record, Version()), burst=None)
    assert change.still_waits_for() == left


@pytest.fixture(scope="module")
def server() -> Iterator[batch.Batch]:
    with batch.running(apps=APPS, rest_keys=[REST_KEY]) as server:
        yield server


class House:
    """A worker, the documents that its handlers read, and a clock that stands at EVENING."""

    def __init__(self, made: Worker, clock: ManualClock, api: batch.Batch) -> None:
        self.made, self.clock, self.api = made, clock, api
        self.id = uuid.uuid4().hex[:12]

    def path(self, path: str) -> str:
        return f"house/{self.id}/{path}"

    async def stores(self, path: str, fields: dict[str, Any] | None) -> None:
        firestore = self.made.ledger.firestore
        written = firestore.delete(path) if fields is None else firestore.put(path, fields)
        await firestore.commit([written])

    async def knows(self, user_id: str, **profile: Any) -> str:
        user_id = f"{user_id}-{self.id}"
        await self.stores(f"users/{user_id}", profile)
        return user_id

    async def happens(
        self, handler: PushHandler, pattern: str, fields: dict[str, Any], **params: str
    ) -> Change:
        """Somebody writes a new document, and its event comes."""
        path = self.path("/".join(each.format(**params) for each in pattern.split("/")))
        await self.stores(path, fields)
        function = f"{handler.__name__}_{self.id}"

        async def watching(change: Change) -> None:
            await self.made.deliverer.deliver(change, handler)

        WATCHED[function] = Watched(self.path(pattern), watching)
        change = replace(
            created(path, fields, **params),
            id=uuid.uuid4().hex,
            function=function,
            time=self.clock.now(),
        )
        await watching(change)
        return change

    async def friend_request(self, user_id: str) -> Change:
        return await self.happens(
            friend_requests.friend_request,
            "{user_id}/{sender_id}",
            {"status": "pending"},
            user_id=user_id,
            sender_id=f"ann-{self.id}",
        )

    async def message(self, name: str, text: str, sender: str = "ann", **fields: Any) -> Change:
        return await self.happens(
            messages.new_message,
            "{conversation_id}/{message_id}",
            {"sender_id": sender, "text": text} | fields,
            conversation_id=self.id,
            message_id=name,
        )

    async def record(self, change: Change) -> Record:
        entry = await self.made.ledger.read(change.delivery_id)
        assert entry is not None
        return entry.record

    def tasks(self) -> list[tuple[str, datetime | None]]:
        """The deliveries that tasks were made for, and when they are to be taken up."""
        assert isinstance(self.made.tasks, Queue)
        queue = self.made.tasks
        made = [(data["delivery"], at) for (_, data), at in zip(queue.tasks, queue.times)]  # noqa: B905
        assert {name for name, _ in queue.tasks} <= {"sendlater"}
        queue.tasks, queue.times = [], []
        return made

    async def morning(self, at: datetime = MORNING) -> None:
        self.clock.value = at
        for delivery, _ in self.tasks():
            await self.made.resumption.resume(delivery)

    def told(self) -> list[tuple[str, str]]:
        """Whom an app told what, in order."""
        bodies = [call["body"] for call in self.api.calls() if call["app"] == "ios"]
        return [
            (user_id.partition("-")[0], body["message"]["body"])
            for body in bodies
            for user_id in body["recipients"]["custom_ids"]
        ]


@pytest.fixture(params=["memory", pytest.param("emulator", marks=pytest.mark.suite)])
async def house_for(
    request: pytest.FixtureRequest, server: batch.Batch
) -> AsyncIterator[Callable[..., House]]:
    server.clear_faults()
    server.clear()
    made: list[Worker] = []

    def build(**environment: str) -> House:
        clock = ManualClock()
        clock.value = EVENING
        transport = Memory() if request.param == "memory" else None
        collection = f"t{uuid.uuid4().hex}"
        made.append(worker_for(server.url, collection, clock, transport, Timing(), **environment))
        return House(made[0], clock, server)

    yield build
    for each in made:
        await each.client.aclose()


@pytest.fixture
def house(house_for: Callable[..., House]) -> House:
    return house_for()


# Quiet hours


async def test_who_sleeps_is_told_in_the_morning(house: House) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    change = await house.friend_request(bob)
    record = await house.record(change)
    assert (record.state, record.not_before) == (DeliveryState.WAITING, MORNING)
    assert (record.calls, house.told()) == ((), [])
    assert house.tasks() == [(record.id, MORNING)]
    house.clock.value = MORNING
    await house.made.resumption.resume(record.id)
    assert house.told() == [("bob", "Someone would like to be your friend")]
    record = await house.record(change)
    assert (record.state, record.not_before) == (DeliveryState.SENT, None)


async def test_who_is_awake_is_told_now_and_the_others_when_their_night_ends(house: House) -> None:
    ann = await house.knows("ann")
    bob = await house.knows("bob", quiet_hours=NIGHT)
    zoe = await house.knows("zoe", quiet_hours=NIGHT, time_zone="America/New_York")
    tom = await house.knows("tom", quiet_hours=NIGHT, time_zone="Asia/Tokyo")
    tim = await house.knows("tim", quiet_hours=NIGHT, time_zone="Europe/Paris")
    await house.stores(f"conversations/{house.id}", {"member_ids": [ann, bob, zoe, tom, tim]})
    change = await house.message("m1", "Hello", sender=ann)
    assert [who for who, _ in house.told()] == ["zoe", "tom"]  # 19:00 and 08:00 there
    assert (await house.record(change)).state is DeliveryState.SENT
    assert sorted(at for _, at in house.tasks() if at) == [MORNING - timedelta(hours=2), MORNING]


async def test_the_same_event_and_the_same_task_again_change_nothing(house: House) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    change = await house.friend_request(bob)
    await WATCHED[change.function].function(change)
    await house.morning()
    record = await house.record(change)
    await house.made.resumption.resume(record.id)
    await WATCHED[change.function].function(change)
    assert len(house.told()) == 1


async def test_tasks_that_come_twice_at_once_send_once(house: House) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    record = await house.record(await house.friend_request(bob))
    house.clock.value = MORNING
    wakeups = [house.made.resumption.resume(record.id) for _ in range(8)]
    await asyncio.gather(*wakeups, return_exceptions=True)
    assert len(house.told()) == 1


FRIEND, GAME, ACCOUNT = "{user_id}/{sender_id}", "games/{game_id}", "accounts/{user_id}"


@pytest.mark.parametrize(
    ("meanwhile", "is_told"),
    [
        ({"status": "pending"}, True),
        (None, False),
        ({"status": "accepted"}, False),
        ({"status": "declined"}, False),
    ],
)
async def test_a_friend_request_that_was_taken_back_or_answered_is_not_pushed(
    house: House, meanwhile: dict[str, Any] | None, is_told: bool
) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    change = await house.friend_request(bob)
    await house.stores(change.path, meanwhile)
    await house.morning()
    assert bool(house.told()) is is_told
    assert (await house.record(change)).state is (
        DeliveryState.SENT if is_told else DeliveryState.OBSOLETE
    )


@pytest.mark.parametrize(
    ("meanwhile", "told"),
    [
        ({}, "Hello"),
        ({"text": "Hello again"}, "Hello again"),
        ({"unread_message": True}, "Hello"),
        ({"unread_message": False}, None),
        (None, None),
    ],
)
async def test_a_message_that_was_read_or_deleted_is_not_pushed_and_an_edited_one_is(
    house: House, meanwhile: dict[str, Any] | None, told: str | None
) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    await house.stores(f"conversations/{house.id}", {"member_ids": [bob]})
    change = await house.message("m1", "Hello")
    fields = dict(change.document) | meanwhile if meanwhile is not None else None
    await house.stores(change.path, fields)
    await house.morning()
    assert house.told() == ([("bob", told)] if told else [])


async def test_who_muted_or_left_the_conversation_meanwhile_is_not_told(house: House) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    zoe = await house.knows("zoe", quiet_hours=NIGHT)
    await house.stores(f"conversations/{house.id}", {"member_ids": [bob, zoe]})
    await house.message("m1", "Hello")
    await house.knows("bob", quiet_hours=NIGHT, push_muted=True)
    await house.morning()
    assert house.told() == [("zoe", "Hello")]


async def test_a_game_is_pushed_to_whoever_waits_if_it_is_their_turn_still(house: House) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    for meanwhile, told in ((bob, 1), ("zoe", 1), (None, 1)):
        game = {"current_player_id": bob, "name": "Go"}
        change = await house.happens(game_turns.game_turn, GAME, game, game_id=f"g{meanwhile}")
        await house.stores(change.path, game | {"current_player_id": meanwhile})
        await house.morning()
        house.clock.value = EVENING
        assert len(house.told()) == told


async def test_a_limit_that_is_not_reached_any_more_is_not_pushed(house: House) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    account = {"spent": 10, "credit_limit": 10}
    change = await house.happens(credit_limits.credit_limit, ACCOUNT, account, user_id=bob)
    await house.stores(change.path, account | {"credit_limit": 100})
    await house.morning()
    assert house.told() == []


async def test_a_document_that_changes_is_asked_for_again_in_what_waits_about_it(
    house: House,
) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    zoe = await house.knows("zoe", quiet_hours=NIGHT)
    first, second = await house.friend_request(bob), await house.friend_request(zoe)
    for change in (first, second):
        await house.stores(change.path, None)
    again = house.made.resumption.again
    await again("another_function", first.path, first.source)
    await again(first.function, first.path, "//another/database")
    assert (await house.record(first)).state is DeliveryState.WAITING
    await again(first.function, first.path, first.source)
    assert (await house.record(first)).state is DeliveryState.OBSOLETE
    assert (await house.record(second)).state is DeliveryState.WAITING


@pytest.mark.parametrize(("source", "database"), [(FIRESTORE, "firestore"), (DATABASE, "database")])
async def test_a_handler_is_asked_about_the_same_event_and_so_are_the_logs(
    house: House, source: str, database: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Change] = []

    async def poke(change: Change, look_up: LookUp) -> Push:
        seen.append(change)
        bob = Recipients(custom_ids=["bob"], quiet=QuietHours(time(22), time(7), UTC))
        return Push(group_id="poke", recipients=bob, message=Message("Hey"))

    async def watching(change: Change) -> None:
        await house.made.deliverer.deliver(change, poke)

    change = replace(
        created("pokes/p", {}, poke_id="p"),
        id=uuid.uuid4().hex,
        function=f"poke_{house.id}",
        time=house.clock.now(),
        source=source,
        database=database,
    )
    WATCHED[change.function] = Watched("pokes/{poke_id}", watching)
    house.made.resumption.look_up_for = lambda change: Stored({"pokes/p": {}})
    await watching(change)
    await house.morning()
    first, again = ({**vars(each), "late": None} for each in seen)
    assert {name: again[name] for name in first} == first
    assert [who for who, _ in house.told()] == ["bob"]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (sent,) = [line for line in lines if line["message"] == "delivery.sent"]
    assert (sent["function"], sent["event_id"]) == (change.function, change.id)
    assert sent["document"] == "pokes/p"


class WithInvalid(Stored):
    """A look-up that cannot read one of the documents."""

    def __init__(self, documents: Mapping[str, Mapping[str, Any]], invalid: str) -> None:
        super().__init__(documents)
        self._invalid = invalid

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Document | None]:
        if self._invalid in (*paths, "elsewhere"):
            raise InvalidDocument(self._invalid, None, "cannot be read")
        return await super().many(*paths, fields=fields)


async def test_a_document_that_cannot_be_read_any_more_does_not_silence_the_others(
    chat: House, capsys: pytest.CaptureFixture[str]
) -> None:
    messages = [await chat.message(f"m{number}", f"Hello {number}") for number in range(4)]
    documents = {each.path: each.document for each in messages}
    look_up = WithInvalid(documents, messages[2].path)
    chat.made.resumption.look_up_for = lambda change: look_up
    await pass_window(chat)
    assert ("bob", "2 new messages") in chat.told()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (dropped,) = [line for line in lines if line["message"] == "document.dropped"]
    assert (dropped["severity"], dropped["error"]) == ("ERROR", "InvalidDocument")


async def test_what_cannot_be_read_at_all_is_refused_with_the_reason(house: House) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    change = await house.friend_request(bob)
    house.made.resumption.look_up_for = lambda change: WithInvalid({}, "elsewhere")
    await house.morning()
    record = await house.record(change)
    assert (record.state, record.reason) == (DeliveryState.REFUSED, "elsewhere: cannot be read")


async def poke(change: Change, look_up: LookUp) -> Push:
    """To somebody whom no user id names, and in no burst."""
    recipients = Recipients(tokens=["t"], quiet=QuietHours(time(22), time(7), UTC))
    return Push(group_id="poke", recipients=recipients, message=Message("Hey"))


async def test_whom_no_user_id_names_is_told_in_the_morning_too(house: House) -> None:
    change = await house.happens(poke, "pokes/{poke_id}", {}, poke_id="p")
    await house.morning()
    assert (await house.record(change)).state is DeliveryState.SENT
    (body,) = [call["body"] for call in house.api.calls() if call["app"] == "ios"]
    assert body["recipients"] == {"tokens": ["t"]}


async def test_a_push_that_waited_alone_has_no_burst(house: House) -> None:
    record = await house.record(await house.happens(poke, "pokes/{poke_id}", {}, poke_id="p"))
    with rpcs(house.made.ledger) as made:
        await house.morning(record.best_before)
    assert made == ["BatchGetDocuments", "Commit"]


async def test_quiet_hours_that_became_longer_are_kept(house: House) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    change = await house.friend_request(bob)
    await house.knows("bob", quiet_hours={"start": "22:00", "end": "09:30"})
    await house.morning()
    assert house.told() == []
    later = MORNING + timedelta(hours=2, minutes=30)
    assert (await house.record(change)).not_before == later
    await house.morning(later)
    assert [who for who, _ in house.told()] == ["bob"]
    assert (await house.record(change)).state is DeliveryState.SENT


@pytest.mark.parametrize(("count", "told"), [(3, "3 new messages"), (25, "21+ new messages")])
async def test_quiet_hours_that_became_longer_keep_all_that_waits(
    house: House, count: int, told: str
) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    await house.stores(f"conversations/{house.id}", {"member_ids": [bob]})
    first = await house.message("m0", "Hello 0")
    for number in range(1, count):
        house.clock.forward(61)
        await house.message(f"m{number}", f"Hello {number}")
    await house.knows("bob", quiet_hours={"start": "22:00", "end": "09:30"})
    await house.morning()
    assert house.told() == []
    waiting = await house.record(first)
    assert waiting.burst
    stored = await house.made.ledger.read_burst(waiting.burst)
    assert not stored.burst.about  # the record has it now: nothing counts twice
    await house.morning(MORNING + timedelta(hours=2, minutes=30))
    assert [who for who, _ in house.told()] == ["bob"]
    assert house.told()[0][1] == told


async def test_who_waits_once_more_leaves_the_others_of_the_burst_as_they_are(
    house: House,
) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    tom = await house.knows("tom", quiet_hours={"start": "22:00", "end": "10:00"})
    await house.stores(f"conversations/{house.id}", {"member_ids": [bob, tom]})
    await house.message("m1", "Hello")
    ends = {at: delivery for delivery, at in house.tasks()}
    assert list(ends) == [MORNING, LATE]
    await house.knows("bob", quiet_hours={"start": "22:00", "end": "09:00"})
    house.clock.value = MORNING
    await house.made.resumption.resume(ends[MORNING])
    ((of_bob, _),) = house.tasks()

    await house.message("m2", "Are you up?")
    assert house.tasks() == []
    house.clock.forward(2 * 3600)
    await house.made.resumption.resume(of_bob)
    house.clock.forward(3600)
    await house.made.resumption.resume(ends[LATE])
    assert house.told() == [("bob", "2 new messages"), ("tom", "2 new messages")]


async def test_a_task_that_comes_early_waits_or_comes_again(house: House) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    record = await house.record(await house.friend_request(bob))
    house.clock.value = MORNING - timedelta(seconds=SHORT_WAIT + 1)
    with pytest.raises(DeliveryUnfinished, match="it still has to wait"):
        await house.made.resumption.resume(record.id)
    house.clock.value = MORNING - timedelta(seconds=SHORT_WAIT)
    await house.made.resumption.resume(record.id)
    assert house.clock.slept[-1] == SHORT_WAIT
    assert len(house.told()) == 1


async def test_a_task_of_a_longer_wait_makes_the_next(house: House) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    record = await house.record(await house.friend_request(bob))
    assert house.tasks() == [(record.id, MORNING)]
    resume = house.made.resumption.resume
    soon = EVENING + timedelta(seconds=SHORT_WAIT)
    await resume(record.id, soon)
    assert house.tasks() == [(record.id, MORNING)]
    with pytest.raises(DeliveryUnfinished, match="it still has to wait"):
        await resume(record.id, soon + timedelta(seconds=1))  # the task has come too early
    house.made.tasks.is_down = True  # type: ignore[attr-defined]
    problem = r"^Cloud Tasks did not accept the task for a longer wait$"
    with pytest.raises(DeliveryUnfinished, match=problem):
        await resume(record.id, EVENING)
    house.clock.value = MORNING - timedelta(seconds=SHORT_WAIT)
    await resume(record.id, house.clock.now())
    assert len(house.told()) == 1


async def test_without_cloud_tasks_the_event_comes_again_and_nothing_is_lost(
    house: House,
) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    assert isinstance(house.made.tasks, Queue)
    house.made.tasks.is_down = True
    with pytest.raises(DeliveryUnfinished):
        await house.friend_request(bob)
    house.made.tasks.is_down = False
    (delivery,) = [each async for each in house.made.ledger.overdue(MORNING + timedelta(1))]
    assert house.tasks() == []
    house.clock.value = MORNING + timedelta(seconds=899)
    await house.made.sweep.run()
    assert house.tasks() == [], "a task may come a little late"
    house.clock.value = MORNING + timedelta(seconds=901)
    await house.made.sweep.run()
    assert [name for name, _ in house.tasks()] == [delivery]
    await house.made.resumption.resume(delivery)
    assert len(house.told()) == 1


async def test_what_waited_far_too_long_is_not_sent(house: House) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    change = await house.friend_request(bob)
    await house.morning((await house.record(change)).best_before)
    assert house.told() == []
    assert (await house.record(change)).state is DeliveryState.EXPIRED


async def test_a_function_that_is_gone_by_the_morning_is_named(house: House) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    change = await house.friend_request(bob)
    del WATCHED[change.function]
    await house.morning()
    record = await house.record(change)
    assert record.state is DeliveryState.REFUSED
    assert record.reason == f"main.py has no {change.function} any more"
    assert record.owner


async def test_a_look_up_that_fails_in_the_morning_is_tried_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    record = await house.record(await house.friend_request(bob))
    handler = WATCHED[record.function].function

    async def blind(change: Change) -> None:
        async def unread(change: Change, look_up: LookUp) -> Push:
            raise LookUpFailed("Firestore: ServiceUnavailable")

        await house.made.deliverer.deliver(change, unread)

    house.clock.value = MORNING
    WATCHED[record.function] = replace(WATCHED[record.function], function=blind)
    with pytest.raises(LookUpFailed):
        await house.made.resumption.resume(record.id)
    WATCHED[record.function] = replace(WATCHED[record.function], function=handler)
    await house.made.resumption.resume(record.id)
    assert len(house.told()) == 1


async def test_a_person_who_is_erased_is_not_told_in_the_morning(house: House) -> None:
    bob = await house.knows("bob", quiet_hours=NIGHT)
    zoe = await house.knows("zoe", quiet_hours=NIGHT)
    await house.stores(f"conversations/{house.id}", {"member_ids": [bob, zoe]})
    change = await house.message("m1", "Hello")
    ledger = house.made.ledger
    for person, state in ((bob, DeliveryState.WAITING), (zoe, DeliveryState.OBSOLETE)):
        entry = await ledger.read((await house.record(change)).id)
        assert entry is not None
        await ledger.erase(entry, without(person, entry.record, house.clock.now()).record)
        assert (await house.record(change)).state is state
        waiting = [each async for each in ledger.overdue(MORNING + timedelta(1))]
        assert bool(waiting) is (state is DeliveryState.WAITING)
    await house.morning()
    assert house.told() == []


@pytest.mark.parametrize("data", [{}, {"delivery": 5}])
async def test_a_task_without_a_delivery_never_comes_again(data: dict[str, Any]) -> None:
    with pytest.raises(MalformedEvent):
        await send_waiting_delivery(data)


async def test_a_task_whose_record_is_gone_is_done_and_logged(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    await house.made.resumption.resume("0" * 64)
    line = json.loads(capsys.readouterr().out)
    assert (line["severity"], line["message"]) == ("ERROR", "delivery.missing")
    assert line["data"] == {"delivery": "0" * 64}


# Bursts


@pytest.fixture
async def chat(house_for: Callable[..., House]) -> House:
    """Bob and Zoé in a conversation, whose bursts are told together."""
    house = house_for(COALESCE_SECONDS="30")
    bob, zoe = await house.knows("bob"), await house.knows("zoe", language="fr")
    await house.stores(f"conversations/{house.id}", {"member_ids": [bob, zoe]})
    return house


async def pass_window(house: House) -> None:
    await house.morning(house.clock.now() + timedelta(seconds=30))


async def test_of_a_burst_the_first_is_told_at_once_and_then_how_many(chat: House) -> None:
    changes = [await chat.message(f"m{number}", f"Hello {number}") for number in range(4)]
    assert chat.told() == [("bob", "Hello 0"), ("zoe", "Hello 0")]
    states = [(await chat.record(change)).state for change in changes]
    assert states == [
        DeliveryState.SENT,
        DeliveryState.WAITING,
        DeliveryState.OBSOLETE,
        DeliveryState.OBSOLETE,
    ]
    assert len(chat.made.tasks.tasks) == 1  # type: ignore[attr-defined]
    await pass_window(chat)
    assert chat.told()[2:] == [("bob", "3 new messages"), ("zoe", "3 nouveaux messages")]
    await chat.message("m5", "And you?")
    assert chat.told()[4:] == [("bob", "And you?"), ("zoe", "And you?")]


async def test_a_second_message_alone_is_told_in_its_own_words(chat: House) -> None:
    await chat.message("m1", "Hello")
    await chat.message("m2", "Are you there?")
    await pass_window(chat)
    assert chat.told()[2:] == [("bob", "Are you there?"), ("zoe", "Are you there?")]


async def test_who_writes_in_a_burst_is_not_told_of_their_own(chat: House) -> None:
    bob = f"bob-{chat.id}"
    await chat.message("m1", "Hello")
    await chat.message("m2", "Hi!", sender=bob)
    await chat.message("m3", "Dinner?")
    await pass_window(chat)
    assert sorted(chat.told()[2:]) == [("bob", "Dinner?"), ("zoe", "2 nouveaux messages")]


async def test_what_was_read_or_deleted_within_a_burst_is_not_counted(chat: House) -> None:
    changes = [await chat.message(f"m{number}", f"Hello {number}") for number in range(5)]
    await chat.stores(changes[1].path, None)
    await chat.stores(changes[3].path, dict(changes[3].document) | {"unread_message": False})
    await pass_window(chat)
    assert ("bob", "2 new messages") in chat.told()


async def test_in_quiet_hours_all_of_a_conversation_is_one_push_in_the_morning(
    house_for: Callable[..., House],
) -> None:
    house = house_for(COALESCE_SECONDS="30")
    bob = await house.knows("bob", quiet_hours=NIGHT)
    await house.stores(f"conversations/{house.id}", {"member_ids": [bob]})
    for number in range(3):
        await house.message(f"m{number}", f"Hello {number}")
        house.clock.forward(3600)
    assert house.told() == []
    await house.morning()
    assert house.told() == [("bob", "3 new messages")]


async def test_messages_that_come_all_at_once_are_told_once_each_or_counted(chat: House) -> None:
    await asyncio.gather(*(chat.message(f"m{number}", f"Hello {number}") for number in range(6)))
    first = [text for who, text in chat.told() if who == "bob"]
    assert len(first) == 1
    await pass_window(chat)
    assert [text for who, text in chat.told() if who == "bob"][1:] == ["5 new messages"]


async def test_a_message_that_joins_as_the_burst_is_told_is_told_as_well(chat: House) -> None:
    for number in range(3):
        await chat.message(f"m{number}", f"Hello {number}")
    ((delivery, _),) = chat.tasks()
    chat.clock.forward(30)
    await asyncio.gather(chat.made.resumption.resume(delivery), chat.message("m3", "Hello 3"))
    await chat.morning(chat.clock.now() + timedelta(seconds=31))
    told = [text for who, text in chat.told() if who == "bob"]
    assert sorted(told) in (["2 new messages", "Hello 0", "Hello 3"], ["3 new messages", "Hello 0"])


@pytest.mark.parametrize("is_gone", [True, False])
async def test_nothing_joins_what_was_refused_while_it_waited(chat: House, is_gone: bool) -> None:
    await chat.message("m1", "Hello")
    second = await chat.message("m2", "Are you there?")
    resumption = chat.made.resumption
    with pytest.MonkeyPatch.context() as patch:
        if is_gone:
            patch.delitem(WATCHED, second.function)
        else:
            blind = WithInvalid({}, "elsewhere")
            patch.setattr(resumption, "look_up_for", lambda change: blind)
        await resumption.again(second.function, second.path, second.source)
    assert (await chat.record(second)).state is DeliveryState.REFUSED
    await chat.message("m3", "Dinner?")
    await pass_window(chat)
    assert ("bob", "Dinner?") in chat.told()


async def test_nothing_joins_what_was_told_before_its_time(
    house_for: Callable[..., House],
) -> None:
    house = house_for(COALESCE_SECONDS="30")
    bob = await house.knows("bob", quiet_hours=NIGHT)
    await house.stores(f"conversations/{house.id}", {"member_ids": [bob]})
    first = await house.message("m1", "Hello")
    await house.knows("bob")  # awake after all
    await house.made.resumption.again(first.function, first.path, first.source)
    assert house.told() == [("bob", "Hello")]
    await house.message("m2", "Are you there?")
    await pass_window(house)
    assert house.told()[1:] == [("bob", "Are you there?")]


async def test_different_conversations_are_different_bursts(chat: House) -> None:
    await chat.message("m1", "Hello")
    first, chat.id = chat.id, uuid.uuid4().hex[:12]
    await chat.stores(f"conversations/{chat.id}", {"member_ids": [f"bob-{first}"]})
    await chat.message("m1", "Hello from elsewhere")
    assert ("bob", "Hello from elsewhere") in chat.told()
