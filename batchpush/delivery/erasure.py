"""Finds a person's ids in stored data, and removes them. Pure."""

import json
import re
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from functools import cached_property, lru_cache
from itertools import chain
from typing import Any
from urllib.parse import unquote

from batchpush.delivery.record import ERASED, DeliveryState, Record, state_of
from batchpush.delivery.waiting import name_of
from batchpush.google.sources import CALLABLE
from batchpush.pushes.push import ID_LISTS

NOBODY = "(erased)"  # replaces a person's id

# Hashes, nonces, days, and names from the code and the settings: these never hold a person's id.
OURS = frozenset(
    {"id", "function", "owner", "burst", "chunks", "later", "day"}  # of a record
    | {"bodies_until", "people", "people_until"}
    | {"app"}  # of a call
)

LONG = 16  # characters; an id this long means nothing else, like Firebase's and Batch's own


@dataclass(frozen=True)
class Person:
    """Every id of one person: the user id, and the ids that Batch has for them.

    People write their own profile, so its ids may be ordinary words such as `messages`. Those words
    are searched for only among recipients, among ids in paths, and in sentences.
    """

    named: frozenset[str]  # by the operator
    profile: frozenset[str] = frozenset()

    @classmethod
    def of(cls, *named: str, profile: Collection[str] = ()) -> "Person":
        return cls(frozenset(named), frozenset(profile))

    @cached_property
    def ids(self) -> frozenset[str]:
        return self.named | self.profile

    @cached_property
    def hidden(self) -> frozenset[str]:
        """The ids as records and bursts hide them."""
        return frozenset(name_of(id_list, each) for id_list in ID_LISTS for each in self.ids)

    @cached_property
    def distinct(self) -> frozenset[str]:
        """The ids without the profile's ordinary words: those with no digit and no @."""
        return self.named | {each for each in self.profile if re.search(r"[\d@]", each)}

    @cached_property
    def without_words(self) -> "Person":
        return Person(self.distinct)

    def out_of(self, text: str) -> str:
        """The text without the ids; it is decoded if an id is percent-encoded in it."""
        scrubbed = self._in_texts.sub(NOBODY, text)
        decoded = _decoded(scrubbed)
        return self._in_texts.sub(NOBODY, decoded) if self._in_texts.search(decoded) else scrubbed

    def out_of_path(self, path: str) -> str:
        """The path with the person's ids replaced; names of collections stay."""
        segments = path.split("/")
        # A Firestore path has an even number of segments, and every second one is an id.
        step = 1 if len(segments) % 2 else 2
        segments[1::step] = map(self.out_of_id, segments[1::step])
        return "/".join(segments)

    def out_of_id(self, text: str) -> str:
        """`ann` is not part of `ann-marie`, but a long id is found inside a composed one."""
        return NOBODY if {text, _decoded(text)} & self.ids else self._long.sub(NOBODY, text)

    def is_in_path(self, path: str | None) -> bool:
        return path is not None and self.out_of_path(path) != path

    def is_in_words(self, text: str) -> bool:
        """Whether the text has an id as a word: better one match too many, `ann` in `ann-marie`."""
        return bool(self._in_words.search(text) or self._in_words.search(_decoded(text)))

    @cached_property
    def _in_texts(self) -> re.Pattern[str]:
        """Matches an id that stands alone: between delimiters of paths, links, quotes and JSON.

        Also between spaces, unless it looks like an ordinary word or number.
        """
        return _any_of(chain.from_iterable(map(_standing_alone, self.ids)))

    def out_of_words(self, text: str) -> str:
        return self._in_words.sub(NOBODY, text)

    def is_unmistakably_in(self, text: str) -> bool:
        """Considers only ids so long that they cannot mean anything else."""
        return bool(self._long.search(text) or self._long.search(_decoded(text)))

    @cached_property
    def _in_words(self) -> re.Pattern[str]:
        return _any_of(map(_as_word, self.distinct))

    @cached_property
    def _long(self) -> re.Pattern[str]:
        return _any_of(_as_word(each) for each in self.distinct if len(each) >= LONG)


def _any_of(patterns: Iterator[str]) -> re.Pattern[str]:
    return re.compile("|".join(sorted(patterns, key=len, reverse=True)) or r"(?!)")


