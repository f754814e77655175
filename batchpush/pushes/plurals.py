"""The plural forms that languages have for whole numbers, by CLDR's categories. Pure.

https://cldr.unicode.org/index/cldr-spec/plural-rules
"""

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from babel.plural import PluralRule

# Babel is imported on use: only texts with several forms need it.

OTHER = "other"  # the category that every language has
CATEGORIES = ("zero", "one", "two", "few", "many", OTHER)
# One number of each category: the rules depend on the last digits, and on millions.
SAMPLES = (*range(1_000), 10_000, 100_000, 1_000_000)


def category(number: int, language: str) -> str:
    """The category of a number: `few` for 3 in Polish."""
    return _rule(language)(number)


@functools.cache
def categories(language: str) -> frozenset[str]:
    """The categories of the language's whole numbers."""
    return frozenset(map(_rule(language), SAMPLES))


@functools.cache
def _rule(language: str) -> "PluralRule":
    """The language's rule; one that knows only `other` for a language that CLDR does not have."""
    from babel import Locale, UnknownLocaleError
    from babel.plural import PluralRule

    try:
        return Locale.parse(language.replace("_", "-"), sep="-").plural_form
    except (ValueError, UnknownLocaleError):
        return PluralRule({})
