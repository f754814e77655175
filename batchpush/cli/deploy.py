"""The command `deploy`: with the Firebase CLI, from a terminal or from a pipeline.

On a terminal the CLI asks what it has to. Without one it stops where it would ask, and first of
all at "Pass the --force option to deploy functions with a failure policy": our functions are
deployed with retries. But `--force` answers every question of the CLI with yes (firebase-tools
15.34.2, `options.force` in lib/deploy/functions/prompts.js and lib/firestore/api.js):

    a function is retried from now on      yes, that is what this project is built for
    MIN_INSTANCES raises the bill          yes, it stands in .env
    no clean-up of container images        yes: they are deleted after a day
    functions that left the code           would delete them, also in a former REGION
    indexes, TTL that are not in the file  would delete them

So without a terminal we look at what is deployed, say what we accept, and deploy in three steps:

    1. the indexes                         without --force: nothing is deleted
    2. functions with such a question      with --force, each of them named: the CLI deletes only
                                           among the functions that `--only` names (`filters` of
                                           lib/deploy/functions/release/planner.js)
    3. all functions of the codebase       without --force: the second step left no question

Where a function would have to be deleted, nothing is deployed; the CLI would stop as well, but only
after the upload. `--delete` accepts that too, once for the functions that are listed.

Other codebases of the project are left alone.
"""
# ruff: noqa: S603, T201 (a program for the command line runs another one, and prints)

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchpush.cli import firebase_files
from batchpush.cli.discovery import discover
from batchpush.cli.env_files import (
    Project,
    deployed_to,
    environment_of,
    files_for,
    project_called,
    read,
)
from batchpush.cli.terminal import complain, require_main
from batchpush.environment import with_defaults

PURPOSE = (
    "Deploy with the Firebase CLI; without a terminal, nothing is deleted unless --delete is given."
)
EXAMPLES = ("deploy", "deploy --project staging --delete")
INDEXES = "firestore:indexes"
FUNCTIONS = "functions"

# What the CLI's deploymentTool.js marks its functions with; it deletes no others.
MARK = "cli-firebase"


class Stopped(Exception):
    """Nothing was deployed; the text is for the person who reads the pipeline's log."""


@dataclass(frozen=True, order=True)
class Function:
    """A function as far as the CLI asks about it."""

    region: str
    name: str
    is_retried: bool = False
    min_instances: int = 0

    def __str__(self) -> str:
        return f"{self.name} ({self.region})"


@dataclass(frozen=True)
class Plan:
    """What `--force` is needed for, and what it would delete."""

    new: tuple[Function, ...] = ()
    retried: tuple[Function, ...] = ()
    dearer: tuple[Function, ...] = ()
    gone: tuple[Function, ...] = ()

    @property
    def forced(self) -> list[str]:
        return sorted({each.name for each in (*self.new, *self.retried, *self.dearer)})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--firebase",
        metavar="PROGRAM",
        default="firebase",
        help="the Firebase CLI (default: firebase)",
    )
    parser.add_argument(
        "--delete",
        action="store_true",
        help="without a terminal: also delete deployed functions that are not in main.py",
    )


def deploy(chosen: argparse.Namespace) -> int:
    """Exit codes: 0 deployed, 2 nothing was deployed, or that of the Firebase CLI."""
    require_main()
    try:
        if not shutil.which(chosen.firebase):
            raise Stopped(f"{chosen.firebase} is not there: npm install -g firebase-tools")
        codebase = codebase_of_folder()
        with python_of(codebase.runtime) as path:
            return _deploy(chosen, codebase, path)
    except Stopped as why:
        first, *more = str(why).split("\n")
        complain(first)
        print("".join(f"{line}\n" for line in more), end="", file=sys.stderr)
        return 2


