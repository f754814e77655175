"""What a sweep looks at, what is first where there is not time for all, and where it stops."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from batchpush.errors import DeliveryUnfinished
from batchpush.sweeping import from_anywhere, some_of, sweep_each
from batchpush.timing import Clock

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def clock(chance: float) -> Clock:
    return Clock(lambda: NOW, lambda: chance)


@given(st.lists(st.integers(), unique=True), st.floats(0, 1))
def test_items_from_anywhere_are_all_the_items_in_their_order(
    items: list[int], chance: float
) -> None:
    begun = from_anywhere(items, clock(chance))
    first = begun.index(items[0]) if items else 0
    assert begun[first:] + begun[:first] == items


def test_each_item_is_the_first_at_some_chance() -> None:
    firsts = {from_anywhere(range(10), clock(number / 100))[0] for number in range(100)}
    assert firsts == set(range(10))


async def test_no_more_is_read_than_may_be() -> None:
    read: list[int] = []

    async def numbers() -> AsyncIterator[int]:
        for number in range(10):
            read.append(number)
            yield number

    assert await some_of(numbers(), lambda number: number % 2 == 1, 4) == [1, 3]
    assert read == [0, 1, 2, 3]


async def test_a_failure_stops_no_other_and_nothing_begins_when_the_time_is_up() -> None:
    now, swept = NOW, list[int]()

    async def sweep_one(number: int) -> None:
        nonlocal now
        swept.append(number)
        now += timedelta(seconds=1)
        raise DeliveryUnfinished("later") if number else ValueError("a mistake")

    stop = NOW + timedelta(seconds=3)
    await sweep_each(range(5), sweep_one, clock=Clock(lambda: now, lambda: 0.7), stop=stop)
    assert swept == [3, 4, 0]
