"""Shared by flights and trains: passengers are notified of a departure whatever they muted."""

from datetime import UTC, timedelta

from batchpush import Change, CollapseKey, LookUp, Message, NoPush, Push
from handlers.fields import is_history, label, moment, needed, time_zone
from handlers.formats import when
from handlers.links import deeplink
from handlers.people import (
    Person,
    in_their_words,
    people,
    person_ids,
    recipients,
    who_is_told,
)
from handlers.texts import say


async def to_passengers(
    change: Change, look_up: LookUp, *, group_id: str, vehicle: str, vehicle_id: str
) -> Push | NoPush | None:
    """The text of that name, with the departure in each passenger's own time zone.

    `vehicle` is `flight` or `train`. A departure long ago sends nothing.
    """
    document = change.document
    number = needed(label, document, "number")
    departs_at = needed(moment, document, "departs_at")
    if is_history(change, departs_at):
        return None
    zone = time_zone(document, "time_zone") or UTC
    passengers = await people(look_up, *needed(person_ids, document, "passenger_ids"))
    told, left_out = who_is_told(group_id, passengers)
    if not told:
        return NoPush(left_out) if left_out else None

    def words(reader: Person) -> Message:
        departure = when(departs_at, reader.zone or zone, reader.language)
        return say(group_id, reader.language, number=number, **departure)

    return Push(
        group_id=group_id,
        recipients=recipients(told, group_id, at_any_hour=True),
        message=in_their_words(told, words),
        deeplink=deeplink(f"{vehicle}s", vehicle_id),
        gcm_collapse_key=CollapseKey(f"{vehicle}-{vehicle_id}"),
        priority="high",
        fresh_for=timedelta(hours=6),
        left_out=left_out,
    )
