"""The delivery of one push: what the handler says, sent to every app."""

import asyncio
import functools
from collections.abc import Awaitable, Callable

from batchpush.change import Change
from batchpush.client import BatchClient
from batchpush.errors import DeliveryUnfinished
from batchpush.logs import log
from batchpush.lookup import LookUp, look_up_for
from batchpush.outcome import Outcome, Reply, outcome_of
from batchpush.push import Call, Push
from batchpush.settings import settings

Handler = Callable[[Change, LookUp], Awaitable[Push | None]]


async def deliver(change: Change, handler: Handler) -> None:
    """Ask the handler for a push and send its calls, all at once.

    Raises `TryAgainLater` when the event is to come again, `InvalidDocument` or `InvalidPush`
    when it never can become a push.
    """
    push = await handler(change, look_up_for(change))
    if push is None:
        return
    calls = push.calls(tuple(settings().batch_apps))
    outcomes = await asyncio.gather(*(_send(call) for call in calls))
    unfinished = {Outcome.NOT_SENT, Outcome.UNKNOWN} & set(outcomes)
    if unfinished:
        raise DeliveryUnfinished(f"{len(calls)} calls: {', '.join(o.value for o in outcomes)}")


async def _send(call: Call) -> Outcome:
    reply = await _client().send(call)
    outcome = outcome_of(reply)
    log(
        "INFO" if outcome is Outcome.ACCEPTED else "ERROR",
        f"push.{outcome.value.replace(' ', '_')}",
        app=call.app,
        data={"chunk": call.chunk} | _reply_fields(reply),
    )
    return outcome


def _reply_fields(reply: Reply) -> dict[str, object]:
    if reply.status == 201:
        return {}
    return {"status": reply.status, "problem": reply.problem, "reply": reply.error()}


@functools.cache
def _client() -> BatchClient:
    return BatchClient(settings())
