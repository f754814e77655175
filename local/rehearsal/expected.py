"""What a deployment of this project has to leave in Google Cloud, and how it differs from that.

It is made of `main.py`'s own description, of what this project depends on and no description holds
(every event is retried; only `notify` lets everybody in; no function gets the REST key, which is
read from Secret Manager while it runs), and of the names that the code uses: a task goes to a queue
that `batchpush` names, not `main.py`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchpush.delivery.scheduling import chunk_task, resume_task

Resource = Mapping[str, Any]
Resources = Mapping[str, Resource]
RETRIED = "RETRY_POLICY_RETRY"
INVOKER = "roles/run.invoker"
KEPT_SECONDS = "86400s"  # what the CLI's --force chooses for container images


@dataclass(frozen=True)
class Expected:
    """Google's resources by kind and full name, with the fields that matter."""

    functions: Resources
    jobs: Resources
    queues: Resources
    fields: Resources
    policies: Resources

    @property
    def complete(self) -> Mapping[str, Resources]:
        """The kinds of which nothing else may have been made."""
        return {
            "functions": self.functions,
            "jobs": self.jobs,
            "queues": self.queues,
            "fields": self.fields,
        }


@dataclass(frozen=True)
class Deployment:
    """Where a function of `main.py` goes, and with which settings."""

    project: str
    account: str
    settings: Mapping[str, str]
    locations: Mapping[str, str]  # of the Firestore databases

    @property
    def region(self) -> str:
        return f"projects/{self.project}/locations/{self.settings['REGION']}"


def expected_from(deployment: Deployment, endpoints: Resources, indexes: Resource) -> Expected:
    region = deployment.region
    scheduled = {name: each for name, each in endpoints.items() if "scheduleTrigger" in each}
    return Expected(
        functions={
            f"{region}/functions/{name}": _function(deployment, each)
            for name, each in endpoints.items()
        },
        jobs={
            f"{region}/jobs/firebase-schedule-{name}-{deployment.settings['REGION']}": {
                "schedule": each["scheduleTrigger"]["schedule"],
                "timeZone": "UTC",
                "attemptDeadline": f"{each['timeoutSeconds']}s",
                "httpTarget.oidcToken.serviceAccountEmail": deployment.account,
            }
            for name, each in scheduled.items()
        },
        queues={f"{region}/queues/{name}": _queue(endpoints.get(name, {})) for name in _queues()},
        fields=_fields(deployment.project, indexes),
        policies={
            f"{region}/services/{name.lower().replace('_', '-')}": {"invokers": members}
            for name, each in endpoints.items()
            if (members := _invokers(deployment, each))
        },
    )


def _function(deployment: Deployment, endpoint: Resource) -> Resource:
    expected: dict[str, Any] = {
        "state": "ACTIVE",
        "buildConfig.entryPoint": endpoint["entryPoint"],
        "serviceConfig.availableMemory": f"{endpoint['availableMemoryMb']}Mi",
        "serviceConfig.timeoutSeconds": endpoint["timeoutSeconds"],
        "serviceConfig.maxInstanceRequestConcurrency": endpoint["concurrency"],
        "serviceConfig.minInstanceCount": endpoint.get("minInstances"),
        "serviceConfig.serviceAccountEmail": deployment.account,
        "serviceConfig.secretEnvironmentVariables": [],
        "serviceConfig.environmentVariables.FUNCTION_TARGET": endpoint["entryPoint"],
    }
    for name, value in deployment.settings.items():
        expected[f"serviceConfig.environmentVariables.{name}"] = value
    trigger = endpoint.get("eventTrigger")
    if trigger is None:
        return {**expected, "eventTrigger": None}
    return {**expected, **_trigger(deployment, trigger)}


def _trigger(deployment: Deployment, trigger: Resource) -> Resource:
    named = trigger["eventFilters"]
    where = deployment.locations.get(named.get("database", ""), deployment.settings["REGION"])
    return {
        "eventTrigger.eventType": trigger["eventType"],
        "eventTrigger.eventFilters": sorted(
            [
                *((name, value, "") for name, value in named.items()),
                *(
                    (name, value, "match-path-pattern")
                    for name, value in trigger["eventFilterPathPatterns"].items()
                ),
            ]
        ),
        "eventTrigger.retryPolicy": RETRIED,
        "eventTrigger.triggerRegion": where,
        "eventTrigger.serviceAccountEmail": deployment.account,
    }


def _queues() -> tuple[str, str]:
    return chunk_task("", "").function, resume_task("").function


def _queue(endpoint: Resource) -> Resource:
    trigger = endpoint.get("taskQueueTrigger", {})
    limits, retries = trigger.get("rateLimits", {}), trigger.get("retryConfig", {})
    return {
        "state": "RUNNING",
        "rateLimits.maxConcurrentDispatches": limits.get("maxConcurrentDispatches"),
        "retryConfig.maxAttempts": retries.get("maxAttempts"),
        "retryConfig.minBackoff": f"{retries.get('minBackoffSeconds')}s",
        "retryConfig.maxBackoff": f"{retries.get('maxBackoffSeconds')}s",
    }


