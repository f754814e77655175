"""`preview`: show the calls that a document would cause, without sending any.

It only covers functions that use `deliver`; anything else that a function tries to send is stopped.
"""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from batchpush.cli.discovery import Watch, broken_at, load, watch_of
from batchpush.cli.document_files import documents_in, fields_in
from batchpush.cli.env_files import project_called
from batchpush.cli.terminal import (
    CannotDo,
    escaped,
    indented_json,
    masked,
    variables_for,
    warn_of_emulators,
)
from batchpush.delivery.planning import PushHandler
from batchpush.delivery.waiting import defer
from batchpush.documents import Document
from batchpush.environment import problems_in, settings, watched_instance, with_defaults
from batchpush.errors import BatchpushError, ConfigurationError
from batchpush.events.change import Change, path_params
from batchpush.events.lookup import LookUp, look_up_for, only
from batchpush.events.triggers import WATCHED, Function
from batchpush.google.clients import close_realtime_databases
from batchpush.pushes.push import Push
from batchpush.sealed import reading, sealed
from batchpush.worker import delivering_by

PURPOSE = "Show the calls that a document would cause, without sending any."
SOURCES = {
    "firestore": "//firestore.googleapis.com/projects/{project}/databases/{database}",
    "database": (
        "//firebasedatabase.googleapis.com/projects/_/locations/{region}/instances/{instance}"
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "handler", metavar="HANDLER", help="a function of main.py that delivers: new_message"
    )
    parser.add_argument(
        "--document",
        metavar="FILE",
        required=True,
        help="its fields, as JSON or as a response of Firestore's REST API",
    )
    parser.add_argument("--before", metavar="FILE", help="its fields before the write")
    parser.add_argument("--path", help="its path; by default, one that the function watches")
    parser.add_argument(
        "--look-ups",
        metavar="FILE",
        help="the other documents, as {PATH: FIELDS}; by default, those of --project, or none",
    )
    parser.add_argument("--language", help="the language of people without one in their profile")


def preview(chosen: argparse.Namespace) -> int:
    _prepare(chosen)
    main = _main()
    watched = _watched(main)
    if chosen.handler not in watched:
        names = ", ".join(sorted(watched))
        raise CannotDo(f"no write calls {chosen.handler} with these SOURCES; choose from {names}")
    change = _change(chosen, watched[chosen.handler])
    look_up = _look_up(chosen, change)
    page = _page(WATCHED[chosen.handler].function, change, look_up)
    print("\n".join(page.lines))
    if isinstance(look_up, LookUpInFile) and look_up.missing:
        missing = ", ".join(dict.fromkeys(look_up.missing))
        print(f"looked up and not found: {escaped(missing)}", file=sys.stderr)
    return page.code


def _page(function: Function, change: Change, look_up: LookUp) -> "Page":
    """What the function would send; raises `CannotDo` if it does not use `deliver`."""
    page, problem = Page(look_up), None
    with sealed() as seal:
        try:
            asyncio.run(_call(function, change, page))
        except Exception as error:  # noqa: BLE001 - a function may raise anything
            problem = f"{broken_at(error)}: {type(error).__name__}: {error}"
    if seal.attempts:
        raise CannotDo(
            f"{change.function} {seal.attempts[0]}: preview only shows what goes through deliver; "
            "nothing was sent"
        )
    if problem:
        raise CannotDo(problem)
    if not page.lines:
        raise CannotDo(
            f"{change.function} does not call deliver for this document: nothing to preview"
        )
    return page


async def _call(function: Function, change: Change, page: "Page") -> None:
    try:
        with delivering_by(page.deliver):
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


def _change(chosen: argparse.Namespace, watch: Watch) -> Change:
    if watch.on == "created" and chosen.before:
        raise CannotDo(f"{chosen.handler} is called for new documents: leave out --before")
    if watch.on == "updated" and not chosen.before:
        raise CannotDo(f"{chosen.handler} is called for changed documents: give --before")
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
        after=Document(path, fields_in(chosen.document)),
        time=datetime.now(UTC),
        database=watch.database,
        function=chosen.handler,
    )


