"""The whole path in a real project and at Batch itself: deploy, write, receive, tear down.

    BATCHPUSH_LIVE_PROJECT=test BATCHPUSH_LIVE_USER=ann venv/bin/pytest tests/live

Without these variables, it is skipped.

    BATCHPUSH_LIVE_PROJECT   the id or alias of a project for tests. Its `.env` file names Dev keys
                             in BATCH_APPS, and nothing of this codebase is deployed there
    BATCHPUSH_LIVE_USER      the custom id of somebody with a test phone, whose app has a Dev key

It takes a quarter of an hour, most of it for the deployment, and needs what `make deploy` needs:
permissions, and Google credentials (`gcloud auth application-default login`).

It costs some cents: a build of each function, and a few writes. The user gets two pushes in every
app of BATCH_APPS. Batch has no statistics for Dev keys, so whether the phone showed them, only its
owner can say.

The functions, the documents and their delivery records are deleted again, whatever happens. What
stays: the secret, enabled APIs, roles, indexes and TTL policies, the queues of Cloud Tasks, logs,
and container images, which are deleted after a day.
"""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from google.cloud.firestore import Client

from batchpush.campaigns.stats import DEV
from batchpush.cli.deploy import Cli, Function, codebase_of_folder, deployed
from batchpush.cli.env_files import Project, project_called
from batchpush.cli.terminal import variables_for
from batchpush.delivery.record import DeliveryState
from batchpush.environment import VARIABLES, Settings

NEEDED = ("BATCHPUSH_LIVE_PROJECT", "BATCHPUSH_LIVE_USER")
FIREBASE = "emulators/node_modules/.bin/firebase"
PROJECTS = ("GCLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT")
DEADLINE = 300.0  # seconds; the first event of a new function may take minutes
POLL = 5.0


def missing(environment: Mapping[str, str]) -> str:
    """Why the journey is skipped; empty if it is not."""
    absent = [name for name in NEEDED if not environment.get(name)]
    return f"set {' and '.join(absent)}: see tests/live" if absent else ""


@dataclass(frozen=True)
class Live:
    project: Project
    user: str
    settings: Settings

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Live":
        project = project_called(environment["BATCHPUSH_LIVE_PROJECT"])
        settings = Settings.from_environment(variables_for(project))
        live = [app for app, key in settings.batch_apps.items() if not key.startswith(DEV)]
        assert not live, f"{', '.join(live)}: only Dev keys are for tests"
        return cls(project, environment["BATCHPUSH_LIVE_USER"], settings)

    @property
    def name(self) -> str:
        """The alias, where there is one: for the id, the CLI does not read `.env.ALIAS`."""
        return self.project.alias or self.project.id

    @property
    def chosen(self) -> list[str]:
        return ["--project", self.name]

    def batchpush(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "batchpush", *arguments, *self.chosen]

    def deletions(self, functions: Sequence[Function]) -> Iterator[list[str]]:
        """One command for each region."""
        for region, there in groupby(sorted(functions), lambda function: function.region):
            names = [function.name for function in there]
            options = ["--region", region, "--force", *self.chosen]
            yield [FIREBASE, "functions:delete", *names, *options]


