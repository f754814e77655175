"""Runs everything that a database write passes through on this machine.

    python -m local.suite                 runs until Ctrl-C
    python -m local.suite -- COMMAND      runs COMMAND against it, exits with its exit code

    a write --> Firestore --> Functions --> local Batch --> its page of phones
                                  |
                                  +-------> local Secret Manager: the REST key

Firestore, Functions, Auth and Cloud Tasks are Google's own emulators, run by one firebase-tools
process; those of Batch and Secret Manager are in `emulators/`. All listen on loopback only.
"""

import argparse
import http.client
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

from batchpush.cli import env_files, firebase_files
from batchpush.cli.env_files import text_with as env_text
from batchpush.environment import Settings
from batchpush.errors import ConfigurationError
from emulators.secret_manager import SecretManager, secret_place
from local.programs import (
    MARK,
    DidNotStart,
    Interrupted,
    Part,
    raise_on_signals,
    sweep,
    uninterrupted,
    wait_for,
)
from local.readable import Readable
from local.tools import CannotStart, Tools, find_tools, write_runnable_jar

ROOT = Path(__file__).resolve().parent.parent
RECORDING = ROOT / "local" / "recording"
HOST = "127.0.0.1"
PORTS = {
    "batch": 4010,
    "secret_manager": 4011,
    "functions": 5001,
    "firestore": 8080,
    "firestore_websocket": 9150,
    "auth": 9099,
    "tasks": 9499,
    "eventarc": 9299,
    "hub": 4400,
    "logging": 4500,
    "ui": 4000,
}
# Nothing listens here: Google's Realtime Database emulator can only be downloaded. Functions still
# connect to it, so that a test can answer them.
DATABASE = f"{HOST}:9000"

# For a "demo-" project, firebase-tools contacts no Google service.
PROJECT = "demo-batchpush"

FIREBASE = "firebase-tools"
DOWNLOAD_UI = "emulators/node_modules/.bin/firebase setup:emulators:ui"
LOOK_SECONDS = 0.2  # between two looks at a file of settings


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    raise_on_signals()
    try:
        with suite(env_file=options.env_file, verbose=options.verbose) as running:
            if options.command:
                return running.run(options.command)
            print(running.table(), flush=True)
            running.stay_up()
    except Interrupted as interrupted:
        return interrupted.exit_code
    except CannotStart as reason:
        print(reason, file=sys.stderr)
        return 2
    except DidNotStart as reason:
        print(reason, file=sys.stderr)
        return 1


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.suite",
        usage="%(prog)s [--env-file FILE] [--verbose] [-- COMMAND ...]",
        description="Start the local Firebase, Batch and Secret Manager.",
    )
    parser.add_argument(
        "--env-file",
        type=Path,
        metavar="FILE",
        help="settings that replace the local ones, once it exists and whenever it changes; pushes "
        "still stay on this machine",
    )
    parser.add_argument("--verbose", action="store_true", help="show all logs, as they are")
    parser.add_argument("command", nargs="*", metavar="COMMAND", help="run this, then stop")
    return parser.parse_args(arguments)


# --- The suite, from start to stop ----------------------------------------------------------------


@contextmanager
def suite(env_file: Path | None = None, verbose: bool = False) -> "Iterator[Suite]":
    """Start everything and wait until it responds; stop all of it at the end.

    Raises CannotStart or DidNotStart, whose text is for the person at the terminal.
    """
    tools = find_tools(ROOT)
    used = text_of(env_file)
    settings = local_settings(env_file)
    refuse_taken_ports({name: port for name, port in PORTS.items() if tools.has_ui or name != "ui"})
    with tempfile.TemporaryDirectory(prefix="batchpush-suite-") as temporary:
        # Resolved, because macOS's temporary directory is a symbolic link, and firebase-tools
        # appends the relative path of the functions to it as text.
        directory = Path(temporary).resolve()
        started = Suite(directory, settings, tools.has_ui, env_file, used)
        if verbose:
            started.echo.set()
        try:
            started.start(tools)
            yield started
        finally:
            started.stop()


