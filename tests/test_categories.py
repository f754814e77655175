import json
import re
import shlex
import subprocess
import sys
import tomllib
from datetime import time
from pathlib import Path
from typing import Any

import pytest

from batchpush import ConfigurationError, Schedule
from handlers.categories import CATEGORIES, Category, read_categories
from handlers.texts import TEXTS

FILE = Path("handlers/categories.toml")
TABLES: dict[str, Any] = tomllib.loads(FILE.read_text(encoding="utf-8"))
TABLE = """\
[chess]
required = false
default = "off"
words.en = { name = "Chess", description = "What happens in your games" }
"""


def read(tmp_path: Path, toml: str | bytes) -> dict[str, Category]:
    file = tmp_path / "categories.toml"
    file.write_bytes(toml.encode() if isinstance(toml, str) else toml)
    return read_categories(file)


def test_a_category_is_required_or_not_and_on_or_off(tmp_path: Path) -> None:
    lost = TABLE.replace("chess", "lost").replace("false", "true").replace("off", "on")
    assert read(tmp_path, TABLE + lost) == {
        "chess": Category(is_required=False, is_on=False, names={"en": "Chess"}),
        "lost": Category(is_required=True, is_on=True, names={"en": "Chess"}),
    }


def test_a_category_may_be_a_digest(tmp_path: Path) -> None:
    weekly = TABLE.replace("words", 'digest = "Friday 18:00"\nwords')
    assert read(tmp_path, weekly)["chess"].digest == Schedule(time(18), 4)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[chess]", "[chess", "is not TOML: .*line 1"),
        (TABLE, "chess = true", r"\[chess\] is not a table with required, default, digest, words"),
        ("required = false", "", r"\[chess\] required: must be true or false"),
        ("false", '"no"', r"\[chess\] required: must be true or false"),
        ("false", "0", r"\[chess\] required: must be true or false"),
        ('default = "off"', "", r'\[chess\] default: must be "on" or "off"'),
        ('"off"', "false", r'\[chess\] default: must be "on" or "off"'),
        ('"off"', "[]", r'\[chess\] default: must be "on" or "off"'),
        ("false", "true", r'\[chess\] default: must be "on", since it is required'),
        ("words", 'digest = "6 PM"\nwords', r"\[chess\] digest: must be a time of day such as"),
        (
            TABLE,
            TABLE.replace("false", "true").replace('"off"', '"on"\ndigest = "18:00"'),
            r"\[chess\] digest: cannot be, since it is required",
        ),
        ("required", "needed", r"\[chess\] needed: is not one of required, default, digest, words"),
        ("words.en", "words", r"\[chess\] words.name.name: is missing"),
        ("words.en", "[more]\nwords.en", r"\[chess\] words: must be a table by language"),
        ("name =", "title =", r"\[chess\] words.en.name: is missing"),
        ('"Chess"', "5", r"\[chess\] words.en.name: is missing"),
        ('"What happens in your games"', '" "', r"\[chess\] words.en.description: is missing"),
    ],
)
def test_a_mistake_stops_the_deployment_and_names_the_table_and_the_field(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^handlers/categories.toml: {said}"):
        read(tmp_path, TABLE.replace(old, new))


def test_what_is_not_utf_8_is_said_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not TOML: 'utf-8' codec"):
        read(tmp_path, TABLE.replace("Chess", "Échecs").encode("latin-1"))


@pytest.mark.parametrize("category", TABLES)
def test_each_of_ours_has_its_words_in_every_language(category: str) -> None:
    words = TABLES[category]["words"]
    assert words.keys() == TEXTS.keys()
    assert all(set(each) == {"name", "description"} for each in words.values())
    assert len({each["name"] for each in words.values()}) > 1


@pytest.mark.parametrize("language", TEXTS)
def test_no_two_categories_have_the_same_name_on_a_screen(language: str) -> None:
    names = [table["words"][language]["name"] for table in TABLES.values()]
    assert len(set(names)) == len(names)


def test_both_rules_files_have_the_names_of_the_categories() -> None:
    rules = Path("firestore.rules").read_text(encoding="utf-8")
    (listed,) = re.findall(r"function categories\(\) \{\s*return \[([^\]]*)\]", rules)
    assert re.findall(r"'(\w+)'", listed) == list(CATEGORIES)
    database = json.loads(Path("database.rules.json").read_text(encoding="utf-8"))["rules"]
    fields = database["users"]["$user_id"]["push_preferences"].keys()
    assert fields == {".write", ".validate", "$other", *CATEGORIES}


def test_the_command_of_the_page_makes_json_for_an_app() -> None:
    page = Path("docs/preferences.md").read_text(encoding="utf-8")
    (said,) = re.findall(r"(-c '.*') \\\n  < handlers/categories.toml > categories.json", page)
    command = [sys.executable, *shlex.split(said)]
    with FILE.open("rb") as file:
        made = subprocess.run(command, stdin=file, stdout=subprocess.PIPE, check=True).stdout
    assert json.loads(made) == TABLES
