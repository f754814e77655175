"""What `firebase deploy` uploads is what runs, by the packing of the Firebase CLI itself."""

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchpush.cli.check.findings import Severity
from batchpush.cli.check.globs import matcher
from batchpush.cli.check.upload import BY_DEFAULT, upload, uploaded
from batchpush.cli.discovery import discover

ROOT = Path(__file__).parent.parent
OURS: list[str] = json.loads((ROOT / "firebase.json").read_text())["functions"]["ignore"]
HOSTILE = (
    *(".env", ".env.local", ".env.production", ".env.staging", ".secret.local", ".env.example"),
    *(
        "service-account.json",
        "my-project-firebase-adminsdk-x1.json",
        "key",
        "id_rsa",
        "id_rsa.pub",
    ),
    *(
        "server.pem",
        "server.key",
        "cert.p12",
        "credentials",
        "token",
        "notes",
        "dump",
        "scratch.py",
    ),
    *("users.csv", "export.json", "backup.sql", "dump.rdb", "Untitled.ipynb", "data.toml"),
    *(
        "firebase-debug.log",
        "ui-debug.log",
        ".DS_Store",
        ".coverage",
        ".coverage.host.1.XaBc",
        ".idea/workspace.xml",
        ".vscode/launch.json",
    ),
    *("node_modules/left-pad/index.js", ".git/config", ".github/workflows/ci.yml", "docs/key.md"),
    *(
        "venv/lib/main.py",
        ".venv/lib/main.py",
        "__pycache__/main.cpython-311.pyc",
        "mutants/main.py",
    ),
    *("functions/main.py", "infra/main.tf", "infra/requirements.txt", "old/handlers2/orders.py"),
)
INSIDE = (
    *(".env", "service-account.json", "id_rsa", "key.pem", "credentials", "data.csv", "notes.md"),
    *("secret.toml", "__pycache__/x.cpython-311.pyc", ".DS_Store", "shop/key.py", "Untitled.ipynb"),
)


def put(folder: Path, *files: str) -> None:
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()


