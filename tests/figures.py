"""What tests find out in figures; `pytest --figures` shows it as a table."""

from collections.abc import Iterable

FIGURES: list[tuple[str, str]] = []


def figure(what: str, found: str) -> None:
    FIGURES.append((what, found))


def as_table(figures: Iterable[tuple[str, str]]) -> str:
    rows = [f"| {what} | {found} |" for what, found in sorted(figures)]
    return "\n".join(["| what happened | what came of it |", "|---|---|", *rows])
