"""Masks the REST key in Batch's replies, where an error may quote it.

The key may be escaped: as `\\u0061` in JSON, as `%61` in an address, as `&#97;` in HTML, or as one
inside another. What counts is what a reader could decode.
"""

import html
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

MASK = "****"
ESCAPES = re.compile(rb"[\\%&\0]")  # NUL: the answer is in UTF-16
MAX_READINGS = 100  # ways to decode one text; a text with more is masked as a whole


def masked(answer: bytes, key: str) -> bytes:
    """The reply without the key, however it is escaped."""
    if not ESCAPES.search(answer):
        return answer.replace(key.encode(), MASK.encode())
    if not _shows(answer.decode("utf-8", "replace"), key):
        return answer
    try:
        value = _each_text(json.loads(answer), lambda text: masked_text(text, key))
        text = json.dumps(value)
    except (ValueError, RecursionError):  # not JSON, or cut off
        return MASK.encode()
    return (MASK if _shows(text, key) else text).encode()


def masked_text(text: str, key: str) -> str:
    """The text without the key; only a mask if the key is escaped in it."""
    text = text.replace(key, MASK)
    return MASK if _shows(text, key) else text


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """The JSON value with every text changed, including names of fields."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each_text(each, change) for each in value]
    if isinstance(value, dict):
        return {change(name): _each_text(each, change) for name, each in value.items()}
    return value


def _shows(text: str, key: str) -> bool:
    """Whether removing escapes, layer by layer and in any order, reveals the key."""
    plain = text.replace("\0", "")
    seen, waiting = {plain}, [plain]
    while waiting:
        text = waiting.pop()
        if key in text or len(seen) > MAX_READINGS:
            return True
        new = {remove(text) for remove in REMOVE} - seen
        seen |= new
        waiting += new
    return False


ESCAPE = r"[\\%]u([0-9a-f]{4})|(?:\\x|%)([0-9a-f]{2})|(&(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z]+);)"
SAFE = re.compile(ESCAPE, re.IGNORECASE)
WITH_BACKSLASHES = re.compile(rf"{ESCAPE}|\\(.)", re.IGNORECASE | re.DOTALL)


def _character(found: re.Match[str]) -> str:
    if code := found[1] or found[2]:
        return chr(int(code, 16))
    return html.unescape(found[3]) if found[3] else found[4]


REMOVE: Sequence[Callable[[str], str]] = (
    lambda text: SAFE.sub(_character, text),
    lambda text: WITH_BACKSLASHES.sub(_character, text),
    html.unescape,
)
