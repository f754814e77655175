"""`check`: what would break a deployment, offline and against an emulator of Google's APIs."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from aiohttp import web

from batchpush.cli.check.categories import categories
from batchpush.cli.check.channel import channels, event_names
from batchpush.cli.check.cloud import (
    GIVEN_ROLES,
    PARTS,
    ROLES,
    Google,
    NotKnown,
    google,
    look,
    of_cloud,
)
from batchpush.cli.check.command import of_project
from batchpush.cli.check.environment import of_shell
from batchpush.cli.check.findings import Finding, Severity, counted
from batchpush.cli.check.folder import (
    Deployment,
    Folder,
    app_keys,
    databases,
    env_files,
    firebase_json,
    firebaserc,
    functions,
    media_hosts,
    of_deployment,
    settings,
    spans,
    texts,
)
from batchpush.cli.check.indexes import INDEXES as NEEDED
from batchpush.cli.check.indexes import TTLS, Deployed, indexes
from batchpush.cli.check.names import names
from batchpush.cli.discovery import Discovery, patience
from batchpush.cli.env_files import Project, parse
from batchpush.environment import Settings
from batchpush.tracing import ENDPOINT, PACKAGE
from emulators.serving import in_background

E, W, OK, N = Severity.ERROR, Severity.WARNING, Severity.OK, Severity.NOT_CHECKED
ROOT = Path(__file__).parent.parent
PROJECT = Project("my-project")
APPS = "BATCH_APPS=ios=5F2C9D1E,android=3A7B4C3D"


def deployment(env: str, own: str | None = None, discovery: Discovery | None = None) -> Deployment:
    variables = [*parse(".env", env), *parse(".env.staging", own or "")]
    files = [".env"] if own is None else [".env", ".env.staging"]
    return Deployment(PROJECT, files, variables, discovery or Discovery())


def folder(**changed: Any) -> Folder:
    firebase = {"functions": {"source": ".", "runtime": "python312"}}
    fields: dict[str, Any] = {
        "firebase_json": json.dumps(firebase),
        "indexes_json": None,
        "texts": {},
    }
    return Folder(**(fields | {"pyvenv": "version = 3.12.4\n"} | changed))


def said(findings: Iterator[Finding], *severities: Severity) -> list[str]:
    return [
        f"{each.where} {each.says}".strip()
        for each in findings
        if each.severity in (severities or (E, W))
    ]


# The settings


@pytest.mark.parametrize(
    ("channel", "warned"),
    [
        ("CHANNEL=mep", []),
        ("CHANNEL=cep", []),
        (
            "CHANNEL=ios=cep",
            [
                ".env:3 CHANNEL: android is called beside the CEP project: let its automations send"
                " to ios only, or people get pushes twice"
            ],
        ),
    ],
)
def test_apps_on_both_platforms_are_warned_of(channel: str, warned: list[str]) -> None:
    of = deployment(f"{APPS}\nBATCH_PROJECT=project_1\n{channel}")
    assert said(channels(of.settings, of.where("CHANNEL"))) == warned


@pytest.mark.parametrize(
    ("group_id", "is_one"),
    [
        ("order_delivered", True),
        ("a" * 30, True),
        ("order-x", False),
        ("Order", False),
        ("a" * 31, False),
    ],
)
def test_a_group_id_that_cannot_name_an_event_is_warned_of(group_id: str, is_one: bool) -> None:
    source = f'\npush = Push(group_id="{group_id}")'
    told = said(event_names({"handlers/x.py": source}))
    start = f"handlers/x.py:2 group_id {group_id} must be 1 to 30 of a-z, 0-9 and _"
    assert [each[: len(start)] for each in told] == ([] if is_one else [start])


def test_the_handlers_of_this_folder_can_be_used_with_cep() -> None:
    sources = {str(file): file.read_text() for file in (ROOT / "handlers").rglob("*.py")}
    assert said(event_names(sources), OK)
    assert said(event_names(sources)) == []


@pytest.mark.parametrize(
    ("env", "requirements", "found"),
    [
        ("", "", []),
        (f"{ENDPOINT}=", "", []),
        (f"{ENDPOINT}=https://collector", f"{PACKAGE}==1 \\\n  --hash=sha256:a\n", []),
        (
            f"{ENDPOINT}=https://collector",
            "opentelemetry-api==1\n",
            [f".env:2 {ENDPOINT} is set, and requirements.txt has no {PACKAGE}"],
        ),
    ],
)
def test_spans_need_a_package_that_is_deployed(
    env: str, requirements: str, found: list[str]
) -> None:
    assert said(spans(deployment(f"{APPS}\n{env}"), requirements)) == found


@pytest.mark.parametrize(
    ("env", "own", "found"),
    [
        (APPS, None, []),
        (f"{APPS}\nPORT=1", None, [".env:2 PORT is a name"]),
        (f"{APPS}\nFIREBASE_X=1", None, [".env:2 FIREBASE_X is a name"]),
        (f"{APPS}\nlower=1", None, [".env:2 lower is not a valid name"]),
        (f"{APPS}\n5f2c9d1e0a7b", None, [".env:2 is not NAME=VALUE"]),
        (f"{APPS}\nBATCH_REST_API_KEY=k", None, [".env:2 the REST key would be readable"]),
        (f"{APPS}\nREGIONS=x", None, [".env:2 REGIONS is not a setting; is REGION meant?"]),
        (f"{APPS}\nMY_OWN=x", None, []),
        (f"{APPS}\nFIREBASE_SECRET_REF_X=1\nEXT_SELECTED_EVENTS=a", None, []),
        (f"\ufeff{APPS}\nREGION=us-east1 # said", None, []),
        (APPS, "K_SERVICE=1", [".env.staging:1 K_SERVICE is a name"]),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_its_line(
    env: str, own: str | None, found: list[str]
) -> None:
    told = said(env_files(deployment(env, own)))
    assert len(told) == len(found)
    assert all(text.startswith(start) for text, start in zip(told, found, strict=True))


@pytest.mark.parametrize(
    ("env", "own", "found"),
    [
        (APPS, None, []),
        ("", None, [".env BATCH_APPS is not set"]),
        (f"REGION=?\n{APPS}\nCONCURRENCY=0", None, [".env:1 REGION", ".env:3 CONCURRENCY"]),
        (f"REGION=?\n{APPS}", "REGION=us-east1", []),
        (f"REGION=us-east1\n{APPS}", "\nREGION=?", [".env.staging:2 REGION"]),
        (f"{APPS}\nBATCH_API_URL=http://127.0.0.1:4010", None, [".env:2 BATCH_API_URL"]),
    ],
)
def test_every_wrong_setting_is_told_at_once_with_the_line_that_counts(
    env: str, own: str | None, found: list[str]
) -> None:
    told = said(settings(deployment(env, own)), E)
    assert len(told) == len(found)
    assert all(text.startswith(start) for text, start in zip(told, found, strict=True))


KEY = "5f2c9d1e0a7b4c3d8e6f5a4b3c2d1e0f"
OTHER_NAMES = [
    "BATCH_API_KEY",
    "BATCH_KEY",
    "BATCH_SECRET",
    "BATCH_TOKEN",
    "BATCH_REST_KEY",
    "BATCH_API_SECRET",
    "REST_API_KEY",
    "REST_KEY",
]
EMULATORS = [
    "FIRESTORE_EMULATOR_HOST",
    "FIREBASE_AUTH_EMULATOR_HOST",
    "FIREBASE_DATABASE_EMULATOR_HOST",
    "FIREBASE_EMULATOR_HUB",
    "CLOUD_TASKS_EMULATOR_HOST",
    "EVENTARC_EMULATOR_HOST",
    "PUBSUB_EMULATOR_HOST",
    "STORAGE_EMULATOR_HOST",
    "FUNCTIONS_EMULATOR",
]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        *((f"{name}=k", (E, f".env:2 {name} looks like the REST key")) for name in OTHER_NAMES),
        (f"MY_VARIABLE={KEY}", (W, ".env:2 MY_VARIABLE looks like the REST key")),
        (f"MY_VARIABLE='{KEY.upper()}'", (W, ".env:2 MY_VARIABLE looks like the REST key")),
        (f"BATCH_REST_API_KEY={KEY}", (E, ".env:2 the REST key would be readable")),
        *((f"{name}=localhost:1", (E, f".env:2 {name}")) for name in EMULATORS),
        ("BATCH_API_KEY=5F2C9D1E", None),  # an app key
        ("MY_VARIABLE=5F2C9D1E", None),
        ("BATCH_API_KEY=", None),
        (f"MY_VARIABLE={KEY}0", None),
        ("FIRESTORE_EMULATOR_BINARY_PATH=/opt/f.jar", None),
    ],
)
def test_emulators_and_keys_under_other_names_are_told_and_not_shown(
    line: str, found: tuple[Severity, str] | None
) -> None:
    of_line = deployment(f"{APPS}\n{line}")
    told = [each for each in of_deployment(of_line) if each.where == ".env:2"][-1:]
    assert [each.severity for each in told] == ([found[0]] if found else [])
    for each in told:
        assert f"{each.where} {each.says}".startswith(found[1] if found else "")
        assert KEY[:4] not in repr(each).lower()


def test_so_are_those_of_the_shell() -> None:
    shell = dict.fromkeys(OTHER_NAMES, "k") | dict.fromkeys(EMULATORS, "localhost:1")
    harmless = {
        "BATCH_APPS": "ios=k",
        "BATCH_REST_API_KEY": KEY,  # what the Functions emulator is given
        "INVOCATION_ID": KEY,
        "PATH": "/bin",
        "PUBSUB_EMULATOR_HOST_X": "",
        "MY_APP_KEY": KEY.upper(),
    }
    found = list(of_shell(shell | harmless | {"MY_KEY": KEY}, {KEY.upper()}))
    assert {each.severity for each in found} == {W}
    names = {each.fix.removeprefix("unset ") for each in found}
    assert names == {*OTHER_NAMES, *EMULATORS, "MY_KEY"}
    assert KEY[:4] not in repr(found)


@pytest.mark.parametrize(
    ("apps", "severity", "words"),
    [
        ("ios=5F2C9D1E", OK, "app keys: ios 5F2C… Live"),
        ("ios=DEV5F2C9", OK, "app keys: ios DEV5… Dev"),
        ("ios=DEV5F2C9,web=3A7B4C", W, "ios DEV5… Dev, web 3A7B… Live: Dev keys reach only"),
        ("ios=YOUR_IOS_KEY,web=5F2C", E, "ios still has the example key"),
    ],
)
def test_app_keys_are_told_masked_as_dev_or_live(apps: str, severity: Severity, words: str) -> None:
    (finding,) = app_keys(deployment(f"BATCH_APPS={apps}"))
    assert finding.severity is severity
    assert words in finding.says
    assert "5F2C9" not in finding.says


def test_one_key_for_two_apps_is_a_warning() -> None:
    assert any("twice" in each for each in said(app_keys(deployment("BATCH_APPS=a=K,b=K"))))


@pytest.mark.parametrize(
    ("env", "found"),
    [
        (APPS, [".env MEDIA_HOSTS is empty: pictures that people write may come from any public"]),
        (f"{APPS}\nMEDIA_HOSTS=", [".env:2 MEDIA_HOSTS is empty"]),
        (f"{APPS}\nMEDIA_HOSTS=cdn.example.com", []),
        ("", []),  # what is wrong comes first
    ],
)
def test_where_pictures_may_come_from_anywhere_a_list_of_hosts_is_advised(
    env: str, found: list[str]
) -> None:
    told = said(media_hosts(deployment(env)), W)
    assert len(told) == len(found)
    assert all(text.startswith(start) for text, start in zip(told, found, strict=True))


# The files of the folder


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, []),
        ({"firebase_json": None}, ["firebase.json is missing"]),
        ({"firebase_json": "{"}, ["firebase.json:1 is not JSON: Expecting property name"]),
        (
            {"firebase_json": '// ours\n{\n  "functions": {\n"source": "."\n"runtime": 3}}'},
            ["firebase.json:5 is not JSON: Expecting ',' delimiter"],
        ),
        (
            {
                "firebase_json": '\ufeff{ // ours\n"functions": /* and theirs */ '
                '[{"source": "web"}, {"source": ".", "runtime": "python312"}]}'
            },
            [],
        ),
        ({"firebase_json": '{"functions": [{"source": ".."}]}'}, ['firebase.json has no "func']),
        ({"has_functions_yaml": True}, ["functions.yaml it makes the Firebase CLI ignore main.py"]),
        (
            {
                "firebase_json": '{"functions": [{"source": ".", "runtime": "python312"}, '
                '{"source": "web", "prefix": "web"},\n'
                '{"source": "./", "codebase": "two",\n"prefix": "staging"}]}'
            },
            ["firebase.json:3 prefix: it would rename functions and queues"],
        ),
        (
            {
                "firebase_json": '{"functions": {"source": ".", "runtime": "python312",\n'
                '"kit": "push", "instances": {"a": "a"}}}'
            },
            ["firebase.json:2 prefix: it would rename functions and queues"],
        ),
        ({"firebase_json": "[]"}, ['firebase.json has no "functions"']),
        ({"firebase_json": '{"functions": [{"source": "web"}]}'}, ['firebase.json has no "func']),
        ({"pyvenv": None}, ["venv the Firebase CLI needs venv/"]),
        ({"pyvenv": "version = 3.11.7"}, ["firebase.json runtime is python312, and venv/ has"]),
        ({"pyvenv": "version = 3.9.18"}, ["firebase.json runtime is python312, and venv/ has"]),
        ({"pyvenv": "version_info = 3.12.1.final.0"}, []),
        ({"has_package_json": True}, ["package.json it makes the Firebase CLI expect Node.js"]),
        (
            {"firebase_json": '{"functions": {"source": ".",\n"runtime": "nodejs22"}}'},
            ["firebase.json:2 runtime: expected one of python311"],
        ),
        (
            {
                "firebase_json": '{"functions": [{"source": "./", "runtime": "python312",\n'
                '"ignore": [".git", "venv", "tests"]}]}'
            },
            ["firebase.json:2 ignore: emulators would be uploaded"],
        ),
    ],
)
def test_what_is_wrong_in_firebase_json_is_told(changed: dict[str, Any], found: list[str]) -> None:
    told = said(firebase_json(folder(**changed)))
    assert len(told) == len(found)
    assert all(text.startswith(start) for text, start in zip(told, found, strict=True))


@pytest.mark.parametrize(
    ("firestore", "databases_of_projects", "found"),
    [
        ("", ["(default)"], []),
        ('"firestore": {"indexes": "i"},', ["(default)"], []),
        (
            '\n"firestore": {"indexes": "i"},',
            ["orders"],
            ["firebase.json:2 firestore: DATABASE is"],
        ),
        ('"firestore": {"database": "orders"},', ["orders", "orders"], []),
        (
            '\n"firestore": {"database": "orders"},',
            ["(default)"],
            ["firebase.json:2 firestore: DATA"],
        ),
        ('"firestore": [{"database": "orders"}, {"database": "b"}],', ["orders", "b"], []),
        ('\n\n"firestore": [],', ["orders"], ["firebase.json:3 firestore: DATABASE is orders"]),
        ("", ["orders"], ["firebase.json firestore: DATABASE is orders"]),
    ],
)
def test_the_indexes_go_to_the_database_of_the_settings(
    firestore: str, databases_of_projects: list[str], found: list[str]
) -> None:
    config = "{" + firestore + '"functions": {}}'
    told = said(databases(folder(firebase_json=config), databases_of_projects))
    assert len(told) == len(found)
    assert all(text.startswith(start) for text, start in zip(told, found, strict=True))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, []),
        ('\ufeff{"projects": {}} // none', []),
        ('{\n"projects": {\n"a": "b"\n"c": "d"}}', [".firebaserc:4 is not JSON"]),
    ],
)
def test_a_mistake_in_firebaserc_is_told_with_its_line(text: str | None, found: list[str]) -> None:
    told = said(firebaserc(folder(firebaserc=text)))
    assert len(told) == len(found)
    assert all(each.startswith(start) for each, start in zip(told, found, strict=True))


INDEXES = (ROOT / "firestore.indexes.json").read_text()
AN_INDEX = r'\{ "collectionGroup": "batch_digests", "queryScope": .*'


@pytest.mark.parametrize(
    ("text", "collection", "found"),
    [
        (INDEXES, "batch_deliveries", [(OK, "has the indexes, and deletes old delivery records")]),
        (
            INDEXES.replace('"batch_deliveries"', '"our_deliveries"'),
            "our_deliveries",
            [(OK, "has the indexes, and deletes old delivery records")],
        ),
        (
            INDEXES,
            "our_deliveries",
            [
                (W, "has no ttl on expire_at of our_deliveries: these documents are never deleted"),
                (W, "has no index of our_deliveries by people CONTAINS, created_at DESCENDING"),
                (W, "has no index of our_deliveries by document ASCENDING, created_at DESCENDING"),
                (W, "has no index of our_deliveries by function ASCENDING, state ASCENDING, day"),
                (W, "has no index of our_deliveries by state ASCENDING, day DESCENDING"),
            ],
        ),
        (
            re.sub(f",\\s*{AN_INDEX}", "", INDEXES),
            "batch_deliveries",
            [
                (
                    W,
                    "has no index of batch_digests by digest ASCENDING, at DESCENDING: "
                    "`digests` fails",
                )
            ],
        ),
        (
            INDEXES.replace('"batch_sender"', '"sender"'),
            "batch_deliveries",
            [(W, "has no index of notifications by batch_sender ASCENDING: `erase` fails")],
        ),
        (
            INDEXES.replace('"order": "ASCENDING", "queryScope": "COLLECTION"', '"order": "DESC"'),
            "batch_deliveries",
            [(E, "is missing, or not a file of indexes: nothing deletes the records")],
        ),
        (
            INDEXES.replace('"batch_expire_at"', '"expire_at"'),
            "batch_deliveries",
            [(W, "has no ttl on batch_expire_at of notifications: these documents are never")],
        ),
        ('{"fieldOverrides": 3}', "batch_deliveries", [(E, "is missing, or not a file of")]),
        (None, "batch_deliveries", [(E, "is missing, or not a file of indexes")]),
    ],
)
def test_what_the_file_of_indexes_lacks_is_told_with_what_fails(
    text: str | None, collection: str, found: list[tuple[Severity, str]]
) -> None:
    told = list(indexes("f", text, [collection]))
    assert [each.severity for each in told] == [severity for severity, _ in found]
    for each, (_, start) in zip(told, found, strict=True):
        assert each.says.startswith(start)


def test_an_export_of_firestores_has_the_same_indexes() -> None:
    exported = json.loads(INDEXES)
    for each in exported["indexes"]:
        each["fields"].append({"fieldPath": "__name__", "order": "DESCENDING"})
        each["density"] = "SPARSE_ALL"
    (finding,) = indexes("f", json.dumps(exported), ["batch_deliveries"])
    assert finding.severity is OK


def test_each_index_of_the_project_is_checked() -> None:
    wanted = Deployed.of(INDEXES)
    assert wanted.indexes == NEEDED.keys()
    assert set(wanted.ttls) == set(TTLS.items())


HELLO = '[hello]\ntitle = "{sender}"\nbody = "{text}"\n'
BYE = '[bye]\ntitle = "Bye"\nbody = "Bye"\n'
COUNT = '[count]\ntitle = "New"\nplural = "n"\nbody.one = "{n} one"\nbody.other = "{n} others"\n'
EN = HELLO + BYE + COUNT
FR = EN + 'body.many = "{n} de plus"\n'


@pytest.mark.parametrize(
    ("fr", "found"),
    [
        (FR, []),
        (FR.replace("{text}", "{text} {sender}"), []),
        (FR.replace('"{sender}"', '"{{}}"'), [(W, "fr.toml:1 hello: the default language also")]),
        (
            FR.replace("{text}", "{text} {qui}"),
            [(E, "fr.toml:1 hello: the default language has no {qui}")],
        ),
        (FR.replace(BYE, ""), [(W, "fr.toml bye is missing: the default language is used")]),
        (
            f'{FR}[more]\ntitle = "x"\nbody = "x"\n',
            [(E, "en.toml more is missing in the default language")],
        ),
        # Plural forms
        (EN, [(W, "fr.toml:7 count: body has no many")]),
        (FR + 'body.few = "{n}"\n', [(W, "fr.toml:7 count: body has few, which no whole number")]),
        (
            HELLO + BYE + '[count]\ntitle = "New"\nbody = "{n}"\n',
            [(W, 'fr.toml:7 count: has no plural = "n"')],
        ),
        (
            HELLO + BYE + '[count]\ntitle = "New"\nplural = "n"\nbody = "{n}"\n',
            [(W, "fr.toml:7 count: body has no one, many")],
        ),
        (
            FR.replace('plural = "n"', 'plural = "m"').replace("{n} one", "{m} {n}"),
            [(E, "fr.toml:7 count: the default language has no {m}")],
        ),
        (FR.replace('plural = "n"\n', ""), [(E, "fr.toml:7 count has several forms, and no")]),
        (FR + 'body.oen = "{n}"\n', [(E, "fr.toml:7 count body.oen is not one of zero, one")]),
        (FR.replace("body.other", "body.two"), [(E, "fr.toml:7 count body has no other")]),
        # What is broken is said in the default language, and nowhere else.
        (FR.replace("{sender}", "{sender"), [(E, "fr.toml:1 hello title: expected '}'")]),
        (FR.replace('"Bye"', '"}"'), [(E, "fr.toml:4 bye title: Single '}'")]),
        (FR.replace("{text}", "{0}"), [(E, "fr.toml:1 hello body: {0} is not the name")]),
        (FR.replace('title = "Bye"\n', ""), [(E, "fr.toml:4 bye has no title")]),
        ("[", [(E, "fr.toml is not TOML: ")]),
        (
            f"hello = 3\n{FR.replace(HELLO, '')}",
            [(E, "fr.toml hello is not a table with a title")],
        ),
    ],
)
def test_every_language_has_every_text_every_value_and_every_plural_form(
    fr: str, found: list[tuple[Severity, str]]
) -> None:
    told = [
        (each.severity, f"{each.where} {each.says}")
        for each in texts(folder(texts={"en.toml": EN, "fr.toml": fr}), {"en"})
        if each.severity is not OK
    ]
    assert len(told) == len(found), told
    for (severity, text), (expected, start) in zip(told, found, strict=True):
        assert severity is expected
        assert text.startswith(start), text


CHESS = """[chess]
required = false
default = "on"
words.en = { name = "Chess", description = "Your games" }
"""


@pytest.mark.parametrize(
    ("toml", "handler", "found"),
    [
        (CHESS, 'Push(group_id="chess")', []),
        (CHESS + CHESS.replace("en", "fr"), "", []),  # not TOML, which the import of main.py finds
        (CHESS, "Push(group_id=kind)", []),
        (CHESS, "Push(", []),
        (None, "", []),
        (
            CHESS,
            '\nPush(group_id="go")',
            ["handlers/games.py:2 group_id go is not in handlers/categories.toml: "],
        ),
        (
            f"\n{CHESS.replace('words.en', 'words.de')}",
            'Push(group_id="chess")',
            ["handlers/categories.toml:2 chess: a settings screen has no words in en"],
        ),
        ("chess = 5", "", ["handlers/categories.toml chess: a settings screen has no words in en"]),
    ],
)
def test_each_push_has_a_category_in_every_language(
    toml: str | None, handler: str, found: list[str]
) -> None:
    told = [
        f"{each.where} {each.says}"
        for each in categories(toml, ["en"], {"handlers/games.py": handler})
        if each.severity is W
    ]
    assert len(told) == len(found)
    assert all(text.startswith(start) for text, start in zip(told, found, strict=True))


def test_the_functions_are_told_with_what_calls_them() -> None:
    endpoints = {
        "new": {
            "eventTrigger": {
                "eventType": "google.cloud.firestore.document.v1.created",
                "eventFilterPathPatterns": {"document": "users/{id}"},
            }
        },
        "sweep": {"scheduleTrigger": {"schedule": "every 10 minutes"}},
    }
    (finding,) = functions(deployment(APPS, discovery=Discovery(endpoints)))
    assert finding.says.splitlines() == [
        "2 functions for us-central1",
        f"{'new':<20} firestore created users/{{id}}",
        f"{'sweep':<20} every 10 minutes",
    ]


# In a process of its own, on copies of this folder


LOCKED = (ROOT / "requirements.txt").read_text()


def check(where: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {"PATH": os.environ["PATH"], "HOME": str(where)}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "batchpush", "check", *arguments],
        env=kept | {"PYTHONPATH": str(ROOT)} | environment,
        cwd=where,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A fresh clone, as far as it is deployed, with a venv of the right version."""
    for name in ("main.py", "firebase.json", "firestore.indexes.json", ".env.example"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "handlers", tmp_path / "handlers")
    (tmp_path / "batchpush").symlink_to(ROOT / "batchpush")
    (tmp_path / "venv").mkdir()
    runtime = json.loads((ROOT / "firebase.json").read_text())["functions"]["runtime"]
    (tmp_path / "venv/pyvenv.cfg").write_text(f"version = 3.{runtime[-2:]}.0\n")
    return tmp_path


