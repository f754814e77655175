"""The emulated Google Cloud refuses what Google refuses, and remembers all of it."""

import http.client
import io
import json
import ssl
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

import google.auth.compute_engine
import google.auth.transport.requests
import pytest
import requests

from emulators.google_cloud import GoogleCloud, Project, discovery, running
from emulators.google_cloud.call import ANSWERS

ID = "batchpush-rehearsal"
PROJECT = Project(
    ID,
    firestore={"(default)": "nam5"},
    realtime={f"{ID}-default-rtdb": "us-central1"},
    accounts=["batchpush", "deployer"],
    roles={
        "roles/owner": [f"serviceAccount:deployer@{ID}.iam.gserviceaccount.com"],
        "roles/cloudtasks.enqueuer": [f"serviceAccount:batchpush@{ID}.iam.gserviceaccount.com"],
    },
    secrets={"key": [f"serviceAccount:batchpush@{ID}.iam.gserviceaccount.com"], "other": []},
    payloads={"key": "REST KEY"},
    disabled=["cloudtasks.googleapis.com"],
    runs_as=f"batchpush@{ID}.iam.gserviceaccount.com",
)
REGION = f"projects/{ID}/locations/us-central1"
FUNCTIONS = f"cloudfunctions/v2/{REGION}/functions"
FIELD = "firestore/v1/" + f"projects/{ID}/databases/(default)/collectionGroups/c/fields/f"
QUEUES = f"cloudtasks/v2/{REGION}/queues"
JOBS = f"cloudscheduler/v1/{REGION}/jobs"


class Client:
    """Asks as the Firebase CLI does: through the proxy, with a token for a refresh token."""

    def __init__(self, cloud: GoogleCloud) -> None:
        self.cloud = cloud
        told = cloud.ready()
        self.proxy = urlsplit(told["proxy"])
        self.context = ssl.create_default_context(cadata=told["certificate"])
        self.token = ""
        form = {"grant_type": "refresh_token", "refresh_token": told["refresh_token"]}
        self.token = self.exchange(form)[1]["access_token"]

    def exchange(self, form: Mapping[str, str]) -> tuple[int, Any]:
        body = urlencode(form).encode()
        return self.send("POST", "www.googleapis.com", "/oauth2/v3/token", body)

    def send(
        self, verb: str, host: str, path: str, body: bytes | None, **headers: str
    ) -> tuple[int, Any]:
        assert self.proxy.hostname
        connection = http.client.HTTPSConnection(
            self.proxy.hostname, self.proxy.port, context=self.context, timeout=10
        )
        connection.set_tunnel(host, 443)
        signed = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            connection.request(verb, path, body, signed | headers)
            reply = connection.getresponse()
            text = reply.read()
            return reply.status, json.loads(text) if text else None
        finally:
            connection.close()

    def ask(self, verb: str, place: str, body: Any = None) -> tuple[int, Any]:
        """`place` is the name of an API and a path, such as `run/v1/projects/...`."""
        api, _, path = place.partition("/")
        data = None if body is None else json.dumps(body).encode()
        return self.send(verb, f"{api}.googleapis.com", f"/{path}", data)

    def well(self, verb: str, place: str, body: Any = None) -> Any:
        status, answer = self.ask(verb, place, body)
        assert status == 200, answer
        return answer

    def finished(self, operation: Mapping[str, Any]) -> Any:
        """The operation, once it is done; whoever asks too soon has to ask again."""
        place = f"cloudfunctions/v2/{operation['name']}"
        assert self.well("GET", place)["done"] is False
        done = self.well("GET", place)
        assert done["done"] is True
        return done

    def uploaded(self, *names: str) -> dict[str, str]:
        """A source with these files."""
        told = self.well("POST", f"{FUNCTIONS}:generateUploadUrl", {})
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as opened:
            for name in names:
                opened.writestr(name, "")
        url = urlsplit(told["uploadUrl"])
        assert url.hostname
        path = f"{url.path}?{url.query}"
        headers = {"Content-Type": "application/zip"}
        assert self.send("PUT", url.hostname, path, archive.getvalue(), **headers)[0] == 200
        source: dict[str, str] = told["storageSource"]
        return source

    def deployed(self, name: str = "new_message", **changes: Any) -> tuple[int, Any]:
        source = self.uploaded("main.py", "requirements.txt")
        function = described(name, source) | changes
        return self.ask("POST", f"{FUNCTIONS}?functionId={name}", function)


