"""The wording, one file per language, named by its BCP 47 code (`fr.toml`, `pt-BR.toml`).

A file has a table per text, with a `title` and a `body`; `{name}` stands for a value.
"""

import tomllib
from pathlib import Path

from batchpush import ConfigurationError, Message
from batchpush.settings import settings

TITLE = 65  # characters: what a locked phone shows of a title
BODY = 240  # characters: what it shows of a text that is not opened
BYTES = 2_000  # of one text: Apple takes 4 KB for the whole push
ELLIPSIS = "…"

TEXTS: dict[str, dict[str, dict[str, str]]] = {
    file.stem: tomllib.loads(file.read_text(encoding="utf-8"))
    for file in sorted(Path(__file__).parent.glob("*.toml"))
}

if settings().default_language not in TEXTS:
    raise ConfigurationError(
        f"DEFAULT_LANGUAGE: there is no handlers/texts/{settings().default_language}.toml"
    )


def say(key: str, language: str, **values: str) -> Message:
    """The text in a language, or in the default one where that language lacks it."""
    text = TEXTS[language].get(key) or TEXTS[settings().default_language][key]
    return Message(
        title=shorten(text["title"].format_map(values), TITLE),
        body=shorten(text["body"].format_map(values), BODY),
    )


def language_of(wanted: object) -> str:
    """The language among ours that is nearest to a BCP 47 code: `fr-CA` -> `fr`.

    Whatever is not one becomes the default language: a profile that is garbage is no reason
    to leave its owner without the push.
    """
    if isinstance(wanted, str):
        for language in (wanted, wanted.replace("_", "-").partition("-")[0].lower()):
            if language in TEXTS:
                return language
    return settings().default_language


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
