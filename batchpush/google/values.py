"""Converts Firestore values to Python values and back."""

from datetime import datetime, timedelta
from typing import Any

from batchpush.documents import EPOCH, Reference
from batchpush.google.protocol.firestore_pb2 import Value

SECOND = timedelta(seconds=1)


def plain(value: Value, database: str) -> Any:
    """Convert to a Python value; `database` is `projects/P/databases/D`.

    A reference becomes a `Reference` with the path inside the database.
    """
    kind = value.WhichOneof("value_type")
    match kind:
        case None | "null_value":
            return None
        case "map_value":
            return {k: plain(v, database) for k, v in value.map_value.fields.items()}
        case "array_value":
            return [plain(v, database) for v in value.array_value.values]
        case "timestamp_value":
            stamp = value.timestamp_value
            return EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)
        case "reference_value":
            return Reference(value.reference_value.removeprefix(f"{database}/documents/"))
        case "geo_point_value":
            point = value.geo_point_value
            return {"latitude": point.latitude, "longitude": point.longitude}
        case _:
            return getattr(value, kind)


FIELD_OF = {
    str: "string_value",
    bool: "boolean_value",
    int: "integer_value",
    float: "double_value",
    bytes: "bytes_value",
}


def encode(value: Any, into: Value) -> None:
    """Store the value in the message. Raises one of `firestore.UNSTORABLE` if it cannot."""
    if field := FIELD_OF.get(type(value)):
        setattr(into, field, value)
    elif value is None:
        into.null_value = 0
    elif isinstance(value, datetime):
        since = value - EPOCH
        into.timestamp_value.seconds = since // SECOND
        into.timestamp_value.nanos = since.microseconds * 1000
    elif isinstance(value, dict):
        into.map_value.SetInParent()
        for key, item in value.items():
            encode(item, into.map_value.fields[key])
    elif isinstance(value, list | tuple):
        into.array_value.SetInParent()
        for item in value:
            encode(item, into.array_value.values.add())
    elif isinstance(value, str):  # a subclass, such as a `Reference`
        into.string_value = value
    else:
        raise TypeError(f"it has no form for {type(value).__name__}")
