"""Deploys with the Firebase CLI, from a terminal or from a pipeline.

    python -m local.deploy [--project PROJECT] [--delete]

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
    3. all functions                       without --force: the second step left no question

Where a function would have to be deleted, nothing is deployed; the CLI would stop as well, but only
after the upload. `--delete` accepts that too, once for the functions that are listed.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from batchpush.environment import with_defaults

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


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    chosen = ["--project", options.project] if options.project else []
    cli = Cli(options.firebase, chosen)
    if sys.stdin.isatty():
        return cli.deploy([FUNCTIONS, INDEXES])
    try:
        codebase = codebase_of_folder()
        plan = compare(wanted(project_of(options.project)), deployed(cli.functions(), codebase))
        if plan.gone and not options.delete:
            raise Stopped("\n".join(_to_delete(plan.gone, chosen)))
    except Stopped as why:
        print(why, file=sys.stderr)
        return 1
    print("\n".join(accepted(plan)), flush=True)
    for only, is_forced in steps_of(plan, codebase):
        if code := cli.deploy(only, is_forced):
            return code
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.deploy", description="Deploy with the Firebase CLI."
    )
    parser.add_argument("--firebase", default="emulators/node_modules/.bin/firebase")
    parser.add_argument("--project", help="its id or alias")
    parser.add_argument(
        "--delete",
        action="store_true",
        help="without a terminal: also delete deployed functions that are not in main.py",
    )
    return parser.parse_args(arguments)


@dataclass(frozen=True)
class Cli:
    firebase: str
    chosen: Sequence[str]

    def deploy(self, only: Iterable[str], is_forced: bool = False) -> int:
        force = ["--force"] if is_forced else []
        command = [self.firebase, "deploy", "--only", ",".join(only), *force, *self.chosen]
        return subprocess.run(command).returncode

    def functions(self) -> list[dict[str, Any]]:
        """All functions of the project, in every region, as the CLI describes them."""
        asked = subprocess.run(
            [self.firebase, "functions:list", "--json", *self.chosen],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
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


def codebase_of_folder() -> str:
    try:
        name = "firebase.json"
        config = firebase_files.parse(name, firebase_files.text_of(Path(name)))
        return str(firebase_files.codebases(config)[0].get("codebase") or "default")
    except (OSError, firebase_files.Unreadable, LookupError) as why:
        raise Stopped(f"firebase.json: {why}") from None


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


def steps_of(plan: Plan, codebase: str) -> list[tuple[list[str], bool]]:
    """What each call of the CLI deploys, and whether with --force."""
    if plan.gone:
        # In one go, for the CLI deletes only after everything else has succeeded; and only in our
        # codebase, for nobody has said what of another one is accepted.
        return [([INDEXES], False), ([f"functions:{codebase}"], True), ([FUNCTIONS], False)]
    if not plan.forced:
        return [([FUNCTIONS, INDEXES], False)]
    named = [f"functions:{codebase}:{name}" for name in plan.forced]
    return [([INDEXES], False), (named, True), ([FUNCTIONS], False)]


def _to_delete(gone: Sequence[Function], chosen: Sequence[str]) -> Iterator[str]:
    yield "These functions are deployed, and are not in main.py with these settings:"
    yield from (f"  {each}" for each in gone)
    yield "Nothing was deployed, since there is no terminal to ask at. Deploy from a terminal, add"
    yield "DELETE=yes to have them deleted once their successors are there, or delete them first:"
    for each in gone:
        command = ["firebase", "functions:delete", each.name, "--region", each.region, "--force"]
        yield "  " + " ".join([*command, *chosen])


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
        yield f"- deleted, as DELETE=yes says: {', '.join(map(str, plan.gone))}"


def _names(functions: Iterable[Function]) -> str:
    return ", ".join(each.name for each in functions)


if __name__ == "__main__":
    sys.exit(main())
