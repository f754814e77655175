"""A person's ids in what is stored, and the same without them. Pure."""

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

from batchpush.delivery.record import ERASED, Record, State, state_of
from batchpush.delivery.waiting import name_of
from batchpush.pushes.push import ID_LISTS

NOBODY = "(erased)"  # in the place of a person's id

# Hashes, nonces, days, and names from the code and the settings: no id of a person gets there.
OURS = frozenset(
    {"id", "function", "owner", "burst", "chunks", "later", "bodies_until"}  # of a record
    | {"app"}  # of a call
)

LONG = 16  # characters of an id that stands for nothing else, as Firebase's and Batch's own do
CALLABLE = "//firebase.callable/"  # how the source of a call begins; then function and caller


@dataclass(frozen=True)
class Person:
    """Everything that one person is called: the user id, and the ids that Batch has of them.

    Their profile is theirs to write, and what it holds may be anything's name. So of its words,
    such as `messages`, no more is looked for than recipients, ids in paths, and what sentences say.
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
    def distinct(self) -> frozenset[str]:
        """Without the words of the profile, which have no digit and are no mail address."""
        return self.named | {each for each in self.profile if re.search(r"[\d@]", each)}

    @cached_property
    def without_words(self) -> "Person":
        return Person(self.distinct)

    def out_of(self, text: str) -> str:
        """A text without the ids: an address that holds one in percent-encoding is decoded."""
        scrubbed = self._in_texts.sub(NOBODY, text)
        decoded = _decoded(scrubbed)
        return self._in_texts.sub(NOBODY, decoded) if self._in_texts.search(decoded) else scrubbed

    def out_of_path(self, path: str) -> str:
        """The path without the ids of documents that are the person's; collections stay."""
        segments = path.split("/")
        # In Firestore every second segment is an id, and there is an even number of them.
        step = 1 if len(segments) % 2 else 2
        segments[1::step] = map(self.out_of_id, segments[1::step])
        return "/".join(segments)

    def out_of_id(self, text: str) -> str:
        """`ann` is not in `ann-marie`, but an id that is long is in one that is made with it."""
        return NOBODY if {text, _decoded(text)} & self.ids else self._long.sub(NOBODY, text)

    def is_in_path(self, path: str | None) -> bool:
        return path is not None and self.out_of_path(path) != path

    def is_in_words(self, text: str) -> bool:
        """`ann` is in `friend-request-ann`, and too often rather than not in `ann-marie`."""
        return bool(self._in_words.search(text) or self._in_words.search(_decoded(text)))

    @cached_property
    def _in_texts(self) -> re.Pattern[str]:
        """Where an id stands for itself: between the marks of paths, links, quotes and JSON.

        Also between blanks, unless sentences have such words and numbers of their own.
        """
        return _any_of(chain.from_iterable(map(_standing_alone, self.ids)))

    def out_of_words(self, text: str) -> str:
        return self._in_words.sub(NOBODY, text)

    def is_unmistakably_in(self, text: str) -> bool:
        """Only of ids that are so long that nothing else is called so."""
        return bool(self._long.search(text) or self._long.search(_decoded(text)))

    @cached_property
    def _in_words(self) -> re.Pattern[str]:
        return _any_of(map(_as_word, self.distinct))

    @cached_property
    def _long(self) -> re.Pattern[str]:
        return _any_of(_as_word(each) for each in self.distinct if len(each) >= LONG)


def _any_of(patterns: Iterator[str]) -> re.Pattern[str]:
    return re.compile("|".join(sorted(patterns, key=len, reverse=True)) or r"(?!)")


# What may follow an id that stands alone; last, the time in the event of a cart.
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
    """An id as it is, and as JSON texts have it."""
    in_json = (json.dumps(identifier, ensure_ascii=each)[1:-1] for each in (False, True))
    return "(?:" + "|".join(map(re.escape, dict.fromkeys((identifier, *in_json)))) + ")"


def _decoded(text: str) -> str:
    """Without percent-encoding, also where an address was encoded into another."""
    for _ in range(3):
        text = unquote(text)
    return text


def profile_ids(profile: Mapping[str, Any]) -> set[str]:
    """The ids that a profile has for Batch, in whatever form it has them."""
    return {each for each in strings(profile.get("batch")) if each.strip()}


@lru_cache
def _person(person: Person | str) -> Person:
    return Person.of(person) if isinstance(person, str) else person


# Of a record


@dataclass(frozen=True)
class Erasure:
    """A record without a person's ids: what that takes, and what has to wait.

    `summary` is the path of a summary in Firestore that names them, to be deleted with it.
    """

    record: Record
    done: Sequence[str] = ()
    left: str | None = None
    summary: str | None = None


def without(person: Person | str, record: Record, now: datetime) -> Erasure:
    """The record as it may be without the person, or without a user id.

    What is still to be sent keeps all that makes the push, but does not go to them; what they
    wrote themselves is not sent any more.
    """
    person = _person(person)
    if record.state is State.CLAIMED and not record.is_free(now):
        return Erasure(record, left="somebody is sending it: run this again in a minute")
    changed = record
    done: list[str] = []
    if _is_only_theirs(person, record):
        changed, done = _refused(record)
    elif record.state is State.WAITING:
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
    return Erasure(fresh, done, left, _summary_of(record, changed))


def _is_only_theirs(person: Person, record: Record) -> bool:
    """Whether it is still to be sent, and tells of nothing but what the person wrote.

    A push that has waited may tell what others wrote too. It is made when the wait is over, and
    not of documents that are deleted by then.
    """
    if record.is_settled or not _is_sender(person, record):
        return False
    if record.state is State.WAITING:
        return not record.about and not record.burst
    return bool(record.calls) and record.waited_until is None


def _is_sender(person: Person, record: Record) -> bool:
    """A sender is a user, and no profile makes one of somebody else."""
    return not person.named.isdisjoint({_caller(record.source), record.sender})


def _caller(source: str) -> str | None:
    """Who called a callable function; None for any other source."""
    function_and_caller = source.removeprefix(CALLABLE).rpartition("/databases/")[0]
    return function_and_caller.partition("/")[2] if source.startswith(CALLABLE) else None


def _refused(record: Record) -> tuple[Record, list[str]]:
    """An unsettled record whose sender is no more."""
    calls = tuple(call.refused(ERASED) if call.is_pending else call for call in record.calls)
    state = state_of(calls) if calls else State.REFUSED
    changed = replace(record, state=state, calls=calls, not_before=None, lease_until=None)
    return replace(changed, reason=ERASED), ["refused, since they are its sender"]


def _unaddressed(person: Person, record: Record) -> tuple[Record, list[str]]:
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
    if record.calls and not needed:
        changed = replace(changed, state=state_of(calls), lease_until=None)
    return changed, done


def _not_waited_for(person: Person, record: Record) -> tuple[Record, list[str]]:
    """A record that waits, but not to tell the person, nor of their documents."""
    (body,) = record.bodies
    content = _pruned(json.loads(body), person.ids.__contains__)
    about = tuple(path for path in record.about if not person.is_in_path(path))
    done = ["taken out of the recipients"] if content != json.loads(body) else []
    done += ["documents dropped"] if about != record.about else []
    if not done:
        return record, done
    changed = replace(record, bodies=(_json(content),), about=about)
    if not any(strings(content)):
        changed = replace(changed, state=State.OBSOLETE, not_before=None, about=())
    return changed, done


def _emptied(person: Person, record: Record) -> tuple[Record, list[str]]:
    """A settled record which names the person no more; what was about them cannot be replayed."""
    nameless = _nameless(person, record)
    done = []
    if _is_about(person, record) and any(record.bodies):
        done = ["bodies dropped"]
    bodies = () if _is_about(person, record) else record.bodies
    done += ["id replaced"] if nameless != record else []
    until = record.bodies_until if bodies else None
    return replace(nameless, bodies=bodies, bodies_until=until), done


def names(record: Record, person: Person | str) -> bool:
    """Whether one of the person's ids stands in the record."""
    person = _person(person)
    return _is_about(person, record) or _nameless(person, record) != record


def _is_about(person: Person, record: Record) -> bool:
    """Whether it is theirs, or names them by more than a sentence of what went wrong."""
    is_waiting = record.state is State.WAITING
    return (
        _is_sender(person, record)
        or any(map(person.is_in_path, (record.document, *record.about)))
        or _is_reported_to(person, record)
        or any(
            _is_waited_for(person, body) if is_waiting else body_names(body, person)
            for body in record.bodies
        )
    )


