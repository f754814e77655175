import runpy
import sys
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


@pytest.mark.parametrize("program", ["print('oops')", "import sys; sys.exit('no network')"])
def test_a_program_that_says_nothing_of_use_has_checked_nothing(program: str) -> None:
    with pytest.raises(AUDIT["NotChecked"]):
        AUDIT["audit"]([sys.executable, "-c", program], AUDIT["of_pip"])


def test_a_program_that_is_not_there_has_checked_nothing() -> None:
    with pytest.raises(AUDIT["NotChecked"]):
        AUDIT["audit"](["no-such-program"], AUDIT["of_pip"])


def test_what_is_installed_is_pinned_by_its_hashes() -> None:
    for file in ("requirements.txt", "requirements-dev.txt"):
        with open(file, encoding="utf-8") as lines:
            text = lines.read().replace("\\\n", " ")
        pinned = [line for line in text.splitlines() if "==" in line and "#" not in line]
        assert pinned
        assert all("--hash=sha256:" in line for line in pinned)
