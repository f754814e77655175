"""Trains.

A train has a `status`, a `number`, `departs_at` and `passenger_ids`; it may have a `time_zone`
for passengers whose own is not known.
"""

from datetime import UTC, timedelta

from batchpush import Change, CollapseKey, LookUp, Message, Push
from handlers.fields import label, moment, needed, status, time_zone
from handlers.formats import when
from handlers.links import deeplink
from handlers.people import Person, in_their_words, people, person_ids, recipients
from handlers.texts import say


async def train_cancelled(train: Change, look_up: LookUp) -> Push | None:
    """A train that does not run, to its passengers, whatever they muted."""
    if not train.became(lambda document: status(document) == "cancelled"):
        return None
    document, train_id = train.document, train.params["train_id"]
    number = needed(label, document, "number")
    departs_at = needed(moment, document, "departs_at")
    zone = time_zone(document, "time_zone") or UTC
    passengers = await people(look_up, *needed(person_ids, document, "passenger_ids"))
    if not passengers:
        return None

    def words(reader: Person) -> Message:
        departure = when(departs_at, reader.zone or zone, reader.language)
        return say("train_cancelled", reader.language, number=number, **departure)

    return Push(
        group_id="train_cancelled",
        recipients=recipients(passengers),
        message=in_their_words(passengers, words),
        deeplink=deeplink("trains", train_id),
        gcm_collapse_key=CollapseKey(f"train-{train_id}"),
        priority="high",
        best_before=timedelta(hours=6),
    )
