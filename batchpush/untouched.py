"""Documents that nobody has touched for a while: a function is called for each, once per touch.

A schedule looks for them: those whose `updated_at` has become old enough since it looked last.
How far it has come is kept, so that each is read once, and not at every look.
"""

import asyncio
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from batchpush.change import EPOCH, Change, Document, path_params
from batchpush.errors import DeliveryUnfinished, TryAgainLater
from batchpush.firebase import asked, firestore_client, queried
from batchpush.logs import about, log
from batchpush.settings import project_id
from batchpush.triggers import WATCHED, Function, Watched, every

TOUCHED = "updated_at"
LOOKS = "batch_looks"  # the collection that says how far each look has come
LOOK_BACK = timedelta(hours=6)  # the first look goes so far back, and one after an outage
PAGE = 50
LOOK_FOR = timedelta(seconds=420)


def document_untouched(path: str, untouched_for: timedelta, look: str) -> Callable[[Function], Any]:
    """Call the function when a Firestore document at `COLLECTION/{ID}` was left alone for so long.

    `look` is how often to look for them, such as `every 15 minutes`. The function gets a change
    that made the document what it is, at the moment at which it had been left alone for so long.
    """

    def decorate(function: Function) -> Any:
        WATCHED[function.__name__] = Watched(path, function)

        @functools.wraps(function)
        async def looked() -> None:
            await Untouched(lambda: firestore_client("(default)")).call(
                function, path, untouched_for
            )

        return every(look)(looked)

    return decorate


@dataclass
class Untouched:
    client: Callable[[], Any]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def call(self, function: Function, path: str, untouched_for: timedelta) -> None:
        until = self.now() - untouched_for
        look = self.client().collection(LOOKS).document(function.__name__)
        query = self._between(await self._last(look, until), until, path)
        stop = self.now() + LOOK_FOR
        found = await queried(query)
        while found:
            changes = [_change(each, path, untouched_for, function) for each in found]
            done = await asyncio.gather(*(_is_done(change, function) for change in changes))
            is_last = len(found) < PAGE
            if all(done):
                come_to = until if is_last else found[-1].get(TOUCHED)
                await asked(functools.partial(_set, look, {"until": come_to}))
            if is_last or not all(done) or self.now() >= stop:
                break
            found = await queried(query.start_after(found[-1]))

    async def _last(self, look: Any, until: datetime) -> datetime:
        """How far the looks have come."""
        snapshot = await asked(lambda options: look.get(**options))
        last: datetime = (snapshot.to_dict() or {}).get("until", EPOCH)
        return max(last, until - LOOK_BACK)

    def _between(self, since: datetime, until: datetime, path: str) -> Any:
        from google.cloud.firestore_v1.base_query import FieldFilter

        documents = self.client().collection(path.rpartition("/")[0])
        query = documents.where(filter=FieldFilter(TOUCHED, ">=", since))
        query = query.where(filter=FieldFilter(TOUCHED, "<", until))
        return query.order_by(TOUCHED).limit(PAGE)


async def _is_done(change: Change, function: Function) -> bool:
    """Whether the function is done with it, or it is in a record that the sweep will finish."""
    with about(function=change.function, event_id=change.id, document=change.path):
        try:
            await function(change)
        except DeliveryUnfinished as error:
            log("WARNING", "event.unfinished", error=error)
        except TryAgainLater as error:
            log("WARNING", "event.unfinished", error=error)
            return False
    return True


async def _set(reference: Any, fields: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    await reference.set(fields, **options)


def _change(snapshot: Any, pattern: str, untouched_for: timedelta, function: Function) -> Change:
    """An event of our own; each touch of a document is another one."""
    path, touched = snapshot.reference.path, snapshot.get(TOUCHED)
    return Change(
        id=f"{path}@{touched.isoformat()}",
        source=f"//firestore.googleapis.com/projects/{project_id()}/databases/(default)",
        path=path,
        params=path_params(pattern, path) or {},
        before=None,
        after=Document(path, snapshot.to_dict()),
        time=touched + untouched_for,
        database="firestore",
        function=function.__name__,
    )
