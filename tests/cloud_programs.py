"""A gcloud and a Firebase CLI that take the commands of the pages, and do nothing.

    python -m tests.cloud_programs gcloud services enable firestore.googleapis.com

An unknown command, option or role fails, as it does in the cloud. Only `firebase use --add` leaves
something behind: the project that it chose.
"""

import argparse
import sys
from pathlib import Path


class Parser(argparse.ArgumentParser):
    def __init__(self, **options: object) -> None:
        super().__init__(allow_abbrev=False, **options)  # type: ignore[arg-type]


def command(top: argparse.ArgumentParser, words: str) -> argparse.ArgumentParser:
    """The parser of a command; those of its groups are made on the way."""
    for word in words.split():
        groups = [each for each in top._actions if isinstance(each, argparse._SubParsersAction)]
        (group,) = groups or [top.add_subparsers(required=True)]
        top = group.choices[word] if word in group.choices else group.add_parser(word)
    return top


def gcloud() -> argparse.ArgumentParser:
    top = Parser(prog="gcloud")
    command(top, "auth application-default login")
    command(top, "config set project").add_argument("project")
    command(top, "services enable").add_argument("services", nargs="+")
    for words in ("secrets create", "secrets versions add"):
        secret = command(top, words)
        secret.add_argument("name")
        secret.add_argument("--data-file", type=read, required=True)
        secret.add_argument("--project")
    create = command(top, "iam service-accounts create")
    create.add_argument("name")
    create.add_argument("--project")
    for words in (
        "projects add-iam-policy-binding",
        "iam service-accounts add-iam-policy-binding",
        "run services add-iam-policy-binding",
    ):
        binding = command(top, words)
        binding.add_argument("name")
        binding.add_argument("--member", required=True)
        binding.add_argument("--role", required=True)
        if words.startswith("run"):
            binding.add_argument("--region", required=True)
    command(top, "beta monitoring channels list").add_argument("--format")
    return top


def firebase() -> argparse.ArgumentParser:
    top = Parser(prog="firebase")
    command(top, "use").add_argument("--add", action="store_true")
    delete = command(top, "functions:delete")
    delete.add_argument("names", nargs="+")
    delete.add_argument("--force", action="store_true")
    return top


def read(file: str) -> str:
    """What a secret is made from."""
    text = sys.stdin.read() if file == "-" else ""
    if not text:
        raise argparse.ArgumentTypeError("nothing was given to read")
    return text


PROGRAMS = {"gcloud": gcloud, "firebase": firebase}


if __name__ == "__main__":
    program, *arguments = sys.argv[1:]
    chosen = PROGRAMS[program]().parse_args(arguments)
    if getattr(chosen, "add", False):
        Path(".firebaserc").write_text('{"projects": {"default": "demo-batchpush"}}')
