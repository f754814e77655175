"""`Profile`: what Batch should have of a person, for campaigns to target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Profile:
    """Values by Batch's names of attributes; see `attribute`.

    `custom_ids` are who the person is to Batch. An id that is another user's user id is left out
    before anything is sent.
    """

    custom_ids: Sequence[str]
    values: Mapping[str, Any] = field(default_factory=dict)