def errors(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [
        line.removeprefix("error").strip()
        for line in done.stdout.splitlines()
        if line.startswith("error")
    ]


def test_an_empty_env_has_everything_named_at_once_in_the_order_to_mend_it(copy: Path) -> None:
    (copy / ".env").write_text("")
    done = check(copy)
    assert done.returncode == 1
    assert errors(done) == [
        "there is no project to deploy to",
        ".env  BATCH_APPS is not set: see .env.example",
    ]
    for part in PARTS:
        assert part in done.stdout.splitlines()[-3]
    assert re.search(r"main.py  \d+ functions for us-central1", done.stdout)
    assert done.stdout.endswith("2 errors, 1 not checked\n")


@pytest.mark.parametrize("firebaserc", [None, '{"projects": {"live": "p", "default": "q"}}'])
def test_without_an_env_one_error_says_how_to_begin(copy: Path, firebaserc: str | None) -> None:
    if firebaserc:
        (copy / ".firebaserc").write_text(firebaserc)
    done = check(copy, "--offline", GOOGLE_CLOUD_PROJECT="p")
    assert errors(done) == ["there is no .env: copy .env.example, and set BATCH_APPS in it"]
    assert f"{'':<15}cp .env.example .env\n" in done.stdout


@pytest.mark.parametrize("version", ["3.11.7", "3.12.1", "3.13.0"])
def test_a_fresh_clone_has_no_error_on_any_python_that_we_support(copy: Path, version: str) -> None:
    (copy / "venv/pyvenv.cfg").write_text(f"version = {version}\n")
    (copy / ".env").write_text(f"{APPS}\n")
    assert check(copy, "--offline", "--project", "my-project").returncode == 0


def test_the_firebase_json_of_a_monorepo_is_the_one_above(copy: Path) -> None:
    functions = copy / "packages/functions"
    functions.mkdir(parents=True)
    for name in ("main.py", "handlers", "venv", ".env.example"):
        (copy / name).rename(functions / name)
    config = json.loads((copy / "firebase.json").read_text())
    config["functions"]["source"] = "packages/functions"
    config["firestore"]["indexes"] = "indexes/firestore.json"
    (copy / "indexes").mkdir()
    (copy / "firestore.indexes.json").rename(copy / "indexes/firestore.json")
    (copy / "firebase.json").write_text(json.dumps(config, indent=2))
    (copy / ".firebaserc").write_text('{"projects": {"default": "p-live"}}')
    (functions / ".env").write_text(f"{APPS}\n")
    done = check(functions, "--offline")
    assert (done.returncode, done.stderr) == (0, "")
    assert "ok           ../../firebase.json:8  runtime python312, as in venv/\n" in done.stdout
    assert "ok           ../../indexes/firestore.json  has the indexes, and" in done.stdout
    assert "\np-live (default)\n" in done.stdout
    (copy / ".firebaserc").write_text("{")
    config["functions"]["source"] = "functions"
    (copy / "firebase.json").write_text(json.dumps(config, indent=2))
    rc, firebase = errors(check(functions, "--offline", "--project", "p"))
    assert rc.startswith("../../.firebaserc:1  is not JSON")
    assert firebase.startswith("../../firebase.json  has no ")
    assert "packages/functions" in firebase


def test_an_undefined_name_is_an_error_with_its_line(copy: Path) -> None:
    (copy / ".env").write_text(f"{APPS}\n")
    with (copy / "main.py").open("a") as main:
        main.write("async def late() -> None:\n    await delivr()\n")
    (copy / "handlers/orders.py").write_text("def order_delivered():\n    return Psh()\n")
    lines = (copy / "main.py").read_text().count("\n")
    done = check(copy, "--offline", "--project", "my-project")
    assert errors(done) == [
        "handlers/orders.py:2  Undefined name `Psh`",
        f"main.py:{lines}  Undefined name `delivr`",
    ]


def test_without_ruff_undefined_names_are_not_checked_and_it_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (finding,) = names()
    assert finding.severity is N
    assert finding.says == "undefined names: ruff is not installed: make setup"


def test_as_json_it_is_one_document_with_every_finding(copy: Path) -> None:
    (copy / ".env").write_text(f"{APPS}\nREGION=?\n")
    done = check(copy, "--offline", "--project", "my-project", "--json")
    assert (done.returncode, done.stderr) == (1, "")
    document = json.loads(done.stdout)
    findings = document.pop("findings")
    assert document == {"errors": 1, "warnings": 0, "not_checked": 1}
    assert findings[-4] == {
        "about": "my-project",
        "severity": "error",
        "says": "REGION: expected a Google Cloud region such as us-central1",
        "where": ".env:2",
        "fix": None,
    }
    assert {each["severity"] for each in findings} == {"error", "ok", "not_checked"}
    assert {tuple(each) for each in findings} == {("about", "severity", "says", "where", "fix")}


def test_a_folder_that_is_ready_has_no_error(copy: Path) -> None:
    (copy / ".env").write_text(f"{APPS}\nSOURCES=database\n")
    done = check(copy, "--offline", "--project", "my-project")
    assert (done.returncode, done.stderr) == (0, "")
    assert "order_delivered_rtdb database written orders/{order_id}" in done.stdout
    assert "this shell" not in done.stdout


def test_a_shell_that_points_to_an_emulator_is_told_of_it(copy: Path) -> None:
    (copy / ".env").write_text(f"{APPS}\n")
    done = check(copy, "--offline", "--project", "p", FIRESTORE_EMULATOR_HOST="127.0.0.1:9")
    assert done.returncode == 0
    assert "\nthis shell\nwarning      environment  FIRESTORE_EMULATOR_HOST is set" in done.stdout


def test_every_project_is_looked_at_with_the_files_of_its_own(copy: Path) -> None:
    (copy / ".firebaserc").write_text('{"projects": {"live": "p-live", "test": "p-test"}}')
    (copy / ".env").write_text(f"{APPS}\n")
    (copy / ".env.test").write_text("REGION=?\n")
    done = check(copy, "--offline")
    assert errors(done)[0].startswith(".env.test:1  REGION")
    assert "\np-live (live)\n" in done.stdout
    assert "\np-test (test)\n" in done.stdout
    assert check(copy, "--offline", "--project", "live").returncode == 0


def test_a_dot_env_in_utf_16_is_one_error_that_says_so(copy: Path) -> None:
    (copy / ".env").write_text(f"{APPS}\n", encoding="utf-16")
    done = check(copy, "--offline", "--project", "my-project")
    assert errors(done) == [".env  is UTF-16: save it as UTF-8"]
    assert "iconv -f UTF-16 -t UTF-8 .env > .env.utf8 && mv .env.utf8 .env" in done.stdout


FIREBASERC = '{"projects": {"default": "p-live", "test": "p-test"}} // ours'


@pytest.mark.parametrize(
    ("firebaserc", "environment", "arguments", "headings", "words"),
    [
        (FIREBASERC, {}, [], ["p-live (default)", "p-test (test)"], None),
        (
            FIREBASERC,
            {"GOOGLE_CLOUD_PROJECT": "other"},
            [],
            ["p-live (default)", "p-test (test)"],
            "GOOGLE_CLOUD_PROJECT is other, and `firebase deploy` does not read it: "
            "it deploys to p-live (default)",
        ),
        (
            FIREBASERC,
            {"GOOGLE_CLOUD_PROJECT": "p-live"},
            [],
            ["p-live (default)", "p-test (test)"],
            None,
        ),
        (
            FIREBASERC,
            {"GOOGLE_CLOUD_PROJECT": "other"},
            ["--project", "test"],
            ["p-test (test)"],
            None,
        ),
        (
            None,
            {"GOOGLE_CLOUD_PROJECT": "other"},
            [],
            ["other"],
            "GOOGLE_CLOUD_PROJECT is other, and `firebase deploy` does not read it",
        ),
        (
            '{"projects": {"live": "p", "test": "q"}}',
            {},
            [],
            ["p (live)", "q (test)"],
            "none of live, test is the project that `firebase deploy` takes",
        ),
    ],
)
def test_the_projects_are_those_that_are_deployed_to(
    copy: Path,
    firebaserc: str | None,
    environment: dict[str, str],
    arguments: list[str],
    headings: list[str],
    words: str | None,
) -> None:
    (copy / ".env").write_text(f"{APPS}\nMEDIA_HOSTS=cdn.example.com\n")
    if firebaserc:
        (copy / ".firebaserc").write_text(firebaserc)
    done = check(copy, "--offline", *arguments, **environment)
    assert done.returncode == 0
    shown = re.findall(r"^(?:p|q|other).*$", done.stdout, re.MULTILINE)
    assert shown == headings
    warnings = re.findall(r"^warning +(.*)$", done.stdout, re.MULTILINE)
    assert warnings == ([words] if words else [])


def test_a_project_by_its_id_does_not_get_the_file_of_its_alias(copy: Path) -> None:
    (copy / ".env").write_text(APPS)
    (copy / ".firebaserc").write_text(FIREBASERC)
    (copy / ".env.test").write_text("REGION=europe-west1")
    done = check(copy, "--offline", "--project", "p-test")
    assert errors(done) == [
        ".env.test  the Firebase CLI does not read it for p-test, only for its alias"
    ]
    assert "make deploy PROJECT=test" in done.stdout
    assert check(copy, "--offline", "--project", "test").returncode == 0


def test_a_slow_import_is_told_with_the_variable_that_allows_it(copy: Path) -> None:
    (copy / ".env").write_text(APPS)
    (copy / "main.py").write_text("import time\ntime.sleep(3)\n")
    slow = check(copy, "--offline", "--project", "p", FUNCTIONS_DISCOVERY_TIMEOUT="2")
    assert errors(slow) == [
        "main.py  importing it takes more than 2 s, the limit of the Firebase CLI: "
        "make it faster, or set FUNCTIONS_DISCOVERY_TIMEOUT"
    ]
    assert "export FUNCTIONS_DISCOVERY_TIMEOUT=60" in slow.stdout
    fast = check(copy, "--offline", "--project", "p", FUNCTIONS_DISCOVERY_TIMEOUT="60")
    assert errors(fast) == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 10), ("60", 60), (" 2.5 ", 2.5), ("a minute", 10), ("0", 10), ("nan", 10), ("-1", 10)],
)
def test_the_firebase_cli_waits_as_long_as_the_variable_says(text: str, seconds: float) -> None:
    assert patience(text) == seconds


