"""People, as the handlers need them, from `users/{id}`.

An invalid profile must not keep its owner, or anyone else, from getting the push: an invalid field
counts as absent, and a warning names it, once per process.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from batchpush import (
    ID_LISTS,
    Digest,
    Document,
    LookUp,
    Message,
    QuietHours,
    Recipients,
    Reference,
    Schedule,
    as_list,
    is_unicode,
    log,
    problem_of_id,
    warn_of_field,
)
from handlers.categories import Category, category_of
from handlers.fields import clock, one_line, understood, zone_named
from handlers.fields import schedule as schedule_of
from handlers.texts import Count, language_of, say

# Why somebody is left out of a push, as an operator reads it in the record.
MUTED = "muted"
MUTED_CONVERSATION = "muted the conversation"
ASLEEP = "in quiet hours"
NOT_A_USER = "an id of another user at Batch"
NO_ID = "without an id that Batch takes"

MAX_PEOPLE = 1000  # whose profiles are read for one push
PROFILE = (
    "display_name",
    "language",
    "time_zone",
    "push_muted",
    "push_preferences",
    "quiet_hours",
    "batch",
)

# Bounds on the ids of one profile, so that one person leaves room for the others in a push. The
# example rules allow fewer and shorter ids.
MAX_IDS = 10  # of each list
MAX_ID_BYTES = 1024


@dataclass(frozen=True)
class Person:
    """A recipient or a sender. `batch` has the lists of their ids at Batch.

    It is empty for a user id that Batch does not take, such as one of a thousand characters.
    `language` is one of ours; `own_language` is theirs as the profile has it, for documents with
    languages of their own. `preferences` has the categories that they switched on or off, or want
    as a digest.

    An id without a profile may be a user, or another user's id at Batch: see `users_only`.
    `told_of` are the documents for this recipient, if recipients get different ones.
    """

    user_id: str
    name: str | None
    language: str
    zone: ZoneInfo | None
    is_muted: bool
    preferences: Mapping[str, bool | Schedule]
    quiet: QuietHours | None
    batch: Mapping[str, Sequence[str]]
    has_profile: bool = True
    own_language: object = None
    told_of: Sequence[Document] = ()

    @property
    def has_own_ids(self) -> bool:
        """Whether they have other ids at Batch than their user id as a custom id."""
        return {name: list(ids) for name, ids in self.batch.items()} != {
            "custom_ids": [self.user_id]
        }

    def why_not_told(self, group_id: str) -> str | None:
        """Why they are left out of a category; None if they are not."""
        if not self.batch:
            return NO_ID
        category = category_of(group_id)
        if category.is_required:
            return None
        if self.is_muted:
            return MUTED
        is_on = self.preferences.get(group_id, category.is_on)
        return None if is_on else f"switched off {group_id}"

    @property
    def reads(self) -> str:
        """A key of everything that their text depends on: equal for all who read the same text."""
        zone = [self.zone.key] if self.zone else []
        return " ".join([self.language, *zone, *(document.path for document in self.told_of)])


def person_ids(document: Document, field: str) -> tuple[str, ...] | None:
    """A list of user ids, at most as many as one push can look up; None if absent.

    Invalid items do not keep the others from getting the push.
    """
    user_ids = document.valid_ids(field)
    if user_ids and len(user_ids) > MAX_PEOPLE:
        raise document.invalid(field, f"has {len(user_ids)} people; the maximum is {MAX_PEOPLE}")
    return user_ids


def people_named(document: Document, field: str) -> frozenset[str]:
    """People whom a field leaves out: a list of ids, `{user_id: true}`, or a mix of both.

    An item that is no id names nobody, and keeps nobody else from the push.
    """
    value = document.get(field)
    if value is not None and not isinstance(value, list | dict):
        raise document.invalid(field, "must be a list of strings")
    items = [each for key, each in _by_key(value).items() if key.isdecimal()]
    listed = [each for each in items if not isinstance(each, bool)]
    ids = understood(Document.valid_ids, Document(document.path, {field: listed}), field)
    if ids is None:
        warn_of_field(field)
    return frozenset([*marked(document, field, True), *(ids or ())])


def marked(document: Document, field: str, mark: bool) -> list[str]:
    """The keys of `{user_id: mark}`; other values are ignored."""
    return [key for key, value in _by_key(document.get(field)).items() if value is mark]


def _by_key(value: object) -> dict[str, object]:
    """A map, even if the Realtime Database returned one with integer keys as a list."""
    if isinstance(value, list):
        return {str(index): item for index, item in enumerate(value)}
    return value if isinstance(value, dict) else {}


async def people(look_up: LookUp, *user_ids: str) -> list[Person]:
    """The people with these ids, read at once."""
    if not user_ids:
        return []
    profiles = await look_up.many(*(f"users/{user_id}" for user_id in user_ids), fields=PROFILE)
    return [person(user_id, profile) for user_id, profile in zip(user_ids, profiles, strict=True)]


async def users_only(look_up: LookUp, people: Sequence[Person]) -> list[Person]:
    """The people, named by an app, without ids that belong to another user at Batch.

    An id without a profile may be the id at Batch of a user who muted these pushes, for example. It
    must not reach that user.
    """
    unknown = [one.user_id for one in people if not one.has_profile]
    taken = await look_up.listed("users", "batch.custom_ids", unknown) if unknown else set()
    if taken:
        log("WARNING", "recipients.batch_ids", data={"people": len(taken)})
    return [one for one in people if one.user_id not in taken]


def person(user_id: str, profile: Document | None) -> Person:
    """The person with a profile that has been read."""
    has_profile = profile is not None
    profile = profile or Document(f"users/{user_id}", {})
    zone = _time_zone(profile.get("time_zone"))
    return Person(
        user_id=user_id,
        name=_name(profile.get("display_name")),
        language=language_of(profile.get("language")),
        zone=zone,
        is_muted=_flag("push_muted", profile.get("push_muted")) is True,
        preferences=_preferences(profile.get("push_preferences")),
        quiet=_quiet_hours(profile.get("quiet_hours"), zone or UTC),
        batch=_batch_ids(profile.get("batch")) or _as_custom_id(user_id),
        has_profile=has_profile,
        own_language=profile.get("language"),
    )


def custom_ids(profile: Document) -> tuple[str, ...]:
    """The custom ids of the person whose profile it is."""
    user_id = profile.path.rpartition("/")[2]
    return tuple(person(user_id, profile).batch.get("custom_ids", ()))


def _name(name: object) -> str | None:
    if isinstance(name, str) and not isinstance(name, Reference) and is_unicode(name):
        return one_line(name) or None
    if name is not None:
        warn_of_field("display_name")
    return None


def _time_zone(name: object) -> ZoneInfo | None:
    zone = zone_named(name)
    if zone is None and name not in (None, ""):
        warn_of_field("time_zone")
    return zone


def _flag(field: str, value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    warn_of_field(field)
    return None


def _digest(reader: Person, category: Category, schedule: Schedule) -> Digest:
    words = functools.partial(_digest_words, category, reader.language)
    return Digest(schedule, reader.zone or UTC, words)


def _digest_words(category: Category, language: str, number: int, or_more: bool) -> Message:
    name = category.name_in(language)
    message = say("digest", language, category=name, count=Count(number, or_more))
    return message if name else Message(message.body)


def _preferences(chosen: object) -> dict[str, bool | Schedule]:
    """`{"game_turn": false, "new_message": "18:00"}`, without what is neither."""
    if not isinstance(chosen, dict):
        if chosen is not None:
            warn_of_field("push_preferences")
        return {}
    given = {name: choice for name, choice in chosen.items() if choice is not None}
    read = {
        name: choice if isinstance(choice, bool) else schedule_of(choice)
        for name, choice in given.items()
    }
    valid = {name: choice for name, choice in read.items() if choice is not None}
    if len(valid) < len(given):
        warn_of_field("push_preferences")
    return valid


def _quiet_hours(hours: object, zone: tzinfo) -> QuietHours | None:
    """`{"start": "22:00", "end": "07:00"}` in the person's time zone, unless not `enabled`."""
    if hours is None:
        return None
    if isinstance(hours, dict):
        if hours.get("enabled") is False:
            return None
        start, end = clock(hours.get("start")), clock(hours.get("end"))
        if start and end and hours.get("enabled") in (None, True):
            return QuietHours(start, end, zone)
    warn_of_field("quiet_hours")
    return None