# What may follow an id that stands alone; the last alternative is the time in a cart's event id.
AFTER = r"""(?=\Z|[\s/'"`\\:,;?&#)\]}>|]|\.(?:\s|\Z)|@\d{4}-\d\d-\d\dT)"""


def _standing_alone(identifier: str) -> Iterator[str]:
    id_ = _forms(identifier)
    is_number = identifier.isdecimal() and len(identifier) < 8
    yield rf"\A{id_}\Z"
    yield rf"""(?<=[/'"`=(\[{{<]){id_}{AFTER}"""
    if len(identifier) >= 3 and not is_number:
        yield rf"(?:\A(?!{id_}\.\Z)|(?<=[\s,;:|])){id_}{AFTER}"  # `ann.` is another id
    if len(identifier) >= LONG:
        yield _as_word(identifier)


def _as_word(identifier: str) -> str:
    return rf"(?<![^\W_]){_forms(identifier)}(?![^\W_])"


def _forms(identifier: str) -> str:
    """A pattern for the id, raw or escaped as in JSON."""
    in_json = (json.dumps(identifier, ensure_ascii=each)[1:-1] for each in (False, True))
    return "(?:" + "|".join(map(re.escape, dict.fromkeys((identifier, *in_json)))) + ")"


def _decoded(text: str) -> str:
    """Remove percent-encoding, including that of an address encoded inside another."""
    for _ in range(3):
        text = unquote(text)
    return text


def profile_ids(profile: Mapping[str, Any]) -> set[str]:
    """The ids for Batch in a profile, whatever shape they are stored in."""
    return {each for each in strings(profile.get("batch")) if each.strip()}


@lru_cache
def _person(person: Person | str) -> Person:
    return Person.of(person) if isinstance(person, str) else person


# Of a record


@dataclass(frozen=True)
class Erasure:
    """A record without a person's ids, what was done to it, and what has to wait.

    `summary` is the path of a summary in Firestore that names the person and must be deleted.
    """

    record: Record
    done: Sequence[str] = ()
    left: str | None = None
    summary: str | None = None


def without(person: Person | str, record: Record, now: datetime) -> Erasure:
    """Erase the person, or a user id, from the record as far as possible now.

    A push still to be sent keeps its content but no longer goes to them. A push that they caused is
    no longer sent.
    """
    person = _person(person)
    if record.state is DeliveryState.CLAIMED and not record.is_free(now):
        return Erasure(record, left="it is being sent: run this again in a minute")
    changed = record
    done: list[str] = []
    if _is_only_theirs(person, record):
        changed, done = _refused(record)
    elif record.state is DeliveryState.WAITING:
        changed, done = _not_waited_for(person, record)
    elif not record.is_settled:
        changed, done = _unaddressed(person, record)
    if changed.is_settled:
        changed, more = _emptied(person, changed)
        done += more
    left = None
    if names(changed, person):
        left = "the id is in a push still to be sent: run this again once it is settled"
    if not done:
        return Erasure(record, left=left)
    # A new owner: the previous one must not mistake this write for its own.
    owner = secrets.token_hex(8)
    fresh = replace(changed, owner=owner, revision=record.revision + 1, updated_at=now)
    return Erasure(fresh, done, left, _summary_of(record, changed))


def _is_only_theirs(person: Person, record: Record) -> bool:
    """Whether it is still to be sent, and is only about what the person wrote.

    A push that waited may also be about what others wrote. It is composed when the wait is over,
    without documents deleted by then.
    """
    if record.is_settled or not _is_sender(person, record):
        return False
    if record.state is DeliveryState.WAITING:
        return not record.about and not record.burst
    return bool(record.calls) and record.waited_until is None


def _is_sender(person: Person, record: Record) -> bool:
    """Compare only ids the operator named: a profile must not claim to be another sender."""
    return not person.named.isdisjoint({_caller(record.source), record.sender})


def _caller(source: str) -> str | None:
    """The caller of a callable function; None for any other source."""
    if not source.startswith(CALLABLE):
        return None
    function_and_caller = source.removeprefix(CALLABLE).partition("/databases/")[0]
    return function_and_caller.partition("/")[2]


