"""How a test starts the Secret Manager emulator, fills it and checks what was read."""

import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from emulators.secret_manager.server import create_app
from emulators.serving import Handle, in_background

CREDENTIAL = {"Authorization": "Bearer local"}


class SecretManager(Handle):
    def add_version(self, project: str, secret: str, payload: str | bytes) -> int:
        """Add a version, creating the secret if necessary; returns the version's number."""
        self._create_if_absent(project, secret)
        data = payload.encode() if isinstance(payload, str) else payload
        path = f"/v1/projects/{project}/secrets/{secret}:addVersion"
        version = self._post(path, {"payload": {"data": b64encode(data).decode()}})
        return int(version["name"].rpartition("/")[2])

    def disable_version(self, project: str, secret: str, version: int | str) -> None:
        self._post(f"/v1/projects/{project}/secrets/{secret}/versions/{version}:disable", {})

    def _create_if_absent(self, project: str, secret: str) -> None:
        path = f"/v1/projects/{project}/secrets?secretId={secret}"
        try:
            self._post(path, {"replication": {"automatic": {}}})
        except ValueError as error:
            if "ALREADY_EXISTS" not in str(error):
                raise

    def _post(self, path: str, data: dict[str, Any]) -> Any:
        return self._request("POST", path, data, CREDENTIAL)


def secret_place(name: str, project: str) -> tuple[str, str]:
    """The project and id of a secret, from its id or its full name; raises ValueError."""
    found = re.fullmatch(r"(?:projects/([^/]+)/secrets/)?([^/]+)(?:/versions/[^/]+)?", name)
    if found is None:
        raise ValueError(f"{name} is not the name of a secret")
    return found[1] or project, found[2]


@contextmanager
def running() -> Iterator[SecretManager]:
    """A separate emulator on a free loopback port, until the block ends."""
    with in_background(create_app()) as url:
        yield SecretManager(url)
