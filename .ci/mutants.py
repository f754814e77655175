"""Mutants: the heart of batchpush with one thing changed, a thousand times, and who noticed.

    python .ci/mutants.py

Fails on a survivor that is not in the table below: it takes a test of what a user would miss,
simpler code, or a row. mutmut changes functions; tables, constants and properties it leaves alone.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("mutmut")
NOTICED = {"killed", "timeout"}

# What replaced what, and why nobody can tell.
SURVIVORS = {
    ("self._open_until = LONG_AGO", "self._open_until = None"): (
        "nothing asks for it before so many failures, the last of which sets it"
    ),
    ('(reply.retry_after or "")', '(reply.retry_after or "XXXX")'): (
        "no header is one that cannot be read"
    ),
    ("ensure_ascii=False", "ensure_ascii=None"): "None is false",
    ("allow_nan=False", "allow_nan=None"): "None is false",
    ('"utf-8"', '"UTF-8"'): "two names of one encoding",
    ("of_chunks <= SETTLED", "of_chunks < SETTLED"): "no chunk is OBSOLETE: none waits",
    (
        "STATE_AFTER.get(outcome, self.state)",
        "STATE_AFTER.get(outcome, None)",
    ): "`unanswered` says it",
    (
        "STATE_AFTER.get(outcome, self.state)",
        "STATE_AFTER.get(outcome, )",
    ): "`unanswered` says it",
    ('message[group.reads or ""]', 'message[group.reads or "XXXX"]'): (
        "it is there, by `_check_message`; the `or` is for the types"
    ),
    ("MAX_BODY // 2", "MAX_BODY / 2"): "it is only compared",
    ("size + length > room", "size + length >= room"): "a call less full by a byte",
    ("count, size = {}, 0, 0", "count, size = {}, 0, 1"): "a call less full by a byte",
    ("if burst and deferral.burst", "if burst or deferral.burst"): "there are both or none",
    ("if later or burst else push", "if (later or burst) or True else push"): (
        "all of them are told now"
    ),
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


def is_explained(before: str, after: str) -> bool:
    return any(before.replace(old, new) == after != before for old, new in SURVIVORS)


def main() -> int:
    subprocess.run([PROGRAM, "run"], check=True)
    found = re.findall(r"batchpush\.([\w.]+)\.([^.\s]+): (.*)", mutmut("results", "--all", "true"))
    total = Counter(module for module, _, _ in found)
    noticed = Counter(module for module, _, status in found if status in NOTICED)
    print()
    for module, count in total.items():
        print(f"{module:18} {noticed[module]:4} of {count:4} noticed")
    unexplained = 0
    for module, name, status in found:
        if status in NOTICED:
            continue
        before, after = changed(f"batchpush.{module}.{name}")
        if not is_explained(before, after):
            unexplained += 1
            print(f"\n{module}: {status}\n- {before}\n+ {after}")
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
