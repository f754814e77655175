"""Reading other documents, from the database that the change came from."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from batchpush.change import Change, Document
from batchpush.errors import InvalidDocument, LookUpFailed
from batchpush.firebase import database_reference, firestore
from batchpush.firestore import FirestoreRefused, FirestoreUnavailable, is_document


class LookUp(Protocol):
    """Reads documents by their paths.

    Documents that do not exist come back as None. Raises `LookUpFailed` when the database does
    not answer; the event is then delivered again.
    """

    async def __call__(self, path: str) -> Document | None:
        """Read one document."""

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Document | None]:
        """Read several at once, in the order of their paths; only these fields, where given."""


def look_up_for(change: Change) -> LookUp:
    """A look-up in the database, and the instance of it, that holds the changed document."""
    if change.database == "firestore":
        return FirestoreLookUp(change.source)
    return DatabaseLookUp(change.source)


class FirestoreLookUp:
    """One batched read, however many documents."""

    def __init__(self, source: str) -> None:
        """`source` is `//firestore.googleapis.com/projects/P/databases/D`."""
        self._database = source.rpartition("/databases/")[2] or "(default)"

    async def __call__(self, path: str) -> Document | None:
        (document,) = await self.many(path)
        return document

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Document | None]:
        possible = [path for path in paths if is_document(path)]  # one of others would fail all
        try:
            found = await firestore(self._database).read(*possible, fields=fields)
        except FirestoreUnavailable as error:
            raise LookUpFailed(f"Firestore: {error}") from None
        except FirestoreRefused as error:
            raise InvalidDocument(paths[0], None, f"cannot be read: {error}") from None
        return [Document(path, found[path].fields) if path in found else None for path in paths]


class DatabaseLookUp:
    """One request per path, all at once: the Realtime Database has no batched read."""

    def __init__(self, source: str) -> None:
        self._source = source

    async def __call__(self, path: str) -> Document | None:
        (document,) = await self.many(path)
        return document

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Document | None]:
        reads = (asyncio.to_thread(self._read, path) for path in paths)
        documents = await asyncio.gather(*reads)
        return [_only(document, fields) for document in documents]

    def _read(self, path: str) -> Document | None:
        from firebase_admin.exceptions import FirebaseError
        from google.auth.exceptions import GoogleAuthError

        try:
            value = database_reference(self._source, path).get()
        except ValueError:
            raise InvalidDocument(path, None, "is not a path in a Realtime Database") from None
        except (FirebaseError, GoogleAuthError) as error:
            raise LookUpFailed(f"Realtime Database: {type(error).__name__}") from None
        # A value that is no map of fields is no document.
        return Document(path, value) if isinstance(value, dict) else None


def _only(document: Document | None, fields: Sequence[str]) -> Document | None:
    if document is None or not fields:
        return document
    kept = {name: value for name, value in document.items() if name in fields}
    return Document(document.path, kept)
