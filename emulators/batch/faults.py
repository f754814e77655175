"""The faults that a test can script: what happens to a call instead of a good reply."""

import asyncio
import re
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from emulators import faults
from emulators.batch.journal import ROUTES, Call
from emulators.batch.replies import Reply, reply_for_status


@dataclass(frozen=True, kw_only=True)
class Fault(faults.Fault):
    # which calls it affects
    app: str | None = None
    route: str | None = None
    group_id: str | None = None
    # what happens to them, in this order
    delay: float = 0.0
    status: int | None = None
    body: str | dict[str, Any] | None = None
    headers: Mapping[str, str] | None = None
    reset: bool = False
    cut: bool = False
    hang: bool = False
    drip: float = 0.0
    # whether Batch still sends the push
    accept: bool | None = None

    @property
    def accepts(self) -> bool:
        """By default, Batch accepts a call whose reply is only slow, lost or cut."""
        if self.accept is not None:
            return self.accept
        if self.reset:
            return False
        return self.status is None or 200 <= self.status < 300

    def meets(self, call: Call) -> bool:
        return (
            (self.app is None or self.app in (call.app, call.address.app_key))
            and (self.route is None or self.route == call.address.route)
            and (self.group_id is None or self.group_id == call.group_id)
        )

    def reply(self, otherwise: Reply) -> Reply:
        reply = otherwise if self.status is None else reply_for_status(self.status, otherwise)
        body = reply.body if self.body is None else self.body
        return Reply(reply.status, body, self.headers or {})


def _are_headers(value: Any) -> bool:
    return isinstance(value, dict) and all(
        re.fullmatch(r"[A-Za-z0-9-]+", name)
        and isinstance(text, str)
        and re.fullmatch(r"[\x20-\x7e]*", text)
        for name, text in value.items()
    )


def _is_route(value: Any) -> bool:
    return isinstance(value, str) and value in ROUTES


KNOWN = {
    "app": faults.TEXT,
    "route": faults.Field(f"one of {', '.join(ROUTES)}", _is_route),
    "group_id": faults.TEXT,
    "times": faults.TIMES,
    "status": faults.STATUS,
    "body": faults.Field("a string or an object", lambda v: isinstance(v, str | dict)),
    "headers": faults.Field("an object of plain strings", _are_headers),
    "delay": faults.SECONDS,
    "reset": faults.SWITCH,
    "cut": faults.SWITCH,
    "hang": faults.SWITCH,
    "drip": faults.SECONDS,
    "accept": faults.SWITCH,
}

HAPPENINGS = ("status", "body", "headers", "delay", "reset", "cut", "hang", "drip")


def read_faults(data: Any) -> list[Fault]:
    """Raises BadFault."""
    read = faults.read_faults(Fault, KNOWN, HAPPENINGS, data)
    for fault in read:
        if sum((fault.reset, fault.hang, fault.cut)) > 1:
            raise faults.BadFault("`reset`, `hang` and `cut` exclude each other")
    return read


# --- carrying them out


def reset(request: web.Request) -> web.StreamResponse:
    """End the connection with a TCP RST, which closing a socket with a linger of 0 s sends."""
    assert request.transport is not None
    connection = request.transport.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return hang_up(request)


def hang_up(request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def send_in_part(
    request: web.Request, reply: Reply, cut: bool, drip: float
) -> web.StreamResponse:
    """Announce the whole body, but send only half of it, or all of it byte by byte."""
    payload = reply.payload()
    response = web.StreamResponse(status=reply.status, headers=reply.all_headers())
    response.content_length = len(payload)
    await response.prepare(request)
    sent = payload[: len(payload) // 2] if cut else payload
    step = 1 if drip else max(len(sent), 1)
    for start in range(0, len(sent), step):
        await asyncio.sleep(drip)
        await response.write(sent[start : start + step])
    if cut and request.transport is not None:
        request.transport.close()
    return response