def test_what_would_be_uploaded_or_missing_is_told(copy: Path) -> None:
    (copy / ".env").write_text(APPS)
    (copy / "service-account.json").write_text("{}")
    shutil.copy(ROOT / "requirements.txt", copy / "requirements.txt")
    assert check(copy, "--offline", "--project", "my-project").returncode == 0
    config = json.loads((copy / "firebase.json").read_text())
    config["functions"]["ignore"] = ["venv", ".git", "tests", "emulators", "__pycache__"]
    (copy / "firebase.json").write_text(json.dumps(config, indent=2))
    (copy / "handlers/orders.py").write_text("import pytest\n")
    with (copy / "requirements.txt").open("a") as required:
        required.write("python-slugify==8.0.4\n")
    done = check(copy, "--offline", "--project", "my-project")
    assert [each.split(" would be")[0] for each in errors(done)] == [
        "firebase.json:9  ignore: .env, service-account.json",
        *(each for each in errors(done)[1:]),
    ]
    assert [each.split("  ")[0] for each in errors(done)[1:]] == [
        f"requirements.txt:{LOCKED.count(chr(10)) + 1}",
        "handlers/orders.py:1",
    ]


@pytest.mark.parametrize(
    ("name", "text", "where"),
    [
        ("handlers/orders.py", "x = 1\nx = = 2\n", "handlers/orders.py:2"),
        ("handlers/orders.py", "\nimport not_installed\n", "handlers/orders.py:2"),
        ("main.py", "\n\n1 / 0\n", "main.py:3"),
        ("main.py", "import os\nprint('hello')\nos._exit(3)\n", "main.py"),
    ],
)
def test_a_handler_that_cannot_be_imported_is_told_with_its_line(
    copy: Path, name: str, text: str, where: str
) -> None:
    (copy / ".env").write_text(APPS)
    (copy / name).write_text(text)
    done = check(copy, "--offline", "--project", "my-project")
    assert done.returncode == 1
    assert [each.split("  ")[0] for each in errors(done)] == [where]


