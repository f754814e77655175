"""Amounts, dates and times as people write them in each language."""

import functools
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

from batchpush import settings

if TYPE_CHECKING:
    from babel import Locale

# Babel is imported on use: only pushes with something to format need it.


def money(amount: float, currency: str | None, language: str) -> str:
    """`money(1234.5, "EUR", "fr")` -> `1 234,50 €`; without a currency, a plain number."""
    from babel.numbers import format_currency, format_decimal

    if currency is None:
        return format_decimal(amount, locale=_locale(language))
    return format_currency(amount, currency, locale=_locale(language))


def when(moment: datetime, zone: tzinfo, language: str) -> dict[str, str]:
    """The `date` and the `time` for a text, such as `lun. 4 mai` and `14:05 CEST`.

    The time names its zone, because a traveller may be in a different one from their profile's.
    """
    from babel.dates import format_skeleton, format_time

    local, locale = moment.astimezone(zone), _locale(language)
    clock = format_time(local, "short", tzinfo=zone, locale=locale)
    return {
        "date": format_skeleton("MMMEd", local, tzinfo=zone, locale=locale),
        "time": f"{clock} {_abbreviation(local)}",
    }


def _abbreviation(local: datetime) -> str:
    """`CEST`; `UTC+04` for a zone without an abbreviation, such as Asia/Dubai."""
    name = local.tzname() or ""
    return name if name.isalpha() else f"UTC{name}"


@functools.cache
def _locale(language: str) -> "Locale":
    """Babel's locale for the language, the default language, or English."""
    from babel import Locale, UnknownLocaleError

    for tag in (language, settings().default_language):
        try:
            return Locale.parse(tag.replace("_", "-"), sep="-")
        except (ValueError, UnknownLocaleError):
            continue
    return Locale("en")
