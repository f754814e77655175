"""`Event`: what somebody did, for the automations of a marketer to act on.

Batch's Trigger Events API, version 1.0. Its routes and limits are in Batch's documentation; the
bodies are what a public client sends. The form of `time` is inferred from Batch's other APIs, so it
is sent only if a handler sets it. Batch may have to activate the API for a customer.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from batchpush.environment import CEP
from batchpush.errors import InvalidPush
from batchpush.pushes.attributes import NAME, plain, tag_of, text
from batchpush.pushes.push import (
    MAX_FRESH_FOR,
    MAX_PROFILES,
    Apps,
    Call,
    Recipients,
    called_for,
    encoded,
    problem_of_id,
    without_nones,
)

EVENT = re.compile(r"ue\.[a-z0-9_]{1,30}")
MAX_ATTRIBUTES = 15
MAX_TAGS = 10
MAX_LABEL = 200  # characters
MAX_AGE = timedelta(hours=24)  # of `time`
SKEW = timedelta(seconds=60)  # between two clocks
MAX_PEOPLE = 1_000  # events in one call
MAX_RECIPIENTS = 10_000  # of one event; its calls are in one record


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened to people, which a handler returns in place of a `Push`.

    `name` is Batch's, such as `ue.added_to_cart`. `recipients` are those whom it happened to; only
    their custom ids count, and quiet hours do not: the automation decides whether and when there is
    a push. Attributes are texts, numbers and booleans. `time` is when it happened, at most 24 hours
    ago; without it, that is when Batch gets it. `apps` are names from `BATCH_APPS`; None means all.

    Once the change is older than `fresh_for`, the event is no longer sent. `sender`, `ignored` and
    `left_out` are as in `Push`. Limits do not apply.
    """

    name: str
    recipients: Recipients | Sequence[Recipients]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    label: str | None = None
    tags: Sequence[str] = ()
    time: datetime | None = None
    apps: Sequence[str] | None = None
    fresh_for: timedelta = timedelta(hours=1)
    sender: str | None = None
    ignored: Sequence[str] = ()
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def groups(self) -> Sequence[Recipients]:
        groups = self.recipients
        return (groups,) if isinstance(groups, Recipients) else groups

    @property
    def custom_ids(self) -> list[str]:
        """Whom it happened to, each once."""
        return list(dict.fromkeys(each for group in self.groups for each in group.custom_ids))

    def calls(self, apps: Apps, now: datetime) -> Iterator[Call]:
        """The calls as a record keeps them; raises `InvalidPush`, naming the field.

        A body lists its recipients as that of a push does, so that a person can be found in it and
        removed from it. `request_of` makes the request of it.
        """
        event = self.check(now)
        ids = self.custom_ids
        for app in called_for(self.apps, apps):
            size = MAX_PROFILES if app == CEP else MAX_PEOPLE
            for chunk, start in enumerate(range(0, len(ids), size)):
                some = ids[start : start + size]
                yield Call(
                    app, chunk, encoded({"event": event, "recipients": {"custom_ids": some}})
                )

    def check(self, now: datetime) -> dict[str, Any]:
        """The event as Batch takes it; raises `InvalidPush`, naming the field, if it does not."""
        if not isinstance(self.name, str) or not EVENT.fullmatch(self.name):
            raise InvalidPush("name", "must be ue.NAME, at most 30 of a-z, 0-9 and _ after ue.")
        if not isinstance(self.fresh_for, timedelta) or self.fresh_for > MAX_FRESH_FOR:
            raise InvalidPush("fresh_for", "must be a timedelta of at most 24 hours")
        self._check_recipients()
        label = None if self.label is None else text("label", self.label, MAX_LABEL)
        return {"name": self.name} | without_nones(
            {
                "time": self._time(now),
                "label": label,
                "attributes": self._attributes() or None,
                "tags": self._tags() or None,
            }
        )

    def _check_recipients(self) -> None:
        ids = self.custom_ids
        if not ids:
            raise InvalidPush("recipients", "names nobody by a custom id")
        if len(ids) > MAX_RECIPIENTS:
            raise InvalidPush("recipients", f"must be at most {MAX_RECIPIENTS} people")
        for each in ids:
            if problem := problem_of_id("custom_ids", each):
                raise InvalidPush("recipients.custom_ids", problem)

    def _attributes(self) -> dict[str, Any]:
        if len(self.attributes) > MAX_ATTRIBUTES:
            raise InvalidPush("attributes", f"must be at most {MAX_ATTRIBUTES}")
        for name in self.attributes:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                problem = "has a name that is not at most 30 of a-z, 0-9 and _"
                raise InvalidPush("attributes", problem)
        given = without_nones(self.attributes)
        return without_nones(
            {name: plain(f"attributes.{name}", value) for name, value in given.items()}
        )

    def _tags(self) -> list[str]:
        if isinstance(self.tags, str) or len(self.tags) > MAX_TAGS:
            raise InvalidPush("tags", f"must be a list of at most {MAX_TAGS} texts")
        tags = [tag_of("tags", each) for each in self.tags]
        return list(dict.fromkeys(tag for tag in tags if tag))

    def _time(self, now: datetime) -> str | None:
        time = self.time
        if time is None:
            return None
        if not isinstance(time, datetime) or time.tzinfo is None:
            raise InvalidPush("time", "must be a time with a zone")
        if time > now + SKEW:
            raise InvalidPush("time", "must not be in the future")
        if time < now - MAX_AGE:
            raise InvalidPush("time", "must be at most 24 hours ago")
        utc = min(time, now).astimezone(UTC).replace(tzinfo=None)
        return utc.isoformat(timespec="seconds")


def request_of(body: str) -> tuple[str, bytes]:
    """The route and the body of the request for a body as a record keeps it."""
    content = json.loads(body)
    ids, event = content["recipients"]["custom_ids"], content["event"]
    if len(ids) == 1 and ids[0].strip("."):  # `..` would lead to another route
        return f"events/users/{quote(ids[0], safe='')}", encoded({"events": [event]})
    every = [{"id": each, "events": [event]} for each in ids]
    return "events/users", json.dumps(every, ensure_ascii=False, separators=(",", ":")).encode()
