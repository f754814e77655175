"""Subscription offers, which become campaigns for segments of people.

An offer has `open`, `segments` of Batch such as `DORMANT`, and a `title`; it may have `text` (title
and text are texts, or maps of texts by language), `price` with its `currency`, `starts_at`, until
which it can still be withdrawn, and `deeplink`.
"""

from typing import Any

from batchpush import Change, Document, settings
from handlers.articles import by_language
from handlers.fields import HISTORY, currency, flag, is_of_an_archive, moment, number
from handlers.formats import money
from handlers.links import deeplink
from handlers.texts import BODY, TITLE, shorten

SEGMENTS = ("NEW", "ONE_TIME", "ENGAGED", "DORMANT", "IMPORTED")  # of Batch's Campaigns API


def is_open(offer: Document) -> bool:
    return flag(offer, "open")


def is_archived(offer: Change) -> bool:
    """Whether it is opened long after its `starts_at`, as by an import of old offers.

    A draft for each is made all the same.
    """
    is_live = settings().publish_articles == "live"
    return is_live and is_of_an_archive(offer, "open", "starts_at", HISTORY)


def subscription_offer(offer: Document) -> dict[str, Any]:
    """The fields of a campaign about the offer, for people in one of its segments."""
    offer_id = offer.path.rpartition("/")[2]
    titles, texts = by_language(offer, "title"), by_language(offer, "text")
    if not titles:
        raise offer.invalid("title", "is missing")
    return {
        "name": f"Offer {offer_id}",
        "push_time": moment(offer, "starts_at") or "now",
        "targeting": {"segments": _segments(offer)},
        "messages": {
            language: _message(offer, language, title, texts.get(language))
            for language, title in titles.items()
        },
        "deeplink": offer.string("deeplink", default="").strip() or deeplink("offers", offer_id),
    }


def _segments(offer: Document) -> list[str]:
    segments: Any = offer.get("segments")
    is_list = isinstance(segments, list) and bool(segments)
    if not is_list or any(each not in SEGMENTS for each in segments):
        raise offer.invalid("segments", f"must be a list of values from {', '.join(SEGMENTS)}")
    return list(segments)


def _message(offer: Document, language: str, title: str, text: str | None) -> dict[str, Any]:
    price = number(offer, "price")
    said = [] if price is None else [money(price, currency(offer, "currency"), language)]
    body = " · ".join([*([text] if text else []), *said])
    if not body:
        return {"body": shorten(title, BODY)}
    return {"title": shorten(title, TITLE), "body": shorten(body, BODY)}
