"""`make deploy`: the check, and then the Firebase CLI, unless something is wrong."""

import subprocess
from pathlib import Path

import pytest

DEPLOYED = "deploy --only functions,firestore:indexes"


def make(tmp_path: Path, check: int, *arguments: str) -> tuple[int, list[str]]:
    """The exit code, and what was run; Python and the Firebase CLI only write that down."""
    ran = tmp_path / "ran"
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, code in (("python", check), ("firebase", 0)):
        (tools / name).write_text(f'#!/bin/sh\necho {name} "$@" >> {ran}\nexit {code}\n')
        (tools / name).chmod(0o755)
    done = subprocess.run(
        [
            "make",
            "-o",
            "venv/.installed",
            "-o",
            "emulators/node_modules/.installed",
            "deploy",
            f"BIN={tools}",
            f"FIREBASE={tools}/firebase",
            *arguments,
        ],
        capture_output=True,
        text=True,
    )
    return done.returncode, ran.read_text().splitlines()


@pytest.mark.parametrize(
    ("arguments", "project"), [([], ""), (["PROJECT=staging"], " --project staging")]
)
def test_what_is_well_is_deployed(tmp_path: Path, arguments: list[str], project: str) -> None:
    assert make(tmp_path, 0, *arguments) == (
        0,
        [f"python -m batchpush check{project}", f"firebase {DEPLOYED}{project}"],
    )


@pytest.mark.parametrize("code", [1, 2])
def test_an_error_stops_it(tmp_path: Path, code: int) -> None:
    exit_code, ran = make(tmp_path, code)
    assert exit_code != 0
    assert ran == ["python -m batchpush check"]
