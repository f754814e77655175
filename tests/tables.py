"""Tables in Markdown, and those of docs/ that a command writes."""

import os
import platform
import re
from datetime import UTC, datetime
from itertools import dropwhile, takewhile

from local.reference import ROOT, put


def table(text: str, *, heading: str | None = None, header: str = "") -> list[list[str]]:
    """The rows of the first table, below a heading or with this first column, as cells."""
    if heading is not None:
        _, text = re.split(rf"^#+ {re.escape(heading)}$", text, maxsplit=1, flags=re.MULTILINE)
    lines = iter(text.splitlines())
    below = dropwhile(lambda line: not line.startswith(f"| {header}".rstrip()), lines)
    rows = list(takewhile(lambda line: line.startswith("|"), below))
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def machine(*programs: str) -> str:
    """Where and when something was measured."""
    shape = (f"{os.cpu_count()} cores", f"Python {platform.python_version()}", *programs)
    return f"{', '.join(shape)}, {datetime.now(UTC):%Y-%m-%d}"


def write(page: str, command: str, text: str) -> None:
    """Put what the command found between its two marks in a page of docs/."""
    put(ROOT / "docs" / page, command, text)
