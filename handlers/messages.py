"""Chat messages.

A message has a `sender_id`, and a `text` or an `image_url`; it may have `recipient_ids`. In
`unread_by`, `{user_id: true}` means that the user marked it as unread, and `false` that they have
read it. `unread_message` does the same for everyone and is for back ends: anyone who may write it
can push to all recipients in the sender's name. A message whose `sent_at` (or else `created_at`) is
long ago causes no push.

Apps write `recipient_ids` and `member_ids`. An id without a profile that belongs to a user at Batch
reaches nobody: that user may have muted these pushes.
"""

from collections.abc import Set
from dataclasses import replace
from datetime import datetime, timedelta

from batchpush import (
    Change,
    CollapseKey,
    Database,
    Document,
    Limit,
    LookUp,
    Media,
    Message,
    NoPush,
    Push,
    is_blank,
)
from handlers import limits
from handlers.fields import flag, is_history, moment, understood
from handlers.links import deeplink
from handlers.people import (
    MUTED_CONVERSATION,
    NOT_A_USER,
    Person,
    in_their_words,
    marked,
    people,
    people_named,
    person,
    person_ids,
    reasons,
    recipients,
    users_only,
    who_is_told,
)
from handlers.texts import Count, say

FRESH_FOR = timedelta(hours=1)


async def new_message(message: Change, look_up: LookUp) -> Push | NoPush | None:
    """Sends a chat message to everyone else in its conversation.

    Messages that waited together become one push, without those read in the meantime.
    """
    if message.late is None and is_history(message, _sent_at(message.document), FRESH_FOR):
        return None
    return await _push(message, look_up, group_id="new_message")


async def message_unread(message: Change, look_up: LookUp) -> Push | NoPush | None:
    """Reminds people of a message that they marked as unread.

    If a back end marked it, the reminder goes to all recipients of the message. Each recipient gets
    at most one a day per message.
    """
    if message.after is None or (message.before is None and not message.late):
        return None
    if message.became(lambda document: flag(document, "unread_message")):
        push = await _push(message, look_up, group_id="message_unread")
        once = Limit((message.path,), 1, seconds=limits.DAY)
        return replace(push, limits=[once]) if isinstance(push, Push) else push
    marked_by = _marks(message.after, True) - _marks(message.before, True)
    if not marked_by:
        return None
    push = await _push(message, look_up, group_id="message_unread", only=marked_by)
    one_by_one = [Limit((message.path,), 1, seconds=limits.DAY, each=True)]
    return replace(push, limits=one_by_one) if isinstance(push, Push) else push


async def _push(
    message: Change, look_up: LookUp, *, group_id: str, only: Set[str] | None = None
) -> Push | NoPush | None:
    """The push about the messages; `only` restricts it to these users."""
    conversation_id = message.params["conversation_id"]
    documents = [each for each in message.documents if not (message.late and _is_read(each))]
    if not documents:
        return None
    documents = [_with_plain_sender(document) for document in documents]
    says = {document.path: _what_it_says(document) for document in documents}
    sender_ids = list(dict.fromkeys(document.id("sender_id") for document in documents))
    conversation, *profiles = await look_up.many(
        f"conversations/{conversation_id}", *(f"users/{sender_id}" for sender_id in sender_ids)
    )
    senders = zip(sender_ids, profiles, strict=True)
    names = {sender_id: person(sender_id, profile).name for sender_id, profile in senders}

    muted_by = people_named(conversation, "muted_by") if conversation else frozenset()
    told_of: dict[str, list[Document]] = {}
    for document in documents:
        untold = {document["sender_id"]}
        if message.late:
            untold |= _marks(document, False) | message.late.read_by.get(document.path, frozenset())
        for user_id in _recipient_ids(document, conversation, message.database):
            if user_id not in untold and (only is None or user_id in only):
                told_of.setdefault(user_id, []).append(document)
    asked = await people(look_up, *(user_id for user_id in told_of if user_id not in muted_by))
    users = await users_only(look_up, asked)
    willing, unwilling = who_is_told(group_id, users)
    told = [replace(one, told_of=told_of[one.user_id]) for one in willing]
    left_out = reasons(
        {
            MUTED_CONVERSATION: [user_id for user_id in told_of if user_id in muted_by],
            NOT_A_USER: {one.user_id for one in asked} - {one.user_id for one in users},
            **unwilling,
        }
    )
    if not told:
        return NoPush(left_out) if left_out else None

    def words(reader: Person) -> Message:
        wrote = {names[document["sender_id"]] for document in reader.told_of}
        sender = (wrote.pop() if len(wrote) == 1 else None) or ""
        unnamed = "" if sender else "_unnamed"
        if len(reader.told_of) > 1:
            omitted = message.late.omitted if message.late else 0
            count = Count(len(reader.told_of), or_more=omitted > 0)
            return say(f"new_messages{unnamed}", reader.language, sender=sender, count=count)
        text, _ = says[reader.told_of[0].path]
        key = f"{group_id}{'' if text else '_picture'}{unnamed}"
        return say(key, reader.language, sender=sender, text=text)

    _, image_url = says[documents[-1].path]
    return Push(
        group_id=group_id,
        recipients=recipients(told, group_id),
        message=in_their_words(told, words),
        deeplink=deeplink("conversations", conversation_id),
        media=Media(picture=image_url) if image_url and len(documents) == 1 else None,
        gcm_collapse_key=CollapseKey(f"conversation-{conversation_id}"),
        fresh_for=FRESH_FOR,
        burst=conversation_id if group_id == "new_message" else None,
        sender=sender_ids[0] if len(sender_ids) == 1 else None,
        limits=limits.of_person(sender_ids[0]),
        left_out=left_out,
    )


def _is_read(message: Document) -> bool:
    """Whether everyone has read it."""
    return message.get("unread_message") is False


def _sent_at(message: Document) -> datetime | None:
    """When it was sent. `created_at` is the app's own field, so an invalid value is ignored."""
    return moment(message, "sent_at") or understood(moment, message, "created_at")


def _with_plain_sender(message: Document) -> Document:
    """The message with `sender_id` as an id, even if it was a reference."""
    return Document(message.path, message | {"sender_id": message.id("sender_id")})


def _marks(message: Document | None, mark: bool) -> frozenset[str]:
    """Who marked the message as unread (true) or read (false); other values are ignored."""
    return frozenset(marked(message, "unread_by", mark)) if message else frozenset()


def _what_it_says(message: Document) -> tuple[str, str]:
    """The message's text and image address; at least one is not empty."""
    text = message.string("text", default="").strip()
    if is_blank(text):
        text = ""
    image_url = message.string("image_url", default="")
    if not text and not image_url:
        raise message.invalid("text", "is missing, and so is image_url")
    return text, image_url


def _recipient_ids(
    message: Document, conversation: Document | None, database: Database
) -> tuple[str, ...]:
    recipient_ids = person_ids(message, "recipient_ids")
    if recipient_ids is not None:
        return recipient_ids
    if conversation is None:
        raise message.invalid("recipient_ids", "is missing, and there is no such conversation")
    # In the Realtime Database, members are keys of a map: rules cannot look into a list.
    members = marked(conversation, "members", True) if database == "database" else ()
    if members:
        conversation = Document(conversation.path, {"member_ids": members})
    member_ids = person_ids(conversation, "member_ids")
    if member_ids is None:
        raise conversation.invalid("member_ids", "is missing")
    return member_ids
