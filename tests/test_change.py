import contextlib
import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
import regex
from google.cloud.firestore_v1 import GeoPoint
from hypothesis import given
from hypothesis import strategies as st

import batchpush.events.change
from batchpush.documents import INVISIBLE, Document, Reference, is_blank
from batchpush.errors import BatchpushError, InvalidDocument, MalformedEvent
from batchpush.events.change import path_params
from batchpush.events.decoding import UNESCAPED, apply_delta, from_database, from_firestore
from batchpush.google.protocol import firestore_pb2 as protocol
from tests.events import (
    DOCUMENTS,
    database_body,
    database_headers,
    firestore_body,
    firestore_headers,
)

MESSAGES = "conversations/{conversation_id}/messages/{message_id}"
PATH = "conversations/c1/messages/m1"


def decoded(before: Any = None, after: Any = None, path: str = PATH) -> Any:
    body = firestore_body(path, before, after)
    return from_firestore("f", MESSAGES, firestore_headers(path), body)


def test_a_created_document_is_a_change_with_its_event_and_its_params() -> None:
    change = decoded(after={"text": "hi"})
    assert (change.id, change.database) == ("event-1", "firestore")
    assert change.params == {"conversation_id": "c1", "message_id": "m1"}
    assert (change.path, change.before, change.after) == (PATH, None, {"text": "hi"})
    assert change.after.path == PATH
    assert change.time == datetime(2026, 5, 4, 10, 20, 30, 123456, tzinfo=UTC)


def test_a_deleted_document_has_only_a_before() -> None:
    change = decoded(before={"text": "hi"})
    assert (change.before, change.after) == ({"text": "hi"}, None)
    assert change.document == {"text": "hi"}


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -(2**63),
        1.5,
        "",
        "Zoë 👩‍👩‍👧‍👦",
        b"\x00\xff",
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        [1, "two", None],
        {"a": {"b": [{"c": 1}]}},
        [],
        {},
    ],
)
def test_a_firestore_value_comes_out_as_it_went_in(value: object) -> None:
    assert decoded(after={"field": value}).after == {"field": value}


def test_a_place_becomes_a_map() -> None:
    after = decoded(after={"at": GeoPoint(48.8, 2.3)}).after
    assert after == {"at": {"latitude": 48.8, "longitude": 2.3}}


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        (f"{DOCUMENTS}/users/u1", "users/u1"),
        (
            "projects/other/databases/(default)/documents/users/u1",
            "projects/other/databases/(default)/documents/users/u1",
        ),
    ],
)
def test_a_reference_becomes_a_path_also_one_into_another_project(
    reference: str, shown: str
) -> None:
    document = protocol.Document(
        name=f"{DOCUMENTS}/{PATH}", fields={"who": protocol.Value(reference_value=reference)}
    )
    body = protocol.DocumentEventData(value=document).SerializeToString()
    change = from_firestore("f", MESSAGES, firestore_headers(PATH), body)
    assert change.after == {"who": shown}
    assert json.dumps(change.after) == json.dumps({"who": shown})
    with pytest.raises(InvalidDocument, match="who must be a string, not a reference"):
        change.document.string("who")


def test_ids_that_a_header_cannot_hold_come_from_the_body() -> None:
    path = "conversations/caf\u00e9 ☕/messages/100%"
    change = from_firestore(
        "f",
        MESSAGES,
        firestore_headers("conversations/?/messages/?"),
        firestore_body(path, None, {}),
    )
    assert change.params == {"conversation_id": "café ☕", "message_id": "100%"}


@pytest.mark.parametrize(
    ("pattern", "path", "params"),
    [
        ("users/{id}", "users/u1", {"id": "u1"}),
        ("users/{id}/pets/{pet}", "users/u1/pets/p", {"id": "u1", "pet": "p"}),
        ("users/{id}", "pets/u1", None),
        ("users/{id}", "users/u1/pets/p", None),
    ],
)
def test_params_are_matched_segment_by_segment(pattern: str, path: str, params: Any) -> None:
    assert path_params(pattern, path) == params


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"\xff\xff not protobuf"),
        ({}, b""),
        ({}, firestore_body("users/u1", None, {})),
        ({"ce-id": None}, firestore_body(PATH, None, {})),
        ({"ce-source": None}, firestore_body(PATH, None, {})),
        ({"ce-time": None}, firestore_body(PATH, None, {})),
        ({"ce-time": "yesterday"}, firestore_body(PATH, None, {})),
    ],
)
def test_what_is_not_such_an_event_is_said_to_be_malformed(headers: Any, body: bytes) -> None:
    merged = {k: v for k, v in (firestore_headers(PATH) | headers).items() if v is not None}
    with pytest.raises(MalformedEvent):
        from_firestore("f", MESSAGES, merged, body)


