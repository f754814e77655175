"""What the tests of handlers share: what a push comes to, and values that documents may hold."""

import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from batchpush import NoPush, Push
from batchpush.pushes.push import ID_LISTS
from handlers.people import PROFILE

# The first example of a process waits for imports and for tables of Unicode.
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)

# Profiles, as rules or the lack of them may let people write them.
LONG = st.sampled_from(["x" * 5000, "é" * 1000, "\u200b", "a\nb", "\ud800", "i1", "crm-7"])
HOSTILE = st.fixed_dictionaries(
    {},
    optional={
        "display_name": st.text(max_size=90) | LONG,
        "language": st.sampled_from(["fr", "en_GB", "zz", "x" * 999]),
        "time_zone": st.sampled_from(["Asia/Tokyo", "europe/paris", "Mars"]),
        "push_preferences": st.dictionaries(
            st.sampled_from(["new_message", "flight_delayed", "chess"]), st.booleans() | ANYTHING
        ),
        "batch": st.fixed_dictionaries(
            {},
            optional={
                name: st.lists(LONG | st.text(max_size=9), max_size=60)
                | st.integers(1, 99).map(lambda many: ["y" * 1000 + str(i) for i in range(many)])
                for name in ID_LISTS
            },
        ),
    },
)
PROFILES = HOSTILE | st.dictionaries(
    st.sampled_from(PROFILE),
    ANYTHING | st.dictionaries(st.sampled_from(ID_LISTS), st.lists(ANYTHING, max_size=3)),
)


Returned = Push | NoPush | None  # by a handler


def sent(returned: Returned) -> Push | None:
    """The push, if there is one."""
    return returned if isinstance(returned, Push) else None


def left_out(returned: Returned) -> dict[str, list[str]]:
    """Who is not told, by reason."""
    listed = returned.left_out.items() if returned else ()
    return {reason: list(ids) for reason, ids in listed}


def bodies(returned: Returned) -> list[dict[str, Any]]:
    """The bodies of its calls to one app."""
    push = sent(returned)
    return [] if push is None else [json.loads(call.body) for call in push.calls(("ios",))]


def only_body(push: Returned) -> dict[str, Any]:
    (body,) = bodies(push)
    return body


def read_by(push: Returned) -> dict[str, str]:
    """The text that each recipient reads, by their id."""
    return {
        identifier: body["message"]["body"]
        for body in bodies(push)
        for identifiers in body["recipients"].values()
        for identifier in identifiers
    }


def nested(times: int, value: object = 0) -> dict[str, Any]:
    """A map in a map in a map."""
    for _ in range(times):
        value = {"in": value}
    return {"in": value}
