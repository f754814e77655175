"""The emulator suite's launcher: what it decides, and that it leaves no process behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from contextlib import suppress
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any, NoReturn

import pytest

from emulators import secret_manager
from local import programs, suite, tools
from local.programs import DidNotStart, Interrupted, Part, marked, wait_for
from local.tools import CannotStart, Tools
from tests.waits import until

# --- What must be installed ---------------------------------------------------------------------


def program(path: Path, says: str) -> Path:
    """A command that prints one line, on stderr as `java -version` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}' >&2\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("on_path", "packaged", "chosen"),
    [
        pytest.param("21.0.4", "25.0.2", "path", id="the one on PATH is new enough"),
        pytest.param("17.0.15", "25.0.2", "packaged", id="the one on PATH is too old"),
        pytest.param("1.8.0_402", "25.0.2", "packaged", id="Java 8 calls itself 1.8"),
        pytest.param(None, "25", "packaged", id="none on PATH"),
        pytest.param("17.0.15", None, None, id="too old, and none packaged"),
        pytest.param(None, None, None, id="none at all"),
    ],
)
def test_java_is_the_first_that_is_new_enough(
    tmp_path: Path, on_path: str | None, packaged: str | None, chosen: str | None
) -> None:
    javas = {
        name: program(tmp_path / name / "java", f'openjdk version "{version}" 2026-01-20')
        for name, version in (("path", on_path), ("packaged", packaged))
        if version
    }
    on_path_java = str(javas["path"]) if on_path else None
    if chosen:
        assert tools.find_java(on_path_java, javas.get("packaged")) == javas[chosen]
    else:
        with pytest.raises(CannotStart, match="Java 21 or newer is missing") as reason:
            tools.find_java(on_path_java, javas.get("packaged"))
        assert "\n" not in str(reason.value)


def test_a_java_that_cannot_run_counts_as_none(tmp_path: Path) -> None:
    """macOS has a /usr/bin/java that only says where to get one."""
    stub = program(tmp_path / "java", "Unable to locate a Java Runtime.")
    with pytest.raises(CannotStart):
        tools.find_java(str(stub), tmp_path / "gone")


@pytest.mark.parametrize("version", [None, "v18.19.0"])
def test_without_a_recent_node_one_line_says_so(tmp_path: Path, version: str | None) -> None:
    node = str(program(tmp_path / "node", version)) if version else None
    with pytest.raises(CannotStart, match=r"^Node.js 20 or newer is missing.*make setup`$"):
        tools.find_firebase(tmp_path, node)


def test_firebase_tools_and_the_venv_come_from_make_setup(tmp_path: Path) -> None:
    node = str(program(tmp_path / "node", "v20.20.2"))
    with pytest.raises(CannotStart, match=r"^firebase-tools is missing: run `make setup`$"):
        tools.find_firebase(tmp_path, node)
    with pytest.raises(CannotStart, match=r"^venv/ is missing.*make setup`$"):
        tools.find_runtime(tmp_path / "venv")

    firebase = program(tmp_path / "emulators" / "node_modules" / ".bin" / "firebase", "")
    assert tools.find_firebase(tmp_path, node) == firebase


def test_a_package_json_beside_main_py_is_refused(tmp_path: Path) -> None:
    """firebase-tools takes a source folder with one for Node.js, whatever firebase.json says."""
    node = str(program(tmp_path / "node", "v20.20.2"))
    (tmp_path / "package.json").write_text("{}")
    with pytest.raises(CannotStart, match=r"^package.json next to main.py"):
        tools.find_firebase(tmp_path, node)


def test_the_runtime_is_the_venvs_python(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "python3.12-config", "")
    program(tmp_path / "bin" / "python3.13", "")
    assert tools.find_runtime(tmp_path) == "python313"


# --- The Firestore emulator -----------------------------------------------------------------------


