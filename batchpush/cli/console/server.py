"""The server behind the page.

Whoever has the token of the printed address may ask it; the page sends it in a header. Another site
cannot: it does not know the token, and a name that leads to this machine (DNS rebinding) is
refused. The files of the page need no token, and hold nothing of the project.
"""

import argparse
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from google.auth.exceptions import GoogleAuthError
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batchpush.cli.arguments import prefix
from batchpush.cli.console.answers import Answers, ChangedMeanwhile
from batchpush.cli.terminal import CannotDo
from batchpush.errors import BatchpushError, TryAgainLater
from batchpush.google.connection import FIX
from batchpush.worker import Worker

PAGE = Path(__file__).with_name("page")
NAMES = ("127.0.0.1", "localhost")
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "; ".join(
        (
            "default-src 'none'",
            "connect-src 'self'",
            "img-src 'self'",
            "script-src 'self'",
            "style-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            # The browser refuses to parse text as HTML, whatever a script does.
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def create_app(made: Worker, token: str) -> Starlette:
    routes = Routes(Answers(made))
    return Starlette(
        routes=[
            Mount(
                "/api",
                routes=[
                    Route("/project", routes.project),
                    Route("/deliveries", routes.deliveries),
                    Route("/deliveries/{id}", routes.delivery),
                    Route("/deliveries/{id}/replay", routes.replay, methods=["POST"]),
                    Route("/campaigns", routes.campaigns),
                ],
                middleware=[Middleware(TokenNeeded, token=token)],
            ),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ],
        middleware=[
            Middleware(WithHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=NAMES, www_redirect=False),
        ],
        exception_handlers={
            argparse.ArgumentTypeError: _problem(400),
            CannotDo: _problem(400),
            BatchpushError: _problem(400),
            ChangedMeanwhile: _problem(409),
            TryAgainLater: _problem(503),
            GoogleAuthError: _no_credentials,
            Exception: _failed,
        },
    )


@dataclass
class Routes:
    """Reads the requests."""

    answers: Answers

    async def project(self, request: Request) -> JSONResponse:
        return JSONResponse(self.answers.project())

    async def deliveries(self, request: Request) -> JSONResponse:
        return JSONResponse(await self.answers.deliveries(request.query_params))

    async def delivery(self, request: Request) -> JSONResponse:
        return JSONResponse(await self.answers.delivery(prefix(request.path_params["id"])))

    async def replay(self, request: Request) -> JSONResponse:
        record_id, asked = prefix(request.path_params["id"]), request.query_params
        version, resend_unknown = asked.get("version", ""), "resend_unknown" in asked
        return JSONResponse(await self.answers.replay(record_id, version, resend_unknown))

    async def campaigns(self, request: Request) -> JSONResponse:
        asked = request.query_params
        return JSONResponse(await self.answers.campaigns("all" in asked, asked.get("after")))


# What holds for every request


class WithHeaders:
    """Adds `HEADERS` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self.app(scope, receive, with_headers)


class TokenNeeded:
    """Refuses a request without the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self.app, self.expected = app, f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("authorization", "").encode()
        if secrets.compare_digest(given, self.expected):
            await self.app(scope, receive, send)
        else:
            refusal = _answer(403, "Open the address that the command printed")
            await refusal(scope, receive, send)


# Problems: what is wrong, and the command that fixes it


def _answer(status: int, problem: str, fix: str = "") -> JSONResponse:
    return JSONResponse({"problem": problem, "fix": fix}, status)


def _problem(status: int) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
    async def handle(request: Request, error: Exception) -> JSONResponse:
        problem, _, fix = str(error).partition(f". {FIX}")
        return _answer(status, problem, fix)

    return handle


async def _no_credentials(request: Request, error: Exception) -> JSONResponse:
    return _answer(503, type(error).__name__, "gcloud auth application-default login")


async def _failed(request: Request, error: Exception) -> JSONResponse:
    return _answer(500, f"{type(error).__name__}: the terminal says where")
