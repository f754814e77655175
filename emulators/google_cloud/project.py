"""The Google Cloud project that the emulator has, before and while something is deployed to it."""

import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from emulators.google_errors import Refused

Resource = dict[str, Any]


@dataclass(frozen=True)
class Project:
    """What is there before the first deployment.

    `roles` and `secrets` are members by name; `payloads` is what the secrets hold.
    """

    id: str
    number: str = "123456789012"
    firestore: Mapping[str, str] = field(default_factory=lambda: {"(default)": "nam5"})
    realtime: Mapping[str, str] = field(default_factory=dict)  # instances and their regions
    accounts: Collection[str] = ()  # the part before the @
    roles: Mapping[str, Collection[str]] = field(default_factory=dict)
    secrets: Mapping[str, Collection[str]] = field(default_factory=dict)
    payloads: Mapping[str, str] = field(default_factory=dict)
    runs_as: str = ""  # the account of the functions, for the metadata server
    disabled: Collection[str] = ()  # APIs that somebody has to enable first
    denied: Collection[str] = ()  # permissions that the deployer, else an owner, does not have

    @cached_property
    def default_account(self) -> str:
        return f"{self.number}-compute@developer.gserviceaccount.com"

    def email(self, account: str) -> str:
        return f"{account}@{self.id}.iam.gserviceaccount.com"


@dataclass
class Cloud:
    """The project, and what was made in it; resources are as Google's API shows them, by name."""

    project: Project
    functions: dict[str, Resource] = field(default_factory=dict)
    services: dict[str, Resource] = field(default_factory=dict)  # of Cloud Run: their policies
    jobs: dict[str, Resource] = field(default_factory=dict)
    queues: dict[str, Resource] = field(default_factory=dict)
    tasks: dict[str, Resource] = field(default_factory=dict)
    fields: dict[str, Resource] = field(default_factory=dict)
    indexes: dict[str, Resource] = field(default_factory=dict)
    repositories: dict[str, Resource] = field(default_factory=dict)
    policies: dict[str, Resource] = field(default_factory=dict)
    operations: dict[str, "Operation"] = field(default_factory=dict)
    uploads: dict[str, "Upload"] = field(default_factory=dict)  # by bucket/object
    enabled: set[str] = field(default_factory=set)
    accounts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        project = self.project
        self.accounts |= {project.email(each) for each in project.accounts}
        # App Engine's, which the CLI asks about (checkServiceAccountIam of checkIam.js).
        self.accounts |= {project.default_account, f"{project.id}@appspot.gserviceaccount.com"}
        self.policies["project"] = policy_of(project.roles)
        for name, members in project.secrets.items():
            secret = f"projects/{project.id}/secrets/{name}"
            self.policies[secret] = policy_of({"roles/secretmanager.secretAccessor": members})

    def own(self, name: str) -> str:
        """A resource's name with the project's id; refuses those of other projects."""
        kind, project, *rest = name.split("/")
        if kind != "projects" or project not in (self.project.id, self.project.number):
            raise Refused(403, f"Permission denied on resource {kind}/{project}.")
        return "/".join([kind, self.project.id, *rest])

    def location(self, name: str) -> str:
        return self.own(name).split("/")[3]

    # --- Long-running operations

    def operation(self, parent: str, response: Resource | None, error: Resource | None) -> Resource:
        name = f"{parent}/operations/operation-{secrets.token_hex(8)}"
        self.operations[name] = Operation(name, response, error)
        return {"name": name, "done": False}

    # --- IAM

    def policy(self, name: str) -> Resource:
        return self.policies.setdefault(name, policy_of({}))

    def grant(self, role: str, member: str) -> None:
        """On the project, to somebody who exists."""
        policy = self.policy("project")
        bindings = [*policy["bindings"], {"role": role, "members": [member]}]
        self.set_policy("project", {**policy, "bindings": bindings})

    def set_policy(self, name: str, policy: Resource) -> Resource:
        """Refuses a change of a policy that changed meanwhile, and members that do not exist."""
        have = self.policy(name)
        etag = policy.get("etag")
        if etag and etag != have["etag"]:
            raise Refused(409, "There were concurrent policy changes.", "ABORTED")
        for binding in policy.get("bindings", []):
            if not str(binding.get("role", "")).startswith(("roles/", "projects/")):
                raise Refused(400, f"Role ({binding.get('role')}) does not exist in the resource.")
            for member in binding.get("members", []):
                self._check_member(member)
        self.policies[name] = {
            "version": policy.get("version", 1),
            "etag": secrets.token_urlsafe(9),
            "bindings": policy.get("bindings", []),
        }
        return self.policies[name]

    def _check_member(self, member: str) -> None:
        kind, _, name = member.partition(":")
        if kind in ("allUsers", "allAuthenticatedUsers"):
            return
        if kind not in ("user", "group", "domain", "serviceAccount") or not name:
            raise Refused(400, f"The member {member} is of an unknown type.")
        if kind == "serviceAccount" and name not in self.accounts:
            raise Refused(400, f"Service account {name} does not exist.")

    def check_role(self, email: str, role: str, resource: str = "project") -> None:
        """Refuses an account that has neither the role on the resource nor owns the project."""
        allowed = (("project", "roles/owner"), ("project", role), (resource, role))
        member = f"serviceAccount:{email}"
        for name, each in allowed:
            for binding in self.policy(name)["bindings"]:
                if binding["role"] == each and member in binding["members"]:
                    return
        raise Refused(403, f"{email} does not have {role}.")

    def check_permitted(self, permission: str) -> None:
        """Refuses the deployer what the project denies them."""
        if permission in self.project.denied:
            raise Refused(403, f"Permission '{permission}' denied on resource.")

    def check_account(self, email: str) -> None:
        if email not in self.accounts:
            raise Refused(404, f"Unknown service account: {email}")


@dataclass
class Operation:
    """Not done when it is first asked about, so that whoever waits for it has to wait."""

    name: str
    response: Resource | None
    error: Resource | None
    asked: int = 0

    def as_json(self) -> Resource:
        self.asked += 1
        if self.asked < 2:
            return {"name": self.name, "done": False}
        ending = {"error": self.error} if self.error else {"response": self.response or {}}
        return {"name": self.name, "done": True, **ending}


@dataclass
class Upload:
    """An archive of source code; `signature` is in the address that it may be uploaded to."""

    name: str
    signature: str
    data: bytes | None = None


def policy_of(roles: Mapping[str, Collection[str]]) -> Resource:
    bindings = [{"role": role, "members": sorted(members)} for role, members in roles.items()]
    return {"version": 1, "etag": secrets.token_urlsafe(9), "bindings": bindings}