def _refused(record: Record) -> tuple[Record, list[str]]:
    """An unsettled record after its sender was erased."""
    calls = tuple(call.refused(ERASED) if call.is_pending else call for call in record.calls)
    state = state_of(calls) if calls else DeliveryState.REFUSED
    changed = replace(record, state=state, calls=calls, not_before=None, lease_until=None)
    return replace(changed, reason=ERASED), ["refused: they are its sender"]


def _unaddressed(person: Person, record: Record) -> tuple[Record, list[str]]:
    """An unsettled record without the person among its recipients."""
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
    done = ["removed from the recipients"] if tuple(bodies) != record.bodies else []
    done += [f"body {number} dropped" for number in sorted(dropped)]
    bodies = ["" if number in dropped else body for number, body in enumerate(bodies)]
    done += [
        f"{after.app} body {after.body} refused: it has no recipient left"
        for before, after in zip(record.calls, calls, strict=True)
        if before.state is not after.state
    ]
    changed = replace(record, calls=tuple(calls), bodies=tuple(bodies))
    if record.calls and not needed:
        changed = replace(changed, state=state_of(calls), lease_until=None)
    return changed, done


def _not_waited_for(person: Person, record: Record) -> tuple[Record, list[str]]:
    """A waiting record without the person among its recipients, and without their documents."""
    (body,) = record.bodies
    content = _pruned(json.loads(body), person.ids.__contains__)
    about = tuple(path for path in record.about if not person.is_in_path(path))
    done = ["removed from the recipients"] if content != json.loads(body) else []
    done += ["documents dropped"] if about != record.about else []
    if not done:
        return record, done
    changed = replace(record, bodies=(_json(content),), about=about)
    if not any(strings(content)):
        changed = replace(changed, state=DeliveryState.OBSOLETE, not_before=None, about=())
    return changed, done


def _emptied(person: Person, record: Record) -> tuple[Record, list[str]]:
    """A settled record that no longer names the person; without bodies if it was about them."""
    nameless = _nameless(person, record)
    done = []
    if _is_about(person, record) and any(record.bodies):
        done = ["bodies dropped"]
    bodies = () if _is_about(person, record) else record.bodies
    done += ["id replaced"] if nameless != record else []
    until = record.bodies_until if bodies else None
    return replace(nameless, bodies=bodies, bodies_until=until), done


def names(record: Record, person: Person | str) -> bool:
    """Whether the record holds one of the person's ids."""
    person = _person(person)
    return _is_about(person, record) or _nameless(person, record) != record


def _is_about(person: Person, record: Record) -> bool:
    """Whether the record is theirs, or names them anywhere but in an error text."""
    return (
        _is_sender(person, record)
        or any(map(person.is_in_path, (record.document, *record.about)))
        or _is_reported_to(person, record)
        or any(body_names(body, person) for body in record.bodies)
    )


def _is_reported_to(person: Person, record: Record) -> bool:
    """Whether the summary's path names them; not if it only extends the document's path."""
    path = record.report_to
    if path is None or path.startswith(f"{record.document}/"):
        return False
    return person.is_in_path(path)


def _nameless(person: Person, record: Record) -> Record:
    """The record without the ids in any of its texts; the bodies are handled elsewhere."""
    changes = {
        each.name: _mapped(getattr(record, each.name), person.out_of)
        for each in fields(record)
        if each.name not in OURS | {"bodies"}
    }
    is_in_report = person.is_in_path(record.document) or _is_reported_to(person, record)
    document = person.out_of_path(record.document)
    is_named_by_app = document.endswith(f"/{record.event_id}") and bool(_caller(record.source))
    if is_named_by_app and _is_about(person, record):
        changes["event_id"] = person.out_of_words(record.event_id)
        document = person.out_of_path(record.document.removesuffix(record.event_id))
        document += changes["event_id"]
    return replace(
        record,
        **changes
        | {
            "document": document,
            "about": tuple(map(person.out_of_path, record.about)),
            "source": _out_of_source(person, record.source),
            "report_to": None if is_in_report else record.report_to,
            "group_id": _group_without(person, record.group_id),
            "people": tuple(name for name in record.people if name not in person.hidden),
        },
    )


def _group_without(person: Person, group_id: str | None) -> str | None:
    """The group id, or None if it names the person: a changed one would request other results."""
    return None if group_id and person.without_words.out_of(group_id) != group_id else group_id


