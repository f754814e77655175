"""The Campaigns API: the stored campaigns and the replies about them."""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from emulators.batch.campaign_rules import NOW, RECURRENCE, TIMES, campaign_refusal
from emulators.batch.checks import without_nulls
from emulators.batch.journal import Call, as_rfc3339, is_dev
from emulators.batch.replies import (
    API_MISUSE,
    MALFORMED_PARAMETER,
    ROUTE_NOT_FOUND,
    Reply,
)
from emulators.batch.stats import Sent, campaign_stats_reply

# official: the pages of these routes; that they answer API_MISUSE is a guess
LIVE_ONLY = ("campaigns/view", "campaigns/list", "campaigns/stats")

SWITCHES = {"true": True, "false": False}
DEFAULT_LIMIT = 10
MAX_LIMIT = 100  # official: doc.batch.com/api/campaigns/list; what a larger one does is a guess


class State(Enum):
    DRAFT = "draft"  # not live, never sent
    SCHEDULED = "scheduled"  # live, but not due yet
    RUNNING = "running"  # recurring, and sent at least once
    COMPLETED = "completed"  # sent, for good
    DELETED = "deleted"


@dataclass(frozen=True)
class Campaign:
    app_key: str
    token: str
    body: dict[str, Any]
    """The body of the creation, merged with all updates; `now` is replaced with the time."""
    created_at: datetime
    changed_at: datetime
    from_api: bool = True
    sent_at: datetime | None = None
    is_deleted: bool = False

    @property
    def is_live(self) -> bool:
        return bool(self.body["live"])

    @property
    def push_time(self) -> datetime:
        """Local times count as GMT: the phones of this emulator are in Greenwich."""
        [text] = [self.body[name] for name in TIMES if name in self.body]
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    @property
    def state(self) -> State:
        if self.is_deleted:
            return State.DELETED
        if self.sent_at is not None:
            return State.RUNNING if RECURRENCE in self.body else State.COMPLETED
        return State.SCHEDULED if self.is_live else State.DRAFT

    def is_due(self, now: datetime) -> bool:
        waits = self.is_live and self.sent_at is None and not self.is_deleted
        return waits and self.push_time <= now

    def description(self) -> dict[str, Any]:
        """The fields that only Batch can set."""
        return {
            "campaign_token": self.token,
            "from_api": self.from_api,
            "dev_only": is_dev(self.app_key),
            "created_date": as_gmt(self.created_at),
        }

    def row(self) -> dict[str, Any]:
        shown = {name: self.body[name] for name in ("name", "live", *TIMES) if name in self.body}
        return self.description() | shown

    def as_json(self) -> dict[str, Any]:
        """What the emulator's own routes show, whether deleted or not."""
        return self.description() | {
            "app_key": self.app_key,
            "body": self.body,
            "state": self.state.value,
            "sent_at": self.sent_at and as_rfc3339(self.sent_at),
        }


