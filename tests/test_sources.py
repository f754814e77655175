"""No source of an event leads to a host that is not Google's."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from batchpush.environment import process_settings
from batchpush.errors import MalformedEvent
from batchpush.events.decoding import from_database, from_firestore
from batchpush.events.lookup import DatabaseLookUp, look_up_for
from batchpush.google.clients import realtime_database
from batchpush.google.sources import Instance, check_firestore, firestore_database_of, instance_of
from tests.deliveries import claimed
from tests.events import (
    DATABASE,
    FIRESTORE,
    created,
    database_body,
    database_headers,
    firestore_body,
    firestore_headers,
)

GOOGLE_S = "//firebasedatabase.googleapis.com/projects/_/locations"
FORGED = [
    "",
    "https://evil.example/",
    f"{GOOGLE_S}/us-central1/instances/evil.example/",
    f"{GOOGLE_S}/us-central1/instances/evil.example%2f",
    f"{GOOGLE_S}/us-central1/instances/evil.example?",
    f"{GOOGLE_S}/us-central1/instances/evil.example#",
    f"{GOOGLE_S}/us-central1/instances/evil.example:443",
    f"{GOOGLE_S}/us-central1/instances/a@evil",
    f"{GOOGLE_S}/us-central1/instances/evil\\",
    f"{GOOGLE_S}/us-central1/instances/evil\n",
    f"{GOOGLE_S}/us-central1/instances/EVIL",
    f"{GOOGLE_S}/us-central1/instances/ｅvil",
    f"{GOOGLE_S}/us-central1/instances/",
    f"{GOOGLE_S}/us-central1/instances/a/instances/b",
    f"{GOOGLE_S}/evil.example/instances/demo",
    f"{GOOGLE_S}/evil.example%2f/instances/demo",
    f"{GOOGLE_S}/a@evil.example:443/instances/demo",
    f"{GOOGLE_S}/us-central1/locations/evil/instances/demo",
    f"{GOOGLE_S}/us-central/instances/demo",
    f"{GOOGLE_S}/us-central١/instances/demo",
    f"{GOOGLE_S}//instances/demo",
    "//firebasedatabase.googleapis.com/projects/a/b/locations/us-central1/instances/demo",
    "//evil.example/projects/_/locations/us-central1/instances/demo",
    FIRESTORE,
]


@pytest.mark.parametrize("source", FORGED)
async def test_a_forged_instance_is_refused_where_it_is_read_and_where_it_is_used(
    source: str,
) -> None:
    headers = database_headers("messages/c/m") | {"ce-source": source}
    with pytest.raises(MalformedEvent, match="the source is not an instance"):
        from_database("f", "messages/{c}/{m}", headers, database_body(None, {"a": 1}))
    with pytest.raises(MalformedEvent):
        await DatabaseLookUp(source)("users/ann")
    with pytest.raises(MalformedEvent):
        realtime_database(claimed(source=source).source)


@pytest.mark.parametrize(
    ("source", "instance"),
    [
        (DATABASE, Instance("demo", "us-central1")),
        (f"{GOOGLE_S}/europe-west1/instances/p-1-rtdb", Instance("p-1-rtdb", "europe-west1")),
        (f"{GOOGLE_S}/asia-southeast1/instances/1p", Instance("1p", "asia-southeast1")),
    ],
)
def test_an_instance_is_read_of_a_source(source: str, instance: Instance) -> None:
    assert instance_of(source) == instance


@pytest.mark.parametrize(
    "source",
    [
        "",
        DATABASE,
        "//firestore.googleapis.com/projects/p/databases/",
        "//firestore.googleapis.com/projects/p/databases/a/b",
        "//firestore.googleapis.com/projects/p/databases/(other)",
        "//firestore.googleapis.com/projects/p/databases/a\n",
        "//firestore.googleapis.com/projects/p/databases/../x",
        "//firestore.googleapis.com/projects/p/databases/" + "a" * 64,
        "//firestore.googleapis.com/projects/p/q/databases/(default)",
        "//evil.example/projects/p/databases/(default)",
    ],
)
def test_a_forged_firestore_database_is_refused(source: str) -> None:
    headers = firestore_headers("users/ann") | {"ce-source": source}
    with pytest.raises(MalformedEvent, match="the source is not a Firestore database"):
        from_firestore("f", "users/{user_id}", headers, firestore_body("users/ann", None, {}))


@pytest.mark.parametrize("name", ["", "(other)", "../x", "a/../../b", "A", "a\n", "a" * 64])
def test_no_other_database_is_opened_for_a_record_s_source(name: str) -> None:
    with pytest.raises(MalformedEvent):
        look_up_for(
            replace(
                created("users/ann", {}),
                source=f"//firestore.googleapis.com/projects/p/databases/{name}",
            )
        )


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (FIRESTORE, "(default)"),
        ("//firestore.googleapis.com/projects/projects/p/databases/(default)", "(default)"),
        ("//firestore.googleapis.com/projects/example.com:p/databases/other-1", "other-1"),
    ],
)
def test_a_firestore_database_is_read_of_a_source(source: str, name: str) -> None:
    check_firestore(source)
    assert firestore_database_of(source) == name


@pytest.fixture
def fresh_settings() -> Iterator[None]:
    process_settings.cache_clear()
    yield
    process_settings.cache_clear()


CONFIG = '{"databaseURL": "https://demo.firebaseio.com"}'


@pytest.mark.usefixtures("fresh_settings")
@pytest.mark.parametrize(
    ("environment", "accepted"),
    [
        ({}, ["demo", "other"]),  # nothing says which one it is
        ({"FIREBASE_CONFIG": CONFIG}, ["demo"]),
        ({"FIREBASE_CONFIG": CONFIG, "DATABASE_INSTANCE": "other"}, ["other"]),
        ({"FIREBASE_CONFIG": CONFIG, "FUNCTIONS_EMULATOR": "true"}, ["demo", "other"]),
        ({"DATABASE_INSTANCE": "other", "FUNCTIONS_EMULATOR": "true"}, ["other"]),
    ],
)
def test_an_event_of_another_instance_than_the_watched_one_is_refused(
    environment: dict[str, str], accepted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for name in ("demo", "other"):
        source = f"{GOOGLE_S}/us-central1/instances/{name}"
        headers = database_headers("messages/c/m") | {"ce-source": source}
        event = "f", "messages/{c}/{m}", headers, database_body(None, {"a": 1})
        if name in accepted:
            assert from_database(*event).source == source
        else:
            with pytest.raises(MalformedEvent, match=f"the instance {name}, not the one"):
                from_database(*event)
        assert instance_of(source).name == name  # what waits since before is still looked up
