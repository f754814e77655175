import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush import Document, InvalidDocument, Media, Push
from batchpush.documents import Reference, is_blank
from batchpush.events.change import Late
from handlers.messages import message_unread, new_message
from tests.events import Stored, changed, created
from tests.pushes import PATIENT, PROFILES, bodies, only_body, read_by, sent

CONVERSATION: dict[str, Any] = {"member_ids": ["ann", "bob", "zoé"]}
USERS: dict[str, Any] = {
    "users/ann": {"display_name": "Ann", "language": "en"},
    "users/bob": {"display_name": "Bob", "language": "en-GB"},
    "users/zoé": {"display_name": "Zoé", "language": "fr-CA"},
    "users/tom": {"display_name": "Tom", "push_muted": True},
    "users/eva": {"push_muted": True, "batch": {"custom_ids": ["crm-7"]}},
}
STORED: dict[str, Any] = {"conversations/c1": CONVERSATION, **USERS}
ANN, BOB, TEAM = Reference("users/ann"), Reference("users/bob"), Reference("teams/1")


def message(**fields: Any) -> Any:
    path = "conversations/c1/messages/m1"
    return created(path, fields, conversation_id="c1", message_id="m1")


async def pushed(look_up: Stored, **fields: Any) -> Push | None:
    return sent(await new_message(message(**fields), look_up))


async def test_a_message_goes_to_the_others_with_its_sender_and_its_words() -> None:
    push = await pushed(Stored(STORED), sender_id="ann", text="Hello there")
    assert only_body(push) == {
        "group_id": "new_message",
        "recipients": {"custom_ids": ["bob", "zoé"]},
        "message": {"title": "Ann", "body": "Hello there"},
        "deeplink": "myapp://conversations/c1",
        "gcm_collapse_key": {"key": "conversation-c1", "enabled": True},
    }


async def test_what_the_push_depends_on_is_read_in_two_steps_and_nothing_else() -> None:
    look_up = Stored(STORED)
    await pushed(look_up, sender_id="ann", text="Hello there")
    assert look_up.reads == [("conversations/c1", "users/ann"), ("users/bob", "users/zoé")]


async def test_when_there_is_nobody_to_tell_no_profiles_are_read() -> None:
    look_up = Stored({"conversations/c1": {"member_ids": ["ann"]}})
    assert await pushed(look_up, sender_id="ann", text="Hello there") is None
    assert look_up.reads == [("conversations/c1", "users/ann")]