@dataclass
class Suite:
    """The running suite: `environment` points a program at it, `log` has the functions' output."""

    directory: Path
    settings: dict[str, str]
    has_ui: bool = False
    env_file: Path | None = None
    env_used: bytes | None = None  # its content when the settings were read
    echo: threading.Event = field(default_factory=threading.Event)
    parts: "list[Part]" = field(default_factory=list)
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    rest_key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    readable: Readable = field(default_factory=lambda: Readable(is_coloured=is_for_a_person()))
    began: float = field(default_factory=time.monotonic)
    ready_after: float = 0.0

    @property
    def log(self) -> Path:
        return self.directory / "firebase.log"

    @property
    def calls(self) -> Path:
        """The addresses that the functions called; see `local/recording`."""
        return self.directory / "calls.txt"

    @property
    def credentials(self) -> Path:
        return self.directory / "service-account.json"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a program whose clients, Google's and ours, use the emulators."""
        return (
            inherited_environment(self.mark)
            | self.settings
            | {
                "FIRESTORE_EMULATOR_HOST": address("firestore"),
                "FIREBASE_AUTH_EMULATOR_HOST": address("auth"),
                "CLOUD_TASKS_EMULATOR_HOST": address("tasks"),
                "FIREBASE_DATABASE_EMULATOR_HOST": DATABASE,
                "FUNCTIONS_EMULATOR_URL": url("functions"),
                "LOGGING_EMULATOR_URL": url("logging"),
                "BATCH_EMULATOR_URL": url("batch"),
                "SECRET_MANAGER_EMULATOR_URL": url("secret_manager"),
                "GCLOUD_PROJECT": PROJECT,
                "GOOGLE_APPLICATION_CREDENTIALS": str(self.credentials),
                "SUITE_LOG": str(self.log),
                "SUITE_CALLS": str(self.calls),
            }
            | ({"EMULATOR_UI_URL": url("ui")} if self.has_ui else {})
        )

    def start(self, tools: Tools) -> None:
        batch = self.launch(batch_part(self))
        secret_manager = self.launch(secret_manager_part(self))
        firebase = self.launch(firebase_part(self, tools))
        write_service_account(self.credentials)

        wait_for("secret_manager", secret_manager, answers("secret_manager", "/__ready"))
        store_rest_key(self.settings["BATCH_REST_KEY_SECRET"], self.rest_key)
        wait_for("batch", batch, answers("batch", "/__ready"))
        wait_for("firestore", firebase, answers("firestore", "/"))
        wait_for("auth", firebase, answers("auth", "/"))
        wait_for("tasks", firebase, answers("tasks", "/queueStats"))
        wait_for("functions", firebase, lambda: functions_loaded(firebase))
        self.ready_after = time.monotonic() - self.began

    def launch(self, part: "Part") -> "Part":
        self.parts.append(part)
        part.start(self.echo)
        return part

    def run(self, command: Sequence[str]) -> int:
        """Run it in the foreground, in our own process group, so that it can read the keyboard."""
        try:
            code = subprocess.Popen(command, env=self.environment).wait()
        except OSError as error:
            print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
            return 127  # like a shell
        return code if code >= 0 else 128 - code

    def stay_up(self) -> NoReturn:
        """Show the functions' log, and apply changed settings, until a signal arrives."""
        self.echo.set()
        (firebase,) = (part for part in self.parts if part.name == FIREBASE)
        before = self.env_used
        while not firebase.has_exited:
            time.sleep(LOOK_SECONDS)
            text = text_of(self.env_file)
            # A file that is being saved keeps changing.
            if self.env_file and text == before != self.env_used:
                self.env_used = text
                self.say(*self.take_up(self.env_file))
            before = text
        raise DidNotStart(f"firebase-tools exited on its own:\n{firebase.tail()}")

    def take_up(self, env_file: Path) -> tuple[str, str]:
        """Use the changed file; returns what to say of it, with its severity."""
        try:
            settings = local_settings(env_file)
        except CannotStart as reason:
            return "ERROR", f"{env_file.name} is not used, the settings stay as they were: {reason}"
        if settings == self.settings:
            return "INFO", f"{env_file.name} changes no setting"
        self.settings = settings
        self.restart_batch()
        write_functions_settings(self)
        (ROOT / "main.py").touch()  # firebase-tools loads the functions anew, with its settings
        return "INFO", f"{env_file.name} is used: the functions reload, the phones begin empty"

    def restart_batch(self) -> None:
        """The Batch emulator with the current settings; its page connects again by itself."""
        (old,) = (part for part in self.parts if part.name == "batch")
        self.parts.remove(old)
        old.kill()
        # A person may have rotated the key, or named another secret.
        store_rest_key(self.settings["BATCH_REST_KEY_SECRET"], self.rest_key)
        wait_for("batch", self.launch(batch_part(self)), answers("batch", "/__ready"))

    def say(self, severity: str, text: str) -> None:
        print(self.readable.told(severity, text), flush=True)

    def stop(self) -> None:
        """Stop the parts in reverse order; then kill whatever is left."""
        with uninterrupted():
            self.echo.clear()
            for part in reversed(self.parts):
                part.end()
            sweep(self.mark)
            for part in self.parts:
                part.close()

    def table(self) -> str:
        rows = {
            "batch": "the page of phones; open it in a browser",
            "secret_manager": "the REST key, new for each run",
            "functions": "main.py; reloads when a file changes",
            "firestore": "write here",
            "auth": "",
            "tasks": "",
            "ui": "Firebase's own page of documents and users",
        }
        lines = [f"  {name:<15} {url(name):<23} {what}".rstrip() for name, what in rows.items()]
        if not self.has_ui:
            lines[-1] = f"  {'ui':<15} off; to have Firebase's own page, run {DOWNLOAD_UI}"
        if self.env_file:
            state = "does not exist: the local settings" if self.env_used is None else "is used"
            lines.append(
                f"  {self.env_file.name:<15} {state}; a change takes effect while this runs"
            )
        return "\n".join([f"Ready after {self.ready_after:.1f} s. Ctrl-C stops it.", *lines])


