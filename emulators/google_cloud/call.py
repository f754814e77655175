"""A request to a method of Google's, and the table of the functions that answer them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from emulators.google_cloud.discovery import Method, check_mask
from emulators.google_cloud.project import Cloud, Resource
from emulators.google_errors import Refused


@dataclass(frozen=True)
class Call:
    """`place` is what stands in the path, `caller` whose token it has.

    The body has been checked against Google's schema.
    """

    method: Method
    place: Mapping[str, str]
    query: Mapping[str, str]
    body: Resource
    caller: str

    def mask(self, required: bool = True) -> list[str]:
        """The fields to change, in a `patch`."""
        assert self.method.request
        mask = self.query.get("updateMask", "")
        if required and not mask:
            raise Refused(400, "update_mask must be set.")
        return check_mask(self.method.api, self.method.request, mask)


Answer = Callable[[Cloud, Call], Resource]
ANSWERS: dict[str, Answer] = {}


def answers(*keys: str) -> Callable[[Answer], Answer]:
    """Have the function answer these methods of `discovery.METHODS`."""

    def decorate(answer: Answer) -> Answer:
        ANSWERS.update(dict.fromkeys(keys, answer))
        return answer

    return decorate


def existing(resources: Mapping[str, Resource], name: str) -> Resource:
    if name not in resources:
        raise Refused(404, f"Resource '{name}' was not found")
    return resources[name]


def changed(resource: Resource, change: Resource, mask: list[str]) -> Resource:
    """The resource with the fields of the mask as they are in `change`; absent ones are cleared."""
    merged = dict(resource)
    for path in mask:
        first, _, rest = path.partition(".")
        if rest:
            inner = merged.get(first) or {}
            merged[first] = changed(inner, change.get(first) or {}, [rest])
        elif first in change:
            merged[first] = change[first]
        else:
            merged.pop(first, None)
    return merged


def patched(resources: Mapping[str, Resource], name: str, call: Call) -> Resource:
    """The resource as the `patch` leaves it, under its own name; nothing is stored yet."""
    return {**changed(existing(resources, name), call.body, call.mask()), "name": name}


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""
