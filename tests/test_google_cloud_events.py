"""The emulated Google Cloud brings events, tasks and schedules to functions as Google does."""

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from emulators.google_cloud import GoogleCloud, running
from emulators.google_cloud.eventarc import pattern
from emulators.google_cloud.realtime_database import _delta
from emulators.serving import in_background
from tests.events import database_body, database_headers, firestore_body, firestore_headers
from tests.test_google_cloud_emulator import ID, PROJECT, QUEUES, REGION, Client, trigger
from tests.waits import until

ACCOUNT = f"batchpush@{ID}.iam.gserviceaccount.com"
MEMBER = f"serviceAccount:{ACCOUNT}"
INVOKER = "roles/run.invoker"


class Instance:
    """A function's process: it gives scripted answers and records its requests."""

    def __init__(self) -> None:
        self.came: list[tuple[Mapping[str, str], bytes]] = []
        self.statuses: list[int] = []  # 200 once they are used up

    async def serve(self, request: web.Request) -> web.Response:
        self.came.append((dict(request.headers), await request.read()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200, text="done")


@contextmanager
def instance_of(cloud: GoogleCloud, name: str) -> Iterator[Instance]:
    instance, app = Instance(), web.Application()
    app.router.add_route("*", "/", instance.serve)
    with in_background(app) as url:
        cloud.place(f"{REGION}/functions/{name}", url)
        yield instance


@pytest.fixture
def cloud() -> Iterator[GoogleCloud]:
    with running(PROJECT) as cloud:
        cloud.set_pace(speed=1000)
        cloud.grant(INVOKER, MEMBER)
        yield cloud


@pytest.fixture
def client(cloud: GoogleCloud) -> Client:
    return Client(cloud)


def deploy(client: Client, name: str, **changes: Any) -> None:
    status, operation = client.deployed(name, **changes)
    assert status == 200, operation
    client.finished(operation)


def watching(**changes: Any) -> dict[str, Any]:
    return trigger(serviceAccountEmail=ACCOUNT, **changes)


def bring(cloud: GoogleCloud, path: str, **headers: str) -> tuple[int, Any]:
    """An event of the database, as if it had one."""
    sent = firestore_headers(path) | {"ce-location": "nam5"} | headers
    body = firestore_body(path, after={"text": "Hello"})
    with closing(HTTPConnection(urlsplit(cloud.url).netloc, timeout=10)) as connection:
        connection.request("POST", "/__events", body, sent)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())


def ended(cloud: GoogleCloud, count: int = 1) -> list[dict[str, Any]]:
    """The deliveries, once so many of them are taken or dropped."""

    until(
        "delivery",
        lambda: [each["state"] != "WAITING" for each in cloud.deliveries()].count(True) >= count,
    )
    return cloud.deliveries()


MESSAGE = "a/1"  # which `trigger` watches


def test_a_write_is_brought_to_the_functions_that_watch_it(
    cloud: GoogleCloud, client: Client
) -> None:
    deploy(client, "new_message", eventTrigger=watching())
    written = watching(eventType="google.cloud.firestore.document.v1.written")
    deploy(client, "any_write", eventTrigger=written)
    with instance_of(cloud, "new_message") as created, instance_of(cloud, "any_write") as other:
        assert bring(cloud, "orders/7") == (200, [])
        status, names = bring(cloud, MESSAGE)
        assert (status, len(names)) == (200, 2)
        assert {each["state"] for each in ended(cloud, 2)} == {"TAKEN"}
    for instance, kind in ((created, "created"), (other, "written")):
        ((headers, body),) = instance.came
        assert headers["ce-type"] == f"google.cloud.firestore.document.v1.{kind}"
        assert headers["ce-id"] == "event-1"  # the same for both functions
        assert headers["Content-Type"] == "application/protobuf"
        assert headers["Authorization"].endswith(".SIGNATURE_REMOVED_BY_GOOGLE")
        assert body == firestore_body(MESSAGE, after={"text": "Hello"})
    assert {each["caller"] for each in cloud.invocations()} == {ACCOUNT}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"ce-type": "google.cloud.storage.object.v1.finalized"}, "is not supported"),
        ({"ce-type": "google.cloud.firestore.document.v1.written"}, "is not supported"),
        ({"ce-datacontenttype": "application/json"}, "application/protobuf"),
    ],
)
def test_an_event_that_google_would_not_send_is_refused(
    cloud: GoogleCloud, wrong: dict[str, str], says: str
) -> None:
    status, answer = bring(cloud, MESSAGE, **wrong)
    assert status == 400
    assert says in answer["error"]["message"]


