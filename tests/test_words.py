"""The words that `make lint` keeps out of pages, help and messages."""

from pathlib import Path
from typing import Any

import pytest
import regex
import yaml

from local.pages.__main__ import texts_in

RULES: list[dict[str, str]] = yaml.safe_load(
    Path("local/pages/words.yml").read_text(encoding="utf-8")
)["rules"]


def pattern_of(rule: dict[str, str]) -> Any:
    """As textlint reads it."""
    _, pattern, flags = rule["pattern"].rsplit("/", 2)
    return regex.compile(pattern, regex.IGNORECASE if "i" in flags else 0)


def said_instead(text: str) -> list[str]:
    return [rule["expected"] for rule in RULES if pattern_of(rule).search(text)]


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("You need leave to read Firestore", "permission"),
        ("The account has no leave", "permission"),
        ("A stand-in of Batch answers", "emulator"),
        ("Says all that is wrong, in the order to mend it", "fix"),
        ("The event comes again", "delivered again"),
        ("It is taken up by the sweep", "reclaim"),
        ("Calls of Batch are judged", "request"),
        ("The push is put off", "defer"),
        ("At most three tries", "attempts"),
        ("The write was outrun", "write conflict"),
        ("The key is read anew", "again"),
        ("That id is no user", "is not a"),
        ("Retry-After is honoured", "respect"),
    ],
)
def test_what_a_native_writer_would_not_say_is_found(text: str, instead: str) -> None:
    assert instead in said_instead(text)


@pytest.mark.parametrize(
    "text",
    [
        "You need permission to read and write Firestore",
        "People join where they are invited, and leave",
        "This version leaves it as it is",
        "There is no delivery, and it is no longer there",
        "Batch accepts each request at most twice",
    ],
)
def test_plain_english_is_left_alone(text: str) -> None:
    assert said_instead(text) == []


def test_a_text_of_the_code_is_looked_at_on_its_own_line_and_a_name_is_not() -> None:
    code = (
        '"""A module."""\n\nNAME = "came_again"\n\n\ndef f(x):\n    return f"it {x} comes again"\n'
    )
    lines = texts_in(code).splitlines()
    assert lines[0].strip() == "A module."
    assert [number for number, line in enumerate(lines) if line.strip()] == [0, 6]
    assert "comes again" in lines[6]
