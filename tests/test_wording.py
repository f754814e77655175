import re
from pathlib import Path

import pytest

from batchpush.pushes.wording import wording

GREETING = 'title = "Hello"\nbody = "{sender} is here"\n'
DEFAULT = wording(f"[greeting]\n{GREETING}").texts


def test_the_texts_of_a_file() -> None:
    assert DEFAULT == {"greeting": {"title": "Hello", "body": "{sender} is here"}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('title = "Hello"\nbody = "{sender is here"', "body: expected '}' before end of string"),
        ('title = "Hello"\nbody = "sender} is here"', "body: Single '}' encountered"),
        ('title = "{}"\nbody = "Hello"', "title: {} is not the name of a value"),
        ('title = "{0}"\nbody = "Hello"', "title: {0} is not the name of a value"),
        ('title = "Hello"\nbody = "{sender.name}"', "body: {sender.name} is not the name of a"),
        ('title = "Hello"\nbody = "{sender!r}"', "body: {sender} is not the name of a value"),
        ('title = "Hello"\nbody = "{sender:>9}"', "body: {sender} is not the name of a value"),
        ('title = "Hello"\nbody = "{absender}"', "body: the default language has no {absender}"),
        ('title = "Hello"', "has no body"),
        ('body = "Hello"', "has no title"),
        ('title = "\\u200b"\nbody = "Hello"', "has no title"),
        ('title = 5\nbody = "Hello"', "has no title"),
    ],
)
def test_a_broken_text_is_left_out_with_what_is_wrong_and_the_others_stay(
    text: str, problem: str
) -> None:
    read = wording(f"[greeting]\n{text}\n[other]\n{GREETING}", DEFAULT)
    assert list(read.texts) == ["other"]
    assert list(read.problems) == ["greeting"]
    assert read.problems["greeting"].startswith(problem)


@pytest.mark.parametrize(
    ("file", "problem"),
    [
        (b"greeting\n", "is not TOML: .*line 1"),
        ("[é]".encode("latin-1"), "is not UTF-8"),
    ],
)
def test_a_broken_file_says_nothing(file: bytes, problem: str) -> None:
    read = wording(file, DEFAULT)
    assert read.texts == {}
    assert re.match(problem, read.problems[""])


def test_a_text_that_is_no_table_is_one_that_is_broken() -> None:
    assert wording("greeting = 5").problems == {
        "greeting": "is not a table with a title and a body"
    }


def test_a_byte_order_mark_is_no_mistake() -> None:
    assert wording(b"\xef\xbb\xbf[greeting]\n" + GREETING.encode()).texts == DEFAULT


@pytest.mark.parametrize("file", sorted(Path("handlers/texts").glob("*.toml")), ids=str)
def test_there_is_nothing_wrong_with_ours(file: Path) -> None:
    default = wording(Path("handlers/texts/en.toml").read_bytes()).texts
    assert wording(file.read_bytes(), default).problems == {}
