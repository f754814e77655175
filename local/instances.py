"""Starts what was deployed as Cloud Run does: the archive, its packages, its variables, no more.

    archive --> fresh venv, pip install --require-hashes --> functions-framework per function
                                                                   |
    an event, a task, a schedule, a call of an app  --- POST ----->+--> local Batch

A function gets its token from a metadata server, reads the REST key at Secret Manager's own address
and enqueues tasks at the one of Cloud Tasks; the proxy leads both to the emulated Google Cloud.
Firestore is Google's emulator.
"""

import base64
import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchpush.google.protocol.firestore_pb2 import DocumentEventData
from emulators.batch import Batch
from emulators.google_cloud import GoogleCloud
from local.suite import MARK, Part, sweep
from local.tools import find_java, find_runnable_jar, free_port, packaged_java

START_SECONDS = 60.0
HOST = "127.0.0.1"

# What the platform sets besides what was deployed
# (https://cloud.google.com/run/docs/container-contract#services-env-vars).
OF_PLATFORM = ("K_CONFIGURATION", "K_REVISION", "K_SERVICE", "PORT")


class DidNotServe(Exception):
    """A deployed function does not do what it is for; the text has the end of its log."""


def build(archive: zipfile.ZipFile, directory: Path) -> Path:
    """Unpack and install as the build does; returns the folder of the source code."""
    source = directory / "workspace"
    archive.extractall(source)
    # Without the variables of the venv that this program runs in.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for command in (
        [sys.executable, "-m", "venv", str(directory / "layer")],
        [
            str(directory / "layer" / "bin" / "pip"),
            *("install", "--quiet", "--disable-pip-version-check"),
            *("--require-hashes", "-r", str(source / "requirements.txt")),
        ],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise DidNotServe(f"the build fails:\n{done.stderr.strip()}")
    return source


@dataclass
class Instances:
    """Runs functions of a deployment; all of them share what is around them."""

    directory: Path
    source: Path
    cloud: GoogleCloud
    batch: Batch
    certificate: Path
    firestore: str
    stack: ExitStack

    def start(self, function: Mapping[str, Any]) -> "Instance":
        name = str(function["name"]).rpartition("/")[2]
        port = free_port()
        part = Part(
            name=name,
            command=[str(self.directory / "layer" / "bin" / "functions-framework")],
            directory=self.source,
            environment=self.environment(function, port),
            log=self.directory / f"{name}.log",
        )
        part.start(threading.Event())
        self.stack.callback(stop, part)
        instance = Instance(name, port, part)
        instance.wait()
        return instance

    def environment(self, function: Mapping[str, Any], port: int) -> dict[str, str]:
        service = function["serviceConfig"]
        deployed: dict[str, str] = service["environmentVariables"]
        name = service["service"].rpartition("/")[2]
        of_platform = dict(
            zip(OF_PLATFORM, (name, f"{name}-00001-abc", name, str(port)), strict=True)
        )
        metadata = self.cloud.url.removeprefix("http://")
        here = {
            "BATCH_API_URL": self.batch.url,
            "FIRESTORE_EMULATOR_HOST": self.firestore,
            "GCE_METADATA_HOST": metadata,
            "GCE_METADATA_IP": metadata,  # where google-auth looks whether there is one
            "HTTPS_PROXY": self.cloud.ready()["proxy"],
            "NO_PROXY": HOST,
            "REQUESTS_CA_BUNDLE": str(self.certificate),
        }
        minimal = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(self.directory)}
        minimal[MARK] = name + self.firestore
        return minimal | deployed | of_platform | here


