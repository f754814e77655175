"""Group commit: single writes of concurrent events share a request.

    a write --> as many wait as requests are under way? -- yes --> they go at once, together
                     |
                     no --> waits for more writes, or for a request to end

So a lone event waits for nothing, a few wait for a fraction of a request, and the more come at
once, the more writes share a request.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from batchpush.google.protocol.firestore_pb2 import Write, WriteResult

MAX_WRITES = 500  # in one BatchWrite
MAX_BYTES = 3_000_000  # of one request, as in a ledger's commits
PATIENCE = 0.1  # seconds after which a request that is still under way holds up no other

Outcome = WriteResult | BaseException


@dataclass
class Waiting:
    """A write, and where its caller waits for the result."""

    write: Write
    result: "asyncio.Future[WriteResult]"

    @property
    def document(self) -> str:
        return self.write.update.name or self.write.delete

    def end(self, outcome: Outcome) -> None:
        if self.result.done():
            return  # its caller has left
        if isinstance(outcome, BaseException):
            self.result.set_exception(outcome)
        else:
            self.result.set_result(outcome)


@dataclass
class GroupCommit:
    """`send` carries out writes, each for itself; its outcomes are in the order of the writes.

    What `send` raises is the outcome of every write of that request.
    """

    send: Callable[[Sequence[Write]], Awaitable[Sequence[Outcome]]]
    _waiting: deque[Waiting] = field(default_factory=deque)
    _under_way: int = 0
    _is_scheduled: bool = False
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def write(self, write: Write) -> WriteResult:
        """Raises the write's own error. A caller that is cancelled may have written or not."""
        loop = asyncio.get_running_loop()
        waiting = Waiting(write, loop.create_future())
        self._waiting.append(waiting)
        if not self._is_scheduled:
            self._is_scheduled = True
            loop.call_soon(self._start)  # what other events write until then comes along
        return await waiting.result

    def _start(self) -> None:
        self._is_scheduled = False
        while len(self._waiting) >= self._under_way and (group := self._next()):
            self._under_way += 1
            task = asyncio.create_task(self._carry_out(group))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next(self) -> list[Waiting]:
        """The writes of the next request, the oldest first, no two of the same document."""
        group: list[Waiting] = []
        documents: set[str] = set()
        others: list[Waiting] = []
        size = 0
        while self._waiting and len(group) < MAX_WRITES:
            waiting = self._waiting.popleft()
            if waiting.result.done():
                continue  # its caller has left
            length = waiting.write.ByteSize()
            if waiting.document in documents:
                others.append(waiting)
            elif group and size + length > MAX_BYTES:
                others.append(waiting)
                break
            else:
                group.append(waiting)
                documents.add(waiting.document)
                size += length
        self._waiting.extendleft(reversed(others))
        return group

    async def _carry_out(self, group: Sequence[Waiting]) -> None:
        release = Once(self._release)
        timer = asyncio.get_running_loop().call_later(PATIENCE, release)
        outcomes: Sequence[Outcome]
        try:
            outcomes = await self.send([waiting.write for waiting in group])
        except Exception as error:  # noqa: BLE001 - it is every caller's
            outcomes = [error] * len(group)
        except asyncio.CancelledError:
            for waiting in group:
                waiting.result.cancel()
            raise
        finally:
            timer.cancel()
            release()
        for waiting, outcome in zip(group, outcomes, strict=True):
            waiting.end(outcome)

    def _release(self) -> None:
        self._under_way -= 1
        if self._waiting:
            self._start()


@dataclass
class Once:
    """Calls the function on the first call only."""

    function: Callable[[], None]
    was_called: bool = False

    def __call__(self) -> None:
        if not self.was_called:
            self.was_called = True
            self.function()
