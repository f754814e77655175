"""The Realtime Database's client against a real HTTP server, which sees the paths as they come."""

import asyncio
import string
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from batchpush.errors import InvalidDocument, LookUpFailed
from batchpush.events import lookup
from batchpush.events.lookup import DatabaseLookUp
from batchpush.google import realtime_database
from batchpush.google.clients import close_realtime_databases
from batchpush.google.realtime_database import AT_ONCE, CONNECTIONS, RealtimeDatabase, Turns, is_key
from batchpush.google.sources import Instance
from tests.events import DATABASE
from tests.realtime_database import Database, served

IDS = [
    "%76ictim",
    "%2e%2e",
    "%2F",
    "%",
    "%25",
    "100%",
    "a b",
    "a+b",
    "a?b",
    "a&shallow=true",
    "a;b=c,d@e:f!g*h'(i)",
    "\\..\\".replace(".", ""),
    '"é"',
    "zoé",
    "日本",
    "👩‍👩‍👧",
    " ",
    "a\u2028b",
    "x" * 768,
]


@pytest.mark.parametrize("user_id", IDS)
async def test_an_id_is_read_where_it_is_and_nowhere_else(database: Database, user_id: str) -> None:
    database.values["users", user_id] = {"display_name": "Ann"}
    found = await DatabaseLookUp(DATABASE)(f"users/{user_id}")
    assert found == {"display_name": "Ann"}
    assert database.read == [("users", user_id)]


@pytest.mark.parametrize(
    "user_id",
    ["a.b", ".", "..", "a#b", "a$b", "[a]", "", "a\nb", "\x7f", "\ud800", "é" * 385],
)
async def test_what_cannot_be_an_id_there_is_not_there_and_not_asked_for(
    database: Database, user_id: str
) -> None:
    assert await DatabaseLookUp(DATABASE).many(f"users/{user_id}", "users/ann") == [None, None]
    assert database.read == [("users", "ann")]


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Database, str]]:
    with served() as running:
        yield running


ASKED_FOR = st.lists(
    st.text(
        st.characters(exclude_characters="/")
        | st.sampled_from(string.punctuation.replace("/", "")),
        min_size=1,
        max_size=20,
    ),
    min_size=1,
    max_size=50,
    unique=True,
)


@settings(max_examples=50)
@given(ASKED_FOR)
def test_every_id_that_can_be_one_is_one_segment_of_the_path(
    running: tuple[Database, str], ids: list[str]
) -> None:
    database, address = running
    database.requests.clear()

    async def read() -> None:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("FIREBASE_DATABASE_EMULATOR_HOST", address)
            await DatabaseLookUp(DATABASE).many(*(f"users/{each}/x" for each in ids))
            await close_realtime_databases()

    asyncio.run(read())
    assert sorted(database.read) == sorted(("users", each, "x") for each in ids if is_key(each))


async def test_documents_come_in_the_order_of_their_paths_with_the_fields_that_were_asked_for(
    database: Database,
) -> None:
    database.values["users", "ann"] = {"display_name": "Ann", "diary": "…"}
    database.values["users", "bob"] = "a text"
    paths = ["users/bob", "users/tom", "users/ann"]
    assert await DatabaseLookUp(DATABASE).many(*paths, fields=["display_name"]) == [
        None,
        None,
        {"display_name": "Ann"},
    ]


# How many at once, and whose


async def test_many_are_read_at_once_on_connections_that_stay_open(database: Database) -> None:
    database.answer_from = AT_ONCE
    paths = [f"users/u{number}" for number in range(1000)]
    assert await DatabaseLookUp(DATABASE).many(*paths) == [None] * 1000
    assert database.most_in_flight == AT_ONCE
    assert len(database.connections) == AT_ONCE


async def test_an_event_with_a_thousand_look_ups_does_not_hold_up_one_with_three(
    database: Database,
) -> None:
    database.answer_from = CONNECTIONS
    greedy = [
        asyncio.create_task(
            DatabaseLookUp(DATABASE).many(*(f"users/g{event}-{each}" for each in range(1000)))
        )
        for event in range(4)
    ]
    assert await asyncio.to_thread(database.is_busy.wait, 10)
    await DatabaseLookUp(DATABASE).many("users/ann", "users/bob", "users/tom")
    read_by_then = len(database.read)
    for task in greedy:
        task.cancel()
    await asyncio.gather(*greedy, return_exceptions=True)
    assert database.most_in_flight == CONNECTIONS
    assert read_by_then < 5 * CONNECTIONS  # and not 4,000


async def test_turns_go_round_the_events() -> None:
    turns, order = Turns(1), []

    async def take(event: str) -> None:
        async with turns.turn(event):
            order.append(event)
            await asyncio.sleep(0)

    await asyncio.gather(*map(take, "aaaabbc"))
    assert "".join(order) == "aabcaba"


