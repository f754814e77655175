"""Pushes that other back ends, in any language, request by writing a document."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from batchpush import (
    ID_LISTS,
    MAX_AHEAD,
    MAX_FRESH_FOR,
    Change,
    CollapseKey,
    Document,
    LookUp,
    Media,
    Message,
    NoPush,
    Push,
    Recipients,
    Reference,
    as_list,
    problem_of_id,
)
from handlers.fields import (
    as_integer,
    flag,
    is_history,
    local_time,
    moment,
    names_of,
    part,
    time_zone,
)
from handlers.people import MAX_PEOPLE, people

OURS = {
    *("fresh_for", "burst", "state", "sender", "limits", "ignored", "left_out"),
    "send_at",
}
TIMES = {"best_before", "send_at", "cancelled", "time_zone"}
AS_THEY_ARE = {field.name for field in fields(Push)} - OURS
PARTS = {
    "message": Message,
    "media": Media,
    "gcm_collapse_key": CollapseKey,
}


async def outbox(change: Change, look_up: LookUp) -> Push | NoPush | None:
    """The push that a document describes: the body of a Transactional API call.

    In addition to Batch's fields, `apps` is a list of names from `BATCH_APPS` (default: all), and
    `best_before` is the time after which the push must not be sent. It waits until `send_at`, a
    time, or a date and time of day in each reader's zone; `cancelled` ends the wait. Fields of
    Batch that are not known here go into the map `extra`; any other field belongs to the back end.
    """
    document = change.document
    if change.late is None and document.get("send_at") is not None:
        # The event of an edit may come before that of the creation.
        document = await look_up(change.path) or document
    if document.keys() == {"delivery"}:
        return None  # the outcome of a push whose document was deleted in the meantime
    if flag(document, "cancelled"):
        return NoPush(reason="cancelled")
    given = {name: value for name, value in document.items() if value is not None}
    values: dict[str, Any] = {name: given[name] for name in AS_THEY_ARE & given.keys()}
    values["group_id"] = document.string("group_id")
    values["recipients"] = await _at_their_time(document, _recipients(document), look_up)
    for name, kind in PARTS.items():
        values[name] = part(document, name, kind)
    values["time_to_live"] = as_integer(values.get("time_to_live"))
    last = max([each.send_at for each in values["recipients"] if each.send_at], default=None)
    if best_before := moment(document, "best_before"):
        values["fresh_for"] = _fresh_for(change, best_before, last)
    elif last and change.late is None and is_history(change, last):
        return NoPush(reason="send_at was long ago")
    return Push(**values, ignored=names_of(given.keys() - AS_THEY_ARE - TIMES))


def is_scheduled_anew(change: Change) -> bool:
    """Whether a push that may still wait for its `send_at` was changed or deleted.

    In the Realtime Database, the outcome is a part of the document; it is no change.
    """
    if change.before is None or change.before.get("send_at") is None:
        return False
    return _without_outcome(change.before) != _without_outcome(change.after)


def _without_outcome(document: Document | None) -> dict[str, Any]:
    return {name: value for name, value in (document or {}).items() if name != "delivery"}


def _fresh_for(change: Change, best_before: datetime, send_at: datetime | None) -> timedelta:
    """How long the push may be sent, from its event or the end of its wait, or from `send_at`."""
    if send_at and best_before <= send_at:
        if send_at > change.time + MAX_AHEAD:
            problem = f"must be at most {MAX_AHEAD.days} days ahead"
            raise change.document.invalid("send_at", problem)
        raise change.document.invalid("best_before", "must be after send_at")
    since = (change.late and change.late.since) or change.time
    fresh_for = best_before - max(since, send_at or since)
    if fresh_for > MAX_FRESH_FOR:
        raise change.document.invalid("best_before", "must be at most 24 hours after the event")
    return fresh_for


async def _at_their_time(
    document: Document, recipients: Recipients, look_up: LookUp
) -> list[Recipients]:
    """The recipients in groups of one `send_at` each."""
    local = local_time(document, "send_at")
    if local is None:
        return [replace(recipients, send_at=moment(document, "send_at"))]
    zone = time_zone(document, "time_zone") or UTC
    user_ids = recipients.custom_ids
    if len(user_ids) > MAX_PEOPLE:
        problem = f"a time of day in each reader's zone is for at most {MAX_PEOPLE} custom_ids"
        raise document.invalid("send_at", problem)
    groups: dict[datetime, list[str]] = {}
    for reader in await people(look_up, *user_ids):
        at = local.replace(tzinfo=reader.zone or zone).astimezone(UTC)
        groups.setdefault(at, []).append(reader.user_id)
    others = replace(recipients, custom_ids=(), send_at=local.replace(tzinfo=zone).astimezone(UTC))
    own = [Recipients(custom_ids=user_ids, send_at=at) for at, user_ids in groups.items()]
    return [*own, others] if len(others) or not own else own


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
