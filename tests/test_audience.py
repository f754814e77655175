"""Audiences that no list should hold: read as a stream, sent by tasks.

In memory; `tests/test_delivery.py` has large audiences on the emulator.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchpush.delivery.chunks
import batchpush.pushes.push
from batchpush import (
    Audience,
    Change,
    Digest,
    InvalidPush,
    Limit,
    LookUp,
    Message,
    Push,
    Recipients,
    Schedule,
)
from batchpush.delivery import digests
from batchpush.delivery.record import DeliveryState, Record
from batchpush.errors import DeliveryUnfinished, LookUpFailed
from batchpush.events.lookup import PAGE, DatabaseLookUp, FirestoreLookUp
from batchpush.events.triggers import Watched
from batchpush.pushes.push import Apps
from handlers.people import Person, in_their_words, people, recipients
from tests.crashes import killed_at
from tests.events import created, streamed
from tests.house import EVENING, MORNING, NIGHT, House

PATH = "sales/{sale_id}"
ENGLISH, FRENCH = Message("Everything must go"), Message("Tout doit disparaître")

Groups = AsyncIterator[tuple[Recipients, Message | None]]


@pytest.fixture
def house() -> House:
    return House()


def sale(groups: Groups) -> Any:
    async def announce(change: Change, look_up: LookUp) -> Push:
        return Push(group_id="sale", recipients=Audience(groups))

    return announce


async def happens(house: House, handler: Any) -> Record:
    change = await house.happens(handler, PATH, {}, sale_id="s1")
    return await house.record_of(change)


def to(*ids: str, message: Message | None = ENGLISH) -> tuple[Recipients, Message | None]:
    return Recipients(custom_ids=ids), message


async def followers(change: Change, look_up: LookUp) -> Push:
    """A handler as a team would write it: pages of followers, in the words of each."""

    async def groups() -> Groups:
        async for page in look_up.pages("topics/ski/followers"):
            ids = [follower.path.rpartition("/")[2] for follower in page]
            readers = [one for one in await people(look_up, *ids) if not one.is_muted]
            words = in_their_words(readers, in_their_language)
            for group in recipients(readers, "g"):
                yield group, words[group.reads or ""]

    return Push(group_id="ski", recipients=Audience(groups()))


def in_their_language(reader: Person) -> Message:
    return FRENCH if reader.language == "fr" else ENGLISH


async def test_each_follower_of_a_topic_is_told_once_in_their_language(house: House) -> None:
    total = 2 * PAGE + 100
    for number in range(total):
        language = "fr" if number % 3 == 0 else "en"
        await house.stores(f"users/u{number}", {"language": language, "push_muted": number == 7})
        await house.stores(f"topics/ski/followers/u{number}", {"since": EVENING})
    await happens(house, followers)
    await house.run_tasks(EVENING)
    told = dict(house.all_told())
    assert len(house.all_told()) == len(told) == total - 1
    assert "u7" not in told
    assert all(
        words == (FRENCH if int(who[1:]) % 3 == 0 else ENGLISH).body for who, words in told.items()
    )
    (record,) = [each for each in await house.records() if each.chunks]
    assert record.state is DeliveryState.SENT


async def test_whoever_has_quiet_hours_is_told_after_them(house: House) -> None:
    for who, profile in {"ann": {"quiet_hours": NIGHT}, "bob": {}}.items():
        await house.stores(f"users/{who}", profile)
        await house.stores(f"topics/ski/followers/{who}", {})
    record = await happens(house, followers)
    await house.run_tasks(EVENING)
    assert {who for who, _ in house.all_told()} == {"bob"}
    waits = await house.worker.ledger.chunks_of(record.id).waits()
    (of_ann,) = [chunk for chunk, (_, until) in waits.items() if until]
    with pytest.raises(DeliveryUnfinished, match="it still has to wait"):
        await house.worker.chunks.send(record.id, of_ann)
    await house.run_tasks(MORNING)
    assert Counter(who for who, _ in house.all_told()) == {"ann": 1, "bob": 1}
    (record,) = [each for each in await house.records() if each.chunks]
    assert record.state is DeliveryState.SENT


async def test_a_task_for_quiet_hours_is_scheduled_for_their_end(house: House) -> None:
    await house.stores("users/ann", {"quiet_hours": NIGHT})
    await house.stores("topics/ski/followers/ann", {})
    await happens(house, followers)
    assert house.queue.times == [MORNING]


async def test_a_reader_of_digests_is_told_in_theirs_and_in_no_chunk(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their items are written in as few commits as their number allows."""
    monkeypatch.setattr(batchpush.delivery.chunks, "ITEMS_AT_ONCE", 2)
    digest = Digest(Schedule(time(8)), UTC, says=lambda count, is_more: ENGLISH)
    groups = [
        (Recipients(custom_ids=[f"u{number}"], digest=digest), ENGLISH) for number in range(5)
    ]
    record = await happens(house, sale(streamed([*groups, to("bob")])))
    await house.run_tasks(EVENING)
    assert house.all_told() == [("bob", ENGLISH.body)]
    items = [each.fields async for each in house.worker.ledger.all_of(digests.ITEMS)]
    assert len(items) == 5
    assert record.state is DeliveryState.RETRY