def _batch_ids(batch: object) -> dict[str, Sequence[str]]:
    """The ids of `users/{id}.batch`, without invalid and excess ones."""
    if not isinstance(batch, dict):
        if batch is not None:
            warn_of_field("batch")
        return {}
    ids = {name: _ids(name, batch[name]) for name in ID_LISTS if batch.get(name) is not None}
    return {name: identifiers for name, identifiers in ids.items() if identifiers}


def _as_custom_id(user_id: str) -> dict[str, Sequence[str]]:
    return {} if problem_of_id("custom_ids", user_id) else {"custom_ids": (user_id,)}


def _ids(id_list: str, listed: object) -> list[str]:
    items = as_list(listed)
    if items is None:
        warn_of_field(f"batch.{id_list}")
        return []
    items = [item for item in items if item is not None]  # holes, in the Realtime Database
    valid = [item for item in items if _is_valid(id_list, item)]
    ids = list(dict.fromkeys(valid))
    if len(valid) < len(items) or len(ids) > MAX_IDS:
        warn_of_field(f"batch.{id_list}")
    return ids[:MAX_IDS]


def _is_valid(id_list: str, item: object) -> bool:
    return problem_of_id(id_list, item) is None and len(str(item).encode()) <= MAX_ID_BYTES


def who_is_told(
    group_id: str, people: Iterable[Person]
) -> tuple[list[Person], dict[str, list[str]]]:
    """Those whom a push of a category goes to, and the ids of the others by reason."""
    told: list[Person] = []
    left_out: dict[str, list[str]] = {}
    for one in people:
        if why := one.why_not_told(group_id):
            left_out.setdefault(why, []).append(one.user_id)
        else:
            told.append(one)
    return told, left_out


