"""`Push`: a validated push for Batch's Transactional API, split into calls.

Field names are Batch's. Rules from unreliable sources are not enforced: what Batch may accept is
refused here only where it would not be safe, or would not mean what it says. So each rule has its
source: `official`, a page of Batch's documentation; `client`, the code of public clients;
`inferred` from those; `ours`, which is none of Batch's.
"""

import functools
import json
import math
import re
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from itertools import chain, groupby
from json.encoder import encode_basestring
from operator import attrgetter
from typing import Any, Literal, NamedTuple, TypeGuard

from batchpush.documents import Reference, is_blank, is_unicode
from batchpush.environment import CEP
from batchpush.errors import InvalidPush
from batchpush.pushes.digest import Digest
from batchpush.pushes.limits import Limit
from batchpush.pushes.link_rules import (
    A_LINK,
    check_links,
    check_payload,
    is_link,
    is_media,
    payload_of,
)
from batchpush.pushes.quiet_hours import QuietHours

# Batch's limits
MAX_RECIPIENTS = 10_000  # ids in one call. official: help center; client: over all four lists
MAX_PROFILES = 200  # in one call to CEP. official: cep/profiles/update
MAX_LABELS = 3  # official: campaigns/parameters
MAX_TIME_TO_LIVE = 28 * 24 * 3600  # seconds. official: campaigns/parameters
# Characters; an id must be shorter. official: pages of the SDKs; 512 in those of older web SDKs.
MAX_CUSTOM_ID = 1024
PUSH_TYPES = ("background", "alert")  # official: campaigns/parameters names the first

# Ours
MAX_BODY = 900_000  # bytes of one call
MAX_FRAME = 100_000  # bytes of one call without its recipients; a phone accepts 4 kB of them
MAX_ID = 4096  # characters of any id; the longest tokens have a few hundred
MAX_DEPTH = 100  # of nested maps and lists; Firestore allows 20

MAX_AHEAD = timedelta(days=366)  # of `send_at`
MAX_FRESH_FOR = timedelta(hours=24)  # the platform redelivers an event for this long

PLAIN_FIELDS = (  # of a Push, sent unchanged
    "group_id",
    "deeplink",
    "priority",
    "time_to_live",
    "push_type",
    "landing",
    "sandbox",
    "skip_media_check",
    "wp_template",
)
EVENT_FIELDS = ("group_id", "message", "deeplink", "media", "custom_payload")  # what CEP takes
# Names of BATCH_APPS; a mapping says what is called for each: itself, or `CEP`, once for many.
Apps = Sequence[str] | Mapping[str, str]
ID_LISTS = ("custom_ids", "install_ids", "tokens", "advertising_ids")
AROUND_IDS = len(json.dumps({"recipients": {name: [] for name in ID_LISTS}}))  # bytes


@dataclass(frozen=True, kw_only=True)
class Media:
    """Addresses of an image, a sound or a video. `icon` is for Android and the web only."""

    icon: str | None = None
    picture: str | None = None
    audio: str | None = None
    video: str | None = None


@dataclass(frozen=True)
class Message:
    """The text on the phone; `deeplink` and `media` are used in place of those of the push."""

    body: str
    title: str | None = None
    deeplink: str | None = None
    media: Media | None = None


