import os
import subprocess
import sys
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.fields import MAX_AMOUNT
from handlers.formats import money, when
from handlers.texts import TEXTS
from tests.pushes import PATIENT

NOON = datetime(2026, 5, 4, 12, 5, tzinfo=UTC)
NARROW, WIDE = "\u202f", "\u00a0"  # spaces at which no line breaks
RLM = "\u200f"  # a mark that makes what follows read from right to left


@pytest.mark.parametrize(
    ("amount", "currency", "language", "written"),
    [
        (1234.5, "EUR", "en", "€1,234.50"),
        (1234.5, "EUR", "fr", f"1{NARROW}234,50{WIDE}€"),
        (1234.5, "EUR", "es", f"1.234,50{WIDE}€"),
        (1234.5, "EUR", "de", f"1.234,50{WIDE}€"),
        (1234, "JPY", "en", "¥1,234"),
        (0.1 + 0.2, "USD", "en", "$0.30"),
        (1234.5, None, "en", "1,234.5"),
        (1234.5, None, "de", "1.234,5"),
        (1000, None, "fr", f"1{NARROW}000"),
        (1234.5, "PLN", "pl", f"1{WIDE}234,50{WIDE}zł"),
        (1234, "JPY", "ja", "￥1,234"),
        (1234.5, "EUR", "ja", "€1,234.50"),
        (1234.5, "EUR", "ar", f"{RLM}1,234.50{WIDE}€"),
        (99.9, "SAR", "ar", f"{RLM}99.90{WIDE}ر.س.{RLM}"),
    ],
)
def test_an_amount_is_written_as_the_language_has_it(
    amount: float, currency: str | None, language: str, written: str
) -> None:
    assert money(amount, currency, language) == written


@pytest.mark.parametrize(
    ("zone", "language", "date", "time"),
    [
        ("Europe/Paris", "en", "Mon, May 4", f"2:05{NARROW}PM CEST"),
        ("Europe/Paris", "fr", "lun. 4 mai", "14:05 CEST"),
        ("Europe/Paris", "es", "lun, 4 may", "14:05 CEST"),
        ("Europe/Paris", "de", "Mo., 4. Mai", "14:05 CEST"),
        ("Europe/Paris", "pl", "pon., 4 maj", "14:05 CEST"),
        ("Asia/Tokyo", "ja", "5月4日(月)", "21:05 JST"),
        ("Asia/Dubai", "ar", "الاثنين، 4 مايو", "4:05 م UTC+04"),
        ("America/New_York", "fr", "lun. 4 mai", "08:05 EDT"),
        ("Asia/Dubai", "fr", "lun. 4 mai", "16:05 UTC+04"),
        ("Pacific/Kiritimati", "fr", "mar. 5 mai", "02:05 UTC+14"),
        ("UTC", "fr", "lun. 4 mai", "12:05 UTC"),
    ],
)
def test_a_time_is_written_as_the_language_has_it_and_names_its_zone(
    zone: str, language: str, date: str, time: str
) -> None:
    assert when(NOON, ZoneInfo(zone), language) == {"date": date, "time": time}


def test_utc_needs_no_time_zone_file() -> None:
    assert when(NOON, UTC, "de")["time"] == "12:05 UTC"


@pytest.mark.parametrize("language", ["tlh", "not a language", ""])
def test_a_language_that_nobody_knows_the_customs_of_has_those_of_the_default(
    language: str,
) -> None:
    assert money(1234.5, "EUR", language) == "€1,234.50"


def test_time_zones_are_there_on_a_machine_that_has_none() -> None:
    code = "from handlers.fields import zone_named; print(zone_named('Europe/Paris').key)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": ".", "PYTHONTZPATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "Europe/Paris\n"


AMOUNTS = st.integers(-MAX_AMOUNT + 1, MAX_AMOUNT - 1) | st.floats(
    -MAX_AMOUNT, MAX_AMOUNT, exclude_max=True
)


@PATIENT
@given(AMOUNTS, st.sampled_from(["EUR", "JPY", "KWD", None]), st.sampled_from(sorted(TEXTS)))
def test_every_amount_can_be_written(amount: float, currency: str | None, language: str) -> None:
    assert money(amount, currency, language).strip()


TIMES = st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=st.just(UTC))


@PATIENT
@given(TIMES, st.timezones(), st.sampled_from(sorted(TEXTS)))
def test_every_time_can_be_written(moment: datetime, zone: ZoneInfo, language: str) -> None:
    written = when(moment, zone, language)
    assert written["date"].strip()
    assert " " in written["time"]
