"""Reads documents from files: plain JSON, or a response of Firestore's REST API."""

import codecs
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from batchpush.cli.terminal import CannotDo
from batchpush.google.protocol import firestore_pb2 as protocol
from batchpush.google.values import plain


def fields_in(file: str) -> dict[str, Any]:
    """The fields of a document; raises `CannotDo` for anything else."""
    return _unwrapped(file, _object_in(file))


def documents_in(file: str) -> dict[str, dict[str, Any]]:
    """The fields of documents by path; raises `CannotDo` for anything else."""
    documents = _object_in(file)
    for path, fields in documents.items():
        if not isinstance(fields, dict):
            raise CannotDo(f"{file}: {path} is not a JSON object")
    return {path: _unwrapped(f"{file}: {path}", fields) for path, fields in documents.items()}


def _object_in(file: str) -> dict[str, Any]:
    """The JSON object in the file; raises `CannotDo` with the position of a syntax error."""
    try:
        value = json.loads(_text_in(file), parse_constant=_refused)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise CannotDo(f"{file} is not JSON: {where}: {error.msg}") from None
    except RecursionError:
        raise CannotDo(f"{file} is nested too deeply") from None
    except ValueError as error:  # a number of thousands of digits, or none that JSON has
        raise CannotDo(f"{file}: {error}") from None
    if not isinstance(value, dict):
        raise CannotDo(f"{file} is not a JSON object")
    return value


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _text_in(file: str) -> str:
    try:
        content = Path(file).read_bytes().removeprefix(codecs.BOM_UTF8)
        encoding = json.detect_encoding(content)
        if encoding != "utf-8":
            raise CannotDo(f"{file} is in {encoding[:6].upper()}: save it as UTF-8")
        return content.decode()
    except OSError as error:
        raise CannotDo(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        where = f"line {line}, column {column}"
        raise CannotDo(f"{file} is not in UTF-8: {where}: save it as UTF-8") from None


# A response of the REST API: {"name": ..., "fields": {"status": {"stringValue": ...}}, ...}

PARTS = {"name", "fields", "createTime", "updateTime"}
NAME = re.compile(r"(projects/[^/]+/databases/[^/]+)/documents/.+")
AROUND = ("found", "document")  # hold the document in a response of batchGet and runQuery
KINDS = {field.json_name for field in protocol.Value.DESCRIPTOR.fields}
BESIDE = {"readTime", "transaction", "skippedResults", "done", "nextPageToken"}


def _unwrapped(where: str, document: dict[str, Any]) -> dict[str, Any]:
    """The fields as a function receives them; plain JSON is returned unchanged.

    Raises `CannotDo` for a response that holds no document, or more than one.
    """
    from google.protobuf.json_format import ParseDict, ParseError

    document = _only_part(where, document)
    if not _is_answer(document):
        return document
    for field, value in document.get("fields", {}).items():
        _check_value(f"{where}: fields.{field}", value)
    message = protocol.Document()
    try:
        ParseDict(document, message)
    except ParseError as error:
        raise CannotDo(f"{where} is not a valid Firestore response: {error}") from None
    database = _database(document)
    return {field: plain(value, database) for field, value in message.fields.items()}


def _check_value(where: str, value: object) -> None:
    """Raise `CannotDo` for what is not one value with its type; the parser's error says less."""
    if not isinstance(value, dict) or len(value) != 1 or not value.keys() <= KINDS:
        raise CannotDo(f'{where} is not a value of Firestore, such as {{"stringValue": "text"}}')
    for kind, inner in (("mapValue", "fields"), ("arrayValue", "values")):
        held = value[kind].get(inner) if isinstance(value.get(kind), dict) else None
        items = dict(enumerate(held)) if isinstance(held, list) else held
        for name, item in items.items() if isinstance(items, dict) else ():
            _check_value(f"{where}.{name}", item)


def _only_part(where: str, response: dict[str, Any]) -> dict[str, Any]:
    """The document inside a response; anything else that has one part is returned unchanged."""
    if len(response.keys() - BESIDE) != 1:
        return response
    ((name, part),) = ((name, response[name]) for name in response.keys() - BESIDE)
    if name in AROUND and isinstance(part, dict) and _is_answer(part):
        return part
    if name == "documents" and _are_answers(part):
        raise CannotDo(f"{where} lists documents: save one of them")
    if name == "missing" and NAME.fullmatch(str(part)):
        raise CannotDo(f"{where} says that there is no such document")
    if name == "error" and isinstance(part, dict) and {"code", "message"} <= part.keys():
        raise CannotDo(f"{where} is an error of Firestore: {part['code']}: {part['message']}")
    return response


def _are_answers(value: object) -> bool:
    return isinstance(value, list) and any(isinstance(e, dict) and "fields" in e for e in value)


def _is_answer(document: Mapping[str, Any]) -> bool:
    """Whether it is a response: a plain document would not have these names and no other."""
    is_named = bool(NAME.fullmatch(str(document.get("name"))))
    is_empty = is_named and "createTime" in document  # then the API leaves `fields` out
    fields = document.get("fields", {} if is_empty else None)
    return (
        document.keys() <= PARTS
        and (is_named or "name" not in document)
        and isinstance(fields, dict)
        and bool(fields or is_named)
    )


def _database(document: Mapping[str, Any]) -> str:
    """The database of the document, or that of its first reference if it has no name."""
    if name := NAME.fullmatch(str(document.get("name"))):
        return name[1]
    reference = re.search(
        r'"referenceValue": "(projects/[^/"]+/databases/[^/"]+)/', json.dumps(document)
    )
    return reference[1] if reference else ""