async def test_a_picture_without_words_is_announced_in_each_recipients_language() -> None:
    fields = {"sender_id": "ann", "image_url": "https://example.com/p.jpg"}
    push = await pushed(Stored(STORED), **fields)
    assert read_by(push) == {"bob": "📷 Sent you a picture", "zoé": "📷 Vous a envoyé une photo"}
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
        ({"member_ids": ["bob", "tom"]}, {}, ["bob"]),
        ({"member_ids": ["tom"]}, {}, []),
        # as people write them
        ({"member_ids": [ANN, BOB, "zoé"]}, {"sender_id": ANN}, ["bob", "zoé"]),
        ({"member_ids": ["ann", "bob", "zoé"], "muted_by": [BOB, ""]}, {}, ["zoé"]),
        ({"member_ids": ["ann", "bob", "zoé"], "muted_by": ["bob", 5]}, {}, ["zoé"]),
        ({"member_ids": ["ann", "bob"], "muted_by": {"bob": False}}, {}, ["bob"]),
        ({"member_ids": ["ann", "bob"], "muted_by": {"bob": "zoé"}}, {}, ["bob"]),
        ({"member_ids": ["ann", "bob", "zoé"], "muted_by": {"bob": True}}, {}, ["zoé"]),
        ({"member_ids": ["ann", "bob"], "muted_by": {"4": BOB}}, {}, []),
        ({"member_ids": ["ann", "bob"], "muted_by": {"4": BOB, "zoé": True}}, {}, []),
        ({"member_ids": ["ann", "bob"], "muted_by": {}}, {}, ["bob"]),
        ({"member_ids": ["ann", "bob"], "muted_by": [5]}, {}, ["bob"]),
        ({"member_ids": ["ann", "bob"], "muted_by": [{"uid": "bob"}]}, {}, ["bob"]),
        ({"member_ids": ["ann", "bob"], "muted_by": [TEAM]}, {}, ["bob"]),
        ({"member_ids": ["ann", "bob"], "muted_by": ["%2e"]}, {}, ["bob"]),
        ({"member_ids": ["ann"]}, {"recipient_ids": [BOB]}, ["bob"]),
        (None, {"recipient_ids": ["", "bob", None, " ", "\u200b"]}, ["bob"]),
        (None, {"recipient_ids": [5, "a/b", "bob", {}, TEAM]}, ["bob"]),
        (None, {"recipient_ids": ["é" * 751, "%2e%2e", "bob"]}, ["bob"]),
        (None, {"recipient_ids": {"4": "bob", "9": "zoé"}}, ["bob", "zoé"]),
        (None, {"recipient_ids": [""]}, []),
        ({"member_ids": ["ann", "", "bob"]}, {}, ["bob"]),
        # who is nobody's user id
        ({"member_ids": ["ann", "bob", "crm-7", "nobody"]}, {}, ["bob", "nobody"]),
        ({"member_ids": ["ann", "eve"]}, {"recipient_ids": ["crm-7"]}, []),
    ],
)
async def test_who_is_told(conversation: Any, fields: Any, recipients: list[str]) -> None:
    stored = USERS | ({"conversations/c1": conversation} if conversation is not None else {})
    push = await pushed(Stored(stored), **{"sender_id": "ann", "text": "Hi"} | fields)
    assert list(read_by(push)) == recipients


async def test_an_id_that_a_user_has_at_batch_is_named_by_a_line_of_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for members in (["ann", "eve", "crm-7"], ["ann", "bob", "eve"]):
        stored = USERS | {"conversations/c1": {"member_ids": members}}
        await pushed(Stored(stored), sender_id="ann", text="Hi")
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "severity": "WARNING",
        "message": "recipients.batch_ids",
        "data": {"people": 1},
    }


