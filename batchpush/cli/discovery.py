"""Discovers what `main.py` in this folder deploys, as the Firebase CLI would.

    python -m batchpush.cli.discovery      prints it as JSON, or where the import failed

It runs in its own process: `main.py` reads the settings once, and each project has its own.
"""
# ruff: noqa: T201 (its output is the result)

import importlib
import json
import math
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchpush.environment import VARIABLES
from batchpush.events.change import Database

SECONDS = 10.0  # how long the Firebase CLI waits, unless this variable is set
OURS = Path(__file__)  # imported here, whatever main.py imports
TIMEOUT = "FUNCTIONS_DISCOVERY_TIMEOUT"


@dataclass(frozen=True)
class Discovery:
    """The endpoints by name, or the problem, its file and line, and a command to fix it.

    `files` are the imported files of this folder.
    """

    endpoints: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    where: str = "main.py"
    fix: str = ""
    files: Sequence[str] = ()


@dataclass(frozen=True)
class Watch:
    """The writes that call a function; `on` is created, updated, written or deleted."""

    database: Database
    on: str
    path: str


def discover(environment: Mapping[str, str], seconds: float | None = None) -> Discovery:
    """Run the discovery with these settings, and with the other variables of this process.

    It may take as long as the Firebase CLI would allow.
    """
    seconds = seconds or patience(os.environ.get(TIMEOUT, ""))
    others = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    try:
        asked = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "batchpush.cli.discovery"],
            env=others | dict(environment) | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=seconds,
        )
        # The last line: main.py may have printed other lines.
        return Discovery(**json.loads(asked.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        longer = f"{TIMEOUT}={max(60, math.ceil(2 * seconds))}"
        return Discovery(
            problem=f"importing it takes more than {seconds:g} s, the limit of the Firebase CLI:"
            f" make it faster, or set {TIMEOUT}",
            fix=f"export {longer}",
        )
    except (ValueError, IndexError):
        return Discovery(problem="importing it ends the process")


def patience(text: str) -> float:
    """The seconds that the CLI waits, from the variable's text, read as JavaScript reads it."""
    try:
        seconds = float(text)
    except ValueError:
        return SECONDS
    return seconds if 0 < seconds < math.inf else SECONDS


def look() -> Discovery:
    """Import `main.py` and read how its functions describe themselves."""
    try:
        module = load()
    except Exception as error:  # noqa: BLE001 - an import may raise anything
        return Discovery(problem=f"{type(error).__name__}: {error}", where=broken_at(error))
    from firebase_functions.private.serving import to_spec

    functions = (each for each in vars(module).values() if hasattr(each, "__firebase_endpoint__"))
    return Discovery(
        {
            function.__firebase_endpoint__.entryPoint: _plain(
                to_spec(vars(function.__firebase_endpoint__))
            )
            for function in functions
        },
        files=sorted(_imported()),
    )


def _imported() -> set[str]:
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    here = {_relative(file) for file in files if file}
    return {
        Path(file).as_posix()
        for file in here
        if file.endswith(".py") and not Path(file).is_absolute() and not _is_installed(file)
    } - {_relative(str(each)) for each in (OURS, OURS.with_name("__init__.py"))}


def _is_installed(file: str) -> bool:
    return "site-packages" in Path(file).parts


def _plain(spec: dict[str, Any]) -> dict[str, Any]:
    """The spec without the SDK's placeholders for the platform's defaults."""
    simple = (str, int, float, bool, dict, list)
    return {name: value for name, value in spec.items() if isinstance(value, simple)}


def load() -> Any:
    """Import the module `main` of this folder."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return importlib.import_module("main")


def broken_at(error: BaseException) -> str:
    """The innermost line of this folder's code in the error's traceback."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_relative(error.filename)}:{error.lineno}"
    here = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if _relative(frame.filename).split(os.sep)[0] in ("main.py", "handlers")
    ]
    return f"{_relative(here[-1].filename)}:{here[-1].lineno}" if here else "main.py"


def _relative(file: str) -> str:
    try:
        return str(Path(file).resolve().relative_to(Path.cwd()))
    except ValueError:
        return file


def watch_of(endpoint: Mapping[str, Any]) -> Watch | None:
    """None for a function that is not called by writes."""
    trigger = endpoint.get("eventTrigger")
    if not trigger:
        return None
    patterns, on = trigger["eventFilterPathPatterns"], trigger["eventType"].rpartition(".")[2]
    if "document" in patterns:
        return Watch("firestore", on, patterns["document"])
    return Watch("database", on, patterns["ref"])


if __name__ == "__main__":
    print(json.dumps(vars(look())))
