"""Digests: one push a day, or a week, for everything of a category."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import main
from batchpush import Audience, Change, LookUp, Message, Push, Recipients
from batchpush.delivery import digests
from batchpush.delivery.record import DeliveryState
from batchpush.environment import process_settings
from batchpush.errors import TryAgainLater
from batchpush.events.triggers import Watched
from batchpush.pushes.digest import Schedule
from batchpush.testing import Project
from handlers import categories
from handlers.categories import CATEGORIES
from handlers.fields import schedule
from handlers.people import people, recipients
from tests.crashes import killed_at
from tests.events import DATABASE, created
from tests.house import NIGHT, House
from tests.pushes import PATIENT
from tests.realtime_database import Database

assert main.new_message
MONDAY = datetime(2026, 6, 8, 12, 0, tzinfo=UTC)
SIX = datetime(2026, 6, 8, 18, 0, tzinfo=UTC)
PARIS = ZoneInfo("Europe/Paris")

# --- When -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("18:00", Schedule(time(18))),
        (" 7:30 ", Schedule(time(7, 30))),
        ("Friday 18:00", Schedule(time(18), 4)),
        ("monday 9:00", Schedule(time(9), 0)),
        ("Friday", None),
        ("Freitag 18:00", None),
        ("24:00", None),
        ("6 PM", None),
        ("", None),
        (1800, None),
        (None, None),
    ],
)
def test_a_schedule_is_a_time_of_every_day_or_of_a_day_of_the_week(
    text: object, expected: Schedule | None
) -> None:
    assert schedule(text) == expected


@pytest.mark.parametrize(
    ("text", "now", "expected"),
    [
        pytest.param("18:00", "2026-06-08T15:59Z", "2026-06-08T16:00Z", id="today"),
        pytest.param("18:00", "2026-06-08T16:00Z", "2026-06-09T16:00Z", id="this very moment"),
        pytest.param("00:30", "2026-06-08T22:00Z", "2026-06-08T22:30Z", id="their tomorrow"),
        pytest.param("Monday 18:00", "2026-06-08T15:00Z", "2026-06-08T16:00Z", id="this Monday"),
        pytest.param("Monday 18:00", "2026-06-08T17:00Z", "2026-06-15T16:00Z", id="next Monday"),
        pytest.param("Friday 18:00", "2026-06-08T17:00Z", "2026-06-12T16:00Z", id="on Friday"),
        pytest.param("Friday 18:00", "2026-06-10T17:00Z", "2026-06-12T16:00Z", id="in two days"),
        pytest.param("02:30", "2026-03-28T12:00Z", "2026-03-29T01:30Z", id="a time skipped"),
        pytest.param("02:30", "2026-10-24T12:00Z", "2026-10-25T00:30Z", id="a time that is twice"),
        pytest.param("02:30", "2026-10-25T00:45Z", "2026-10-26T01:30Z", id="only once then"),
        pytest.param("18:00", "2026-10-24T17:00Z", "2026-10-25T17:00Z", id="clocks go back"),
    ],
)
def test_the_next_time_is_by_the_readers_clock(text: str, now: str, expected: str) -> None:
    found = schedule(text)
    assert found
    assert found.next_after(moment(now), PARIS) == moment(expected)


@PATIENT
@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),
    st.times().map(lambda at: at.replace(second=0, microsecond=0)),
    st.none() | st.integers(0, 6),
    st.sampled_from(["UTC", "Europe/Paris", "Asia/Kathmandu", "Pacific/Apia", "America/Sao_Paulo"]),
)
def test_it_is_always_ahead_and_at_most_a_period_and_an_hour_away(
    now: datetime, at: time, weekday: int | None, zone: str
) -> None:
    found = Schedule(at, weekday).next_after(now, ZoneInfo(zone))
    period = timedelta(days=1 if weekday is None else 7)
    assert now < found <= now + period + timedelta(hours=1)
    assert found.tzinfo is UTC


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


# --- What is told ---------------------------------------------------------------------------------


def project(
    digest: Any = "18:00", ann: Mapping[str, Any] = MappingProxyType({}), **settings: str
) -> Project:
    """Ann has a digest of messages. Bob and Cat write to her, in a conversation each."""
    preferences = {"push_preferences": {"new_message": digest, "game_turn": digest}}
    documents: dict[str, Mapping[str, Any]] = {
        "users/ann": preferences | dict(ann),
        "users/bob": {"display_name": "Bob"},
        "users/cat": {"display_name": "Cat"},
        "conversations/b": {"member_ids": ["ann", "bob"]},
        "conversations/c": {"member_ids": ["ann", "bob", "cat"]},
    }
    return Project(documents, MONDAY, None, **settings)


async def writes(house: Project, sender: str, conversation: str, text: str, **more: Any) -> None:
    path = f"conversations/{conversation}/messages/{text.lower().replace(' ', '-')}"
    house.clock.value += timedelta(seconds=1)
    await house.write(path, {"sender_id": sender, "text": text, **more})


async def items(house: Project) -> list[dict[str, Any]]:
    return [each.fields async for each in house.worker.ledger.all_of(digests.ITEMS)]


async def test_who_writes_much_and_takes_it_back_hides_nobody_elses_message() -> None:
    house = project()
    await writes(house, "bob", "c", "Honest")
    for number in range(50):
        house.clock.forward(61)
        await writes(house, "cat", "c", f"Loud {number}")
    for number in range(50):
        await house.delete(f"conversations/c/messages/loud-{number}")
    await house.wait_until(SIX)
    assert house.told("ann") == ["Honest"]


@pytest.mark.parametrize("are_deleted", [True, False])
async def test_however_much_has_nothing_to_tell_what_others_wrote_is_told(
    monkeypatch: pytest.MonkeyPatch, are_deleted: bool
) -> None:
    """Deleted, or marked as read by whoever wrote it: over several claims, and within one."""
    monkeypatch.setattr(digests, "MAX_ITEMS", 30)
    house = project()
    await writes(house, "bob", "b", "Honest")
    for number in range(70):
        house.clock.forward(61)
        await writes(house, "cat", "c", f"Loud {number}", unread_message=are_deleted)
    for number in range(70 if are_deleted else 0):
        await house.delete(f"conversations/c/messages/loud-{number}")
    await house.wait_until(SIX)
    assert house.told("ann") == ["Honest"]
    assert await items(house) == []


async def test_a_task_that_finds_nothing_to_tell_leaves_the_rest_to_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(digests, "MAX_ITEMS", 1)
    monkeypatch.setattr(digests, "MAX_CLAIMS", 2)
    house = project()
    for text in ("Honest", "Loud 1", "Loud 2"):
        await writes(house, "bob", "b", text, unread_message=text == "Honest")
    await house.wait_until(SIX)
    assert house.told("ann") == []
    await house.wait_until(SIX + timedelta(minutes=15))
    assert house.told("ann") == ["Honest"]


@pytest.mark.parametrize(
    ("read", "told"), [(1, ["Message 0"]), (2, []), (25, ["3 new notifications"])]
)
async def test_what_was_read_in_the_inbox_is_not_counted(read: int, told: list[str]) -> None:
    """The newest are read first, also all of them, and more than one look-up asks for."""
    house = project(NOTIFICATION_HISTORY_DAYS="90")
    count = 2 if read <= 2 else 28
    for number in range(count):
        await writes(house, "bob", "b", f"Message {number}")
        house.clock.forward(60)
    entries = [each async for each in house.worker.ledger.all_of("users/ann/notifications")]
    entries.sort(key=lambda each: each.fields["sent_at"], reverse=True)
    for each in entries[:read]:
        house.hold(each.path, each.fields | {"read": True})
    await house.wait_until(SIX)
    assert house.told("ann") == told
    assert await items(house) == []


async def test_one_push_a_day_tells_of_all_conversations() -> None:
    house = project()
    await writes(house, "bob", "b", "One")
    await writes(house, "cat", "c", "Two")
    await writes(house, "cat", "c", "Three")
    assert house.told("ann") == []
    assert house.told("bob") == ["Two", "Three"], "he has no digest"
    assert await house.wait_until(SIX - timedelta(seconds=1)) == []
    await house.wait_until(SIX)
    assert house.told("ann") == ["3 new notifications"]
    assert house.batch.calls[-1].body["message"]["title"] == "New messages"
    assert await items(house) == []
    await house.wait_until(SIX + timedelta(days=1))
    assert house.told("ann") == ["3 new notifications"]


async def test_the_record_of_each_event_says_in_which_digest_somebody_is_told() -> None:
    house = project()
    await writes(house, "bob", "b", "One")
    alone = await house.record("new_message", "conversations/b/messages/one")
    assert (alone.state, alone.reason) == (DeliveryState.OBSOLETE, "told in digests")
    assert dict(alone.left_out) == {"told in the digest of 2026-06-08T18:00Z": ("ann",)}
    await writes(house, "cat", "c", "Two")
    with_bob = await house.record("new_message", "conversations/c/messages/two")
    assert with_bob.state is DeliveryState.SENT
    assert dict(with_bob.left_out) == dict(alone.left_out)


async def test_one_alone_is_told_in_its_own_words() -> None:
    house = project()
    await writes(house, "bob", "b", "One")
    await house.wait_until(SIX)
    assert house.told("ann") == ["One"]
    assert house.batch.calls[-1].body["message"]["title"] == "Bob"


async def test_what_was_read_or_deleted_meanwhile_is_left_out() -> None:
    house = project()
    for text in ("One", "Two", "Three", "Four"):
        await writes(house, "bob", "b", text)
    await house.write(
        "conversations/b/messages/one",
        {"sender_id": "bob", "text": "One", "unread_by": {"ann": False}},
    )
    await house.delete("conversations/b/messages/two")
    await house.wait_until(SIX)
    assert house.told("ann") == ["2 new notifications"]


async def test_nobody_is_told_of_nothing() -> None:
    house = project()
    await writes(house, "bob", "b", "One")
    await house.delete("conversations/b/messages/one")
    assert await house.wait_until(SIX) == []
    reasons = {each.reason async for each in house.worker.ledger.each([DeliveryState.OBSOLETE])}
    assert reasons == {"told in digests", "nobody is left to tell"}
    assert await items(house) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param({"push_muted": True}, [], id="muted everything"),
        pytest.param({"push_preferences": {"new_message": False}}, [], id="switched it off"),
        pytest.param({"push_preferences": {}}, ["Two"], id="has no digests any more: the newest"),
        pytest.param({"language": "fr"}, ["2 nouvelles notifications"], id="reads French now"),
    ],
)
async def test_what_holds_is_what_they_want_when_it_is_told(
    change: dict[str, Any], told: list[str]
) -> None:
    house = project()
    await writes(house, "bob", "b", "One")
    await writes(house, "bob", "b", "Two")
    house.hold("users/ann", {"push_preferences": {"new_message": "18:00"}} | change)
    await house.wait_until(SIX)
    assert house.told("ann") == told


async def test_each_category_has_its_own_and_each_person_too() -> None:
    house = project()
    house.hold("users/bob", {"push_preferences": {"new_message": "18:00"}})
    await writes(house, "cat", "c", "One")
    await writes(house, "cat", "c", "Two")
    await house.write("games/g", {"current_player_id": "ann", "name": "Chess"})
    assert house.batch.calls == []
    await house.wait_until(SIX)
    assert sorted(house.told("ann")) == ["2 new notifications", "It’s your turn"]
    assert house.told("bob") == ["2 new notifications"]


async def test_once_a_week_in_their_own_time_zone() -> None:
    house = project("Tuesday 09:00", ann={"time_zone": "Asia/Tokyo"})
    await writes(house, "bob", "b", "One")
    midnight = datetime(2026, 6, 9, 0, 0, tzinfo=UTC)
    assert await house.wait_until(midnight - timedelta(minutes=1)) == []
    await house.wait_until(midnight)
    assert house.told("ann") == ["One"]


async def test_at_night_it_waits_for_the_morning() -> None:
    house = project(ann={"quiet_hours": {"start": "17:00", "end": "20:00"}})
    await writes(house, "bob", "b", "One")
    await writes(house, "bob", "b", "Two")
    assert await house.wait_until(SIX) == []
    await house.wait_until(SIX + timedelta(hours=2))
    assert house.told("ann") == ["2 new notifications"]


LATE = MONDAY.replace(hour=22, minute=4)  # the look after 21:50
NEXT_MORNING = MONDAY.replace(hour=7) + timedelta(days=1)


async def test_a_look_that_comes_in_quiet_hours_puts_the_digest_off() -> None:
    house = project("21:50", ann={"quiet_hours": NIGHT})
    await writes(house, "bob", "b", "One")
    await writes(house, "bob", "b", "Two")
    for at in (LATE, LATE + timedelta(minutes=15), NEXT_MORNING - timedelta(minutes=1)):
        assert await house.wait_until(at) == []
    await house.wait_until(NEXT_MORNING)
    assert house.told("ann") == ["2 new notifications"]
    assert await items(house) == []


async def test_somebody_who_travels_is_not_told_in_the_night() -> None:
    ann = {"quiet_hours": NIGHT, "time_zone": "Europe/Paris"}
    house = project(ann=ann)
    await writes(house, "bob", "b", "One")
    ann |= {"push_preferences": {"new_message": "18:00"}, "time_zone": "Asia/Tokyo"}
    house.hold("users/ann", ann)
    assert await house.wait_until(MONDAY.replace(hour=16)) == [], "01:00 in Tokyo"
    await house.wait_until(MONDAY.replace(hour=22))
    assert house.told("ann") == ["One"]


async def test_a_digest_that_is_put_off_tells_of_what_there_is_by_then() -> None:
    """Also of an item that was planned in time, and committed late."""
    house = project("21:50", ann={"quiet_hours": NIGHT})
    for text in ("One", "Two", "Three"):
        await writes(house, "bob", "b", text)
    (late, *_) = await items(house)
    await house.wait_until(LATE)
    house.hold("conversations/b/messages/four", {"sender_id": "bob", "text": "Four"})
    path = "conversations/b/messages/four"
    house.hold(f"{digests.ITEMS}/late", late | {"document": path, "at": LATE})
    await house.delete("conversations/b/messages/one")
    assert await house.wait_until(LATE + timedelta(minutes=15)) == []
    await house.wait_until(NEXT_MORNING)
    assert house.told("ann") == ["3 new notifications"]


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("step", range(16))
async def test_a_process_that_ends_while_it_puts_a_digest_off_loses_and_tells_nothing(
    monkeypatch: pytest.MonkeyPatch, step: int, is_done: bool
) -> None:
    monkeypatch.setattr(digests, "MAX_ITEMS", 3)
    monkeypatch.setattr(digests, "PAGE", 2)
    house = project("21:50", ann={"quiet_hours": NIGHT})
    for number in range(7):
        await writes(house, "bob", "b", f"Message {number}")
    with killed_at(house, step, is_done):
        await house.wait_until(LATE)
    house.queue.take_due(LATE)
    assert await house.wait_until(LATE + timedelta(minutes=15)) == []
    await house.wait_until(NEXT_MORNING)
    assert house.told("ann") == ["3+ new notifications"]
    assert await items(house) == []


async def test_several_workers_that_put_a_digest_off_tell_of_it_once() -> None:
    house = project("21:50", ann={"quiet_hours": NIGHT})
    await writes(house, "bob", "b", "One")
    await writes(house, "bob", "b", "Two")
    (digest,) = {each["digest"] for each in await items(house)}
    for at in (LATE, NEXT_MORNING):
        house.clock.value = at
        tasks = (house.run_task("sendlater", {"digest": digest}) for _ in range(5))
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(each is None or isinstance(each, TryAgainLater) for each in ended)
        assert house.told("ann") == ([] if at == LATE else ["2 new notifications"])


async def test_a_category_can_be_a_digest_for_all_who_did_not_choose(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weekly = replace(CATEGORIES["game_turn"], digest=schedule("18:00"))
    monkeypatch.setattr(categories, "CATEGORIES", {**CATEGORIES, "game_turn": weekly})
    house = project()
    house.hold("users/dan", {"push_preferences": {"game_turn": True}})
    for player in ("bob", "dan"):
        await house.write(f"games/{player}", {"current_player_id": player})
    assert house.told("bob") == []
    assert house.told("dan") == ["It’s your turn to play"], "switched on is at once"
    await house.wait_until(SIX)
    assert house.told("bob") == ["It’s your turn to play"]


async def test_what_is_required_does_not_wait() -> None:
    house = project(ann={"push_preferences": {"order_delivered": "18:00"}})
    order = {"customer_id": "ann", "number": "7", "status": "delivered", "delivered_at": MONDAY}
    await house.write("orders/o", order)
    assert len(house.told("ann")) == 1


@pytest.mark.parametrize(
    ("language", "number", "body"),
    [
        ("ar", 2, "إشعاران جديدان"),
        ("ar", 3, "3\u2069 إشعارات جديدة"),
        ("ar", 11, "11\u2069 إشعارًا جديدًا"),
        ("ja", 2, "新しいお知らせが2件あります"),
        ("pl", 3, "3 nowe powiadomienia"),
        ("pl", 5, "5 nowych powiadomień"),
        ("fr", 2, "2 nouvelles notifications"),
        ("es", 2, "2 notificaciones nuevas"),
        ("de", 2, "2 neue Mitteilungen"),
    ],
)
async def test_the_plural_is_right_in_every_language(language: str, number: int, body: str) -> None:
    house = project(ann={"language": language})
    for each in range(number):
        await writes(house, "bob", "b", f"Message {each}")
    await house.wait_until(SIX)
    assert [text.strip("\u2068\u2069") for text in house.told("ann")] == [body]
    words = CATEGORIES["new_message"].names[language]
    assert house.batch.calls[-1].body["message"]["title"] == words


@pytest.fixture
def for_followers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PUBLISH_ARTICLES", "followers")
    process_settings.cache_clear()
    yield
    process_settings.cache_clear()


@pytest.mark.usefixtures("for_followers")
async def test_followers_of_a_topic_may_have_a_digest_of_articles() -> None:
    house = Project(
        {
            "users/ann": {"push_preferences": {"article": "18:00"}},
            "topics/ski/followers/ann": {},
            "topics/ski/followers/bob": {},
            "topics/tea/followers/ann": {},
        },
        MONDAY,
    )
    for topic in ("ski", "tea"):
        await house.write(
            f"articles/{topic}", {"title": f"On {topic}", "topics": [topic], "published": True}
        )
    assert (house.told("ann"), house.told("bob")) == ([], ["On ski"])
    await house.wait_until(SIX)
    assert house.told("ann") == ["2 new notifications"]


@pytest.mark.usefixtures("for_followers")
@pytest.mark.parametrize(
    ("push_time", "quiet_hours", "told_at"),
    [
        (SIX + timedelta(days=2, hours=-8), None, SIX + timedelta(days=2)),
        (SIX + timedelta(hours=5), NIGHT, SIX + timedelta(days=1)),
    ],
)
async def test_an_article_with_a_time_is_in_the_first_digest_after_it(
    push_time: datetime, quiet_hours: Any, told_at: datetime
) -> None:
    ann = {"push_preferences": {"article": "18:00"}, "quiet_hours": quiet_hours}
    house = Project({"users/ann": ann, "topics/ski/followers/ann": {}}, MONDAY)
    article = {"title": "On ski", "topics": ["ski"], "published": True, "push_time": push_time}
    await house.write("articles/a", article)
    for at in (push_time, push_time + timedelta(minutes=15), told_at - timedelta(minutes=1)):
        await house.wait_until(at)
    assert house.told("ann") == []
    await house.wait_until(told_at)
    assert house.told("ann") == ["On ski"]


@pytest.mark.usefixtures("for_followers")
async def test_somebody_who_follows_no_longer_is_not_told() -> None:
    house = Project(
        {"users/ann": {"push_preferences": {"article": "18:00"}}, "topics/ski/followers/ann": {}},
        MONDAY,
    )
    await house.write("articles/a", {"title": "On ski", "topics": ["ski"], "published": True})
    await house.delete("topics/ski/followers/ann")
    await house.wait_until(SIX)
    assert house.told("ann") == []


async def test_a_handler_of_ones_own_need_not_know_of_digests() -> None:
    house = House()
    house.clock.value = MONDAY
    for user_id in ("ann", "bob"):
        await house.stores(f"users/{user_id}", {"push_preferences": {"sale": "18:00"}})

    async def sale(change: Change, look_up: LookUp) -> Push:
        async def everybody() -> AsyncIterator[tuple[Recipients, Message]]:
            for group in recipients(await people(look_up, "bob", "ann"), "sale"):
                yield group, Message(change.document.string("says"))

        return Push(group_id="sale", recipients=Audience(everybody()))

    for number in ("One", "Two"):
        await house.happens(sale, "sales/{sale_id}", {"says": number}, sale_id=number)
    assert house.all_told() == []
    house.clock.value = SIX
    await house.worker.digests.look()
    await house.run_tasks(SIX)
    assert sorted(house.all_told()) == [(each, "2 new notifications") for each in ("ann", "bob")]


async def reminder(change: Change, look_up: LookUp) -> Push:
    appointment = change.document
    return Push(
        group_id="reminder",
        recipients=recipients(await people(look_up, appointment.string("who")), "reminder"),
        message=Message(appointment.string("says")),
        send_at=appointment["remind_at"],
    )


async def test_what_is_for_a_later_time_is_in_the_first_digest_after_it() -> None:
    house = House(NOTIFICATION_HISTORY_DAYS="90")
    house.clock.value = MONDAY
    await house.stores("users/ann", {"push_preferences": {"reminder": "18:00"}})
    for name, days in {"Dentist": 1, "Garage": 2, "Bank": 2}.items():
        fields = {"who": "ann", "says": name, "remind_at": MONDAY + timedelta(days=days)}
        await house.happens(reminder, "appointments/{id}", fields, id=name)
    told = []
    for days in range(4):
        house.clock.value = SIX + timedelta(days=days)
        await house.worker.digests.look()
        await house.run_tasks(house.clock.value)
        told.append([says for _, says in house.all_told()])
    assert told == [[], ["Dentist"], (both := ["Dentist", "2 new notifications"]), both]
    inbox = [each async for each in house.worker.ledger.all_of("users/ann/notifications")]
    assert {each.fields["body"]: each.fields["sent_at"] for each in inbox} == {
        "Dentist": SIX + timedelta(days=1),
        "2 new notifications": SIX + timedelta(days=2),
    }


# --- Whatever happens -----------------------------------------------------------------------------


async def test_an_event_that_comes_twice_counts_once() -> None:
    house = project()
    await writes(house, "bob", "b", "One")
    await writes(house, "bob", "b", "Two")
    await house.worker.ledger.firestore.commit(
        [house.firestore.delete(f"batch_deliveries/{(await newest(house)).id}")]
    )
    await writes(house, "bob", "b", "Two")
    assert len(await items(house)) == 2
    await house.wait_until(SIX)
    assert house.told("ann") == ["2 new notifications"]


async def newest(house: Project) -> Any:
    return await house.record("new_message", "conversations/b/messages/two")


async def test_two_workers_tell_once() -> None:
    house = project()
    await writes(house, "bob", "b", "One")
    await writes(house, "bob", "b", "Two")
    house.clock.value = SIX
    (digest,) = {each["digest"] for each in await items(house)}
    tasks = (house.run_task("sendlater", {"digest": digest}) for _ in range(5))
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(each is None or isinstance(each, TryAgainLater) for each in ended)
    assert house.told("ann") == ["2 new notifications"]


async def test_what_comes_after_the_digest_is_told_by_the_next_look() -> None:
    """Its event was planned in time, and committed late."""
    house = project()
    await writes(house, "bob", "b", "One")
    (late,) = await items(house)
    await house.wait_until(SIX)
    house.hold("conversations/b/messages/two", {"sender_id": "bob", "text": "Two"})
    house.hold(f"{digests.ITEMS}/late", late | {"document": "conversations/b/messages/two"})
    await house.wait_until(SIX + timedelta(minutes=15))
    assert house.told("ann") == ["One", "Two"]


async def test_a_document_that_became_invalid_does_not_silence_the_others() -> None:
    house = project()
    await writes(house, "bob", "b", "One")
    await writes(house, "cat", "c", "Two")
    await writes(house, "cat", "c", "Three")
    house.hold("conversations/b/messages/one", {"sender_id": 7, "text": ["x"]})
    await house.wait_until(SIX)
    assert house.told("ann") == ["2 new notifications"]


async def test_a_document_that_became_too_large_to_read_does_not_silence_the_others(
    database: Database, capfd: pytest.CaptureFixture[str]
) -> None:
    house, values = House(), database.values
    house.clock.value = MONDAY
    values["users", "ann"] = {"push_preferences": {"sale": "18:00"}}

    async def sale(change: Change, look_up: LookUp) -> Push:
        readers = recipients(await people(look_up, "ann"), "sale")
        message = Message(change.document.string("says"))
        return Push(group_id="sale", recipients=readers, message=message)

    async def watching(change: Change) -> None:
        await house.worker.deliverer.deliver(change, sale)

    house.watches["sale"] = Watched("sales/{sale_id}", watching)
    for says in ("One", "Two", "Three"):
        values["sales", says] = {"says": says}
        event = created(f"sales/{says}", {"says": says}, sale_id=says)
        await watching(
            replace(
                event, id=says, source=DATABASE, database="database", function="sale", time=MONDAY
            )
        )
    values["sales", "Two"] = {"says": "x" * 10_000_000}
    house.clock.value = SIX
    await house.worker.digests.look()
    await house.run_tasks(SIX)
    assert house.all_told() == [("ann", "2 new notifications")]
    assert "document.dropped" in capfd.readouterr().out


async def test_a_flood_is_one_push_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "MAX_ITEMS", 30)
    house = project()
    for number in range(100):
        await writes(house, "bob", "b", f"Message {number}")
    await house.wait_until(SIX)
    assert house.told("ann") == ["20+ new notifications"]
    assert await items(house) == []


@pytest.mark.parametrize(
    ("count", "told"), [(2, "2 new notifications"), (100, "20+ new notifications")]
)
async def test_batch_away_at_that_time_loses_and_doubles_nothing(
    monkeypatch: pytest.MonkeyPatch, count: int, told: str
) -> None:
    monkeypatch.setattr(digests, "MAX_ITEMS", 30)
    house = project()
    for number in range(count):
        await writes(house, "bob", "b", f"Message {number}")
    house.clock.value = SIX
    (digest,) = {each["digest"] for each in await items(house)}
    house.batch.answer = httpx.Response(503)
    with pytest.raises(TryAgainLater):
        await house.run_task("sendlater", {"digest": digest})
    house.batch.answer = None
    await house.run_task("sendlater", {"digest": digest})  # Cloud Tasks tries it again
    house.clock.value += timedelta(minutes=20)
    await house.worker.sweep.run()
    assert house.told("ann") == [told]
    assert await items(house) == []


@pytest.mark.parametrize(
    ("away", "told"),
    [(timedelta(hours=5, minutes=45), ["2 new notifications"]), (timedelta(hours=6), [])],
)
async def test_a_digest_is_worth_telling_for_six_hours(away: timedelta, told: list[str]) -> None:
    house = project()
    await writes(house, "bob", "b", "One")
    await writes(house, "bob", "b", "Two")
    await house.wait_until(SIX + away)
    assert house.told("ann") == told


@pytest.mark.parametrize(
    "ann",
    [
        {"push_preferences": {"sale": "18:00"}},
        {"quiet_hours": {"start": "11:00", "end": "18:00"}},
    ],
)
async def test_an_event_that_comes_late_is_told_to_those_who_are_told_later(ann: Any) -> None:
    house = House()
    await house.stores("users/ann", ann)
    await house.stores("users/bob", {})

    async def sale(change: Change, look_up: LookUp) -> Push:
        house.clock.value = max(house.clock.value, MONDAY + timedelta(hours=2))
        readers = await people(look_up, "ann", "bob")
        message = Message("All must go")
        return Push(group_id="sale", recipients=recipients(readers, "sale"), message=message)

    house.clock.value = MONDAY
    change = await house.happens(sale, "sales/{sale_id}", {}, sale_id="s")
    assert (await house.record_of(change)).state is DeliveryState.EXPIRED
    house.clock.value = SIX
    await house.worker.digests.look()
    await house.run_tasks(SIX)
    assert house.all_told() == [("ann", "All must go")]


async def test_a_function_that_is_gone_is_said_and_nothing_comes_back(
    capfd: pytest.CaptureFixture[str],
) -> None:
    house = project()
    await writes(house, "bob", "b", "One")
    house.worker.digests.functions = {}
    assert await house.wait_until(SIX) == []
    assert "digest.dropped" in capfd.readouterr().out
    assert await items(house) == []
