"""Tables in Markdown."""

import re
from itertools import dropwhile, takewhile


def table(text: str, *, heading: str | None = None, header: str = "") -> list[list[str]]:
    """The rows of the first table, below a heading or with this first column, as cells."""
    if heading is not None:
        _, text = re.split(rf"^#+ {re.escape(heading)}$", text, maxsplit=1, flags=re.MULTILINE)
    lines = iter(text.splitlines())
    below = dropwhile(lambda line: not line.startswith(f"| {header}".rstrip()), lines)
    rows = list(takewhile(lambda line: line.startswith("|"), below))
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]