def as_gmt(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def new_token() -> str:
    return uuid.uuid4().hex


class Campaigns:
    """Every campaign ever created, oldest first; deleted ones stay visible to tests."""

    def __init__(self) -> None:
        self._by_token: dict[str, Campaign] = {}

    def __iter__(self) -> Iterator[Campaign]:
        return iter(self._by_token.values())

    def create(
        self, app_key: str, token: str, body: dict[str, Any], now: datetime, from_api: bool = True
    ) -> None:
        timed = _with_time(without_nulls(body), now)
        self._by_token[token] = Campaign(app_key, token, timed, now, now, from_api)
        self.send_due(now)

    def update(self, token: str, changes: dict[str, Any], now: datetime) -> None:
        campaign = self._by_token[token]
        body = campaign.body | _with_time(without_nulls(changes), now)
        self._by_token[token] = replace(campaign, body=body, changed_at=now)
        self.send_due(now)

    def delete(self, token: str) -> None:
        self._by_token[token] = replace(self._by_token[token], is_deleted=True)

    def find(self, app_key: str, token: str) -> Campaign | None:
        campaign = self._by_token.get(token)
        known = campaign and campaign.app_key == app_key and not campaign.is_deleted
        return campaign if known else None

    def newest_first(self, app_key: str) -> list[Campaign]:
        return [
            each
            for each in reversed(self._by_token.values())
            if each.app_key == app_key and not each.is_deleted
        ]

    def send_due(self, now: datetime) -> None:
        """Mark due campaigns as sent; call this before reading or changing anything."""
        for campaign in list(self):
            if campaign.is_due(now):
                sent_at = max(campaign.push_time, campaign.changed_at)
                self._by_token[campaign.token] = replace(campaign, sent_at=sent_at)

    def clear(self) -> None:
        self._by_token.clear()


def _with_time(body: dict[str, Any], now: datetime) -> dict[str, Any]:
    """The body with `now` replaced by the time, since Batch shows dates."""
    return body | {name: as_gmt(now) for name in TIMES if body.get(name) == NOW}


# --- replies


def campaign_reply(
    call: Call, query: Mapping[str, str], campaigns: Campaigns, sent: Sent, lenient: bool
) -> Reply:
    """Batch's reply to a call of a campaign route, before carrying it out."""
    app_key, route, token = call.address.app_key or "", call.address.route, call.address.token
    if route == "campaigns/create":
        created = Reply(201, {"campaign_token": new_token()})
        return campaign_refusal(call.body, lenient) or created
    if route in LIVE_ONLY and is_dev(app_key):
        return API_MISUSE.reply(f"{route} needs a live API key")
    if route == "campaigns/list":
        return _list_reply(campaigns.newest_first(app_key), query, lenient)
    campaign = campaigns.find(app_key, token)
    if campaign is None:
        return ROUTE_NOT_FOUND.reply(f"no campaign `{token}`")
    if route == "campaigns/update":
        return _update_reply(campaign, call.body, lenient)
    if route == "campaigns/view":
        return Reply(200, campaign.body | campaign.description())
    if route == "campaigns/stats":
        sent_on = campaign.sent_at and campaign.sent_at.date()
        return campaign_stats_reply(campaign.token, sent_on, sent)
    return Reply(200, {})  # campaigns/delete


def _update_reply(campaign: Campaign, changes: Any, lenient: bool) -> Reply:
    """The updated campaign must be one that could be created.

    Batch's text requires all parameters of the creation, but its example and a client send only a
    few; since nothing can be removed, both have the same effect.
    """
    if not isinstance(changes, dict):
        return MALFORMED_PARAMETER.reply("the body must be an object")
    if not campaign.from_api:
        return API_MISUSE.reply("only campaigns that the API created can be updated")
    if campaign.state is State.COMPLETED and changes.get("live") is True:
        return MALFORMED_PARAMETER.reply("`live` is true, and the campaign is completed")
    given = without_nulls(changes) if lenient else changes
    return campaign_refusal(campaign.body | given, lenient) or Reply(200, {})


def _list_reply(campaigns: Sequence[Campaign], query: Mapping[str, str], lenient: bool) -> Reply:
    numbers = {"from": 0, "limit": DEFAULT_LIMIT}
    for name in numbers:
        if name in query:
            if re.fullmatch(r"[0-9]{1,9}", query[name]) is None:
                return MALFORMED_PARAMETER.reply(f"`{name}` must be an integer from 0")
            numbers[name] = int(query[name])
    for name in ("live", "from_api"):
        if query.get(name, "true") not in SWITCHES:
            return MALFORMED_PARAMETER.reply(f"`{name}` must be true or false")
    if numbers["limit"] > MAX_LIMIT and not lenient:
        return MALFORMED_PARAMETER.reply(f"`limit` must be at most {MAX_LIMIT}")
    asked = [each for each in campaigns if _is_asked_for(each, query)]
    start = numbers["from"]
    page = asked[start : start + min(numbers["limit"], MAX_LIMIT)]
    return Reply(200, [each.row() for each in page])


def _is_asked_for(campaign: Campaign, query: Mapping[str, str]) -> bool:
    flags = {"live": campaign.is_live, "from_api": campaign.from_api}
    return all(name not in query or SWITCHES[query[name]] == on for name, on in flags.items())