@pytest.mark.parametrize(
    ("path", "matched", "others"),
    [
        ("pushes/{push_id}", ["pushes/a"], ["pushes", "pushes/", "pushes/a/b", "other/a"]),
        ("a/{x}/b/{y}", ["a/1/b/2"], ["a/1/b", "a/1/c/2", "a/1/b/2/c/3"]),
        ("a/*", ["a/1"], ["a/1/b/2"]),
        ("{path=**}", ["a/1", "a/1/b/2"], []),
        ("a/**", ["a/1", "a/1/b/2"], ["b/1"]),
        ("a.b/{x}", ["a.b/1"], ["acb/1"]),
    ],
)
def test_a_pattern_matches_as_in_eventarc(path: str, matched: list[str], others: list[str]) -> None:
    assert [each for each in (*matched, *others) if pattern(path).fullmatch(each)] == matched


def test_a_failed_event_comes_again_where_the_function_is_retried(
    cloud: GoogleCloud, client: Client
) -> None:
    deploy(client, "new_message", eventTrigger=watching())
    with instance_of(cloud, "new_message") as instance:
        instance.statuses += [500, 503, 429]
        bring(cloud, MESSAGE)
        (delivery,) = ended(cloud)
    assert delivery["statuses"] == [500, 503, 429, 200]
    assert len({(headers["ce-id"], body) for headers, body in instance.came}) == 1


def test_a_failed_event_is_gone_where_the_function_is_not_retried(
    cloud: GoogleCloud, client: Client
) -> None:
    deploy(client, "new_message", eventTrigger=watching(retryPolicy="RETRY_POLICY_DO_NOT_RETRY"))
    with instance_of(cloud, "new_message") as instance:
        instance.statuses += [500]
        bring(cloud, MESSAGE)
        (delivery,) = ended(cloud)
    assert (delivery["statuses"], delivery["state"]) == ([500], "DROPPED")


def test_an_event_waits_for_an_instance_and_for_the_role(client: Client) -> None:
    with running(PROJECT) as cloud:  # nobody has the role
        cloud.set_pace(speed=1000)
        deploy(Client(cloud), "new_message", eventTrigger=watching())
        bring(cloud, MESSAGE)
        until("attempt", lambda: cloud.deliveries()[0]["statuses"])
        cloud.grant(INVOKER, MEMBER)
        until("failure", lambda: 503 in cloud.deliveries()[0]["statuses"])
        with instance_of(cloud, "new_message") as instance:
            (delivery,) = ended(cloud)
        assert delivery["statuses"][0] == 403
        assert delivery["statuses"][-1] == 200
        assert len(instance.came) == 1  # the container is not called before


def test_events_may_come_twice(cloud: GoogleCloud, client: Client) -> None:
    deploy(client, "new_message", eventTrigger=watching())
    cloud.set_pace(copies=2, spread=0.01)
    with instance_of(cloud, "new_message") as instance:
        bring(cloud, MESSAGE)
        ended(cloud, 2)
    assert [headers["ce-id"] for headers, _ in instance.came] == ["event-1"] * 2


@pytest.mark.parametrize("pace", [{"copies": 0}, {"speed": 0}, {"spread": -1}, {"other": 1}])
def test_an_impossible_pace_is_refused(cloud: GoogleCloud, pace: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="got 400"):
        cloud.set_pace(**pace)


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (lambda cloud, url: "", 403),
        (lambda cloud, url: "not.a.token", 401),
        (lambda cloud, url: cloud.id_token(ACCOUNT, "https://elsewhere.a.run.app"), 401),
        (lambda cloud, url: cloud.id_token(f"deployer@{ID}.iam.gserviceaccount.com", url), 200),
        (lambda cloud, url: cloud.id_token(f"nobody@{ID}.iam.gserviceaccount.com", url), 403),
        (lambda cloud, url: cloud.id_token(ACCOUNT, url), 200),
        (lambda cloud, url: cloud.sign_in("ann"), 401),
    ],
    ids=["none", "garbage", "for another", "owner", "no role", "invoker", "a user of the app"],
)
def test_only_whoever_has_the_role_may_call(
    cloud: GoogleCloud, client: Client, token: Callable[[GoogleCloud, str], str], status: int
) -> None:
    deploy(client, "new_message")
    url = cloud.state()["functions"][f"{REGION}/functions/new_message"]["serviceConfig"]["uri"]
    with instance_of(cloud, "new_message") as instance:
        assert cloud.call(url, b"{}", token(cloud, url))[0] == status
    assert len(instance.came) == (status == 200)


def test_there_is_nothing_at_another_address(cloud: GoogleCloud) -> None:
    assert cloud.call("https://us-central1-p.cloudfunctions.net/other", b"{}")[0] == 404


def with_queue(client: Client, **config: Any) -> str:
    queue = f"{REGION}/queues/sendchunk"
    client.well("POST", QUEUES, {"name": queue, "retryConfig": config})
    deploy(client, "sendchunk", eventTrigger=None)
    found: str = client.cloud.state()["functions"][f"{REGION}/functions/sendchunk"]["url"]
    return found


