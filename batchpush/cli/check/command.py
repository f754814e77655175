"""The command: check the folder, then each project, and report everything in one run."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from batchpush.cli.arguments import add_json
from batchpush.cli.check.cloud import PARTS, Google, NotKnown, google, look, of_cloud
from batchpush.cli.check.environment import of_shell
from batchpush.cli.check.findings import Finding, Severity, counted, error, not_checked, warning
from batchpush.cli.check.folder import (
    Deployment,
    Folder,
    of_deployment,
    of_folder,
    without_env,
)
from batchpush.cli.check.names import names
from batchpush.cli.discovery import discover
from batchpush.cli.env_files import (
    Project,
    deployed_to,
    environment_of,
    files_for,
    project_called,
    projects,
    read,
)
from batchpush.cli.installation import deploy
from batchpush.cli.terminal import require_main
from batchpush.environment import project_id, with_defaults

Section = tuple[str, Iterable[Finding]]

PURPOSE = "List what would stop a deployment or its pushes from working."
EXAMPLES = (
    "check --project staging",
    "check --offline",
    "check --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--offline", action="store_true", help="check only this folder, and ask Google nothing"
    )
    add_json(parser, "one JSON document")


def check(chosen: argparse.Namespace) -> int:
    """Exit codes: 0 no errors, 1 errors."""
    require_main()
    sections = sections_of(chosen.project, chosen.offline)
    found = as_json(sections) if chosen.json else as_lines(sections)
    return 1 if any(finding.severity is Severity.ERROR for finding in found) else 0


def sections_of(wanted: str | None, offline: bool) -> Iterator[Section]:
    """A heading and its findings: for this folder, this shell, and each project."""
    deployments = [deployment_to(each) for each in projects_to_check(wanted)]
    settings = [each.settings for each in deployments]
    imported = {file for each in deployments for file in each.discovery.files}
    yield (
        "this folder",
        chain(
            of_choice(wanted),
            without_env(deployments),
            of_folder(Folder.here(), settings, imported),
            names(),
        ),
    )
    app_keys = {key for each in settings for key in each.batch_apps.values()}
    if of_environment := list(of_shell(os.environ, app_keys)):
        yield "this shell", of_environment
    for deployment in deployments:
        yield str(deployment.project or "no project"), of_project(deployment, offline)


def as_lines(sections: Iterable[Section]) -> list[Finding]:
    """Print each finding as soon as it is known: the cloud is slow."""
    found: list[Finding] = []
    for heading, findings in sections:
        print(f"\n{heading}")
        for finding in unique(findings):
            print("\n".join(finding.lines()), flush=True)
            found.append(finding)
    print(f"\n{counted(found)}")
    return found


def as_json(sections: Iterable[Section]) -> list[Finding]:
    """Print one JSON document, once everything is known."""
    found = [(heading, each) for heading, findings in sections for each in unique(findings)]
    severities = [finding.severity for _, finding in found]
    document = {
        "errors": severities.count(Severity.ERROR),
        "warnings": severities.count(Severity.WARNING),
        "not_checked": severities.count(Severity.NOT_CHECKED),
        "findings": [finding.as_json(heading) for heading, finding in found],
    }
    print(json.dumps(document, indent=2))
    return [finding for _, finding in found]


def unique(findings: Iterable[Finding]) -> Iterator[Finding]:
    """The findings without repetitions, in their order."""
    known: set[Finding] = set()
    for finding in findings:
        if finding not in known:
            known.add(finding)
            yield finding


def projects_to_check(wanted: str | None) -> list[Project | None]:
    """The chosen project, or else all that `firebase deploy` might be used for."""
    if wanted:
        return [project_called(wanted)]
    known, taken = projects(), deployed_to()
    if taken and taken not in known:
        known = [taken, *known]
    if not known and (named := project_id()):
        known = [Project(named)]
    return [*known] or [None]


def of_choice(wanted: str | None) -> Iterator[Finding]:
    """Check that `firebase deploy` would use the intended project."""
    if wanted:
        project = project_called(wanted)
        for file in files_for(Project("", project.alias)) if wanted != project.alias else ():
            if file.name == f".env.{project.alias}":
                says = f"the Firebase CLI does not read it for {wanted}, only for its alias"
                yield error(says, str(file), deploy(project.alias))
        return
    taken, named = deployed_to(), project_id()
    if taken is None and (aliases := [each.alias for each in projects()]):
        says = f"none of {', '.join(map(str, aliases))} is the project that `firebase deploy` takes"
        yield warning(says, fix=deploy(aliases[0]))
    if named and named != (taken and taken.id):
        says = f"GOOGLE_CLOUD_PROJECT is {named}, and `firebase deploy` does not read it"
        goes = f": it deploys to {taken}" if taken else ""
        yield warning(says + goes, fix=deploy(named))


def deployment_to(project: Project | None) -> Deployment:
    files = files_for(project)
    variables = read(files)
    of_cli = {"GCLOUD_PROJECT": project.id} if project else {}
    return Deployment(
        project=project,
        files=[str(file) for file in files],
        variables=variables,
        discovery=discover(dict(with_defaults(environment_of(variables))) | of_cli),
    )


def of_project(
    deployment: Deployment, offline: bool, connect: Callable[[str], Google] = google
) -> Iterator[Finding]:
    """The findings in the order to fix them."""
    project = deployment.project
    if project is None:
        yield error("there is no project to deploy to", fix="firebase use --add")
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
