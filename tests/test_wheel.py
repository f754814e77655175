"""The wheel has what an installation needs and nothing else, and runs where only it is."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from batchpush.cli.init import template
from batchpush.cli.version import VERSION
from local import wheel as wheels
from tests.examples import EXAMPLES

ROOT = Path(__file__).parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCKED = {
    name: version
    for file in ("requirements.txt", "requirements-dev.txt")
    for name, version in re.findall(
        r"^([\w.-]+)(?:\[\S+\])?==(\S+)",
        (ROOT / file).read_text(encoding="utf-8"),
        re.MULTILINE,
    )
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build(tmp_path_factory.mktemp("dist"))


TEMPLATE = "batchpush/cli/init/template"


def files_of_init() -> set[str]:
    """What `init` writes is this repository's, apart from requirements.txt."""
    of_project = ("firebase.json", "firestore.indexes.json", "firestore.rules")
    return {*template.code(), *of_project, "database.rules.json"}


class Installed:
    """A fresh venv with the wheel; the packages that it needs are those of the tests."""

    def __init__(self, folder: Path, wheel: Path, extra: str = "") -> None:
        self.bin = folder / "venv" / "bin"
        self.run(sys.executable, "-m", "venv", str(folder / "venv"))
        (site,) = (folder / "venv").glob("lib/python*/site-packages")
        (site / "tests.pth").write_text(sysconfig.get_path("purelib"))
        # pip resolves what the wheel requires among what is there, and asks nobody.
        pip = (self.bin / "pip", "install", "--quiet", "--disable-pip-version-check")
        self.run(*map(str, pip), "--no-index", f"{wheel}{extra}")

    def run(self, *command: str, cwd: Path | None = None) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stdout

    def python(self, code: str, cwd: Path | None = None) -> str:
        return self.run(str(self.bin / "python"), "-W", "error", "-c", code, cwd=cwd)

    def batchpush(self, *arguments: str, cwd: Path | None = None) -> str:
        return self.run(str(self.bin / "batchpush"), *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Installed:
    return Installed(tmp_path_factory.mktemp("installed"), wheel, "[cli]")


# What is in it


def test_it_has_the_package_and_nothing_that_is_generated(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        names = {name for name in opened.namelist() if ".dist-info/" not in name}
    package = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "batchpush").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert names == package | {f"{TEMPLATE}/{name}" for name in files_of_init()}
    for name in (
        "batchpush/py.typed",
        "batchpush/cli/console/page/index.html",
        "batchpush/cli/console/page/page.css",
        "batchpush/google/protocol/firestore_pb2.py",
        "batchpush/google/protocol/firestore_pb2.pyi",
        "batchpush/testing/project.py",
    ):
        assert name in names


def test_it_requires_what_the_functions_of_a_clone_install() -> None:
    text = (ROOT / "requirements.in").read_text(encoding="utf-8")
    ours = {Requirement(each).name for each in PROJECT["project"]["dependencies"]}
    assert ours == set(re.findall(r"^[\w-]+", text, re.MULTILINE))


@pytest.mark.parametrize(
    "requirement",
    [
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["cli"],
    ],
)
def test_what_it_requires_is_what_is_tested_or_newer(requirement: str) -> None:
    required = Requirement(requirement)
    tested = LOCKED[required.name]
    assert required.specifier.contains(tested)
    (oldest,) = (each.version for each in required.specifier if each.operator == ">=")
    assert tested.split(".")[: len(oldest.split("."))] == oldest.split(".")


# What it does where only it is


def test_it_is_imported_from_where_it_is_installed(installed: Installed, tmp_path: Path) -> None:
    code = "import batchpush, batchpush.testing; print(batchpush.__file__)"
    assert "site-packages" in installed.python(code, tmp_path)


def test_the_command_line_is_there_under_its_own_name(installed: Installed, tmp_path: Path) -> None:
    assert installed.batchpush("--version", cwd=tmp_path) == f"batchpush {VERSION}\n"
    assert installed.batchpush("check", "--help").startswith("usage: batchpush check ")


def test_what_it_initializes_can_be_checked_and_previewed(
    installed: Installed, wheel: Path, tmp_path: Path
) -> None:
    said = installed.batchpush("init", cwd=tmp_path)
    folder = tmp_path / "push"
    assert f"\n./{wheel.name}\n" in (folder / "requirements.txt").read_text()
    assert f"\n  cp {wheel} .\n" in said
    assert f"pip install -r requirements.txt './{wheel.name}[cli]'\n" in said
    shutil.copy(wheel, folder)
    for name in template.code():
        assert (folder / name).read_bytes() == (ROOT / name).read_bytes()
    (folder / ".env").write_text("BATCH_APPS=ios=KEY\nMEDIA_HOSTS=cdn.example.com\n")
    (folder / "venv").symlink_to(installed.bin.parent)
    told = installed.batchpush("check", "--offline", "--project", "demo-p", "--json", cwd=folder)
    findings = json.loads(told)["findings"]
    assert {each["severity"] for each in findings} <= {"ok", "not_checked", "warning"}
    warnings = [each for each in findings if each["severity"] == "warning"]
    assert all("venv/ has Python" in each["says"] for each in warnings), warnings
    assert any("all that the functions import" in each["says"] for each in findings)
    message, recipients = {"title": "A", "body": "B"}, {"custom_ids": ["ann"]}
    push = {"group_id": "sale", "recipients": recipients, "message": message}
    (folder / "push.json").write_text(json.dumps(push))
    preview = ("preview", "outbox", "--document", "push.json", "--project", "demo-p")
    assert "ann" in installed.batchpush(*preview, cwd=folder)


def test_a_handler_is_tested_where_it_initializes(installed: Installed, tmp_path: Path) -> None:
    """As docs/handlers.md says for a folder without this repository's pyproject.toml."""
    installed.batchpush("init", cwd=tmp_path)
    folder = tmp_path / "push"
    (test,) = (each for each in EXAMPLES if each.title == "tests/test_my_orders.py")
    (folder / "tests").mkdir()
    (folder / test.title).write_text(test.text, encoding="utf-8")
    python = str(installed.bin / "python")
    pytest = ("-m", "pytest", "-q", "--asyncio-mode=auto", test.title)
    assert "1 passed" in installed.run("env", "BATCH_APPS=ios=A", python, *pytest, cwd=folder)


def test_types_are_read_from_it(installed: Installed, tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(
        "from batchpush import Change, LookUp, Push\n"
        "async def handler(change: Change, look_up: LookUp) -> Push | None:\n"
        "    reveal_type(change.path)\n"
        "    return None\n"
    )
    mypy = ("-m", "mypy", "--cache-dir", str(tmp_path / "cache"), "--follow-imports", "silent")
    told = installed.run(str(installed.bin / "python"), *mypy, "user.py", cwd=tmp_path)
    assert 'Revealed type is "str"' in told
    assert "Success" in told


def test_a_command_without_its_extra_says_what_to_install(
    installed: Installed, tmp_path: Path
) -> None:
    code = (
        "import os, sys\n"
        "sys.modules['uvicorn'], sys.stderr = None, sys.stdout\n"
        "os.environ['BATCH_APPS'] = 'ios=KEY'\n"
        "from batchpush.cli.main import main\n"
        "assert main(['console', '--project', 'demo-p']) == 2\n"
    )
    told = "batchpush: uvicorn is not installed: pip install 'batchpush[cli]'\n"
    assert installed.python(code, tmp_path) == told
