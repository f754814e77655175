"""How a campaign gets to Batch, on one screen.

document, as it is now ──> desired state per app ──> claim ──> call ──> state document
        ▲                                                                     │
        └─────────────────── again, if it was changed meanwhile ──────────────┘
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote

from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.batch_api.requests import Caller, Request
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
from batchpush.campaigns.store import AppEntry, Observed, Publications
from batchpush.documents import Document
from batchpush.environment import Settings
from batchpush.errors import DeliveryUnfinished, EventTurnedAway
from batchpush.google.firestore import WriteConflict
from batchpush.logs import log, reason_of
from batchpush.pushes.campaign import Campaign
from batchpush.sweeping import on_its_own
from batchpush.timing import Timing

CampaignHandler = Callable[[Document], Campaign | None]

LIST_PAGE = 100  # rows of Batch's list; it gives no more at once
MAX_PAGES = 10
MAX_SWEPT = 10_000  # states that one run looks at
SWEEP_FOR = timedelta(seconds=420)


@dataclass
class Publisher:
    """Brings each app of Batch to the state that the campaign's document asks for."""

    publications: Publications
    caller: Caller
    settings: Settings
    timing: Timing = field(default_factory=Timing)

    async def publish(self, campaign: str, handler: CampaignHandler) -> None:
        """`campaign` is the path of its document."""
        stop = self._now() + timedelta(seconds=self.timing.budget)
        while True:
            observed = await self.publications.look(campaign, self.settings.batch_apps)
            desired = self._desired_of(observed, handler)
            ends = await asyncio.gather(
                *(self._reconcile(known, desired[known.app]) for known in observed.known),
                return_exceptions=True,  # the other apps stand, whatever comes of one
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

    # From the document to what each app is to have

    def _desired_of(self, observed: Observed, handler: CampaignHandler) -> dict[str, Desired]:
        apps = tuple(self.settings.batch_apps)
        try:
            campaign = handler(observed.document) if observed.document else None
            bodies = campaign.bodies(apps) if campaign else {}
        except Exception as error:  # noqa: BLE001 - a mistake in a handler stays one
            return dict.fromkeys(apps, Desired(observed.version, problem=reason_of(error)[:1000]))
        due = campaign.due(self._now()) if campaign else None
        return {app: Desired(observed.version, bodies.get(app), due) for app in apps}

    # From there to Batch

    async def _reconcile(self, known: AppEntry, desired: Desired) -> bool:
        """Reconcile one app; returns whether there was anything to do. Raises `TryAgainLater`."""
        step = known.publication.next_step(desired, self._now())
        if step is Step.NOTHING:
            return False
        if step is Step.WAIT:
            raise DeliveryUnfinished(f"{known.app}: somebody else is at it, or may be")
        try:
            publication = await self._carry_out(known, step, desired)
        except WriteConflict:
            raise DeliveryUnfinished(f"{known.app}: somebody else resumed it") from None
        _log_end(known, publication)
        if publication.state in UNFINISHED:
            raise DeliveryUnfinished(f"{known.app}: {publication.error}")
        return True

    async def _carry_out(self, known: AppEntry, step: Step, desired: Desired) -> Publication:
        """Carry out the step and what follows from it; returns the state that was stored."""
        if step is Step.LOOK:
            known = await self._claimed(known, step, desired)
            publication = await self._looked_for(known, desired)
            if not publication.is_claimed:
                return (await self.publications.write(known, publication)).publication
            known = AppEntry(known.path, publication, known.version)
            step = publication.step_after_look(desired)
        if step is Step.NOTE:
            publication = known.publication.noted(desired, self._now())
        else:
            before = known.publication
            known = await self._claimed(known, step, desired)
            outcome, reply = await self._called(known, _request(step, before, desired))
            publication = known.publication.after(
                step, desired, outcome, reply, before=before, now=self._now()
            )
        return (await self.publications.write(known, publication)).publication

    async def _claimed(self, known: AppEntry, step: Step, desired: Desired) -> AppEntry:
        now = self._now()
        claimed = known.publication.claimed(
            step,
            desired,
            owner=secrets.token_hex(8),
            now=now,
            lease_until=self.timing.lease_until(now),
        )
        return await self.publications.write(known, claimed)

    async def _called(self, known: AppEntry, request: Request) -> tuple[Outcome, Reply]:
        lease_until = known.publication.lease_until
        assert lease_until is not None
        return await self.caller.call(known.app, request, self.timing.last_start(lease_until))

    async def _looked_for(self, known: AppEntry, desired: Desired) -> Publication:
        """Look in Batch's list for creates whose outcome is unknown."""
        publication, tokens = known.publication, set[str]()
        since = min(doubt.at for doubt in publication.doubts) - SKEW
        for page in range(MAX_PAGES):
            outcome, reply = await self._called(known, _list_request(page))
            if outcome is Outcome.REFUSED:  # a Dev key
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
            if len(rows) < LIST_PAGE or (oldest and oldest < since):  # the newest come first
                break
        return self._found(publication, tokens - await self.publications.taken(tokens), desired)

    def _found(
        self, publication: Publication, tokens: set[str] | None, desired: Desired
    ) -> Publication:
        max_resends = self.settings.max_ambiguous_resends
        return publication.found(tokens, desired, max_resends=max_resends, now=self._now())

    # What the platform gave up on

    async def sweep(self, handler: CampaignHandler) -> None:
        """Resume campaigns whose lease ended, or whose redelivery never came.

        Each run is bounded and starts at a random campaign, so that every campaign gets its turn.
        """
        stop = self._now() + SWEEP_FOR
        for campaign in self.caller.from_anywhere(await self._abandoned()):
            if self._now() >= stop:
                break  # what is under way must end before the platform ends the function
            await on_its_own(self.publish(campaign, handler), function="sweep", document=campaign)

    async def _abandoned(self) -> list[str]:
        """The paths of the campaigns."""
        campaigns: dict[str, None] = {}
        looked_at = 0
        async for known in self.publications.unfinished():
            looked_at += 1
            if self._is_abandoned(known.publication):
                campaigns[known.campaign] = None
            if looked_at >= MAX_SWEPT:
                break
        return list(campaigns)

    def _is_abandoned(self, publication: Publication) -> bool:
        if publication.is_claimed:
            return not publication.has_lease(self._now())
        since = self._now() - publication.updated_at
        return since >= timedelta(seconds=self.timing.redelivery) or since < -SKEW

    def _now(self) -> datetime:
        return self.caller.clock.now()


def _request(step: Step, publication: Publication, desired: Desired) -> Request:
    if step is Step.CREATE:
        return Request("POST", "campaigns/create", _has_campaign_token, desired.body)
    token = quote(publication.campaign_token or "", safe="")
    body = desired.body if step is Step.UPDATE else None
    return Request("POST", f"campaigns/{step.value}/{token}", _is_success, body)


def _list_request(page: int) -> Request:
    route = f"campaigns/list?from_api=true&limit={LIST_PAGE}&from={page * LIST_PAGE}"
    return Request("GET", route, lambda reply: reply.is_success and reply.rows() is not None)


def _has_campaign_token(reply: Reply) -> bool:
    return reply.is_success and is_token(reply.json().get("campaign_token"))


def _is_success(reply: Reply) -> bool:
    return reply.is_success


SEVERITY = {
    CampaignState.HELD: "ERROR",
    CampaignState.REFUSED: "ERROR",
    CampaignState.RETRY: "WARNING",
}


def _log_end(known: AppEntry, publication: Publication) -> None:
    state = publication.state
    data = {"campaign_token": publication.campaign_token, "error": publication.error}
    log(SEVERITY.get(state, "INFO"), f"campaign.{state.name.lower()}", app=known.app, data=data)