# --- The parts ----------------------------------------------------------------------------------


def batch_part(suite: Suite) -> Part:
    apps = suite.settings["BATCH_APPS"]
    project = suite.settings.get("BATCH_PROJECT", "")
    keys = ["--apps", apps, "--rest-key", suite.rest_key, "--project", project]
    part = emulator(suite, "batch", *keys)
    # Its page writes documents and replays deliveries.
    return replace(part, environment=suite.environment)


def secret_manager_part(suite: Suite) -> Part:
    return emulator(suite, "secret_manager")


def emulator(suite: Suite, name: str, *arguments: str) -> Part:
    module = ["-m", f"emulators.{name}", "--port", str(PORTS[name])]
    return Part(
        name=name,
        command=[sys.executable, *module, *arguments],
        directory=ROOT,
        environment=inherited_environment(suite.mark),
        log=suite.directory / f"{name}.log",
    )


def firebase_part(suite: Suite, tools: Tools) -> Part:
    """firebase-tools, run in the temporary directory, where its logs and our files stay."""
    config = suite.directory / "firebase.json"
    original = firebase_config()
    generated = firebase_json(original, ROOT, suite.directory, tools)
    config.write_text(json.dumps(generated, indent=2), encoding="utf-8")
    write_functions_settings(suite)
    return Part(
        name=FIREBASE,
        command=[
            str(tools.firebase),
            "emulators:start",
            f"--config={config}",
            f"--project={PROJECT}",
        ],
        directory=suite.directory,
        environment=firebase_environment(suite, tools),
        log=suite.log,
        readable=str.rstrip if suite.echo.is_set() else suite.readable,
    )


def write_functions_settings(suite: Suite) -> None:
    # Functions get their credentials from this file, not from firebase-tools' environment:
    # firebase-tools would use them itself to ask Google for a token.
    settings = suite.settings | {"GOOGLE_APPLICATION_CREDENTIALS": str(suite.credentials)}
    (suite.directory / ".env").write_text(env_text(settings), encoding="utf-8")


def firebase_config() -> dict[str, Any]:
    """The project's firebase.json, which may have comments."""
    file = ROOT / "firebase.json"
    try:
        read: dict[str, Any] = firebase_files.parse(str(file), firebase_files.text_of(file))
        firebase_files.codebases(read, ROOT)
    except firebase_files.Unreadable as why:
        raise CannotStart(str(why)) from None
    except LookupError:
        raise CannotStart(f'{file}: no "functions" with the "source" of its folder') from None
    return read