def described(name: str, source: Mapping[str, str]) -> dict[str, Any]:
    """A function as `functionFromEndpoint` of the CLI makes it."""
    return {
        "name": f"{REGION}/functions/{name}",
        "buildConfig": {
            "runtime": "python312",
            "entryPoint": name,
            "source": {"storageSource": dict(source)},
        },
        "serviceConfig": {
            "availableMemory": "512Mi",
            "availableCpu": "1",
            "maxInstanceRequestConcurrency": 80,
            "timeoutSeconds": 120,
            "serviceAccountEmail": f"batchpush@{ID}.iam.gserviceaccount.com",
        },
        "eventTrigger": trigger(),
        "labels": {"deployment-tool": "cli-firebase"},
    }


def trigger(**changes: Any) -> dict[str, Any]:
    pattern = {"operator": "match-path-pattern"}
    return {
        "eventType": "google.cloud.firestore.document.v1.created",
        "eventFilters": [
            {"attribute": "database", "value": "(default)"},
            {"attribute": "namespace", "value": "(default)"},
            {"attribute": "document", "value": "a/{b}"} | pattern,
        ],
        "retryPolicy": "RETRY_POLICY_RETRY",
        "triggerRegion": "nam5",
    } | changes


@pytest.fixture(scope="module")
def cloud() -> Iterator[GoogleCloud]:
    with running(PROJECT) as cloud:
        yield cloud


@pytest.fixture
def client(cloud: GoogleCloud) -> Client:
    return Client(cloud)


@pytest.fixture
def fresh() -> Iterator[Client]:
    """Of a project in which nothing was deployed."""
    with running(PROJECT) as cloud:
        yield Client(cloud)


def test_every_method_that_is_described_is_answered() -> None:
    assert ANSWERS.keys() == {method.key for method in discovery.methods()}


# --- What leads here, and who may ask -----------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "port"),
    [("example.com", 443), ("googleapis.com.example.com", 443), ("run.googleapis.com", 80)],
)
def test_nothing_leaves_this_machine(client: Client, host: str, port: int) -> None:
    assert client.proxy.hostname
    connection = http.client.HTTPConnection(client.proxy.hostname, client.proxy.port, timeout=10)
    connection.set_tunnel(host, port)
    with pytest.raises(OSError, match="403"):
        connection.request("GET", "/")
    connection.close()
    assert client.cloud.requests()[-1]["host"] == f"{host}:{port}"
    assert client.cloud.requests()[-1]["status"] == 403


def test_a_credential_that_is_not_ours_gets_no_token(client: Client) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": "1//real"}
    assert client.exchange(form) == (400, {"error": "invalid_grant"})


def test_without_a_token_nothing_is_answered(client: Client) -> None:
    client.token = "guessed"
    status, answer = client.ask("GET", f"cloudresourcemanager/v1/projects/{ID}")
    assert (status, answer["error"]["status"]) == (401, "UNAUTHENTICATED")


