"""What Batch learns of people: fields of `users/{id}` that become attributes there.

With `MIRROR_PROFILES=true`, campaigns can target them. Nothing else of a profile goes to Batch.
"""

import functools

from batchpush import (
    Document,
    InvalidDocument,
    Profile,
    attribute,
    check_names,
    log,
)
from handlers.fields import moment
from handlers.people import custom_ids

# Edit this: a field of `users/{id}`, and its name at Batch. `u.` is a text, a number or a boolean,
# `date(u.)` a time, `ut.` a list of tags. A name is at most 30 of a-z, 0-9 and _.
ATTRIBUTES = {
    "city": "u.city",
    "last_order_at": "date(u.last_order_at)",
    "topics": "ut.topics",
}

check_names(ATTRIBUTES.values())


def profile(document: Document) -> Profile:
    """What Batch should have of the person; an invalid field counts as absent."""
    return Profile(
        custom_ids=custom_ids(document),
        values={name: _value(document, field, name) for field, name in ATTRIBUTES.items()},
    )


def _value(document: Document, field: str, name: str) -> object:
    tell = functools.partial(warn, field, name)
    try:
        is_time = name.startswith("date(")
        value = moment(document, field) if is_time else document.get(field)
    except InvalidDocument as error:
        tell(error.problem)
        return None
    return attribute(name, value, tell)


@functools.cache
def warn(field: str, name: str, problem: str) -> None:
    """Say once per process which field is not mirrored, and why; never the value."""
    log("WARNING", "attribute.invalid", data={"field": field, "name": name, "problem": problem})