@dataclass(frozen=True, kw_only=True)
class Recipients:
    """Whom to reach, and which message they read if the push has several.

    A Firebase user id is a custom id if the apps pass it to Batch's SDK at login. The push waits
    until `send_at`, and during their `quiet` hours; with a `digest`, each custom id is a user who
    gets it at its time. `person` is the user id of the one person to whom all the ids belong,
    unless the only id is that user id as a custom id.
    """

    custom_ids: Sequence[str] = ()
    install_ids: Sequence[str] = ()
    tokens: Sequence[str] = ()
    advertising_ids: Sequence[str] = ()
    reads: str | None = None
    quiet: QuietHours | None = None
    person: str | None = None
    send_at: datetime | None = None
    digest: Digest | None = None

    def __len__(self) -> int:
        return sum(len(getattr(self, name)) for name in ID_LISTS)

    @property
    def ids(self) -> list[str]:
        return [each for name in ID_LISTS for each in getattr(self, name)]

    def waits_until(self, now: datetime) -> datetime | None:
        """When to send, unless that is now: at `send_at` or later, outside of quiet hours."""
        is_later = self.send_at is not None and self.send_at > now
        moment = self.send_at if is_later and self.send_at else now
        quiet_until = self.quiet.end_after(moment) if self.quiet else None
        return quiet_until or (moment if is_later else None)

    def digest_at(self, now: datetime) -> datetime | None:
        """When their digest is sent, after `send_at` and quiet hours; None if they have none."""
        if self.digest is None:
            return None
        moment = self.digest.next_after(max(now, self.send_at or now))
        return (self.quiet and self.quiet.end_after(moment)) or moment

    def with_ids(self, lists: Mapping[str, Sequence[str]]) -> "Recipients":
        """The same group with other ids."""
        named: dict[str, Any] = {name: lists.get(name, ()) for name in ID_LISTS}
        return replace(self, **named)


@dataclass(frozen=True, eq=False)
class Audience:
    """Recipients of any number, such as the followers of a topic: groups, each with its message.

    The stream is read once, before anything is sent, and is never in memory as a whole. It must not
    hold an id twice. With `send_at`, it is read at that time. Whoever has quiet hours gets the push
    after them. Bursts and limits, which count recipients one by one, do not apply.
    """

    groups: AsyncIterable[tuple[Recipients, Message | None]]


