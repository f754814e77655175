"""Firestore in memory, below Google's own client: what a commit and a read do, and how they fail.

The client encodes and decodes as it does for the real one, so what it would choke on, it does.
"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

from google.api_core.exceptions import AlreadyExists, FailedPrecondition, NotFound
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1.types import (
    BatchGetDocumentsResponse,
    CommitResponse,
    RunQueryResponse,
)

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

    def client(self) -> AsyncClient:
        client = AsyncClient(project="demo-batchpush", credentials=AnonymousCredentials())
        client._firestore_api_internal = self
        return client

    async def _do(self, name: str, operation: Operation) -> Any:
        self.operations.append(name)
        return await self.strike(name, operation) if self.strike else operation()

    # As `FirestoreAsyncClient` has them

    async def commit(self, request: Mapping[str, Any], **_: Any) -> CommitResponse:
        writes = [type(write).pb(write) for write in request["writes"]]
        return await self._do(_step(writes[0]), lambda: self._committed(writes))

    async def batch_get_documents(
        self, request: Mapping[str, Any], **_: Any
    ) -> AsyncIterator[BatchGetDocumentsResponse]:
        found = await self._do("read", lambda: list(map(self._found, request["documents"])))
        return _each(found)

    async def run_query(
        self, request: Mapping[str, Any], **_: Any
    ) -> AsyncIterator[RunQueryResponse]:
        """Whatever is asked for: every document of the collection, by name."""
        query = request["structured_query"]
        folder = f"{request['parent']}/{query.from_[0].collection_id}/"
        return _each(await self._do("query", lambda: list(self._documents(folder))))

    def _committed(self, writes: list[Any]) -> CommitResponse:
        for write in writes:
            self._check(write)
        response = CommitResponse()
        pb = CommitResponse.pb(response)
        for write in writes:
            pb.write_results.add().update_time.CopyFrom(self._write(write))
        return response

    def _check(self, write: Any) -> None:
        stored, condition = self.documents.get(write.update.name), write.current_document
        kind = condition.WhichOneof("condition_type")
        if kind == "exists" and not condition.exists and stored is not None:
            raise AlreadyExists("it is there")
        if kind == "update_time":
            if stored is None:
                raise NotFound("it is not there")
            if stored.update_time != condition.update_time:
                raise FailedPrecondition("it was changed")

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

    def _found(self, name: str) -> BatchGetDocumentsResponse:
        response = BatchGetDocumentsResponse()
        pb = BatchGetDocumentsResponse.pb(response)
        if name in self.documents:
            pb.found.CopyFrom(self.documents[name])
        else:
            pb.missing = name
        pb.read_time.seconds = 1
        return response

    def _documents(self, folder: str) -> Iterator[RunQueryResponse]:
        for name in sorted(self.documents):
            if name.startswith(folder) and "/" not in name.removeprefix(folder):
                response = RunQueryResponse()
                RunQueryResponse.pb(response).document.CopyFrom(self.documents[name])
                yield response


def _step(write: Any) -> str:
    """What a commit of the ledger is: a claim, a take-up, or a record of the outcome."""
    if not write.HasField("update_mask"):
        return "claim"
    return "take up" if write.update.fields["state"].string_value == "CLAIMED" else "record"


async def _each(items: list[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item