@given(st.binary())
def test_no_firestore_body_whatever_raises_anything_else(body: bytes) -> None:
    with contextlib.suppress(BatchpushError):
        from_firestore("f", MESSAGES, firestore_headers(PATH), body)


# Realtime Database


def from_delta(data: Any, delta: Any) -> Any:
    path = "messages/c1/m1"
    return from_database(
        "f", "messages/{c}/{m}", database_headers(path), database_body(data, delta)
    )


def test_a_created_value_is_a_change() -> None:
    change = from_delta(None, {"text": "hi", "none": None})
    assert (change.before, change.after) == (None, {"text": "hi"})
    assert change.params == {"c": "c1", "m": "m1"}
    assert change.database == "database"


def of_ref(ref: str) -> Any:
    body = database_body(None, {"a": 1})
    return from_database("f", "messages/{c}/{m}", database_headers(ref), body)


@pytest.mark.parametrize(
    ("ref", "conversation_id"),
    [
        ("messages/c1/m1", "c1"),
        ("/messages/c1/m1/", "c1"),
        ("messages/a+b:c@d,e;f=g?h&i~j/m1", "a+b:c@d,e;f=g?h&i~j"),
        ("messages/caf%C3%A9%20%22a%22/m1", 'café "a"'),
        ("messages/caf%c3%a9/m1", "café"),
        ("messages/%F0%9F%98%80/m1", "😀"),
        ("messages/caf\u00c3\u00a9/m1", "café"),  # UTF-8 that was taken for Latin-1
        ("messages/a b/m1", "a b"),
    ],
)
def test_a_ref_is_read_as_it_came_over_http(ref: str, conversation_id: str) -> None:
    change = of_ref(ref)
    assert change.params == {"c": conversation_id, "m": "m1"}
    assert change.path == f"messages/{conversation_id}/m1"


@pytest.mark.parametrize(
    "conversation_id",
    [
        "%76ictim",
        "v%69ctim",
        "%2576ictim",
        "%2e%2e",
        "%252e%252e",
        "%2F",
        "a%2Fb",
        "100%",
        "100%25",
        "%zz",
        "%C3",
        "%C3%A9\u00c3\u00a9",  # nobody escapes the one and not the other
        "a%2Bb",
        "a%20 b",
    ],
)
def test_an_id_with_a_percent_sign_is_never_taken_for_another_one(conversation_id: str) -> None:
    with pytest.raises(MalformedEvent, match="an id with a %"):
        of_ref(f"messages/{conversation_id}/m1")


@given(st.text(min_size=1, max_size=10), st.booleans())
def test_whatever_the_id_it_is_read_as_it_is_or_refused(text: str, is_escaped: bool) -> None:
    with contextlib.suppress(UnicodeEncodeError):
        header = quote(text, UNESCAPED) if is_escaped else text.encode().decode("latin-1")
        with contextlib.suppress(MalformedEvent):
            assert of_ref(f"messages/{header}/m1").params["c"] == text


@pytest.mark.parametrize(
    "ref", ["", "messages", "messages/../m1", "messages//m1", "messages/\xe9/m"]
)
def test_what_is_no_ref_is_said_to_be_malformed(ref: str) -> None:
    with pytest.raises(MalformedEvent):
        of_ref(ref)


@pytest.mark.parametrize(
    ("data", "delta", "after"),
    [
        (None, {"a": 1}, {"a": 1}),
        ({"a": 1}, None, None),
        ({"a": 1, "b": 2}, {"b": 3}, {"a": 1, "b": 3}),
        ({"a": 1, "b": 2}, {"b": None}, {"a": 1}),
        ({"a": 1}, {"a": None}, None),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
        ({"a": {"b": 1}}, {"a": 5}, {"a": 5}),
        ({"a": 5}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ("text", {"a": 1}, {"a": 1}),
        ({"a": 1}, "text", "text"),
        (["x", "y"], {"1": "z"}, ["x", "z"]),
        (["x", "y"], {"2": "z"}, ["x", "y", "z"]),
        (["x", "y", "z"], {"1": None}, ["x", None, "z"]),
        (["x", "y"], {"0": None, "1": None}, None),
        ({"ids": ["a", "b"]}, {"ids": {"1": "c"}}, {"ids": ["a", "c"]}),
        (None, {"5": "x"}, {"5": "x"}),
    ],
)
def test_the_value_after_a_write(data: Any, delta: Any, after: Any) -> None:
    assert apply_delta(data, delta) == after


values = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "0", "1", "2"]), inner, min_size=1, max_size=3)
    ),
    max_leaves=8,
)