def firebase_json(
    original: Mapping[str, Any], root: Path, directory: Path, tools: Tools
) -> dict[str, Any]:
    """The project's firebase.json, changed to work from another directory.

    `source` must be relative: firebase-tools prepends the directory even to an absolute path.
    `configDir` is where it looks for `.env`, so that it does not read the user's own files.
    """
    functions = firebase_files.codebases(original, root)[0]
    databases = original.get("firestore", {})
    default = databases[0] if isinstance(databases, list) else databases
    rules = default.get("rules")
    emulators: dict[str, Any] = {
        name: {"host": HOST, "port": PORTS[name]}
        for name in ("functions", "auth", "tasks", "eventarc", "hub", "logging")
    }
    emulators["ui"] = {"enabled": tools.has_ui, "host": HOST, "port": PORTS["ui"]}
    emulators["firestore"] = {
        "host": HOST,
        "port": PORTS["firestore"],
        "websocketPort": PORTS["firestore_websocket"],
    }
    return {
        "functions": dict(functions)
        | {"source": os.path.relpath(root, directory), "configDir": ".", "runtime": tools.runtime},
        "firestore": {"rules": str(root / rules)} if rules else {},
        "emulators": emulators | {"singleProjectMode": True},
    }


def firebase_environment(suite: Suite, tools: Tools) -> dict[str, str]:
    """The environment of firebase-tools, which passes it on to the functions."""
    inherited = inherited_environment(suite.mark)
    python_path = filter(None, [str(RECORDING), inherited.get("PYTHONPATH")])
    environment = inherited | {
        "PYTHONPATH": os.pathsep.join(python_path),
        "RECORDED_CALLS": str(suite.calls),
        "PATH": f"{tools.java.parent}{os.pathsep}{inherited.get('PATH', os.defpath)}",
        "CI": "true",  # no message of the day, no check for updates
        "NO_COLOR": "1",
        "XDG_CONFIG_HOME": str(suite.directory),  # nobody is logged in, so no usage statistics
        "FIREBASE_TOKEN": "local",  # never used; without one it asks Google for a token
        "FLASK_SKIP_DOTENV": "1",  # a Flask server discovers main.py, and may read .env
        "FUNCTIONS_DISCOVERY_TIMEOUT": "60",  # seconds to import main.py, on a busy machine
        "METADATA_SERVER_DETECTION": "none",  # and looks for Google Cloud's metadata server
        "FIREBASE_DATABASE_EMULATOR_HOST": DATABASE,
    }
    if tools.firestore_jar:
        runnable = suite.directory / "firestore-emulator.jar"
        write_runnable_jar(tools.firestore_jar, runnable)
        environment["FIRESTORE_EMULATOR_BINARY_PATH"] = str(runnable)
    return environment


# If inherited, each of these would let a local function use a real service; DATABASE_URL, which web
# frameworks set, would be mistaken for the address of the Realtime Database.
NOT_INHERITED = {
    "BATCH_REST_API_KEY",
    "DATABASE_URL",
    "FIREBASE_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
}


def inherited_environment(mark: str) -> dict[str, str]:
    """Our environment, with a mark that identifies all our descendants."""
    kept = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    unproxied = ",".join(filter(None, [kept.get("NO_PROXY", kept.get("no_proxy")), HOST]))
    return kept | {MARK: mark, "NO_PROXY": unproxied, "no_proxy": unproxied}


# --- Settings -----------------------------------------------------------------------------------


def url(name: str) -> str:
    return f"http://{address(name)}"


def address(name: str) -> str:
    return f"{HOST}:{PORTS[name]}"


LOCAL_SETTINGS = {
    "BATCH_APPS": "ios=LOCALIOSAPPKEY,android=LOCALANDROIDAPPKEY,web=LOCALWEBAPPKEY",
    "BATCH_REST_KEY_SECRET": "batch-rest-api-key",
    "SOURCES": "firestore,database",
    "DATABASE": "(default)",
    "DEEPLINK_BASE": "myapp://",
    "MIRROR_PROFILES": "true",
    "FORGET_DELETED_USERS": "true",
    "LOG_LEVEL": "DEBUG",
    "REGION": "us-central1",
}
# These override any file: nothing here ever sends a real push.
ALWAYS_LOCAL = {"BATCH_API_URL": url("batch"), "SECRET_MANAGER_URL": url("secret_manager")}


