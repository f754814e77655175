"""Tables in Markdown, and those of README.md that a command makes."""

import os
import platform
import re
from datetime import UTC, datetime
from itertools import dropwhile, takewhile
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
END = "<!-- end -->"


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


def write(command: str, text: str) -> None:
    """Put what the command found between its two marks in README.md."""
    begin = f"<!-- {command} -->\n"
    before, _, rest = README.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{begin}{text}\n{END}{after}", encoding="utf-8")
