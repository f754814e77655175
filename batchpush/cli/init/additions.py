"""What a file of the user's has to get, so that batchpush works beside what it holds. Pure.

Each function returns the missing parts by the key that they belong under; nothing if all is there.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from batchpush.cli.check.packages import normalized, requirements_in
from batchpush.cli.firebase_files import Unreadable, codebases, named_file, parse
from batchpush.cli.version import VERSION

Additions = Mapping[str, Any]
MATCH = re.compile(r"\bmatch\s+(/\S+)\s*\{")
WILDCARD = re.compile(r"\{\w+(=\*\*)?\}")
DATABASES = "/databases/"  # what all other paths are below
COMMENT = re.compile(r"//.*")


def to_firebase(config: Any, template: Mapping[str, Any], root: Path, folder: Path) -> Additions:
    """The codebase of the folder, or what it uploads, and the file of the indexes."""
    missing: dict[str, Any] = {}
    ours = template["functions"]
    try:
        entry, *_ = codebases(config, root, folder)
        if not entry.get("ignore"):
            missing["functions"] = {key: ours[key] for key in ("source", "ignore")}
    except (LookupError, TypeError):
        missing["functions"] = ours
    if not named_file(config, "firestore", "indexes"):
        missing["firestore"] = template["firestore"]
    return missing


def to_indexes(theirs: Any, template: Mapping[str, Any]) -> Additions:
    """The indexes and the overrides that the template has and theirs does not."""
    having = theirs if isinstance(theirs, Mapping) else {}
    missing = {
        key: [each for each in wanted if each not in (having.get(key) or ())]
        for key, wanted in template.items()
    }
    return {key: each for key, each in missing.items() if each}


def to_firestore_rules(theirs: str, template: str) -> Additions:
    """The paths that only the template has rules for."""
    having = _matches(theirs)
    missing = [path for form, path in _matches(template).items() if form not in having]
    return {"match": missing} if missing else {}


def _matches(rules: str) -> dict[str, str]:
    """The paths of the rules by their form, to which the names of wildcards do not matter."""
    paths = MATCH.findall(COMMENT.sub("", rules))
    return {WILDCARD.sub(r"{\1}", path): path for path in paths if not path.startswith(DATABASES)}


def to_database_rules(theirs: str, template: str) -> Additions:
    """The paths that only the template has rules for; none if theirs cannot be read."""
    with suppress(Unreadable):
        rules = parse("", theirs)["rules"]
        missing = [each for each in parse("", template)["rules"] if each not in rules]
        return {"rules": missing} if missing else {}
    return {}


def to_requirements(theirs: str, template: str) -> Additions:
    """The packages that are not named, and batchpush if it is another version."""
    having = _entries(theirs)
    missing = [
        line
        for name, line in _entries(template).items()
        if name not in having or (name == "batchpush" and VERSION not in having[name])
    ]
    return {"requirements": missing} if missing else {}


def _entries(text: str) -> dict[str, str]:
    """The first line of each entry, by the name of its package."""
    lines = text.splitlines()
    return {normalized(each.name): lines[each.line - 1] for each in requirements_in(text)}
