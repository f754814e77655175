"""Chat messages."""

from collections.abc import Mapping, Sequence

from batchpush import Change, CollapseKey, Document, LookUp, Media, Message, Push, Recipients
from handlers.links import deeplink
from handlers.people import display_name, in_their_languages
from handlers.texts import BODY, TITLE, shorten, texts


async def new_message(message: Change, look_up: LookUp) -> Push | None:
    """A chat message, to everybody else in its conversation.

    The message has a `sender_id`, and a `text` or an `image_url`; it may have `recipient_ids`.
    """
    document = message.document
    sender_id = document.id("sender_id")
    text = document.string("text", default="").strip()
    image_url = document.string("image_url", default="")
    if not text and not image_url:
        raise document.invalid("text", "is missing, and so is image_url")

    conversation_id = message.params["conversation_id"]
    conversation, sender = await look_up.many(
        f"conversations/{conversation_id}", f"users/{sender_id}"
    )
    member_ids = _recipient_ids(document, conversation)
    muted_by = (conversation.ids("muted_by") if conversation else None) or ()
    recipient_ids = [user_id for user_id in member_ids if user_id not in {sender_id, *muted_by}]
    if not recipient_ids:
        return None

    words = _words(display_name(sender), text)
    return Push(
        group_id="new_message",
        recipients=await _recipients(recipient_ids, words, look_up),
        message=words,
        deeplink=deeplink("conversations", conversation_id),
        media=Media(picture=image_url) if image_url else None,
        gcm_collapse_key=CollapseKey(f"conversation-{conversation_id}"),
    )


def _recipient_ids(message: Document, conversation: Document | None) -> tuple[str, ...]:
    recipient_ids = message.ids("recipient_ids")
    if recipient_ids is not None:
        return recipient_ids
    if conversation is None:
        raise message.invalid("recipient_ids", "is missing, and there is no such conversation")
    member_ids = conversation.ids("member_ids")
    if member_ids is None:
        raise conversation.invalid("member_ids", "is missing")
    return member_ids


def _words(sender: str | None, text: str) -> Message | Mapping[str, Message]:
    """The sender's own words where there are enough of them, else ours in every language."""
    if sender and text:
        return Message(title=shorten(sender, TITLE), body=shorten(text, BODY))
    if sender:
        return texts("new_picture", sender=sender)
    if text:
        return texts("new_message_unnamed", text=text)
    return texts("new_picture_unnamed")


async def _recipients(
    user_ids: Sequence[str], words: Message | Mapping[str, Message], look_up: LookUp
) -> Recipients | Sequence[Recipients]:
    """The recipients; their languages are looked up only when it makes a difference."""
    if isinstance(words, Message):
        return Recipients(custom_ids=user_ids)
    users = await look_up.many(*(f"users/{user_id}" for user_id in user_ids))
    return in_their_languages(dict(zip(user_ids, users, strict=True)))
