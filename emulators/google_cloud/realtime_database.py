"""A Realtime Database: values at paths over its REST API, and an event for each write.

Google's own emulator can only be downloaded. This one knows what functions and a rehearsal ask for:
to read and to replace a value (https://firebase.google.com/docs/reference/rest/database).
"""

import itertools
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from emulators.google_cloud.eventarc import DATABASE, Event
from emulators.google_cloud.project import Project

TYPE = "type.googleapis.com/google.events.firebase.database.v1.ReferenceEventData"


@dataclass
class RealtimeDatabase:
    """The project's default instance."""

    project: Project
    bring: Callable[[Event], Any]
    values: Any = None
    _ids: "itertools.count[int]" = field(default_factory=itertools.count)

    @property
    def instance(self) -> str:
        return f"{self.project.id}-default-rtdb"

    async def serve(self, request: web.Request) -> web.Response:
        raw = request.raw_path.partition("?")[0]
        path = [unquote(each) for each in raw.removesuffix(".json").strip("/").split("/")]
        have = _at(self.values, path)
        if request.method == "PUT":
            value = await request.json()
            self.values = _with(self.values, path, value)
            self._tell(path, have, value)
            return web.json_response(value)
        if request.query.get("shallow") == "true" and isinstance(have, dict):
            have = dict.fromkeys(have, True)
        return web.json_response(have)

    def _tell(self, path: list[str], before: Any, after: Any) -> None:
        if before == after:
            return
        kind = "created" if before is None else "deleted" if after is None else "updated"
        data = {"@type": TYPE, "data": before, "delta": _delta(before, after)}
        attributes = {
            "specversion": "1.0",
            "id": f"database-{next(self._ids)}",
            "source": "//firebasedatabase.googleapis.com/projects/_/locations/"
            f"{self.project.realtime[self.instance]}/instances/{self.instance}",
            "type": f"{DATABASE}{kind}",
            "time": time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime()),
            "subject": f"refs/{'/'.join(path)}",
            "location": self.project.realtime[self.instance],
            "datacontenttype": "application/json",
            "instance": self.instance,
            "ref": "/".join(path),
            "firebasedatabasehost": "firebaseio.com",
        }
        self.bring(Event(attributes, json.dumps(data).encode()))


def _at(value: Any, path: list[str]) -> Any:
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _with(value: Any, path: list[str], new: Any) -> Any:
    if not path:
        return new
    first, *rest = path
    inside: Mapping[str, Any] = value if isinstance(value, dict) else {}
    return {**inside, first: _with(inside.get(first), rest, new)}


def _delta(before: Any, after: Any) -> Any:
    """What changed: of two maps the children that differ, with null for those that are gone."""
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return after
    names = before.keys() | after.keys()
    changed = {name for name in names if before.get(name) != after.get(name)}
    return {name: _delta(before.get(name), after.get(name)) for name in sorted(changed)}
