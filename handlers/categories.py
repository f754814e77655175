"""The kinds of pushes that people switch on and off, from `categories.toml`.

A category is named by the `group_id` of its pushes. What a person chose is in `push_preferences` of
their profile; `handlers/people.py` respects it.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from batchpush import ConfigurationError, Schedule, is_blank, nearest_language, settings
from handlers.fields import A_SCHEDULE, schedule

FIELDS = ("required", "default", "digest", "words")
WORDS = ("name", "description")


@dataclass(frozen=True)
class Category:
    """`is_on` and `digest` are what holds for people who have not chosen.

    With a `digest`, people get one push for everything, at that time. `names` are by language.
    """

    is_required: bool = False
    is_on: bool = True
    digest: Schedule | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def name_in(self, language: str) -> str:
        """The name that a settings screen shows; empty for a category without a table."""
        languages = tuple(self.names)
        nearest = nearest_language(language, languages) or settings().default_language
        return self.names.get(nearest, "")


def read_categories(file: Path) -> dict[str, Category]:
    """The categories by name; raises `ConfigurationError` for the first mistake."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ConfigurationError(f"handlers/{file.name}: is not TOML: {error}") from None
    for name, table in tables.items():
        if problem := _problem(table):
            raise ConfigurationError(f"handlers/{file.name}: [{name}] {problem}")
    return {
        name: Category(
            is_required=table["required"],
            is_on=table["default"] == "on",
            digest=schedule(table.get("digest")),
            names={language: words["name"] for language, words in table["words"].items()},
        )
        for name, table in tables.items()
    }


def _problem(table: Any) -> str | None:
    if not isinstance(table, Mapping):
        return f"is not a table with {', '.join(FIELDS)}"
    if unknown := sorted(table.keys() - set(FIELDS)):
        return f"{unknown[0]}: is not one of {', '.join(FIELDS)}"
    if not isinstance(table.get("required"), bool):
        return "required: must be true or false"
    if table.get("default") not in ("on", "off"):
        return 'default: must be "on" or "off"'
    if table["required"] and table["default"] == "off":
        return 'default: must be "on", since it is required'
    if "digest" in table and (table["required"] or not schedule(table["digest"])):
        no_digest = "cannot be, since it is required"
        return f"digest: {no_digest if table['required'] else A_SCHEDULE}"
    return _problem_of_words(table.get("words"))


def _problem_of_words(words: Any) -> str | None:
    if not isinstance(words, Mapping):
        return "words: must be a table by language"
    for language, each in words.items():
        for part in WORDS:
            text = each.get(part) if isinstance(each, Mapping) else None
            if not isinstance(text, str) or is_blank(text):
                return f"words.{language}.{part}: is missing"
    return None


CATEGORIES: Mapping[str, Category] = read_categories(Path(__file__).with_name("categories.toml"))
UNLISTED = Category()


def category_of(group_id: str) -> Category:
    """Pushes without a table are on, and not required."""
    return CATEGORIES.get(group_id, UNLISTED)
