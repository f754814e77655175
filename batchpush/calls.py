"""One call to Batch, tried until it is settled or its time is up."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from batchpush.breaker import Breaker
from batchpush.client import BatchClient
from batchpush.errors import RestKeyUnavailable
from batchpush.outcome import Outcome, Reply, Then, judge, retry_after, wait_before

MOST_TRIES = 5


@dataclass(frozen=True)
class Request:
    """What Batch is asked, and how its answer proves that it did it."""

    method: str
    route: str
    is_proof: Callable[[Reply], bool]
    body: bytes | None = None


@dataclass
class Caller:
    """Time, chance and sleep come from outside."""

    client: BatchClient
    now: Callable[[], datetime]
    jitter: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    breakers: dict[str, Breaker] = field(default_factory=lambda: defaultdict(Breaker))

    async def call(self, app: str, request: Request, stop: datetime) -> tuple[Outcome, Reply]:
        """What came of the last try; none begins at `stop` or later."""
        breaker, pause = self.breakers[app], 0.0
        last = Outcome.NOT_SENT, Reply(sent=False, problem="Batch does not answer at present")
        for attempt in range(1, MOST_TRIES + 1):
            if not await self._turn_comes(breaker, pause, stop):
                break
            reply = await self._reply(app, request)
            rule = judge(reply, request.is_proof)
            last = rule.outcome, reply
            if rule.then is Then.DONE:
                breaker.answered()
                break
            breaker.failed(self.now(), retry_after(reply, self.now()))
            if rule.then is not Then.AGAIN:
                break
            pause = wait_before(attempt, reply, self.now(), self.jitter)
        return last

    async def _turn_comes(self, breaker: Breaker, pause: float, stop: datetime) -> bool:
        while wait := max(pause, breaker.pause(self.now())):
            if self.now() + timedelta(seconds=wait) >= stop:
                return False
            await self.sleep(wait)
            pause = 0.0
        # Looked at last: a process that was frozen wakes up here, long after its lease.
        return breaker.admits(self.now()) and self.now() < stop

    async def _reply(self, app: str, request: Request) -> Reply:
        try:
            return await self.client.request(app, request.method, request.route, request.body)
        except RestKeyUnavailable as error:
            return Reply(sent=False, problem=str(error))