def reasons(left_out: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The user ids of each reason that there are any for."""
    listed = {reason: sorted(user_ids) for reason, user_ids in left_out.items()}
    return {reason: user_ids for reason, user_ids in listed.items() if user_ids}


def recipients(
    people: Iterable[Person], group_id: str, at_any_hour: bool = False
) -> list[Recipients]:
    """The people's ids at Batch, grouped by text, quiet hours and digest of the category.

    A person with their own ids in `batch` is a separate group, to remember whose they are.
    `at_any_hour` ignores quiet hours and digests, for pushes that cannot wait.
    """
    groups: dict[Recipients, dict[str, list[str]]] = {}
    category = category_of(group_id)
    is_at_once = at_any_hour or category.is_required
    for one in people:
        chosen = one.preferences.get(group_id, category.digest)
        schedule = chosen if isinstance(chosen, Schedule) and not is_at_once else None
        kind = Recipients(
            reads=one.reads,
            quiet=None if at_any_hour else one.quiet,
            person=one.user_id if one.has_own_ids else None,
            digest=_digest(one, category, schedule) if schedule else None,
        )
        ids = groups.setdefault(kind, {name: [] for name in ID_LISTS})
        for name, identifiers in one.batch.items():
            ids[name].extend(identifiers)
        if "tokens" in one.batch:
            warn_of_tokens()
    return [kind.with_ids(ids) for kind, ids in groups.items()]


@functools.cache
def warn_of_tokens() -> None:
    """Warn once per process. Batch advises against tokens: they change with a reinstallation."""
    log("WARNING", "recipients.tokens")


def in_their_words(
    people: Iterable[Person], words: Callable[[Person], Message]
) -> dict[str, Message]:
    """The message of each group of `recipients`, by `reads`."""
    readers = {one.reads: one for one in people}
    return {reads: words(reader) for reads, reader in readers.items()}
