"""The notification history: what a person was sent, for an app's inbox.

The claim of an event writes the entries, also for people whose push waits or goes into a digest: if
they read the entry in the app first, they get no push.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from batchpush.delivery.record import Record
from batchpush.delivery.waiting import name_of
from batchpush.documents import EPOCH
from batchpush.google.firestore import IN, Firestore, Query, Stored, is_document, translated
from batchpush.google.protocol.firestore_pb2 import Write
from batchpush.pushes.push import Message, Push, Recipients, without_nones

NOTIFICATIONS = "notifications"  # the collection below users/{id}
# Of one push; a larger one has no entries.
MAX_PEOPLE = 500
MAX_BYTES = 500_000
AT_ONCE = 50  # histories that are read at the same time

# Fields of ours. Their prefix keeps an index or a TTL policy from an app's own `notifications`.
ABOUT, SENDER, EXPIRES = "batch_about", "batch_sender", "batch_expire_at"


@dataclass(frozen=True)
class Notification:
    """An entry in the history of a person."""

    user_id: str
    delivery: str
    fields: Mapping[str, Any]

    @property
    def path(self) -> str:
        return f"users/{self.user_id}/{NOTIFICATIONS}/{self.delivery}"

    @property
    def name(self) -> str:
        """The person's name among the recipients."""
        return name_of("custom_ids", self.user_id)

    def put(self, firestore: Firestore) -> Write:
        return firestore.put(self.path, self.fields)


def notifications(
    record: Record, push: Push, now: datetime, kept_for: timedelta
) -> list[Notification]:
    """The entries of a push: one for each user among its recipients, told now or later.

    A push with a `send_at` has them only then. Any other that waited has them already.
    """
    if sum(map(len, push.groups)) > MAX_PEOPLE:
        return []
    found: dict[str, Notification] = {}
    for group in push.groups:
        is_planned = group.send_at is not None
        is_due = group.send_at is None or group.send_at <= now
        message = _message(push, group)
        if message is None or not is_due or (record.waited_until and not is_planned):
            continue
        fields = {
            "body": message.body,
            **without_nones({"title": message.title, "deeplink": push.deeplink_of(message)}),
            "category": push.group_id,
            "sent_at": now,
            "read": False,
            ABOUT: about(record.document),
            **({SENDER: name_of("custom_ids", push.sender)} if push.sender else {}),
            EXPIRES: now + kept_for,
        }
        for user_id in _users(group):
            found[user_id] = Notification(user_id, record.id, fields)
    texts = (text for each in found.values() for text in each.fields.values())
    size = sum(len(text.encode()) for text in texts if isinstance(text, str))
    return list(found.values()) if size <= MAX_BYTES else []


def _message(push: Push, group: Recipients) -> Message | None:
    return push.message[group.reads or ""] if isinstance(push.message, Mapping) else push.message


def _users(group: Recipients) -> Iterator[str]:
    users = group.custom_ids if group.person is None else (group.person,)
    return filter(is_user, users)


def is_user(user_id: str) -> bool:
    """Whether it can be a user's id: a custom id may be anything."""
    return is_document(f"users/{user_id}")


def about(document: str) -> str:
    """Stands for a document, whose path may name other people."""
    return hashlib.sha256(document.encode()).hexdigest()[:20]


@dataclass
class History:
    """Reads what people have read. `days` are how long entries are kept; 0 for no history."""

    firestore: Callable[[], Firestore]
    days: int

    async def read_by(
        self, user_ids: Iterable[str], documents: Sequence[str]
    ) -> Mapping[str, frozenset[str]]:
        """Who has read the newest entry of each document, by its path."""
        users = list(filter(is_user, user_ids))
        if not self.days or not documents or len(users) > MAX_PEOPLE:
            return {}
        paths = {about(path): path for path in documents}
        found: dict[str, set[str]] = {}
        for start in range(0, len(users), AT_ONCE):
            some = users[start : start + AT_ONCE]
            read = await asyncio.gather(*(self._of(user_id, list(paths)) for user_id in some))
            for user_id, entries in zip(some, read, strict=True):
                newest = {each.fields[ABOUT]: each for each in sorted(entries, key=_sent_at)}
                for entry in newest.values():
                    if entry.fields.get("read") is True:
                        found.setdefault(paths[entry.fields[ABOUT]], set()).add(user_id)
        return {path: frozenset(readers) for path, readers in found.items()}

    async def _of(self, user_id: str, abouts: Sequence[str]) -> list[Stored]:
        query = Query(
            f"users/{user_id}/{NOTIFICATIONS}",
            where=[(ABOUT, IN, list(abouts))],
            fields=(ABOUT, "read", "sent_at"),
        )
        with translated():
            return await self.firestore().find(query)


def _sent_at(entry: Stored) -> datetime:
    """When an entry was sent; an app may have changed it."""
    sent_at = entry.fields.get("sent_at")
    return sent_at if isinstance(sent_at, datetime) else EPOCH
