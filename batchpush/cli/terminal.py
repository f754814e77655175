"""Shared by the commands: their environment, and output for a terminal.

What a terminal could obey in the text of users is printed escaped.
"""
# ruff: noqa: T201 (a program for the command line prints)

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from batchpush.cli.env_files import (
    Project,
    deployed_to,
    environment_of,
    files_for,
    project_called,
    read,
)
from batchpush.environment import project_id


class CannotDo(Exception):
    """The command cannot be carried out; the message is one line for the operator."""


def prepare_environment(wanted: str | None) -> None:
    """Set the environment of the package and of Google's clients, for a project or its alias.

    Raises `CannotDo` without a project.
    """
    if "BATCH_APPS" not in os.environ:
        require_main()
    project = project_for(wanted)
    for variable, value in variables_for(project).items():
        os.environ.setdefault(variable, value)
    os.environ["GOOGLE_CLOUD_PROJECT"] = project.id
    os.environ["LOG_LEVEL"] = "ERROR"  # delivery logs are for the cloud, not for a terminal


def require_main() -> None:
    """Raises `CannotDo` in a folder without `main.py`, whose settings a command would miss."""
    if not Path("main.py").is_file():
        raise CannotDo("there is no main.py here: run this in the folder that has it")


def project_for(wanted: str | None) -> Project:
    """The project to work on: the wanted one, what is deployed to, or GOOGLE_CLOUD_PROJECT.

    Raises `CannotDo` if there is none. It never picks one of two: an operator who means staging
    must not replay or erase in production.
    """
    if wanted:
        return project_called(wanted)
    deployed, named = deployed_to(), project_id()
    project = deployed or (project_called(named) if named else None)
    if project is None:
        raise CannotDo("no project: run firebase use --add, or give --project")
    if named and project_called(named).id != project.id:
        both = f"GOOGLE_CLOUD_PROJECT is {named}, and `firebase deploy` takes {project}"
        raise CannotDo(f"{both}: say which with --project")
    return project


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
        if each.problem:
            complain(f"{each.where} {each.problem}")
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
    """The text with what a terminal may obey escaped as in JSON, and so the backslash."""
    return "".join(
        char if char.isprintable() and char != "\\" else _escape(char) for char in str(text)
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
