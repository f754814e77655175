"""Cloud Logging's metrics, and Cloud Monitoring's alerts and dashboards, as gcloud asks for them.

What is written is checked against Google's own schemas, and read back as Google gives it: with
names of its own, and without values that are a field's default.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

from emulators.google_cloud import discovery
from emulators.google_errors import Refused
from tests.servers import serving

PROJECT = "demo-ops"
SCHEMAS = {
    "metrics": ("logging.v2", "LogMetric"),
    "alertPolicies": ("monitoring.v3", "AlertPolicy"),
    "dashboards": ("monitoring.v1", "Dashboard"),
}


class Cloud:
    """`stored` is what there is, by collection and name; `unknown` metrics are new to alerts."""

    def __init__(self) -> None:
        self.address = ""
        self.stored: dict[str, dict[str, Any]] = {name: {} for name in SCHEMAS}
        self.unknown: set[str] = set()
        self.writes: list[str] = []
        self._ids = itertools.count(1)

    def called(self, display_name: str) -> dict[str, Any]:
        """The alert or dashboard of this name."""
        found: dict[str, Any]
        (found,) = [
            each
            for name in ("alertPolicies", "dashboards")
            for each in self.stored[name].values()
            if each["displayName"] == display_name
        ]
        return found

    def answer(self, verb: str, path: str, body: Any) -> Any:
        _version, _, project, collection, *rest = path.strip("/").split("/")
        assert project == PROJECT
        there, name = self.stored[collection], "/".join(rest)
        match verb, bool(name):
            case "GET", False:
                return {collection: list(there.values())}
            case "GET", True:
                return there[name]
            case "POST", False:
                return self._write(collection, None, body)
            case "PUT" | "PATCH", True:
                return self._write(collection, name, body)
        raise Refused(404, f"{verb} {path}")

    def _write(self, collection: str, name: str | None, body: Any) -> Any:
        api, schema = SCHEMAS[collection]
        discovery.check(api, schema, body)
        if any(metric in json.dumps(body.get("conditions")) for metric in self.unknown):
            raise Refused(404, "Cannot find metric(s) that match type")
        there = self.stored[collection]
        if collection == "dashboards" and name and body.get("etag") != there[name]["etag"]:
            raise Refused(409, "the dashboard was changed by somebody else")
        written = without_defaults(api, discovery.schemas(api)[schema], body)
        if collection == "metrics":
            name = body["name"]
        else:
            name = name or str(next(self._ids))
            written["name"] = f"projects/{PROJECT}/{collection}/{name}"
        for number, condition in enumerate(written.get("conditions", ())):
            condition["name"] = f"{written['name']}/conditions/{number}"
        if collection == "alertPolicies":
            written["creationRecord"] = {"mutateTime": "2026-05-04T10:20:30Z"}
        if collection == "dashboards":
            written["etag"] = f"etag-{next(self._ids)}"
        there[name] = written
        self.writes.append(name)
        return written


def without_defaults(api: str, schema: Mapping[str, Any], value: Any) -> Any:
    """A value as Google's JSON has it: what is as by default is left out."""
    if "$ref" in schema:
        return without_defaults(api, discovery.schemas(api)[schema["$ref"]], value)
    if isinstance(value, list):
        return [without_defaults(api, schema["items"], each) for each in value]
    if not isinstance(value, dict):
        return value
    fields = schema.get("properties", {})
    return {
        name: without_defaults(api, fields.get(name, {}), each)
        for name, each in value.items()
        if each not in (0, "", False, []) and each != fields.get(name, {}).get("enum", [None])[0]
    }


@contextmanager
def served() -> Iterator[Cloud]:
    cloud = Cloud()

    class Answering(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or "null")
            try:
                status, answer = 200, cloud.answer(self.command, urlsplit(self.path).path, body)
            except Refused as refused:
                error = {"code": refused.code, "message": str(refused)}
                status, answer = refused.code, {"error": error}
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815 - the server's names

    with serving(Answering) as host:
        cloud.address = f"http://{host}/"
        yield cloud
