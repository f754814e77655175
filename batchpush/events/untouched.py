"""Calls a function for each document that nobody has touched for a while, once per touch.

A scheduled look finds documents whose `updated_at` has become old enough since the last look. It
stores how far it has come, so that it reads each document only once.
"""

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from batchpush.documents import EPOCH, Document
from batchpush.environment import project_id, settings
from batchpush.errors import DeliveryUnfinished, TryAgainLater
from batchpush.events.change import Change, path_params
from batchpush.events.triggers import WATCHED, Function, Watched, on_schedule
from batchpush.google.clients import firestore
from batchpush.google.firestore import LESS_THAN, Firestore, Query, Stored, translated
from batchpush.logs import about, log

TOUCHED = "updated_at"
LOOKS = "batch_looks"  # the collection with the progress of each look
LOOK_BACK = timedelta(hours=6)  # how far back the first look goes, and one after an outage
PAGE = 50
LOOK_FOR = timedelta(seconds=420)


def on_document_untouched(
    path: str, untouched_for: timedelta, look: str
) -> Callable[[Function], Any]:
    """Call the function when a Firestore document at `COLLECTION/{ID}` stays untouched for so long.

    `look` is the schedule of the look, such as `every 15 minutes`. The function receives a change
    that creates the document as it is, at the moment when `untouched_for` was over.
    """

    def decorate(function: Function) -> Any:
        WATCHED[function.__name__] = Watched(path, function, "untouched")

        @functools.wraps(function)
        async def looked() -> None:
            await Untouched(lambda: firestore(settings().database)).call(
                function, path, untouched_for
            )

        return on_schedule(look)(looked)

    return decorate


@dataclass
class Untouched:
    client: Callable[[], Firestore]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def call(self, function: Function, path: str, untouched_for: timedelta) -> None:
        until = self.now() - untouched_for
        look = f"{LOOKS}/{function.__name__}"
        query = Query(
            path.rpartition("/")[0],
            where=[(TOUCHED, LESS_THAN, until)],
            order_by=TOUCHED,
            from_value=await self._last(look, until),
            limit=PAGE,
            fields=(),
        )
        stop = self.now() + LOOK_FOR
        is_all_done = True
        while found := await self._find(query):
            changes = [_change(each, path, untouched_for, function) for each in found]
            done = await asyncio.gather(*(_is_done(change, function) for change in changes))
            is_last = len(found) < PAGE
            # A failed document does not block the others; the next look reads it again.
            is_all_done = is_all_done and all(done)
            if is_all_done:
                await self._come_to(look, until if is_last else found[-1].fields[TOUCHED])
            if is_last or self.now() >= stop:
                break
            query = query.after(found[-1])

    async def _find(self, query: Query) -> list[Stored]:
        with translated():
            return await self.client().find(query)

    async def _last(self, look: str, until: datetime) -> datetime:
        """The time up to which earlier looks are done."""
        with translated():
            found = (await self.client().read(look)).get(look)
        last: datetime = found.fields["until"] if found else EPOCH
        return max(last, until - LOOK_BACK)

    async def _come_to(self, look: str, time: datetime) -> None:
        with translated():
            await self.client().commit([self.client().put(look, {"until": time})])


async def _is_done(change: Change, function: Function) -> bool:
    """Whether the function has finished, or left a record that the sweep will finish."""
    with about(function=change.function, event_id=change.id, document=change.path):
        try:
            await function(change)
        except DeliveryUnfinished as error:
            log("WARNING", "event.unfinished", error=error)
        except TryAgainLater as error:
            log("WARNING", "event.unfinished", error=error)
            return False
    return True


def _change(stored: Stored, pattern: str, untouched_for: timedelta, function: Function) -> Change:
    """A synthetic event; each touch of a document gives another one."""
    path, touched = stored.path, stored.fields[TOUCHED]
    return Change(
        id=f"{path}@{touched.isoformat()}",
        source=f"//firestore.googleapis.com/projects/{project_id()}/databases/{settings().database}",
        path=path,
        params=path_params(pattern, path) or {},
        before=None,
        after=Document(path, stored.fields),
        time=touched + untouched_for,
        database="firestore",
        function=function.__name__,
    )
