"""How much one person may have pushed: counted in the commit that claims it, and held to."""

import asyncio
import json
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush import CallableRequest, Change, LookUp, Message, Push, Recipients
from batchpush.delivery.record import DeliveryState
from batchpush.delivery.waiting import name_of
from batchpush.documents import EPOCH
from batchpush.errors import TryAgainLater
from batchpush.google.firestore import FirestoreUnavailable
from batchpush.pushes.limits import COUNT, MAX_EACH, Limit, Over, ReachedLimits, counters
from batchpush.testing.memory import Operation
from batchpush.worker import deliver_call, working_with
from handlers import app_to_app, friend_requests, messages
from tests.house import EVENING, MORNING, NIGHT, House

MESSAGE = "conversations/{conversation_id}/messages/{message_id}"
REQUEST = "users/{user_id}/friend_requests/{sender_id}"
MINUTE = 60


async def asks_everybody(house: House, profile: dict[str, Any]) -> None:
    """Somebody asks 60 people, each of whom has this profile, to be a friend."""
    for number in range(60):
        await house.stores(f"users/u{number}", profile)
        await house.happens(
            friend_requests.friend_request,
            REQUEST,
            {"status": "pending"},
            user_id=f"u{number}",
            sender_id="mal",
        )


@pytest.fixture
def house() -> House:
    return House()


async def conversation(house: House, conversation_id: str, *members: str) -> None:
    for each in members:
        await house.stores(f"users/{each}", {"display_name": each})
    await house.stores(f"conversations/{conversation_id}", {"member_ids": list(members)})


async def writes(house: House, sender: str, conversation_id: str, name: str) -> Change:
    return await house.happens(
        messages.new_message,
        MESSAGE,
        {"sender_id": sender, "text": f"{sender} {name}"},
        conversation_id=conversation_id,
        message_id=name,
    )


def told(house: House) -> Counter[tuple[str, str]]:
    """Who was told by whom how often."""
    return Counter((who, text.split()[0]) for who, text in house.all_told())


def counts(house: House) -> list[int]:
    """The total of each counter."""
    return [
        document.fields[COUNT].integer_value
        for name, document in house.memory.documents.items()
        if "/batch_limits/" in name
    ]


async def test_a_flood_reaches_each_person_no_more_often_than_the_limit(house: House) -> None:
    await conversation(house, "c1", "ann", "bob", "zoe")
    changes = [await writes(house, "ann", "c1", f"m{number}") for number in range(60)]
    assert told(house) == {("bob", "ann"): 20, ("zoe", "ann"): 20}
    states = Counter([(await house.record_of(change)).state for change in changes])
    assert states == {DeliveryState.SENT: 20, DeliveryState.REFUSED: 40}
    record = await house.record_of(changes[-1])
    assert record.reason == "over the limit of 20 to one recipient in 60 s"
    assert (record.calls, record.bodies, record.sender) == ((), (), "ann")


async def test_events_that_come_all_at_once_are_held_to_the_limit_too(house: House) -> None:
    await conversation(house, "c1", "ann", "bob")
    await asyncio.gather(*(writes(house, "ann", "c1", f"m{number}") for number in range(60)))
    assert told(house) == {("bob", "ann"): 20}


async def test_many_conversations_are_one_senders_all_the_same(house: House) -> None:
    for number in range(70):
        await conversation(house, f"c{number}", "ann", f"user{number}")
        await writes(house, "ann", f"c{number}", "m")
    assert len(told(house)) == 60


async def test_a_flood_silences_nobody_else(house: House) -> None:
    await conversation(house, "c1", "ann", "bob", "zoe")
    await conversation(house, "c2", "ann", "tim")
    for number in range(30):
        await writes(house, "ann", "c1", f"m{number}")
    await writes(house, "zoe", "c1", "honest")
    await writes(house, "ann", "c2", "to another")
    assert told(house)["bob", "zoe"] == 1
    assert told(house)["ann", "zoe"] == 1
    assert told(house)["tim", "ann"] == 1


