"""Shared by the sweeps: each run is bounded, gives every item its turn, and stops in time."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from batchpush.errors import TryAgainLater, UnreadableRecord
from batchpush.logs import about, log
from batchpush.timing import Clock

Item = TypeVar("Item")


async def on_its_own(
    work: Awaitable[object],
    *,
    function: str,
    event_id: str | None = None,
    document: str | None = None,
) -> None:
    """Do the work and log any error, with the names of the event."""
    with about(function=function, event_id=event_id, document=document):
        try:
            await work
        except UnreadableRecord as error:
            log("ERROR", "record.unreadable", error=error)
        except TryAgainLater as error:
            log("WARNING", "event.unfinished", error=error)
        except Exception as error:  # noqa: BLE001 - one failure must not stop the others
            log("ERROR", "event.crashed", error=error)


def from_anywhere(items: Sequence[Item], clock: Clock) -> list[Item]:
    """The items from a random one on: if time runs out, each gets its turn to be first."""
    first = int(clock.jitter() * len(items))
    return [*items[first:], *items[:first]]


async def some_of(
    found: AsyncIterator[Item], is_to_sweep: Callable[[Item], bool], max_read: int
) -> list[Item]:
    """Those of the first `max_read` that are to be swept."""
    wanted: list[Item] = []
    read = 0
    async for each in found:
        read += 1
        if is_to_sweep(each):
            wanted.append(each)
        if read >= max_read:
            break
    return wanted


async def sweep_each(
    items: Sequence[Item],
    sweep_one: Callable[[Item], Awaitable[object]],
    *,
    clock: Clock,
    stop: datetime,
    document: Callable[[Item], str | None] = lambda _: None,
) -> None:
    """Sweep one after the other, from a random one on; none begins at `stop` or later.

    So the last one has time to finish before the platform stops the function.
    """
    for each in from_anywhere(items, clock):
        if clock.now() >= stop:
            break
        await on_its_own(sweep_one(each), function="sweep", document=document(each))
