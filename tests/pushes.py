"""What the tests of handlers share: what a push comes to, and values that documents may hold."""

import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from batchpush import Push

# The first example of a process waits for imports and for tables of Unicode.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


def bodies(push: Push | None) -> list[dict[str, Any]]:
    """The bodies of its calls to one app."""
    return [] if push is None else [json.loads(call.body) for call in push.calls(("ios",))]


def only_body(push: Push | None) -> dict[str, Any]:
    (body,) = bodies(push)
    return body


def read_by(push: Push | None) -> dict[str, str]:
    """The text that each recipient reads, by their id."""
    return {
        identifier: body["message"]["body"]
        for body in bodies(push)
        for identifiers in body["recipients"].values()
        for identifier in identifiers
    }
