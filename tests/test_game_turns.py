from typing import Any

import pytest

from batchpush import InvalidDocument, Push
from handlers.game_turns import game_turn
from tests.events import Stored, changed
from tests.pushes import only_body, sent

STORED: dict[str, Any] = {
    "users/ann": {"display_name": "Ann"},
    "users/zoé": {"display_name": "Zoé", "language": "fr"},
    "users/tom": {"push_muted": True},
}
ANNS, ZOÉS = {"name": "Chess", "current_player_id": "ann"}, {"current_player_id": "zoé"}
NOBODYS: dict[str, Any] = {"current_player_id": None}


async def pushed(before: Any, after: Any, look_up: Stored | None = None) -> Push | None:
    game = changed("games/g1", before, after, game_id="g1")
    return sent(await game_turn(game, look_up or Stored(STORED)))


async def test_the_next_player_reads_who_played_and_what() -> None:
    look_up = Stored(STORED)
    assert only_body(await pushed(ZOÉS, ANNS, look_up)) == {
        "group_id": "game_turn",
        "recipients": {"custom_ids": ["ann"]},
        "message": {"title": "Chess", "body": "Zoé has played. Now it’s your turn"},
        "deeplink": "myapp://games/g1",
        "gcm_collapse_key": {"key": "game-g1", "enabled": True},
    }
    assert look_up.reads == [("users/ann", "users/zoé")]


@pytest.mark.parametrize(
    ("before", "after", "title", "body"),
    [
        (None, ANNS, "Chess", "It’s your turn"),
        (NOBODYS, ANNS, "Chess", "It’s your turn"),
        ({"current_player_id": ""}, ANNS, "Chess", "It’s your turn"),
        ({}, ANNS, "Chess", "It’s your turn"),
        ({"current_player_id": 5}, ANNS, "Chess", "It’s your turn"),
        ({"current_player_id": "who"}, ANNS, "Chess", "It’s your turn"),
        (None, ANNS | {"name": " "}, "Your turn", "It’s your turn to play"),
        (ZOÉS, ANNS | {"name": None}, "Your turn", "Zoé has played. Now it’s up to you"),
        (ANNS, ZOÉS, "À vous de jouer", "Ann a joué. À votre tour"),
    ],
)
async def test_what_is_said_with_what_is_known(
    before: Any, after: Any, title: str, body: str
) -> None:
    assert only_body(await pushed(before, after))["message"] == {"title": title, "body": body}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (ANNS, ANNS),
        (ANNS, ANNS | {"name": "Go", "moves": 5}),
        (ANNS, NOBODYS),
        (ANNS, {}),
        (ANNS, None),
        (NOBODYS, None),
        ({"current_player_id": 5}, None),
        (None, NOBODYS),
        (NOBODYS, {}),
        # as typed clients write that it is nobody's turn
        (ANNS, {"current_player_id": ""}),
        (None, {"current_player_id": " "}),
        ({"current_player_id": ""}, {"current_player_id": "", "moves": 5}),
    ],
)
async def test_no_other_write_is_a_push(before: Any, after: Any) -> None:
    look_up = Stored(STORED)
    assert await pushed(before, after, look_up) is None
    assert look_up.reads == []


async def test_one_who_muted_pushes_gets_none() -> None:
    assert await pushed(ANNS, {"current_player_id": "tom"}) is None


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"current_player_id": 5}, "games/g1: current_player_id must be a string, not a number"),
        ({"current_player_id": "a/b"}, "games/g1: current_player_id is not a document id"),
        ({"name": ["Chess"]}, "games/g1: name must be a string, not a list"),
    ],
)
async def test_a_malformed_game_is_named_with_its_field(fields: Any, error: str) -> None:
    with pytest.raises(InvalidDocument, match=error):
        await pushed(ZOÉS, ANNS | fields)
