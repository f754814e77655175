"""The local Secret Manager, seen by Google's own client over its REST transport.

Over REST that client picks its exception by the HTTP status alone: FAILED_PRECONDITION is a
BadRequest, and ALREADY_EXISTS a Conflict.
"""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import google_crc32c
import httpx
import pytest
from google.api_core import exceptions
from google.cloud.secretmanager_v1 import SecretManagerServiceClient as Client
from google.cloud.secretmanager_v1.services.secret_manager_service.transports import (
    SecretManagerServiceRestTransport,
)
from google.oauth2.credentials import Credentials

from emulators.secret_manager import SecretManager, running

PROJECT = "projects/demo"
SECRET = f"{PROJECT}/secrets/batch-rest-key"
AUTOMATIC: dict[str, Any] = {"replication": {"automatic": {}}}


@pytest.fixture
def secrets() -> Iterator[SecretManager]:
    with running() as manager:
        yield manager


@pytest.fixture
def client(secrets: SecretManager) -> Iterator[Client]:
    transport = SecretManagerServiceRestTransport(
        host=urlsplit(secrets.url).netloc,
        url_scheme="http",
        credentials=Credentials(token="local"),
    )
    with Client(transport=transport) as client:
        yield client


def read(client: Client, version: str = "latest", secret: str = SECRET) -> bytes:
    # Google's client would retry a 503 for a minute.
    reply = client.access_secret_version(name=f"{secret}/versions/{version}", retry=None)
    assert reply.payload.data_crc32c == google_crc32c.value(reply.payload.data)
    data: bytes = reply.payload.data
    return data


def test_a_secret_is_created_filled_and_read(client: Client) -> None:
    created = client.create_secret(parent=PROJECT, secret_id="batch-rest-key", secret=AUTOMATIC)
    assert created.name == SECRET
    assert client.get_secret(name=SECRET).name == SECRET
    for number, data in ((1, b"one"), (2, b"\x00two\xff")):
        payload = {"data": data, "data_crc32c": google_crc32c.value(data)}
        version = client.add_secret_version(parent=SECRET, payload=payload)
        assert version.name == f"{SECRET}/versions/{number}"
        assert version.client_specified_payload_checksum
        assert version.create_time is not None
    assert (read(client), read(client, "1"), read(client, "2")) == (
        b"\x00two\xff",
        b"one",
        b"\x00two\xff",
    )
    latest = client.get_secret_version(name=f"{SECRET}/versions/latest")
    assert latest.name == f"{SECRET}/versions/2"


def test_latest_is_the_newest_even_when_it_cannot_be_read(
    client: Client, secrets: SecretManager
) -> None:
    secrets.add_version("demo", "batch-rest-key", "old")
    newest = secrets.add_version("demo", "batch-rest-key", "new")
    secrets.disable_version("demo", "batch-rest-key", newest)
    with pytest.raises(exceptions.BadRequest, match="is in DISABLED state") as refused:
        read(client)
    assert refused.value.response.json()["error"]["status"] == "FAILED_PRECONDITION"
    assert read(client, "1") == b"old"
    client.enable_secret_version(name=f"{SECRET}/versions/2")
    assert read(client) == b"new"
    destroyed = client.destroy_secret_version(name=f"{SECRET}/versions/2")
    assert destroyed.state.name == "DESTROYED"
    assert destroyed.destroy_time is not None
    with pytest.raises(exceptions.BadRequest, match="is in DESTROYED state"):
        read(client)
    with pytest.raises(exceptions.BadRequest, match="is in DESTROYED state"):
        client.enable_secret_version(name=f"{SECRET}/versions/2")


def test_versions_are_listed_newest_first_over_pages(
    client: Client, secrets: SecretManager
) -> None:
    for data in ("a", "b", "c"):
        secrets.add_version("demo", "batch-rest-key", data)
    client.disable_secret_version(name=f"{SECRET}/versions/2")
    listed = client.list_secret_versions(request={"parent": SECRET, "page_size": 2})
    assert [(each.name.rpartition("/")[2], each.state.name) for each in listed] == [
        ("3", "ENABLED"),
        ("2", "DISABLED"),
        ("1", "ENABLED"),
    ]


@pytest.mark.parametrize(
    ("secret", "version"),
    [
        pytest.param("absent", "latest", id="no such secret"),
        pytest.param("empty", "latest", id="no version yet"),
        pytest.param("batch-rest-key", "2", id="no such version"),
        pytest.param("batch-rest-key", "0", id="versions start at 1"),
        pytest.param("batch-rest-key", "newest", id="no such alias"),
    ],
)
def test_not_found(secret: str, version: str, client: Client, secrets: SecretManager) -> None:
    secrets.add_version("demo", "batch-rest-key", "a")
    client.create_secret(parent=PROJECT, secret_id="empty", secret=AUTOMATIC)
    with pytest.raises(exceptions.NotFound):
        read(client, version, f"{PROJECT}/secrets/{secret}")


