"""Flights.

A flight has a `status`, a `number`, `departs_at` and `passenger_ids`; it may have a `time_zone`
for passengers whose own is unknown.
"""

from datetime import datetime

from batchpush import Change, Document, LookUp, NoPush, Push
from handlers.departures import to_passengers
from handlers.fields import moment, status


async def flight_delayed(flight: Change, look_up: LookUp) -> Push | NoPush | None:
    """Tells passengers that their flight is delayed, and again if the new time changes.

    They are notified whatever they muted, each in their own time zone.
    """

    def is_delayed_until_then(document: Document) -> bool:
        """Whether the flight is delayed to its current departure time."""
        is_delayed = status(document) == "delayed"
        return is_delayed and _as_shown(document) == _as_shown(flight.document)

    if not flight.became(is_delayed_until_then):
        return None
    return await to_passengers(
        flight,
        look_up,
        group_id="flight_delayed",
        vehicle="flight",
        vehicle_id=flight.params["flight_id"],
    )


def _as_shown(flight: Document) -> datetime | None:
    """The departure to the minute: passengers do not see changes of seconds."""
    departs_at = moment(flight, "departs_at")
    return departs_at and departs_at.replace(second=0, microsecond=0)
