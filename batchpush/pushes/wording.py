"""Reads and checks the texts of a language. Pure.

A file is TOML with a table per text: a `title` and a `body`, where `{name}` stands for a value.
"""

import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from batchpush.documents import is_blank

PARTS = ("title", "body")

Text = Mapping[str, str]


@dataclass(frozen=True)
class Wording:
    """The usable texts of a language.

    `problems` has the problem of each other text by name, and under "" that of the whole file.
    """

    texts: dict[str, Text] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def wording(toml: str | bytes, default: Mapping[str, Text] | None = None) -> Wording:
    """Read the texts of a file; `default` are those of the default language.

    A text must not use a value that the default language's text does not use.
    """
    try:
        text = toml.decode("utf-8-sig") if isinstance(toml, bytes) else toml
        tables = tomllib.loads(text)
    except UnicodeDecodeError:
        return Wording(problems={"": "is not UTF-8"})
    except tomllib.TOMLDecodeError as error:
        return Wording(problems={"": f"is not TOML: {error}"})
    read = Wording()
    for key, table in tables.items():
        if problem := _problem(table, (default or {}).get(key)):
            read.problems[key] = problem
        else:
            read.texts[key] = {part: table[part] for part in PARTS}
    return read


def _problem(table: Any, default: Text | None) -> str | None:
    if not isinstance(table, Mapping):
        return "is not a table with a title and a body"
    for part in PARTS:
        text = table.get(part)
        if not isinstance(text, str) or is_blank(text):
            return f"has no {part}"
        try:
            values = placeholders(text)
        except ValueError as error:
            return f"{part}: {error}"
        if default is not None and (unknown := sorted(values - values_of(default))):
            return f"{part}: the default language has no {{{unknown[0]}}}"
    return None


def values_of(text: Text) -> set[str]:
    """The names of the values that a text uses."""
    return {name for part in PARTS for name in placeholders(text[part])}


def placeholders(text: str) -> set[str]:
    """The names of the `{...}`; raises ValueError for an invalid brace or name."""
    names = set()
    for _, name, spec, conversion in string.Formatter().parse(text):
        if name is None:
            continue
        if not name.isidentifier() or spec or conversion:
            raise ValueError(f"{{{name}}} is not the name of a value")
        names.add(name)
    return names
