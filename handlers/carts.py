"""Abandoned carts.

A cart has `updated_at`, set by the database when the cart is touched, and a list of `items`.
"""

from datetime import timedelta

from batchpush import Change, CollapseKey, LookUp, NoPush, Push, settings
from handlers.fields import moment
from handlers.links import deeplink
from handlers.people import people, recipients
from handlers.texts import say

UNTOUCHED_FOR = timedelta(hours=settings().cart_hours)


async def abandoned_cart(cart: Change, look_up: LookUp) -> Push | NoPush | None:
    """Reminds the owner of items in their cart that they have not ordered."""
    touched = moment(cart.document, "updated_at")
    is_left_alone = touched is not None and touched + UNTOUCHED_FOR <= cart.time
    if not is_left_alone or not cart.document.get("items"):
        return None
    user_id = cart.params["user_id"]
    (owner,) = await people(look_up, user_id)
    if why := owner.why_not_told("abandoned_cart"):
        return NoPush({why: [user_id]})
    return Push(
        group_id="abandoned_cart",
        recipients=recipients([owner], "abandoned_cart"),
        message=say("abandoned_cart", owner.language),
        deeplink=deeplink("cart"),
        gcm_collapse_key=CollapseKey("cart"),
        state=user_id,
        fresh_for=timedelta(hours=6),
    )
