"""Files that people have for `preview`."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush.cli.document_files import KINDS, documents_in, fields_in
from batchpush.cli.terminal import CannotDo

DATABASE = "projects/p/databases/(default)"
NAME = f"{DATABASE}/documents/orders/7"
TIME = "2030-06-01T11:05:00.5Z"
TIMES = {"createTime": TIME, "updateTime": TIME}


def written(folder: Path, content: bytes | Any) -> str:
    file = folder / "file.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return str(file)


@pytest.mark.parametrize(
    "content",
    [
        b'{"text": "\xc3\xa9"}',
        b'\xef\xbb\xbf{"text": "\xc3\xa9"}',
        b'\xef\xbb\xbf\r\n{"text":\r\n"\\u00e9"}\r\n',
    ],
)
def test_a_byte_order_mark_is_read(tmp_path: Path, content: bytes) -> None:
    assert fields_in(written(tmp_path, content)) == {"text": "é"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", " is not JSON: line 1, column 1: Expecting value"),
        (b"status: delivered", " is not JSON: line 1, column 1: Expecting value"),
        (b'{"a": 1,\n "b" 2}', " is not JSON: line 2, column 6: Expecting ':' delimiter"),
        (b"\xef\xbb\xbf{'a': 1}", " is not JSON: line 1, column 2: Expecting property name"),
        (b'{"a": 1}\n{"a": 2}', " is not JSON: line 2, column 1: Extra data"),
        (b'{"a": "', " is not JSON: line 1, column 7: Unterminated string"),
        ('{"a": 1}'.encode("utf-16"), " is in UTF-16: save it as UTF-8"),
        ('{"a": 1}'.encode("utf-16-le"), " is in UTF-16: save it as UTF-8"),
        ('{"a": 1}'.encode("utf-16-be"), " is in UTF-16: save it as UTF-8"),
        ('{"a": 1}'.encode("utf-32"), " is in UTF-32: save it as UTF-8"),
        (b'{"a": 1,\n"b": "\xe9"}', " is not in UTF-8: line 2, column 7: save it as UTF-8"),
        (b"[" * 100_000, " is nested too deeply"),
        (b'{"a": ' + b"1" * 5000 + b"}", ": Exceeds the limit"),
        (b"[]", " is not a JSON object"),
        (b'"text"', " is not a JSON object"),
        (b'{"a": [NaN]}', ": NaN is not JSON"),
        (b'{"a": -Infinity}', ": -Infinity is not JSON"),
        *(
            (
                {"fields": {"a": {"stringValue": "x"}} | fields},
                f": fields.{named} is not a value of",
            )
            for named, fields in (
                ("status", {"status": {"stringVal": "delivered"}}),
                ("status", {"status": "delivered"}),
                ("status", {"status": {"stringValue": "delivered", "integerValue": "1"}}),
                ("status", {"status": {}}),
                ("map.b", {"map": {"mapValue": {"fields": {"b": {"text": "x"}}}}}),
                ("list.1", {"list": {"arrayValue": {"values": [{"nullValue": None}, "x"]}}}),
            )
        ),
        ({"documents": [{"name": NAME, "fields": {}}]}, " lists documents: save one of them"),
        ({"missing": NAME, "readTime": TIME}, " says that there is no such document"),
        ({"error": {"code": 404, "message": "No"}}, " is an error of Firestore: 404: No"),
        (
            {"fields": {"at": {"timestampValue": "yesterday"}}},
            " is not a valid Firestore response: Failed to parse fields",
        ),
    ],
)
def test_what_is_no_document_says_where_and_why(tmp_path: Path, content: Any, said: str) -> None:
    file = written(tmp_path, content)
    with pytest.raises(CannotDo) as raised:
        fields_in(file)
    assert str(raised.value).startswith(f"{file}{said}")
    assert "\n" not in str(raised.value)


VALUES: dict[str, tuple[Any, Any]] = {
    "nullValue": (None, None),
    "booleanValue": (False, False),
    "integerValue": ("9007199254740993", 9007199254740993),
    "doubleValue": (1.5, 1.5),
    "timestampValue": (
        "2030-06-01T11:05:00.123456789Z",
        datetime(2030, 6, 1, 11, 5, 0, 123456, UTC),
    ),
    "stringValue": ("delivered", "delivered"),
    "bytesValue": ("AAE=", b"\0\1"),
    "referenceValue": (f"{DATABASE}/documents/users/ann", "users/ann"),
    "geoPointValue": ({"latitude": 48.8}, {"latitude": 48.8, "longitude": 0.0}),
    "arrayValue": ({"values": [{"stringValue": "a"}, {"integerValue": "1"}]}, ["a", 1]),
    "mapValue": ({"fields": {"x": {"mapValue": {}}}}, {"x": {}}),
}


def test_every_kind_of_value_is_here() -> None:
    assert VALUES.keys() == KINDS


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("around", [{}, TIMES, {"name": NAME}, {"name": NAME, **TIMES}])
def test_a_value_of_the_rest_api_is_what_a_function_gets(
    tmp_path: Path, kind: str, around: dict[str, str]
) -> None:
    stored, value = VALUES[kind]
    document = {"fields": {"field": {kind: stored}}, **around}
    assert fields_in(written(tmp_path, document)) == {"field": value}
    by_path = {"orders/7": document, "orders/8": {"status": "paid"}}
    assert documents_in(written(tmp_path, by_path)) == {
        "orders/7": {"field": value},
        "orders/8": {"status": "paid"},
    }


@pytest.mark.parametrize("around", ["found", "document"])
def test_a_document_inside_another_response_is_read(tmp_path: Path, around: str) -> None:
    response = {around: {"name": NAME, "fields": {"a": {"integerValue": "1"}}}, "readTime": TIME}
    assert fields_in(written(tmp_path, response)) == {"a": 1}


def test_a_document_without_fields_has_none(tmp_path: Path) -> None:
    assert fields_in(written(tmp_path, {"name": NAME, **TIMES})) == {}
    assert fields_in(written(tmp_path, {"name": NAME, "fields": {}})) == {}


def test_a_reference_into_another_database_keeps_its_name(tmp_path: Path) -> None:
    other = "projects/p/databases/other/documents/users/ann"
    document = {"name": NAME, "fields": {"to": {"referenceValue": other}}}
    assert fields_in(written(tmp_path, document)) == {"to": other}


@pytest.mark.parametrize(
    "document",
    [
        {"fields": {}},
        {"fields": ["wheat", "oats"]},
        {"fields": "wheat"},
        {"fields": None},
        {"name": "Farm", "fields": {}},
        {"name": "Farm", "fields": {"a": {"stringValue": "x"}}},
        {"name": NAME, "owner": "ann", "fields": {"a": {"stringValue": "x"}}},
        {"name": NAME},
        {"name": 7, "fields": {"a": {"stringValue": "x"}}},
        {"status": "delivered", "fields": {"a": {"stringValue": "x"}}},
        {"stringValue": "x"},
        {"found": {"a": "x"}},
        {"found": {"fields": {"a": {"stringValue": "x"}}}, "status": "delivered"},
        {"documents": ["passport"]},
        {"missing": "a sock"},
        {"error": {"code": 404}},
        {"error": "none"},
    ],
)
def test_a_document_of_ones_own_with_a_field_fields_stays_as_it_is(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    assert fields_in(written(tmp_path, document)) == document
    assert documents_in(written(tmp_path, {"a/b": document})) == {"a/b": document}


def test_a_look_up_that_is_no_document_is_named(tmp_path: Path) -> None:
    file = written(tmp_path, {"users/ann": {}, "users/bob": None})
    with pytest.raises(CannotDo, match="users/bob is not a JSON object"):
        documents_in(file)


@given(content=st.binary(max_size=60))
def test_whatever_is_in_a_file_is_a_document_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    file, said = written(tmp_path_factory.getbasetemp(), content), ""
    try:
        fields_in(file)
    except CannotDo as error:
        said = str(error)
    assert "\n" not in said