EVENT = datetime(2026, 5, 4, 10, 20, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "is_told"),
    [
        ({"sent_at": EVENT}, True),
        ({"sent_at": EVENT - timedelta(minutes=59)}, True),
        ({"sent_at": EVENT + timedelta(days=1)}, True),
        ({"sent_at": EVENT - timedelta(minutes=61)}, False),
        ({"sent_at": datetime(2019, 6, 1, tzinfo=UTC)}, False),
        ({"sent_at": 1559347200}, False),
        ({"sent_at": 1559347200000}, False),
        ({"sent_at": {"_seconds": 1559347200, "_nanoseconds": 0}}, False),
        ({"sent_at": "2019-06-01T00:00:00Z"}, False),
        ({"created_at": datetime(2019, 6, 1, tzinfo=UTC)}, False),
        ({"created_at": "2019-06-01T00:00:00"}, True),  # the app's own, and not understood
        ({"created_at": datetime(2019, 6, 1, tzinfo=UTC), "sent_at": EVENT}, True),
    ],
)
async def test_a_message_that_was_sent_long_ago_is_history(
    fields: Any, is_told: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    look_up = Stored(STORED)
    push = await pushed(look_up, sender_id="ann", text="Hi", **fields)
    assert (push is not None) is is_told
    assert bool(look_up.reads) is is_told
    assert capsys.readouterr().out == ""


async def test_a_message_that_waited_is_not_history() -> None:
    documents = (Document("conversations/c1/messages/m1", READ | {"sent_at": EVENT}),)
    late = Late(documents)
    change = replace(message(), time=EVENT + timedelta(hours=9), after=documents[0], late=late)
    assert await new_message(change, Stored(STORED)) is not None


@pytest.mark.parametrize("sender", [None, {}, {"display_name": 5}, {"display_name": " "}])
async def test_a_sender_without_a_name_is_a_new_message_in_each_language(sender: Any) -> None:
    stored = {**STORED, "users/ann": sender} if sender is not None else dict(STORED)
    if sender is None:
        del stored["users/ann"]
    push = await pushed(Stored(stored), sender_id="ann", text="Hi")
    titles = {body["message"]["title"] for body in bodies(push)}
    assert titles == {"New message", "Nouveau message"}


async def test_a_profile_that_is_garbage_does_not_keep_the_others_from_their_push() -> None:
    stored = STORED | {"users/bob": {"language": ["en"], "display_name": {}}}
    push = await pushed(Stored(stored), sender_id="ann", image_url="https://example.com/p.jpg")
    assert sorted(read_by(push)) == ["bob", "zoé"]


async def test_people_are_reached_as_their_profile_says() -> None:
    stored = STORED | {"users/bob": {"batch": {"custom_ids": ["b1"], "install_ids": ["i1"]}}}
    push = await pushed(Stored(stored), sender_id="ann", text="Hi")
    assert only_body(push)["recipients"] == {"custom_ids": ["b1", "zoé"], "install_ids": ["i1"]}


@pytest.mark.parametrize(
    ("stored", "fields", "error"),
    [
        (STORED, {"text": "Hi"}, "conversations/c1/messages/m1: sender_id is missing"),
        (STORED, {"sender_id": "ann"}, "text is missing, and so is image_url"),
        (STORED, {"sender_id": "ann", "text": " "}, "text is missing, and so is image_url"),
        (STORED, {"sender_id": "ann", "text": 5}, "text must be a string, not a number"),
        (STORED, {"sender_id": "ann", "text": "\u200b\u2060"}, "text is missing, and so is image"),
        (STORED, {"sender_id": "a/b", "text": "Hi"}, "sender_id is not a document id"),
        (STORED, {"sender_id": TEAM, "text": "Hi"}, "sender_id is a reference to a document out"),
        (STORED, {"sender_id": "ann", "text": TEAM}, "text must be a string, not a reference"),
        (
            STORED,
            {"sender_id": "ann", "text": "Hi", "recipient_ids": [TEAM]},
            "recipient_ids is a reference to a document outside users/",
        ),
        (
            STORED,
            {"sender_id": "ann", "text": "Hi", "sent_at": "Sat Jun 01 2030 11:05:00 GMT+0000"},
            "sent_at is not a date and time such as 2030-06-01T11:05:00Z",
        ),
        (
            STORED,
            {"sender_id": "ann", "text": "Hi", "sent_at": 1559347200_000_000},
            "sent_at is not a date and time: a number must be seconds or milliseconds",
        ),
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
        (
            {"conversations/c1": {"member_ids": [f"u{number}" for number in range(1001)]}},
            {"sender_id": "ann", "text": "Hi"},
            "conversations/c1: member_ids has 1001 people; the maximum is 1000",
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
    for text, read in (
        ("a" * 238 + family * 2, "a" * 238 + family * 2),
        ("a" * 238 + family * 3, "a" * 238 + family + "…"),
    ):
        push = await pushed(Stored(STORED), sender_id="ann", text=text)
        assert read_by(push)["bob"] == read


READ = {"sender_id": "ann", "text": "Hello there"}


@PATIENT
@given(st.text(max_size=400), st.text(max_size=90))
async def test_whatever_is_written_the_push_is_valid_or_the_document_named(
    text: str, name: str
) -> None:
    stored = STORED | {"users/ann": {"display_name": name}}
    if is_blank(text):
        with pytest.raises(InvalidDocument, match="text is missing"):
            await pushed(Stored(stored), sender_id="ann", text=text)
        return
    push = await pushed(Stored(stored), sender_id="ann", text=text)
    assert push is not None
    assert bodies(push)


@PATIENT
@given(PROFILES, st.sampled_from([{"text": "Hi"}, {"image_url": "https://example.com/p.jpg"}]))
async def test_whatever_the_senders_profile_holds_the_others_get_the_push(
    profile: Any, fields: Any
) -> None:
    push = await pushed(Stored(STORED | {"users/ann": profile}), sender_id="ann", **fields)
    assert sorted(read_by(push)) == ["bob", "zoé"]


# Unread messages

UNREAD = READ | {"unread_message": True}


async def pushed_again(before: Any, after: Any, look_up: Stored | None = None) -> Push | None:
    path = "conversations/c1/messages/m1"
    change = changed(path, before, after, conversation_id="c1", message_id="m1")
    return sent(await message_unread(change, look_up or Stored(STORED)))


@pytest.mark.parametrize(
    "before", [READ, READ | {"unread_message": False}, READ | {"unread_message": "yes"}]
)
async def test_a_message_that_is_marked_as_unread_is_said_once_more(before: Any) -> None:
    assert bodies(await pushed_again(before, UNREAD)) == [
        {
            "group_id": "message_unread",
            "recipients": {"custom_ids": [user_id]},
            "message": {"title": "Ann", "body": body},
            "deeplink": "myapp://conversations/c1",
            "gcm_collapse_key": {"key": "conversation-c1", "enabled": True},
        }
        for user_id, body in (
            ("bob", "Still unread: Hello there"),
            ("zoé", "Toujours non lu\u00a0: Hello there"),
        )
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, UNREAD),  # as the push of the new message said
        (UNREAD, UNREAD),
        (UNREAD, UNREAD | {"text": "Hello again"}),
        (READ, READ | {"text": "Hello again"}),
        (UNREAD, READ),
        (READ, READ | {"unread_message": False}),
        (UNREAD, None),
        (READ, None),
    ],
)
async def test_no_other_write_says_it_once_more(before: Any, after: Any) -> None:
    look_up = Stored(STORED)
    assert await pushed_again(before, after, look_up) is None
    assert look_up.reads == []


@pytest.mark.parametrize(
    ("fields", "sender", "title", "body"),
    [
        ({"text": "Hi"}, {}, "Unread message", "Hi"),
        (
            {"image_url": "https://a.b/c"},
            {},
            "Unread message",
            "📷 You haven’t seen this picture yet",
        ),
        (
            {"image_url": "https://a.b/c"},
            {"display_name": "Ann"},
            "Ann",
            "📷 You haven’t seen this picture yet",
        ),
    ],
)
async def test_what_an_unread_message_says_without_words_or_name(
    fields: Any, sender: Any, title: str, body: str
) -> None:
    stored = {"users/ann": sender, "users/bob": {}, "conversations/c1": {"member_ids": ["bob"]}}
    before = {"sender_id": "ann", **fields}
    push = await pushed_again(before, before | {"unread_message": True}, Stored(stored))
    assert only_body(push)["message"] == {"title": title, "body": body}


async def test_a_mark_that_is_neither_true_nor_false_is_named() -> None:
    with pytest.raises(InvalidDocument, match="m1: unread_message must be true or false"):
        await pushed_again(READ, READ | {"unread_message": "yes"})


def by(**marks: Any) -> dict[str, Any]:
    return READ | {"unread_by": marks}


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (READ, by(bob=True), ["bob"]),
        (by(), by(bob=True), ["bob"]),
        (by(bob=False), by(bob=True), ["bob"]),
        (by(bob=True), by(bob=True, zoé=True), ["zoé"]),
        (by(bob=False, zoé=False), by(bob=True, zoé=True), ["bob", "zoé"]),
        (READ | {"unread_by": "bob"}, by(bob=True), ["bob"]),
        (by(bob=True), by(bob=True), []),
        (by(bob=True), by(bob=False), []),
        (by(bob=True), READ, []),
        (READ, by(bob=False), []),
        (READ, by(ann=True), []),  # the sender
        (READ, by(tom=True), []),  # not a member any more
        (by(bob=False), by(bob=False) | {"unread_message": True}, ["bob", "zoé"]),
        (READ | {"recipient_ids": ["zoé"]}, by(bob=True) | {"recipient_ids": ["zoé"]}, []),
        # As the Realtime Database shows `{"0": true, "1": false}`.
        (READ, READ | {"unread_by": [True, False]}, []),
        (None, by(bob=True), []),
        (by(bob=True), None, []),
    ],
)
async def test_who_marks_a_message_as_unread_is_told_and_no_one_else(
    before: Any, after: Any, told: list[str]
) -> None:
    assert list(read_by(await pushed_again(before, after))) == told


