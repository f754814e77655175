"""Firestore in memory, below our client: what a commit and a read do, and how they fail.

The client encodes and decodes as it does for the real one, so what it would choke on, it does.
"""

import itertools
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

from batchpush.firestore import Firestore, FirestoreUnavailable, Outrun, messages

Operation = Callable[[], Any]


class Memory:
    """The documents, by name; `operations` are the names of what was done, in order.

    `strike` stands between every operation and its effect: it carries it out, or does not, or
    loses the answer.
    """

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self.operations: list[str] = []
        self.strike: Callable[[str, Operation], Awaitable[Any]] | None = None
        self._versions = itertools.count(1)

    def client(self) -> Firestore:
        return InMemory(self)

    async def _do(self, name: str, operation: Operation) -> Any:
        self.operations.append(name)
        return await self.strike(name, operation) if self.strike else operation()

    async def asked(self, method: str, request: Any) -> list[Any]:
        if method == "Commit":
            writes = request.writes
            return await self._do(_step(writes[0]), lambda: [self._committed(writes)])
        if method == "BatchGetDocuments":
            return await self._do("read", lambda: list(map(self._found, request.documents)))
        # Whatever is asked for: every document of the collection, by name.
        folder = f"{request.parent}/{request.structured_query.from_[0].collection_id}/"
        return await self._do("query", lambda: list(self._documents(folder)))

    def _committed(self, writes: Iterable[Any]) -> Any:
        for write in writes:
            self._check(write)
        response = messages()["CommitResponse"]()
        for write in writes:
            response.write_results.add().update_time.CopyFrom(self._write(write))
        return response

    def _check(self, write: Any) -> None:
        stored, condition = self.documents.get(write.update.name), write.current_document
        if condition.HasField("exists") and not condition.exists and stored is not None:
            raise Outrun("it is there")
        if condition.HasField("update_time"):
            if stored is None:
                raise FirestoreUnavailable("NOT_FOUND")
            if stored.update_time != condition.update_time:
                raise Outrun("it was changed")

    def _write(self, write: Any) -> Any:
        document = type(write.update)()
        document.CopyFrom(write.update)
        if write.HasField("update_mask"):
            document.CopyFrom(self.documents[write.update.name])
            for name in write.update_mask.field_paths:
                document.fields[name].CopyFrom(write.update.fields[name])
        document.update_time.seconds = next(self._versions)
        self.documents[document.name] = document
        return document.update_time

    def _found(self, name: str) -> Any:
        return messages()["BatchGetDocumentsResponse"](found=self.documents.get(name))

    def _documents(self, folder: str) -> Iterator[Any]:
        for name in sorted(self.documents):
            if name.startswith(folder) and "/" not in name.removeprefix(folder):
                yield messages()["RunQueryResponse"](document=self.documents[name])


class InMemory(Firestore):
    """A client of a memory, which nothing leaves."""

    def __init__(self, memory: Memory) -> None:
        self._database = "projects/demo-batchpush/databases/(default)"
        self._memory = memory

    async def _asked(self, method: str, request: Any) -> list[Any]:
        return await self._memory.asked(method, request)


def _step(write: Any) -> str:
    """What a commit of the ledger is: a claim, a take-up, or a record of the outcome."""
    if not write.HasField("update_mask"):
        return "claim"
    return "take up" if write.update.fields["state"].string_value == "CLAIMED" else "record"
