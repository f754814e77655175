"""The objects of one worker, created on first use, and the functions that `main.py` calls.

Importing creates nothing: a gRPC channel from before the server forks its worker can hang forever.
What only campaigns or operators need is imported on first use: an instance serves one function, and
a cold start is imports.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol

from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.requests import Caller
from batchpush.delivery.call_limits import CallLimits
from batchpush.delivery.chunks import Chunks
from batchpush.delivery.deliverer import Deliverer
from batchpush.delivery.digests import Digests
from batchpush.delivery.history import History
from batchpush.delivery.ledger import Ledger
from batchpush.delivery.planning import Planner, PushHandler, Returned
from batchpush.delivery.resume import Resumption
from batchpush.delivery.scheduling import Scheduler
from batchpush.delivery.sending import Sender
from batchpush.delivery.sweep import Sweep
from batchpush.environment import Settings, project_id, settings, working_by
from batchpush.errors import MalformedEvent
from batchpush.events.callables import CallableRequest, CallRefused
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp, look_up_for, look_up_in
from batchpush.events.profile_cache import CachedLookUp, ProfileCache
from batchpush.events.push_texts import PushTexts, Reader, check_document
from batchpush.events.triggers import TWIN, WATCHED, Watched
from batchpush.google.clients import firestore
from batchpush.google.cloud_tasks import Tasks
from batchpush.google.firestore import Firestore
from batchpush.pushes.limits import Limit
from batchpush.scoped import holding
from batchpush.sealed import leaving
from batchpush.timing import Clock, Timing

if TYPE_CHECKING:
    from batchpush.campaigns.articles import ArticleHandler, Condition, Newsroom
    from batchpush.campaigns.decide import CampaignHandler
    from batchpush.campaigns.reconcile import Publisher
    from batchpush.campaigns.stats import Pull
    from batchpush.delivery.erase import Eraser
    from batchpush.delivery.replay import Replay
    from batchpush.leaving.leaver import CustomIds, Leaver
    from batchpush.profiles.backfill import Backfill
    from batchpush.profiles.mirror import Mirror, ProfileHandler

CallableHandler = Callable[[CallableRequest, LookUp], Awaitable[Returned]]


@dataclass
class Worker:
    """The objects of one process, each created on first use.

    `databases` gives a Firestore database by its name. `functions` are those of `main.py` that
    writes call, by their names.
    """

    settings: Settings
    databases: Callable[[str], Firestore]
    client: BatchClient
    tasks: Tasks
    timing: Timing = field(default_factory=Timing)
    clock: Clock = field(default_factory=Clock)
    functions: Mapping[str, Watched] = field(default_factory=lambda: WATCHED)

    def firestore(self) -> Firestore:
        """The database of the `DATABASE` setting."""
        return self.databases(self.settings.database)

    def look_up_for(self, change: Change) -> LookUp:
        look_up = look_up_for(change, self.databases)
        if not self.settings.profile_cache_seconds:
            return look_up
        return CachedLookUp(look_up, self._profiles, change.source)

    @cached_property
    def _profiles(self) -> ProfileCache:
        return ProfileCache(timedelta(seconds=self.settings.profile_cache_seconds), self.clock.now)

    @cached_property
    def push_texts(self) -> PushTexts:
        return PushTexts(self.firestore, self.clock.now)

    @cached_property
    def ledger(self) -> Ledger:
        return Ledger(self.firestore, self.settings.deliveries_collection)

    @cached_property
    def caller(self) -> Caller:
        return Caller(self.client, self.clock)

    @cached_property
    def sender(self) -> Sender:
        scheduler = Scheduler(self.tasks, self.timing, self.clock)
        return Sender(self.ledger, self.caller, scheduler, self.settings, self.timing, self.clock)

    @cached_property
    def deliverer(self) -> Deliverer:
        planner = Planner(self.ledger, self.settings, self.timing, self.clock, self.look_up_for)
        return Deliverer(planner, self.ledger, self.sender, self.clock)

    @cached_property
    def chunks(self) -> Chunks:
        return Chunks(self.sender)

    @cached_property
    def resumption(self) -> Resumption:
        return Resumption(self.sender, self.clock, self.look_up_for, self.functions, self.history)

    @cached_property
    def history(self) -> History:
        return History(self.firestore, self.settings.notification_history_days)

    @cached_property
    def digests(self) -> Digests:
        scheduler = self.sender.scheduler
        return Digests(
            self.ledger, scheduler, self.clock, self.look_up_for, self.functions, self.history
        )

    @cached_property
    def replay(self) -> "Replay":
        from batchpush.delivery.replay import Replay

        return Replay(self.sender)

    @cached_property
    def sweep(self) -> Sweep:
        return Sweep(self.sender)

    @cached_property
    def eraser(self) -> "Eraser":
        from batchpush.delivery.erase import Eraser

        return Eraser(self.ledger, self.settings, self.clock)

    @cached_property
    def call_limits(self) -> CallLimits:
        return CallLimits(self.firestore)

    @cached_property
    def publisher(self) -> "Publisher":
        from batchpush.campaigns.reconcile import Publisher
        from batchpush.campaigns.store import Publications

        return Publisher(Publications(self.firestore), self.caller, self.settings, self.timing)

    @cached_property
    def newsroom(self) -> "Newsroom":
        from batchpush.campaigns.articles import Newsroom

        return Newsroom(self.firestore, self.settings, self.clock.now)

    @cached_property
    def mirror(self) -> "Mirror":
        from batchpush.profiles.mirror import Mirror
        from batchpush.profiles.store import Profiles

        profiles = Profiles(self.firestore)
        look_up = partial(look_up_in, firestore=self.databases)
        return Mirror(profiles, self.caller, self.settings, look_up, self.timing)

    @cached_property
    def leaver(self) -> "Leaver":
        from batchpush.leaving.leaver import Leaver
        from batchpush.leaving.store import Receipts
        from batchpush.profiles.store import Profiles

        return Leaver(
            Receipts(self.firestore),
            Profiles(self.firestore),
            self.eraser,
            self.caller,
            self.settings,
            partial(look_up_in, firestore=self.databases),
            self.timing,
        )

    @cached_property
    def backfill(self) -> "Backfill":
        from batchpush.profiles.backfill import Backfill

        database = f"projects/{project_id()}/databases/{self.settings.database}"
        return Backfill(self.mirror, self.tasks, f"//firestore.googleapis.com/{database}")

    def pull(self, since: date | None = None) -> "Pull":
        """One pull of results; an operator may ask for all days from `since` on."""
        from batchpush.campaigns.stats import Pull, Results
        from batchpush.campaigns.store import Publications

        results = Results(self.firestore, self.settings.deliveries_collection)
        publications = Publications(self.firestore)
        return Pull(results, publications, self.caller, self.settings, since)


def worker() -> Worker:
    """The worker of this process, or the one that a test provides."""
    return _current.get() or process_worker()


_current: ContextVar[Worker | None] = ContextVar("current", default=None)


@contextmanager
def working_with(worker: Worker) -> Iterator[None]:
    """Inside the block, the functions of `main.py` use these objects, and their settings."""
    with holding(_current, worker), working_by(worker.settings):
        yield


@cache
def process_worker() -> Worker:
    """The worker of this process, created on first use."""
    leaving("sends or writes")
    chosen, timing = settings(), Timing()
    return Worker(
        chosen,
        firestore,
        BatchClient(chosen, timing),
        Tasks(chosen),
        timing,
    )


# Deliveries


async def deliver(change: Change, handler: PushHandler, report_to: str | None = None) -> None:
    """Ask the handler for a push, and send it once.

    Writes the outcome to `report_to`, a path below the document, if given. Raises `TryAgainLater`
    to have the event redelivered; the delivery record says whatever else happened.
    """
    if instead := _instead.get():
        await instead.deliver(change, handler, report_to)
        return
    made = worker()
    made.client.warm_up()
    if made.settings.push_texts:
        await made.push_texts.use()
    await made.deliverer.deliver(change, handler, report_to)


class Instead(Protocol):
    """What a preview does in place of `deliver`, `publish` and the like."""

    async def deliver(
        self, change: Change, handler: PushHandler, report_to: str | None
    ) -> None: ...

    async def publish(self, change: Change, handler: "CampaignHandler") -> None: ...

    async def announce(
        self, change: Change, is_published: "Condition", handler: "ArticleHandler"
    ) -> None: ...

    async def mirror(self, change: Change, handler: "ProfileHandler") -> None: ...

    async def forget(self, change: Change, custom_ids: "CustomIds") -> None: ...


_instead: ContextVar[Instead | None] = ContextVar("instead", default=None)


def acting_by(instead: Instead) -> AbstractContextManager[None]:
    """Inside the block, `deliver`, `publish` and the like do what `instead` does."""
    return holding(_instead, instead)


async def deliver_call(
    request: CallableRequest, handler: CallableHandler, limits: Sequence[Limit]
) -> None:
    """Ask the handler for a push, and send it once per `request_id`.

    A request that is already recorded is not checked again: the app gets the answer that it may
    have lost, and an unfinished delivery is resumed. Raises `CallRefused` or `TryAgainLater`.
    """
    if worker().settings.push_texts:
        await worker().push_texts.use()
    try:
        await worker().call_limits.count(limits, request.time)
        push = await handler(request, worker().look_up_for(request.change))
    except CallRefused:
        entry = await worker().ledger.read(request.change.delivery_id)
        if entry is None:
            raise
        await worker().sender.resume(entry)
    else:
        await deliver(request.change, lambda change, look_up: _at_once(push))


async def _at_once(push: Returned) -> Returned:
    return push


async def send_digests() -> None:
    """Schedule every digest that is due."""
    await worker().digests.look()


async def sweep_deliveries() -> None:
    """Finish deliveries that the platform gave up on, and delete old bodies."""
    await worker().sweep.run()


async def send_delivery_chunk(data: Mapping[str, Any]) -> None:
    """Send one chunk of a large audience: `{"delivery": ID, "chunk": ID}`."""
    delivery, chunk = data.get("delivery"), data.get("chunk")
    if not isinstance(delivery, str) or not isinstance(chunk, str):
        raise MalformedEvent("the task names no chunk")
    await worker().chunks.send(delivery, chunk)


async def send_waiting_delivery(data: Mapping[str, Any]) -> None:
    """Resume a waiting delivery, `{"delivery": ID}`, or send a digest, `{"digest": ID}`.

    Raises `TryAgainLater`.
    """
    if isinstance(digest := data.get("digest"), str):
        await worker().digests.tell(digest)
        return
    delivery, at = data.get("delivery"), data.get("at")
    if not isinstance(delivery, str):
        raise MalformedEvent("the task names no delivery")
    try:
        planned = datetime.fromisoformat(at) if isinstance(at, str) else None
    except ValueError:
        raise MalformedEvent("the task's time is invalid") from None
    await worker().resumption.resume(delivery, planned)


async def deliver_again(change: Change, function: str) -> None:
    """Ask the handler again for what waits to be sent about a document that has changed.

    `function` is the deployed function that delivered it. Does nothing for a new document, which
    calls that function itself.
    """
    if change.before is None:
        return
    suffix = TWIN if change.database == "database" else ""
    await worker().resumption.again(function + suffix, change.path, change.source)


# Texts


async def check_texts(change: Change, read: Reader) -> None:
    """Say below the document which of its texts are used. Raises `TryAgainLater`."""
    made = worker()
    await check_document(change, read, made.firestore(), made.settings, made.clock.now())


# Attributes of people


async def mirror(change: Change, handler: "ProfileHandler") -> None:
    """Have Batch get what it lacks of the person whose profile changed.

    Costs nothing where the handler returns the same before and after. Raises `TryAgainLater` to
    have the event redelivered.
    """
    if instead := _instead.get():
        await instead.mirror(change, handler)
        return
    if worker().settings.mirror_profiles:
        await worker().mirror.of_change(change, handler)


async def mirror_page(data: Mapping[str, Any], handler: "ProfileHandler") -> None:
    """The same for a page of people: `{"after": ID, "upto": ID}`. Raises `TryAgainLater`."""
    after, upto = data.get("after"), data.get("upto")
    if not isinstance(after, str) or not isinstance(upto, str):
        raise MalformedEvent("the task names no people")
    await worker().backfill.send(after, upto, handler)


async def sweep_profiles(handler: "ProfileHandler") -> None:
    """Finish what the platform gave up on."""
    await worker().mirror.sweep(handler)


# People who leave


async def forget(change: Change, custom_ids: "CustomIds") -> None:
    """Have Batch, and our records, forget the person whose profile was deleted.

    `custom_ids` are those of a profile. Raises `TryAgainLater` to have the event redelivered; the
    receipt says whatever else happened.
    """
    if instead := _instead.get():
        await instead.forget(change, custom_ids)
        return
    if worker().settings.forget_deleted_users:
        await worker().leaver.of_change(change, custom_ids)


async def sweep_receipts() -> None:
    """Finish what is left to do of people who left."""
    await worker().leaver.sweep()


# Campaigns


async def publish(change: Change, handler: "CampaignHandler") -> None:
    """Reconcile the campaign in every app with its document.

    Raises `TryAgainLater` to have the event redelivered; the state document of each app says
    whatever else happened.
    """
    if instead := _instead.get():
        await instead.publish(change, handler)
        return
    await worker().publisher.publish(change.path, handler)


async def sweep_campaigns(handler: "CampaignHandler") -> None:
    """Finish campaigns that the platform gave up on."""
    await worker().publisher.sweep(handler)


async def announce(change: Change, is_published: "Condition", handler: "ArticleHandler") -> None:
    """Create a campaign when an article is published; stop it when the article is withdrawn.

    `handler` returns the fields of the campaign's document. Raises `TryAgainLater` to have the
    event redelivered.
    """
    if instead := _instead.get():
        await instead.announce(change, is_published, handler)
        return
    await worker().newsroom.announce(change, is_published, handler)


async def pull_results() -> None:
    """Ask Batch for the results that can still change."""
    await worker().pull().run()
