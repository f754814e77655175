"""Campaigns, which editors write in a CMS.

A campaign has a `name`, `messages`, and a `push_time` or a `local_push_time`; it is a draft
unless it is `live`. The other fields have Batch's names; fields of Batch that are not known here go
into `batch`. Any further field of the document belongs to the CMS: it is named, and not sent.
"""

import functools
from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any

from batchpush import Campaign, CollapseKey, Document, Media, log
from handlers.fields import (
    LOCAL_EXAMPLE,
    as_integer,
    flag,
    local_time,
    moment,
    names_of,
    part,
)

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

# `stopped_by_article` is written by this package, into the campaigns that it makes of articles.
KNOWN = {each.name for each in fields(Campaign)} - {"ignored"} | {"stopped_by_article"}


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
        ignored=_ignored(document),
        **{name: document.get(name) for name in AS_THEY_ARE},
    )


def _ignored(document: Document) -> tuple[str, ...]:
    """Names of fields that are not sent, which may be misspelled ones."""
    given = {name for name, value in document.items() if value is not None}
    ignored = names_of(given - KNOWN)
    if ignored:
        _tell(ignored)
    return ignored


@functools.cache
def _tell(ignored: tuple[str, ...]) -> None:
    """Log the names once per process."""
    log("INFO", "campaign.ignored", data={"fields": list(ignored)})


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
