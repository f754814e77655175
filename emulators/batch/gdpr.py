"""The GDPR API, version 1.0: requests to look at, or to remove, somebody's data.

That a request has a `request_type`, and what a row of the list holds, is in Batch's documentation.
The rest of a creation's body is inferred from those rows.
"""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from emulators.batch.checks import (
    INFERRED,
    MALFORMED,
    MISSING,
    OFFICIAL,
    Posted,
    Rule,
    first_refusal,
    is_object,
    is_text,
    known_keys,
    no_nulls,
    optional,
    required,
    value_at,
)
from emulators.batch.replies import ROUTE_NOT_FOUND, Reply

TYPES = ("review", "remove")
NOT_FOUND = "user not found"
SHOWN_FOR = timedelta(days=30)  # 20 to 30 days, according to the documentation
FIELDS = frozenset({"request_type", "id", "callback"})


@dataclass
class Requests:
    """Every request, oldest first; each is carried out at once."""

    _rows: list[tuple[str, datetime, dict[str, Any]]] = field(default_factory=list)

    def add(self, app_key: str, request_id: str, body: Any, is_known: bool, now: datetime) -> None:
        row = {
            "request_id": request_id,
            "request_date": now.strftime("%Y-%m-%dT%H:%M:%S"),
            "status": "done",
            "request_type": body["request_type"],
            "trigger_type": "api",
            "id": body.get("id"),
        }
        self._rows.append((app_key, now, row if is_known else row | {"error": NOT_FOUND}))

    def of_app(self, app_key: str, now: datetime) -> list[dict[str, Any]]:
        """What Batch still shows."""
        return [row for key, at, row in self._rows if key == app_key and now - at < SHOWN_FOR]

    def clear(self) -> None:
        self._rows.clear()


def gdpr_reply(
    route: str, request_id: str, body: Any, rows: Sequence[dict[str, Any]], lenient: bool
) -> Reply:
    """Batch's reply to a call of a GDPR route, before carrying it out."""
    if route == "gdpr/create":
        created = Reply(201, {"request_id": uuid.uuid4().hex})
        return first_refusal(CREATION_RULES, body, None, lenient) or created
    if route == "gdpr/list":
        return Reply(200, list(rows))
    found = next((row for row in rows if row["request_id"] == request_id), None)
    return Reply(200, found) if found else ROUTE_NOT_FOUND.reply(f"no request `{request_id}`")


def custom_id_in(body: Any) -> str:
    """The custom id that an accepted request is about."""
    value = value_at(body, "id.value")
    return value if isinstance(value, str) else ""


def _only_known_fields(posted: Posted) -> str | None:
    unknown = [key for key in posted.body if key not in FIELDS]
    return f"`{unknown[0]}` is not known" if unknown else None


def _one_of(*words: str) -> Callable[[Any], bool]:
    return lambda value: value in words


CREATION_RULES = (
    Rule(INFERRED, MALFORMED, no_nulls),
    Rule(OFFICIAL, MISSING, required("request_type")),
    Rule(OFFICIAL, MALFORMED, optional("request_type", " or ".join(TYPES), _one_of(*TYPES))),
    Rule(INFERRED, MALFORMED, _only_known_fields),
    Rule(INFERRED, MISSING, required("id")),
    Rule(INFERRED, MALFORMED, optional("id", "an object", is_object)),
    Rule(INFERRED, MALFORMED, known_keys("id", ("type", "value"))),
    Rule(INFERRED, MISSING, required("id.type")),
    Rule(INFERRED, MALFORMED, optional("id.type", "custom_id", _one_of("custom_id"))),
    Rule(INFERRED, MISSING, required("id.value")),
    Rule(INFERRED, MALFORMED, optional("id.value", "a text", is_text)),
)
