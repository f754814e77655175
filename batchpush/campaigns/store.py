"""The state documents of campaigns in Firestore: `campaigns/{id}/batch/{app}`.

As with delivery records there are no transactions: `create()` has one winner, and so has an
update that names the version it was made from.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from batchpush.campaigns.state import UNFINISHED, Doubt, Publication, State, is_token
from batchpush.documents import Document
from batchpush.google.clients import asked, queried, read_all
from batchpush.google.firestore import WriteConflict
from batchpush.logs import log

CAMPAIGNS = "campaigns"
STATES = "batch"  # the subcollection of a campaign, with a document per app
PAGE = 100  # states in one answer
MAX_REVISIONS = 2**62  # far from the end of an integer
MAX_VALUES = 30  # that a query's IN may have


@dataclass(frozen=True)
class Known:
    """What is known of a campaign in one app; `version` is Firestore's, None where it is new."""

    path: str
    publication: Publication
    version: Any = None

    @property
    def app(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def campaign(self) -> str:
        """The path of the campaign's document."""
        return self.path.rpartition(f"/{STATES}/")[0]


@dataclass(frozen=True)
class Seen:
    """A campaign's document as it was at one moment, and what was known of it in each app.

    `version` changes with each write of the document; it is empty where there is none. An app whose
    state cannot be read is not among the `known`: it is not ours to touch.
    """

    document: Document | None
    version: str
    known: Sequence[Known]


class Publications:
    """Raises `LedgerUnavailable` when Firestore does not do what it is asked."""

    def __init__(self, client: Callable[[], Any]) -> None:
        """`client` gives the `AsyncClient`; it is called on first use, in the worker."""
        self._client = client

    async def look(self, campaign: str, apps: Collection[str]) -> Seen:
        """Read the campaign at the path, and its state in each app, at once."""
        paths = [campaign, *(f"{campaign}/{STATES}/{app}" for app in apps)]
        found = await read_all(self._client(), paths)
        document = found[campaign]
        return Seen(
            Document(campaign, document.to_dict()) if document.exists else None,
            _version(document),
            _readable(found[path] for path in paths[1:]),
        )

    async def version(self, campaign: str) -> str:
        """That of the document at the path as it is now."""
        found = await read_all(self._client(), [campaign])
        return _version(found[campaign])

    async def write(self, known: Known, publication: Publication) -> Known:
        """Write what replaces `known`; raises `WriteConflict` if somebody else did before."""
        client = self._client()
        reference = client.document(known.path)
        batch = client.batch()
        if known.version is None:
            batch.create(reference, _to_document(publication))
        else:
            option = client.write_option(last_update_time=known.version)
            batch.update(reference, _to_document(publication), option=option)
        try:
            results = await asked("Commit", lambda options: batch.commit(**options))
        except WriteConflict:
            read = await read_all(client, [known.path])
            found = _readable(read.values())
            if not found or not _is_same(found[0].publication, publication):
                raise
            return found[0]
        return Known(known.path, publication, results[0].update_time)

    async def taken(self, tokens: Collection[str]) -> set[str]:
        """Those of the tokens that are known to be some campaign's, also in a state of garbage."""
        ordered = sorted(tokens)
        found: set[str] = set()
        for start in range(0, len(ordered), MAX_VALUES):
            some = ordered[start : start + MAX_VALUES]
            query = self._where("campaign_token", "in", some).select(["campaign_token"])
            found |= {each.get("campaign_token") for each in await _ours(query)}
        return found

    async def unfinished(self) -> AsyncIterator[Known]:
        """All that is neither as its document says nor settled otherwise, page by page."""
        query = self._where("state", "in", [each.value for each in UNFINISHED])
        query = query.order_by("__name__").limit(PAGE)
        page: list[Any] = []
        while True:
            page = await queried(query.start_after(page[-1]) if page else query)
            for known in _readable(filter(_is_ours, page)):
                yield known
            if len(page) < PAGE:
                return

    async def with_stats_due(self, by: datetime, limit: int) -> list[Known]:
        """Those whose statistics are to be asked for by then, the longest due first."""
        return _readable(await _ours(self._where("stats_at", "<=", by).limit(limit)))

    def _where(self, field: str, operator: str, value: Any) -> Any:
        from google.cloud.firestore_v1.base_query import FieldFilter

        query = self._client().collection_group(STATES)
        return query.where(filter=FieldFilter(field, operator, value))


async def _ours(query: Any) -> list[Any]:
    return [each for each in await queried(query) if _is_ours(each)]


def _is_ours(snapshot: Any) -> bool:
    """Another collection of that name is somebody else's."""
    first, *others = snapshot.reference.path.split("/")
    return first == CAMPAIGNS and len(others) == 3


def _version(snapshot: Any) -> str:
    return snapshot.update_time.isoformat() if snapshot.exists else ""


def _is_same(found: Publication, written: Publication) -> bool:
    """Whether what is stored is our own write, of which we lost the answer."""
    return (found.owner, found.revision) == (written.owner, written.revision)


def _readable(snapshots: Iterable[Any]) -> list[Known]:
    """What is known, without what cannot be read: a person, or a later version, wrote that."""
    readable = []
    for snapshot in snapshots:
        path = snapshot.reference.path
        try:
            readable.append(_known(path, snapshot))
        except ValueError as error:
            log("ERROR", "campaign.unreadable", data={"state": path, "problem": str(error)})
    return readable


def _known(path: str, snapshot: Any) -> Known:
    if not snapshot.exists:
        return Known(path, Publication())
    return Known(path, _from_document(snapshot.to_dict()), snapshot.update_time)


def _to_document(publication: Publication) -> dict[str, Any]:
    document = {each.name: getattr(publication, each.name) for each in fields(publication)}
    document["state"] = publication.state.value
    document["doubts"] = [vars(doubt) for doubt in publication.doubts]
    return document


def _from_document(document: Mapping[str, Any]) -> Publication:
    """Raises ValueError, naming the field, for what no version up to this one writes."""
    values = {name: document[name] for name in KINDS.keys() & document.keys()}
    # A person who found a campaign at Batch may have written no more than its token.
    values["state"] = values.get("state", State.HELD.value)
    if not is_token(values.get("campaign_token")):
        values["campaign_token"] = None
    for name, value in values.items():
        if not KINDS[name](value):
            raise ValueError(f"{name} is none that this version knows")
    doubts = tuple(_doubt(doubt) for doubt in values.get("doubts", ()))
    return Publication(**values | {"state": State(values["state"]), "doubts": doubts})


def _doubt(stored: Mapping[str, Any]) -> Doubt:
    return Doubt(stored["name"], stored["fingerprint"], stored["at"])


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
    "state": lambda v: v in [each.value for each in State],
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
