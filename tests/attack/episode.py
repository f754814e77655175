"""One attack: hostile writes among honest ones, past the rules, through the functions, judged."""

import asyncio
import io
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import astuple, dataclass, field, replace
from typing import NamedTuple

from tests.attack.gates import Gate, Step
from tests.attack.hostile import Attack
from tests.attack.judge import BROKEN, SHUT_OUT, Judge, Violation
from tests.attack.stage import LATER, Broken, Heard, played
from tests.attack.world import HONEST
from tests.scenarios import Act

WRITES = 60  # hostile ones in an episode
BURST = 90  # of them, now and then, by one person
BURST_EVERY = 6
MAX_TRIALS = 200  # to find the fewest writes that do it


class Planned(NamedTuple):
    """What somebody is about to do; `kind` is None for what is honest."""

    kind: str | None
    who: str | None
    act: Act
    is_beside: bool = False


@dataclass
class Counts:
    """Of one kind of hostile write."""

    tried: int = 0
    invalid: int = 0  # the database cannot hold it
    accepted: int = 0
    pushes: int = 0  # that they caused


Tally = dict[str, Counts]  # by kind


def total(tally: Tally) -> Counts:
    return Counts(*map(sum, zip(*map(astuple, tally.values()), strict=True)))


@dataclass
class Done:
    """An episode, as far as it went."""

    planned: list[Planned] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    kinds: list[str | None] = field(default_factory=list)  # of the steps
    shut_out: Violation | None = None


class Failure(NamedTuple):
    """What does not hold in an episode, and what was done in it."""

    episode: int
    violation: Violation
    planned: Sequence[Planned]

    @property
    def hostile(self) -> list[Planned]:
        return [each for each in self.planned if each.kind is not None]


class Episodes:
    """Attacks on one rules file."""

    def __init__(self, gate: Gate, seed: int) -> None:
        self.gate, self.seed = gate, seed
        self.tally: Tally = {}
        self.honest = [
            Planned(None, who, act)
            for who, act in HONEST
            if gate.name == "firestore" or act.database
        ]
        alone = self._repeated(self.honest)
        assert alone.shut_out is None, alone.shut_out
        heard = _played(gate.name, alone.steps, "alone")
        self.judge = Judge(heard, alone.steps)
        assert not self.judge.violations(alone.steps, heard), "what is honest is judged hostile"

    def attack(self, number: int) -> Failure | None:
        """The same each time, for one seed and number."""
        done = self.done(number)
        violation = self._judged(done, number, self.tally)
        return Failure(number, violation, done.planned) if violation else None

    def done(self, number: int) -> Done:
        """What the rules let happen in an episode."""
        attack = Attack(self._seed(number), self.gate.name)
        done = Done()
        self.gate.begin()
        for each in self._mixed(attack, number):
            step = self._does(done, each)
            if each.kind is not None:
                counts = self.tally.setdefault(each.kind, Counts())
                counts.tried += 1
                counts.accepted += step is not None
            if step:
                attack.saw(step.who, step.diffs)
        return done

    def least(self, failure: Failure) -> Failure:
        """The same violation, with only the hostile writes without which it does not happen."""
        (number, violation, planned), trials = failure, 0
        size = len(planned) // 2
        while size:
            at = 0
            while at < len(planned) and trials < MAX_TRIALS:
                part = planned[at : at + size]
                rest = [each for each in part if each.kind is None]
                fewer = [*planned[:at], *rest, *planned[at + size :]]
                found = None
                if len(rest) < len(part):
                    trials += 1
                    found = self._judged(self._repeated(fewer), number)
                if found and found.rule == violation.rule:
                    planned, violation = fewer, found
                else:
                    at += size
            size //= 2
        return Failure(number, violation, planned)

    def _seed(self, number: int) -> str:
        return f"{self.seed} {self.gate.name} {number}"

    def _mixed(self, attack: Attack, number: int) -> Iterator[Planned]:
        """Honest acts in their order, and hostile ones before, after and beside them."""
        honest, left = deque(self.honest), WRITES
        turn, is_due = divmod(number, BURST_EVERY)
        burst = deque(attack.burst(turn, BURST) if is_due == 0 else ())
        while honest or left or burst:
            is_honest = attack.chance.randrange(len(honest) + left + len(burst)) < len(honest)
            is_beside = attack.chance.random() < 0.3
            if is_honest:
                yield honest.popleft()._replace(is_beside=is_beside)
                continue
            if burst:
                hostile = burst.popleft()
            else:
                hostile, left = attack.next(), left - 1
            yield Planned(*hostile, is_beside)

    def _does(self, done: Done, planned: Planned) -> Step | None:
        done.planned.append(planned)
        try:
            step = self.gate.does(planned.who, planned.act)
        except ValueError:
            if planned.kind is not None:
                self.tally.setdefault(planned.kind, Counts()).invalid += 1
            return None
        if step is None:
            if planned.kind is None:
                done.shut_out = Violation(SHUT_OUT, f"{planned.who} at {planned.act.path}")
            return None
        is_honest = planned.kind is None
        done.steps.append(replace(step, is_honest=is_honest, is_beside=planned.is_beside))
        done.kinds.append(planned.kind)
        return step

    def _repeated(self, planned: Sequence[Planned]) -> Done:
        done = Done()
        self.gate.begin()
        for each in planned:
            self._does(done, each)
        return done

    def _judged(self, done: Done, number: int, tally: Tally | None = None) -> Violation | None:
        if done.shut_out:
            return done.shut_out
        try:
            heard = _played(self.gate.name, done.steps, self._seed(number))
        except Broken as error:
            return Violation(BROKEN, str(error))
        for each in heard if tally is not None else ():
            kind = done.kinds[each.step] if each.step != LATER else None
            if kind is not None and tally is not None:
                tally[kind].pushes += 1
        violations = self.judge.violations(done.steps, heard)
        return violations[0] if violations else None


def _played(database: str, steps: Sequence[Step], seed: str) -> list[Heard]:
    with redirect_stdout(io.StringIO()):  # the functions' log
        return asyncio.run(played(database, steps, seed))
