"""The two rules files as gates: what they let through is done, and what they do not is not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from batchpush.documents import Reference
from tests.attack.agreement import Diff
from tests.attack.world import BACK_END, FIRESTORE_ONLY, START, WORLD
from tests.database_rules import SERVER_TIME, Database
from tests.firestore_rules import Firestore, nested
from tests.scenarios import NOW, Act, database_world

Documents = dict[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Step:
    """Something that was done: an update of the Realtime Database, and what became of documents."""

    who: str
    act: Act
    diffs: tuple[Diff, ...]
    update: Mapping[str, Any]
    is_honest: bool = False
    is_beside: bool = False  # its events come at the same time as those of the step before


class Gate(Protocol):
    name: str

    def begin(self) -> None:
        """Have the world as it is at the beginning."""

    def does(self, who: str | None, act: Act) -> Step | None:
        """Do it, if they may. Raises ValueError if the database cannot hold it."""


class FirestoreGate:
    name = "firestore"

    def __init__(self, firestore: Firestore, rules: str) -> None:
        self.firestore = firestore
        self.firestore.load(rules)
        self.documents: Documents = {}

    def begin(self) -> None:
        self.documents = {**WORLD, **FIRESTORE_ONLY}
        self.firestore.store(self.documents)

    def does(self, who: str | None, act: Act) -> Step | None:
        if who == BACK_END:
            self.firestore.write({act.path: act.fields})
        elif not self.firestore.may(who, act.does, act.path, act.fields):
            return None
        before = self.documents.get(act.path)
        after = _applied(before, act)
        if after is None:
            self.documents.pop(act.path, None)
        else:
            self.documents[act.path] = after
        return Step(who or "nobody", act, (Diff(act.path, before, after),), {})


def _applied(before: Mapping[str, Any] | None, act: Act) -> dict[str, Any] | None:
    if act.does == "delete":
        return None
    if act.does != "update":
        return {name: START if value is NOW else value for name, value in act.fields.items()}
    after = dict(before or {})
    for path, value in act.fields.items():
        name, _, inner = path.partition(".")
        if inner:
            held = after.get(name)
            value = {**(held if isinstance(held, dict) else {}), **nested({path: value})[name]}
            value = {key: each for key, each in value.items() if each is not None}
        after[name] = START if value is NOW else value
    return {name: value for name, value in after.items() if value is not None}


class DatabaseGate:
    name = "database"

    def __init__(self, rules: str) -> None:
        self.empty = Database(rules, None, int(START.timestamp() * 1000))
        self.database = self.empty

    def begin(self) -> None:
        self.database = self.empty.written(database_world(WORLD))

    def does(self, who: str | None, act: Act) -> Step | None:
        update = {path: _as_json(value) for path, value in act.database.items()}
        if who != BACK_END and not self.database.may_write(who, update):
            return None
        before, self.database = self.database, self.database.written(update)
        diffs = tuple(differences(before.root, self.database.root))
        return Step(who or "nobody", act, diffs, update)


def _as_json(value: Any) -> Any:
    """The value as an app would give it to the Realtime Database."""
    match value:
        case datetime():
            return int(value.timestamp() * 1000)
        case Reference():
            return str(value)
        case Mapping():
            return {str(key): _as_json(each) for key, each in value.items()}
        case list():
            return [_as_json(each) for each in value]
    return SERVER_TIME if value is NOW else value


def differences(before: Any, after: Any) -> Iterator[Diff]:
    """The documents that differ, between two trees of the Realtime Database."""
    was, now = documents(before), documents(after)
    for path in was.keys() | now.keys():
        if was.get(path) != now.get(path):
            yield Diff(path, was.get(path), now.get(path))


PLACES = {  # of collections below another
    "friend_requests": "users/{}/friend_requests",
    "friends": "users/{}/friends",
    "invitations": "conversations/{}/invitations",
    "messages": "conversations/{}/messages",
}


def documents(tree: Any) -> Documents:
    """What the tree holds, as Firestore would: its paths, and members in a list."""
    found: Documents = {}
    for collection, children in _children(tree):
        for name, child in _children(children):
            if collection in PLACES:
                place = PLACES[collection].format(name)
                found |= {f"{place}/{key}": _fields(value) for key, value in _children(child)}
            else:
                found[f"{collection}/{name}"] = _fields(child)
    return found


def _children(tree: Any) -> list[tuple[str, Any]]:
    return list(tree.items()) if isinstance(tree, dict) else []


def _fields(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        return {}
    if isinstance(members := value.get("members"), dict):
        return {**value, "member_ids": [key for key, is_in in members.items() if is_in is True]}
    return value
