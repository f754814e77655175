"""The command: write what is missing, never over a file, and say what is left to a person."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from batchpush.cli.arguments import add_json
from batchpush.cli.firebase_files import Unreadable
from batchpush.cli.init import template
from batchpush.cli.init.files import Planned, State, plan
from batchpush.cli.installation import of_package
from batchpush.cli.terminal import CannotDo, escaped

PURPOSE = "Write what a deployment needs into a new or an existing Firebase project."
EXAMPLES = ("init push", "init . --dry-run --json")
FOLDER = "push"
SHOWN = 10  # things to add, of which the template has all
LISTS = {"functions": "functions, a list if there are several"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        default=Path(FOLDER),
        help=f"where main.py and handlers/ go (default: {FOLDER})",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be written")
    add_json(parser)


def init(chosen: argparse.Namespace) -> int:
    """Exit codes: 0 nothing is left to do, 1 something has to be added by hand."""
    folder: Path = chosen.folder
    try:
        _refuse(folder)
        files = list(plan(folder))
        for each in files:
            state = _write(each, chosen.dry_run)
            if chosen.json:
                print(json.dumps(_as_json(each, state)))
            elif state is not State.SAME:
                print(_as_text(each, state))
    except Unreadable as error:
        raise CannotDo(str(error)) from None
    except BrokenPipeError:
        raise  # of whoever reads what is printed
    except OSError as error:
        raise CannotDo(f"{error.filename}: {os.strerror(error.errno or 0)}") from None
    if not chosen.json:
        print("\n".join(_summary(folder, files, chosen.dry_run)))
    return 1 if any(each.add for each in files) else 0


def _refuse(folder: Path) -> None:
    if (folder / "package.json").exists():
        says = "has a package.json, for which the Firebase CLI takes it for Node.js"
        raise CannotDo(f"{folder} {says}: name another folder, such as {FOLDER}")
    if (folder / "batchpush/__init__.py").exists():
        says = "has a copy of batchpush, which would be deployed in place of the package"
        raise CannotDo(f"{folder} {says}: remove it first, or name another folder")


def _write(planned: Planned, is_dry_run: bool) -> State:
    if planned.state is not State.MISSING or is_dry_run:
        return planned.state
    planned.file.parent.mkdir(parents=True, exist_ok=True)
    with planned.file.open("x", encoding="utf-8", newline="") as file:  # never over another
        file.write(planned.text)
    return State.WRITTEN


def _as_json(planned: Planned, state: State) -> dict[str, Any]:
    is_compared = state is State.DIFFERS and planned.compare
    return {
        "file": os.path.relpath(planned.file),
        "state": state.value,
        "add": planned.add or None,
        "compare": str(planned.compare) if is_compared else None,
    }


def _as_text(planned: Planned, state: State) -> str:
    file = os.path.relpath(planned.file)
    lines = [f"{state.value:<12} {escaped(file)}"]
    for key, value in planned.add.items():
        lines += [f"add to {LISTS.get(key, key)}:", *_indented(value)]
    if state is State.DIFFERS and planned.compare:
        lines.append(f"diff {file} {planned.compare}")
    return f"\n{'':<15}".join(lines)


def _indented(value: Any) -> Iterator[str]:
    """A map as JSON; a list with one item on each line, as many as help."""
    if not isinstance(value, list):
        yield from (f"  {line}" for line in json.dumps(value, indent=2).split("\n"))
        return
    yield from (
        f"  {each if isinstance(each, str) else json.dumps(each)}" for each in value[:SHOWN]
    )
    if len(value) > SHOWN:
        yield f"  and {len(value) - SHOWN} more"


def _summary(folder: Path, files: Sequence[Planned], is_dry_run: bool) -> Iterator[str]:
    """How many files are the same; what comes next, after the first time."""
    if same := sum(each.state is State.SAME for each in files):
        yield f"{State.SAME.value:<12} {same} {'file' if same == 1 else 'files'}"
    if is_dry_run or same:
        return
    yield f"\nNext, in {folder}, with BATCH_APPS in .env, and PROJECT for the project's id:"
    wheel = template.installed_from()
    if wheel and not (folder / wheel.name).is_file():
        yield f"  cp {wheel} ."
    if not (folder / "venv").is_dir():
        yield f"  {of_package(f'./{wheel.name}' if wheel else 'batchpush', 'python3.12')}"
    yield "  cp .env.example .env"
    yield "  firebase use --add"
    yield "  gcloud config set project PROJECT"
    yield "  printf '%s' 'YOUR_REST_KEY' | gcloud secrets create batch-rest-api-key --data-file=-"
    yield "  venv/bin/batchpush check && venv/bin/batchpush deploy"
