"""When: one function per event, each naming its handler.

If an event also has a path in the Realtime Database (`database`), a second function is deployed for
it: `new_message_rtdb` next to `new_message`. The Firebase CLI imports this file to discover the
functions, so the import opens no connection and reads no secret.
"""

from collections.abc import Mapping
from typing import Any

from batchpush import (
    CallableRequest,
    Change,
    announce,
    deliver,
    deliver_call,
    on_call,
    on_document_created,
    on_document_untouched,
    on_document_updated,
    on_document_written,
    on_schedule,
    on_task_dispatched,
    publish,
    pull_results,
    send_delivery_chunk,
    send_waiting_delivery,
    sweep_campaigns,
    sweep_deliveries,
)
from handlers import (
    app_to_app,
    articles,
    campaigns,
    carts,
    credit_limits,
    flights,
    friend_requests,
    game_turns,
    messages,
    orders,
    trains,
)
from handlers import (
    outbox as pushes,
)


@on_document_created(
    "conversations/{conversation_id}/messages/{message_id}",
    database="messages/{conversation_id}/{message_id}",
)
async def new_message(change: Change) -> None:
    await deliver(change, messages.new_message)


@on_document_updated(
    "conversations/{conversation_id}/messages/{message_id}",
    database="messages/{conversation_id}/{message_id}",
)
async def message_unread(change: Change) -> None:
    await deliver(change, messages.message_unread)


@on_document_created(
    "users/{user_id}/friend_requests/{sender_id}",
    database="friend_requests/{user_id}/{sender_id}",
)
async def friend_request(change: Change) -> None:
    await deliver(change, friend_requests.friend_request)


@on_document_written("accounts/{user_id}", database="accounts/{user_id}")
async def credit_limit(change: Change) -> None:
    await deliver(change, credit_limits.credit_limit)


@on_document_written("games/{game_id}", database="games/{game_id}")
async def game_turn(change: Change) -> None:
    await deliver(change, game_turns.game_turn)


@on_document_written("orders/{order_id}", database="orders/{order_id}")
async def order_delivered(change: Change) -> None:
    await deliver(change, orders.order_delivered)


@on_document_written("flights/{flight_id}", database="flights/{flight_id}")
async def flight_delayed(change: Change) -> None:
    await deliver(change, flights.flight_delayed)


@on_document_written("trains/{train_id}", database="trains/{train_id}")
async def train_cancelled(change: Change) -> None:
    await deliver(change, trains.train_cancelled)


@on_document_created("pushes/{push_id}", database="pushes/{push_id}")
async def outbox(change: Change) -> None:
    await deliver(change, pushes.outbox, report_to="delivery/state")


@on_document_untouched("carts/{user_id}", carts.UNTOUCHED_FOR, look="every 15 minutes")
async def abandoned_cart(change: Change) -> None:
    await deliver(change, carts.abandoned_cart)


@on_document_written("campaigns/{campaign_id}")
async def campaign(change: Change) -> None:
    await publish(change, campaigns.campaign)


@on_document_written("articles/{article_id}")
async def article(change: Change) -> None:
    await announce(change, articles.is_published, articles.breaking_news)


@on_call
async def notify(call: CallableRequest) -> None:
    await deliver_call(call, app_to_app.notify, limits=app_to_app.limits(call))


# A Cloud Tasks queue is named after its function, and its name cannot have an underscore.


@on_task_dispatched
async def sendchunk(data: Mapping[str, Any]) -> None:
    await send_delivery_chunk(data)


@on_task_dispatched
async def sendlater(data: Mapping[str, Any]) -> None:
    await send_waiting_delivery(data)


@on_schedule("every 60 minutes")
async def pull_stats() -> None:
    await pull_results()


@on_schedule("every 10 minutes")
async def sweep() -> None:
    await sweep_deliveries()


@on_schedule("every 10 minutes")
async def campaign_sweep() -> None:
    await sweep_campaigns(campaigns.campaign)
