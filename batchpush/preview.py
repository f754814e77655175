"""`preview`: the calls that a document would cause, without sending any."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import asyncio
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchpush.change import Change, Document, path_params
from batchpush.delivery import Handler, delivering_by
from batchpush.discovery import Watch, broken_at, load, watch_of
from batchpush.env_files import project_called
from batchpush.errors import BatchpushError, ConfigurationError
from batchpush.lookup import LookUp, look_up_for
from batchpush.push import Push
from batchpush.settings import mended, problems_in, settings
from batchpush.terminal import CannotDo, escaped, indented_json, masked, variables_for
from batchpush.triggers import WATCHED, Function
from batchpush.waiting import arrange

PURPOSE = "Show the calls that a document would cause, without sending any."
SOURCES = {
    "firestore": "//firestore.googleapis.com/projects/{project}/databases/{database}",
    "database": (
        "//firebasedatabase.googleapis.com/projects/_/locations/{region}/instances/"
        "{project}-default-rtdb"
    ),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("handler", metavar="HANDLER", help="a function of main.py: new_message")
    parser.add_argument("--document", metavar="FILE", required=True, help="its fields, as JSON")
    parser.add_argument("--before", metavar="FILE", help="its fields before the write")
    parser.add_argument("--path", help="where it is; else a path that fits")
    parser.add_argument(
        "--look-ups",
        metavar="FILE",
        help="the other documents, as {PATH: FIELDS}; else those of --project, else there are none",
    )
    parser.add_argument("--language", help="what people without a language of their own read")


def preview(chosen: argparse.Namespace) -> int:
    _prepare(chosen)
    main = _main()
    watched = _watched(main)
    if chosen.handler not in watched:
        names = ", ".join(sorted(watched))
        raise CannotDo(f"no write calls {chosen.handler} with these SOURCES; there are {names}")
    change = _change(chosen, watched[chosen.handler])
    look_up = _look_up(chosen, change)
    page = Page(look_up)
    asyncio.run(_call(WATCHED[chosen.handler].function, change, page))
    print("\n".join(page.lines))
    if isinstance(look_up, LookUpInFile) and look_up.missing:
        missing = ", ".join(dict.fromkeys(look_up.missing))
        print(f"looked up and not there: {escaped(missing)}", file=sys.stderr)
    return page.code


async def _call(function: Function, change: Change, page: "Page") -> None:
    with delivering_by(page.deliver):
        await function(change)


def _prepare(chosen: argparse.Namespace) -> None:
    """The settings of `.env`; what is wrong in them is said, and does not stop a preview."""
    project = project_called(chosen.project) if chosen.project else None
    environment = dict(variables_for(project)) | os.environ
    if chosen.language:
        environment["DEFAULT_LANGUAGE"] = chosen.language
    for problem in problems_in(environment).values():
        print(f"batchpush: {escaped(problem)}; shown without it", file=sys.stderr)
    os.environ.update(mended(environment) | {"LOG_LEVEL": "ERROR"})
    if project:
        os.environ["GOOGLE_CLOUD_PROJECT"] = project.id


def _main() -> Any:
    try:
        return load()
    except ConfigurationError:
        raise
    except Exception as error:
        raise CannotDo(f"{broken_at(error)}: {type(error).__name__}: {error}") from None


def _watched(main: Any) -> dict[str, Watch]:
    """The functions of `main.py` that a write calls."""
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


def fields_in(file: str) -> dict[str, Any]:
    """A JSON object; raises `CannotDo` for anything else."""
    try:
        value = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise CannotDo(f"{file}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise CannotDo(f"{file} is not JSON") from None
    if not isinstance(value, dict):
        raise CannotDo(f"{file} is not a JSON object")
    return value


# Other documents


def _look_up(chosen: argparse.Namespace, change: Change) -> LookUp:
    if chosen.project and not chosen.look_ups:
        return look_up_for(change)
    documents = fields_in(chosen.look_ups) if chosen.look_ups else {}
    if wrong := [path for path, fields in documents.items() if not isinstance(fields, dict)]:
        raise CannotDo(f"{chosen.look_ups}: {wrong[0]} is not a JSON object")
    return LookUpInFile(documents)


@dataclass
class LookUpInFile:
    """Documents of a file in place of a database; remembers which were not there."""

    documents: Mapping[str, Mapping[str, Any]]
    missing: list[str] = field(default_factory=list)

    async def __call__(self, path: str) -> Document | None:
        (document,) = await self.many(path)
        return document

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Document | None]:
        self.missing += [path for path in paths if path not in self.documents]
        return [self._read(path, fields) for path in paths]

    def _read(self, path: str, fields: Sequence[str]) -> Document | None:
        if path not in self.documents:
            return None
        document = self.documents[path].items()
        return Document(path, {k: v for k, v in document if not fields or k in fields})


# In the place of a delivery


@dataclass
class Page:
    """What would be sent, for a terminal; and the exit code."""

    look_up: LookUp
    lines: list[str] = field(default_factory=list)
    code: int = 0

    async def deliver(self, change: Change, handler: Handler, report_to: str | None) -> None:
        heading = f"{change.function}  {change.path}"
        try:
            push = await handler(change, self.look_up)
            if push is None:
                self.lines = [f"{heading}: nothing to send"]
            else:
                self._show(heading, push, change)
        except BatchpushError as error:
            self._refuse(heading, str(error))
        except Exception as error:
            self._refuse(heading, f"{broken_at(error)}: {type(error).__name__}: {error}")

    def _show(self, heading: str, push: Push, change: Change) -> None:
        push.check()
        arranged = arrange(push.groups, document=change.path, delivery="", now=change.time)
        keys = settings().batch_apps
        at_once = replace(push, recipients=arranged.now)
        calls = list(at_once.calls(tuple(keys))) if arranged.now else []
        counted = f"{len(calls)} {'call' if len(calls) == 1 else 'calls'}"
        self.lines = [escaped(f"{heading}: {counted}, not sent")]
        apps: dict[bytes, list[str]] = {}
        for call in calls:
            apps.setdefault(call.body, []).append(f"{call.app} {masked(keys[call.app])}")
        for body, named in apps.items():
            self.lines += [", ".join(named), *indented_json(body, "  ")]
        for part in arranged.later.values():
            waiting = sum(map(len, part.recipients))
            self.lines.append(f"{waiting} in quiet hours until {part.until.isoformat()}")

    def _refuse(self, heading: str, problem: str) -> None:
        self.lines = [escaped(f"{heading}: no push can be made of it: {problem}")]
        self.code = 1
