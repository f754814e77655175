"""Programs that are started, waited for and ended, with everything that they start themselves."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

START_SECONDS = 90.0
STOP_SECONDS = 3.0
MARK = "BATCHPUSH_SUITE"  # in the environment of all that a program starts
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class DidNotStart(Exception):
    """A program was started but did not come up, or came up broken."""


class Interrupted(BaseException):
    """Ctrl-C, SIGTERM or a closed terminal: not an Exception, so that nothing handles it midway."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


def raise_on_signals() -> None:
    """The first signal raises Interrupted; later ones are ignored.

    Stopping has its own deadlines, and make sends a second SIGINT after the terminal's.
    """

    def interrupt(number: int, _: object) -> NoReturn:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted(number)

    for each in SIGNALS:
        signal.signal(each, interrupt)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore signals meanwhile: a first one during the stop would leave programs behind."""
    handlers = {number: signal.signal(number, signal.SIG_IGN) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@dataclass
class Part:
    """A program in its own session, with its output in a file."""

    name: str
    command: list[str]
    directory: Path
    environment: dict[str, str]
    log: Path
    readable: Callable[[str], str | None] = str.rstrip  # a line for the terminal, if it helps

    def start(self, echo: threading.Event) -> None:
        self.process = subprocess.Popen(
            self.command,
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,  # on a terminal, firebase-tools asks questions
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches only us; we stop the parts in order
            text=True,
            encoding="utf-8",
            errors="replace",
        )
        self.log.touch()
        self.reader = threading.Thread(target=self._copy_output, args=(echo,), daemon=True)
        self.reader.start()
        threading.Thread(target=self.process.wait, daemon=True).start()

    @property
    def has_exited(self) -> bool:
        """A thread waits for it, because no signal interrupts a thread.

        Interrupted within Popen.poll() leaves a lock taken, and then nothing can wait for the
        process any more.
        """
        return self.process.returncode is not None

    def _copy_output(self, echo: threading.Event) -> None:
        assert self.process.stdout is not None
        with self.log.open("w", encoding="utf-8", buffering=1) as log:
            for line in self.process.stdout:
                log.write(line)
                if echo.is_set() and (told := self.readable(line)) is not None:
                    try:
                        print(told, flush=True)
                    except (OSError, ValueError):  # nobody reads any more; keep logging
                        echo.clear()

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def tail(self, lines: int = 20) -> str:
        return "\n".join(self.said().splitlines()[-lines:])

    def end(self) -> None:
        if not hasattr(self, "process"):
            return  # interrupted before it started
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.close()

    def close(self) -> None:
        if not hasattr(self, "reader"):
            return
        self.process.wait()
        self.reader.join()
        if self.process.stdout is not None:
            self.process.stdout.close()


def wait_for(name: str, part: Part, is_up: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_up():
        if part.has_exited:
            raise DidNotStart(f"{name} did not start: {part.name} exited\n{part.tail()}")
        if time.monotonic() > deadline:
            raise DidNotStart(f"{name} did not respond in {START_SECONDS:.0f} s\n{part.tail()}")
        time.sleep(0.1)


def sweep(mark: str) -> None:
    """End every process with the mark.

    firebase-tools starts Java and Python in separate sessions, and leaves them behind if it is
    killed early. Neither process groups nor parents lead to them, but the mark does.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + STOP_SECONDS
        told: set[int] = set()
        while (pids := marked(mark)) and time.monotonic() < deadline:
            for pid in pids - told:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            told |= pids
            time.sleep(0.05)


def marked(mark: str) -> set[int]:
    needle = f"{MARK}={mark}"
    if not Path("/proc/self/environ").exists():  # macOS: ps -E shows the environment
        listing = subprocess.run(
            ["ps", "-axEww", "-o", "pid=,command="], capture_output=True, text=True
        ).stdout
        return {int(line.split()[0]) for line in listing.splitlines() if needle in line}
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # already gone, or another user's
            if needle.encode() in (process / "environ").read_bytes():
                found.add(int(process.name))
    return found
