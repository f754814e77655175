"""The notification history: what an app's inbox shows."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import handlers.limits
import main
from batchpush import Limit, Message, Push, Recipients
from batchpush.delivery.history import MAX_PEOPLE, notifications
from batchpush.delivery.record import DeliveryState
from batchpush.errors import TryAgainLater
from batchpush.google.firestore import FirestoreUnavailable
from batchpush.testing import Project
from batchpush.testing.memory import Operation
from tests.deliveries import claimed
from tests.house import NIGHT

assert main.new_message
EVENING = datetime(2026, 6, 8, 23, 0, tzinfo=UTC)
MORNING = datetime(2026, 6, 9, 7, 0, tzinfo=UTC)
MESSAGE = "conversations/c/messages/m"
ON = {"NOTIFICATION_HISTORY_DAYS": "90", "DEEPLINK_BASE": "myapp://"}


def project(ann: Mapping[str, Any] = {}, **settings: str) -> Project:
    documents: dict[str, Mapping[str, Any]] = {
        "users/ann": ann,
        "users/bob": {"display_name": "Bob"},
        "conversations/c": {"member_ids": ["ann", "bob"]},
    }
    return Project(documents, EVENING, None, **ON | settings)


def message(text: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"sender_id": "bob", "text": text, **more}


async def inbox(house: Project, user_id: str) -> dict[str, dict[str, Any]]:
    """What an app sees, by the delivery's id."""
    beginning = f"users/{user_id}/notifications/"
    return {
        path.removeprefix(beginning): (await house.firestore.read(path))[path].fields
        for name in list(house.memory.documents)
        if (path := name.partition("/documents/")[2]).startswith(beginning)
    }


async def bodies(house: Project, user_id: str = "ann") -> list[str]:
    return sorted(each["body"] for each in (await inbox(house, user_id)).values())


async def reads(house: Project, body: str) -> None:
    """Ann marks it as read."""
    for delivery, entry in (await inbox(house, "ann")).items():
        if entry["body"] == body:
            house.hold(f"users/ann/notifications/{delivery}", entry | {"read": True})


async def test_an_entry_says_what_the_push_said() -> None:
    house = project()
    await house.write(MESSAGE, message())
    record = await house.record("new_message", MESSAGE)
    ((delivery, entry),) = (await inbox(house, "ann")).items()
    assert delivery == record.id
    ours = {name: entry.pop(name) for name in list(entry) if name.startswith("batch_")}
    assert entry == {
        "title": "Bob",
        "body": "Hello",
        "deeplink": "myapp://conversations/c",
        "category": "new_message",
        "sent_at": EVENING,
        "read": False,
    }
    assert ours["batch_expire_at"] == EVENING + timedelta(days=90)
    assert not any(word in str(ours) for word in ("bob", "conversations"))
    assert await inbox(house, "bob") == {}


def test_an_entry_has_the_link_of_its_message() -> None:
    french = Message("Bonjour", deeplink="myapp://fr")
    push = Push(
        group_id="news",
        recipients=[Recipients(custom_ids=[who], reads=who) for who in ("ann", "zoe")],
        message={"ann": Message("Hello"), "zoe": french},
        deeplink="myapp://en",
    )
    entries = notifications(claimed(), push, EVENING, timedelta(days=90))
    assert [each.fields["deeplink"] for each in entries] == ["myapp://en", "myapp://fr"]


async def test_it_is_written_by_the_claim_itself() -> None:
    house, without = project(), project(NOTIFICATION_HISTORY_DAYS="0")
    for each in (house, without):
        await each.write(MESSAGE, message())
    assert house.memory.operations == without.memory.operations
    assert await inbox(without, "ann") == {}


async def test_each_reads_it_in_their_own_language_whatever_ids_they_have_at_batch() -> None:
    house = project({"language": "fr", "batch": {"custom_ids": ["a-1"], "tokens": ["t"]}})
    await house.write("users/ann/friend_requests/bob", {"status": "pending"})
    assert await bodies(house) == ["Bob souhaite devenir votre ami"]
    assert await inbox(house, "a-1") == {}


