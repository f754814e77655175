"""Which functions a write calls, as the Functions emulator knows them."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

PREFIX = "google.cloud.firestore.document.v1."
NAME = re.compile(r"\\\{(\w+)(=\\\*\\\*)?\\\}")  # of a pattern whose other characters are escaped


def called_by(backends: Mapping[str, Any], path: str, kind: str) -> list[str]:
    """The functions that a write calls, which `created` or `updated` the document."""
    triggers = (trigger for each in backends["backends"] for trigger in each["functionTriggers"])
    return sorted(each["name"] for each in triggers if _is_called(each, path, kind))


def _is_called(trigger: Mapping[str, Any], path: str, kind: str) -> bool:
    event = trigger.get("eventTrigger") or {}
    filters: Iterable[Mapping[str, str]] = (
        event.get(name) or {} for name in ("eventFilters", "eventFilterPathPatterns")
    )
    patterns = [each["document"] for each in filters if "document" in each]
    is_of_kind = event.get("eventType") in (f"{PREFIX}{kind}", f"{PREFIX}written")
    return is_of_kind and any(_matches(pattern, path) for pattern in patterns)


def _matches(pattern: str, path: str) -> bool:
    as_regex = NAME.sub(lambda found: ".+" if found[2] else "[^/]+", re.escape(pattern))
    return re.fullmatch(as_regex, path) is not None
