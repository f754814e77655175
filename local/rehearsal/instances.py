"""Starts what was deployed as Cloud Run does: the archive, its packages, its variables, no more.

    archive --> fresh venv, pip install --require-hashes --> functions-framework per function
                                                                   |
    an event, a task, a schedule, a call of an app  --- POST ----->+--> local Batch

A function gets its token from a metadata server, reads the REST key at Secret Manager's own address
and enqueues tasks at the one of Cloud Tasks; the proxy leads both to the emulated Google Cloud.
Firestore is Google's emulator.
"""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from emulators.batch import Batch
from emulators.google_cloud import GoogleCloud
from emulators.google_cloud.handle import CERTIFICATE
from local.programs import MARK, Part, sweep, uninterrupted, wait_for
from local.tools import (
    find_faketime,
    find_java,
    find_runnable_jar,
    free_port,
    packaged_java,
)

HOST = "127.0.0.1"

# What the platform sets besides what was deployed
# (https://cloud.google.com/run/docs/container-contract#services-env-vars).
OF_PLATFORM = ("K_CONFIGURATION", "K_REVISION", "K_SERVICE", "PORT")


class DidNotServe(Exception):
    """A deployed function does not do what it is for; the text has the end of its log."""


@dataclass(frozen=True)
class Place:
    """What the build makes: the source code, and a Python with its packages."""

    source: Path
    layer: Path
    python: str
    seconds: float


def build(archive: zipfile.ZipFile, directory: Path, python: str, options: Sequence[str]) -> Place:
    """Unpack, install and compile as Google's buildpacks for Python do."""
    began = time.monotonic()
    source, layer = directory / "workspace", directory / "layer"
    shutil.rmtree(source, ignore_errors=True)
    archive.extractall(source)
    required, installed = source / "requirements.txt", layer / "requirements.txt"
    # As checkCache in pkg/python of GoogleCloudPlatform/buildpacks does.
    if not installed.is_file() or installed.read_bytes() != required.read_bytes():
        shutil.rmtree(layer, ignore_errors=True)
        _run([python, "-m", "venv", str(layer)], source)
        pip = [str(layer / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, *options, "-r", "requirements.txt"], source)
        shutil.copy(required, installed)
    # cmd/python/functions_framework of GoogleCloudPlatform/buildpacks.
    _run([str(layer / "bin" / "python"), "-m", "compileall", "-f", "-q", "."], source)
    version = _run([str(layer / "bin" / "python"), "--version"], source).split()[-1]
    return Place(source, layer, version, time.monotonic() - began)


def _run(command: Sequence[str], directory: Path) -> str:
    # Without the variables of the venv that this program runs in.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise DidNotServe(f"the build fails:\n{done.stdout}{done.stderr.strip()}")
    return done.stdout


class Clock:
    """The time of the functions, which can be moved where libfaketime is installed."""

    def __init__(self, file: Path) -> None:
        self.library = find_faketime()
        self._file, self._ahead = file, timedelta()
        self.advance(timedelta())

    def advance(self, by: timedelta) -> None:
        self._ahead += by
        self._file.write_text(f"+{self._ahead.total_seconds():.0f}\n", encoding="ascii")

    @property
    def environment(self) -> dict[str, str]:
        if self.library is None:
            return {}
        return {
            "LD_PRELOAD": str(self.library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": "1",
        }


class Instances(ExitStack):
    """Runs functions of a deployment; all of them share what is around them."""

    def __init__(
        self, directory: Path, place: Place, cloud: GoogleCloud, batch: Batch, firestore: str
    ) -> None:
        super().__init__()
        self.place = place
        self.clock = Clock(directory / "clock")
        self._directory, self._cloud, self._batch = directory, cloud, batch
        self._firestore = firestore

    def start(self, function: Mapping[str, Any]) -> "Instance":
        """Its process, which may not listen yet."""
        name = str(function["name"]).rpartition("/")[2]
        port = free_port()
        part = Part(
            name=name,
            command=[str(self.place.layer / "bin" / "functions-framework")],
            directory=self.place.source,
            environment=self.environment(function, port),
            log=self._directory / f"{name}.log",
        )
        part.start(threading.Event())
        self.callback(stop, part)
        return Instance(name, port, part)

    def environment(self, function: Mapping[str, Any], port: int) -> dict[str, str]:
        service = function["serviceConfig"]
        deployed: dict[str, str] = service["environmentVariables"]
        name = service["service"].rpartition("/")[2]
        of_platform = dict(
            zip(OF_PLATFORM, (name, f"{name}-00001-abc", name, str(port)), strict=True)
        )
        cloud = self._cloud.url.removeprefix("http://")
        here = {
            "BATCH_API_URL": self._batch.url,
            "FIRESTORE_EMULATOR_HOST": self._firestore,
            "FIREBASE_DATABASE_EMULATOR_HOST": cloud,
            "GCE_METADATA_HOST": cloud,
            "GCE_METADATA_IP": cloud,  # where google-auth looks whether there is one
            "HTTPS_PROXY": self._cloud.ready()["proxy"],
            "NO_PROXY": HOST,
            "REQUESTS_CA_BUNDLE": str(self._directory / CERTIFICATE),
            **self.clock.environment,
        }
        minimal = {"PATH": os.defpath, "HOME": str(self._directory)}
        minimal[MARK] = name + self._firestore
        return minimal | deployed | of_platform | here


@dataclass(frozen=True)
class Instance:
    name: str
    port: int
    part: Part

    def wait(self) -> None:
        """Until it takes connections, which is what Cloud Run waits for."""
        wait_for(self.name, self.part, lambda: is_open(self.port))

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def signal(self, number: signal.Signals) -> None:
        """To the whole container."""
        os.killpg(self.part.process.pid, number)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.signal(signal.SIGKILL)


def memory_of(pid: int) -> int:
    """The most that the process and its workers ever used, in MiB."""
    used = 0
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            values = dict(line.split(":", 1) for line in status.read_text().splitlines())
            if os.getpgid(int(status.parent.name)) == pid:
                used += int(values.get("VmHWM", "0").split()[0])
    return used // 1024


@contextmanager
def firestore_emulator(directory: Path, cloud: GoogleCloud) -> Iterator[str]:
    """Google's emulator, without the Firebase CLI, whose writes are events; yields its address."""
    java, jar = find_java(shutil.which("java"), packaged_java()), find_runnable_jar(directory)
    port = free_port()
    part = Part(
        name="firestore",
        command=[
            *(str(java), "-jar", str(jar), "--host", HOST, "--port", str(port)),
            *("--functions_emulator", cloud.url.removeprefix("http://")),
        ],
        directory=directory,
        environment=dict(os.environ) | {MARK: f"firestore {port}"},
        log=directory / "firestore.log",
    )
    part.start(threading.Event())
    try:
        wait_for("firestore", part, lambda: is_open(port))
        cloud.watch(f"{HOST}:{port}")
        os.environ["FIRESTORE_EMULATOR_HOST"] = f"{HOST}:{port}"  # for this program's own client
        yield f"{HOST}:{port}"
    finally:
        stop(part)


def stop(part: Part) -> None:
    """End the program and everything it started, by force if need be."""
    with uninterrupted():
        part.end()
        sweep(part.environment[MARK])
        part.close()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0
