import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AUDIT = runpy.run_path(".ci/audit.py")

PIP = {"name": "aiohttp", "version": "1.0", "vulns": []}
FOUND = PIP | {"vulns": [{"id": "CVE-1"}]}
CVE = "aiohttp 1.0: CVE-1"
SKIPPED = {"name": "aiohttp", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "found"),
    [([PIP], []), ([PIP, FOUND], [CVE]), ([SKIPPED, FOUND], [CVE])],
)
def test_what_pip_audit_found(packages: list[Any], found: list[str]) -> None:
    assert AUDIT["of_pip"]({"dependencies": packages}) == found


@pytest.mark.parametrize("severity", ["low", "moderate", "high", "critical"])
def test_what_npm_found_and_is_severe(severity: str) -> None:
    found = AUDIT["of_npm"]({"vulnerabilities": {"tar": {"severity": severity}}})
    assert bool(found) is (severity in ("high", "critical"))


@pytest.mark.parametrize(
    ("read", "said"),
    [("of_pip", {"dependencies": [PIP, SKIPPED]}), ("of_npm", {"message": "405"})],
)
def test_a_package_that_was_skipped_is_not_one_that_is_well(read: str, said: Any) -> None:
    with pytest.raises(AUDIT["NotChecked"]):
        AUDIT[read](said)


@pytest.mark.parametrize(
    "program", ["print('oops')", "print([])", "print(7)", "import sys; sys.exit('no network')"]
)
def test_a_program_that_says_nothing_of_use_has_checked_nothing(program: str) -> None:
    with pytest.raises(AUDIT["NotChecked"]):
        AUDIT["audit"]([sys.executable, "-c", program], AUDIT["of_pip"])


def test_a_program_that_is_not_there_has_checked_nothing() -> None:
    with pytest.raises(AUDIT["NotChecked"]):
        AUDIT["audit"](["no-such-program"], AUDIT["of_pip"])


WELL = '{"dependencies": [], "vulnerabilities": {}}'
BAD = """{"dependencies": [{"name": "x", "version": "1", "vulns": [{"id": "CVE-1"}]}],
    "vulnerabilities": {"x": {"severity": "high"}}}"""


@pytest.mark.parametrize(
    ("pip", "npm", "optional", "code"),
    [
        (WELL, WELL, "", 0),
        (BAD, WELL, "", 1),
        (WELL, BAD, "", 1),
        (WELL, None, "", 2),
        (None, WELL, "", 2),
        (None, None, "", 2),
        (None, None, "no", 2),
        (None, None, "optional", 0),
        (WELL, None, "optional", 0),
        (BAD, None, "", 1),
        (BAD, None, "optional", 1),
    ],
)
def test_it_fails_where_it_could_not_look_unless_told_otherwise(
    tmp_path: Path, pip: str | None, npm: str | None, optional: str, code: int
) -> None:
    """Each program answers so, or is there and says that it cannot."""
    for name, answer in (("uvx", pip), ("npm", npm)):
        program = tmp_path / name
        said = "echo no network >&2; exit 1" if answer is None else f"cat <<'END'\n{answer}\nEND"
        program.write_text(f"#!/bin/sh\n{said}\n")
        program.chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    done = subprocess.run(
        [sys.executable, ".ci/audit.py"],
        env=os.environ | {"PATH": path, "AUDIT": optional},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code
    assert ("NOT CHECKED" in done.stdout) is (pip is None or npm is None)


def test_what_runs_here_says_that_it_may_not_look() -> None:
    lines = Path(".ci/run").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("AUDIT=optional make audit") for line in lines)


def test_what_is_installed_is_pinned_by_its_hashes() -> None:
    for file in ("requirements.txt", "requirements-dev.txt"):
        with open(file, encoding="utf-8") as lines:
            text = lines.read().replace("\\\n", " ")
        pinned = [line for line in text.splitlines() if "==" in line and "#" not in line]
        assert pinned
        assert all("--hash=sha256:" in line for line in pinned)
