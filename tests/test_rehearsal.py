"""`make rehearse` notices what is missing, wrong or too much in a deployment."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emulators.google_cloud import running
from local.rehearsal import rehearsal as rehearse
from local.rehearsal.expected import Archive, Deployment, differences, expected_from, files_of

ACCOUNT = "batchpush@p.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{ACCOUNT}"
REGION = "projects/p/locations/us-central1"
FIELD = "projects/p/databases/(default)/collectionGroups/batch_deliveries/fields/expire_at"
SETTINGS = {"REGION": "us-central1", "BATCH_APPS": "ios=K"}
DEPLOYMENT = Deployment("p", ACCOUNT, SETTINGS, {"(default)": "nam5"})

QUEUE = {
    "taskQueueTrigger": {
        "rateLimits": {"maxConcurrentDispatches": 20},
        "retryConfig": {"maxAttempts": 100, "minBackoffSeconds": 10, "maxBackoffSeconds": 600},
    }
}
KINDS: dict[str, dict[str, Any]] = {
    "outbox": {
        "minInstances": 1,
        "eventTrigger": {
            "eventType": "google.cloud.firestore.document.v1.created",
            "eventFilters": {"database": "(default)", "namespace": "(default)"},
            "eventFilterPathPatterns": {"document": "pushes/{push_id}"},
            "retry": False,  # whatever main.py says
        },
    },
    "sendchunk": QUEUE,
    "sendlater": QUEUE,
    "sweep": {"scheduleTrigger": {"schedule": "every 10 minutes"}},
    "notify": {"callableTrigger": {}},
}
ENDPOINTS = {
    name: {
        "entryPoint": name,
        "availableMemoryMb": 512,
        "timeoutSeconds": 120,
        "concurrency": 80,
        **kind,
    }
    for name, kind in KINDS.items()
}
INDEXES = {
    "fieldOverrides": [
        {
            "collectionGroup": "batch_deliveries",
            "fieldPath": "expire_at",
            "ttl": True,
            "indexes": [{"order": "ASCENDING", "queryScope": "COLLECTION"}],
        }
    ]
}


def function(name: str) -> dict[str, Any]:
    deployed: dict[str, Any] = {
        "state": "ACTIVE",
        "buildConfig": {"entryPoint": name},
        "serviceConfig": {
            "availableMemory": "512Mi",
            "timeoutSeconds": 120,
            "maxInstanceRequestConcurrency": 80,
            "serviceAccountEmail": ACCOUNT,
            "environmentVariables": {**SETTINGS, "FUNCTION_TARGET": name},
        },
    }
    if name == "outbox":
        deployed["serviceConfig"]["minInstanceCount"] = 1
        deployed["eventTrigger"] = {
            "eventType": "google.cloud.firestore.document.v1.created",
            "eventFilters": [
                {
                    "attribute": "document",
                    "value": "pushes/{push_id}",
                    "operator": "match-path-pattern",
                },
                {"attribute": "database", "value": "(default)"},
                {"attribute": "namespace", "value": "(default)"},
            ],
            "retryPolicy": "RETRY_POLICY_RETRY",
            "triggerRegion": "nam5",
            "serviceAccountEmail": ACCOUNT,
        }
    return deployed


def invokers(*members: str) -> dict[str, Any]:
    return {"bindings": [{"role": "roles/run.invoker", "members": list(members)}]}


def queue() -> dict[str, Any]:
    return {
        "state": "RUNNING",
        "rateLimits": {"maxConcurrentDispatches": 20},
        "retryConfig": {"maxAttempts": 100, "minBackoff": "10s", "maxBackoff": "600s"},
    }


def deployed() -> dict[str, dict[str, Any]]:
    """What the emulator has after a deployment that went well."""
    return copy.deepcopy(
        {
            "functions": {f"{REGION}/functions/{name}": function(name) for name in ENDPOINTS},
            "jobs": {
                f"{REGION}/jobs/firebase-schedule-sweep-us-central1": {
                    "schedule": "every 10 minutes",
                    "timeZone": "UTC",
                    "attemptDeadline": "120s",
                    "httpTarget": {"oidcToken": {"serviceAccountEmail": ACCOUNT}},
                }
            },
            "queues": {f"{REGION}/queues/{name}": queue() for name in ("sendchunk", "sendlater")},
            "fields": {
                FIELD: {
                    "ttlConfig": {},
                    "indexConfig": {
                        "indexes": [
                            {"queryScope": "COLLECTION", "fields": [{"order": "ASCENDING"}]}
                        ]
                    },
                }
            },
            "policies": {
                "project": invokers(MEMBER),
                f"{REGION}/services/sweep": invokers(MEMBER),
                f"{REGION}/services/notify": invokers("allUsers"),
            },
            "repositories": {
                "images": {"cleanupPolicies": {"old": {"condition": {"olderThan": "86400s"}}}}
            },
        }
    )


EXPECTED = expected_from(DEPLOYMENT, ENDPOINTS, INDEXES)
Change = Callable[[dict[str, Any]], Any]


def test_a_deployment_that_went_well_differs_in_nothing() -> None:
    assert differences(deployed(), EXPECTED) == []


def at(kind: str, name: str, *path: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def found(state: dict[str, Any]) -> dict[str, Any]:
        inner: dict[str, Any] = state[kind][name]
        for each in path:
            inner = inner[each]
        return inner

    return found


OUTBOX = f"{REGION}/functions/outbox"
SWEEP = f"{REGION}/jobs/firebase-schedule-sweep-us-central1"
TRIGGER = at("functions", OUTBOX, "eventTrigger")
SERVICE = at("functions", OUTBOX, "serviceConfig")

WRONG: list[tuple[Change, str]] = [
    (lambda s: s["functions"].pop(OUTBOX), "outbox is missing"),
    (lambda s: s["functions"].update({"more": {}}), "more is not expected"),
    (lambda s: TRIGGER(s).update(retryPolicy="RETRY_POLICY_DO_NOT_RETRY"), "retryPolicy is"),
    (lambda s: TRIGGER(s).pop("retryPolicy"), "retryPolicy is None"),
    (lambda s: TRIGGER(s).update(triggerRegion="us-central1"), "triggerRegion is"),
    (lambda s: TRIGGER(s)["eventFilters"].pop(), "eventFilters is"),
    (lambda s: TRIGGER(s)["eventFilters"][0].update(value="pushes/{id}"), "eventFilters is"),
    (lambda s: SERVICE(s).update(serviceAccountEmail="other"), "serviceAccountEmail is"),
    (
        lambda s: SERVICE(s).update(secretEnvironmentVariables=[{"secret": "key"}]),
        "secretEnvironmentVariables is",
    ),
    (lambda s: SERVICE(s)["environmentVariables"].pop("BATCH_APPS"), "BATCH_APPS is None"),
    (lambda s: SERVICE(s).update(minInstanceCount=0), "minInstanceCount is 0"),
    (lambda s: s["jobs"][SWEEP].update(schedule="every 1 hours"), "schedule is"),
    (
        lambda s: s["queues"].update(
            {f"{REGION}/queues/send-chunk": s["queues"].pop(f"{REGION}/queues/sendchunk")}
        ),
        "queues/sendchunk is missing",
    ),
    (lambda s: s["queues"][f"{REGION}/queues/sendlater"].update(state="PAUSED"), "state is"),
    (lambda s: s["fields"][FIELD].pop("ttlConfig"), "has_ttl is False"),
    (lambda s: s["fields"][FIELD]["indexConfig"].update(indexes=[]), "indexes is []"),
    (
        lambda s: s["policies"].update({f"{REGION}/services/outbox": invokers("allUsers")}),
        "services/outbox lets in ['allUsers'], not []",
    ),
    (lambda s: s["policies"].pop(f"{REGION}/services/sweep"), "services/sweep lets in []"),
    (lambda s: s["repositories"]["images"].clear(), "keeps images for []"),
]


@pytest.mark.parametrize(("change", "says"), WRONG, ids=[says for _, says in WRONG])
def test_what_is_wrong_is_named(change: Change, says: str) -> None:
    state = deployed()
    change(state)
    assert any(says in found for found in differences(state, EXPECTED))


ARCHIVE = {"main.py": b"1", "handlers/orders.py": b"2"}


@pytest.mark.parametrize(
    ("files", "size", "found"),
    [
        (ARCHIVE, 10, []),
        ({"main.py": b"1"}, 10, ["archive: handlers/orders.py is left out"]),
        (ARCHIVE | {"users.csv": b""}, 10, ["archive: users.csv is uploaded"]),
        (ARCHIVE | {"main.py": b"3"}, 10, ["archive: main.py is changed"]),
        (ARCHIVE, 11, ["archive: 11 bytes"]),
    ],
)
def test_an_archive_has_what_runs_and_nothing_else(
    files: dict[str, bytes], size: int, found: list[str]
) -> None:
    assert Archive(files, size).differences(ARCHIVE, 10) == found


def test_what_runs_is_known_from_the_folder() -> None:
    files = files_of(Path(__file__).parent.parent)
    assert {"main.py", "requirements.txt", "handlers/texts/en.toml", "batchpush/logs.py"} <= {
        *files
    }
    assert not any(name.startswith("batchpush/testing/") for name in files)


@pytest.mark.parametrize(
    ("method", "is_change"),
    [
        ("cloudfunctions.v2:projects.locations.functions.list", False),
        ("cloudresourcemanager.v1:projects.testIamPermissions", False),
        ("token", False),
        (None, True),
        ("upload", True),
        ("cloudfunctions.v2:projects.locations.functions.patch", True),
        ("cloudresourcemanager.v1:projects.setIamPolicy", True),
    ],
)
def test_a_request_that_only_reads_is_no_change(method: str | None, is_change: bool) -> None:
    assert rehearse.is_change({"method": method}) is is_change


def test_a_credential_or_an_emulator_of_ones_own_is_not_inherited(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("FIREBASE_TOKEN", "FIRESTORE_EMULATOR_HOST", "FIREBASE_FUNCTIONS_V2_URL"):
        monkeypatch.setenv(name, "of my own")
    with running(rehearse.project()) as cloud:
        assert "of my own" not in rehearse.environment(cloud, tmp_path).values()
