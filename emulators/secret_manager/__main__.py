"""Run the Secret Manager emulator from the command line."""

import argparse

from emulators.secret_manager.server import create_app
from emulators.serving import serve_forever


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m emulators.secret_manager", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=4011)
    options = parser.parse_args()
    print(f"Secret Manager emulator on http://{options.host}:{options.port}", flush=True)
    serve_forever(create_app(), options.host, options.port)


if __name__ == "__main__":
    main()
