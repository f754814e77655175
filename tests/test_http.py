"""The transport of production against servers that misbehave."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from batchpush.http import NEVER_CONNECTED, address, cause, exchange, request, transport

ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def line() -> AsyncIterator[httpx.AsyncBaseTransport]:
    made = transport(connections=1, keep_alive=5.0)
    yield made
    await made.aclose()


@asynccontextmanager
async def serving(serve: Serve, context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """The host and port of a server."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    host, port = server.sockets[0].getsockname()
    async with server:
        yield f"{host}:{port}"


def get(url: str) -> httpx.Request:
    return request("GET", address(url), [(b"X-Own", b"1")], {"pool": 0.2})


def test_a_request_is_as_httpx_makes_it() -> None:
    for method, body in (("GET", b""), ("POST", b""), ("POST", b"{}"), ("PUT", b"null")):
        url = "http://127.0.0.1:9/1.1/KEY/a%2Fb?c=d"
        made = request(method, address(url), [(b"X-Own", b"1")], {"connect": 1.0}, body)
        of_httpx = httpx.Request(
            method, url, headers={"Accept-Encoding": "identity", "X-Own": "1"}, content=body
        )
        assert (made.method, made.url, made.content) == (method, of_httpx.url, body)
        assert made.headers == of_httpx.headers
        assert made.extensions == {"timeout": {"connect": 1.0}}


async def test_an_answer_is_read_to_a_limit_and_the_connection_closed(
    line: httpx.AsyncBaseTransport,
) -> None:
    is_closed = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ENDLESS)
        with suppress(ConnectionError):
            await reader.read()
        is_closed.set()
        writer.close()

    async with serving(serve) as host, asyncio.timeout(5):
        response, body = await exchange(line, get(f"http://{host}/"), 60)
        assert (response.status_code, body) == (200, b"x" * 60)
        await is_closed.wait()


async def test_a_connection_that_is_cut_proves_nothing(line: httpx.AsyncBaseTransport) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with serving(serve) as host:
        with pytest.raises(httpx.ConnectTimeout) as raised:  # as the transport calls it
            await exchange(line, get(f"http://{host}/"), 60)
    assert type(cause(raised.value)).__name__ == "ServerDisconnectedError"
    assert not isinstance(cause(raised.value), NEVER_CONNECTED)


async def test_who_gets_no_connection_in_time_has_sent_nothing(
    line: httpx.AsyncBaseTransport,
) -> None:
    is_taken = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_taken.set()
        await reader.read()
        writer.close()

    async with serving(serve) as host:
        first = asyncio.create_task(exchange(line, get(f"http://{host}/"), 60))
        await is_taken.wait()
        with pytest.raises(httpx.ConnectTimeout) as raised:
            await exchange(line, get(f"http://{host}/"), 60)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
    assert isinstance(cause(raised.value), NEVER_CONNECTED)


async def test_nothing_is_sent_to_who_shows_no_certificate_of_an_authority(
    line: httpx.AsyncBaseTransport, tmp_path: Path
) -> None:
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read())
        writer.close()

    async with serving(serve, self_signed(tmp_path)) as host:
        with pytest.raises(httpx.TransportError) as raised:
            await exchange(line, get(f"https://{host.replace('127.0.0.1', 'localhost')}/"), 60)
    assert type(cause(raised.value)).__name__ == "ClientConnectorCertificateError"
    assert isinstance(cause(raised.value), NEVER_CONNECTED)
    assert received == []


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


@pytest.mark.parametrize(
    ("header", "connections"),
    [
        (b"Keep-Alive: timeout=30\r\n", 1),
        (b"Keep-Alive: max=5, timeout=30\r\n", 1),
        (b"Keep-Alive: timeout=1\r\n", 3),
        (b"Keep-Alive: soon\r\n", 3),
        (b"", 3),
    ],
)
async def test_an_idle_connection_is_kept_as_long_as_the_server_allows(
    header: bytes, connections: int
) -> None:
    accepted = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\n" + header + b"Content-Length: 0\r\n\r\n")
        writer.close()

    line = transport(connections=1, keep_alive=0.0)
    async with serving(serve) as host, asyncio.timeout(5):
        for _ in range(3):
            await exchange(line, get(f"http://{host}/"), 60)
            await asyncio.sleep(0.01)  # longer than a connection is kept that may not be idle
        await line.aclose()
    assert accepted == connections
