"""Trains.

A train has a `status`, a `number`, `departs_at` and `passenger_ids`; it may have a `time_zone`
for passengers whose own is unknown.
"""

from batchpush import Change, LookUp, NoPush, Push
from handlers.departures import to_passengers
from handlers.fields import status


async def train_cancelled(train: Change, look_up: LookUp) -> Push | NoPush | None:
    """Tells passengers that their train is cancelled, whatever they muted."""
    if not train.became(lambda document: status(document) == "cancelled"):
        return None
    return await to_passengers(
        train,
        look_up,
        group_id="train_cancelled",
        vehicle="train",
        vehicle_id=train.params["train_id"],
    )
