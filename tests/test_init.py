"""`init` writes what a deployment needs, never over a file, and says what has to be added."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchpush.cli import main as cli
from batchpush.cli.firebase_files import parse
from batchpush.cli.init import additions, template
from batchpush.cli.version import VERSION

ROOT = Path(__file__).parent.parent
OF_PROJECT = ("firebase.json", "firestore.indexes.json", "firestore.rules", "database.rules.json")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own, which commands run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


Told = dict[str, dict[str, Any]]


@pytest.fixture
def init(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Told]]:
    """The exit code, and what is said of each file."""

    def run(*arguments: str) -> tuple[int, Told]:
        code = cli.main(["init", "--json", *arguments])
        told = map(json.loads, capsys.readouterr().out.splitlines())
        return code, {each["file"]: each for each in told}

    return run


Init = Callable[..., tuple[int, Told]]


def written(folder: Path) -> set[str]:
    return {each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()}


# A new project


def test_this_repository_is_what_is_written_and_the_package(here: Path, init: Init) -> None:
    code, told = init(".")
    assert code == 0
    assert {each["state"] for each in told.values()} == {"written"}
    assert written(here) == told.keys()
    for name in told.keys() - {"requirements.txt"}:
        assert (here / name).read_bytes() == (ROOT / name).read_bytes(), name
    handlers = {
        each.relative_to(ROOT).as_posix()
        for each in (ROOT / "handlers").rglob("*")
        if each.is_file() and "__pycache__" not in each.parts
    }
    beside = {"main.py", "requirements.txt", ".env.example", *OF_PROJECT}
    assert told.keys() == handlers | beside


def test_the_functions_have_a_folder_of_their_own_below_firebase_json(
    here: Path, init: Init
) -> None:
    code, told = init()
    assert code == 0
    assert set(OF_PROJECT) <= told.keys()
    assert {name for name in told if "/" not in name} == set(OF_PROJECT)
    entry = json.loads((here / "firebase.json").read_text())["functions"]
    assert (entry["source"], entry["codebase"]) == ("push", "batchpush")
    assert f"\nbatchpush=={VERSION}\n" in (here / "push/requirements.txt").read_text()


def test_a_second_time_there_is_nothing_to_do(here: Path, init: Init) -> None:
    init()
    code, told = init()
    assert (code, {each["state"] for each in told.values()}) == (0, {"same"})


def test_a_dry_run_writes_nothing(here: Path, init: Init) -> None:
    code, told = init("--dry-run")
    assert (code, {each["state"] for each in told.values()}) == (0, {"missing"})
    assert written(here) == set()


def test_a_folder_elsewhere_has_its_firebase_json_beside_it(
    here: Path, init: Init, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "app"
    assert init(str(elsewhere))[0] == 0
    assert (elsewhere / "firebase.json").is_file()
    assert json.loads((elsewhere / "firebase.json").read_text())["functions"]["source"] == "."
    assert written(here) == set()


def test_the_next_steps_are_told_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["init"])
    assert capsys.readouterr().out.endswith(
        "\nNext, in push, with BATCH_APPS in .env, and PROJECT for the project's id:\n"
        "  python3.12 -m venv venv && venv/bin/pip install -r requirements.txt 'batchpush[cli]'\n"
        "  cp .env.example .env\n"
        "  firebase use --add\n"
        "  gcloud config set project PROJECT\n"
        "  printf '%s' 'YOUR_REST_KEY' | gcloud secrets create batch-rest-api-key --data-file=-\n"
        "  venv/bin/batchpush check && venv/bin/batchpush deploy\n"
    )
    cli.main(["init"])
    assert capsys.readouterr().out == f"same         {len(written(here))} files\n"


# An existing project

NODE = """\
// Ours
{
  "functions": { "source": "functions" }, /* Node.js */
  "firestore": { "rules": "config/store.rules", "indexes": "config/store.json" },
  "database": { "rules": "config/rtdb.json" }
}
"""
INDEX = {"collectionGroup": "shoes", "fieldPath": "size", "indexes": []}


@pytest.fixture
def node(here: Path) -> Path:
    """A project with a codebase for Node.js, rules and indexes of its own."""
    for name, text in {
        "firebase.json": NODE,
        "functions/package.json": "{}",
        "functions/index.js": "",
        "config/store.rules": "match /users/{id} { allow read; }\n// match /games/{id} {}\n",
        "config/store.json": json.dumps({"indexes": [], "fieldOverrides": [INDEX]}),
        "config/rtdb.json": '{"rules": {"users": {}, ".read": false}} // ours',
    }.items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(text)
    return here


def test_beside_another_codebase_nothing_of_it_is_changed(node: Path, init: Init) -> None:
    before = {name: (node / name).read_bytes() for name in written(node)}
    code, told = init()
    assert code == 1
    assert {name: (node / name).read_bytes() for name in before} == before
    assert written(node) - before.keys() == {name for name in told if name.startswith("push/")}


def test_what_has_to_be_added_is_told(node: Path, init: Init) -> None:
    _, told = init()
    assert told["firebase.json"]["add"].keys() == {"functions"}
    assert told["firebase.json"]["add"]["functions"]["source"] == "push"
    assert INDEX not in told["config/store.json"]["add"]["fieldOverrides"]
    paths = told["config/store.rules"]["add"]["match"]
    assert "/users/{user_id}" not in paths
    assert "/games/{game_id}" in paths
    added = told["config/rtdb.json"]["add"]["rules"]
    assert ("users" in added, "games" in added, ".read" in added) == (False, True, False)
    assert told["config/rtdb.json"]["compare"] == str(ROOT / "database.rules.json")


def test_once_it_is_added_nothing_is_left(node: Path, init: Init) -> None:
    _, told = init()
    config = parse("", NODE)
    config["functions"] = [config["functions"], told["firebase.json"]["add"]["functions"]]
    (node / "firebase.json").write_text(f"// Ours\n{json.dumps(config)}")
    wanted = json.loads((ROOT / "firestore.indexes.json").read_text())
    wanted["fieldOverrides"].insert(0, INDEX)
    (node / "config/store.json").write_text(json.dumps(wanted))
    shutil.copy(ROOT / "firestore.rules", node / "config/store.rules")
    shutil.copy(ROOT / "database.rules.json", node / "config/rtdb.json")
    code, told = init()
    assert code == 0
    assert told["firebase.json"]["state"] == told["config/store.json"]["state"] == "complete"
    assert told["config/store.rules"]["state"] == "same"


def test_the_project_may_be_above(here: Path, init: Init, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "firebase.json").write_text("{}")
    (here / "services").mkdir()
    monkeypatch.chdir(here / "services")
    code, told = init("push/ann")
    assert code == 1
    add = told["../firebase.json"]["add"]
    assert add["functions"]["source"] == "services/push/ann"
    assert add["firestore"] == {"indexes": "firestore.indexes.json"}
    assert (here / "firestore.indexes.json").is_file()
    assert (here / "services/push/ann/main.py").is_file()


def test_an_edited_handler_is_left_alone_and_can_be_compared(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cli.main(["init"])
    file = here / "push/handlers/orders.py"
    file.write_text("# Ours\n")
    capsys.readouterr()
    assert cli.main(["init"]) == 0
    theirs = ROOT / "handlers/orders.py"
    first, second, _ = capsys.readouterr().out.splitlines()
    assert first == "differs      push/handlers/orders.py"
    assert second.strip() == f"diff push/handlers/orders.py {theirs}"
    assert file.read_text() == "# Ours\n"


def test_a_clone_becomes_a_package_with_what_was_edited(here: Path, init: Init) -> None:
    for name in ("main.py", ".env.example", *OF_PROJECT):
        shutil.copy(ROOT / name, here / name)
    shutil.copytree(ROOT / "handlers", here / "handlers")
    (here / "handlers/orders.py").write_text("# Ours\n")
    code, told = init(".")
    assert code == 0
    left = {each["file"]: each["state"] for each in told.values() if each["state"] != "same"}
    assert left == {"requirements.txt": "written", "handlers/orders.py": "differs"}
    assert (here / "handlers/orders.py").read_text() == "# Ours\n"


NAMES = ["push/main.py", "push/requirements.txt", "push/.env.example", *OF_PROJECT[1:]]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=40), max_size=len(NAMES)))
def test_no_file_is_ever_overwritten(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    texts: dict[str, str],
) -> None:
    folder = tmp_path_factory.mktemp("project")
    monkeypatch.chdir(folder)
    before = {name: text.encode("utf-8", "replace") for name, text in texts.items()}
    for name, data in before.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    assert cli.main(["init"]) in (0, 1, 2)
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert "Traceback" not in capsys.readouterr().err


# What cannot be done


@pytest.mark.parametrize(
    ("files", "arguments", "says"),
    [
        (
            {"functions/package.json": "{}"},
            ["functions"],
            "functions has a package.json, for which the Firebase CLI takes it for Node.js: "
            "name another folder, such as push",
        ),
        (
            {"batchpush/__init__.py": ""},
            ["."],
            ". has a copy of batchpush, which would be deployed in place of the package: "
            "remove it first, or name another folder",
        ),
        ({"firebase.json": "{\n1}"}, [], "firebase.json:2: is not JSON: "),
        ({"firebase.json": "{\0}"}, [], "firebase.json: is UTF-16: save it as UTF-8"),
        ({"push": ""}, [], "push: File exists"),
    ],
)
def test_what_is_in_the_way_is_told_before_anything_is_written(
    here: Path,
    files: dict[str, str],
    arguments: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, text in files.items():
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).write_text(text)
    assert cli.main(["init", *arguments]) == 2
    assert says in capsys.readouterr().err
    assert written(here) == files.keys()


# What is missing in a file


@pytest.mark.parametrize(
    ("theirs", "missing"),
    [
        (template.requirements(), []),
        ("", [f"batchpush=={VERSION}", "babel", "regex"]),
        ("httpx==1\nbatchpush==0.0.1\nregex\nBabel==2\n", [f"batchpush=={VERSION}"]),
        (
            f"./batchpush-{VERSION}-py3-none-any.whl\nbabel==2.18.0 \\\n  --hash=sha256:a\nregex\n",
            [],
        ),
        ("./batchpush-0.0.1-py3-none-any.whl\nbabel\nregex\n", [f"batchpush=={VERSION}"]),
    ],
)
def test_requirements_have_batchpush_at_its_version(theirs: str, missing: list[str]) -> None:
    assert additions.to_requirements(theirs, template.requirements()) == (
        {"requirements": missing} if missing else {}
    )


OURS = {"source": "./push", "ignore": ["!**/main.py"]}


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        ({}, {"functions", "firestore"}),
        ([], {"functions", "firestore"}),
        ({"functions": OURS, "firestore": {"indexes": "i.json"}}, set()),
        ({"functions": [OURS], "firestore": [{"indexes": "i.json"}]}, set()),
        ({"functions": {"source": "push"}, "firestore": {"indexes": "i.json"}}, {"functions"}),
        ({"functions": {"source": "."}, "firestore": {"rules": "r"}}, {"functions", "firestore"}),
    ],
)
def test_firebase_json_has_the_codebase_and_the_indexes(config: Any, missing: set[str]) -> None:
    ours = json.loads((ROOT / "firebase.json").read_text())
    assert additions.to_firebase(config, ours, Path("/p"), Path("/p/push")).keys() == missing
