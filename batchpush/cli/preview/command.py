"""`preview`: show the calls that a document would cause, without sending any.

It covers what `SHOWN` names; anything else that a function tries to send or write is stopped.
"""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import asyncio
import os
import re
import sys
from datetime import UTC, datetime
from typing import Any

from batchpush.cli.arguments import add_json, unknown
from batchpush.cli.discovery import Watch, broken_at, load, watch_of
from batchpush.cli.document_files import documents_in, fields_in
from batchpush.cli.env_files import project_called
from batchpush.cli.preview.look_ups import LookUpInFile, LookUpInProject
from batchpush.cli.preview.page import Page, StateOf
from batchpush.cli.preview.states import states_in, states_in_project
from batchpush.cli.terminal import (
    CannotDo,
    escaped,
    require_main,
    variables_for,
    warn_of_emulators,
)
from batchpush.documents import Document
from batchpush.environment import problems_in, settings, watched_instance, with_defaults
from batchpush.errors import ConfigurationError
from batchpush.events.change import Change, path_params
from batchpush.events.lookup import LookUp, look_up_for
from batchpush.events.triggers import WATCHED, Function
from batchpush.google.clients import close_realtime_databases
from batchpush.sealed import sealed
from batchpush.worker import acting_by

PURPOSE = "Show the requests that a document would cause, without sending them."
EXAMPLES = (
    "preview order_delivered --document order.json --look-ups people.json",
    "preview order_delivered --document order.json --project staging --json",
    "preview campaign --document sale.json --state state.json",
)
SHOWN = "deliver, publish, announce, mirror and forget"
NOT_SHOWN = {"check_texts", "deliver_again"}  # a function that calls one has nothing to show
SOURCES = {
    "firestore": "//firestore.googleapis.com/projects/{project}/databases/{database}",
    "database": (
        "//firebasedatabase.googleapis.com/projects/_/locations/{region}/instances/{instance}"
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "handler",
        metavar="HANDLER",
        help="a function of main.py that watches documents, such as new_message",
    )
    parser.add_argument(
        "--document",
        metavar="FILE",
        help="the fields after the write, as JSON or as a response of Firestore's REST API; none "
        "for a deletion",
    )
    parser.add_argument("--before", metavar="FILE", help="the fields before the write")
    parser.add_argument(
        "--path", help="the path of the document; by default, one that the function watches"
    )
    parser.add_argument(
        "--look-ups",
        metavar="FILE",
        help="the other documents, as {PATH: FIELDS}; by default, those of --project, or none",
    )
    parser.add_argument(
        "--state",
        metavar="FILE",
        help="the campaign's state documents, as {APP: FIELDS}; by default, those of --project, or "
        "none, as for a new campaign",
    )
    parser.add_argument("--language", help="the language of people without one in their profile")
    add_json(parser)


def preview(chosen: argparse.Namespace) -> int:
    require_main()
    _prepare(chosen)
    main = _main()
    watched = _watched(main)
    if chosen.handler not in watched:
        problem = unknown("function", chosen.handler, filter(_has_preview, sorted(watched)))
        raise CannotDo(f"{problem}; with these SOURCES, writes call no other function")
    change = _change(chosen, watched[chosen.handler])
    look_up = _look_up(chosen, change)
    page = _page(WATCHED[chosen.handler].function, change, Page(look_up, _states(chosen, look_up)))
    for shown in page.shown:
        print(shown.as_json() if chosen.json else "\n".join(shown.lines()))
    if isinstance(look_up, LookUpInFile) and look_up.missing:
        missing = ", ".join(dict.fromkeys(look_up.missing))
        print(f"looked up and not found: {escaped(missing)}", file=sys.stderr)
    return 1 if any(shown.problem for shown in page.shown) else 0


def _page(function: Function, change: Change, page: Page) -> Page:
    """The page with what the function would do; raises `CannotDo` if it does anything else."""
    problem = None
    with sealed() as seal:
        try:
            asyncio.run(_call(function, change, page))
        except CannotDo:
            raise
        except Exception as error:  # noqa: BLE001 - a function may raise anything
            problem = f"{broken_at(error)}: {type(error).__name__}: {error}"
    if seal.attempts:
        raise CannotDo(
            f"{change.function} {seal.attempts[0]}: preview shows only what goes through {SHOWN}; "
            "nothing was sent"
        )
    if problem:
        raise CannotDo(problem)
    if not page.shown:
        raise CannotDo(
            f"{change.function} calls none of {SHOWN} for this document: nothing to preview"
        )
    return page


async def _call(function: Function, change: Change, page: Page) -> None:
    try:
        with acting_by(page):
            await function(change)
    finally:
        await close_realtime_databases()


def _prepare(chosen: argparse.Namespace) -> None:
    """Load the settings of `.env`; invalid ones cause a warning and do not stop the preview."""
    project = project_called(chosen.project) if chosen.project else None
    environment = dict(variables_for(project)) | os.environ
    if chosen.language:
        environment["DEFAULT_LANGUAGE"] = chosen.language
    for problem in problems_in(environment).values():
        print(f"batchpush: {escaped(problem)}; using a default", file=sys.stderr)
    os.environ.update(with_defaults(environment) | {"LOG_LEVEL": "ERROR"})
    if project:
        os.environ["GOOGLE_CLOUD_PROJECT"] = project.id


def _main() -> Any:
    try:
        return load()
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - an import may raise anything
        raise CannotDo(f"{broken_at(error)}: {type(error).__name__}: {error}") from None


def _watched(main: Any) -> dict[str, Watch]:
    """The functions of `main.py` that writes call."""
    endpoints = {
        name: vars(function.__firebase_endpoint__)
        for name, function in vars(main).items()
        if hasattr(function, "__firebase_endpoint__")
    }
    watches = {name: watch_of(endpoint) for name, endpoint in endpoints.items()}
    return {name: watch for name, watch in watches.items() if watch}


def _has_preview(name: str) -> bool:
    code = getattr(WATCHED[name].function, "__code__", None)
    return NOT_SHOWN.isdisjoint(getattr(code, "co_names", ()))


def _change(chosen: argparse.Namespace, watch: Watch) -> Change:
    if watch.on == "created" and chosen.before:
        raise CannotDo(f"{chosen.handler} is called for new documents: leave out --before")
    if watch.on == "updated" and not chosen.before:
        raise CannotDo(f"{chosen.handler} is called for changed documents: give --before")
    if watch.on == "deleted" and (chosen.document or not chosen.before):
        raise CannotDo(f"{chosen.handler} is called for deleted documents: give only --before")
    is_deletion = watch.on in ("written", "deleted") and chosen.before
    if not chosen.document and not is_deletion:
        or_before = ", or only --before for a deletion" if watch.on == "written" else ""
        raise CannotDo(f"give --document{or_before}")
    path = (chosen.path or re.sub(r"[{}]", "", watch.path)).strip("/")
    params = path_params(watch.path, path)
    if params is None:
        raise CannotDo(f"--path: {chosen.handler} watches {watch.path}")
    return Change(
        id="preview",
        source=SOURCES[watch.database].format(
            region=settings().region,
            project=os.environ.get("GOOGLE_CLOUD_PROJECT"),
            instance=watched_instance(),
            database=settings().database,
        ),
        path=path,
        params=params,
        before=Document(path, fields_in(chosen.before)) if chosen.before else None,
        after=Document(path, fields_in(chosen.document)) if chosen.document else None,
        time=datetime.now(UTC),
        database=watch.database,
        function=chosen.handler,
    )


# Other documents


def _look_up(chosen: argparse.Namespace, change: Change) -> LookUp:
    if chosen.project and not chosen.look_ups:
        warn_of_emulators()
        return LookUpInProject(look_up_for(change), change)
    given = documents_in(chosen.look_ups) if chosen.look_ups else {}
    own = {} if change.after is None else {change.path: dict(change.after)}
    return LookUpInFile(own | given)


def _states(chosen: argparse.Namespace, look_up: LookUp) -> StateOf:
    """How to read the states of a campaign: those of the file, of the project, or none."""
    if chosen.state or not isinstance(look_up, LookUpInProject):
        return states_in(chosen.state, tuple(settings().batch_apps))
    return states_in_project(look_up)
