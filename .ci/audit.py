"""Known vulnerabilities in what is deployed, and in what the tests run.

    python .ci/audit.py

Exits with 1 on a finding, and with 2 where it could not look: an advisory database that is not
there is no clean bill. pip-audit itself finds nothing and exits with 0 then. With AUDIT=optional in
the environment, it only reports what it could not check.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

REQUIREMENTS = ("requirements.txt", "requirements-dev.txt")
PIP_AUDIT = "uvx --quiet pip-audit --require-hashes --disable-pip --progress-spinner off -f json -r"
NPM_AUDIT = "npm audit --json --prefix emulators"
SEVERE = ("high", "critical")  # of the npm packages, which run on developers' machines only


class NotChecked(Exception):
    """Nothing is known; the text says why."""


def of_pip(said: Mapping[str, Any]) -> list[str]:
    packages = said["dependencies"]
    skipped = [each["skip_reason"] for each in packages if "skip_reason" in each]
    found = [
        f"{each['name']} {each['version']}: {vulnerability['id']}"
        for each in packages
        for vulnerability in each.get("vulns", ())
    ]
    if skipped and not found:
        raise NotChecked(f"{len(skipped)} of {len(packages)} packages: {skipped[0]}")
    return found


def of_npm(said: Mapping[str, Any]) -> list[str]:
    if "vulnerabilities" not in said:
        raise NotChecked(str(said.get("message", said)))
    return [
        f"{name}: {found['severity']}"
        for name, found in said["vulnerabilities"].items()
        if found["severity"] in SEVERE
    ]


def audit(command: Sequence[str], read: Callable[[Mapping[str, Any]], list[str]]) -> list[str]:
    """What was found; raises `NotChecked`."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        return read(json.loads(ended.stdout))
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotChecked(str(error)) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NotChecked(ended.stderr.strip()[-300:] or "no answer") from None


def main() -> int:
    checks = [(f"{PIP_AUDIT} {file}".split(), of_pip, file) for file in REQUIREMENTS]
    checks.append((NPM_AUDIT.split(), of_npm, "emulators/package-lock.json"))
    failed = unknown = False
    for command, read, file in checks:
        try:
            found = audit(command, read)
        except NotChecked as reason:
            print(f"!!! NOT CHECKED: {file}: {reason}")
            unknown = True
            continue
        failed = failed or bool(found)
        print("\n".join([f"{file}: {len(found)} found", *(f"  {each}" for each in found)]))
    if failed:
        return 1
    return 2 if unknown and os.environ.get("AUDIT") != "optional" else 0


if __name__ == "__main__":
    sys.exit(main())
