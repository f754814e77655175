"""Articles, which become breaking news when they are published.

An article has `title` and `topics`; it may have `summary`, `image_url`, `deeplink`, and a
`push_time`, until which it can still be withdrawn. Title, summary, image and link are texts, or
maps of texts by language.
"""

from collections.abc import Callable, Mapping
from typing import Any

from batchpush import Document, settings
from handlers.fields import flag, moment
from handlers.links import deeplink
from handlers.texts import BODY, TITLE, shorten

NAME = 100  # characters


def is_published(article: Document) -> bool:
    return flag(article, "published")


def breaking_news(article: Document) -> dict[str, Any]:
    """The fields of a campaign about the article, for people interested in one of its topics."""
    topics = article.ids("topics")
    if not topics:
        raise article.invalid("topics", "is missing")
    article_id = article.path.rpartition("/")[2]
    titles, summaries = _by_language(article, "title"), _by_language(article, "summary")
    if not titles:
        raise article.invalid("title", "is missing")
    messages = {
        language: _message(title, summaries.get(language)) for language, title in titles.items()
    }
    campaign = {
        "name": f"{shorten(next(iter(titles.values())), NAME)} ({article_id})",
        "push_time": moment(article, "push_time") or "now",
        "targeting": {"query": {"t.topics": {"$contains": list(topics)}}},
        "messages": messages,
        "deeplink": deeplink("articles", article_id),
    }
    for field, name, form in LINKS:
        if isinstance(article.get(field), Mapping):
            campaign.pop(name, None)
            for language, url in _by_language(article, field).items():
                if language in messages:
                    messages[language][name] = form(url)
        elif article.get(field) is not None:
            campaign[name] = form(article.string(field))
    return campaign


LINKS: tuple[tuple[str, str, Callable[[str], Any]], ...] = (
    ("image_url", "media", lambda url: {"picture": url}),
    ("deeplink", "deeplink", str),
)


def _message(title: str, summary: str | None) -> dict[str, Any]:
    if not summary:
        return {"body": shorten(title, BODY)}
    return {"title": shorten(title, TITLE), "body": shorten(summary, BODY)}


def _by_language(article: Document, field: str) -> dict[str, str]:
    """A field's texts by language; a plain text is in the default language."""
    texts = article.get(field)
    if isinstance(texts, Mapping):
        if "" in texts:
            raise article.invalid(field, "has a text without a language")
        by_language = Document(article.path, {f"{field}.{each}": texts[each] for each in texts})
        return {each: by_language.string(f"{field}.{each}") for each in sorted(texts)}
    text = article.string(field, default="").strip()
    return {settings().default_language: text} if text else {}
