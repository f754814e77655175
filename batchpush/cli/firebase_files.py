"""Reads `firebase.json` and `.firebaserc` as the Firebase CLI reads them.

The CLI allows comments and byte order marks in their JSON.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# In UTF-16 without a byte order mark, every second byte of English text is 0.
UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Unreadable(Exception):
    """A file cannot be read; `where` is its name, with the line if known."""

    def __init__(self, where: str, says: str, fix: str = "") -> None:
        super().__init__(f"{where}: {says}")
        self.where, self.says, self.fix = where, says, fix


def text_of(file: Path) -> str:
    """The text as the CLI decodes it; raises `Unreadable` for UTF-16, which the CLI garbles."""
    data = file.read_bytes()
    if data.startswith(UTF_16_MARKS) or b"\0" in data:
        as_utf_8 = f"iconv -f UTF-16 -t UTF-8 {file} > {file}.utf8 && mv {file}.utf8 {file}"
        raise Unreadable(str(file), "is UTF-16: save it as UTF-8", as_utf_8)
    return data.decode("utf-8", errors="replace")


def parse(name: str, text: str) -> Any:
    """Raises `Unreadable` with the line of the syntax error."""
    # The CLI removes all byte order marks before it looks for comments.
    plain = [(position, char) for position, char in enumerate(text) if char != "\ufeff"]
    left = _without_comments("".join(char for _, char in plain))
    kept = [(plain[index][0], char) for index, char in left]
    try:
        return json.loads("".join(char for _, char in kept), parse_constant=_refuse)
    except json.JSONDecodeError as error:
        position = kept[error.pos][0] if error.pos < len(kept) else len(text.rstrip())
        line = text.count("\n", 0, position) + 1
        raise Unreadable(f"{name}:{line}", f"is not JSON: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise Unreadable(name, f"is not JSON: {error}") from None


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number")


def _without_comments(text: str) -> list[tuple[int, str]]:
    """The remaining characters with their positions; follows `decomment` of cjson 0.5."""
    kept: list[tuple[int, str]] = []
    in_string, comment, position = False, "", 0
    while position < len(text):
        char, pair = text[position], text[position : position + 2]
        if not comment and char == '"' and text[position - 1 : position] != "\\":
            in_string = not in_string
        if in_string:
            kept.append((position, char))
        elif comment == "//" and char == "\n":
            comment = ""
            kept.append((position, char))
        elif comment == "/*" and pair == "*/":
            comment = ""
            position += 1
        elif not comment and pair in ("//", "/*"):
            comment = pair
            position += 1
        elif not comment:
            kept.append((position, char))
        position += 1
    return kept


def root() -> Path:
    """The folder of `firebase.json`, relative to this one: the nearest here or above that has it.

    In a monorepo it is above, and its "source" leads here.
    """
    found = root_of(Path.cwd())
    return Path(os.path.relpath(found)) if found else Path()


def root_of(folder: Path) -> Path | None:
    """The same for another folder, which may not exist yet; None if there is no `firebase.json`."""
    folder = folder.resolve()
    around = (each for each in (folder, *folder.parents) if (each / "firebase.json").is_file())
    return next(around, None)


def codebases(config: Any, root: Path = Path(), folder: Path | None = None) -> list[dict[str, Any]]:
    """The entries of "functions" that deploy the folder; raises `LookupError` if none does.

    `root` is the folder of `firebase.json`, and what is deployed unless `folder` says otherwise.
    """
    ours = [each for each in all_codebases(config) if _deploys(each, root, folder or root)]
    if not ours:
        raise LookupError
    return ours


def all_codebases(config: Any) -> list[dict[str, Any]]:
    """The entries of "functions"; raises `LookupError` if there is no such key."""
    functions = config["functions"] if isinstance(config, dict) else None
    entries = functions if isinstance(functions, list) else [functions]
    return [each for each in entries if isinstance(each, dict)]


def config_here() -> Any:
    """The `firebase.json` of this folder; raises `OSError` or `Unreadable`."""
    file = root() / "firebase.json"
    return parse(str(file), text_of(file))


def codebases_here() -> list[dict[str, Any]]:
    """The entries that deploy this folder; raises `OSError`, `Unreadable` or `LookupError`."""
    return codebases(config_here(), root(), Path())


def _deploys(entry: Mapping[str, Any], root: Path, folder: Path) -> bool:
    source = entry.get("source")
    if not isinstance(source, str) or not source:
        return False
    return (root / source).resolve() == folder.resolve()


def named_file(config: Any, product: str, kind: str) -> str | None:
    """The file that `firebase.json` names, such as the "indexes" of "firestore"."""
    found = config.get(product) if isinstance(config, Mapping) else None
    entries = found if isinstance(found, list) else [found]
    names = (each.get(kind) for each in entries if isinstance(each, Mapping))
    return next((name for name in names if isinstance(name, str)), None)


def active_project() -> str | None:
    """The id or alias that `firebase use` chose for this folder or one above it."""
    settings = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    try:
        stored = json.loads(
            (Path(settings) / "configstore/firebase-tools.json").read_text(encoding="utf-8")
        )
        chosen = stored["activeProjects"]
        here = Path.cwd()
        return next(
            (str(chosen[str(at)]) for at in (here, *here.parents) if str(at) in chosen), None
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
