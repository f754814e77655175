"""The state documents of campaigns in Firestore: `campaigns/{id}/batch/{app}`.

As with delivery records there are no transactions: `create()` has one winner, and so has an
update that names the version it was made from.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from batchpush.change import Document
from batchpush.firebase import asked, queried, read_all
from batchpush.firestore import WriteConflict
from batchpush.publication import UNFINISHED, Doubt, Publication, State

CAMPAIGNS = "campaigns"
STATES = "batch"  # the subcollection of a campaign, with a document per app


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

    `version` changes with each write of the document; it is empty where there is none.
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
            [_known(found[path]) for path in paths[1:]],
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
            results = await asked(lambda options: batch.commit(**options))
        except WriteConflict:
            read = await read_all(client, [known.path])
            found = _known(read[known.path])
            if not _is_same(found.publication, publication):
                raise
            return found
        return Known(known.path, publication, results[0].update_time)

    async def taken(self, tokens: Collection[str]) -> set[str]:
        """Those of the tokens that are known to be some campaign's."""
        if not tokens:
            return set()
        found = await self._where("campaign_token", "in", list(tokens))
        return {known.publication.campaign_token or "" for known in found}

    async def unfinished(self, limit: int) -> list[Known]:
        """What is neither as its document says nor settled otherwise."""
        return await self._where("state", "in", [each.value for each in UNFINISHED], limit)

    async def with_stats_due(self, by: datetime, limit: int) -> list[Known]:
        """Those whose statistics are to be asked for by then, the longest due first."""
        return await self._where("stats_at", "<=", by, limit)

    async def _where(self, field: str, operator: str, value: Any, limit: int = 100) -> list[Known]:
        from google.cloud.firestore_v1.base_query import FieldFilter

        query = self._client().collection_group(STATES)
        query = query.where(filter=FieldFilter(field, operator, value)).limit(limit)
        snapshots = await queried(query)
        # Another collection of that name is somebody else's.
        return [_known(each) for each in snapshots if each.reference.path.startswith(CAMPAIGNS)]


def _version(snapshot: Any) -> str:
    return snapshot.update_time.isoformat() if snapshot.exists else ""


def _is_same(found: Publication, written: Publication) -> bool:
    """Whether what is stored is our own write, of which we lost the answer."""
    return (found.owner, found.revision) == (written.owner, written.revision)


def _known(snapshot: Any) -> Known:
    path = snapshot.reference.path
    if not snapshot.exists:
        return Known(path, Publication())
    return Known(path, _from_document(snapshot.to_dict()), snapshot.update_time)


def _to_document(publication: Publication) -> dict[str, Any]:
    document = {each.name: getattr(publication, each.name) for each in fields(publication)}
    document["state"] = publication.state.value
    document["doubts"] = [vars(doubt) for doubt in publication.doubts]
    return document


def _from_document(document: Mapping[str, Any]) -> Publication:
    known = {each.name for each in fields(Publication)}
    values = {name: value for name, value in document.items() if name in known}
    # A person who found a campaign at Batch may have written no more than its token.
    values["state"] = State(values.get("state", State.HELD.value))
    if not isinstance(values.get("campaign_token"), str):
        values["campaign_token"] = None
    values["doubts"] = tuple(Doubt(**doubt) for doubt in values.get("doubts", ()))
    return Publication(**values)