@pytest.fixture
def sdk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Google Cloud SDK with the emulator, in a directory that is none of the usual ones."""
    monkeypatch.delenv("FIRESTORE_EMULATOR_BINARY_PATH", raising=False)
    monkeypatch.setattr(tools, "SDK_HOMES", [])
    home = tmp_path / "lib" / "google-cloud-sdk"
    program(home / "bin" / "gcloud", "")
    program(home / tools.JAR, "")
    return home


def test_the_jar_is_found_beside_gcloud_through_symbolic_links(sdk: Path, tmp_path: Path) -> None:
    link = tmp_path / "gcloud"
    link.symlink_to(sdk / "bin" / "gcloud")
    assert tools.find_firestore_jar(str(link)) == sdk / tools.JAR


def test_the_jar_is_found_in_the_usual_places_without_gcloud(
    sdk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tools.find_firestore_jar(None) is None
    monkeypatch.setattr(tools, "SDK_HOMES", [tmp_path / "nowhere", sdk])
    assert tools.find_firestore_jar(None) == sdk / tools.JAR


def test_a_named_emulator_is_left_to_firebase_tools(
    sdk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_BINARY_PATH", "/some/emulator.jar")
    assert tools.find_firestore_jar(str(sdk / "bin" / "gcloud")) is None


def test_the_runnable_jar_is_a_manifest_in_lines_that_java_accepts(tmp_path: Path) -> None:
    jar = tmp_path / ("a directory with a long name, and spaces, " * 3) / "emulator.jar"
    tools.write_runnable_jar(jar, tmp_path / "runnable.jar")

    with zipfile.ZipFile(tmp_path / "runnable.jar") as archive:
        manifest = archive.read("META-INF/MANIFEST.MF")
    assert manifest.endswith(b"\r\n")
    assert max(len(line) for line in manifest.split(b"\n")) <= 72
    unfolded = manifest.replace(b"\r\n ", b"").decode().splitlines()
    assert unfolded == [
        "Manifest-Version: 1.0",
        f"Main-Class: {tools.MAIN_CLASS}",
        f"Class-Path: {jar.as_uri()}",
    ]


@pytest.mark.parametrize(("folder", "is_there"), [("ui-v1.15.0", True), ("ui-v1.14.0", False)])
def test_firebases_own_page_is_on_where_this_firebase_tools_has_downloaded_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, is_there: bool
) -> None:
    """Without it, firebase-tools would download it, and start nothing where it cannot."""
    page = "binaryPathRelativeToCacheDir"
    details = tmp_path / "lib" / "emulator" / "downloadableEmulatorInfo.json"
    details.parent.mkdir(parents=True)
    details.write_text(json.dumps({"ui": {"main": {page: "ui-v1.15.0/server/server.mjs"}}}))
    monkeypatch.setenv("FIREBASE_EMULATORS_PATH", str(tmp_path))
    program(tmp_path / folder / "server" / "server.mjs", "")
    assert tools.has_ui(tmp_path) is is_there
    assert not tools.has_ui(tmp_path / "another version")


def test_our_firebase_tools_says_where_its_page_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    firebase_tools = suite.ROOT / "emulators" / "node_modules" / "firebase-tools"
    details = firebase_tools / "lib" / "emulator" / "downloadableEmulatorInfo.json"
    page = json.loads(details.read_bytes())["ui"]["main"]["binaryPathRelativeToCacheDir"]
    program(tmp_path / page, "")
    monkeypatch.setenv("FIREBASE_EMULATORS_PATH", str(tmp_path))
    assert tools.has_ui(firebase_tools)


def test_what_starts_says_where_firebases_own_page_is_or_how_to_have_it(
    started: suite.Suite,
) -> None:
    assert "ui              off; to have Firebase's own page, run" in started.table()
    started.has_ui = True
    assert "ui              http://127.0.0.1:4000" in started.table()
    assert started.environment["EMULATOR_UI_URL"] == "http://127.0.0.1:4000"


# --- firebase.json and .env -----------------------------------------------------------------------


def tools_with(has_ui: bool) -> Tools:
    return Tools(Path("firebase"), "python311", Path("java"), None, has_ui)


def test_the_generated_firebase_json_runs_the_project_from_another_directory() -> None:
    original: dict[str, Any] = {
        "functions": {"source": ".", "codebase": "push", "runtime": "python312", "ignore": ["x"]},
        "firestore": {"rules": "firestore.rules", "indexes": "firestore.indexes.json"},
        "database": {"rules": "database.rules.json"},
    }
    root, directory = Path("/home/ada/project"), Path("/var/suite")
    found = tools_with(has_ui=False)
    generated = suite.firebase_json(original, root, directory, found)

    assert generated["functions"] == {
        "source": "../../home/ada/project",
        "configDir": ".",
        "codebase": "push",
        "runtime": "python311",
        "ignore": ["x"],
    }
    assert generated["firestore"] == {"rules": "/home/ada/project/firestore.rules"}
    assert original["functions"]["runtime"] == "python312"
    of_many = original | {"functions": [{"source": "web"}, original["functions"]]}
    assert suite.firebase_json(of_many, root, directory, found) == generated

    emulators = generated["emulators"]
    assert emulators["ui"].pop("enabled") is False
    with_ui = suite.firebase_json(original, root, directory, tools_with(has_ui=True))["emulators"]
    assert with_ui["ui"] == {"enabled": True, "host": "127.0.0.1", "port": 4000}
    assert emulators.pop("singleProjectMode") is True
    assert {emulator["host"] for emulator in emulators.values()} == {"127.0.0.1"}
    assert {name: emulator["port"] for name, emulator in emulators.items()} == {
        name: port
        for name, port in suite.PORTS.items()
        if name not in ("batch", "secret_manager", "firestore_websocket")
    }


def test_the_projects_own_firebase_json_can_be_changed_that_way(tmp_path: Path) -> None:
    original = json.loads((suite.ROOT / "firebase.json").read_text())
    found = tools_with(has_ui=False)
    source = suite.firebase_json(original, suite.ROOT, tmp_path, found)["functions"]["source"]
    assert (tmp_path.resolve() / source).resolve() == suite.ROOT


def test_a_file_of_settings_replaces_the_local_ones_but_nothing_real_is_reached(
    tmp_path: Path,
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(
        "BATCH_APPS=ios=REAL\n"
        "DEFAULT_LANGUAGE=fr\n"
        "BATCH_API_URL=https://api.batch.com\n"
        "SECRET_MANAGER_URL=https://secretmanager.googleapis.com\n"
        "BATCH_REST_API_KEY=real\n"
        "GOOGLE_APPLICATION_CREDENTIALS=/home/ada/real.json\n"
    )
    settings = suite.local_settings(env_file)

    assert settings == suite.local_settings(None) | {
        "BATCH_APPS": "ios=REAL",
        "DEFAULT_LANGUAGE": "fr",
    }
    assert settings["BATCH_API_URL"] == "http://127.0.0.1:4010"
    assert settings["SECRET_MANAGER_URL"] == "http://127.0.0.1:4011"


def test_real_keys_in_the_shell_do_not_reach_the_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in suite.NOT_INHERITED:
        monkeypatch.setenv(name, "real")
    assert "real" not in suite.inherited_environment("mark").values()


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("DEEPLINK_BASE=myapp://a#b", "myapp://a"),
        ("DEEPLINK_BASE=myapp://a # said", "myapp://a"),
        ("DEEPLINK_BASE='myapp://a#b' # said", "myapp://a#b"),
        ('DEEPLINK_BASE="myapp://a\\\\b"', "myapp://a\\b"),
        ("\ufeffDEEPLINK_BASE=myapp://é", "myapp://é"),
        ("export DEEPLINK_BASE = $x://${y}", "$x://${y}"),
    ],
)
def test_a_file_of_settings_is_read_as_for_a_deployment(
    tmp_path: Path, line: str, value: str
) -> None:
    (tmp_path / ".env").write_text(line)
    assert suite.settings_in(tmp_path / ".env") == {"DEEPLINK_BASE": value}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"A=1\nwords\n", ".env:2: is not NAME=VALUE"),
        (b"PORT=1\n", ".env:1: PORT is a name reserved by Firebase"),
        ("A=1\n".encode("utf-16"), ".env: is UTF-16"),
    ],
)
def test_what_a_deployment_would_refuse_is_refused(
    tmp_path: Path, data: bytes, problem: str
) -> None:
    (tmp_path / ".env").write_bytes(data)
    with pytest.raises(CannotStart, match=re.escape(problem)):
        suite.local_settings(tmp_path / ".env")


def test_a_file_of_settings_need_not_be_there_yet(started: suite.Suite, tmp_path: Path) -> None:
    env_file = tmp_path / "project.env"
    assert suite.local_settings(env_file) == suite.local_settings(None)
    started.env_file = env_file
    missing = "project.env     does not exist: the local settings; a change takes effect"
    assert missing in started.table()
    started.env_used = b""
    assert "project.env     is used; a change takes effect" in started.table()


def test_a_changed_file_of_settings_is_taken_up_while_everything_runs(
    started: suite.Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the real Batch and Secret Manager; firebase-tools sees that main.py is touched."""
    env_file = tmp_path / "project.env"
    touched = (suite.ROOT / "main.py").stat().st_mtime_ns
    with secret_manager.running() as manager:
        ports = {"batch": tools.free_port(), "secret_manager": int(manager.url.rpartition(":")[2])}
        monkeypatch.setattr(suite, "PORTS", suite.PORTS | ports)
        started.launch(suite.batch_part(started))
        wait_for("batch", started.parts[0], suite.answers("batch", "/__ready"))

        env_file.write_text("BATCH_APPS=ios=ANOTHERKEY\nBATCH_REST_KEY_SECRET=another\n")
        said = started.take_up(env_file)

        assert said == (
            "INFO",
            "project.env is used: the functions reload, the phones begin empty",
        )
        assert manager.calls()[-1]["name"] == "projects/demo-batchpush/secrets/another"
        headers = {"X-Authorization": started.rest_key, "Content-Type": "application/json"}
        body = '{"group_id": "g", "recipients": {"custom_ids": ["ann"]}, "message": {"body": "Hi"}}'
        send = "/1.1/ANOTHERKEY/transactional/send"
        assert suite.request("batch", "POST", send, body, headers)[0] == 201
        assert "BATCH_APPS" in (tmp_path / ".env").read_text()
        assert (suite.ROOT / "main.py").stat().st_mtime_ns > touched
        started.stop()


