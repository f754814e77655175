"""The security rules of the Realtime Database, evaluated: whether somebody may read or write.

Google's emulator of that database cannot be installed from a package registry, so this follows
its documentation (firebase.google.com/docs/rules/rules-language): `.read` and `.write` open what
is below them, `.validate` has to hold for everything that is written, and a rule that cannot be
evaluated is false. What a rule may say is a small part of JavaScript. On 20,000 writes to the rules
that are shipped, allowed ones and others, it agreed with the npm package targaryen 3.1.0.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Value = Any
Scope = Mapping[str, Value]
Expression = Callable[[Scope], Value]


class RuleError(Exception):
    """The rule cannot be read, or not be evaluated for what it is asked about."""


# The database: a tree in which nothing is null or empty


def tree(value: Value) -> Value:
    """What the database holds of a JSON value: lists are maps, and there are no nulls."""
    if isinstance(value, list):
        value = {str(index): item for index, item in enumerate(value)}
    if isinstance(value, Mapping):
        items = {key: tree(item) for key, item in value.items()}
        return {key: item for key, item in items.items() if item is not None} or None
    return value


def changed(root: Value, path: tuple[str, ...], value: Value) -> Value:
    """The tree with another value at the path."""
    if not path:
        return tree(value)
    children = dict(root) if isinstance(root, Mapping) else {}
    children[path[0]] = changed(children.get(path[0]), path[1:], value)
    return tree(children)


def segments(path: str) -> tuple[str, ...]:
    return tuple(segment for segment in path.split("/") if segment)


@dataclass(frozen=True)
class Snapshot:
    """`data`, `newData` and `root` of a rule; its methods have the names that they have there."""

    root: Value
    path: tuple[str, ...] = ()

    def val(self) -> Value:
        value = self.root
        for key in self.path:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def child(self, path: Value) -> "Snapshot":
        if not isinstance(path, str):
            raise RuleError(f"child of {path}")
        return Snapshot(self.root, self.path + segments(path))

    def parent(self) -> "Snapshot":
        if not self.path:
            raise RuleError("the root has no parent")
        return Snapshot(self.root, self.path[:-1])

    def exists(self) -> bool:
        return self.val() is not None

    def hasChild(self, path: Value) -> bool:  # noqa: N802
        return self.child(path).exists()

    def hasChildren(self, names: Value = None) -> bool:  # noqa: N802
        if names is None:
            return isinstance(self.val(), Mapping)
        return all(self.hasChild(name) for name in names)

    def isString(self) -> bool:  # noqa: N802
        return isinstance(self.val(), str)

    def isBoolean(self) -> bool:  # noqa: N802
        return isinstance(self.val(), bool)

    def isNumber(self) -> bool:  # noqa: N802
        return _is_number(self.val())


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


SNAPSHOT = {"val", "child", "parent", "exists", "hasChild", "hasChildren"}
SNAPSHOT |= {"isString", "isBoolean", "isNumber"}
TEXT: Mapping[str, Callable[[str, Value], bool]] = {
    "contains": lambda text, part: part in text,
    "beginsWith": lambda text, part: text.startswith(part),
    "matches": lambda text, pattern: pattern.search(text) is not None,
}


# The language: a rule becomes a function of what its names stand for

TOKENS = re.compile(
    r"""\s*(?:(?P<name>[A-Za-z_$][A-Za-z0-9_$]*) | (?P<text>'[^'\\]*') | (?P<number>[0-9]+)
    | (?P<pattern>/\^(?:[^/\\]|\\.)*/) | (?P<sign>[=!]==?|&&|\|\||<=|>=|[-+!<>?:().,\[\]]))""",
    re.VERBOSE,
)
CONSTANTS = {"true": True, "false": False, "null": None}
# From the loosest to the tightest. `&&` and `||` do not look at their right side in vain.
OPERATORS: tuple[Mapping[str, Callable[[Value, Value], Value]], ...] = (
    {
        **dict.fromkeys(("===", "=="), lambda left, right: _is_same(left, right)),
        **dict.fromkeys(("!==", "!="), lambda left, right: not _is_same(left, right)),
    },
    {
        "<": lambda left, right: left < right,
        "<=": lambda left, right: left <= right,
        ">": lambda left, right: left > right,
        ">=": lambda left, right: left >= right,
    },
    {"+": lambda left, right: left + right, "-": lambda left, right: left - right},
)


def _is_same(left: Value, right: Value) -> bool:
    """`===`; a snapshot's value that is a map is only ever null or not to it."""
    if isinstance(left, bool) is not isinstance(right, bool):
        return False
    return not isinstance(left, Mapping) and not isinstance(right, Mapping) and left == right


