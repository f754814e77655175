"""Checks that people can switch off each kind of push, in words of every language.

What is wrong in the file itself is found by the import of `main.py`.
"""

import ast
import tomllib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from batchpush.cli.check.findings import Finding, line_of, ok, warning

FILE = "handlers/categories.toml"


def categories(
    toml: str | None, languages: Collection[str], sources: Mapping[str, str]
) -> Iterator[Finding]:
    """`sources` are the texts of the handlers, by file."""
    try:
        tables = tomllib.loads(toml or "")
    except tomllib.TOMLDecodeError:
        return
    found = [*_without_words(tables, toml or "", languages), *_without_category(tables, sources)]
    yield from found
    if tables and not found:
        yield ok(f"{len(tables)} categories, in {', '.join(sorted(languages))}", FILE)


def _without_words(
    tables: Mapping[str, Any], toml: str, languages: Collection[str]
) -> Iterator[Finding]:
    for name, table in tables.items():
        words = table.get("words") if isinstance(table, Mapping) else None
        known = words if isinstance(words, Mapping) else {}
        if missing := sorted(set(languages) - known.keys()):
            says = f"{name}: a settings screen has no words in {', '.join(missing)}"
            yield warning(says, line_of(FILE, toml, f"[{name}]"))


def _without_category(tables: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[Finding]:
    for file, source in sources.items():
        for group_id, line in group_ids(source).items():
            if group_id not in tables:
                says = f"group_id {group_id} is not in {FILE}: no settings screen can offer it"
                yield warning(says, f"{file}:{line}")


def group_ids(source: str) -> dict[str, int]:
    """Each `group_id="..."` that is passed to something, with its line."""
    try:
        nodes = ast.walk(ast.parse(source))
    except SyntaxError:
        return {}
    return {
        keyword.value.value: keyword.value.lineno
        for node in nodes
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "group_id"
        and isinstance(keyword.value, ast.Constant)
        and isinstance(keyword.value.value, str)
    }
