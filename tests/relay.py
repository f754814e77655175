"""A gRPC server before the emulator: it hands on what is asked, or refuses, or loses the answer."""

from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc

TROUBLE = grpc.StatusCode.UNAVAILABLE


class Relay(grpc.GenericRpcHandler):
    """`called` are the names of the methods, each try of a call included."""

    def __init__(self, emulator: str) -> None:
        self.address = ""
        self.called: list[str] = []
        self._channel = grpc.insecure_channel(emulator)
        self._refused: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()

    def refuse(self, method: str, times: int = 1) -> None:
        """The next calls are not handed on."""
        self._refused[method] += times

    def lose(self, method: str) -> None:
        """The next call is carried out, and nobody hears of it."""
        self._lost[method] += 1

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]
        ask = self._channel.unary_stream(details.method)  # one answer is a short stream

        def answers(request: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            self.called.append(name)
            if self._refused[name]:
                self._refused[name] -= 1
                context.abort(TROUBLE, "refused")
            try:
                found = list(ask(request, metadata=_own(context.invocation_metadata())))
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
            if self._lost[name]:
                self._lost[name] -= 1
                context.abort(TROUBLE, "lost")
            yield from found

        return grpc.unary_stream_rpc_method_handler(answers)

    def close(self) -> None:
        self._channel.close()


def _own(metadata: Any) -> list[tuple[str, str]]:
    """What the client said, without what gRPC says itself."""
    return [(key, value) for key, value in metadata if key != "user-agent"]


@contextmanager
def relayed(emulator: str) -> Iterator[Relay]:
    server, relay = grpc.server(futures.ThreadPoolExecutor(4)), Relay(emulator)
    relay.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.add_generic_rpc_handlers([relay])
    server.start()
    try:
        yield relay
    finally:
        server.stop(None)
        relay.close()
