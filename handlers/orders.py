"""Orders.

An order has a `status` and a `customer_id`; it may have a `number` that people know it by,
`delivered_at`, and a `time_zone` for customers whose own is unknown. A delivery long ago causes no
push.
"""

from datetime import UTC, timedelta

from batchpush import Change, CollapseKey, LookUp, NoPush, Push
from handlers.fields import is_history, label, moment, status, time_zone
from handlers.formats import when
from handlers.links import deeplink
from handlers.people import people, recipients
from handlers.texts import say


async def order_delivered(order: Change, look_up: LookUp) -> Push | NoPush | None:
    """Tells a customer that their order has arrived, whatever they muted."""
    if not order.became(lambda document: status(document) == "delivered"):
        return None
    document, order_id = order.document, order.params["order_id"]
    customer_id = document.id("customer_id")
    number = label(document, "number") or order_id
    delivered_at = moment(document, "delivered_at")
    if is_history(order, delivered_at):
        return None
    zone = time_zone(document, "time_zone") or UTC
    (customer,) = await people(look_up, customer_id)
    if why := customer.why_not_told("order_delivered"):
        return NoPush({why: [customer_id]})
    if delivered_at:
        at = when(delivered_at, customer.zone or zone, customer.language)
        message = say("order_delivered_at", customer.language, number=number, **at)
    else:
        message = say("order_delivered", customer.language, number=number)
    return Push(
        group_id="order_delivered",
        recipients=recipients([customer], "order_delivered", at_any_hour=True),
        message=message,
        deeplink=deeplink("orders", order_id),
        gcm_collapse_key=CollapseKey(f"order-{order_id}"),
        priority="high",
        fresh_for=timedelta(hours=6),
    )
