"""Checks the project in the cloud. It only reads and changes nothing."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from batchpush.cli.check.findings import Finding, error, not_checked, ok, warning
from batchpush.cli.discovery import Discovery
from batchpush.environment import DEFAULT_DATABASE, Settings

TIMEOUT = 5.0  # seconds for one request
OF_A_PROJECT = ".iam.gserviceaccount.com"
EVERYTHING = frozenset({"roles/owner", "roles/editor"})
# The nearest region to each multi-region Firestore location, as in the Firebase CLI.
NEAREST = {"nam5": "us-central1", "nam7": "us-central1", "eur3": "europe-west1"}
APIS = ("firestore.googleapis.com", "secretmanager.googleapis.com")  # the CLI enables the others


@dataclass(frozen=True)
class Role:
    """A role that the functions' service account needs; `or_one_of` are wider roles with it."""

    name: str
    reason: str
    or_one_of: frozenset[str] = EVERYTHING


READER = Role("roles/secretmanager.secretAccessor", "reads the REST key", frozenset())
ACTS = Role(
    "roles/iam.serviceAccountUser", "large audiences and quiet hours: its tasks call as itself"
)
ROLES = (
    Role(
        "roles/datastore.user",
        "look-ups, and the delivery records",
        EVERYTHING | {"roles/datastore.owner", "roles/firebase.admin"},
    ),
    Role(
        "roles/cloudtasks.enqueuer",
        "large audiences and quiet hours: enqueues their tasks",
        EVERYTHING | {"roles/cloudtasks.admin"},
    ),
)
DATABASE_ROLE = Role(
    "roles/firebasedatabase.admin",
    "look-ups and outcomes in the Realtime Database",
    EVERYTHING | {"roles/firebase.admin", "roles/firebase.developAdmin"},
)
RECEIVER = Role("roles/eventarc.eventReceiver", "receives the writes")
INVOKER = Role("roles/run.invoker", "calls the functions, for Eventarc and Cloud Tasks")
# The first deployment grants these to the default service account, and to no other.
GIVEN_ROLES = (RECEIVER, INVOKER)


class NotKnown(Exception):
    """A question has no answer; the message says why."""


class Google:
    """Google's REST APIs, through a session with the operator's credentials."""

    def __init__(
        self, session: Any, url: Callable[[str], str] = "https://{}.googleapis.com".format
    ) -> None:
        """`url` returns the address of an API by name."""
        self._session = session
        self._url = url
        self._silent: str | None = None

    def ask(self, method: str, api: str, path: str) -> dict[str, Any] | None:
        """The response, None for a 404; raises `NotKnown`.

        After one request fails, later ones are not sent: each could take until its timeout.
        """
        from google.auth.exceptions import GoogleAuthError
        from requests.exceptions import RequestException

        if self._silent:
            raise NotKnown(self._silent)
        # Only this API takes the version in a body; IAM takes no body at all.
        is_in_body = method == "POST" and api == "cloudresourcemanager"
        body = {"options": {"requestedPolicyVersion": 3}} if is_in_body else None
        try:
            answer = self._session.request(
                method, f"{self._url(api)}/{path}", json=body, timeout=TIMEOUT
            )
            found = answer.json()
        except GoogleAuthError:
            self._silent = "your credentials are invalid: gcloud auth application-default login"
        except (RequestException, ValueError) as problem:
            self._silent = f"{api} does not answer ({type(problem).__name__})"
        if self._silent:
            raise NotKnown(self._silent)
        if answer.status_code == 404:
            return None
        if answer.status_code != 200 or not isinstance(found, dict):
            raise NotKnown(_why(api, answer.status_code, found))
        return found


def _why(api: str, status: int, found: Any) -> str:
    details = found.get("error", {}).get("details", []) if isinstance(found, dict) else []
    if any(each.get("reason") == "SERVICE_DISABLED" for each in details):
        return f"{api}.googleapis.com is not enabled in the project"
    if status in (401, 403):
        return f"you do not have permission to ask {api}"
    return f"{api} answered {status}"


