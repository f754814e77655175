"""`Push`: what Batch's Transactional API takes, validated, and split into calls.

The names of the fields are Batch's. A rule that only a doubtful source knows is not enforced:
what Batch may accept is not refused here.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from json.encoder import encode_basestring
from typing import Any, Literal

from batchpush.change import is_unicode
from batchpush.errors import InvalidPush
from batchpush.link_rules import (
    A_LINK,
    check_links,
    check_payload,
    is_link,
    is_media,
    payload_of,
)
from batchpush.quiet_hours import QuietHours

MAX_RECIPIENTS = 10_000  # ids in one call, over all four lists
MAX_BODY = 900_000  # bytes of one call
MAX_FRAME = 100_000  # bytes of one call without its recipients; a phone takes 4 kB of them
MAX_ID = 4096  # characters of any id; the longest tokens have some hundred
MAX_LABELS = 3
MAX_TIME_TO_LIVE = 28 * 24 * 3600  # seconds

MAX_CUSTOM_ID = 1024  # characters; an id is shorter than this

MAX_BEST_BEFORE = timedelta(hours=24)  # so long does the platform bring an event again

PLAIN_FIELDS = (  # of a Push, sent as they are
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
    """Whom to reach, and what they read where the push has several messages.

    A Firebase user id is a custom id, if the apps gave it to Batch's SDK at login. In their
    `quiet` hours the push waits for them.
    """

    custom_ids: Sequence[str] = ()
    install_ids: Sequence[str] = ()
    tokens: Sequence[str] = ()
    advertising_ids: Sequence[str] = ()
    reads: str | None = None
    quiet: QuietHours | None = None

    def __len__(self) -> int:
        return sum(len(getattr(self, name)) for name in ID_LISTS)

    def with_ids(self, lists: Mapping[str, Sequence[str]]) -> "Recipients":
        """Others who read the same at the same hours."""
        named: dict[str, Any] = {name: lists.get(name, ()) for name in ID_LISTS}
        return replace(self, **named)


@dataclass(frozen=True)
class CollapseKey:
    """On Android, a later push with the same key takes the place of an earlier one."""

    key: str = "default"
    enabled: bool = True


@dataclass(frozen=True, kw_only=True)
class Media:
    """Addresses of a picture, a sound or a film. `icon` is for Android and the web only."""

    icon: str | None = None
    picture: str | None = None
    audio: str | None = None
    video: str | None = None


@dataclass(frozen=True, kw_only=True)
class Push:
    """One push, to all of its recipients.

    `message` is one text for everybody, or several by a name (such as the language), of which
    each group of recipients gets the one that it `reads`. `custom_payload` is a map, or the JSON
    text of one. `extra` holds whatever else Batch takes at the top level of the body; it is
    passed on unseen. `apps` are names from `BATCH_APPS`, all of them if it is None. Once the
    event is older than `best_before`, the push is not sent any more; a push that waits gets as
    long again. Pushes of one `burst` are told together where `COALESCE_SECONDS` says so.
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
    best_before: timedelta = timedelta(hours=1)
    burst: str | None = None

    def check(self) -> None:
        """Raise `InvalidPush`, naming the field, for what Batch would refuse."""
        _check(self)

    def calls(self, apps: Sequence[str]) -> Iterator["Call"]:
        """Every call that the push takes, chunk by chunk; raises `InvalidPush` naming the field.

        Recipients who get the same message share their calls, and each of them is in exactly
        one call per app. A million recipients are never in memory as calls all at once.
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
        """The number of recipients' ids; one that is named twice counts twice."""
        return sum(map(len, self.groups))

    def only_to(self, ids: Mapping[str, Sequence[str]]) -> "Push | None":
        """The push to those among its recipients who are in these lists; None if nobody is."""
        kept = {name: frozenset(ids.get(name, ())) for name in ID_LISTS}

        def among(group: Recipients) -> Recipients:
            lists = {name: filter(kept[name].__contains__, getattr(group, name)) for name in kept}
            return group.with_ids({name: tuple(listed) for name, listed in lists.items()})

        groups = [some for group in self.groups if len(some := among(group))]
        return replace(self, recipients=groups) if groups else None

    def _chosen(self, apps: Sequence[str]) -> Sequence[str]:
        """Those of the deployed apps that the push is for."""
        if self.apps is None:
            return apps
        if unknown := set(self.apps) - set(apps):
            raise InvalidPush("apps", f"names apps that BATCH_APPS does not: {sorted(unknown)}")
        return [app for app in apps if app in self.apps]

    def _audiences(self) -> dict[Message | None, list[Recipients]]:
        """The different messages, each with those who get it."""
        audiences: dict[Message | None, list[Recipients]] = {}
        for group in self.groups:
            message = self.message
            if isinstance(message, Mapping):
                message = message[group.reads or ""]
            audiences.setdefault(message, []).append(group)
        return audiences

    def _frame(self, message: Message | None) -> dict[str, Any]:
        """The body of a call without its recipients; what is not set is left out."""
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
    """One request to Batch: an app of `BATCH_APPS`, a chunk of the recipients, a JSON body."""

    app: str
    chunk: int
    body: bytes


