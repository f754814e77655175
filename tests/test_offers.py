"""Subscription offers as campaigns for segments."""

from typing import Any

import pytest

from batchpush import InvalidDocument
from batchpush.campaigns.articles import campaign_path
from handlers.campaigns import campaign
from handlers.offers import is_open, subscription_offer
from tests.events import created

OFFER: dict[str, Any] = {
    "open": True,
    "segments": ["DORMANT", "ONE_TIME"],
    "title": {"en": "Come back", "fr": "Revenez"},
    "text": {"en": "Three months for"},
    "price": 9.9,
    "currency": "EUR",
}


def offer(**fields: Any) -> Any:
    return created("offers/spring", OFFER | fields).document


def test_an_offer_is_a_campaign_for_its_segments_in_each_language() -> None:
    fields = subscription_offer(offer())
    assert fields["targeting"] == {"segments": ["DORMANT", "ONE_TIME"]}
    assert fields["messages"] == {
        "en": {"title": "Come back", "body": "Three months for · €9.90"},
        "fr": {"title": "Revenez", "body": "9,90\xa0€"},
    }
    assert is_open(offer())


def test_an_offer_without_a_text_or_a_price_says_its_title() -> None:
    said = subscription_offer(offer(text=None, price=None))["messages"]
    assert said == {"en": {"body": "Come back"}, "fr": {"body": "Revenez"}}


@pytest.mark.parametrize("blank", [None, "", " "])
def test_what_is_blank_counts_as_absent(blank: str | None) -> None:
    fields = subscription_offer(
        offer(title={"en": "Back", "fr": blank}, text={"en": blank}, price=None, deeplink=blank)
    )
    assert fields["messages"] == {"en": {"body": "Back"}}
    assert fields["deeplink"] == "myapp://offers/spring"


def test_what_it_writes_is_a_campaign_that_batch_takes() -> None:
    written = created("campaigns/offer-spring", subscription_offer(offer())).document
    made = campaign(written)
    assert made is not None
    assert list(made.bodies(("ios", "android")))


def test_the_campaign_has_a_name_of_its_own() -> None:
    assert campaign_path("offers/spring") == "campaigns/offer-spring"
    assert campaign_path("articles/spring") == "campaigns/article-spring"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"segments": None}, "segments must be a list of values from NEW, ONE_TIME"),
        ({"segments": []}, "segments must be"),
        ({"segments": ["VIP"]}, "segments must be"),
        ({"segments": [{}]}, "segments must be"),
        ({"title": ""}, "title is missing"),
        ({"price": "cheap"}, "price"),
        ({"currency": "gold"}, "currency is not the code of a currency"),
        ({"starts_at": "soon"}, "starts_at is not a date and time"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidDocument, match=problem):
        subscription_offer(offer(**fields))