async def test_who_marks_a_message_in_a_conversation_that_they_muted_is_not_told() -> None:
    look_up = Stored(STORED | {"conversations/c1": CONVERSATION | {"muted_by": ["bob"]}})
    assert await pushed_again(READ, by(bob=True), look_up) is None


async def test_of_those_who_did_not_mark_a_message_no_profile_is_read() -> None:
    look_up = Stored(STORED)
    await pushed_again(READ, by(bob=True), look_up)
    assert look_up.reads == [("conversations/c1", "users/ann"), ("users/bob",)]


@pytest.mark.parametrize("marks", ["bob", 5, ["bob"], {"bob": "yes"}, {"bob": 1}, {"bob": None}])
async def test_a_mark_that_is_neither_true_nor_false_is_none(marks: Any) -> None:
    assert await pushed_again(READ, READ | {"unread_by": marks}) is None


@pytest.mark.parametrize("mark", [5, "yes", {}, []])
async def test_whatever_one_person_marks_the_marks_of_the_others_count(mark: Any) -> None:
    push = await pushed_again(READ, by(bob=True) | {"unread_by": {"bob": True, "mal": mark}})
    assert list(read_by(push)) == ["bob"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, ["bob", "zoé"]),
        ({"unread_by": {"bob": False}}, ["zoé"]),
        ({"unread_by": {"bob": True}}, ["bob", "zoé"]),
        ({"unread_by": {"bob": False, "zoé": False}}, []),
        ({"unread_message": False}, []),
    ],
)
async def test_who_has_read_a_message_that_waited_is_not_told_and_the_others_are(
    fields: dict[str, Any], told: list[str]
) -> None:
    change = message(**READ, **fields)
    late = Late((change.document,))
    push = await new_message(replace(change, late=late), Stored(STORED))
    assert list(read_by(push)) == told


