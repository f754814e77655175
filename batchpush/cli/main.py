"""The command line: `check`, `preview`, `send-test` and `probe` before a deployment; afterwards,
commands to see what happened to the pushes and to act on it.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence

from batchpush.cli import check, deliveries, erase, preview, probe, replay, send_test, stats
from batchpush.cli.records import Command, on_records
from batchpush.cli.terminal import CannotDo, complain
from batchpush.errors import ConfigurationError, TryAgainLater


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 everything is done, 1 something is left, 2 the command failed."""
    from google.auth.exceptions import GoogleAuthError

    chosen = parser().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for a terminal that is not UTF-8
    try:
        command: Command = chosen.command
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


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--project", metavar="ID", help="the Google Cloud project (GOOGLE_CLOUD_PROJECT)"
    )
    top = argparse.ArgumentParser(
        prog="python -m batchpush", description="Check a deployment and manage its pushes."
    )
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Command, purpose: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, parents=[common], help=purpose, description=purpose)
        added.set_defaults(command=command)
        return added

    check.add_arguments(add("check", check.check, check.PURPOSE))
    preview.add_arguments(add("preview", preview.preview, preview.PURPOSE))
    send_test.add_arguments(add("send-test", send_test.send_test, send_test.PURPOSE))
    probe.add_arguments(add("probe", probe.probe, probe.PURPOSE))
    listing = add("deliveries", on_records(deliveries.deliveries), deliveries.PURPOSE)
    deliveries.add_arguments(listing)
    showing = add("show", on_records(deliveries.show), deliveries.PURPOSE_OF_SHOW)
    deliveries.add_arguments_of_show(showing)
    replay.add_arguments(add("replay", on_records(replay.replay), replay.PURPOSE))
    erase.add_arguments(add("erase", on_records(erase.erase), erase.PURPOSE))
    stats.add_arguments(add("stats", on_records(stats.stats), stats.PURPOSE))
    return top
