"""The command: look at the folder, then at each project, and say all of it at once."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from batchpush.check.cloud import PARTS, Google, NotKnown, google, look, of_cloud
from batchpush.check.environment import of_shell
from batchpush.check.findings import Finding, Severity, counted, error, not_checked
from batchpush.check.folder import Deployment, Folder, of_deployment, of_folder
from batchpush.discovery import discover
from batchpush.env_files import Project, environment_of, files_for, project_called, projects, read
from batchpush.settings import mended, project_id
from batchpush.terminal import CannotDo

PURPOSE = "Say what would keep a deployment, or its pushes, from working."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offline", action="store_true", help="look at this folder only")


def check(chosen: argparse.Namespace) -> int:
    """Exit codes: 0 nothing is wrong, 1 there are errors."""
    if not Path("main.py").is_file():
        raise CannotDo("there is no main.py here: run it where firebase.json is")
    wanted = chosen.project or project_id()
    named = [project_called(wanted)] if wanted else projects()
    deployments = [deployment_to(each) for each in named] or [deployment_to(None)]
    folder = Folder.here()
    found = show("this folder", of_folder(folder, [each.settings for each in deployments]))
    app_keys = {key for each in deployments for key in each.settings.batch_apps.values()}
    if of_environment := list(of_shell(os.environ, app_keys)):
        found += show("this shell", of_environment)
    for deployment in deployments:
        found += show(
            str(deployment.project or "no project"), of_project(deployment, chosen.offline)
        )
    print(f"\n{counted(found)}")
    return 1 if any(finding.severity is Severity.ERROR for finding in found) else 0


def show(heading: str, findings: Iterable[Finding]) -> list[Finding]:
    """Each as soon as it is known: the cloud takes its time."""
    print(f"\n{heading}")
    shown = []
    for finding in dict.fromkeys(findings):
        print("\n".join(finding.lines()), flush=True)
        shown.append(finding)
    return shown


def deployment_to(project: Project | None) -> Deployment:
    files = files_for(project)
    variables = read(files)
    return Deployment(
        project=project,
        files=[file.name for file in files],
        variables=variables,
        discovery=discover(mended(environment_of(variables))),
    )


def of_project(
    deployment: Deployment, offline: bool, connect: Callable[[str], Google] = google
) -> Iterator[Finding]:
    """In the order to mend them."""
    project = deployment.project
    if project is None:
        yield error("there is no project to deploy to", mend="firebase use --add")
    yield from of_deployment(deployment)
    try:
        if project is None:
            raise NotKnown("no project")
        if offline:
            raise NotKnown("--offline")
        if project.id.startswith("demo-"):
            raise NotKnown("a demo- project is on this machine only")
        there = connect(project.id)
    except NotKnown as why:
        yield not_checked(f"{', '.join(PARTS)}: {why}")
        return
    yield from of_cloud(look(there, project.id, deployment.settings, deployment.discovery))
