"""Commands in processes of their own, behind a network that counts what they do on it.

    python -m tests.network FOLDER      runs each command line of the JSON on stdin

Whatever Python connects to is written down, and goes nowhere. gRPC connects by itself, to a
Firestore in memory that writes down what it is asked.
"""

import asyncio
import json
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent import futures
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from batchpush.cli.discovery import load
from batchpush.environment import process_settings
from batchpush.google.firestore import METHODS
from batchpush.testing.memory import Memory

ROOT = Path(__file__).parent.parent
SETTINGS = {  # all that matter, so that nobody's .env does
    "BATCH_APPS": "ios=DEV5F2C9D1E,android=3A7B4C3D8E",
    "CART_HOURS": "24",
    "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:9",
    "DEEPLINK_BASE": "myapp://",
    "DEFAULT_LANGUAGE": "en",
    "FIREBASE_DATABASE_EMULATOR_HOST": "127.0.0.1:9",
    "GOOGLE_CLOUD_PROJECT": "demo-batchpush",
    "REGION": "us-central1",
}
READS = {"read", "query"}


@dataclass
class Done:
    """A command that has ended: what it printed, and the addresses that it connected to."""

    code: int
    out: str
    err: str
    connections: list[str]


@dataclass
class Network(grpc.GenericRpcHandler):
    memory: Memory
    folder: Path
    port: int = 0

    @property
    def writes(self) -> list[str]:
        return [each for each in self.memory.operations if each not in READS]

    def run(self, *commands: Sequence[str], cwd: Path = ROOT, **environment: str) -> list[Done]:
        """What came of each."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        emulator = {"FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{self.port}"}
        ended = subprocess.run(
            [sys.executable, "-m", "tests.network", str(self.folder)],
            input=json.dumps(commands),
            env=kept | SETTINGS | emulator | {"PYTHONPATH": str(ROOT)} | environment,
            cwd=cwd,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
        return [Done(**each) for each in json.loads(ended.stdout)]

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]
        method: Any = next(each for each in METHODS if each.name == name)

        def answers(body: bytes, _: grpc.ServicerContext) -> Iterator[bytes]:
            for answer in asyncio.run(self.memory.ask(method, method.request.FromString(body))):
                yield answer.SerializeToString()

        if method.is_stream:
            return grpc.unary_stream_rpc_method_handler(answers)
        return grpc.unary_unary_rpc_method_handler(lambda *given: next(answers(*given)))


@contextmanager
def counted(folder: Path) -> Iterator[Network]:
    server, network = grpc.server(futures.ThreadPoolExecutor(4)), Network(Memory(), folder)
    network.port = server.add_insecure_port("127.0.0.1:0")
    server.add_generic_rpc_handlers([network])
    server.start()
    try:
        yield network
    finally:
        server.stop(None)


# In the process that runs the commands


def main(folder: Path) -> None:
    from batchpush.cli import main as cli

    load()  # once, and not in every process
    done = []
    for command in json.load(sys.stdin):
        files = {name: folder / name for name in ("out", "err", "connections")}
        for file in files.values():
            file.write_text("")
        if os.fork() == 0:  # each has a process of its own, without the imports again
            os._exit(_carried_out(cli.main, command, files))
        code = os.waitstatus_to_exitcode(os.wait()[1])
        said = {name: file.read_text() for name, file in files.items()}
        done.append({"code": code, **said, "connections": said["connections"].splitlines()})
    sys.stdout.write(json.dumps(done))


def _carried_out(command: Any, arguments: list[str], files: Mapping[str, Path]) -> int:
    class Counted(socket.socket):
        def connect(self, address: Any) -> None:
            with suppress(OSError):
                super().connect(address)
            with files["connections"].open("a") as connections:
                connections.write(f"{address}\n")
            raise ConnectionRefusedError

    socket.socket = Counted  # type: ignore[misc]
    process_settings.cache_clear()
    for descriptor, name in ((0, os.devnull), (1, files["out"]), (2, files["err"])):
        os.dup2(os.open(name, os.O_RDWR), descriptor)
    try:
        code: int = command(arguments)
        return code
    except SystemExit as exit_:
        return int(exit_.code or 0)
    except BaseException:  # noqa: BLE001 - this process is forked: nobody else would tell
        traceback.print_exc()
        return 70
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
