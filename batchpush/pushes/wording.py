"""Reads and checks the texts of a language. Pure.

A file is TOML with a table per text: a `title` and a `body`, where `{name}` stands for a value. A
text that counts something names that value as `plural`, and has a form per CLDR category:

    [new_messages]
    title = "{sender}"
    plural = "count"
    body.one = "{count} new message"
    body.other = "{count} new messages"
"""

import string
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from batchpush.documents import Reference, is_blank
from batchpush.pushes.plurals import CATEGORIES, OTHER, categories

PARTS = ("title", "body")
PLURAL = "plural"
KEYS = (*PARTS, PLURAL)
MAX_LENGTH = 4_000  # characters of a form: far more than a phone shows

Forms = Mapping[str, str]  # by category; a part that does not depend on a number has only `other`


@dataclass(frozen=True)
class Text:
    """`plural` is the value whose number chooses the forms."""

    title: Forms
    body: Forms
    plural: str | None = None

    @property
    def parts(self) -> dict[str, Forms]:
        return {"title": self.title, "body": self.body}

    @property
    def values(self) -> set[str]:
        """The names of the values that any form uses."""
        return set().union(*map(_values, self.parts.values()))


@dataclass(frozen=True)
class Wording:
    """The usable texts of a language.

    `problems` has the problem of each other text by name, and under "" that of the whole file.
    """

    texts: dict[str, Text] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def wording(toml: str | bytes, default: Mapping[str, Text] | None = None) -> Wording:
    """Read the texts of a file; `default` are those of the default language."""
    try:
        text = toml.decode("utf-8-sig") if isinstance(toml, bytes) else toml
        tables = tomllib.loads(text)
    except UnicodeDecodeError:
        return Wording(problems={"": "is not UTF-8"})
    except tomllib.TOMLDecodeError as error:
        return Wording(problems={"": f"is not TOML: {error}"})
    read = Wording()
    for key, table in tables.items():
        try:
            read.texts[key] = text_of(table, (default or {}).get(key))
        except ValueError as problem:
            read.problems[key] = str(problem)
    return read


def text_of(table: Any, default: Text | None = None) -> Text:
    """The text in a table; raises ValueError with what is wrong.

    It must not use or count a value that the default language's text does not use or count.
    """
    if not isinstance(table, Mapping):
        raise ValueError("is not a table with a title and a body")
    if unknown := sorted(map(str, table.keys() - {*KEYS})):
        raise ValueError(f"{unknown[0]} is not one of {', '.join(KEYS)}")
    title, body = (_forms(part, table.get(part)) for part in PARTS)
    text = Text(title, body, table.get(PLURAL))
    if default is not None and (strange := sorted(text.values - default.values)):
        part = "title" if strange[0] in _values(title) else "body"
        raise ValueError(f"{part}: the default language has no {{{strange[0]}}}")
    _check_plural(text, default)
    return text


def _forms(part: str, found: Any) -> Forms:
    forms = found if isinstance(found, Mapping) else {OTHER: found}
    if unknown := sorted(map(str, forms.keys() - {*CATEGORIES})):
        raise ValueError(f"{part}.{unknown[0]} is not one of {', '.join(CATEGORIES)}")
    if OTHER not in forms:
        raise ValueError(f"{part} has no {OTHER}")
    for category, text in forms.items():
        name = f"{part}.{category}" if forms is found else part
        if not isinstance(text, str) or isinstance(text, Reference) or is_blank(text):
            raise ValueError(f"has no {name}")
        if len(text) > MAX_LENGTH:
            raise ValueError(f"{name} is longer than {MAX_LENGTH} characters")
        try:
            placeholders(text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return dict(forms)


def _check_plural(text: Text, default: Text | None) -> None:
    if text.plural is None:
        if any(len(forms) > 1 for forms in text.parts.values()):
            raise ValueError("has several forms, and no plural that names the value they depend on")
    elif not isinstance(text.plural, str) or (default is None and text.plural not in text.values):
        raise ValueError("plural is not the name of a value in the text")
    elif default is not None and text.plural != default.plural:
        counts = f"counts {{{default.plural}}}" if default.plural else "counts nothing"
        raise ValueError(f"plural: the default language {counts}")


def plural_problems(text: Text, default: Text, language: str) -> Iterator[str]:
    """The plural forms that whole numbers need in the language and the text lacks, or the reverse.

    None of them keeps a push from being sent: `other` is said instead.
    """
    if text.plural is None and default.plural in text.values:
        yield f'has no plural = "{default.plural}"'
    for part, forms in text.parts.items():
        if len(forms) == 1 and text.plural not in _values(forms):
            continue
        needed = categories(language)
        if missing := [each for each in CATEGORIES if each in needed - forms.keys()]:
            yield f"{part} has no {', '.join(missing)}"
        if needless := [each for each in CATEGORIES if each in forms.keys() - needed - {OTHER}]:
            yield f"{part} has {', '.join(needless)}, which no whole number needs"


def _values(forms: Forms) -> set[str]:
    return set().union(*map(placeholders, forms.values()))


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
