"""What a preview shows: each call that a function would cause, in place of making it."""

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from batchpush.batch_api.cep import Tracking
from batchpush.campaigns.articles import (
    ArticleHandler,
    Condition,
    campaign_path,
    fields_to_write,
    published_by,
)
from batchpush.campaigns.decide import CampaignHandler, desired_states, list_request, request_for
from batchpush.campaigns.state import Desired, Publication, Step
from batchpush.cli.discovery import broken_at
from batchpush.cli.terminal import CannotDo, escaped, indented_json, masked
from batchpush.delivery.planning import PushHandler
from batchpush.delivery.waiting import defer
from batchpush.documents import Document
from batchpush.environment import CEP, settings
from batchpush.errors import BatchpushError
from batchpush.events.change import Change, path_params
from batchpush.events.lookup import LookUp
from batchpush.events.triggers import WATCHED
from batchpush.leaving.leaver import CustomIds
from batchpush.leaving.requests import removal_request
from batchpush.profiles.mirror import ProfileHandler
from batchpush.profiles.requests import request_for as request_for_attributes
from batchpush.profiles.state import Mirrored
from batchpush.pushes.event import Event, request_of
from batchpush.pushes.push import Call as PushCall
from batchpush.pushes.push import NoPush, Push

VERSION = "preview"  # of the document: no stored state was made from it
SEND = "POST transactional/send"

StateOf = Callable[[str, str], Awaitable[Publication]]  # of the campaign at a path, in an app


@dataclass(frozen=True)
class Call:
    """What one app would get: a request with its body, if any, or the reason why there is none."""

    app: str
    step: str
    request: str = ""
    body: bytes | None = None

    def in_words(self) -> str:
        if self.request == SEND:
            return ""
        return f"  {self.step}: {self.request}" if self.request else f"  {self.step}"

    def as_json(self) -> dict[str, Any]:
        body = None if self.body is None else json.loads(self.body)
        request = self.request or None
        return {"app": self.app, "step": self.step, "request": request, "body": body}


@dataclass(frozen=True)
class Shown:
    """What one function would do for one document."""

    function: str
    document: str
    calls: Sequence[Call] = ()
    waiting: Mapping[datetime, int] = field(default_factory=dict)  # recipients by when it is sent
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)  # user ids by reason
    writes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # fields by path
    ignored: Sequence[str] = ()  # names of fields
    says: str = ""  # in place of calls
    problem: str | None = None

    def lines(self) -> Iterator[str]:
        """The lines for a terminal. Apps that would get the same are named together."""
        requests = sum(bool(call.request) for call in self.calls)
        says = self.problem or self.says or f"{_counted(requests, 'request')}, not sent"
        yield escaped(f"{self.function}  {self.document}: {says}")
        for path, fields in self.writes.items():
            yield escaped(path)
            yield from indented_json(_text(fields), "  ")
        apps: dict[Call, list[str]] = {}
        for call in self.calls:
            named = f"{call.app} {masked(_key_of(call.app))}"
            apps.setdefault(replace(call, app=""), []).append(named)
        for call, named_apps in apps.items():
            yield ", ".join(named_apps) + escaped(call.in_words())
            if call.body is not None:
                yield from indented_json(call.body, "  ")
        for until, recipients in self.waiting.items():
            yield f"{recipients} later, at {until.isoformat()}"
        for reason, user_ids in self.left_out.items():
            yield escaped(f"left out: {', '.join(user_ids)}: {reason}")
        if self.ignored:
            yield escaped(f"ignored fields of the document: {', '.join(self.ignored)}")

    def as_json(self) -> str:
        return _text(
            {
                "function": self.function,
                "document": self.document,
                "problem": self.problem,
                "calls": [call.as_json() for call in self.calls],
                "waiting": [
                    {"recipients": recipients, "until": until.isoformat()}
                    for until, recipients in self.waiting.items()
                ],
                "left_out": self.left_out,
                "ignored": self.ignored,
                "writes": self.writes,
            }
        )


def _key_of(app: str) -> str:
    """The app's key; for CEP, the project's."""
    return settings().batch_apps.get(app, settings().batch_project)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun if number == 1 else f'{noun}s'}"