async def test_a_reader_of_digests_is_told_once_if_the_event_comes_again(house: House) -> None:
    """Killed before its claim, it comes again after the time of the first digest."""
    due = EVENING + timedelta(minutes=30)
    digest = Digest(Schedule(time(23, 30)), UTC, says=lambda count, is_more: ENGLISH)

    async def announce(change: Change, look_up: LookUp) -> Push:
        group = Recipients(custom_ids=["ann"], digest=digest)
        return Push(group_id="sale", recipients=Audience(streamed([(group, ENGLISH)])))

    async def announced(change: Change) -> None:
        await house.worker.deliverer.deliver(change, announce)

    house.watches["announce"] = Watched(PATH, announced)
    made = created("sales/s1", {}, sale_id="s1")
    await house.stores(made.path, {})
    change = replace(made, id="e1", function="announce", time=house.clock.now())
    with killed_at(house, 2, False):
        await announced(change)
    house.clock.value = due + timedelta(minutes=1)
    await announced(change)
    await house.wait_until(house.clock.now())
    await house.wait_until(due + timedelta(days=1))
    assert house.all_told() == [("ann", ENGLISH.body)]


async def test_a_task_whose_chunk_is_gone_is_done_and_logged(
    house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    await house.worker.chunks.send("d1", "c1")
    line = json.loads(capsys.readouterr().out)
    assert (line["severity"], line["message"]) == ("ERROR", "chunk.missing")
    assert line["data"] == {"delivery": "d1", "chunk": "c1"}


async def test_the_sweep_makes_a_task_again_only_for_a_chunk_that_is_late(house: House) -> None:
    await house.stores("users/ann", {"quiet_hours": NIGHT})
    await house.stores("topics/ski/followers/ann", {})
    record = await happens(house, followers)
    assert house.queue.take_due(MORNING) != []  # and is lost
    for _ in range(8):
        house.clock.forward(3600)
        await house.worker.sweep.run()
        assert house.queue.tasks == []
    house.clock.forward(901)
    await house.worker.sweep.run()
    await house.run_tasks(house.clock.now())
    assert [who for who, _ in house.all_told()] == ["ann"]
    entry = await house.worker.ledger.read(record.id)
    assert entry is not None
    assert entry.record.state is DeliveryState.SENT


async def test_a_replay_does_not_wake_those_who_still_sleep(house: House) -> None:
    await house.stores("users/ann", {"quiet_hours": NIGHT})
    await house.stores("topics/ski/followers/ann", {})
    record = await happens(house, followers)
    entry = await house.worker.ledger.read(record.id)
    assert entry is not None
    await house.worker.replay.replay(entry, resend_unknown=True)
    assert house.all_told() == []


async def test_a_database_that_fails_midway_has_the_event_redelivered(house: House) -> None:
    async def groups(fails: bool) -> Groups:
        yield to("ann")
        if fails:
            raise LookUpFailed("Firestore: UNAVAILABLE")
        yield to("bob")

    with pytest.raises(LookUpFailed):
        await house.happens(sale(groups(fails=True)), PATH, {}, event_id="e1", sale_id="s1")
    assert await house.records() == []
    await house.happens(sale(groups(fails=False)), PATH, {}, event_id="e1", sale_id="s1")
    await house.run_tasks(EVENING)
    assert Counter(who for who, _ in house.all_told()) == {"ann": 1, "bob": 1}


async def test_a_database_that_fails_for_hours_leaves_a_record(house: House) -> None:
    async def groups() -> Groups:
        house.clock.forward(timedelta(hours=7).total_seconds())
        raise LookUpFailed("Firestore: UNAVAILABLE")
        yield to("ann")

    record = await happens(house, sale(groups()))
    assert (record.state, record.reason) == (DeliveryState.EXPIRED, "Firestore: UNAVAILABLE")


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (to(""), "recipients.custom_ids must be a list of strings, none of them blank"),
        (to("bob", message=None), "message is missing"),
        (to("bob", message=Message(" ")), "message.body must be a string that is not blank"),
        (None, "TypeError"),
    ],
)
async def test_a_group_that_is_invalid_sends_nothing_and_says_why(
    house: House, second: Any, reason: str
) -> None:
    record = await happens(house, sale(streamed([to("ann"), second])))
    assert record.state is DeliveryState.REFUSED
    assert record.reason is not None
    assert reason in record.reason
    await house.run_tasks(EVENING)
    assert house.all_told() == []


