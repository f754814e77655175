"""Firestore's REST values and plain JSON."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.firestore import from_fields, to_fields, to_value

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.sampled_from("abc"), values),
)


@given(st.dictionaries(st.text(), JSON))
def test_what_is_written_is_read_again(document: dict[str, Any]) -> None:
    assert from_fields(to_fields(document)) == document


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (True, {"booleanValue": True}),
        (1, {"integerValue": "1"}),
        (1.0, {"doubleValue": 1.0}),
        ([], {"arrayValue": {"values": []}}),
        (
            {"$timestamp": "2030-06-01T09:30:00Z"},
            {"timestampValue": "2030-06-01T09:30:00+00:00"},
        ),
        (
            {"$timestamp": "x", "other": 1},
            {
                "mapValue": {
                    "fields": {"$timestamp": {"stringValue": "x"}, "other": {"integerValue": "1"}}
                }
            },
        ),
    ],
)
def test_each_kind_of_value_is_stored_as_firestore_has_it(value: Any, stored: Any) -> None:
    assert to_value(value) == stored


@pytest.mark.parametrize("time", ["2030-06-01T09:30:00", "soon", "", 5, None])
def test_a_time_has_a_zone(time: Any) -> None:
    with pytest.raises(ValueError, match="must be a time with a zone"):
        to_value({"at": {"$timestamp": time}})


def test_empty_lists_and_maps_are_read() -> None:
    """Firestore leaves out what is empty."""
    assert from_fields({"list": {"arrayValue": {}}, "map": {"mapValue": {}}}) == {
        "list": [],
        "map": {},
    }
