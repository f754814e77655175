"""`completion`: what the script completes, in a bash and, if it is there, in a zsh."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from batchpush.cli import completion
from batchpush.cli import main as cli

COMMANDS = list(completion.commands_of(cli.parser()))
STATES = ["WAITING", "CLAIMED", "RETRY", "SENT", "REFUSED", "HELD", "EXPIRED", "OBSOLETE"]


def completed(line: str) -> list[str]:
    """What bash completes at the end of the line."""
    words = " ".join(f"'{each}'" for each in line.split(" "))
    script = completion.script(cli.parser(), "bash")
    asked = f"COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))"
    said = 'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{asked}\n_batchpush && {said}"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("python -m batchpush ", [*COMMANDS, "--help", "--version"]),
        ("python -m batchpush de", ["deploy", "deliveries"]),
        ("venv/bin/python -m batchpush check --o", ["--offline"]),
        ("python -m batchpush check --json --", ["--help", "--project", "--offline", "--json"]),
        ("python -m batchpush deliveries --state ", STATES),
        ("python -m batchpush deliveries --state HELD S", ["SENT"]),
        ("python -m batchpush deliveries --state HELD --l", ["--limit"]),
        ("python -m batchpush deliveries --since 2h --l", ["--limit"]),
        ("venv/bin/batchpush de", ["deploy", "deliveries"]),
        ("batchpush deliveries --state HELD --l", ["--limit"]),
        ("batchpush ", [*COMMANDS, "--help", "--version"]),
        ("python -m batchpush completion ", ["--help", "bash", "zsh"]),
        # left to the shell, which completes names of files
        ("python -m batchpush preview campaign --document ", []),
        ("python -m batchpush check --project ", []),
        ("python -m batc", []),
        ("python -m pytest ", []),
        ("python ma", []),
    ],
)
def test_a_line_is_completed_from_the_parsers(line: str, words: list[str]) -> None:
    assert completed(line) == words


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_a_command_is_completed(command: str) -> None:
    usage = completion.commands_of(cli.parser())[command].format_usage()
    options = set(re.findall(r"--[a-z-]+", usage))
    assert set(completed(f"python -m batchpush {command} --")) == options | {"--help"}


@pytest.mark.skipif(not shutil.which("zsh"), reason="there is no zsh")
def test_zsh_takes_the_same_script(tmp_path: Path) -> None:
    file = tmp_path / "completion.zsh"
    file.write_text(completion.script(cli.parser(), "zsh"))
    command = f"source {file} && print -r -- $_comps[python]"
    done = subprocess.run(["zsh", "-fc", command], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_batchpush" in done.stdout
