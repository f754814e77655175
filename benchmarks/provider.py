"""A Batch that accepts everything at once, or after the milliseconds that `PUT /<ms>` asks for.

    python -m benchmarks.provider PORT

As little as it takes, so that it is not what is measured: `GET /` says how many calls came.
"""

import asyncio
import sys

ACCEPTED = b'{"token":"5a3ae5b1-5c3a-4c5e-9d11-2d9a5d2f6c11"}'


class Provider(asyncio.Protocol):
    """One connection, with one request at a time."""

    calls = 0
    seconds = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end or len(body) < content_length(head):
            return
        self.received = b""
        if head.startswith(b"POST"):
            Provider.calls += 1
            if Provider.seconds:
                asyncio.get_running_loop().call_later(Provider.seconds, self.answer, 201, ACCEPTED)
            else:
                self.answer(201, ACCEPTED)
            return
        if head.startswith(b"PUT"):
            Provider.seconds = int(head.split(b" ")[1].strip(b"/")) / 1000
        self.answer(200, str(Provider.calls).encode())

    def answer(self, status: int, body: bytes) -> None:
        self.transport.write(
            b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (status, len(body), body)
        )


def content_length(head: bytes) -> int:
    _, _, after = head.lower().partition(b"\r\ncontent-length:")
    return int(after.partition(b"\r\n")[0] or 0)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
