"""Reads the other documents of a preview: those of a project, or of a file."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchpush.documents import Document
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp, only
from batchpush.sealed import reading


@dataclass
class LookUpInProject:
    """Reads documents of a project, the only thing a preview reads from the network.

    The document of the change is the one to preview, whatever the project has at its path.
    """

    documents: LookUp
    change: Change

    async def __call__(self, path: str) -> Document | None:
        if path == self.change.path:
            return self.change.after
        with reading():
            return await self.documents(path)

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Document | None]:
        with reading():
            return await self.documents.many(*paths, fields=fields)

    async def listed(self, collection: str, field: str, values: Sequence[str]) -> set[str]:
        with reading():
            return await self.documents.listed(collection, field, values)

    async def pages(
        self, collection: str, *, fields: Sequence[str] = ()
    ) -> AsyncIterator[list[Document]]:
        with reading():
            async for page in self.documents.pages(collection, fields=fields):
                yield page


@dataclass
class LookUpInFile:
    """Reads documents from a file instead of a database, and remembers which were missing."""

    documents: Mapping[str, Mapping[str, Any]]
    missing: list[str] = field(default_factory=list)

    async def __call__(self, path: str) -> Document | None:
        (document,) = await self.many(path)
        return document

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Document | None]:
        self.missing += [path for path in paths if path not in self.documents]
        return [self._read(path, fields) for path in paths]

    async def listed(self, collection: str, field: str, values: Sequence[str]) -> set[str]:
        documents: list[Any] = [
            document
            for path, document in self.documents.items()
            if path.rpartition("/")[0] == collection
        ]
        for name in field.split("."):
            documents = [
                each.get(name) if isinstance(each, Mapping) else None for each in documents
            ]
        lists = (listed for listed in documents if isinstance(listed, list))
        return {value for listed in lists for value in listed if value in values}

    async def pages(
        self, collection: str, *, fields: Sequence[str] = ()
    ) -> AsyncIterator[list[Document]]:
        within = [path for path in self.documents if path.rpartition("/")[0] == collection]
        yield [only(Document(path, self.documents[path]), fields) for path in sorted(within)]

    def _read(self, path: str, fields: Sequence[str]) -> Document | None:
        if path not in self.documents:
            return None
        return only(Document(path, self.documents[path]), fields)