def google(project: str) -> Google:
    """The APIs with your Application Default Credentials; raises `NotKnown` without any."""
    os.environ.setdefault("GCE_METADATA_TIMEOUT", "1")  # probes whether this is Google Cloud
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import AuthorizedSession

    try:
        credentials, _ = google.auth.default(
            scopes=["https://www.googleapis.com/auth/cloud-platform"], quota_project_id=project
        )
    except GoogleAuthError:
        raise NotKnown("no Google credentials: gcloud auth application-default login") from None
    return Google(AuthorizedSession(credentials))


# The questions


QUESTIONS = {
    "apis": (
        "GET",
        "serviceusage",
        "v1/projects/{project}/services:batchGet?"
        + "&".join(f"names=projects/{{project}}/services/{api}" for api in APIS),
    ),
    "database": ("GET", "firestore", "v1/projects/{project}/databases/{database}"),
    "databases": ("GET", "firestore", "v1/projects/{project}/databases"),
    "instances": ("GET", "firebasedatabase", "v1beta/projects/{project}/locations/-/instances"),
    "secret": ("GET", "secretmanager", "v1/{secret}"),
    "version": ("GET", "secretmanager", "v1/{secret}/versions/latest"),
    "secret_policy": (
        "GET",
        "secretmanager",
        "v1/{secret}:getIamPolicy?options.requestedPolicyVersion=3",
    ),
    "policy": ("POST", "cloudresourcemanager", "v1/projects/{project}:getIamPolicy"),
    "account": ("GET", "iam", "v1/projects/{account_project}/serviceAccounts/{account}"),
    "account_policy": (
        "POST",
        "iam",
        "v1/projects/{account_project}/serviceAccounts/{account}:getIamPolicy"
        "?options.requestedPolicyVersion=3",
    ),
    "ttl": (
        "GET",
        "firestore",
        "v1/projects/{project}/databases/{database}/collectionGroups/{collection}/fields/expire_at",
    ),
}

Answer = dict[str, Any] | None | NotKnown


@dataclass(frozen=True)
class Cloud:
    """The answer to each question of `QUESTIONS`; None if the resource does not exist.

    `callers` are the policies of the deployed functions that Eventarc and Cloud Tasks call, by
    Cloud Run service; they are only requested if no role covers the whole project.
    """

    project: str
    account: str
    settings: Settings
    answers: Mapping[str, Answer]
    callers: Mapping[str, Answer] = field(default_factory=dict)

    @property
    def is_default_account(self) -> bool:
        return self.account.endswith("-compute@developer.gserviceaccount.com")

    @property
    def account_project(self) -> str:
        """The project of the account."""
        return _project_of(self.account) or self.project

    @property
    def secret(self) -> str:
        """The id of the secret, for gcloud commands."""
        return self.settings.batch_rest_key_secret.rpartition("/")[2]

    @property
    def secret_project(self) -> str:
        named = self.settings.batch_rest_key_secret.split("/")
        return named[1] if len(named) > 1 else self.project

    def known(self, question: str) -> dict[str, Any] | None:
        """Raises `NotKnown`."""
        answer = self.answers[question]
        if isinstance(answer, NotKnown):
            raise answer
        return answer


def look(google: Google, project: str, settings: Settings, discovery: Discovery) -> Cloud:
    """Ask every question."""

    def answer(method: str, api: str, path: str) -> Answer:
        try:
            return google.ask(method, api, path)
        except NotKnown as why:
            return why

    found = answer("GET", "cloudresourcemanager", f"v1/projects/{project}")
    account = _in_full(_own_account(discovery) or settings.service_account, project)
    if not account and isinstance(found, dict):
        account = f"{found['projectNumber']}-compute@developer.gserviceaccount.com"
    secret = settings.batch_rest_key_secret
    names = {
        "project": project,
        "account": account,
        "account_project": _project_of(account) or project,
        "database": settings.database,
        "collection": settings.deliveries_collection,
        "secret": secret if "/" in secret else f"projects/{project}/secrets/{secret}",
    }
    answers = {
        name: answer(method, api, path.format(**names))
        for name, (method, api, path) in QUESTIONS.items()
        if name != "instances" or "database" in settings.sources
    }
    if not account:  # without its name, its roles are unknown
        why = found if isinstance(found, NotKnown) else NotKnown(f"there is no project {project}")
        of_account = ("secret_policy", "policy", "account", "account_policy")
        answers |= dict.fromkeys(of_account, why)
    cloud = Cloud(project, account, settings, answers)
    if not account or cloud.is_default_account or _may_call(cloud):
        return cloud
    region = f"v2/projects/{project}/locations/{settings.region}/services"
    callers = {
        service: answer("GET", "run", f"{region}/{service}:getIamPolicy")
        for service in _called_services(discovery)
    }
    return replace(cloud, callers=callers)


