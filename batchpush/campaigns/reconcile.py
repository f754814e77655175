"""Reconciles one campaign: from its document to each app at Batch.

current document ──> desired state per app ──> claim ──> request ──> state document
        ▲                                                                 │
        └────────────── again, if the document has changed ───────────────┘
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.batch_api.requests import Caller, Request
from batchpush.campaigns.decide import (
    LIST_PAGE,
    CampaignHandler,
    desired_states,
    list_request,
    request_for,
)
from batchpush.campaigns.state import (
    SKEW,
    UNFINISHED,
    CampaignState,
    Desired,
    Publication,
    Step,
    created_at,
    is_token,
)
from batchpush.campaigns.store import AppEntry, Publications
from batchpush.environment import Settings
from batchpush.errors import DeliveryUnfinished, EventTurnedAway
from batchpush.google.firestore import WriteConflict
from batchpush.logs import log
from batchpush.sweeping import some_of, sweep_each
from batchpush.timing import Timing

MAX_PAGES = 10
MAX_SWEPT = 10_000  # state documents that one sweep reads
SWEEP_FOR = timedelta(seconds=420)


@dataclass
class Publisher:
    """Reconciles each app at Batch with the campaign's document."""

    publications: Publications
    caller: Caller
    settings: Settings
    timing: Timing = field(default_factory=Timing)

    async def publish(self, campaign: str, handler: CampaignHandler) -> None:
        """Reconcile the campaign whose document is at this path.

        Raises `TryAgainLater` if an app is unfinished, or if the document keeps changing.
        """
        stop = self._now() + timedelta(seconds=self.timing.budget)
        while True:
            observed = await self.publications.look(campaign, self.settings.batch_apps)
            desired = desired_states(
                observed.document,
                observed.version,
                handler,
                tuple(self.settings.batch_apps),
                self._now(),
            )
            ends = await asyncio.gather(
                *(self._reconcile(entry, desired[entry.app]) for entry in observed.known),
                return_exceptions=True,  # one failing app must not stop the others
            )
            was_changed = any(ends) and observed.version != await self.publications.version(
                campaign
            )
            if not was_changed or self._now() >= stop:
                break
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        if was_changed:
            raise EventTurnedAway("the campaign was changed again")

    # Reconciling one app

    async def _reconcile(self, entry: AppEntry, desired: Desired) -> bool:
        """Reconcile one app. Returns whether there was anything to do; raises `TryAgainLater`."""
        step = entry.publication.next_step(desired, self._now())
        if step is Step.NOTHING:
            return False
        if step is Step.WAIT:
            raise DeliveryUnfinished(
                f"{entry.app}: another worker has the lease, or a create is too recent"
            )
        try:
            publication = await self._carry_out(entry, step, desired)
        except WriteConflict:
            raise DeliveryUnfinished(f"{entry.app}: somebody else resumed it") from None
        _log_end(entry, publication)
        if publication.state in UNFINISHED:
            raise DeliveryUnfinished(f"{entry.app}: {publication.error}")
        return True

    async def _carry_out(self, entry: AppEntry, step: Step, desired: Desired) -> Publication:
        """Carry out the step and, after a look-up, the next one. Returns the stored state."""
        if step is Step.LOOK:
            entry = await self._claimed(entry, step, desired)
            publication = await self._looked_for(entry, desired)
            if not publication.is_claimed:
                return (await self.publications.write(entry, publication)).publication
            entry = AppEntry(entry.path, publication, entry.version)
            step = publication.step_after_look(desired)
        if step is Step.NOTE:
            publication = entry.publication.noted(desired, self._now())
        else:
            before = entry.publication
            entry = await self._claimed(entry, step, desired)
            outcome, reply = await self._called(entry, request_for(step, before, desired))
            publication = entry.publication.after(
                step, desired, outcome, reply, before=before, now=self._now()
            )
        return (await self.publications.write(entry, publication)).publication

    async def _claimed(self, entry: AppEntry, step: Step, desired: Desired) -> AppEntry:
        now = self._now()
        claimed = entry.publication.claimed(
            step,
            desired,
            now=now,
            lease_until=self.timing.lease_until(now),
        )
        return await self.publications.write(entry, claimed)

    async def _called(self, entry: AppEntry, request: Request) -> tuple[Outcome, Reply]:
        lease_until = entry.publication.lease_until
        assert lease_until is not None
        return await self.caller.call(entry.app, request, self.timing.last_start(lease_until))

    async def _looked_for(self, entry: AppEntry, desired: Desired) -> Publication:
        """Search Batch's list for creates whose outcome is unknown."""
        publication, tokens = entry.publication, set[str]()
        since = min(doubt.at for doubt in publication.doubts) - SKEW
        for page in range(MAX_PAGES):
            outcome, reply = await self._called(entry, list_request(page))
            if outcome is Outcome.REFUSED:  # Batch gives no list to a Dev key
                return self._found(publication, None, desired)
            if outcome is not Outcome.ACCEPTED:
                return publication.after(
                    Step.LOOK, desired, outcome, reply, before=publication, now=self._now()
                )
            rows = reply.rows() or []
            tokens |= {
                row["campaign_token"]
                for row in rows
                if is_token(row.get("campaign_token"))
                and any(doubt.may_be(row) for doubt in publication.doubts)
            }
            oldest = created_at(rows[-1]) if rows else None
            if len(rows) < LIST_PAGE or (oldest and oldest < since):  # the list is newest first
                break
        return self._found(publication, tokens - await self.publications.taken(tokens), desired)

    def _found(
        self, publication: Publication, tokens: set[str] | None, desired: Desired
    ) -> Publication:
        max_resends = self.settings.max_ambiguous_resends
        return publication.found(tokens, desired, max_resends=max_resends, now=self._now())

    # Campaigns that the platform has given up on

    async def sweep(self, handler: CampaignHandler) -> None:
        """Resume campaigns whose lease has expired or whose redelivery never came."""
        stop = self._now() + SWEEP_FOR
        found = await some_of(self.publications.unfinished(), self._is_abandoned, MAX_SWEPT)
        await sweep_each(
            list(dict.fromkeys(entry.campaign for entry in found)),
            lambda campaign: self.publish(campaign, handler),
            clock=self.caller.clock,
            stop=stop,
            document=lambda campaign: campaign,
        )

    def _is_abandoned(self, entry: AppEntry) -> bool:
        publication = entry.publication
        if publication.is_claimed:
            return not publication.has_lease(self._now())
        since = self._now() - publication.updated_at
        return since >= timedelta(seconds=self.timing.redelivery) or since < -SKEW

    def _now(self) -> datetime:
        return self.caller.clock.now()


SEVERITY = {
    CampaignState.HELD: "ERROR",
    CampaignState.REFUSED: "ERROR",
    CampaignState.RETRY: "WARNING",
}


def _log_end(entry: AppEntry, publication: Publication) -> None:
    state = publication.state
    data = {"campaign_token": publication.campaign_token, "error": publication.error}
    log(SEVERITY.get(state, "INFO"), f"campaign.{state.name.lower()}", app=entry.app, data=data)
