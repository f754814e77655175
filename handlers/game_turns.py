"""Turn-based games.

A game has a `current_player_id`, unless it is nobody's turn; it may have a `name`.
"""

from batchpush import (
    Change,
    CollapseKey,
    Document,
    InvalidDocument,
    LookUp,
    NoPush,
    Push,
    is_blank,
)
from handlers.fields import one_line
from handlers.links import deeplink
from handlers.people import people, recipients
from handlers.texts import say


async def game_turn(game: Change, look_up: LookUp) -> Push | NoPush | None:
    """Tells a player that it is their turn."""

    def is_their_turn(then: Document) -> bool:
        """Whether it was already the turn of the current player."""
        player_id = _player_id(then)
        return player_id is not None and player_id == _player_id(game.document)

    if not game.became(is_their_turn):
        return None
    game_id, name = game.params["game_id"], one_line(game.document.string("name", default=""))
    player_id, last_id = game.document.id("current_player_id"), _last_player_id(game)
    player, *last = await people(look_up, player_id, *([last_id] if last_id else []))
    if why := player.why_not_told("game_turn"):
        return NoPush({why: [player_id]})
    last_name = last[0].name if last else None
    key = f"game_turn{'_after' if last_name else ''}{'' if name else '_unnamed'}"
    return Push(
        group_id="game_turn",
        recipients=recipients([player], "game_turn"),
        message=say(key, player.language, game=name, player=last_name or ""),
        deeplink=deeplink("games", game_id),
        gcm_collapse_key=CollapseKey(f"game-{game_id}"),
        state=game_id,
    )


def _player_id(game: Document) -> str | None:
    """Whose turn it is; None if it is nobody's, also as an empty text."""
    player_id = game.get("current_player_id")
    is_nobody = player_id is None or (isinstance(player_id, str) and is_blank(player_id))
    return None if is_nobody else game.id("current_player_id")


def _last_player_id(game: Change) -> str | None:
    """Whose turn it was before, if that is known."""
    try:
        return None if game.before is None else _player_id(game.before)
    except InvalidDocument:
        return None