async def test_who_is_left_out_has_none() -> None:
    house = project({"push_muted": True})
    await house.write(MESSAGE, message())
    assert await inbox(house, "ann") == {}


async def test_what_waits_is_there_at_once_and_is_not_told_once_it_is_read() -> None:
    house = project({"quiet_hours": NIGHT})
    await house.write(MESSAGE, message())
    assert await bodies(house) == ["Hello"]
    await reads(house, "Hello")
    assert await house.wait_until(MORNING) == []
    record = await house.record("new_message", MESSAGE)
    assert (record.state, record.reason) == (DeliveryState.OBSOLETE, "nobody is left to tell")


async def test_of_several_messages_only_the_unread_are_told() -> None:
    house = project({"quiet_hours": NIGHT})
    for text in ("One", "Two", "Three"):
        await house.write(f"conversations/c/messages/{text}", message(text))
    await reads(house, "Two")
    await house.wait_until(MORNING)
    assert house.told("ann") == ["2 new messages"]
    assert await bodies(house) == ["One", "Three", "Two"], "each has its own entry, and no other"


async def test_one_who_has_read_it_does_not_silence_the_others() -> None:
    house = project({"quiet_hours": NIGHT})
    house.hold("users/cat", {"quiet_hours": NIGHT})
    house.hold("conversations/c", {"member_ids": ["ann", "bob", "cat"]})
    await house.write(MESSAGE, message())
    await reads(house, "Hello")
    await house.wait_until(MORNING)
    assert (house.told("ann"), house.told("cat")) == ([], ["Hello"])


@pytest.mark.parametrize(
    "ann", [{"quiet_hours": NIGHT}, {"push_preferences": {"game_turn": "07:00"}}]
)
async def test_what_was_read_before_the_document_changed_again_silences_nothing(
    ann: Mapping[str, Any],
) -> None:
    house = project(ann)
    game = {"current_player_id": "ann", "name": "Chess"}
    house.clock.value = EVENING - timedelta(hours=17)
    await house.write("games/g", game)
    await house.wait_until(EVENING - timedelta(hours=16))
    assert house.told("ann") == ["It’s your turn"]
    await reads(house, "It’s your turn")
    await house.write("games/g", game | {"current_player_id": "bob"})
    house.clock.value = EVENING
    await house.write("games/g", game)
    await house.wait_until(MORNING)
    assert house.told("ann") == ["It’s your turn", "It’s your turn"]


@pytest.mark.parametrize("sent_at", [None, "yesterday", MORNING])
async def test_an_entry_without_a_time_is_older_than_the_others(sent_at: object) -> None:
    house = project({"quiet_hours": NIGHT})
    await house.write(MESSAGE, message())
    ((_, entry),) = (await inbox(house, "ann")).items()
    house.hold("users/ann/notifications/other", entry | {"sent_at": sent_at, "read": True})
    await house.wait_until(MORNING)
    assert house.told("ann") == ([] if sent_at == MORNING else ["Hello"])


async def test_what_was_read_is_not_in_a_digest() -> None:
    house = project({"push_preferences": {"new_message": "07:00"}})
    for text in ("One", "Two", "Three"):
        await house.write(f"conversations/c/messages/{text}", message(text))
    await reads(house, "One")
    await house.wait_until(MORNING)
    assert house.told("ann") == ["2 new notifications"]


async def test_what_is_planned_is_not_there_before_its_time() -> None:
    house = project()
    push = {
        "group_id": "sale",
        "recipients": {"custom_ids": ["ann", "not/a/user"]},
        "message": {"body": "It begins"},
        "send_at": MORNING,
        "deeplink": "myapp://sale",
    }
    await house.write("pushes/p", push)
    assert await bodies(house) == []
    await house.wait_until(MORNING)
    ((_, entry),) = (await inbox(house, "ann")).items()
    assert (entry["body"], entry["sent_at"], entry["deeplink"]) == (
        "It begins",
        MORNING,
        "myapp://sale",
    )


