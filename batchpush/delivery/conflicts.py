"""Repeats what fails because others write at the same time."""

from collections.abc import Awaitable, Callable

from batchpush.errors import DeliveryUnfinished
from batchpush.google.firestore import WriteConflict
from batchpush.timing import Clock

MAX_READS = 10  # of what others keep changing


async def until_written(step: Callable[[], Awaitable[None]], clock: Clock, problem: str) -> None:
    """Repeat the step, which reads and writes, while it meets a write conflict.

    Raises `DeliveryUnfinished` with the problem in the end.
    """
    for _ in range(MAX_READS):
        try:
            await step()
        except WriteConflict:
            await clock.sleep(clock.jitter())
        else:
            return
    raise DeliveryUnfinished(problem)