@pytest.mark.parametrize(
    ("text", "severity", "said"),
    [
        ("LOG_LEVEL=DEBUG", "INFO", "project.env changes no setting"),
        ("REGION=nowhere", "ERROR", "project.env is not used, the settings stay as they were: "),
        ("words", "ERROR", "project.env is not used, the settings stay as they were: "),
    ],
)
def test_a_file_of_settings_that_cannot_be_used_is_said_in_one_line(
    started: suite.Suite, tmp_path: Path, text: str, severity: str, said: str
) -> None:
    before = dict(started.settings)
    (tmp_path / "project.env").write_text(text)
    told = started.take_up(tmp_path / "project.env")
    assert (told[0], told[1][: len(said)], told[1].count("\n")) == (severity, said, 0)
    assert started.settings == before


def test_a_file_of_settings_is_taken_up_once_it_is_whole(
    started: suite.Suite,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = b"DEFAULT_LANGUAGE=fr"
    looks = chain([None, whole[:9]], repeat(whole))
    started.env_file = tmp_path / "project.env"
    monkeypatch.setattr(suite, "text_of", lambda _: next(looks))
    monkeypatch.setattr(suite, "LOOK_SECONDS", 0.01)

    def take_up(_: suite.Suite, env_file: Path) -> tuple[str, str]:
        (tmp_path / "taken up").touch()
        return "INFO", f"{env_file.name} is used"

    monkeypatch.setattr(suite.Suite, "take_up", take_up)
    until_then = "import os, time\nwhile not os.path.exists('taken up'): time.sleep(0.01)"
    started.launch(replace(python_part(tmp_path, until_then, started.mark), name=suite.FIREBASE))
    with pytest.raises(DidNotStart, match="firebase-tools exited on its own"):
        started.stay_up()
    started.stop()
    (said,) = capsys.readouterr().out.splitlines()
    assert said.endswith("INFO     project.env is used")


# --- Up, or why not -------------------------------------------------------------------------------


def test_a_taken_port_is_named_with_its_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setattr(suite, "holder", lambda port: " by python (pid 7)")
        with pytest.raises(CannotStart) as reason:
            suite.refuse_taken_ports({"auth": port})
    assert str(reason.value) == f"auth needs port {port}, which is in use by python (pid 7)"
    suite.refuse_taken_ports({"auth": port})


def python_part(tmp_path: Path, code: str, mark: str = "test") -> Part:
    return Part(
        name="part",
        command=[sys.executable, "-c", code],
        directory=tmp_path,
        environment=suite.inherited_environment(mark),
        log=tmp_path / "part.log",
    )


def test_a_part_that_ends_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    part = python_part(tmp_path, "print('first\\n' + 'more\\n' * 18 + 'why'); raise SystemExit(3)")
    part.start(threading.Event())
    with pytest.raises(DidNotStart, match="auth did not start: part exited") as reason:
        wait_for("auth", part, lambda: part.process.wait() == 0)
    part.close()
    assert part.tail().splitlines()[-1] == "why"
    assert len(str(reason.value).splitlines()) <= 21


def test_a_part_can_be_stopped_after_a_signal_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "STOP_SECONDS", 5.0)

    def interrupt(number: int, _: object) -> NoReturn:
        raise Interrupted(number)

    def look_until_it_comes() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
        while not part.has_exited:
            pass

    part = python_part(tmp_path, "import time; time.sleep(600)")
    part.start(threading.Event())
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(200):  # in one of ten, a signal came within Popen.poll()
            with suppress(Interrupted):
                look_until_it_comes()
    finally:
        signal.signal(signal.SIGALRM, before)
    part.end()
    assert part.has_exited
    part.close()