@dataclass(frozen=True)
class Instance:
    name: str
    port: int
    part: Part

    def wait(self) -> None:
        """Until it takes connections, which is what Cloud Run waits for."""
        wait_for(self.part, lambda: is_open(self.port))

    def post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.request("POST", "/", body, dict(headers))
            reply = connection.getresponse()
            return reply.status, reply.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise DidNotServe(f"{self.name}: {error!r}\n{self.part.tail()}") from None
        finally:
            connection.close()

    def expect(self, status: int, body: bytes, headers: Mapping[str, str]) -> str:
        found, said = self.post(body, headers)
        if found != status:
            raise DidNotServe(
                f"{self.name} answers {found} instead of {status}: {said}\n{self.part.tail()}"
            )
        return said


@contextmanager
def firestore_emulator(directory: Path) -> Iterator[str]:
    """Google's emulator, without the Firebase CLI; yields its address."""
    java, jar = find_java(shutil.which("java"), packaged_java()), find_runnable_jar(directory)
    port = free_port()
    part = Part(
        name="firestore",
        command=[str(java), "-jar", str(jar), "--host", HOST, "--port", str(port)],
        directory=directory,
        environment=dict(os.environ) | {MARK: f"firestore {port}"},
        log=directory / "firestore.log",
    )
    part.start(threading.Event())
    try:
        wait_for(part, lambda: is_open(port))
        yield f"{HOST}:{port}"
    finally:
        stop(part)


def stop(part: Part) -> None:
    """End the program and everything it started, by force if need be."""
    part.end()
    sweep(part.environment[MARK])
    part.close()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def wait_for(part: Part, is_up: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_up():
        if part.process.poll() is not None or time.monotonic() > deadline:
            raise DidNotServe(f"{part.name} did not start:\n{part.tail()}")
        time.sleep(0.05)


# --- What the platform sends ---------------------------------------------------------------------


def created(project: str, path: str, document: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """An event of Firestore in binary mode, as Eventarc delivers it: body and headers."""
    from google.cloud.firestore_v1._helpers import encode_dict

    event = DocumentEventData()
    event.value.name = f"projects/{project}/databases/(default)/documents/{path}"
    for key, value in encode_dict(document).items():
        event.value.fields[key].ParseFromString(type(value).pb(value).SerializeToString())
    now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
    headers = {
        "ce-specversion": "1.0",
        "ce-id": secrets.token_hex(16),
        "ce-source": f"//firestore.googleapis.com/projects/{project}/databases/(default)",
        "ce-type": "google.cloud.firestore.document.v1.created",
        "ce-time": now,
        "ce-subject": f"documents/{path}",
        "ce-location": "nam5",
        "ce-project": project,
        "ce-database": "(default)",
        "ce-namespace": "(default)",
        "ce-document": path,
        "ce-dataschema": "https://github.com/googleapis/google-cloudevents/blob/main/proto/"
        "google/events/cloud/firestore/v1/data.proto",
        "ce-datacontenttype": "application/protobuf",
        "content-type": "application/protobuf",
    }
    return event.SerializeToString(), headers


def dispatched(task: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """A task as Cloud Tasks sends it."""
    request = task["httpRequest"]
    queue, _, name = str(task["name"]).partition("/tasks/")
    headers = {
        **request.get("headers", {}),
        "X-CloudTasks-QueueName": queue.rpartition("/")[2],
        "X-CloudTasks-TaskName": name,
        "X-CloudTasks-TaskRetryCount": "0",
        "X-CloudTasks-TaskExecutionCount": "0",
        "User-Agent": "Google-Cloud-Tasks",
    }
    return base64.b64decode(request["body"]), headers


def scheduled(job: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """A call of Cloud Scheduler."""
    headers = {
        "X-CloudScheduler": "true",
        "X-CloudScheduler-JobName": str(job["name"]).rpartition("/")[2],
        "X-CloudScheduler-ScheduleTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "User-Agent": "Google-Cloud-Scheduler",
        "Content-Type": "application/octet-stream",
    }
    return b"", headers


def called(data: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """A call of Firebase's SDK, by nobody who is signed in."""
    return json.dumps({"data": dict(data)}).encode(), {"Content-Type": "application/json"}
