"""`probe`: ask Batch what its documentation leaves open, and report the answers."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from batchpush.campaigns.stats import DEV
from batchpush.cli.arguments import add_json, unknown
from batchpush.cli.probe.answers import Entry, differences
from batchpush.cli.probe.questions import FIRST_QUERY, QUESTIONS, Question
from batchpush.cli.terminal import (
    CannotDo,
    complain,
    indented_json,
    prepare_environment,
)
from batchpush.environment import settings
from batchpush.timing import Clock

if TYPE_CHECKING:
    from batchpush.cli.probe.prober import Prober

PURPOSE = (
    "Ask Batch what its documentation leaves open, with a Dev key and with drafts that it deletes "
    "again. Nothing is sent to a phone."
)
EXAMPLES = (
    "probe",
    "probe --send --app ios --output batch.json",
    "probe --json",
)
MAX_BODY = 100  # characters of a body that a list of questions shows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--send", action="store_true", help="ask Batch; without it, only list the questions"
    )
    parser.add_argument(
        "--app", metavar="NAME", help="the app of BATCH_APPS to ask about, if there are several"
    )
    parser.add_argument(
        "--output", metavar="FILE", type=Path, help="where to write the report (default: stdout)"
    )
    parser.add_argument(
        "--compare",
        metavar="FILE",
        type=Path,
        help="print how the answers differ from those in this report",
    )
    add_json(parser, "the list of questions as one JSON object per line; a report is always JSON")


def probe(chosen: argparse.Namespace) -> int:
    if not chosen.send:
        print("\n".join(map(_as_json if chosen.json else _line, QUESTIONS)))
        counted = f"{len(QUESTIONS)} questions; nothing was sent; add --send to ask them"
        print(counted, file=sys.stderr if chosen.json else sys.stdout)
        return 0
    prepare_environment(chosen.project)
    app = _dev_app(settings().batch_apps, chosen.app)
    theirs = _entries(chosen.compare) if chosen.compare else None
    if chosen.output:
        _write(chosen.output, "", "a")  # fails, if it must, before anything is asked
    prober, ours = _asked(app)
    report = {"api": settings().batch_api_url, "app": app, "questions": ours}
    text = "\n".join(indented_json(json.dumps(report), ""))
    if chosen.output:
        _write(chosen.output, text + "\n")
    elif theirs is None:
        print(text)
    for difference in differences(theirs, ours) if theirs is not None else ():
        print(difference)
    unanswered = [entry["name"] for entry in ours if "problem" in entry["answer"]]
    if unanswered:
        complain(f"{len(unanswered)} of {len(ours)} questions have no answer: {unanswered[0]}, ...")
    return 1 if unanswered or prober.left else 0


def _dev_app(keys: Mapping[str, str], wanted: str | None) -> str:
    """The app to ask about; raises `CannotDo` unless it has a Dev key."""
    app = wanted or (next(iter(keys)) if len(keys) == 1 else "")
    if wanted and wanted not in keys:
        raise CannotDo(f"--app: {unknown('app', wanted, keys)}")
    if not app:
        raise CannotDo(f"--app: choose one of {', '.join(keys)}")
    if not keys[app].startswith(DEV):
        raise CannotDo(
            f"{app} has no Dev key, which begins with {DEV}: questions are not asked about an app "
            "that people use; nothing was sent"
        )
    return app


def _asked(app: str) -> "tuple[Prober, list[dict[str, Any]]]":
    """The questions with their answers; says what could not be deleted, also if it is stopped."""
    from batchpush.cli.probe.prober import Prober  # imports the HTTP client, which takes its time

    prober = Prober(settings(), app, Clock())
    try:
        return prober, asyncio.run(prober.run())
    except KeyboardInterrupt:
        raise CannotDo("interrupted; no report was written") from None
    finally:
        for name in prober.left:
            complain(f"a draft may be left at Batch, delete it in the dashboard: {name}")


def _line(question: Question) -> str:
    body = question.with_query(FIRST_QUERY)
    told = "" if body is None else body if isinstance(body, str) else json.dumps(body)
    cut = told if len(told) <= MAX_BODY else f"{told[:MAX_BODY]}…"
    request = f"{question.method} {question.route} {cut}".rstrip()
    return f"{question.name}: {question.asks}\n  {request}"


def _as_json(question: Question) -> str:
    body = question.with_query(FIRST_QUERY)
    request = {"method": question.method, "route": question.route, "body": body}
    entry = {"name": question.name, "question": question.asks, "request": request}
    return json.dumps(entry, default=lambda text: text.decode())


def _entries(file: Path) -> Sequence[Entry]:
    """The questions of a report."""
    try:
        entries: Sequence[Entry] = json.loads(file.read_bytes())["questions"]
        list(differences(entries, entries))
    except OSError as error:
        raise CannotDo(f"{file}: {error.strerror}") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise CannotDo(f"{file} is not a report of probe") from None
    return entries


def _write(file: Path, text: str, mode: str = "w") -> None:
    try:
        with file.open(mode, encoding="utf-8") as opened:
            opened.write(text)
    except OSError as error:
        raise CannotDo(f"{file}: {error.strerror}") from None
