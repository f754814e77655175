"""Flights.

A flight has a `status`, a `number`, `departs_at` and `passenger_ids`; it may have a `time_zone`
for passengers whose own is not known.
"""

from batchpush import Change, Document, LookUp, Push
from handlers.departures import to_passengers
from handlers.fields import moment, status


async def flight_delayed(flight: Change, look_up: LookUp) -> Push | None:
    """A flight that is delayed, or departs at yet another time, to its passengers.

    They are told whatever they muted, each in their own time zone.
    """

    def is_delayed_until_then(document: Document) -> bool:
        """Whether it was delayed already, and to the time at which it departs now."""
        now = flight.document
        return status(document) == "delayed" and (
            moment(document, "departs_at") == moment(now, "departs_at")
        )

    if not flight.became(is_delayed_until_then):
        return None
    return await to_passengers(
        flight.document,
        look_up,
        text="flight_delayed",
        vehicle="flight",
        vehicle_id=flight.params["flight_id"],
    )
