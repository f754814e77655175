"""Pushes that other back ends, in any language, ask for by writing a document."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from batchpush import Change, CollapseKey, Document, LookUp, Media, Message, Push, Recipients
from handlers.fields import moment

AS_THEY_ARE = {field.name for field in fields(Push)} - {"extra", "best_before", "burst"}
OURS = ("reads", "quiet")  # fields of recipients that are none of Batch's


async def outbox(change: Change, look_up: LookUp) -> Push | None:
    """The push that a document describes: the body of a Transactional API call.

    Beside Batch's fields, `apps` is a list of names from `BATCH_APPS` (default: all), and
    `best_before` the time after which the push is not to be sent any more.
    """
    document = change.document
    given = {name: value for name, value in document.items() if value is not None}
    values: dict[str, Any] = {name: given.pop(name) for name in AS_THEY_ARE & given.keys()}
    values["group_id"] = document.string("group_id")
    values["recipients"] = _part(document, "recipients", Recipients)
    for name, kind in (("message", Message), ("media", Media), ("gcm_collapse_key", CollapseKey)):
        if name in values:
            values[name] = _part(document, name, kind)
    if best_before := moment(document, "best_before"):
        values["best_before"] = best_before - change.time
        del given["best_before"]
    return Push(**values, extra=given)


def _part(document: Document, name: str, kind: type) -> Any:
    """A map in the document as the value that it stands for; its fields are Batch's."""
    value = document.get(name)
    if not isinstance(value, Mapping):
        raise document.invalid(name, "is missing" if value is None else "must be a map")
    known = {field.name: field.default for field in fields(kind) if field.name not in OURS}
    for key in value.keys() - known.keys():
        raise document.invalid(f"{name}.{key}", f"is not one of {', '.join(known)}")
    for key, default in known.items():
        if default is MISSING and key not in value:
            raise document.invalid(f"{name}.{key}", "is missing")
    return kind(**value)
