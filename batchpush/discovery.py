"""What `main.py` in this folder deploys, as the Firebase CLI would learn it.

    python -m batchpush.discovery      prints it as JSON, or where the import broke

It runs in a process of its own: `main.py` reads the settings once, and each project has others.
"""
# ruff: noqa: T201 (its answer is what it prints)

import importlib
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchpush.change import Database
from batchpush.settings import VARIABLES

SECONDS = 10  # the Firebase CLI waits no longer


@dataclass(frozen=True)
class Discovery:
    """The endpoints by name; or else what broke, and in which file and line."""

    endpoints: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None
    where: str = "main.py"


@dataclass(frozen=True)
class Watch:
    """The writes that call a function; `on` is created, updated or written."""

    database: Database
    on: str
    path: str


def discover(environment: Mapping[str, str]) -> Discovery:
    """Ask a process with these variables, and those of this one that are no settings."""
    others = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    try:
        asked = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "batchpush.discovery"],
            env=others | dict(environment) | {"PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        # The last line: main.py may have printed others.
        return Discovery(**json.loads(asked.stdout.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return Discovery(problem=f"importing it takes more than {SECONDS} s")
    except (ValueError, IndexError):
        return Discovery(problem="importing it ends the process")


def look() -> Discovery:
    """Import `main.py` and read what its functions say of themselves."""
    try:
        module = load()
    except Exception as error:
        return Discovery(problem=f"{type(error).__name__}: {error}", where=broken_at(error))
    from firebase_functions.private.serving import to_spec

    functions = (each for each in vars(module).values() if hasattr(each, "__firebase_endpoint__"))
    return Discovery(
        {
            function.__firebase_endpoint__.entryPoint: _plain(
                to_spec(vars(function.__firebase_endpoint__))
            )
            for function in functions
        }
    )


def _plain(spec: dict[str, Any]) -> dict[str, Any]:
    """Without the SDK's marks for "as the platform does it"."""
    simple = (str, int, float, bool, dict, list)
    return {name: value for name, value in spec.items() if isinstance(value, simple)}


def load() -> Any:
    """The module `main`, from this folder: what is deployed, not a part of this package."""
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return importlib.import_module("main")


def broken_at(error: BaseException) -> str:
    """The last line of this folder that an import came to."""
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
    """None for a function that no write calls."""
    trigger = endpoint.get("eventTrigger")
    if not trigger:
        return None
    patterns, on = trigger["eventFilterPathPatterns"], trigger["eventType"].rpartition(".")[2]
    if "document" in patterns:
        return Watch("firestore", on, patterns["document"])
    return Watch("database", on, patterns["ref"])


if __name__ == "__main__":
    print(json.dumps(vars(look())))