# Other documents


def _look_up(chosen: argparse.Namespace, change: Change) -> LookUp:
    if chosen.project and not chosen.look_ups:
        warn_of_emulators()
        return LookUpInProject(look_up_for(change))
    return LookUpInFile(documents_in(chosen.look_ups) if chosen.look_ups else {})


@dataclass
class LookUpInProject:
    """Reads documents of a project, the only thing a preview reads from the network."""

    documents: LookUp

    async def __call__(self, path: str) -> Document | None:
        with reading():
            return await self.documents(path)

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Document | None]:
        with reading():
            return await self.documents.many(*paths, fields=fields)

    async def listed(self, collection: str, field: str, values: Sequence[str]) -> set[str]:
        with reading():
            return await self.documents.listed(collection, field, values)


@dataclass
class LookUpInFile:
    """Reads documents from a file instead of a database, and remembers which were missing."""

    documents: Mapping[str, Mapping[str, Any]]
    missing: list[str] = field(default_factory=list)

    async def __call__(self, path: str) -> Document | None:
        (document,) = await self.many(path)
        return document

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Document | None]:
        self.missing += [path for path in paths if path not in self.documents]
        return [self._read(path, fields) for path in paths]

    async def listed(self, collection: str, field: str, values: Sequence[str]) -> set[str]:
        documents: list[Any] = [
            document
            for path, document in self.documents.items()
            if path.rpartition("/")[0] == collection
        ]
        for name in field.split("."):
            documents = [
                each.get(name) if isinstance(each, Mapping) else None for each in documents
            ]
        lists = (listed for listed in documents if isinstance(listed, list))
        return {value for listed in lists for value in listed if value in values}

    def _read(self, path: str, fields: Sequence[str]) -> Document | None:
        if path not in self.documents:
            return None
        return only(Document(path, self.documents[path]), fields)


# Instead of a delivery


@dataclass
class Page:
    """What would be sent, as lines for a terminal, and the exit code."""

    look_up: LookUp
    lines: list[str] = field(default_factory=list)
    code: int = 0

    async def deliver(self, change: Change, handler: PushHandler, report_to: str | None) -> None:
        heading = f"{change.function}  {change.path}"
        try:
            push = await handler(change, self.look_up)
            if push is None:
                self.lines.append(escaped(f"{heading}: nothing to send"))
            else:
                self._show(heading, push, change)
        except BatchpushError as error:
            self._refuse(heading, str(error))
        except Exception as error:  # noqa: BLE001 - a handler may raise anything
            self._refuse(heading, f"{broken_at(error)}: {type(error).__name__}: {error}")

    def _show(self, heading: str, push: Push, change: Change) -> None:
        push.check()
        deferral = defer(push.groups, document=change.path, delivery="", now=change.time)
        keys = settings().batch_apps
        at_once = replace(push, recipients=deferral.now)
        calls = list(at_once.calls(tuple(keys))) if deferral.now else []
        counted = f"{len(calls)} {'call' if len(calls) == 1 else 'calls'}"
        self.lines.append(escaped(f"{heading}: {counted}, not sent"))
        apps: dict[bytes, list[str]] = {}
        for call in calls:
            apps.setdefault(call.body, []).append(f"{call.app} {masked(keys[call.app])}")
        for body, named in apps.items():
            self.lines += [", ".join(named), *indented_json(body, "  ")]
        for part in deferral.later.values():
            waiting = sum(map(len, part.recipients))
            self.lines.append(f"{waiting} in quiet hours until {part.until.isoformat()}")

    def _refuse(self, heading: str, problem: str) -> None:
        self.lines.append(escaped(f"{heading}: no push can be made from it: {problem}"))
        self.code = 1
