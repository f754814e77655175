"""Hostile people by the ten thousand: what the rules let them write, and what comes of it.

    make attack              20,000 writes against each rules file
    make attack SEED=7       the same as another time
    make attack SEED=7 EPISODE=42 RULES=firestore.rules
                             one part of it
    make attack WRITES=500   fewer
    make attack WRITE=1      and writes the table into docs/security-rules.md

Strangers, friends, members and those who left write what they should not, among honest people. What
the rules accept goes through the functions of main.py. Then nobody may be told who did not agree to
hear from its author, no honest push may be lost or changed, and the limits must hold. Exits with 1
where one of these does not.
"""

import argparse
import json
import os
import random
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from tests import conftest  # noqa: F401 - the settings that tests run with
from tests.attack.episode import Episodes, Failure, total
from tests.attack.gates import DatabaseGate, FirestoreGate, Gate
from tests.attack.sample import Sample
from tests.attack.stage import settings_of_an_attack
from tests.figures import as_table
from tests.firestore_rules import Firestore
from tests.tables import machine, write

FIRESTORE, DATABASE = "firestore.rules", "database.rules.json"
MAX_SHOWN = 300  # characters of a write


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.attack")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1, 2**32))
    parser.add_argument("--writes", type=int, default=20_000, help="against each rules file")
    parser.add_argument("--episode", type=int, help="only this one")
    parser.add_argument("--rules", choices=(FIRESTORE, DATABASE), help="only these")
    parser.add_argument(
        "--write", action="store_true", help="write the table into docs/security-rules.md"
    )
    return parser.parse_args()


def main() -> int:
    options = parsed()
    print(f"SEED={options.seed}", flush=True)
    began, found = time.monotonic(), 0
    figures: list[tuple[str, str]] = []
    for rules in (DATABASE, FIRESTORE):
        if options.rules in (rules, None):
            with gate_of(rules) as gate, settings_of_an_attack():
                attacks = Episodes(gate, options.seed)
                found += attacked(rules, attacks, options, figures)
                if rules == FIRESTORE and options.episode is None:
                    found += sampled(attacks, figures)
    minutes = (time.monotonic() - began) / 60
    text = f"{machine()}, seed {options.seed}, {minutes:.0f} minutes:\n\n{as_table(figures)}"
    print(f"\n{text}")
    if found:
        return 1
    if options.write:
        write("security-rules.md", "make attack WRITE=1", text)
    return 0


@contextmanager
def gate_of(rules: str) -> Iterator[Gate]:
    text = Path(rules).read_text(encoding="utf-8")
    if rules == DATABASE:
        yield DatabaseGate(text)
        return
    host = os.environ["FIRESTORE_EMULATOR_HOST"]
    firestore = Firestore(host, f"demo-attack-{uuid.uuid4().hex[:12]}")
    with firestore.http:
        yield FirestoreGate(firestore, text)


def attacked(
    rules: str, attacks: Episodes, options: argparse.Namespace, figures: list[tuple[str, str]]
) -> int:
    """The number of violations."""
    began, failures = time.monotonic(), 0
    numbers = count() if options.episode is None else iter([options.episode])
    for number in numbers:
        if failure := attacks.attack(number):
            failures += 1
            show(rules, attacks.least(failure), options.seed)
        if total(attacks.tally).tried >= options.writes or failures == MAX_FAILURES:
            break
    report(rules, attacks, time.monotonic() - began)
    each = total(attacks.tally)
    figures.append(
        (
            f"{each.tried:,} hostile writes against `{rules}`",
            f"{each.accepted:,} accepted, {each.pushes:,} pushes; {said(failures)}",
        )
    )
    return failures


MAX_FAILURES = 5  # of one file, before it gives up
SAMPLE = 100  # accepted writes that go through the Functions emulator too


def sampled(attacks: Episodes, figures: list[tuple[str, str]]) -> int:
    """The number of violations on the emulators, where each event is one of a real trigger."""
    sample, accepted, found = Sample(), 0, 0
    for number in count(1):
        steps = attacks.done(number).steps
        accepted += sum(not step.is_honest for step in steps)
        for violation in sample.violations(attacks.judge, steps):
            found += 1
            print(f"\nepisode {number}, on the emulators: {violation}"[:2000])
        if accepted >= SAMPLE:
            break
    figures.append((f"{accepted} of what these accepted, on the emulators", said(found)))
    return found


def show(rules: str, failure: Failure, seed: int) -> None:
    print(f"\n{rules}: {failure.violation}"[:2000])
    for each in failure.hostile:
        fields = each.act.database if rules == DATABASE else each.act.fields
        shown = json.dumps(fields, default=str, ensure_ascii=True)
        place = "" if rules == DATABASE else f" {each.act.does} {each.act.path}"
        print(f"  {each.who or 'nobody'}:{place} {shown}"[:MAX_SHOWN])
    print(f"  again: make attack SEED={seed} EPISODE={failure.episode} RULES={rules}", flush=True)


def report(rules: str, attacks: Episodes, seconds: float) -> None:
    print(f"\n{rules}: {seconds:.0f} s")
    line = "{:<24}{:>8}{:>10}{:>10}{:>9}".format
    print(line("hostile writes", "tried", "invalid", "accepted", "pushes"))
    for kind, each in sorted(attacks.tally.items()):
        print(line(kind, each.tried, each.invalid, each.accepted, each.pushes))
    each = total(attacks.tally)
    print(line("in all", each.tried, each.invalid, each.accepted, each.pushes), flush=True)


def said(violations: int) -> str:
    return f"{violations} violations" if violations else "nobody was told, missed or flooded"


if __name__ == "__main__":
    sys.exit(main())
