"""Later, and never mind: pushes that wait for their time, and may be cancelled meanwhile."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

import main
from batchpush import Change, LookUp, Message, Push, Recipients
from batchpush.delivery.record import DeliveryState, Record
from batchpush.errors import DeliveryUnfinished
from batchpush.events.triggers import WATCHED
from batchpush.google.firestore import WriteConflict
from batchpush.testing import Project
from batchpush.testing.memory import Operation
from batchpush.worker import working_with
from handlers.outbox import is_scheduled_anew
from handlers.people import people, recipients
from tests.events import changed, created
from tests.house import EVENING, MORNING, NIGHT, House

assert main.outbox
NOW = datetime(2026, 6, 10, 12, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=3)
PUSH: dict[str, Any] = {
    "group_id": "sale",
    "recipients": {"custom_ids": ["ann", "bob"]},
    "message": {"body": "Everything must go"},
    "send_at": LATER,
}
TEXT = "Everything must go"


def project(documents: Mapping[str, Mapping[str, Any]] | None = None) -> Project:
    return Project(documents, NOW)


async def waiting(project: Project, path: str = "pushes/p1") -> list[Record]:
    ledger = project.worker.ledger
    return [
        record async for record in ledger.each([DeliveryState.WAITING]) if record.document == path
    ]


async def state(project: Project, path: str = "pushes/p1") -> dict[str, Any]:
    summary = f"{path}/delivery/state"
    return (await project.firestore.read(summary))[summary].fields


async def test_a_push_waits_for_its_time_and_its_record_says_so() -> None:
    house = project()
    assert await house.write("pushes/p1", PUSH) == []
    record = await house.record("outbox", "pushes/p1")
    assert (record.state, record.not_before) == (DeliveryState.WAITING, LATER)
    assert (await state(house))["state"] == "WAITING"
    assert (await state(house))["until"] == LATER
    assert await house.wait_until(LATER - timedelta(seconds=30)) == []
    assert await house.wait_until(LATER)
    assert house.told("ann") == house.told("bob") == [TEXT]
    assert (await state(house))["state"] == "SENT"


async def test_a_time_that_has_come_is_now() -> None:
    house = project()
    assert await house.write("pushes/p1", PUSH | {"send_at": NOW - timedelta(days=1)})


@pytest.mark.parametrize("send_at", [NOW - timedelta(days=3), "2019-05-01T09:00"])
async def test_an_old_push_that_is_imported_is_not_sent_and_its_outcome_says_why(
    send_at: Any,
) -> None:
    house = project()
    assert await house.write("pushes/p1", PUSH | {"send_at": send_at}) == []
    outcome = await state(house)
    assert (outcome["state"], outcome["reason"]) == ("OBSOLETE", "send_at was long ago")
    best_before = {"send_at": send_at, "best_before": NOW + timedelta(minutes=10)}
    assert await house.write("pushes/p2", PUSH | best_before)


@pytest.mark.parametrize(
    ("send_at", "told_at"),
    [
        ("2026-06-11T09:00", {"tokyo": "00:00", "paris": "07:00", "nowhere": "09:00"}),
        ("2026-06-11 09:00:00", {"tokyo": "00:00", "paris": "07:00", "nowhere": "09:00"}),
        ("2026-06-11T09:00+02:00", {"tokyo": "07:00", "paris": "07:00", "nowhere": "07:00"}),
    ],
)
async def test_nine_where_they_are(send_at: str, told_at: dict[str, str]) -> None:
    house = project(
        {
            "users/tokyo": {"time_zone": "Asia/Tokyo"},
            "users/paris": {"time_zone": "Europe/Paris"},
            "users/nowhere": {},
        }
    )
    everybody = {"custom_ids": list(told_at), "install_ids": ["i1"]}
    await house.write("pushes/p1", PUSH | {"send_at": send_at, "recipients": everybody})
    found: dict[str, str] = {}
    for minutes in range(0, 24 * 60, 30):
        await house.wait_until(NOW + timedelta(minutes=minutes))
        for who in told_at:
            if house.told(who) and who not in found:
                found[who] = house.clock.now().strftime("%H:%M")
    assert found == told_at
    assert all(house.told(who) == [TEXT] for who in told_at)


async def test_the_documents_zone_is_for_readers_without_one() -> None:
    house = project()
    await house.write(
        "pushes/p1", PUSH | {"send_at": "2026-06-11T09:00", "time_zone": "Asia/Tokyo"}
    )
    (record,) = await waiting(house)
    assert record.not_before == datetime(2026, 6, 11, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("cancel", ["deleted", "cancelled"])
async def test_a_push_that_is_cancelled_is_never_sent(cancel: str) -> None:
    house = project()
    await house.write("pushes/p1", PUSH)
    if cancel == "deleted":
        await house.delete("pushes/p1")
    else:
        await house.write("pushes/p1", PUSH | {"cancelled": True})
    record = await house.record("outbox", "pushes/p1")
    assert record.state is DeliveryState.OBSOLETE
    if cancel == "cancelled":
        assert record.reason == "cancelled"
        assert (await state(house))["reason"] == "cancelled"
    assert await house.wait_until(LATER + timedelta(hours=1)) == []


async def test_a_push_that_is_cancelled_from_the_start_is_not_sent() -> None:
    assert await project().write("pushes/p1", PUSH | {"cancelled": True}) == []


@pytest.mark.parametrize("hours", [1, 2, 5, 24 * 40])
async def test_a_push_that_is_put_off_or_brought_forward_comes_then_and_once(hours: int) -> None:
    house = project()
    await house.write("pushes/p1", PUSH)
    at = NOW + timedelta(hours=hours)
    await house.write("pushes/p1", PUSH | {"send_at": at, "message": {"body": "New words"}})
    assert await house.wait_until(at - timedelta(minutes=30)) == []
    await house.wait_until(at)
    await house.wait_until(at + timedelta(days=2))
    assert house.told("ann") == ["New words"]


async def test_a_push_that_is_brought_forward_to_now_is_sent_at_once() -> None:
    house = project()
    await house.write("pushes/p1", PUSH)
    assert await house.write("pushes/p1", PUSH | {"send_at": None})
    assert house.told("ann") == [TEXT]
    await house.wait_until(LATER)
    assert house.told("ann") == [TEXT]


def test_the_outcome_in_the_realtime_database_is_no_change() -> None:
    waiting, told = PUSH | {}, PUSH | {"delivery": {"state": {"state": "WAITING"}}}
    cases = [
        (waiting, told, False),
        (told, PUSH | {"cancelled": True}, True),
        (told, None, True),
        (None, waiting, False),
        (PUSH | {"send_at": None}, PUSH, False),
    ]
    for before, after, is_anew in cases:
        assert is_scheduled_anew(changed("pushes/p1", before, after)) is is_anew


async def test_an_edit_after_it_was_sent_changes_nothing() -> None:
    house = project()
    await house.write("pushes/p1", PUSH | {"send_at": None})
    assert await house.write("pushes/p1", PUSH) == []
    assert await waiting(house) == []


async def test_an_edit_while_it_is_being_sent_changes_nothing() -> None:
    house = project()
    await house.write("pushes/p1", PUSH)
    house.clock.value = LATER
    (task,) = house.queue.take_due(LATER)

    async def sent_meanwhile(name: str, operation: Operation) -> Any:
        found = operation()
        if name == "query":
            house.memory.strike = None
            await house.run_task(*task)
        return found

    house.memory.strike = sent_meanwhile
    await house.write("pushes/p1", PUSH | {"message": {"body": "New words"}})
    assert house.told("ann") == ["New words"]
    assert (await house.record("outbox", "pushes/p1")).state is DeliveryState.SENT


def conflicting(step: str) -> Any:
    """Somebody else always writes before this operation."""

    async def strike(name: str, operation: Operation) -> Any:
        if name == step:
            raise WriteConflict("it was changed")
        return operation()

    return strike


async def test_an_edit_that_others_write_against_all_the_time_comes_again() -> None:
    house = project()
    await house.write("pushes/p1", PUSH)
    house.memory.strike = conflicting("record")
    with pytest.raises(DeliveryUnfinished, match=r"^other workers keep changing it$"):
        await house.write("pushes/p1", PUSH | {"cancelled": True})
    house.memory.strike = None
    await house.write("pushes/p1", PUSH | {"cancelled": True})
    assert await house.wait_until(LATER) == []


async def test_a_task_that_others_write_against_all_the_time_comes_again() -> None:
    house = project()
    await house.write("pushes/p1", PUSH)
    house.memory.strike = conflicting("reclaim")
    with pytest.raises(DeliveryUnfinished, match=r"^other pushes keep joining its burst$"):
        await house.wait_until(LATER)
    assert len(house.clock.slept) == 10
    assert house.batch.calls == []


async def test_a_wait_longer_than_one_task_can_be_is_kept_by_several() -> None:
    house = project()
    at = NOW + timedelta(days=100)
    await house.write("pushes/p1", PUSH | {"send_at": at})
    assert max(filter(None, house.queue.times)) == NOW + timedelta(days=29)
    record = await house.record("outbox", "pushes/p1")
    assert record.expire_at > at
    for days in (29, 58, 87):
        assert await house.wait_until(NOW + timedelta(days=days)) == []
        assert len(house.queue.tasks) == 1
    await house.wait_until(at)
    assert house.told("ann") == [TEXT]


async def test_a_task_that_comes_too_early_comes_again() -> None:
    """As in Google's emulator, which ignores the time of a task."""
    house = project()
    await house.write("pushes/p1", PUSH)
    ((function, data),) = house.queue.tasks
    with pytest.raises(DeliveryUnfinished, match="it still has to wait"):
        await house.run_task(function, data)


