"""What stands between the workers and Firestore, and can be cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum


class Line(Enum):
    """What the connections to Firestore are like."""

    WELL = "well"
    REFUSED = "refused"  # none is taken, and those that there were are gone
    STALLED = "stalled"  # nothing gets through, in either direction; it does later
    DEAF = "deaf"  # Firestore hears everything, and its answers are lost


class Proxy:
    """Passes bytes on, as long as the line is well."""

    def __init__(self, target: str) -> None:
        self._host, _, self._port = target.rpartition(":")
        self.address = ""
        self.line = Line.WELL
        self._flows = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        self._swallowed: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        port = int(self.address.rpartition(":")[2] or 0)
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None
        await self._hang_up()

    async def become(self, line: Line) -> None:
        was, self.line = self.line, line
        if was is Line.DEAF:
            await self._hang_up()  # these have lost bytes
        if line is Line.REFUSED:
            await self.close()
        elif self._server is None:
            await self.open()
        if line is Line.STALLED:
            self._flows.clear()
        else:
            self._flows.set()

    def swallow(self) -> int:
        """Lose all that is sent on the connections there are, for ever; how many they are.

        Neither end hears of it, as when something on the way forgets a connection; others pass.
        """
        self._swallowed |= self._connections
        return len(self._connections)

    async def _hang_up(self) -> None:
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        there: asyncio.StreamWriter | None = None
        try:
            answers, there = await asyncio.open_connection(self._host, int(self._port))
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(task, reader, there, is_answer=False))
                pumps.create_task(self._pump(task, answers, writer, is_answer=True))
        except* (OSError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            self._swallowed.discard(task)
            for each in (writer, there):
                if each is not None:
                    each.transport.abort()

    async def _pump(
        self,
        connection: asyncio.Task[None],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        is_answer: bool,
    ) -> None:
        while data := await reader.read(65536):
            await self._flows.wait()
            is_lost = connection in self._swallowed or (is_answer and self.line is Line.DEAF)
            if not is_lost:
                writer.write(data)
                await writer.drain()
        raise ConnectionResetError  # ends the other direction as well


@asynccontextmanager
async def in_front_of(target: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(target)
    await proxy.become(Line.WELL)
    try:
        yield proxy
    finally:
        with suppress(OSError):
            await proxy.close()
