"""The real client of Firestore, down to its last step: its requests go to a Firestore in memory.

Retries, group commit and the classification of errors are the real ones.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc

from batchpush.google.connection import Connection, RpcFailed
from batchpush.google.credentials import Credentials
from batchpush.google.firestore import COMMIT, Answer, Asked, DocumentGone, Method, WriteConflict
from batchpush.google.protocol.firestore_pb2 import (
    BatchWriteRequest,
    BatchWriteResponse,
    CommitRequest,
    Write,
)
from batchpush.testing.memory import Memory

Carry = Callable[[], Awaitable[list[Any]]]


class Wire(Connection):
    """`carried` stands where the network is: a test that replaces it decides what gets through."""

    def __init__(self, memory: Memory, credentials: Credentials | None, seconds: float) -> None:
        super().__init__(project="demo-batchpush", credentials=credentials, seconds=seconds)
        self.memory = memory
        self._needs_token = credentials is not None

    async def _send(
        self, method: Method[Asked, Answer], request: Asked, seconds: float
    ) -> list[Answer]:
        if self._needs_token:
            await self._signed()

        async def carry() -> list[Any]:
            if isinstance(request, BatchWriteRequest):
                return [await self.each_alone(request.writes)]
            try:
                return await self.memory.ask(method, request)
            except WriteConflict as error:
                raise _status(error) from None

        return await self.carried(method.name, request, carry, seconds)

    async def carried(self, name: str, request: object, carry: Carry, seconds: float) -> list[Any]:
        return await carry()

    async def each_alone(self, writes: Sequence[Write]) -> BatchWriteResponse:
        """What BatchWrite does."""
        answer = BatchWriteResponse()
        for write in writes:
            result, status = answer.write_results.add(), answer.status.add()
            try:
                (written,) = await self.memory.ask(COMMIT, CommitRequest(writes=[write]))
                result.CopyFrom(written.write_results[0])
            except WriteConflict as error:
                failed = _status(error)
                status.code = getattr(grpc.StatusCode, failed.code).value[0]
                status.message = failed.details
        return answer


def _status(error: WriteConflict) -> RpcFailed:
    """What Firestore says instead of the memory's short words."""
    if isinstance(error, DocumentGone):
        return RpcFailed("NOT_FOUND", "No document to update")
    is_there = str(error) == "it is there"
    return RpcFailed("ALREADY_EXISTS" if is_there else "FAILED_PRECONDITION", str(error))
