"""Shared by the sweeps: one failing item does not stop the others."""

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
