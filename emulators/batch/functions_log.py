"""What firebase-tools' log tells of the functions, and nothing else does."""

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from emulators.batch.journal import as_rfc3339, moment

BEGINNING = re.compile(r'Beginning execution of "(?:[a-z]+-)+[a-z]+\d+-(\w+)"')
LOADED = "Loaded functions definitions from source"
NOT_LOADED = "Failed to load function definition from source"
FRAME = re.compile(r'^  File "(.+)", line (\d+)', re.MULTILINE)
OF_LIBRARIES = re.compile(r"site-packages|^<")
SHOWN = 50  # writes without a push, the newest


@dataclass
class FunctionsLog:
    """`root` is the folder of main.py."""

    root: Path
    beginnings: deque[tuple[str, datetime]] = field(default_factory=lambda: deque(maxlen=1000))
    silences: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=SHOWN))
    problem: str | None = None  # of code that does not load
    complaints: str = ""  # since the code was last loaded

    def read(self, line: Mapping[str, Any]) -> None:
        """Take in a line of the Logging emulator, which repeats all of them to who connects."""
        said, at = line.get("message", ""), moment(line["timestamp"])
        if found := BEGINNING.search(said):
            self.beginnings.append((found[1], at))
        elif said.startswith(LOADED):
            self.problem, self.complaints = None, ""
        elif said.startswith(NOT_LOADED):
            self.problem, self.complaints = self._problem(), ""
        elif line.get("level") == "error":
            self.complaints += said
        else:
            self._read_entry(line.get("data", {}).get("user"), at)

    def _read_entry(self, entry: Any, at: datetime) -> None:
        """A line that a function wrote: see docs/logs.md."""
        if not isinstance(entry, dict) or entry.get("message") != "push.none":
            return
        about = {name: entry.get(name) for name in ("function", "document", "event_id")}
        self.silences.append(about | {"at": as_rfc3339(at)})

    def _problem(self) -> str:
        """The error, after its last place in our own code."""
        _, _, traceback = self.complaints.rpartition("Traceback (most recent call last):\n")
        ours = [place for place in FRAME.findall(traceback) if not OF_LIBRARIES.search(place[0])]
        error = next((line for line in traceback.splitlines() if line[:1].strip()), None)
        if not ours or not error:
            return "the terminal says why"
        file, number = ours[-1]
        return f"{self._short(file)}:{number}: {error}"

    def _short(self, file: str) -> str:
        path = Path(file)
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)