def test_functions_that_do_not_load_are_reported_with_their_error(tmp_path: Path) -> None:
    part = python_part(tmp_path, "")
    part.log.write_text(
        'i  functions: Watching "/project" for Cloud Functions...\n'
        " * Running on http://127.0.0.1:8081\n"
        "Traceback (most recent call last):\n\n"
        "SettingsError: BATCH_APPS is missing\n"
        "⬢  functions: Failed to load function definition from source: FirebaseError\n"
        "All emulators ready!\n"
    )
    with pytest.raises(DidNotStart) as reason:
        suite.functions_loaded(part)
    assert str(reason.value).splitlines() == [
        "the functions did not load:",
        "Traceback (most recent call last):",
        "SettingsError: BATCH_APPS is missing",
        "⬢  functions: Failed to load function definition from source: FirebaseError",
    ]


@pytest.mark.parametrize(
    ("secret", "name"),
    [
        ("my-key", "projects/demo-batchpush/secrets/my-key"),
        ("projects/p/secrets/my-key", "projects/p/secrets/my-key"),
        ("projects/p/secrets/my-key/versions/latest", "projects/p/secrets/my-key"),
    ],
)
def test_the_rest_key_is_stored_under_the_name_that_the_functions_read(
    monkeypatch: pytest.MonkeyPatch, secret: str, name: str
) -> None:
    with secret_manager.running() as manager:
        monkeypatch.setattr(suite, "url", lambda part: manager.url)
        suite.store_rest_key(secret, "0123")
        assert manager.calls()[-1] == {"method": "AddSecretVersion", "name": name}
    with pytest.raises(DidNotStart, match="BATCH_REST_KEY_SECRET: a/b is not the name of a secret"):
        suite.store_rest_key("a/b", "0123")


