"""How a rehearsal and a test start the emulator, and look at what was deployed to it."""

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emulators.google_cloud.project import Project
from emulators.google_cloud.server import create_app
from emulators.serving import Handle, in_background


class GoogleCloud(Handle):
    def ready(self) -> dict[str, Any]:
        told: dict[str, Any] = self._request("GET", "/__ready")
        return told

    def requests(self) -> list[dict[str, Any]]:
        """Every request so far, oldest first, without its credential."""
        asked: list[dict[str, Any]] = self._request("GET", "/__requests")
        return asked

    def clear(self) -> None:
        self._request("DELETE", "/__requests")

    def state(self) -> dict[str, dict[str, Any]]:
        deployed: dict[str, dict[str, Any]] = self._request("GET", "/__state")
        return deployed

    def archive(self, function: dict[str, Any]) -> zipfile.ZipFile:
        """The source code of a deployed function."""
        place = function["buildConfig"]["source"]["storageSource"]
        told = self._request("GET", f"/__archives/{place['bucket']}/{place['object']}")
        return zipfile.ZipFile(io.BytesIO(base64.b64decode(told["zip"])))

    def environment(self, directory: Path) -> dict[str, str]:
        """Leads Node.js and Python programs here instead of to Google; files go to `directory`."""
        told = self.ready()
        certificate, account = directory / "certificate.pem", directory / "deployer.json"
        certificate.write_text(told["certificate"], encoding="utf-8")
        account.write_text(json.dumps(told["service_account"]), encoding="utf-8")
        proxies = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
        return dict.fromkeys(proxies, told["proxy"]) | {
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "NODE_EXTRA_CA_CERTS": str(certificate),
            "REQUESTS_CA_BUNDLE": str(certificate),
            "GOOGLE_APPLICATION_CREDENTIALS": str(account),
        }


@contextmanager
def running(project: Project) -> Iterator[GoogleCloud]:
    """A separate emulator on a free loopback port, until the block ends."""
    with in_background(create_app(project)) as url:
        yield GoogleCloud(url)