@pytest.mark.parametrize(
    ("send_at", "problem"),
    [
        ("soon", "send_at is not a date and time"),
        (True, "send_at must be a date and time"),
        ("2026-06-11", "send_at must be a date and time of day"),
        ("2026-W24", "send_at must be a date and time of day"),
        (NOW + timedelta(days=400), "send_at must be at most 366 days ahead"),
        ({"a": 1}, "send_at"),
    ],
)
async def test_a_time_that_is_none_is_refused_and_named(send_at: Any, problem: str) -> None:
    house = project()
    assert await house.write("pushes/p1", PUSH | {"send_at": send_at}) == []
    record = await house.record("outbox", "pushes/p1")
    assert record.state is DeliveryState.REFUSED
    assert problem in str(record.reason)


async def test_best_before_counts_from_its_time() -> None:
    house = project()
    best_before = LATER + timedelta(minutes=10)
    await house.write("pushes/p1", PUSH | {"best_before": best_before})
    assert (await house.record("outbox", "pushes/p1")).best_before == best_before


async def test_best_before_stays_where_it_is_if_the_push_is_brought_forward() -> None:
    house = project()
    best_before = LATER + timedelta(minutes=10)
    await house.write("pushes/p1", PUSH | {"best_before": best_before})
    house.clock.forward(3600)
    house.batch.answer = httpx.Response(503)
    soon = {"best_before": best_before, "send_at": NOW + timedelta(minutes=30)}
    with pytest.raises(DeliveryUnfinished):
        await house.write("pushes/p1", PUSH | soon)
    assert (await house.record("outbox", "pushes/p1")).best_before == best_before


