"""The routes: Batch's own, and the emulator's (all under `/__`, and the page at `/`)."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from emulators.batch import cep, faults
from emulators.batch.campaign_rules import campaign_refusal
from emulators.batch.campaigns import Campaign, Campaigns, campaign_reply, new_token
from emulators.batch.journal import NOT_JSON, WITH_BODY, Address, Call, journaled_headers, parse
from emulators.batch.live import Page, refuse_other_sites
from emulators.batch.person_apis import PersonApis
from emulators.batch.profiles import audience
from emulators.batch.project import Project
from emulators.batch.replies import (
    AUTHENTICATION_INVALID,
    MALFORMED_JSON_BODY,
    MALFORMED_PARAMETER,
    ROUTE_NOT_FOUND,
    Reply,
    accepted,
)
from emulators.batch.rules import recipient_count, refusal
from emulators.batch.stats import Sent, stats_reply
from emulators.faults import BadFault, FaultQueue
from emulators.serving import MAX_BODY


def now_utc() -> datetime:
    return datetime.now(UTC)


def create_app(
    apps: Mapping[str, str],
    rest_keys: Collection[str],
    lenient: bool = False,
    now: Callable[[], datetime] = now_utc,
    project: Project | None = None,
    batch_project: str = "",
) -> web.Application:
    """`apps` maps a name such as ios or android_driver to its API key.

    Without apps, any API key is accepted; without REST keys, any non-empty one; without a key of
    Batch's project, any. The page writes documents to `project`.
    """
    batch = BatchServer(apps, rest_keys, lenient, now, batch_project)
    page = Page(list(apps), batch.journal, batch.faults, batch.known, batch.accept_only, project)
    app = web.Application(client_max_size=MAX_BODY, middlewares=[refuse_other_sites])
    app.add_routes(page.routes())
    app.add_routes(batch.people.routes())
    app.add_routes(
        [
            web.get("/__ready", batch.ready),
            web.get("/__calls", batch.list_calls),
            web.get("/__calls/count", batch.count_calls),
            web.delete("/__calls", batch.clear_calls),
            web.get("/__faults", batch.list_faults),
            web.post("/__faults", batch.add_faults),
            web.delete("/__faults", batch.clear_faults),
            web.put("/__rest_keys", batch.replace_rest_keys),
            web.get("/__campaigns", batch.list_campaigns),
            web.post("/__campaigns/{app_key}", batch.add_campaign),
            web.delete("/__campaigns", batch.clear_campaigns),
            web.put("/__stats/{name}", batch.script_stats),
            web.route("*", "/__{path:.*}", batch.no_such_control),
            web.route("*", "/{path:.*}", batch.receive),
        ]
    )
    app.on_shutdown.append(batch.release)
    if project is not None:
        app.cleanup_ctx.append(project.opened)
    return app


class BatchServer:
    def __init__(
        self,
        apps: Mapping[str, str],
        rest_keys: Collection[str],
        lenient: bool,
        now: Callable[[], datetime],
        batch_project: str,
    ) -> None:
        self.cep = cep.Cep(batch_project, lenient, now)
        self.app_names = {key: name for name, key in apps.items()}
        self.rest_keys = frozenset(rest_keys)
        self.lenient = lenient
        self.now = now
        self.journal: list[Call] = []
        self.sent = Sent()
        self.campaigns = Campaigns()
        self.people = PersonApis(self.app_names)
        self.faults: FaultQueue[faults.Fault] = FaultQueue()
        self.released = asyncio.Event()

    # --- Batch's routes

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """Add the call to the journal, check it, and answer as Batch would or as scripted."""
        call, unreadable = await self._read(request)
        self.journal.append(call)
        self.campaigns.send_due(self.now())
        verdict = unreadable or self._check(call, request.query)
        fault = self._fault_for(call, verdict)
        if fault is None:
            self._settle(call, verdict, accepted=verdict.ok)
            return _send(call, verdict)
        self._settle(call, verdict, accepted=fault.accepts)
        return await self._misbehave(request, call, fault, fault.reply(verdict))

    async def _read(self, request: web.Request) -> tuple[Call, Reply | None]:
        unreadable = None
        raw = b""
        try:
            raw = await request.read()
        except web.HTTPRequestEntityTooLarge:
            unreadable = MALFORMED_PARAMETER.reply(f"the body is over {MAX_BODY} bytes")
        except web.RequestPayloadError:
            unreadable = MALFORMED_JSON_BODY.reply("the body cannot be decoded")
        address = Address.of(request.method, request.path)
        call = Call(
            address=address,
            app=cep.APP
            if address.route in cep.ROUTES
            else self.app_names.get(address.app_key or ""),
            method=request.method,
            path=request.path,
            text=raw.decode("utf-8", "replace"),
            headers=journaled_headers(request),
        )
        return call, unreadable

    def _check(self, call: Call, query: Mapping[str, str]) -> Reply:
        """Batch's reply, before carrying out the call."""
        address = call.address
        if address.route in cep.ROUTES:
            is_json = call.body is not NOT_JSON
            return self.cep.reply(call.headers, call.body, is_json, self._is_rest_key)
        if address.route is None or address.app_key is None:
            return ROUTE_NOT_FOUND.reply(f"no route {call.method} {call.path}")
        if not self._is_rest_key(call.headers.get("x-authorization", "")):
            return AUTHENTICATION_INVALID.reply("`X-Authorization` must hold the REST API key")
        if self.app_names and call.app is None:
            # Batch may also answer 404 here; its documentation does not say which.
            return AUTHENTICATION_INVALID.reply("the API key in the path is unknown")
        if address.route == "transactional/stats":
            group_id, today = address.group_id or "", self.now().date()
            return stats_reply(address.app_key, group_id, query, self.sent, today)
        if address.route in WITH_BODY and call.body is NOT_JSON:
            return MALFORMED_JSON_BODY.reply("the body is not JSON")
        if reply := self.people.reply(call, self.lenient, self.now()):
            return reply
        if address.route != "transactional/send":
            return campaign_reply(call, query, self.campaigns, self.sent, self.lenient)
        platform = call.app and call.app.lower().partition("_")[0]
        return refusal(call.body, platform, self.lenient) or accepted()

    def _is_rest_key(self, value: str) -> bool:
        return value in self.rest_keys if self.rest_keys else value != ""

    def _fault_for(self, call: Call, verdict: Reply) -> faults.Fault | None:
        """The first fault that affects the call; the call uses it up.

        Batch cannot accept a call that it refuses, so such a call does not use an accepting fault.
        """
        fault = self.faults.first(lambda fault: fault.meets(call))
        if fault is None or (fault.accepts and not verdict.ok):
            return None
        self.faults.consume(fault)
        return fault

    def _settle(self, call: Call, verdict: Reply, accepted: bool) -> None:
        """Carry out an accepted call, whatever reply its sender will get."""
        call.accepted = accepted
        if not accepted:
            return
        app_key, token, now = call.address.app_key or "", call.address.token, self.now()
        self.people.settle(call, verdict, now)
        match call.address.route:
            case "transactional/send":
                count = recipient_count(call.body)
                self.sent.add(app_key, call.group_id, now.date(), count)
            case "campaigns/create":
                self.campaigns.create(app_key, verdict.body["campaign_token"], call.body, now)
            case "campaigns/update":
                self.campaigns.update(token, call.body, now)
            case "campaigns/delete":
                self.campaigns.delete(token)

    async def _misbehave(
        self, request: web.Request, call: Call, fault: faults.Fault, reply: Reply
    ) -> web.StreamResponse:
        await asyncio.sleep(fault.delay)
        if fault.hang:
            await self.released.wait()
            return faults.hang_up(request)
        if fault.reset:
            return faults.reset(request)
        if fault.cut or fault.drip:
            call.answer(reply)
            return await faults.send_in_part(request, reply, fault.cut, fault.drip)
        return _send(call, reply)

    # --- the emulator's own routes

    async def ready(self, request: web.Request) -> web.Response:
        return web.json_response({"ready": True})

    async def list_calls(self, request: web.Request) -> web.Response:
        return web.json_response([call.as_json() for call in self.journal])

    async def count_calls(self, request: web.Request) -> web.Response:
        """For clients that poll: sending a long journal again and again is costly."""
        return web.json_response({"count": len(self.journal)})

    async def clear_calls(self, request: web.Request) -> web.Response:
        self.journal.clear()
        self.sent.clear()
        return web.Response(status=204)

    async def list_faults(self, request: web.Request) -> web.Response:
        return web.json_response(self.faults.as_json())

    async def add_faults(self, request: web.Request) -> web.Response:
        try:
            self.faults.add(faults.read_faults(await _json(request)))
        except BadFault as error:
            return web.json_response({"message": str(error)}, status=400)
        return web.json_response(self.faults.as_json())

    async def clear_faults(self, request: web.Request) -> web.Response:
        self.faults.clear()
        await self.release()
        return web.Response(status=204)

    async def release(self, app: web.Application | None = None) -> None:
        """End the hanging calls; later ones wait for a new event."""
        self.released.set()
        self.released = asyncio.Event()

    def accept_only(self, *rest_keys: str) -> None:
        self.rest_keys = frozenset(rest_keys)

    async def replace_rest_keys(self, request: web.Request) -> web.Response:
        keys = await _json(request)
        if not isinstance(keys, list) or not all(isinstance(key, str) and key for key in keys):
            return web.json_response({"message": "a list of non-empty strings"}, status=400)
        self.accept_only(*keys)
        return web.Response(status=204)

    async def list_campaigns(self, request: web.Request) -> web.Response:
        return web.json_response(self.all_campaigns())

    def all_campaigns(self) -> list[dict[str, Any]]:
        self.campaigns.send_due(self.now())
        return [
            {"app": self.app_names.get(campaign.app_key), "audience": self._audience(campaign)}
            | campaign.as_json()
            for campaign in self.campaigns
        ]

    def known(self) -> dict[str, list[dict[str, Any]]]:
        """What the page shows of campaigns and of people."""
        return {"campaigns": self.all_campaigns(), "people": self.people.known()}

    def _audience(self, campaign: Campaign) -> list[str] | None:
        """Whom it targets by attributes; None if it does not, or in a way that is not known."""
        targeting = campaign.body.get("targeting") or {}
        people = self.people.profiles.of_app(campaign.app_key)
        return audience(targeting.get("query"), people)

    async def add_campaign(self, request: web.Request) -> web.Response:
        """Create a campaign as if in Batch's dashboard."""
        body = await _json(request)
        refused = campaign_refusal(body, self.lenient)
        if refused is not None:
            return web.json_response(refused.body, status=400)
        token = new_token()
        self.campaigns.create(
            request.match_info["app_key"], token, body, self.now(), from_api=False
        )
        return web.json_response({"campaign_token": token}, status=201)

    async def clear_campaigns(self, request: web.Request) -> web.Response:
        self.campaigns.clear()
        return web.Response(status=204)

    async def script_stats(self, request: web.Request) -> web.Response:
        try:
            self.sent.script(request.match_info["name"], await _json(request))
        except ValueError as error:
            return web.json_response({"message": str(error)}, status=400)
        return web.Response(status=204)

    async def no_such_control(self, request: web.Request) -> web.Response:
        return web.json_response({"message": f"no {request.method} {request.path}"}, status=404)


async def _json(request: web.Request) -> Any:
    return parse((await request.read()).decode("utf-8", "replace"))


def _send(call: Call, reply: Reply) -> web.Response:
    call.answer(reply)
    return web.Response(status=reply.status, headers=reply.all_headers(), body=reply.payload())
