"""Firestore's protocol as it is spoken here, and who is said to speak."""

import asyncio
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent import futures
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import google.auth
import grpc
import pytest
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError
from google.cloud.firestore_v1._helpers import encode_value
from google.cloud.firestore_v1.types import firestore as theirs
from hypothesis import given
from hypothesis import strategies as st

from batchpush.google.connection import Connection
from batchpush.google.credentials import Credentials
from batchpush.google.firestore import (
    METHODS,
    DocumentGone,
    Firestore,
    FirestoreMisconfigured,
    FirestoreRefused,
    FirestoreUnavailable,
    Query,
    WriteConflict,
)
from batchpush.google.protocol import firestore_pb2
from batchpush.google.protocol.firestore_pb2 import CommitResponse, Value
from batchpush.google.values import encode, plain
from local.tools import free_port
from tests.tokens import STALE, Tokens, found_tokens
from tests.torture.proxy import in_front_of

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.datetimes(
        datetime(1, 1, 2),
        datetime(9999, 12, 30),
        timezones=st.just(UTC),
    ),
    lambda values: st.lists(values, max_size=4) | st.dictionaries(st.text(), values, max_size=4),
    max_leaves=10,
)


@given(VALUES)
def test_values_are_written_as_google_s_client_writes_them_and_read_back(value: Any) -> None:
    written = Value()
    encode(value, written)
    google_s = type(encode_value(value)).pb(encode_value(value))
    assert google_s.FromString(written.SerializeToString()) == google_s
    assert plain(written, "projects/p/databases/d") == value


def test_every_message_is_a_part_of_google_s_own() -> None:
    """Each field has Google's name, number and kind; enums are numbers on the wire."""
    compared: set[str] = set()
    for method in METHODS:
        for ours in (method.request, method.answer):
            compare(ours.DESCRIPTOR, getattr(theirs, ours.__name__).pb().DESCRIPTOR, compared)
    own = set(firestore_pb2.DESCRIPTOR.message_types_by_name)
    assert own - compared == {"DocumentEventData"}  # which is Google's own, but not Firestore's


def compare(ours: Any, google_s: Any, compared: set[str]) -> None:
    if ours.name in compared:
        return
    compared.add(ours.name)
    for field in ours.fields:
        other = google_s.fields_by_name[field.name]
        assert field.number == other.number
        assert field.is_repeated == other.is_repeated
        is_number = other.type == other.TYPE_ENUM and field.enum_type is None
        assert field.type == (field.TYPE_INT32 if is_number else other.type)
        assert alternatives(field) <= alternatives(other)
        if field.message_type and field.message_type.file is ours.file:
            compare(field.message_type, other.message_type, compared)


def alternatives(field: Any) -> set[str]:
    """The fields that are unset when this one is set."""
    oneof = field.containing_oneof
    return {each.name for each in oneof.fields} if oneof else set()


def test_the_messages_are_those_of_their_source(tmp_path: Path) -> None:
    """`make protocol` changes nothing."""
    source = Path("batchpush/google/protocol/firestore.proto")
    options = ["-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", str(source)]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *options], check=True)
    for kind in (".py", ".pyi"):
        checked_in = source.with_name(f"firestore_pb2{kind}")
        assert (tmp_path / checked_in).read_text() == checked_in.read_text()


class Commits(grpc.GenericRpcHandler):
    """A Firestore that takes every commit, once its refusals are used up, and knows who made it."""

    def __init__(self) -> None:
        self.callers: list[str] = []
        self.refusals: list[tuple[grpc.StatusCode, str]] = []

    def service(self, details: Any) -> Any:
        self.callers.append(dict(details.invocation_metadata).get("authorization", ""))
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        if self.refusals:
            context.abort(*self.refusals.pop(0))
        answer: bytes = CommitResponse(write_results=[{}]).SerializeToString()
        return answer


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> Iterator[Commits]:
    server, commits = grpc.server(futures.ThreadPoolExecutor(1)), Commits()
    port = server.add_insecure_port("127.0.0.1:0")
    server.add_generic_rpc_handlers([commits])
    server.start()
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{port}")
    yield commits
    server.stop(None)


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Tokens:
    return found_tokens(monkeypatch)


async def test_every_call_has_a_token_that_is_fetched_once(
    commits: Commits, tokens: Tokens
) -> None:
    firestore = Firestore(Connection(credentials=Credentials()))
    await asyncio.gather(*(firestore.commit([]) for _ in range(50)))
    assert set(commits.callers) == {"Bearer token-1"}


