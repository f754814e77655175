"""What the repository's own files say: its version, what CI runs, what the hooks run."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from batchpush.cli.version import VERSION

PROJECT: dict[str, Any] = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
CHANGELOG = Path("CHANGELOG.md").read_text(encoding="utf-8")
MAKEFILE = Path("Makefile").read_text(encoding="utf-8")
YAML = [
    Path(".pre-commit-config.yaml"),
    *sorted(Path(".github").rglob("*.yml")),
    *sorted(Path(".github").rglob("*.yaml")),
]


def read(file: str) -> Any:
    return yaml.safe_load(Path(file).read_text(encoding="utf-8"))


def test_the_version_is_the_newest_of_the_changelog() -> None:
    released = re.findall(r"^## (\d+\.\d+\.\d+)", CHANGELOG, re.MULTILINE)
    assert released[0] == VERSION
    assert PROJECT["tool"]["hatch"]["version"]["path"] == "batchpush/cli/version.py"


def test_the_changelog_has_what_is_not_released_and_each_version_with_its_day() -> None:
    unreleased, *versions = re.findall(r"^## (.*)", CHANGELOG, re.MULTILINE)
    assert unreleased == "Unreleased"
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", each) for each in versions)


def test_the_pythons_are_those_that_setup_takes() -> None:
    assert "(3, 11) <= sys.version_info < (3, 14)" in MAKEFILE
    assert PROJECT["project"]["requires-python"] == ">=3.11,<3.14"


@pytest.mark.parametrize("file", YAML, ids=str)
def test_every_yaml_file_can_be_read(file: Path) -> None:
    assert isinstance(yaml.safe_load(file.read_text(encoding="utf-8")), dict)


def test_ci_runs_what_can_be_run_on_any_machine() -> None:
    job = read(".github/workflows/ci.yml")["jobs"]["run"]
    assert job["steps"][-1] == {"run": ".ci/run"}
    assert Path(".ci/run").stat().st_mode & 0o111
    (pythons,) = [
        step["with"]["python-version"].split()
        for step in job["steps"]
        if "setup-python" in step.get("uses", "")
    ]
    assert f"for version in {' '.join(sorted(pythons))}; do" in Path(".ci/run").read_text()
    runtime = json.loads(Path("firebase.json").read_text())["functions"]["runtime"]
    assert job["env"]["PYTHON"].replace(".", "") == runtime


def test_the_hooks_are_the_checks_of_make() -> None:
    checks = re.findall(r"^\t\$\(BIN\)/(\S+)", MAKEFILE[MAKEFILE.index("\nlint:") :], re.MULTILINE)
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    programs = [hook["entry"].split()[0] for hook in repository["hooks"]]
    assert programs == [f"venv/bin/{check}" for check in checks[:4]]


def test_what_is_kept_up_to_date_is_there() -> None:
    for update in read(".github/dependabot.yml")["updates"]:
        if update["package-ecosystem"] == "npm":
            assert Path(update["directory"].strip("/"), "package-lock.json").is_file()
