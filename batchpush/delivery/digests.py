"""Digests: one push for everything of a kind that a person did not want at once.

    event ──> claim, and an item for each reader of a digest      in one commit, blindly
    look, every 15 minutes ──> a task for each digest that is due
    task ──> claim of one push about the items, without them      in one commit

Nobody reads a digest before it is due, so an event costs one small write per reader, and writers
never wait for each other. An item is deleted by the claim of the push that tells of it: it is told
once. What has nothing to tell any more is passed over: whoever deletes what they wrote leaves what
others wrote before. For a reader who is in quiet hours by then, nothing is claimed, and the items
wait for their end.
"""

import functools
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from batchpush.delivery.conflicts import until_written
from batchpush.delivery.history import History
from batchpush.delivery.ledger import Ledger
from batchpush.delivery.record import Record
from batchpush.delivery.scheduling import Scheduler, Task
from batchpush.delivery.waiting import MAX_ABOUT, ids_of
from batchpush.documents import Document
from batchpush.events.change import Change, Late, path_params
from batchpush.events.lookup import LookUp, still_readable
from batchpush.events.triggers import Watched
from batchpush.google.firestore import (
    EQUAL,
    LESS_THAN_OR_EQUAL,
    Firestore,
    Query,
    Stored,
    translated,
)
from batchpush.google.protocol.firestore_pb2 import Write
from batchpush.logs import about, log
from batchpush.pushes.push import Audience, CollapseKey, Push, Recipients
from batchpush.timing import Clock

ITEMS = "batch_digests"  # the collection of items
KEEP = timedelta(days=7)  # an item whose digest is never told
FRESH_FOR = timedelta(hours=6)  # of a digest, unless its pushes have longer
MAX_ITEMS = 300  # that one claim deletes
MAX_CLAIMS = 20  # of one task, while what was claimed had nothing to tell
PAGE = 1000  # items in one answer of a look
LOOK_FOR = timedelta(seconds=420)


@dataclass(frozen=True)
class Item:
    """A document that goes into a person's digest."""

    function: str
    source: str
    person: str
    until: datetime
    document: str
    at: datetime  # the time of the event

    @property
    def digest(self) -> str:
        """The digest's id: what one function has for a person at a time."""
        return _hash(self.function, self.source, self.person, self.until.isoformat())

    def put(self, firestore: Firestore) -> Write:
        """Repeated for the same document, it changes nothing."""
        fields = {"digest": self.digest, "expire_at": self.until + KEEP} | vars(self)
        return firestore.put(f"{ITEMS}/{_hash(self.digest, self.document)}", fields)


def items_of(record: Record, group: Recipients, now: datetime) -> Iterator[Item]:
    """An item for each of the recipients who have a digest."""
    until = group.digest_at(now)
    if until is None:
        return
    for user_id in ids_of([group]):
        yield Item(
            function=record.function,
            source=record.source,
            person=user_id,
            until=until,
            document=record.document,
            at=record.event_time,
        )


async def write_items(firestore: Firestore, items: Sequence[Item]) -> None:
    if items:
        with translated():
            await firestore.commit([each.put(firestore) for each in items])


@dataclass(frozen=True, kw_only=True)
class DigestChange(Change):
    """A digest that is due: its newest items, the newest first, and whether `is_more` is older."""

    digest: str
    pattern: str
    person: str
    items: Sequence[Stored]
    is_more: bool
    history: History

    async def unread(self, look_up: LookUp) -> AsyncIterator[tuple[list[Change], int]]:
        """Documents that still exist and are not read, each as a late change of its own.

        They come in parts from the newest part on, each with the number of items that are older.
        """
        paths = [each.fields["document"] for each in reversed(self.items)]
        while paths:
            paths, newest = paths[:-MAX_ABOUT], paths[-MAX_ABOUT:]
            read = await self.history.read_by([self.person], newest)
            unread = [path for path in newest if path not in read]
            documents = await still_readable(look_up, unread)
            yield [self._about(each) for each in documents], len(paths) + self.is_more

    def _about(self, document: Document) -> Change:
        return replace(
            self,
            path=document.path,
            params=path_params(self.pattern, document.path) or {},
            after=document,
            late=Late((document,), reader=self.person),
        )

    def consumed(self, firestore: Firestore) -> list[Write]:
        """Deletes the items; fails if another push tells of one of them."""
        return [firestore.delete(each.path, must_exist=True) for each in self.items]

    async def defer(self, firestore: Firestore, until: datetime) -> None:
        """Defer the digest. It waits as soon as its newest item does, so the newest go first."""
        fields = {"until": until, "expire_at": until + KEEP}
        with translated():
            async for page in firestore.pages(_items_of(self.digest)):
                await firestore.commit(
                    [firestore.update(each.path, fields, each.version) for each in page]
                )

    async def drop_older(self, firestore: Firestore) -> None:
        """Delete what a push counts as more, and does not name."""
        named, oldest = {each.id for each in self.items}, self.items[-1].fields["at"]
        with translated():
            async for page in firestore.pages(_items_of(self.digest)):
                older = [each for each in page if each.fields["at"] <= oldest]
                if gone := [each.path for each in older if each.id not in named]:
                    await firestore.commit(map(firestore.delete, gone))


