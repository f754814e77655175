"""Checks the words of the pages, the help and the messages, with textlint: `make lint`.

    python -m local.pages

`words.yml` says what to say instead of what. Of the code, it looks at docstrings and at every text
of more than one word, at the line where it stands; names, patterns and comments are not looked at.
"""

import ast
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
TEXTLINT = HERE / "node_modules/.bin/textlint"
PAGES = ("*.md", "docs/**/*.md", ".github/**/*.md")
CODE = ("main.py", "batchpush/**/*.py", "handlers/**/*.py", "local/*.py", "local/rehearsal/*.py")
TEXTS = ("Makefile", ".env.example", "ops/**/*.json", "batchpush/cli/console/page/*.html")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        sources = dict(copies(Path(folder)))
        arguments = ["--config", str(HERE / ".textlintrc.json"), "--format", "json"]
        done = subprocess.run(
            [TEXTLINT, *arguments, *sources], cwd=HERE, capture_output=True, text=True
        )
    if done.returncode not in (0, 1) or not done.stdout.strip():
        sys.exit(done.stderr or done.stdout)
    problems = [
        f"{sources[each['filePath']].relative_to(ROOT)}:{problem['line']}: {problem['message']}"
        for each in json.loads(done.stdout)
        for problem in each["messages"]
    ]
    print("\n".join(problems) if problems else f"{len(sources)} files say it plainly")
    return bool(problems)


def copies(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files for textlint, and what each is a copy of; a text stays at its line."""
    for file in found(PAGES):
        yield copied(folder, file, ".md", file.read_text(encoding="utf-8"))
    for file in found(TEXTS):
        yield copied(folder, file, ".txt", file.read_text(encoding="utf-8"))
    for file in found(CODE):
        yield copied(folder, file, ".txt", texts_in(file.read_text(encoding="utf-8")))


def found(patterns: tuple[str, ...]) -> list[Path]:
    files = {file for pattern in patterns for file in ROOT.glob(pattern)}
    return sorted(file for file in files if "node_modules" not in file.parts)


def copied(folder: Path, file: Path, kind: str, text: str) -> tuple[str, Path]:
    copy = folder / f"{file.relative_to(ROOT)}{kind}"
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(text, encoding="utf-8")
    return str(copy), file


def texts_in(code: str) -> str:
    """The texts of a module, each at its own line, in a page that is blank otherwise."""
    lines = [""] * (code.count("\n") + 1)
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            for number, line in enumerate(node.value.splitlines(), start=node.lineno - 1):
                if number < len(lines):
                    lines[number] += f" {line.strip()}"
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
