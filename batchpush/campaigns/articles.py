"""An article that is published becomes a campaign: the document `campaigns/article-{id}`.

It is written once, and is the editors' from then on. What makes a campaign of it at Batch is the
function that watches campaigns.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from batchpush.documents import Document
from batchpush.environment import Settings
from batchpush.errors import DeliveryUnfinished, InvalidDocument
from batchpush.events.change import Change
from batchpush.google.clients import asked, read_all
from batchpush.google.firestore import WriteConflict
from batchpush.logs import log

Condition = Callable[[Document], bool]
ArticleHandler = Callable[[Document], Mapping[str, Any]]

STOPPED = "stopped_by_article"  # a field of the campaign: its article was taken back in time


@dataclass
class Newsroom:
    client: Callable[[], Any]
    settings: Settings
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def announce(
        self, change: Change, is_published: Condition, handler: ArticleHandler
    ) -> None:
        becomes = _is(is_published, change.after)
        if becomes == _is(is_published, change.before):
            return
        article, campaign = await self._read(change.path, _campaign_path(change.path))
        if becomes != _is(is_published, _document(article)):
            return  # it was changed since, and that event says what is to be done
        try:
            if becomes:
                await self._start(_document(article), campaign, handler)
            else:
                await self._stop(campaign)
        except WriteConflict:
            raise DeliveryUnfinished("somebody changed the campaign meanwhile") from None

    async def _start(
        self, article: Document | None, campaign: Any, handler: ArticleHandler
    ) -> None:
        assert article is not None
        live = self.settings.publish_articles == "live"
        if not campaign.exists:
            await self._write(campaign, {**handler(article), "live": live})
        elif campaign.to_dict().get(STOPPED) is True:
            await self._write(campaign, {"live": live, STOPPED: False})

    async def _stop(self, campaign: Any) -> None:
        """A draft has nothing to be stopped, and what is sent cannot be."""
        fields = campaign.to_dict() or {}
        if fields.get("live") is True and not self._is_due(fields.get("push_time")):
            await self._write(campaign, {"live": False, STOPPED: True})

    def _is_due(self, push_time: object) -> bool:
        return push_time == "now" or (isinstance(push_time, datetime) and push_time <= self.now())

    async def _read(self, *paths: str) -> list[Any]:
        found = await read_all(self.client(), paths)
        return [found[path] for path in paths]

    async def _write(self, campaign: Any, fields: Mapping[str, Any]) -> None:
        """Raises `WriteConflict` if the campaign was changed since it was read."""
        client = self.client()
        batch = client.batch()
        if campaign.exists:
            option = client.write_option(last_update_time=campaign.update_time)
            batch.update(campaign.reference, dict(fields), option=option)
        else:
            batch.create(campaign.reference, {STOPPED: False, **fields})
        await asked("Commit", lambda options: batch.commit(**options))
        log("INFO", "article.announced", data={"campaign": campaign.reference.path} | _told(fields))


def _campaign_path(article: str) -> str:
    return f"campaigns/article-{article.rpartition('/')[2]}"


def _document(snapshot: Any) -> Document | None:
    return Document(snapshot.reference.path, snapshot.to_dict()) if snapshot.exists else None


def _is(condition: Condition, document: Document | None) -> bool:
    """False where it cannot be read: what is no article is not published."""
    try:
        return document is not None and condition(document)
    except InvalidDocument:
        return False


def _told(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: fields[name] for name in ("live", STOPPED) if name in fields}
