"""Articles, which become breaking news when they are published.

An article has `title` and `topics`, which people follow in `topics/{topic}/followers/{user_id}`; it
may have `summary`, `image_url`, `deeplink`, and a `push_time`, until which it can still be
withdrawn. Title, summary, image and link are texts, or maps of texts by language.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any

from batchpush import (
    Audience,
    Change,
    Document,
    LookUp,
    Media,
    Message,
    Push,
    Recipients,
    is_blank,
    settings,
)
from handlers.fields import flag, is_of_an_archive, moment
from handlers.links import deeplink
from handlers.people import Person, people, recipients, who_is_told
from handlers.texts import BODY, TITLE, language_of, shorten

NAME = 100  # characters
GROUP = "article"
FRESH_FOR = timedelta(hours=6)


def is_published(article: Document) -> bool:
    return flag(article, "published")


def is_announced(article: Document) -> bool:
    """Whether it is to be a campaign, and not a push to followers."""
    return is_published(article) and settings().publish_articles != "followers"


def is_archived(article: Change) -> bool:
    """Whether it is published long after its `push_time`, as by an import of old articles.

    A draft for each is made all the same.
    """
    is_draft = settings().publish_articles == "draft"
    return not is_draft and is_of_an_archive(article, "published", "push_time", FRESH_FOR)


async def to_followers(article: Change, look_up: LookUp) -> Push | None:
    """Tells everyone who follows one of its topics, with `PUBLISH_ARTICLES=followers`."""
    if settings().publish_articles != "followers" or not article.became(is_published):
        return None
    if article.late is None and is_archived(article):
        return None
    document = article.document
    topics = _topics(document)
    link, links = _addresses(document, "deeplink")
    picture, pictures = _addresses(document, "image_url")
    # A message has the link and the picture that only the readers of its language get.
    words = {
        language: Message(
            **text, deeplink=links.get(language), media=_media(pictures.get(language))
        )
        for language, text in _messages(document).items()
    }

    async def followers() -> AsyncIterator[tuple[Recipients, Message]]:
        async for user_ids in _followers(topics, look_up):
            readers, _ = who_is_told(GROUP, await people(look_up, *user_ids))
            reading: dict[str, list[Person]] = {}
            for each in readers:
                reading.setdefault(_language_of(each, words), []).append(each)
            for language, some in reading.items():
                for group in recipients(some, GROUP):
                    yield group, words[language]

    reader = article.late.reader if article.late else None
    told = [] if reader is None else await _still_following(topics, reader, look_up)
    return Push(
        group_id=GROUP,
        recipients=recipients(told, GROUP) if reader else Audience(followers()),
        message=words[_language_of(told[0], words)] if told else None,
        deeplink=link or deeplink("articles", document.path.rpartition("/")[2]),
        media=_media(picture),
        send_at=moment(document, "push_time"),
        fresh_for=FRESH_FOR,
    )


def _language_of(reader: Person, languages: Collection[str]) -> str:
    """The one among these languages that is nearest to theirs, else to the default one."""
    for wanted in (reader.own_language, settings().default_language):
        if (nearest := language_of(wanted, languages)) in languages:
            return nearest
    return next(iter(languages))


def _media(picture: str | None) -> Media | None:
    return Media(picture=picture) if picture else None


async def _still_following(topics: Sequence[str], user_id: str, look_up: LookUp) -> list[Person]:
    """The one person, if the push is still for them."""
    found = await look_up.many(*(f"topics/{topic}/followers/{user_id}" for topic in topics))
    is_following = any(each is not None for each in found)
    readers = await people(look_up, user_id) if is_following else []
    return who_is_told(GROUP, readers)[0]


async def _followers(topics: Sequence[str], look_up: LookUp) -> AsyncIterator[list[str]]:
    """User ids, page by page; whoever follows several of the topics comes with the first."""
    for number, topic in enumerate(topics):
        async for page in look_up.pages(f"topics/{topic}/followers"):
            user_ids = [each.path.rpartition("/")[2] for each in page]
            earlier = [
                f"topics/{each}/followers/{user_id}"
                for each in topics[:number]
                for user_id in user_ids
            ]
            found = await look_up.many(*earlier) if earlier else []
            told = {each.path.rpartition("/")[2] for each in found if each is not None}
            if others := [user_id for user_id in user_ids if user_id not in told]:
                yield others


def breaking_news(article: Document) -> dict[str, Any]:
    """The fields of a campaign about the article, for people interested in one of its topics."""
    article_id = article.path.rpartition("/")[2]
    topics, messages = _topics(article), _messages(article)
    title = next(iter(by_language(article, "title").values()))
    campaign = {
        "name": f"{shorten(title, NAME)} ({article_id})",
        "push_time": moment(article, "push_time") or "now",
        "targeting": {"query": {"t.topics": {"$contains": list(topics)}}},
        "messages": messages,
        "deeplink": deeplink("articles", article_id),
    }
    for field, name, form in LINKS:
        for_all, for_some = _addresses(article, field)
        if for_all:
            campaign[name] = form(for_all)
        elif for_some:
            campaign.pop(name, None)
        for language in messages.keys() & for_some.keys():
            messages[language][name] = form(for_some[language])
    return campaign


LINKS: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("image_url", "media", lambda url: {"picture": url}),
    ("deeplink", "deeplink", str),
)


def _addresses(article: Document, field: str) -> tuple[str | None, dict[str, str]]:
    """The address for readers of all languages, and those for readers of one."""
    addresses = by_language(article, field)
    if isinstance(article.get(field), Mapping):
        return None, addresses
    return next(iter(addresses.values()), None), {}


def _topics(article: Document) -> tuple[str, ...]:
    topics = article.ids("topics")
    if not topics:
        raise article.invalid("topics", "is missing")
    return topics


def _messages(article: Document) -> dict[str, dict[str, Any]]:
    """The message of each language that has a title; there is one."""
    titles, summaries = by_language(article, "title"), by_language(article, "summary")
    if not titles:
        raise article.invalid("title", "is missing")
    return {
        language: _message(title, summaries.get(language)) for language, title in titles.items()
    }


def _message(title: str, summary: str | None) -> dict[str, Any]:
    if not summary:
        return {"body": shorten(title, BODY)}
    return {"title": shorten(title, TITLE), "body": shorten(summary, BODY)}


def by_language(article: Document, field: str) -> dict[str, str]:
    """A field's texts by language, without blank ones; a plain text is in the default language."""
    texts = article.get(field)
    if isinstance(texts, Mapping):
        if "" in texts:
            raise article.invalid(field, "has a text without a language")
        by_language = Document(article.path, {f"{field}.{each}": texts[each] for each in texts})
        read = {each: by_language.string(f"{field}.{each}", default="") for each in sorted(texts)}
    else:
        read = {settings().default_language: article.string(field, default="").strip()}
    return {language: text for language, text in read.items() if not is_blank(text)}
