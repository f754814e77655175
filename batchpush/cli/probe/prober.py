"""Asks Batch the questions of `probe`, and deletes every campaign that this creates."""

import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx

from batchpush.batch_api.client import BatchClient, MayBegin
from batchpush.batch_api.line import KEEP_ALIVE
from batchpush.batch_api.masking import masked_text
from batchpush.batch_api.outcome import MAX_RETRY_AFTER, Outcome, Reply, classify
from batchpush.batch_api.requests import Caller, Request
from batchpush.batch_api.rest_key import RestKey, RestKeyCache, key_reader
from batchpush.campaigns.decide import LIST_PAGE
from batchpush.campaigns.reconcile import MAX_PAGES
from batchpush.campaigns.state import LOOK_AFTER, is_token
from batchpush.campaigns.stats import PAUSE
from batchpush.cli.probe.answers import Headers, answer_of
from batchpush.cli.probe.questions import (
    CAMPAIGN,
    FIRST_QUERY,
    LATER,
    MARKER,
    QUESTIONS,
    SINCE,
    UNTIL,
    Question,
    fill,
)
from batchpush.environment import Settings, is_loopback
from batchpush.http import transport
from batchpush.timing import Clock, Timing

WRONG_APP, WRONG_APP_KEY = "wrong app", "DEV" + "0" * 29
WRONG_REST_KEY = "0" * 32
DUE_IN = timedelta(days=180)
PATIENCE = timedelta(seconds=60)  # for one question, with the time that Batch asks to wait
PATIENCE_TO_DELETE = PATIENCE + timedelta(seconds=MAX_RETRY_AFTER)  # a draft must not stay
MAX_DELETES = 3  # requests to delete one campaign, if their answers are lost