async def only_to(push: Push, person: str) -> Push | None:
    """The push to one person. A handler that follows `change.late.reader` spares the search."""
    if isinstance(push.recipients, Audience):
        async for group, message in push.recipients.groups:
            if person == group.person or person in group.custom_ids:
                push = replace(push, recipients=group, message=message)
                break
        else:
            return None
    return push.only_to({"custom_ids": [person]})


def combined(pushes: Sequence[Push], omitted: int, now: datetime) -> Push | None:
    """One push for all of them, to the person whom each of them is for; None for no pushes.

    Somebody who has no digests any more gets the newest.
    """
    if not pushes:
        return None
    newest = pushes[-1]
    # An item waits for its time already.
    groups = [
        replace(group, digest=None, send_at=group.send_at and min(group.send_at, now))
        for group in newest.groups
    ]
    digest = next((group.digest for group in newest.groups if group.digest), None)
    alone = replace(
        newest,
        recipients=groups,
        fresh_for=max(newest.fresh_for, FRESH_FOR),
        send_at=None,
        burst=None,
        state=None,
        limits=(),
    )
    if digest is None or (len(pushes) == 1 and not omitted):
        return alone
    return replace(
        alone,
        message=digest.says(len(pushes), omitted > 0),
        deeplink=_common(each.deeplink for each in pushes),
        custom_payload=_common(each.custom_payload for each in pushes),
        sender=_common(each.sender for each in pushes),
        media=None,
        landing=None,
        gcm_collapse_key=CollapseKey(f"digest-{newest.group_id}"),
    )


def _common(values: Iterator[Any]) -> Any:
    """The value that all have; None if they differ."""
    first, *others = values
    return first if all(each == first for each in others) else None


@dataclass
class Digests:
    ledger: Ledger
    scheduler: Scheduler
    clock: Clock
    look_up_for: Callable[[Change], LookUp]
    functions: Mapping[str, Watched]
    history: History

    async def look(self) -> None:
        """Schedule a task for every digest that is due. A later look finds what is left."""
        now = self.clock.now()
        due = Query(
            ITEMS,
            where=[("until", LESS_THAN_OR_EQUAL, now)],
            order_by="until",
            fields=("digest", "until"),
            limit=PAGE,
        )
        seen: set[str] = set()
        with translated():
            async for page in self.ledger.firestore.pages(due):
                found = {each.fields["digest"] for each in page} - seen
                seen |= found
                await self.scheduler.enqueue(digest_task(each) for each in sorted(found))
                if self.clock.now() >= now + LOOK_FOR:
                    break

    async def tell(self, digest: str) -> None:
        """Tell a person of everything in a digest; raises `TryAgainLater`."""
        tell = functools.partial(self._tell_all, digest)
        await until_written(tell, self.clock, "others keep changing the digest")

    async def _tell_all(self, digest: str) -> None:
        for _ in range(MAX_CLAIMS):
            items = await self._items(digest)
            if not items or items[0].fields["until"] > self.clock.now():
                return
            is_more = len(items) > MAX_ITEMS
            await self._tell(digest, items[:MAX_ITEMS], is_more)
            if not is_more:
                return

    async def _items(self, digest: str) -> list[Stored]:
        """The newest items, the newest first, and one more if there are more."""
        with translated():
            return await self.ledger.firestore.find(_items_of(digest, MAX_ITEMS + 1))

    async def _tell(self, digest: str, items: Sequence[Stored], is_more: bool) -> None:
        newest = items[0].fields
        watched = self.functions.get(newest["function"])
        is_in_firestore = newest["source"].startswith("//firestore.")
        change = DigestChange(
            # The same items give the same event.
            id=f"digest/{_hash(digest, *(each.id for each in items))}",
            source=newest["source"],
            path=newest["document"],
            params={},
            before=None,
            after=None,
            time=newest["until"],
            database="firestore" if is_in_firestore else "database",
            function=newest["function"],
            late=Late((), reader=newest["person"]),
            digest=digest,
            pattern=watched.path if watched else "",
            person=newest["person"],
            items=items,
            is_more=is_more,
            history=self.history,
        )
        with about(function=change.function, event_id=change.id, document=change.path):
            if watched is None:
                log("ERROR", "digest.dropped", data={"digest": digest})
                with translated():
                    await self.ledger.firestore.commit(change.consumed(self.ledger.firestore))
                return
            await watched.function(change)


def _items_of(digest: str, limit: int = PAGE) -> Query:
    """The items of a digest, the newest first."""
    return Query(
        ITEMS,
        where=[("digest", EQUAL, digest)],
        order_by="at",
        descending=True,
        fields=(),
        limit=limit,
    )


def digest_task(digest: str) -> Task:
    return Task("sendlater", {"digest": digest})


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
