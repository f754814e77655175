"""Batch's Customer Engagement Platform: a push becomes an event of each of its recipients.

The platform has no route that sends a push. Its Profile API tracks events, and an automation that
somebody made in Batch's dashboard sends a push for each: Batch's guide for the way from the
Transactional API names the event like the `group_id`, and gives it the push's values as attributes.
Limits have their source, as in `pushes.push`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from batchpush.batch_api.outcome import Reply
from batchpush.documents import storable

NAME = re.compile(r"[a-z0-9_]{1,30}")  # of an event. client: Segment's makes names of these
A_NAME = "must be 1 to 30 of a-z, 0-9 and _, as the name of an event in CEP"
MAX_TEXT = 300  # UTF-16 units of an attribute. client: a TypeScript adapter, quoting Batch's page
WHOLE = ("deeplink", "icon", "picture", "audio", "video", "custom_payload")  # useless if cut
PARTIAL = "SUCCESS_WITH_PARTIAL_ERRORS"  # official; the form of its errors: client
SUCCESSES = ("SUCCESS", PARTIAL)
MAX_REASON = 200  # characters of Batch's reason


@dataclass(frozen=True)
class Tracking:
    """The call that tracks a push's event; `custom_ids` are whose, in the order of the call."""

    event: Mapping[str, Any]
    custom_ids: Sequence[str]
    route: str = "profiles/update"

    @classmethod
    def of(cls, push: bytes) -> "Tracking":
        """The call for the body of a push or an `Event`, as the record holds it."""
        content = json.loads(push)
        if "event" in content:
            return cls(_event(content["event"]), content["recipients"]["custom_ids"])
        event: dict[str, Any] = {"name": content["group_id"]}
        if attributes := _attributes(content):
            event["attributes"] = attributes
        return cls(event, content["recipients"]["custom_ids"])

    @property
    def body(self) -> bytes:
        # Without a time, an event happens when it arrives: one of 24 hours ago would be refused.
        profiles = [
            {"identifiers": {"custom_id": custom_id}, "events": [self.event]}
            for custom_id in self.custom_ids
        ]
        return json.dumps(profiles, ensure_ascii=False, separators=(",", ":")).encode()

    def problem(self) -> str | None:
        """Why the platform would not take the event, or not all of it."""
        if not NAME.fullmatch(self.event["name"]):
            return f"group_id {A_NAME}"
        attributes = self.event.get("attributes", {})
        texts = {name: each for name, each in attributes.items() if isinstance(each, str)}
        long = next((name for name in WHOLE if _units(texts.get(name, "")) > MAX_TEXT), None)
        return f"{long} must be at most {MAX_TEXT} characters for CEP" if long else None

    def read(self, reply: Reply) -> Reply:
        """The reply with those whom it refuses, by reason, although it is a success."""
        said = reply.json()
        if not reply.is_success or said.get("code") != PARTIAL:
            return reply
        refused: dict[str, str] = {}
        errors = said.get("errors")
        for error in errors if isinstance(errors, list) else []:
            index = error.get("bulk_index") if isinstance(error, dict) else None
            if type(index) is int and 0 <= index < len(self.custom_ids):
                refused.setdefault(self.custom_ids[index], _reason(error))
        by_reason: dict[str, list[str]] = {}
        for custom_id, reason in refused.items():
            by_reason.setdefault(reason, []).append(custom_id)
        accepts_nobody = len(refused) == len(self.custom_ids)
        return replace(reply, refused=by_reason, accepts_nobody=accepts_nobody)


def has_taken(reply: Reply) -> bool:
    """Whether the reply proves that Batch took the event of somebody."""
    is_success = reply.is_success and reply.json().get("code") in SUCCESSES
    return is_success and not reply.accepts_nobody


def _attributes(push: Mapping[str, Any]) -> dict[str, str]:
    """Texts for people are cut where they are too long; the others are left to `problem`."""
    message = push.get("message", {})
    words = {name: _cut(message[name]) for name in ("title", "body") if name in message}
    whole = {name: push[name] for name in ("deeplink", "custom_payload") if name in push}
    attributes: dict[str, str] = words | whole | push.get("media", {})
    return attributes


def _event(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event of the older API: without its prefix, and with label and tags among the attributes.

    official: the names `$label` and `$tags`
    """
    native = {f"${name}": event[name] for name in ("label", "tags") if name in event}
    attributes = {**event.get("attributes", {}), **native}
    time = {"time": f"{event['time']}Z"} if "time" in event else {}
    name = event["name"].removeprefix("ue.")
    return {"name": name, **({"attributes": attributes} if attributes else {}), **time}


def _cut(text: str) -> str:
    if _units(text) <= MAX_TEXT:
        return text
    return text.encode("utf-16-le")[: 2 * (MAX_TEXT - 1)].decode("utf-16-le", "ignore") + "…"


def _units(text: str) -> int:
    """The length with an emoji as 2, as in the SDKs' languages; Batch's own count is unknown."""
    return len(text.encode("utf-16-le")) // 2


def _reason(error: Mapping[str, Any]) -> str:
    """`refused by Batch: title, invalid value`"""
    said = [error[name] for name in ("attribute", "reason") if isinstance(error.get(name), str)]
    text = ", ".join(said) or "without a reason"
    return storable(f"refused by Batch: {text[:MAX_REASON]}")
