from typing import Any

import pytest

from batchpush import InvalidDocument, Push
from handlers.friend_requests import friend_request
from tests.events import Stored, created
from tests.pushes import only_body, sent

STORED = {
    "users/ann": {"display_name": "Ann"},
    "users/zoé": {"display_name": "Zoé", "language": "fr"},
}


async def pushed(stored: dict[str, Any], **fields: Any) -> Push | None:
    path = "users/zoé/friend_requests/ann"
    request = created(path, fields, user_id="zoé", sender_id="ann")
    return sent(await friend_request(request, Stored(stored)))


@pytest.mark.parametrize("fields", [{}, {"status": "pending"}, {"status": None}])
async def test_the_one_who_is_asked_reads_who_asks_in_their_language(
    fields: dict[str, Any],
) -> None:
    assert only_body(await pushed(STORED, **fields)) == {
        "group_id": "friend_request",
        "recipients": {"custom_ids": ["zoé"]},
        "message": {"title": "Nouvelle demande d’ami", "body": "Ann souhaite devenir votre ami"},
        "deeplink": "myapp://friend_requests/ann",
        "gcm_collapse_key": {"key": "friend-request-ann", "enabled": True},
    }


@pytest.mark.parametrize("status", ["accepted", "declined", ""])
async def test_a_request_that_is_answered_already_is_no_push(status: str) -> None:
    assert await pushed(STORED, status=status) is None


async def test_without_profiles_it_is_said_in_the_default_language_and_without_a_name() -> None:
    message = only_body(await pushed({}))["message"]
    assert message["body"] == "Someone would like to be your friend"


@pytest.mark.parametrize("name", ["\u200b\u2060", "\u202e", " \n"])
async def test_of_a_name_of_which_nothing_is_seen_there_is_none(name: str) -> None:
    message = only_body(await pushed({"users/ann": {"display_name": name}, "users/zoé": {}}))
    assert message["message"]["body"] == "Someone would like to be your friend"


async def test_one_who_muted_pushes_gets_none() -> None:
    assert await pushed(STORED | {"users/zoé": {"push_muted": True}}) is None


async def test_both_are_read_at_once() -> None:
    look_up = Stored(STORED)
    request = created("users/zoé/friend_requests/ann", {}, user_id="zoé", sender_id="ann")
    await friend_request(request, look_up)
    assert look_up.reads == [("users/zoé", "users/ann")]


async def test_a_status_that_is_no_text_is_named() -> None:
    with pytest.raises(InvalidDocument, match="status must be a string, not a boolean"):
        await pushed(STORED, status=True)