def enqueue(client: Client, url: str, **task: Any) -> None:
    request = {
        "url": url,
        "oidcToken": {"serviceAccountEmail": ACCOUNT},
        "headers": {"Content-Type": "application/json"},
        "body": base64.b64encode(b'{"data": {}}').decode(),
    }
    client.well("POST", f"{QUEUES}/sendchunk/tasks", {"task": {"httpRequest": request, **task}})


def test_a_task_is_brought_until_its_function_takes_it(cloud: GoogleCloud, client: Client) -> None:
    url = with_queue(client, minBackoff="1s", maxBackoff="2s")
    with instance_of(cloud, "sendchunk") as instance:
        instance.statuses += [500, 503]
        enqueue(client, url)
        (delivery,) = ended(cloud)
    assert (delivery["kind"], delivery["statuses"]) == ("task", [500, 503, 200])
    retries = [headers["X-CloudTasks-TaskRetryCount"] for headers, _ in instance.came]
    assert retries == ["0", "1", "2"]
    headers, body = instance.came[0]
    assert headers["X-CloudTasks-QueueName"] == "sendchunk"
    assert body == b'{"data": {}}'


def test_a_task_is_dropped_after_the_attempts_of_its_queue(
    cloud: GoogleCloud, client: Client
) -> None:
    url = with_queue(client, maxAttempts=2, minBackoff="1s", maxBackoff="1s")
    with instance_of(cloud, "sendchunk") as instance:
        instance.statuses += [500] * 5
        enqueue(client, url)
        (delivery,) = ended(cloud)
    assert (delivery["state"], delivery["statuses"]) == ("DROPPED", [500, 500])


def test_a_task_comes_no_sooner_than_it_was_scheduled(cloud: GoogleCloud, client: Client) -> None:
    url, when = with_queue(client), datetime.now(UTC) + timedelta(seconds=0.5)
    with instance_of(cloud, "sendchunk") as instance:
        enqueue(client, url, scheduleTime=when.isoformat())
        ended(cloud)
        assert datetime.now(UTC) >= when
    assert len(instance.came) == 1


def test_a_schedule_calls_its_function_once(cloud: GoogleCloud, client: Client) -> None:
    deploy(client, "sweep", eventTrigger=None)
    uri = cloud.state()["functions"][f"{REGION}/functions/sweep"]["serviceConfig"]["uri"]
    job = {
        "name": f"{REGION}/jobs/sweep",
        "schedule": "every 10 minutes",
        "timeZone": "UTC",
        "httpTarget": {"uri": uri, "oidcToken": {"serviceAccountEmail": ACCOUNT}},
    }
    client.well("POST", f"cloudscheduler/v1/{REGION}/jobs", job)
    with instance_of(cloud, "sweep") as instance:
        instance.statuses += [500]
        cloud.run_job(f"{REGION}/jobs/sweep")
        (delivery,) = ended(cloud)
    assert (delivery["state"], delivery["statuses"]) == ("DROPPED", [500])
    assert instance.came[0][0]["X-CloudScheduler-JobName"] == "sweep"
    with pytest.raises(ValueError, match="got 404"):
        cloud.run_job(f"{REGION}/jobs/other")


def test_a_write_to_the_realtime_database_is_an_event(cloud: GoogleCloud, client: Client) -> None:
    filters = [
        {"attribute": "instance", "value": f"{ID}-default-rtdb"},
        {"attribute": "ref", "value": "orders/{id}", "operator": "match-path-pattern"},
    ]
    written = {
        "eventType": "google.firebase.database.ref.v1.written",
        "eventFilters": filters,
        "triggerRegion": "us-central1",
        "serviceAccountEmail": ACCOUNT,
    }
    deploy(client, "order", eventTrigger=written)
    with instance_of(cloud, "order") as instance:
        cloud.write("orders/7", {"status": "paid", "number": 7})
        cloud.write("orders/7", {"status": "sent", "at": 1})
        cloud.write("orders/7", {"status": "sent", "at": 1})  # changes nothing
        ended(cloud, 2)
    values = [(json.loads(body)["data"], json.loads(body)["delta"]) for _, body in instance.came]
    first = {"status": "paid", "number": 7}
    assert (None, first) in values
    assert (first, {"status": "sent", "at": 1, "number": None}) in values
    assert len(values) == 2
    # What the suite's own events look like, with which the functions are tested.
    expected = json.loads(database_body(None, first)).keys()
    assert json.loads(instance.came[0][1]).keys() == expected
    assert {name for name in database_headers("orders/7") if name.startswith("ce-")} <= {
        name.lower() for name in instance.came[0][0]
    }


@pytest.mark.parametrize(
    ("before", "after", "delta"),
    [
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, {"a": {"c": 3}}),
        ({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": 1, "b": 2}, {"b": 2}, {"a": None}),
        (1, {"a": 1}, {"a": 1}),
        ({"a": 1}, None, None),
    ],
)
def test_a_delta_has_what_changed(before: Any, after: Any, delta: Any) -> None:
    assert _delta(before, after) == delta
