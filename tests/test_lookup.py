import threading
from dataclasses import replace

import pytest
from google.auth.exceptions import DefaultCredentialsError

import batchpush.firebase
import batchpush.lookup
from batchpush.errors import InvalidDocument, LookUpFailed
from batchpush.firebase import close_realtime_databases, firebase_app, firestore
from batchpush.firestore import FirestoreRefused
from batchpush.lookup import DatabaseLookUp, FirestoreLookUp, look_up_for
from tests.events import DATABASE, FIRESTORE, created
from tests.firestore import Memory


def refused(*_: object) -> None:
    raise DefaultCredentialsError("no credentials just now")


async def test_trouble_with_credentials_is_no_reason_to_give_an_event_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FIRESTORE_EMULATOR_HOST", raising=False)
    monkeypatch.setattr("google.auth.default", lambda **_: refused())
    monkeypatch.delenv("FIREBASE_DATABASE_EMULATOR_HOST", raising=False)
    firestore.cache_clear()
    batchpush.firebase._credentials.cache_clear()
    for look_up in (FirestoreLookUp(FIRESTORE), DatabaseLookUp(DATABASE)):
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

    batchpush.firebase._made_app.cache_clear()
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
    batchpush.firebase._made_app.cache_clear()
    assert len(apps) == 16
    assert len(set(map(id, apps))) == 1


async def test_a_reference_into_another_database_does_not_keep_a_document_from_being_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = Memory()
    client = memory.client()
    monkeypatch.setattr(batchpush.lookup, "firestore", lambda database: client)
    await client.commit([client.put("users/ann", {"display_name": "Ann", "likes": "x"})])
    (stored,) = memory.documents.values()
    elsewhere = "projects/other/databases/d/documents/a/b"
    stored.fields["likes"].reference_value = elsewhere
    ann, bob = await FirestoreLookUp(FIRESTORE).many("users/ann", "users/bob")
    assert ann == {"display_name": "Ann", "likes": elsewhere}
    assert bob is None


@pytest.mark.parametrize(
    "user_id",
    ["..", ".", "__proto__", "x" * 1501, "é" * 751, "", "a/b", "\ud800"],
)
async def test_one_who_can_have_no_profile_has_none_and_the_others_have_theirs(
    monkeypatch: pytest.MonkeyPatch, user_id: str
) -> None:
    memory = Memory()
    client = memory.client()
    monkeypatch.setattr(batchpush.lookup, "firestore", lambda database: client)
    await client.commit([client.put("users/ann", {"display_name": "Ann"})])
    look_up = FirestoreLookUp(FIRESTORE)
    assert await look_up.many(f"users/{user_id}", "users/ann") == [None, {"display_name": "Ann"}]
    assert await look_up(f"users/{user_id}") is None
    assert memory.operations[1:] == ["read"]


async def test_a_read_that_firestore_refuses_is_not_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = Memory()
    client = memory.client()
    monkeypatch.setattr(batchpush.lookup, "firestore", lambda database: client)

    async def refuse(*_: object) -> None:
        raise FirestoreRefused("INVALID_ARGUMENT: no")

    memory.strike = refuse
    with pytest.raises(InvalidDocument, match="users/ann: cannot be read: INVALID_ARGUMENT: no"):
        await FirestoreLookUp(FIRESTORE)("users/ann")