# --- Leaving nothing behind -----------------------------------------------------------------------

# As firebase-tools does with Java and Python: children in sessions of their own. This one's parent
# ignores SIGTERM, and has a child that does so too and one that does not.
STUBBORN_TREE = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
wait = "import time; print('up', flush=True); time.sleep(600)"
stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + wait
children = [
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
    for code in (wait, stubborn)
]
for child in children:
    child.stdout.readline()
print("up", flush=True)
time.sleep(600)
"""


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> suite.Suite:
    monkeypatch.setattr(programs, "STOP_SECONDS", 0.2)
    return suite.Suite(tmp_path, suite.local_settings(None))


def test_stopping_ends_children_that_left_the_session_and_ignore_sigterm(
    started: suite.Suite, tmp_path: Path
) -> None:
    part = started.launch(python_part(tmp_path, STUBBORN_TREE, started.mark))
    wait_for("tree", part, lambda: "up" in part.said())
    assert len(marked(started.mark)) == 3

    started.stop()

    assert marked(started.mark) == set()
    assert part.process.returncode == -signal.SIGKILL


def test_stopping_ends_orphans_whose_parent_was_killed(
    started: suite.Suite, tmp_path: Path
) -> None:
    part = started.launch(python_part(tmp_path, STUBBORN_TREE, started.mark))
    wait_for("tree", part, lambda: "up" in part.said())
    part.process.kill()

    started.stop()

    assert marked(started.mark) == set()


def test_stopping_before_anything_was_started_is_quiet(started: suite.Suite) -> None:
    started.stop()


def launcher_of(tmp_path: Path, code: str) -> Path:
    """A program: the real `main`, with one harmless part in the place of the emulators.

    The first line that it prints is its mark.
    """
    script = tmp_path / "main.py"
    script.write_text(
        "import sys\n"
        "from local import programs, suite, tools\n"
        "found = tools.Tools(None, None, None, None, has_ui=False)\n"
        "suite.find_tools = suite.refuse_taken_ports = lambda *_: found\n"
        "def start(self, tools):\n"
        f"    command = [sys.executable, '-c', {code!r}]\n"
        "    environment = suite.inherited_environment(self.mark)\n"
        "    part = programs.Part(\n"
        "        suite.FIREBASE, command, self.directory, environment, self.log)\n"
        "    programs.wait_for('part', self.launch(part), lambda: 'up' in part.said())\n"
        "    print(self.mark, flush=True)\n"
        "suite.Suite.start = start\n"
        "sys.exit(suite.main())\n"
    )
    return script


@pytest.mark.parametrize(
    ("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_stops_what_runs_and_a_second_one_does_not_disturb_that(
    tmp_path: Path, number: signal.Signals, exit_code: int
) -> None:
    script = launcher_of(tmp_path, "import time; print('up', flush=True); time.sleep(600)")
    environment = os.environ | {"PYTHONPATH": str(suite.ROOT), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, script], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        mark = process.stdout.readline().strip()
        assert "Ready" in process.stdout.readline()
        process.send_signal(number)
        process.send_signal(number)
        try:
            assert process.wait(timeout=60) == exit_code
        finally:
            process.kill()
    assert marked(mark) == set()


def test_a_first_signal_while_it_stops_leaves_nothing_behind(tmp_path: Path) -> None:
    told = tmp_path / "told"
    script = launcher_of(
        tmp_path,
        "import pathlib, signal, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: pathlib.Path({str(told)!r}).touch())\n"
        "print('up', flush=True)\n"
        "while True: time.sleep(600)\n",
    )
    environment = os.environ | {"PYTHONPATH": str(suite.ROOT)}
    with subprocess.Popen(
        [sys.executable, script, "--", "true"], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        mark = process.stdout.readline().strip()
        until("request to end", told.exists)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    assert marked(mark) == set()


def test_the_commands_exit_code_is_ours_and_a_signal_counts_as_in_a_shell(
    started: suite.Suite,
) -> None:
    python = [sys.executable, "-c"]
    assert started.run([*python, "raise SystemExit(7)"]) == 7
    assert started.run([*python, "import os; os.kill(os.getpid(), 15)"]) == 128 + 15
    points = "import os, sys; sys.exit(os.environ['FIRESTORE_EMULATOR_HOST'] != '127.0.0.1:8080')"
    assert started.run([*python, points]) == 0
    assert started.run(["no-such-command"]) == 127


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], []),
        (["--verbose", "--", "pytest", "-k", "x"], ["pytest", "-k", "x"]),
        (["--", "npx", "tool", "--", "argument"], ["npx", "tool", "--", "argument"]),
    ],
)
def test_the_command_is_all_that_follows_the_dashes(
    arguments: list[str], command: list[str]
) -> None:
    assert suite.parse(arguments).command == command
