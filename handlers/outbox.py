"""Pushes that other back ends, in any language, request by writing a document."""

from dataclasses import fields
from typing import Any

from batchpush import (
    ID_LISTS,
    MAX_FRESH_FOR,
    Change,
    CollapseKey,
    Document,
    LookUp,
    Media,
    Message,
    Push,
    Recipients,
    Reference,
    as_list,
    problem_of_id,
)
from handlers.fields import moment, part

OURS = {"fresh_for", "burst", "state", "sender", "limits", "ignored"}
AS_THEY_ARE = {field.name for field in fields(Push)} - OURS
PARTS = {
    "message": Message,
    "media": Media,
    "gcm_collapse_key": CollapseKey,
}
MAX_IGNORED = 20  # names of fields in the outcome, and characters of each
MAX_NAME = 100


async def outbox(change: Change, look_up: LookUp) -> Push | None:
    """The push that a document describes: the body of a Transactional API call.

    In addition to Batch's fields, `apps` is a list of names from `BATCH_APPS` (default: all), and
    `best_before` is the time after which the push must not be sent. Fields of Batch that are not
    known here go into the map `extra`; any other field belongs to the back end.
    """
    document = change.document
    if document.keys() == {"delivery"}:
        return None  # the outcome of a push whose document was deleted in the meantime
    given = {name: value for name, value in document.items() if value is not None}
    values: dict[str, Any] = {name: given[name] for name in AS_THEY_ARE & given.keys()}
    values["group_id"] = document.string("group_id")
    values["recipients"] = _recipients(document)
    for name, kind in PARTS.items():
        values[name] = part(document, name, kind)
    seconds = values.get("time_to_live")
    if isinstance(seconds, float) and seconds.is_integer():
        values["time_to_live"] = int(seconds)
    if best_before := moment(document, "best_before"):
        fresh_for = best_before - change.time
        if fresh_for > MAX_FRESH_FOR:
            raise document.invalid("best_before", "must be at most 24 hours after the event")
        values["fresh_for"] = fresh_for
    return Push(**values, ignored=_named(given.keys() - AS_THEY_ARE - {"best_before"}))


def _recipients(document: Document) -> Recipients:
    recipients = part(document, "recipients", Recipients)
    if recipients is None:
        raise document.invalid("recipients", "is missing")
    ids = {name: _ids(document, name, getattr(recipients, name)) for name in ID_LISTS}
    return Recipients(**ids)


def _ids(document: Document, id_list: str, listed: object) -> Any:
    """The ids of a list; a custom id may also be a reference to a profile."""
    items = as_list(listed)
    if not items:
        return listed  # Push checks it
    ids = []
    for index, item in enumerate(items):
        if item is None:  # a removed item in the Realtime Database
            continue
        field = f"recipients.{id_list}[{index}]"
        if isinstance(item, Reference) and id_list == "custom_ids":
            item = Document(document.path, {field: item}).id(field)
        if problem := problem_of_id(id_list, item):
            raise document.invalid(field, problem)
        ids.append(item)
    return ids


def _named(names: set[str]) -> tuple[str, ...]:
    """Names of fields for the outcome, limited in number and length."""
    kept = sorted(name.encode("utf-8", "replace").decode()[:MAX_NAME] for name in names)
    return tuple(kept[:MAX_IGNORED])
