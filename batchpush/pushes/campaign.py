"""`Campaign`: a validated body for Batch's Campaigns API.

Field names are Batch's: https://doc.batch.com/developer/api/mep/campaigns/parameters, of which no
whole copy could be read. Unverified is above all whether `media`, `deeplink`, `landing` and
`custom_payload` stand at the top, where they are sent in the form of a transactional push, or in
each of the `messages`, where they may be written as well. Whatever is not known here, such as
recurrence and A/B tests, goes through `batch`, unchecked. Sources are as in `push`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any, TypeGuard

from batchpush.errors import InvalidPush
from batchpush.pushes.link_rules import check_links, check_payload, payload_of
from batchpush.pushes.push import RULES as RULES_OF_A_PUSH
from batchpush.pushes.push import (
    CollapseKey,
    Media,
    Rule,
    check_json,
    encoded,
    is_text,
    payload_text,
    platform,
    without_nones,
)

MIN_NAME = 3  # characters. official: campaigns/parameters
# Ahead of GMT, where each day begins first; Batch's page on creating begins with GMT+12.
FIRST_ZONE = timedelta(hours=14)

PLAIN_FIELDS = (
    "name",
    "live",
    "targeting",
    "priority",
    "time_to_live",
    "push_type",
    "deeplink",
    "landing",
)


@dataclass(frozen=True, kw_only=True)
class Campaign:
    """The desired state of a campaign in each app of `apps`, or in all of BATCH_APPS if None.

    Exactly one of `push_time` and `local_push_time` is set. `push_time` is `"now"` or a time with a
    zone; `local_push_time` has no zone and follows each phone's clock. Unless `live`, it is a
    draft. `messages` are Batch's: each has a `language` and a `body`, and may have a `title` and
    other fields that Batch accepts there. `batch` holds further top-level fields of the body. Times
    in `messages`, `landing` and `custom_payload` are sent as ISO 8601. `ignored` names fields of
    the document that were ignored; `preview` shows them.
    """

    name: str
    messages: Sequence[Mapping[str, Any]] = ()
    live: bool = False
    push_time: datetime | str | None = None
    local_push_time: datetime | None = None
    targeting: Mapping[str, Any] | None = None
    labels: Sequence[str] | None = None
    priority: str | None = None
    time_to_live: int | None = None
    gcm_collapse_key: CollapseKey | None = None
    push_type: str | None = None
    media: Media | None = None
    deeplink: str | None = None
    landing: Mapping[str, Any] | None = None
    custom_payload: Mapping[str, Any] | str | None = None
    batch: Mapping[str, Any] = field(default_factory=dict)
    apps: Sequence[str] | None = None
    ignored: Sequence[str] = ()

    def bodies(self, apps: Sequence[str]) -> dict[str, bytes]:
        """The body for each of its apps; raises `InvalidPush`, naming the field.

        It is whole, also for an edit: an update needs at least what the creation had, says Batch's
        page, although its example has less.
        """
        _check(self)
        if unknown := set(self.apps or ()) - set(apps):
            raise InvalidPush("apps", f"names apps that are not in BATCH_APPS: {sorted(unknown)}")
        frame = self._frame()
        return {app: _body(frame, app) for app in apps if self.apps is None or app in self.apps}

    def due(self, now: datetime) -> datetime | None:
        """When the first phone may receive it; None for a draft."""
        if not self.live:
            return None
        if self.local_push_time:
            return self.local_push_time.replace(tzinfo=UTC) - FIRST_ZONE
        return self.push_time if isinstance(self.push_time, datetime) else now

    def _frame(self) -> dict[str, Any]:
        frame = {name: getattr(self, name) for name in PLAIN_FIELDS} | {
            "push_time": _time(self.push_time),
            "local_push_time": _time(self.local_push_time),
            "messages": [without_nones(message) for message in self.messages] or None,
            "labels": list(self.labels or ()) or None,
            "media": self.media and without_nones(vars(self.media)),
            "gcm_collapse_key": self.gcm_collapse_key and vars(self.gcm_collapse_key),
            "custom_payload": payload_text(self.custom_payload),
        }
        return without_nones(frame) | dict(self.batch)


def _time(time: datetime | str | None) -> str | None:
    if not isinstance(time, datetime):
        return time
    local = time.astimezone(UTC) if time.tzinfo else time
    # Not strftime, which writes the year 999 in three digits.
    return local.replace(tzinfo=None).isoformat(timespec="seconds")


def _body(frame: Mapping[str, Any], app: str) -> bytes:
    media = frame.get("media")
    if platform(app) == "ios" and isinstance(media, Mapping) and "icon" in media:
        # iOS does not support it. client: one removes it
        others = {name: url for name, url in media.items() if name != "icon"} or None
        frame = without_nones({**frame, "media": others})
    return encoded(frame)


# The rules: Batch's, and ours


def _check(campaign: Campaign) -> None:
    """Raise `InvalidPush` for the first field that breaks a rule."""
    for name, is_valid, expected, _ in RULES:
        value = getattr(campaign, name)
        if value is not None and not is_valid(value):
            raise InvalidPush(name, expected)
    for name in ("landing", "messages", "batch"):
        check_links(name, getattr(campaign, name))
    check_payload("custom_payload", payload_of(campaign.custom_payload))
    if (campaign.push_time is None) == (campaign.local_push_time is None):
        raise InvalidPush("push_time", "or local_push_time is required, and not both")
    if not campaign.messages and "messages" not in campaign.batch:
        raise InvalidPush("messages", "is missing")
    for name in campaign.batch:
        if name in OWN_FIELDS and getattr(campaign, name) not in (None, ()):
            raise InvalidPush(f"batch.{name}", "is already set outside of batch")
    for message in campaign.messages:
        _check_message(message)
        check_json(f"messages.{message['language']}", message)
    check_json("landing", campaign.landing)
    # Whatever Batch compares or reads itself has a form of its own for times.
    check_json("targeting", campaign.targeting, with_times=False)
    check_json("batch", campaign.batch, with_times=False)


def _check_message(message: Mapping[str, Any]) -> None:
    for name in ("language", "title", "body"):
        value = message.get(name)
        if value is None and name != "title":
            raise InvalidPush(f"messages.{name}", "is missing")
        if value is not None and not is_text(value):
            raise InvalidPush(f"messages.{name}", "must be a string that is not blank")


def _is_name(value: object) -> bool:
    return is_text(value) and len(str(value)) >= MIN_NAME


def _is_push_time(value: object) -> bool:
    return value == "now" or (_is_time(value) and value.tzinfo is not None)


def _is_time(value: object) -> TypeGuard[datetime]:
    """Whether it is a time that stays in Python's range of years in every zone."""
    return isinstance(value, datetime) and 1 < value.year < 9999


