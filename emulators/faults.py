"""Scripted faults: how an emulator should fail, and for how many calls."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Generic, TypeVar


class BadFault(ValueError):
    """The scripted fault is invalid; the text names the key."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    times: int | None = 1
    """The number of calls it affects; None means until cleared."""


F = TypeVar("F", bound=Fault)


@dataclass(frozen=True)
class Field:
    words: str
    holds: Callable[[Any], bool]


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_seconds(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= 0


TIMES = Field("a positive whole number, or null", lambda v: v is None or (is_whole(v) and v >= 1))
STATUS = Field("an HTTP status from 200 to 599", lambda v: is_whole(v) and 200 <= v <= 599)
SECONDS = Field("a number of seconds", is_seconds)
SWITCH = Field("true or false", lambda v: isinstance(v, bool))
TEXT = Field("a string", lambda v: isinstance(v, str))


def read_faults(
    kind: type[F], known: Mapping[str, Field], happenings: Collection[str], data: Any
) -> list[F]:
    """Read one JSON object or a list of them, all or nothing; raises BadFault.

    Each needs one of the `happenings`: a fault without an effect is a mistake in a test.
    """
    items = data if isinstance(data, list) else [data]
    for item in items:
        _check(known, happenings, item)
    return [kind(**item) for item in items]


def _check(known: Mapping[str, Field], happenings: Collection[str], data: Any) -> None:
    if not isinstance(data, dict):
        raise BadFault("a fault must be a JSON object")
    for key, value in data.items():
        if key not in known:
            raise BadFault(f"unknown key `{key}`; known keys are {', '.join(known)}")
        if not known[key].holds(value):
            raise BadFault(f"`{key}` must be {known[key].words}")
    if not any(key in data for key in happenings):
        raise BadFault(f"a fault needs one of {', '.join(happenings)}")


class FaultQueue(Generic[F]):
    """The remaining faults, in the order in which calls will meet them."""

    def __init__(self) -> None:
        self._faults: list[F] = []

    def add(self, faults: Iterable[F]) -> None:
        self._faults.extend(faults)

    def clear(self) -> None:
        self._faults.clear()

    def first(self, meets: Callable[[F], bool] = lambda fault: True) -> F | None:
        return next(filter(meets, self._faults), None)

    def consume(self, fault: F) -> None:
        """Use up one call of the fault, or of an equal one."""
        at = self._faults.index(fault)
        if fault.times is None:
            return
        if fault.times == 1:
            del self._faults[at]
        else:
            self._faults[at] = replace(fault, times=fault.times - 1)

    def as_json(self) -> list[dict[str, Any]]:
        """Each fault as a test would script it: `times`, and whatever differs from the defaults."""
        return [_as_json(fault) for fault in self._faults]


def _as_json(fault: Fault) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields(fault)}
    values = asdict(fault).items()
    return {name: value for name, value in values if name == "times" or value != defaults[name]}