async def test_what_batch_accepted_is_recorded_while_the_token_at_hand_is_valid(
    commits: Commits, tokens: Tokens
) -> None:
    firestore = Firestore(Connection(credentials=Credentials()))
    await firestore.commit([])
    tokens.ends_in(STALE)
    tokens.fails(RefreshError("the metadata server is away"))
    await firestore.commit([])
    assert commits.callers == ["Bearer token-1"] * 2


async def test_a_token_is_asked_for_again_while_there_is_time(
    commits: Commits, tokens: Tokens
) -> None:
    firestore = Firestore(Connection(credentials=Credentials()))

    def fail_once() -> None:
        if tokens.fetched == 1:
            raise TransportError

    tokens.fetch = fail_once
    await firestore.commit([])
    assert commits.callers == ["Bearer token-2"]


async def test_a_token_that_does_not_come_is_trouble_that_may_pass(
    commits: Commits, tokens: Tokens
) -> None:
    firestore = Firestore(Connection(seconds=0.3, credentials=Credentials()))
    tokens.fails(RefreshError("no"))
    with pytest.raises(FirestoreUnavailable, match=r"RefreshError|DEADLINE_EXCEEDED"):
        await firestore.commit([])
    assert tokens.fetched > 1


async def test_where_there_are_no_credentials_an_operator_reads_how_to_get_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is done first: a client is made without them."""

    def none(**_: Any) -> None:
        raise DefaultCredentialsError("none")

    for variable in ("FIRESTORE_EMULATOR_HOST", "GCLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(google.auth, "default", none)
    firestore = Firestore(Connection())
    for project in (None, "p"):
        if project:
            monkeypatch.setenv("GCLOUD_PROJECT", project)
        with pytest.raises(FirestoreMisconfigured, match="gcloud auth application-default login"):
            await firestore.read("users/ann")


CODES = grpc.StatusCode


@pytest.mark.parametrize(
    "code",
    [
        CODES.UNAVAILABLE,
        CODES.INTERNAL,
        CODES.RESOURCE_EXHAUSTED,
        CODES.ABORTED,
        CODES.UNKNOWN,
        CODES.CANCELLED,
        CODES.DATA_LOSS,
        CODES.UNIMPLEMENTED,
    ],
)
async def test_a_commit_is_retried_while_the_trouble_may_pass(
    commits: Commits, code: grpc.StatusCode
) -> None:
    commits.refusals = [(code, ""), (code, "")]
    assert len(await Firestore(Connection()).commit([])) == 1
    assert len(commits.callers) == 3


STORED = "the stored version (1583769340467391) does not match the required base version (0)"
DOCUMENT = "projects/p/databases/(default)/documents/users/ann"
NOT_USED = "Cloud Firestore API has not been used in project p before or it is disabled."
NO_DATABASE = "The database (default) does not exist for project p"
OTHER_MODE = "The Cloud Firestore API is not available for Firestore in Datastore Mode database."
PAYLOAD = "Request payload size exceeds the limit: 10485760 bytes."
GRPC_LIMIT = "gRPC message exceeds maximum size 4194304: 10801055"

# As Firestore says it in production, or its emulator.
FINAL = [
    (CODES.ALREADY_EXISTS, f"Document already exists: {DOCUMENT}", WriteConflict),
    (CODES.FAILED_PRECONDITION, STORED, WriteConflict),
    (CODES.NOT_FOUND, f"No document to update: {DOCUMENT}", DocumentGone),
    (CODES.NOT_FOUND, 'no entity to update: app: "dev~p"', DocumentGone),
    (CODES.INVALID_ARGUMENT, "maximum entity size is 1048576 bytes", FirestoreRefused),
    (CODES.INVALID_ARGUMENT, PAYLOAD, FirestoreRefused),
    (CODES.OUT_OF_RANGE, "", FirestoreRefused),
    (CODES.RESOURCE_EXHAUSTED, GRPC_LIMIT, FirestoreRefused),
    (CODES.PERMISSION_DENIED, "Missing or insufficient permissions.", FirestoreMisconfigured),
    (CODES.PERMISSION_DENIED, NOT_USED, FirestoreMisconfigured),
    (CODES.UNAUTHENTICATED, "", FirestoreMisconfigured),
    (CODES.NOT_FOUND, NO_DATABASE, FirestoreMisconfigured),
    (CODES.NOT_FOUND, "", FirestoreMisconfigured),
    (CODES.FAILED_PRECONDITION, OTHER_MODE, FirestoreMisconfigured),
]


@pytest.mark.parametrize(("code", "words", "raised"), FINAL)
async def test_a_commit_that_would_end_in_the_same_way_again_is_sent_once(
    commits: Commits, code: grpc.StatusCode, words: str, raised: type[Exception]
) -> None:
    commits.refusals = [(code, words)]
    with pytest.raises(raised) as error:
        await Firestore(Connection()).commit([])
    assert type(error.value) is raised
    assert str(error.value).startswith(f"{code.name}: {words}" if words else code.name)
    assert len(commits.callers) == 1


@pytest.mark.parametrize(
    ("code", "words", "command"),
    [
        (
            CODES.PERMISSION_DENIED,
            "Missing or insufficient permissions.",
            "gcloud projects add-iam-policy-binding p "
            "--member=user:YOUR_EMAIL --role=roles/datastore.user",
        ),
        (
            CODES.PERMISSION_DENIED,
            NOT_USED,
            "gcloud services enable firestore.googleapis.com --project=p",
        ),
        (
            CODES.NOT_FOUND,
            NO_DATABASE,
            "gcloud firestore databases create --project=p --database='(default)' "
            "--location=LOCATION",
        ),
        (
            CODES.FAILED_PRECONDITION,
            OTHER_MODE,
            "gcloud firestore databases update --project=p --database='(default)' "
            "--type=firestore-native",
        ),
        (CODES.UNAUTHENTICATED, "", "gcloud auth application-default login"),
    ],
)
async def test_what_an_operator_can_fix_comes_with_the_command(
    commits: Commits,
    monkeypatch: pytest.MonkeyPatch,
    code: grpc.StatusCode,
    words: str,
    command: str,
) -> None:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    commits.refusals = [(code, words)]
    with pytest.raises(FirestoreMisconfigured) as error:
        await Firestore(Connection()).commit([])
    assert str(error.value).endswith(f". Fix it with: {command}")


async def test_a_query_without_its_index_is_not_a_write_conflict(commits: Commits) -> None:
    commits.refusals = [(CODES.FAILED_PRECONDITION, "The query requires an index.")]
    with pytest.raises(FirestoreMisconfigured, match="firebase deploy --only firestore:indexes"):
        await Firestore(Connection()).find(Query("users"))


async def test_what_firestore_says_is_bounded(commits: Commits) -> None:
    commits.refusals = [(CODES.INVALID_ARGUMENT, "x" * 5000)]
    with pytest.raises(FirestoreRefused) as error:
        await Firestore(Connection()).commit([])
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("code", "words", "written", "named"),
    [
        (CODES.ALREADY_EXISTS, f"Document already exists: {DOCUMENT}", ["a/b", "c/d"], "users/ann"),
        (
            CODES.ALREADY_EXISTS,
            "entity already exists: EntityRef{partitionRef=dev~p, path=/users/ann}",
            ["a/b", "c/d"],
            "users/ann",
        ),
        (CODES.NOT_FOUND, f"No document to update: {DOCUMENT}", ["a/b", "c/d"], "users/ann"),
        (CODES.FAILED_PRECONDITION, STORED, ["a/b", "c/d"], None),
        (CODES.FAILED_PRECONDITION, STORED, ["a/b"], "a/b"),
    ],
)
async def test_a_write_conflict_names_the_document_where_it_is_known(
    commits: Commits, code: grpc.StatusCode, words: str, written: list[str], named: str | None
) -> None:
    firestore = Firestore(Connection())
    commits.refusals = [(code, words)]
    with pytest.raises(WriteConflict) as conflict:
        await firestore.commit([firestore.create(path, {}) for path in written])
    assert conflict.value.document == named


async def test_trouble_that_does_not_pass_is_named_when_the_time_is_up(commits: Commits) -> None:
    commits.refusals = [(CODES.UNAVAILABLE, "")] * 100
    with pytest.raises(FirestoreUnavailable, match=r"UNAVAILABLE|DEADLINE_EXCEEDED"):
        await Firestore(Connection(seconds=0.5)).commit([])
    assert len(commits.callers) > 1


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


NOT_STORABLE = {
    "more than 64 bits": 2**63,
    "less than 64 bits": -(2**63) - 1,
    "half a character": "\ud800",
    "half a character in a map": {"a": ["\udfff"]},
    "a name that is half a character": {"\ud800": 1},
    "a name that is a number": {1: "a"},
    "a time without a zone": datetime(2030, 6, 1),
    "an object": object(),
    "a set": {"a", "b"},
    "1,000 levels": nested(1_000),
    "10,000 levels": nested(10_000),
}


@pytest.mark.parametrize("value", NOT_STORABLE.values(), ids=NOT_STORABLE)
async def test_what_cannot_be_stored_is_refused_and_not_retried(
    commits: Commits, value: Any
) -> None:
    firestore = Firestore(Connection())
    with pytest.raises(FirestoreRefused) as error:
        await firestore.commit([firestore.put("users/ann", {"value": value})])
    assert len(str(error.value)) < 400
    assert commits.callers == []


PATHS = ["users", "users/ann/friends", "users//x", "", "users/", "/", "users/\ud800"]


@pytest.mark.parametrize("path", PATHS)
async def test_what_names_no_document_is_not_asked_for(commits: Commits, path: str) -> None:
    firestore = Firestore(Connection())
    with pytest.raises(FirestoreRefused):
        firestore.put(path, {})
    with pytest.raises(FirestoreRefused):
        await firestore.read(path)
    assert commits.callers == []


def far_too_large(firestore: Firestore) -> list[Any]:
    return [firestore.put(f"t/{number}", {"a": "x" * 900_000}) for number in range(12)]


REFUSED: dict[str, Callable[[Firestore], list[Any]]] = {
    "a document of more than 1 MiB": lambda f: [f.put("t/a", dict.fromkeys("abcd", "x" * 300000))],
    "a value of more than 1 MiB": lambda f: [f.put("t/a", {"a": "x" * 1_100_000})],
    "a request of 10 MB": far_too_large,
    "an id of 1,501 bytes": lambda f: [f.put("t/" + "x" * 1501, {})],
    "an id of dots": lambda f: [f.put("t/..", {})],
    "a reserved id": lambda f: [f.put("t/__a__", {})],
    "a field without a name": lambda f: [f.put("t/a", {"": 1})],
    "a list in a list": lambda f: [f.put("t/a", {"a": [[1]]})],
    "21 levels": lambda f: [f.put("t/a", nested(25))],
}


@pytest.mark.suite
@pytest.mark.parametrize("writes", REFUSED.values(), ids=REFUSED)
async def test_google_s_own_emulator_refuses_for_good(
    writes: Callable[[Firestore], list[Any]],
) -> None:
    firestore = Firestore(Connection())
    with pytest.raises(FirestoreRefused):
        await firestore.commit(writes(firestore))


@pytest.mark.suite
async def test_google_s_own_emulator_says_which_document_is_in_the_way() -> None:
    firestore = Firestore(Connection())
    one, other = (f"t{uuid.uuid4().hex}/{name}" for name in "ab")
    (created,) = await firestore.commit([firestore.create(other, {})])
    with pytest.raises(WriteConflict) as conflict:
        await firestore.commit([firestore.create(one, {}), firestore.create(other, {})])
    assert conflict.value.document == other
    await firestore.commit([firestore.put(other, {"a": 1})])
    with pytest.raises(WriteConflict) as conflict:
        await firestore.commit([firestore.update(other, {}, created.update_time)])
    assert conflict.value.document == other


@pytest.mark.suite
async def test_google_s_own_emulator_tells_a_document_that_is_gone_from_trouble() -> None:
    firestore, path = Firestore(Connection()), f"t{uuid.uuid4().hex}/a"
    write = firestore.put(path, {})
    write.current_document.exists = True
    with pytest.raises(DocumentGone):
        await firestore.commit([write])


@pytest.mark.suite
async def test_an_operation_outlives_a_connection_that_something_on_the_way_forgot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = f"t{uuid.uuid4().hex}/a"
    async with in_front_of(os.environ["FIRESTORE_EMULATOR_HOST"]) as proxy:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", proxy.address)
        firestore = Firestore(Connection(keepalive=(0.5, 0.5)))
        await firestore.commit([firestore.put(path, {})])
        assert proxy.swallow() == 1
        assert path in await firestore.read(path)


class Reads(grpc.GenericRpcHandler):
    """A Firestore that has no document."""

    def service(self, _: Any) -> Any:
        return grpc.unary_stream_rpc_method_handler(lambda request, context: iter(()))


async def test_while_there_is_no_connection_hardly_a_stream_is_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """gRPC keeps memory of each stream that it fails. Once there is one, reads go on."""
    port = free_port()
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{port}")
    connection = Connection(seconds=0.1)
    begun, begin = 0, connection._calls["BatchGetDocuments"]

    def counted(*args: Any, **options: Any) -> Any:
        nonlocal begun
        begun += 1
        return begin(*args, **options)

    connection._calls["BatchGetDocuments"] = counted
    firestore = Firestore(connection)
    for _ in range(20):
        with pytest.raises(FirestoreUnavailable, match=r"UNAVAILABLE|DEADLINE_EXCEEDED"):
            await firestore.read("users/ann")
    assert begun < 10
    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.add_generic_rpc_handlers([Reads()])
    server.start()
    connection._seconds = 10.0
    assert await firestore.read("users/ann") == {}
    server.stop(None)
