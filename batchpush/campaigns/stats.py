"""Pulls statistics from Batch into Firestore, where editors see them.

campaigns ──> campaigns/{id}/batch/{app}/stats/{date}
group ids ──> batch_stats/{app}_{group_id}_{date}

We pull only what can still change: a campaign less and less often, and a group's last days. The
group ids come from the delivery records. Each query finds the next id in the index, so listing all
groups costs one read per group, and sending a push needs no extra write.
"""

import re
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from urllib.parse import quote

from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.batch_api.requests import Caller, Request
from batchpush.campaigns.results import COLUMNS, PULLED_FOR, STILL_CHANGES, day_rows, next_pull
from batchpush.campaigns.store import AppEntry, Publications
from batchpush.environment import Settings
from batchpush.google.firestore import (
    GREATER_THAN,
    GREATER_THAN_OR_EQUAL,
    Firestore,
    Query,
    Stored,
    WriteConflict,
    translated,
)
from batchpush.logs import log
from batchpush.sweeping import from_anywhere, on_its_own

# The prefix of Dev keys (client); Batch has no statistics for them (official: transactional/stats).
DEV = "DEV"
STATS = "stats"  # the subcollection of a campaign's state in one app
GROUP_STATS = "batch_stats"
# Valid for Batch (official: transactional/send), and as part of a document id.
GROUP_ID = r"[A-Za-z0-9_-]{1,500}"

# Six months (official: transactional/stats, of a window), with a margin.
BATCH_KEEPS = timedelta(days=190)
AHEAD = timedelta(days=1)  # it may already be tomorrow elsewhere
PAUSE = 1.0  # seconds between requests. client: Pass Culture asks 60 times a minute
PULL_WITHIN = timedelta(seconds=420)
MAX_PER_RUN = 500  # campaigns, and groups; one run has no time for more


@dataclass
class Pull:
    """One run. An operator sets `since` to pull everything that can change, from that day on."""

    results: "Results"
    publications: Publications
    caller: Caller
    settings: Settings
    since: date | None = None
    asked: int = 0  # requests to Batch
    failed: int = 0  # of those, the ones that may succeed later

    def __post_init__(self) -> None:
        self.begun = self.caller.clock.now()
        self.stop = self.begun + PULL_WITHIN
        keys = self.settings.batch_apps.items()
        self.apps = [app for app, key in keys if not key.startswith(DEV)]
        self.dev_apps = [app for app, key in keys if key.startswith(DEV)]

    async def run(self) -> None:
        if self.dev_apps:
            log("WARNING", "stats.skipped", data={"apps": self.dev_apps, "reason": "Dev keys"})
        await self._campaigns()
        await self._groups()
        log("INFO", "stats.pulled", data={"asked": self.asked, "failed": self.failed})

    async def _campaigns(self) -> None:
        by = self.begun + PULLED_FOR / 24 if self.since else self.begun
        due = await self.publications.with_stats_due(by, MAX_PER_RUN)
        for entry in from_anywhere(due, self.caller.clock):
            if not entry.publication.is_claimed:
                await on_its_own(self._campaign(entry), function="pull_stats", document=entry.path)

    async def _campaign(self, entry: AppEntry) -> None:
        publication = entry.publication
        if entry.app not in self.apps or not publication.campaign_token:
            await self._plan(entry, stats_at=None)
            return
        token = quote(publication.campaign_token, safe="")
        outcome, detail = await self._asked(entry.app, f"campaigns/stats/{token}")
        if outcome is Outcome.REFUSED:  # it was deleted in the dashboard
            await self._plan(entry, stats_at=None)
        if outcome is not Outcome.ACCEPTED:
            return
        last = publication.stats_of
        since = min(last.date() - STILL_CHANGES, self.since or date.max) if last else date.min
        names = {"app": entry.app, "campaign": entry.campaign.rpartition("/")[2]}
        rows = self._rows(detail, since, names)
        await self.results.keep({f"{entry.path}/{STATS}/{day}": rows[day] for day in rows})
        ends = [datetime.combine(date.fromisoformat(day), time.max, UTC) for day in rows]
        last_active = max([publication.live_from or self.begun, *ends])
        await self._plan(entry, stats_at=next_pull(last_active, self.begun), stats_of=self.begun)

    async def _plan(self, entry: AppEntry, **plan: datetime | None) -> None:
        revision = entry.publication.revision + 1
        with suppress(WriteConflict):  # changed meanwhile: its statistics stay due
            planned = replace(entry.publication, revision=revision, **plan)  # type: ignore[arg-type]
            await self.publications.write(entry, planned)

    async def _groups(self) -> None:
        # CEP counts what its automations send, which is not asked for.
        apps = [app for app in self.apps if app not in self.settings.cep_apps]
        for group_id in from_anywhere(await self.results.group_ids(), self.caller.clock):
            for app in apps:
                await on_its_own(self._group(app, group_id), function="pull_stats")

    async def _group(self, app: str, group_id: str) -> None:
        today = self.begun.date()
        since = self.since or today - STILL_CHANGES
        route = f"transactional/stats/{group_id}?since={since}&until={today}"
        _, detail = await self._asked(app, route)
        rows = self._rows(detail, since, {"app": app, "group_id": group_id})
        await self.results.keep(
            {f"{GROUP_STATS}/{app}_{group_id}_{day}": rows[day] for day in rows}
        )

    def _rows(
        self, detail: list[Any], since: date, names: Mapping[str, Any]
    ) -> dict[str, dict[str, Any]]:
        """Rows keyed by day, limited to days for which Batch can have statistics."""
        today = self.begun.date()
        return day_rows(detail, max(since, today - BATCH_KEEPS), names, today + AHEAD)

    async def _asked(self, app: str, route: str) -> tuple[Outcome, list[Any]]:
        """The outcome of the request, and Batch's rows if it succeeded."""
        if self.caller.clock.now() >= self.stop:
            return Outcome.NOT_SENT, []
        await self.caller.clock.sleep(PAUSE)
        outcome, reply = await self.caller.call(app, Request("GET", route, _has_detail), self.stop)
        self.asked += 1
        if outcome is Outcome.ACCEPTED:
            return outcome, reply.json()["detail"]
        self.failed += outcome is not Outcome.REFUSED
        log("WARNING", "stats.failed", app=app, data={"route": route, "error": reply.why()})
        return outcome, []


