"""Converts between plain JSON and the values of Firestore's REST API.

JSON has no times: `{"$timestamp": "2030-06-01T09:30:00Z"}` is written as one, and a stored time is
read as its text.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any


def to_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: to_value(value) for name, value in document.items()}


def to_value(value: Any) -> dict[str, Any]:
    """Raises ValueError for an invalid `$timestamp`."""
    match value:
        case None:
            return {"nullValue": None}
        case bool():
            return {"booleanValue": value}
        case int():
            return {"integerValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case list():
            return {"arrayValue": {"values": [to_value(each) for each in value]}}
        case {"$timestamp": text, **others} if not others:
            return {"timestampValue": _time(text)}
        case dict():
            return {"mapValue": {"fields": to_fields(value)}}
    raise TypeError(f"{type(value).__name__} is not JSON")


def _time(text: Any) -> str:
    try:
        if (time := datetime.fromisoformat(text)).tzinfo:
            return time.isoformat()
    except (TypeError, ValueError):
        pass
    raise ValueError("$timestamp must be a time with a zone, such as 2030-06-01T09:30:00Z")


def from_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: from_value(value) for name, value in fields.items()}


def from_value(value: Mapping[str, Any]) -> Any:
    [(kind, content)] = value.items()
    match kind:
        case "integerValue":
            return int(content)
        case "arrayValue":
            return [from_value(each) for each in content.get("values", [])]
        case "mapValue":
            return from_fields(content.get("fields", {}))
    return content
