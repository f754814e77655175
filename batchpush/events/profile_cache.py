"""Profiles that this process has just read, for a burst of events that ask for the same people."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from batchpush.documents import Document
from batchpush.events.lookup import LookUp

COLLECTION = "users"
MAX_PROFILES = 10_000

Key = tuple[str, str, tuple[str, ...]]  # the database, the path, and the fields that were asked for


@dataclass
class ProfileCache:
    """Profiles by where they are, each with the time before which it was read.

    So none is used that is older than `max_age`, however long Firestore took to answer.
    """

    max_age: timedelta
    now: Callable[[], datetime]
    _profiles: dict[Key, tuple[datetime, Document | None]] = field(default_factory=dict)

    def find(self, key: Key) -> tuple[Document | None] | None:
        """The profile, which may be None; or None if it has to be read."""
        asked_at, profile = self._profiles.get(key, (None, None))
        if asked_at is None or self.now() - asked_at >= self.max_age:
            return None
        return (profile,)

    def keep(self, key: Key, asked_at: datetime, profile: Document | None) -> None:
        self._profiles.pop(key, None)  # to the end: the oldest are first
        self._profiles[key] = asked_at, profile
        self._drop(read_before=self.now() - self.max_age)

    def _drop(self, read_before: datetime) -> None:
        """Drop what is too old to be used, and the oldest of too many."""
        while self._profiles:
            oldest, (asked_at, _) = next(iter(self._profiles.items()))
            if asked_at > read_before and len(self._profiles) <= MAX_PROFILES:
                return
            del self._profiles[oldest]


class CachedLookUp:
    """A look-up that asks the cache for profiles before it reads them; `source` is its database."""

    def __init__(self, look_up: LookUp, cache: ProfileCache, source: str) -> None:
        self._look_up, self._cache, self._source = look_up, cache, source

    async def __call__(self, path: str) -> Document | None:
        (document,) = await self.many(path)
        return document

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Document | None]:
        keys = {path: (self._source, path, tuple(fields)) for path in paths if _is_profile(path)}
        cached = {path: found for path, key in keys.items() if (found := self._cache.find(key))}
        missing = [path for path in paths if path not in cached]
        asked_at = self._cache.now()
        read = await self._look_up.many(*missing, fields=fields) if missing else []
        for path, document in zip(missing, read, strict=True):
            if path in keys:
                self._cache.keep(keys[path], asked_at, document)
        rest = iter(read)
        return [cached[path][0] if path in cached else next(rest) for path in paths]

    async def listed(self, collection: str, field: str, values: Sequence[str]) -> set[str]:
        return await self._look_up.listed(collection, field, values)

    def pages(
        self, collection: str, *, fields: Sequence[str] = ()
    ) -> AsyncIterator[list[Document]]:
        return self._look_up.pages(collection, fields=fields)


def _is_profile(path: str) -> bool:
    collection, _, user_id = path.partition("/")
    return collection == COLLECTION and bool(user_id) and "/" not in user_id
