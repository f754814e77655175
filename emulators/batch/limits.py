"""Limits that the Custom Data and the Trigger Events API share."""

import math
import unicodedata
from typing import Any

MAX_TEXT = 64


def size(text: str) -> int:
    """An emoji counts as two, according to a customer's tests."""
    return sum(
        2 if ord(each) > 0xFFFF or unicodedata.category(each) == "So" else 1 for each in text
    )


def is_short(value: Any) -> bool:
    return isinstance(value, str) and 0 < size(value) <= MAX_TEXT


def is_value(value: Any) -> bool:
    """Whether it is the value of an attribute: a text, a number or a boolean."""
    if isinstance(value, str):
        return is_short(value)
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))