def _text(value: Any) -> str:
    return json.dumps(value, default=_plain)


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@dataclass
class Page:
    """Shows what `deliver`, `publish`, `announce` and `mirror` would do, instead of doing it."""

    look_up: LookUp
    state_of: StateOf
    shown: list[Shown] = field(default_factory=list)

    async def deliver(self, change: Change, handler: PushHandler, report_to: str | None) -> None:
        async def push() -> Shown:
            made = await handler(change, self.look_up)
            if made is None:
                return Shown(change.function, change.path, says="nothing to send")
            if isinstance(made, NoPush):
                says = (
                    "nobody to send it to" if made.left_out else f"nothing to send: {made.reason}"
                )
                return Shown(change.function, change.path, says=says, left_out=made.left_out)
            if isinstance(made, Event):
                return _of_event(change, made)
            return await _of_push(change, made)

        await self._show(change, "push", push)

    async def publish(self, change: Change, handler: CampaignHandler) -> None:
        async def campaign() -> Shown:
            apps, document = tuple(settings().batch_apps), change.after
            version = VERSION if document else ""
            desired = desired_states(document, version, handler, apps, change.time)
            if problem := next((each.problem for each in desired.values() if each.problem), None):
                return _refused(change, "campaign", problem)
            calls = [
                _of_campaign(app, await self.state_of(change.path, app), desired[app], change.time)
                for app in apps
            ]
            made = handler(document) if document else None
            return Shown(change.function, change.path, calls, ignored=made.ignored if made else ())

        await self._show(change, "campaign", campaign)

    async def announce(
        self, change: Change, is_published: Condition, handler: ArticleHandler
    ) -> None:
        path = campaign_path(change.path)
        campaign: Document | None = None
        fields: Mapping[str, Any] | None = None

        async def article() -> Shown:
            nonlocal campaign, fields
            if change.after is not None:
                is_published(change.after)  # raises for an invalid one, which is not published
            becomes = published_by(change, is_published)
            if becomes is not None:
                campaign = await self.look_up(path)
                live = settings().publish_articles == "live"
                published = change.after if becomes else None
                fields = fields_to_write(published, campaign, handler, live=live, now=change.time)
            if fields is None:
                return Shown(change.function, change.path, says="no campaign changes")
            says = "1 document, not written"
            return Shown(change.function, change.path, writes={path: fields}, says=says)

        await self._show(change, "campaign", article)
        if fields is not None:
            after = Document(path, {**(campaign or {}), **fields})
            await _written(replace(change, path=path, before=campaign, after=after))

    async def mirror(self, change: Change, handler: ProfileHandler) -> None:
        async def attributes() -> Shown:
            profile = handler(change.after) if change.after is not None else None
            lacking = Mirrored().changes(profile, tuple(settings().batch_apps))
            if not lacking:
                return Shown(change.function, change.path, says="no attributes to mirror")
            calls = []
            for app, changes in lacking.items():
                request = request_for_attributes([changes])
                said = f"{request.method} {request.route}"
                calls.append(Call(app, "whatever it does not have yet", said, request.body))
            return Shown(change.function, change.path, calls)

        await self._show(change, "profile", attributes)

    async def forget(self, change: Change, custom_ids: CustomIds) -> None:
        async def removal() -> Shown:
            if change.after is not None:
                return Shown(change.function, change.path, says="nobody left")
            user_id = change.path.rpartition("/")[2]
            calls = []
            for app in settings().batch_apps:
                for each in dict.fromkeys((user_id, *custom_ids(change.document))):
                    request = removal_request(each)
                    said = f"{request.method} {request.route}"
                    calls.append(Call(app, "remove", said, request.body))
            return Shown(change.function, change.path, calls)

        await self._show(change, "request", removal)

    async def _show(self, change: Change, what: str, made: Callable[[], Awaitable[Shown]]) -> None:
        try:
            self.shown.append(await made())
        except CannotDo:
            raise
        except BatchpushError as error:
            self.shown.append(_refused(change, what, str(error)))
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            problem = f"{broken_at(error)}: {type(error).__name__}: {error}"
            self.shown.append(_refused(change, what, problem))


def _refused(change: Change, what: str, problem: str) -> Shown:
    problem = f"no {what} can be made from it: {problem}"
    return Shown(change.function, change.path, problem=problem)


async def _written(change: Change) -> None:
    """Call the functions of `main.py` that a write to Firestore calls."""
    for name, watched in WATCHED.items():
        params = path_params(watched.path, change.path)
        if params is not None and watched.is_called_for(change.before, change.after):
            await watched.function(replace(change, function=name, params=params))


async def _of_push(change: Change, push: Push) -> Shown:
    push.check()
    at_once = [group for group in push.groups if group.digest is None]
    deferral = defer(at_once, document=change.path, delivery="", now=change.time)
    waiting = {part.until: sum(map(len, part.recipients)) for part in deferral.later.values()}
    for group in push.groups:
        if until := group.digest_at(change.time):
            waiting[until] = waiting.get(until, 0) + len(group)
    if deferral.now:
        push = replace(push, recipients=deferral.now)
    calls: list[Call] = []
    if deferral.now or not waiting:
        async for chunk, until in push.chunks(settings().push_apps, change.time):
            if until:
                size = sum(map(len, json.loads(chunk[0].body)["recipients"].values()))
                waiting[until] = waiting.get(until, 0) + size
            else:
                calls += map(_of_push_call, chunk)
    return Shown(change.function, change.path, calls, waiting, push.left_out, ignored=push.ignored)


def _of_event(change: Change, event: Event) -> Shown:
    calls = []
    for call in event.calls(settings().push_apps, change.time):
        route, body = request_of(call.body.decode())
        calls.append(Call(call.app, "trigger", f"POST {route}", body))
    return Shown(
        change.function, change.path, calls, left_out=event.left_out, ignored=event.ignored
    )


def _of_push_call(call: PushCall) -> Call:
    if call.app != CEP:
        return Call(call.app, "send", SEND, call.body)
    tracking = Tracking.of(call.body)
    problem = tracking.problem()
    step = f"it would be refused, {problem}" if problem else "track"
    return Call(CEP, step, f"POST {tracking.route}", tracking.body)


def _of_campaign(app: str, state: Publication, desired: Desired, now: datetime) -> Call:
    step = state.next_step(desired, now)
    match step:
        case Step.NOTHING:
            return Call(app, f"no request: it stays {state.state.value}")
        case Step.NOTE:
            return Call(app, f"no request: it becomes {state.noted(desired, now).state.value}")
        case Step.WAIT:
            return Call(app, "no request yet: another is under way, or its outcome is too recent")
        case Step.LOOK:
            request = list_request(0)
            says = "look for a create whose outcome is unknown"
        case _:
            request = request_for(step, state, desired)
            says = "stop" if step is Step.UPDATE and state.stops(desired) else step.value
    return Call(app, says, f"{request.method} {request.route}", request.body)
