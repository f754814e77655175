"""The wording, one file per language, named by its BCP 47 code (`fr.toml`, `pt-BR.toml`).

A file has a table per text, with a `title` and a `body`; `{name}` stands for a value.
"""

import functools
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from batchpush import (
    ConfigurationError,
    Message,
    Text,
    Wording,
    log,
    nearest_language,
    settings,
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


def say(key: str, language: str, **values: str) -> Message:
    """The text in a language, or in the default one where that language lacks it."""
    text = TEXTS[language].get(key)
    if text is None:
        log_if_broken(key, language)
        text = TEXTS[settings().default_language][key]
    return Message(
        title=shorten(text["title"].format_map(values), TITLE),
        body=shorten(text["body"].format_map(values), BODY),
    )


@functools.cache
def log_if_broken(key: str, language: str) -> None:
    """Once per process."""
    problems = LANGUAGES[language].problems if language in LANGUAGES else {}
    if problem := problems.get(key) or problems.get(""):
        data = {"file": f"handlers/texts/{language}.toml", "text": key, "problem": problem}
        log("ERROR", "text.broken", data=data)


def language_of(wanted: object, languages: Collection[str] | None = None) -> str:
    """The language among ours that is nearest to the wanted one: `fr-CA` -> `fr`.

    Whatever is not one becomes the default language: a profile that is garbage is no reason
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
    never goes through one. A shortened text ends in an ellipsis.
    """
    if len(text) <= limit and len(text.encode()) <= BYTES:
        return text
    import regex  # only long texts pay for it

    short, room = "", BYTES - len(ELLIPSIS.encode())
    for count, character in enumerate(regex.finditer(r"\X", text), start=1):
        room -= len(character.group().encode())
        if room < 0 or (count == limit and character.end() < len(text)):
            return short.rstrip() + ELLIPSIS
        short += character.group()
    return text
