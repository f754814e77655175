"""Secrets and their versions, with the states and errors of Google's service."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

from emulators.google_errors import Refused

MAX_PAYLOAD = 64 * 1024
SECRET_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
LATEST = "latest"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class State(Enum):
    ENABLED = "its payload can be read"
    DISABLED = "its payload is kept but cannot be read until it is enabled"
    DESTROYED = "its payload is gone for good"


@dataclass
class Version:
    name: str
    payload: bytes
    checksum_given: bool
    state: State = State.ENABLED
    created: str = field(default_factory=_now)
    destroyed: str | None = None

    def read(self) -> bytes:
        self._refuse_unless(State.ENABLED)
        return self.payload

    def turn(self, state: State) -> None:
        """Changing to the current state is not an error; DESTROYED is final."""
        self._refuse_unless(State.ENABLED, State.DISABLED)
        self.state = state
        if state is State.DESTROYED:
            self.payload = b""
            self.destroyed = _now()

    def _refuse_unless(self, *states: State) -> None:
        if self.state not in states:
            message = f"Secret Version [{self.name}] is in {self.state.name} state."
            raise Refused(400, message, "FAILED_PRECONDITION")

    def as_json(self) -> dict[str, Any]:
        described = {
            "name": self.name,
            "createTime": self.created,
            "state": self.state.name,
            "clientSpecifiedPayloadChecksum": self.checksum_given,
        }
        return described | ({"destroyTime": self.destroyed} if self.destroyed else {})


@dataclass
class Secret:
    name: str
    labels: dict[str, str]
    replication: dict[str, Any]
    versions: list[Version] = field(default_factory=list)
    created: str = field(default_factory=_now)

    def add_version(self, payload: bytes, checksum_given: bool) -> Version:
        if len(payload) > MAX_PAYLOAD:
            raise Refused(400, f"The payload is over {MAX_PAYLOAD} bytes.")
        number = len(self.versions) + 1
        version = Version(f"{self.name}/versions/{number}", payload, checksum_given)
        self.versions.append(version)
        return version

    def version(self, which: str) -> Version:
        """`latest` is the newest in any state: disabling it does not fall back to an older one."""
        if which == LATEST and not self.versions:
            raise Refused(404, f"Secret [{self.name}] not found or has no versions.")
        number = len(self.versions) if which == LATEST else int(which) if which.isdecimal() else 0
        if not 1 <= number <= len(self.versions):
            raise Refused(404, f"Secret Version [{self.name}/versions/{which}] not found.")
        return self.versions[number - 1]

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "createTime": self.created,
            "labels": self.labels,
            "replication": self.replication,
        }


class Store:
    def __init__(self) -> None:
        self._secrets: dict[str, Secret] = {}

    def create(self, project: str, secret_id: str, described: dict[str, Any]) -> Secret:
        if SECRET_ID.fullmatch(secret_id) is None:
            raise Refused(400, "secretId must be 1 to 255 letters, digits, _ and -.")
        replication = described.get("replication")
        if not isinstance(replication, dict) or not replication:
            raise Refused(400, "Secret.replication must be provided.")
        name = f"projects/{project}/secrets/{secret_id}"
        if name in self._secrets:
            raise Refused(409, f"Secret [{name}] already exists.")
        secret = Secret(name, described.get("labels") or {}, replication)
        self._secrets[name] = secret
        return secret

    def secret(self, name: str) -> Secret:
        if name not in self._secrets:
            raise Refused(404, f"Secret [{name}] not found.")
        return self._secrets[name]
