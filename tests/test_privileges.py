"""The functions' service account may do what they do, and nothing else."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tables import table

DEPLOY = Path("docs/deploy.md").read_text(encoding="utf-8")

# What a client that the deployed code imports needs leave for.
ROLES = {
    "batchpush.google.connection": {"roles/datastore.user"},  # Firestore's protocol, spoken by us
    "google.cloud.secretmanager_v1": {"roles/secretmanager.secretAccessor"},
    "batchpush.google.realtime_database": {"roles/firebasedatabase.admin"},  # it is our own
    # The task is made in the account's own name, which is to act as itself.
    "firebase_admin.functions": {"roles/cloudtasks.enqueuer", "roles/iam.serviceAccountUser"},
}
BY_ITSELF = "the first deployment gives it"
NO_CLIENTS = ("api_core", "auth", "events", "oauth2", "protobuf")


def clients() -> Iterator[str]:
    """The clients of Google's services that the deployed code imports."""
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
    if name.startswith("batchpush.google.connection."):
        return "batchpush.google.connection"
    if first == "google" and not rest.startswith(NO_CLIENTS):
        return ".".join(name.split(".")[:3])
    if first == "firebase_admin" and rest and not rest.startswith("exceptions"):
        return ".".join(name.split(".")[:2])
    module = name.rpartition(".")[0]
    return module if module in ROLES else None


def test_the_roles_to_give_are_those_of_the_clients_that_are_used() -> None:
    needed = set().union(*(ROLES[name] for name in set(clients())))
    assert documented() == needed


def documented() -> set[str]:
    return {
        role.strip("`") for role, _, why in table(DEPLOY, header="role") if BY_ITSELF not in why
    }


def test_of_secret_manager_only_the_key_is_read() -> None:
    """The role holds for the one secret, of which the code asks for one thing."""
    code = Path("batchpush/batch_api/rest_key.py").read_text(encoding="utf-8")
    assert re.findall(r"\bmade\.(\w+)\(", code) == ["access_secret_version"]


# What the functions of the suite really called, by local/recording

RECORDED = {
    r"/google\.firestore\.v1\.Firestore/(Commit|BatchWrite|BatchGetDocuments|RunQuery)": {
        "roles/datastore.user"
    },
    r"GET \S+/v1/projects/[^/]+/secrets/[^/]+/versions/latest:access": {
        "roles/secretmanager.secretAccessor"
    },
    r"POST \S+/locations/[^/]+/queues/\w+/tasks": {
        "roles/cloudtasks.enqueuer",
        "roles/iam.serviceAccountUser",
    },
    r"(GET|PUT) \S+\.json": {"roles/firebasedatabase.admin"},
    # Batch, by its own key
    r"(GET|POST) \S+/1\.1/[^/]+/(transactional|campaigns)/\S+": set(),
    r"(GET|POST) \S+/1\.0/[^/]+/(data|events|gdpr)/\S+": set(),
}


@pytest.mark.suite
@pytest.mark.last
def test_the_roles_to_give_are_those_that_the_calls_of_the_suite_need(
    request: pytest.FixtureRequest,
) -> None:
    """Each call needs a role that is documented, and after the whole path each role has a call."""
    calls = Path(os.environ["SUITE_CALLS"]).read_text(encoding="utf-8").splitlines()
    needed: set[str] = set()
    for call in set(calls):
        roles = [roles for pattern, roles in RECORDED.items() if re.fullmatch(pattern, call)]
        assert roles, f"which role is needed for {call}?"
        needed |= roles[0]
    is_whole = any(item.path.name == "test_whole_path.py" for item in request.session.items)
    assert needed == documented() if is_whole else needed <= documented()
