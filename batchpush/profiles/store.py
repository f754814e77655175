"""The state documents of people's attributes in Firestore: `batch_profiles/{user_id}`.

One for each person, with what every app has. They need no transactions: see
`batchpush.google.leased`.
"""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batchpush.documents import PEOPLE, Document
from batchpush.google import leased
from batchpush.google.firestore import (
    IN,
    Firestore,
    Query,
    Stored,
    Version,
    is_document,
    translated,
)
from batchpush.logs import log
from batchpush.profiles.state import UNFINISHED, AppProfile, Mirrored, ProfileState

STATES = "batch_profiles"
PAGE = 100  # state documents per query


@dataclass(frozen=True)
class Entry:
    """A person's state, and its version, None if it does not exist yet."""

    user_id: str
    mirrored: Mirrored
    version: Version | None = None


class Profiles:
    """Reads and writes state documents. Raises `LedgerUnavailable` if Firestore fails."""

    def __init__(self, client: Callable[[], Firestore]) -> None:
        """`client` returns the database; it is called on first use, in the worker."""
        self._client = client

    async def read(
        self, user_ids: Collection[str], with_profiles: bool
    ) -> dict[str, tuple[Entry, Document | None]]:
        """The states, and on request the profiles in Firestore, of one moment.

        A user id of the Realtime Database that Firestore reserves, such as `__x__`, has no state.
        """
        of_states = {user_id: state_path(user_id) for user_id in user_ids}
        of_profiles = {user_id: f"{PEOPLE}/{user_id}" for user_id in user_ids}
        paths = [*of_states.values(), *(of_profiles.values() if with_profiles else ())]
        with translated():
            found = await self._client().read(*filter(is_document, paths))
        return {
            user_id: (_entry(user_id, found.get(path)), _document(found.get(of_profiles[user_id])))
            for user_id, path in of_states.items()
        }

    async def write(self, entry: Entry, mirrored: Mirrored) -> Entry:
        """Replace the stored state; raises `WriteConflict` if somebody else wrote it first."""
        path = state_path(entry.user_id)
        version = await leased.write(self._client(), path, _to_document(mirrored), entry.version)
        return Entry(entry.user_id, mirrored, version)

    async def forget(self, entry: Entry) -> None:
        """Delete the state; raises `WriteConflict` if somebody else has written it since."""
        client = self._client()
        with translated():
            await client.commit([client.delete(state_path(entry.user_id), entry.version)])

    async def users(self, after: str, limit: int) -> AsyncIterator[list[str]]:
        """The ids of every profile in Firestore after this one, sorted, in pages."""
        query = Query(PEOPLE, begins_at=after or None, itself=False, limit=limit)
        with translated():
            async for page in self._client().pages(query):
                yield [stored.id for stored in page]

    async def unfinished(self) -> AsyncIterator[Entry]:
        """The people whose attributes are not at Batch yet."""
        where = [("state", IN, sorted(each.value for each in UNFINISHED))]
        query = Query(STATES, where, limit=PAGE, fields=())
        with translated():
            async for page in self._client().pages(query):
                for stored in page:
                    yield _entry(stored.id, stored)


def state_path(user_id: str) -> str:
    return f"{STATES}/{user_id}"


def _document(stored: Stored | None) -> Document | None:
    return Document(stored.path, stored.fields) if stored else None


def _entry(user_id: str, stored: Stored | None) -> Entry:
    if stored is None:
        return Entry(user_id, Mirrored())
    try:
        return Entry(user_id, _of_document(stored.fields), stored.version)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # Everything is sent once more, which does no harm.
        log("ERROR", "profile.unreadable", error=error, data={"state": stored.path})
        return Entry(user_id, Mirrored(), stored.version)


def _to_document(mirrored: Mirrored) -> dict[str, Any]:
    apps = {
        # A list, since a custom id may be a name that Firestore does not take for a field.
        app: {
            "sent": [{"id": each, "values": dict(values)} for each, values in of_app.sent.items()],
            "refused": of_app.refused,
            "error": of_app.error,
        }
        for app, of_app in mirrored.apps.items()
    }
    return vars(mirrored) | {"state": mirrored.state.value, "apps": apps}


def _of_document(document: Mapping[str, Any]) -> Mirrored:
    lease_until = document["lease_until"]
    if not isinstance(lease_until, datetime | None):
        raise TypeError("lease_until is not a time")
    return Mirrored(
        state=ProfileState(document["state"]),
        apps={app: _of_app(fields) for app, fields in document["apps"].items()},
        source=str(document["source"]),
        updated_at=document["updated_at"],
        lease_until=lease_until,
        revision=int(document["revision"]),
    )


def _of_app(fields: Mapping[str, Any]) -> AppProfile:
    sent = {each["id"]: dict(each["values"]) for each in fields["sent"]}
    return AppProfile(sent, fields["refused"], fields["error"])
