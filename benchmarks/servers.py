"""The functions side by side: ours as it is deployed, and its peers in `benchmarks/peers`.

Each is started as its platform starts it, on a port of its own. What a function takes is read from
Linux's /proc, for the process and all that descend from it.
"""

import http.client
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.scenarios import Scenario
from local.tools import free_port

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "benchmarks" / "peers"
START_SECONDS = 30.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, eq=False)
class Server:
    """How one of the functions is started."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)


def _python(source: Path) -> tuple[str, ...]:
    return (str(Path(sys.executable).parent / "functions-framework"), f"--source={source}")


def _node(source: str) -> tuple[str, ...]:
    framework = PEERS / "node_modules" / ".bin" / "functions-framework"
    return (str(framework), f"--source={PEERS / source}", "--signature-type=cloudevent")


CLOUD_EVENT = {"FUNCTION_SIGNATURE_TYPE": "cloudevent"}  # as the Firebase CLI deploys them
OURS = Server("**batchpush**", _python(ROOT / "main.py"))
PEER_SERVERS = (
    Server("Python, Firebase SDK, `requests.post`", _python(PEERS / "naive.py"), CLOUD_EVENT),
    Server("Python, threads, one `httpx.Client`", _python(PEERS / "shared.py"), {"THREADS": "80"}),
    Server("Node, Firebase SDK, `fetch`", _node("fetch.js")),
    Server("Node, undici pool", _node("undici.js")),
)
EMPTY = Server("Python, Firebase SDK, empty", _python(PEERS / "empty.py"), CLOUD_EVENT)


def checkout(folder: Path) -> Server:
    """Our function as another checkout has it, on the packages of this one."""
    return Server(f"batchpush in {folder}", _python(folder.resolve() / "main.py"))


@dataclass
class Running:
    """A function that is up."""

    server: Server
    scenario: Scenario
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def fails(self, problem: str) -> SystemExit:
        return SystemExit(f"{self.server.name} {problem}:\n{self.log.read_text()[-3000:]}")

    @contextmanager
    def measured(self) -> Iterator[list[float]]:
        """The seconds of CPU that were used inside."""
        used: list[float] = []
        before = self._cpu()
        yield used
        used.append(self._cpu() - before)

    def _cpu(self) -> float:
        return sum(_cpu(pid) for pid in _tree(self.process.pid))

    def megabytes(self) -> float:
        """Memory in use, as if nothing else ran; pages that its processes share count once."""
        parts = [_kilobytes(pid) for pid in _tree(self.process.pid)]
        shared = max((shared for _, shared in parts), default=0)
        return (sum(private for private, _ in parts) + shared) / 1024


@contextmanager
def started(server: Server, scenario: Scenario, provider: str, log: Path) -> Iterator[Running]:
    """The process of the scenario's function, which is not up yet."""
    port = free_port()
    environment = (
        {name: value for name, value in os.environ.items() if name != "PORT"}
        | {
            "FUNCTION_TARGET": scenario.function,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "BATCH_API_URL": provider,
            "LOG_LEVEL": "INFO",
            # For the peers, which leave their keys in the environment; ours reads a secret.
            "BATCH_APPS": "ios=IOSKEY,android=ANDROIDKEY",
            "IOS_KEY": "IOSKEY",
            "ANDROID_KEY": "ANDROIDKEY",
            "REST_KEY": "0123456789abcdef0123456789abcdef",
        }
        | dict(server.environment)
    )
    with log.open("ab") as output:
        process = subprocess.Popen(
            server.command, cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    try:
        yield Running(server, scenario, port, process, log)
    finally:
        process.terminate()
        process.wait()


def first_answer(running: Running, number: int) -> None:
    """Post one event, again and again until the function is up and answers it."""
    deadline = time.monotonic() + START_SECONDS
    headers, body = running.scenario.event()
    headers["ce-id"] = f"first-{running.port}-{number}"
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=START_SECONDS)
        try:
            connection.request("POST", "/", body, headers)
            status = connection.getresponse().status
        except ConnectionError:
            if time.monotonic() > deadline or running.process.poll() is not None:
                raise running.fails("did not start") from None
            time.sleep(0.002)
            continue
        finally:
            connection.close()
        if status >= 300:
            raise running.fails(f"answered {status}")
        return


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended meanwhile
            continue
        children.setdefault(parent, []).append(int(process.name))
    tree = [root]
    for pid in tree:
        tree.extend(children.get(pid, ()))
    return tree


def _cpu(pid: int) -> float:
    of_process = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(of_process[11]) + int(of_process[12])) / TICKS


def _kilobytes(pid: int) -> tuple[int, int]:
    """The private and the shared memory; other servers may have the shared part in use, too."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    private, shared = (
        sum(map(int, re.findall(rf"^{kind}_\w+: +(\d+) kB", rollup, re.MULTILINE)))
        for kind in ("Private", "Shared")
    )
    return private, shared