def own(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a terminal: without the settings that the tests run with."""
    ours = {*VARIABLES, *PROJECTS}
    return {name: value for name, value in environment.items() if name not in ours}


def run(command: Sequence[str]) -> str:
    """What it printed. Where it cannot ask, it does not."""
    done = subprocess.run(
        command, env=own(os.environ), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    assert done.returncode == 0, (
        f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}"
    )
    return done.stdout


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    """The project with our functions, which are deleted afterwards."""
    if reason := missing(os.environ):
        pytest.skip(reason)
    assert "FIRESTORE_EMULATOR_HOST" not in os.environ
    live = Live.of(os.environ)
    cli = Cli(FIREBASE, live.chosen, os.environ["PATH"])
    codebase = codebase_of_folder().name
    assert not deployed(cli.functions(), codebase), f"{live.project} has functions: they would go"
    try:
        run(["make", "deploy", f"PROJECT={live.name}"])
        yield live
    finally:
        for command in live.deletions(deployed(cli.functions(), codebase)):
            run(command)


def records(live: Live, document: str) -> list[dict[str, Any]]:
    """The delivery records of a document."""
    states = [state.value for state in DeliveryState]
    lines = run(live.batchpush("deliveries", "--since", "1h", "--json", "--state", *states))
    found = map(json.loads, lines.splitlines())
    return [record for record in found if record["document"] == document]


def settled(live: Live, document: str) -> dict[str, Any]:
    deadline = time.monotonic() + DEADLINE
    while True:
        found = records(live, document)
        if found and found[0]["state"] not in ("CLAIMED", "RETRY", "WAITING"):
            return found[0]
        assert time.monotonic() < deadline, f"{document}: {found or 'no record'}"
        time.sleep(POLL)


@pytest.mark.live
@pytest.mark.parametrize(
    ("path", "writes"),
    [
        (
            "pushes/{unique}",
            [
                {
                    "group_id": "batchpush_live",
                    "recipients": {"custom_ids": ["USER"]},
                    "message": {"title": "Live", "body": "This is a test of batchpush."},
                }
            ],
        ),
        (
            "orders/{unique}",
            [
                {"customer_id": "USER", "number": "LIVE", "status": "shipped"},
                {"status": "delivered"},
            ],
        ),
    ],
)
def test_a_write_is_a_push_in_every_app(
    live: Live, path: str, writes: list[dict[str, Any]]
) -> None:
    firestore = Client(project=live.project.id, database=live.settings.database)
    document = firestore.document(path.format(unique=f"live-{uuid.uuid4().hex}"))
    try:
        for fields in writes:
            document.set(json.loads(json.dumps(fields).replace("USER", live.user)), merge=True)
        record = settled(live, document.path)
        assert record["state"] == "SENT", record
        assert {call["app"] for call in record["calls"]} == set(live.settings.batch_apps)
    finally:
        firestore.recursive_delete(document)
        for record in records(live, document.path):
            kept = live.settings.deliveries_collection
            firestore.recursive_delete(firestore.document(f"{kept}/{record['id']}"))


@pytest.mark.live
def test_every_question_of_the_probe_is_answered(live: Live, tmp_path: Path) -> None:
    app = next(iter(live.settings.batch_apps))
    report = tmp_path / "report.json"
    run(live.batchpush("probe", "--send", "--app", app, "--output", str(report)))
    assert json.loads(report.read_text())["questions"]


# Without a network


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ((), "set BATCHPUSH_LIVE_PROJECT and BATCHPUSH_LIVE_USER: see tests/live"),
        (NEEDED[:1], "set BATCHPUSH_LIVE_USER: see tests/live"),
        (NEEDED, ""),
    ],
)
def test_what_is_missing_is_named(given: Sequence[str], reason: str) -> None:
    assert missing(dict.fromkeys(given, "x")) == reason


def test_the_settings_of_the_tests_are_not_deployed() -> None:
    assert own({"BATCH_APPS": "ios=IOSKEY", "GCLOUD_PROJECT": "demo", "HOME": "/"}) == {"HOME": "/"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A folder with settings for a project, and the variables that choose it."""
    monkeypatch.chdir(tmp_path)
    Path(".firebaserc").write_text('{"projects": {"test": "batchpush-test"}}')
    Path(".env.test").write_text("BATCH_APPS=ios=DEV1,web=DEV2\n")
    return dict(zip(NEEDED, ("test", "ann"), strict=True))


def test_functions_are_deleted_region_by_region(project: dict[str, str]) -> None:
    here, there = "us-central1", "europe-west1"
    functions = [Function(here, "b"), Function(there, "a"), Function(here, "c")]
    assert [command[1:] for command in Live.of(project).deletions(functions)] == [
        ["functions:delete", "a", "--region", there, "--force", "--project", "test"],
        ["functions:delete", "b", "c", "--region", here, "--force", "--project", "test"],
    ]


def test_only_dev_keys_are_taken(project: dict[str, str]) -> None:
    assert set(Live.of(project).settings.batch_apps) == {"ios", "web"}
    Path(".env.test").write_text("BATCH_APPS=ios=DEV1,web=LIVE\n")
    with pytest.raises(AssertionError, match="web: only Dev keys"):
        Live.of(project)
