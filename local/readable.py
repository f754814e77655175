"""The log of `make dev`: one readable line for each line of the functions' JSON.

Of what firebase-tools and its web server print, only what helps is left.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from batchpush.cli.terminal import escaped

SHORT_ID = 12  # characters of a delivery's id, enough for `show`

OF_A_FUNCTION = re.compile(r">  ?(.*)")
OF_FIREBASE = re.compile(r"[i✔⚠⬢]  [a-z]+(?:\[\S+\])?: (.*)")
SEVERITIES = {"i": "INFO", "✔": "INFO", "⚠": "WARNING", "⬢": "ERROR"}
LOADED = re.compile(r"Loaded functions definitions from source: (.*)\.")
NOT_LOADED = "Failed to load function definition from source"
NOISE = re.compile(
    r"""\s*$ | Beginning\ execution | Finished\ " | Loaded\ environment\ variables
    | (firestore|http)\ function\ initialized | function\ ignored | Created\ queue
    | \ \*\ (Serving|Debug|Running) | WARNING:\ This\ is\ a\ development\ server | Press\ CTRL
    | 127\.0\.0\.1\ -\ - | Terminated | \[.*\ ERROR\ in\ app:\ Exception\ on\ /__/functions
    | [┌│├└] | \ \ (Emulator\ Hub|Other\ reserved) | Issues\?\ Report""",
    re.VERBOSE,
)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
FRAME = re.compile(r'  File "(.*)", line')
OF_LIBRARIES = re.compile(r"site-packages|^<frozen")

PAINT = {"DEBUG": "\x1b[2m", "WARNING": "\x1b[33m", "ERROR": "\x1b[31m"}
PLAIN = "\x1b[0m"


@dataclass
class Readable:
    """Turns one line after another into what a person reads; None for what helps nobody."""

    is_coloured: bool
    is_in_library: bool = False  # inside a frame of the traceback of code that does not load

    def __call__(self, line: str) -> str | None:
        line = COLOURS.sub("", line.rstrip("\n"))
        if found := OF_A_FUNCTION.fullmatch(line):
            entry = entry_in(found[1])
            return self.told(entry["severity"], *words_of(entry)) if entry else found[1]
        found = OF_FIREBASE.fullmatch(line)
        text = found[1] if found else line
        if NOISE.match(text) or self._is_of_library(text):
            return None
        return self.told(SEVERITIES[line[0]], said_by_firebase(text)) if found else line

    def told(self, severity: str, *words: str) -> str:
        time = datetime.now().astimezone().strftime("%H:%M:%S")
        line = "  ".join([time, f"{severity:<7}", *filter(None, words)])
        paint = PAINT.get(severity) if self.is_coloured else None
        return f"{paint}{line}{PLAIN}" if paint else line

    def _is_of_library(self, line: str) -> bool:
        """Whether the line is of a frame of Flask or of the import machinery."""
        if frame := FRAME.match(line):
            self.is_in_library = bool(OF_LIBRARIES.search(frame[1]))
        elif not line.startswith("    "):
            self.is_in_library = False
        return self.is_in_library


def entry_in(text: str) -> Mapping[str, Any] | None:
    """A line of `batchpush.logs`; None for anything else that a function printed."""
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    is_ours = isinstance(entry, dict) and {"severity", "message"} <= entry.keys()
    return entry if is_ours else None


def words_of(entry: Mapping[str, Any]) -> list[str]:
    """The function, the document, the event, and the data that matters."""
    about = [escaped(entry.get(name) or "") for name in ("function", "document", "message", "app")]
    data = entry.get("data") or {}
    data = {"kind": entry["error"], **data} if "error" in entry else data
    matters = {name: value for name, value in data.items() if value is not None and name != "body"}
    return [*about, " ".join(f"{name}={shown(name, value)}" for name, value in matters.items())]


def shown(name: str, value: object) -> str:
    if name == "delivery":
        return str(value)[:SHORT_ID]
    return escaped(value if isinstance(value, str | int) else json.dumps(value))


def said_by_firebase(text: str) -> str:
    if found := LOADED.fullmatch(text):
        return f"the code is loaded: {len(found[1].split(', '))} functions"
    if text.startswith(NOT_LOADED):
        return "the code does not load: the functions still run the code from before"
    return text