async def test_a_push_over_the_limit_leaves_nothing_in_an_inbox(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That a limit is reached is known once a push is counted, and then before the next one."""
    monkeypatch.setattr(handlers.limits, "of_person", lambda _: [Limit(("sender",), 1)])
    house = project()
    await house.write("conversations/c/messages/1", message("One"))
    await house.write("conversations/c/messages/2", message("Two"))
    await house.write("conversations/c/messages/3", message("Three"))
    assert house.told("ann") == ["One"]
    assert await bodies(house) == ["One"]


async def after_one_message(monkeypatch: pytest.MonkeyPatch, is_written: bool) -> Project:
    """The sender may tell of no more now, and Firestore does not answer about outcomes."""
    monkeypatch.setattr(handlers.limits, "of_person", lambda _: [Limit(("sender",), 1)])
    house = project()
    await house.write("conversations/c/messages/1", message("One"))

    async def fail(name: str, operation: Operation) -> Any:
        if name != "record" or is_written:
            answer = operation()
        if name == "record":
            raise FirestoreUnavailable("UNAVAILABLE")
        return answer

    house.memory.strike = fail
    return house


async def test_an_inbox_is_as_was_told_also_where_firestore_s_answer_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = await after_one_message(monkeypatch, is_written=True)
    await house.write("conversations/c/messages/2", message("Two"))
    assert await bodies(house) == house.told("ann") == ["One"]


async def test_an_inbox_is_as_was_told_also_where_no_outcome_can_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A redelivery knows of no limit then; it tells, and the entry stays."""
    house = await after_one_message(monkeypatch, is_written=False)
    with pytest.raises(TryAgainLater):
        await house.write("conversations/c/messages/2", message("Two"))
    house.memory.strike = None
    record = await house.record("new_message", "conversations/c/messages/2")
    entry = await house.worker.ledger.read(record.id)
    assert entry
    await house.worker.sender.resume(entry)
    assert await bodies(house) == house.told("ann") == ["One", "Two"]


@pytest.mark.parametrize(("people", "has_entries"), [(MAX_PEOPLE, True), (MAX_PEOPLE + 1, False)])
async def test_an_audience_has_none(people: int, has_entries: bool) -> None:
    house = project()
    push = {
        "group_id": "sale",
        "recipients": {"custom_ids": ["ann", *(f"u{number}" for number in range(people - 1))]},
        "message": {"body": "It begins"},
    }
    await house.write("pushes/p", push)
    assert len(house.told("ann")) == 1
    assert bool(await inbox(house, "ann")) is has_entries


async def test_entries_that_are_too_large_for_a_commit_are_none_and_the_push_goes_out() -> None:
    house = project()
    push = {
        "group_id": "sale",
        "recipients": {"custom_ids": ["ann", *(f"u{number}" for number in range(499))]},
        "message": {"title": "T" * 2_000, "body": "It begins"},
    }
    await house.write("pushes/p", push)
    assert house.told("ann") == ["It begins"]
    assert await inbox(house, "ann") == {}


async def test_an_event_that_comes_again_does_not_mark_it_as_unread() -> None:
    house = project()
    await house.write(MESSAGE, message())
    await reads(house, "Hello")
    record = await house.record("new_message", MESSAGE)
    entry = await house.worker.ledger.read(record.id)
    assert entry
    await house.worker.sender.resume(entry)
    assert [each["read"] for each in (await inbox(house, "ann")).values()] == [True]


async def test_what_apps_send_each_other_is_there_too() -> None:
    house = project()
    house.hold("users/ann/friends/bob", {})
    await house.write("games/g", {"current_player_id": "ann", "name": "Chess"})
    assert await bodies(house) == ["It’s your turn"]
