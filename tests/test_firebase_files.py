"""`firebase.json` and `.firebaserc` are read as the Firebase CLI reads them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchpush.cli.env_files import projects
from batchpush.cli.firebase_files import Unreadable, codebases, parse, text_of

LOADED_BY_FIREBASE = """
const {loadCJSON} = require("./emulators/node_modules/firebase-tools/lib/loadCJSON.js");
const fs = require("node:fs");
const read = (text) => {
  fs.writeFileSync(process.argv[1], text);
  try { return {value: loadCJSON(process.argv[1])} } catch (error) { return {} }
};
console.log(JSON.stringify(JSON.parse(fs.readFileSync(0, "utf8")).map(read)));
"""
TEXTS = [
    "{}",
    '{"a": 1} // the end',
    '\ufeff{"a": 1}',
    '{"a\ufeff": "\ufeffb"}',
    '// first\n{\n  "a": 1, /* two\nlines */ "b": [2]\n}\n',
    '{"a": "https://example.com /* no comment */"}',
    r'{"a": "\" // no comment"}',
    r'{"a": "\\"} // read as a part of the string',
    '{"a": 1/**/2}',
    '{"a": NaN}',
    '{"a": 1,}',
    "{'a': 1}",
    "",
    "/* not closed",
    "null",
]
PIECES = st.sampled_from(
    [
        "//",
        "/*",
        "*/",
        "/",
        "*",
        '"',
        "\\",
        "\n",
        "{",
        "}",
        '"a"',
        ":",
        "1",
        ",",
        "[",
        "]",
        "\ufeff",
    ]
)


@settings(max_examples=6)
@example(TEXTS)
@given(st.lists(st.lists(PIECES, max_size=12).map("".join), min_size=100, max_size=300))
def test_every_text_is_read_as_firebase_tools_reads_it(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    file = tmp_path_factory.mktemp("json") / "firebase.json"
    loaded = subprocess.run(
        ["node", "-e", LOADED_BY_FIREBASE, str(file)],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=True,
    )
    for text, theirs in zip(texts, json.loads(loaded.stdout), strict=True):
        try:
            ours: dict[str, Any] = {"value": parse("firebase.json", text)}
        except Unreadable:
            ours = {}
        assert ours == theirs, text


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{\n  "a": 1\n  "b": 2\n}', "firebase.json:3"),
        ('/* a\nb\nc */ {\n  "a": ]\n}', "firebase.json:4"),
        ('// a\n{"a": "b\n"}', "firebase.json:2"),
        ('{\n"a": 1\n\n', "firebase.json:2"),
        ("", "firebase.json:1"),
        ('{\n"a": NaN}', "firebase.json"),
    ],
)
def test_a_mistake_has_its_line_in_the_file(text: str, where: str) -> None:
    with pytest.raises(Unreadable) as raised:
        parse("firebase.json", text)
    assert raised.value.where == where


def test_a_firebaserc_may_have_comments_and_a_byte_order_mark(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".firebaserc").write_text('\ufeff{"projects": {"live": "p-live" /* ours */}} // end')
    assert [(each.id, each.alias) for each in projects()] == [("p-live", "live")]


def test_utf_16_is_called_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "firebase.json"
    file.write_text("{}", encoding="utf-16")
    with pytest.raises(Unreadable, match="UTF-16"):
        text_of(file)


@pytest.mark.parametrize(
    ("functions", "ours"),
    [
        ({"source": "."}, 1),
        ({"source": "./"}, 1),
        ({"source": "x/.."}, 1),
        ([{"remoteSource": {}}, {"source": "web"}, {"source": "./."}], 1),
        ([{"source": ".", "codebase": "a"}, {"source": ".", "codebase": "b", "prefix": "b"}], 2),
        ({"source": ""}, 0),
        ({"source": ".."}, 0),
        ({"source": "functions"}, 0),
        ({}, 0),
        ([], 0),
        ("functions.json", 0),
        (None, 0),
    ],
)
def test_the_codebases_are_those_whose_source_is_this_folder(functions: Any, ours: int) -> None:
    if ours:
        assert len(codebases({"functions": functions})) == ours
    else:
        with pytest.raises(LookupError):
            codebases({"functions": functions})