def platform(app: str) -> str:
    """`ios_driver` -> `ios`: the platform is the part of an app's name before the first `_`."""
    return app.partition("_")[0]


def without_nones(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


# Into calls


def _each(groups: Sequence[Recipients]) -> Iterator[tuple[str, str]]:
    """Every id of the groups once, with the name of its list."""
    for name in ID_LISTS:
        seen: set[str] = set()
        for group in groups:
            for identifier in getattr(group, name):
                if identifier not in seen:
                    seen.add(identifier)
                    yield name, identifier


def _chunks(frame: dict[str, Any], ids: Iterable[tuple[str, str]]) -> Iterator[dict[str, Any]]:
    """Bodies of at most `MAX_RECIPIENTS` ids and `MAX_BODY` bytes, which hold every id once."""
    # A body for iOS that differs is kept in the same record, which has to hold them both.
    most = MAX_BODY // 2 if "icon" in frame.get("media", {}) else MAX_BODY
    size_of_frame = len(encoded(frame))
    if size_of_frame > MAX_FRAME:
        raise InvalidPush("body", f"is larger than {MAX_FRAME} bytes without its recipients")
    room = most - size_of_frame - AROUND_IDS
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
    """Each app with its body, serialised once for all of them where it is the same."""
    body = on_ios = encoded(chunk)
    media = chunk.get("media", {})
    if "icon" in media:  # Batch refuses it for an iOS app
        others = {name: url for name, url in media.items() if name != "icon"} or None
        on_ios = encoded(without_nones(chunk | {"media": others}))
    for app in apps:
        yield app, on_ios if platform(app) == "ios" else body


def payload_text(payload: Mapping[str, Any] | str | None) -> str | None:
    is_map = isinstance(payload, Mapping)
    return json_text("custom_payload", payload) if is_map else payload  # type: ignore[arg-type,return-value]


def encoded(body: Mapping[str, Any]) -> bytes:
    return json_text("body", body).encode()


def json_text(field: str, value: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError):
        raise InvalidPush(field, "holds a value that JSON cannot") from None
    if not is_unicode(text):
        raise InvalidPush(field, "is not valid Unicode")
    return text


# Batch's rules


def _check(push: Push) -> None:
    """Raise `InvalidPush` for the first field that Batch would refuse."""
    for name, is_valid, expected in RULES:
        value = getattr(push, name)
        if value is not None and not is_valid(value):
            raise InvalidPush(name, expected)
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
        if not are_texts(ids):
            raise InvalidPush(f"recipients.{name}", "must be a list of strings, none of them blank")
        if any(len(identifier) > MAX_ID for identifier in ids):
            raise InvalidPush(f"recipients.{name}", f"must be at most {MAX_ID} characters each")
    for identifier in recipients.custom_ids:
        if len(identifier) >= MAX_CUSTOM_ID or "\n" in identifier:
            raise InvalidPush(
                "recipients.custom_ids", f"must be one line under {MAX_CUSTOM_ID} characters each"
            )


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
            raise InvalidPush("message.body", "must be a string that is not blank")
        if message.title is not None and not is_text(message.title):
            raise InvalidPush("message.title", "must be a string that is not blank")


def is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and is_unicode(value)


def _is_time_to_live(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_TIME_TO_LIVE


def are_texts(value: Any) -> bool:
    is_list = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    return is_list and all(map(is_text, value))


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


OWN_FIELDS = frozenset(own.name for own in fields(Push)) - {"burst"}

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
        "best_before",
        lambda v: isinstance(v, timedelta) and v <= MAX_BEST_BEFORE,
        "must be at most 24 hours after the event",
    ),
    ("burst", is_text, "must be a string that is not blank"),
    (
        "extra",
        lambda v: isinstance(v, Mapping) and not OWN_FIELDS & set(v),
        "must be a map, without the fields that Push has itself",
    ),
)
