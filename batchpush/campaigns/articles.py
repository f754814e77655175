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
        becomes = _is(is_published, change.after)
        if becomes == _is(is_published, change.before):
            return
        path = _campaign_path(change.path)
        article, campaign = await self._read(change.path, path)
        if becomes != _is(is_published, _document(article)):
            return  # changed since: the event of that change decides
        try:
            if becomes:
                await self._start(path, _document(article), campaign, handler)
            else:
                await self._stop(campaign)
        except WriteConflict:
            raise DeliveryUnfinished("somebody changed the campaign meanwhile") from None

    async def _start(
        self, path: str, article: Document | None, campaign: Stored | None, handler: ArticleHandler
    ) -> None:
        assert article is not None
        live = self.settings.publish_articles == "live"
        if campaign is None:
            await self.write(path, {STOPPED: False, **handler(article), "live": live}, None)
        elif campaign.fields.get(STOPPED) is True:
            await self.write(path, {"live": live, STOPPED: False}, campaign.version)

    async def _stop(self, campaign: Stored | None) -> None:
        """Stop a live campaign that is not due yet. A sent one cannot be stopped."""
        if campaign is None:
            return
        fields = campaign.fields
        if fields.get("live") is True and not self._is_due(fields.get("push_time")):
            await self.write(campaign.path, {"live": False, STOPPED: True}, campaign.version)

    def _is_due(self, push_time: object) -> bool:
        return push_time == "now" or (isinstance(push_time, datetime) and push_time <= self.now())

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


def _campaign_path(article: str) -> str:
    return f"campaigns/article-{article.rpartition('/')[2]}"


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
