"""Flights.

A flight has a `status`, a `number`, `departs_at` and `passenger_ids`; it may have a `time_zone`
for passengers whose own is not known.
"""

from datetime import UTC, timedelta

from batchpush import Change, CollapseKey, Document, LookUp, Message, Push
from handlers.fields import label, moment, needed, status, time_zone
from handlers.formats import when
from handlers.links import deeplink
from handlers.people import Person, in_their_words, people, person_ids, recipients
from handlers.texts import say


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
    document, flight_id = flight.document, flight.params["flight_id"]
    number = needed(label, document, "number")
    departs_at = needed(moment, document, "departs_at")
    zone = time_zone(document, "time_zone") or UTC
    passengers = await people(look_up, *needed(person_ids, document, "passenger_ids"))
    if not passengers:
        return None

    def words(reader: Person) -> Message:
        departure = when(departs_at, reader.zone or zone, reader.language)
        return say("flight_delayed", reader.language, number=number, **departure)

    return Push(
        group_id="flight_delayed",
        recipients=recipients(passengers),
        message=in_their_words(passengers, words),
        deeplink=deeplink("flights", flight_id),
        gcm_collapse_key=CollapseKey(f"flight-{flight_id}"),
        priority="high",
        best_before=timedelta(hours=6),
    )
