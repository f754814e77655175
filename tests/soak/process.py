"""The process that is soaked, and what it holds."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

from local.suite import HOST, ROOT
from local.tools import free_port
from tests.waits import until

SERVED = Path(__file__).with_name("served.py")
FRAMEWORK = Path(sys.executable).with_name("functions-framework")


@dataclass(frozen=True)
class Holding:
    """What the process held at a moment, so many hours after the start."""

    hours: float
    resident: float  # MB; the allocators keep pages of which little is in use
    in_use: float  # MB of malloc's: gRPC's, OpenSSL's, and Python's larger blocks
    objects: int  # smaller blocks, of Python's own allocator
    files: int
    tasks: int


@dataclass(frozen=True)
class Process:
    """A server's only worker, as an instance of a function has."""

    url: str
    worker: int
    told: Path  # where the worker writes what it holds

    def holding(self, hours: float) -> Holding:
        """Fails if the worker has died, even if the server has started another."""
        self.told.unlink(missing_ok=True)
        os.kill(self.worker, signal.SIGRTMIN)
        until("what it holds", self.told.exists)
        told = json.loads(self.told.read_text(encoding="ascii"))
        status = Path(f"/proc/{self.worker}/status").read_text(encoding="ascii")
        kilobytes = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        files = len(os.listdir(f"/proc/{self.worker}/fd"))
        return Holding(hours, int(kilobytes.split()[1]) / 1024, files=files, **told)


@contextmanager
def serving(folder: Path, environment: Mapping[str, str]) -> Iterator[Process]:
    port, log, told = free_port(), folder / "function.log", folder / "held.json"
    settings = {
        "FUNCTION_TARGET": "new_message",
        "HOST": HOST,
        "PORT": str(port),
        "PYTHONPATH": str(ROOT),
        "SOAK_HELD": str(told),
    }
    with log.open("wb") as output:
        master = subprocess.Popen(
            [FRAMEWORK, f"--source={SERVED}"],
            cwd=ROOT,
            env=os.environ | environment | settings,
            stdout=output,
            stderr=output,
        )
    try:
        until("answer", lambda: listens(port))
        # gunicorn listens before it starts its worker.
        (worker,) = until("worker", lambda: children_of(master.pid))
        yield Process(f"http://{HOST}:{port}/", worker, told)
    except BaseException:
        sys.stderr.write(log.read_text(encoding="utf-8")[-5_000:])
        raise
    finally:
        master.terminate()
        master.wait()


def children_of(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
    return [int(each) for each in listed.split()]


def listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port)).close()
    except ConnectionRefusedError:
        return False
    return True


def per_hour(holdings: Sequence[Holding], what: str) -> float:
    """How much more of it there is after an hour, by least squares."""
    hours = [each.hours for each in holdings]
    return linear_regression(hours, [getattr(each, what) for each in holdings]).slope