async def test_in_the_next_window_there_is_room_again(house: House) -> None:
    await conversation(house, "c1", "ann", "bob")
    for number in range(30):
        await writes(house, "ann", "c1", f"m{number}")
    house.clock.forward(MINUTE)
    await writes(house, "ann", "c1", "later")
    assert told(house) == {("bob", "ann"): 21}


async def test_a_large_group_is_counted_as_one_audience(house: House) -> None:
    members = [f"u{number}" for number in range(MAX_EACH + 50)]
    await conversation(house, "c1", "ann", *members)
    for number in range(25):
        await writes(house, "ann", "c1", f"m{number}")
    assert set(told(house).values()) == {20}
    assert len(told(house)) == len(members)


async def test_an_event_that_comes_again_is_not_counted_again(house: House) -> None:
    await conversation(house, "c1", "ann", "bob")
    change = await writes(house, "ann", "c1", "m1")
    for _ in range(30):
        await house.worker.deliverer.deliver(change, messages.new_message)
    await writes(house, "ann", "c1", "m2")
    assert told(house) == {("bob", "ann"): 2}


async def test_what_is_over_the_limit_is_logged_once_and_counted_no_more(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    await conversation(house, "c1", "ann", "bob")
    for number in range(40):
        await writes(house, "ann", "c1", f"m{number}")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (reached,) = [line for line in lines if line["severity"] != "INFO"]
    assert (reached["severity"], reached["message"]) == ("WARNING", "limit.reached")
    assert reached["data"] == {"problem": "over the limit of 20 to one recipient in 60 s"}
    assert all(line["message"] != "delivery.refused" for line in lines)
    assert counts(house) == [21]


async def test_who_is_over_a_limit_keeps_nobody_else_from_being_told(house: House) -> None:
    await conversation(house, "c1", "ann", "bob")
    await conversation(house, "c2", "ann", "bob", "zoe")
    for number in range(25):
        await writes(house, "ann", "c1", f"m{number}")
    change = await writes(house, "ann", "c2", "m1")
    assert told(house) == {("bob", "ann"): 20, ("zoe", "ann"): 1}
    assert dict((await house.record_of(change)).left_out) == {"over a limit": ("bob",)}


async def test_who_is_told_after_a_wait_was_counted_when_the_event_came(house: House) -> None:
    await conversation(house, "c1", "ann", "bob")
    await house.stores("users/bob", {"quiet_hours": NIGHT})
    change = await writes(house, "ann", "c1", "m1")
    assert counts(house) == [1]
    await house.worker.deliverer.deliver(change, messages.new_message)
    await house.run_tasks(MORNING)
    assert told(house) == {("bob", "ann"): 1}
    assert counts(house) == [1]


async def test_another_process_learns_of_the_limit_before_it_sends(house: House) -> None:
    await conversation(house, "c1", "ann", "bob")
    for number in range(40):
        house.worker.deliverer.planner.known = ReachedLimits()  # each event is another process's
        await writes(house, "ann", "c1", f"m{number}")
    assert told(house) == {("bob", "ann"): 20}


async def test_a_limit_costs_no_round_trip(house: House) -> None:
    await conversation(house, "c1", "ann", "bob")
    house.memory.operations.clear()
    await writes(house, "ann", "c1", "m1")
    assert house.memory.operations == ["read", "read", "claim", "record"], (
        "two look-ups, the claim with its counter, the outcome"
    )


async def test_who_sleeps_is_told_once_however_many_wrote_however_much(house: House) -> None:
    await conversation(house, "c1", "ann", "bob", "zoe")
    await house.stores("users/bob", {"quiet_hours": NIGHT})
    for number in range(60):
        await writes(house, "ann", "c1", f"m{number}")
        house.clock.forward(MINUTE)
    await writes(house, "zoe", "c1", "honest")
    await house.run_tasks(MORNING)
    assert [text for who, text in house.all_told() if who == "bob"] == ["21+ new messages"]


# Told later: at the end of quiet hours, in a digest, or at a time to come

LATER: list[dict[str, Any]] = [
    {"quiet_hours": NIGHT},
    {"push_preferences": {"new_message": "07:00", "friend_request": "07:00"}},
]


async def in_the_morning(house: House) -> None:
    house.clock.value = MORNING
    await house.worker.digests.look()
    await house.run_tasks(MORNING)


@pytest.mark.parametrize("is_known", [True, False])
@pytest.mark.parametrize("profile", LATER)
async def test_many_conversations_with_a_sleeper_are_as_few_pushes_as_by_day(
    profile: dict[str, Any], is_known: bool
) -> None:
    house = House(RECIPIENT_INDEX_DAYS="7")
    changes = []
    for number in range(30):
        await conversation(house, f"c{number}", "ann", "bob")
        await house.stores("users/bob", profile)
        if not is_known:  # each event is another process's
            house.worker.deliverer.planner.known = ReachedLimits()
        changes.append(await writes(house, "ann", f"c{number}", "m"))
    record = await house.record_of(changes[-1])
    assert record.state is DeliveryState.REFUSED
    assert record.reason == "over the limit of 20 to one recipient in 60 s"
    assert (record.bodies, record.later, record.not_before) == ((), (), None)
    assert record.people == (name_of("custom_ids", "bob"),)
    await in_the_morning(house)
    if "quiet_hours" in profile:
        assert told(house) == {("bob", "ann"): 20}
    else:
        assert house.all_told() == [("bob", "20 new notifications")]


@pytest.mark.parametrize("profile", LATER)
async def test_friend_requests_to_sleepers_are_few_too(
    house: House, profile: dict[str, Any]
) -> None:
    await asks_everybody(house, profile)
    await in_the_morning(house)
    assert len(house.all_told()) == 50


@pytest.mark.parametrize("profile", LATER)
async def test_events_that_come_all_at_once_are_told_later_within_the_limit(
    house: House, profile: dict[str, Any]
) -> None:
    async def interleaved(name: str, operation: Operation) -> Any:
        await asyncio.sleep(0)
        return operation()

    async def requests(number: int) -> None:
        """Again and again, as the platform does."""
        for _ in range(20):
            with suppress(TryAgainLater):
                await house.happens(
                    friend_requests.friend_request,
                    REQUEST,
                    {"status": "pending"},
                    event_id=f"e{number}",
                    user_id=f"u{number}",
                    sender_id="mal",
                )

    for number in range(60):
        await house.stores(f"users/u{number}", profile)
    house.memory.strike = interleaved
    await asyncio.gather(*map(requests, range(60)))
    states = Counter(record.reason for record in await house.records())
    assert states["over the limit of 50 in 86400 s"] == 10
    assert states.total() == 60
    assert counts(house) == [50]


async def test_an_inbox_gets_as_many_entries_at_night_as_by_day() -> None:
    house = House(NOTIFICATION_HISTORY_DAYS="90")
    await conversation(house, "c1", "ann", "bob")
    await house.stores("users/bob", {"quiet_hours": NIGHT})
    for number in range(30):
        await writes(house, "ann", "c1", f"m{number}")
    entries = [each async for each in house.worker.ledger.all_of("users/bob/notifications")]
    assert len(entries) == 20
    await house.run_tasks(MORNING)
    assert [text for _, text in house.all_told()] == ["20 new messages"]


async def test_who_sleeps_in_a_large_group_is_told_within_the_limit_of_the_group(
    house: House,
) -> None:
    members = [f"u{number}" for number in range(MAX_EACH + 50)]
    await conversation(house, "c1", "ann", *members)
    for each in members[::2]:
        await house.stores(f"users/{each}", {"quiet_hours": NIGHT})
    for number in range(25):
        await writes(house, "ann", "c1", f"m{number}")
    await house.run_tasks(MORNING)
    texts = Counter(text for who, text in house.all_told() if who == members[0])
    assert texts == {"20 new messages": 1}
    assert told(house)[members[1], "ann"] == 20


async def test_a_flood_at_night_silences_nobody_else(house: House) -> None:
    await conversation(house, "c1", "ann", "bob", "zoe")
    await conversation(house, "c2", "ann", "tim")
    for each in ("bob", "tim"):
        await house.stores(f"users/{each}", {"quiet_hours": NIGHT})
    for number in range(30):
        await writes(house, "ann", "c1", f"m{number}")
    await writes(house, "zoe", "c1", "honest")
    await writes(house, "ann", "c2", "to another")
    await house.run_tasks(MORNING)
    assert ("bob", "21 new messages") in house.all_told()
    assert told(house)["ann", "zoe"] == 1
    assert told(house)["tim", "ann"] == 1


async def test_who_sleeps_and_is_over_a_limit_keeps_nobody_else_from_being_told(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    await conversation(house, "c1", "ann", "bob")
    await conversation(house, "c2", "ann", "bob", "zoe", "tim")
    for each in ("bob", "tim"):
        await house.stores(f"users/{each}", {"quiet_hours": NIGHT})
    for number in range(20):
        await writes(house, "ann", "c1", f"m{number}")
    assert "limit.reached" not in capsys.readouterr().out
    change = await writes(house, "ann", "c2", "m1")
    assert capsys.readouterr().out.count("limit.reached") == 1
    await house.run_tasks(MORNING)
    assert sorted(house.all_told()) == [
        ("bob", "20 new messages"),
        ("tim", "ann m1"),
        ("zoe", "ann m1"),
    ]
    assert dict((await house.record_of(change)).left_out)["over a limit"] == ("bob",)


async def test_a_limit_that_is_reached_at_night_is_logged_once(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    await house.stores("users/bob", {"quiet_hours": NIGHT})

    async def requests(event_id: str) -> None:
        await house.happens(
            friend_requests.friend_request,
            REQUEST,
            {"status": "pending"},
            event_id=event_id,
            user_id="bob",
            sender_id="mal",
        )

    for event_id in ("e1", "e1"):
        await requests(event_id)
    assert "limit.reached" not in capsys.readouterr().out, "one event, delivered twice"
    for event_id in ("e2", "e3"):
        await requests(event_id)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in lines] == ["limit.reached"]
    assert counts(house) == [1]
    await house.run_tasks(MORNING)
    assert len(house.all_told()) == 1


async def test_an_answer_that_is_lost_at_night_is_counted_once(house: House) -> None:
    await conversation(house, "c1", "ann", "bob")
    await house.stores("users/bob", {"quiet_hours": NIGHT})

    async def lost(name: str, operation: Operation) -> Any:
        answer = operation()
        if name == "claim":
            house.memory.strike = None
            raise FirestoreUnavailable("UNAVAILABLE")
        return answer

    house.memory.strike = lost
    for _ in range(3):
        with suppress(TryAgainLater):
            await house.happens(
                messages.new_message,
                MESSAGE,
                {"sender_id": "ann", "text": "ann wrote"},
                event_id="e1",
                conversation_id="c1",
                message_id="m1",
            )
    await house.run_tasks(MORNING)
    assert told(house) == {("bob", "ann"): 1}
    assert counts(house) == [1]


async def test_a_limit_costs_one_read_where_somebody_is_told_later(house: House) -> None:
    await conversation(house, "c1", "ann", "bob")
    await house.stores("users/bob", {"quiet_hours": NIGHT})
    house.memory.operations.clear()
    await writes(house, "ann", "c1", "m1")
    assert house.memory.operations == ["read"] * 4 + ["claim"], (
        "two look-ups, the burst, the counter, and the claim"
    )


async def test_a_push_with_a_time_to_come_is_counted_when_its_event_comes(house: House) -> None:
    async def remind(change: Change, look_up: LookUp) -> Push:
        return Push(
            group_id="g",
            recipients=Recipients(custom_ids=["bob"]),
            message=Message("Soon"),
            send_at=MORNING,
            limits=[Limit(("ann",), 3)],
        )

    for number in range(5):
        await house.happens(remind, "reminders/{id}", {"a": 1}, id=f"r{number}")
    await house.run_tasks(MORNING)
    assert house.all_told() == [("bob", "Soon")] * 3
    assert counts(house) == [3]


async def test_what_joins_a_push_of_a_coalescing_window_is_not_counted() -> None:
    house = House(COALESCE_SECONDS="30")
    await conversation(house, "c1", "ann", "bob")
    for number in range(30):
        await writes(house, "ann", "c1", f"m{number}")
    assert counts(house) == [2]
    await house.run_tasks(EVENING + timedelta(seconds=30))
    assert [text for _, text in house.all_told()] == ["ann m0", "21+ new messages"]


async def test_a_coalescing_window_lets_nobody_past_a_limit() -> None:
    house = House(COALESCE_SECONDS="30")
    for number in range(30):
        await conversation(house, f"c{number}", "ann", "bob")
        for name in ("m1", "m2"):
            await writes(house, "ann", f"c{number}", name)
    await house.run_tasks(EVENING + timedelta(seconds=30))
    assert told(house) == {("bob", "ann"): 20}


async def test_who_writes_much_and_takes_it_back_hides_nobody_elses_message(house: House) -> None:
    await conversation(house, "c1", "mal", "bob", "zoe")
    await house.stores("users/bob", {"quiet_hours": NIGHT})
    await writes(house, "mal", "c1", "m")
    await writes(house, "zoe", "c1", "honest")
    for minute in range(3):
        house.clock.forward(MINUTE)
        for number in range(20):
            await writes(house, "mal", "c1", f"m{minute}-{number}")
    for name in list(house.memory.documents):
        if "/messages/m" in name:
            await house.stores(name.partition("/documents/")[2], None)
    await house.run_tasks(MORNING)
    assert [who for who, _ in house.all_told()].count("bob") == 1


async def test_friend_requests_made_and_deleted_in_a_loop_are_one_a_day(house: House) -> None:
    await house.stores("users/bob", {})
    for day in range(2):
        house.clock.value = EVENING + timedelta(days=day)
        for _ in range(10):
            await house.happens(
                friend_requests.friend_request,
                REQUEST,
                {"status": "pending"},
                user_id="bob",
                sender_id="mal",
            )
    assert len(house.all_told()) == 2


async def test_friend_requests_to_everybody_are_few(house: House) -> None:
    await asks_everybody(house, {})
    assert len(house.all_told()) == 50


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"unread_message": False}, {"unread_message": True}),
        ({"unread_by": {"zoe": True}}, {"unread_by": {"zoe": True, "bob": True}}),
        ({"unread_by": {"bob": False}}, {"unread_by": {"bob": True}}),
    ],
)
async def test_a_message_that_is_marked_again_and_again_is_pushed_once(
    house: House, before: dict[str, Any], after: dict[str, Any]
) -> None:
    await conversation(house, "c1", "ann", "bob", "zoe")
    message = {"sender_id": "ann", "text": "ann wrote"}
    for _ in range(5):
        await house.happens(
            messages.message_unread,
            MESSAGE,
            message | after,
            before=message | before,
            conversation_id="c1",
            message_id="m1",
        )
    people = ["bob", "zoe"] if "unread_message" in after else ["bob"]
    assert house.all_told() == [(each, "Still unread: ann wrote") for each in people]


