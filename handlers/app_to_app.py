"""App to app: pushes from one user to another, without a key in the app.

The app names a template and passes short parameters; we choose the words and the sender's name.
Friends (`users/{id}/friends/{id}`), accepted friend requests and `member_ids` grant permission, so
no user may be able to write these alone. `firestore.rules` enforces that.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from batchpush import (
    CallableRequest,
    CallRefused,
    CollapseKey,
    Document,
    Limit,
    LookUp,
    NoPush,
    Push,
    is_document_id,
)
from handlers.fields import understood
from handlers.links import deeplink
from handlers.people import (
    ASLEEP,
    MUTED_CONVERSATION,
    PROFILE,
    people_named,
    person,
    recipients,
    users_only,
)
from handlers.texts import Count, say

MAX_PER_SENDER = 30  # calls a minute
MAX_PER_PAIR = 5
MAX_PER_RECIPIENT = 20  # from all senders together; messages have no such limit
MAX_ID = 128  # characters, the maximum of Firebase's user ids

FIELDS = frozenset({"to", "template", "params"})
# The type that Firebase's iOS and Android clients give a long integer; the SDK does not decode it.
LONG = "type.googleapis.com/google.protobuf.Int64Value"


@dataclass(frozen=True)
class Param:
    """A parameter: `read` returns None for an invalid value, `expected` completes the error."""

    read: Callable[[Any], Any]
    expected: str


def an_id(value: Any) -> str | None:
    """The id of another document."""
    is_short = isinstance(value, str) and len(value) <= MAX_ID
    return value if is_short and is_document_id(value) else None


def minutes(value: Any) -> int | None:
    """From 5 minutes to two hours."""
    if isinstance(value, dict) and value.keys() == {"@type", "value"}:
        digits = re.fullmatch(r"[0-9]{1,3}", str(value["value"]))
        value = int(digits[0]) if digits and value["@type"] == LONG else None
    return value if type(value) is int and 5 <= value <= 120 else None


ID = Param(an_id, f"must be an id of at most {MAX_ID} characters")
MINUTES = Param(minutes, "must be a whole number from 5 to 120")


@dataclass(frozen=True)
class Template:
    """How long a push makes sense, and the parameters that the app may pass.

    The words are in `handlers/texts/`, under the template's name.
    """

    fresh_for: timedelta
    params: Mapping[str, Param] = field(default_factory=dict)


TEMPLATES: Mapping[str, Template] = {
    "poke": Template(timedelta(hours=1), {"conversation_id": ID}),
    "come_online": Template(timedelta(minutes=10), {"conversation_id": ID}),
    "call_me": Template(timedelta(minutes=30), {"conversation_id": ID, "minutes": MINUTES}),
}


@dataclass(frozen=True)
class Request:
    """The app's request, checked."""

    to: str
    template: str
    params: Mapping[str, Any]


def limits(call: CallableRequest) -> list[Limit]:
    """Limits on the calls of one person, in total and to the same recipient."""
    to = read(call).to
    return [
        Limit((call.function, call.caller), MAX_PER_SENDER),
        Limit((call.function, call.caller, to), MAX_PER_PAIR),
    ]


async def notify(call: CallableRequest, look_up: LookUp) -> Push | NoPush:
    """Sends the template's text to a friend, or to a member of the same conversation."""
    request = read(call)
    me, to, conversation_id = call.caller, request.to, request.params.get("conversation_id")
    paths = [
        f"users/{me}",
        f"users/{to}",
        f"users/{me}/friends/{to}",
        f"users/{me}/friend_requests/{to}",
        f"users/{to}/friend_requests/{me}",
    ]
    if conversation_id:
        paths.append(f"conversations/{conversation_id}")
    fields = (*PROFILE, "status", "member_ids", "muted_by")
    profile, other, friend, *requests = await look_up.many(*paths, fields=fields)
    conversation = requests.pop() if conversation_id else None

    is_friend = friend is not None or any(map(_is_accepted, requests))
    is_shared = {me, to} <= _member_ids(conversation) and bool(
        is_friend or await users_only(look_up, [person(to, other)])
    )
    if not is_friend and not is_shared:
        # The same for a user who is not a friend and for a user who does not exist.
        raise CallRefused("permission-denied", "this cannot be sent to them")
    reader, sender = person(to, other), person(me, profile)
    is_asleep = reader.quiet is not None and reader.quiet.end_after(call.time) is not None
    is_conversation_muted = is_shared and to in _muted_by(conversation)
    why = (
        reader.why_not_told(request.template)
        or (is_conversation_muted and MUTED_CONVERSATION)
        or (is_asleep and ASLEEP)
    )
    if why:
        return NoPush({why: [to]})

    within = request.params.get("minutes")
    key = f"{request.template}{'_within' if within else ''}{'' if sender.name else '_unnamed'}"
    link = ("conversations", str(conversation_id)) if is_shared else ("users", me)
    fresh_for = TEMPLATES[request.template].fresh_for
    return Push(
        group_id=request.template,
        recipients=recipients([reader], request.template, at_any_hour=True),
        message=say(key, reader.language, sender=sender.name or "", minutes=Count(within or 0)),
        deeplink=deeplink(*link),
        gcm_collapse_key=CollapseKey(f"{request.template}-{me}"),
        time_to_live=int(fresh_for.total_seconds()),
        fresh_for=fresh_for,
        sender=me,
        limits=[Limit(("to", to), MAX_PER_RECIPIENT)],
    )


# A field that is invalid names nobody.


def _member_ids(conversation: Document | None) -> set[str]:
    ids = understood(Document.valid_ids, conversation, "member_ids") if conversation else None
    return set(ids or ())


def _muted_by(conversation: Document | None) -> frozenset[str]:
    muted_by = understood(people_named, conversation, "muted_by") if conversation else None
    return muted_by or frozenset()


def _is_accepted(request: Document | None) -> bool:
    return request is not None and request.get("status") == "accepted"


# Reading the request. An error names one of our fields and repeats nothing that the app sent.


def read(call: CallableRequest) -> Request:
    """Raises `CallRefused` for the first invalid field."""
    if not call.data.keys() <= FIELDS:
        raise _invalid("data", f"must hold no more than {_listed({*FIELDS, 'request_id'})}")
    to = an_id(call.data.get("to"))
    if to is None:
        raise _invalid("to", ID.expected)
    if to == call.caller:
        raise _invalid("to", "must be another user")
    template = call.data.get("template")
    if not isinstance(template, str) or template not in TEMPLATES:
        raise _invalid("template", f"must be one of {_listed(TEMPLATES)}")
    return Request(to, template, _params(template, call.data.get("params")))


def _params(template: str, given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    allowed = TEMPLATES[template].params
    if not isinstance(given, dict):
        raise _invalid("params", "must be a map")
    if not given.keys() <= allowed.keys():
        raise _invalid("params", f"of {template} must hold no more than {_listed(allowed)}")
    params = {}
    for name, value in given.items():
        params[name] = allowed[name].read(value)
        if params[name] is None:
            raise _invalid(f"params.{name}", allowed[name].expected)
    return params


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))


def _invalid(field: str, problem: str) -> CallRefused:
    return CallRefused("invalid-argument", f"{field} {problem}")
