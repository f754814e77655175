"""What rules of the Realtime Database mean, as Firebase documents it.

These are our own cases, beside targaryen: what it evaluates as documented, what it does not know
and `tests/database_rules.py` sees to, and what it gets wrong.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.database_rules import (
    MAX_DEPTH,
    MAX_KEY_BYTES,
    MAX_TEXT_BYTES,
    SERVER_TIME,
    Database,
    Evaluator,
    InvalidWrite,
    RuleError,
    check_rules,
)
from tests.scenarios import NO, YES

RULES = Path("database.rules.json").read_text(encoding="utf-8")
NOW = 1_800_000_000_000
OPEN = {".read": True, ".write": True}


def database(rules: Mapping[str, Any], stored: Any = None) -> Database:
    empty = Database(json.dumps({"rules": rules}), None, NOW)
    return empty.written({"": stored})


def accepts(rule: str, value: Any) -> bool:
    """Whether a rule that validates `a` lets it become the value."""
    return database({**OPEN, "a": {".validate": rule}}).may_write(None, {"a": value})


def pattern(expression: str) -> str:
    return f"newData.val().matches(/{expression}/)"


# As documented
# firebase.google.com/docs/database/security/core-syntax


@pytest.mark.parametrize(
    ("says", "rules", "may"),
    [
        ("nothing said", {}, NO),
        ("opened above", {".write": True, "a": {"b": {".write": False}}}, YES),
        ("opened below", {"a": {"b": {"c": {".write": True}}}}, NO),
        ("invalid below", {".write": True, "a": {"b": {"c": {".validate": False}}}}, NO),
        ("invalid above", {".write": True, "a": {".validate": False}}, NO),
        ("invalid beside", {".write": True, "a": {"x": {".validate": False}}}, YES),
        ("a name beside a wildcard", {**OPEN, "a": {"b": {}, "$x": {".validate": False}}}, YES),
        ("a wildcard", {**OPEN, "a": {"$x": {".validate": "$x === 'b'"}}}, YES),
        ("a wildcard of another", {**OPEN, "a": {"$x": {".validate": "$x === 'c'"}}}, NO),
    ],
)
def test_write_opens_what_is_below_and_validate_holds_everywhere(
    says: str, rules: dict[str, Any], may: bool
) -> None:
    assert database(rules).may_write(None, {"a/b": {"c": 1}}) == may, says


@pytest.mark.parametrize(
    ("rules", "path", "may"),
    [
        ({}, "a", NO),
        ({"a": {".read": True}}, "a", YES),
        ({"a": {".read": True}}, "a/b/c", YES),
        ({"a": {".read": True}}, "", NO),
        ({".read": True, "a": {".read": False}}, "a", YES),
        ({"$x": {".read": "$x === 'a' && data.child('b').val() === 1"}}, "a", YES),
        ({"$x": {".read": "$x === 'a' && now > 1000"}}, "a", YES),
    ],
)
def test_read_opens_what_is_below(rules: dict[str, Any], path: str, may: bool) -> None:
    assert database(rules, {"a": {"b": 1}}).may_read(None, path) == may


@pytest.mark.parametrize("value", [None, {}, [], {"b": None}, {"b": {"c": []}}, [None]])
def test_what_is_deleted_is_not_validated(value: Any) -> None:
    """Null, and what holds nothing but null, is no data."""
    invalid = {"a": {".write": True, ".validate": False, "$b": {".validate": False}}}
    stored = database(invalid, {"a": {"b": 1}})
    assert stored.may_write(None, {"a": value})
    assert stored.written({"a": value}).root is None


def test_rules_may_not_depend_on_validate_above_what_is_deleted() -> None:
    rules = {**OPEN, "a": {".validate": "newData.hasChildren(['b'])"}}
    stored = database(rules, {"a": {"b": 1, "c": 1}})
    assert stored.may_write(None, {"a/c": None})
    assert stored.may_write(None, {"a": None})
    with pytest.raises(RuleError, match="above what is deleted"):
        stored.may_write(None, {"a/b": None})
    assert not stored.may_write(None, {"a/b": None, "a/c": 2})


@pytest.mark.parametrize(
    ("rule", "written", "may"),
    [
        ("newData.parent().child('b').val() === 1", {"a": 1, "b": 1}, YES),
        ("newData.parent().child('b').val() === 1", {"a": 1}, NO),
        ("root.child('b').exists()", {"a": 1, "b": 1}, NO),
        ("data.exists()", {"a": 1, "b": 1}, NO),
        ("data.parent().child('c').exists()", {"a": 1, "c": None}, YES),
        ("newData.parent().child('c').exists()", {"a": 1, "c": None}, NO),
        ("newData.parent().child('c').exists()", {"a": 1}, YES),
    ],
)
def test_an_update_is_seen_as_a_whole_or_not_at_all(
    rule: str, written: dict[str, Any], may: bool
) -> None:
    """`newData` is after all of its paths, `data` and `root` before."""
    rules = {"a": {".write": rule}, "$other": {".write": True}}
    assert database(rules, {"c": 1}).may_write(None, written) == may


def test_an_update_is_allowed_if_each_of_its_paths_is() -> None:
    rules = {"a": {".write": True}, "b": {".write": "auth.uid === 'ann'"}}
    assert database(rules).may_write("ann", {"a": 1, "b": 1})
    assert database(rules).may_write("bob", {"a": 1})
    assert not database(rules).may_write("bob", {"a": 1, "b": 1})


# firebase.google.com/docs/reference/security/database


@pytest.mark.parametrize(
    ("rule", "value", "may"),
    [
        ("newData.val() === now", SERVER_TIME, YES),
        ("newData.child('b').val() === now", {"b": SERVER_TIME}, YES),
        ("newData.val() === now", NOW, YES),
        ("newData.val() === now", NOW - 1, NO),
        ("newData.isNumber()", SERVER_TIME, YES),
        ("newData.isNumber()", 0, YES),
        ("newData.isNumber()", 2.5, YES),
        ("newData.isNumber()", True, NO),
        ("newData.isNumber()", "1", NO),
        ("newData.isString()", "", YES),
        ("newData.isString()", {"b": ""}, NO),
        ("newData.isBoolean()", False, YES),
        ("newData.isBoolean()", 0, NO),
        ("newData.val() === 1", 1.0, YES),
        ("newData.val() === 1", True, NO),
        ("newData.val() == 1", "1", NO),
        ("newData.exists()", False, YES),
        ("newData.hasChildren()", ["b"], YES),
        ("newData.hasChildren()", "b", NO),
        ("newData.hasChildren(['0', '2'])", ["b", None, "c"], YES),
        ("newData.hasChildren(['0', '1'])", ["b", None, "c"], NO),
        ("newData.hasChildren(['b/c'])", {"b": {"c": 1}}, YES),
        ("newData.hasChild('b')", {"b": False}, YES),
        ("newData.hasChild('b')", {"b": {}, "c": 1}, NO),
        ("newData.val().length === 2", "😀", YES),  # UTF-16
        ("newData.val().length === 1", "é", YES),
        ("newData.val().contains('b')", "abc", YES),
        ("newData.val().beginsWith('b')", "abc", NO),
    ],
)
def test_what_a_rule_finds_in_a_value(rule: str, value: Any, may: bool) -> None:
    assert accepts(rule, value) == may


@pytest.mark.parametrize(
    "rule",
    [
        "newData.val().length < 9",
        "newData.val().contains('a')",
        "newData.val() < 'a'",
        "newData.val() - 1 === 6 || newData.child(auth.uid).exists()",
        "newData.parent().parent().exists()",
    ],
)
@pytest.mark.parametrize("negation", ["", "!"])
def test_a_rule_that_cannot_be_evaluated_is_false(rule: str, negation: str) -> None:
    assert not accepts(f"{negation}({rule})", [7])


# firebase.google.com/docs/reference/security/database/regex


@pytest.mark.parametrize(
    ("expression", "text", "may"),
    [
        ("b", "abc", YES),
        ("^b", "abc", NO),
        ("^abc$", "abc", YES),
        ("^abc$", "abc\n", NO),
        ("^ABC$", "abc", NO),
        ("^ab?c+d*$", "acc", YES),
        ("^(ab|c)$", "c", YES),
        ("^(ab|c)$", "a", NO),
        ("^[a-c]$", "b", YES),
        ("^[^a-c]$", "b", NO),
        ("^[^ ]+$", "a\nb", YES),
        ("^[!-~]+$", "aé", NO),
        ("^[A-Za-z0-9_.:@~-]+$", "a.b:c@d~e-f", YES),
        ("^[A-Za-z0-9_.-]+$", "a b", NO),
        ("^[A-Za-z0-9_+\\/-]+$", "a/b+c-d", YES),
        ("^(0|[1-9][0-9]?[0-9]?)$", "999", YES),
        ("^(0|[1-9][0-9]?[0-9]?)$", "01", NO),
        ("^a\\.b$", "a.b", YES),
        ("^a\\.b$", "axb", NO),
        ("^\\d\\w\\s$", "1a ", YES),
    ],
)
def test_what_a_pattern_matches(expression: str, text: str, may: bool) -> None:
    assert accepts(pattern(expression), text) == may


@pytest.mark.parametrize(
    "rules",
    [
        {".read": "newData.exists()"},
        {".read": "data.val()"},
        {".read": "data.hasChildren([])"},
        {".read": "data.val().matches('a')"},
        {".read": "data.val().matches(/a/g)"},
        {".read": 1},
        {".red": True},
        {"$a": {}, "$b": {}},
        {"$a": {"$a": {}}},
        {"a": True},
    ],
)
def test_what_cannot_be_deployed_cannot_be_evaluated(rules: dict[str, Any]) -> None:
    with pytest.raises(RuleError):
        check_rules(json.dumps({"rules": rules}))


# What targaryen does not know, so that `tests/database_rules.py` refuses it
# firebase.google.com/docs/database/usage/limits; what is said of paths is in Firebase's clients.


def nested(levels: int) -> Any:
    return {"b": nested(levels - 1)} if levels else 1


@pytest.mark.parametrize(
    "written",
    [
        *({f"a{character}b": 1} for character in ".#$[]\n\x00\x7f"),
        *({"a": {f"a{character}b": 1}} for character in "/.#$[]\n\x00\x7f"),
        {"a": {"": 1}},
        {"a": {"é" * (MAX_KEY_BYTES // 2) + "x": 1}},
        {"a": nested(MAX_DEPTH)},
        {"/".join("a" * (MAX_DEPTH + 1)): 1},
        {"a": "é" * (MAX_TEXT_BYTES // 2) + "x"},
        {"a": {"b": 1}, "a/b": 2},
        {"a": 1, "": {"a": 2}},
        {"a/b/c": 1, "a/b2": 1, "a/b": None},
        {"a": {".sv": {"increment": 1}}},
        {"a": {".priority": 1, ".value": 1}},
    ],
    ids=lambda written: repr(written)[:40],
)
def test_what_the_database_cannot_hold_is_not_asked_about(written: dict[str, Any]) -> None:
    with pytest.raises(InvalidWrite):
        database(OPEN).may_write(None, written)
    with pytest.raises(InvalidWrite):
        database(OPEN).written(written)


@pytest.mark.parametrize(
    "written",
    [
        {"a": {"é" * (MAX_KEY_BYTES // 2): 1}},
        {"a": nested(MAX_DEPTH - 1)},
        {"a": "é" * (MAX_TEXT_BYTES // 2)},
        {"a/b": 1, "a/bc": 2, "ab": 3},
        {"/a//b/": 1},
        {"": {"a": 1}},
        {"a": {"é 😀%&'\"\\-": 1, "00": 1, "-1": 1}},
    ],
    ids=lambda written: repr(written)[:40],
)
def test_what_the_database_can_hold(written: dict[str, Any]) -> None:
    assert database(OPEN).may_write(None, written)
    assert database(OPEN).written(written).root


@pytest.mark.parametrize("key", ["constructor", "toString", "valueOf", "__proto__"])
def test_keys_that_targaryen_takes_for_properties_are_not_asked_about(key: str) -> None:
    """It finds no rules at them, not even those of a wildcard."""
    closed = database({".write": True, "$other": {".validate": False}})
    for written in ({key: 1}, {f"a/{key}": 1}, {"a": {key: 1}}):
        with pytest.raises(RuleError, match=key):
            closed.may_write(None, written)
    with pytest.raises(RuleError, match=key):
        closed.may_read(None, f"a/{key}")


# What targaryen 3.1.0 gets wrong, and our rules do without. Where it is right in a newer version,
# the case belongs above.


@pytest.mark.parametrize(
    ("rule", "value", "documented"),
    [
        # Whether a text ends with another: it looks where the other is first
        ("newData.val().endsWith('ab')", "abab", YES),
        ("newData.val().endsWith('abc')", "xy", NO),
        # `val()` "gets the primitive value": it gets a map too, and takes a child for the length
        ("newData.val().length <= 2", {"length": 1}, NO),
        # "The character following is interpreted literally": in a set, it is not
        (pattern("^[\\^a]$"), "b", NO),
        (pattern("^[\\\\a]$"), "\\", YES),
        # "Matches any character": not the end of a line
        (pattern("^a.b$"), "a\nb", YES),
    ],
)
def test_what_targaryen_gets_wrong(rule: str, value: Any, documented: bool) -> None:
    assert accepts(rule, value) != documented


def test_our_rules_do_without_what_targaryen_gets_wrong() -> None:
    rules = re.findall(r'"\.(?:read|write|validate)": "(.*?)"', RULES)
    patterns = [found for rule in rules for found in re.findall(r"\.matches\(/(.*?)/\)", rule)]
    assert patterns
    for rule in rules:
        assert "endsWith" not in rule
        assert "newData.val().length" not in rule.split("newData.isString()")[0], rule
    for each in patterns:
        outside = re.sub(r"\[.*?\]", "", each)
        assert "\\" not in each.replace("\\\\/", ""), each
        assert "." not in outside, each


# The process that evaluates them


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(RuntimeError, match="no-such-program does not start"):
        Evaluator("no-such-program")


def test_a_program_that_ends_is_named_with_what_it_said() -> None:
    evaluator = Evaluator(sys.executable, "-c", "import sys; sys.exit('no targaryen')")
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"make setup.*\nno targaryen"):
            evaluator.answer({})
