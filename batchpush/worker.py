"""The objects of one worker, made on first use, and what `main.py` asks of them.

Nothing is made at import: a gRPC channel made before the server forks its worker can hang for ever.
"""

import functools
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date
from typing import Any

from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.requests import Caller
from batchpush.campaigns.articles import ArticleHandler, Condition, Newsroom
from batchpush.campaigns.reconcile import CampaignHandler, Publisher
from batchpush.campaigns.stats import Pull, Results
from batchpush.campaigns.store import Publications
from batchpush.delivery.call_limits import CallLimits
from batchpush.delivery.deliverer import Deliverer, PushHandler
from batchpush.delivery.ledger import Ledger
from batchpush.delivery.resume import wake
from batchpush.environment import settings
from batchpush.errors import MalformedEvent
from batchpush.events.callables import CallableRequest, CallRefused
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp, look_up_for
from batchpush.google.clients import firestore, firestore_client
from batchpush.google.cloud_tasks import Tasks
from batchpush.pushes.limits import Limit
from batchpush.pushes.push import Push
from batchpush.sealed import leaving
from batchpush.timing import Timing

Deliver = Callable[[Change, PushHandler, str | None], Awaitable[None]]
CallableHandler = Callable[[CallableRequest, LookUp], Awaitable[Push | None]]


# Deliveries


async def deliver(change: Change, handler: PushHandler, report_to: str | None = None) -> None:
    """Ask the handler for a push, and send it once.

    The outcome is written to `report_to`, a path below the document's, if there is one. Raises
    `TryAgainLater` when the event is to be redelivered. Whatever else happens is in the delivery
    record.
    """
    if instead := _instead.get():
        await instead(change, handler, report_to)
        return
    made = deliverer()
    made.client.warm_up()
    await made.deliver(change, handler, report_to)


_instead: ContextVar[Deliver | None] = ContextVar("instead", default=None)


@contextmanager
def delivering_by(instead: Deliver) -> Iterator[None]:
    """Inside, `deliver` does this instead: a preview sends nothing."""
    token = _instead.set(instead)
    try:
        yield
    finally:
        _instead.reset(token)


async def deliver_call(
    request: CallableRequest, handler: CallableHandler, limits: Sequence[Limit]
) -> None:
    """Ask the handler for a push, and send it once per `request_id`.

    What is on record is not judged again: the app gets the answer that it may have lost, and
    what is unfinished is finished. Raises `CallRefused` or `TryAgainLater`.
    """
    try:
        await call_limits().count(limits, request.time)
        push = await handler(request, look_up_for(request.change))
    except CallRefused:
        entry = await deliverer().ledger.read(request.change.delivery_id)
        if entry is None:
            raise
        await deliverer().resume(entry)
    else:
        await deliver(request.change, lambda change, look_up: _at_once(push))


async def _at_once(push: Push | None) -> Push | None:
    return push


async def sweep_deliveries() -> None:
    """Finish what the platform gave up on; see `Deliverer.sweep`."""
    await deliverer().sweep()


async def send_delivery_chunk(data: Mapping[str, Any]) -> None:
    """One chunk of a large audience: `{"delivery": ID, "chunk": ID}`."""
    delivery, chunk = data.get("delivery"), data.get("chunk")
    if not isinstance(delivery, str) or not isinstance(chunk, str):
        raise MalformedEvent("the task names no chunk")
    await deliverer().send_chunk(delivery, chunk)


async def send_waiting_delivery(data: Mapping[str, Any]) -> None:
    """One delivery that waits: `{"delivery": ID}`. Raises `TryAgainLater`."""
    delivery = data.get("delivery")
    if not isinstance(delivery, str):
        raise MalformedEvent("the task names no delivery")
    await wake(deliverer(), delivery)


# Campaigns


async def publish(change: Change, handler: CampaignHandler) -> None:
    """Have the campaign in every app as its document says now.

    Raises `TryAgainLater` when the event is to be redelivered. Whatever else happens is in the
    state document of each app.
    """
    leaving("publishes a campaign")
    await publisher().publish(change.path, handler)


async def sweep_campaigns(handler: CampaignHandler) -> None:
    """Finish what the platform gave up on."""
    await publisher().sweep(handler)


async def announce(change: Change, is_published: Condition, handler: ArticleHandler) -> None:
    """Make a campaign of an article that becomes published; stop it when that is taken back.

    `handler` gives the fields of the campaign's document. Raises `TryAgainLater` when the event
    is to be redelivered.
    """
    leaving("makes a campaign of an article")
    await newsroom().announce(change, is_published, handler)


async def pull_results() -> None:
    """Ask Batch for the results that can still change."""
    await new_pull().run()


# The objects


@functools.cache
def client() -> BatchClient:
    """Batch's client, shared by all that calls it."""
    leaving("sends pushes")
    return BatchClient(settings(), Timing())


@functools.cache
def caller() -> Caller:
    """Shared by campaigns and their results."""
    return deliverer().caller


@functools.cache
def deliverer() -> Deliverer:
    chosen, batch = settings(), client()
    ledger = Ledger(lambda: firestore(chosen.database), chosen.deliveries_collection)
    return Deliverer(ledger, batch, Tasks(chosen), chosen)


@functools.cache
def call_limits() -> CallLimits:
    return CallLimits(lambda: firestore(settings().database))


@functools.cache
def publisher() -> Publisher:
    publications = Publications(lambda: firestore_client(settings().database))
    return Publisher(publications, caller(), settings())


@functools.cache
def newsroom() -> Newsroom:
    return Newsroom(lambda: firestore_client(settings().database), settings())


def new_pull(since: date | None = None) -> Pull:
    """One look for results; `since` is for a person who wants all from a day on."""
    chosen = settings()

    def database() -> Any:
        return firestore_client(chosen.database)

    results = Results(database, chosen.deliveries_collection)
    return Pull(results, Publications(database), caller(), chosen, since)