def local_settings(env_file: Path | None) -> dict[str, str]:
    chosen = settings_in(env_file) if env_file and env_file.is_file() else {}
    allowed = {name: value for name, value in chosen.items() if value and name not in NOT_INHERITED}
    settings = LOCAL_SETTINGS | allowed | ALWAYS_LOCAL
    try:
        Settings.from_environment(settings)
    except ConfigurationError as error:
        raise CannotStart(str(error)) from None
    return settings


def text_of(env_file: Path | None) -> bytes | None:
    try:
        return env_file.read_bytes() if env_file else None
    except OSError:  # not there yet, or just being replaced
        return None


def settings_in(env_file: Path) -> Mapping[str, str]:
    """The variables as in a deployment; what the Firebase CLI rejects is also rejected here."""
    variables = env_files.read([env_file])
    if problems := [f"{each.where}: {each.problem}" for each in variables if each.problem]:
        raise CannotStart("\n".join(problems))
    return env_files.environment_of(variables)


# --- The REST key, and the credentials to read it with --------------------------------------------


def store_rest_key(secret: str, rest_key: str) -> None:
    """Create the secret that the functions read."""
    try:
        project, secret_id = secret_place(secret, PROJECT)
        SecretManager(url("secret_manager")).add_version(project, secret_id, rest_key)
    except ValueError as error:
        raise DidNotStart(f"BATCH_REST_KEY_SECRET: {error}") from None


def write_service_account(path: Path) -> None:
    """Fake credentials: Google's clients sign their requests with them without asking Google."""
    # Imported and generated while the emulators start, since both take time.
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    account = {
        "type": "service_account",
        "project_id": PROJECT,
        "private_key_id": "local",
        "private_key": key.decode(),
        "client_email": f"local@{PROJECT}.iam.gserviceaccount.com",
        "client_id": "0",
        "token_uri": f"{url('secret_manager')}/token",
    }
    path.write_text(json.dumps(account), encoding="utf-8")


# --- Is it up? ------------------------------------------------------------------------------------


def is_for_a_person() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def refuse_taken_ports(ports: Mapping[str, int]) -> None:
    for name, port in ports.items():
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                raise CannotStart(f"{name} needs port {port}, which is in use{holder(port)}")


def holder(port: int) -> str:
    """ " by COMMAND (pid N)", if lsof is installed and can see it."""
    if not (lsof := shutil.which("lsof")):
        return ""
    listing = subprocess.run(
        [lsof, "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"], capture_output=True, text=True
    ).stdout
    found = re.search(r"^p(\d+)\nc(.+)$", listing, re.MULTILINE)
    return f" by {found[2]} (pid {found[1]})" if found else ""


def answers(name: str, path: str) -> Callable[[], bool]:
    def is_up() -> bool:
        try:
            return request(name, "GET", path)[0] == 200
        except (OSError, http.client.HTTPException):
            return False

    return is_up


def functions_loaded(firebase: Part) -> bool:
    """If main.py cannot be imported, firebase-tools stays up without functions."""
    said = firebase.said()
    if "Failed to load function definition" in said:
        raise DidNotStart(f"the functions did not load:\n{load_errors(said)}")
    if "All emulators ready" not in said:
        return False
    backends = json.loads(request("functions", "GET", "/backends")[1])["backends"]
    if not any(backend["functionTriggers"] for backend in backends):
        raise DidNotStart(f"main.py has no functions\n{firebase.tail()}")
    return True


def load_errors(said: str) -> str:
    """main.py's traceback, if any, up to the line where firebase-tools gives up."""
    since = said.partition("for Cloud Functions...\n")[2]
    until, failed, reason = since.partition("Failed to load function definition")
    lines = (until + failed + reason.partition("\n")[0]).splitlines()
    first = next((n for n, line in enumerate(lines) if line.startswith("Traceback")), 0)
    return "\n".join(line for line in lines[first:] if line.strip())


def request(
    name: str,
    method: str,
    path: str,
    body: str | None = None,
    headers: Mapping[str, str] = {},
    timeout: float = 5,
) -> tuple[int, str]:
    """A direct request to the emulator: urllib would use a proxy from the environment."""
    connection = http.client.HTTPConnection(HOST, PORTS[name], timeout=timeout)
    try:
        connection.request(method, path, body, dict(headers))
        reply = connection.getresponse()
        return reply.status, reply.read().decode("utf-8", "replace")
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