def stored(value: Any) -> Any:
    """What the database shows of a value that was written to it."""
    return apply_delta(None, value)


def delta_between(before: Any, after: Any) -> Any:
    """The delta of a `set`, as the Realtime Database sends it."""

    def children(value: Any) -> dict[str, Any] | None:
        if isinstance(value, list):
            return {str(index): item for index, item in enumerate(value) if item is not None}
        return value if isinstance(value, dict) else None

    was, now = children(before), children(after)
    if was is None or now is None:
        return after
    return {
        key: delta_between(was.get(key), now.get(key))
        for key in was.keys() | now.keys()
        if was.get(key) != now.get(key)
    }


@given(values, values)
def test_a_delta_applied_to_the_value_before_gives_the_value_after(before: Any, after: Any) -> None:
    before, after = stored(before), stored(after)
    snapshot = json.dumps(before)
    assert apply_delta(before, delta_between(before, after)) == after
    assert json.dumps(before) == snapshot


@pytest.mark.parametrize("after", [["a", "b"], "text", 5, True])
def test_a_value_that_is_no_map_names_its_path(after: object) -> None:
    change = from_delta(None, after)
    assert (change.before, change.after) == (None, None)
    with pytest.raises(InvalidDocument, match="messages/c1/m1: must be a map of fields"):
        _ = change.document


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"5", b"{", b"\xff", b"[" * 100_000, b'{"delta":' + b'{"a":' * 900]
)
def test_what_is_no_database_event_is_said_to_be_malformed(body: bytes) -> None:
    with pytest.raises(MalformedEvent):
        from_database("f", "messages/{c}/{m}", database_headers("messages/c/m"), body)


def test_a_value_nested_too_deeply_is_said_to_be_malformed() -> None:
    body = b'{"data":null,"delta":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001
    with pytest.raises(MalformedEvent):
        from_database("f", "messages/{c}/{m}", database_headers("messages/c/m"), body)


# Reading fields

ADA = Reference("users/ada")
OUTSIDE = Reference("teams/1")
IS_OUTSIDE = "is a reference to a document outside users/"


@pytest.mark.parametrize(
    ("fields", "read", "error"),
    [
        ({}, ("string", "text"), "text is missing"),
        ({"text": None}, ("string", "text"), "text is missing"),
        ({"text": 5}, ("string", "text"), "text must be a string, not a number"),
        ({"text": True}, ("string", "text"), "text must be a string, not a boolean"),
        ({"text": " \n"}, ("string", "text"), "text is empty"),
        ({"text": "\ud83d"}, ("string", "text"), "text is not valid Unicode"),
        ({"who": "a/b"}, ("id", "who"), "who is not a document id"),
        ({"who": ".."}, ("id", "who"), "who is not a document id"),
        ({"who": "__a__"}, ("id", "who"), "who is not a document id"),
        ({"who": "a\nb"}, ("id", "who"), "who is not a document id"),
        ({"who": "x" * 769}, ("id", "who"), "who is not a document id"),
        ({"who": "é" * 751}, ("id", "who"), "who is not a document id"),  # 1,502 bytes
        ({"who": "%2e%2E"}, ("id", "who"), "who is not a document id"),
        ({"who": ".%2E"}, ("id", "who"), "who is not a document id"),
        ({"who": "\u200b"}, ("id", "who"), "who is empty"),
        ({"who": ["a"]}, ("id", "who"), "who must be a string, not a list"),
        ({"who": OUTSIDE}, ("id", "who"), f"who {IS_OUTSIDE}"),
        ({"who": Reference("users/a/pets/b")}, ("id", "who"), f"who {IS_OUTSIDE}"),
        ({"who": Reference("users")}, ("id", "who"), f"who {IS_OUTSIDE}"),
        (
            {"who": Reference("projects/other/databases/(default)/documents/users/a")},
            ("id", "who"),
            f"who {IS_OUTSIDE}",
        ),
        (
            {"text": Reference("users/a")},
            ("string", "text"),
            "text must be a string, not a reference",
        ),
        ({"text": "\u200b\u2060"}, ("string", "text"), "text is empty"),
        ({"ids": ["a", OUTSIDE]}, ("ids", "ids"), f"ids {IS_OUTSIDE}"),
        ({"ids": ["a", Reference("users/..")]}, ("ids", "ids"), "ids is not a document id"),
        (
            {"ids": {"0": "a", "9" * 5000: "b"}},
            ("ids", "ids"),
            "ids must be a list of strings, not a map",
        ),
        ({"ids": {"٣": "a"}}, ("ids", "ids"), "ids must be a list of strings, not a map"),
        ({"ids": "a"}, ("valid_ids", "ids"), "ids must be a list of strings, not a string"),
        ({"ids": [5, "b/c"]}, ("valid_ids", "ids"), "ids must be a list of strings"),
        ({"ids": ["", OUTSIDE]}, ("valid_ids", "ids"), f"ids {IS_OUTSIDE}"),
        ({"ids": {"a": True}}, ("ids", "ids"), "ids must be a list of strings, not a map"),
        ({"ids": "a"}, ("ids", "ids"), "ids must be a list of strings, not a string"),
        ({"ids": ["a", 1]}, ("ids", "ids"), "ids must be a list of strings"),
        ({"ids": ["a", "b/c"]}, ("ids", "ids"), "ids is not a document id"),
    ],
)
def test_a_wrong_field_is_named(fields: Any, read: tuple[str, str], error: str) -> None:
    reader, field = read
    with pytest.raises(InvalidDocument) as raised:
        getattr(Document("users/u1", fields), reader)(field)
    assert str(raised.value) == f"users/u1: {error}"
    assert (raised.value.document, raised.value.field) == ("users/u1", field)


