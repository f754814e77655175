"""The security rules of Firestore, evaluated by its emulator: whether somebody may do something."""

import base64
import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx

from batchpush.documents import Reference
from emulators.firestore import from_fields, to_value
from tests.scenarios import NOW

SECONDS = 60.0  # for an answer, on a busy machine


class InvalidWrite(ValueError):
    """Firestore cannot hold it, whatever the rules say."""


class Firestore:
    """A project of the emulator with our rules, for clients of which each says who it is."""

    def __init__(self, host: str, project: str) -> None:
        self.root = f"projects/{project}/databases/(default)/documents"
        self.project = project
        self.http = httpx.Client(base_url=f"http://{host}", timeout=SECONDS, trust_env=False)

    def load(self, rules: str) -> None:
        files = [{"name": "security.rules", "content": rules}]
        path = f"/emulator/v1/projects/{self.project}:securityRules"
        reply = self.http.put(path, json={"rules": {"files": files}})
        assert reply.status_code == 200, reply.text
        assert not reply.json().get("issues"), reply.text

    def store(self, documents: Mapping[str, Mapping[str, Any]]) -> None:
        """Have these documents and no others."""
        self.http.delete(f"/emulator/v1/{self.root}", headers=OWNER).raise_for_status()
        self.write(documents)

    def write(self, documents: Mapping[str, Mapping[str, Any] | None]) -> None:
        """As a back end, whom no rules stop; None deletes."""
        writes = [
            {"delete": f"{self.root}/{path}"}
            if fields is None
            else {
                "update": {
                    "name": f"{self.root}/{path}",
                    "fields": stored_fields(fields, self.root),
                }
            }
            for path, fields in documents.items()
        ]
        self.http.post(
            f"/v1/{self.root}:commit", json={"writes": writes}, headers=OWNER
        ).raise_for_status()

    def read(self, path: str) -> dict[str, Any] | None:
        """As a back end, whom no rules stop."""
        reply = self.http.get(f"/v1/{self.root}/{path}", headers=OWNER)
        return from_fields(reply.json().get("fields", {})) if reply.status_code == 200 else None

    def may(self, who: str | None, does: str, path: str, fields: Mapping[str, Any]) -> bool:
        """Whether they may, and then it is done."""
        headers = {"Authorization": f"Bearer {unsigned(who)}"} if who else {}
        url, body = self._request(does, path, fields)
        method = "POST" if body is not None else does.upper()
        reply = self.http.request(method, url, headers=headers, json=body)
        if reply.status_code == 400:
            raise InvalidWrite(reply.text)
        assert reply.status_code in (200, 403), reply.text
        return reply.status_code == 200

    def _request(
        self, does: str, path: str, fields: Mapping[str, Any]
    ) -> tuple[str, dict[str, Any] | None]:
        name = f"{self.root}/{path}"
        if does == "get":
            return f"/v1/{quote(name, safe='/()')}", None
        if does == "list":
            parent, collection, _ = f"/{path}".rsplit("/", 2)
            asked = query(collection, parent == "/**", fields)
            where = self.root + parent.removesuffix("/**")
            return f"/v1/{where}:runQuery", {"structuredQuery": asked}
        write: dict[str, Any] = {"delete": name}
        if does != "delete":
            kept = {key: f for key, f in fields.items() if f is not NOW and f is not None}
            stays = {key: f for key, f in fields.items() if f is not NOW}
            write = {"update": {"name": name, "fields": stored_fields(nested(kept), self.root)}}
            if does == "update":
                write["updateMask"] = {"fieldPaths": [field_path(each) for each in stays]}
            else:
                write["update"]["fields"] = stored_fields(stays, self.root)
            write["updateTransforms"] = [
                {"fieldPath": field_path(key), "setToServerValue": "REQUEST_TIME"}
                for key in fields.keys() - stays.keys()
            ]
        return f"/v1/{self.root}:commit", {"writes": [write]}


OWNER = {"Authorization": "Bearer owner"}


def stored_fields(fields: Mapping[str, Any], root: str) -> dict[str, Any]:
    return {name: stored(value, root) for name, value in fields.items()}


def stored(value: Any, root: str) -> dict[str, Any]:
    """The value in Firestore's REST API; `root` is where the database's documents are."""
    match value:
        case datetime():
            return {"timestampValue": value.isoformat()}
        case Reference():
            return {"referenceValue": f"{root}/{value}"}
        case float() if not math.isfinite(value):
            return {"doubleValue": NOT_FINITE[str(value)]}
        case list():
            return {"arrayValue": {"values": [stored(each, root) for each in value]}}
        case dict():
            return {"mapValue": {"fields": stored_fields(value, root)}}
    return to_value(value)


NOT_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`{"unread_by.bob": True}` as `{"unread_by": {"bob": True}}`."""
    maps: dict[str, Any] = {}
    for path, value in fields.items():
        name, _, inner = path.partition(".")
        maps[name] = {**maps.get(name, {}), inner: value} if inner else value
    return maps


def field_path(path: str) -> str:
    """`unread_by.zoé` with what is no plain name in backticks."""
    return ".".join(
        name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else f"`{_escaped(name)}`"
        for name in path.split(".")
    )


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace("`", "\\`")


def unsigned(user_id: str) -> str:
    """An ID token as the emulator takes it: signed by nobody."""
    parts = ({"alg": "none", "typ": "JWT"}, {"sub": user_id, "user_id": user_id})
    texts = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
    return ".".join(text.rstrip("=") for text in texts) + "."


def query(collection: str, everywhere: bool, equal: Mapping[str, str]) -> dict[str, Any]:
    asked: dict[str, Any] = {"from": [{"collectionId": collection, "allDescendants": everywhere}]}
    for field, value in equal.items():
        asked["where"] = {
            "fieldFilter": {
                "field": {"fieldPath": field},
                "op": "ARRAY_CONTAINS" if field.endswith("_ids") else "EQUAL",
                "value": to_value(value),
            }
        }
    return asked
