from datetime import timedelta
from typing import Any

import pytest

from handlers.carts import UNTOUCHED_FOR, abandoned_cart
from tests.events import Stored, created
from tests.pushes import only_body, sent

NOW = created("carts/ann", {}).time
CART = {"items": ["shoes"], "updated_at": NOW - UNTOUCHED_FOR}
TOUCHED_SINCE = CART | {"updated_at": NOW - UNTOUCHED_FOR + timedelta(seconds=1)}


async def test_the_owner_is_reminded_in_their_language() -> None:
    users = Stored({"users/ann": {"language": "de"}})
    push = await abandoned_cart(created("carts/ann", CART, user_id="ann"), users)
    assert only_body(push) == {
        "group_id": "abandoned_cart",
        "recipients": {"custom_ids": ["ann"]},
        "message": {"title": "Noch interessiert?", "body": "Ihre Auswahl liegt noch im Warenkorb"},
        "deeplink": "myapp://cart",
        "gcm_collapse_key": {"enabled": True, "key": "cart"},
    }


@pytest.mark.parametrize(
    ("cart", "owner"),
    [
        (CART | {"items": []}, {}),
        ({}, {}),
        ({"items": ["shoes"]}, {}),
        (TOUCHED_SINCE, {}),  # while the push waited for the end of quiet hours
        (CART, {"push_muted": True}),
    ],
)
async def test_nobody_is_reminded_of_nothing_nor_against_their_wish(
    cart: dict[str, Any], owner: dict[str, Any]
) -> None:
    change = created("carts/ann", cart, user_id="ann")
    assert sent(await abandoned_cart(change, Stored({"users/ann": owner}))) is None
