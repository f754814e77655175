"""`PROFILE_CACHE_SECONDS`: a burst reads the same people once, and never an old muting."""

import weakref
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batchpush.events import profile_cache
from batchpush.events.profile_cache import CachedLookUp, ProfileCache
from handlers import messages
from tests.events import Stored
from tests.house import House as Everything

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
WORLD: dict[str, Mapping[str, Any]] = {
    "users/ann": {"language": "fr"},
    "users/bob": {"language": "de"},
    "conversations/c": {"member_ids": ["ann", "bob"]},
    "users/ann/friends/bob": {"since": 2026},
}


class House:
    """Look-ups of one process, at a time that the test moves."""

    def __init__(self, seconds: float = 5) -> None:
        self.time = NOON
        self.world = dict(WORLD)
        self.stored = Stored(self.world)
        self.cache = ProfileCache(timedelta(seconds=seconds), lambda: self.time)

    def look_up(self, source: str = "one") -> CachedLookUp:
        """That of another event."""
        return CachedLookUp(self.stored, self.cache, source)

    def wait(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


async def test_the_next_event_reads_only_who_is_new() -> None:
    house = House()
    await house.look_up().many("users/ann")
    ann, nobody, bob = await house.look_up().many("users/ann", "users/eve", "users/bob")
    assert ann
    assert bob
    assert (ann["language"], nobody, bob["language"]) == ("fr", None, "de")
    assert house.stored.reads == [("users/ann",), ("users/eve", "users/bob")]
    await house.look_up().many("users/ann", "users/eve", "users/bob")  # also who has no profile
    assert len(house.stored.reads) == 2


async def test_a_profile_is_no_older_than_the_setting_says() -> None:
    house = House(seconds=5)
    await house.look_up()("users/ann")
    house.world["users/ann"] = {"push_muted": True}
    house.wait(4.9)
    assert "push_muted" not in (await house.look_up()("users/ann") or {})
    house.wait(0.1)
    assert "push_muted" in (await house.look_up()("users/ann") or {})


async def test_the_age_counts_from_the_question_and_not_from_a_late_answer() -> None:
    house = House(seconds=5)
    read = house.stored.many

    async def slow(*paths: str, fields: Any = ()) -> Any:
        found = await read(*paths, fields=fields)
        house.wait(6)
        return found

    house.stored.many = slow  # type: ignore[method-assign]
    await house.look_up()("users/ann")
    await house.look_up()("users/ann")
    assert len(house.stored.reads) == 2


async def test_a_profile_that_is_too_old_takes_no_memory() -> None:
    house = House(seconds=5)
    ann = weakref.ref(await house.look_up()("users/ann") or house)
    house.wait(5)
    await house.look_up()("users/bob")
    assert ann() is None


@pytest.mark.parametrize("path", ["conversations/c", "users/ann/friends/bob", "users", "users/"])
async def test_nothing_but_profiles_is_kept(path: str) -> None:
    house = House()
    for _ in range(2):
        await house.look_up().many(path)
    assert len(house.stored.reads) == 2


async def test_another_database_and_other_fields_are_read_by_themselves() -> None:
    house = House()
    await house.look_up("one").many("users/ann", fields=("language",))
    await house.look_up("two").many("users/ann", fields=("language",))
    await house.look_up("one").many("users/ann", fields=("batch",))
    assert len(house.stored.reads) == 3


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile_cache, "MAX_PROFILES", 2)
    house = House()
    for name in ("ann", "bob", "eve"):
        await house.look_up()(f"users/{name}")
    house.stored.reads.clear()
    await house.look_up().many("users/bob", "users/eve")
    assert house.stored.reads == []
    await house.look_up()("users/ann")
    assert house.stored.reads == [("users/ann",)]


@pytest.mark.parametrize(("seconds", "reads"), [("5", 3), ("0", 4)])
async def test_a_burst_in_a_conversation_reads_its_people_once_where_that_is_set(
    seconds: str, reads: int
) -> None:
    house = Everything(PROFILE_CACHE_SECONDS=seconds)
    for name in ("ann", "bob"):
        await house.stores(f"users/{name}", {"display_name": name.title()})
    await house.stores("conversations/c", {"member_ids": ["ann", "bob"]})
    told: dict[str, Any] = {"sender_id": "ann", "text": "Hello"}
    pattern = "conversations/{conversation_id}/messages/{message_id}"
    house.memory.operations.clear()
    for number in range(2):
        await house.happens(
            messages.new_message, pattern, told, conversation_id="c", message_id=str(number)
        )
    assert house.memory.operations.count("read") == reads
    assert house.all_told() == [("bob", "Hello")] * 2
