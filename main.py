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
    check_texts,
    deliver,
    deliver_again,
    deliver_call,
    forget,
    mirror,
    mirror_page,
    on_call,
    on_document_created,
    on_document_deleted,
    on_document_untouched,
    on_document_updated,
    on_document_written,
    on_schedule,
    on_task_dispatched,
    only_with,
    publish,
    pull_results,
    send_delivery_chunk,
    send_digests,
    send_waiting_delivery,
    sweep_campaigns,
    sweep_deliveries,
    sweep_profiles,
    sweep_receipts,
)
from handlers import (
    app_to_app,
    articles,
    attributes,
    campaigns,
    carts,
    credit_limits,
    flights,
    friend_requests,
    game_turns,
    messages,
    offers,
    orders,
    people,
    texts,
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


@on_document_written("pushes/{push_id}", database="pushes/{push_id}")
async def outbox_changed(change: Change) -> None:
    if pushes.is_scheduled_anew(change):
        await deliver_again(change, "outbox")


@on_document_untouched("carts/{user_id}", carts.UNTOUCHED_FOR, look="every 15 minutes")
async def abandoned_cart(change: Change) -> None:
    await deliver(change, carts.abandoned_cart)


@on_document_written("campaigns/{campaign_id}")
async def campaign(change: Change) -> None:
    await publish(change, campaigns.campaign)


@on_document_written("articles/{article_id}")
async def article(change: Change) -> None:
    if not articles.is_archived(change):
        await announce(change, articles.is_announced, articles.breaking_news)


@on_document_written("articles/{article_id}")
async def article_followers(change: Change) -> None:
    await deliver(change, articles.to_followers)


@on_document_written("offers/{offer_id}")
async def subscription_offer(change: Change) -> None:
    if not offers.is_archived(change):
        await announce(change, offers.is_open, offers.subscription_offer)


@on_document_written("push_texts/{language}")
async def push_texts(change: Change) -> None:
    await check_texts(change, texts.in_other_words)


@only_with("mirror_profiles")
@on_document_written("users/{user_id}", database="users/{user_id}")
async def profile(change: Change) -> None:
    await mirror(change, attributes.profile)


@only_with("forget_deleted_users")
@on_document_deleted("users/{user_id}", database="users/{user_id}")
async def account_deleted(change: Change) -> None:
    await forget(change, people.custom_ids)


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


@only_with("mirror_profiles")
@on_task_dispatched
async def syncprofiles(data: Mapping[str, Any]) -> None:
    await mirror_page(data, attributes.profile)


@on_schedule("every 15 minutes")
async def digests() -> None:
    await send_digests()


@on_schedule("every 60 minutes")
async def pull_stats() -> None:
    await pull_results()


@on_schedule("every 10 minutes")
async def sweep() -> None:
    await sweep_deliveries()


@on_schedule("every 10 minutes")
async def campaign_sweep() -> None:
    await sweep_campaigns(campaigns.campaign)


@only_with("mirror_profiles")
@on_schedule("every 10 minutes")
async def profile_sweep() -> None:
    await sweep_profiles(attributes.profile)


@only_with("forget_deleted_users")
@on_schedule("every 60 minutes")
async def receipt_sweep() -> None:
    await sweep_receipts()
