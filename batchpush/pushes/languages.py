"""Finds the language nearest to a wanted one: RFC 4647, with CLDR's data. Pure.

Apps store a language in the notation of their platform: `pt_BR`, `zh-Hant-HK`, `iw`, `fr_FR.UTF-8`,
or Android's `zh_TW_#Hant`.
"""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

# Babel is imported on use: it is not needed while a language matches the name of a file.

MAX_TAG = 100  # characters
SCRIPTS = {"latin": "Latn", "cyrillic": "Cyrl"}  # the POSIX names: sr_RS@latin
CHINESE = {"chs": "Hans", "cht": "Hant"}  # zh-CHT, as .NET had it
# A language that readers of another one understand (CLDR, languageMatching).
NEXT_BEST = {"nn": "nb", "gsw": "de", "lb": "de", "yue": "zh"}


class Tag(NamedTuple):
    """A language with its most likely script and region."""

    language: str
    script: str
    region: str


def nearest_language(wanted: str, languages: tuple[str, ...]) -> str | None:
    """The language that suits a reader of `wanted` best; None if none is close.

    Raises ValueError if `wanted` is not a language.
    """
    written = wanted.strip().replace("_", "-").casefold()
    for language in languages:
        if language.replace("_", "-").casefold() == written:
            return language
    return _nearest(wanted, languages)


@functools.lru_cache(maxsize=1024)
def _nearest(wanted: str, languages: tuple[str, ...]) -> str | None:
    tag = _parsed(wanted)
    shortest_last = sorted(languages, key=len, reverse=True)  # `es` rather than `es-ES`
    known = {each: language for language in shortest_last if (each := _of_file(language))}
    if found := _found(tag, known):
        return found
    next_best = NEXT_BEST.get(tag.language)
    if next_best is None:
        return None
    return _found(_likely(next_best, tag.script, tag.region), known)


def _of_file(language: str) -> Tag | None:
    """None for a file whose name is not a known language: only an exact match finds it."""
    try:
        return _parsed(language)
    except ValueError:
        return None


def _found(tag: Tag, known: Mapping[Tag, str]) -> str | None:
    """The best match, preferably in the same script."""
    for candidate in _wider(tag):
        if candidate in known:
            return known[candidate]
    same = [each for each in sorted(known) if each.language == tag.language]
    in_script = [each for each in same if each.script == tag.script]
    return next((known[each] for each in (*in_script, *same)), None)


def _wider(tag: Tag) -> Iterator[Tag]:
    """The tag, its parents (`es-MX`, `es-419`), and its language with the most likely region."""
    from babel.core import get_global

    parents = get_global("parent_exceptions")
    parent: Tag | None = tag
    while parent is not None:
        yield parent
        language, script, region = parent
        name = parents.get(f"{language}_{script}_{region}") or parents.get(f"{language}_{region}")
        parent = _parsed(name) if name else None
    yield _likely(tag.language, tag.script, "")


def _parsed(written: str) -> Tag:
    """Raises ValueError for an unknown language."""
    if len(written) > MAX_TAG:
        raise ValueError("is too long for a language")
    # What follows is an encoding, a list or a weight; after `@`, POSIX names a script.
    text, *rest = re.split(r"[.@:;,]", written.strip())
    # Java writes a script and extensions after a `#`.
    text, _, of_java = text.partition("#")
    language, script, region = _subtags(text)
    if named := re.match(r"[A-Za-z]{4}(?![A-Za-z])", of_java):
        script = named[0].title()
    by_posix = [SCRIPTS[name.lower()] for name in rest if name.lower() in SCRIPTS]
    return _likely(language, by_posix[0] if by_posix else script, region)


def _subtags(text: str) -> tuple[str, str, str]:
    """Language, script and region, each empty if absent; raises ValueError for other subtags."""
    first, *others = text.replace("_", "-").lower().split("-")
    language, script, region = first, "", ""
    for subtag in others:
        if len(subtag) <= 1:
            break  # an extension: calendars, numbers and the like
        if subtag in CHINESE:
            script = CHINESE[subtag]
        elif re.fullmatch(r"[a-z]{3}", subtag) and not script and not region:
            language = subtag  # zh-yue is yue
        elif re.fullmatch(r"[a-z]{4}", subtag) and not script and not region:
            script = subtag.title()
        elif re.fullmatch(r"[a-z]{2}|[0-9]{3}", subtag) and not region:
            region = subtag.upper()
        elif region and "_" in text:  # a variant in Java: no_NO_NY is Nynorsk
            language = "nn" if (language, subtag) == ("no", "ny") else language
        elif not re.fullmatch(r"[a-z0-9]{5,8}|[0-9][a-z0-9]{3}", subtag):
            raise ValueError("is not a language tag")
    return language, script, region


def _likely(language: str, script: str, region: str) -> Tag:
    """The tag with current codes; missing parts become the most likely ones."""
    from babel.core import get_global

    current = get_global("language_aliases").get(language, language)
    language, _, implied = current.partition("_")  # `sr_Latn` for `sh`, `sr_ME` for `cnr`
    language = "nb" if language == "no" else language
    if len(implied) == 4:
        script = script or implied
    else:
        region = region or implied
    region = get_global("territory_aliases").get(region, [region])[0]
    likely = get_global("likely_subtags")
    for parts in ((script, region), (region,), (script,), ()):
        if found := all(parts) and likely.get("_".join((language, *parts))):
            _, likely_script, likely_region = found.split("_")
            return Tag(language, script or likely_script, region or likely_region)
    raise ValueError("is not a known language")
