"""Campaigns, which editors write in a CMS.

A campaign has a `name`, `messages`, and a `push_time` or a `local_push_time`; it is a draft
unless it is `live`. The other fields have Batch's names; fields of Batch that are not known here go
into `batch`. Any further field of the document belongs to the CMS.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from batchpush import Campaign, CollapseKey, Document, Media
from handlers.fields import flag, moment, part

AS_THEY_ARE = (
    "targeting",
    "labels",
    "priority",
    "time_to_live",
    "push_type",
    "deeplink",
    "landing",
    "custom_payload",
    "apps",
)


def campaign(document: Document) -> Campaign | None:
    """The desired state of the campaign at Batch; None if it should not exist there."""
    return Campaign(
        name=document.string("name"),
        live=flag(document, "live"),
        messages=_messages(document),
        push_time=_push_time(document),
        local_push_time=_local_push_time(document),
        media=part(document, "media", Media),
        gcm_collapse_key=part(document, "gcm_collapse_key", CollapseKey),
        batch=document.get("batch") or {},
        **{name: document.get(name) for name in AS_THEY_ARE},
    )


def _messages(document: Document) -> list[dict[str, Any]]:
    """Batch's list, or a map `{language: {title, body}}`."""
    messages = document.get("messages") or []
    if not isinstance(messages, Mapping):
        return messages  # Campaign checks any other value
    for language, message in messages.items():
        if not isinstance(message, Mapping):
            raise document.invalid(f"messages.{language}", "must be a map")
    return [{"language": language} | messages[language] for language in sorted(messages)]


def _push_time(document: Document) -> datetime | str | None:
    """`now` or a time; a time without a zone is in GMT, as at Batch."""
    value = document.get("push_time")
    if value == "now":
        return "now"
    if isinstance(value, str) and (time := _without_zone(value)):
        return time.replace(tzinfo=UTC)
    return moment(document, "push_time")


def _local_push_time(document: Document) -> datetime | None:
    value = document.get("local_push_time")
    if value is None:
        return None
    time = _without_zone(value) if isinstance(value, str) else None
    if time is None:
        raise document.invalid(
            "local_push_time", "must be a date and time without a zone, such as 2030-06-01T18:30:00"
        )
    return time


def _without_zone(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is None else None