def _deploy(chosen: argparse.Namespace, codebase: "Codebase", path: str) -> int:
    project = ["--project", chosen.project] if chosen.project else []
    cli = Cli(chosen.firebase, project, path)
    if sys.stdin.isatty():
        return cli.deploy([codebase.functions, INDEXES])
    plan = compare(wanted(project_of(chosen.project)), deployed(cli.functions(), codebase.name))
    if plan.gone and not chosen.delete:
        raise Stopped("\n".join(_to_delete(plan.gone, project)))
    print("\n".join(accepted(plan)), flush=True)
    for only, is_forced in steps_of(plan, codebase):
        if code := cli.deploy(only, is_forced):
            return code
    return 0


@contextmanager
def python_of(runtime: str) -> Iterator[str]:
    """A PATH on which the CLI finds the runtime's Python, whatever the version of `venv/`.

    The CLI activates `venv/` and reads `main.py` with `python3.12`, for the runtime python312. A
    `venv/` of another Python has no such command, but describes the functions the same; they are
    built and run with the runtime.
    """
    path = os.environ["PATH"]
    python = Path("venv/bin/python").absolute()
    name = runtime.replace("python3", "python3.")
    if not python.exists() or python.with_name(name).exists():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        command = Path(folder, name)
        command.write_text(f'#!/bin/sh\nexec "{python}" "$@"\n')
        command.chmod(0o755)
        yield f"{folder}{os.pathsep}{path}"


@dataclass(frozen=True)
class Cli:
    firebase: str
    project: Sequence[str]
    path: str

    def deploy(self, only: Iterable[str], is_forced: bool = False) -> int:
        force = ["--force"] if is_forced else []
        command = [self.firebase, "deploy", "--only", ",".join(only), *force, *self.project]
        return subprocess.run(command, env=self._environment).returncode

    @property
    def _environment(self) -> Mapping[str, str]:
        return os.environ | {"PATH": self.path}

    def functions(self) -> list[dict[str, Any]]:
        """All functions of the project, in every region, as the CLI describes them."""
        asked = subprocess.run(
            [self.firebase, "functions:list", "--json", *self.project],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=self._environment,
        )
        try:
            answer = json.loads(asked.stdout)
            found: list[dict[str, Any]] = answer["result"]
        except (ValueError, LookupError, TypeError):
            said = _error_in(asked.stdout)
            raise Stopped(f"cannot list what is deployed: {said}\nNothing was deployed.") from None
        return found


def _error_in(output: str) -> str:
    try:
        return str(json.loads(output)["error"])
    except (ValueError, LookupError, TypeError):
        return output.strip() or "the Firebase CLI says nothing"


# --- Look ----------------------------------------------------------------------------------------


def project_of(name: str | None) -> Project | None:
    return project_called(name) if name else deployed_to()


@dataclass(frozen=True)
class Codebase:
    """The entry of `firebase.json` that deploys this folder."""

    name: str
    runtime: str = ""
    is_alone: bool = True  # in the project

    @property
    def functions(self) -> str:
        """The CLI's arguments to deploy all of this codebase, and no other one.

        Of a codebase that is named, it also updates the functions that have not changed.
        """
        return FUNCTIONS if self.is_alone else f"{FUNCTIONS}:{self.name}"


def codebase_of_folder() -> Codebase:
    try:
        entry, *_ = firebase_files.codebases_here()
        all_of_project = firebase_files.all_codebases(firebase_files.config_here())
    except FileNotFoundError:
        raise Stopped("there is no firebase.json here or in a folder above") from None
    except (LookupError, TypeError):
        raise Stopped('firebase.json has no "functions" with the "source" of this folder') from None
    except OSError as why:
        raise Stopped(f"firebase.json: {why.strerror}") from None
    except firebase_files.Unreadable as why:
        raise Stopped(str(why)) from None
    name, runtime = entry.get("codebase") or "default", entry.get("runtime") or ""
    return Codebase(str(name), str(runtime), is_alone=len(all_of_project) == 1)