def compiled(rule: str, names: frozenset[str]) -> Expression:
    """The rule as a function; raises `RuleError` for what is no rule, and for other names."""
    return _Parser(rule, names).rule()


class _Parser:
    def __init__(self, text: str, names: frozenset[str]) -> None:
        self.names = names
        self.tokens: list[tuple[str, str]] = []
        position, text = 0, text.rstrip()
        while position < len(text):
            found = TOKENS.match(text, position)
            if not found or not found.lastgroup:
                raise RuleError(f"cannot read {text[position:]}")
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            position = found.end()
        self.tokens.append(("end", ""))

    def rule(self) -> Expression:
        expression = self._choice()
        self._expect("")
        return expression

    def _next(self) -> tuple[str, str]:
        return self.tokens.pop(0)

    def _takes(self, *signs: str) -> str | None:
        kind, text = self.tokens[0]
        return self._next()[1] if kind in ("sign", "end") and text in signs else None

    def _expect(self, sign: str) -> None:
        if self._takes(sign) is None:
            raise RuleError(f"expected {sign or 'the end'}, not {self.tokens[0][1]}")

    def _choice(self) -> Expression:
        condition = self._either()
        if not self._takes("?"):
            return condition
        yes = self._choice()
        self._expect(":")
        no = self._choice()
        return lambda scope: yes(scope) if _truth(condition(scope)) else no(scope)

    def _either(self) -> Expression:
        sides = [self._both()]
        while self._takes("||"):
            sides.append(self._both())
        if len(sides) == 1:
            return sides[0]
        return lambda scope: any(_truth(side(scope)) for side in sides)

    def _both(self) -> Expression:
        sides = [self._operation()]
        while self._takes("&&"):
            sides.append(self._operation())
        if len(sides) == 1:
            return sides[0]
        return lambda scope: all(_truth(side(scope)) for side in sides)

    def _operation(self, level: int = 0) -> Expression:
        if level == len(OPERATORS):
            return self._negation()
        left = self._operation(level + 1)
        while sign := self._takes(*OPERATORS[level]):
            left = _operation(OPERATORS[level][sign], left, self._operation(level + 1))
        return left

    def _negation(self) -> Expression:
        if not self._takes("!"):
            return self._member()
        negated = self._negation()
        return lambda scope: not _truth(negated(scope))

    def _member(self) -> Expression:
        value = self._atom()
        while self._takes("."):
            kind, name = self._next()
            if kind != "name":
                raise RuleError(f"{name} is no name")
            value = _call(value, name, self._list(")")) if self._takes("(") else _get(value, name)
        return value

    def _atom(self) -> Expression:
        kind, text = self._next()
        if kind == "name" and text in CONSTANTS:
            return lambda scope: CONSTANTS[text]
        if kind == "name":
            if text not in self.names:
                raise RuleError(f"{text} means nothing here")
            return lambda scope: scope[text]
        if kind == "text":
            return lambda scope: text[1:-1]
        if kind == "number":
            return lambda scope: int(text)
        if kind == "pattern":
            pattern = re.compile(re.sub(r"\$/$", r"\\Z", text)[1:].removesuffix("/"))
            return lambda scope: pattern
        if text == "(":
            inner = self._choice()
            self._expect(")")
            return inner
        if text == "[":
            items = self._list("]")
            return lambda scope: [item(scope) for item in items]
        raise RuleError(f"unexpected {text or 'end'}")

    def _list(self, end: str) -> list[Expression]:
        items: list[Expression] = []
        while self._takes(end) is None:
            if items:
                self._expect(",")
            items.append(self._choice())
        return items


def _truth(value: Value) -> bool:
    if not isinstance(value, bool):
        raise RuleError(f"{value} is neither true nor false")
    return value


def _operation(
    operator: Callable[[Value, Value], Value], left: Expression, right: Expression
) -> Expression:
    def evaluate(scope: Scope) -> Value:
        try:
            return operator(left(scope), right(scope))
        except TypeError as error:
            raise RuleError(str(error)) from None

    return evaluate


def _get(value: Expression, name: str) -> Expression:
    def evaluate(scope: Scope) -> Value:
        found = value(scope)
        if isinstance(found, str) and name == "length":
            return len(found.encode("utf-16-le")) // 2
        if isinstance(found, Mapping) and name in found:
            return found[name]
        raise RuleError(f"{found} has no {name}")

    return evaluate


def _call(value: Expression, name: str, arguments: list[Expression]) -> Expression:
    if name not in SNAPSHOT and name not in TEXT:
        raise RuleError(f"there is no {name}()")

    def evaluate(scope: Scope) -> Value:
        found, given = value(scope), [argument(scope) for argument in arguments]
        if isinstance(found, Snapshot) and name in SNAPSHOT:
            return getattr(found, name)(*given)
        if isinstance(found, str) and name in TEXT:
            return TEXT[name](found, *given)
        raise RuleError(f"{found} has no {name}()")

    return evaluate


