"""Writes as no app makes them, by a seeded chance: what is allowed, with something wrong about it.

Each begins as an act of somebody who may do it, or nearly. Then its author, its path or its values
are changed, mostly once. What was accepted is remembered, and attacked next.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar

from batchpush.documents import Reference
from handlers.categories import CATEGORIES
from tests.attack.agreement import Agreement, Diff
from tests.attack.world import ATTACKERS, BACK_END, CROWD, HONEST_PEOPLE, PEOPLE, WORLD
from tests.garbage import FIELDS, Garbage, deep
from tests.scenarios import (
    NOBODY,
    NOW,
    Act,
    answers,
    asks,
    befriends,
    database_path,
    forgets,
    has_members,
    invites,
    says,
    sets,
    starts,
    withdraws,
)

Who = str | None
Chosen = TypeVar("Chosen")


class Hostile(NamedTuple):
    """An act, who does it, and what kind it began as."""

    kind: str
    who: Who
    act: Act


VICTIMS = (*HONEST_PEOPLE, "nobody-there", "max-at-batch")
ODD_IDS = (
    *(
        "..",
        ".",
        "__x__",
        "a b",
        "a\nb",
        "%2e%2e",
        "%76ann",
        "ann%2Fx",
        "Ann",
        "ANN",
        " ann",
        "ann ",
    ),
    *("é", "😀" * 20, "\u202eann", "an\u200bn", "０", "0", "1", "x" * 129, "é" * 400),
)
JOURNEY = {"number": "B1", "departs_at": "2030-06-01T11:05:00Z", "passenger_ids": ["ann", "bob"]}
CLOSED: Mapping[str, Mapping[str, Any]] = {  # what back ends write, as it would be pushed
    "accounts": {"spent": 10, "credit_limit": 5},
    "games": {"current_player_id": "ann", "name": "Chess"},
    "orders": {"status": "delivered", "customer_id": "ann"},
    "flights": {"status": "delayed", **JOURNEY},
    "trains": {"status": "cancelled", **JOURNEY},
    "pushes": {
        "group_id": "g",
        "recipients": {"custom_ids": ["ann"]},
        "message": {"body": "Hello"},
    },
    "push_texts": {"new_message": {"title": "Hello", "body": "{text}"}},
    "campaigns": {"name": "Sale", "push_time": "now", "messages": {"en": {"body": "Sale"}}},
    "articles": {"published": True, "topics": ["ski"], "title": "Snow"},
    "offers": {"open": True, "segments": ["new"], "title": "Offer"},
    "batch_deliveries": {"state": "RETRY", "document": "conversations/pair/messages/m"},
    "batch_bursts": {"until": 1, "about": {}},
    "batch_digests": {"digest": "d", "person": "ann"},
    "batch_limits": {"calls": 1000},
    "batch_looks": {"until": 1},
    "batch_stats": {"sent": 1},
    "friends": {"since": 2026},
    "elsewhere": {"a": 1},
}
BELOW = ("delivery/state", "deliveries/d", "batch/ios", "batch_delivery_parts/0", "messages/m")
HUGE: tuple[Any, ...] = (
    *("x" * 4000, "x" * 4001, "é" * 4000, "x" * 100_000, "\u200b" * 50, "https://a/" + "x" * 2039),
    *(["ann"] * 1001, [f"u{number}" for number in range(1001)], list(PEOPLE), ["ann", "ann"]),
    *(deep(8), deep(18), {str(number): True for number in range(300)}, [[]], [None], {}, []),
)
TIMES = (
    *(datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)),
    *(datetime(2020, 1, 1, tzinfo=UTC), datetime(2038, 1, 20, tzinfo=UTC)),
)
REFERENCES = (Reference("users/ann"), Reference("users/ann/friends/bob"), Reference("a/b"))


class Attack:
    """`database` is "firestore" or "database", for what only one of them has."""

    def __init__(self, seed: str, database: str) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - the same attack each time
        self.garbage = Garbage(self.chance.randrange(2**32))
        self.is_firestore = database == "firestore"
        self.new = 0
        self.members: dict[str, list[str]] = {}
        self.messages: dict[tuple[str, str], str] = {}  # who sent each
        self.requests: set[tuple[str, str]] = set()
        self.agreement = Agreement({})
        self.saw(BACK_END, [Diff(path, None, fields) for path, fields in WORLD.items()])
        self.templates: tuple[tuple[int, Callable[[str], Hostile]], ...] = (
            (8, self._message),
            (4, self._mark),
            (2, self._unsaid),
            (5, self._conversation),
            (5, self._joins_or_leaves),
            (3, self._mutes),
            (4, self._invitation),
            (4, self._asks),
            (5, self._answers),
            (4, self._withdraws),
            (1, self._befriends),
            (6, self._profile),
            (4, self._closed),
            (1, self._notification),
            *([(2, self._cart), (2, self._follows)] if self.is_firestore else []),
        )

    def saw(self, who: str, diffs: Sequence[Diff]) -> None:
        """What was accepted, of anybody, can be attacked next."""
        self.agreement.saw(who, diffs)
        for path, _, after in diffs:
            match path.split("/"):
                case ["conversations", conversation_id]:
                    listed = (after or {}).get("member_ids") or []
                    self.members[conversation_id] = list(listed)
                case ["conversations", conversation_id, "messages", message_id]:
                    sender = str((after or {}).get("sender_id"))
                    self.messages[conversation_id, message_id] = sender
                case ["users", user_id, "friend_requests", sender_id]:
                    self.requests.add((user_id, sender_id))

    def next(self) -> Hostile:
        makers = [make for _, make in self.templates]
        (make,) = self.chance.choices(makers, [weight for weight, _ in self.templates])
        hostile = make(self._one((*ATTACKERS, "cat", "dan")))
        for _ in range(self.chance.choices((0, 1, 2, 4), (35, 40, 20, 5))[0]):
            hostile = self._mutated(hostile)
        return hostile

    def burst(self, number: int, size: int) -> list[Hostile]:
        """One person who does one thing again and again: one of four, by turns."""
        me = self._one(ATTACKERS)
        match number % 4:
            case 0:
                me, _ = self._inside(me, always=True)
                return [self._message(me, self._places_of(me)) for _ in range(size)]
            case 1:
                me, place = self._inside(me, always=True)
                said = [self._message(me, [place]) for _ in range(size // 2)]
                return [*said, *(each._replace(act=_delete(each.act.path)) for each in said)]
            case 2:
                everybody = [*VICTIMS, *CROWD, *VICTIMS][:size]
                return [Hostile("request", me, asks(user_id, me)) for user_id in everybody]
        path = self._any_request(me)
        acts = (asks(*path), withdraws(*path), forgets(*path))
        return [Hostile("request", me, acts[each % 3]) for each in range(size)]

    # As somebody may do it, or nearly

    def _message(self, me: str, places: Sequence[str] = ()) -> Hostile:
        me, conversation_id = (me, self._one(places)) if places else self._inside(me)
        message: dict[str, Any] = {"sender_id": me, "text": self._one(("Hi", "👋", "x" * 4000))}
        if self._is(0.3):
            members = self.members[conversation_id] or ["ann"]
            message["recipient_ids"] = self._some(members if self._is(0.7) else [*VICTIMS])
        if self._is(0.2):
            message["image_url"] = "https://example.com/p.jpg"
        if self._is(0.2):
            message["sent_at"] = NOW
        if self._is(0.2):
            message["unread_message"] = self._is(0.5)
        return Hostile("message", me, says(message, self._new("m"), conversation_id))

    def _places_of(self, me: str) -> list[str]:
        return [each for each, members in self.members.items() if me in members]

    def _inside(self, me: str, always: bool = False) -> tuple[str, str]:
        """Mostly somebody and a conversation that they are in, with honest people rather."""
        inside = [
            (each, conversation_id)
            for conversation_id, members in self.members.items()
            for each in members
            for _ in range(4 if f"conversations/{conversation_id}" in WORLD else 1)
            if each in ATTACKERS
        ]
        if inside and (always or self._is(0.75)):
            return self._one(inside)
        return me, self._one([*self.members])

    def _mark(self, me: str) -> Hostile:
        me, place = self._inside(me)
        found = [each for each, who in self.messages.items() if each[0] == place and who != me]
        conversation_id, message_id = self._one(found or [*self.messages])
        marks = [me, self._one(VICTIMS)] if self._is(0.2) else [self._me_or(me)]
        mark = {f"unread_by.{who}": self._is(0.7) for who in marks}
        path = f"conversations/{conversation_id}/messages/{message_id}"
        return Hostile("mark", me, _update(path, mark))

    def _unsaid(self, me: str) -> Hostile:
        own = [each for each, sender in self.messages.items() if sender == me]
        conversation_id, message_id = self._one(own or [*self.messages])
        path = f"conversations/{conversation_id}/messages/{message_id}"
        return Hostile("unsaid message", me, _delete(path))

    def _conversation(self, me: str) -> Hostile:
        friends = [each for each in PEOPLE if self.agreement.are_friends(me, each)]
        nearly = friends if friends and self._is(0.6) else [*VICTIMS, *ATTACKERS]
        others = self._some(nearly, 3)
        members = list(dict.fromkeys([me, *(others if self._is(0.7) else [])]))
        muted_by = (me,) if self._is(0.2) else ()
        return Hostile("conversation", me, starts(self._new("c"), *members, muted_by=muted_by))

    def _joins_or_leaves(self, me: str) -> Hostile:
        invited = [place for place, who in sorted(self.agreement.invited) if who == me]
        conversation_id = self._one(invited if invited and self._is(0.5) else [*self.members])
        members, who = self.members[conversation_id], self._me_or(me)
        after = [each for each in members if each != who] if who in members else [*members, who]
        act = has_members(who, *after, conversation_id=conversation_id)
        return Hostile("join or leave", me, act)

    def _mutes(self, me: str) -> Hostile:
        me, conversation_id = self._inside(me)
        path, who = f"conversations/{conversation_id}", self._me_or(me)
        is_muted = True if self._is(0.7) else None
        fields = {"muted_by": [who] if is_muted else []}
        return Hostile(
            "mute", me, Act("update", path, fields, {f"{path}/muted_by/{who}": is_muted})
        )

    def _invitation(self, me: str) -> Hostile:
        me, conversation_id = self._inside(me)
        who = self._one((*VICTIMS, *ATTACKERS))
        act = invites(who, conversation_id)
        return Hostile("invitation", me, act if self._is(0.8) else _delete(act.path))

    def _asks(self, me: str) -> Hostile:
        return Hostile("request", me, asks(self._one((*VICTIMS, *ATTACKERS)), me))

    def _answers(self, me: str) -> Hostile:
        of_me = sorted(each for each in self.requests if each[0] == me)
        path = self._one(of_me or sorted(self.requests))
        return Hostile("answer", me, answers(path[0], path[1], self._one(("accepted", "declined"))))

    def _withdraws(self, me: str) -> Hostile:
        path = self._any_request(me)
        return Hostile("withdrawal", me, self._one((withdraws, forgets))(*path))

    def _any_request(self, me: str) -> tuple[str, str]:
        by_me = sorted(each for each in self.requests if each[1] == me)
        return self._one(by_me or [(self._one(VICTIMS), me)])

    def _befriends(self, me: str) -> Hostile:
        one, other = self.chance.sample([me, self._one(VICTIMS)], 2)
        return Hostile("friend", me, befriends(one, other))

    def _profile(self, me: str) -> Hostile:
        # Allowed, however odd.
        choices: dict[str, tuple[Any, ...]] = {
            "display_name": ("", "Ann", "x" * 100, "\u202e\u200b", "{sender}", "%s\n", "\x00"),
            "language": ("fr", "zz", "..", "_" * 35, "fr_FR.UTF-8"),
            "time_zone": ("UTC", "/", "America", "-" * 64, "../../etc/passwd", "Etc/GMT+12"),
            "push_muted": (True, False),
            "push_preferences": (
                {self._one(sorted(CATEGORIES)): self._one((True, False, "18:00", "Friday 09:00"))},
            ),
            "quiet_hours": (
                {"start": "00:00", "end": "23:59"},
                {"start": "12:00", "end": "12:00", "enabled": self._is(0.5)},
            ),
            "batch": (
                {"custom_ids": [me]},
                {"custom_ids": [self._one(VICTIMS)]},
                {"install_ids": [f"{me}-phone-{number}" for number in range(5)]},
                {"install_ids": [f"{me:!<128}"], "custom_ids": [me]},
            ),
        }
        fields = {name: self._one(choices[name]) for name in self._some(sorted(choices), 3)}
        return Hostile("profile", me, sets(self._me_or(me), fields))

    def _closed(self, me: str) -> Hostile:
        collection = self._one([*CLOSED])
        path = f"{collection}/{self._one((*VICTIMS, 'a', 'p', 'g', 'f', 'k', 'fr'))}"
        if self._is(0.2):
            path += f"/{self._one(BELOW)}"
        fields = CLOSED[collection]
        act = self._one((_set(path, fields), _update(path, fields), _delete(path)))
        return Hostile("what back ends write", me, act)

    def _notification(self, me: str) -> Hostile:
        path = f"users/{self._me_or(me)}/notifications/d1"
        act = _update(path, {"read": self._is(0.5)}) if self._is(0.7) else _delete(path)
        return Hostile("notification", me, act)

    def _cart(self, me: str) -> Hostile:
        cart = {"items": self._one((["hat"], [], [{"a": [1, None]}] * 200)), "updated_at": NOW}
        return Hostile("cart", me, Act("set", f"carts/{self._me_or(me)}", cart, {}))

    def _follows(self, me: str) -> Hostile:
        path = f"topics/{self._one(('ski', 'é', 'x' * 128))}/followers/{self._me_or(me)}"
        act = Act("create", path, {}, {}) if self._is(0.7) else _delete(path)
        return Hostile("follower", me, act)

    # With something wrong about it

    def _mutated(self, hostile: Hostile) -> Hostile:
        if self._is(0.15):
            return hostile._replace(who=self._one((*ATTACKERS, NOBODY)))
        if hostile.who and self._is(0.3):
            return hostile._replace(act=self._about_another(hostile.act, hostile.who))
        if self.is_firestore:
            return hostile._replace(act=self._other_fields(hostile.act))
        return hostile._replace(act=self._other_update(hostile.act))

    def _about_another(self, act: Act, me: str) -> Act:
        """The same in somebody else's name: in the path, or in the values."""
        other = self._one((*VICTIMS, *ATTACKERS))
        if self._is(0.5):
            return act._replace(
                fields=_renamed(act.fields, me, other),
                database={path: _renamed(value, me, other) for path, value in act.database.items()},
            )
        return act._replace(
            path=_in_path(act.path, me, other),
            database={_in_path(path, me, other): value for path, value in act.database.items()},
        )

    def _other_fields(self, act: Act) -> Act:
        fields = dict(act.fields)
        match self.chance.randrange(6):
            case 0:
                return act._replace(path=self._other_path(act.path))
            case 1:
                return act._replace(does=self._one(("create", "update", "set", "delete")))
            case 2 if fields:
                del fields[self._one(sorted(fields))]
            case 3 if fields:
                name = self._one(sorted(fields))
                fields[name] = self._within(fields[name])
            case 4 if fields:
                fields[self._one(sorted(fields))] = self._value()
            case _:
                fields[self._one(FIELDS)] = self._value()
        return act._replace(fields=_without_overlap(fields))

    def _other_update(self, act: Act) -> Act:
        update = dict(act.database)
        path = self._one(sorted(update))
        value = update.pop(path)
        match self.chance.randrange(7):
            case 0:
                update[self._other_path(path)] = value
            case 1:
                update[path] = None
            case 2 if isinstance(value, Mapping) and value:
                name = self._one(sorted(value))
                update[f"{path}/{name}"] = value[name]
            case 3:
                above, _, name = path.rpartition("/")
                update[above or path] = {name: value}
            case 4:
                update[path] = self._within(value)
            case 5:
                update[path] = self._value()
            case _:
                other = self.next().act.database
                update = {path: value, **other}
        return act._replace(database=update)

    def _other_path(self, path: str) -> str:
        segments = path.split("/")
        ids = (*VICTIMS, *ATTACKERS, *self.members, *ODD_IDS)
        segments[self.chance.randrange(len(segments))] = self._one(ids)
        return "/".join(segments)

    def _within(self, value: Any) -> Any:
        """The value with something else in it."""
        if isinstance(value, Mapping):
            name = self._one((*sorted(map(str, value)), *PEOPLE[:6], self._one(FIELDS)))
            return {**value, name: self._within(value.get(name))}
        if isinstance(value, list):
            at = self.chance.randrange(len(value) + 1)
            return [*value[:at], self._value(), *value[at + self.chance.randrange(2) :]]
        return self._value()

    def _value(self) -> Any:
        kind = self.chance.random()
        if kind < 0.35:
            return self._one((*VICTIMS, *ATTACKERS, *ODD_IDS))
        if kind < 0.5:
            return self._one((True, False, None, "accepted", "pending", "withdrawn"))
        if kind < 0.65:
            return self._one(HUGE)
        if kind < 0.75:
            return self._one((NOW, *TIMES, *REFERENCES))
        return self.garbage.value()

    # Chance

    def _is(self, often: float) -> bool:
        return self.chance.random() < often

    def _one(self, choices: Sequence[Chosen]) -> Chosen:
        return self.chance.choice(choices)

    def _some(self, choices: list[str], at_most: int = 5) -> list[str]:
        number = self.chance.randint(1, min(at_most, len(choices)))
        return self.chance.sample(choices, number)

    def _me_or(self, me: str) -> str:
        return self._one(VICTIMS) if self._is(0.25) else me

    def _new(self, prefix: str) -> str:
        """An id; not the ones that honest apps make up, which nobody can guess."""
        self.new += 1
        return f"{prefix}{self.new}"


