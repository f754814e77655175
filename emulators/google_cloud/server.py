"""Google's hosts on this machine, and the emulator's own routes under `/__`.

    firebase, check, functions --> proxy --> TLS as *.googleapis.com --> a method of `ANSWERS`
    apps -----------------------------> TLS as *.run.app ----------> the front end of Cloud Run
    databases, tasks, schedules ----------------------------------->         |
                                                                             v
                                                       a function's process, wherever it listens

The clients keep Google's addresses and names: `HTTPS_PROXY` sends them to this proxy, which lets
nothing out of this machine, and they trust its certificate. So also what the Firebase CLI asks of
addresses that no variable can change comes here (`checkServiceAccountIam` of checkIam.js), and the
names of the APIs that it enables are right, which it takes from the addresses.
"""

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

from emulators.google_cloud import (
    certificates,
    firestore,
    functions,
    identities,
    schedules,
    users,
)
from emulators.google_cloud.call import ANSWERS, Call
from emulators.google_cloud.cloud_run import FrontEnd, Sent
from emulators.google_cloud.credentials import Credentials, InvalidGrant
from emulators.google_cloud.deliveries import Deliveries, paced
from emulators.google_cloud.discovery import Method, check, find
from emulators.google_cloud.dispatch import Dispatch
from emulators.google_cloud.eventarc import Eventarc, event_of, written_to_firestore
from emulators.google_cloud.id_tokens import IdTokens
from emulators.google_cloud.metadata import Metadata
from emulators.google_cloud.project import Cloud, Project, Resource
from emulators.google_cloud.realtime_database import RealtimeDatabase
from emulators.google_cloud.relay import Relay
from emulators.google_cloud.users import Users
from emulators.google_errors import Refused
from emulators.serving import is_of_this_address

# They register what they answer.
assert all((firestore, functions, identities, schedules))

TOKEN_HOSTS = {
    "www.googleapis.com": "/oauth2/v3/token",  # refreshTokens of the CLI's auth.js
    "oauth2.googleapis.com": "/token",  # of service accounts: google-auth, google-auth-library
}
STORAGE = "storage.googleapis.com"
MAX_EVENT = 4 * 1024 * 1024  # a document before and after, in base64
CREATE_TASK = "cloudtasks.v2:projects.locations.queues.tasks.create"


@dataclass
class Request:
    """What was asked, without its credential; `error` is Google's, if it was refused."""

    host: str
    verb: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    method: str | None = None
    caller: str = ""
    status: int = 0
    error: str | None = None


def create_app(project: Project) -> web.Application:
    """The emulator's own routes; it serves Google's hosts while it runs."""
    server = GoogleCloudServer(project)
    metadata = Metadata(project, server.credentials)
    app = web.Application(middlewares=[refuse_other_sites], client_max_size=MAX_EVENT)
    app.add_routes(
        [
            web.get("/__ready", server.ready),
            web.get("/__requests", server.list_requests),
            web.delete("/__requests", server.clear_requests),
            web.get("/__state", server.state),
            web.get("/__archives/{name:.*}", server.archive),
            web.put("/__instances/{name:.*}", server.place_instance),
            web.delete("/__instances/{name:.*}", server.remove_instance),
            web.put("/__pace", server.set_pace),
            web.post("/__events", server.bring_event),
            web.post("/__jobs/{name:.*}", server.run_job),
            web.post("/__grants", server.grant),
            web.post("/__id_tokens", server.issue_id_token),
            web.post("/__users/{uid}", server.sign_in),
            web.get("/__deliveries", server.list_deliveries),
            web.get("/__invocations", server.list_invocations),
            # Where Google's Firestore emulator expects the Functions emulator.
            web.post("/functions/projects/{project}/triggers/{id}", server.firestore_was_written),
            web.route("*", "/{path:.*}.json", server.database.serve),
            web.get("/", metadata.ping),
            web.get("/computeMetadata/v1/{path:.*}", metadata.answer),
        ]
    )
    app.cleanup_ctx.append(server.serve_google)
    return app


@web.middleware
async def refuse_other_sites(request: web.Request, handler: Any) -> web.StreamResponse:
    if not is_of_this_address(request):
        raise web.HTTPForbidden(text="Only for programs and pages of this address.")
    try:
        answer: web.StreamResponse = await handler(request)
    except Refused as refused:
        return web.json_response(refused.as_json(), status=refused.code)
    return answer


