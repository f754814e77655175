"""The patterns of "ignore" in `firebase.json`, as the Firebase CLI matches them.

The CLI passes the absolute path of every file and folder to minimatch 3 with `matchBase` and `dot`
(src/fsAsync.ts). A pattern without a slash applies to the name only; one with a slash applies to
the whole path, so it has to begin with `**/`. A pattern that begins with `!` matches all others.
"""

import functools
import re
from collections.abc import Callable

ANY = "[^/]*?"
END = r"(?=/|\Z)"  # of a name
FOLDERS = "(?:[^/]*/)*"
GROUPS = {"?": ")?", "*": ")*", "+": ")+", "@": ")"}


@functools.cache
def matcher(pattern: str) -> Callable[[str], bool]:
    """A function that says whether the pattern matches an absolute path with slashes."""
    pattern = pattern.strip()
    if not pattern or pattern.startswith("#"):
        return lambda path: False
    glob = pattern.lstrip("!")
    is_negated = (len(pattern) - len(glob)) % 2 == 1
    rules = [_rule(each) for each in _expanded(glob)]
    return lambda path: any(rule(path) for rule in rules) != is_negated


def _rule(glob: str) -> Callable[[str], bool]:
    parts = re.split("/+", glob)
    expression = re.compile(_path(parts), re.DOTALL)
    if len(parts) == 1:
        return lambda path: expression.fullmatch(path.rpartition("/")[2]) is not None
    return lambda path: expression.fullmatch(path) is not None


def _path(parts: list[str]) -> str:
    found = ""
    for number, part in enumerate(parts, start=1):
        is_last = number == len(parts)
        if part == "**":
            found += f"{FOLDERS}[^/]+" if is_last else FOLDERS
        else:
            found += _Name(part).expression() + ("" if is_last else "/")
    return found


class _Name:
    """One name of a path: `*`, `?`, `[...]`, and lists such as `!(a|b)`."""

    def __init__(self, glob: str) -> None:
        self.glob, self.at = glob, 0

    def expression(self) -> str:
        expression = self._until("")
        is_magic = re.search(r"[*?\[]|[!+@]\(", self.glob) is not None
        return f"(?=[^/]){expression}" if is_magic else expression

    def _until(self, ends: str) -> str:
        """Parse up to one of these characters, without consuming it, or to the end."""
        found = ""
        while self.at < len(self.glob) and self.glob[self.at] not in ends:
            char = self.glob[self.at]
            self.at += 1
            if char in "!?*+@" and self._is_list():
                if char == "!":
                    return found + self._none_of(ends)
                found += "(?:" + "|".join(self._list()) + GROUPS[char]
            elif char == "*":
                found += ANY
            elif char == "?":
                found += "[^/]"
            elif char == "[":
                found += self._class()
            elif char == "\\" and self.at < len(self.glob):
                found += re.escape(self.glob[self.at])
                self.at += 1
            else:
                found += re.escape(char)
        return found

    def _is_list(self) -> bool:
        return self.glob.startswith("(", self.at) and ")" in self.glob[self.at :]

    def _list(self) -> list[str]:
        items = []
        while self.at < len(self.glob) and self.glob[self.at] != ")":
            self.at += 1
            items.append(self._until("|)"))
        self.at += 1
        return items

    def _none_of(self, ends: str) -> str:
        """Match anything except an item of the list followed by the rest of the pattern."""
        items = "|".join(self._list())
        rest = self._until(ends)
        return f"(?!(?:{items}){rest}" + ("" if ends else END) + f"){ANY}{rest}"

    def _class(self) -> str:
        end = self.glob.find("]", self.at + 1)
        if end < 0:
            return r"\["
        negated = "^" if self.glob[self.at] in "!^" else ""
        body = self.glob[self.at + len(negated) : end]
        expression = f"(?!/)[{negated}" + re.sub(r"([\[\]\\&~|^])", r"\\\1", body) + "]"
        try:
            re.compile(expression)
        except re.error:
            return re.escape(self.glob[self.at - 1 : self.at])
        self.at = end + 1
        return expression


def _expanded(glob: str) -> list[str]:
    """`a{b,c}` is `ab` and `ac`; braces without a comma stay."""
    start = 0
    while (opened := glob.find("{", start)) >= 0:
        if glob[opened - 1 : opened] == "$":
            break
        parts, end = _in_braces(glob, opened)
        if len(parts) > 1:
            rest = _expanded(glob[end:])
            middles = [each for part in parts for each in _expanded(part)]
            return [glob[:opened] + middle + tail for middle in middles for tail in rest]
        start = opened + 1
    return [glob]


def _in_braces(glob: str, opened: int) -> tuple[list[str], int]:
    """The comma-separated parts and the end of the braces; no parts if they are not closed."""
    parts: list[str] = []
    depth, since = 0, opened + 1
    for at in range(opened, len(glob)):
        if glob[at] == "{":
            depth += 1
        elif glob[at] == "}":
            depth -= 1
            if depth == 0:
                return [*parts, glob[since:at]], at + 1
        elif glob[at] == "," and depth == 1:
            parts.append(glob[since:at])
            since = at + 1
    return [], opened
