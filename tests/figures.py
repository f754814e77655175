"""What tests find out in figures; `pytest --figures` shows it as the README's table."""

FIGURES: list[tuple[str, str]] = []


def figure(what: str, found: str) -> None:
    FIGURES.append((what, found))


def as_table() -> str:
    rows = [f"| {what} | {found} |" for what, found in FIGURES]
    return "\n".join(["| what happened | what came of it |", "|---|---|", *sorted(rows)])
