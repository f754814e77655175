"""What sweeps share: the failure of one piece of work keeps no other from its turn."""

from collections.abc import Awaitable

from batchpush.errors import TryAgainLater, UnreadableRecord
from batchpush.logs import about, log


async def on_its_own(
    work: Awaitable[None],
    *,
    function: str,
    event_id: str | None = None,
    document: str | None = None,
) -> None:
    """Do the work; what goes wrong is logged, with the names of the event."""
    with about(function=function, event_id=event_id, document=document):
        try:
            await work
        except UnreadableRecord as error:
            log("ERROR", "record.unreadable", error=error)
        except TryAgainLater as error:
            log("WARNING", "event.unfinished", error=error)
        except Exception as error:  # noqa: BLE001 - one must not keep the others from theirs
            log("ERROR", "event.crashed", error=error)
