"""Makes the metrics, alerts and dashboards of `ops/` in a project, with gcloud.

    python -m local.ops --project PROJECT [--channel CHANNEL]...

What is missing is created, what differs from its file is updated, and nothing is deleted. Channels
and labels that an alert was given elsewhere stay. So a second run changes nothing.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OPS = Path(__file__).parents[1] / "ops"

Described = dict[str, Any]  # one metric, alert or dashboard, as Google's APIs describe it


class Failed(Exception):
    """gcloud could not do it; it said why on stderr."""


@dataclass(frozen=True)
class Kind:
    """A folder of `ops/`, and the commands of gcloud for what is in it.

    `named` is the field by which a file and what Google has of it belong together.
    """

    folder: str
    group: tuple[str, ...]
    named: str = "displayName"
    option: str | None = None  # takes the JSON; None if gcloud takes a name and a file

    def files(self) -> list[Path]:
        return sorted((OPS / self.folder).glob("*.json"))


# `gcloud monitoring policies` has no release without `alpha` yet (gcloud 528).
KINDS = (
    Kind("metrics", ("logging", "metrics"), named="name"),
    Kind("alerts", ("alpha", "monitoring", "policies"), option="--policy"),
    Kind("dashboards", ("monitoring", "dashboards"), option="--config"),
)


@dataclass(frozen=True)
class Step:
    """What is to be done about one file; no `arguments` if Google has it as it is there."""

    name: str
    done: str
    arguments: tuple[str, ...] = ()


def steps(kind: Kind, there: Sequence[Described], channels: Sequence[str]) -> Iterator[Step]:
    """Raises `Failed` if two things in the project have the name of one file."""
    for file in kind.files():
        wanted: Described = json.loads(file.read_text(encoding="utf-8"))
        name = wanted[kind.named]
        same = [each for each in there if each.get(kind.named) == name]
        if len(same) > 1:
            names = ", ".join(each["name"] for each in same)
            raise Failed(f"{len(same)} are called {name!r}; delete all but one of {names}")
        found = same[0] if same else None
        if kind.folder == "alerts":
            wanted = _notifying(wanted, found or {}, channels)
        if found and holds(found, wanted):
            yield Step(name, "unchanged")
        else:
            arguments = (*kind.group, *_change(kind, file, wanted, found))
            yield Step(name, "updated" if found else "created", arguments)


def _notifying(wanted: Described, found: Described, channels: Iterable[str]) -> Described:
    """The alert with these channels, beside those that it has."""
    has = found.get("notificationChannels", [])
    added = [*has, *(each for each in channels if each not in has)]
    return wanted | {"notificationChannels": added} if added else wanted


def _change(kind: Kind, file: Path, wanted: Described, found: Described | None) -> Iterator[str]:
    yield "update" if found else "create"
    if kind.option is None:
        yield from (wanted["name"], f"--config-from-file={file}")
        return
    if found:
        yield found["name"]
    # An update replaces all of it: what others set, and the dashboard's etag, goes with it.
    yield f"{kind.option}={json.dumps((found or {}) | wanted)}"


def holds(found: Any, wanted: Any) -> bool:
    """Whether Google has what a file says; it adds fields of its own."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            name in found and holds(found[name], value) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list) and len(found) == len(wanted) and all(map(holds, found, wanted))
        )
    return bool(found == wanted)


def gcloud(project: str, *arguments: str) -> Any:
    """The JSON that gcloud answers with. Its other words are for the person who watches."""
    command = ["gcloud", *arguments, f"--project={project}", "--format=json"]
    try:
        ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    except FileNotFoundError:
        raise Failed("gcloud is missing: see https://cloud.google.com/sdk/docs/install") from None
    except subprocess.CalledProcessError:
        raise Failed(f"gcloud {' '.join(arguments[:4])} failed") from None
    return json.loads(ended.stdout or "null")


def apply(project: str, channels: Sequence[str]) -> int:
    """How many files are not in the project as they should be."""
    failed = 0
    for kind in KINDS:
        there = gcloud(project, *kind.group, "list") or []
        for step in steps(kind, there, channels):
            done = step.done
            try:
                if step.arguments:
                    gcloud(project, *step.arguments)
            except Failed:
                done, failed = "FAILED", failed + 1
            print(f"{kind.folder.removesuffix('s'):9}  {step.name:41}  {done}", flush=True)
    return failed


def whole(channel: str, project: str) -> str:
    """A channel's full name, of its id or its full name."""
    return channel if "/" in channel else f"projects/{project}/notificationChannels/{channel}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m local.ops", description=__doc__)
    parser.add_argument("--project", required=True)
    parser.add_argument("--channel", action="append", default=[], help="whom the alerts notify")
    chosen = parser.parse_args(arguments)
    channels = [whole(each, chosen.project) for each in chosen.channel]
    try:
        failed = apply(chosen.project, channels)
    except Failed as problem:
        print(problem, file=sys.stderr)
        return 1
    if failed:
        print(
            f"{failed} failed: see above. An alert on a metric that was just created is refused "
            "for up to ten minutes; then run this again.",
            file=sys.stderr,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