def _may_call(cloud: Cloud) -> bool:
    """Whether the account may call every function of the project."""
    policy = cloud.answers["policy"]
    held = set() if isinstance(policy, NotKnown) else _roles_in(policy, cloud.account)
    return INVOKER.name in held or bool(INVOKER.or_one_of & held)


def _called_services(discovery: Discovery) -> list[str]:
    """The functions called with the account; the CLI takes care of schedules."""
    called = (
        name
        for name, endpoint in discovery.endpoints.items()
        if endpoint.get("eventTrigger") or "taskQueueTrigger" in endpoint
    )
    return sorted(name.lower().replace("_", "-") for name in called)


def _in_full(account: str, project: str) -> str:
    return f"{account}{project}{OF_A_PROJECT}" if account.endswith("@") else account


def _project_of(account: str) -> str | None:
    """The project in the account's name; None for an account created by Google."""
    domain = account.partition("@")[2]
    return domain.removesuffix(OF_A_PROJECT) if domain.endswith(OF_A_PROJECT) else None


def _own_account(discovery: Discovery) -> str:
    """The service account that `main.py` names, if it does."""
    named = (each.get("serviceAccountEmail") for each in discovery.endpoints.values())
    return next((str(account) for account in named if account), "")


# The findings, in the order to fix them


def of_cloud(cloud: Cloud) -> Iterator[Finding]:
    for name, part in PARTS.items():
        try:
            yield from part(cloud)
        except NotKnown as why:
            yield not_checked(f"{name}: {why}")


def apis(cloud: Cloud) -> Iterator[Finding]:
    answer = cloud.known("apis") or {}
    enabled = {
        each["name"].rpartition("/")[2]
        for each in answer.get("services", ())
        if each.get("state") == "ENABLED"
    }
    if missing := [api for api in APIS if api not in enabled]:
        fix = f"gcloud services enable {' '.join(missing)} --project={cloud.project}"
        yield error(f"not enabled: {', '.join(missing)}", fix=fix)
    else:
        yield ok("the APIs are enabled")


def database(cloud: Cloud) -> Iterator[Finding]:
    found, region = cloud.known("database"), cloud.settings.region
    name = cloud.settings.database
    if found is None:
        named = "" if name == DEFAULT_DATABASE else f"--database={name} "
        create = f"gcloud firestore databases create {named}--location={region}"
        says = f"there is no Firestore database {name}, where the delivery records are"
        yield error(says + _others(cloud), fix=f"{create} --project={cloud.project}")
    elif found.get("type") == "DATASTORE_MODE":
        says = f"the database {name} is in Datastore mode, and calls no function"
        yield error(says + _others(cloud))
    elif (location := str(found.get("locationId"))) and region != NEAREST.get(location, location):
        near = NEAREST.get(location, location)
        yield warning(f"Firestore is in {location}, far from the functions: set REGION={near}")
    else:
        yield ok(f"Firestore is in {location}")


def _others(cloud: Cloud) -> str:
    """Name the databases that `DATABASE` could be set to instead."""
    answer = cloud.answers["databases"]
    listed = answer.get("databases", ()) if isinstance(answer, dict) else ()
    names = [
        each["name"].rpartition("/")[2] for each in listed if each.get("type") != "DATASTORE_MODE"
    ]
    others = [name for name in names if name != cloud.settings.database]
    return f": there is {', '.join(others)}; set DATABASE={others[0]}" if others else ""


