"""A call as the emulator received it, and its outcome."""

import itertools
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from emulators.batch import cep
from emulators.batch.replies import Reply


def _routes(version: str, *routes: tuple[str, str, str]) -> dict[str, tuple[str, re.Pattern[str]]]:
    """The method and the path of each route of a version: its name, method and end."""
    beginning = rf"/{re.escape(version)}/(?P<app_key>[^/]+)"
    return {name: (method, re.compile(beginning + end)) for name, method, end in routes}


# The first match wins: the pattern of campaigns/view also matches the list.
ROUTES = (
    _routes(
        "1.1",
        ("transactional/send", "POST", r"/transactional/send"),
        ("transactional/stats", "GET", r"/transactional/stats/(?P<group_id>[^/]+)"),
        ("campaigns/create", "POST", r"/campaigns/create"),
        ("campaigns/update", "POST", r"/campaigns/update/(?P<token>[^/]+)"),
        ("campaigns/delete", "POST", r"/campaigns/delete/(?P<token>[^/]+)"),
        ("campaigns/list", "GET", r"/campaigns/list"),
        ("campaigns/stats", "GET", r"/campaigns/stats/(?P<token>[^/]+)"),
        ("campaigns/view", "GET", r"/campaigns/(?P<token>[^/]+)"),
    )
    | _routes(
        "1.0",
        ("data/users", "POST", r"/data/users(/(?P<custom_id>.+))?"),
        ("events/users", "POST", r"/events/users(/(?P<custom_id>.+))?"),
        ("gdpr/create", "POST", r"/gdpr/request"),
        ("gdpr/view", "GET", r"/gdpr/request/(?P<token>[^/]+)"),
        ("gdpr/list", "GET", r"/gdpr/requests"),
    )
    | cep.ROUTES
)

WITH_BODY = (
    "transactional/send",
    "campaigns/create",
    "campaigns/update",
    "data/users",
    "events/users",
    "gdpr/create",
)

JOURNALED_HEADERS = ("x-authorization", *cep.HEADERS, "content-type", "user-agent")

NOT_JSON = object()


def is_dev(app_key: str) -> bool:
    return app_key.startswith("DEV")


@dataclass(frozen=True)
class Address:
    """The route of the API that a call is for; None if Batch has no such route."""

    app_key: str | None = None
    route: str | None = None
    group_id: str | None = None
    token: str = ""
    """A campaign's, or the id of a request."""
    custom_id: str | None = None
    """The person's, in a route about one."""

    @classmethod
    def of(cls, method: str, path: str) -> "Address":
        for route, (expected_method, pattern) in ROUTES.items():
            if method == expected_method and (match := pattern.fullmatch(path)):
                return cls(route=route, **match.groupdict())
        segments = path.split("/")
        return cls(segments[2] if len(segments) > 3 else None)


@dataclass
class Call:
    """Not frozen: it is in the journal before it is answered, so that a hanging call is visible."""

    address: Address
    app: str | None
    method: str
    path: str
    text: str
    headers: dict[str, str]
    accepted: bool = False
    reply: Reply | None = None
    received_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    answered_at: datetime | None = None
    number: int = field(default_factory=itertools.count(1).__next__)

    def __post_init__(self) -> None:
        self.body = parse(self.text)

    @property
    def group_id(self) -> Any:
        if isinstance(self.body, list):
            return cep.first_name(self.body)
        sent = self.body.get("group_id") if isinstance(self.body, dict) else None
        return self.address.group_id or sent

    def answer(self, reply: Reply) -> None:
        self.reply, self.answered_at = reply, datetime.now(UTC)

    def as_json(self) -> dict[str, Any]:
        reply = self.reply and {"status": self.reply.status, "body": self.reply.body}
        return {
            "app_key": self.address.app_key,
            "app": self.app,
            "route": self.address.route,
            "method": self.method,
            "path": self.path,
            "body": self.text if self.body is NOT_JSON else self.body,
            "headers": self.headers,
            "received_at": as_rfc3339(self.received_at),
            "answered_at": self.answered_at and as_rfc3339(self.answered_at),
            "accepted": self.accepted,
            "reply": reply,
        }


def journaled_headers(request: web.Request) -> dict[str, str]:
    return {name: request.headers[name] for name in JOURNALED_HEADERS if name in request.headers}


def as_rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment(milliseconds: float) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def parse(text: str) -> Any:
    """The JSON value, or NOT_JSON; Python's own NaN and Infinity are not JSON."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return NOT_JSON


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
