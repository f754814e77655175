"""The functions' service account may do what they do, and nothing else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.tables import table

DEPLOY = Path("docs/deploy.md").read_text(encoding="utf-8")

# What a client that the deployed code imports needs leave for.
ROLES = {
    "google.cloud.firestore": {"roles/datastore.user"},
    "google.cloud.secretmanager_v1": {"roles/secretmanager.secretAccessor"},
    "firebase_admin.db": {"roles/firebasedatabase.admin"},
    # The task is made in the account's own name, which is to act as itself.
    "firebase_admin.functions": {"roles/cloudtasks.enqueuer", "roles/iam.serviceAccountUser"},
}
BY_ITSELF = "the first deployment gives it"
NO_CLIENTS = ("api_core", "auth", "events", "oauth2", "protobuf")
PART_OF_ONE = {"google.cloud.firestore_v1": "google.cloud.firestore"}


def clients() -> Iterator[str]:
    """The Google clients that the deployed code imports."""
    for file in (
        Path("main.py"),
        *Path("batchpush").rglob("*.py"),
        *Path("handlers").rglob("*.py"),
    ):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{each.name}" for each in node.names]
            elif isinstance(node, ast.Import):
                names = [each.name for each in node.names]
            else:
                continue
            yield from filter(None, map(client, names))


def client(name: str) -> str | None:
    first, _, rest = name.partition(".")
    if first == "google" and not rest.startswith(NO_CLIENTS):
        module = ".".join(name.split(".")[:3])
        return PART_OF_ONE.get(module, module)
    if first == "firebase_admin" and rest and not rest.startswith("exceptions"):
        return ".".join(name.split(".")[:2])
    return None


def test_the_roles_to_give_are_those_of_the_clients_that_are_used() -> None:
    needed = set().union(*(ROLES[name] for name in set(clients())))
    roles = {
        role.strip("`") for role, _, why in table(DEPLOY, header="role") if BY_ITSELF not in why
    }
    assert roles == needed


def test_of_secret_manager_only_the_key_is_read() -> None:
    """The role holds for the one secret, of which the code asks for one thing."""
    code = Path("batchpush/rest_key.py").read_text(encoding="utf-8")
    assert re.findall(r"client\(\)\.(\w+)\(", code) == ["access_secret_version"]
