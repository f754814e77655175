"""The command `erase` on whole databases, in memory: whom it looks for, and what it leaves."""

import argparse
import asyncio
import gc
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
import pytest

from batchpush.cli.erase import erase
from batchpush.cli.records import on_records
from batchpush.delivery.ledger import Ledger
from batchpush.delivery.record import CallRecord, CallState, DeliveryState, Record
from batchpush.delivery.waiting import Joined, name_of
from batchpush.environment import Settings
from batchpush.errors import LookUpFailed
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp
from batchpush.google.clients import close_realtime_databases
from batchpush.google.firestore import Firestore
from batchpush.pushes.push import Message, Push, Recipients
from batchpush.testing import ManualClock
from batchpush.testing.memory import Memory, Operation
from tests.deliveries import change_at, claimed, worker_in
from tests.events import DATABASE
from tests.servers import serving

INSTALL = "0b9cf1a4-7f7e-4c1e-9d1b-6a6f5c0f3e2d"


class House:
    """A project's databases in memory, and its operator."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.clock = ManualClock()
        self.memory = Memory()
        self.capsys = capsys
        self.made = worker_in(self.memory, self.clock.now)
        self.sources("firestore")

    def sources(self, sources: str, **more: str) -> None:
        environment = {"BATCH_APPS": "ios=A", "SOURCES": sources, "DELIVERIES_COLLECTION": "d"}
        self.made = replace(self.made, settings=Settings.from_environment(environment | more))

    async def stores(self, path: str, document: Mapping[str, Any]) -> None:
        client = Firestore(self.memory)
        await client.commit([client.put(path, document)])

    async def holds(self, *records: Record, below: str | None = None) -> None:
        ledger = self.made.ledger.chunks_of(below) if below else self.made.ledger
        for record in records:
            await ledger.claim(record)

    async def erases(self, user_id: str, *batch_ids: str, dry_run: bool = False) -> Any:
        """The exit code, the lines on stdout, and stderr."""
        chosen = options(user_id, *batch_ids, dry_run=dry_run)
        self.capsys.readouterr()
        code = await erase(chosen, self.made)
        out, err = self.capsys.readouterr()
        return code, out.splitlines(), err

    def stored(self) -> dict[str, bytes]:
        """What is ours, as Firestore keeps it."""
        found = {}
        for name, document in self.memory.documents.items():
            path = name.partition("/documents/")[2]
            if not path.startswith("users/") or "/deliveries/" in path:
                found[path] = path.encode() + document.SerializeToString()
        return found


def options(user_id: str, *batch_ids: str, dry_run: bool = False) -> argparse.Namespace:
    return argparse.Namespace(
        user=user_id,
        batch_id=[*batch_ids],
        at_batch=False,
        dry_run=dry_run,
        json=False,
        project=None,
    )


@pytest.fixture
async def house(capsys: pytest.CaptureFixture[str]) -> AsyncIterator[House]:
    yield House(capsys)
    await close_realtime_databases()


def sent(*recipients: str, id_list: str = "custom_ids", **more: Any) -> Record:
    calls = (CallRecord("ios", 0, CallState.ACCEPTED),)
    body = json.dumps({"group_id": "g", "recipients": {id_list: recipients}})
    fields: dict[str, Any] = {
        "state": DeliveryState.SENT,
        "document": "orders/o1",
        "calls": calls,
        "bodies": (body,),
    }
    return claimed(**fields | more)


async def record(house: House, one: Record) -> Record:
    entry = await house.made.ledger.read(one.id)
    assert entry is not None
    return entry.record


async def test_a_person_is_found_by_every_id_of_their_profile(house: House) -> None:
    batch = {"custom_ids": ["cust-9"], "install_ids": [INSTALL], "tokens": {"0": "tok:1"}}
    await house.stores("users/ann", {"batch": batch})
    records = [
        sent("cust-9", "bob"),
        sent(INSTALL, id_list="install_ids"),
        sent("tok:1", id_list="tokens"),
        sent("ann"),
    ]
    other = sent("bob")
    await house.holds(*records, other)
    code, lines, err = await house.erases("ann")
    assert (code, lines[-1], err) == (0, "4 changed, 0 left", "")
    for each in records:
        assert (await record(house, each)).bodies == ()
    assert await record(house, other) == other


async def test_a_profile_that_is_gone_is_said_and_its_ids_can_be_named(house: House) -> None:
    one = sent("cust-9")
    await house.holds(one)
    code, lines, err = await house.erases("ann")
    assert (code, lines) == (0, ["0 changed, 0 left"])
    assert "there is no users/ann: pass their other ids at Batch with --batch-id" in err
    code, lines, err = await house.erases("ann", "x-1", "cust-9")
    assert (code, lines[-1], err) == (0, "1 changed, 0 left", "")
    assert (await record(house, one)).bodies == ()


@pytest.mark.parametrize(("at", "changed"), [("read", 0), ("erased", 1)])
async def test_a_ctrl_c_leaves_nothing_half_done_and_says_how_to_go_on(
    house: House, monkeypatch: pytest.MonkeyPatch, at: str, changed: int
) -> None:
    await house.holds(sent("ann"), sent("ann"))
    step = "everything" if at == "read" else "erase"
    carry_out = getattr(Ledger, step)

    def interrupted(*given: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return carry_out(*given)

    monkeypatch.setattr(Ledger, step, interrupted)
    code, lines, err = await house.erases("ann", "ann")
    assert (code, lines[-1]) == (1, f"{changed} changed, 0 left")
    assert "run it again, what is erased stays erased" in err
    monkeypatch.undo()
    code, lines, _ = await house.erases("ann", "ann")
    assert (code, lines[-1]) == (0, f"{2 - changed} changed, 0 left")


async def test_nobody_is_erased_with_somebody_who_says_to_be_them(house: House) -> None:
    await house.stores("users/eve", {"batch": {"custom_ids": ["bob", "orders"]}})
    await house.stores("users/bob", {})
    one = sent("bob", state=DeliveryState.RETRY, lease_until=None, calls=(CallRecord("ios", 0),))
    await house.holds(one)
    code, lines, err = await house.erases("eve")
    assert (code, lines) == (0, ["0 changed, 0 left"])
    assert "users/eve names bob, who is another user" in err
    assert await record(house, one) == one
    assert (await house.erases("eve", "bob"))[1][-1] == "1 changed, 0 left"


@pytest.mark.parametrize(
    "identifier", ["a" * 2000, "é" * 800, "..", "a/b", "__x__", " ", "a.b#c[d]", "💥"]
)
async def test_no_id_of_a_profile_keeps_a_person_from_being_erased(
    house: House, identifier: str
) -> None:
    await house.stores("users/ann", {"batch": {"install_ids": [identifier]}})
    await house.holds(sent("ann"))
    assert (await house.erases("ann"))[1][-1] == "1 changed, 0 left"


async def test_a_dry_run_writes_nothing(house: House) -> None:
    await house.stores("batch_bursts/b1", {"windows": {}, "about": {"d1": ["users/ann/x/y"]}})
    await house.holds(sent("ann", report_to="users/ann/deliveries/d1"))
    await house.stores("users/ann/deliveries/d1", {"state": "SENT"})
    before = house.stored()
    code, lines, _ = await house.erases("ann", dry_run=True)
    assert (code, lines[-1]) == (0, "2 would change, 0 would be left; nothing was written")
    assert sum("would be: " in line for line in lines) == 2
    assert house.stored() == before


@pytest.mark.parametrize(
    ("person", "document", "is_deleted"),
    [
        ("ann", "conversations/c/messages/m", True),
        ("bob", "users/bob/friend_requests/ann", True),
        ("bob", "conversations/c/messages/m", False),
    ],
)
async def test_items_of_digests_for_or_about_the_person_are_deleted(
    house: House, person: str, document: str, is_deleted: bool
) -> None:
    await house.stores("batch_digests/i1", {"person": person, "document": document})
    await house.erases("ann")
    kept = await house.made.ledger.firestore.read("batch_digests/i1")
    assert bool(kept) is not is_deleted


async def test_their_notifications_go_and_what_they_caused_in_those_of_others(
    house: House,
) -> None:
    sender = {"batch_sender": name_of("custom_ids", "ann"), "body": "Ann would like to be"}
    await house.stores("users/ann/notifications/d1", {"body": "Hello"})
    await house.stores("users/bob/notifications/d2", sender)
    await house.stores("users/bob/notifications/d3", {"body": "Hello"})
    assert (await house.erases("ann"))[1][-1] == "2 changed, 0 left"
    kept = [f"users/bob/notifications/{each}" for each in ("d2", "d3")]
    left = await house.made.ledger.firestore.read("users/ann/notifications/d1", *kept)
    assert list(left) == kept[1:]


async def test_chunks_bursts_and_summaries_go_too_and_chunks_that_nobody_claimed(
    house: House,
) -> None:
    large = sent(bodies=(), calls=(), chunks=("first-00000",))
    await house.holds(large)
    await house.holds(replace(sent("ann"), id="first-00000"), below=large.id)
    await house.holds(replace(sent("ann"), id="lost-00000"), below="f" * 64)
    await house.holds(sent("bob", document="users/ann/x/y", report_to="users/ann/x/y/deliveries/d"))
    await house.stores("users/ann/x/y/deliveries/d", {"state": "SENT"})
    about = {"d1": ["users/ann/x/y", "users/bob/x/y"]}
    await house.stores("batch_bursts/b1", {"windows": {}, "about": about})
    code, lines, _ = await house.erases("ann")
    assert (code, lines[-1]) == (0, "4 changed, 0 left")
    assert not [path for path, content in house.stored().items() if b"ann" in content]
    burst = await house.made.ledger.read_burst("b1")
    assert burst.burst.about == {"d1": Joined(1, ("users/bob/x/y",))}


async def test_records_of_a_newer_version_are_left_and_said(house: House) -> None:
    await house.stores("d/new", {"state": "FROM_2030", "sender": "ann"})
    await house.stores("d/other", {"state": "FROM_2030", "sender": "bob"})
    await house.holds(sent("ann"))
    code, lines, _ = await house.erases("ann")
    assert (code, lines[-1]) == (1, "1 changed, 1 left")
    at = lines.index("d/new")
    assert lines[at + 1] == "  a newer version wrote it and must erase it"


@pytest.mark.parametrize("path", ["d/", "batch_bursts/"])
async def test_who_was_faster_is_not_overwritten(house: House, path: str) -> None:
    await house.holds(sent("ann"))
    await house.stores("batch_bursts/b1", {"windows": {}, "about": {"d1": ["users/ann/x/y"]}})
    names = [name for name in house.memory.documents if f"/documents/{path}" in name]

    async def outrun(step: str, operation: Operation) -> Any:
        if step in ("record", "reclaim"):
            for name in names:
                house.memory.documents[name].update_time.nanos += 1
        return operation()

    house.memory.strike = outrun
    code, lines, _ = await house.erases("ann")
    assert (code, lines[-1]) == (1, "1 changed, 1 left")
    assert "  it changed in the meantime: run this again" in lines
    house.memory.strike = None
    assert (await house.erases("ann"))[0] == 0
    assert not [each for each in house.stored().values() if b"ann" in each]


async def test_after_all_that_a_person_does_no_record_has_any_of_their_ids(house: House) -> None:
    """Deliveries as they are made: at once, coalesced and deferred, and refused."""
    house.sources("firestore", COALESCE_SECONDS="30", MIRROR_DELIVERIES="true")
    await house.stores("users/ann", {"batch": {"install_ids": [INSTALL]}})

    async def message(change: Change, look_up: LookUp) -> Push:
        return Push(
            group_id="g",
            recipients=Recipients(custom_ids=["bob"], install_ids=[INSTALL]),
            message=Message("Hello"),
            deeplink="myapp://users/ann",
            burst="c1",
        )

    async def invalid(change: Change, look_up: LookUp) -> Push:
        raise change.document.invalid("text", "is missing")

    for number in range(3):  # the first goes at once, the others wait
        await house.made.deliverer.deliver(
            change_at(house.clock, f"users/ann/x/m{number}"), message
        )
    await house.made.deliverer.deliver(change_at(house.clock, "carts/ann"), invalid)
    assert any(INSTALL.encode() in each for each in house.stored().values())
    assert (await house.erases("ann"))[0] == 1  # one waits still
    ledger: Ledger = house.made.ledger
    house.clock.forward(3600 * 3)
    (waiting,) = [each async for each in ledger.overdue(house.clock.now())]
    entry = await ledger.read(waiting)
    assert entry is not None
    assert entry.record.waits_for == {"custom_ids": ["bob"]}
    resumed = entry.record.resumed("x", house.clock.now())
    await house.made.resumption.end(
        entry, resumed.ended(DeliveryState.OBSOLETE, "nobody is left to tell"), None
    )
    assert (await house.erases("ann"))[0] == 0
    for path, content in house.stored().items():
        assert b"ann" not in content, path
        assert INSTALL.encode() not in content, path


# A profile in the Realtime Database


class Profiles(BaseHTTPRequestHandler):
    values: Mapping[str, Any] = {
        "users/ann": {"batch": {"install_ids": {"7": INSTALL}, "custom_ids": ["bob"]}},
        "users/bob": {"display_name": "Bob"},
    }

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/").removesuffix(".json")
        body = json.dumps(self.values.get(path)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with serving(Profiles) as host:
        monkeypatch.setenv("FIREBASE_DATABASE_EMULATOR_HOST", host)
        yield


async def test_the_profile_may_be_in_a_realtime_database(house: House, database: None) -> None:
    house.sources("database")
    one = sent(INSTALL, id_list="install_ids", source=DATABASE)
    await house.holds(one, sent("bob"))
    code, lines, err = await house.erases("ann")
    assert (code, lines[-1]) == (0, "1 changed, 0 left")
    assert "users/ann names bob, who is another user" in err
    assert (await record(house, one)).bodies == ()


def open_sessions() -> list[aiohttp.ClientSession]:
    sessions = [each for each in gc.get_objects() if isinstance(each, aiohttp.ClientSession)]
    return [each for each in sessions if not each.closed]


def test_the_command_leaves_no_connection_open(
    capsys: pytest.CaptureFixture[str], database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(capsys)
    monkeypatch.setattr("batchpush.cli.records.prepare_environment", lambda project: None)
    monkeypatch.setattr("batchpush.cli.records.worker", lambda: house.made)
    house.sources("database")
    asyncio.run(house.holds(sent("ann", source=DATABASE)))
    before = open_sessions()
    assert on_records(erase)(options("ann")) == 0
    assert open_sessions() == before


async def test_a_realtime_database_that_cannot_be_read_does_not_go_unnoticed(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIREBASE_DATABASE_EMULATOR_HOST", "127.0.0.1:9")
    house.sources("firestore,database")
    one = sent("ann", source=DATABASE)
    await house.holds(one)
    with pytest.raises(
        LookUpFailed, match=r"^users/ann of demo cannot be read \(.+\): pass .* --batch-id$"
    ):
        await house.erases("ann")
    assert await record(house, one) == one
    assert (await house.erases("ann", INSTALL))[1][-1] == "1 changed, 0 left"
