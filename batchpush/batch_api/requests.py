"""Attempts a request to Batch until it is settled or its time is up."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from batchpush.batch_api.breaker import Breaker
from batchpush.batch_api.client import MAX_AT_ONCE, BatchClient, MayBegin, TooLate
from batchpush.batch_api.meter import Meter
from batchpush.batch_api.outcome import (
    Outcome,
    Reply,
    Rule,
    Then,
    classify,
    has_token,
    retry_after,
    wait_before,
)
from batchpush.errors import RestKeyUnavailable
from batchpush.timing import Clock

MAX_ATTEMPTS = 5  # of one call in one delivery
# Profiles a second, and at once. official: cep/profiles/update. They are for all processes of a
# project: what several send in excess is answered 429, and sent again.
CEP_RATE, CEP_BURST = 300, 1000


@dataclass(frozen=True)
class Request:
    """A request to Batch, and how a reply proves that Batch accepted it."""

    method: str
    route: str
    is_proof: Callable[[Reply], bool]
    body: bytes | None = None


@dataclass
class Caller:
    """Attempts requests to Batch: as many of an app at once as there are `turns`."""

    client: BatchClient
    clock: Clock
    breakers: dict[str, Breaker] = field(default_factory=lambda: defaultdict(Breaker))
    turns: dict[str, asyncio.Semaphore] = field(
        default_factory=lambda: defaultdict(lambda: asyncio.Semaphore(MAX_AT_ONCE))
    )
    meter: Meter = field(default_factory=lambda: Meter(CEP_RATE, CEP_BURST))

    async def call(self, app: str, request: Request, stop: datetime) -> tuple[Outcome, Reply]:
        """The outcome of the last attempt; none begins at `stop` or later."""
        last = Outcome.NOT_SENT, Reply(sent=False, problem="Batch does not answer at present")

        def ask(may_begin: MayBegin) -> Awaitable[Reply]:
            return self.client.request(app, request.method, request.route, request.body, may_begin)

        async for rule, reply in self.attempts(app, ask, stop, request.is_proof):
            last = rule.outcome, reply
        return last

    async def attempts(
        self,
        app: str,
        ask: Callable[[MayBegin], Awaitable[Reply]],
        stop: datetime,
        is_proof: Callable[[Reply], bool] = has_token,
        profiles: int = 0,
    ) -> AsyncIterator[tuple[Rule, Reply]]:
        """Yield each reply with its rule, until one settles the request or its time is up.

        `ask` has to ask last whether the request may begin: a frozen process may wake up long after
        its lease. `profiles` is how many it is about, if their number a second is limited.
        """

        def may_begin() -> bool:
            return self.clock.now() < stop

        breaker, pause = self.breakers[app], 0.0
        for attempt in range(1, MAX_ATTEMPTS + 1):
            if not await self._pause_ends(breaker, pause, stop, profiles):
                break
            async with self.turns[app]:
                if not breaker.allow_request(self.clock.now()):
                    break
                if profiles:
                    self.meter.take(profiles, self.clock.now())
                try:
                    reply = await ask(may_begin)
                except RestKeyUnavailable as error:
                    reply = Reply(sent=False, problem=str(error))
                except TooLate:
                    break
            rule = classify(reply, is_proof)
            if rule.then is Then.DONE:
                breaker.record_success()
            else:
                breaker.record_failure(self.clock.now(), retry_after(reply, self.clock.now()))
            yield rule, reply
            if rule.then is not Then.AGAIN:
                break
            pause = wait_before(attempt, reply, self.clock.now(), self.clock.jitter)

    async def _pause_ends(
        self, breaker: Breaker, pause: float, stop: datetime, profiles: int
    ) -> bool:
        """Wait until another attempt may begin; False if time runs out first."""
        while wait := max(
            pause,
            breaker.pause(self.clock.now()),
            self.meter.wait(profiles, self.clock.now()) if profiles else 0.0,
        ):
            if self.clock.now() + timedelta(seconds=wait) >= stop:
                return False
            await self.clock.sleep(wait)
            pause = 0.0
        return True
