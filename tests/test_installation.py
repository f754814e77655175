"""What is wrong with an installation is told with a command that this folder has."""

from pathlib import Path

import pytest

from batchpush.cli import installation
from batchpush.cli.check.packages import packages


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A folder with functions only: batchpush is installed by pip."""
    monkeypatch.chdir(tmp_path)


def test_a_clone_has_its_makefile() -> None:
    assert installation.setup() == "make setup"
    assert installation.setup("python3.12") == "make setup PYTHON=python3.12"
    assert installation.deploy("staging") == "make deploy PROJECT=staging"
    assert installation.adding("pyyaml") == "echo pyyaml >> requirements.in && make lock"
    assert installation.missing("ruff") == "ruff is not installed: make setup"


@pytest.mark.usefixtures("package")
def test_a_package_has_pip_and_its_own_commands() -> None:
    install = "venv/bin/pip install -r requirements.txt 'batchpush[cli]'"
    assert installation.setup() == install
    assert installation.setup("python3.12") == f"python3.12 -m venv venv && {install}"
    assert installation.deploy() == "batchpush deploy"
    assert installation.deploy("staging") == "batchpush deploy --project staging"
    assert installation.adding("pyyaml") == "echo pyyaml >> requirements.txt"
    told = "ruff is not installed: pip install 'batchpush[cli]'"
    assert installation.missing("ruff") == told
    Path("batchpush-0.1.0-py3-none-any.whl").touch()
    told = "ruff is not installed: pip install './batchpush-0.1.0-py3-none-any.whl[cli]'"
    assert installation.missing("ruff") == told


IMPORT = {"main.py": "from batchpush import Push"}


@pytest.mark.usefixtures("package")
def test_functions_without_batchpush_beside_them_require_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "batchpush.cli.check.packages.distributions_of", lambda module: frozenset({"batchpush"})
    )
    (finding,) = packages("httpx==0.28.1\n", IMPORT)
    assert finding.says == "imports batchpush, and requirements.txt has no batchpush"
    wheel = Path("batchpush-0.1.0-py3-none-any.whl")
    (finding,) = packages(f"./{wheel}\n", IMPORT)
    assert finding.says == f"{wheel} is not there: put it beside requirements.txt"
    wheel.touch()
    for line in ("batchpush==0.1.0", f"./{wheel}"):
        (finding,) = packages(f"{line}\n", IMPORT)
        assert finding.says == "1 package, all that the functions import"
