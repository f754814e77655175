"""Parsers for the arguments of the commands; argparse reports what they raise."""

import argparse
import re
from datetime import UTC, datetime, timedelta

from batchpush.delivery.record import DeliveryState

MIN_ID = 8  # characters of an id that a command accepts


def state(text: str) -> DeliveryState:
    return DeliveryState(text.upper())


def count(text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise argparse.ArgumentTypeError("expected a whole number of at least 1")
    return int(text)


def when(text: str) -> datetime:
    """A time, in UTC unless it has a zone, or a span before now."""
    if span := re.fullmatch(r"([0-9]{1,5})([mhd])", text):
        unit = {"m": "minutes", "h": "hours", "d": "days"}[span[2]]
        return datetime.now(UTC) - timedelta(**{unit: int(span[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("expected 2026-05-04T10:20, or 30m, 2h, 3d") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def prefix(text: str) -> str:
    if not re.fullmatch(rf"[0-9a-fA-F]{{{MIN_ID},64}}", text):
        raise argparse.ArgumentTypeError(f"expected {MIN_ID} to 64 hex characters of an id")
    return text.lower()


def user_id(text: str) -> str:
    if not text.strip() or "/" in text:
        raise argparse.ArgumentTypeError("expected a user id")
    return text


def batch_id(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("expected an id")
    return text