def packed(folder: Path) -> set[str]:
    """The files in the archive that the Firebase CLI makes."""
    done = subprocess.run(
        ["node", "tests/js/package.mjs", str(folder)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    archive = Path(done.stdout.strip())
    try:
        return set(zipfile.ZipFile(archive).namelist())
    except zipfile.BadZipFile:
        return set()  # what is in an archive without files is none
    finally:
        archive.unlink()


NOT_CLONED = ("venv", "node_modules", ".git", "__pycache__", ".*_cache", ".hypothesis", "mutants")


@pytest.fixture(params=["project", "push.v1", "handlers"])
def clone(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """This folder, under a name."""
    clone: Path = tmp_path / request.param
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(*NOT_CLONED))
    return clone


def runs(folder: Path) -> set[str]:
    return {"main.py", "requirements.txt"} | {
        file.relative_to(folder).as_posix()
        for pattern in (
            *("batchpush/**/*.py", "handlers/**/*.py"),
            *("handlers/categories.toml", "handlers/texts/*.toml"),
        )
        for file in folder.glob(pattern)
        if not file.is_relative_to(folder / "batchpush/testing")  # what only tests import
        and not file.is_relative_to(folder / "batchpush/cli")  # what runs in a terminal
    }


def test_what_runs_is_uploaded_and_nothing_else(clone: Path) -> None:
    wheel = "own-1.0-py3-none-any.whl"  # which requirements.txt may name in place of a package
    expected = runs(clone) | {wheel}
    put(clone, *HOSTILE, wheel, f"tests/{wheel}")
    put(clone, *(f"{where}/{name}" for where in ("batchpush", "handlers") for name in INSIDE))
    if clone.name == "handlers":  # the one thing that a pattern cannot tell from a handler
        expected |= {"scratch.py"}
    assert packed(clone) == expected
    assert set(uploaded(clone, OURS)) == expected


@pytest.mark.parametrize("clone", ["project"], indirect=True)
def test_what_only_tests_and_terminals_run_need_not_be_uploaded(clone: Path) -> None:
    (finding,) = upload(clone, OURS, "firebase.json:7", ["main.py"])
    assert finding.severity is Severity.OK
    (finding,) = upload(clone, OURS, "firebase.json:7", ["batchpush/testing/batch.py"])
    assert finding.severity is Severity.ERROR
    assert finding.says.startswith("ignore: batchpush/testing/batch.py is needed")


def test_a_code_file_that_a_pattern_lets_through_is_named(tmp_path: Path) -> None:
    put(tmp_path / "batchpush", "main.py", "batchpush/__init__.py", "scratch.py")
    (finding,) = upload(tmp_path / "batchpush", OURS, "firebase.json:7", ["main.py"])
    assert finding.severity is Severity.WARNING
    assert finding.says.startswith("ignore: scratch.py would be uploaded with every deployment")


FILES = (
    *("main.py", "requirements.txt", "batchpush/__init__.py", "handlers/orders.py"),
    *("handlers/texts/en.toml", "venv/a.py", "tests/b.py", "emulators/c.py"),
)


@pytest.mark.parametrize(
    ("patterns", "put_there", "found"),
    [
        (OURS, (), [(Severity.OK, "5 files would be uploaded")]),
        (OURS, HOSTILE, [(Severity.OK, "5 files would be uploaded")]),
        (
            ["venv", "tests", "emulators"],
            (
                "id_rsa",
                "handlers/users.csv",
                ".env.staging",
                "data/a",
                "data/b",
                "data/c",
                "data/d",
            ),
            [
                (Severity.ERROR, "ignore: .env.staging, id_rsa would be uploaded"),
                (Severity.WARNING, "ignore: data/, handlers/users.csv would be uploaded"),
            ],
        ),
        (
            BY_DEFAULT,
            ("node_modules/a.js", ".git/config"),
            [(Severity.WARNING, "ignore: emulators/c.py, tests/b.py, venv/a.py would be")],
        ),
        (OURS, ("own.whl",), [(Severity.WARNING, "ignore: own.whl would be uploaded")]),
        (
            [*OURS, "*.toml"],
            (),
            [(Severity.ERROR, "ignore: handlers/texts/en.toml is needed, and would not be")],
        ),
        (
            OURS,
            ("handlers/shop/sales.py", "own.py"),
            [
                (
                    Severity.ERROR,
                    "ignore: handlers/shop/sales.py is needed, and would not be uploaded: "
                    "let in **/handlers/shop and **/handlers/shop/*.py",
                ),
                (
                    Severity.ERROR,
                    "ignore: own.py is needed, and would not be uploaded: move it into handlers/",
                ),
            ],
        ),
    ],
)
def test_what_would_be_uploaded_and_is_not_expected_is_named(
    tmp_path: Path,
    patterns: list[str],
    put_there: tuple[str, ...],
    found: list[tuple[Severity, str]],
) -> None:
    put(tmp_path, *FILES, *put_there)
    imported = [
        "main.py",
        *(file for file in put_there if file in ("handlers/shop/sales.py", "own.py")),
    ]
    told = [*upload(tmp_path, patterns, "firebase.json:7", imported)]
    assert [each.severity for each in told] == [severity for severity, _ in found]
    for each, (_, beginning) in zip(told, found, strict=True):
        assert each.where == "firebase.json:7"
        assert each.says.startswith(beginning)


def test_a_private_key_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    put(tmp_path, "main.py")
    (tmp_path / "config.json").write_text('{"private_key": "-----BEGIN PRIVATE KEY-----"}')
    (finding,) = upload(tmp_path, ["venv"], "firebase.json:7", ["main.py"])
    assert (finding.severity, "a secret?" in finding.says) == (Severity.ERROR, True)


def test_a_link_to_the_folder_that_it_is_in_has_an_end(tmp_path: Path) -> None:
    put(tmp_path, "main.py")
    (tmp_path / "again").symlink_to(tmp_path)
    assert set(uploaded(tmp_path, ["venv"])) == {"main.py"}


# The patterns

MATCHED_BY_FIREBASE = """
const minimatch = require("./emulators/node_modules/minimatch");
const [patterns, paths] = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const of = (pattern) => paths.map((path) => minimatch(path, pattern, {matchBase: true, dot: true}));
console.log(JSON.stringify(patterns.map(of)));
"""
NAMES = st.sampled_from(["a", "b", "ab", "aa", ".a", "main.py", ".env", "a.py", "x-y", "*", "{a}"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(lambda names: "/" + "/".join(names))
PIECES = (
    *("*", "?", "a", "b", ".", "py", ".env", "-", "{a,b}", "{a,b{,a}}", "{a,/b}", "{a}"),
    *("{,*.py}", "[ab]", "[!a]", "\\*", "@(a|b)", "+(a|b)"),
)
PART = st.lists(st.sampled_from(PIECES), min_size=1, max_size=3).map("".join)
PARTS = st.one_of(PART, st.sampled_from(["**", "!(a)", "!(a|b).py", "a!(b)", "*.!(py)"]))
PATTERNS = st.tuples(
    st.sampled_from(["", "", "!", "!!", "/", "**/", "!**/"]),
    st.lists(PARTS, min_size=1, max_size=3),
).map(lambda pattern: pattern[0] + "/".join(pattern[1]))


@settings(max_examples=15)
@example(
    [*OURS, "", "# no pattern", " venv ", "*.log", "**/.*_cache"], ["/a/.b_cache", "/a/main.py"]
)
@given(st.lists(PATTERNS, min_size=50, max_size=150), st.lists(PATHS, min_size=20, max_size=50))
def test_a_pattern_matches_what_it_matches_for_firebase_tools(
    patterns: list[str], paths: list[str]
) -> None:
    done = subprocess.run(
        ["node", "-e", MATCHED_BY_FIREBASE],
        input=json.dumps([patterns, paths]),
        capture_output=True,
        text=True,
        check=True,
    )
    for pattern, theirs in zip(patterns, json.loads(done.stdout), strict=True):
        for path, is_matched in zip(paths, theirs, strict=True):
            assert matcher(pattern)(path) == is_matched, (pattern, path)


# Git


@pytest.mark.parametrize(
    ("file", "is_ignored"),
    [
        *(
            (name, True)
            for name in (".env", ".env.production", ".secret.local", "id_rsa", "id_ed25519")
        ),
        *((name, True) for name in ("service-account.json", "serviceAccountKey.json", "a/key.pem")),
        *((name, True) for name in ("my-project-firebase-adminsdk-x1.json", "server.key", "b.p12")),
        *((name, True) for name in ("application_default_credentials.json", "firebase-debug.log")),
        *((name, False) for name in (".env.example", "firebase.json", "main.py", "docs/deploy.md")),
    ],
)
def test_git_takes_no_keys(tmp_path: Path, file: str, is_ignored: bool) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    done = subprocess.run(["git", "check-ignore", "-q", file], cwd=tmp_path)
    assert (done.returncode == 0) is is_ignored


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_git_ignores_nothing_that_it_has() -> None:
    done = subprocess.run(
        ["git", "ls-files", "-ci", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == ""


def test_what_a_terminal_runs_is_not_needed_unless_main_imports_it() -> None:
    files = discover({"BATCH_APPS": "ios=KEY"}, seconds=60).files
    assert "handlers/orders.py" in files
    assert not any(file.startswith("batchpush/cli/") for file in files)
