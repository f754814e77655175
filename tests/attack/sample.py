"""Some attacks once more, on the emulators: through the functions as they are served."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from batchpush.testing import Call
from emulators.batch import Batch
from tests.attack.gates import Step
from tests.attack.judge import Judge, Violation
from tests.attack.stage import LATER, Heard
from tests.attack.world import FIRESTORE_ONLY, WORLD
from tests.firestore_rules import Firestore
from tests.waits import DEADLINE, until

QUIET = 5.0  # seconds in which no function runs, after which none is expected to
BEGINNING, END = b"functions: Beginning execution", b"functions: Finished"
PROJECT = "demo-batchpush"


class Sample:
    """What was accepted is written as by a back end; what comes of it is judged like the rest."""

    def __init__(self) -> None:
        self.firestore = Firestore(os.environ["FIRESTORE_EMULATOR_HOST"], PROJECT)
        self.batch = Batch(os.environ["BATCH_EMULATOR_URL"])
        self._log = Path(os.environ["SUITE_LOG"])
        self._begins = self._log.stat().st_size

    def violations(self, judge: Judge, steps: Sequence[Step]) -> list[Violation]:
        self.firestore.store({**WORLD, **FIRESTORE_ONLY})
        self._wait()  # the world's own documents are written, and pushed, too
        self.batch.clear()
        for step in steps:
            self.firestore.write({diff.path: diff.after for diff in step.diffs})
        self._wait()
        deadline = time.monotonic() + DEADLINE
        while violations := list(judge.violations_of_sample(steps, self._heard())):
            if time.monotonic() > deadline:
                return violations
            self._wait()  # pushes to honest people may come late
        return []

    def _heard(self) -> list[Heard]:
        return [
            Heard(LATER, Call("ios", "POST", "transactional/send", call["body"], 201))
            for call in self.batch.pushes()
            if call["app"] == "ios"
        ]

    def _wait(self) -> None:
        seen, since = b"", time.monotonic()

        def is_quiet() -> bool:
            nonlocal seen, since
            log = self._log.read_bytes()[self._begins :]
            is_running = log.count(BEGINNING) > log.count(END)
            if log != seen or is_running:
                seen, since = log, time.monotonic()
            return time.monotonic() - since > QUIET

        until("end of the calls", is_quiet)