def _has_detail(reply: Reply) -> bool:
    return reply.is_success and isinstance(reply.json().get("detail"), list)


class Results:
    """The statistics in Firestore. Raises `LedgerUnavailable` if a request to it fails."""

    def __init__(self, client: Callable[[], Firestore], deliveries: str) -> None:
        """`client` returns the database; `deliveries` is the collection of delivery records."""
        self._client = client
        self._deliveries = deliveries

    async def keep(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the rows, keyed by path, that are new or changed.

        It reads them first: a read costs a third of a write, and most rows have not changed.
        """
        client = self._client()
        with translated():
            stored = await client.read(*rows)
            changed = [
                client.put(path, row)
                for path, row in rows.items()
                if path not in stored or stored[path].fields != row
            ]
            if changed:
                await client.commit(changed)

    async def group_ids(self) -> list[str]:
        """The groups that have a delivery record, at most `MAX_PER_RUN`.

        The search starts at the group of a random record, so every group gets its turn.
        """
        first = await self._any_group()
        later = await self._groups_between(first, None, MAX_PER_RUN)
        earlier = await self._groups_between("", first, MAX_PER_RUN - len(later)) if first else []
        return sorted(each for each in later + earlier if re.fullmatch(GROUP_ID, each))

    async def _any_group(self) -> str:
        """The group of a random record; empty if there is none. Record ids are random."""
        place = secrets.token_hex(32)
        found = await self._find(
            Query(self._deliveries, begins_at=place, fields=("group_id",), limit=1)
        )
        group_id = found[0].fields.get("group_id") if found else None
        return group_id if isinstance(group_id, str) else ""

    async def _groups_between(self, after: str, until: str | None, limit: int) -> list[str]:
        """Group ids in `(after, until]`, each found by a query for the next one in the index."""
        found: list[str] = []
        while len(found) < limit:
            where = [("group_id", GREATER_THAN, found[-1] if found else after)]
            query = Query(
                self._deliveries, where, order_by="group_id", fields=("group_id",), limit=1
            )
            following = [each.fields["group_id"] for each in await self._find(query)]
            if not following or (until is not None and following[0] > until):
                break
            found += following
        return found

    async def since(self, day: date) -> list[dict[str, Any]]:
        """All stored rows from this day on, by day."""
        where = [("date", GREATER_THAN_OR_EQUAL, day.isoformat())]
        found = [
            *await self._find(Query(STATS, where, order_by="date", fields=(), everywhere=True)),
            *await self._find(Query(GROUP_STATS, where, order_by="date", fields=())),
        ]
        rows = [each.fields for each in found]
        return sorted(rows, key=lambda row: tuple(str(row.get(name)) for name in COLUMNS))

    async def _find(self, query: Query) -> list[Stored]:
        with translated():
            return await self._client().find(query)
