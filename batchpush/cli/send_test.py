"""`send-test`: send one push to one user, to check the keys and that a phone shows it."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import asyncio
import sys

from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.outcome import Outcome, classify
from batchpush.cli.arguments import user_id
from batchpush.cli.terminal import CannotDo, escaped, masked, prepare_environment
from batchpush.environment import Settings, is_loopback, settings
from batchpush.pushes.push import Message, Push, Recipients
from batchpush.timing import Timing

PURPOSE = "Send a test push to one user, through every app."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", metavar="USER", type=user_id, required=True, help="their user id")
    parser.add_argument("--really", action="store_true", help="send to Batch without asking")


def send_test(chosen: argparse.Namespace) -> int:
    prepare_environment(chosen.project)
    if not (is_loopback(settings().batch_api_url) or chosen.really or _agrees(chosen.to)):
        raise CannotDo("nothing was sent; --really sends it without asking")
    return asyncio.run(_send(chosen.to, settings()))


def _agrees(user: str) -> bool:
    if not sys.stdin.isatty():
        return False
    apps = ", ".join(f"{app} {masked(key)}" for app, key in settings().batch_apps.items())
    print(f"This sends a real push to {escaped(user)} through {apps}.")
    return input("Type the user id again to send it: ") == user


async def _send(user: str, chosen: Settings) -> int:
    client = BatchClient(chosen, Timing())
    outcomes = set()
    try:
        for call in a_test_push(user).calls(tuple(chosen.batch_apps)):
            reply = await client.send(call.app, call.body)
            outcome = classify(reply).outcome
            said = reply.problem or reply.said() or (f"HTTP {reply.status}" if reply.status else "")
            print(f"{call.app:<10}  {outcome.value:<8}  {escaped(said)}".rstrip())
            outcomes.add(outcome)
    finally:
        await client.aclose()
    return 0 if outcomes == {Outcome.ACCEPTED} else 1


def a_test_push(user: str) -> Push:
    return Push(
        group_id="batchpush_test",
        recipients=Recipients(custom_ids=[user]),
        message=Message(title="Test", body="This is a test of batchpush."),
    )
