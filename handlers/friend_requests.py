"""Friend requests."""

from batchpush import Change, CollapseKey, LookUp, NoPush, Push
from handlers import limits
from handlers.links import deeplink
from handlers.people import people, recipients
from handlers.texts import say


async def friend_request(request: Change, look_up: LookUp) -> Push | NoPush | None:
    """Tells a user about a pending friend request."""
    if request.document.string("status", default="pending") != "pending":
        return None
    user_id, sender_id = request.params["user_id"], request.params["sender_id"]
    user, sender = await people(look_up, user_id, sender_id)
    if why := user.why_not_told("friend_request"):
        return NoPush({why: [user_id]})
    key = "friend_request" if sender.name else "friend_request_unnamed"
    return Push(
        group_id="friend_request",
        recipients=recipients([user], "friend_request"),
        message=say(key, user.language, sender=sender.name or ""),
        deeplink=deeplink("friend_requests", sender_id),
        gcm_collapse_key=CollapseKey(f"friend-request-{sender_id}"),
        state=f"{user_id} {sender_id}",
        sender=sender_id,
        limits=limits.of_requests(sender_id),
    )
