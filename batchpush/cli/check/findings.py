"""Findings of a check, and how to print them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from batchpush.cli.terminal import escaped


class Severity(Enum):
    ERROR = "error"  # the deployment or its pushes would fail
    WARNING = "warning"  # it works, but perhaps not as intended
    OK = "ok"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True)
class Finding:
    """`where` is a file and a line, `fix` is a command that fixes the problem."""

    severity: Severity
    says: str
    where: str = ""
    fix: str = ""

    def lines(self) -> Iterator[str]:
        first, *more = self.says.split("\n")
        place = f"{self.where}  " if self.where else ""
        yield f"{self.severity.value:<12} {escaped(place + first)}"
        yield from (" " * 15 + escaped(line) for line in more)
        if self.fix:
            yield f"{'':<15}{self.fix}"

    def as_json(self, about: str) -> dict[str, str | None]:
        """`about` is the heading that the finding stands under."""
        return {
            "about": about,
            "severity": self.severity.value.replace(" ", "_"),
            "says": self.says,
            "where": self.where or None,
            "fix": self.fix or None,
        }


def error(says: str, where: str = "", fix: str = "") -> Finding:
    return Finding(Severity.ERROR, says, where, fix)


def warning(says: str, where: str = "", fix: str = "") -> Finding:
    return Finding(Severity.WARNING, says, where, fix)


def ok(says: str, where: str = "") -> Finding:
    return Finding(Severity.OK, says, where)


def not_checked(says: str) -> Finding:
    return Finding(Severity.NOT_CHECKED, says)


def line_of(file: str, text: str, beginning: str) -> str:
    """The first line with this beginning, as `file:line`; the file alone if there is none."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip().startswith(beginning):
            return f"{file}:{number}"
    return file


def counted(findings: Iterable[Finding]) -> str:
    """`2 errors, 1 warning, 9 not checked`"""
    severities = [finding.severity for finding in findings]
    numbers = {severity: severities.count(severity) for severity in Severity}
    words = [
        f"{number} {severity.value}{'s' if is_countable and number != 1 else ''}"
        for severity, is_countable in (
            (Severity.ERROR, True),
            (Severity.WARNING, True),
            (Severity.NOT_CHECKED, False),
        )
        if (number := numbers[severity])
    ]
    return ", ".join(words) or "everything is fine"
