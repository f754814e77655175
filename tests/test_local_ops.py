"""`make ops`: by a gcloud of ours that is strict, and by Google's own where it is installed."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local import ops
from local.ops import KINDS, holds, main
from tests import monitoring
from tests.monitoring import PROJECT, Cloud

HELD = "batchpush: a push is held"
ONE_OF_EACH = ("metrics/latency.json", "alerts/held.json", "dashboards/batchpush.json")
MINE, THEIRS = (f"projects/{PROJECT}/notificationChannels/{name}" for name in ("mine", "theirs"))

Run = Callable[..., list[tuple[str, str]]]


def files() -> list[Path]:
    return [file for kind in KINDS for file in kind.files()]


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with monitoring.served() as cloud:
        yield cloud


def on_path(folder: Path) -> None:
    """Our gcloud, as a program in this folder."""
    folder.mkdir()
    root = Path(__file__).parents[1]
    program = folder / "gcloud"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} -m tests.gcloud "$@"\n')
    program.chmod(0o755)


def google_s_gcloud() -> str | None:
    """Google's own, with the component that has alerts."""
    found = shutil.which("gcloud")
    asked = [found or "", "alpha", "monitoring", "policies", "create", "--help"]
    is_there = found and not subprocess.run(asked, capture_output=True).returncode
    return found if is_there else None


@pytest.fixture(params=["ours", "Google's"])
def gcloud(
    request: pytest.FixtureRequest, cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "CONFIG": str(tmp_path / "config"),
        "AUTH_DISABLE_CREDENTIALS": "true",
        "CORE_DISABLE_PROMPTS": "true",
        "CORE_DISABLE_USAGE_REPORTING": "true",
        "COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "true",
        "API_ENDPOINT_OVERRIDES_LOGGING": cloud.address,
        "API_ENDPOINT_OVERRIDES_MONITORING": cloud.address,
    }.items():
        monkeypatch.setenv(f"CLOUDSDK_{name}", value)
    if request.param == "ours":
        on_path(tmp_path / "bin")
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        return
    if not google_s_gcloud():
        pytest.skip("gcloud with its alpha component is not installed")
    for name in ONE_OF_EACH:  # each command takes it a second
        copy = tmp_path / "ops" / name
        copy.parent.mkdir(parents=True)
        copy.write_bytes((ops.OPS / name).read_bytes())
    monkeypatch.setattr(ops, "OPS", tmp_path / "ops")


@pytest.fixture
def run(gcloud: None, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs it; returns what it says it did, by name."""

    def run(*arguments: str, fails: bool = False) -> list[tuple[str, str]]:
        assert main([f"--project={PROJECT}", *arguments]) == fails
        lines = [re.split(r" {2,}", line) for line in capsys.readouterr().out.splitlines()]
        return [(name, done) for _kind, name, done in lines]

    return run


def test_a_second_run_changes_nothing_and_a_third_what_was_changed(run: Run, cloud: Cloud) -> None:
    said = run("--channel=mine")
    count = len(files())
    assert [done for _, done in said] == ["created"] * count
    assert len(cloud.writes) == count
    assert cloud.called(HELD)["notificationChannels"] == [MINE]

    assert [done for _, done in run("--channel=mine")] == ["unchanged"] * count
    assert len(cloud.writes) == count

    held, dashboard = cloud.called(HELD), cloud.called("batchpush")
    metric = cloud.stored["metrics"]["batchpush_latency"]
    held["documentation"]["content"] = "Call Ann."
    held["notificationChannels"].append(THEIRS)
    held["userLabels"] = {"team": "mobile"}
    del dashboard["mosaicLayout"]["tiles"][0]
    metric["filter"] = "severity=ERROR"
    changed = [name for name, done in run() if done == "updated"]
    assert changed == ["batchpush_latency", HELD, "batchpush"]
    assert len(cloud.writes) == count + 3
    assert cloud.called(HELD)["notificationChannels"] == [MINE, THEIRS]
    assert cloud.called(HELD)["userLabels"] == {"team": "mobile"}


@pytest.mark.parametrize("gcloud", ["ours"], indirect=True)
def test_an_alert_that_google_refuses_keeps_nothing_else_from_being_made(
    run: Run, cloud: Cloud
) -> None:
    """As it does for some minutes, when its metric is new."""
    cloud.unknown = {"batchpush_latency"}
    said = run(fails=True)
    assert [name for name, done in said if done == "FAILED"] == ["batchpush: pushes are slow"]
    assert len(cloud.writes) == len(files()) - 1
    cloud.unknown.clear()
    assert [name for name, done in run() if done == "created"] == ["batchpush: pushes are slow"]


@pytest.mark.parametrize("gcloud", ["ours"], indirect=True)
def test_of_two_with_one_name_a_person_chooses(
    run: Run, cloud: Cloud, capsys: pytest.CaptureFixture[str]
) -> None:
    run()
    cloud.stored["alertPolicies"]["99"] = cloud.called(HELD) | {"name": "the other one"}
    assert main([f"--project={PROJECT}"]) == 1
    assert "2 are called 'batchpush: a push is held'" in capsys.readouterr().err


def test_without_gcloud_it_says_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main([f"--project={PROJECT}"]) == 1
    assert capsys.readouterr().err.startswith("gcloud is missing")


@pytest.mark.parametrize(
    ("found", "wanted", "is_so"),
    [
        ({"a": 1, "name": "n"}, {"a": 1}, True),
        ({"name": "n"}, {"a": 1}, False),
        ({"a": 2}, {"a": 1}, False),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, True),
        ({"a": [{"b": 1}, {"b": 2}]}, {"a": [{"b": 1}]}, False),
        ({"a": []}, {"a": [{"b": 1}]}, False),
        ({"a": "text"}, {"a": {"b": 1}}, False),
        ({"a": 30000.0}, {"a": 30000}, True),
    ],
)
def test_what_google_adds_is_no_difference(found: object, wanted: object, is_so: bool) -> None:
    assert holds(found, wanted) is is_so


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], 2, "say PROJECT="),
        (["PROJECT=staging"], 0, "-m local.ops --project staging"),
        (["PROJECT=p", "CHANNEL=1 2"], 0, "-m local.ops --project p --channel 1 --channel 2"),
    ],
)
def test_make_hands_on_the_project_and_the_channels(
    arguments: list[str], status: int, said: str
) -> None:
    made = "venv/.installed", "emulators/node_modules/.installed"
    old = [word for file in made for word in ("-o", file)]
    done = subprocess.run(
        ["make", *old, "ops", "BIN=/bin", *arguments, "--dry-run"], capture_output=True, text=True
    )
    assert done.returncode == status
    assert said in (done.stdout + done.stderr).replace("\\\n\t", "").replace("  ", " ")


def test_each_file_is_made_by_one_kind() -> None:
    assert set(files()) == set(ops.OPS.rglob("*.json"))
    read = [json.loads(file.read_text(encoding="utf-8")) for file in files()]
    assert len({each.get("name") or each["displayName"] for each in read}) == len(read)
