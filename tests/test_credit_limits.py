from typing import Any

import pytest

from batchpush import InvalidDocument, Push
from handlers.credit_limits import credit_limit
from tests.events import Stored, changed
from tests.pushes import only_body, sent

UNDER, AT, OVER = ({"spent": spent, "credit_limit": 1000} for spent in (999.99, 1000, 1250.5))


async def pushed(before: Any, after: Any, **profile: Any) -> Push | None:
    account = changed("accounts/ann", before, after, user_id="ann")
    return sent(await credit_limit(account, Stored({"users/ann": profile})))


async def test_the_owner_reads_both_amounts() -> None:
    assert only_body(await pushed(UNDER, OVER | {"currency": "EUR"})) == {
        "group_id": "credit_limit",
        "recipients": {"custom_ids": ["ann"]},
        "message": {
            "title": "Credit limit reached",
            "body": "You’ve spent €1,250.50, and your limit is €1,000.00",
        },
        "deeplink": "myapp://accounts/ann",
        "gcm_collapse_key": {"key": "credit-limit-ann", "enabled": True},
    }


@pytest.mark.parametrize(
    ("language", "body"),
    [
        ("en", "You’ve spent 1,250.5, and your limit is 1,000"),
        ("fr", "Vous avez dépensé 1\u202f250,5, et votre plafond est de 1\u202f000"),
        ("es", "Has gastado 1.250,5 y tu límite es de 1.000"),
        ("de", "Sie haben 1.250,5 ausgegeben, Ihr Limit liegt bei 1.000"),
    ],
)
async def test_amounts_without_a_currency_are_plain_numbers(language: str, body: str) -> None:
    push = await pushed(UNDER, OVER, language=language)
    assert only_body(push)["message"]["body"] == body


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (UNDER, AT),
        (UNDER, OVER),
        (OVER | {"credit_limit": 2000}, OVER),  # the limit came down
        (None, AT),
        (None, OVER),
        ({}, OVER),
        ({"spent": 2000}, OVER),  # there was no limit
        ({"spent": "a lot", "credit_limit": 1000}, OVER),
    ],
)
async def test_reaching_the_limit_is_a_push(before: Any, after: Any) -> None:
    assert await pushed(before, after) is not None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (UNDER, UNDER),
        (AT, AT),
        (AT, OVER),
        (OVER, AT),
        (OVER, OVER | {"owner": "Ann"}),
        (OVER | {"credit_limit": 1100}, OVER),
        (OVER, UNDER),
        (UNDER, OVER | {"credit_limit": 2000}),
        (None, UNDER),
        (OVER, None),
        (UNDER, None),
        (None, {}),
        (UNDER, {"spent": 2000}),
        (UNDER, {"credit_limit": 1000}),
        (None, {"spent": 0, "credit_limit": 0}),  # a new account
        (None, {"spent": 0, "credit_limit": -1}),
        (None, {"spent": -5, "credit_limit": -5}),
    ],
)
async def test_nothing_else_is(before: Any, after: Any) -> None:
    assert await pushed(before, after) is None


async def test_one_who_muted_pushes_gets_none() -> None:
    assert await pushed(UNDER, OVER, push_muted=True) is None


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"spent": "1250"}, "accounts/ann: spent must be a number"),
        ({"spent": float("nan")}, "accounts/ann: spent is not an amount"),
        ({"credit_limit": True}, "accounts/ann: credit_limit must be a number"),
        ({"currency": "EURO"}, "accounts/ann: currency is not the code of a currency"),
        ({"currency": 978}, "accounts/ann: currency must be a string"),
    ],
)
async def test_a_malformed_account_is_named_with_its_field(fields: Any, error: str) -> None:
    with pytest.raises(InvalidDocument, match=error):
        await pushed(UNDER, OVER | fields)
