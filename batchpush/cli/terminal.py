"""Shared by the commands: their environment, and output for a terminal.

Text from users is printed JSON-escaped, so that it cannot control the terminal.
"""
# ruff: noqa: T201 (a program for the command line prints)

import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Self

from batchpush.cli.env_files import Project, environment_of, files_for, project_called, read
from batchpush.environment import project_id


class CannotDo(Exception):
    """The command cannot be carried out; the message is one line for the operator."""


def prepare_environment(wanted: str | None) -> None:
    """Set the environment of the package and of Google's clients, for a project or its alias.

    Raises `CannotDo` without a project.
    """
    name = wanted or project_id()
    project = project_called(name) if name else None
    for variable, value in variables_for(project).items():
        os.environ.setdefault(variable, value)
    if not project:
        raise CannotDo("no project: give --project, or set GOOGLE_CLOUD_PROJECT")
    os.environ["GOOGLE_CLOUD_PROJECT"] = project.id
    os.environ["LOG_LEVEL"] = "ERROR"  # delivery logs are for the cloud, not for a terminal


def warn_of_emulators() -> None:
    """Warn that documents come from an emulator, not from the project.

    No warning for a `demo-` project, which exists only in emulators.
    """
    project = project_id() or ""
    for variable in ("FIRESTORE_EMULATOR_HOST", "FIREBASE_DATABASE_EMULATOR_HOST"):
        if os.environ.get(variable) and not project.startswith("demo-"):
            told = f"{variable} is set: this looks at an emulator, not at {escaped(project)}"
            print(f"batchpush: {told}", file=sys.stderr)


def variables_for(project: Project | None) -> Mapping[str, str]:
    """The variables of a project's `.env` files; raises `CannotDo` for an unreadable file."""
    variables = read(files_for(project))
    for each in variables:
        if each.is_whole_file:
            raise CannotDo(f"{each.where} {each.problem}")
    return environment_of(variables)


class Interrupts:
    """Turns the first Ctrl-C into a request to stop after the step under way.

    A second one interrupts at once.
    """

    def __init__(self) -> None:
        self.came = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._come)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _come(self, *_: object) -> None:
        self.came = True
        signal.signal(signal.SIGINT, self._before)
        complain("stopping after this step; press Ctrl-C again to stop at once")


def show_progress(text: str) -> None:
    """A line on a terminal that the next one replaces; nothing elsewhere."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}\r", end="", file=sys.stderr, flush=True)


def complain(text: str) -> None:
    print(f"batchpush: {escaped(text)}", file=sys.stderr)


def escaped(text: object) -> str:
    """The text escaped as in a JSON string, including characters that only a terminal obeys."""
    return "".join(
        char if char.isprintable() and char not in '"\\' else _escape(char) for char in str(text)
    )


def _escape(char: str) -> str:
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]


def indented_json(text: str | bytes, indent: str) -> list[str]:
    """A JSON text as indented lines."""
    pretty = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    return [indent + _for_a_terminal(line) for line in pretty.split("\n")]


def _for_a_terminal(text: str) -> str:
    """JSON has its own escapes; this adds those for characters that a terminal may obey."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def masked(key: str) -> str:
    """The beginning of an app key, enough to tell keys apart."""
    return f"{key[:4]}…"
