"""The command: serves the page on loopback until Ctrl-C."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import asyncio
import os
import re
import secrets
import socket
from contextlib import suppress

from batchpush.cli.installation import missing
from batchpush.cli.records import on_records
from batchpush.cli.terminal import CannotDo
from batchpush.environment import project_id
from batchpush.worker import Worker

PURPOSE = "Open a page on this machine: find deliveries, see why, replay them; see campaigns."
EXAMPLES = (
    "console --project staging",
    "console --port 0",
)
HOST = "127.0.0.1"
PORT = 4013
# Where `make dev` has what a `demo-` project needs, which exists nowhere else.
EMULATORS = {
    "FIRESTORE_EMULATOR_HOST": f"{HOST}:8080",
    "BATCH_API_URL": f"http://{HOST}:4010",
    "SECRET_MANAGER_URL": f"http://{HOST}:4011",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port",
        metavar="N",
        type=_port,
        default=PORT,
        help=f"listen on this port (default: {PORT}); 0 picks a free one",
    )


def _port(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65_535:
        raise argparse.ArgumentTypeError("expected a port: 0 to 65535")
    return int(text)


def console(chosen: argparse.Namespace) -> int:
    if (chosen.project or project_id() or "").startswith("demo-"):
        for name, address in EMULATORS.items():
            os.environ.setdefault(name, address)
    return on_records(_serve)(chosen)


async def _serve(chosen: argparse.Namespace, made: Worker) -> int:
    # The other commands need no server.
    try:
        import uvicorn
    except ImportError:
        raise CannotDo(missing("uvicorn")) from None

    from batchpush.cli.console.server import create_app

    token = secrets.token_urlsafe(32)
    with _listening(chosen.port) as listening:
        _, port = listening.getsockname()
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(made, token),
                access_log=False,
                lifespan="off",
                log_config=None,
                proxy_headers=False,
                server_header=False,
            )
        )
        # A browser does not send the part behind # to any server.
        print(f"Open http://{HOST}:{port}/#token={token} (Ctrl-C ends it)", flush=True)
        # After Ctrl-C, uvicorn answers what it was asked, and raises the signal again.
        with suppress(asyncio.CancelledError):
            await server.serve([listening])
            await asyncio.sleep(0)
    return 0


def _listening(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise CannotDo(
            f"cannot listen on {HOST}:{port}: {reason}; --port 0 picks a free port"
        ) from None
