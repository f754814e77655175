"""The console on a project in memory, on a real port, for its tests."""

import asyncio
import socket
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
import uvicorn

from batchpush.campaigns.state import CampaignState, Publication
from batchpush.campaigns.store import _to_document
from batchpush.cli.console.server import create_app
from batchpush.delivery.record import CallRecord, DeliveryState, Record
from batchpush.worker import Worker
from handlers import messages
from tests.deliveries import claimed
from tests.house import NIGHT, House

TOKEN = "the-token"
REST_KEY = "0123456789abcdef0123456789abcdef"  # as a project in memory has it
MESSAGE = "conversations/{conversation_id}/messages/{message_id}"
BODY = '{"group_id":"g","recipients":{"custom_ids":["bob"]},"message":{"body":"Hello"}}'

Result = TypeVar("Result")


def client(made: Worker, token: str = TOKEN, host: str = "127.0.0.1:4013") -> httpx.AsyncClient:
    """What the page asks with."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(create_app(made, TOKEN), raise_app_exceptions=False),
        base_url=f"http://{host}",
        headers={"authorization": f"Bearer {token}"},
    )


async def conversation(house: House, said: int = 1) -> None:
    """Ann writes to Bob, to Eve, who sleeps, and to Tom, who muted it."""
    for each in ("ann", "bob", "eve", "tom"):
        await house.stores(f"users/{each}", {"quiet_hours": NIGHT} if each == "eve" else {})
    everybody = {"member_ids": ["ann", "bob", "eve", "tom"], "muted_by": ["tom"]}
    await house.stores("conversations/c1", everybody)
    for number in range(said):
        await house.happens(
            messages.new_message,
            MESSAGE,
            {"sender_id": "ann", "text": "Hello"},
            conversation_id="c1",
            message_id=f"m{number}",
        )
        house.clock.forward(61)


async def record(house: House, state: DeliveryState, *calls: CallRecord, **fields: Any) -> Record:
    """A record that is stored, a second after the one before."""
    now = house.clock.now()
    house.clock.forward(1)
    about = {"day": now.date().isoformat(), "document": "orders/o1", "bodies": (BODY,) * any(calls)}
    stored = claimed(now=now, state=state, calls=calls, **about | fields)
    await house.worker.ledger.claim(stored)
    return stored


def campaign(house: House, name: str, **apps: CampaignState) -> None:
    house.hold(f"campaigns/{name}", {"name": f"The {name}"})
    for app, state in apps.items():
        error = "targeting: unknown segment" if state is CampaignState.REFUSED else None
        publication = Publication(state=state, error=error, updated_at=house.clock.now())
        house.hold(f"campaigns/{name}/batch/{app}", _to_document(publication))


@dataclass
class Running:
    """A console that serves; `run` does work on its loop."""

    house: House
    address: str
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"{self.address}/#token={TOKEN}"

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)


@contextmanager
def running(house: House) -> Iterator[Running]:
    loop, listening = asyncio.new_event_loop(), socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(create_app(house.worker, TOKEN), lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve([listening])))
    thread.start()
    try:
        yield Running(house, f"http://127.0.0.1:{listening.getsockname()[1]}", loop)
    finally:
        server.should_exit = True
        thread.join(60)
        loop.close()
        listening.close()