@dataclass(frozen=True)
class CollapseKey:
    """On Android, a later push with the same key replaces an earlier one."""

    key: str = "default"
    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class Push:
    """One push, to all of its recipients.

    `message` is one text for everyone, or several by name (such as the language), of which each
    group of recipients gets the one that it `reads`. `custom_payload` is a map, or the JSON text of
    one. `extra` holds further top-level fields of Batch's body and is passed on unchecked. `apps`
    are names from `BATCH_APPS`; None means all of them. Once the event is older than `fresh_for`,
    the push is sent only to those who have to wait; after a wait, that time starts again. It waits
    until `send_at`, at most a year ahead; then the handler is called again. A group of recipients
    may have its own.

    Pushes of one `burst`, such as the messages of a conversation, are combined within
    `COALESCE_SECONDS`, and at the end of quiet hours. Pushes about the `state` of one thing, such
    as whose turn it is in a game, are combined only at the end of quiet hours.

    `sender` is the app's user who caused the push, if any. `limits` bound the number of pushes: see
    `Limit`. `ignored` names fields of the document that were ignored, and `left_out` the users who
    are not told, by reason; the record lists both.

    Times in `custom_payload`, `landing` and `extra` are sent as ISO 8601.
    """

    group_id: str
    recipients: Recipients | Sequence[Recipients] | Audience
    message: Message | Mapping[str, Message] | None = None
    deeplink: str | None = None
    media: Media | None = None
    gcm_collapse_key: CollapseKey | None = None
    priority: Literal["normal", "high"] | None = None
    time_to_live: int | None = None
    push_type: str | None = None
    labels: Sequence[str] = ()
    custom_payload: Mapping[str, Any] | str | None = None
    landing: Mapping[str, Any] | None = None
    sandbox: bool | None = None
    skip_media_check: bool | None = None
    wp_template: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    apps: Sequence[str] | None = None
    fresh_for: timedelta = timedelta(hours=1)
    send_at: datetime | None = None
    burst: str | None = None
    state: str | None = None
    sender: str | None = None
    limits: Sequence[Limit] = ()
    ignored: Sequence[str] = ()
    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def check(self) -> None:
        """Raise `InvalidPush`, naming the field, if Batch or a rule of ours refuses it."""
        _ = self._checked

    @functools.cached_property
    def _checked(self) -> None:
        """Checked once: a push does not change."""
        _check(self)

    def calls(self, apps: Apps) -> Iterator["Call"]:
        """The calls of the push, chunk by chunk; raises `InvalidPush`, naming the field.

        Recipients of the same message share calls, and each is in exactly one call per app. Lazy,
        so that the calls for a million recipients are never in memory together.
        """
        self.check()
        called = self.called(apps)
        number = 0
        for message, groups in self._audiences().items():
            for chunks in _chunks(self._frame(message), called):
                for body in chain(chunks.add(_each(groups)), chunks.end()):
                    yield from _calls(body, chunks.apps, number)
                    number += 1

    async def chunks(
        self, apps: Apps, now: datetime
    ) -> AsyncIterator[tuple[Sequence["Call"], datetime | None]]:
        """The calls of each chunk, also of an `Audience`, and the end of its quiet hours.

        Raises `InvalidPush`, naming the field, and whatever the stream of an audience raises.
        """
        if not isinstance(self.recipients, Audience):
            for _, calls in groupby(self.calls(apps), key=attrgetter("chunk")):
                yield list(calls), None
            return
        self.check()
        called = self.called(apps)
        begun: dict[tuple[Message | None, datetime | None], Sequence[Chunks]] = {}
        number = 0
        async for group, message in self.recipients.groups:
            _check_recipients(group)
            until = group.digest_at(now) or self._timed(group).waits_until(now)
            if (message, until) not in begun:
                _check_text(self, message)
                begun[message, until] = _chunks(self._frame(message), called)
            for chunks in begun[message, until]:
                for body in chunks.add(_each([group])):
                    yield list(_calls(body, chunks.apps, number)), until
                    number += 1
        for (_, until), of_message in begun.items():
            for chunks in of_message:
                for body in chunks.end():
                    yield list(_calls(body, chunks.apps, number)), until
                    number += 1

    @functools.cached_property
    def groups(self) -> Sequence[Recipients]:
        """The recipients that are listed: none of an `Audience`."""
        if isinstance(self.recipients, Audience):
            return ()
        groups = self.recipients
        groups = (groups,) if isinstance(groups, Recipients) else groups
        return groups if self.send_at is None else [self._timed(group) for group in groups]

    def _timed(self, group: Recipients) -> Recipients:
        """The group with the push's time, if it has none of its own."""
        return group if group.send_at or not self.send_at else replace(group, send_at=self.send_at)

    def is_scheduled(self, now: datetime) -> bool:
        """Whether any of the listed recipients gets the push at a later time."""
        return any(group.send_at is not None and group.send_at > now for group in self.groups)

    @property
    def is_large(self) -> bool:
        """Whether the push has more recipients than one call, duplicates included."""
        return isinstance(self.recipients, Audience) or (
            sum(map(len, self.groups)) > MAX_RECIPIENTS
        )

    def only_to(self, ids: Mapping[str, Sequence[str]]) -> "Push | None":
        """The push to only those recipients who are in these lists; None if nobody is.

        A person is listed by user id, as a custom id, and keeps whatever ids they have now. Empty
        lists stand for an `Audience`, which waits as a whole.
        """
        if isinstance(self.recipients, Audience):
            if any(ids.values()):
                raise InvalidPush("recipients", "cannot become an Audience after a wait")
            return self
        kept = {name: frozenset(ids.get(name, ())) for name in ID_LISTS}

        def among(group: Recipients) -> Recipients:
            if group.person in kept["custom_ids"]:
                return group
            lists = {name: filter(kept[name].__contains__, getattr(group, name)) for name in kept}
            return group.with_ids({name: tuple(listed) for name, listed in lists.items()})

        return self._to([among(group) for group in self.groups])

    def _to(self, groups: Iterable[Recipients]) -> "Push | None":
        kept = [group for group in groups if len(group)]
        return replace(self, recipients=kept) if kept else None

    def called(self, apps: Apps) -> Sequence[str]:
        """What is called for the deployed apps that the push is for."""
        return called_for(self.apps, apps)

    def _audiences(self) -> dict[Message | None, list[Recipients]]:
        """The recipients of each different message."""
        audiences: dict[Message | None, list[Recipients]] = {}
        for group in self.groups:
            message = self.message
            if isinstance(message, Mapping):
                message = message[group.reads or ""]
            audiences.setdefault(message, []).append(group)
        return audiences

    def deeplink_of(self, message: Message | None) -> str | None:
        """The link that those who read the message get."""
        return (message and message.deeplink) or self.deeplink

    def _frame(self, message: Message | None) -> dict[str, Any]:
        """The body of a call without recipients and without unset fields."""
        media = (message and message.media) or self.media
        frame = {name: getattr(self, name) for name in PLAIN_FIELDS} | {
            "message": message and without_nones({"body": message.body, "title": message.title}),
            "deeplink": self.deeplink_of(message),
            "labels": list(self.labels) or None,
            "media": media and without_nones(vars(media)),
            "gcm_collapse_key": self.gcm_collapse_key and vars(self.gcm_collapse_key),
            "custom_payload": payload_text(self.custom_payload),
        }
        return without_nones(frame) | dict(self.extra)


