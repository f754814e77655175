"""The state documents of campaigns in Firestore: `campaigns/{id}/batch/{app}`.

Like delivery records, they need no transactions: see `batchpush.google.leased`.
"""

from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from batchpush.campaigns.state import (
    UNFINISHED,
    CampaignState,
    Publication,
    UnknownCreate,
    is_token,
)
from batchpush.documents import Document
from batchpush.google import leased
from batchpush.google.firestore import (
    IN,
    LESS_THAN_OR_EQUAL,
    Firestore,
    Query,
    Stored,
    Version,
    translated,
)
from batchpush.logs import log

CAMPAIGNS = "campaigns"
STATES = "batch"  # a campaign's subcollection, with one document per app
PAGE = 100  # state documents per query
MAX_REVISIONS = 2**62  # far below the largest integer in Firestore
MAX_VALUES = 30  # Firestore's limit for IN


@dataclass(frozen=True)
class AppEntry:
    """A state document: its path, its content, and its version, None if it does not exist yet."""

    path: str
    publication: Publication
    version: Version | None = None

    @property
    def app(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def campaign(self) -> str:
        """The path of the campaign's document."""
        return self.path.rpartition(f"/{STATES}/")[0]


@dataclass(frozen=True)
class Observed:
    """A campaign's document and its state documents, read at one moment."""

    document: Document | None
    version: str  # changes with every write of the document; empty if there is none
    known: Sequence[AppEntry]  # without unreadable states: those are not ours to touch


class Publications:
    """Reads and writes state documents. Raises `LedgerUnavailable` if Firestore fails."""

    def __init__(self, client: Callable[[], Firestore]) -> None:
        """`client` returns the database; it is called on first use, in the worker."""
        self._client = client

    async def look(self, campaign: str, apps: Collection[str]) -> Observed:
        """Read the campaign at this path and its state in each app, in one request."""
        states = [state_path(campaign, app) for app in apps]
        found = await self._read(campaign, *states)
        document = found.get(campaign)
        return Observed(
            Document(campaign, document.fields) if document else None,
            _version(document),
            _readable((path, found.get(path)) for path in states),
        )

    async def version(self, campaign: str) -> str:
        """The current version of the campaign's document."""
        return _version((await self._read(campaign)).get(campaign))

    async def write(self, entry: AppEntry, publication: Publication) -> AppEntry:
        """Replace the stored state; raises `WriteConflict` if somebody else wrote it first."""
        document = _to_document(publication)
        version = await leased.write(self._client(), entry.path, document, entry.version)
        return AppEntry(entry.path, publication, version)

    async def taken(self, tokens: Collection[str]) -> set[str]:
        """The tokens that some state document already has, even an unreadable one."""
        ordered = sorted(tokens)
        found: set[str] = set()
        for start in range(0, len(ordered), MAX_VALUES):
            where = [("campaign_token", IN, ordered[start : start + MAX_VALUES])]
            query = Query(STATES, where, fields=("campaign_token",), everywhere=True)
            ours = _ours(await self._find(query))
            found |= {stored.fields["campaign_token"] for _, stored in ours}
        return found

    async def unfinished(self) -> AsyncIterator[AppEntry]:
        """All unfinished states, read page by page."""
        where = [("state", IN, [each.value for each in UNFINISHED])]
        query = Query(STATES, where, limit=PAGE, fields=(), everywhere=True)
        with translated():
            async for page in self._client().pages(query):
                for entry in _readable(_ours(page)):
                    yield entry

    async def listed(
        self, states: Collection[CampaignState], after: str | None, limit: int
    ) -> tuple[list[AppEntry], str | None]:
        """Up to `limit` states, sorted by path, and the path to go on after, if there may be more.

        Without `states`, those in any state.
        """
        where = [("state", IN, sorted(each.value for each in states))] if states else []
        query = Query(
            STATES, where, begins_at=after, itself=False, limit=limit, fields=(), everywhere=True
        )
        found = await self._find(query)
        return _readable(_ours(found)), found[-1].path if len(found) == limit else None

    async def names(self, campaigns: Collection[str]) -> dict[str, str]:
        """The names in the campaigns' documents, by path."""
        with translated():
            found = await self._client().read(*campaigns, fields=("name",))
        return {path: str(stored.fields.get("name", "")) for path, stored in found.items()}

    async def with_stats_due(self, by: datetime, limit: int) -> list[AppEntry]:
        """The states whose statistics are due by then, longest overdue first."""
        where = [("stats_at", LESS_THAN_OR_EQUAL, by)]
        query = Query(STATES, where, order_by="stats_at", limit=limit, fields=(), everywhere=True)
        return _readable(_ours(await self._find(query)))

    async def _read(self, *paths: str) -> dict[str, Stored]:
        with translated():
            return await self._client().read(*paths)

    async def _find(self, query: Query) -> list[Stored]:
        with translated():
            return await self._client().find(query)


def state_path(campaign: str, app: str) -> str:
    """The path of the state document of a campaign in an app."""
    return f"{campaign}/{STATES}/{app}"


def _ours(found: Iterable[Stored]) -> Iterator[tuple[str, Stored]]:
    """Pairs of path and document, without those from other collections named `batch`."""
    for stored in found:
        first, *others = stored.path.split("/")
        if first == CAMPAIGNS and len(others) == 3:
            yield stored.path, stored


def _version(stored: Stored | None) -> str:
    """The update time to the microsecond: stored states have it in this format."""
    return stored.version.ToDatetime(UTC).isoformat() if stored else ""


def _readable(found: Iterable[tuple[str, Stored | None]]) -> list[AppEntry]:
    """The entries we can read. A person or a later version wrote the others."""
    readable = []
    for path, stored in found:
        try:
            readable.append(_entry(path, stored))
        except ValueError as error:
            log("ERROR", "campaign.unreadable", data={"state": path, "problem": str(error)})
    return readable


def _entry(path: str, stored: Stored | None) -> AppEntry:
    if stored is None:
        return AppEntry(path, Publication())
    return AppEntry(path, publication_in(stored.fields), stored.version)


def _to_document(publication: Publication) -> dict[str, Any]:
    document = {each.name: getattr(publication, each.name) for each in fields(publication)}
    document["state"] = publication.state.value
    document["doubts"] = [vars(doubt) for doubt in publication.doubts]
    return document


def publication_in(document: Mapping[str, Any]) -> Publication:
    """The content of a state document.

    Raises ValueError, naming the field, for a value that this version cannot read.
    """
    values = {name: document[name] for name in KINDS.keys() & document.keys()}
    # An operator who resolves a HELD campaign may write only its token.
    values["state"] = values.get("state", CampaignState.HELD.value)
    if not is_token(values.get("campaign_token")):
        values["campaign_token"] = None
    for name, value in values.items():
        if not KINDS[name](value):
            raise ValueError(f"{name} is unknown to this version")
    doubts = tuple(_doubt(doubt) for doubt in values.get("doubts", ()))
    return Publication(**values | {"state": CampaignState(values["state"]), "doubts": doubts})


def _doubt(stored: Mapping[str, Any]) -> UnknownCreate:
    return UnknownCreate(stored["name"], stored["fingerprint"], stored["at"])


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _is_time(value: object) -> bool:
    return value is None or isinstance(value, datetime)


def _are_doubts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_doubt, value))


def _is_doubt(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("fingerprint"), str)
        and isinstance(value.get("at"), datetime)
    )


KINDS: dict[str, Callable[[Any], bool]] = {
    "state": lambda v: v in [each.value for each in CampaignState],
    "campaign_token": _is_text,
    "error": _is_text,
    "updated_at": lambda v: isinstance(v, datetime),
    "applied": _is_text,
    "tried": _is_text,
    "doubts": _are_doubts,
    "live_from": _is_time,
    "stats_at": _is_time,
    "stats_of": _is_time,
    "lease_until": _is_time,
    "revision": lambda v: type(v) is int and 0 <= v < MAX_REVISIONS,
}
