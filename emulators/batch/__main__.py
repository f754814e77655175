"""Run the Batch emulator from the command line."""

import argparse
import os
from collections.abc import Mapping, Sequence

from emulators.batch.project import Project
from emulators.batch.server import create_app
from emulators.serving import serve_forever


def parse_apps(text: str) -> dict[str, str]:
    """`ios=KEY,android=KEY` as a mapping; raises ValueError, which argparse reports."""
    pairs = [pair.strip().partition("=") for pair in text.split(",") if pair.strip()]
    if not all(name and key for name, _, key in pairs):
        raise ValueError(text)
    return {name.strip(): key.strip() for name, _, key in pairs}


def parse_arguments(
    arguments: Sequence[str] | None, environ: Mapping[str, str]
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m emulators.batch", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4010)
    parser.add_argument(
        "--apps",
        type=parse_apps,
        default=environ.get("BATCH_APPS", ""),
        metavar="ios=KEY,android=KEY",
        help="the app keys that exist; if none is given, any is accepted (default: BATCH_APPS)",
    )
    parser.add_argument(
        "--rest-key",
        action="append",
        default=[],
        metavar="KEY",
        help="a REST key to accept, repeatable; if none is given, any is accepted",
    )
    parser.add_argument(
        "--project",
        default=environ.get("BATCH_PROJECT", ""),
        metavar="KEY",
        help="the key of the CEP project; if it is not given, any is accepted (default: "
        "BATCH_PROJECT)",
    )
    parser.add_argument(
        "--lenient",
        action="store_true",
        help="enforce only rules that are documented or seen in clients",
    )
    return parser.parse_args(arguments)


def main() -> None:
    options = parse_arguments(None, os.environ)
    mode = "lenient" if options.lenient else "strict"
    print(f"Batch emulator ({mode}) on http://{options.host}:{options.port}", flush=True)
    project = Project.around(os.environ)
    app = create_app(
        options.apps,
        options.rest_key,
        options.lenient,
        project=project,
        batch_project=options.project,
    )
    serve_forever(app, options.host, options.port)


if __name__ == "__main__":
    main()
