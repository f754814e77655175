"""The REST routes of Secret Manager v1, and the emulator's own under `/__`."""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import google_crc32c
from aiohttp import web

from emulators import faults
from emulators.google_errors import Refused
from emulators.secret_manager.store import LATEST, Secret, State, Store, Version
from emulators.serving import MAX_BODY, is_of_this_address

SECRETS = "/v1/projects/{project}/secrets"
SECRET = SECRETS + "/{secret:[^/:]+}"
VERSION = SECRET + "/versions/{version:[^/:]+}"

MAX_PAGE = 25_000


@dataclass(frozen=True, kw_only=True)
class Fault(faults.Fault):
    """Affects only accesses; without a status, the access succeeds after the delay."""

    status: int | None = None
    delay: float = 0.0


KNOWN = {
    "status": faults.Field(
        "an HTTP status from 400 to 599", lambda v: faults.is_whole(v) and 400 <= v <= 599
    ),
    "times": faults.TIMES,
    "delay": faults.SECONDS,
}
HAPPENINGS = ("status", "delay")

Method = Callable[[web.Request], Awaitable[dict[str, Any]]]


def create_app() -> web.Application:
    server = SecretManagerServer()
    app = web.Application(client_max_size=MAX_BODY, middlewares=[refuse_other_sites])
    app.add_routes(
        [
            web.get("/__ready", server.ready),
            web.get("/__calls", server.list_calls),
            web.delete("/__calls", server.clear_calls),
            web.get("/__faults", server.list_faults),
            web.post("/__faults", server.add_faults),
            web.delete("/__faults", server.clear_faults),
            web.post(SECRETS, server.method("CreateSecret", server.create)),
            web.get(SECRET, server.method("GetSecret", server.get_secret)),
            web.post(SECRET + ":addVersion", server.method("AddSecretVersion", server.add)),
            web.get(
                SECRET + "/versions", server.method("ListSecretVersions", server.list_versions)
            ),
            web.get(VERSION, server.method("GetSecretVersion", server.get_version)),
            web.get(VERSION + ":access", server.method("AccessSecretVersion", server.access)),
            web.post(VERSION + ":enable", server.method("EnableSecretVersion", server.enable)),
            web.post(VERSION + ":disable", server.method("DisableSecretVersion", server.disable)),
            web.post(VERSION + ":destroy", server.method("DestroySecretVersion", server.destroy)),
            web.route("*", "/{path:.*}", server.no_such_method),
        ]
    )
    return app


