"""Documents that nobody has touched for a while become pushes, each once per touch.

A schedule looks for them: those whose `updated_at` has become old enough since it looked last.
How far it has come is kept, so that each is read once, and not at every look.
"""

import asyncio
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from batchpush.change import EPOCH, Change, Document, path_params
from batchpush.delivery import Deliverer, Handler, deliverer
from batchpush.errors import DeliveryUnfinished, TryAgainLater
from batchpush.firebase import firestore_client
from batchpush.ledger import asked
from batchpush.logs import about, log
from batchpush.publications import queried
from batchpush.settings import project_id

TOUCHED = "updated_at"
LOOKS = "batch_looks"  # the collection that says how far each look has come
LOOK_BACK = timedelta(hours=6)  # the first look goes so far back, and one after an outage
PAGE = 50
LOOK_FOR = timedelta(seconds=420)


async def deliver_untouched(path: str, untouched_for: timedelta, handler: Handler) -> None:
    """Deliver the handler's push for each document at `COLLECTION/{ID}` that is left alone.

    The handler gets a change that made the document what it is, at the moment at which it had
    been left alone for so long.
    """
    await untouched().deliver(path, untouched_for, handler)


@dataclass
class Untouched:
    client: Callable[[], Any]
    deliverer: Deliverer

    async def deliver(self, path: str, untouched_for: timedelta, handler: Handler) -> None:
        until = self.deliverer.now() - untouched_for
        look = self.client().collection(LOOKS).document(handler.__name__)
        query = self._between(await self._last(look, until), until, path)
        stop = self.deliverer.now() + LOOK_FOR
        found = await queried(query)
        while found:
            changes = [_change(each, path, untouched_for, handler) for each in found]
            done = await asyncio.gather(*(self._delivered(change, handler) for change in changes))
            is_last = len(found) < PAGE
            if all(done):
                come_to = until if is_last else found[-1].get(TOUCHED)
                await asked(functools.partial(_set, look, {"until": come_to}))
            if is_last or not all(done) or self.deliverer.now() >= stop:
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

    async def _delivered(self, change: Change, handler: Handler) -> bool:
        """Whether it is done, or in a record that the sweep will finish."""
        with about(function=change.function, event_id=change.id, document=change.path):
            try:
                await self.deliverer.deliver(change, handler)
            except DeliveryUnfinished as error:
                log("WARNING", "event.unfinished", error=error)
            except TryAgainLater as error:
                log("WARNING", "event.unfinished", error=error)
                return False
        return True


async def _set(reference: Any, fields: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    await reference.set(fields, **options)


def _change(snapshot: Any, pattern: str, untouched_for: timedelta, handler: Handler) -> Change:
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
        function=handler.__name__,
    )


@functools.cache
def untouched() -> Untouched:
    """The one of this worker, made on first use."""
    return Untouched(lambda: firestore_client("(default)"), deliverer())
