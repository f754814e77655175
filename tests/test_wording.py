import re
from pathlib import Path

import pytest

from batchpush.pushes.wording import Text, plural_problems, wording

GREETING = 'title = "Hello"\nbody = "{sender} is here"\n'
DEFAULT = wording(f"[greeting]\n{GREETING}").texts


def test_the_texts_of_a_file() -> None:
    assert dict(DEFAULT) == {"greeting": Text({"other": "Hello"}, {"other": "{sender} is here"})}


FORMS = 'title = "Hello"\nplural = "n"\nbody.one = "{n} word"\nbody.other = "{n} words"\n'
COUNTING = wording(f"[greeting]\n{FORMS}").texts


def test_a_text_that_counts_has_a_form_per_category() -> None:
    forms = {"one": "{n} word", "other": "{n} words"}
    assert dict(COUNTING) == {"greeting": Text({"other": "Hello"}, forms, plural="n")}
    inline = FORMS.replace("body.one =", "body = { one =").replace("\nbody.other", ", other")
    assert wording(f"[greeting]\n{inline.strip()} }}").texts == COUNTING


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (FORMS.replace('"n"', "5"), "plural is not the name of a value in the text"),
        (FORMS.replace('"n"', '"m"'), "plural is not the name of a value in the text"),
        (FORMS.replace('plural = "n"\n', ""), "has several forms, and no plural that names"),
        (FORMS.replace("body.one", "body.1"), "body.1 is not one of zero, one, two, few, many"),
        (FORMS.replace("body.other", "body.two"), "body has no other"),
        (FORMS.replace('"{n} word"', '" "'), "has no body.one"),
        (FORMS.replace('"{n} word"', '"{n"'), "body.one: expected '}'"),
        (FORMS.replace("plural", "plurals"), "plurals is not one of title, body, plural"),
        ('title = "{n}"\nbody = {}', "body has no other"),
        ('title = "{n}"\nbody = []', "has no body"),
        ('title = "{n}"\nbody = "{n}"\nplural = ["n"]', "plural is not the name of a value"),
    ],
)
def test_a_mistake_in_the_forms_is_named(text: str, problem: str) -> None:
    assert wording(f"[greeting]\n{text}").problems["greeting"].startswith(problem)


@pytest.mark.parametrize(
    ("text", "default", "problem"),
    [
        (FORMS, DEFAULT, "body: the default language has no {n}"),
        (
            FORMS.replace('plural = "n"', 'plural = "m"'),
            COUNTING,
            "plural: the default language cou",
        ),
        (GREETING + 'plural = "sender"', DEFAULT, "plural: the default language counts nothing"),
        (
            FORMS.replace('plural = "n"', "plural = 5"),
            COUNTING,
            "plural is not the name of a value",
        ),
    ],
)
def test_a_text_counts_what_the_default_language_counts(
    text: str, default: dict[str, Text], problem: str
) -> None:
    assert wording(f"[greeting]\n{text}", default).problems["greeting"].startswith(problem)


@pytest.mark.parametrize(
    ("language", "forms", "problems"),
    [
        ("en", {"one", "other"}, []),
        ("en", {"other"}, ["body has no one"]),
        ("pl", {"one", "few", "many", "other"}, []),
        ("pl", {"one", "other"}, ["body has no few, many"]),
        ("ar", {"zero", "one", "two", "few", "many", "other"}, []),
        ("ar", {"one", "two", "other"}, ["body has no zero, few, many"]),
        ("ja", {"other"}, []),
        ("ja", {"one", "other"}, ["body has one, which no whole number needs"]),
        (
            "fr",
            {"one", "two", "other"},
            ["body has no many", "body has two, which no whole number"],
        ),
        ("klingon", {"other"}, []),
    ],
)
def test_a_language_needs_the_forms_of_its_whole_numbers(
    language: str, forms: set[str], problems: list[str]
) -> None:
    default = COUNTING["greeting"]
    text = Text({"other": "Hello"}, dict.fromkeys(forms, "{n}"), plural="n")
    found = list(plural_problems(text, default, language))
    assert len(found) == len(problems)
    assert all(each.startswith(start) for each, start in zip(found, problems, strict=True))


def test_a_text_that_does_not_say_the_number_needs_no_forms() -> None:
    text = Text({"other": "Hello"}, {"other": "Words"}, plural="n")
    assert list(plural_problems(text, COUNTING["greeting"], "pl")) == []


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
    read = wording(file.read_bytes(), default)
    assert read.problems == {}
    for key, text in read.texts.items():
        assert list(plural_problems(text, default[key], file.stem)) == [], key
