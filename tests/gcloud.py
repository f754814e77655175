"""A gcloud that takes the commands of `make ops` and nothing else.

    python -m tests.gcloud logging metrics list --project=PROJECT --format=json

It asks the same APIs as gcloud does, at the address that gcloud reads as well. So one test runs
with either.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

ADDRESS = "CLOUDSDK_API_ENDPOINT_OVERRIDES_"  # before LOGGING or MONITORING


def parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--project", required=True)
    common.add_argument("--format", choices=["json"], required=True)
    top = argparse.ArgumentParser(prog="gcloud", allow_abbrev=False)
    groups = top.add_subparsers(required=True)
    for words, api, path, option in (
        ("logging metrics", "LOGGING", "v2/projects/{}/metrics", "--config-from-file"),
        ("alpha monitoring policies", "MONITORING", "v3/projects/{}/alertPolicies", "--policy"),
        ("monitoring dashboards", "MONITORING", "v1/projects/{}/dashboards", "--config"),
    ):
        *outer, last = words.split()
        inner = groups
        for word in outer:
            inner = inner.add_parser(word, allow_abbrev=False).add_subparsers(required=True)
        commands = inner.add_parser(last, allow_abbrev=False).add_subparsers(required=True)
        for verb in ("list", "create", "update"):
            command = commands.add_parser(verb, parents=[common], allow_abbrev=False)
            command.set_defaults(verb=verb, api=api, path=path, name="")
            if verb == "update" or (verb == "create" and api == "LOGGING"):
                command.add_argument("name")
            if verb != "list":
                command.add_argument(option, dest="described", required=True)
    return top


def ask(verb: str, url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Content-Type": "application/json"}, method=verb)  # noqa: S310
    with urlopen(request, timeout=10) as answer:  # noqa: S310 - on this machine
        return json.load(answer)


def run(chosen: argparse.Namespace) -> Any:
    url = os.environ[ADDRESS + chosen.api] + chosen.path.format(chosen.project)
    if chosen.verb == "list":
        (found,) = ask("GET", url).values()
        return found
    if chosen.api == "LOGGING":
        body = json.loads(Path(chosen.described).read_text(encoding="utf-8"))
        if body["name"] != chosen.name:
            sys.exit("the file is about another metric")
    else:
        body = json.loads(chosen.described)
    if chosen.verb == "create":
        return ask("POST", url, body)
    verb = "PUT" if chosen.api == "LOGGING" else "PATCH"
    return ask(verb, f"{url}/{chosen.name.rpartition('/')[2]}", body)


if __name__ == "__main__":
    try:
        print(json.dumps(run(parser().parse_args())))  # noqa: T201
    except HTTPError as error:
        sys.exit(f"ERROR: (gcloud) {error.read().decode()}")