def _out_of_source(person: Person, source: str) -> str:
    """The source without the person, who can only be the caller of a callable function."""
    caller = _caller(source)
    if caller is None:
        return source
    before, _, database = source.rpartition(f"/{caller}/databases/")
    return f"{before}/{person.out_of_id(caller)}/databases/{database}"


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The value with every text changed, except in the fields of `OURS`."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, tuple | list):
        return type(value)(_mapped(each, change) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        texts = [each.name for each in fields(value) if each.name not in OURS]
        return replace(value, **{name: _mapped(getattr(value, name), change) for name in texts})
    return value


def _summary_of(record: Record, changed: Record) -> str | None:
    """The path of a summary in Firestore that names the person; it outlives its document."""
    is_other = changed.report_to is None or changed.summary() != record.summary()
    return record.report_to if record.is_in_firestore and changed.is_settled and is_other else None


# Of a body


def body_names(body: str, person: Person | str) -> bool:
    """Whether the person is a recipient, or is named anywhere but in the words of the message.

    `ann` is found in `myapp://users/ann` and in `friend-request-ann`, percent-encoded or not. It
    errs on the side of a match: `friend-request-ann-marie` has one, too.
    """
    person = _person(person)
    content = json.loads(body or "{}")
    if not person.ids.isdisjoint(strings(content.pop("recipients", None))):
        return True
    if any(map(person.is_unmistakably_in, strings(content, keys=True))):
        return True
    content.pop("group_id", None)  # the handler chose it
    message = strings(content.pop("message", None))
    return not person.distinct.isdisjoint(message) or any(map(person.is_in_words, strings(content)))


def strings(value: Any, keys: bool = False) -> Iterator[str]:
    """Every string in a JSON value and in JSON nested in its strings; `keys` includes map keys."""
    if isinstance(value, str):
        yield value
        yield from strings(_of_json(value), keys)
    elif isinstance(value, Mapping):
        yield from strings([*value, *value.values()] if keys else [*value.values()], keys)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each, keys)


def _of_json(text: str) -> Any:
    """The value of a text that is JSON itself, such as a custom payload."""
    try:
        return json.loads(text) if text.startswith(("{", "[")) else None
    except (ValueError, RecursionError):
        return None


def _without_recipient(person: Person, body: str) -> str:
    content = json.loads(body or "{}")
    recipients = _pruned(content.get("recipients", {}), person.ids.__contains__)
    return (
        _json(content | {"recipients": recipients})
        if recipients != content.get("recipients", {})
        else body
    )


def _has_recipients(body: str) -> bool:
    """Whether a body that is still to be sent goes to somebody."""
    return any(json.loads(body)["recipients"].values())


def _pruned(value: Any, is_out: Callable[[str], bool]) -> Any:
    """The JSON value without some strings in its lists, and without lists that become empty."""
    if isinstance(value, list):
        return [each for each in value if not isinstance(each, str) or not is_out(each)]
    if isinstance(value, dict):
        pruned = {key: _pruned(each, is_out) for key, each in value.items()}
        return {key: each for key, each in pruned.items() if each != [] or value[key] == []}
    return value


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


# Of a digest and a burst


def is_item_of(person: Person, item: Mapping[str, Any]) -> bool:
    """Whether an item of a digest is for the person, or about a document that names them."""
    return item["person"] in person.ids or person.is_in_path(item["document"])


def burst_without(person: Person, burst: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a burst that change when the person's windows and documents are removed."""
    changed = {name: _pruned(value, person.is_in_path) for name, value in burst.items()}
    changed["about"] = {
        name: _without_writers(person, burst["about"][name], left)
        for name, left in changed.get("about", {}).items()
    }
    windows = burst.get("windows", {})
    changed["windows"] = {name: each for name, each in windows.items() if name not in person.hidden}
    return {name: value for name, value in changed.items() if value != burst.get(name, {})}


def _without_writers(person: Person, joined: Any, left: Any) -> Any:
    """What is left of what joined a delivery; who wrote it is known of all of it or of none."""
    if not isinstance(left, dict) or not joined.get("by"):
        return left
    is_whole = left == joined and person.hidden.isdisjoint(joined["by"])
    return left if is_whole else left | {"by": []}