async def test_an_audience_of_nobody_is_recorded_and_sends_nothing(house: House) -> None:
    record = await happens(house, sale(streamed([])))
    assert (record.state, record.reason) == (DeliveryState.OBSOLETE, "its audience is empty")
    assert house.queue.tasks == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("burst", "b"), ("state", "s"), ("limits", [Limit(("a",), 1)]), ("message", ENGLISH)],
)
def test_what_an_audience_cannot_have_is_refused(field: str, value: Any) -> None:
    push = Push(group_id="g", recipients=Audience(streamed([])), **{field: value})
    with pytest.raises(InvalidPush, match=f"^{field} cannot be combined with an Audience"):
        push.check()


async def test_pages_are_read_from_firestore_only(house: House) -> None:
    source = "//firebasedatabase.googleapis.com/projects/_/locations/us-central1/instances/i"
    with pytest.raises(BaseException, match="topics/ski/followers: is read by pages only in"):
        await anext(DatabaseLookUp(source).pages("topics/ski/followers"))
    assert [page async for page in FirestoreLookUp(house.firestore).pages("nobody")] == [[]]


groups_of_ids = st.lists(
    st.tuples(st.lists(st.uuids().map(str), max_size=12), st.sampled_from([ENGLISH, FRENCH])),
    max_size=12,
)


@given(groups=groups_of_ids, most=st.integers(1, 20))
async def test_every_id_is_in_one_chunk_and_no_more_than_one_chunk_per_text_is_held(
    groups: list[tuple[list[str], Message]], most: int
) -> None:
    read = 0

    async def counted() -> Groups:
        nonlocal read
        for ids, message in groups:
            for identifier in ids:
                read += 1
                yield to(identifier, message=message)

    push = Push(group_id="g", recipients=Audience(counted()))
    found: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batchpush.pushes.push, "MAX_RECIPIENTS", most)
        async for calls, until in push.chunks(["ios", "android"], EVENING):
            assert until is None
            assert [call.app for call in calls] == ["ios", "android"]
            body = json.loads(calls[0].body)
            found += body["recipients"]["custom_ids"]
            assert len(body["recipients"]["custom_ids"]) <= most
            assert read - len(found) <= 2 * most
    assert sorted(found) == sorted(each for ids, _ in groups for each in ids)


