"""Reads other documents from the database that the change came from."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from batchpush.documents import Document, is_document_id
from batchpush.errors import InvalidDocument, LookUpFailed
from batchpush.events.change import Change
from batchpush.google.clients import firestore, realtime_database
from batchpush.google.credentials import CredentialsUnavailable
from batchpush.google.firestore import (
    ARRAY_CONTAINS_ANY,
    Firestore,
    FirestoreRefused,
    FirestoreUnavailable,
    Query,
    is_document,
)
from batchpush.google.sources import firestore_database_of
from batchpush.logs import log

MAX_VALUES = 30  # that one Firestore query can look for
PAGE = 1000  # documents in one answer of `pages`
READ_WITHIN = 30.0  # seconds for all look-ups of an event in the Realtime Database


class LookUp(Protocol):
    """Reads documents by their paths.

    A document that does not exist is None. Raises `LookUpFailed` if the database does not respond;
    the event is then redelivered.
    """

    async def __call__(self, path: str) -> Document | None:
        """Read one document."""

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Document | None]:
        """Read several at once, in the order of the paths; only these fields, if given."""

    async def listed(self, collection: str, field: str, values: Sequence[str]) -> set[str]:
        """The values that appear in a list field of any document of the collection.

        The Realtime Database cannot search lists; the result is always empty there.
        """

    def pages(
        self, collection: str, *, fields: Sequence[str] = ()
    ) -> AsyncIterator[list[Document]]:
        """Every document of a collection of any size, up to 1,000 at a time, ordered by id.

        Raises `InvalidDocument` in the Realtime Database, which this package reads by path only.
        """


def look_up_for(change: Change, firestore: Callable[[str], Firestore] = firestore) -> LookUp:
    """A look-up in the database or instance that holds the changed document.

    `firestore` returns a Firestore database by name.
    """
    if change.database == "firestore":
        return FirestoreLookUp(firestore(firestore_database_of(change.source)))
    return DatabaseLookUp(change.source)


def look_up_in(source: str, firestore: Callable[[str], Firestore] = firestore) -> LookUp:
    """A look-up in the database that an event's source names."""
    if source.startswith("//firestore."):
        return FirestoreLookUp(firestore(firestore_database_of(source)))
    return DatabaseLookUp(source)


async def profiles_of(look_up: LookUp, ids: Collection[str]) -> dict[str, Document]:
    """The profiles of the ids that belong to users: anyone can write any id into their profile."""
    found: dict[str, Document] = {}
    for each in sorted(ids):
        with suppress(InvalidDocument):  # the id cannot be a key in a Realtime Database
            if is_document_id(each):
                profile = await look_up(f"users/{each}")
                found |= {each: profile} if profile is not None else {}
    return found


async def still_readable(look_up: LookUp, paths: Iterable[str]) -> tuple[Document, ...]:
    """The documents that still exist and can be read."""
    left = dict.fromkeys(paths)
    while True:
        try:
            found = await look_up.many(*left)
        except InvalidDocument as error:
            if error.document not in left:
                raise
            log("ERROR", "document.dropped", error=error)
            del left[error.document]
        else:
            return tuple(document for document in found if document is not None)


class FirestoreLookUp:
    """Reads any number of documents in one batch."""

    def __init__(self, firestore: Firestore) -> None:
        self._firestore = firestore

    async def __call__(self, path: str) -> Document | None:
        (document,) = await self.many(path)
        return document

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Document | None]:
        possible = [path for path in paths if is_document(path)]  # another would fail them all
        if not possible:
            return [None for _ in paths]
        with _answered(paths[0]):
            found = await self._firestore.read(*possible, fields=fields)
        return [Document(path, found[path].fields) if path in found else None for path in paths]

    async def listed(self, collection: str, field: str, values: Sequence[str]) -> set[str]:
        pages = [values[start : start + MAX_VALUES] for start in range(0, len(values), MAX_VALUES)]
        with _answered(collection):
            found = await asyncio.gather(*(self._listed(collection, field, some) for some in pages))
        return set().union(*found)

    async def pages(
        self, collection: str, *, fields: Sequence[str] = ()
    ) -> AsyncIterator[list[Document]]:
        with _answered(collection):
            async for page in self._firestore.pages(Query(collection, fields=fields, limit=PAGE)):
                yield [Document(stored.path, stored.fields) for stored in page]

    async def _listed(self, collection: str, field: str, values: Sequence[str]) -> set[str]:
        where = [(field, ARRAY_CONTAINS_ANY, list(values))]
        query = Query(collection, where, fields=(field,), limit=10 * MAX_VALUES)
        documents: list[Any] = [each.fields for each in await self._firestore.find(query)]
        for name in field.split("."):
            documents = [each.get(name) or {} for each in documents]
        return {each for listed in documents for each in listed if each in values}


@contextmanager
def _answered(path: str) -> Iterator[None]:
    """Raises `LookUpFailed` where Firestore fails, `InvalidDocument` where it always would."""
    try:
        yield
    except FirestoreUnavailable as error:
        raise LookUpFailed(f"Firestore: {error}") from None
    except FirestoreRefused as error:
        raise InvalidDocument(path, None, f"cannot be read: {error}") from None


class DatabaseLookUp:
    """Sends one request per path, concurrently: the Realtime Database has no batched read."""

    def __init__(self, source: str) -> None:
        """`source` is `//firebasedatabase.googleapis.com/projects/_/locations/L/instances/I`."""
        self._source = source
        self._end: float | None = None

    async def __call__(self, path: str) -> Document | None:
        (document,) = await self.many(path)
        return document

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Document | None]:
        try:
            async with asyncio.timeout(self._seconds_left()):
                values = await realtime_database(self._source).read(paths, event=self)
        except TimeoutError:
            raise LookUpFailed(f"Realtime Database: not read within {READ_WITHIN:g} s") from None
        except CredentialsUnavailable as error:
            raise LookUpFailed(f"Realtime Database: {error}") from None
        # A value that is not a map of fields is not a document.
        return [
            only(Document(path, value), fields) if isinstance(value, dict) else None
            for path, value in zip(paths, values, strict=True)
        ]

    async def listed(self, collection: str, field: str, values: Sequence[str]) -> set[str]:
        return set()

    async def pages(
        self, collection: str, *, fields: Sequence[str] = ()
    ) -> AsyncIterator[list[Document]]:
        raise InvalidDocument(collection, None, "is read by pages only in Firestore")
        yield []

    def _seconds_left(self) -> float:
        """The time left for all look-ups of an event; raises TimeoutError if there is none."""
        now = asyncio.get_running_loop().time()
        if self._end is None:
            self._end = now + READ_WITHIN
        if now >= self._end:
            raise TimeoutError
        return self._end - now


def only(document: Document, fields: Sequence[str]) -> Document:
    """The document with only these fields; unchanged if none are given."""
    if not fields:
        return document
    kept = {name: value for name, value in document.items() if name in fields}
    return Document(document.path, kept)
