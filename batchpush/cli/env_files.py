"""Reads the `.env` files as the Firebase CLI reads them for a deployment.

`.env` comes first, then the project's own file: `.env.PROJECT` or `.env.ALIAS`, where an alias is a
name that `firebase use --add` gave the project in `.firebaserc`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from batchpush.cli.firebase_files import (
    Unreadable,
    active_project,
    codebases_here,
    root,
    text_of,
)
from batchpush.cli.firebase_files import parse as parse_json

# As in firebase-tools 15, src/functions/env.ts. JavaScript treats more characters as spaces or line
# ends than Python does, including the byte order mark.
SPACES = (
    "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009"
    "\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
)
START, END = r"(?:\A|(?<=[\n\r\u2028\u2029]))", r"(?=[\n\r\u2028\u2029]|\Z)"
LINE = re.compile(
    rf"{START}[{SPACES}]*(?:export)?[{SPACES}]*([\w./]+)[{SPACES}]*=[\f\t\v]*"
    rf"([{SPACES}]*'(?:\\'|[^'])*'|[{SPACES}]*\"(?:\\\"|[^\"])*\"|[^#\r\n]*)?"
    rf"[{SPACES}]*(?:#[^\n]*)?{END}",
    re.ASCII,
)
LINE_END = re.compile(r"\r\n|\r|\n")
QUOTED = re.compile(rf"{START}([\"'])(.*)\1{END}", re.DOTALL)
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\", "'": "'", '"': '"'}
ESCAPED = {char: f"\\{letter}" for letter, char in ESCAPES.items()}
RESERVED_PREFIXES = ("X_GOOGLE_", "FIREBASE_", "EXT_", "KIT_")
TAKEN_PREFIXES = ("FIREBASE_SECRET_REF_", "EXT_MIGRATED_SYSTEM_")  # with something after them
RESERVED = frozenset(
    {
        "CLOUD_RUNTIME_CONFIG",
        "ENTRY_POINT",
        "EVENTARC_CLOUD_EVENT_SOURCE",
        "FIREBASE_CONFIG",
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
    """A Google Cloud project and its name in `.firebaserc`."""

    id: str
    alias: str | None = None

    def __str__(self) -> str:
        return f"{self.id} ({self.alias})" if self.alias else self.id


@dataclass(frozen=True)
class Variable:
    """A line of a file.

    `problem` says why the Firebase CLI rejects it; `fix` is a command that corrects it. An
    unreadable file is one `Variable` without a name, with `is_whole_file`.
    """

    where: str
    name: str
    value: str
    problem: str | None = None
    fix: str = ""
    is_whole_file: bool = False


def projects() -> list[Project]:
    """The projects of `.firebaserc`; one with two aliases appears twice, as it has two files."""
    try:
        named = parse_json(".firebaserc", text_of(root() / ".firebaserc"))["projects"]
        return [Project(str(project), alias) for alias, project in named.items()]
    except (OSError, Unreadable, LookupError, TypeError, AttributeError):
        return []  # like the CLI, which also warns


def project_called(name: str) -> Project:
    """The project with this id or alias."""
    known = projects()
    by_alias = (project for project in known if project.alias == name)
    by_id = (project for project in known if project.id == name)
    return next(by_alias, None) or next(by_id, None) or Project(name)


def deployed_to() -> Project | None:
    """The project that `firebase deploy` uses by default; no variable names it."""
    known = projects()
    if active := active_project():
        return next((each for each in known if each.alias == active), Project(active))
    if len(known) == 1:
        return known[0]
    return next((each for each in known if each.alias == "default"), None)


def files_for(project: Project | None) -> list[Path]:
    """The files that a deployment to the project reads; later ones win."""
    names = [".env"]
    if project:
        names += [f".env.{name}" for name in dict.fromkeys((project.id, project.alias)) if name]
    folder = _config_dir()
    return [folder / name for name in names if (folder / name).is_file()]


def _config_dir() -> Path:
    """The folder of the files: "configDir" of `firebase.json`, or else this folder."""
    try:
        chosen = codebases_here()[0].get("configDir")
        return root() / chosen if chosen else Path(".")
    except (OSError, Unreadable, LookupError, TypeError):
        return Path(".")


def read(files: Sequence[Path]) -> list[Variable]:
    """Every variable, in order of the files."""
    return [variable for file in files for variable in _variables_of(file)]


def _variables_of(file: Path) -> Iterator[Variable]:
    try:
        yield from parse(str(file), text_of(file))
    except Unreadable as why:
        yield Variable(why.where, "", "", why.says, why.fix, is_whole_file=True)


def environment_of(variables: Sequence[Variable]) -> Mapping[str, str]:
    """The environment that a process gets from the variables."""
    return {each.name: each.value for each in variables if each.name}


def text_with(environment: Mapping[str, str]) -> str:
    """The text of a `.env` file with these variables."""
    return "".join(f'{name}="{_escaped(value)}"\n' for name, value in environment.items())


def _escaped(value: str) -> str:
    return "".join(ESCAPED.get(char, char) for char in value)


def parse(file: str, text: str) -> Iterator[Variable]:
    text = re.sub(r"\r\n?", "\n", text, count=1)  # only the first, like the CLI
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
    text = text.strip(SPACES)
    quoted = QUOTED.search(text)
    if not quoted:
        return text
    if quoted[1] == "'":
        return quoted[2]
    return re.sub(r"\\([nrtv\\'\"])", lambda escape: ESCAPES[escape[1]], quoted[2])


def refused(name: str) -> str | None:
    """Why the Firebase CLI rejects a variable with this name; None if it does not."""
    if name in RESERVED or (name.startswith(RESERVED_PREFIXES) and not _is_taken(name)):
        return f"{name} is a name reserved by Firebase: rename it"
    if not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
        return f"{name} is not a valid name: use capital letters, digits and _, no digit first"
    return None


def _is_taken(name: str) -> bool:
    with_suffix = name.startswith(TAKEN_PREFIXES) and name not in TAKEN_PREFIXES
    return with_suffix or name == "EXT_SELECTED_EVENTS"


def _not_variables(file: str, text: str, start: int, end: int) -> Iterator[Variable]:
    """Lines that are neither variables nor comments; not repeated, since one may be a key."""
    for found in re.finditer(r"[^\r\n]+", text[start:end]):
        line = found[0].strip(SPACES)
        if line and not line.startswith("#"):
            where = _line(file, text, start + found.start())
            yield Variable(where, "", "", "is not NAME=VALUE")


def _line(file: str, text: str, position: int) -> str:
    return f"{file}:{len(LINE_END.findall(text[:position])) + 1}"
