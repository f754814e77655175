"""Breaks a deployment on purpose, in one way after another: a rehearsal has to notice each.

    python -m local.rehearsal.sabotage      exits with 1 if one goes unnoticed

`check` may notice it before anything is deployed. What is asked here is whether the rest of the
rehearsal would as well, without it.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from emulators.google_cloud import Project
from local.programs import DidNotStart, Interrupted, raise_on_signals
from local.rehearsal import deployments, journey
from local.rehearsal.instances import DidNotServe
from local.rehearsal.rehearsal import Failed, Rehearsal, project, rehearsal
from local.tools import CannotStart


@dataclass(frozen=True)
class Sabotage:
    """What is broken; the words that have to be in what the rehearsal finds."""

    what: str
    says: str
    in_folder: Callable[[Rehearsal], None] = lambda run: None
    in_project: Callable[[Project], Project] = lambda project: project


def edit(name: str, old: str, new: str) -> Callable[[Rehearsal], None]:
    def edited(run: Rehearsal) -> None:
        file = run.folder / name
        text = file.read_text(encoding="utf-8")
        if old not in text:
            raise Failed(f"{name} has no {old!r} to replace")
        file.write_text(text.replace(old, new, 1), encoding="utf-8")

    return edited


def append(name: str, line: str) -> Callable[[Rehearsal], None]:
    def appended(run: Rehearsal) -> None:
        with (run.folder / name).open("a", encoding="utf-8") as file:
            file.write(f"{line}\n")

    return appended


def without_readers(project: Project) -> Project:
    return replace(project, secrets={name: [] for name in project.secrets})


SABOTAGES = (
    Sabotage(
        "a file is left out of the archive",
        "archive: handlers/texts/fr.toml is left out",
        edit("firebase.json", "/texts{,/*.py,/*.toml}", "/texts{,/*.py,/[a-e]*.toml}"),
    ),
    Sabotage(
        "a requirement has no hash",
        "Hashes are required",
        append("requirements.txt", "python-slugify==8.0.4"),
    ),
    Sabotage(
        "one function is not retried",
        "outbox: eventTrigger.retryPolicy is",
        append("main.py", 'outbox.__firebase_endpoint__.eventTrigger["retry"] = False'),
    ),
    Sabotage(
        "a handler imports what only development has",
        "No module named 'hypothesis'",
        append("handlers/orders.py", "import hypothesis"),
    ),
    Sabotage(
        "the functions' account cannot read the secret",
        "does not have roles/secretmanager.secretAccessor",
        in_project=without_readers,
    ),
    Sabotage(
        "a queue has another name",
        "queues/sendchunk is missing",
        edit("main.py", "async def sendchunk(", "async def sendpart("),
    ),
)


def main() -> int:
    raise_on_signals()
    try:
        unnoticed = [each.what for each in SABOTAGES if not is_noticed(each)]
    except CannotStart as why:
        print(why, file=sys.stderr)
        return 2
    except Interrupted as interrupted:
        return interrupted.exit_code
    for what in unnoticed:
        print(f"unnoticed: {what}")
    print(f"{len(SABOTAGES) - len(unnoticed)} of {len(SABOTAGES)} noticed.")
    return 1 if unnoticed else 0


def is_noticed(sabotage: Sabotage) -> bool:
    problems: list[str] = []
    with rehearsal(problems, sabotage.in_project(project())) as run:
        sabotage.in_folder(run)
        try:
            for _ in steps(run):
                if problems:
                    break
        except (DidNotServe, DidNotStart, Failed) as why:
            problems.append(str(why))
    found = next((each for each in problems if sabotage.says in each), "")
    line = next((each for each in found.splitlines() if sabotage.says in each), "nothing")
    print(f"{sabotage.what}:\n    {line.strip()[:200]}", flush=True)
    return bool(found)


def steps(run: Rehearsal) -> Iterator[str]:
    yield deployments.first(run)
    yield from journey.served(run)


if __name__ == "__main__":
    sys.exit(main())
