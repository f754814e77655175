"""`send-test`: send one push to one user, to check the keys and that a phone shows it."""
# ruff: noqa: T201 (a program for the command line prints)

import argparse
import asyncio
import json
import sys
from collections.abc import Callable

from batchpush.batch_api.cep import has_taken
from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.outcome import Outcome, Reply, classify, has_token
from batchpush.cli.arguments import add_json, user_id
from batchpush.cli.terminal import CannotDo, escaped, masked, prepare_environment
from batchpush.environment import CEP, Settings, is_loopback, settings
from batchpush.pushes.push import Message, Push, Recipients
from batchpush.timing import Timing

PURPOSE = "Send a test push to one user, through every app."
EXAMPLES = (
    "send-test --to ann --project staging",
    "send-test --to ann --really --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--to", metavar="USER", type=user_id, required=True, help="the user id of the recipient"
    )
    parser.add_argument("--really", action="store_true", help="send to Batch without asking")
    add_json(parser)


def send_test(chosen: argparse.Namespace) -> int:
    prepare_environment(chosen.project)
    if not (is_loopback(settings().batch_api_url) or chosen.really or _agrees(chosen.to)):
        raise CannotDo("nothing was sent; --really sends it without asking")
    return asyncio.run(_send(chosen.to, settings(), as_json if chosen.json else line))


def _agrees(user: str) -> bool:
    if not sys.stdin.isatty():
        return False
    apps = ", ".join(f"{app} {masked(key)}" for app, key in settings().batch_apps.items())
    print(f"This sends a real push to {escaped(user)} through {apps}.", file=sys.stderr)
    print("Type the user id again to send it: ", end="", file=sys.stderr, flush=True)
    return input() == user


async def _send(user: str, chosen: Settings, told: Callable[[str, Outcome, Reply], str]) -> int:
    client = BatchClient(chosen, Timing())
    outcomes = set()
    try:
        for call in a_test_push(user).calls(chosen.push_apps):
            reply = await client.send(call.app, call.body)
            outcome = classify(reply, has_taken if call.app == CEP else has_token).outcome
            print(told(call.app, outcome, reply))
            outcomes.add(outcome)
    finally:
        await client.aclose()
    return 0 if outcomes == {Outcome.ACCEPTED} else 1


def line(app: str, outcome: Outcome, reply: Reply) -> str:
    said = reply.problem or reply.said() or (f"HTTP {reply.status}" if reply.status else "")
    return f"{app:<10}  {outcome.value:<8}  {escaped(said)}".rstrip()


def as_json(app: str, outcome: Outcome, reply: Reply) -> str:
    problem = reply.problem or reply.said() or None
    about = {"app": app, "outcome": outcome.value, "status": reply.status}
    return json.dumps(about | {"problem": problem})


def a_test_push(user: str) -> Push:
    return Push(
        group_id="batchpush_test",
        recipients=Recipients(custom_ids=[user]),
        message=Message(title="Test", body="This is a test of batchpush."),
    )
