"""Friend requests."""

from batchpush import Change, CollapseKey, LookUp, Push
from handlers.links import deeplink
from handlers.people import display_name, in_their_languages
from handlers.texts import texts


async def friend_request(request: Change, look_up: LookUp) -> Push | None:
    """A request that waits for an answer, to the one who is asked."""
    if request.document.string("status", default="pending") != "pending":
        return None
    user_id, sender_id = request.params["user_id"], request.params["sender_id"]
    user, sender = await look_up.many(f"users/{user_id}", f"users/{sender_id}")
    name = display_name(sender)
    return Push(
        group_id="friend_request",
        recipients=in_their_languages({user_id: user}),
        message=texts("friend_request", sender=name) if name else texts("friend_request_unnamed"),
        deeplink=deeplink("friend_requests", sender_id),
        gcm_collapse_key=CollapseKey(f"friend-request-{sender_id}"),
    )
