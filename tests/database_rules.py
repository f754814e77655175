"""The security rules of the Realtime Database, evaluated: whether somebody may read or write.

Google's emulator of that database cannot be installed from a package registry, so the npm package
targaryen evaluates them, in a Node process: `tests/js/rules.mjs`. What the database itself refuses,
and targaryen does not, is refused here; what else targaryen gets wrong is in
`tests/test_rules_language.py`.
"""

import atexit
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

Value = Any
Path = tuple[str, ...]

SERVER_TIME = {".sv": "timestamp"}  # a placeholder that the database replaces by its time

# firebase.google.com/docs/database/usage/limits
MAX_DEPTH = 31
MAX_KEY_BYTES = 768
MAX_TEXT_BYTES = 10 * 1024 * 1024
INVALID_IN_KEYS = re.compile(r"[.$#\[\]/\x00-\x1f\x7f]")


class RuleError(Exception):
    """The rules cannot be read, or not be evaluated for what is asked."""


class InvalidWrite(ValueError):
    """The database cannot hold it, whatever the rules say."""


# What the database holds: a tree in which nothing is null or empty


def segments(path: str) -> Path:
    found = tuple(segment for segment in path.split("/") if segment)
    for key in found:
        _check_key(key, found)
    return found


def tree(value: Value, now: int, at: Path = ()) -> Value:
    """What the database holds of a JSON value: lists are maps, and there are no nulls."""
    if len(at) > MAX_DEPTH:
        raise InvalidWrite(f"{'/'.join(at)} is deeper than {MAX_DEPTH} levels")
    if value == SERVER_TIME:
        return now
    if isinstance(value, str) and _bytes(value) > MAX_TEXT_BYTES:
        raise InvalidWrite(f"{'/'.join(at)} is longer than {MAX_TEXT_BYTES} bytes")
    if isinstance(value, list):
        value = {str(index): item for index, item in enumerate(value)}
    if isinstance(value, Mapping):
        for key in value:
            _check_key(key, at)
        items = {key: tree(item, now, (*at, key)) for key, item in value.items()}
        return {key: item for key, item in items.items() if item is not None} or None
    return value


def _check_key(key: str, at: Path) -> None:
    if not key or INVALID_IN_KEYS.search(key) or _bytes(key) > MAX_KEY_BYTES:
        raise InvalidWrite(f"{'/'.join(at)}: {key!r} cannot be a key")


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def changed(root: Value, path: Path, value: Value) -> Value:
    """The tree with another value at the path."""
    if not path:
        return value
    children = dict(root) if isinstance(root, Mapping) else {}
    children[path[0]] = changed(children.get(path[0]), path[1:], value)
    return {key: item for key, item in children.items() if item is not None} or None


@dataclass(frozen=True)
class Database:
    """A database with the text of its rules, what it holds, and its time in milliseconds."""

    rules: str
    root: Value
    now: int

    def may_read(self, who: str | None, path: str) -> bool:
        return bool(self._ask(who, read="/".join(segments(path)))["allowed"])

    def may_write(self, who: str | None, writes: Mapping[str, Value]) -> bool:
        """Whether all of it may be written at once, null being a deletion.

        The documentation says that `.validate` is "only evaluated for non-null values", and not
        whether what stays above something that is deleted is validated, so rules may not depend on
        it.
        """
        update = {"/".join(path): value for path, value in self._update(writes)}
        answer = self._ask(who, update=update)
        if answer["allowed"] != answer["allowed_unless_above"]:
            raise RuleError(f"{update}: depends on a .validate above what is deleted")
        return bool(answer["allowed"])

    def written(self, writes: Mapping[str, Value]) -> "Database":
        """The database after a write."""
        root = self.root
        for path, value in self._update(writes):
            root = changed(root, path, value)
        return Database(self.rules, root, self.now)

    def _update(self, writes: Mapping[str, Value]) -> Iterator[tuple[Path, Value]]:
        paths = {segments(path): value for path, value in writes.items()}
        for path, following in pairwise(sorted(paths)):
            if following[: len(path)] == path:
                raise InvalidWrite(f"{'/'.join(path)} is above {'/'.join(following)}")
        for path, value in paths.items():
            yield path, tree(value, self.now, path)

    def _ask(self, who: str | None, **asked: Any) -> Mapping[str, Any]:
        auth = None if who is None else {"uid": who}
        return _ask({"rules": self.rules, "data": self.root, "now": self.now, "auth": auth} | asked)


def check_rules(rules: str) -> None:
    """Raises `RuleError` for what are no rules."""
    _ask({"rules": rules})


# Who evaluates them


class Evaluator:
    """A process that answers one question after another, each a line of JSON."""

    def __init__(self, *command: str) -> None:
        self.command = command
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
            )
        except OSError as error:
            raise RuntimeError(f"{command[0]} does not start: {error}") from None

    def answer(self, question: Mapping[str, Any]) -> Mapping[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        line = ""
        if self._process.poll() is None:
            with suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(question, allow_nan=False) + "\n")
                self._process.stdin.flush()
            line = self._process.stdout.readline()
        if line:
            answer: Mapping[str, Any] = json.loads(line)
            return answer
        raise RuntimeError(f"{' '.join(self.command)} ended; has `make setup` run?\n{self.close()}")

    def close(self) -> str:
        """Ends the process; returns what it said on stderr."""
        return self._process.communicate()[1]


@cache
def _evaluator() -> Evaluator:
    """The one of all tests, which starts with the first question."""
    evaluator = Evaluator("node", "tests/js/rules.mjs")
    atexit.register(evaluator.close)
    return evaluator


def _ask(question: Mapping[str, Any]) -> Mapping[str, Any]:
    answer = _evaluator().answer(question)
    if "error" in answer:
        raise RuleError(answer["error"])
    return answer