# The Realtime Database: rules cannot look into a list, so people are keys there.


@pytest.mark.parametrize(
    ("conversation", "told"),
    [
        ({"members": {"ann": True, "bob": True}}, ["bob"]),
        ({"members": {"ann": True, "bob": True}, "member_ids": ["ann", "bob", "zoé"]}, ["bob"]),
        ({"members": {"bob": False, "zoé": True}}, ["zoé"]),
        ({"members": {"bob": {"role": "admin"}}, "member_ids": ["zoé"]}, ["zoé"]),
        ({"member_ids": ["ann", "bob"]}, ["bob"]),
        ({"members": {"bob": True, "zoé": True}, "muted_by": {"bob": True}}, ["zoé"]),
        ({"members": {"bob": True, "zoé": True}, "muted_by": ["bob"]}, ["zoé"]),
        ({"members": {"bob": True, "zoé": True}, "muted_by": {"0": "zoé", "bob": True}}, []),
        # `{"0": true, "1": true}`, people whose ids are whole numbers
        ({"members": [True, True]}, ["0", "1"]),
        ({"members": [True, True], "muted_by": [None, True]}, ["0"]),
    ],
)
async def test_who_is_told_in_the_realtime_database(conversation: Any, told: list[str]) -> None:
    change = replace(message(sender_id="ann", text="Hi"), database="database")
    numbered: dict[str, Any] = {"users/0": {}, "users/1": {}}
    push = await new_message(change, Stored(USERS | numbered | {"conversations/c1": conversation}))
    assert list(read_by(push)) == told


async def test_members_of_a_firestore_conversation_are_a_field_of_the_teams_own() -> None:
    conversation = {"members": {"zoé": True}, "member_ids": ["ann", "bob"]}
    push = await pushed(
        Stored(USERS | {"conversations/c1": conversation}), sender_id="ann", text="Hi"
    )
    assert list(read_by(push)) == ["bob"]