def _are_messages(value: object) -> bool:
    is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return is_list and all(isinstance(item, Mapping) for item in value)  # type: ignore[attr-defined]


OWN_FIELDS = frozenset(own.name for own in fields(Campaign)) - {"ignored"}

RULES: tuple[Rule, ...] = (
    Rule(
        "name",
        _is_name,
        f"must be a string of at least {MIN_NAME} characters",
        "official: campaigns/parameters",
    ),
    Rule(
        "live",
        lambda v: type(v) is bool,
        "must be true or false",
        "official: campaigns/parameters",
    ),
    Rule(
        "push_time",
        _is_push_time,
        "must be now, or a date and time with its zone",
        "official: campaigns/create, in GMT; ours: with a zone",
    ),
    # Never `now`, which Batch has for a time in GMT.
    Rule(
        "local_push_time",
        lambda v: _is_time(v) and v.tzinfo is None,
        "must be a date and time without a zone",
        "client: the Node client's schema; inferred: from the page of in-app campaigns",
    ),
    Rule("messages", _are_messages, "must be a list of maps", "official: campaigns/create"),
    Rule(
        "targeting",
        lambda v: isinstance(v, Mapping),
        "must be a map",
        "official: campaigns/get-campaign",
    ),
    Rule("batch", lambda v: isinstance(v, Mapping), "must be a map", "ours"),
    *(rule for rule in RULES_OF_A_PUSH if rule.field in OWN_FIELDS),
)
