"""A person's id in a delivery record, and the record without it. Pure."""

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from batchpush.record import ERASED, Record, State, state_of

NOBODY = "(erased)"  # in the place of a person's id


@dataclass(frozen=True)
class Erasure:
    """A record without a person's id: what that takes, and what has to wait."""

    record: Record
    done: Sequence[str] = ()
    left: str | None = None


def without(person: str, record: Record, now: datetime) -> Erasure:
    """The record as it may be without the person.

    What is still to be sent keeps all that makes the push, but does not go to them.
    """
    if record.state is State.CLAIMED and not record.is_free(now):
        return Erasure(record, left="somebody is sending it: run this again in a minute")
    changed = record
    done: list[str] = []
    if record.state is State.WAITING:
        changed, done = _not_waited_for(person, record)
    elif not record.is_settled:
        changed, done = _unaddressed(person, record)
    if changed.is_settled:
        changed, more = _emptied(person, changed)
        done += more
    left = None
    if names(changed, person):
        left = "the id is in what is still to be sent: run this again once it is settled"
    if not done:
        return Erasure(record, left=left)
    # A new owner: whoever held the record must not take this write for their own.
    owner = secrets.token_hex(8)
    fresh = replace(changed, owner=owner, revision=record.revision + 1, updated_at=now)
    return Erasure(fresh, done, left)


def _unaddressed(person: str, record: Record) -> tuple[Record, list[str]]:
    """An unsettled record whose pushes do not go to the person."""
    bodies = [_without_recipient(person, body) for body in record.bodies]
    calls = [
        call.refused(ERASED) if call.is_pending and not _has_recipients(bodies[call.body]) else call
        for call in record.calls
    ]
    needed = {call.body for call in calls if call.is_pending}
    dropped = {
        number
        for number, body in enumerate(record.bodies)
        if number not in needed and body_names(body, person)
    }
    done = ["taken out of the recipients"] if tuple(bodies) != record.bodies else []
    done += [f"body {number} dropped" for number in sorted(dropped)]
    bodies = ["" if number in dropped else body for number, body in enumerate(bodies)]
    done += [
        f"{after.app} body {after.body} has no recipient left and is refused"
        for before, after in zip(record.calls, calls, strict=True)
        if before.state is not after.state
    ]
    changed = replace(record, calls=tuple(calls), bodies=tuple(bodies))
    if not needed:
        changed = replace(changed, state=state_of(calls), lease_until=None)
    return changed, done


def _not_waited_for(person: str, record: Record) -> tuple[Record, list[str]]:
    """A record that waits, but not to tell the person."""
    (body,) = (_without_recipient(person, body) for body in record.bodies)
    changed = replace(record, bodies=(body,))
    if not _has_recipients(body):
        changed = replace(changed, state=State.OBSOLETE, not_before=None, about=())
    return changed, ["taken out of the recipients"] if changed != record else []


def _emptied(person: str, record: Record) -> tuple[Record, list[str]]:
    """A settled record which names the person no more, and cannot be replayed any more."""
    segments = [NOBODY if each == person else each for each in record.document.split("/")]
    calls = [replace(call, problem=_scrubbed(call.problem, person)) for call in record.calls]
    nameless = replace(
        record,
        document="/".join(segments),
        reason=_scrubbed(record.reason, person),
        report_to=None if _is_in_path(person, record.report_to) else record.report_to,
        calls=tuple(calls),
    )
    done = ["bodies dropped"] if any(record.bodies) else []
    done += ["id replaced"] if nameless != record else []
    return replace(nameless, bodies=()), done


def _is_in_path(person: str, path: str | None) -> bool:
    return person in (path or "").split("/")


def names(record: Record, person: str) -> bool:
    """Whether the person's id stands in the record."""
    texts = (record.reason, *(call.problem for call in record.calls))
    return (
        _is_in_path(person, record.document)
        or any(_is_in_path(person, path) for path in (record.report_to, *record.about))
        or any(_scrubbed(text, person) != text for text in texts)
        or any(body_names(body, person) for body in record.bodies)
    )


def body_names(body: str, person: str) -> bool:
    """Whether the person is a recipient, or is named by anything but the words of the message.

    `ann` is found in `myapp://users/ann` and in `friend-request-ann`, also percent-encoded, and
    too often rather than not: in `friend-request-ann-marie` as well.
    """
    content = json.loads(body or "{}")
    content.pop("group_id", None)  # the handler's own word
    exact = list(strings([content.pop("recipients", None), content.pop("message", None)]))
    word = re.compile(
        "|".join(
            rf"(?<![^\W_]){re.escape(form)}(?![^\W_])"
            for form in (person, json.dumps(person, ensure_ascii=False)[1:-1])
        )
    )
    return person in exact or any(
        word.search(text) or word.search(unquote(text)) for text in strings(content)
    )


def strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value, but for the names in maps."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from strings(list(value.values()))
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)


def _scrubbed(text: str | None, person: str) -> str | None:
    """A sentence without the person's id where it stands in a path or in quotes."""
    return text and re.sub(rf"(?<=[/'\"`]){re.escape(person)}(?=[/'\"`:,.\s]|$)", NOBODY, text)


def _without_recipient(person: str, body: str) -> str:
    content = json.loads(body or "{}")
    lists = content.get("recipients", {})
    if not any(person in ids for ids in lists.values()):
        return body
    kept = {name: [each for each in ids if each != person] for name, ids in lists.items()}
    content["recipients"] = {name: ids for name, ids in kept.items() if ids}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def _has_recipients(body: str) -> bool:
    return any(json.loads(body or "{}").get("recipients", {}).values())
