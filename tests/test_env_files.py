"""The `.env` files are read as the Firebase CLI reads them."""

import json
import subprocess
from pathlib import Path

import pytest

from batchpush.env_files import (
    Project,
    environment_of,
    files_for,
    parse,
    project_called,
    read,
    refused,
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
]
PARSED_BY_FIREBASE = """
const {parse} = require("./emulators/node_modules/firebase-tools/lib/functions/env.js");
console.log(JSON.stringify(JSON.parse(process.argv[1]).map(parse)));
"""


def test_every_text_is_read_as_firebase_tools_reads_it() -> None:
    answer = subprocess.run(
        ["node", "-e", PARSED_BY_FIREBASE, json.dumps(TEXTS)],
        capture_output=True,
        text=True,
        check=True,
    )
    for text, theirs in zip(TEXTS, json.loads(answer.stdout), strict=True):
        ours = list(parse(".env", text))
        assert environment_of(ours) == theirs["envs"], text
        assert sum(not each.name for each in ours) == len(theirs["errors"]), text


RESERVED_BY_FIREBASE = """
const {validateKey} = require("./emulators/node_modules/firebase-tools/lib/functions/env.js");
const takes = (key) => { try { validateKey(key); return true } catch { return false } };
console.log(JSON.stringify(JSON.parse(process.argv[1]).map(takes)));
"""
NAMES = [
    *("A", "A_1", "_A", "BATCH_APPS", "GOOGLE_API_KEY", "FIREBASE", "PORTS"),
    *("a", "1A", "A.B", "A/B"),
    *("X_GOOGLE_A", "FIREBASE_A", "EXT_A", "KIT_A", "FIREBASE_CONFIG"),
    *("PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION", "GCLOUD_PROJECT", "GCP_PROJECT"),
    *("GOOGLE_CLOUD_PROJECT", "FUNCTION_TARGET", "FUNCTION_REGION", "FUNCTION_NAME"),
    *("CLOUD_RUNTIME_CONFIG", "ENTRY_POINT", "EVENTARC_CLOUD_EVENT_SOURCE"),
    *("FUNCTION_TRIGGER_TYPE", "FUNCTION_MEMORY_MB", "FUNCTION_TIMEOUT_SEC"),
    *("FUNCTION_IDENTITY", "FUNCTION_SIGNATURE_TYPE"),
]


def test_the_names_that_firebase_tools_refuses_are_refused() -> None:
    answer = subprocess.run(
        ["node", "-e", RESERVED_BY_FIREBASE, json.dumps(NAMES)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert [refused(name) is None for name in NAMES] == json.loads(answer.stdout)


def test_every_variable_knows_its_line() -> None:
    found = parse(".env", "# comment\n\nA=1\n\nB='two\nlines'\nwrong\n\n  C=3\n")
    assert [(each.name, each.where) for each in found] == [
        ("A", ".env:3"),
        ("B", ".env:5"),
        ("", ".env:7"),
        ("C", ".env:9"),
    ]


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
