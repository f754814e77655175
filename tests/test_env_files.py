"""The `.env` files are read as the Firebase CLI reads them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchpush.cli.env_files import (
    Project,
    deployed_to,
    environment_of,
    files_for,
    parse,
    project_called,
    read,
    refused,
    text_with,
)

TEXTS = [
    "",
    "A=1",
    "A=1\nB=2\n",
    "A=1\r\nB=2\r\n",
    "  A = 1  \n",
    "export A=1",
    "A=",
    "A=\nB=2",
    "A=1 # a comment",
    "A=1#a comment too",
    "# A=1\n\n\nB=2",
    "A='1 # no comment'",
    'A="1 # no comment"',
    'A="a\\nb\\t\\"c\\" \\\\"',
    "A='a\\nb'",
    "A='two\nlines'\nB=2",
    'A="two\nlines"\nB=2',
    "A=1\nA=2",
    "A=x=y",
    "A=$HOME ${HOME}",
    "A=zoé 🍝",
    "not a variable",
    "A=1\n5f2c9d1e0a7b\nB=2",
    "a.b/c=1",
    "A-B=1",
    "BATCH_APPS=ios=KEY,android=KEY",
    "\ufeffA=1\nB=2",
    "\ufeff# comment\nA=1",
    "A=1\rB=2\rC=3",
    "A=1\n# comment\rB=2",
    "A='two\r\nlines'\r\nB='and\r\ntwo'",
    "A=\u00a01\u00a0\nB=\u2028'2'",
    "A=x\u2028B=2",
    "A='it\\'s' # said\nB=\"a\\'b\"",
    "A='not closed\nB=2",
    'A="\\u00e9 \\x"',
    "export   A=1\nexportB=2",
]
LIKELY = st.sampled_from(
    [
        *("A", "B_1", "export ", "=", "#", "'", '"', "\\", "\\n", "\\'", '\\"', " ", "\t", "\f"),
        *("\n", "\r\n", "\r", "\u2028", "\ufeff", "\u00a0", "é", "$A", "A=1\n", "A='x'\n", 'A="x"'),
    ]
)
PARSED_BY_FIREBASE = """
const {parse} = require("./emulators/node_modules/firebase-tools/lib/functions/env.js");
console.log(JSON.stringify(JSON.parse(process.argv[1]).map(parse)));
"""


def node(script: str, argument: object) -> Any:
    answer = subprocess.run(
        ["node", "-e", script, json.dumps(argument)], capture_output=True, text=True, check=True
    )
    return json.loads(answer.stdout)


@settings(max_examples=15)
@example(TEXTS)
@given(st.lists(st.lists(LIKELY, max_size=30).map("".join), min_size=100, max_size=300))
def test_every_text_is_read_as_firebase_tools_reads_it(texts: list[str]) -> None:
    for text, theirs in zip(texts, node(PARSED_BY_FIREBASE, texts), strict=True):
        ours = list(parse(".env", text))
        assert environment_of(ours) == theirs["envs"], text
        assert any(not each.name for each in ours) == bool(theirs["errors"]), text


@given(st.dictionaries(st.sampled_from("ABC"), st.text().filter(lambda text: "\0" not in text)))
def test_what_is_written_is_read_again(environment: dict[str, str]) -> None:
    read_again = environment_of(list(parse(".env", "\n" + text_with(environment))))
    assert read_again == environment


TAKEN_BY_FIREBASE = """
const {validateKey} = require("./emulators/node_modules/firebase-tools/lib/functions/env.js");
const takes = (key) => { try { validateKey(key); return true } catch { return false } };
console.log(JSON.stringify(JSON.parse(process.argv[1]).map(takes)));
"""
NAMES = [
    *("A", "A_1", "_A", "BATCH_APPS", "GOOGLE_API_KEY", "FIREBASE", "PORTS"),
    *("a", "1A", "A.B", "A/B"),
    *("X_GOOGLE_A", "FIREBASE_A", "EXT_A", "KIT_A", "FIREBASE_CONFIG"),
    *("FIREBASE_SECRET_REF_A", "FIREBASE_SECRET_REF_", "FIREBASE_SECRET_REF", "FIREBASE_SECRET_a"),
    *("EXT_MIGRATED_SYSTEM_A", "EXT_MIGRATED_SYSTEM_", "EXT_SELECTED_EVENTS"),
    *("EXT_SELECTED_EVENTS_A", "FIREBASE_SECRET_REF_a", "", "A\n"),
    *("PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION", "GCLOUD_PROJECT", "GCP_PROJECT"),
    *("GOOGLE_CLOUD_PROJECT", "FUNCTION_TARGET", "FUNCTION_REGION", "FUNCTION_NAME"),
    *("CLOUD_RUNTIME_CONFIG", "ENTRY_POINT", "EVENTARC_CLOUD_EVENT_SOURCE"),
    *("FUNCTION_TRIGGER_TYPE", "FUNCTION_MEMORY_MB", "FUNCTION_TIMEOUT_SEC"),
    *("FUNCTION_IDENTITY", "FUNCTION_SIGNATURE_TYPE"),
]


BEGINNINGS = st.sampled_from([*NAMES, "FIREBASE_", "EXT_", "KIT_", "X_GOOGLE_", ""])


@settings(max_examples=10)
@example(NAMES)
@given(st.lists(st.tuples(BEGINNINGS, st.text("A_1a", max_size=3)).map("".join), min_size=100))
def test_the_names_that_firebase_tools_refuses_are_refused(names: list[str]) -> None:
    taken = node(TAKEN_BY_FIREBASE, names)
    assert [refused(name) is None for name in names] == taken


def test_every_variable_knows_its_line() -> None:
    found = parse(".env", "# comment\n\nA=1\n\nB='two\nlines'\nwrong\n\n  C=3\n")
    assert [(each.name, each.where) for each in found] == [
        ("A", ".env:3"),
        ("B", ".env:5"),
        ("", ".env:7"),
        ("C", ".env:9"),
    ]
    of_windows = parse(".env", "A=1\r\n\r\nB=2\r\nwrong\r\n")
    assert [each.where for each in of_windows] == [".env:1", ".env:3", ".env:4"]


def test_what_is_no_variable_is_not_repeated_for_it_may_be_a_key() -> None:
    assert "5f2c" not in repr(list(parse(".env", "5f2c9d1e0a7b4c3d")))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    firebaserc = {"projects": {"default": "my-prod", "staging": "my-staging"}}
    (tmp_path / ".firebaserc").write_text(json.dumps(firebaserc))
    (tmp_path / ".env").write_text("A=all\nB=all\n")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "project"),
    [
        ("staging", Project("my-staging", "staging")),
        ("my-staging", Project("my-staging", "staging")),
        ("another", Project("another")),
    ],
)
def test_a_project_is_known_by_its_id_and_its_alias(
    folder: Path, name: str, project: Project
) -> None:
    assert project_called(name) == project


@pytest.mark.parametrize("own", [".env.staging", ".env.my-staging"])
def test_the_file_of_the_project_goes_over_the_one_of_all(folder: Path, own: str) -> None:
    (folder / own).write_text("B=staging\n")
    (folder / ".env.local").write_text("B=of the emulator\n")
    variables = read(files_for(project_called("staging")))
    assert environment_of(variables) == {"A": "all", "B": "staging"}
    assert environment_of(read(files_for(project_called("my-prod")))) == {"A": "all", "B": "all"}


@pytest.mark.parametrize("text", ["", "[]", '{"projects": []}', '{"projects": null}', "no JSON"])
def test_a_firebaserc_that_is_none_names_no_project(folder: Path, text: str) -> None:
    (folder / ".firebaserc").write_text(text)
    assert project_called("staging") == Project("staging")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_one_problem_that_says_so(folder: Path, encoding: str) -> None:
    (folder / ".env").write_text("A=1\nB=2\n", encoding=encoding)
    (found,) = read([Path(".env")])
    assert (found.where, found.problem) == (".env", "is UTF-16: save it as UTF-8")
    assert environment_of([found]) == {}


def test_the_command_that_saves_it_as_utf_8_does_so(folder: Path) -> None:
    (folder / ".env").write_text("A=é\n", encoding="utf-16")
    (found,) = read([Path(".env")])
    subprocess.run(["sh", "-c", found.fix], check=True)
    assert environment_of(read([Path(".env")])) == {"A": "é"}


def test_the_files_are_where_firebase_json_says(folder: Path) -> None:
    (folder / "settings").mkdir()
    (folder / "settings/.env.staging").write_text("A=there\n")
    config = '{"functions": [{"source": "web"}, {"source": "./", "configDir": "settings"}]}'
    (folder / "firebase.json").write_text(config)
    variables = read(files_for(project_called("staging")))
    assert environment_of(variables) == {"A": "there"}
    assert variables[0].where == "settings/.env.staging:1"


# Which project `firebase deploy` takes; firebase-tools 15, src/command.ts, applyRC


@pytest.mark.parametrize(
    ("named", "active", "taken"),
    [
        ({}, None, None),
        ({"live": "p"}, None, Project("p", "live")),
        ({"live": "p", "default": "q"}, None, Project("q", "default")),
        ({"live": "p", "test": "q"}, None, None),
        ({"live": "p", "default": "q"}, "live", Project("p", "live")),
        ({"live": "p", "default": "q"}, "p", Project("p")),
        ({}, "other", Project("other")),
    ],
)
@pytest.mark.parametrize("above", [False, True])
def test_the_project_to_deploy_to_is_the_one_that_firebase_tools_takes(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: dict[str, str],
    active: str | None,
    taken: Project | None,
    above: bool,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "another")
    (folder / ".firebaserc").write_text(json.dumps({"projects": named}))
    (folder / "config/configstore").mkdir(parents=True)
    chosen = {str(folder.parent if above else folder): active} if active else {}
    (folder / "config/configstore/firebase-tools.json").write_text(
        json.dumps({"activeProjects": chosen})
    )
    assert deployed_to() == taken
