"""Pushes that other back ends, in any language, ask for by writing a document."""

from dataclasses import fields
from typing import Any

from batchpush import Change, CollapseKey, LookUp, Media, Message, Push, Recipients
from handlers.fields import moment, part

AS_THEY_ARE = {field.name for field in fields(Push)} - {"extra", "best_before", "burst"}
PARTS = {
    "recipients": Recipients,
    "message": Message,
    "media": Media,
    "gcm_collapse_key": CollapseKey,
}


async def outbox(change: Change, look_up: LookUp) -> Push | None:
    """The push that a document describes: the body of a Transactional API call.

    Beside Batch's fields, `apps` is a list of names from `BATCH_APPS` (default: all), and
    `best_before` the time after which the push is not to be sent any more.
    """
    document = change.document
    if document.keys() == {"delivery"}:
        return None  # the outcome of one that was deleted meanwhile
    given = {name: value for name, value in document.items() if value is not None}
    values: dict[str, Any] = {name: given.pop(name) for name in AS_THEY_ARE & given.keys()}
    values["group_id"] = document.string("group_id")
    for name, kind in PARTS.items():
        values[name] = part(document, name, kind)
    if values["recipients"] is None:
        raise document.invalid("recipients", "is missing")
    if best_before := moment(document, "best_before"):
        values["best_before"] = best_before - change.time
        del given["best_before"]
    return Push(**values, extra=given)
