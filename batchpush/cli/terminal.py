"""What the commands share: the environment they run in, and words for a terminal.

What users wrote is printed JSON-escaped, so that it cannot speak to the terminal.
"""
# ruff: noqa: T201 (a program for the command line prints)

import json
import os
import sys
from collections.abc import Mapping

from batchpush.cli.env_files import Project, environment_of, files_for, project_called, read
from batchpush.environment import project_id


class CannotDo(Exception):
    """What was asked cannot be done; the message is one line for the operator."""


def prepare_environment(wanted: str | None) -> None:
    """Set what the package and Google's clients read, for a project or its alias.

    Raises `CannotDo` without a project.
    """
    name = wanted or project_id()
    project = project_called(name) if name else None
    for variable, value in variables_for(project).items():
        os.environ.setdefault(variable, value)
    if not project:
        raise CannotDo("no project: give --project, or set GOOGLE_CLOUD_PROJECT")
    os.environ["GOOGLE_CLOUD_PROJECT"] = project.id
    os.environ["LOG_LEVEL"] = "ERROR"  # what a delivery logs for the cloud is not for a terminal


def warn_of_emulators() -> None:
    """Warn that documents come from an emulator, and not from the project.

    A `demo-` project exists in emulators only.
    """
    project = project_id() or ""
    for variable in ("FIRESTORE_EMULATOR_HOST", "FIREBASE_DATABASE_EMULATOR_HOST"):
        if os.environ.get(variable) and not project.startswith("demo-"):
            told = f"{variable} is set: this looks at an emulator, not at {escaped(project)}"
            print(f"batchpush: {told}", file=sys.stderr)


def variables_for(project: Project | None) -> Mapping[str, str]:
    """What the `.env` files of a project say; raises `CannotDo` for one that cannot be read."""
    variables = read(files_for(project))
    for each in variables:
        if each.is_whole_file:
            raise CannotDo(f"{each.where} {each.problem}")
    return environment_of(variables)


def complain(text: str) -> None:
    print(f"batchpush: {escaped(text)}", file=sys.stderr)


def escaped(text: object) -> str:
    """As in a JSON string, also what only a terminal would take for a command."""
    return "".join(
        char if char.isprintable() and char not in '"\\' else _escape(char) for char in str(text)
    )


def _escape(char: str) -> str:
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]


def indented_json(text: str | bytes, indent: str) -> list[str]:
    """A JSON text as lines, each of them indented."""
    pretty = json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    return [indent + _for_a_terminal(line) for line in pretty.split("\n")]


def _for_a_terminal(text: str) -> str:
    """Escaped already as JSON wants it; what is left is what a terminal may understand."""
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def masked(key: str) -> str:
    """An app key, so far that one tells it from another."""
    return f"{key[:4]}…"
