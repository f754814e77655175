"""A published article becomes a campaign document, `campaigns/article-{id}`.

We create the document once; from then on the editors own it, and we change only `live` and
`stopped_by_article`. The function that watches campaigns then creates the campaign at Batch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batchpush.documents import Document
from batchpush.environment import Settings
from batchpush.errors import DeliveryUnfinished, InvalidDocument
from batchpush.events.change import Change
from batchpush.google.firestore import Firestore, Stored, Version, WriteConflict, translated
from batchpush.logs import log

Condition = Callable[[Document], bool]
ArticleHandler = Callable[[Document], Mapping[str, Any]]

STOPPED = "stopped_by_article"  # a campaign's field: we stopped it when its article was unpublished


@dataclass
class Newsroom:
    """`client` returns the database; it is called on first use, in the worker."""

    client: Callable[[], Firestore]
    settings: Settings
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def announce(
        self, change: Change, is_published: Condition, handler: ArticleHandler
    ) -> None:
        becomes = published_by(change, is_published)
        if becomes is None:
            return
        path = campaign_path(change.path)
        while True:  # until the article has not changed between the read and the write
            article, campaign = await self._read(change.path, path)
            is_so = _is(is_published, _document(article))
            if is_so and not becomes and campaign is None:
                return  # published again: the event of that change decides
            fields = fields_to_write(
                _document(article) if is_so else None,
                campaign.fields if campaign else None,
                handler,
                live=self.settings.publish_articles == "live",
                now=self.now(),
            )
            if fields is None:
                return
            try:
                await self.write(path, fields, campaign.version if campaign else None)
            except WriteConflict:
                raise DeliveryUnfinished("somebody changed the campaign in the meantime") from None

    async def _read(self, *paths: str) -> list[Stored | None]:
        with translated():
            found = await self.client().read(*paths)
        return [found.get(path) for path in paths]

    async def write(self, path: str, fields: Mapping[str, Any], version: Version | None) -> None:
        """Raises `WriteConflict` if the campaign has changed since it was read."""
        client = self.client()
        with translated():
            await client.commit([client.replace(path, fields, version)])
        log("INFO", "article.announced", data={"campaign": path} | _told(fields))


def published_by(change: Change, is_published: Condition) -> bool | None:
    """Whether the change publishes the article or withdraws it; None if it does neither."""
    becomes = _is(is_published, change.after)
    return None if becomes == _is(is_published, change.before) else becomes


def campaign_path(document: str) -> str:
    """`articles/storm` -> `campaigns/article-storm`: the path of the document's campaign."""
    collection, _, name = document.rpartition("/")
    return f"campaigns/{collection.removesuffix('s')}-{name}"


def fields_to_write(
    article: Document | None,
    campaign: Mapping[str, Any] | None,
    handler: ArticleHandler,
    *,
    live: bool,
    now: datetime,
) -> Mapping[str, Any] | None:
    """The fields of the campaign's document to write; None if it stays as it is.

    `article` is None if it is not published any more; `campaign` if there is no document yet.
    """
    if article is None:
        return {"live": False, STOPPED: True} if campaign and _can_stop(campaign, now) else None
    if campaign is None:
        return {STOPPED: False, **handler(article), "live": live}
    return {"live": live, STOPPED: False} if campaign.get(STOPPED) is True else None


def _can_stop(campaign: Mapping[str, Any], now: datetime) -> bool:
    """Whether the campaign is live and not due yet: a sent one cannot be stopped."""
    push_time = campaign.get("push_time")
    is_due = push_time == "now" or (isinstance(push_time, datetime) and push_time <= now)
    return campaign.get("live") is True and not is_due


def _document(stored: Stored | None) -> Document | None:
    return Document(stored.path, stored.fields) if stored else None


def _is(condition: Condition, document: Document | None) -> bool:
    """Whether the condition holds; False for an invalid document, which is not published."""
    try:
        return document is not None and condition(document)
    except InvalidDocument:
        return False


def _told(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in ("live", STOPPED) if name in fields}