def test_a_mistake_in_the_categories_is_told_with_its_table_and_field(copy: Path) -> None:
    (copy / ".env").write_text(APPS)
    file = copy / "handlers/categories.toml"
    toml = file.read_text(encoding="utf-8")
    file.write_text(toml.replace("required = false", "required = 0", 1), encoding="utf-8")
    done = check(copy, "--offline", "--project", "my-project")
    (line,) = errors(done)
    assert line.endswith("handlers/categories.toml: [new_message] required: must be true or false")


def test_a_group_id_without_a_category_and_a_language_without_words_are_warned_of(
    copy: Path,
) -> None:
    (copy / ".env").write_text(APPS)
    file = copy / "handlers/categories.toml"
    toml = file.read_text(encoding="utf-8").replace("[game_turn]", "[chess_turn]")
    file.write_text(toml.replace("words.fr", "words.it", 1), encoding="utf-8")
    done = check(copy, "--offline", "--project", "my-project")
    assert done.returncode == 0
    assert "group_id game_turn is not in handlers/categories.toml" in done.stdout
    assert "new_message: a settings screen has no words in fr" in done.stdout


def test_what_main_prints_does_not_disturb_it(copy: Path) -> None:
    (copy / ".env").write_text(APPS)
    with (copy / "main.py").open("a") as main:
        main.write("print('hello')\n")
    assert check(copy, "--offline", "--project", "my-project").returncode == 0


