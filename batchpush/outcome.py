"""What a reply means. Pure: a reply in, an outcome out."""

import json
from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """What is known of a call after one try."""

    ACCEPTED = "accepted"  # Batch took it; it is never sent again
    REFUSED = "refused"  # Batch said no, and would say so again
    NOT_SENT = "not sent"  # Batch did not take it; sending it again cannot double it
    UNKNOWN = "unknown"  # Batch may have taken it; sending it again may double it


@dataclass(frozen=True)
class Reply:
    """Batch's answer, or the reason why there is none.

    `status` is None without an answer; then `sent` says whether the request may have reached
    Batch. `body` is at most the first few kilobytes.
    """

    status: int | None = None
    body: bytes = b""
    sent: bool = True
    problem: str | None = None

    def error(self) -> dict[str, object] | None:
        """Batch's own error body, `{"code", "type", "message"}`, if this is one."""
        try:
            error = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return error if isinstance(error, dict) and "code" in error else None


def outcome_of(reply: Reply) -> Outcome:
    match reply.status:
        case None:
            return Outcome.UNKNOWN if reply.sent else Outcome.NOT_SENT
        case 201:
            return Outcome.ACCEPTED
        case 401 | 429 | 503:
            return Outcome.NOT_SENT
        case 500 if reply.error():
            return Outcome.NOT_SENT
        case status if 400 <= status < 500:
            return Outcome.REFUSED
        case _:
            return Outcome.UNKNOWN