class GoogleCloudServer:
    def __init__(self, project: Project) -> None:
        self.cloud = Cloud(project)
        self.credentials = Credentials(project)
        self.requests: list[Request] = []
        self.id_tokens = IdTokens()
        self.users = Users(project)
        self.front_end = FrontEnd(self.cloud, self.id_tokens)
        self.deliveries = Deliveries(self.front_end, self.id_tokens)
        self.eventarc = Eventarc(self.cloud, self.deliveries)
        self.dispatch = Dispatch(self.cloud, self.front_end, self.deliveries)
        self.database = RealtimeDatabase(project, self.eventarc.bring)

    async def serve_google(self, _: web.Application) -> AsyncIterator[None]:
        self.certificate, context = certificates.make()
        app = web.Application(client_max_size=functions.MAX_ARCHIVE + 1)
        app.router.add_route("*", "/{path:.*}", self.answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        relay = Relay(runner.addresses[0][1], self.refuse_elsewhere)
        self.proxy = await relay.start()
        await self.front_end.open()
        yield
        await self.deliveries.close()
        await self.front_end.close()
        await relay.stop()
        await runner.cleanup()

    def refuse_elsewhere(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        error = "is not Google's: refused by the proxy"
        self.requests.append(Request(rest.partition(" ")[0], verb, "", status=403, error=error))

    async def answer(self, request: web.Request) -> web.Response:
        data = await request.read()
        if request.host.endswith(certificates.OF_FUNCTIONS):
            return await self._call_function(request, data)
        asked = Request(request.host, request.method, request.path)
        self.requests.append(asked)
        try:
            answer = self._answer(request, data, asked)
        except Refused as refused:
            asked.status, asked.error = refused.code, refused.message
            return web.json_response(refused.as_json(), status=refused.code)
        except InvalidGrant:
            asked.status, asked.error = 400, "invalid_grant"
            return web.json_response({"error": "invalid_grant"}, status=400)
        asked.status = 200
        return answer

    def _answer(self, request: web.Request, data: bytes, asked: Request) -> web.Response:
        if TOKEN_HOSTS.get(request.host) == request.path:
            asked.method = "token"
            token = self.credentials.exchange(request.headers.get("Content-Type", ""), data)
            return web.json_response(token)
        if (request.host, request.path) == users.CERTIFICATES:
            asked.method = "certificates"
            return web.json_response(self.users.certificates)
        if request.host == STORAGE:
            return self._upload(request, data, asked)
        asked.caller = self.credentials.authenticate(request.headers.get("Authorization", ""))
        asked.query = {
            name: ",".join(request.query.getall(name)) for name in dict.fromkeys(request.query)
        }
        asked.body = _parsed(data)
        found = find(request.host, request.method, request.path)
        if found is None:
            raise Refused(404, f"{request.host} has no {request.method} {request.path} here.")
        method, place = found
        asked.method = method.key
        return web.json_response(self._call(method, place, asked))

    def _call(self, method: Method, place: dict[str, str], asked: Request) -> Resource:
        # Google's client libraries write `$alt` (https://cloud.google.com/apis/docs/system-parameters).
        named = {name.removeprefix("$") for name in asked.query}
        if unknown := named - method.query:
            raise Refused(400, f'Unknown name "{min(unknown)}": Cannot bind query parameter.')
        body = asked.body
        if method.request is None and body not in (None, {}):
            raise Refused(400, f"{method.key} has no body.")
        if method.request and body is not None:
            check(method.api, method.request, body)
        answer = ANSWERS[method.key](
            self.cloud, Call(method, place, asked.query, body or {}, asked.caller)
        )
        if method.response:
            check(method.api, method.response, answer)  # ours must have Google's shape too
        if method.key == CREATE_TASK:
            self.dispatch.task(answer)
        return answer

    async def _call_function(self, request: web.Request, data: bytes) -> web.Response:
        """A request from anywhere, with whatever credential it has."""
        name = self.front_end.function_at(request.host, request.path)
        sent = Sent(data, _passed_on(request.headers), request.method)
        reply = await self.front_end.call(name or request.host, sent)
        headers = {"Content-Type": reply.content_type}
        return web.Response(status=reply.status, body=reply.body, headers=headers)

    def _upload(self, request: web.Request, data: bytes, asked: Request) -> web.Response:
        asked.method = "upload"
        asked.body = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        if request.method != "PUT":
            raise Refused(404, "This emulator has only the addresses of uploads.")
        kind = request.headers.get("Content-Type", "")
        signature = request.query.get("Signature", "")
        functions.receive(self.cloud, request.path.lstrip("/"), signature, kind, data)
        return web.Response(headers={"x-goog-generation": "1"})

    # --- the emulator's own routes

    async def ready(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "ready": True,
                "proxy": f"http://127.0.0.1:{self.proxy}",
                "certificate": self.certificate,
                "refresh_token": self.credentials.refresh_token,
                "service_account": self.credentials.service_account,
            }
        )

    async def list_requests(self, request: web.Request) -> web.Response:
        return web.json_response([asdict(each) for each in self.requests])

    async def clear_requests(self, request: web.Request) -> web.Response:
        self.requests.clear()
        self.deliveries.clear()
        self.front_end.clear()
        return web.Response(status=204)

    async def state(self, request: web.Request) -> web.Response:
        """What was deployed: Google's resources by kind and name."""
        kinds = (
            *("functions", "jobs", "queues", "tasks", "fields", "indexes"),
            *("repositories", "policies"),
        )
        return web.json_response({kind: getattr(self.cloud, kind) for kind in kinds})

    async def archive(self, request: web.Request) -> web.Response:
        upload = self.cloud.uploads.get(request.match_info["name"])
        if upload is None or upload.data is None:
            raise web.HTTPNotFound(text="There is no such archive.")
        return web.json_response({"zip": base64.b64encode(upload.data).decode()})

    # --- What is brought to functions

    async def place_instance(self, request: web.Request) -> web.Response:
        """`{"url": ...}`, where the process of a function listens."""
        self.front_end.place(self._function(request), (await request.json())["url"])
        return web.Response(status=204)

    async def remove_instance(self, request: web.Request) -> web.Response:
        self.front_end.place(self._function(request), None)
        return web.Response(status=204)

    def _function(self, request: web.Request) -> str:
        name = request.match_info["name"]
        if name not in self.cloud.functions:
            raise web.HTTPNotFound(text="There is no such function.")
        return name

    async def set_pace(self, request: web.Request) -> web.Response:
        try:
            self.deliveries.pace = paced(await request.json())
        except (ValueError, TypeError) as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return web.Response(status=204)

    async def bring_event(self, request: web.Request) -> web.Response:
        event = event_of(request.headers, await request.read())
        return web.json_response(self.eventarc.bring(event))

    async def firestore_was_written(self, request: web.Request) -> web.Response:
        event = written_to_firestore(self.cloud, request.headers, await request.read())
        return web.json_response(self.eventarc.bring(event))

    async def run_job(self, request: web.Request) -> web.Response:
        self.dispatch.job(request.match_info["name"])
        return web.Response(status=204)

    async def grant(self, request: web.Request) -> web.Response:
        """`{"role", "member"}`, on the project."""
        given = await request.json()
        self.cloud.grant(given["role"], given["member"])
        return web.Response(status=204)

    async def issue_id_token(self, request: web.Request) -> web.Response:
        """For `{"account", "audience"}`: what the metadata server gives a program."""
        asked = await request.json()
        token = self.id_tokens.issue(asked["account"], asked["audience"])
        return web.json_response({"token": token})

    async def sign_in(self, request: web.Request) -> web.Response:
        """The ID token of a user of the app."""
        return web.json_response({"token": self.users.sign_in(request.match_info["uid"])})

    async def list_deliveries(self, request: web.Request) -> web.Response:
        return web.json_response(self.deliveries.as_json())

    async def list_invocations(self, request: web.Request) -> web.Response:
        return web.json_response(self.front_end.invocations())


# Of one connection, not of the request (RFC 9110, 7.6.1); the next one has its own.
HOP_BY_HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host"}


def _passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}


def _parsed(data: bytes) -> Any:
    if not data:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise Refused(400, "Invalid JSON payload received.") from None
