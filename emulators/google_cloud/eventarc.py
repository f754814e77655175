"""Eventarc: brings each write of a database to the functions whose triggers match it.

In binary mode (https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md):
the attributes are headers, the body is the data. At least once, in no order, and for functions
whose `retryPolicy` says so again for a day, with pauses of ten seconds to ten minutes
(https://cloud.google.com/eventarc/docs/retry-events).
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

from emulators.google_cloud.cloud_run import Sent
from emulators.google_cloud.deliveries import ONCE, Deliveries, Delivery, Retries
from emulators.google_cloud.project import Cloud, Resource
from emulators.google_errors import Refused

FIRESTORE = "google.cloud.firestore.document.v1."
DATABASE = "google.firebase.database.ref.v1."
KINDS = ("created", "updated", "deleted")
WRITTEN = "written"
RETRIED = Retries(max_seconds=24 * 3600, min_backoff=10, max_backoff=600)

COMMON = {"specversion", "id", "source", "type", "time", "subject", "location", "datacontenttype"}
# What an event has besides (https://cloud.google.com/eventarc/docs/cloudevents), and its content.
OF_FIRESTORE = COMMON | {"project", "database", "namespace", "document"}
OF_DATABASE = COMMON | {"instance", "ref", "firebasedatabasehost"}
CONTENT = {FIRESTORE: "application/protobuf", DATABASE: "application/json"}


@dataclass(frozen=True)
class Event:
    """A CloudEvent, whose type is one of `created`, `updated` and `deleted`."""

    attributes: Mapping[str, str]
    data: bytes

    @property
    def prefix(self) -> str:
        return self.attributes["type"].rpartition(".")[0] + "."

    @property
    def id(self) -> str:
        return self.attributes["id"]

    def sent(self, kind: str) -> Sent:
        """The request to a function that is triggered by this kind of event."""
        attributes = {**self.attributes, "type": kind}
        headers = {f"ce-{name}": value for name, value in attributes.items()}
        return Sent(self.data, headers | {"Content-Type": attributes["datacontenttype"]})


class Eventarc:
    def __init__(self, cloud: Cloud, deliveries: Deliveries) -> None:
        self._cloud, self._deliveries = cloud, deliveries

    def bring(self, event: Event) -> list[str]:
        """The names of the functions that it is brought to."""
        functions = [*self._triggered_by(event)]
        for function in functions:
            for _ in range(self._deliveries.pace.copies):
                self._begin(function, event)
        return [function["name"] for function in functions]

    def _begin(self, function: Resource, event: Event) -> None:
        trigger = function["eventTrigger"]
        account = trigger.get("serviceAccountEmail") or self._cloud.project.default_account
        sent = event.sent(trigger["eventType"])
        is_retried = trigger.get("retryPolicy") == "RETRY_POLICY_RETRY"
        self._deliveries.begin(
            Delivery("event", event.id, function["name"], account),
            audience=function["serviceConfig"]["uri"],
            attempt=lambda _: sent,
            retries=RETRIED if is_retried else ONCE,
            delay=self._deliveries.late(),
        )

    def _triggered_by(self, event: Event) -> Iterator[Resource]:
        for function in self._cloud.functions.values():
            trigger = function.get("eventTrigger")
            if trigger and matches(trigger, event):
                yield function


def matches(trigger: Resource, event: Event) -> bool:
    types = (event.attributes["type"], f"{event.prefix}{WRITTEN}")
    return (
        trigger["eventType"] in types
        and trigger["triggerRegion"] == event.attributes["location"]
        and all(_holds(each, event.attributes) for each in trigger["eventFilters"])
    )


def _holds(each: Resource, attributes: Mapping[str, str]) -> bool:
    value = attributes.get(each["attribute"], "")
    if each.get("operator") == "match-path-pattern":
        return bool(pattern(each["value"]).fullmatch(value))
    return bool(each["value"] == value)


@cache
def pattern(path: str) -> re.Pattern[str]:
    """https://cloud.google.com/eventarc/docs/path-patterns: `*`, `**`, `{name}`, `{name=**}`."""
    return re.compile("/".join(map(_segment, path.split("/"))))


def _segment(part: str) -> str:
    if part.startswith("{") and part.endswith("}"):
        part = part[1:-1].partition("=")[2] or "*"
    return {"*": "[^/]+", "**": ".*"}.get(part, re.escape(part))


# --- What happens in the databases ----------------------------------------------------------------


def event_of(headers: Mapping[str, str], data: bytes) -> Event:
    """An event in binary mode; refuses one that lacks something."""
    attributes = _attributes(headers)
    event = Event(attributes, data)
    prefix, _, kind = attributes.get("type", "").rpartition(".")
    needed = {FIRESTORE: OF_FIRESTORE, DATABASE: OF_DATABASE}.get(f"{prefix}.")
    if needed is None or kind not in KINDS:
        raise Refused(400, f"The event type {attributes.get('type')} is not supported.")
    if missing := needed - attributes.keys():
        raise Refused(400, f"The event lacks {', '.join(sorted(missing))}.")
    if attributes["datacontenttype"] != CONTENT[event.prefix]:
        raise Refused(400, f"The content of {prefix} is {CONTENT[event.prefix]}.")
    return event


def _attributes(headers: Mapping[str, str]) -> dict[str, str]:
    lowered = {name.lower(): value for name, value in headers.items()}
    return {name[3:]: value for name, value in lowered.items() if name.startswith("ce-")}


def written_to_firestore(cloud: Cloud, headers: Mapping[str, str], body: bytes) -> Event:
    """What Google's emulator posts where it expects the Functions emulator.

    Its data is base64, and it knows neither where the database is nor its right name.
    """
    try:
        event = event_of(headers, base64.b64decode(body, validate=True))
    except binascii.Error:
        raise Refused(400, "The data is not base64.") from None
    project, database = cloud.project, event.attributes["database"]
    if database not in project.firestore:
        raise Refused(400, f"The database {database} does not exist.")
    right = {
        "source": f"//firestore.googleapis.com/projects/{project.id}/databases/{database}",
        "location": project.firestore[database],
    }
    return replace(event, attributes={**event.attributes, **right})
