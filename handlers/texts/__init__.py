"""The wording, one file per language, named by its BCP 47 code (`fr.toml`, `pt-BR.toml`).

A file has a table per text, with a `title` and a `body`; `{name}` stands for a value. A text that
counts something has a form for each plural category of its language: see `[new_messages]`.
"""

import functools
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any

from batchpush import (
    ConfigurationError,
    Document,
    Message,
    Text,
    Wording,
    log,
    nearest_language,
    plural_category,
    plural_problems,
    push_texts,
    settings,
    text_of,
    warn_of_field,
    wording,
)

TITLE = 65  # characters: what a locked phone shows of a title
BODY = 240  # characters: what it shows of a text that is not opened
BYTES = 2_000  # of one text: Apple takes 4 KB for the whole push
ELLIPSIS = "…"


def read_texts(folder: Path, default_language: str) -> dict[str, Wording]:
    """The texts of each language; raises `ConfigurationError` where the default one has a mistake.

    Another language says what is broken in it as the default one does.
    """
    file = folder / f"{default_language}.toml"
    if not file.exists():
        raise ConfigurationError(f"DEFAULT_LANGUAGE: there is no handlers/texts/{file.name}")
    default = wording(file.read_bytes())
    for key, problem in default.problems.items():
        where = f"handlers/texts/{file.name}: {f'[{key}] ' if key else ''}"
        raise ConfigurationError(f"{where}{problem}")
    return {
        each.stem: default if each == file else wording(each.read_bytes(), default.texts)
        for each in sorted(folder.glob("*.toml"))
    }


LANGUAGES = read_texts(Path(__file__).parent, settings().default_language)
TEXTS: dict[str, dict[str, Text]] = {name: each.texts for name, each in LANGUAGES.items()}


@dataclass(frozen=True)
class Count:
    """A number in a text, which chooses its plural form. `or_more` writes it as `21+`."""

    number: int
    or_more: bool = False

    def __str__(self) -> str:
        return f"{self.number}{'+' if self.or_more else ''}"


def say(key: str, language: str, **values: str | Count) -> Message:
    """The text in a language, or in the default one where that language lacks it."""
    text, language = _text(key, language)
    category = _category(text, language, values)
    return Message(
        title=shorten(filled(text.title.get(category, text.title["other"]), values), TITLE),
        body=shorten(filled(text.body.get(category, text.body["other"]), values), BODY),
    )


def _text(key: str, language: str) -> tuple[Text, str]:
    """The text and the language that it is in; a document's text goes before a file's."""
    for each in (language, settings().default_language):
        if text := _other_words(key, each) or TEXTS[each].get(key):
            return text, each
        log_if_broken(key, each)
    raise KeyError(key)


def _other_words(key: str, language: str) -> Text | None:
    """The text of `push_texts/{language}`; None if there is none, or a wrong one."""
    document = push_texts(language)
    if key not in document:
        return None
    try:
        return checked(key, document[key], language)
    except ValueError as problem:
        log_refused(key, language, str(problem))
        return None


def in_other_words(document: Document) -> Wording:
    """The texts of `push_texts/{language}` that may be said, and the problems of the others."""
    language, read = document.path.rpartition("/")[2], Wording()
    if language not in TEXTS:
        return Wording(problems={"": f"there is no handlers/texts/{language}.toml"})
    for key, table in document.items():
        try:
            read.texts[key] = checked(key, table, language)
        except ValueError as problem:
            read.problems[key] = str(problem)
    return read


def checked(key: str, table: Any, language: str) -> Text:
    """The text that a document has in place of ours; raises ValueError with what is wrong.

    Whoever writes it sees it on no phone before others do, so it must be complete and short enough.
    """
    default = TEXTS[settings().default_language].get(key)
    if default is None:
        raise ValueError("is not the name of a text")
    text = text_of(table, default)
    for problem in plural_problems(text, default, language):
        raise ValueError(problem)
    for part, limit in (("title", TITLE), ("body", BODY)):
        for form in text.parts[part].values():
            words = "".join(literal for literal, *_ in Formatter().parse(form))
            if shorten(words, limit) != words:
                raise ValueError(f"{part} is longer than {limit} characters")
    return text


@functools.lru_cache(maxsize=1000)
def log_refused(key: str, language: str, problem: str) -> None:
    """Once per process and problem."""
    data = {"document": f"push_texts/{language}", "text": key, "problem": problem}
    log("ERROR", "text.broken", data=data)


def _category(text: Text, language: str, values: Mapping[str, str | Count]) -> str:
    """The plural category of the text's number; `other` if it has no forms to choose from."""
    count = values.get(text.plural) if text.plural else None
    if isinstance(count, Count) and len({*text.title, *text.body}) > 1:
        return plural_category(count.number, language)
    return "other"


# Letters of the scripts that are written from right to left.
RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
ISOLATE, END = "\u2068", "\u2069"
ISOLATES = re.compile("[\u2066-\u2069]")
ONE_VALUE = re.compile(r"\{\w+\}")


def filled(template: str, values: Mapping[str, str | Count]) -> str:
    """The text with its values.

    Where left-to-right and right-to-left writing could meet, each value is isolated: otherwise, a
    phone may show it in another place of the sentence, or its parts in another order.
    """
    written = {name: str(value) for name, value in values.items()}
    if not ONE_VALUE.fullmatch(template):
        is_right_to_left = RIGHT_TO_LEFT.search(template) is not None
        written = {
            name: f"{ISOLATE}{ISOLATES.sub('', value)}{END}"
            if is_right_to_left or RIGHT_TO_LEFT.search(value)
            else value
            for name, value in written.items()
        }
    return template.format_map(written)


@functools.cache
def log_if_broken(key: str, language: str) -> None:
    """Once per process."""
    problems = LANGUAGES[language].problems if language in LANGUAGES else {}
    if problem := problems.get(key) or problems.get(""):
        data = {"file": f"handlers/texts/{language}.toml", "text": key, "problem": problem}
        log("ERROR", "text.broken", data=data)


def language_of(wanted: object, languages: Collection[str] | None = None) -> str:
    """The language among ours that is nearest to the wanted one: `fr-CA` -> `fr`.

    Whatever is not one becomes the default language: an invalid profile must not be a reason
    to leave its owner without the push.
    """
    languages = TEXTS if languages is None else languages
    default = settings().default_language
    if wanted is None or wanted == "":
        return default
    if isinstance(wanted, str):
        if wanted in languages:
            return wanted
        with suppress(ValueError):
            return nearest_language(wanted, tuple(languages)) or default
    warn_of_field("language")
    return default


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters as a reader counts them, and `BYTES` bytes.

    An emoji of several code points, or a letter with its accents, is one character; the cut
    never goes through one. A shortened text ends in an ellipsis; isolates count as nothing, and are
    closed.
    """
    if len(text) <= limit and len(text.encode()) <= BYTES:
        return text
    import regex  # only long texts pay for it

    short, count, is_open = "", 0, False
    room = BYTES - len((ELLIPSIS + END).encode())
    for found in regex.finditer(r"\X", text):
        character = found.group()
        count += ISOLATES.fullmatch(character) is None
        room -= len(character.encode())
        if room < 0 or (count == limit and ISOLATES.sub("", text[found.end() :])):
            return short.rstrip() + ELLIPSIS + (END if is_open else "")
        short += character
        is_open = character == ISOLATE or (is_open and character != END)
    return text
