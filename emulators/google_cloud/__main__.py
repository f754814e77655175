"""Run the Google Cloud emulator from the command line.

Its `/__ready` says the proxy to use, the certificate to trust and the credentials it takes.
"""

import argparse

from emulators.google_cloud.project import Project
from emulators.google_cloud.server import create_app
from emulators.serving import serve_forever


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m emulators.google_cloud", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4012)
    parser.add_argument("--project", default="batchpush-rehearsal", help="the project that exists")
    options = parser.parse_args()
    print(f"Google Cloud emulator on http://{options.host}:{options.port}", flush=True)
    project = Project(options.project, accounts=["deployer"])
    serve_forever(create_app(project), options.host, options.port)


if __name__ == "__main__":
    main()
