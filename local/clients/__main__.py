"""Runs two third-party clients of Batch's API against the emulator.

    python -m local.clients

installs batch-node and batch-notifications from npm into a temporary folder, starts a strict
emulator on a free port, sends a push with each, takes a campaign through its life with the one that
supports it, and checks the calls. It is not part of `make test`, because it needs npm.

Both are also on GitHub: pthm/batch-node and nomadeducation/batch-notifications-node. If npm does
not find them, pass the folders of checkouts:

    python -m local.clients --batch-node FOLDER --batch-notifications FOLDER
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from emulators.batch import Batch, running

HERE = Path(__file__).parent
APP_KEY, REST_KEY = "IOSKEY", "0123456789abcdef0123456789abcdef"

ROUTES = [
    "transactional/send",
    "transactional/send",
    "campaigns/create",
    "campaigns/update",
    "campaigns/list",
    "campaigns/view",
    "campaigns/stats",
    "campaigns/delete",
    "campaigns/view",
]


def install(folder: Path, *packages: str) -> None:
    """Install the packages without their install scripts: both are plain JavaScript."""
    (folder / "package.json").write_text("{}")
    quiet = ("--no-audit", "--no-fund", "--loglevel=error")
    plain = ("--ignore-scripts", "--omit=dev", "--omit=optional", "--install-links")
    npm = subprocess.run(["npm", "install", *quiet, *plain, *packages], cwd=folder)
    if npm.returncode:
        sys.exit(f"npm could not install {' and '.join(packages)}; see --help for alternatives")


def use(folder: Path, batch: Batch) -> dict[str, Any]:
    """Run the clients; returns their results."""
    script = folder / "use.js"  # in a folder where `require` finds the packages
    script.write_bytes((HERE / "use.js").read_bytes())
    said = subprocess.run(
        ["node", "--require", HERE / "redirect.js", script, APP_KEY, REST_KEY],
        env=os.environ | {"BATCH_API_URL": batch.url},
        stdout=subprocess.PIPE,
        timeout=60,
        check=True,
    )
    answers: dict[str, Any] = json.loads(said.stdout)
    return answers


def check(said: dict[str, Any], batch: Batch) -> None:
    calls = batch.calls()
    assert [call["route"] for call in calls] == ROUTES, calls
    assert all(call["accepted"] for call in calls[:-1]), calls
    assert all(call["headers"]["x-authorization"] == REST_KEY for call in calls), calls

    replies = [call["reply"]["body"] for call in calls]
    assert said["batchNode"] == replies[0], said
    assert said["pushToken"] == replies[1]["token"], said
    assert said["campaignToken"] == replies[2]["campaign_token"], said

    [row] = said["listed"]
    assert row["live"] is True, row
    assert said["viewed"]["campaign_token"] == said["campaignToken"], said
    assert said["stats"]["sent"] == 0, said
    assert said["isThere"] is False, said
    assert [campaign["state"] for campaign in batch.campaigns()] == ["deleted"]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.clients",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name in ("batch-node", "batch-notifications"):
        parser.add_argument(
            f"--{name}",
            default=name,
            metavar="SPEC",
            help="what npm should install: a version, a folder, an archive, a repository",
        )
    return parser.parse_args()


def main() -> None:
    chosen = parse_arguments()
    with tempfile.TemporaryDirectory() as temporary, running({"ios": APP_KEY}, [REST_KEY]) as batch:
        folder = Path(temporary)
        install(folder, chosen.batch_node, chosen.batch_notifications)
        check(use(folder, batch), batch)
        for call in batch.calls():
            print(call["reply"]["status"], call["method"], call["path"])
    print("batch-node and batch-notifications work with the emulator")


if __name__ == "__main__":
    main()
