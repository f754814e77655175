"""The test kit, as whoever writes a handler uses it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

import main
from batchpush.delivery.record import DeliveryState
from batchpush.errors import TryAgainLater
from batchpush.testing import Project

assert main  # its functions are called
EVENING = datetime(2026, 6, 10, 23, 0, tzinfo=UTC)
MORNING = datetime(2026, 6, 11, 7, 0, tzinfo=UTC)
CHAT: dict[str, dict[str, Any]] = {
    "users/ann": {"display_name": "Ann"},
    "users/bob": {"quiet_hours": {"start": "22:00", "end": "07:00"}},
    "conversations/c1": {"member_ids": ["ann", "bob"]},
}
PROFILE = {"users/ann": {"language": "fr"}}
DELIVERED = {"customer_id": "ann", "status": "delivered"}
SALE = {
    "name": "Sale",
    "live": False,
    "push_time": "2030-06-01T09:00:00Z",
    "targeting": {"segments": ["DORMANT"]},
    "messages": {"en": {"title": "Sale", "body": "Half price"}},
}
HELLO = {"sender_id": "ann", "text": "Hello"}


async def test_a_write_calls_the_functions_that_watch_it_and_they_tell_people() -> None:
    project = Project(PROFILE)
    await project.write("orders/o1", DELIVERED | {"status": "preparing"})
    assert project.told("ann") == []
    await project.write("orders/o1", DELIVERED)
    assert project.told("ann") == ["Votre commande o1 est arrivée"]
    assert {call.app for call in project.batch.calls} == set(
        project.worker.settings.batch_apps.values()
    )


async def test_the_settings_of_a_project_are_those_of_its_handlers_too() -> None:
    one_a_minute = Project(CHAT, now=MORNING, MAX_PUSHES_PER_SENDER="1")
    for number in range(3):
        await one_a_minute.write(f"conversations/c1/messages/m{number}", HELLO)
    assert one_a_minute.told("bob") == ["Hello"]


async def test_what_waits_is_told_when_its_time_has_come() -> None:
    project = Project(CHAT, now=EVENING)
    assert await project.write("conversations/c1/messages/m1", HELLO) == []
    assert (await project.record("new_message", "conversations/c1/messages/m1")).state is (
        DeliveryState.WAITING
    )
    assert await project.wait_until(MORNING - timedelta(seconds=1)) == []
    await project.wait_until(MORNING)
    assert project.told("bob") == ["Hello"]


async def test_what_is_deleted_meanwhile_is_not_told() -> None:
    project = Project(CHAT, now=EVENING)
    await project.write("conversations/c1/messages/m1", HELLO)
    await project.delete("conversations/c1/messages/m1")
    assert await project.wait_until(MORNING) == []


async def test_the_record_says_why_nothing_was_sent() -> None:
    project = Project()
    await project.write("orders/o1", {"status": "delivered"})
    record = await project.record("order_delivered", "orders/o1")
    assert (record.state, record.reason) == (
        DeliveryState.REFUSED,
        "orders/o1: customer_id is missing",
    )


async def test_a_document_becomes_a_campaign_is_edited_and_deleted() -> None:
    project = Project({}, BATCH_APPS="ios=IOSKEY")
    (created,) = await project.write("campaigns/sale", SALE)
    (updated,) = await project.write("campaigns/sale", SALE | {"name": "Summer sale"})
    (deleted,) = await project.delete("campaigns/sale")
    assert [call.route for call in (created, updated, deleted)] == [
        "campaigns/create",
        "campaigns/update/token-1",
        "campaigns/delete/token-1",
    ]
    assert updated.body["name"] == "Summer sale"


async def test_a_create_whose_answer_is_lost_is_looked_for() -> None:
    project = Project({}, BATCH_APPS="ios=IOSKEY")
    project.batch.answer_next(httpx.ReadTimeout("late"))
    with pytest.raises(TryAgainLater):
        await project.write("campaigns/sale", SALE)
    project.clock.forward(3600)
    calls = await project.write("campaigns/sale", SALE | {"name": "Summer sale"})
    assert [call.route for call in calls] == ["campaigns/list", "campaigns/create"]


async def test_batch_answers_what_it_is_told_to_and_the_platform_redelivers() -> None:
    project = Project(PROFILE)
    project.batch.answer = httpx.Response(503)
    with pytest.raises(TryAgainLater):
        await project.write("orders/o1", DELIVERED)
    assert project.told("ann") == []
    assert {call.status for call in project.batch.calls} == {503}