def test_elsewhere_it_cannot_be_carried_out(tmp_path: Path) -> None:
    done = check(tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no main.py here" in done.stderr


# The cloud: Google's APIs, answered by a server of the test's own

ACCOUNT = "123-compute@developer.gserviceaccount.com"
MEMBER = f"serviceAccount:{ACCOUNT}"
DATABASE = "v1/projects/my-project/databases/(default)"
SECRET = "v1/projects/my-project/secrets/batch-rest-api-key"


def bindings(*roles: str) -> dict[str, Any]:
    return {"bindings": [{"role": role, "members": ["user:ann", MEMBER]} for role in roles]}


WELL: dict[str, Any] = {
    "cloudresourcemanager/v1/projects/my-project": {"projectNumber": "123"},
    "serviceusage/v1/projects/my-project/services:batchGet": {
        "services": [
            {"name": f"projects/123/services/{api}", "state": "ENABLED"}
            for api in ("firestore.googleapis.com", "secretmanager.googleapis.com")
        ]
    },
    f"firestore/{DATABASE}": {"locationId": "nam5", "type": "FIRESTORE_NATIVE"},
    "firestore/v1/projects/my-project/databases": {
        "databases": [{"name": DATABASE, "type": "FIRESTORE_NATIVE"}]
    },
    "firebasedatabase/v1beta/projects/my-project/locations/-/instances": {
        "instances": [{"name": "projects/123/locations/us-central1/instances/my-default"}]
    },
    f"secretmanager/{SECRET}": {"labels": {"team": "push"}},
    f"secretmanager/{SECRET}/versions/latest": {"name": "x/versions/2", "state": "ENABLED"},
    f"secretmanager/{SECRET}:getIamPolicy": bindings("roles/secretmanager.secretAccessor"),
    "cloudresourcemanager/v1/projects/my-project:getIamPolicy": bindings(
        "roles/datastore.user",
        "roles/cloudtasks.enqueuer",
        "roles/firebasedatabase.admin",
        "roles/eventarc.eventReceiver",
        "roles/run.invoker",
    ),
    f"iam/v1/projects/my-project/serviceAccounts/{ACCOUNT}": {"email": ACCOUNT},
    f"iam/v1/projects/my-project/serviceAccounts/{ACCOUNT}:getIamPolicy": bindings(
        "roles/iam.serviceAccountUser"
    ),
    f"firestore/{DATABASE}/collectionGroups/batch_deliveries/fields/expire_at": {
        "ttlConfig": {"state": "ACTIVE"}
    },
}
DISABLED = {"error": {"details": [{"reason": "SERVICE_DISABLED"}]}}


@contextmanager
def googles(answers: Mapping[str, Any]) -> Iterator[Google]:
    """A `Google` that is answered so; a number is a status."""

    async def answer(request: web.Request) -> web.Response:
        given = answers.get(request.path.lstrip("/"), 404)
        if isinstance(given, int):
            return web.json_response({"error": {"message": "the-token"}}, status=given)
        return web.json_response(given, status=403 if given is DISABLED else 200)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    with in_background(app) as url, requests.Session() as session:
        session.trust_env = False
        yield Google(session, f"{url}/{{}}".format)


def of(
    answers: Mapping[str, Any], discovery: Discovery | None = None, **environment: str
) -> list[Finding]:
    chosen = Settings.from_environment({"BATCH_APPS": "ios=K"} | environment)
    with googles(answers) as there:
        return list(of_cloud(look(there, "my-project", chosen, discovery or Discovery())))


def test_a_project_that_is_ready_is_well() -> None:
    found = of(WELL, SOURCES="firestore,database")
    assert {finding.severity for finding in found} == {OK}
    assert len(found) >= len(PARTS)


GIVE = f"--member={MEMBER} --role="


@pytest.mark.parametrize(
    ("path", "answer", "severity", "fix"),
    [
        (
            "serviceusage/v1/projects/my-project/services:batchGet",
            {"services": [{"name": "p/services/firestore.googleapis.com", "state": "ENABLED"}]},
            E,
            "gcloud services enable secretmanager.googleapis.com --project=my-project",
        ),
        (
            f"firestore/{DATABASE}",
            404,
            E,
            "gcloud firestore databases create --location=us-central1 --project=my-project",
        ),
        (f"firestore/{DATABASE}", {"type": "DATASTORE_MODE", "locationId": "nam5"}, E, ""),
        (f"firestore/{DATABASE}", {"locationId": "europe-west1"}, W, ""),
        (f"firestore/{DATABASE}", {"locationId": "eur3"}, W, ""),
        (
            "firebasedatabase/v1beta/projects/my-project/locations/-/instances",
            {"instances": [{"name": "projects/1/locations/europe-west1/instances/i"}]},
            E,
            "",
        ),
        ("firebasedatabase/v1beta/projects/my-project/locations/-/instances", {}, E, ""),
        (
            f"secretmanager/{SECRET}",
            404,
            E,
            "printf '%s' 'YOUR_REST_KEY' | gcloud secrets create batch-rest-api-key "
            "--project=my-project --data-file=-",
        ),
        (
            f"secretmanager/{SECRET}",
            {"labels": {"firebase-managed": "functions"}},
            E,
            "gcloud secrets update batch-rest-api-key --project=my-project "
            "--remove-labels=firebase-managed",
        ),
        (
            f"secretmanager/{SECRET}/versions/latest",
            404,
            E,
            "printf '%s' 'YOUR_REST_KEY' | gcloud secrets versions add batch-rest-api-key "
            "--project=my-project --data-file=-",
        ),
        (
            f"secretmanager/{SECRET}/versions/latest",
            {"name": f"{SECRET}/versions/2", "state": "DISABLED"},
            E,
            "gcloud secrets versions enable 2 --secret=batch-rest-api-key --project=my-project",
        ),
        (
            f"secretmanager/{SECRET}:getIamPolicy",
            {},
            E,
            "gcloud secrets add-iam-policy-binding batch-rest-api-key --project=my-project "
            f"{GIVE}roles/secretmanager.secretAccessor",
        ),
        (
            f"firestore/{DATABASE}/collectionGroups/batch_deliveries/fields/expire_at",
            {"indexConfig": {}},
            W,
            "firebase deploy --only firestore:indexes --project=my-project",
        ),
        (f"secretmanager/{SECRET}", 403, N, ""),
        (f"secretmanager/{SECRET}", 500, N, ""),
        (f"firestore/{DATABASE}", DISABLED, N, ""),
        ("cloudresourcemanager/v1/projects/my-project", 403, N, ""),
    ],
)
def test_what_is_wrong_is_told_with_the_command_that_mends_it(
    path: str, answer: Any, severity: Severity, fix: str
) -> None:
    assert path in WELL
    found = of(WELL | {path: answer}, SOURCES="firestore,database")
    wrong = [finding for finding in found if finding.severity is not OK]
    assert {finding.severity for finding in wrong} == {severity}
    assert wrong[0].fix == fix
    assert "the-token" not in repr(found)


POLICY = "cloudresourcemanager/v1/projects/my-project:getIamPolicy"


def test_each_role_is_asked_for_by_name() -> None:
    of_account = f"iam/v1/projects/my-project/serviceAccounts/{ACCOUNT}:getIamPolicy"
    found = of(WELL | {POLICY: {}, of_account: {}}, SOURCES="firestore,database")
    given = [finding.fix.rpartition("--role=")[2] for finding in found if finding.fix]
    assert given == [
        *(role.name for role in ROLES),
        "roles/firebasedatabase.admin",
        *(role.name for role in GIVEN_ROLES),
        "roles/iam.serviceAccountUser",
    ]
    by_name = {finding.fix.rpartition("=")[2]: finding.severity for finding in found}
    # The first deployment gives these.
    assert {by_name[role.name] for role in GIVEN_ROLES} == {W}
    assert by_name["roles/datastore.user"] is E


# A service account of its own

OWN = "batchpush@my-project.iam.gserviceaccount.com"
EVENTS = {
    "new_message": {"eventTrigger": {"eventType": "x"}},
    "sendlater": {"taskQueueTrigger": {}},
    "sweep": {"scheduleTrigger": {"schedule": "every 10 minutes"}},
    "notify": {"callableTrigger": {}},
}
SERVICES = "run/v2/projects/my-project/locations/us-central1/services"


def with_own(*roles: str, **changed: Any) -> dict[str, Any]:
    """Its roles in the project, and its right to read the secret and to act as itself."""

    def give(*given: str) -> dict[str, Any]:
        return {
            "bindings": [{"role": each, "members": [f"serviceAccount:{OWN}"]} for each in given]
        }

    answers = {path.replace(ACCOUNT, OWN): answer for path, answer in WELL.items()}
    return answers | {
        POLICY: give("roles/datastore.user", "roles/cloudtasks.enqueuer", *roles),
        f"secretmanager/{SECRET}:getIamPolicy": give("roles/secretmanager.secretAccessor"),
        f"iam/v1/projects/my-project/serviceAccounts/{OWN}:getIamPolicy": give(
            "roles/iam.serviceAccountUser"
        ),
        f"{SERVICES}/new-message:getIamPolicy": give("roles/run.invoker"),
        f"{SERVICES}/sendlater:getIamPolicy": give("roles/run.invoker"),
        **changed,
    }


def of_own(answers: Mapping[str, Any], account: str = "batchpush@") -> list[Finding]:
    return [
        each
        for each in of(answers, Discovery(EVENTS), SERVICE_ACCOUNT=account)
        if each.severity is not OK
    ]


RECEIVES = "roles/eventarc.eventReceiver"


@pytest.mark.parametrize("account", ["batchpush@", OWN])
def test_an_account_of_its_own_with_exactly_its_roles_is_well(account: str) -> None:
    assert of_own(with_own(RECEIVES), account) == []


def test_an_account_that_is_not_there_is_told_with_the_command_that_makes_it() -> None:
    path = f"iam/v1/projects/my-project/serviceAccounts/{OWN}"
    (finding,) = of_own(with_own(RECEIVES) | {path: 404})
    assert finding.severity is E
    assert finding.fix == "gcloud iam service-accounts create batchpush --project=my-project"


def test_an_account_of_another_project_is_looked_for_there() -> None:
    account = "batchpush@accounts.iam.gserviceaccount.com"
    of_accounts = "projects/accounts/serviceAccounts"
    answers: dict[str, Any] = json.loads(
        json.dumps(with_own(RECEIVES))
        .replace(OWN, account)
        .replace("projects/my-project/serviceAccounts", of_accounts)
    )
    assert of_own(answers, account) == []
    (missing,) = of_own(answers | {f"iam/v1/{of_accounts}/{account}": 404}, account)
    assert missing.fix == "gcloud iam service-accounts create batchpush --project=accounts"


def test_no_deployment_gives_it_what_it_gives_the_default_one() -> None:
    (finding,) = of_own(with_own())
    assert finding.severity is E
    assert finding.fix == (
        "gcloud projects add-iam-policy-binding my-project "
        f"--member=serviceAccount:{OWN} --role={RECEIVES}"
    )


def test_each_function_that_it_may_not_call_is_told_with_one_command_for_all() -> None:
    other = {"bindings": [{"role": "roles/run.invoker", "members": ["allUsers"]}]}
    answers = with_own(RECEIVES) | {
        f"{SERVICES}/{name}:getIamPolicy": other for name in ("new-message", "sendlater")
    }
    (finding,) = of_own(answers)
    assert finding.severity is E
    assert "new-message, sendlater" in finding.says
    assert finding.fix == (
        "for service in new-message sendlater; do gcloud run services add-iam-policy-binding "
        "$service --region=us-central1 --project=my-project "
        f"--member=serviceAccount:{OWN} --role=roles/run.invoker; done"
    )


def test_before_the_first_deployment_there_is_no_function_to_give_it_for() -> None:
    answers = {path: each for path, each in with_own(RECEIVES).items() if "run/" not in path}
    (finding,) = of_own(answers)
    assert finding.severity is W
    assert "not deployed yet" in finding.says


def test_what_holds_for_the_whole_project_is_enough() -> None:
    answers = {
        path: each
        for path, each in with_own(RECEIVES, "roles/run.invoker").items()
        if "run/" not in path
    }
    assert of_own(answers) == []


@pytest.mark.parametrize("role", ["roles/editor", "roles/owner"])
def test_an_account_that_may_change_the_whole_project_is_told(role: str) -> None:
    (own,) = of_own(with_own(RECEIVES, role))
    assert own.severity is W
    assert own.fix == (
        "gcloud projects remove-iam-policy-binding my-project "
        f"--member=serviceAccount:{OWN} --role={role}"
    )
    found = of(WELL | {POLICY: bindings(role, *(each.name for each in GIVEN_ROLES))})
    (default,) = (each for each in found if each.severity is not OK)
    assert default.severity is W
    assert role in default.says
    assert "SERVICE_ACCOUNT=batchpush@" in default.says
    assert default.fix == "gcloud iam service-accounts create batchpush --project=my-project"


def test_the_databases_that_there_are_are_told() -> None:
    names = ("(default)", "orders", "users")
    answers = WELL | {
        f"firestore/{DATABASE}": 404,
        "firestore/v1/projects/my-project/databases": {
            "databases": [{"name": f"projects/my-project/databases/{each}"} for each in names[1:]]
        },
    }
    (finding,) = (each for each in of(answers) if each.severity is E)
    assert finding.says.endswith(": there is orders, users; set DATABASE=orders")


def test_the_database_of_the_settings_is_the_one_that_is_asked_about() -> None:
    answers = {path.replace("(default)", "orders"): each for path, each in WELL.items()}
    assert {each.severity for each in of(answers, DATABASE="orders")} == {OK}
    (missing, *_) = (each for each in of(WELL, DATABASE="orders") if each.severity is E)
    assert missing.fix == (
        "gcloud firestore databases create --database=orders --location=us-central1 "
        "--project=my-project"
    )


def test_a_role_of_ones_own_is_left_to_a_person() -> None:
    found = of(WELL | {POLICY: bindings("projects/my-project/roles/ours", "roles/run.invoker")})
    assert {finding.severity for finding in found} == {OK, N}


def test_a_secret_of_another_project_is_looked_for_there() -> None:
    name = "projects/keys/secrets/batch"
    answers = {
        path.replace("projects/my-project/secrets/batch-rest-api-key", name): answer
        for path, answer in WELL.items()
    }
    assert {each.severity for each in of(answers, BATCH_REST_KEY_SECRET=name)} == {OK}
    wrong = next(each for each in of(WELL, BATCH_REST_KEY_SECRET=name) if each.severity is E)
    assert "gcloud secrets create batch --project=keys" in wrong.fix


def test_only_the_resource_manager_is_asked_with_a_body() -> None:
    """IAM takes no body: "The request body must be empty", says its reference."""
    asked: dict[str, Any] = {}

    class NotFound:
        def request(self, _: str, url: str, *, json: Any, timeout: float) -> requests.Response:
            asked[url] = json
            answer = requests.Response()
            answer.status_code, answer._content = 404, b"{}"
            return answer

    settings_ = Settings.from_environment({"BATCH_APPS": "ios=K", "SERVICE_ACCOUNT": "batchpush@"})
    look(Google(NotFound()), "my-project", settings_, Discovery())
    bodies = {url for url, body in asked.items() if body is not None}
    assert bodies == {
        "https://cloudresourcemanager.googleapis.com/v1/projects/my-project:getIamPolicy"
    }


def test_nobody_is_asked_again_once_there_is_no_answer() -> None:
    asked = []

    class Silent:
        def request(self, *_: Any, timeout: float, **__: Any) -> None:
            asked.append(timeout)
            raise requests.ConnectTimeout

    settings_ = Settings.from_environment({"BATCH_APPS": "ios=K"})
    found = list(of_cloud(look(Google(Silent()), "my-project", settings_, Discovery())))
    assert {finding.severity for finding in found} == {N}
    assert asked == [5.0]


def test_without_credentials_everything_is_not_checked_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none"))
    started = time.monotonic()
    with pytest.raises(NotKnown, match="gcloud auth application-default login"):
        google("my-project")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize(
    ("project", "offline", "why"),
    [
        (None, False, "no project"),
        (Project("p"), True, "--offline"),
        (Project("demo-p"), False, "a demo- project"),
    ],
)
def test_the_cloud_is_left_alone_where_there_is_none(
    project: Project | None, offline: bool, why: str
) -> None:
    def connect(name: str) -> Google:
        raise AssertionError

    *_, last = of_project(replace(deployment(APPS), project=project), offline, connect)
    assert last.severity is N
    assert f": {why}" in last.says
    assert all(part in last.says for part in PARTS)


# Words


def test_a_finding_cannot_speak_to_the_terminal() -> None:
    finding = Finding(E, "x\x1b[2J\nnext", ".env:1", "gcloud a")
    assert list(finding.lines()) == [
        "error        .env:1  x\\u001b[2J",
        "               next",
        "               gcloud a",
    ]


@pytest.mark.parametrize(
    ("severities", "words"),
    [
        ([], "everything is fine"),
        ([OK], "everything is fine"),
        ([E, E, W, N, N], "2 errors, 1 warning, 2 not checked"),
        ([W, W, E], "1 error, 2 warnings"),
    ],
)
def test_findings_are_counted(severities: list[Severity], words: str) -> None:
    assert counted([Finding(each, "") for each in severities]) == words
