"""Flights.

A flight has a `status`, a `number`, `departs_at` and `passenger_ids`; it may have a `time_zone`
for passengers whose own is not known.
"""

from datetime import datetime

from batchpush import Change, Document, LookUp, Push
from handlers.departures import to_passengers
from handlers.fields import moment, status


async def flight_delayed(flight: Change, look_up: LookUp) -> Push | None:
    """A flight that is delayed, or departs at yet another time, to its passengers.

    They are told whatever they muted, each in their own time zone.
    """

    def is_delayed_until_then(document: Document) -> bool:
        """Whether it was delayed already, and to the time at which it departs now."""
        is_delayed = status(document) == "delayed"
        return is_delayed and _as_shown(document) == _as_shown(flight.document)

    if not flight.became(is_delayed_until_then):
        return None
    return await to_passengers(
        flight,
        look_up,
        text="flight_delayed",
        vehicle="flight",
        vehicle_id=flight.params["flight_id"],
    )


def _as_shown(flight: Document) -> datetime | None:
    """When it departs, to the minute: passengers do not read of seconds that a back end moves."""
    departs_at = moment(flight, "departs_at")
    return departs_at and departs_at.replace(second=0, microsecond=0)
