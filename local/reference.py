"""Writes the tables of settings and log events into docs/, from what the code says of them.

python -m local.reference
"""

import ast
import itertools
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from batchpush import environment
from batchpush.environment import Settings
from batchpush.log_events import LOG_EVENTS

ROOT = Path(__file__).parents[1]
END = "<!-- end -->"


def put(file: Path, mark: str, text: str) -> None:
    """Replace what stands between a mark and the next end in a page."""
    page = file.read_text(encoding="utf-8")
    file.write_text(replaced(page, mark, text), encoding="utf-8")


def replaced(page: str, mark: str, text: str) -> str:
    begin = f"<!-- {mark} -->\n"
    before, found, rest = page.partition(begin)
    if not found:
        raise ValueError(f"the page has no mark {begin}")
    _, _, after = rest.partition(END)
    return f"{before}{begin}{text}\n{END}{after}"


def settings_table() -> str:
    meanings = dict(_docstrings())
    defaults = {"": "empty", None: "required"}
    rows = []
    for setting in fields(Settings):
        default = setting.metadata["default"]
        shown = defaults.get(default) or f"`{default}`"
        rows.append(f"| `{setting.name.upper()}` | {shown} | {meanings[setting.name]} |")
    return "\n".join(["| name | default | meaning |", "|---|---|---|", *rows])


def _docstrings() -> Iterator[tuple[str, str]]:
    """The text below each attribute of `Settings`, which Python itself does not keep."""
    tree = ast.parse(Path(environment.__file__).read_text(encoding="utf-8"))
    (body,) = (
        node.body
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name == "Settings"
    )
    for attribute, below in itertools.pairwise(body):
        match attribute, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, " ".join(text.split())


def log_table() -> str:
    rows = [
        f"| `{event.name}` | {event.severity} | {event.means} | {event.data} |"
        for event in LOG_EVENTS
    ]
    return "\n".join(["| event | severity | means | in `data` |", "|---|---|---|---|", *rows])


TABLES = {
    "settings": (ROOT / "docs/settings.md", settings_table),
    "log events": (ROOT / "docs/logs.md", log_table),
}


def main() -> None:
    for mark, (file, table) in TABLES.items():
        put(file, mark, table())


if __name__ == "__main__":
    main()