async def chunks(push: Push, apps: Apps) -> list[tuple[list[str], int, list[str], datetime | None]]:
    """The ids, the number, the apps and the time of each chunk."""
    found = []
    async for calls, until in push.chunks(apps, EVENING):
        assert len({call.body for call in calls}) == len({call.chunk for call in calls}) == 1
        ids = json.loads(calls[0].body)["recipients"]["custom_ids"]
        found.append((ids, calls[0].chunk, [call.app for call in calls], until))
    return found


async def test_each_chunk_has_a_number_and_the_time_of_its_recipients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batchpush.pushes.push, "MAX_RECIPIENTS", 2)
    midnight, noon = EVENING + timedelta(hours=1), EVENING + timedelta(hours=13)
    digest = Digest(Schedule(time(8)), UTC, says=lambda count, is_more: ENGLISH)
    groups = [
        to("a1", "a2", "a3"),
        (Recipients(custom_ids=["b1"], send_at=noon), ENGLISH),
        (Recipients(custom_ids=["c1", "c2"], digest=digest), ENGLISH),
        to("d1", message=FRENCH),
        (Recipients(custom_ids=["b2", "b3"], send_at=noon), ENGLISH),
    ]
    push = Push(group_id="sale", recipients=Audience(streamed(groups)), send_at=midnight)
    apps = ["ios", "android"]
    assert await chunks(push, apps) == [
        (["a1", "a2"], 0, apps, midnight),
        (["b1", "b2"], 1, apps, noon),
        (["a3"], 2, apps, midnight),
        (["b3"], 3, apps, noon),
        (["c1", "c2"], 4, apps, MORNING + timedelta(hours=1)),
        (["d1"], 5, apps, midnight),
    ]
    push = Push(group_id="sale", recipients=Audience(streamed(groups)))
    assert [until for _, _, _, until in await chunks(push, apps)][-1] is None


async def test_a_list_has_chunks_too_all_of_them_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batchpush.pushes.push, "MAX_RECIPIENTS", 2)
    listed = Recipients(custom_ids=["a1", "a2", "a3"])
    push = Push(group_id="sale", recipients=listed, message=ENGLISH)
    assert await chunks(push, ["ios", "android"]) == [
        (["a1", "a2"], 0, ["ios", "android"], None),
        (["a3"], 1, ["ios", "android"], None),
    ]


async def test_an_audience_is_told_only_in_the_apps_that_the_push_names() -> None:
    push = Push(group_id="g", recipients=Audience(streamed([to("ann")])), apps=["ios"])
    assert await chunks(push, ["ios", "android"]) == [(["ann"], 0, ["ios"], None)]


async def test_an_audience_with_a_time_is_read_only_then(house: House) -> None:
    read: list[str] = []

    async def announce(change: Change, look_up: LookUp) -> Push:
        async def groups() -> Groups:
            read.append("ann")
            yield to("ann")

        return Push(group_id="sale", recipients=Audience(groups()), send_at=MORNING)

    record = await happens(house, announce)
    assert (record.state, record.not_before, read) == (DeliveryState.WAITING, MORNING, [])
    await house.run_tasks(MORNING)
    assert house.all_told() == [("ann", ENGLISH.body)]


async def test_those_who_waited_by_name_are_not_told_as_an_audience(house: House) -> None:
    """An audience may be anybody, and they are the ones who are still to be told."""

    async def changes_its_mind(change: Change, look_up: LookUp) -> Push:
        if change.late:
            return Push(group_id="sale", recipients=Audience(streamed([to("ann", "eve")])))
        ann = Recipients(custom_ids=["ann"], send_at=MORNING)
        return Push(group_id="sale", recipients=ann, message=ENGLISH)

    change = await house.happens(changes_its_mind, PATH, {}, sale_id="s1")
    await house.run_tasks(MORNING)
    record = await house.record_of(change)
    assert record.state is DeliveryState.REFUSED
    assert record.reason == "recipients cannot become an Audience after a wait"
    assert house.all_told() == []
