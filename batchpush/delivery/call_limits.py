"""Limits how often a user may call a function; Firestore keeps the count."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from batchpush.errors import LookUpFailed
from batchpush.events.callables import CallRefused
from batchpush.google.firestore import Firestore, FirestoreUnavailable
from batchpush.pushes.limits import COUNT, LIMITS, MAX_KNOWN, Limit


@dataclass
class CallLimits:
    """`client` returns the database; it is called on first use, in the worker."""

    client: Callable[[], Firestore]
    _over: set[str] = field(default_factory=set)  # so that a flood stops writing these counters

    async def count(self, limits: Sequence[Limit], now: datetime) -> None:
        """Count a call, with one write and no read; raises `CallRefused` above a limit."""
        windows = [limit.window(now) for limit in limits]
        if not self._over.isdisjoint(name for name, _ in windows):
            raise _too_many()
        counted = await self._counted(windows)
        for limit, (name, _), calls in zip(limits, windows, counted, strict=True):
            if calls > limit.max_count:
                if len(self._over) >= MAX_KNOWN:
                    self._over.clear()
                self._over.add(name)
                raise _too_many()

    async def _counted(self, windows: Sequence[tuple[str, datetime]]) -> list[int]:
        """The new count of each window, as the write returned it."""
        try:
            database = self.client()
            results = await database.commit(
                database.count(f"{LIMITS}/{name}", [COUNT], {"expire_at": end})
                for name, end in windows
            )
        except FirestoreUnavailable as error:
            raise LookUpFailed(f"Firestore: {error}") from None
        return [result.transform_results[0].integer_value for result in results]


def _too_many() -> CallRefused:
    return CallRefused("resource-exhausted", "too many requests; try again in a minute")