@pytest.mark.parametrize(
    ("secret_id", "secret", "error"),
    [
        pytest.param("batch-rest-key", AUTOMATIC, exceptions.Conflict, id="exists"),
        pytest.param("a b", AUTOMATIC, exceptions.BadRequest, id="a bad name"),
        pytest.param("new", {}, exceptions.BadRequest, id="no replication"),
    ],
)
def test_refuses_to_create(
    secret_id: str,
    secret: dict[str, Any],
    error: type[Exception],
    client: Client,
    secrets: SecretManager,
) -> None:
    secrets.add_version("demo", "batch-rest-key", "a")
    with pytest.raises(error):
        client.create_secret(parent=PROJECT, secret_id=secret_id, secret=secret)


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param({"data": b"a", "data_crc32c": 1}, id="a wrong checksum"),
        pytest.param({"data": b"a" * 65_537}, id="over 64 KiB"),
    ],
)
def test_refuses_a_payload(payload: dict[str, Any], client: Client, secrets: SecretManager) -> None:
    secrets.add_version("demo", "batch-rest-key", "a")
    with pytest.raises(exceptions.BadRequest):
        client.add_secret_version(parent=SECRET, payload=payload)


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Basic x"}, {"Authorization": "Bearer"}], ids=str
)
def test_a_call_without_a_token_is_unauthenticated(
    headers: dict[str, str], secrets: SecretManager
) -> None:
    url = f"{secrets.url}/v1/{SECRET}/versions/latest:access"
    with httpx.Client(trust_env=False) as http:
        reply = http.get(url, headers=headers)
    assert reply.status_code == 401
    assert reply.json()["error"].keys() == {"code", "message", "status"}
    assert reply.json()["error"]["status"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:4011"}, 200),
        ({"Host": "127.0.0.1:4011"}, 200),
        ({"Host": "[::1]:4011"}, 200),
        ({"Host": "evil.example"}, 403),  # a name that was made to point here
        ({"Host": "evil.example:4011", "Origin": "http://evil.example:4011"}, 403),
        ({"Host": "localhost.evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "secretmanager.googleapis.com"}, 403),
        ({"Host": "localhost:4011", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost:4011", "Origin": "http://localhost:3000"}, 403),
        ({"Host": "localhost:4011", "Origin": "http://localhost:4011"}, 200),
        ({"Host": "localhost:4011", "Origin": "null"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "["}, 403),
    ],
)
def test_pages_of_other_sites_read_no_secret_and_order_nothing(
    headers: dict[str, str], status: int, secrets: SecretManager
) -> None:
    secrets.add_version("demo", "batch-rest-key", "very-secret")
    secrets.clear()
    access = f"{secrets.url}/v1/{SECRET}/versions/latest:access"
    with httpx.Client(trust_env=False, headers=headers) as http:
        token = {"Authorization": "Bearer local"}
        read = http.get(access, headers=token)
        listed = http.get(f"{secrets.url}/__calls")
        ordered = http.post(f"{secrets.url}/__faults", json={"status": 503})
    assert {read.status_code, listed.status_code, ordered.status_code} == {status}
    if status == 403:
        assert read.json()["error"]["status"] == "PERMISSION_DENIED"
        assert "data" not in read.text
        assert secrets.calls() == []


def test_a_method_that_the_stand_in_lacks_says_so(client: Client) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match="no DELETE"):
        client.delete_secret(name=SECRET)


def test_the_journal_names_what_was_read_and_never_the_payload(
    client: Client, secrets: SecretManager
) -> None:
    secrets.add_version("demo", "batch-rest-key", "very-secret")
    secrets.clear()
    read(client)
    client.add_secret_version(parent=SECRET, payload={"data": b"very-secret"})
    assert secrets.calls() == [
        {"method": "AccessSecretVersion", "name": f"{SECRET}/versions/latest"},
        {"method": "AddSecretVersion", "name": SECRET},
    ]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, exceptions.Forbidden),
        (429, exceptions.TooManyRequests),
        (500, exceptions.InternalServerError),
        (503, exceptions.ServiceUnavailable),
    ],
)
def test_a_fault_meets_the_next_accesses_only(
    status: int, error: type[Exception], client: Client, secrets: SecretManager
) -> None:
    secrets.fault(status=status, times=2, delay=0.01)
    secrets.add_version("demo", "batch-rest-key", "a")
    for _ in range(2):
        with pytest.raises(error):
            read(client)
    assert read(client) == b"a"


def test_a_lasting_fault_ends_when_it_is_cleared(client: Client, secrets: SecretManager) -> None:
    secrets.add_version("demo", "batch-rest-key", "a")
    secrets.fault(status=503, times=None)
    for _ in range(3):
        with pytest.raises(exceptions.ServiceUnavailable):
            read(client)
    secrets.clear_faults()
    assert read(client) == b"a"


@pytest.mark.parametrize(
    ("fault", "named"),
    [({"hang": True}, "hang"), ({"status": 200}, "status"), ({"times": 1}, "needs one of")],
    ids=str,
)
def test_a_fault_that_cannot_be_meant_is_refused(
    fault: dict[str, Any], named: str, secrets: SecretManager
) -> None:
    with pytest.raises(ValueError, match=named):
        secrets.fault(**fault)