async def test_who_is_cancelled_leaves_the_turn_to_another() -> None:
    turns, done = Turns(1), []

    async def take(name: str) -> None:
        async with turns.turn(name):
            await asyncio.sleep(0)
            done.append(name)

    first, second, third, fourth = (asyncio.create_task(take(name)) for name in "abcd")
    await asyncio.sleep(0)
    second.cancel()  # while it waits
    await first
    third.cancel()  # when its turn has just come
    await asyncio.gather(second, third, fourth, return_exceptions=True)
    async with asyncio.timeout(1), turns.turn("e"):
        assert done == ["a", "d"]


# Answers


def failing(status: int) -> web.Response:
    return web.json_response({"error": "trouble"}, status=status)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_trouble_that_may_pass_is_tried_again(database: Database, status: int) -> None:
    database.values["users", "ann"] = {"display_name": "Ann"}
    database.answers = [failing(status), failing(status)]
    assert await DatabaseLookUp(DATABASE)("users/ann") == {"display_name": "Ann"}
    assert len(database.requests) == 3


@pytest.mark.parametrize(
    ("answers", "error", "problem"),
    [
        ([failing(503), failing(503), failing(503)], LookUpFailed, "503"),
        ([failing(401)], LookUpFailed, r"401: grant roles/firebasedatabase\.admin"),
        ([failing(403)], LookUpFailed, r"403: grant roles/firebasedatabase\.admin"),
        ([failing(404)], LookUpFailed, "404: there is no such instance"),
        ([failing(400)], InvalidDocument, r"users/ann: was refused .* \(400\)"),
        ([web.Response(text="<html>")], LookUpFailed, "not JSON"),
        ([web.Response(text="[" * 100_000)], LookUpFailed, "not JSON"),
        ([web.Response(body=b"\xff")], LookUpFailed, "not JSON"),
        ([web.Response(text='"' + "x" * 10_000_000 + '"')], InvalidDocument, "is larger than"),
        ([web.Response(status=307, headers={"Location": "/users/bob.json"})], LookUpFailed, "307"),
    ],
    ids=lambda value: str(value)[:20] if isinstance(value, str) else "",
)
async def test_an_answer_without_a_value_is_an_error(
    database: Database, answers: list[web.Response | None], error: type[Exception], problem: str
) -> None:
    expected = len(answers)
    database.answers = answers
    with pytest.raises(error, match=problem):
        await DatabaseLookUp(DATABASE)("users/ann")
    assert len(database.requests) == expected


async def test_a_database_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIREBASE_DATABASE_EMULATOR_HOST", "127.0.0.1:9")
    with pytest.raises(LookUpFailed, match="Realtime Database: Connect"):
        await DatabaseLookUp(DATABASE)("users/ann")
    await close_realtime_databases()


@pytest.mark.parametrize(
    ("module", "limit"), [(realtime_database, "TIMEOUT"), (lookup, "READ_WITHIN")]
)
async def test_an_answer_is_not_waited_for_for_ever(
    database: Database, module: Any, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.seconds = 30
    monkeypatch.setattr(module, limit, 0.05)
    with pytest.raises(LookUpFailed, match=r"Realtime Database: .* within 0\.05 s"):
        await DatabaseLookUp(DATABASE)("users/ann")


async def test_all_look_ups_of_an_event_have_one_deadline(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "READ_WITHIN", 0.1)
    look_up = DatabaseLookUp(DATABASE)
    database.seconds = 30
    with pytest.raises(LookUpFailed, match="not read within"):
        await look_up("users/ann")
    database.seconds = 0
    with pytest.raises(LookUpFailed, match="not read within"):
        await look_up("users/ann")


# Whom it speaks to


class Recording(httpx.AsyncBaseTransport):
    """Answers each request with null."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, content=b"null")


async def token() -> dict[str, str]:
    return {"authorization": "Bearer token"}


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("us-central1", "https://demo.firebaseio.com/users/ann.json"),
        ("europe-west1", "https://demo.europe-west1.firebasedatabase.app/users/ann.json"),
    ],
)
async def test_the_token_goes_to_google_s_host_for_the_location(location: str, url: str) -> None:
    transport = Recording()
    made = RealtimeDatabase(Instance("demo", location), transport, token)
    await made.read(["users/ann"], event=object())
    (request,) = transport.requests
    assert str(request.url) == url
    assert request.headers["authorization"] == "Bearer token"


async def test_the_emulator_is_asked_for_the_instance_as_its_owner(database: Database) -> None:
    await DatabaseLookUp(DATABASE)("users/ann")
    assert database.queries == ["ns=demo"]
    assert database.headers[0]["Authorization"] == "Bearer owner"