@pytest.mark.parametrize(
    ("ids", "read"),
    [
        (None, None),
        ([], ()),
        (["b", "a", "b"], ("b", "a")),
        (["a", None, "b"], ("a", "b")),
        ({"10": "b", "2": "a"}, ("a", "b")),
        (["", "a", " ", "\u200b", None], ("a",)),
        ([""], ()),
        ([ADA, "bob", "ada"], ("ada", "bob")),
        ({"2": ADA, "9": ""}, ("ada",)),
        (["é" * 750], ("é" * 750,)),
        (["100%", "a.b", "...", "%2e%2e%2e"], ("100%", "a.b", "...", "%2e%2e%2e")),
    ],
)
@pytest.mark.parametrize("reader", ["ids", "valid_ids"])
def test_ids_are_read_once_each_and_in_order(reader: str, ids: Any, read: Any) -> None:
    assert getattr(Document("c", {"ids": ids}), reader)("ids") == read


def test_a_reference_to_a_profile_is_the_id_of_its_person() -> None:
    assert Document("c", {"who": ADA}).id("who") == "ada"
    assert Document("c", {"who": ADA})["who"] == "users/ada"


@pytest.mark.parametrize("wrong", [5, {"a": 1}, "a/b", "..", "\ud800", OUTSIDE, b"a", "é" * 751])
def test_an_item_that_is_no_id_leaves_the_others_and_is_named_once_in_a_process(
    wrong: object, capsys: pytest.CaptureFixture[str]
) -> None:
    batchpush.documents.warn_of_field.cache_clear()
    document = Document("c", {"member_ids": ["ann", wrong, "bob"]})
    assert document.valid_ids("member_ids") == ("ann", "bob")
    assert document.valid_ids("member_ids") == ("ann", "bob")
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "severity": "WARNING",
        "message": "field.invalid",
        "data": {"field": "member_ids"},
    }


@pytest.mark.parametrize("conversation_id", ["%2e%2e", "%2E", ".%2e", "x" * 1501])
def test_an_id_of_the_path_that_no_database_can_be_asked_for_is_named(
    conversation_id: str,
) -> None:
    change = decoded(after={"text": "hi"}, path=f"conversations/{conversation_id}/messages/m1")
    with pytest.raises(InvalidDocument, match="/m1: conversation_id is not a document id"):
        _ = change.document


@pytest.mark.parametrize("message_id", ["x" * 1500, "__x__", "100%"])
def test_any_other_id_of_the_path_is_as_good_as_it_was(message_id: str) -> None:
    assert decoded(after={}, path=f"conversations/c1/messages/{message_id}").document == {}


def test_what_a_display_ignores_is_what_unicode_says_and_white_space_and_controls() -> None:
    everything = "".join(map(chr, range(0x110000)))
    ignored = r"[\p{Default_Ignorable_Code_Point}\p{White_Space}\p{Cc}\u2800\ufff9-\ufffb]"
    assert re.findall(f"[{INVISIBLE}]", everything) == regex.findall(ignored, everything)


@pytest.mark.parametrize(
    ("text", "blank"),
    [
        ("", True),
        (" \n\u2028\u00a0\u3000", True),
        ("\u200b\u2060", True),
        ("\u200d\ufe0f\u202e\u2066\u061c\ufeff\u00ad\u3164\u2800", True),
        ("\u200b.", False),
        ("👩‍👩‍👧‍👦", False),
        ("\U0010ffff", False),
    ],
)
def test_a_text_of_which_nothing_is_seen_is_blank(text: str, blank: bool) -> None:
    assert is_blank(text) == blank
