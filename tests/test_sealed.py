"""From a sealed process nothing is sent, whoever tries it; it may read where that is said."""

import asyncio
import http.client
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import grpc
import grpc.aio
import httpx
import pytest
from aiohttp import web

from batchpush.sealed import NothingLeaves, leaving, reading, sealed
from emulators.serving import in_background


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="here")

    app = web.Application()
    app.router.add_route("*", "/", answer)
    with in_background(app) as url:
        yield url


def connect() -> None:
    with socket.socket() as connection:
        connection.connect(("127.0.0.1", 9))


def send_a_packet() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as connection:
        connection.sendto(b"", ("127.0.0.1", 9))


@pytest.mark.parametrize(
    "send",
    [
        connect,
        send_a_packet,
        lambda: grpc.insecure_channel("127.0.0.1:9"),
        lambda: grpc.secure_channel("127.0.0.1:9", grpc.ssl_channel_credentials()),
        lambda: grpc.aio.insecure_channel("127.0.0.1:9"),
        lambda: grpc.aio.secure_channel("127.0.0.1:9", grpc.ssl_channel_credentials()),
        lambda: subprocess.run(["true"], check=True),
        lambda: os.system("true"),  # noqa: S605 - it is stopped
        lambda: leaving("publishes"),
    ],
)
def test_what_would_leave_is_stopped_and_remembered(send: Callable[[], object]) -> None:
    for _ in range(2):
        with sealed() as seal, pytest.raises(NothingLeaves):
            send()
        assert len(seal.attempts) == 1
    leaving("publishes")  # outside, nothing is


async def test_what_reads_may_connect_and_goes_on_no_longer(url: str) -> None:
    address = urlsplit(url)
    with closing(http.client.HTTPConnection(address.netloc)) as left_open, sealed() as seal:
        async with httpx.AsyncClient(trust_env=False) as http_:
            with reading():
                await asyncio.to_thread(left_open.request, "GET", "/")
                left_open.getresponse().read()
                assert (await http_.get(url)).text == "here"
                with pytest.raises(NothingLeaves):
                    leaving("writes")
            with pytest.raises(NothingLeaves):
                left_open.request("PUT", "/")
        await asyncio.get_running_loop().shutdown_default_executor()  # its threads stay sealed in
    assert seal.attempts == ["writes", "uses the network"]
    leaving("publishes")  # outside, nothing is stopped


def test_a_thread_that_outlives_its_function_stays_sealed_in() -> None:
    released = threading.Event()
    stopped: list[BaseException] = []

    def late() -> None:
        released.wait()
        try:
            connect()
        except (OSError, NothingLeaves) as error:
            stopped.append(error)

    with sealed():
        thread = threading.Thread(target=late)
        thread.start()
    released.set()
    thread.join()
    with sealed():
        pass
    assert [type(error) for error in stopped] == [NothingLeaves]
    leaving("publishes")