def _fields(project: str, indexes: Resource) -> Resources:
    groups = f"projects/{project}/databases/(default)/collectionGroups"
    return {
        f"{groups}/{each['collectionGroup']}/fields/{each['fieldPath']}": {
            "indexes": sorted((one["order"], one["queryScope"]) for one in each["indexes"]),
            "has_ttl": each.get("ttl", False),
        }
        for each in indexes["fieldOverrides"]
    }


def _invokers(deployment: Deployment, endpoint: Resource) -> list[str]:
    """Eventarc and Cloud Tasks call as the functions' account, which has a role for that."""
    if "callableTrigger" in endpoint:
        return ["allUsers"]  # Firebase's ID token is checked inside
    if "scheduleTrigger" in endpoint:
        return [f"serviceAccount:{deployment.account}"]
    return []


# --- Differences ---------------------------------------------------------------------------------


def differences(state: Mapping[str, Resources], expected: Expected) -> list[str]:
    """`state` is what the emulator has, by kind and name."""
    return [
        *(found for kind, want in expected.complete.items() for found in _of(kind, state, want)),
        *_policies(state["policies"], expected.policies),
        *_repositories(state["repositories"]),
    ]


def _of(kind: str, state: Mapping[str, Resources], want: Resources) -> Iterator[str]:
    have = state[kind]
    yield from (f"{kind}: {name} is missing" for name in sorted(want.keys() - have.keys()))
    yield from (f"{kind}: {name} is not expected" for name in sorted(have.keys() - want.keys()))
    for name in sorted(want.keys() & have.keys()):
        for path, value in want[name].items():
            if (found := _at(have[name], path)) != value:
                yield f"{kind}: {name}: {path} is {found!r}, not {value!r}"


def _at(resource: Resource, path: str) -> Any:
    """The value at a path such as `serviceConfig.timeoutSeconds`, in a form that compares well."""
    if path == "has_ttl":
        return "ttlConfig" in resource
    if path == "indexes":
        found = resource["indexConfig"].get("indexes", [])
        return sorted((each["fields"][0].get("order"), each["queryScope"]) for each in found)
    if path == "serviceConfig.secretEnvironmentVariables":
        return resource["serviceConfig"].get("secretEnvironmentVariables") or []
    value: Any = resource
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if path == "eventTrigger.eventFilters":
        return sorted((e["attribute"], e["value"], e.get("operator", "")) for e in value or [])
    return value


def _policies(have: Resources, want: Resources) -> Iterator[str]:
    for name in sorted({*want, *(each for each in have if "/services/" in each)}):
        invokers = want.get(name, {}).get("invokers", [])
        bindings = have.get(name, {}).get("bindings", [])
        found = sorted(
            member for each in bindings if each["role"] == INVOKER for member in each["members"]
        )
        if found != invokers:
            yield f"policies: {name} lets in {found}, not {invokers}"


def _repositories(have: Resources) -> Iterator[str]:
    for name, repository in have.items():
        policies = repository.get("cleanupPolicies", {}).values()
        kept = [each.get("condition", {}).get("olderThan") for each in policies]
        if kept != [KEPT_SECONDS]:
            yield f"repositories: {name} keeps images for {kept}, not for {[KEPT_SECONDS]}"


# --- The archive ---------------------------------------------------------------------------------

RUNNING = (
    "main.py",
    "requirements.txt",
    "batchpush/**/*.py",
    "handlers/**/*.py",
    "handlers/categories.toml",
    "handlers/texts/*.toml",
)
NOT_RUNNING = ("batchpush/cli/**/*.py", "batchpush/testing/*.py")


def files_of(folder: Path) -> dict[str, bytes]:
    """What a function needs to run, which is all that may be uploaded."""
    found = {path for pattern in RUNNING for path in folder.glob(pattern)}
    found -= {path for pattern in NOT_RUNNING for path in folder.glob(pattern)}
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(found)}


@dataclass(frozen=True)
class Archive:
    """An uploaded archive, unpacked, and its own size."""

    files: Mapping[str, bytes]
    size: int

    def differences(self, want: Mapping[str, bytes], max_size: int) -> list[str]:
        both = sorted(want.keys() & self.files.keys())
        return [
            *(f"archive: {name} is left out" for name in sorted(want.keys() - self.files.keys())),
            *(f"archive: {name} is uploaded" for name in sorted(self.files.keys() - want.keys())),
            *(f"archive: {name} is changed" for name in both if want[name] != self.files[name]),
            *([f"archive: {self.size} bytes"] if self.size > max_size else []),
        ]