def test_a_key_file_is_exchanged_as_googles_libraries_do(
    cloud: GoogleCloud, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in cloud.environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    session = google.auth.transport.requests.AuthorizedSession(credentials)
    answer = session.get(f"https://cloudresourcemanager.googleapis.com/v1/projects/{ID}")
    assert answer.json()["projectNumber"] == PROJECT.number


def test_the_metadata_server_says_who_a_function_is(
    cloud: GoogleCloud, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = requests.get(f"{cloud.url}/computeMetadata/v1/project/project-id", timeout=10)
    assert own.status_code == 403  # without its header
    headers = {"Metadata-Flavor": "Google"}
    url = f"{cloud.url}/computeMetadata/v1/instance/service-accounts/default"
    token = requests.get(f"{url}/token", headers=headers, timeout=10).json()["access_token"]
    client.token = token
    secrets = f"secretmanager/v1/projects/{ID}/secrets"
    payload = client.well("GET", f"{secrets}/key/versions/latest:access")["payload"]
    assert payload["data"] == "UkVTVCBLRVk="
    status, answer = client.ask("GET", f"{secrets}/other/versions/latest:access")
    assert (status, answer["error"]["status"]) == (403, "PERMISSION_DENIED")


# --- What is refused ----------------------------------------------------------------------------

MASK = "updateMask=name"
REFUSED: list[tuple[str, str, Any, int, str]] = [
    ("GET", f"run/v1/{REGION}/nothing", None, 404, "has no GET"),
    ("GET", f"cloudresourcemanager/v2/projects/{ID}", None, 404, "has no GET"),
    ("GET", "cloudresourcemanager/v1/projects/another", None, 403, "projects/another"),
    ("GET", f"cloudresourcemanager/v1/projects/{ID}?page=1", None, 400, 'name "page"'),
    ("GET", f"{FUNCTIONS}/absent", None, 404, "was not found"),
    ("GET", f"cloudfunctions/v2/{REGION}/operations/absent", None, 404, "was not found"),
    ("GET", f"serviceusage/v1/projects/{ID}/services/127.0.0.1", None, 403, "127.0.0.1"),
    ("POST", f"{FUNCTIONS}?functionId=1a", {}, 400, "function id"),
    ("POST", f"{FUNCTIONS}?functionId=a", {"retry": True}, 400, 'Unknown name "retry"'),
    ("POST", f"{FUNCTIONS}?functionId=a", [], 400, "an object"),
    (
        *("POST", f"{FUNCTIONS}?functionId=a", {"eventTrigger": {"retryPolicy": "RETRY"}}, 400),
        "RETRY_POLICY_RETRY",
    ),
    ("POST", f"{FUNCTIONS}?functionId=a", {"labels": {"a": 1}}, 400, "a string"),
    ("PATCH", f"{FUNCTIONS}/absent?{MASK}", {}, 404, "was not found"),
    ("PATCH", FIELD + "?updateMask=indexes", {}, 400, "field path 'indexes'"),
    ("PATCH", FIELD, {"indexConfig": {"indexes": [{"fields": []}]}}, 400, "that field only"),
    (
        *("PATCH", FIELD, {"indexConfig": {"indexes": [{"fields": [{"fieldPath": "f"}]}]}}),
        *(400, "an order or an array"),
    ),
    ("PATCH", FIELD.replace("(default)", "other"), {}, 404, "database other does not exist"),
    ("POST", QUEUES, {"name": f"{REGION}/queues/send_chunk"}, 400, "Queue ID 'send_chunk'"),
    (
        "POST",
        QUEUES,
        {"name": f"{REGION}/queues/a", "retryConfig": {"minBackoff": "10"}},
        400,
        "10s",
    ),
    ("POST", f"{QUEUES}/absent/tasks", {"task": {}}, 404, "was not found"),
    ("POST", JOBS, {"name": f"{REGION}/jobs/a", "schedule": "hourly"}, 400, "Schedule"),
    (
        *("POST", JOBS, {"name": f"{REGION}/jobs/a", "schedule": "every 5 minutes"}, 400),
        "needs a target",
    ),
    ("POST", f"run/v1/{REGION}/services/absent:setIamPolicy", {"policy": {}}, 404, "not found"),
    (
        "POST",
        f"cloudresourcemanager/v1/projects/{ID}:testIamPermissions",
        *({"permissions": ["everything"]}, 400, "not valid"),
    ),
    (
        "POST",
        f"iam/v1/projects/{ID}/serviceAccounts/batchpush@{ID}.iam.gserviceaccount.com:getIamPolicy",
        *({"options": {"requestedPolicyVersion": 3}}, 400, "has no body"),
    ),
]


@pytest.mark.parametrize(("verb", "place", "body", "status", "says"), REFUSED)
def test_what_is_wrong_gets_googles_error_and_is_remembered(
    client: Client, verb: str, place: str, body: Any, status: int, says: str
) -> None:
    found, answer = client.ask(verb, place, body)
    assert found == status
    assert answer["error"]["code"] == status
    assert says in answer["error"]["message"]
    asked = client.cloud.requests()[-1]
    assert (asked["verb"], asked["status"], asked["body"]) == (verb, status, body)
    assert says in asked["error"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"buildConfig": {"runtime": "nodejs22"}}, "runtime nodejs22"),
        ({"eventTrigger": trigger(triggerRegion="us-central1")}, "not in nam5"),
        ({"eventTrigger": trigger(eventType="google.cloud.firestore.document.v1.read")}, "type"),
        ({"eventTrigger": trigger(eventFilters=[])}, "needs the filters"),
        (
            {
                "eventTrigger": trigger(
                    eventFilters=[
                        {"attribute": "database", "value": "(default)"},
                        {"attribute": "namespace", "value": "(default)"},
                        {"attribute": "document", "value": "a/{b}"},
                    ]
                )
            },
            "no operator",
        ),
        ({"serviceConfig": {"timeoutSeconds": 541}}, "1 to 540 seconds"),
        ({"serviceConfig": {"maxInstanceRequestConcurrency": 2}}, "cpu < 1"),
        ({"serviceConfig": {"environmentVariables": {"PORT": "1"}}}, "reserved"),
        ({"serviceConfig": {"serviceAccountEmail": "x@y.iam.gserviceaccount.com"}}, "Unknown"),
        ({"labels": {"Tool": "x"}}, "label Tool"),
    ],
)
def test_a_function_that_google_would_not_take_is_refused(
    client: Client, changes: dict[str, Any], says: str
) -> None:
    status, answer = client.deployed("refused", **changes)
    assert status in (400, 404)
    assert says in answer["error"]["message"]
    assert client.ask("GET", f"{FUNCTIONS}/refused")[0] == 404


