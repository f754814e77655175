"""Batch's answers as `probe` reports them, and how two reports differ. Pure.

Ids, times and names of the run become placeholders: the same answer reads the same in every report.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from batchpush.batch_api.masking import masked, masked_text
from batchpush.batch_api.outcome import Reply
from batchpush.cli.probe.questions import MARKER
from batchpush.cli.terminal import escaped, indented_json

Headers = Mapping[str, str]  # by lower-case name, without the REST key
Entry = Mapping[str, Any]  # a question of a report, with its answer

SHOWN_HEADERS = re.compile(r"content-type|retry-after|.*rate-?limit.*")
COMPARED_HEADERS = frozenset({"content-type"})  # of the others, only whether they are there
MAX_TEXT = 2_000  # characters of an answer that is not JSON

PLACEHOLDERS = {
    re.compile(pattern): placeholder
    for pattern, placeholder in {
        r"\b[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}\b": "{id}",
        r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?": "{time}",
        r"\b\d{4}-\d\d-\d\d\b": "{day}",
    }.items()
}


def answer_of(reply: Reply, headers: Headers, app_key: str, marker: str) -> dict[str, Any]:
    """The answer without the app key; the REST key is masked already."""
    if reply.status is None:
        return {"problem": reply.problem}
    body = _read(masked(reply.body, app_key))
    shown = {
        name: masked_text(value, app_key)
        for name, value in sorted(headers.items())
        if SHOWN_HEADERS.fullmatch(name)
    }
    return {
        "status": reply.status,
        "headers": shown,
        "body": _normal(_own_rows(body, marker), marker),
    }


def _read(body: bytes) -> Any:
    """The JSON value, or the beginning of the text."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")[:MAX_TEXT]


def _own_rows(body: Any, marker: str) -> Any:
    """A list of campaigns without those of others."""
    if not isinstance(body, list):
        return body
    return [row for row in body if marker in json.dumps(row)]


def _normal(value: Any, marker: str) -> Any:
    if isinstance(value, str):
        text = value.replace(marker, MARKER)
        for pattern, placeholder in PLACEHOLDERS.items():
            text = pattern.sub(placeholder, text)
        return text
    if isinstance(value, list):
        return [_normal(each, marker) for each in value]
    if isinstance(value, dict):
        return {_normal(name, marker): _normal(each, marker) for name, each in value.items()}
    return value


def differences(theirs: Iterable[Entry], ours: Iterable[Entry]) -> Iterator[str]:
    """One line, fit for a terminal, for each field in which the answers to a question differ."""
    others = {entry["name"]: _fields(entry) for entry in theirs}
    for entry in ours:
        name, mine = entry["name"], _fields(entry)
        other = others.pop(name, None)
        if other is None:
            yield f"{escaped(name)}: their report has no such question"
            continue
        for field in sorted(other.keys() | mine.keys()):
            if _told(other, field) != _told(mine, field):
                told = f"theirs {_told(other, field)}, ours {_told(mine, field)}"
                yield f"{escaped(name)}  {escaped(field)}: {told}"
    yield from (f"{escaped(name)}: our report has no such question" for name in others)


def _fields(entry: Entry) -> dict[str, Any]:
    """What is compared of a question: the values of its request and its answer, by their paths."""
    answer = dict(entry["answer"])
    if isinstance(answer.get("headers"), dict):
        answer["headers"] = {
            name: value if name in COMPARED_HEADERS else "present"
            for name, value in answer["headers"].items()
        }
    return dict(_flat({"request": entry["request"], **answer}, ()))


def _flat(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        value = {str(index): each for index, each in enumerate(value)} or value
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _flat(each, (*path, name))
    else:
        yield ".".join(path), value


def _told(fields: Mapping[str, Any], field: str) -> str:
    if field not in fields:
        return "nothing"
    return "".join(indented_json(json.dumps(fields[field]), ""))
