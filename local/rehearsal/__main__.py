"""Rehearse a deployment: say what was deployed and done, and exit with 1 if something is wrong."""

import sys
import time
from collections.abc import Callable, Iterator

from local.programs import DidNotStart, Interrupted, raise_on_signals
from local.rehearsal import deployments, initialized, journey
from local.rehearsal.instances import DidNotServe
from local.rehearsal.rehearsal import Failed, Rehearsal, rehearsal
from local.tools import CannotStart

STEPS: tuple[Callable[[Rehearsal], str | Iterator[str]], ...] = (
    deployments.checked,
    deployments.first,
    deployments.invokers_are_missing,
    journey.served,
    deployments.again,
    deployments.with_changes,
    journey.served_after_changes,
    deployments.after_functions_left,
    deployments.all_are_deleted,
    initialized.served_from_the_package,
    deployments.that_fail,
)


def main() -> int:
    began = time.monotonic()
    raise_on_signals()
    problems: list[str] = []
    try:
        with rehearsal(problems) as run:
            for step in STEPS:
                said = step(run)
                for text in [said] if isinstance(said, str) else said:
                    print(text, flush=True)
    except (CannotStart, DidNotServe, DidNotStart, Failed) as why:
        problems.append(str(why))  # after what was found before it
    except Interrupted as interrupted:
        return interrupted.exit_code
    for problem in problems:
        print(f"wrong: {problem}")
    print(f"{len(problems)} problems, after {time.monotonic() - began:.0f} s.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
