"""Firestore's values as Python's own."""

from datetime import timedelta
from typing import Any

from batchpush.documents import EPOCH, Reference


def plain(value: Any, database: str) -> Any:
    """A `Value` of Firestore as Python's own; `database` is `projects/P/databases/D`."""
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