@web.middleware
async def refuse_other_sites(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Refuse other sites, which can make a browser send requests here, to protect the secrets."""
    if is_of_this_address(request):
        return await handler(request)
    refused = Refused(403, "Only for programs and pages of this address.")
    return web.json_response(refused.as_json(), status=refused.code)


class SecretManagerServer:
    def __init__(self) -> None:
        self.store = Store()
        self.journal: list[dict[str, str]] = []
        self.faults: faults.FaultQueue[Fault] = faults.FaultQueue()

    def method(self, name: str, answer: Method) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Wrap a method with the journal, the credential check, and Google's error format."""

        async def handle(request: web.Request) -> web.Response:
            # Only the resource: a payload must not end up in the output of a test.
            resource = request.path.removeprefix("/v1/").partition(":")[0]
            self.journal.append({"method": name, "name": resource})
            try:
                _authenticate(request)
                return web.json_response(await answer(request))
            except Refused as error:
                return web.json_response(error.as_json(), status=error.code)

        return handle

    # --- Google's methods

    async def create(self, request: web.Request) -> dict[str, Any]:
        secret_id = request.query.get("secretId", "")
        described = await _object(request)
        return self.store.create(request.match_info["project"], secret_id, described).as_json()

    async def get_secret(self, request: web.Request) -> dict[str, Any]:
        return self._secret(request).as_json()

    async def add(self, request: web.Request) -> dict[str, Any]:
        secret = self._secret(request)
        payload = (await _object(request)).get("payload")
        data, checksum = _payload(payload)
        if checksum is not None and checksum != _crc32c(data):
            raise Refused(400, "The payload does not match its dataCrc32c.")
        return secret.add_version(data, checksum is not None).as_json()

    async def list_versions(self, request: web.Request) -> dict[str, Any]:
        newest_first = self._secret(request).versions[::-1]
        start = _number(request, "pageToken", 0)
        size = _number(request, "pageSize", 0) or MAX_PAGE
        end = start + size
        page = {
            "versions": [version.as_json() for version in newest_first[start:end]],
            "totalSize": len(newest_first),
        }
        return page | ({"nextPageToken": str(end)} if end < len(newest_first) else {})

    async def get_version(self, request: web.Request) -> dict[str, Any]:
        return self._version(request).as_json()

    async def access(self, request: web.Request) -> dict[str, Any]:
        await self._meet_fault()
        version = self._version(request)
        data = version.read()
        payload = {"data": base64.b64encode(data).decode(), "dataCrc32c": _crc32c(data)}
        return {"name": version.name, "payload": payload}

    async def enable(self, request: web.Request) -> dict[str, Any]:
        return self._turn(request, State.ENABLED)

    async def disable(self, request: web.Request) -> dict[str, Any]:
        return self._turn(request, State.DISABLED)

    async def destroy(self, request: web.Request) -> dict[str, Any]:
        return self._turn(request, State.DESTROYED)

    def _turn(self, request: web.Request, state: State) -> dict[str, Any]:
        # Google documents the alias only for reading.
        if request.match_info["version"] == LATEST:
            raise Refused(400, "Use the version's number to change it.")
        version = self._version(request)
        version.turn(state)
        return version.as_json()

    def _secret(self, request: web.Request) -> Secret:
        place = request.match_info
        return self.store.secret(f"projects/{place['project']}/secrets/{place['secret']}")

    def _version(self, request: web.Request) -> Version:
        return self._secret(request).version(request.match_info["version"])

    async def _meet_fault(self) -> None:
        fault = self.faults.first()
        if fault is None:
            return
        self.faults.consume(fault)
        await asyncio.sleep(fault.delay)
        if fault.status is not None:
            raise Refused(fault.status, "scripted fault")

    async def no_such_method(self, request: web.Request) -> web.Response:
        missing = Refused(501, f"This emulator has no {request.method} {request.path}.")
        return web.json_response(missing.as_json(), status=missing.code)

    # --- the emulator's own routes

    async def ready(self, request: web.Request) -> web.Response:
        return web.json_response({"ready": True})

    async def list_calls(self, request: web.Request) -> web.Response:
        return web.json_response(self.journal)

    async def clear_calls(self, request: web.Request) -> web.Response:
        self.journal.clear()
        return web.Response(status=204)

    async def list_faults(self, request: web.Request) -> web.Response:
        return web.json_response(self.faults.as_json())

    async def add_faults(self, request: web.Request) -> web.Response:
        try:
            self.faults.add(faults.read_faults(Fault, KNOWN, HAPPENINGS, await _json(request)))
        except faults.BadFault as error:
            return web.json_response({"message": str(error)}, status=400)
        return web.json_response(self.faults.as_json())

    async def clear_faults(self, request: web.Request) -> web.Response:
        self.faults.clear()
        return web.Response(status=204)


def _authenticate(request: web.Request) -> None:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not token.strip():
        raise Refused(401, "The request has no OAuth 2 access token.")


async def _json(request: web.Request) -> Any:
    try:
        return await request.json()
    except (ValueError, RecursionError):
        return None


async def _object(request: web.Request) -> dict[str, Any]:
    body = await _json(request)
    if not isinstance(body, dict):
        raise Refused(400, "The body must be a JSON object.")
    return body


def _payload(payload: Any) -> tuple[bytes, str | None]:
    """The bytes, and the checksum if the client sent one (an int64, so a string in JSON)."""
    if not isinstance(payload, dict) or not isinstance(payload.get("data", ""), str):
        raise Refused(400, "The payload must be an object with base64 data.")
    try:
        data = base64.b64decode(payload.get("data", ""), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(400, "The payload's data must be base64.") from None
    checksum = payload.get("dataCrc32c")
    return data, None if checksum is None else str(checksum)


def _crc32c(data: bytes) -> str:
    return str(google_crc32c.value(data))


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name) or str(default)
    if not text.isdecimal():
        raise Refused(400, f"{name} must be a number.")
    return int(text)
