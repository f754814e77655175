"""What the handlers need of people, from `users/{id}`.

A profile that is garbage is no reason to leave its owner, or anybody else, without the push:
whatever is not what it should be counts as absent.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, time, tzinfo
from typing import TypeGuard
from zoneinfo import ZoneInfo

from batchpush import Document, LookUp, Message, QuietHours, Recipients
from batchpush.change import is_unicode
from batchpush.logs import log
from batchpush.push import ID_LISTS, MAX_CUSTOM_ID
from handlers.fields import zone_named
from handlers.texts import language_of

MOST_PEOPLE = 1000  # whose profiles are read for one push
PROFILE = ("display_name", "language", "time_zone", "push_muted", "quiet_hours", "batch")
CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


@dataclass(frozen=True)
class Person:
    """Somebody to tell, or to name. `batch` is who they are to Batch: lists of ids.

    `told_of` are the documents that they are told of, where not all are told of the same.
    """

    user_id: str
    name: str | None
    language: str
    zone: ZoneInfo | None
    is_muted: bool
    quiet: QuietHours | None
    batch: Mapping[str, Sequence[str]]
    told_of: Sequence[Document] = ()

    @property
    def has_own_ids(self) -> bool:
        """Whether they are more to Batch than their user id as a custom id."""
        return {name: list(ids) for name, ids in self.batch.items()} != {
            "custom_ids": [self.user_id]
        }

    @property
    def reads(self) -> str:
        """The same for all who read the same words: what those depend on."""
        zone = [self.zone.key] if self.zone else []
        return " ".join([self.language, *zone, *(document.path for document in self.told_of)])


def person_ids(document: Document, field: str) -> tuple[str, ...] | None:
    """A list of user ids, not longer than one push can look up; None where it is absent."""
    user_ids = document.ids(field)
    if user_ids and len(user_ids) > MOST_PEOPLE:
        raise document.invalid(field, f"has {len(user_ids)} people; at most {MOST_PEOPLE} can be")
    return user_ids


async def people(look_up: LookUp, *user_ids: str) -> list[Person]:
    """The people, all read at once."""
    if not user_ids:
        return []
    profiles = await look_up.many(*(f"users/{user_id}" for user_id in user_ids), fields=PROFILE)
    return [person(user_id, profile) for user_id, profile in zip(user_ids, profiles, strict=True)]


def person(user_id: str, profile: Document | None) -> Person:
    """The person of a profile that is at hand."""
    profile = profile or Document(f"users/{user_id}", {})
    name = profile.get("display_name")
    zone = zone_named(profile.get("time_zone"))
    return Person(
        user_id=user_id,
        name=name.strip() if _is_text(name) else None,
        language=language_of(profile.get("language")),
        zone=zone,
        is_muted=profile.get("push_muted") is True,
        quiet=_quiet_hours(profile.get("quiet_hours"), zone or UTC),
        batch=_batch_ids(profile.get("batch")) or {"custom_ids": (user_id,)},
    )


def _quiet_hours(hours: object, zone: tzinfo) -> QuietHours | None:
    """`{"start": "22:00", "end": "07:00"}` in the person's time zone."""
    if not isinstance(hours, dict):
        return None
    clocks = (hours.get("start"), hours.get("end"))
    if not all(isinstance(clock, str) and CLOCK.fullmatch(clock) for clock in clocks):
        return None
    start, end = (time.fromisoformat(str(clock)) for clock in clocks)
    return QuietHours(start, end, zone)


def _batch_ids(batch: object) -> dict[str, Sequence[str]]:
    """The ids of `users/{id}.batch`, without those that Batch would refuse."""
    if not isinstance(batch, dict):
        return {}
    lists = {name: batch.get(name) for name in ID_LISTS}
    ids = {
        name: [identifier for identifier in listed if _is_batch_id(name, identifier)]
        for name, listed in lists.items()
        if isinstance(listed, list)
    }
    return {name: identifiers for name, identifiers in ids.items() if identifiers}


def _is_batch_id(name: str, value: object) -> bool:
    if not _is_text(value):
        return False
    return name != "custom_ids" or (len(value) < MAX_CUSTOM_ID and "\n" not in value)


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip()) and is_unicode(value)


def recipients(people: Iterable[Person], at_any_hour: bool = False) -> list[Recipients]:
    """The people as Batch knows them, in groups of those who read the same at the same hours.

    Who has ids of their own in `batch` is a group alone: they are remembered as the person.
    `at_any_hour` is for what cannot wait until somebody's quiet hours are over.
    """
    groups: dict[Recipients, dict[str, list[str]]] = {}
    for one in people:
        kind = Recipients(
            reads=one.reads,
            quiet=None if at_any_hour else one.quiet,
            person=one.user_id if one.has_own_ids else None,
        )
        ids = groups.setdefault(kind, {name: [] for name in ID_LISTS})
        for name, identifiers in one.batch.items():
            ids[name].extend(identifiers)
        if "tokens" in one.batch:
            _warn_of_tokens()
    return [kind.with_ids(ids) for kind, ids in groups.items()]


@functools.cache
def _warn_of_tokens() -> None:
    """Once per process. Batch advises against tokens: they change when an app is reinstalled."""
    log("WARNING", "recipients.tokens")


def in_their_words(
    people: Iterable[Person], words: Callable[[Person], Message]
) -> dict[str, Message]:
    """The message of each group of `recipients`."""
    readers = {one.reads: one for one in people}
    return {reads: words(reader) for reads, reader in readers.items()}
