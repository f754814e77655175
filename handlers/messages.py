"""Chat messages.

A message has a `sender_id`, and a `text` or an `image_url`; it may have `recipient_ids`, and
`unread_message`.
"""

from batchpush import Change, CollapseKey, Document, LookUp, Media, Message, Push
from handlers.fields import flag
from handlers.links import deeplink
from handlers.people import Person, in_their_words, people, person, person_ids, recipients
from handlers.texts import say


async def new_message(message: Change, look_up: LookUp) -> Push | None:
    """A chat message, to everybody else in its conversation."""
    return await _push("new_message", message, look_up)


async def message_unread(message: Change, look_up: LookUp) -> Push | None:
    """A message that is marked as unread later on, to the same people."""
    is_marked = message.became(lambda document: flag(document, "unread_message"))
    if not is_marked or message.before is None:
        return None
    return await _push("message_unread", message, look_up)


async def _push(kind: str, message: Change, look_up: LookUp) -> Push | None:
    document = message.document
    sender_id = document.id("sender_id")
    text = document.string("text", default="").strip()
    image_url = document.string("image_url", default="")
    if not text and not image_url:
        raise document.invalid("text", "is missing, and so is image_url")

    conversation_id = message.params["conversation_id"]
    conversation, profile = await look_up.many(
        f"conversations/{conversation_id}", f"users/{sender_id}"
    )
    others = [
        user_id
        for user_id in _recipient_ids(document, conversation)
        if user_id not in {sender_id, *_muted_by(conversation)}
    ]
    told = [one for one in await people(look_up, *others) if not one.is_muted]
    if not told:
        return None

    sender = person(sender_id, profile).name

    def words(reader: Person) -> Message:
        key = f"{kind}{'' if text else '_picture'}{'' if sender else '_unnamed'}"
        return say(key, reader.language, sender=sender or "", text=text)

    return Push(
        group_id=kind,
        recipients=recipients(told),
        message=in_their_words(told, words),
        deeplink=deeplink("conversations", conversation_id),
        media=Media(picture=image_url) if image_url else None,
        gcm_collapse_key=CollapseKey(f"conversation-{conversation_id}"),
    )


def _recipient_ids(message: Document, conversation: Document | None) -> tuple[str, ...]:
    recipient_ids = person_ids(message, "recipient_ids")
    if recipient_ids is not None:
        return recipient_ids
    if conversation is None:
        raise message.invalid("recipient_ids", "is missing, and there is no such conversation")
    member_ids = person_ids(conversation, "member_ids")
    if member_ids is None:
        raise conversation.invalid("member_ids", "is missing")
    return member_ids


def _muted_by(conversation: Document | None) -> tuple[str, ...]:
    return (conversation.ids("muted_by") if conversation else None) or ()
