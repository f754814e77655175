"""What the functions import is what `requirements.txt` installs for them."""

from pathlib import Path

import pytest

from batchpush.cli.check.findings import Severity
from batchpush.cli.check.packages import Requirement, packages, requirements_in, wheels_in

ROOT = Path(__file__).parent.parent
LOCKED = (ROOT / "requirements.txt").read_text(encoding="utf-8")


def deployed() -> dict[str, str]:
    files = (
        ROOT / "main.py",
        *(ROOT / "batchpush").rglob("*.py"),
        *(ROOT / "handlers").rglob("*.py"),
    )
    return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in files}


def test_all_that_is_deployed_has_its_packages() -> None:
    (finding,) = packages(LOCKED, deployed())
    assert finding.severity is Severity.OK


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", []),
        ("httpx==0.28.1\n", [Requirement("httpx", 1, False)]),
        (
            "# ours\n\nhttpx[http2]==0.28.1 ; python_version < '3.13' \\\n    --hash=sha256:a \\\n"
            "    --hash=sha256:b\n    # via requirements.in\nregex==1\n",
            [Requirement("httpx", 3, True), Requirement("regex", 7, False)],
        ),
        ("-r other.txt\n--index-url https://example.com\n", []),
        (
            "./my_own-1.0-py3-none-any.whl --hash=sha256:a\nlibs/a.b-2-py3-none-any.whl ; x\n",
            [Requirement("my_own", 1, True), Requirement("a.b", 2, False)],
        ),
        (
            "\ufeffregex == 1 # --hash=no\r\nzope.x==2 --hash=sha256:a\r\n",
            [Requirement("regex", 1, False), Requirement("zope.x", 2, True)],
        ),
    ],
)
def test_every_entry_is_found_with_its_line(text: str, found: list[Requirement]) -> None:
    assert requirements_in(text) == found


def test_wheels_in_the_folder_are_found() -> None:
    text = (
        "./a-1-py3-none-any.whl --hash=sha256:a\nlibs/b-1-py3-none-any.whl; x\n"
        "https://example.com/c-1-py3-none-any.whl\n# d-1-py3-none-any.whl\nhttpx==1\n"
    )
    assert wheels_in(text) == ["a-1-py3-none-any.whl", "libs/b-1-py3-none-any.whl"]


def test_an_entry_without_a_hash_is_told_with_the_way_to_add_it() -> None:
    (finding,) = packages(f"{LOCKED}python-slugify==8.0.4\n", {})
    assert finding.severity is Severity.ERROR
    assert finding.where == f"requirements.txt:{LOCKED.count(chr(10)) + 1}"
    assert finding.says.startswith("python-slugify has no --hash")
    assert finding.fix == "echo python-slugify >> requirements.in && make lock"


def test_where_nothing_has_a_hash_nothing_needs_one() -> None:
    (finding,) = packages("httpx==0.28.1\nregex==1\n", {"main.py": "import httpx, regex"})
    assert finding.severity is Severity.OK


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import json, os.path\nfrom batchpush import Push\nfrom . import x\n", []),
        (
            "import httpx\nfrom google.cloud import firestore\nfrom google.protobuf import message",
            [],
        ),
        ("import firebase_admin.db", []),
        ("import pytest", [("handlers/x.py:1", "pytest")]),
        ("def f():\n    from hypothesis import given", [("handlers/x.py:2", "hypothesis")]),
        ("if a:\n    pass\nelse:\n    import mypy.api as m", [("handlers/x.py:4", "mypy")]),
        ("import not_installed", [("handlers/x.py:1", "not_installed")]),
        ("from google.cloud import bigquery", [("handlers/x.py:1", "google.cloud.bigquery")]),
        ("import local.suite", [("handlers/x.py:1", "local.suite")]),
        ("try:\n    import pytest\nexcept ImportError:\n    pytest = None", []),
        ("if TYPE_CHECKING:\n    import pytest", []),
        ("import pytest as = 3", []),
    ],
)
def test_an_import_that_is_not_installed_there_is_told_with_its_line(
    code: str, found: list[tuple[str, str]]
) -> None:
    told = [
        each
        for each in packages(LOCKED, {"handlers/x.py": code})
        if each.severity is not Severity.OK
    ]
    assert [each.where for each in told] == [where for where, _ in found]
    for each, (_, name) in zip(told, found, strict=True):
        assert each.severity is Severity.ERROR
        assert each.says.startswith(f"imports {name}")


def test_a_package_that_is_missing_is_told_once_where_it_is_first_imported() -> None:
    code = "from not_installed import a, b\nimport not_installed.c\nimport hypothesis\n"
    told = list(packages("httpx==1\n", {"handlers/x.py": code, "handlers/y.py": code}))
    assert [(each.where, each.says) for each in told] == [
        (
            "handlers/x.py:1",
            "imports not_installed, which is not installed: is it in requirements.txt?",
        ),
        ("handlers/x.py:3", "imports hypothesis, and requirements.txt has no hypothesis"),
    ]


def test_the_command_that_adds_a_package_names_its_distribution() -> None:
    (finding,) = packages("httpx==1\n", {"main.py": "import yaml"})
    assert finding.fix == "echo pyyaml >> requirements.in && make lock"
