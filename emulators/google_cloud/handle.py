"""How a rehearsal and a test start the emulator, and look at what was deployed to it."""

import base64
import io
import json
import ssl
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from emulators.google_cloud.project import Project
from emulators.google_cloud.server import create_app
from emulators.serving import Handle, in_background

CERTIFICATE = "certificate.pem"
KINDS = ("created", "updated", "deleted")


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

    # --- What is brought to functions

    def place(self, function: str, url: str) -> None:
        """The process of the function, by its full name, listens there."""
        self._request("PUT", f"/__instances/{function}", {"url": url})

    def remove(self, function: str) -> None:
        """No process of the function listens any more."""
        self._request("DELETE", f"/__instances/{function}")

    def set_pace(self, **pace: float) -> None:
        """See `Pace`; what is not named is as by default."""
        self._request("PUT", "/__pace", pace)

    def run_job(self, name: str) -> None:
        self._request("POST", f"/__jobs/{name}")

    def grant(self, role: str, member: str) -> None:
        """On the project."""
        self._request("POST", "/__grants", {"role": role, "member": member})

    def id_token(self, account: str, audience: str) -> str:
        """A token that the account shows to a service."""
        asked = {"account": account, "audience": audience}
        token: str = self._request("POST", "/__id_tokens", asked)["token"]
        return token

    def sign_in(self, uid: str) -> str:
        """The ID token of a user of the app, as Firebase Authentication gives it."""
        token: str = self._request("POST", f"/__users/{uid}")["token"]
        return token

    def deliveries(self) -> list[dict[str, Any]]:
        """What was brought to functions or still is, in the order in which it began."""
        begun: list[dict[str, Any]] = self._request("GET", "/__deliveries")
        return begun

    def invocations(self) -> list[dict[str, Any]]:
        """Every request to a function, with its caller and the answer."""
        came: list[dict[str, Any]] = self._request("GET", "/__invocations")
        return came

    def call(self, url: str, body: bytes, token: str = "") -> tuple[int, str]:
        """A request to a function from outside, with a token if there is one."""
        told, place = self.ready(), urlsplit(url)
        proxy = urlsplit(told["proxy"])
        context = ssl.create_default_context(cadata=told["certificate"])
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = HTTPSConnection(str(proxy.hostname), proxy.port, context=context, timeout=60)
        connection.set_tunnel(str(place.hostname), 443)
        with closing(connection):
            connection.request("POST", place.path or "/", body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read().decode("utf-8", "replace")

    def watch(self, firestore: str) -> None:
        """Have Google's Firestore emulator at this address tell of its writes.

        It was started with `--functions_emulator`; the Firebase CLI registers triggers in the same
        way (`addFirestoreTrigger` of its functionsEmulator.js).
        """
        project = self.ready()["service_account"]["project_id"]
        for kind in KINDS:
            trigger = {
                "eventType": f"google.cloud.firestore.document.v1.{kind}",
                "database": "(default)",
                "namespace": "(default)",
                "document": {"value": "{path=**}", "matchType": "PATH_PATTERN"},
            }
            path = f"/emulator/v1/projects/{project}/eventarcTrigger?eventarcTriggerId={kind}"
            with closing(HTTPConnection(firestore, timeout=10)) as connection:
                headers = {"Content-Type": "application/json", "Authorization": "Bearer owner"}
                connection.request("POST", path, json.dumps(trigger), headers)
                reply = connection.getresponse()
                if reply.status != 200:
                    raise ValueError(f"Firestore answers {reply.status}: {reply.read()!r}")

    def write(self, path: str, value: Any) -> None:
        """To the Realtime Database, which brings an event."""
        self._request("PUT", f"/{path}.json", value)

    def environment(self, directory: Path) -> dict[str, str]:
        """Leads Node.js and Python programs here instead of to Google; files go to `directory`."""
        told = self.ready()
        certificate, account = directory / CERTIFICATE, directory / "deployer.json"
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
