"""The state documents of campaigns in Firestore: `campaigns/{id}/batch/{app}`.

As with delivery records there are no transactions: `create()` has one winner, and so has an
update that names the version it was made from.
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
from batchpush.google.firestore import (
    IN,
    LESS_THAN_OR_EQUAL,
    Firestore,
    Query,
    Stored,
    Version,
    WriteConflict,
    translated,
)
from batchpush.google.leased import is_own_write
from batchpush.logs import log

CAMPAIGNS = "campaigns"
STATES = "batch"  # the subcollection of a campaign, with a document per app
PAGE = 100  # states in one answer
MAX_REVISIONS = 2**62  # far from the end of an integer
MAX_VALUES = 30  # that a query's IN may have


@dataclass(frozen=True)
class AppEntry:
    """What is known of a campaign in one app; `version` is Firestore's, None where it is new."""

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
    """A campaign's document as it was at one moment, and what was known of it in each app.

    `version` changes with each write of the document; it is empty where there is none. An app whose
    state cannot be read is not among the `known`: it is not ours to touch.
    """

    document: Document | None
    version: str
    known: Sequence[AppEntry]


class Publications:
    """Raises `LedgerUnavailable` when Firestore does not do what it is asked."""

    def __init__(self, client: Callable[[], Firestore]) -> None:
        """`client` gives the database; it is called on first use, in the worker."""
        self._client = client

    async def look(self, campaign: str, apps: Collection[str]) -> Observed:
        """Read the campaign at the path, and its state in each app, at once."""
        states = [f"{campaign}/{STATES}/{app}" for app in apps]
        found = await self._read(campaign, *states)
        document = found.get(campaign)
        return Observed(
            Document(campaign, document.fields) if document else None,
            _version(document),
            _readable((path, found.get(path)) for path in states),
        )

    async def version(self, campaign: str) -> str:
        """That of the document at the path as it is now."""
        return _version((await self._read(campaign)).get(campaign))

    async def write(self, known: AppEntry, publication: Publication) -> AppEntry:
        """Write what replaces `known`; raises `WriteConflict` if somebody else did before."""
        client = self._client()
        try:
            with translated():
                write = client.replace(known.path, _to_document(publication), known.version)
                (result,) = await client.commit([write])
        except WriteConflict:
            found = _readable((await self._read(known.path)).items())
            if not found or not is_own_write(found[0].publication, publication):
                raise
            return found[0]
        return AppEntry(known.path, publication, result.update_time)

    async def taken(self, tokens: Collection[str]) -> set[str]:
        """Those of the tokens that are known to be some campaign's, also in a state of garbage."""
        ordered = sorted(tokens)
        found: set[str] = set()
        for start in range(0, len(ordered), MAX_VALUES):
            where = ("campaign_token", IN, ordered[start : start + MAX_VALUES])
            query = Query(STATES, where, fields=("campaign_token",), everywhere=True)
            ours = _ours(await self._find(query))
            found |= {stored.fields["campaign_token"] for _, stored in ours}
        return found

    async def unfinished(self) -> AsyncIterator[AppEntry]:
        """All that is neither as its document says nor settled otherwise, page by page."""
        where = ("state", IN, [each.value for each in UNFINISHED])
        query = Query(STATES, where, limit=PAGE, fields=(), everywhere=True)
        while True:
            page = await self._find(query)
            for known in _readable(_ours(page)):
                yield known
            if len(page) < PAGE:
                return
            query = query.after(page[-1])

    async def with_stats_due(self, by: datetime, limit: int) -> list[AppEntry]:
        """Those whose statistics are to be asked for by then, the longest due first."""
        where = ("stats_at", LESS_THAN_OR_EQUAL, by)
        query = Query(STATES, where, order_by="stats_at", limit=limit, fields=(), everywhere=True)
        return _readable(_ours(await self._find(query)))

    async def _read(self, *paths: str) -> dict[str, Stored]:
        with translated():
            return await self._client().read(*paths)

    async def _find(self, query: Query) -> list[Stored]:
        with translated():
            return await self._client().find(query)


def _ours(found: Iterable[Stored]) -> Iterator[tuple[str, Stored]]:
    """By their paths; another collection of that name is somebody else's."""
    for stored in found:
        first, *others = stored.path.split("/")
        if first == CAMPAIGNS and len(others) == 3:
            yield stored.path, stored


def _version(stored: Stored | None) -> str:
    """As the states have always named it: to the microsecond."""
    return stored.version.ToDatetime(UTC).isoformat() if stored else ""


def _readable(found: Iterable[tuple[str, Stored | None]]) -> list[AppEntry]:
    """What is known, without what cannot be read: a person, or a later version, wrote that."""
    readable = []
    for path, stored in found:
        try:
            readable.append(_known(path, stored))
        except ValueError as error:
            log("ERROR", "campaign.unreadable", data={"state": path, "problem": str(error)})
    return readable


def _known(path: str, stored: Stored | None) -> AppEntry:
    if stored is None:
        return AppEntry(path, Publication())
    return AppEntry(path, _from_document(stored.fields), stored.version)


def _to_document(publication: Publication) -> dict[str, Any]:
    document = {each.name: getattr(publication, each.name) for each in fields(publication)}
    document["state"] = publication.state.value
    document["doubts"] = [vars(doubt) for doubt in publication.doubts]
    return document


def _from_document(document: Mapping[str, Any]) -> Publication:
    """Raises ValueError, naming the field, for what no version up to this one writes."""
    values = {name: document[name] for name in KINDS.keys() & document.keys()}
    # A person who found a campaign at Batch may have written no more than its token.
    values["state"] = values.get("state", CampaignState.HELD.value)
    if not is_token(values.get("campaign_token")):
        values["campaign_token"] = None
    for name, value in values.items():
        if not KINDS[name](value):
            raise ValueError(f"{name} is none that this version knows")
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
    "owner": lambda v: isinstance(v, str),
    "lease_until": _is_time,
    "revision": lambda v: type(v) is int and 0 <= v < MAX_REVISIONS,
}