async def test_an_edit_whose_event_comes_before_that_of_the_creation_counts() -> None:
    house = project()
    soon = NOW + timedelta(hours=1)
    house.hold("pushes/p1", PUSH | {"send_at": soon})
    events = {
        "outbox_changed": changed("pushes/p1", PUSH, PUSH | {"send_at": soon}, push_id="p1"),
        "outbox": created("pushes/p1", PUSH, push_id="p1"),
    }
    with working_with(house.worker):
        for name, event in events.items():
            await WATCHED[name].function(replace(event, function=name, time=NOW))
    (record,) = await waiting(house)
    assert record.not_before == soon
    await house.wait_until(soon)
    assert house.told("ann") == [TEXT]


async def test_a_push_that_is_deleted_before_its_event_is_handled_is_not_sent() -> None:
    house = project()
    with working_with(house.worker):
        event = created("pushes/p1", PUSH, push_id="p1")
        await WATCHED["outbox"].function(replace(event, function="outbox", time=NOW))
    assert await house.wait_until(LATER) == []
    assert await waiting(house) == []


async def test_who_sleeps_at_that_time_is_told_in_the_morning() -> None:
    house = House()
    await house.stores("users/ann", {"quiet_hours": NIGHT})

    async def later(change: Change, look_up: LookUp) -> Push:

        return Push(
            group_id="later",
            recipients=recipients(await people(look_up, "ann"), "later"),
            message=Message("Hello"),
            send_at=EVENING + timedelta(hours=2),
        )

    change = await house.happens(later, "notes/{id}", {}, id="n1")
    assert (await house.record_of(change)).not_before == MORNING


async def test_each_group_may_have_its_own_time() -> None:
    house = House()
    at = EVENING + timedelta(hours=1)

    async def handler(change: Change, look_up: LookUp) -> Push:
        groups = [Recipients(custom_ids=["ann"]), Recipients(custom_ids=["bob"], send_at=at)]
        return Push(group_id="g", recipients=groups, message=Message("Hello"))

    await house.happens(handler, "notes/{id}", {}, id="n1")
    assert [who for who, _ in house.all_told()] == ["ann"]
    await house.run_tasks(at)
    assert [who for who, _ in house.all_told()] == ["ann", "bob"]
