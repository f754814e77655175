"""The command line: `init`, `check`, `preview`, `send-test` and `probe` before a deployment;
`deploy`; and afterwards commands to see what happened to the pushes and to act on it.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from batchpush.cli import (
    check,
    completion,
    console,
    deliveries,
    deploy,
    erase,
    init,
    preview,
    probe,
    receipts,
    replay,
    send_test,
    stats,
    sync_profiles,
)
from batchpush.cli.arguments import Help, Parser
from batchpush.cli.records import Command, on_records
from batchpush.cli.terminal import CannotDo, complain
from batchpush.cli.version import VERSION
from batchpush.errors import ConfigurationError, TryAgainLater
from batchpush.logs import written_to

PROGRAM = "batchpush" if Path(sys.argv[0]).name == "batchpush" else "python -m batchpush"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 everything is done, 1 something is left, 2 the command failed."""
    from google.auth.exceptions import GoogleAuthError

    chosen = parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for a terminal that is not UTF-8
    try:
        command: Command = chosen.command
        with written_to(sys.stderr):  # stdout is for what was asked for
            code = command(chosen)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # `| head` has ended; discard what Python still flushes
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (CannotDo, ConfigurationError, TryAgainLater) as error:
        problem = str(error)
    except GoogleAuthError as error:
        problem = f"{type(error).__name__}: try gcloud auth application-default login"
    except KeyboardInterrupt:
        problem = "interrupted; the sweep will finish what was being sent"
    complain(problem)
    return 2


# What --project means to a command
ON_PROJECT = (
    "the Google Cloud project, or its alias (default: the one that `firebase deploy` takes, or "
    "else GOOGLE_CLOUD_PROJECT)"
)
TO_PROJECT = (
    "the project to deploy to, or its alias (default: the one that `firebase deploy` takes)"
)
ALL_PROJECTS = "check only this project, or its alias (default: all that .firebaserc names)"
FROM_PROJECT = "the project, or its alias, whose settings and other documents are read"


def parser() -> argparse.ArgumentParser:
    top = Parser(prog=PROGRAM, description="Check a deployment and manage its pushes.")
    top.add_argument("--version", action="version", version=f"batchpush {VERSION}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str,
        command: Command,
        purpose: str,
        examples: Sequence[str],
        project: str = ON_PROJECT,
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(
            name,
            help=purpose.partition(". ")[0].rstrip(".") + ".",
            description=purpose,
            epilog="\n".join(["examples:", *(f"  {PROGRAM} {each}" for each in examples)]),
            formatter_class=Help,
        )
        added.set_defaults(command=command)
        if project:
            added.add_argument("--project", metavar="ID", help=project)
        return added

    init.add_arguments(add("init", init.init, init.PURPOSE, init.EXAMPLES, ""))
    check.add_arguments(add("check", check.check, check.PURPOSE, check.EXAMPLES, ALL_PROJECTS))
    deploy.add_arguments(add("deploy", deploy.deploy, deploy.PURPOSE, deploy.EXAMPLES, TO_PROJECT))
    preview.add_arguments(
        add("preview", preview.preview, preview.PURPOSE, preview.EXAMPLES, FROM_PROJECT)
    )
    testing = add("send-test", send_test.send_test, send_test.PURPOSE, send_test.EXAMPLES)
    send_test.add_arguments(testing)
    probe.add_arguments(add("probe", probe.probe, probe.PURPOSE, probe.EXAMPLES))
    listing = on_records(deliveries.deliveries)
    deliveries.add_arguments(add("deliveries", listing, deliveries.PURPOSE, deliveries.EXAMPLES))
    showing = on_records(deliveries.show)
    deliveries.add_arguments_of_show(
        add("show", showing, deliveries.PURPOSE_OF_SHOW, deliveries.EXAMPLES_OF_SHOW)
    )
    replay.add_arguments(add("replay", on_records(replay.replay), replay.PURPOSE, replay.EXAMPLES))
    console.add_arguments(add("console", console.console, console.PURPOSE, console.EXAMPLES))
    erase.add_arguments(add("erase", on_records(erase.erase), erase.PURPOSE, erase.EXAMPLES))
    receipts.add_arguments(
        add("receipts", on_records(receipts.receipts), receipts.PURPOSE, receipts.EXAMPLES)
    )
    stats.add_arguments(add("stats", on_records(stats.stats), stats.PURPOSE, stats.EXAMPLES))
    syncing = on_records(sync_profiles.sync_profiles)
    sync_profiles.add_arguments(
        add("sync-profiles", syncing, sync_profiles.PURPOSE, sync_profiles.EXAMPLES)
    )
    completion.add_arguments(
        add("completion", _complete, completion.PURPOSE, completion.EXAMPLES, "")
    )
    return top


def _complete(chosen: argparse.Namespace) -> int:
    sys.stdout.write(completion.script(parser(), chosen.shell))
    return 0