def _is_reported_to(person: Person, record: Record) -> bool:
    """Whether they are in the path of the summary, of which we add the end to the document's."""
    path = record.report_to
    return bool(path) and not _is_below(path, record.document) and person.is_in_path(path)


def _is_below(path: str | None, document: str) -> bool:
    return path is not None and path.startswith(f"{document}/")


def _nameless(person: Person, record: Record) -> Record:
    """The record without the ids, wherever a text can hold one; its bodies are another matter."""
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
        },
    )


def _group_without(person: Person, group_id: str | None) -> str | None:
    """None in the place of a name, since results are asked for by it."""
    return None if group_id and person.without_words.out_of(group_id) != group_id else group_id


def _out_of_source(person: Person, source: str) -> str:
    """Only the caller of a callable function is in a source."""
    caller = _caller(source)
    if caller is None:
        return source
    before, _, database = source.rpartition(f"/{caller}/databases/")
    return f"{before}/{person.out_of_id(caller)}/databases/{database}"


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """A value with all of its texts changed, but for those of ours."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, tuple | list):
        return type(value)(_mapped(each, change) for each in value)
    if isinstance(value, Mapping):
        return {_mapped(key, change): _mapped(each, change) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        texts = [each.name for each in fields(value) if each.name not in OURS]
        return replace(value, **{name: _mapped(getattr(value, name), change) for name in texts})
    return value


def _summary_of(record: Record, changed: Record) -> str | None:
    """Where Firestore has a summary that names the person; one below a document outlives it."""
    is_other = changed.report_to is None or changed.summary() != record.summary()
    return record.report_to if record.is_in_firestore and changed.is_settled and is_other else None


# Of a body


def body_names(body: str, person: Person | str) -> bool:
    """Whether the person is a recipient, or is named by anything but the words of the message.

    `ann` is found in `myapp://users/ann` and in `friend-request-ann`, also percent-encoded, and
    too often rather than not: in `friend-request-ann-marie` as well.
    """
    person = _person(person)
    content = json.loads(body or "{}")
    if not person.ids.isdisjoint(strings(content.pop("recipients", None))):
        return True
    if any(map(person.is_unmistakably_in, strings(content, keys=True))):
        return True
    content.pop("group_id", None)  # the handler's own word
    message = strings(content.pop("message", None))
    return not person.distinct.isdisjoint(message) or any(map(person.is_in_words, strings(content)))


def strings(value: Any, keys: bool = False) -> Iterator[str]:
    """Every string in a JSON value, also in the JSON of a string; the names in maps on request."""
    if isinstance(value, str):
        yield value
        yield from strings(_of_json(value), keys)
    elif isinstance(value, Mapping):
        yield from strings([*value, *value.values()] if keys else [*value.values()], keys)
    elif isinstance(value, list):
        for each in value:
            yield from strings(each, keys)


def _of_json(text: str) -> Any:
    """What a text holds that is JSON itself, such as a custom payload."""
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
    return any(json.loads(body or "{}").get("recipients", {}).values())


def _is_waited_for(person: Person, body: str) -> bool:
    return not person.ids.isdisjoint(strings(json.loads(body)))


def _pruned(value: Any, is_out: Callable[[str], bool]) -> Any:
    """A JSON value without some strings in its lists; a list that they leave empty goes too."""
    if isinstance(value, list):
        return [
            _pruned(each, is_out) for each in value if not isinstance(each, str) or not is_out(each)
        ]
    if isinstance(value, dict):
        pruned = {key: _pruned(each, is_out) for key, each in value.items()}
        return {key: each for key, each in pruned.items() if each != [] or value[key] == []}
    return value


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


# Of a burst


def burst_without(person: Person, burst: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a burst that change: the person's windows and their documents are not in it."""
    hidden = {name_of(id_list, each) for id_list in ID_LISTS for each in person.ids}
    changed = {name: _pruned(value, person.is_in_path) for name, value in burst.items()}
    windows = burst.get("windows", {})
    changed["windows"] = {name: each for name, each in windows.items() if name not in hidden}
    return {name: value for name, value in changed.items() if value != burst.get(name, {})}
