"""The page of phones at `/`: its files, the event stream, and the actions it offers."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from emulators.batch import cep
from emulators.batch.faults import Fault
from emulators.batch.journal import Call, parse
from emulators.batch.project import CannotDo, Project
from emulators.faults import FaultQueue
from emulators.serving import is_of_this_address

FILES = {file.name: file for file in (Path(__file__).parent / "page").iterdir()}

SHOWN = 100  # calls and campaigns, the newest
MAX_LIST = 100  # recipients to show of a call
TICK_SECONDS = 0.1

HEADERS = {
    # A push holds text that anyone may have written, and images from anywhere.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' https:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def refuse_other_sites(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse control requests of other sites, which any site can make a browser send."""
    is_control = request.path == "/" or request.path.startswith("/__")
    if is_control and not is_of_this_address(request):
        return web.json_response({"message": "only for pages of this address"}, status=403)
    return await handler(request)


class Page:
    def __init__(
        self,
        apps: Sequence[str],
        journal: Sequence[Call],
        faults: FaultQueue[Fault],
        known: Callable[[], Mapping[str, list[dict[str, Any]]]],
        accept_only: Callable[[str], None],
        project: Project | None,
    ) -> None:
        self.apps = apps
        self.journal = journal
        self.faults = faults
        self.known = known
        self.accept_only = accept_only
        self.project = project

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.show),
            web.get("/__page/{file}", self.show),
            web.get("/__events", self.stream),
            web.put("/__documents/{path:.*}", self.asked(self.write)),
            web.get("/__deliveries/{id:[0-9a-f]{64}}/replay", self.asked(self.plan_replay)),
            web.post("/__deliveries/{id:[0-9a-f]{64}}/replay", self.asked(self.replay)),
            web.post("/__sweep", self.asked(self.sweep)),
            web.post("/__rest_keys/rotate", self.asked(self.rotate)),
        ]

    async def show(self, request: web.Request) -> web.StreamResponse:
        file = FILES.get(request.match_info.get("file", "index.html"))
        if file is None:
            raise web.HTTPNotFound
        return web.FileResponse(file, headers=HEADERS)

    # --- showing

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """Send everything that the page shows, again whenever it changes."""
        response = web.StreamResponse(headers=HEADERS | {"Content-Type": "text/event-stream"})
        await response.prepare(request)
        sent = None
        with suppress(ConnectionResetError):  # the page was closed
            while True:
                view = json.dumps(await self._view())
                if view != sent:
                    await response.write(f"data: {view}\n\n".encode())
                    sent = view
                await asyncio.sleep(TICK_SECONDS)
        return response

    async def _view(self) -> dict[str, Any]:
        project, known = self.project, self.known()
        return {
            "apps": self.apps,
            "deliveries": await project.deliveries() if project else None,
            "publications": project.campaigns if project else [],
            "silences": list(project.log.silences) if project else [],
            "problem": project.log.problem if project else None,
            "ui": project.environ.get("EMULATOR_UI_URL") if project else None,
            "calls": [self._shown(call) for call in self.journal[-SHOWN:]],
            "faults": self.faults.as_json(),
            "people": known["people"][-SHOWN:],
            "campaigns": [each for each in known["campaigns"] if each["sent_at"]][-SHOWN:],
        }

    def _shown(self, call: Call) -> dict[str, Any]:
        shown = call.as_json()
        del shown["headers"]  # the REST key is in them
        return shown | {
            "number": call.number,
            "route": call.address.route,
            "body": shorter(shown["body"]),
            "recipients": {kind: len(ids) for kind, ids in recipient_lists(call.body).items()},
            "events": cep.tracked(call.body, shown["reply"] and shown["reply"]["body"])
            if call.app == cep.APP
            else [],
            "delivery": self.project and self.project.delivery_of(call),
            "campaign": self.project and self.project.campaign_of(call),
        }

    # --- actions

    def asked(
        self, carry_out: Callable[[Project, web.Request], Awaitable[Mapping[str, Any]]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """Wrap an action, which needs the project and reports why it failed."""

        async def handle(request: web.Request) -> web.Response:
            if self.project is None:
                alone = "the emulator runs alone; `make dev` starts everything"
                return web.json_response({"message": alone}, status=503)
            try:
                return web.json_response(await carry_out(self.project, request))
            except CannotDo as error:
                return web.json_response({"message": str(error)}, status=400)

        return handle

    async def write(self, project: Project, request: web.Request) -> Mapping[str, Any]:
        document = parse((await request.read()).decode("utf-8", "replace"))
        if not isinstance(document, dict):
            raise CannotDo("a document must be a JSON object")
        return await project.write(request.match_info["path"], document)

    async def plan_replay(self, project: Project, request: web.Request) -> Mapping[str, Any]:
        return await self._replay(project, request, send=False)

    async def replay(self, project: Project, request: web.Request) -> Mapping[str, Any]:
        return await self._replay(project, request, send=True)

    async def _replay(
        self, project: Project, request: web.Request, send: bool
    ) -> Mapping[str, Any]:
        resend_unknown = request.query.get("resend_unknown") == "true"
        return await project.replay(request.match_info["id"], resend_unknown, send)

    async def sweep(self, project: Project, request: web.Request) -> Mapping[str, Any]:
        await project.sweep()
        return {}

    async def rotate(self, project: Project, request: web.Request) -> Mapping[str, Any]:
        """Rotate the key in the right order: store the new version, then refuse the old key."""
        key = secrets.token_hex(16)
        await project.store_rest_key(key)
        self.accept_only(key)
        return {}


def recipient_lists(body: Any) -> dict[str, list[Any]]:
    # The journal also holds refused calls, whose bodies may have any shape.
    lists = body.get("recipients") if isinstance(body, dict) else None
    lists = lists if isinstance(lists, dict) else {}
    return {kind: ids for kind, ids in lists.items() if isinstance(ids, list)}


def shorter(body: Any) -> Any:
    """The body with only the first of many recipients."""
    if not (lists := recipient_lists(body)):
        return body
    first = {kind: ids[:MAX_LIST] for kind, ids in lists.items()}
    return body | {"recipients": body["recipients"] | first}
