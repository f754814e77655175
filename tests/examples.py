"""The examples of the pages, and a fresh clone to run them in.

A page is walked from its first block to its last. A block with a file's name is that file:

    ```json title="order.json"         becomes the file
    ```toml title="add to main.py"     goes to its end
    ```sh                              is run; it must exit with 0
    ```text title="output"             is among what the block before it printed

What cannot be run so says why, in a comment above its block:

    <!-- run elsewhere: tests/test_deploy.py -->     another test, or CI, runs these commands
    <!-- not run: asks the package registry -->      nothing does
    <!-- exit code 1: there are problems -->         it is run, and exits so
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
        *(ROOT / "docs").rglob("*.md"),
    ]
)
BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*) -->\n)?"
    r'^(?P<indent> *)```(?P<language>\w*)(?: title="(?P<title>[^"]*)")?\n'
    r"(?P<text>.*?)"
    r"^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
ADD = "add to "
OUTPUT = "output"
INSTALLED = "-o venv/.installed -o emulators/node_modules/.installed"  # linked, not made again
SHOWN_TIME = re.compile(r"\d[\d,.]* ?(ms|s)\b")


@dataclass(frozen=True)
class Example:
    """A block of a page."""

    page: str
    line: int
    language: str
    title: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_shell(self) -> bool:
        return self.language == "sh"

    @property
    def is_output(self) -> bool:
        return self.title == OUTPUT

    @property
    def is_run(self) -> bool:
        return self.is_shell and not self.elsewhere and not self.why_not

    @property
    def elsewhere(self) -> list[str]:
        """The files that run it."""
        _, found, files = self.mark.partition("run elsewhere: ")
        return files.split(", ") if found else []

    @property
    def why_not(self) -> str:
        _, _, reason = self.mark.partition("not run: ")
        return reason

    @property
    def exit_code(self) -> int:
        found = re.match(r"exit code (\d+): ", self.mark)
        return int(found[1]) if found else 0

    @property
    def commands(self) -> list[str]:
        """Each on one line, without its comment."""
        text = re.sub(r"\\\n\s*", "", self.text)
        lines = [re.sub(r"(^|\s)#\s.*", "", line).strip() for line in text.splitlines()]
        return [line for line in lines if line]


def examples_of(page: Path) -> list[Example]:
    text = page.read_text(encoding="utf-8")
    return [
        Example(
            page=page.relative_to(ROOT).as_posix(),
            line=text.count("\n", 0, found.start("language")) + 1,
            language=found["language"],
            title=found["title"] or "",
            text=textwrap.dedent(found["text"]),
            mark=found["mark"] or "",
        )
        for found in BLOCK.finditer(text)
    ]


EXAMPLES = [example for page in PAGES for example in examples_of(page)]


def is_among(shown: str, printed: str) -> bool:
    """Whether the lines of an example are printed in this order; times and blanks may differ."""
    left = iter(_plain(printed).splitlines())
    return all(line in left for line in _plain(shown).splitlines() if line.strip())


def _plain(text: str) -> str:
    return re.sub("[\u00a0\u202f]", " ", SHOWN_TIME.sub(r"N \1", text))


class Clone:
    """A fresh clone of what is here, without `.env`, for somebody who is logged in nowhere."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, programs = folder / "batchpush", folder / "bin"
        for file in self._files():
            copy = self.folder / file
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, copy, follow_symlinks=False)
        for installed in ("venv", "emulators/node_modules"):
            if not (self.folder / installed).exists():
                (self.folder / installed).symlink_to((ROOT / installed).resolve())
        programs.mkdir()
        fake = f"PYTHONPATH={ROOT} exec {sys.executable} -m tests.cloud_programs"
        for name, does in {
            "gcloud": f"{fake} gcloud",
            "firebase": f"{fake} firebase",
            "make": f"exec {shutil.which('make')} {INSTALLED}",
        }.items():
            program = programs / name
            program.write_text(f'#!/bin/sh\n{does} "$@"\n')
            program.chmod(0o755)
        home = folder / "home"
        home.mkdir()
        self.environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "USER": os.environ.get("USER", "user"),
            "PYTHONDONTWRITEBYTECODE": "1",
        } | environment

    def _files(self) -> Iterator[str]:
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        found = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True)
        return (file for file in found.stdout.split("\0") if file and (ROOT / file).is_file())

    def write(self, example: Example) -> None:
        """The block as the file of its title."""
        is_added = example.title.startswith(ADD)
        file = self.folder / example.title.removeprefix(ADD)
        before = file.read_text(encoding="utf-8") + "\n\n" if is_added else ""
        file.write_text(before + example.text, encoding="utf-8")

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
