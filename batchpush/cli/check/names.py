"""Looks for undefined names: importing `main.py` does not find those inside functions."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from batchpush.cli.check.findings import Finding, error, not_checked, ok
from batchpush.cli.installation import missing

UNDEFINED = "F821"  # ruff's code


def names() -> Iterator[Finding]:
    """The names that ruff finds undefined in `main.py` and `handlers/`."""
    if importlib.util.find_spec("ruff") is None:
        yield not_checked(f"undefined names: {missing('ruff')}")
        return
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--quiet"]
    rules = ["--select", UNDEFINED, "--target-version", "py311", "--output-format", "json"]
    asked = subprocess.run(  # noqa: S603 - its arguments are our own
        [*command, *rules, "main.py", "handlers"], capture_output=True, text=True
    )
    if asked.returncode not in (0, 1):
        yield not_checked(f"undefined names: ruff failed: {asked.stderr.strip()[:200]}")
        return
    found = [each for each in json.loads(asked.stdout) if each["code"] == UNDEFINED]
    for each in found:
        file = Path(each["filename"]).relative_to(Path.cwd())
        yield error(each["message"], f"{file}:{each['location']['row']}")
    if not found:
        yield ok("every name is defined", "main.py + handlers/")