async def test_many_who_poke_one_person_are_held_to_a_limit_together(house: House) -> None:
    await house.stores("users/bob", {})
    for number in range(30):
        await house.stores(f"users/ann{number}/friends/bob", {})
        call = CallableRequest(
            "notify", f"ann{number}", "request-1", {"to": "bob", "template": "poke"}, EVENING
        )
        with working_with(house.worker):
            await deliver_call(call, app_to_app.notify, limits=app_to_app.limits(call))
    assert len(house.all_told()) == app_to_app.MAX_PER_RECIPIENT == 20
    reasons = Counter(record.reason for record in await house.records())
    assert reasons == {None: 20, "over the limit of 20 in 60 s": 10}


# Pure


def test_two_limits_of_one_window_share_a_document() -> None:
    limits = [Limit(("ann",), 60), Limit(("ann",), 20, each=True), Limit(("to", "bob"), 5)]
    first, second = counters(limits, ("f", "s"), {"n1", "n2"}, EVENING)
    assert (first.max_all, first.max_each, first.names) == (60, 20, ("n1", "n2"))
    assert (second.max_all, second.max_each, second.names) == (5, None, ())
    assert {(each.end - EVENING, each.seconds) for each in (first, second)} == {
        (timedelta(seconds=60), 60)
    }
    assert first.fields == ["calls", "to.nn1", "to.nn2"]


