"""The folder that is deployed, the cloud that it is deployed to, and what was found to be wrong."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchpush.cli import firebase_files
from batchpush.cli.discovery import Discovery, discover
from batchpush.cli.env_files import text_with
from emulators.google_cloud import GoogleCloud, Project, running
from local.suite import firebase_config
from local.tools import find_firebase, find_runtime

ROOT = Path(__file__).resolve().parent.parent.parent
NODE_MODULES = ROOT / "emulators" / "node_modules"
PROJECT = "batchpush-rehearsal"
REGION = "us-central1"
ACCOUNT = f"batchpush@{PROJECT}.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{ACCOUNT}"
SETTINGS = {
    "BATCH_APPS": "ios=LOCALIOSAPPKEY,android=LOCALANDROIDAPPKEY",
    "SOURCES": "firestore,database",
    "REGION": REGION,
    "SERVICE_ACCOUNT": "batchpush@",
    "MIN_INSTANCES": "1",
    "COALESCE_SECONDS": "10",
    "PUBLISH_ARTICLES": "live",
}
# Too large, or of no interest to the CLI; venv is linked, which it needs.
NOT_COPIED = shutil.ignore_patterns(
    *("venv", "node_modules", ".git", "mutants", "__pycache__", ".*_cache", ".hypothesis"),
    *(".env", ".env.*", ".firebaserc", "firebase-debug*.log", ".firebase"),
)
# What may lie in somebody's folder, and must not be uploaded.
DECOYS = {
    "users.csv": "id,email\n",
    "service-account.json": "{}",
    ".secret.local": "KEY=value\n",
    "handlers/dump.json": "{}",
    "batchpush/old.zip": "PK",
    "notes/todo.py": "",
}
REST_KEY, NEW_REST_KEY = "rehearsal-rest-key", "new-rehearsal-rest-key"


class Failed(Exception):
    """The rehearsal did not come to its end."""


@dataclass
class Rehearsal:
    """A folder that is deployed, and the cloud that it is deployed to."""

    folder: Path
    cloud: GoogleCloud
    environment: Mapping[str, str]
    directory: Path
    problems: list[str]
    python: str = sys.executable  # one that has batchpush, or finds it in the folder
    cli: str = "emulators/node_modules/.bin/firebase"
    pip: Sequence[str] = ("--require-hashes",)  # what is asked of it in the build
    seconds: float = 0.0  # that the last program took

    def deploy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The second half of `make deploy`."""
        return self._run("batchpush", "deploy", "--firebase", self.cli, *arguments)

    def check(self) -> subprocess.CompletedProcess[str]:
        """The first half."""
        return self._run("batchpush", "check")

    def firebase(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._started(self.cli, *arguments)

    def _run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self._started(self.python, "-m", module, *arguments)

    def _started(self, *command: str) -> subprocess.CompletedProcess[str]:
        self.cloud.clear()
        began = time.monotonic()
        done = subprocess.run(
            [*command, "--project", PROJECT],
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,  # no terminal
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.seconds = time.monotonic() - began
        return done

    def settings(self, settings: Mapping[str, str]) -> None:
        (self.folder / ".env").write_text(text_with(settings), encoding="utf-8")

    def discovery(self, settings: Mapping[str, str]) -> Discovery:
        return discover(dict(settings) | {"GCLOUD_PROJECT": PROJECT}, seconds=60)

    def calls(self, verb: str) -> list[str]:
        """The functions that were created (`create`), changed (`patch`) or deleted (`delete`)."""
        key = f"cloudfunctions.v2:projects.locations.functions.{verb}"
        return [
            each["query"].get("functionId") or each["path"].rpartition("/")[2]
            for each in self.cloud.requests()
            if each["method"] == key
        ]

    def expect(self, is_so: bool, problem: str) -> None:
        if not is_so:
            self.problems.append(problem)


@contextmanager
def rehearsal(problems: list[str], of: Project | None = None) -> Iterator[Rehearsal]:
    """`of` is the project, if not `project()`."""
    with (
        tempfile.TemporaryDirectory(prefix="batchpush-rehearsal-") as temporary,
        running(of or project()) as cloud,
    ):
        # Resolved, since the CLI compares paths as text.
        directory = Path(temporary).resolve()
        folder = copy_to(directory / "project")
        yield Rehearsal(folder, cloud, environment(cloud, directory), directory, problems)


def project() -> Project:
    """As README and docs/deploy.md have it prepared before the first deployment."""
    deployer = f"serviceAccount:deployer@{PROJECT}.iam.gserviceaccount.com"
    roles = ("datastore.user", "cloudtasks.enqueuer", "eventarc.eventReceiver")
    return Project(
        PROJECT,
        firestore={"(default)": "nam5"},
        realtime={f"{PROJECT}-default-rtdb": REGION},
        accounts=["batchpush", "deployer", "stranger"],
        roles={f"roles/{role}": [MEMBER] for role in (*roles, "firebasedatabase.admin")}
        | {"roles/owner": [deployer]},
        secrets={"batch-rest-api-key": [MEMBER], "new-rest-api-key": [MEMBER]},
        payloads={"batch-rest-api-key": REST_KEY, "new-rest-api-key": NEW_REST_KEY},
        runs_as=ACCOUNT,
    )


def copy_to(folder: Path) -> Path:
    """This folder as it is, with other things that may lie in it."""
    shutil.copytree(ROOT, folder, ignore=NOT_COPIED, symlinks=True)
    for name, text in DECOYS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "venv").symlink_to(ROOT / "venv")
    modules = folder / "emulators" / "node_modules"
    modules.symlink_to(NODE_MODULES.resolve())
    find_firebase(folder, shutil.which("node"))
    # The CLI runs main.py with the Python of the runtime, which has to be the one of venv/.
    config = firebase_config()
    firebase_files.codebases(config, ROOT)[0]["runtime"] = find_runtime(ROOT / "venv")
    (folder / "firebase.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return folder


# What the CLI needs of ours; a credential or an emulator's address would change what is rehearsed.
INHERITED = ("HOME", "LANG", "LC_ALL", "PATH", "TMPDIR")


def environment(cloud: GoogleCloud, directory: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return (
        kept
        | cloud.environment(directory)
        | {
            "CI": "true",  # no message of the day, no check for updates
            "NO_COLOR": "1",
            "XDG_CONFIG_HOME": str(directory / "config"),  # nobody is logged in
            # google-auth-library of the CLI does not ask the proxy for a token, so a key file would
            # lead to Google. A refresh token takes the CLI's own client, which does.
            "FIREBASE_TOKEN": cloud.ready()["refresh_token"],
            "FUNCTIONS_DISCOVERY_TIMEOUT": "60",  # seconds, on a busy machine
        }
    )


READS = ("get", "list", "getIamPolicy", "testIamPermissions", "token")


def is_change(request: Mapping[str, Any]) -> bool:
    method = str(request["method"])
    return not method.rpartition(".")[2].endswith(READS) and method != "token"


def refused(cloud: GoogleCloud) -> list[str]:
    """What Google would not have understood. To look for something and not find it is no error."""
    return [
        f"{each['verb']} {each['host']}{each['path']} got {each['status']}: {each['error']}"
        for each in cloud.requests()
        if each["status"] != 200 and not (each["status"] == 404 and each["method"])
    ]
