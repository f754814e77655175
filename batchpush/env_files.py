"""The `.env` files, read as the Firebase CLI reads them for a deployment.

`.env` comes first, then the project's own: `.env.PROJECT` or `.env.ALIAS`, an alias being a name
that `firebase use --add` gave the project in `.firebaserc`.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# As in firebase-tools 15, src/functions/env.ts.
LINE = re.compile(
    r"^\s*(?:export)?\s*([\w./]+)\s*=[\f\t\v]*"
    r"(\s*'(?:\\'|[^'])*'|\s*\"(?:\\\"|[^\"])*\"|[^#\r\n]*)?"
    r"\s*(?:#[^\n]*)?$",
    re.MULTILINE | re.DOTALL | re.ASCII,
)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
RESERVED_PREFIXES = ("X_GOOGLE_", "FIREBASE_", "EXT_", "KIT_")
RESERVED = frozenset(
    {
        "CLOUD_RUNTIME_CONFIG",
        "ENTRY_POINT",
        "EVENTARC_CLOUD_EVENT_SOURCE",
        "FUNCTION_IDENTITY",
        "FUNCTION_MEMORY_MB",
        "FUNCTION_NAME",
        "FUNCTION_REGION",
        "FUNCTION_SIGNATURE_TYPE",
        "FUNCTION_TARGET",
        "FUNCTION_TIMEOUT_SEC",
        "FUNCTION_TRIGGER_TYPE",
        "GCLOUD_PROJECT",
        "GCP_PROJECT",
        "GOOGLE_CLOUD_PROJECT",
        "K_CONFIGURATION",
        "K_REVISION",
        "K_SERVICE",
        "PORT",
    }
)


@dataclass(frozen=True)
class Project:
    """A Google Cloud project, and what `.firebaserc` calls it."""

    id: str
    alias: str | None = None

    def __str__(self) -> str:
        return f"{self.id} ({self.alias})" if self.alias else self.id


@dataclass(frozen=True)
class Variable:
    """A line of a file. `problem` says why the Firebase CLI does not take it."""

    where: str
    name: str
    value: str
    problem: str | None = None


def projects() -> list[Project]:
    """Those of `.firebaserc`; a project with two names is there twice, as it has two files."""
    try:
        named = json.loads(Path(".firebaserc").read_text(encoding="utf-8"))["projects"]
        return [Project(str(project), alias) for alias, project in named.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def project_called(name: str) -> Project:
    """The project of an id or an alias."""
    known = projects()
    by_alias = (project for project in known if project.alias == name)
    by_id = (project for project in known if project.id == name)
    return next(by_alias, None) or next(by_id, None) or Project(name)


def files_for(project: Project | None) -> list[Path]:
    """The files that a deployment to the project reads, the last to be read wins."""
    names = [".env"]
    if project:
        names += [f".env.{name}" for name in dict.fromkeys((project.id, project.alias)) if name]
    return [Path(name) for name in names if Path(name).is_file()]


def read(files: Sequence[Path]) -> list[Variable]:
    """Every variable, in the order of the files."""
    return [
        variable
        for file in files
        for variable in parse(file.name, file.read_text(encoding="utf-8", errors="replace"))
    ]


def environment_of(variables: Sequence[Variable]) -> Mapping[str, str]:
    """What the variables give to a process."""
    return {each.name: each.value for each in variables if each.name}


def parse(file: str, text: str) -> Iterator[Variable]:
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    end = 0
    for found in LINE.finditer(text):
        yield from _not_variables(file, text, end, found.start())
        end = found.end()
        name = found[1]
        yield Variable(
            _line(file, text, found.start(1)), name, _value(found[2] or ""), refused(name)
        )
    yield from _not_variables(file, text, end, len(text))


def _value(text: str) -> str:
    text = text.strip()
    quoted = re.fullmatch(r"([\"'])(.*)\1", text, re.DOTALL)
    if not quoted:
        return text
    if quoted[1] == "'":
        return quoted[2]
    return re.sub(r"\\([nrtv\\'\"])", lambda escape: ESCAPES[escape[1]], quoted[2])


def refused(name: str) -> str | None:
    """Why the Firebase CLI does not take a variable of this name."""
    if name in RESERVED or name.startswith(RESERVED_PREFIXES):
        return f"{name} is a name that Firebase keeps for itself: call it something else"
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
        return f"{name} is not a name: capital letters, digits and _, no digit first"
    return None


def _not_variables(file: str, text: str, start: int, end: int) -> Iterator[Variable]:
    """What stands between variables and is no comment. It is not repeated: it may be a key."""
    for found in re.finditer(r"[^\n]+", text[start:end]):
        if found[0].strip() and not found[0].strip().startswith("#"):
            where = _line(file, text, start + found.start())
            yield Variable(where, "", "", "is not NAME=VALUE")


def _line(file: str, text: str, position: int) -> str:
    return f"{file}:{text.count(chr(10), 0, position) + 1}"