def _set(path: str, fields: Mapping[str, Any]) -> Act:
    return Act("create", path, fields, {database_path(path): fields})


def _update(path: str, fields: Mapping[str, Any]) -> Act:
    at = database_path(path)
    return Act(
        "update", path, fields, {f"{at}/{k.replace('.', '/')}": v for k, v in fields.items()}
    )


def _delete(path: str) -> Act:
    return Act("delete", path, {}, {database_path(path): None})


def _in_path(path: str, name: str, other: str) -> str:
    return "/".join(other if each == name else each for each in path.split("/"))


def _renamed(value: Any, name: str, other: str) -> Any:
    """The value with another name, also where it is a key."""
    match value:
        case Mapping():
            renamed = {key: _renamed(each, name, other) for key, each in value.items()}
            return {_in_key(key, name, other): each for key, each in renamed.items()}
        case list():
            return [_renamed(each, name, other) for each in value]
    return other if value == name else value


def _in_key(key: str, name: str, other: str) -> str:
    """Also in a path such as `unread_by.bob`."""
    return ".".join(other if each == name else each for each in key.split("."))


def _without_overlap(fields: Mapping[str, Any]) -> dict[str, Any]:
    """No field beside one inside it, which no update can hold."""
    inner = {name.partition(".")[0] for name in fields if "." in name}
    return {name: value for name, value in fields.items() if name not in inner}
