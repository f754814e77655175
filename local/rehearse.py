"""Rehearses a deployment, with the real Firebase CLI and a Google Cloud on this machine.

    python -m local.rehearse      says what was deployed; exits with 1 if something is wrong

    a copy of this folder --> python -m local.deploy --> Firebase CLI --> emulators.google_cloud
                                                                                |
                        Batch <-- functions-framework <-- fresh venv <-- the archive

No terminal, no account, and no way out: the CLI's proxy leads to the emulator only. It deploys
three times: for the first time; once more, when nothing is to be done; and after functions have
left the code, when nothing may be deleted until that is asked for. After the first time, one
function of each kind is started from the archive (`local/instances.py`).
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchpush.cli import firebase_files
from batchpush.cli.discovery import Discovery, discover
from batchpush.cli.env_files import text_with
from emulators import batch
from emulators.google_cloud import GoogleCloud, Project, running
from local.expected import (
    Archive,
    Deployment,
    Expected,
    differences,
    expected_from,
    files_of,
)
from local.instances import (
    DidNotServe,
    Instance,
    Instances,
    build,
    called,
    created,
    dispatched,
    firestore_emulator,
    scheduled,
)
from local.suite import Interrupted, firebase_config, raise_on_signals
from local.tools import CannotStart, find_firebase, find_runtime

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "batchpush-rehearsal"
REGION = "us-central1"
ACCOUNT = f"batchpush@{PROJECT}.iam.gserviceaccount.com"
SETTINGS = {
    "BATCH_APPS": "ios=LOCALIOSAPPKEY,android=LOCALANDROIDAPPKEY",
    "SOURCES": "firestore,database",
    "REGION": REGION,
    "SERVICE_ACCOUNT": "batchpush@",
    "MIN_INSTANCES": "1",
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
MAX_ARCHIVE = 1_000_000
REST_KEY = "rehearsal-rest-key"


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

    def deploy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The second half of `make deploy`."""
        return self._run("local.deploy", *arguments)

    def check(self) -> subprocess.CompletedProcess[str]:
        """The first half."""
        return self._run("batchpush", "check")

    def _run(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        self.cloud.clear()
        return subprocess.run(
            [sys.executable, "-m", module, *arguments, "--project", PROJECT],
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,  # no terminal
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

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


def main() -> int:
    began = time.monotonic()
    raise_on_signals()
    problems: list[str] = []
    try:
        with rehearsal(problems) as run:
            for step in (first, served, again, after_functions_left):
                print(step(run), flush=True)
    except (CannotStart, DidNotServe, Failed) as why:
        problems.append(str(why))  # after what was found before it
    except Interrupted as interrupted:
        return interrupted.exit_code
    for problem in problems:
        print(f"wrong: {problem}")
    print(f"{len(problems)} problems, after {time.monotonic() - began:.0f} s.")
    return 1 if problems else 0


@contextmanager
def rehearsal(problems: list[str]) -> Iterator[Rehearsal]:
    with (
        tempfile.TemporaryDirectory(prefix="batchpush-rehearsal-") as temporary,
        running(project()) as cloud,
    ):
        # Resolved, since the CLI compares paths as text.
        directory = Path(temporary).resolve()
        folder = copy_to(directory / "project")
        yield Rehearsal(folder, cloud, environment(cloud, directory), directory, problems)


def project() -> Project:
    """As README and docs/deploy.md have it prepared."""
    member = f"serviceAccount:{ACCOUNT}"
    deployer = f"serviceAccount:deployer@{PROJECT}.iam.gserviceaccount.com"
    roles = ("datastore.user", "cloudtasks.enqueuer", "eventarc.eventReceiver", "run.invoker")
    return Project(
        PROJECT,
        firestore={"(default)": "nam5"},
        realtime={f"{PROJECT}-default-rtdb": REGION},
        accounts=["batchpush", "deployer"],
        roles={f"roles/{role}": [member] for role in (*roles, "firebasedatabase.admin")}
        | {"roles/owner": [deployer]},
        secrets={"batch-rest-api-key": [member]},
        payloads={"batch-rest-api-key": REST_KEY},
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
    modules.symlink_to((ROOT / "emulators" / "node_modules").resolve())
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


# --- The three deployments -----------------------------------------------------------------------


def first(run: Rehearsal) -> str:
    run.settings(SETTINGS)
    checked = run.check()
    run.expect(checked.returncode == 0, f"check finds errors:\n{checked.stdout}")
    run.expect("not checked" not in checked.stdout, f"check cannot look:\n{checked.stdout}")
    run.problems += refused(run.cloud)
    done = run.deploy()
    if done.returncode != 0:
        raise Failed(f"The first deployment failed:\n{done.stdout}\n{refused(run.cloud)}")
    run.expect("Accepted:" in done.stdout, "it is not said what is accepted")
    state = run.cloud.state()
    expected = expected_of(run)
    archive = archive_of(run.cloud, state)
    run.problems += differences(state, expected)
    run.problems += archive.differences(files_of(ROOT), MAX_ARCHIVE)
    run.problems += refused(run.cloud)
    return "\n".join(["Deployed for the first time, without a terminal:", *summary(state, archive)])


def served(run: Rehearsal) -> str:
    """One function of each kind, started from the archive."""
    state = run.cloud.state()
    apps = dict(each.split("=") for each in SETTINGS["BATCH_APPS"].split(","))
    with (
        ExitStack() as stack,
        batch.running(apps, [REST_KEY]) as local_batch,
        firestore_emulator(run.directory) as firestore,
        run.cloud.archive(next(iter(state["functions"].values()))) as zipped,
    ):
        began = time.monotonic()
        source = build(zipped, run.directory)
        built = time.monotonic() - began
        run.cloud.clear()
        certificate = run.directory / "certificate.pem"
        instances = Instances(
            run.directory, source, run.cloud, local_batch, certificate, firestore, stack
        )
        said = [f"Built from the archive in {built:.0f} s, and started as Cloud Run does:"]
        try:
            said += [f"  {each}" for each in kinds(run, instances, state)]
        except DidNotServe as why:
            raise Failed("\n".join([str(why), *refused(run.cloud)])) from None
    run.problems += refused(run.cloud)
    return "\n".join(said)


def kinds(run: Rehearsal, instances: Instances, state: Mapping[str, Any]) -> Iterator[str]:
    region = f"projects/{PROJECT}/locations/{REGION}"

    def start(name: str) -> Instance:
        return instances.start(state["functions"][f"{region}/functions/{name}"])

    push = {"group_id": "rehearsal", "message": {"title": "Hello", "body": "From the archive"}}
    outbox = start("outbox")
    document = push | {"recipients": {"custom_ids": ["ann"]}}
    outbox.expect(200, *created(PROJECT, "pushes/one", document))
    calls = instances.batch.wait_for_calls(2)
    run.expect(all(each["accepted"] for each in calls), f"Batch refuses: {calls}")
    yield "outbox: an event of Firestore became a push of each of two apps"

    document = push | {"recipients": {"custom_ids": [f"user-{n}" for n in range(10_001)]}}
    outbox.expect(200, *created(PROJECT, "pushes/many", document))
    tasks = run.cloud.state()["tasks"]
    sendchunk = start("sendchunk")
    for task in tasks.values():
        sendchunk.expect(200, *dispatched(task))
    calls = instances.batch.wait_for_calls(6)
    are_all = (len(tasks), len(calls) - 2) == (2, 4)
    run.expect(are_all, f"{len(tasks)} tasks, {len(calls) - 2} calls")
    yield f"sendchunk: {len(tasks)} tasks of a large audience became {len(calls) - 2} calls"

    job = state["jobs"][f"{region}/jobs/firebase-schedule-sweep-{REGION}"]
    start("sweep").expect(200, *scheduled(job))
    yield "sweep: a schedule found nothing to do"

    said = start("notify").expect(401, *called({"to": "bob", "template": "poke"}))
    run.expect("UNAUTHENTICATED" in said, f"notify answers {said}")
    yield "notify: a call without a user is refused"

    start("outbox_rtdb").expect(200, b"{}", {"content-type": "application/json"})
    yield "outbox_rtdb: an event that is none is settled"


def again(run: Rehearsal) -> str:
    done = run.deploy()
    run.expect(done.returncode == 0, f"the second deployment failed:\n{done.stdout}")
    changed = [*run.calls("create"), *run.calls("patch"), *run.calls("delete")]
    run.expect(not changed, f"the second deployment changes {', '.join(changed)}")
    run.problems += refused(run.cloud)
    return "Deployed again: nothing to do."


def after_functions_left(run: Rehearsal) -> str:
    fewer = SETTINGS | {"SOURCES": "firestore"}
    left = sorted(run.discovery(SETTINGS).endpoints.keys() - run.discovery(fewer).endpoints.keys())
    run.settings(fewer)
    done = run.deploy()
    run.expect(done.returncode == 1, f"functions left main.py, and it goes on:\n{done.stdout}")
    changes = [each["path"] for each in run.cloud.requests() if is_change(each)]
    run.expect(not changes, f"functions left main.py, and it changes {', '.join(changes)}")
    for name in left:
        command = f"firebase functions:delete {name} --region {REGION} --force"
        run.expect(command in done.stdout, f"nobody says how to delete {name}")
    done = run.deploy("--delete")
    run.expect(done.returncode == 0, f"with --delete, it fails:\n{done.stdout}")
    deleted = sorted(run.calls("delete"))
    run.expect(deleted == left, f"with --delete, it deletes {deleted} instead of {left}")
    return f"{len(left)} functions left main.py: kept until their deletion was asked for."


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


def expected_of(run: Rehearsal) -> Expected:
    discovery = run.discovery(SETTINGS)
    if discovery.problem:
        raise Failed(f"{discovery.where}: {discovery.problem}")
    indexes = json.loads((ROOT / "firestore.indexes.json").read_text(encoding="utf-8"))
    deployment = Deployment(PROJECT, ACCOUNT, SETTINGS, project().firestore)
    return expected_from(deployment, discovery.endpoints, indexes)


def archive_of(cloud: GoogleCloud, state: Mapping[str, Any]) -> Archive:
    """The source code, which all functions share."""
    function = next(iter(state["functions"].values()))
    with cloud.archive(function) as zipped:
        size = zipped.fp.seek(0, os.SEEK_END) if zipped.fp else 0
        return Archive({name: zipped.read(name) for name in zipped.namelist()}, size)


def summary(state: Mapping[str, Any], archive: Archive) -> Iterator[str]:
    functions: Sequence[Mapping[str, Any]] = list(state["functions"].values())
    retried = [each for each in functions if each.get("eventTrigger")]
    ttl = [name for name, each in state["fields"].items() if "ttlConfig" in each]
    size = sum(map(len, archive.files.values()))
    yield f"  {len(functions):>4} functions, {len(retried)} of them for events, with retries"
    yield f"  {len(state['jobs']):>4} schedules, {len(state['queues'])} queues"
    yield f"  {len(state['fields']):>4} fields of Firestore, {len(ttl)} with a TTL"
    as_archive = f"{archive.size / 1e6:.1f} MB as an archive"
    yield f"  {len(archive.files):>4} files, {size / 1e6:.1f} MB, {as_archive}"


if __name__ == "__main__":
    sys.exit(main())
