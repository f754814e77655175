"""Campaigns, which editors write in a CMS.

A campaign has a `name`, `messages`, and a `push_time` or a `local_push_time`; it is a draft
unless it is `live`. The other fields have Batch's names; fields of Batch that are not known here go
into `batch`. Any further field of the document belongs to the CMS.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from batchpush import Campaign, CollapseKey, Document, Media
from handlers.fields import LOCAL_EXAMPLE, as_integer, flag, local_time, moment, part

AS_THEY_ARE = (
    "targeting",
    "labels",
    "priority",
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
        time_to_live=as_integer(document.get("time_to_live")),
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
    return "now" if document.get("push_time") == "now" else moment(document, "push_time")


def _local_push_time(document: Document) -> datetime | None:
    if document.get("local_push_time") is None:
        return None
    time = local_time(document, "local_push_time")
    if time is None:
        raise document.invalid(
            "local_push_time", f"must be a date and time without a zone, such as {LOCAL_EXAMPLE}"
        )
    return time