def test_a_push_counts_as_one_more_than_there_were() -> None:
    limits = [Limit(("ann",), 1), Limit(("ann",), 1, each=True)]
    (counter,) = counters(limits, ("f", "s"), {"n1"}, EVENING)
    assert counter.after({}) == [1, 1]
    assert counter.after({"calls": 4, "to": {"nn2": 3}}) == [5, 1]
    assert counter.after({"calls": 4, "to": {"nn1": 3}}) == [5, 4]


def test_a_window_begins_and_ends_at_fixed_times() -> None:
    limit = Limit(("ann",), 5)
    name, end = limit.window(EVENING)
    assert end == EVENING + timedelta(seconds=60)
    assert limit.window(EVENING + timedelta(seconds=59.9)) == (name, end)
    other, later = limit.window(end)
    assert (other != name, later) == (True, end + timedelta(seconds=60))
    others = (Limit(("bob",), 5), Limit(("ann",), 5, seconds=3600))
    assert len({name, *(each.window(EVENING)[0] for each in others)}) == 3
    # Both have one number: what a minute and a second have counted is kept apart all the same.
    late = EPOCH + 60 * (EVENING - EPOCH)
    assert Limit(("ann",), 5).window(late)[0] != Limit(("ann",), 5, seconds=1).window(EVENING)[0]


