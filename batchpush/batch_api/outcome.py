"""Classifies a reply and decides what to do next. Pure: one table decides."""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

from batchpush.documents import storable


class Outcome(Enum):
    """What is known about a call after one attempt."""

    ACCEPTED = "accepted"  # Batch took it; it is never sent again
    REFUSED = "refused"  # Batch said no, and would say so again
    NOT_SENT = "not sent"  # Batch did not take it; sending it again cannot double it
    UNKNOWN = "unknown"  # Batch may have taken it; sending it again may double it


class Then(Enum):
    """What to do about it."""

    DONE = "nothing"
    AGAIN = "retry at once, with backoff; then at the redelivery"
    REDELIVERY = "retry at the redelivery"
    RESEND = "resend at the redelivery, at most `MAX_AMBIGUOUS_RESENDS` times; then hold it"


@dataclass(frozen=True)
class Reply:
    """Batch's response, or the reason why there is none.

    `status` is None without a response; then `sent` says whether the request may have reached
    Batch. `body` is cut after some kilobytes. `retry_after` is the raw header. CEP may accept a
    call without some of its people, whom `refused` lists by reason; or without any.
    """

    status: int | None = None
    body: bytes = b""
    retry_after: str | None = None
    sent: bool = True
    problem: str | None = None
    refused: Mapping[str, list[str]] = field(default_factory=dict)
    accepts_nobody: bool = False

    def json(self) -> dict[str, Any]:
        """The body if it is a JSON object; otherwise an empty one."""
        value = self._parsed
        return value if isinstance(value, dict) else {}

    def rows(self) -> list[dict[str, Any]] | None:
        """The body if it is a JSON list of objects; otherwise None."""
        value = self._parsed
        is_list = isinstance(value, list) and all(isinstance(row, dict) for row in value)
        return value if is_list else None

    @functools.cached_property
    def _parsed(self) -> Any:
        """The body, if it is JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    def said(self) -> str | None:
        """Batch's own error text, from `{"code", "type", "message"}`.

        CEP also has `{"error_code", "error_message"}`, and `{"code"}` alone in a success.
        """
        error = self.json()
        if self.refused:
            number = sum(map(len, self.refused.values()))
            return f"{error.get('code')}: {number} refused, {next(iter(self.refused))}"[:500]
        if "error_code" in error:
            return f"{error['error_code']}: {error.get('error_message')}"[:500]
        if "code" not in error or (self.is_success and error.keys() <= {"code", "errors"}):
            return None
        return f"{error['code']} {error.get('type')}: {error.get('message')}"[:500]

    def why(self) -> str:
        """Why it is not accepted, in Batch's words if there are any, as Firestore stores it."""
        return storable(self.said() or self.problem or f"Batch answered {self.status}")


@dataclass(frozen=True)
class Rule:
    """A row of the table; the first that applies decides."""

    reply: str
    applies: Callable[[Reply], bool]
    outcome: Outcome
    then: Then


def has_token(reply: Reply) -> bool:
    """Whether the reply proves that Batch accepted a push."""
    return reply.is_success and "token" in reply.json()


def is_success(reply: Reply) -> bool:
    """Whether Batch accepted a request whose reply holds nothing that we need."""
    return reply.is_success


RULES = (
    Rule(
        "201, or another 2xx, with a token (CEP: with SUCCESS, in part or not)",
        has_token,
        Outcome.ACCEPTED,
        Then.DONE,
    ),
    Rule(
        "202 of CEP, with an error for everybody",
        lambda r: r.accepts_nobody,
        Outcome.REFUSED,
        Then.DONE,
    ),
    Rule("no connection", lambda r: r.status is None and not r.sent, Outcome.NOT_SENT, Then.AGAIN),
    Rule("429", lambda r: r.status == 429, Outcome.NOT_SENT, Then.AGAIN),
    Rule("503", lambda r: r.status == 503, Outcome.NOT_SENT, Then.AGAIN),
    Rule(
        "500 with Batch's own error body",
        lambda r: r.status == 500 and r.said() is not None,
        Outcome.NOT_SENT,
        Then.AGAIN,
    ),
    Rule(
        "401, even after reading the key again",
        lambda r: r.status == 401,
        Outcome.NOT_SENT,
        Then.REDELIVERY,
    ),
    Rule(
        "400, 403, 404, any other 4xx",
        lambda r: r.status is not None and 400 <= r.status < 500,
        Outcome.REFUSED,
        Then.DONE,
    ),
    Rule(
        "anything else: none or a cut one, 502, 504, a 2xx without a token, a redirect",
        lambda r: True,
        Outcome.UNKNOWN,
        Then.RESEND,
    ),
)


def classify(reply: Reply, is_proof: Callable[[Reply], bool] = has_token) -> Rule:
    """The first rule that applies; `is_proof` recognizes acceptance, which differs by route."""
    accepted, *others = RULES
    if is_proof(reply):
        return accepted
    return next(rule for rule in others if rule.applies(reply))


# Backoff

MIN_WAIT_429 = 5.0  # seconds. official: campaigns/create
MAX_RETRY_AFTER = 600.0  # seconds; a header that asks for more is a mistake or an attack
MIN_WAIT = 0.5
MAX_WAIT = 8.0


def wait_before(attempt: int, reply: Reply, now: datetime, jitter: Callable[[], float]) -> float:
    """Seconds to wait before the next attempt: the server's hint, or else full jitter.

    `attempt` is 1 after the first attempt; `jitter` returns a number from 0 to 1.
    """
    asked = retry_after(reply, now)
    if asked is not None:
        return asked
    backoff = jitter() * float(min(MAX_WAIT, MIN_WAIT * 2 ** (attempt - 1)))
    return MIN_WAIT_429 + backoff if reply.status == 429 else backoff


def retry_after(reply: Reply, now: datetime) -> float | None:
    """Seconds from now, at most `MAX_RETRY_AFTER`, from a header with a number or a date."""
    text = (reply.retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, LookupError, OverflowError):  # such as a year of twenty digits
        return None
    seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    return min(max(0.0, seconds), MAX_RETRY_AFTER)


def outcome_table() -> str:
    """The table in Markdown, as in `docs/reliability.md`."""
    rows = [f"| {rule.reply} | {rule.outcome.value} | {rule.then.value} |" for rule in RULES]
    return "\n".join(["| Batch's reply | the request is | what follows |", "|---|---|---|", *rows])
