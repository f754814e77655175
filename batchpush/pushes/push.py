"""`Push`: a validated push for Batch's Transactional API, split into calls.

Field names are Batch's. Rules from unreliable sources are not enforced: nothing that Batch may
accept is refused here.
"""

import functools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from json.encoder import encode_basestring
from typing import Any, Literal, TypeGuard

from batchpush.documents import Reference, is_blank, is_unicode
from batchpush.errors import InvalidPush
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

MAX_RECIPIENTS = 10_000  # ids in one call, across all four lists
MAX_BODY = 900_000  # bytes of one call
MAX_FRAME = 100_000  # bytes of one call without its recipients; a phone accepts 4 kB of them
MAX_ID = 4096  # characters of any id; the longest tokens have a few hundred
MAX_LABELS = 3
MAX_DEPTH = 100  # of nested maps and lists; Firestore allows 20
MAX_TIME_TO_LIVE = 28 * 24 * 3600  # seconds

MAX_CUSTOM_ID = 1024  # characters; an id must be shorter

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
ID_LISTS = ("custom_ids", "install_ids", "tokens", "advertising_ids")
AROUND_IDS = len(json.dumps({"recipients": {name: [] for name in ID_LISTS}}))  # bytes


@dataclass(frozen=True)
class Message:
    """The text on the phone."""

    body: str
    title: str | None = None


@dataclass(frozen=True, kw_only=True)
class Recipients:
    """Whom to reach, and which message they read if the push has several.

    A Firebase user id is a custom id if the apps pass it to Batch's SDK at login. During their
    `quiet` hours, the push waits. `person` is the user id of the one person whom all the ids
    belong to, unless the only id is that user id as a custom id.
    """

    custom_ids: Sequence[str] = ()
    install_ids: Sequence[str] = ()
    tokens: Sequence[str] = ()
    advertising_ids: Sequence[str] = ()
    reads: str | None = None
    quiet: QuietHours | None = None
    person: str | None = None

    def __len__(self) -> int:
        return sum(len(getattr(self, name)) for name in ID_LISTS)

    def with_ids(self, lists: Mapping[str, Sequence[str]]) -> "Recipients":
        """The same group with other ids."""
        named: dict[str, Any] = {name: lists.get(name, ()) for name in ID_LISTS}
        return replace(self, **named)


@dataclass(frozen=True)
class CollapseKey:
    """On Android, a later push with the same key replaces an earlier one."""

    key: str = "default"
    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class Media:
    """Addresses of an image, a sound or a video. `icon` is for Android and the web only."""

    icon: str | None = None
    picture: str | None = None
    audio: str | None = None
    video: str | None = None


@dataclass(frozen=True, kw_only=True)
class Push:
    """One push, to all of its recipients.

    `message` is one text for everyone, or several by name (such as the language), of which each
    group of recipients gets the one that it `reads`. `custom_payload` is a map, or the JSON text of
    one. `extra` holds further top-level fields of Batch's body and is passed on unchecked. `apps`
    are names from `BATCH_APPS`; None means all of them. Once the event is older than `fresh_for`,
    the push is no longer sent; after a wait, that time starts again.

    Pushes of one `burst`, such as the messages of a conversation, are combined within
    `COALESCE_SECONDS`, and at the end of quiet hours. Pushes about the `state` of one thing, such
    as whose turn it is in a game, are combined only at the end of quiet hours.

    `sender` is the app's user who caused the push, if any. `limits` bound the number of pushes: see
    `Limit`. `ignored` names fields of the document that were ignored; the record lists them.

    Times in `custom_payload`, `landing` and `extra` are sent as ISO 8601.
    """

    group_id: str
    recipients: Recipients | Sequence[Recipients]
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
    burst: str | None = None
    state: str | None = None
    sender: str | None = None
    limits: Sequence[Limit] = ()
    ignored: Sequence[str] = ()

    def check(self) -> None:
        """Raise `InvalidPush`, naming the field, if Batch would refuse it."""
        _ = self._checked

    @functools.cached_property
    def _checked(self) -> None:
        """Checked once: a push does not change."""
        _check(self)

    def calls(self, apps: Sequence[str]) -> Iterator["Call"]:
        """The calls of the push, chunk by chunk; raises `InvalidPush`, naming the field.

        Recipients of the same message share calls, and each is in exactly one call per app. Lazy,
        so that the calls for a million recipients are never in memory together.
        """
        self.check()
        apps = self._chosen(apps)
        number = 0
        for message, groups in self._audiences().items():
            for chunk in _chunks(self._frame(message), _each(groups)):
                for app, body in _bodies(chunk, apps):
                    yield Call(app=app, chunk=number, body=body)
                number += 1

    @property
    def groups(self) -> Sequence[Recipients]:
        return (self.recipients,) if isinstance(self.recipients, Recipients) else self.recipients

    @property
    def size(self) -> int:
        """The number of recipients' ids, including duplicates."""
        return sum(map(len, self.groups))

    def only_to(self, ids: Mapping[str, Sequence[str]]) -> "Push | None":
        """The push to only those recipients who are in these lists; None if nobody is.

        A person is listed by user id, as a custom id, and keeps whatever ids they have now.
        """
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

    def _chosen(self, apps: Sequence[str]) -> Sequence[str]:
        """The deployed apps that the push is for."""
        if self.apps is None:
            return apps
        if unknown := set(self.apps) - set(apps):
            raise InvalidPush("apps", f"names apps that BATCH_APPS does not: {sorted(unknown)}")
        return [app for app in apps if app in self.apps]

    def _audiences(self) -> dict[Message | None, list[Recipients]]:
        """The recipients of each different message."""
        audiences: dict[Message | None, list[Recipients]] = {}
        for group in self.groups:
            message = self.message
            if isinstance(message, Mapping):
                message = message[group.reads or ""]
            audiences.setdefault(message, []).append(group)
        return audiences

    def _frame(self, message: Message | None) -> dict[str, Any]:
        """The body of a call without recipients and without unset fields."""
        frame = {name: getattr(self, name) for name in PLAIN_FIELDS} | {
            "message": message and without_nones(vars(message)),
            "labels": list(self.labels) or None,
            "media": self.media and without_nones(vars(self.media)),
            "gcm_collapse_key": self.gcm_collapse_key and vars(self.gcm_collapse_key),
            "custom_payload": payload_text(self.custom_payload),
        }
        return without_nones(frame) | dict(self.extra)


