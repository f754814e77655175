"""What is asked first where there is not time for all."""

from datetime import UTC, datetime
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from batchpush.batch_api.requests import Caller
from batchpush.timing import Clock

CLIENT = cast(Any, None)
NOW = datetime(2026, 5, 4, tzinfo=UTC)


async def at_once(_: float) -> None:
    """Nobody waits here."""


def caller(chance: float) -> Caller:
    return Caller(CLIENT, Clock(lambda: NOW, lambda: chance, at_once))


@given(st.lists(st.integers(), unique=True), st.floats(0, 1))
def test_items_from_anywhere_are_all_the_items_in_their_order(
    items: list[int], chance: float
) -> None:
    begun = caller(chance).from_anywhere(items)
    first = begun.index(items[0]) if items else 0
    assert begun[first:] + begun[:first] == items


def test_each_item_is_the_first_at_some_chance() -> None:
    firsts = {caller(number / 100).from_anywhere(range(10))[0] for number in range(100)}
    assert firsts == set(range(10))