@dataclass(frozen=True)
class NoPush:
    """What a handler returns where there is something to tell, and nobody to tell it to.

    `left_out` lists user ids by reason, such as `muted`; the record keeps them, so that somebody
    who asks why there was no push gets an answer. `reason` is for the push as a whole.
    """

    left_out: Mapping[str, Sequence[str]] = field(default_factory=dict)
    reason: str = "everybody is left out"


@dataclass(frozen=True)
class Call:
    """One request to Batch: an app of `BATCH_APPS` or `CEP`, its chunk's number, a JSON body."""

    app: str
    chunk: int
    body: bytes


def platform(app: str) -> str:
    """`ios_driver` -> `ios`: the part of an app's name before the first `_`."""
    return app.partition("_")[0]


def without_nones(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


# Splitting into calls


def called_for(names: Sequence[str] | None, apps: Apps) -> Sequence[str]:
    """What is called for the deployed apps of these names, or for all."""
    chosen: Iterable[str] = apps
    if names is not None:
        if unknown := set(names) - set(apps):
            raise InvalidPush("apps", f"names apps that are not in BATCH_APPS: {sorted(unknown)}")
        chosen = [app for app in apps if app in names]
    if isinstance(apps, Mapping):
        return list(dict.fromkeys(apps[app] for app in chosen))
    return list(chosen)


def _each(groups: Sequence[Recipients]) -> Iterator[tuple[str, str]]:
    """Every id in the groups once, with the name of its list."""
    for name in ID_LISTS:
        seen: set[str] = set()
        for group in groups:
            for identifier in getattr(group, name):
                if identifier not in seen:
                    seen.add(identifier)
                    yield name, identifier


def _chunks(frame: dict[str, Any], apps: Sequence[str]) -> Sequence["Chunks"]:
    """The empty chunks of one message: for the apps, and for CEP, which takes other bodies."""
    if CEP not in apps:
        return [Chunks(frame, apps)]
    others = [app for app in apps if app != CEP]
    return [*([Chunks(frame, others)] if others else []), ProfileChunks(frame, [CEP])]


class Chunks:
    """Bodies of at most `MAX_RECIPIENTS` ids and `MAX_BODY` bytes, filled one after the other."""

    def __init__(
        self, frame: dict[str, Any], apps: Sequence[str], max_recipients: int | None = None
    ) -> None:
        self.apps = apps
        self._max_recipients = max_recipients or MAX_RECIPIENTS
        # If iOS needs a different body, the record has to hold both.
        max_bytes = MAX_BODY // 2 if "icon" in frame.get("media", {}) else MAX_BODY
        size_of_frame = len(encoded(frame))
        if size_of_frame > MAX_FRAME:
            raise InvalidPush("body", f"is larger than {MAX_FRAME} bytes without its recipients")
        self._frame = frame
        self._room = max_bytes - size_of_frame - AROUND_IDS
        self._begin()

    def _begin(self) -> None:
        self._recipients: dict[str, list[str]] = {}
        self._count = self._size = 0

    def add(self, ids: Iterable[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        """Add ids with the names of their lists; yields the bodies that are full before it."""
        for name, identifier in ids:
            length = len(encode_basestring(identifier).encode()) + len(",")
            if self._count == self._max_recipients or self._size + length > self._room:
                yield from self.end()
            self._recipients.setdefault(name, []).append(identifier)
            self._count += 1
            self._size += length

    def end(self) -> Iterator[dict[str, Any]]:
        """The body of the ids that are left, if there are any."""
        if self._count:
            yield self._frame | {"recipients": self._recipients}
            self._begin()


class ProfileChunks(Chunks):
    """... for CEP: what an event holds, and whom it knows.

    The body stays a push's, so that records are read, shown and erased alike; what is sent is made
    of it by `batch_api.cep`.
    """

    def __init__(self, frame: dict[str, Any], apps: Sequence[str]) -> None:
        held = {name: frame[name] for name in EVENT_FIELDS if name in frame}
        super().__init__(held, apps, MAX_PROFILES)

    def add(self, ids: Iterable[tuple[str, str]]) -> Iterator[dict[str, Any]]:
        return super().add(each for each in ids if each[0] == "custom_ids")


def _calls(chunk: dict[str, Any], apps: Sequence[str], number: int) -> Iterator["Call"]:
    """The call of each app; equal bodies are serialised only once."""
    body = on_ios = encoded(chunk)
    media = chunk.get("media", {})
    if "icon" in media:  # iOS does not support it. client: one removes it
        others = {name: url for name, url in media.items() if name != "icon"} or None
        on_ios = encoded(without_nones(chunk | {"media": others}))
    for app in apps:
        yield Call(app=app, chunk=number, body=on_ios if platform(app) == "ios" else body)


def payload_text(payload: Mapping[str, Any] | str | None) -> str | None:
    if isinstance(payload, Mapping):
        return _json(payload, within="custom_payload")
    return payload


def encoded(body: Mapping[str, Any]) -> bytes:
    return _json(body).encode()


def _json(value: Mapping[str, Any], within: str = "") -> str:
    """Raises `InvalidPush` with the full path of a value that JSON cannot hold."""
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError):
        raise _not_json(value, within) from None
    if not is_unicode(text):
        raise _not_json(value, within)
    return text


def check_json(field: str, value: object, with_times: bool = True) -> None:
    """Raise `InvalidPush` with the full path of a value that JSON cannot hold, or of a time."""
    for path, problem in _problems(value, field, 0, with_times):
        raise InvalidPush(path, problem)


def _iso(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError


# Made once: `json.dumps` makes an encoder for each call.
_encode = json.JSONEncoder(
    default=_iso, ensure_ascii=False, allow_nan=False, separators=(",", ":")
).encode


def _not_json(value: object, within: str) -> InvalidPush:
    """The error, with its path, for a value that could not be serialised as JSON."""
    path, problem = next(_problems(value, within, 0), (within, "holds a value JSON cannot hold"))
    return InvalidPush(path or "body", problem)


def _problems(
    value: object, path: str, depth: int, with_times: bool = True
) -> Iterator[tuple[str, str]]:
    """The path and the problem of everything that JSON cannot hold."""
    if depth > MAX_DEPTH:
        yield path.partition(".")[0], "is nested too deeply"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, str) and not is_unicode(key):
                yield path, "has a name that is not valid Unicode"
            inner = f"{path}.{key}" if path else str(key)
            yield from _problems(item, inner, depth + 1, with_times)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _problems(item, f"{path}[{index}]", depth + 1, with_times)
    elif not with_times and isinstance(value, datetime):
        yield path, "is a time: write it as Batch takes it, as a text"
    elif problem := _problem_of(value):
        yield path, problem


def _problem_of(value: object) -> str | None:
    """Why JSON cannot hold a scalar value; None if it can."""
    if isinstance(value, str):
        return None if is_unicode(value) else "is not valid Unicode"
    if isinstance(value, float):
        return None if math.isfinite(value) else "is a number JSON cannot hold"
    if isinstance(value, int | datetime | None):
        return None
    return f"is {type(value).__name__}, which JSON cannot hold"


# The rules: Batch's, and ours


def _check(push: Push) -> None:
    """Raise `InvalidPush` for the first field that breaks a rule."""
    _check_rules(RULES, push)
    if push.extra:
        _json(push.extra, within="extra")
    for name in ("landing", "extra"):
        if value := getattr(push, name):
            check_links(name, value)
    if push.custom_payload:
        check_payload("custom_payload", payload_of(push.custom_payload))
    if isinstance(push.recipients, Audience):
        _check_audience(push)
    else:
        _check_groups(push)


def _check_rules(rules: "Iterable[Rule]", checked: Push | Message) -> None:
    for name, is_valid, expected, _ in rules:
        value = getattr(checked, name)
        if value is not None and not is_valid(value):
            raise InvalidPush(name, expected + _but_is(value))


def _check_audience(push: Push) -> None:
    """Its groups and their messages are checked as they are read."""
    for combined in ("message", "burst", "state", "limits"):
        if getattr(push, combined):
            raise InvalidPush(combined, "cannot be combined with an Audience")


def _check_groups(push: Push) -> None:
    for group in push.groups:
        _check_recipients(group)
    if not any(map(len, push.groups)):
        raise InvalidPush("recipients", "is empty")
    _check_message(push)


def _check_recipients(recipients: Recipients) -> None:
    for name in ID_LISTS:
        ids = getattr(recipients, name)
        problems = map(functools.partial(problem_of_id, name), ids) if _is_list(ids) else [NO_TEXT]
        problem = next(filter(None, problems), None)
        if problem and problem.startswith(NO_TEXT):
            raise InvalidPush(f"recipients.{name}", "must be a list of strings, none of them blank")
        if problem:
            raise InvalidPush(f"recipients.{name}", f"{problem} each")


PLAIN_ID = re.compile(rf"[!-~]{{1,{MAX_CUSTOM_ID - 1}}}")  # a fast check, which most ids pass
NO_TEXT = "must be a string that is not blank"


def problem_of_id(id_list: str, value: object) -> str | None:
    """The problem of an id in one of the recipient lists; None for a valid one."""
    if type(value) is str and PLAIN_ID.fullmatch(value):
        return None
    if not is_text(value):
        return NO_TEXT + _but_is(value)
    if len(value) > MAX_ID:
        return f"must be at most {MAX_ID} characters"
    if id_list == "custom_ids" and (len(value) >= MAX_CUSTOM_ID or "\n" in value):
        return f"must be one line under {MAX_CUSTOM_ID} characters"
    return None


def _check_message(push: Push) -> None:
    if not isinstance(push.message, Mapping):
        _check_text(push, push.message)
        return
    for group in push.groups:
        if group.reads not in push.message:
            raise InvalidPush("message", f"has no text for those who read {group.reads!r}")
    for message in push.message.values():
        _check_text(push, message)


def _check_text(push: Push, message: Message | None) -> None:
    if message is None:
        if push.push_type != "background" and "messages" not in push.extra:
            raise InvalidPush("message", "is missing")
        return
    if not is_text(message.body):
        raise InvalidPush("message.body", NO_TEXT + _but_is(message.body))
    if message.title is not None and not is_text(message.title):
        raise InvalidPush("message.title", NO_TEXT + _but_is(message.title))
    _check_rules(LINKS, message)


def is_text(value: object) -> TypeGuard[str]:
    """Whether it is a text with something visible in it."""
    if not isinstance(value, str) or isinstance(value, Reference):
        return False
    return not is_blank(value) and is_unicode(value)


def _but_is(value: object) -> str:
    """Name a reference as such, since it looks like a text."""
    return ", not a reference" if isinstance(value, Reference) else ""


def _is_time_to_live(value: object) -> bool:
    return type(value) is int and 0 < value <= MAX_TIME_TO_LIVE


def are_texts(value: Any) -> bool:
    return _is_list(value) and all(map(is_text, value))


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _are_labels(value: Any) -> bool:
    return are_texts(value) and len(value) <= MAX_LABELS


def _are_apps(value: object) -> bool:
    return are_texts(value) and bool(value)


def _is_media(value: Media) -> bool:
    urls = without_nones(vars(value)).values()
    return bool(urls) and all(is_text(url) and is_media(url) for url in urls)


def _is_landing(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and is_text(value.get("theme"))
        and _is_list(value.get("actions"))
    )


NOT_BATCHS = {"burst", "state", "sender", "limits", "ignored", "left_out", "send_at"}
OWN_FIELDS = frozenset(own.name for own in fields(Push)) - NOT_BATCHS


class Rule(NamedTuple):
    """What a field must be, if it is there, and the source of that."""

    field: str
    is_valid: Callable[[Any], bool]
    expected: str
    source: str


RULES: tuple[Rule, ...] = (
    Rule(
        "group_id",
        lambda v: isinstance(v, str) and bool(re.fullmatch(r"[A-Za-z0-9_-]+", v)),
        "must be letters, digits, _ and - only",
        "official: transactional/send",
    ),
    Rule("deeplink", lambda v: is_text(v) and is_link(v), A_LINK, "ours: for the reader's safety"),
    Rule(
        "media",
        _is_media,
        "must hold https:// addresses, at least one, of public hosts; if MEDIA_HOSTS is set, of "
        "one of those",
        "ours: for the reader's safety",
    ),
    Rule(
        "gcm_collapse_key",
        lambda v: isinstance(v, CollapseKey) and is_text(v.key) and type(v.enabled) is bool,
        "must be a CollapseKey whose key is not blank",
        "client: its form",
    ),
    Rule(
        "priority",
        lambda v: v in ("normal", "high"),
        "must be normal or high",
        "official: campaigns/parameters",
    ),
    # Batch's page says of 0 both that it means one attempt and that it is too small. Leaving it out
    # would mean the opposite, days of attempts, so it is refused; a second is as good.
    Rule(
        "time_to_live",
        _is_time_to_live,
        f"must be whole seconds, from 1 to {MAX_TIME_TO_LIVE}",
        "official: campaigns/parameters",
    ),
    Rule(
        "push_type",
        lambda v: v in PUSH_TYPES,
        f"must be one of {', '.join(PUSH_TYPES)}",
        "official: campaigns/parameters, for background",
    ),
    Rule(
        "labels",
        _are_labels,
        f"must be at most {MAX_LABELS} label codes",
        "official: campaigns/parameters",
    ),
    Rule(
        "custom_payload",
        lambda v: isinstance(payload_of(v), Mapping),
        "must be a map, or the JSON text of one",
        "client: Batch's own sample sends a text; inferred: of a map",
    ),
    Rule(
        "landing",
        _is_landing,
        "must be a map with a theme and a list of actions",
        "client: the Elixir client's type",
    ),
    Rule("sandbox", lambda v: type(v) is bool, "must be true or false", "client: Batch's sample"),
    Rule(
        "skip_media_check",
        lambda v: type(v) is bool,
        "must be true or false",
        "inferred: from its name",
    ),
    Rule(
        "wp_template",
        is_text,
        "must be a string that is not blank",
        "client: the Elixir client's type",
    ),
    Rule("apps", _are_apps, "must be a list of names of apps, at least one", "ours"),
    Rule(
        "fresh_for",
        lambda v: isinstance(v, timedelta) and v <= MAX_FRESH_FOR,
        "must be a timedelta of at most 24 hours",
        "ours",
    ),
    Rule(
        "send_at",
        lambda v: isinstance(v, datetime) and v.tzinfo is not None,
        "must be a time with a zone",
        "ours",
    ),
    Rule("burst", is_text, "must be a string that is not blank", "ours"),
    Rule("state", is_text, "must be a string that is not blank", "ours"),
    Rule("sender", is_text, "must be a string that is not blank", "ours"),
    Rule(
        "extra",
        lambda v: isinstance(v, Mapping) and not OWN_FIELDS & set(v),
        "must be a map without fields that Push has itself",
        "ours",
    ),
)

LINKS = tuple(rule for rule in RULES if rule.field in ("deeplink", "media"))  # of a message, too
