"""When: one function per watched path, each naming its handler.

The Firebase CLI reads this file to learn which functions there are; importing it opens no
connection and reads no secret.
"""

from collections.abc import Mapping
from typing import Any

from batchpush import (
    Call,
    Change,
    announce,
    callable_function,
    deliver,
    deliver_call,
    document_created,
    document_untouched,
    document_updated,
    document_written,
    every,
    publish,
    pull_results,
    send_delivery_chunk,
    send_waiting_delivery,
    sweep_campaigns,
    sweep_deliveries,
    task,
    value_created,
    value_updated,
    value_written,
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


@document_created("conversations/{conversation_id}/messages/{message_id}")
async def new_message(change: Change) -> None:
    await deliver(change, messages.new_message)


@value_created("messages/{conversation_id}/{message_id}")
async def new_message_rtdb(change: Change) -> None:
    await deliver(change, messages.new_message)


@document_updated("conversations/{conversation_id}/messages/{message_id}")
async def message_unread(change: Change) -> None:
    await deliver(change, messages.message_unread)


@value_updated("messages/{conversation_id}/{message_id}")
async def message_unread_rtdb(change: Change) -> None:
    await deliver(change, messages.message_unread)


@document_created("users/{user_id}/friend_requests/{sender_id}")
async def friend_request(change: Change) -> None:
    await deliver(change, friend_requests.friend_request)


@value_created("friend_requests/{user_id}/{sender_id}")
async def friend_request_rtdb(change: Change) -> None:
    await deliver(change, friend_requests.friend_request)


@document_written("accounts/{user_id}")
async def credit_limit(change: Change) -> None:
    await deliver(change, credit_limits.credit_limit)


@value_written("accounts/{user_id}")
async def credit_limit_rtdb(change: Change) -> None:
    await deliver(change, credit_limits.credit_limit)


@document_written("games/{game_id}")
async def game_turn(change: Change) -> None:
    await deliver(change, game_turns.game_turn)


@value_written("games/{game_id}")
async def game_turn_rtdb(change: Change) -> None:
    await deliver(change, game_turns.game_turn)


@document_written("orders/{order_id}")
async def order_delivered(change: Change) -> None:
    await deliver(change, orders.order_delivered)


@value_written("orders/{order_id}")
async def order_delivered_rtdb(change: Change) -> None:
    await deliver(change, orders.order_delivered)


@document_written("flights/{flight_id}")
async def flight_delayed(change: Change) -> None:
    await deliver(change, flights.flight_delayed)


@value_written("flights/{flight_id}")
async def flight_delayed_rtdb(change: Change) -> None:
    await deliver(change, flights.flight_delayed)


@document_written("trains/{train_id}")
async def train_cancelled(change: Change) -> None:
    await deliver(change, trains.train_cancelled)


@value_written("trains/{train_id}")
async def train_cancelled_rtdb(change: Change) -> None:
    await deliver(change, trains.train_cancelled)


@document_created("pushes/{push_id}")
async def outbox(change: Change) -> None:
    await deliver(change, pushes.outbox, report_to="delivery/state")


@value_created("pushes/{push_id}")
async def outbox_rtdb(change: Change) -> None:
    await deliver(change, pushes.outbox, report_to="delivery/state")


@document_untouched("carts/{user_id}", carts.UNTOUCHED_FOR, look="every 15 minutes")
async def abandoned_cart(change: Change) -> None:
    await deliver(change, carts.abandoned_cart)


@document_written("campaigns/{campaign_id}")
async def campaign(change: Change) -> None:
    await publish(change, campaigns.campaign)


@document_written("articles/{article_id}")
async def article(change: Change) -> None:
    await announce(change, articles.is_published, articles.breaking_news)


@callable_function
async def notify(call: Call) -> None:
    await deliver_call(call, app_to_app.notify, limits=app_to_app.limits(call))


@task  # a queue of Cloud Tasks has its function's name, in which it takes no underscore
async def sendchunk(data: Mapping[str, Any]) -> None:
    await send_delivery_chunk(data)


@task
async def sendlater(data: Mapping[str, Any]) -> None:
    await send_waiting_delivery(data)


@every("every 60 minutes")
async def pull_stats() -> None:
    await pull_results()


@every("every 10 minutes")
async def sweep() -> None:
    await sweep_deliveries()


@every("every 10 minutes")
async def campaign_sweep() -> None:
    await sweep_campaigns(campaigns.campaign)
