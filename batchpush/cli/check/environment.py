"""Finds variables that point to an emulator or hold the REST key where neither belongs."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping

from batchpush.cli.check.findings import Finding, error, warning
from batchpush.cli.env_files import Variable
from batchpush.environment import VARIABLES

# The variables from which Google's and Firebase's clients read the address of an emulator.
EMULATOR = re.compile(r"\w+_EMULATOR_(HOST|HUB)|FUNCTIONS_EMULATOR")
KEY_NAME = re.compile(r"BATCH(_REST)?(_API)?_(KEY|SECRET|TOKEN)|REST(_API)?_KEY")
KEY = re.compile(r"[0-9a-fA-F]{32}")
# Reported elsewhere; systemd's; settings.
NO_KEYS = {"BATCH_REST_API_KEY", "INVOCATION_ID", *VARIABLES}


def of_files(variables: Iterable[Variable], app_keys: Collection[str]) -> Iterator[Finding]:
    """Check the `.env` files, whose variables every deployed function gets."""
    for each in variables:
        if each.problem:
            continue  # the Firebase CLI rejects it
        if EMULATOR.fullmatch(each.name):
            yield error(f"{each.name}: deployed functions would look for an emulator", each.where)
        elif is_key(each.name, each.value, app_keys):
            found = f"{each.name} looks like the REST key, and would be readable in every function"
            # Only the name makes it certain: keys of other services have the same form.
            finding = error if KEY_NAME.fullmatch(each.name) else warning
            yield finding(f"{found}: put it into a secret", each.where)


def of_shell(environment: Mapping[str, str], app_keys: Collection[str]) -> Iterator[Finding]:
    """Check the shell, whose variables reach the commands but not the functions."""
    for name, value in sorted(environment.items()):
        if value and EMULATOR.fullmatch(name):
            says = f"{name} is set: other commands look at an emulator and not at the project"
            yield warning(says, "environment", f"unset {name}")
        elif is_key(name, value, app_keys):
            says = f"{name} looks like the REST key: keep it only in a secret"
            yield warning(says, "environment", f"unset {name}")


def is_key(name: str, value: str, app_keys: Collection[str]) -> bool:
    if name in NO_KEYS or value in app_keys or not value.strip():
        return False
    return bool(KEY_NAME.fullmatch(name) or KEY.fullmatch(value.strip()))
