"""The files of the template beside those of a project: what is missing, and what differs."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from batchpush.cli.firebase_files import named_file, parse, root_of, text_of
from batchpush.cli.init import additions, template
from batchpush.cli.init.additions import Additions

SOURCE = '"source": "."'  # in the template's firebase.json


class State(Enum):
    WRITTEN = "written"
    MISSING = "missing"  # and not written, in a dry run
    SAME = "same"
    COMPLETE = "complete"  # the user's own, with all that batchpush needs
    DIFFERS = "differs"  # it stays as it is


@dataclass(frozen=True)
class Planned:
    """A file of the template, and what the project has in its place; None if it has none.

    `compare` is the template's file, if there is one. A shared file holds other things as well.
    """

    file: Path
    text: str
    theirs: str | None
    compare: Path | None = None
    is_shared: bool = True
    add: Additions = field(default_factory=dict)

    @property
    def state(self) -> State:
        if self.theirs is None:
            return State.MISSING
        if self.theirs == self.text:
            return State.SAME
        return State.COMPLETE if self.is_shared and not self.add else State.DIFFERS


def plan(folder: Path) -> Iterator[Planned]:
    """The files for a deployment from this folder; raises `Unreadable`."""
    root = root_of(folder) or _new_root(folder)
    for name in template.code():
        yield _compared(folder / name, name)
    yield _requirements(folder / "requirements.txt")
    yield from _of_project(root, folder)


def _new_root(folder: Path) -> Path:
    """Where a new `firebase.json` goes: here, or into a folder that is elsewhere."""
    here = Path.cwd()
    return here if folder.resolve().is_relative_to(here) else folder


def _of_project(root: Path, folder: Path) -> Iterator[Planned]:
    """The files beside `firebase.json`, or where it says."""
    source = Path(os.path.relpath(folder.resolve(), root.resolve())).as_posix()
    ours = template.text_of("firebase.json").replace(SOURCE, f'"source": {json.dumps(source)}')
    file = root / "firebase.json"
    theirs = _text(file)
    config = parse(str(file), ours if theirs is None else theirs)
    wanted = parse("firebase.json", ours)
    add = additions.to_firebase(config, wanted, root, folder)
    yield Planned(file, ours, theirs, add={} if theirs is None else add)

    indexes = named_file(config, "firestore", "indexes") or "firestore.indexes.json"
    yield _compared(root / indexes, "firestore.indexes.json", _indexes, is_shared=True)
    for product, name, missing in (
        ("firestore", "firestore.rules", additions.to_firestore_rules),
        ("database", "database.rules.json", additions.to_database_rules),
    ):
        yield _compared(root / (named_file(config, product, "rules") or name), name, missing)


def _indexes(theirs: str, text: str) -> Additions:
    return additions.to_indexes(parse("firestore.indexes.json", theirs), json.loads(text))


Missing = Callable[[str, str], Mapping[str, Any]]


def _requirements(file: Path) -> Planned:
    text, theirs = template.requirements(), _text(file)
    add = {} if theirs is None else additions.to_requirements(theirs, text)
    return Planned(file, text, theirs, add=add)


def _compared(
    file: Path, name: str, missing: Missing | None = None, is_shared: bool = False
) -> Planned:
    """A file that is in the template under this name."""
    text, theirs = template.text_of(name), _text(file)
    add = missing(theirs, text) if missing and theirs is not None else {}
    return Planned(file, text, theirs, template.root() / name, is_shared, add)


def _text(file: Path) -> str | None:
    return text_of(file) if file.is_file() else None