@pytest.mark.parametrize(("number", "counted"), [(1, 1), (MAX_EACH, MAX_EACH), (MAX_EACH + 1, 1)])
def test_recipients_are_counted_one_by_one_or_as_one_audience(number: int, counted: int) -> None:
    names = [f"n{each}" for each in range(number)]
    (counter,) = counters([Limit(("ann",), 5, each=True)], ("f", "s"), names, EVENING)
    assert len(counter.names) == counted
    assert counter.is_audience is (number > MAX_EACH)
    assert counter.end == EVENING + timedelta(seconds=MINUTE)
    again = counters([Limit(("ann",), 5, each=True)], ("f", "s"), names[::-1], EVENING)
    assert again == [counter]
    numbers = [6, *[6] * counted]
    assert counter.over(numbers).is_all is (number > MAX_EACH)


def test_what_is_counted_of_one_function_or_window_is_not_of_another() -> None:
    limits = [Limit(("ann",), 60)]
    later = EVENING + timedelta(seconds=60)
    ids = [
        counters(limits, scope, set(), now)[0].id
        for scope, now in ((("f", "s"), EVENING), (("g", "s"), EVENING), (("f", "s"), later))
    ]
    assert len(set(ids)) == 3


@given(
    st.integers(0, 100),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 50), min_size=1),
    st.integers(1, 60),
    st.integers(1, 20),
)
def test_over_is_who_had_more_than_the_limit(
    in_all: int, to_each: dict[str, int], max_all: int, max_each: int
) -> None:
    limits = [Limit(("ann",), max_all), Limit(("ann",), max_each, each=True)]
    (counter,) = counters(limits, (), set(to_each), EVENING)
    over = counter.over([in_all, *(to_each[name] for name in counter.names)])
    assert over.is_all is (in_all > max_all)
    if not over.is_all:
        assert over.names == {name for name, number in to_each.items() if number > max_each}
    assert bool(over.problem) is (over.is_all or bool(over.names))

    known = ReachedLimits()
    assert known.over(counter) == Over()
    assert known.note(counter, over) is bool(over.problem)
    assert known.note(counter, over) is False
    assert known.over(counter) == over


def test_what_a_process_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchpush.pushes.limits.MAX_KNOWN", 10)
    known, sizes = ReachedLimits(), set()
    for number in range(100):
        (counter,) = counters([Limit((f"{number}",), 1)], (), set(), EVENING)
        assert known.note(counter, counter.over([2]))
        sizes.add(len(known.known))
    assert sizes == set(range(1, 11))
