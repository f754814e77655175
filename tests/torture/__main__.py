"""Days in minutes: outages, storms, kills and garbage, and a table of what came of them.

    make torture             prints the table
    make torture WRITE=1     and writes it into docs/reliability.md

All that is random comes of one seed, which is printed: `make torture TORTURE_SEED=1` is the same
again, as far as the machine lets it. What needs no emulator runs beside what does.
"""

import argparse
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.figures import as_table
from tests.tables import machine, table, write

LARGE = {
    "TORTURE_EVENTS_PER_SECOND": "20",
    "TORTURE_DAY": "1500",
    "TORTURE_EXAMPLES": "100000",
    "TORTURE_KILLS": "500",
    "TORTURE_KILLED": "300",
    "TORTURE_CUT": "30",
    "TORTURE_STORM": "10000",
}
IN_PROCESS = [
    f"tests/test_{name}.py"
    for name in (
        *("outage", "outages", "rotation", "days"),
        *("garbage", "garbage_campaigns", "fault_matrix", "canary"),
    )
]
ON_EMULATORS = ["tests/torture"]


def tested(tests: Sequence[str], seed: str) -> subprocess.CompletedProcess[str]:
    options = ["-q", "--figures", f"--randomly-seed={seed}", f"--hypothesis-seed={seed}"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        env=os.environ | LARGE | {"TORTURE_SEED": seed},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument(
        "--write", action="store_true", help="write the table into docs/reliability.md"
    )
    options = parser.parse_args()
    seed = os.environ.get("TORTURE_SEED") or str(random.SystemRandom().randrange(1, 2**32))
    print(f"TORTURE_SEED={seed}", flush=True)
    began = time.monotonic()
    with ThreadPoolExecutor() as pool:
        parts = list(pool.map(tested, (IN_PROCESS, ON_EMULATORS), (seed, seed)))
    for part in parts:
        print(part.stdout)
    minutes, cpu = (time.monotonic() - began) / 60, os.times()
    cost = f"{minutes:.0f} minutes, {(cpu.children_user + cpu.children_system) / 60:.0f} of CPU"
    figures = [
        (row[0], row[1]) for part in parts for row in table(part.stdout, header="what happened")
    ]
    found = f"{machine()}, seed {seed}, {cost}:\n\n{as_table(figures)}"
    print(found)
    if any(part.returncode for part in parts):
        return 1
    if options.write:
        write("reliability.md", "make torture WRITE=1", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
