"""Batch's replies: one for an accepted call, and a table of errors."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any


@dataclass(frozen=True)
class Reply:
    status: int
    body: Any
    """Sent as JSON, except a string, which is sent unchanged."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def payload(self) -> bytes:
        text = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return text.encode("utf-8", "replace")

    def all_headers(self) -> dict[str, str]:
        scripted = {name.title(): text for name, text in self.headers.items()}
        return {"Content-Type": self._content_type()} | scripted

    def _content_type(self) -> str:
        if not isinstance(self.body, str):
            return "application/json"
        kind = "html" if self.body.startswith("<") else "plain"
        return f"text/{kind}; charset=utf-8"


@dataclass(frozen=True)
class ErrorKind:
    status: int
    code: int
    type: str

    def reply(self, message: str) -> Reply:
        return Reply(self.status, {"code": self.code, "type": self.type, "message": message})


AUTHENTICATION_INVALID = ErrorKind(401, 10, "AUTHENTICATION_INVALID")
API_MISUSE = ErrorKind(403, 12, "API_MISUSE")
ROUTE_NOT_FOUND = ErrorKind(404, 20, "ROUTE_NOT_FOUND")
MISSING_PARAMETER = ErrorKind(400, 30, "MISSING_PARAMETER")
MALFORMED_PARAMETER = ErrorKind(400, 31, "MALFORMED_PARAMETER")
MALFORMED_JSON_BODY = ErrorKind(400, 32, "MALFORMED_JSON_BODY")
# Batch documents 1 for routes that write and 0 for routes that read.
SERVER_ERROR = ErrorKind(500, 1, "SERVER_ERROR")
MAINTENANCE_ERROR = ErrorKind(503, 2, "MAINTENANCE_ERROR")
TOO_MANY_REQUESTS = ErrorKind(429, 60, "TOO_MANY_REQUESTS")

ERROR_FOR_STATUS = {
    kind.status: kind
    for kind in (
        MALFORMED_PARAMETER,
        AUTHENTICATION_INVALID,
        API_MISUSE,
        ROUTE_NOT_FOUND,
        TOO_MANY_REQUESTS,
        SERVER_ERROR,
        MAINTENANCE_ERROR,
    )
}


def accepted() -> Reply:
    return Reply(201, {"token": str(uuid.uuid4())})


def reply_for_status(status: int, otherwise: Reply) -> Reply:
    """What Batch, or the gateway in front of it, would send with this status."""
    if 200 <= status < 300:
        return Reply(status, otherwise.body)
    if status in ERROR_FOR_STATUS:
        return ERROR_FOR_STATUS[status].reply("scripted fault")
    return Reply(status, _gateway_page(status))


def _gateway_page(status: int) -> str:
    known = {each.value: each.phrase for each in HTTPStatus}
    title = f"{status} {known.get(status, 'Error')}"
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"
