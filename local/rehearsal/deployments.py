"""The deployments of a rehearsal: the first, one with nothing to do, changed ones, failing ones."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from emulators.google_cloud import GoogleCloud, running
from local.rehearsal.expected import (
    Archive,
    Deployment,
    Expected,
    differences,
    expected_from,
    files_of,
)
from local.rehearsal.rehearsal import (
    ACCOUNT,
    MEMBER,
    PROJECT,
    REGION,
    ROOT,
    SETTINGS,
    Failed,
    Rehearsal,
    environment,
    is_change,
    project,
    refused,
)

MAX_ARCHIVE = 400_000
INVOKER = "roles/run.invoker"


def checked(run: Rehearsal) -> str:
    """Before anything is deployed."""
    run.settings(SETTINGS)
    done = run.check()
    run.expect(done.returncode == 0, f"check finds errors:\n{done.stdout}")
    run.expect("not checked" not in done.stdout, f"check cannot look:\n{done.stdout}")
    run.problems += refused(run.cloud)
    return "check finds no error."


def first(run: Rehearsal) -> str:
    run.settings(SETTINGS)
    done = run.deploy()
    if done.returncode != 0:
        raise Failed(f"The first deployment failed:\n{done.stdout}\n{refused(run.cloud)}")
    run.expect("Accepted:" in done.stdout, "it is not said what is accepted")
    state = run.cloud.state()
    archive = archive_of(run.cloud, state)
    run.problems += differences(state, expected_of(run))
    run.problems += archive.differences(files_of(run.folder), MAX_ARCHIVE)
    run.problems += refused(run.cloud)
    said = [f"Deployed for the first time, without a terminal, in {run.seconds:.0f} s:"]
    return "\n".join([*said, *summary(state, archive)])


def invokers_are_missing(run: Rehearsal) -> str:
    """Until functions are there, nobody can be allowed to call them."""
    checked = run.check()
    run.expect(checked.returncode == 1, "check does not miss the invoker's role")
    run.expect(f"--member=serviceAccount:{ACCOUNT}" in checked.stdout, checked.stdout)
    run.expect(INVOKER in checked.stdout, f"check does not name {INVOKER}:\n{checked.stdout}")
    return f"check says, once functions are there, that they need {INVOKER}."


def invokers_are_allowed(run: Rehearsal) -> str:
    run.cloud.grant(INVOKER, MEMBER)
    checked = run.check()
    run.expect(checked.returncode == 0, f"check finds errors:\n{checked.stdout}")
    return "With it, check finds nothing more."


def again(run: Rehearsal) -> str:
    done = run.deploy()
    run.expect(done.returncode == 0, f"the second deployment failed:\n{done.stdout}")
    changed = [*run.calls("create"), *run.calls("patch"), *run.calls("delete")]
    run.expect(not changed, f"the second deployment changes {', '.join(changed)}")
    run.problems += refused(run.cloud)
    return f"Deployed again, in {run.seconds:.0f} s: nothing to do."


NEW_SECRET = "new-rest-api-key"  # noqa: S105 - its name
OLD_TEXT, NEW_TEXT = "Is thinking of you", "Would like to talk to you"


def with_changes(run: Rehearsal) -> str:
    """A text is changed, and the secret has another name."""
    texts = run.folder / "handlers" / "texts" / "en.toml"
    changed = texts.read_text(encoding="utf-8").replace(OLD_TEXT, NEW_TEXT)
    run.expect(NEW_TEXT in changed, "there is no text to change")
    texts.write_text(changed, encoding="utf-8")
    run.settings(SETTINGS | {"BATCH_REST_KEY_SECRET": NEW_SECRET})
    before = run.cloud.state()["functions"]
    done = run.deploy()
    run.expect(done.returncode == 0, f"the changed deployment failed:\n{done.stdout}")
    run.expect(not run.calls("create") and not run.calls("delete"), "functions come or go")
    run.expect(
        {*run.calls("patch")} == {name.rpartition("/")[2] for name in before},
        f"the changed deployment updates only {', '.join(run.calls('patch'))}",
    )
    run.problems += refused(run.cloud)
    return f"Deployed with a changed text and a renamed secret, in {run.seconds:.0f} s."


def after_functions_left(run: Rehearsal) -> str:
    fewer = SETTINGS | {"SOURCES": "firestore", "BATCH_REST_KEY_SECRET": NEW_SECRET}
    left = sorted(run.discovery(SETTINGS).endpoints.keys() - run.discovery(fewer).endpoints.keys())
    run.settings(fewer)
    done = run.deploy()
    run.expect(done.returncode == 2, f"functions left main.py, and it goes on:\n{done.stdout}")
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


def all_are_deleted(run: Rehearsal) -> str:
    """`firebase functions:delete`, as the documentation says to take everything away."""
    names = sorted(name.rpartition("/")[2] for name in run.cloud.state()["functions"])
    done = run.firebase("functions:delete", *names, "--region", REGION, "--force")
    run.expect(done.returncode == 0, f"functions:delete failed:\n{done.stdout}")
    state = run.cloud.state()
    for kind in ("functions", "jobs"):
        run.expect(not state[kind], f"functions:delete leaves {', '.join(state[kind])}")
    run.problems += refused(run.cloud)
    kept = ", ".join(sorted(name.rpartition("/")[2] for name in state["queues"]))
    return f"Deleted {len(names)} functions with functions:delete. It leaves the queues {kept}."


# --- Deployments that fail -----------------------------------------------------------------------


@dataclass(frozen=True)
class Fault:
    """What is wrong with a project, and the words that say so in the output of each program."""

    what: str
    project: Mapping[str, Any]
    settings: Mapping[str, str]
    check_says: str
    cli_says: str


FAULTS = (
    Fault(
        "another region than the Realtime Database",
        {},
        {"REGION": "europe-west1"},
        "its functions must be, set REGION",
        "is not in europe-west1",
    ),
    Fault(
        "the API of Secret Manager is off",
        {"disabled": ["secretmanager.googleapis.com"]},
        {},
        "secretmanager.googleapis.com",
        "",
    ),
    Fault(
        "an API that is off, and that the deployer may not enable",
        {"disabled": ["cloudtasks.googleapis.com"], "denied": ["serviceusage.services.enable"]},
        {},
        "",
        "Permission 'serviceusage.services.enable' denied",
    ),
    Fault(
        "a deployer without a permission",
        {"denied": ["cloudfunctions.functions.create"]},
        {},
        "",
        "cloudfunctions.functions.create",
    ),
    Fault(
        "a secret that the functions' account cannot read",
        {"secrets": {"batch-rest-api-key": []}},
        {},
        "secretmanager.secretAccessor",
        "",
    ),
)


def that_fail(run: Rehearsal) -> str:
    """Each in a project of its own; what the CLI and `check` say, side by side."""
    said = ["Deployments that cannot work, and what is said of them:"]
    for fault in FAULTS:
        with running(replace(project(), **fault.project)) as cloud:
            said += _failing(replace_cloud(run, cloud), fault)
    run.settings(SETTINGS)
    return "\n".join(said)


def replace_cloud(run: Rehearsal, cloud: GoogleCloud) -> Rehearsal:
    """The same folder, deployed elsewhere; what is wrong is collected in the same list."""
    directory = run.directory / cloud.url.rpartition(":")[2]
    directory.mkdir()
    return Rehearsal(run.folder, cloud, environment(cloud, directory), directory, run.problems)


def _failing(run: Rehearsal, fault: Fault) -> Iterator[str]:
    run.settings({**SETTINGS, **fault.settings})
    checked = run.check()
    yield f"  {fault.what}"
    if fault.check_says:
        run.expect(checked.returncode == 1, f"{fault.what}: check finds nothing")
        is_said = fault.check_says in checked.stdout
        run.expect(is_said, f"{fault.what}: check says\n{checked.stdout}")
        yield f"    check: {_line(checked.stdout, fault.check_says)}"
    if fault.cli_says:
        done = run.deploy()
        run.expect(done.returncode != 0, f"{fault.what}: the deployment succeeds")
        is_said = fault.cli_says in done.stdout
        run.expect(is_said, f"{fault.what}: the CLI says\n{done.stdout}")
        yield f"    Firebase CLI: {_line(done.stdout, fault.cli_says)}"


def _line(output: str, words: str) -> str:
    """The line with these words, from where it gets to the point."""
    line = next((each for each in output.splitlines() if words in each), "")
    return line.rpartition("had HTTP Error: ")[2].removeprefix("error").strip()


# --- What was deployed ---------------------------------------------------------------------------


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
    as_archive = f"{archive.size / 1e3:.0f} kB as an archive"
    yield f"  {len(archive.files):>4} files, {size / 1e3:.0f} kB, {as_archive}"
