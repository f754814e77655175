"""A Firebase project of somebody's own, with a codebase for Node.js, gets batchpush as a package.

`init` writes into it, what it asks for is added by hand, and the package comes from a file beside
`main.py`, as in a project without a registry.
"""

import json
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from typing import Any

from batchpush.cli import firebase_files
from emulators import batch
from local import wheel
from local.rehearsal.deployments import archive_of, expected_of
from local.rehearsal.expected import differences, files_of
from local.rehearsal.instances import DidNotServe, firestore_emulator
from local.rehearsal.journey import accepted, built, push_to
from local.rehearsal.rehearsal import (
    NODE_MODULES,
    REST_KEY,
    ROOT,
    SETTINGS,
    Failed,
    Rehearsal,
    environment,
    refused,
)
from local.tools import find_runtime

MAX_ARCHIVE = 600_000  # with the wheel
NODE = {
    "firebase.json": '{"functions": {"source": "functions", "codebase": "default"}} // ours\n',
    "functions/package.json": '{"main": "index.js", "engines": {"node": "20"}}\n',
    "functions/index.js": 'throw new Error("this is not deployed");\n',
}


def served_from_the_package(run: Rehearsal) -> str:
    run = existing(run)
    asked = initialize(run)
    checked = run.check()
    run.expect(checked.returncode == 0, f"check finds errors:\n{checked.stdout}")
    done = run.deploy()
    if done.returncode != 0:
        raise Failed(f"The deployment of a package failed:\n{done.stdout}\n{refused(run.cloud)}")
    state = run.cloud.state()
    run.problems += differences(state, expected_of(run))
    (file,) = run.folder.glob("*.whl")
    files = files_of(run.folder) | {file.name: file.read_bytes()}
    run.problems += archive_of(run.cloud, state).differences(files, MAX_ARCHIVE)
    return (
        f"Into a project with Node.js, init wrote the functions, and asked for {asked}. "
        f"Deployed in {run.seconds:.0f} s; built with the package in {tells(run):.0f} s, they push."
    )


def existing(run: Rehearsal) -> Rehearsal:
    """The project, with an environment that has the package, and not this folder."""
    project = run.directory / "existing"
    for name, text in NODE.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    push, built = project / "push", wheel.build(run.directory / "dist")
    _done(sys.executable, "-m", "venv", str(push / "venv"))
    (site,) = (push / "venv").glob("lib/python*/site-packages")
    # The packages that it needs, from here; the build takes them from where they come from.
    (site / "installed.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    _done(str(push / "venv/bin/pip"), "install", "--quiet", "--no-index", str(built))
    shutil.copy(built, push)
    directory = run.directory / "packaged"
    directory.mkdir()
    return replace(
        run,
        folder=push,
        directory=directory,
        environment=environment(run.cloud, directory),
        python=str(push / "venv/bin/python"),
        cli=str(NODE_MODULES / ".bin/firebase"),
        pip=(),  # nobody asks for hashes
    )


def _done(*command: str) -> None:
    subprocess.run(command, check=True)


def initialize(run: Rehearsal) -> str:
    """Run `init`, and do what it asks for; returns what that is."""
    project = run.folder.parent
    told = subprocess.run(
        [str(run.folder / "venv/bin/batchpush"), "init", "push", "--json"],
        cwd=project,
        env=dict(run.environment),
        capture_output=True,
        text=True,
    )
    files = {each["file"]: each for each in map(json.loads, told.stdout.splitlines())}
    asked: dict[str, Any] = {name: each["add"] for name, each in files.items() if each["add"]}
    run.expect(list(asked) == ["firebase.json"], f"init asks for {asked}:\n{told.stderr}")
    config = firebase_files.parse("firebase.json", NODE["firebase.json"])
    add = asked["firebase.json"]
    add["functions"]["runtime"] = find_runtime(ROOT / "venv")  # as in the copy of this folder
    config["functions"] = [config["functions"], add["functions"]]
    (project / "firebase.json").write_text(json.dumps(config | {"firestore": add["firestore"]}))
    run.settings(SETTINGS)
    return " and ".join(f"{key} in firebase.json" for key in add)


def tells(run: Rehearsal) -> float:
    """A function of it pushes; returns how long its build took."""
    apps = dict(each.split("=") for each in SETTINGS["BATCH_APPS"].split(","))
    with (
        batch.running(apps, [REST_KEY]) as local_batch,
        firestore_emulator(run.directory, run.cloud) as firestore,
        built(run, local_batch, firestore) as journey,
    ):
        journey.start("outbox").wait()
        journey.write("pushes/packaged", push_to("packaged", "ann"))
        try:
            journey.until("push", lambda: accepted(local_batch, "packaged") == 2)
        except DidNotServe as why:
            raise Failed("\n".join([str(why), *refused(run.cloud)])) from None
        return journey.instances.place.seconds