def wanted(project: Project | None) -> list[Function]:
    """The functions of `main.py`, with the settings of the project."""
    settings = dict(with_defaults(environment_of(read(files_for(project)))))
    of_cli = {"GCLOUD_PROJECT": project.id} if project else {}
    discovery = discover(settings | of_cli)
    if discovery.problem:
        raise Stopped(f"{discovery.where}: {discovery.problem}")
    return [
        Function(region, name, *_of_endpoint(endpoint))
        for name, endpoint in discovery.endpoints.items()
        for region in endpoint["region"]
    ]


def deployed(endpoints: Iterable[Mapping[str, Any]], codebase: str) -> list[Function]:
    return [
        Function(endpoint["region"], endpoint["id"], *_of_endpoint(endpoint))
        for endpoint in endpoints
        if endpoint.get("codebase") == codebase and _is_managed(endpoint)
    ]


def _is_managed(endpoint: Mapping[str, Any]) -> bool:
    labels = endpoint.get("labels") or {}
    return str(labels.get("deployment-tool", "")).startswith(MARK)


def _of_endpoint(endpoint: Mapping[str, Any]) -> tuple[bool, int]:
    trigger = endpoint.get("eventTrigger") or {}
    return trigger.get("retry") is True, endpoint.get("minInstances") or 0


# --- Decide --------------------------------------------------------------------------------------


def compare(want: Sequence[Function], have: Sequence[Function]) -> Plan:
    there = {_place(each): each for each in have}
    wanted_places = {_place(each) for each in want}
    both = [(each, there[_place(each)]) for each in want if _place(each) in there]
    return Plan(
        new=in_order(each for each in want if _place(each) not in there),
        retried=in_order(now for now, was in both if now.is_retried and not was.is_retried),
        dearer=in_order(now for now, was in both if now.min_instances > was.min_instances),
        gone=in_order(each for each in have if _place(each) not in wanted_places),
    )


def in_order(functions: Iterable[Function]) -> tuple[Function, ...]:
    return tuple(sorted(functions))


def _place(function: Function) -> tuple[str, str]:
    return function.region, function.name


def steps_of(plan: Plan, codebase: Codebase) -> list[tuple[list[str], bool]]:
    """What each call of the CLI deploys, and whether with --force."""
    ours = f"{FUNCTIONS}:{codebase.name}"
    if plan.gone:
        # In one go, for the CLI deletes only after everything else has succeeded.
        return [([INDEXES], False), ([ours], True)]
    if not plan.forced:
        return [([codebase.functions, INDEXES], False)]
    named = [f"{ours}:{name}" for name in plan.forced]
    return [([INDEXES], False), (named, True), ([codebase.functions], False)]


def _to_delete(gone: Sequence[Function], project: Sequence[str]) -> Iterator[str]:
    yield "These functions are deployed, and are not in main.py with these settings:"
    yield from (f"  {each}" for each in gone)
    yield "Nothing was deployed, since there is no terminal to ask at. Deploy from a terminal, give"
    yield "--delete (make deploy DELETE=yes) to delete them once their successors are there, or"
    yield "delete them first:"
    for each in gone:
        command = ["firebase", "functions:delete", each.name, "--region", each.region, "--force"]
        yield "  " + " ".join([*command, *project])


def accepted(plan: Plan) -> Iterator[str]:
    """What is accepted in the user's name, before it is done."""
    retried = [each for each in (*plan.new, *plan.retried) if each.is_retried]
    dearer = [each for each in (*plan.new, *plan.dearer) if each.min_instances]
    if not (plan.forced or plan.gone):
        yield "No terminal to ask at; there is nothing to accept."
        return
    yield "No terminal to ask at. Accepted:"
    if retried:
        yield f"- events are delivered again until they succeed, for a day: {_names(retried)}"
    if dearer:
        yield f"- instances that are kept ready, and cost also while idle: {_names(dearer)}"
    if plan.new:
        yield "- container images older than a day are deleted, unless the registry has a policy"
    if plan.gone:
        yield f"- deleted, as was asked for: {', '.join(map(str, plan.gone))}"


def _names(functions: Iterable[Function]) -> str:
    return ", ".join(each.name for each in functions)