@pytest.mark.parametrize("kind", ["application/octet-stream", "application/zip"])
def test_an_archive_is_taken_only_at_the_address_that_was_signed(client: Client, kind: str) -> None:
    told = client.well("POST", f"{FUNCTIONS}:generateUploadUrl", {})
    url = urlsplit(told["uploadUrl"])
    query = url.query + ("x" if kind == "application/zip" else "")
    place = (url.hostname or "", f"{url.path}?{query}")
    assert client.send("PUT", *place, b"PK", **{"Content-Type": kind})[0] == 403


# --- A deployment -------------------------------------------------------------------------------


def test_a_function_is_there_when_its_operation_is_done(fresh: Client) -> None:
    status, operation = fresh.deployed()
    assert (status, operation["done"]) == (200, False)
    function = fresh.finished(operation)["response"]
    assert function["state"] == "ACTIVE"
    assert function["serviceConfig"]["service"] == f"{REGION}/services/new-message"
    assert fresh.well("GET", f"cloudfunctions/v2/projects/{ID}/locations/-/functions") == {
        "functions": [function]
    }
    assert fresh.cloud.archive(function).namelist() == ["main.py", "requirements.txt"]
    assert fresh.deployed()[0] == 409  # it is there already


def test_an_archive_without_requirements_does_not_build(fresh: Client) -> None:
    source = fresh.uploaded("main.py")
    operation = fresh.well(
        "POST", f"{FUNCTIONS}?functionId=new_message", described("new_message", source)
    )
    assert "missing requirements.txt" in fresh.finished(operation)["error"]["message"]
    assert fresh.cloud.state()["functions"] == {}


def test_an_update_changes_what_its_mask_names(fresh: Client) -> None:
    fresh.finished(fresh.deployed()[1])
    change = described("new_message", fresh.uploaded("main.py", "requirements.txt"))
    change["serviceConfig"]["timeoutSeconds"] = 60
    change["eventTrigger"]["retryPolicy"] = "RETRY_POLICY_DO_NOT_RETRY"
    mask = "updateMask=serviceConfig.timeoutSeconds"
    fresh.finished(fresh.well("PATCH", f"{FUNCTIONS}/new_message?{mask}", change))
    function = fresh.well("GET", f"{FUNCTIONS}/new_message")
    assert function["serviceConfig"]["timeoutSeconds"] == 60
    assert function["serviceConfig"]["availableMemory"] == "512Mi"
    assert function["eventTrigger"]["retryPolicy"] == "RETRY_POLICY_RETRY"


