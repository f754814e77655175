"""`make deploy`: the check, and then the Firebase CLI, unless something is wrong."""

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from batchpush.cli import deploy
from batchpush.cli import main as cli
from batchpush.cli.deploy import Codebase, Function, Plan, compare, deployed, steps_of

EVERYTHING = "functions,firestore:indexes"
ALONE = Codebase("batchpush")


def tool(path: Path, ran: Path, *lines: str) -> None:
    path.write_text("\n".join(["#!/bin/sh", f'echo {path.name} "$@" >> {ran}', *lines]) + "\n")
    path.chmod(0o755)


def make(tmp_path: Path, check: int, *arguments: str) -> tuple[int, list[str]]:
    """The exit code, and what was run; Python only writes that down."""
    ran = tmp_path / "ran"
    tools = tmp_path / "bin"
    tools.mkdir()
    tool(tools / "python", ran, f"exit {check}")
    done = subprocess.run(
        [
            "make",
            "-o",
            "venv/.installed",
            "-o",
            "emulators/node_modules/.installed",
            "deploy",
            f"BIN={tools}",
            "FIREBASE=firebase",
            *arguments,
        ],
        capture_output=True,
        text=True,
    )
    return done.returncode, ran.read_text().splitlines()


@pytest.mark.parametrize(
    ("arguments", "project", "delete"),
    [
        ([], "", ""),
        (["PROJECT=staging"], " --project staging", ""),
        (["DELETE=yes"], "", " --delete"),
        (["DELETE=no"], "", ""),
    ],
)
def test_what_is_well_is_deployed(
    tmp_path: Path, arguments: list[str], project: str, delete: str
) -> None:
    assert make(tmp_path, 0, *arguments) == (
        0,
        [
            f"python -m batchpush check{project}",
            f"python -m batchpush deploy --firebase firebase{project}{delete}",
        ],
    )


@pytest.mark.parametrize("code", [1, 2])
def test_an_error_stops_it(tmp_path: Path, code: int) -> None:
    exit_code, ran = make(tmp_path, code)
    assert exit_code != 0
    assert ran == ["python -m batchpush check"]


