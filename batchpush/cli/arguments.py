"""Parsers for the arguments of the commands; argparse reports what they raise."""

import argparse
import difflib
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from batchpush.delivery.record import DeliveryState

MIN_ID = 8  # characters of an id that a command accepts
AN_ID = f"the id of a delivery, or at least its first {MIN_ID} characters"


def unknown(kind: str, name: str, choices: Iterable[str]) -> str:
    """Says that there is no such name, and which there are, the closest first."""
    names = list(choices)
    near = difflib.get_close_matches(name, names, n=1)
    meant = f"; is {near[0]} meant?" if near else ":"
    return f"unknown {kind} {name}{meant} choose from {', '.join(names)}"


class Help(argparse.HelpFormatter):
    """Help with each example on a line of its own, however long, so that it can be copied."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


class Parser(argparse.ArgumentParser):
    """A parser that answers a wrong choice or option with the closest one."""

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            kind = str(action.metavar or action.dest).lower()
            raise argparse.ArgumentError(action, unknown(kind, str(value), action.choices))

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Each command refuses what it does not know: the one above it shows its own usage."""
        chosen, rest = super().parse_known_args(args, namespace)
        if rest and rest[0].startswith("-"):
            options = [
                text for each in self._actions for text in each.option_strings if len(text) > 2
            ]
            self.error(unknown("option", rest[0].partition("=")[0], options))
        elif rest:
            self.error(f"one argument too many: {rest[0]}")
        return chosen, rest


def add_json(parser: argparse.ArgumentParser, what: str = "one JSON object per line") -> None:
    parser.add_argument("--json", action="store_true", help=f"print {what}")


def state(text: str) -> DeliveryState:
    try:
        return DeliveryState(text.upper())
    except ValueError:
        states = [each.value for each in DeliveryState]
        raise argparse.ArgumentTypeError(unknown("state", text.upper(), states)) from None


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


def document_path(text: str) -> str:
    path = text.strip("/")
    if not all(path.split("/")) or "/" not in path:
        raise argparse.ArgumentTypeError("expected the path of a document: orders/o1")
    return path


def batch_id(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("expected an id")
    return text