# The rules: a tree of them


@dataclass(frozen=True)
class Node:
    """The rules of one place, and of those below it."""

    rules: Mapping[str, Expression]
    children: Mapping[str, "Node"]

    def below(self, key: str) -> tuple[str, "Node"] | None:
        """The rules for a child, and the name under which they know its key."""
        if key in self.children:
            return "", self.children[key]
        return next(((n, node) for n, node in self.children.items() if n.startswith("$")), None)


def parsed(text: str) -> Node:
    return _node(json.loads(text)["rules"], frozenset({"auth", "root", "now"}))


def _node(described: Mapping[str, Any], names: frozenset[str]) -> Node:
    rules, children = {}, {}
    for key, value in described.items():
        if key in (".write", ".validate"):
            known = names | {"data", "newData"}
            rules[key] = compiled(json.dumps(value) if isinstance(value, bool) else value, known)
        elif key == ".read":
            known = names | {"data"}
            rules[key] = compiled(json.dumps(value) if isinstance(value, bool) else value, known)
        else:
            children[key] = _node(value, names | ({key} if key.startswith("$") else set()))
    return Node(rules, children)


@dataclass(frozen=True)
class Database:
    """A database with rules, what it holds, and what time it is there (milliseconds)."""

    rules: Node
    root: Value
    now: int

    def may_read(self, who: str | None, path: str) -> bool:
        scope = self._scope(who)
        return any(
            _holds(node, ".read", {**scope, **names, "data": Snapshot(self.root, at)})
            for at, node, names in self._way(segments(path))
        )

    def may_write(self, who: str | None, writes: Mapping[str, Value]) -> bool:
        """Whether all of it may be written at once, null being a deletion.

        The documentation does not say whether what stays above something that is deleted is
        validated, so rules may not depend on it.
        """
        (answer,) = {self._may_write(who, writes, strict) for strict in (True, False)}
        return answer

    def _may_write(self, who: str | None, writes: Mapping[str, Value], strict: bool) -> bool:
        after = self.written(writes).root
        return all(self._may_write_one(who, segments(path), after, strict) for path in writes)

    def written(self, writes: Mapping[str, Value]) -> "Database":
        """The database after a write."""
        root = self.root
        for path, value in writes.items():
            root = changed(root, segments(path), value)
        return Database(self.rules, root, self.now)

    def _may_write_one(
        self, who: str | None, path: tuple[str, ...], after: Value, strict: bool
    ) -> bool:
        def scope(at: tuple[str, ...], names: Scope) -> Scope:
            both = {"data": Snapshot(self.root, at), "newData": Snapshot(after, at)}
            return {**self._scope(who), **names, **both}

        way = list(self._way(path))
        if not any(_holds(node, ".write", scope(at, names)) for at, node, names in way):
            return False
        is_deletion = not Snapshot(after, path).exists()
        validated = [] if is_deletion and not strict else way
        if not is_deletion and len(way) == len(path) + 1:
            validated = [*way[:-1], *_below(*way[-1], Snapshot(after, path).val())]
        return all(
            _holds(node, ".validate", scope(at, names))
            for at, node, names in validated
            if Snapshot(after, at).exists() and ".validate" in node.rules
        )

    def _way(self, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Node, dict[str, str]]]:
        """The places from the root to the path, as far as there are rules."""
        node, names = self.rules, dict[str, str]()
        yield (), node, names
        for length, key in enumerate(path, start=1):
            found = node.below(key)
            if found is None:
                return
            name, node = found
            names = {**names, name: key} if name else names
            yield path[:length], node, names

    def _scope(self, who: str | None) -> dict[str, Value]:
        auth = None if who is None else {"uid": who}
        return {"auth": auth, "root": Snapshot(self.root), "now": self.now}


def _below(
    at: tuple[str, ...], node: Node, names: dict[str, str], value: Value
) -> Iterator[tuple[tuple[str, ...], Node, dict[str, str]]]:
    """A place, and those below it that a value has and that have rules."""
    yield at, node, names
    for key, item in value.items() if isinstance(value, Mapping) else ():
        found = node.below(key)
        if found is not None:
            name, child = found
            yield from _below((*at, key), child, {**names, name: key} if name else names, item)


def _holds(node: Node, kind: str, scope: Scope) -> bool:
    if kind not in node.rules:
        return False
    try:
        return node.rules[kind](scope) is True
    except RuleError:
        return False
