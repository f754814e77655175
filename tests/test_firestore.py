"""Firestore's protocol as it is spoken here, and who is said to speak."""

import asyncio
from collections.abc import Iterator
from concurrent import futures
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.cloud.firestore_v1._helpers import encode_value
from google.cloud.firestore_v1.types import firestore as theirs
from google.events.cloud.firestore import Value
from hypothesis import given
from hypothesis import strategies as st

from batchpush.change import plain
from batchpush.firestore import (
    Firestore,
    FirestoreUnavailable,
    Outrun,
    _encode,
    messages,
)

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
    written = Value.pb(Value())
    _encode(value, written)
    google_s = type(encode_value(value)).pb(encode_value(value))
    assert google_s.FromString(written.SerializeToString()) == google_s
    assert plain(written, "projects/p/databases/d") == value


def test_every_message_is_a_part_of_google_s_own() -> None:
    """Each field has Google's name, number and kind; enums are numbers on the wire."""
    for name in ("CommitRequest", "CommitResponse", "BatchGetDocumentsRequest",
                 "BatchGetDocumentsResponse", "RunQueryRequest", "RunQueryResponse"):  # fmt: skip
        same(messages()[name].DESCRIPTOR, getattr(theirs, name).pb().DESCRIPTOR)


def same(ours: Any, google_s: Any) -> None:
    for field in ours.fields:
        other = google_s.fields_by_name[field.name]
        assert field.number == other.number
        assert field.is_repeated == other.is_repeated
        kinds = {other.TYPE_ENUM: field.TYPE_INT32}
        assert field.type == kinds.get(other.type, other.type)
        if field.message_type and "batchpush" in field.message_type.full_name:
            same(field.message_type, other.message_type)


class Commits(grpc.GenericRpcHandler):
    """A Firestore that takes every commit, once its refusals are used up, and knows who made it."""

    def __init__(self) -> None:
        self.callers: list[str] = []
        self.refusals: list[grpc.StatusCode] = []

    def service(self, details: Any) -> Any:
        self.callers.append(dict(details.invocation_metadata).get("authorization", ""))
        return grpc.unary_unary_rpc_method_handler(self._answer)

    def _answer(self, _: bytes, context: grpc.ServicerContext) -> bytes:
        if self.refusals:
            context.abort(self.refusals.pop(0), "")
        answer: bytes = messages()["CommitResponse"](write_results=[{}]).SerializeToString()
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


class Credentials:
    """They are good for an hour, or not at all."""

    def __init__(self) -> None:
        self.fetched = 0
        self.ends: datetime | None = None

    @property
    def valid(self) -> bool:
        return self.ends is not None and datetime.now(UTC) < self.ends

    def refresh(self, request: object) -> None:
        self.fetched += 1
        self.ends = datetime.now(UTC) + timedelta(hours=1)

    def apply(self, headers: dict[str, str]) -> None:
        headers["authorization"] = f"Bearer token-{self.fetched}"


async def test_one_token_serves_all_calls_until_it_ends(commits: Commits) -> None:
    firestore, credentials = Firestore(), Credentials()
    firestore._credentials = credentials
    await asyncio.gather(*(firestore.commit([]) for _ in range(50)))
    assert set(commits.callers) == {"Bearer token-1"}
    credentials.ends = datetime.now(UTC)
    await firestore.commit([])
    assert commits.callers[-1] == "Bearer token-2"
    assert credentials.fetched == 2


CODES = grpc.StatusCode


@pytest.mark.parametrize(
    "code", [CODES.UNAVAILABLE, CODES.INTERNAL, CODES.RESOURCE_EXHAUSTED, CODES.ABORTED]
)
async def test_a_commit_is_tried_again_while_the_trouble_may_pass(
    commits: Commits, code: grpc.StatusCode
) -> None:
    commits.refusals = [code, code]
    assert len(await Firestore().commit([])) == 1
    assert len(commits.callers) == 3


@pytest.mark.parametrize(
    "code", [CODES.PERMISSION_DENIED, CODES.INVALID_ARGUMENT, CODES.NOT_FOUND, CODES.UNKNOWN]
)
async def test_a_commit_that_would_be_refused_again_is_tried_once(
    commits: Commits, code: grpc.StatusCode
) -> None:
    commits.refusals = [code]
    with pytest.raises(FirestoreUnavailable, match=code.name):
        await Firestore().commit([])
    assert len(commits.callers) == 1


@pytest.mark.parametrize("code", [CODES.ALREADY_EXISTS, CODES.FAILED_PRECONDITION])
async def test_a_commit_that_came_too_late_was_outrun(
    commits: Commits, code: grpc.StatusCode
) -> None:
    commits.refusals = [code]
    with pytest.raises(Outrun):
        await Firestore().commit([])
    assert len(commits.callers) == 1


async def test_trouble_that_does_not_pass_is_named_when_the_time_is_up(commits: Commits) -> None:
    commits.refusals = [CODES.UNAVAILABLE] * 100
    with pytest.raises(FirestoreUnavailable, match=r"UNAVAILABLE|DEADLINE_EXCEEDED"):
        await Firestore(seconds=0.5).commit([])
    assert len(commits.callers) > 1


@pytest.mark.parametrize("path", ["users", "users/ann/friends", "users//x", "", "users/"])
def test_what_names_no_document_is_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:9")
    with pytest.raises(ValueError, match="not the path of a document"):
        Firestore().put(path, {})
