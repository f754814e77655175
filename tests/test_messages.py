import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush import CollapseKey, InvalidDocument, Media, Message, Push
from handlers.messages import new_message
from tests.events import Stored, created

CONVERSATION = {"member_ids": ["ann", "bob", "zoé"]}
USERS = {
    "users/ann": {"display_name": "Ann", "language": "en"},
    "users/bob": {"display_name": "Bob", "language": "en-GB"},
    "users/zoé": {"display_name": "Zoé", "language": "fr-CA"},
}
STORED = {"conversations/c1": CONVERSATION, **USERS}


def message(**fields: Any) -> Any:
    path = "conversations/c1/messages/m1"
    return created(path, fields, conversation_id="c1", message_id="m1")


async def pushed(look_up: Stored, **fields: Any) -> Push | None:
    return await new_message(message(**fields), look_up)


async def reached(stored: dict[str, Any], **fields: Any) -> dict[str | None, list[str]]:
    """The text that each recipient reads, by its body."""
    push = await pushed(Stored(stored), **fields)
    if push is None:
        return {}
    bodies = [json.loads(call.body) for call in push.calls(("ios",))]
    return {body["message"]["body"]: body["recipients"]["custom_ids"] for body in bodies}


async def test_a_message_goes_to_the_others_with_its_sender_and_its_words() -> None:
    push = await pushed(Stored(STORED), sender_id="ann", text="Hello there")
    assert push is not None
    assert push.group_id == "new_message"
    assert push.message == Message(title="Ann", body="Hello there")
    assert push.recipients.custom_ids == ["bob", "zoé"]
    assert push.deeplink == "myapp://conversations/c1"
    assert push.gcm_collapse_key == CollapseKey("conversation-c1")
    assert push.media is None


async def test_what_the_push_depends_on_is_read_at_once_and_nothing_else() -> None:
    look_up = Stored(STORED)
    await pushed(look_up, sender_id="ann", text="Hello there")
    assert look_up.reads == [("conversations/c1", "users/ann")]


async def test_languages_are_looked_up_when_the_words_are_ours() -> None:
    look_up = Stored(STORED)
    await pushed(look_up, sender_id="ann", image_url="https://example.com/p.jpg")
    assert look_up.reads[1:] == [("users/bob", "users/zoé")]


async def test_a_picture_without_words_is_announced_in_each_recipients_language() -> None:
    fields = {"sender_id": "ann", "image_url": "https://example.com/p.jpg"}
    assert await reached(STORED, **fields) == {
        "📷 Sent you a picture": ["bob"],
        "📷 Vous a envoyé une photo": ["zoé"],
    }
    push = await pushed(Stored(STORED), **fields)
    assert push is not None
    assert push.media == Media(picture="https://example.com/p.jpg")


@pytest.mark.parametrize(
    ("conversation", "fields", "recipients"),
    [
        ({"member_ids": ["ann", "bob"]}, {}, ["bob"]),
        ({"member_ids": ["bob"]}, {}, ["bob"]),
        ({"member_ids": ["ann", "bob", "zoé"], "muted_by": ["bob"]}, {}, ["zoé"]),
        ({"member_ids": ["ann", "bob"]}, {"recipient_ids": ["zoé", "ann"]}, ["zoé"]),
        ({"muted_by": ["zoé"]}, {"recipient_ids": ["zoé", "bob"]}, ["bob"]),
        (None, {"recipient_ids": ["bob", "bob"]}, ["bob"]),
        ({"member_ids": ["ann"]}, {}, []),
        ({"member_ids": []}, {}, []),
        ({"member_ids": ["ann", "bob"], "muted_by": ["bob"]}, {}, []),
        ({"member_ids": ["bob"]}, {"recipient_ids": []}, []),
    ],
)
async def test_who_is_told(conversation: Any, fields: Any, recipients: list[str]) -> None:
    stored = USERS | ({"conversations/c1": conversation} if conversation is not None else {})
    told = await reached(stored, sender_id="ann", text="Hi", **fields)
    assert [user for users in told.values() for user in users] == recipients


@pytest.mark.parametrize("sender", [None, {}, {"display_name": 5}, {"display_name": " "}])
async def test_a_sender_without_a_name_is_a_new_message_in_each_language(sender: Any) -> None:
    stored = {**STORED, "users/ann": sender} if sender is not None else dict(STORED)
    if sender is None:
        del stored["users/ann"]
    push = await pushed(Stored(stored), sender_id="ann", text="Hi")
    assert push is not None
    titles = {json.loads(call.body)["message"]["title"] for call in push.calls(("ios",))}
    assert titles == {"New message", "Nouveau message"}


async def test_a_profile_that_is_garbage_does_not_keep_the_others_from_their_push() -> None:
    stored = STORED | {"users/bob": {"language": ["en"], "display_name": {}}}
    told = await reached(stored, sender_id="ann", image_url="https://example.com/p.jpg")
    assert sorted(user for users in told.values() for user in users) == ["bob", "zoé"]


@pytest.mark.parametrize(
    ("stored", "fields", "error"),
    [
        (STORED, {"text": "Hi"}, "conversations/c1/messages/m1: sender_id is missing"),
        (STORED, {"sender_id": "ann"}, "text is missing, and so is image_url"),
        (STORED, {"sender_id": "ann", "text": " "}, "text is missing, and so is image_url"),
        (STORED, {"sender_id": "ann", "text": 5}, "text must be a string, not a number"),
        (STORED, {"sender_id": "a/b", "text": "Hi"}, "sender_id is not a document id"),
        (STORED, {"sender_id": "ann", "image_url": 1}, "image_url must be a string"),
        (STORED, {"sender_id": "ann", "text": "Hi", "recipient_ids": "bob"}, "recipient_ids must"),
        (USERS, {"sender_id": "ann", "text": "Hi"}, "there is no such conversation"),
        (
            {"conversations/c1": {}},
            {"sender_id": "ann", "text": "Hi"},
            "conversations/c1: member_ids is missing",
        ),
        (
            {"conversations/c1": {"member_ids": {"bob": True}}},
            {"sender_id": "ann", "text": "Hi"},
            "conversations/c1: member_ids must be a list of strings, not a map",
        ),
        (
            {"conversations/c1": {"member_ids": ["bob"], "muted_by": "bob"}},
            {"sender_id": "ann", "text": "Hi"},
            "conversations/c1: muted_by must be a list of strings",
        ),
    ],
)
async def test_a_malformed_document_is_named_with_its_field(
    stored: Any, fields: Any, error: str
) -> None:
    with pytest.raises(InvalidDocument, match=error):
        await pushed(Stored(stored), **fields)


async def test_a_long_text_is_shortened_between_characters() -> None:
    family = "👩‍👩‍👧‍👦"
    push = await pushed(Stored(STORED), sender_id="ann", text="a" * 238 + family * 2)
    assert push is not None
    assert push.message.body == "a" * 238 + family * 2
    push = await pushed(Stored(STORED), sender_id="ann", text="a" * 238 + family * 3)
    assert push is not None
    assert push.message.body == "a" * 238 + family + "…"


@given(st.text(max_size=400), st.text(max_size=90))
async def test_whatever_is_written_the_push_is_valid_or_the_document_named(
    text: str, name: str
) -> None:
    stored = STORED | {"users/ann": {"display_name": name}}
    if not text.strip():
        with pytest.raises(InvalidDocument, match="text is missing"):
            await pushed(Stored(stored), sender_id="ann", text=text)
        return
    push = await pushed(Stored(stored), sender_id="ann", text=text)
    assert push is not None
    assert push.calls(("ios", "android"))
