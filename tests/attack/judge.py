"""What must hold whatever was written: who was told of it, what is missing, and how often."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote

from tests.attack.agreement import Agreement, texts
from tests.attack.gates import Step
from tests.attack.hostile import CLOSED
from tests.attack.stage import LATER, Heard
from tests.attack.world import ATTACKERS, BACK_END, FIRESTORE_ONLY, WORLD

# As the README says: messages in a minute, requests in a day.
MAX_ALL = {"new_message": 60, "friend_request": 50}
MAX_EACH = {"new_message": 20, "friend_request": 1}


class Violation(NamedTuple):
    rule: str  # what does not hold
    says: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.says}"


UNASKED = "somebody was told who did not agree"
LOST = "a push of others was lost or changed"
TOO_MANY = "more pushes than the limit"
TWICE = "somebody was told twice of the same"
CLOSED_TO_APPS = "what only back ends may write was written"
BROKEN = "a function did not finish"
SHUT_OUT = "an honest write was refused"


@dataclass(frozen=True)
class Told:
    """One recipient of one call."""

    step: int
    identifier: str  # at Batch
    kind: str  # the group_id
    about: str  # the path of its link
    frame: str  # the rest of the call

    @property
    def key(self) -> tuple[str, ...]:
        """What stays the same for an honest push, whatever others do.

        What waits says how many wrote meanwhile, and a game says by what name the other plays.
        """
        if self.identifier == "dig" and self.kind == "new_message":
            return self.identifier, self.kind
        if self.is_among_others:
            return self.identifier, self.kind, self.about
        return self.identifier, self.kind, self.about, self.frame

    @property
    def is_among_others(self) -> bool:
        is_late = self.identifier in ("zoe", "dig") and self.about == "conversations/c"
        return is_late or self.about == "games/h"


def told(heard: Sequence[Heard]) -> Iterator[Told]:
    for each in heard:
        body = dict(each.call.body)
        recipients = body.pop("recipients")
        about = unquote(str(body.get("deeplink", "")).partition("://")[2])
        for listed in recipients.values():
            for identifier in listed:
                frame = json.dumps(body, sort_keys=True)
                yield Told(each.step, identifier, body["group_id"], about, frame)


class Judge:
    """Compares the pushes with those that are sent when nobody attacks."""

    def __init__(self, alone: Sequence[Heard], honest: Sequence[Step]) -> None:
        self.alone = [each for each in told(alone) if each.kind != "poke"]  # by who attacks
        self.owners = Agreement({**WORLD, **FIRESTORE_ONLY}).owners
        self.told_alone: dict[str, set[str]] = {}  # who, by the path of the document
        for each in self.alone:
            if each.step != LATER:
                path = honest[each.step].act.path
                self.told_alone.setdefault(path, set()).add(self.owners[each.identifier])

    def violations(self, steps: Sequence[Step], heard: Sequence[Heard]) -> list[Violation]:
        now = list(told(heard))
        lost = self._lost(self.alone, now)
        return [*_opened(steps), *lost, *_Hearing(self, steps).violations(now)]

    def violations_of_sample(
        self, steps: Sequence[Step], heard: Sequence[Heard]
    ) -> Iterator[Violation]:
        """Where it is not known what a call came of, and nothing is waited for."""
        now, hearing = list(told(heard)), _Hearing(self, steps)
        for step in steps:
            hearing.agreements.saw(step.who, step.diffs)
        at_once = [each for each in self.alone if each.step != LATER and each.kind != "article"]
        yield from self._lost(at_once, now)
        yield from hearing.unasked_later(now)

    def _lost(self, alone: Sequence[Told], now: Sequence[Told]) -> Iterator[Violation]:
        left = Counter(each.key for each in now)
        for each in alone:
            if self.owners[each.identifier] in ATTACKERS:
                continue  # their own settings are theirs
            if left[each.key] == 0:
                yield Violation(LOST, f"{each.identifier} is not told {each.frame}")
            elif not each.is_among_others:
                left[each.key] -= 1


class _Hearing:
    """One attack, in which each push has to be one that its recipient agreed to."""

    def __init__(self, judge: Judge, steps: Sequence[Step]) -> None:
        self.judge, self.steps = judge, steps
        self.known = {each.key for each in judge.alone}
        self.agreements = Agreement({**WORLD, **FIRESTORE_ONLY})

    def violations(self, now: Sequence[Told]) -> Iterator[Violation]:
        by_step: dict[int, list[Told]] = {}
        for each in now:
            by_step.setdefault(each.step, []).append(each)
        for group in _together(self.steps):
            # If two steps have the same time, either may have been seen first.
            before = {name: set(each) for name, each in self.agreements.members.items()}
            for number in group:
                self.agreements.saw(self.steps[number].who, self.steps[number].diffs)
            for number in group:
                yield from self._unasked(self.steps[number], by_step.get(number, ()), before)
        yield from self.unasked_later(by_step.get(LATER, ()))
        yield from self._twice(now)
        yield from self._too_many(now)
        yield from self._reminded_too_often(now)

    def _unasked(
        self, step: Step, now: Sequence[Told], before: Mapping[str, set[str]]
    ) -> Iterator[Violation]:
        for each in now:
            if why := self._why_not(step, each, before):
                yield Violation(UNASKED, f"{each.identifier} was told {each.frame}: {why}")

    def unasked_later(self, now: Sequence[Told]) -> Iterator[Violation]:
        """Of pushes whose step is not known."""
        for each in now:
            if why := self._why_not_later(each):
                yield Violation(UNASKED, f"{each.identifier} was told {each.frame}: {why}")

    def _why_not(self, step: Step, each: Told, before: Mapping[str, set[str]]) -> str | None:
        """Why its recipient did not agree to a push that a step caused; None if they did."""
        person = self.agreements.owners.get(each.identifier)
        match each.about.split("/"):
            case ["conversations", conversation_id] if each.kind == "new_message":
                now = self.agreements.members.get(conversation_id, set())
                members = now | before.get(conversation_id, set())
                if step.who not in members:
                    return f"{step.who} is no member"
                if not _is_own_message(step):
                    return f"{step.who} writes as somebody else"
                return None if person in members else "they did not join"
        if step.is_honest:
            is_theirs = person in self.judge.told_alone.get(step.act.path, ())
            return None if is_theirs else "it is not for them"
        if each.kind == "message_unread":
            return None if person == step.who else f"{step.who} marked it for them"
        if each.kind == "friend_request":
            asked = {diff.path for diff in step.diffs}
            is_own = f"users/{person}/friend_requests/{step.who}" in asked
            return None if is_own and each.about == f"friend_requests/{step.who}" else "not asked"
        return f"{step.who} caused a push of a back end"

    def _why_not_later(self, each: Told) -> str | None:
        person = self.agreements.owners.get(each.identifier)
        match each.kind, each.about.split("/"):
            case "poke", _:
                caller = json.loads(each.frame)["gcm_collapse_key"]["key"].removeprefix("poke-")
                return None if self._may_notify(caller, str(person)) else f"{caller} pokes them"
            case "new_message" | "message_unread", ["conversations", conversation_id]:
                were = self.agreements.were_members.get(conversation_id, set())
                return None if person in were else "they did not join"
            case "new_message", _:  # a digest about several conversations
                return None if person == "dig" or person in ATTACKERS else "it is no digest"
            case "friend_request", ["friend_requests", sender_id]:
                is_asked = (person, sender_id) in self.agreements.requests
                return None if is_asked else "not asked"
        is_own = person in ATTACKERS or each.key in self.known
        return None if is_own else "nobody wrote that"

    def _twice(self, now: Sequence[Told]) -> Iterator[Violation]:
        for each, number in Counter(now).items():
            # Several documents that are written at once may say the same.
            is_one = each.step != LATER and len(self.steps[each.step].diffs) == 1
            if is_one and number > 1:
                yield Violation(TWICE, f"{each.identifier} was told {each.frame}")

    def _may_notify(self, caller: str, to: str) -> bool:
        """As it is at the end."""
        shared = any({caller, to} <= members for members in self.agreements.members.values())
        return shared or self.agreements.are_friends(caller, to)

    def _too_many(self, now: Sequence[Told]) -> Iterator[Violation]:
        """More than a minute's, or a day's, of one person, in all and to one recipient."""
        events: dict[tuple[str, str], set[int]] = {}
        counted: Counter[tuple[str, ...]] = Counter()
        for each in now:
            if each.step == LATER:
                is_theirs = self.agreements.owners.get(each.identifier) in ATTACKERS
                if each.kind == "new_message" and not is_theirs:
                    counted["at last", each.kind, each.identifier, each.about] += 1
                continue
            step = self.steps[each.step]
            if each.kind in MAX_EACH:
                events.setdefault((step.who, each.kind), set()).add(each.step)
                counted[step.who, each.kind, each.identifier] += 1
        for (who, kind), numbers in events.items():
            if len(numbers) > MAX_ALL[kind]:
                yield Violation(TOO_MANY, f"{len(numbers)} of {kind} by {who}")
        for (who, kind, *to), number in counted.items():
            if number > (MAX_EACH.get(kind, 1) if len(to) == 1 else 1):
                yield Violation(TOO_MANY, f"{number} of {kind}, {who}, to {' '.join(to)}")

    def _reminded_too_often(self, now: Sequence[Told]) -> Iterator[Violation]:
        """More than once a day of one message; several may be marked by one write."""
        reminders: Counter[str] = Counter()
        marked: dict[str, set[str]] = {}
        for each in now:
            if each.kind == "message_unread" and each.step != LATER:
                paths = (diff.path for diff in self.steps[each.step].diffs)
                reminders[each.identifier] += 1
                of_them = marked.setdefault(each.identifier, set())
                of_them.update(path for path in paths if "messages/" in path)
        for to, number in reminders.items():
            if number > (of := len(marked[to])):
                yield Violation(TOO_MANY, f"{number} reminders of {of} messages to {to}")


def _opened(steps: Sequence[Step]) -> Iterator[Violation]:
    for step in steps:
        for diff in step.diffs if step.who != BACK_END else ():
            collection, *below = diff.path.split("/")
            if collection in CLOSED or (collection == "users" and below[1:2] == ["friends"]):
                yield Violation(CLOSED_TO_APPS, f"{diff.path} by {step.who}")
            new = _custom_ids(diff.after) - _custom_ids(diff.before)
            if collection == "users" and not new <= set(below):
                yield Violation(CLOSED_TO_APPS, f"custom_ids of {diff.path} by {step.who}")


def _custom_ids(profile: Mapping[str, Any] | None) -> set[str]:
    batch = (profile or {}).get("batch")
    return set(texts(batch.get("custom_ids"))) if isinstance(batch, dict) else set()


def _is_own_message(step: Step) -> bool:
    return any((diff.after or {}).get("sender_id") == step.who for diff in step.diffs)


def _together(steps: Sequence[Step]) -> list[list[int]]:
    groups: list[list[int]] = []
    for number, step in enumerate(steps):
        if step.is_beside and groups:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups
