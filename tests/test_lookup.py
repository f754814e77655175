import functools
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from google.auth.exceptions import DefaultCredentialsError

import batchpush.events.lookup
import batchpush.google.clients
from batchpush.errors import InvalidDocument, LookUpFailed
from batchpush.events.lookup import DatabaseLookUp, FirestoreLookUp, look_up_for
from batchpush.google.clients import close_realtime_databases, firebase_app
from batchpush.google.connection import Connection
from batchpush.google.firestore import Firestore, FirestoreRefused, FirestoreUnavailable
from batchpush.testing.memory import Memory
from tests.events import DATABASE, created


def refused(*_: object) -> None:
    raise DefaultCredentialsError("no credentials just now")


async def test_trouble_with_credentials_is_no_reason_to_give_an_event_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr("google.auth.default", lambda **_: refused())
    monkeypatch.delenv("FIREBASE_DATABASE_EMULATOR_HOST", raising=False)
    batchpush.google.clients.credentials.cache_clear()
    for look_up in (FirestoreLookUp(Firestore(Connection())), DatabaseLookUp(DATABASE)):
        with pytest.raises(LookUpFailed, match="DefaultCredentialsError"):
            await look_up("users/ann")
    await close_realtime_databases()


def test_other_documents_are_read_where_the_changed_one_is() -> None:
    change = created("users/ann", {})
    assert isinstance(look_up_for(change), FirestoreLookUp)
    change = replace(change, database="database", source=DATABASE)
    assert isinstance(look_up_for(change), DatabaseLookUp)


def test_many_threads_that_begin_at_once_share_one_app(monkeypatch: pytest.MonkeyPatch) -> None:
    import firebase_admin

    made_anew = functools.cache(batchpush.google.clients.made_app.__wrapped__)
    monkeypatch.setattr(batchpush.google.clients, "made_app", made_anew)
    monkeypatch.setattr(firebase_admin, "_apps", {})
    together, apps = threading.Barrier(16), []

    def begin() -> None:
        together.wait()
        apps.append(firebase_app())

    threads = [threading.Thread(target=begin) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(apps) == 16
    assert len(set(map(id, apps))) == 1


@pytest.fixture
def memory() -> Memory:
    """The Firestore that documents are looked up in."""
    return Memory()


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (FirestoreUnavailable("UNAVAILABLE"), r"^Firestore: UNAVAILABLE$"),
        (FirestoreRefused("PERMISSION_DENIED"), r"^users/ann.* cannot be read: PERMISSION_DENIED$"),
    ],
)
@pytest.mark.parametrize("asks", ["many", "listed", "pages"])
async def test_each_look_up_says_whether_asking_again_may_help(
    memory: Memory, asks: str, error: Exception, raised: str
) -> None:
    async def strike(name: str, operation: object) -> None:
        raise error

    memory.strike = strike
    look_up = FirestoreLookUp(Firestore(memory))
    kind = LookUpFailed if isinstance(error, FirestoreUnavailable) else InvalidDocument
    asked: dict[str, Callable[[], Any]] = {
        "many": lambda: look_up("users/ann"),
        "listed": lambda: look_up.listed("users/ann/blocked", "ids", ["bob"]),
        "pages": lambda: anext(look_up.pages("users/ann/friends")),
    }
    with pytest.raises(kind, match=raised):
        await asked[asks]()


async def test_a_reference_into_another_database_does_not_keep_a_document_from_being_read(
    memory: Memory,
) -> None:
    client = Firestore(memory)
    await client.commit([client.put("users/ann", {"display_name": "Ann", "likes": "x"})])
    (stored,) = memory.documents.values()
    elsewhere = "projects/other/databases/d/documents/a/b"
    stored.fields["likes"].reference_value = elsewhere
    ann, bob = await FirestoreLookUp(client).many("users/ann", "users/bob")
    assert ann == {"display_name": "Ann", "likes": elsewhere}
    assert bob is None


@pytest.mark.parametrize(
    "user_id",
    ["..", ".", "__proto__", "x" * 1501, "é" * 751, "", "a/b", "\ud800"],
)
async def test_one_who_can_have_no_profile_has_none_and_the_others_have_theirs(
    memory: Memory, user_id: str
) -> None:
    client = Firestore(memory)
    await client.commit([client.put("users/ann", {"display_name": "Ann"})])
    look_up = FirestoreLookUp(client)
    assert await look_up.many(f"users/{user_id}", "users/ann") == [None, {"display_name": "Ann"}]
    assert await look_up(f"users/{user_id}") is None
    assert memory.operations[1:] == ["read"]


async def test_of_no_documents_none_are_read() -> None:
    memory = Memory()
    assert await FirestoreLookUp(Firestore(memory)).many() == []
    assert memory.operations == []


async def test_a_read_that_firestore_refuses_is_not_retried(memory: Memory) -> None:
    async def refuse(*_: object) -> None:
        raise FirestoreRefused("INVALID_ARGUMENT: no")

    memory.strike = refuse
    with pytest.raises(InvalidDocument, match="users/ann: cannot be read: INVALID_ARGUMENT: no"):
        await FirestoreLookUp(Firestore(memory))("users/ann")


@pytest.mark.parametrize("where", ["memory", pytest.param("emulator", marks=pytest.mark.suite)])
async def test_values_are_found_in_the_lists_of_a_collection(
    where: str,
) -> None:
    client = Firestore(Connection()) if where == "emulator" else Firestore(Memory())
    users = f"users-{uuid.uuid4().hex}"
    profiles: dict[str, dict[str, Any]] = {
        "ann": {"batch": {"custom_ids": ["crm-1", "crm-2"]}},
        "bob": {"batch": {"custom_ids": ["crm-3"], "tokens": ["crm-4"]}},
        "cyd": {"batch": {"custom_ids": "crm-5"}},
        "dan": {"batch": "crm-6"},
        "eve": {},
    }
    for user_id, fields in profiles.items():
        await client.commit([client.put(f"{users}/{user_id}", fields)])
    asked_for = [f"crm-{number}" for number in range(70)]
    look_up = FirestoreLookUp(client)
    found = await look_up.listed(users, "batch.custom_ids", asked_for)
    assert found == {"crm-1", "crm-2", "crm-3"}
    assert await look_up.listed(users, "batch.custom_ids", ["crm-9"]) == set()


async def test_the_realtime_database_cannot_be_searched() -> None:
    assert await DatabaseLookUp(DATABASE).listed("users", "batch.custom_ids", ["crm-1"]) == set()
