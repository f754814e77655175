"""Mutants: all that decides in batchpush, with one thing changed, 5,000 times, and who noticed.

    python .ci/mutants.py

Fails on a survivor that is not in the table below: it takes a test of what a user would miss,
simpler code, or a row. Fails, too, if fewer are noticed than a suite of tests should notice. mutmut
changes functions; tables, constants and properties it leaves alone.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("mutmut")
NOTICED = {"killed", "timeout"}
MIN_NOTICED = 95  # per cent

# What replaced what, and why nobody can tell: everywhere, and by module.
EVERYWHERE = {
    ("strict=True", "strict=None"): "both have one length, always",
    ("strict=True", "strict=False"): "both have one length, always",
    (", strict=True)", ", )"): "both have one length, always",
    ("ensure_ascii=False", "ensure_ascii=None"): "None is false",
    ("allow_nan=False", "allow_nan=None"): "None is false",
    ('"utf-8"', '"UTF-8"'): "two names of one encoding",
    ("strict=False", "strict=None"): "None is false",
    (", strict=False)", ", )"): "it is the default",
    ("secrets.token_hex(8)", "secrets.token_hex(9)"): "a longer nonce",
    ("secrets.token_hex(8)", "secrets.token_hex(None)"): "a longer nonce",
}
SURVIVORS = {
    "addresses": {
        ('return "", None', 'return "XXXX", None'): "neither is the name of a host",
        ('return ("", None) if', 'return ("XXXX", None) if'): "neither is the name of a host",
        ('parts.hostname or ""', 'parts.hostname or "XXXX"'): "neither is the name of a host",
    },
    "batch_api.breaker": {
        ("self._open_until = LONG_AGO", "self._open_until = None"): (
            "nothing asks for it before so many failures, the last of which sets it"
        ),
        ("0.0 < seconds", "0.0 <= seconds"): "no seconds are 0.0 seconds",
    },
    "batch_api.outcome": {
        ('(reply.retry_after or "")', '(reply.retry_after or "XXXX")'): (
            "no header is one that cannot be read"
        ),
    },
    "campaigns.decide": {
        ('safe=""', 'safe="XXXX"'): "it is safe anyway",
    },
    "campaigns.reconcile": {
        ("(entry, step, desired)", "(entry, None, desired)"): (
            "for a look; only a deletion is another case"
        ),
        ("Step.LOOK, desired", "None, desired"): "only a deletion is another case",
        ("return False", "return True"): "the version is read for nothing",
        ("self._now() >= stop", "self._now() > stop"): "a moment more",
        ("oldest < since", "oldest <= since"): "a minute between clocks, more or less",
    },
    "delivery.erasure": {
        ('r"(?!)"', 'r"XX(?!)XX"'): "neither matches anything",
        ("range(3)", "range(4)"): "nothing is encoded four times",
        ("_of_json(value), keys", "_of_json(value), None"): "the text has its keys as well",
        ("_of_json(value), keys", "_of_json(value), "): "the text has its keys as well",
        ('text.startswith(("{", "["))', '(text.startswith(("{", "["))) or True'): "for speed only",
        ('.partition("/databases/")', '.rpartition("/databases/")'): "it is there once",
        ('.partition("/")[2]', '.rpartition("/")[2]'): "it is there once",
        ("source.rpartition(", "source.partition("): "it is there once",
    },
    "delivery.ledger": {
        ("limit=PAGE", "limit=None"): "all of them come in one page",
        (", limit=PAGE)", ", )"): "all of them come in one page",
        ("limit=PAGE )", ")"): "all of them come in one page",
        ("limit=SOURCES_PAGE", "limit=None"): "all of them come in one page",
        (", limit=SOURCES_PAGE)", ", )"): "all of them come in one page",
        ("today, limit)", "today, None)"): "more of them come at once",
        (", order_by=expiring.until", ""): "Firestore sorts by what it compares",
        ("fields = {field for counter in counters for field in counter.fields}", "fields = None"): (
            "fewer fields come, for speed only"
        ),
        ("fields=fields", "fields=None"): "fewer fields come, for speed only",
        (", fields=fields)", ", )"): "fewer fields come, for speed only",
        ('get("source", "")', 'get("source", None)'): "every record has one",
        ('get("source", "")', 'get("source", )'): "every record has one",
        ('get("source", "")', 'get("source", "XXXX")'): "every record has one",
    },
    "delivery.plan": {
        ("if burst and deferral.burst", "if burst or deferral.burst"): "there are both or none",
        ("push, recipients=kept", "push, "): "a call to CEP holds custom ids only",
        ("if later or burst else push", "if (later or burst) or True else push"): (
            "everyone is notified now"
        ),
        ("if rest is push else", "if (rest is push) and False else"): "for speed only",
        ("window=timedelta(0))", "window=None)"): "neither is a window",
        ("at_once, is_large = None, False", "at_once, is_large = None, True"): "there is no push",
    },
    "delivery.planning": {
        (
            "if entry.record is planned.record else",
            "if (entry.record is planned.record) and False else",
        ): ("it is the same record"),
        ("not is_told or not push.limits", "not is_told and not push.limits"): "for speed only",
    },
    "delivery.record": {
        ("len(calls) * MAX_PROBLEM <= MAX_PROBLEMS", "len(calls) * MAX_PROBLEM < MAX_PROBLEMS"): (
            "their sum says it"
        ),
        ("changes.keys() <= self", "changes.keys() < self"): "nothing changes all of them",
        ("of_chunks <= SETTLED", "of_chunks < SETTLED"): "no chunk is OBSOLETE: none waits",
        ("STATE_AFTER.get(outcome, self.state)", "STATE_AFTER.get(outcome, None)"): (
            "`unanswered` says it"
        ),
        ("STATE_AFTER.get(outcome, self.state)", "STATE_AFTER.get(outcome, )"): (
            "`unanswered` says it"
        ),
    },
    "delivery.resume": {
        ("limit=PAGE", "limit=None"): "all of them come in one page",
        ("now() >= record.best_before", "now() > record.best_before"): "the plan says it, too",
        ("too_old(self.clock.now()), burst)", "too_old(self.clock.now()), None)"): (
            "its window is over by then: nothing joins it"
        ),
        ("too_old(self.clock.now()), burst)", "too_old(self.clock.now()), )"): (
            "its window is over by then: nothing joins it"
        ),
    },
    "delivery.waiting": {
        ("> MAX_WINDOWS", ">= MAX_WINDOWS"): "all of them are kept",
        ("limit //= 2", "limit /= 2"): "it is only compared",
        ('("", group)', '("XXXX", group)'): "without a burst, nobody asks for the name",
        ("len(each.encode()) + 4", "len(each.encode()) + 5"): "a part less full by a byte for each",
        (
            "_part_id(delivery, claimant",
            "_part_id(None, claimant",
        ): "it is only hashed, with an owner",
        ("+ _size(some)", "- _size(some)"): "parts are numbered all the same",
        ("get(until, 0)", "get(until, 1)"): "a part less full by a byte",
        ('claimant: str = ""', 'claimant: str = "XXXX"'): "it is only hashed",
    },
    "pushes.languages": {
        ('tag.script, "")', "tag.script, None)"): "neither is a region",
    },
    "pushes.limits": {
        ('"\\n".join(', '"XX\\nXX".join('): "it is only hashed",
        ("hexdigest()[:20]", "hexdigest()[:21]"): "a name longer by a character",
    },
    "pushes.push": {
        ('message[group.reads or ""]', 'message[group.reads or "XXXX"]'): (
            "it is there, by `_check_message`; the `or` is for the types"
        ),
        ("type(value) is str and", "type(None) is str and"): "for speed only",
        ("MAX_BODY // 2", "MAX_BODY / 2"): "it is only compared",
        ("length > self._room", "length >= self._room"): "a call less full by a byte",
    },
    "pushes.quiet_hours": {
        ("if moment > now", "if moment >= now"): "they are over then",
    },
}


def mutmut(*arguments: str) -> str:
    """What it says."""
    return subprocess.run(
        [PROGRAM, *arguments], check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def changed(mutant: str) -> tuple[str, str]:
    """The lines that the mutant replaced, and what it replaced them by."""
    lines = re.findall(r"^[-+](?![-+]{2} ).*", mutmut("show", mutant), re.MULTILINE)
    before, after = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    return before, after


def is_explained(module: str, before: str, after: str) -> bool:
    rows = EVERYWHERE | SURVIVORS.get(module, {})
    return any(before.replace(old, new) == after != before for old, new in rows)


def main() -> int:
    subprocess.run([PROGRAM, "run"], check=True)
    found = re.findall(r"batchpush\.([\w.]+)\.([^.\s]+): (.*)", mutmut("results", "--all", "true"))
    total = Counter(module for module, _, _ in found)
    noticed = Counter(module for module, _, status in found if status in NOTICED)
    print()
    for module, count in total.items():
        print(f"{module:22} {noticed[module]:4} of {count:4} noticed")
    share = 100 * noticed.total() / total.total()
    print(f"{'all':22} {noticed.total():4} of {total.total():4} noticed: {share:.1f} %")
    unexplained = 0
    for module, name, status in found:
        if status in NOTICED:
            continue
        before, after = changed(f"batchpush.{module}.{name}")
        if not is_explained(module, before, after):
            unexplained += 1
            print(f"\n{module}: {status}\n- {before}\n+ {after}")
    return 1 if unexplained or share < MIN_NOTICED else 0


if __name__ == "__main__":
    sys.exit(main())