@pytest.mark.parametrize(("version", "is_there"), [("3.11", False), ("3.12", True)])
def test_the_cli_reads_main_with_the_python_of_the_venv_whatever_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, is_there: bool
) -> None:
    """As `runWithVirtualEnv` of firebase-tools runs it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "venv/bin"
    folder.mkdir(parents=True)
    (folder / "activate").write_text(f'PATH="{folder}:$PATH"\n')
    tool(folder / "python", tmp_path / "ran")
    (folder / f"python{version}").symlink_to("python")
    with deploy.python_of("python312") as path:
        command = ["sh", "-c", ". venv/bin/activate && python3.12 serving.py"]
        subprocess.run(command, check=True, env={"PATH": path})
        assert (path == os.environ["PATH"]) is is_there
    assert (tmp_path / "ran").read_text() == "python serving.py\n"


# --- Without a terminal -------------------------------------------------------------------------


HERE, THERE = "us-central1", "europe-west1"
EVENT = Function(HERE, "outbox", is_retried=True)
TASKS = Function(HERE, "sendchunk")


@pytest.mark.parametrize(
    ("want", "have", "plan"),
    [
        (
            [EVENT, TASKS],
            [],
            Plan(
                new=(
                    EVENT,
                    TASKS,
                )
            ),
        ),
        ([EVENT, TASKS], [EVENT, TASKS], Plan()),
        ([EVENT], [Function(HERE, "outbox")], Plan(retried=(EVENT,))),
        (
            [Function(HERE, "outbox", True, 1)],
            [EVENT],
            Plan(dearer=(Function(HERE, "outbox", True, 1),)),
        ),
        ([EVENT], [Function(HERE, "outbox", True, 1)], Plan()),
        ([EVENT], [EVENT, TASKS], Plan(gone=(TASKS,))),
        (
            [Function(THERE, "outbox", is_retried=True)],
            [EVENT],
            Plan(new=(Function(THERE, "outbox", is_retried=True),), gone=(EVENT,)),
        ),
    ],
    ids=["first", "again", "retried from now on", "dearer", "cheaper", "left the code", "moved"],
)
def test_what_the_cli_would_ask_is_known_beforehand(
    want: list[Function], have: list[Function], plan: Plan
) -> None:
    assert compare(want, have) == plan


@pytest.mark.parametrize(
    "changed",
    [
        {"codebase": "another"},
        {"labels": {"deployment-tool": "cli-gcloud"}},
        {"labels": None},
    ],
    ids=["of another codebase", "of gcloud", "of somebody"],
)
def test_functions_that_the_cli_would_not_delete_are_left_out(changed: dict[str, Any]) -> None:
    assert deployed([described(EVENT) | changed], "batchpush") == []


def described(function: Function) -> dict[str, Any]:
    """As `firebase functions:list --json` has it."""
    trigger = {"eventTrigger": {"retry": True}} if function.is_retried else {"taskQueueTrigger": {}}
    return {
        "id": function.name,
        "region": function.region,
        "codebase": "batchpush",
        "labels": {"deployment-tool": "cli-firebase"},
        **trigger,
    }


def test_only_functions_that_are_named_are_forced() -> None:
    """Without a name, --force would delete what is not in main.py."""
    steps = steps_of(Plan(new=(EVENT,), retried=(TASKS,)), ALONE)
    assert steps == [
        (["firestore:indexes"], False),
        (["functions:batchpush:outbox", "functions:batchpush:sendchunk"], True),
        (["functions"], False),
    ]


def test_another_codebase_is_left_alone() -> None:
    ours = Codebase("batchpush", is_alone=False)
    assert steps_of(Plan(), ours) == [(["functions:batchpush", "firestore:indexes"], False)]
    last = steps_of(Plan(new=(EVENT,)), ours)[-1]
    assert last == (["functions:batchpush"], False)


@pytest.mark.parametrize(
    ("functions", "codebase"),
    [
        ({"source": "."}, Codebase("default")),
        (
            {"source": ".", "codebase": "push", "runtime": "python312"},
            Codebase("push", "python312"),
        ),
        ([{"source": ".", "codebase": "push"}], Codebase("push")),
        ([{"source": "web"}, {"source": ".", "codebase": "push"}], Codebase("push", "", False)),
    ],
)
def test_the_codebase_is_the_one_of_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, functions: Any, codebase: Codebase
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("firebase.json").write_text(json.dumps({"functions": functions}))
    assert deploy.codebase_of_folder() == codebase


class Deployed:
    """`python -m batchpush deploy` with a CLI that writes down what it is asked."""

    def __init__(self, tmp_path: Path, listed: Any, code: int = 0) -> None:
        self.ran = tmp_path / "ran"
        self.firebase = tmp_path / "firebase"
        answer = tmp_path / "listed.json"
        answer.write_text(listed if isinstance(listed, str) else json.dumps({"result": listed}))
        listing = f'[ "$1" = functions:list ] && exec cat {answer}'
        tool(self.firebase, self.ran, listing, f"exit {code}")

    def run(self, *arguments: str) -> int:
        return cli.main(["deploy", "--firebase", str(self.firebase), *arguments])

    def asked(self) -> list[str]:
        return [line.removeprefix("firebase ") for line in self.ran.read_text().splitlines()]


@pytest.fixture
def main_py(monkeypatch: pytest.MonkeyPatch) -> Sequence[Function]:
    """What the folder deploys; the discovery has tests of its own."""
    monkeypatch.setattr(deploy, "wanted", lambda project: [EVENT, TASKS])
    return [EVENT, TASKS]


@pytest.mark.usefixtures("main_py")
def test_the_first_deployment_needs_no_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Deployed(tmp_path, [])
    assert done.run("--project", "staging") == 0
    named = "functions:batchpush:outbox,functions:batchpush:sendchunk"
    assert done.asked() == [
        "functions:list --json --project staging",
        "deploy --only firestore:indexes --project staging",
        f"deploy --only {named} --force --project staging",
        "deploy --only functions --project staging",
    ]
    said = capsys.readouterr().out
    assert "delivered again until they succeed, for a day: outbox\n" in said
    assert "container images older than a day are deleted" in said


def test_a_deployment_of_the_same_functions_is_not_forced(
    tmp_path: Path, main_py: Sequence[Function]
) -> None:
    done = Deployed(tmp_path, [described(each) for each in main_py])
    assert done.run() == 0
    assert done.asked() == ["functions:list --json", f"deploy --only {EVERYTHING}"]


def test_nothing_is_deleted_unasked(
    tmp_path: Path, main_py: Sequence[Function], capsys: pytest.CaptureFixture[str]
) -> None:
    old = Function(HERE, "removed", is_retried=True)
    done = Deployed(tmp_path, [described(each) for each in (*main_py, old)])
    assert done.run("--project", "staging") == 2
    assert done.asked() == ["functions:list --json --project staging"]
    delete = "firebase functions:delete removed --region us-central1 --force --project staging"
    assert delete in capsys.readouterr().err


def test_what_is_deleted_is_said(
    tmp_path: Path, main_py: Sequence[Function], capsys: pytest.CaptureFixture[str]
) -> None:
    old = Function(HERE, "removed", is_retried=True)
    done = Deployed(tmp_path, [described(each) for each in (*main_py, old)])
    assert done.run("--delete") == 0
    assert done.asked()[1:] == [
        "deploy --only firestore:indexes",
        "deploy --only functions:batchpush --force",
    ]
    assert "- deleted, as was asked for: removed (us-central1)" in capsys.readouterr().out


@pytest.mark.usefixtures("main_py")
def test_a_step_that_fails_is_the_last(tmp_path: Path) -> None:
    done = Deployed(tmp_path, [], code=2)
    assert done.run() == 2
    assert done.asked() == ["functions:list --json", "deploy --only firestore:indexes"]


@pytest.mark.usefixtures("main_py")
@pytest.mark.parametrize(
    ("listed", "says"),
    [
        ('{"status": "error", "error": "Failed to authenticate"}', "Failed to authenticate"),
        ("", "the Firebase CLI says nothing"),
    ],
)
def test_nothing_is_deployed_blindly(
    tmp_path: Path, listed: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = Deployed(tmp_path, listed)
    assert done.run() == 2
    assert done.asked() == ["functions:list --json"]
    assert says in capsys.readouterr().err


def test_a_cli_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["deploy", "--firebase", "no-such-program"]) == 2
    told = "batchpush: no-such-program is not there: npm install -g firebase-tools\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "there is no main.py here: run this in the folder that has it"),
        ({"main.py": ""}, "there is no firebase.json here or in a folder above"),
        (
            {"main.py": "", "firebase.json": "{}"},
            'firebase.json has no "functions" with the "source" of this folder',
        ),
        ({"main.py": "", "firebase.json": "{"}, "firebase.json:1: is not JSON: "),
    ],
)
def test_a_folder_that_cannot_be_deployed_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert cli.main(["deploy", "--firebase", "true"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"batchpush: {says}")


@pytest.mark.usefixtures("main_py")
def test_on_a_terminal_the_cli_asks_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    done = Deployed(tmp_path, [])
    assert done.run() == 0
    assert done.asked() == [f"deploy --only {EVERYTHING}"]


def test_the_functions_of_main_py_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BATCH_APPS", "ios=KEY")
    found = {each.name: each for each in deploy.wanted(None)}
    assert found["outbox"] == EVENT
    assert found["sendchunk"] == TASKS