def instances(cloud: Cloud) -> Iterator[Finding]:
    if "database" not in cloud.settings.sources:
        return
    found = (cloud.known("instances") or {}).get("instances", ())
    locations = sorted({each["name"].split("/")[3] for each in found})
    if not locations:
        yield error("SOURCES has database, and there is no Realtime Database")
    elif cloud.settings.region not in locations:
        where = ", ".join(locations)
        yield error(f"the Realtime Database is in {where}: its functions must be, set REGION")
    else:
        yield ok(f"a Realtime Database is in {cloud.settings.region}")


def secret(cloud: Cloud) -> Iterator[Finding]:
    found, named = cloud.known("secret"), f"{cloud.secret} --project={cloud.secret_project}"
    if found is None:
        fix = f"printf '%s' 'YOUR_REST_KEY' | gcloud secrets create {named} --data-file=-"
        yield error(f"there is no secret {cloud.secret}", fix=fix)
    elif "firebase-managed" in found.get("labels", {}):
        fix = f"gcloud secrets update {named} --remove-labels=firebase-managed"
        yield error("the Firebase CLI may destroy the secret, which has its label", fix=fix)
    else:
        yield ok(f"the secret {cloud.secret} is there")


def version(cloud: Cloud) -> Iterator[Finding]:
    if cloud.known("secret") is None:
        return
    found, named = cloud.known("version"), f"{cloud.secret} --project={cloud.secret_project}"
    if found is None or found.get("state") == "DESTROYED":
        fix = f"printf '%s' 'YOUR_REST_KEY' | gcloud secrets versions add {named} --data-file=-"
        yield error("the secret's latest version holds nothing", fix=fix)
    elif found.get("state") != "ENABLED":
        number = found["name"].rpartition("/")[2]
        fix = f"gcloud secrets versions enable {number} --secret={named}"
        yield error("the secret's latest version is disabled", fix=fix)
    else:
        yield ok("the secret's latest version is enabled")


def reader(cloud: Cloud) -> Iterator[Finding]:
    if cloud.known("secret") is None:
        return
    held = _roles_in(cloud.known("secret_policy"), cloud.account)
    try:
        held |= _roles_in(cloud.known("policy"), cloud.account)
    except NotKnown:
        if READER.name not in held:
            raise
    where = f"secrets add-iam-policy-binding {cloud.secret} --project={cloud.secret_project}"
    yield from _role(cloud, READER, held, where)


def account(cloud: Cloud) -> Iterator[Finding]:
    """The account should be dedicated and have no more permissions than it needs."""
    if not cloud.is_default_account and cloud.known("account") is None:
        name = cloud.account.partition("@")[0]
        fix = f"gcloud iam service-accounts create {name} --project={cloud.account_project}"
        yield error(f"there is no service account {cloud.account}", fix=fix)
        return
    wide = EVERYTHING & _roles_in(cloud.known("policy"), cloud.account)
    if wide and cloud.is_default_account:
        says = (
            f"the functions run as {cloud.account}, which has {min(wide)}: whoever breaks into one"
            " can change the whole project. Create an account, set SERVICE_ACCOUNT=batchpush@, and"
            " run this again to see what it needs"
        )
        fix = f"gcloud iam service-accounts create batchpush --project={cloud.project}"
        yield warning(says, fix=fix)
    elif wide:
        member = f"--member=serviceAccount:{cloud.account} --role={min(wide)}"
        fix = f"gcloud projects remove-iam-policy-binding {cloud.project} {member}"
        yield warning(f"{cloud.account} has {min(wide)}, far more than it needs", fix=fix)
    else:
        yield ok(f"the functions run as {cloud.account}")