def test_a_deleted_function_takes_its_service_along(fresh: Client) -> None:
    fresh.finished(fresh.deployed()[1])
    service = f"run/v1/{REGION}/services/new-message:getIamPolicy"
    assert fresh.ask("GET", service)[0] == 200
    fresh.finished(fresh.well("DELETE", f"{FUNCTIONS}/new_message"))
    assert fresh.ask("GET", service)[0] == 404


def test_a_policy_that_changed_meanwhile_is_not_overwritten(fresh: Client) -> None:
    place = f"cloudresourcemanager/v1/projects/{PROJECT.number}"
    policy = fresh.well("POST", f"{place}:getIamPolicy", {})
    member = "serviceAccount:" + PROJECT.default_account
    policy["bindings"].append({"role": "roles/run.invoker", "members": [member]})
    now = fresh.well("POST", f"{place}:setIamPolicy", {"policy": policy, "updateMask": "bindings"})
    assert now["bindings"] == policy["bindings"]
    status, answer = fresh.ask("POST", f"{place}:setIamPolicy", {"policy": policy})
    assert (status, answer["error"]["status"]) == (409, "ABORTED")


def test_googles_own_account_has_roles_only_once_it_is_there(fresh: Client) -> None:
    agent = f"service-{PROJECT.number}@gcp-sa-pubsub.iam.gserviceaccount.com"
    bindings = [
        {"role": "roles/iam.serviceAccountTokenCreator", "members": [f"serviceAccount:{agent}"]}
    ]
    place = f"cloudresourcemanager/v1/projects/{ID}:setIamPolicy"
    status, answer = fresh.ask("POST", place, {"policy": {"bindings": bindings}})
    assert status == 400
    assert answer["error"]["message"] == f"Service account {agent} does not exist."
    identity = f"projects/{ID}/services/pubsub.googleapis.com:generateServiceIdentity"
    fresh.well("POST", f"serviceusage/v1beta1/{identity}", {})
    fresh.well("POST", place, {"policy": {"bindings": bindings}})


def test_an_api_is_there_once_it_is_enabled(fresh: Client) -> None:
    place = f"serviceusage/v1/projects/{ID}/services/cloudtasks.googleapis.com"
    assert fresh.well("GET", place)["state"] == "DISABLED"
    fresh.well("POST", f"{place}:enable")
    assert fresh.well("GET", place)["state"] == "ENABLED"


def test_a_field_without_a_configuration_inherits_again(fresh: Client) -> None:
    config: dict[str, Any] = {"indexConfig": {"indexes": []}, "ttlConfig": {}}
    fresh.well("PATCH", FIELD, config)
    assert fresh.well("GET", FIELD)["ttlConfig"] == {"state": "CREATING"}
    fresh.well("PATCH", FIELD, {})
    assert fresh.well("GET", FIELD)["indexConfig"] == {"usesAncestorConfig": True}


def test_a_schedule_calls_a_function_that_is_there(fresh: Client) -> None:
    job = {
        "name": f"{REGION}/jobs/sweep",
        "schedule": "every 10 minutes",
        "attemptDeadline": "540s",
        "httpTarget": {
            "uri": f"https://us-central1-{ID}.cloudfunctions.net/sweep",
            "oidcToken": {"serviceAccountEmail": PROJECT.default_account},
        },
    }
    assert "of no function" in fresh.ask("POST", JOBS, job)[1]["error"]["message"]
    fresh.finished(fresh.deployed("sweep", eventTrigger=None)[1])
    fresh.well("POST", JOBS, job)
    assert fresh.ask("POST", JOBS, job)[0] == 409


def test_another_site_cannot_read_what_was_deployed(cloud: GoogleCloud) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        answer = requests.get(f"{cloud.url}/__requests", headers=headers, timeout=10)
        assert answer.status_code == 403