class Recorder(httpx.AsyncBaseTransport):
    """Remembers the headers of the last response, of which a `Reply` keeps only one."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.headers: Headers = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.headers = {}
        response = await self._inner.handle_async_request(request)
        key = request.headers["X-Authorization"]
        self.headers = {
            name.lower(): masked_text(value, key) for name, value in response.headers.items()
        }
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()


class Prober:
    """Asks all questions, once; `left` says what it could not delete."""

    def __init__(self, settings: Settings, app: str, clock: Clock) -> None:
        self.app, self.app_key = app, settings.batch_apps[app]
        self.clock = clock
        self.marker = f"batchpush probe {secrets.token_hex(4)}"
        self.is_local = is_loopback(settings.batch_api_url)
        self.recorder = Recorder(transport(1, KEEP_ALIVE))
        self.rest_key = RestKeyCache(key_reader(settings))
        apps = {app: self.app_key, WRONG_APP: WRONG_APP_KEY}
        settings = replace(settings, batch_apps=apps)
        self.client = BatchClient(settings, Timing(), self.rest_key, self.recorder)
        self.unauthorized = BatchClient(settings, Timing(), RestKeyCache(_wrong_key), self.recorder)
        self.caller = Caller(self.client, clock)
        self.query: Mapping[str, Any] | None = None  # the first one that Batch accepted
        self.campaign: str | None = None  # the token of the draft that stays until the end
        self.created: dict[str, str] = {}  # names by token: what is still to be deleted
        # Names of campaigns that may be at Batch, and whether its list would show it.
        self.doubts: dict[str, bool] = {}

    @property
    def left(self) -> list[str]:
        """The names of the campaigns that are, or may be, still at Batch."""
        return [*self.created.values(), *self.doubts]

    async def run(self) -> list[dict[str, Any]]:
        """The questions with their answers. Raises `RestKeyUnavailable` before the first one."""
        try:
            await self.rest_key.get()
            return [await self._asked(question) for question in QUESTIONS]
        finally:
            await self._clean_up()
            await self.client.aclose()

    # Asking

    async def _asked(self, question: Question) -> dict[str, Any]:
        query = self.query or FIRST_QUERY
        entry = {
            "name": question.name,
            "question": question.asks,
            "request": _request_of(question, query),
        }
        if CAMPAIGN in question.route and self.campaign is None:
            return entry | {"answer": {"problem": "not asked: there is no draft"}}
        attempts = await self._attempts(question, query)
        if not attempts:
            return entry | {"answer": {"problem": "not asked: Batch does not answer at present"}}
        *earlier, last = [
            {"answer": answer_of(each.reply, each.headers, self.app_key, self.marker)}
            | {"seconds": each.seconds}
            for each in attempts
        ]
        return entry | last | ({"earlier": earlier} if earlier else {})

    async def _attempts(self, question: Question, query: Mapping[str, Any]) -> list["Attempt"]:
        """More than one if Batch asked to wait, or did not take the first; none if it is down."""
        name = f"{self.marker} {question.name}"
        if question.creates:
            self.doubts[name] = question.is_marked
        attempts = [each async for each in self._sent(question, query)]
        reply = attempts[-1].reply if attempts else Reply(sent=False)
        if question.creates and classify(reply, _has_token).outcome is not Outcome.UNKNOWN:
            del self.doubts[name]
        if _has_token(reply) and question.method == "POST":
            await self._note(question, reply.json()["campaign_token"], name)
        if question.deletes and reply.is_success and self.campaign:
            self.created.pop(self.campaign, None)
        return attempts

    async def _sent(self, question: Question, query: Mapping[str, Any]) -> AsyncIterator["Attempt"]:
        values = self._values()
        body, route = question.filled(query, values), fill(question.route, values)
        app = WRONG_APP if question.has_wrong_app else self.app
        client = self.unauthorized if question.has_wrong_key else self.client
        begun = self.clock.now()

        async def ask(may_begin: MayBegin) -> Reply:
            nonlocal begun
            await self._wait(PAUSE)
            begun = self.clock.now()
            return await client.request(app, question.method, route, body, may_begin)

        stop = begun + PATIENCE
        attempts = self.caller.attempts(self.app, ask, stop, lambda reply: reply.is_success)
        async for _, reply in attempts:
            seconds = (self.clock.now() - begun).total_seconds()
            yield Attempt(reply, self.recorder.headers, round(seconds, 3))

    def _values(self) -> dict[str, str]:
        now = self.clock.now()
        return {
            MARKER: self.marker,
            LATER: (now + DUE_IN).strftime("%Y-%m-%dT%H:00:00"),
            SINCE: f"{now - timedelta(days=1):%Y-%m-%d}",
            UNTIL: f"{now:%Y-%m-%d}",
            CAMPAIGN: quote(self.campaign or "", safe=""),
        }

    async def _note(self, question: Question, token: str, name: str) -> None:
        """There is a campaign now: delete it, unless later questions are about it."""
        if token == self.campaign:
            return
        self.created[token] = name
        self.query = self.query or question.offers
        if question.stays:
            self.campaign = token
        else:
            await self._delete(token)

    # Deleting

    async def _clean_up(self) -> None:
        self.caller = Caller(self.client, self.clock)  # what failed before stops nothing now
        await self._delete_all()
        if self.doubts:
            await self._look_for_doubts()
            await self._delete_all()

    async def _delete_all(self) -> None:
        for token in list(self.created):
            await self._delete(token)

    async def _look_for_doubts(self) -> None:
        """Search Batch's list for campaigns whose create got no answer."""
        await self._wait(LOOK_AFTER.total_seconds())
        for page in range(MAX_PAGES):
            route = f"campaigns/list?from_api=true&limit={LIST_PAGE}&from={page * LIST_PAGE}"
            rows = (await self._call("GET", route, lambda reply: reply.rows() is not None)).rows()
            if rows is None:
                return  # a Dev key may get no list
            for row in rows:
                if str(row.get("name")).startswith(self.marker) and is_token(
                    row.get("campaign_token")
                ):
                    self.created[row["campaign_token"]] = row["name"]
            if len(rows) < LIST_PAGE:
                break
        self.doubts = {name: False for name, is_marked in self.doubts.items() if not is_marked}

    async def _delete(self, token: str) -> None:
        route = f"campaigns/delete/{quote(token, safe='')}"
        for _ in range(MAX_DELETES):
            reply = await self._call("POST", route, lambda reply: reply.is_success)
            if reply.is_success or reply.status == 404:
                del self.created[token]
                return
            if reply.status is not None:
                return

    async def _call(self, method: str, route: str, is_proof: Callable[[Reply], bool]) -> Reply:
        await self._wait(PAUSE)
        request = Request(method, route, is_proof)
        stop = self.clock.now() + PATIENCE_TO_DELETE
        _, reply = await self.caller.call(self.app, request, stop)
        return reply

    async def _wait(self, seconds: float) -> None:
        """For Batch's sake; an emulator on this machine needs no time."""
        if not self.is_local:
            await self.clock.sleep(seconds)


@dataclass(frozen=True)
class Attempt:
    reply: Reply
    headers: Headers
    seconds: float


def _has_token(reply: Reply) -> bool:
    return reply.is_success and is_token(reply.json().get("campaign_token"))


def _request_of(question: Question, query: Mapping[str, Any]) -> dict[str, Any]:
    app_key = "{wrong app key}" if question.has_wrong_app else "{app key}"
    rest_key = {"rest_key": "{wrong REST key}"} if question.has_wrong_key else {}
    return {
        "method": question.method,
        "path": f"/1.1/{app_key}/{question.route}",
        "body": question.with_query(query),
    } | rest_key


async def _wrong_key() -> RestKey:
    return RestKey(WRONG_REST_KEY)