@dataclass(frozen=True)
class Call:
    """One request to Batch: an app of `BATCH_APPS`, the number of the chunk, and a JSON body."""

    app: str
    chunk: int
    body: bytes


def platform(app: str) -> str:
    """`ios_driver` -> `ios`: the part of an app's name before the first `_`."""
    return app.partition("_")[0]


def without_nones(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


# Splitting into calls


def _each(groups: Sequence[Recipients]) -> Iterator[tuple[str, str]]:
    """Every id in the groups once, with the name of its list."""
    for name in ID_LISTS:
        seen: set[str] = set()
        for group in groups:
            for identifier in getattr(group, name):
                if identifier not in seen:
                    seen.add(identifier)
                    yield name, identifier


def _chunks(frame: dict[str, Any], ids: Iterable[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """Bodies of at most `MAX_RECIPIENTS` ids and `MAX_BODY` bytes, which hold every id once."""
    # If iOS needs a different body, the record has to hold both.
    max_bytes = MAX_BODY // 2 if "icon" in frame.get("media", {}) else MAX_BODY
    size_of_frame = len(encoded(frame))
    if size_of_frame > MAX_FRAME:
        raise InvalidPush("body", f"is larger than {MAX_FRAME} bytes without its recipients")
    room = max_bytes - size_of_frame - AROUND_IDS
    recipients: dict[str, list[str]] = {}
    count = size = 0
    for name, identifier in ids:
        length = len(encode_basestring(identifier).encode()) + len(",")
        if count == MAX_RECIPIENTS or (count and size + length > room):
            yield frame | {"recipients": recipients}
            recipients, count, size = {}, 0, 0
        recipients.setdefault(name, []).append(identifier)
        count, size = count + 1, size + length
    if count:
        yield frame | {"recipients": recipients}


def _bodies(chunk: dict[str, Any], apps: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Each app with its body; equal bodies are serialised only once."""
    body = on_ios = encoded(chunk)
    media = chunk.get("media", {})
    if "icon" in media:  # Batch refuses it for an iOS app
        others = {name: url for name, url in media.items() if name != "icon"} or None
        on_ios = encoded(without_nones(chunk | {"media": others}))
    for app in apps:
        yield app, on_ios if platform(app) == "ios" else body


def payload_text(payload: Mapping[str, Any] | str | None) -> str | None:
    if isinstance(payload, Mapping):
        return _json(payload, within="custom_payload")
    return payload


def encoded(body: Mapping[str, Any]) -> bytes:
    return _json(body, within="").encode()


def _json(value: Mapping[str, Any], within: str) -> str:
    """Raises `InvalidPush` with the full path of a value that JSON cannot hold."""
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError):
        raise _not_json(value, within) from None
    if not is_unicode(text):
        raise _not_json(value, within)
    return text


def json_text(field: str, value: object) -> str:
    """The value as JSON; raises `InvalidPush`, naming the field, for values such as times."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise InvalidPush(field, "holds a value that JSON cannot") from None
    if not is_unicode(text):
        raise InvalidPush(field, "is not valid Unicode")
    return text


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
    path, problem = next(_problems(value, within, 0), (within, "holds a value that JSON cannot"))
    return InvalidPush(path or "body", problem)


def _problems(value: object, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """The path and the problem of everything that JSON cannot hold."""
    if depth > MAX_DEPTH:
        yield path.partition(".")[0], "is nested too deeply"
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(key, str) and not is_unicode(key):
                yield path, "has a name that is not valid Unicode"
            yield from _problems(item, f"{path}.{key}" if path else str(key), depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _problems(item, f"{path}[{index}]", depth + 1)
    elif problem := _problem_of(value):
        yield path, problem


def _problem_of(value: object) -> str | None:
    """Why JSON cannot hold a scalar value; None if it can."""
    if isinstance(value, str):
        return None if is_unicode(value) else "is not valid Unicode"
    if isinstance(value, float):
        return None if math.isfinite(value) else "is not a number that JSON has"
    if isinstance(value, int | datetime | None):
        return None
    return f"is {type(value).__name__}, which JSON cannot hold"


# Batch's rules


def _check(push: Push) -> None:
    """Raise `InvalidPush` for the first field that Batch would refuse."""
    for name, is_valid, expected in RULES:
        value = getattr(push, name)
        if value is not None and not is_valid(value):
            raise InvalidPush(name, expected + _but_is(value))
    if push.extra:
        _json(push.extra, within="extra")
    for name in ("landing", "extra"):
        if value := getattr(push, name):
            check_links(name, value)
    if push.custom_payload:
        check_payload("custom_payload", payload_of(push.custom_payload))
    for group in push.groups:
        _check_recipients(group)
    if not any(len(group) for group in push.groups):
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
    if push.message is None:
        if push.push_type != "background" and "messages" not in push.extra:
            raise InvalidPush("message", "is missing")
        return
    if isinstance(push.message, Mapping):
        for group in push.groups:
            if group.reads not in push.message:
                raise InvalidPush("message", f"has no text for those who read {group.reads!r}")
        messages = list(push.message.values())
    else:
        messages = [push.message]
    for message in messages:
        if not is_text(message.body):
            raise InvalidPush("message.body", NO_TEXT + _but_is(message.body))
        if message.title is not None and not is_text(message.title):
            raise InvalidPush("message.title", NO_TEXT + _but_is(message.title))


def is_text(value: object) -> TypeGuard[str]:
    """Whether it is a text with something visible in it."""
    if not isinstance(value, str) or isinstance(value, Reference):
        return False
    return not is_blank(value) and is_unicode(value)


def _but_is(value: object) -> str:
    """Name a reference as such, since it looks like a text."""
    return ", not a reference" if isinstance(value, Reference) else ""


def _is_time_to_live(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_TIME_TO_LIVE


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
        and isinstance(value.get("actions"), Sequence)
    )


NOT_BATCHS = {"burst", "state", "sender", "limits", "ignored"}
OWN_FIELDS = frozenset(own.name for own in fields(Push)) - NOT_BATCHS

RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    (
        "group_id",
        lambda v: isinstance(v, str) and bool(re.fullmatch(r"[A-Za-z0-9_-]+", v)),
        "must be letters, digits, _ and - only",
    ),
    ("deeplink", lambda v: is_text(v) and is_link(v), A_LINK),
    (
        "media",
        _is_media,
        "must hold https:// addresses, at least one, of public hosts; if MEDIA_HOSTS is set, of "
        "one of those",
    ),
    (
        "gcm_collapse_key",
        lambda v: isinstance(v, CollapseKey) and is_text(v.key) and type(v.enabled) is bool,
        "must be a CollapseKey whose key is not blank",
    ),
    ("priority", lambda v: v in ("normal", "high"), "must be normal or high"),
    ("time_to_live", _is_time_to_live, f"must be whole seconds, at most {MAX_TIME_TO_LIVE}"),
    ("push_type", is_text, "must be a string that is not blank"),
    ("labels", _are_labels, f"must be at most {MAX_LABELS} label codes"),
    (
        "custom_payload",
        lambda v: isinstance(payload_of(v), Mapping),
        "must be a map, or the JSON text of one",
    ),
    ("landing", _is_landing, "must be a map with a theme and a list of actions"),
    ("sandbox", lambda v: type(v) is bool, "must be true or false"),
    ("skip_media_check", lambda v: type(v) is bool, "must be true or false"),
    ("wp_template", is_text, "must be a string that is not blank"),
    ("apps", _are_apps, "must be a list of names of apps, at least one"),
    (
        "fresh_for",
        lambda v: isinstance(v, timedelta) and v <= MAX_FRESH_FOR,
        "must be a timedelta of at most 24 hours",
    ),
    ("burst", is_text, "must be a string that is not blank"),
    ("state", is_text, "must be a string that is not blank"),
    ("sender", is_text, "must be a string that is not blank"),
    (
        "extra",
        lambda v: isinstance(v, Mapping) and not OWN_FIELDS & set(v),
        "must be a map without fields that Push has itself",
    ),
)
