"""The metadata server of an instance: who a function is, and its tokens.

Google's libraries find it with `GCE_METADATA_HOST`
(https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys).
"""

import json
from typing import Any

from aiohttp import web

from emulators.google_cloud.credentials import Credentials
from emulators.google_cloud.project import Project

FLAVOR = {"Metadata-Flavor": "Google"}


class Metadata:
    def __init__(self, project: Project, credentials: Credentials) -> None:
        self._project, self._credentials = project, credentials

    async def ping(self, request: web.Request) -> web.Response:
        return web.Response(text="computeMetadata/\n", headers=FLAVOR)

    async def answer(self, request: web.Request) -> web.Response:
        """The header keeps away whoever can only make somebody else send a request."""
        if request.headers.get("Metadata-Flavor") != "Google":
            raise web.HTTPForbidden(text="Missing required header: Metadata-Flavor")
        found = self._value(request.match_info["path"])
        if found is None:
            raise web.HTTPNotFound(headers=FLAVOR)
        if isinstance(found, str):
            return web.Response(text=found, headers=FLAVOR)
        kind = "application/json"
        return web.Response(text=json.dumps(found), content_type=kind, headers=FLAVOR)

    def _value(self, path: str) -> Any:
        project, account = self._project, self._project.runs_as or self._project.default_account
        match path.strip("/").split("/"):
            case ["project", "project-id"]:
                return project.id
            case ["project", "numeric-project-id"]:
                return project.number
            case ["universe", "universe-domain"]:
                return "googleapis.com"
            case ["instance", "service-accounts", named, *rest] if named in ("default", account):
                return self._of_account(account, rest)
        return None

    def _of_account(self, account: str, rest: list[str]) -> Any:
        scopes = ["https://www.googleapis.com/auth/cloud-platform"]
        match rest:
            case []:
                return {"aliases": ["default"], "email": account, "scopes": scopes}
            case ["email"]:
                return account
            case ["token"]:
                return self._credentials.token_of(account)
        return None
