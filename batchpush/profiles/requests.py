"""The requests of Batch's Custom Data API, version 1.0. Pure.

The routes and the limit of 10,000 people are Batch's documentation; the shape of the bodies, and a
reply of 200, are what four public clients send and expect.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from batchpush.batch_api.outcome import is_success
from batchpush.batch_api.requests import Request
from batchpush.profiles.state import Changes
from batchpush.pushes.push import MAX_BODY

MAX_IDS = 10_000  # people in one bulk request


def bodies(of_people: Mapping[str, Changes]) -> Iterator[dict[str, Changes]]:
    """The people in groups that fit in one request each."""
    group: dict[str, Changes] = {}
    ids = size = 0
    for user_id, changes in of_people.items():
        length = len(json.dumps(changes)) + 60 * len(changes)  # an entry has names around it
        if group and (ids + len(changes) > MAX_IDS or size + length > MAX_BODY):
            yield group
            group, ids, size = {}, 0, 0
        group[user_id] = changes
        ids, size = ids + len(changes), size + length
    if group:
        yield group


def request_for(changes: Iterable[Changes]) -> Request:
    """One request for all of these changes; an attribute that is null is cleared."""
    entries = [(each, values) for of_person in changes for each, values in of_person.items()]
    (identifier, values), *others = entries
    if others or not identifier.strip("."):  # `..` would lead to another route
        every = [{"id": each, "update": _update(values)} for each, values in entries]
        return Request("POST", "data/users", is_success, _json(every))
    route = f"data/users/{quote(identifier, safe='')}"
    return Request("POST", route, is_success, _json(_update(values)))


def _update(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without `overwrite`, Batch keeps the attributes that are not named."""
    return {"overwrite": False, "values": dict(values)}


def _json(body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