def roles(cloud: Cloud) -> Iterator[Finding]:
    held = _roles_in(cloud.known("policy"), cloud.account)
    wanted = ROLES + ((DATABASE_ROLE,) if "database" in cloud.settings.sources else ())
    where = f"projects add-iam-policy-binding {cloud.project}"
    for role in wanted:
        yield from _role(cloud, role, held, where)
    if not cloud.is_default_account:
        yield from _role(cloud, RECEIVER, held, where)
        return
    for role in GIVEN_ROLES:
        for finding in _role(cloud, role, held, where):
            yield warning(finding.says, fix=finding.fix) if finding.fix else finding


def calling(cloud: Cloud) -> Iterator[Finding]:
    """Check each service: every function is a separate service in Cloud Run."""
    if cloud.is_default_account:
        return
    if _may_call(cloud):
        yield ok(f"{INVOKER.name} ({INVOKER.reason})")
        return
    cloud.known("policy")
    for answer in cloud.callers.values():
        if isinstance(answer, NotKnown):
            raise answer
    policies = {
        service: answer
        for service, answer in cloud.callers.items()
        if not isinstance(answer, NotKnown)
    }
    there = [service for service, policy in policies.items() if policy is not None]
    missing = [
        service
        for service in there
        if INVOKER.name not in _roles_in(policies[service], cloud.account)
    ]
    if missing:
        says = f"{INVOKER.name} is not given for {', '.join(missing)} ({INVOKER.reason})"
        yield error(says, fix=_give_each(cloud, missing))
    if len(there) < len(policies) or not policies:
        says = f"{INVOKER.name}: functions that are not deployed yet: run this again afterwards"
        yield warning(says)
    elif not missing:
        yield ok(f"{INVOKER.name} for each function ({INVOKER.reason})")


def _give_each(cloud: Cloud, services: Sequence[str]) -> str:
    where = f"--region={cloud.settings.region} --project={cloud.project}"
    member = f"--member=serviceAccount:{cloud.account} --role={INVOKER.name}"
    give = f"gcloud run services add-iam-policy-binding $service {where} {member}"
    return f"for service in {' '.join(services)}; do {give}; done"


def acting(cloud: Cloud) -> Iterator[Finding]:
    held = _roles_in(cloud.known("account_policy"), cloud.account)
    if ACTS.name not in held:
        held |= _roles_in(cloud.known("policy"), cloud.account)
    binding = f"iam service-accounts add-iam-policy-binding {cloud.account}"
    where = f"{binding} --project={cloud.account_project}"
    yield from _role(cloud, ACTS, held, where)


def _roles_in(policy: Mapping[str, Any] | None, account: str) -> set[str]:
    bindings = (policy or {}).get("bindings", ())
    member = f"serviceAccount:{account}"
    return {str(each["role"]) for each in bindings if member in each.get("members", ())}


def _role(cloud: Cloud, role: Role, held: set[str], where: str) -> Iterator[Finding]:
    """`where` is the gcloud command that grants the role."""
    if role.name in held or role.or_one_of & held:
        yield ok(f"{role.name} ({role.reason})")
    elif own := sorted(each for each in held if not each.startswith("roles/")):
        yield not_checked(f"{role.name}: check that {own[0]} has the same permissions")
    else:
        member = f"--member=serviceAccount:{cloud.account} --role={role.name}"
        says = f"{role.name} is not given to the functions' service account ({role.reason})"
        yield error(says, fix=f"gcloud {where} {member}")


def ttl(cloud: Cloud) -> Iterator[Finding]:
    found = cloud.known("ttl")
    collection = cloud.settings.deliveries_collection
    if found and "ttlConfig" in found:
        yield ok(f"{collection}: old records are deleted")
    else:
        says = f"{collection}: old records are not deleted before firestore:indexes are deployed"
        fix = f"firebase deploy --only firestore:indexes --project={cloud.project}"
        yield warning(says, fix=fix)


PARTS: Mapping[str, Callable[[Cloud], Iterator[Finding]]] = {
    "APIs": apis,
    "Firestore": database,
    "Realtime Database": instances,
    "secret": secret,
    "its latest version": version,
    "service account": account,
    "permission to read the secret": reader,
    "roles": roles,
    "permission to act as itself": acting,
    "permission to call the functions": calling,
    "TTL": ttl,
}
