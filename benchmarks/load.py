"""Events posted to a function as the platform posts them, so many at once.

    python -m benchmarks.load PORT SECONDS CONCURRENCY FIRST SCENARIO

A process of its own. Prints JSON: how many events were answered, how many of them with another
status than 200, the seconds it took, and the latencies of two percentiles in milliseconds. Every
event has a document and an id of its own; `FIRST` is the number of the first.
"""

import asyncio
import itertools
import json
import sys
import time
from typing import Any

from benchmarks.scenarios import SCENARIOS, Scenario


class Events:
    """What is still to be posted, and what came of it."""

    def __init__(self, scenario: Scenario, seconds: float, first: int) -> None:
        self._request = scenario.requests()
        self._numbers = itertools.count(first)
        self.began = time.perf_counter()
        self.end = self.began + seconds
        self.latencies: list[float] = []
        self.failed = 0

    def next(self) -> bytes | None:
        if time.perf_counter() >= self.end:
            return None
        return self._request(next(self._numbers))

    def answered(self, after: float, is_well: bool) -> None:
        self.latencies.append(after)
        self.failed += not is_well

    def summary(self) -> dict[str, Any]:
        ordered = sorted(self.latencies)
        return {
            "events": len(ordered),
            "failed": self.failed,
            "seconds": time.perf_counter() - self.began,
            "p50": ordered[len(ordered) // 2] * 1000,
            "p99": ordered[len(ordered) * 99 // 100] * 1000,
        }


class Connection(asyncio.Protocol):
    """One connection: the next event goes as soon as the one before it is answered."""

    def __init__(self, events: Events, port: int) -> None:
        self._events, self._port = events, port
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._post(self._events.next())

    def _post(self, event: bytes | None) -> None:
        self._event = event
        if event is None:
            self._transport.close()
            self.done.set_result(None)
            return
        self._received = b""
        self._posted_at = time.perf_counter()
        self._transport.write(event)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        _, is_there, length = head.lower().partition(b"\r\ncontent-length:")
        if not end or (is_there and len(body) < int(length.partition(b"\r\n")[0])):
            return
        after = time.perf_counter() - self._posted_at
        self._events.answered(after, head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 204")))
        self._post(self._events.next())

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError("the function closed a connection midway"))


async def load(events: Events, port: int, concurrency: int) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    made = await asyncio.gather(
        *(
            loop.create_connection(lambda: Connection(events, port), "127.0.0.1", port)
            for _ in range(concurrency)
        )
    )
    await asyncio.gather(*(connection.done for _, connection in made))
    return events.summary()


def main() -> None:
    port, seconds, concurrency, first, name = sys.argv[1:]
    events = Events(SCENARIOS[name], float(seconds), int(first))
    print(json.dumps(asyncio.run(load(events, int(port), int(concurrency)))))


if __name__ == "__main__":
    main()
