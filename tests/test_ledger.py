"""The delivery record in Firestore: on the real emulator, and the same in memory."""

import asyncio
import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchpush.delivery.digests
import batchpush.delivery.history
import batchpush.delivery.ledger
import batchpush.pushes.limits
from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.delivery.ledger import Entry, Ledger
from batchpush.delivery.record import CallRecord, CallState, DeliveryState, Record
from batchpush.delivery.waiting import Burst, Joined, StoredBurst, Window, name_of
from batchpush.errors import LedgerUnavailable, UnreadableRecord
from batchpush.google.connection import Connection
from batchpush.google.firestore import Firestore, FirestoreRefused, WriteConflict
from batchpush.google.protocol.firestore_pb2 import CommitRequest
from batchpush.pushes.limits import Limit, Over, counters
from batchpush.testing.memory import Memory, Operation
from tests.deliveries import Counted, claimed, ledger_for, rpcs
from tests.events import streamed
from tests.relay import Relay, relayed

suite = pytest.mark.suite

MAX_BYTES = {"claim": 700, "outcome": 420}


@pytest.fixture
async def emulated() -> Ledger:
    return ledger_for(f"t{uuid.uuid4().hex}")


WHERE = ["memory", pytest.param("emulator", marks=suite)]


def ledger_in(where: str) -> Ledger:
    return ledger_for(f"t{uuid.uuid4().hex}") if where == "emulator" else ledger_of(Memory())


def ledger_of(memory: Memory) -> Ledger:
    return ledger_for("t", memory)


@pytest.fixture(params=WHERE)
async def ledger(request: pytest.FixtureRequest) -> Ledger:
    """On the emulator, and in memory; what holds in one holds in the other."""
    return ledger_in(request.param)


def sent(record: Record, outcome: Outcome = Outcome.ACCEPTED) -> Record:
    """The record once all its calls had this outcome."""
    calls = [call.after(outcome, Reply(), 1) for call in record.calls]
    return record.after(calls, record.created_at)


async def test_a_record_is_small_beside_what_is_sent() -> None:
    """Both writes of a delivery to two apps, in bytes; their sizes differ with nothing but ids."""
    counted, record = Counted(Memory()), claimed()
    firestore = Firestore(counted)
    ledger = Ledger(lambda: firestore, "batch_deliveries")
    body = sum(map(len, record.bodies))
    entry = await ledger.claim(record)
    await ledger.change(entry, sent(record).keeping_bodies(days=7))
    (_, claim), (_, outcome) = counted.requests
    assert size(claim) - body <= MAX_BYTES["claim"]
    assert size(outcome) <= MAX_BYTES["outcome"]


def size(commit: CommitRequest) -> int:
    return sum(write.ByteSize() for write in commit.writes)


def test_only_what_is_searched_is_in_the_indexes() -> None:
    """A field whose values follow one another limits an index to 500 writes a second."""
    overrides = json.loads(Path("firestore.indexes.json").read_text())["fieldOverrides"]
    for collection in ("batch_deliveries", batchpush.delivery.ledger.CHUNKS):
        exempt = {
            entry["fieldPath"]
            for entry in overrides
            if entry["collectionGroup"] == collection and entry["indexes"] == []
        }
        # Groups are found by their index; equal values, such as days, do not follow one another.
        indexed = {"id", "state", "not_before", "bodies_until"}
        indexed |= {"group_id", "people_until"} if collection == "batch_deliveries" else set()
        assert exempt == {field.name for field in fields(Record)} - indexed
    assert {entry["collectionGroup"] for entry in overrides if entry.get("ttl")} == {
        "batch_deliveries",
        batchpush.delivery.digests.ITEMS,
        batchpush.delivery.history.NOTIFICATIONS,
        batchpush.delivery.ledger.BURSTS,
        batchpush.delivery.ledger.CHUNKS,
        batchpush.pushes.limits.LIMITS,
    }


@suite
async def test_a_good_delivery_takes_two_writes_and_no_read(emulated: Ledger) -> None:
    record = claimed()
    with rpcs(emulated) as made:
        entry = await emulated.claim(record)
        await emulated.change(entry, sent(record))
    assert made == ["Commit", "Commit"]


NOW = datetime(2026, 5, 4, tzinfo=UTC)
WITH_EVERYTHING: dict[str, Any] = {
    "group_id": "g",
    "reason": "some reason",
    "report_to": "users/ann/deliveries/d1",
    "not_before": NOW,
    "waited_until": NOW,
    "about": ("users/ann", "users/bob"),
    "ignored": ("created_at", "created_by"),
    "burst": "b",
    "later": (("d2", NOW),),
    "chunks": ("c1", "c2"),
    "calls": (CallRecord("ios", 0, CallState.REFUSED, 1, 0, 400, "31 INVALID: é"),),
    "bodies": ("{}", '{"é":1}'),
    "bodies_until": "2026-12-02",
}


@pytest.mark.parametrize("more", [{}, WITH_EVERYTHING])
async def test_a_record_comes_back_as_it_was_written(ledger: Ledger, more: dict[str, Any]) -> None:
    record = claimed(**more)
    entry = await ledger.claim(record)
    assert await ledger.read(record.id) == entry
    changed = await ledger.change(entry, sent(record))
    assert await ledger.read(record.id) == changed
    assert changed.record.state is DeliveryState.SENT
    assert await ledger.read("0" * 64) is None


async def test_records_of_other_versions_can_be_read(ledger: Ledger) -> None:
    """A deployment, and its taking back, finds the records of the one before it."""
    record, firestore = claimed(), ledger.firestore
    path, document = (
        f"{ledger.collection}/{record.id}",
        batchpush.delivery.ledger.to_document(record),
    )
    older = {name: document[name] for name in document.keys() - {"later", "about", "burst"}}
    for each in (older, document | {"new": 1}):
        await firestore.commit([firestore.put(path, each)])
        entry = await ledger.read(record.id)
        assert entry is not None
        assert entry.record == record


async def test_of_many_claims_at_once_one_wins_and_the_others_see_it(ledger: Ledger) -> None:
    record = claimed()
    claims = [replace(record, owner=str(number)) for number in range(32)]
    entries = await asyncio.gather(*map(ledger.claim, claims))
    owners = {entry.record.owner for entry in entries}
    assert len(owners) == 1
    assert sum(e.record.owner == c.owner for e, c in zip(entries, claims, strict=True)) == 1


async def test_of_many_changes_at_once_one_wins_and_the_others_are_told(ledger: Ledger) -> None:
    record = claimed()
    entry = await ledger.claim(record)

    async def change(owner: str) -> bool:
        try:
            await ledger.change(entry, replace(sent(record), owner=owner))
        except WriteConflict:
            return False
        return True

    assert sum(await asyncio.gather(*(change(str(number)) for number in range(32)))) == 1


async def test_a_change_that_changes_nothing_fences_all_the_same(ledger: Ledger) -> None:
    record = claimed()
    entry = await ledger.claim(record)
    await ledger.change(entry, replace(record, revision=1))
    with pytest.raises(WriteConflict):
        await ledger.change(entry, replace(record, owner="second", revision=1))


@pytest.fixture
def relay(monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """What the ledgers of a test ask of the emulator from now on goes through it."""
    with relayed(os.environ["FIRESTORE_EMULATOR_HOST"]) as relay:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", relay.address)
        yield relay


@suite
async def test_a_write_whose_answer_was_lost_is_known_as_ours(relay: Relay) -> None:
    """The commit is repeated, and told that it came second."""
    ledger, record = ledger_for(f"t{uuid.uuid4().hex}"), claimed()
    relay.lose("Commit")
    entry = await ledger.claim(record)
    assert entry.record == record
    relay.lose("Commit")
    changed = await ledger.change(entry, sent(record))
    assert changed.record.state is DeliveryState.SENT
    assert relay.called == ["Commit", "Commit", "BatchGetDocuments"] * 2


@suite
async def test_claims_of_one_moment_share_a_request_and_nothing_else(relay: Relay) -> None:
    ledger = ledger_for(f"t{uuid.uuid4().hex}")
    records = [claimed() for _ in range(10)]
    # The same events a second time, elsewhere: one claim of each pair wins.
    rivals = [replace(record, owner="second") for record in records]
    entries = await asyncio.gather(*map(ledger.claim, [*records, *rivals]))
    owners = [entry.record.owner for entry in entries]
    assert owners[:10] == owners[10:]
    assert relay.called.count("BatchWrite") == 2
    assert relay.called.count("Commit") == 0


@suite
async def test_writes_whose_common_answer_was_lost_are_each_known_as_ours(relay: Relay) -> None:
    ledger, records = ledger_for(f"t{uuid.uuid4().hex}"), [claimed() for _ in range(5)]
    relay.lose("BatchWrite")
    entries = await asyncio.gather(*map(ledger.claim, records))
    assert [entry.record for entry in entries] == records
    relay.lose("BatchWrite")
    pairs = zip(entries, map(sent, records), strict=True)
    changed = await asyncio.gather(*(ledger.change(*pair) for pair in pairs))
    assert {entry.record.state for entry in changed} == {DeliveryState.SENT}


@suite
async def test_what_firestore_refuses_in_a_request_is_refused_alone(relay: Relay) -> None:
    firestore = ledger_for("any").firestore
    paths = [f"t{uuid.uuid4().hex}/{number}" for number in range(5)]
    writes = [firestore.create(path, {"number": 1}) for path in paths]
    writes[2].update.fields["__reserved__"].integer_value = 1
    done = await asyncio.gather(
        *(firestore.commit([each]) for each in writes), return_exceptions=True
    )
    refused = [type(each).__name__ for each in done if isinstance(each, BaseException)]
    assert refused == ["FirestoreRefused"]
    assert isinstance(done[2], FirestoreRefused)
    assert len(await firestore.read(*paths)) == 4


async def test_the_unsettled_are_found_page_by_page(ledger: Ledger) -> None:
    states = [
        DeliveryState.CLAIMED,
        DeliveryState.RETRY,
        DeliveryState.SENT,
        DeliveryState.HELD,
        DeliveryState.REFUSED,
        DeliveryState.EXPIRED,
    ]
    ids: dict[DeliveryState, set[str]] = {state: set() for state in states}
    for number in range(18):
        state = states[number % 6]
        entry = await ledger.claim(claimed(state=state))
        ids[state].add(entry.record.id)
    found: list[str] = []
    after = "0"
    while len(found) < 18 and (page := await ledger.unsettled(after=after, limit=2)):
        assert len(page) <= 2
        found += page
        after = page[-1]
    assert found == sorted(ids[DeliveryState.CLAIMED] | ids[DeliveryState.RETRY])
    held = {record.id async for record in ledger.each([DeliveryState.HELD, DeliveryState.SENT])}
    assert held == ids[DeliveryState.HELD] | ids[DeliveryState.SENT]


async def test_every_record_is_read_once_whatever_the_number_of_pages(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that is in them, in the order of their ids."""
    monkeypatch.setattr(batchpush.delivery.ledger, "PAGE", 3)
    written: list[Record] = []
    for _ in range(7):
        written.append((await ledger.claim(claimed(state=DeliveryState.HELD))).record)
        read: list[Record] = []
        async for record in ledger.each([DeliveryState.HELD]):
            read.append(record)
            assert len(read) <= len(written)
        assert read == sorted(written, key=lambda record: record.id)


async def test_no_answer_holds_more_than_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of the largest records is 50 MB."""
    monkeypatch.setattr(batchpush.delivery.ledger, "PAGE", 3)
    memory = Memory()
    for _ in range(7):
        await ledger_of(memory).claim(claimed())
    read = 0
    async for _ in ledger_of(memory).each([DeliveryState.CLAIMED]):
        read += 1
        assert read <= 7
    assert read == 7
    assert memory.operations.count("query") == 3


async def test_a_delivery_is_found_by_the_beginning_of_its_id(ledger: Ledger) -> None:
    for name in ("a1", "a2", "a3", "b1"):
        await ledger.claim(claimed(id=name))
    assert await ledger.beginning_with("a", limit=2) == ["a1", "a2"]
    assert await ledger.beginning_with("a3", limit=2) == ["a3"]
    assert await ledger.beginning_with("c", limit=2) == []


# What waits


def waiting(until: datetime, **fields: Any) -> Record:
    return claimed(**fields).waiting(until, {"custom_ids": ["bob"]}, timedelta(hours=1))


async def test_what_waits_too_long_is_found_the_first_ones_first(ledger: Ledger) -> None:
    late = [waiting(NOW + timedelta(hours=hours)) for hours in (3, 1, 2)]
    on_time, awake = waiting(NOW + timedelta(hours=4)), claimed()
    entries = [await ledger.claim(record) for record in (*late, on_time, awake)]
    before = NOW + timedelta(hours=4)
    ids = [each async for each in ledger.overdue(before)]
    assert ids == [late[1].id, late[2].id, late[0].id]
    resumed = entries[1].record.resumed("second", NOW)
    await ledger.change(entries[1], resumed)
    assert [each async for each in ledger.overdue(before)] == [late[2].id, late[0].id]


async def test_what_waits_too_long_is_found_page_by_page(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where many waited for the same moment."""
    monkeypatch.setattr(batchpush.delivery.ledger, "PAGE", 2)
    records = [waiting(NOW + timedelta(hours=number // 4)) for number in range(7)]
    for record in records:
        await ledger.claim(record)
    ids = [each async for each in ledger.overdue(NOW + timedelta(hours=4))]
    assert sorted(ids) == sorted(record.id for record in records)


async def test_the_bursts_of_the_first_version_are_read(ledger: Ledger) -> None:
    """They name every document that joined."""
    stored = {"windows": {"ann": {"until": NOW, "delivery": "d1"}}, "about": {"d1": ["a/b", "a/c"]}}
    burst_id, client = uuid.uuid4().hex, ledger.firestore
    await client.commit([client.put(f"{batchpush.delivery.ledger.BURSTS}/{burst_id}", stored)])
    burst = (await ledger.read_burst(burst_id)).burst
    assert burst == Burst({"ann": Window(NOW, "d1")}, {"d1": Joined(2, ("a/b", "a/c"))})


async def test_a_record_of_a_newer_version_is_not_touched(ledger: Ledger) -> None:
    record = claimed()
    entry = await ledger.claim(record)
    await ledger.change(entry, replace(record, format=2, revision=1))
    with pytest.raises(UnreadableRecord, match="has the format 2"):
        await ledger.read(record.id)
    with pytest.raises(UnreadableRecord):
        await ledger.claim(replace(record, owner="second"))
    assert [each async for each in ledger.each(DeliveryState)] == []


BURST = Burst(
    {"ann": Window(NOW, "d1"), "bob": Window(NOW + timedelta(hours=1))}, {"d1": Joined(1, ("a/b",))}
)


async def test_what_waits_and_its_burst_are_written_with_the_claim_or_not_at_all(
    ledger: Ledger,
) -> None:
    burst_id = uuid.uuid4().hex
    new = await ledger.read_burst(burst_id)
    assert new == StoredBurst(burst_id, Burst(), None)
    first, later = claimed(), waiting(NOW)
    await ledger.claim(first, [later], replace(new, burst=BURST))
    assert await ledger.read(later.id) is not None
    stored = await ledger.read_burst(burst_id)
    assert stored.burst == BURST

    too_late, its_later = claimed(), waiting(NOW)
    with pytest.raises(WriteConflict):  # the burst is not as new as it was
        await ledger.claim(too_late, [its_later], replace(new, burst=BURST))
    assert await ledger.read(too_late.id) is None
    assert await ledger.read(its_later.id) is None

    await ledger.claim(too_late, [its_later], stored.without("d1"))
    assert (await ledger.read_burst(burst_id)).burst == BURST.without("d1")


async def test_what_waits_and_its_burst_are_written_with_a_change_or_not_at_all(
    ledger: Ledger,
) -> None:
    burst_id = uuid.uuid4().hex
    entry = await ledger.claim(waiting(NOW), burst=StoredBurst(burst_id, BURST, None))
    stored = await ledger.read_burst(burst_id)
    resumed, later = entry.record.resumed("second", NOW), waiting(NOW)
    await ledger.change(entry, resumed, [later], stored.without("d1"))
    assert await ledger.read(later.id) is not None
    assert (await ledger.read_burst(burst_id)).burst == BURST.without("d1")

    entry = await ledger.claim(waiting(NOW))
    with pytest.raises(WriteConflict):
        await ledger.change(entry, entry.record.resumed("second", NOW), [], stored)
    assert await ledger.read(entry.record.id) == entry


async def test_an_event_that_comes_again_leaves_the_burst_alone(ledger: Ledger) -> None:
    burst_id = uuid.uuid4().hex
    entry = await ledger.claim(claimed())
    again = replace(entry.record, owner="second")
    assert await ledger.claim(again, [], StoredBurst(burst_id, BURST, None)) == entry
    assert (await ledger.read_burst(burst_id)).version is None


async def test_a_burst_is_removed_a_day_after_its_last_window(ledger: Ledger) -> None:
    """Firestore does it by itself, at `expire_at`."""
    burst_id = uuid.uuid4().hex
    await ledger.claim(claimed(), burst=StoredBurst(burst_id, BURST, None))
    path = f"batch_bursts/{burst_id}"
    fields = (await ledger.firestore.read(path))[path].fields
    assert fields["expire_at"] == NOW + timedelta(days=1, hours=1)


# A large audience


async def test_the_chunks_of_an_audience_are_records_below_its_own(ledger: Ledger) -> None:
    audiences = [(await ledger.claim(claimed())).record for _ in range(2)]
    for audience in audiences:
        names = [f"{audience.owner}-{number}" for number in range(3)]
        chunks = [claimed(id=name, state=DeliveryState.RETRY) for name in names]
        below = ledger.chunks_of(audience.id)
        assert await below.prepare(streamed(chunks)) == names
        for chunk in chunks:
            entry = await below.read(chunk.id)
            assert entry is not None
            assert entry.record == chunk
        assert entry is not None
        await below.change(entry, sent(entry.record))
        assert await below.states() == {
            names[0]: DeliveryState.RETRY,
            names[1]: DeliveryState.RETRY,
            names[2]: DeliveryState.SENT,
        }
    assert await ledger.states() == {audience.id: DeliveryState.CLAIMED for audience in audiences}


@pytest.mark.parametrize(("records", "commits"), [(2.5, 3), (2, 3), (1.9, 5), (0.5, 5), (5, 1)])
async def test_no_commit_of_chunks_is_larger_than_firestore_takes(
    monkeypatch: pytest.MonkeyPatch, records: float, commits: int
) -> None:
    """A record counts as a whole: of a message to one recipient, the body is the lesser part."""
    memory = Counted(Memory())
    ledger, made = ledger_for("t", memory), [claimed(id=str(number)) for number in range(5)]
    await ledger.prepare(streamed(made[:1]))
    ((_, alone),) = memory.requests
    size = alone.writes[0].ByteSize()
    monkeypatch.setattr(batchpush.delivery.ledger, "COMMIT", int(records * size))
    memory.requests.clear()
    assert await ledger.prepare(streamed(made)) == [each.id for each in made]
    assert len(memory.requests) == commits
    assert list(await ledger.states()) == [each.id for each in made]


# What the app reads, and what is erased


@pytest.mark.parametrize(
    ("source", "outcome", "is_written"),
    [
        ("//firestore.googleapis.com/projects/p/databases/(default)", Outcome.ACCEPTED, True),
        ("//firestore.googleapis.com/projects/p/databases/(default)", Outcome.NOT_SENT, False),
        ("//firestore.googleapis.com/projects/p/databases/other", Outcome.ACCEPTED, False),
        ("//firebasedatabase.googleapis.com/projects/_/x", Outcome.ACCEPTED, False),
    ],
)
async def test_the_summary_is_written_with_the_outcome_where_the_record_is(
    ledger: Ledger, source: str, outcome: Outcome, is_written: bool
) -> None:
    summary = f"users/{uuid.uuid4().hex}/deliveries/d1"
    record = claimed(source=source, report_to=summary)
    await ledger.change(await ledger.claim(record), sent(record, outcome))
    assert (summary in await ledger.firestore.read(summary)) is is_written


async def test_what_is_erased_is_gone_and_nothing_is_told_of_it(ledger: Ledger) -> None:
    summary = f"users/{uuid.uuid4().hex}/deliveries/d1"
    entry = await ledger.claim(claimed(report_to=summary, state=DeliveryState.RETRY))
    erased = replace(sent(entry.record), bodies=())
    await ledger.erase(entry, erased)
    found = await ledger.read(erased.id)
    assert found is not None
    assert found.record == erased
    assert not await ledger.firestore.read(summary)
    with pytest.raises(WriteConflict):
        await ledger.erase(entry, erased)


# Trouble


async def test_a_write_that_the_client_repeats_is_known_as_ours() -> None:
    memory, record = Memory(), claimed()

    async def repeated(name: str, operation: Operation) -> Any:
        return operation() if name == "read" else (operation(), operation())[1]

    memory.strike = repeated
    entry = await ledger_of(memory).claim(record)
    assert entry.record == record
    changed = await ledger_of(memory).change(entry, sent(record))
    assert changed == await ledger_of(memory).read(record.id)
    assert changed.record == sent(record)


async def test_a_record_that_expires_as_its_event_comes_again_lets_it_come_again() -> None:
    memory = Memory()

    async def expired(name: str, operation: Operation) -> Any:
        if name == "claim":
            raise WriteConflict
        return operation()

    memory.strike = expired
    with pytest.raises(LedgerUnavailable, match=r"^the record existed and disappeared$"):
        await ledger_of(memory).claim(claimed())


@suite
async def test_when_asked_the_outcome_is_written_under_the_document(emulated: Ledger) -> None:
    document = f"rooms/{uuid.uuid4().hex}"
    firestore, summary = emulated.firestore, f"{document}/deliveries/d1"
    record = claimed(document=document, report_to=summary)
    entry = await emulated.claim(record)
    assert not await firestore.read(summary)
    with rpcs(emulated) as made:
        await emulated.change(entry, sent(record))
    assert made == ["Commit"]
    written = (await firestore.read(summary))[summary].fields
    assert (written["state"], written["apps"]) == (
        "SENT",
        {"ios": ["accepted"], "android": ["accepted"]},
    )
    assert not await firestore.read(document)


async def test_a_firestore_that_is_not_there_is_said_to_be_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:9")
    firestore = Firestore(Connection(seconds=0.3))
    ledger = Ledger(lambda: firestore, "t")
    record = claimed()
    for operation in (ledger.claim(record), ledger.read(record.id), ledger.unsettled("0", 1)):
        with pytest.raises(LedgerUnavailable, match=r"Firestore: [A-Z]+"):
            await operation


@suite
async def test_a_trouble_in_passing_is_sat_out(relay: Relay) -> None:
    relay.refuse("Commit", times=2)
    entry = await ledger_for(f"t{uuid.uuid4().hex}").claim(claimed())
    assert entry.record.owner == "first"
    assert relay.called == ["Commit"] * 3


# Random interleavings

STEPS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["come", "send", "lose", "record", "die", "wait"]),
    ),
    max_size=30,
)


class Actors:
    """Four deliveries of one event, which act in whatever order they are told to."""

    def __init__(self, ledger: Ledger, max_resends: int) -> None:
        self.ledger, self.max_resends = ledger, max_resends
        record = claimed()
        self.first = replace(
            record, calls=record.calls[:1], best_before=record.created_at + timedelta(days=365)
        )
        self.now = record.created_at
        self.accepted = 0
        self.holding: dict[int, tuple[Entry, CallRecord]] = {}

    async def act(self, who: int, what: str) -> None:
        if what == "wait":
            self.now += timedelta(seconds=61)
        elif what == "come" and who not in self.holding:
            await self.come(who)
        elif what == "die":
            self.holding.pop(who, None)
        elif who in self.holding and what == "record":
            await self.record(*self.holding.pop(who))
        elif who in self.holding:
            self.send(who, Outcome.ACCEPTED if what == "send" else Outcome.UNKNOWN)

    async def come(self, who: int) -> None:
        owner, lease_until = uuid.uuid4().hex, self.now + timedelta(seconds=60)
        mine = replace(self.first, owner=owner, lease_until=lease_until)
        entry = await self.ledger.claim(mine)
        if entry.record.owner != owner:
            if not entry.record.is_free(self.now):
                return
            taken = entry.record.reclaimed(
                owner=owner,
                now=self.now,
                lease_until=lease_until,
                max_resends=self.max_resends,
            )
            entry = await self.ledger.change(entry, taken)
        if entry.record.state is DeliveryState.CLAIMED:
            self.holding[who] = entry, entry.record.calls[0]

    def send(self, who: int, outcome: Outcome) -> None:
        """Batch takes the call, and the answer comes or is lost."""
        entry, call = self.holding[who]
        lease_until = entry.record.lease_until
        assert lease_until is not None
        if self.now < lease_until and call == entry.record.calls[0] and call.is_pending:
            self.accepted += 1
            self.holding[who] = entry, call.after(outcome, Reply(), self.max_resends)

    async def record(self, entry: Entry, call: CallRecord) -> None:
        with contextlib.suppress(WriteConflict):
            await self.ledger.change(entry, entry.record.after([call], self.now))

    async def finish(self) -> Record:
        """What the sweep makes of it, once all of them are dead."""
        self.holding.clear()
        for what in ["wait", "come", "send", "record"] * 4:
            await self.act(0, what)
        entry = await self.ledger.read(self.first.id)
        assert entry is not None
        return entry.record


@pytest.mark.parametrize("max_resends", [0, 1])
@pytest.mark.parametrize("where", WHERE)
def test_in_whatever_order_deliveries_act_the_promise_holds(where: str, max_resends: int) -> None:
    with asyncio.Runner() as runner:
        ledger = ledger_in(where)

        async def play(steps: list[tuple[int, str]]) -> None:
            actors = Actors(ledger, max_resends)
            for who, what in steps:
                await actors.act(who, what)
                assert actors.accepted <= 1 + max_resends
            record = await actors.finish()
            assert actors.accepted <= 1 + max_resends
            assert record.state in (DeliveryState.SENT, DeliveryState.HELD)
            assert actors.accepted >= (record.state is DeliveryState.SENT)

        @given(STEPS)
        @settings(max_examples=60, deadline=None)
        def check(steps: list[tuple[int, str]]) -> None:
            runner.run(play(steps))

        check()


# Counters of limits


@pytest.mark.parametrize("where", WHERE)
async def test_a_claim_counts_in_its_own_commit_and_says_how_much(where: str) -> None:
    ledger, key = ledger_in(where), uuid.uuid4().hex
    limits = [Limit((key,), 60), Limit((key,), 20, each=True)]
    for number in range(1, 4):
        names = {name_of("custom_ids", each) for each in ("ann", "bob")}
        if number == 3:
            names.pop()
        found = counters(limits, ("f", "s"), names, NOW)
        with rpcs(ledger) as made:
            entry = await ledger.claim(claimed(f"o{number}"), (), None, found)
        assert entry.counted == ([number, *[number] * len(names)],)
        assert made == ["Commit"]


async def test_a_counter_is_removed_at_the_end_of_its_window(ledger: Ledger) -> None:
    """Firestore does it by itself, at `expire_at`."""
    (counter,) = counters([Limit((uuid.uuid4().hex,), 60)], ("f", "s"), set(), NOW)
    await ledger.claim(claimed(), (), None, [counter])
    fields = (await ledger.firestore.read(counter.path))[counter.path].fields
    assert fields["expire_at"] == counter.end > NOW


@pytest.mark.parametrize("where", WHERE)
async def test_an_event_that_is_claimed_already_is_not_counted(where: str) -> None:
    ledger, limits = ledger_in(where), [Limit((uuid.uuid4().hex,), 60)]
    record, found = claimed(), counters(limits, ("f", "s"), set(), NOW)
    await ledger.claim(record, (), None, found)
    for owner in ("second", "third"):
        again = await ledger.claim(replace(record, owner=owner), (), None, found)
        assert (again.record.owner, again.counted) == ("first", ())
    entry = await ledger.claim(claimed(), (), None, found)
    assert entry.counted == ([2],)


@pytest.mark.parametrize("where", WHERE)
async def test_a_counter_that_was_read_counts_only_if_nobody_counted_since(where: str) -> None:
    ledger, key = ledger_in(where), uuid.uuid4().hex
    limits = [Limit((key,), 2), Limit((key,), 1, each=True)]
    names = {name_of("custom_ids", "ann")}
    found = counters(limits, ("f", "s"), names, NOW)
    others = counters(limits, ("f", "s"), {name_of("custom_ids", "bob")}, NOW)

    ((first, over),) = await ledger.read_counters(found)
    assert over == Over()
    await ledger.claim(claimed(), counters=[first])
    for outdated in (first, first):
        with pytest.raises(WriteConflict):
            await ledger.claim(claimed(), counters=[outdated])

    ((_, over),) = await ledger.read_counters(found)
    assert (over.is_all, over.names) == (False, frozenset(names))
    ((second, over),) = await ledger.read_counters(others)
    assert over == Over()
    entry = await ledger.claim(claimed(), counters=[second])
    assert entry.counted == ([2, 1],)
    with pytest.raises(WriteConflict):
        await ledger.claim(claimed(), counters=[second])
    ((_, over),) = await ledger.read_counters(others)
    assert (over.is_all, over.problem) == (True, "over the limit of 2 in 60 s")


@pytest.mark.parametrize("where", WHERE)
async def test_who_was_first_with_a_burst_is_named(where: str) -> None:
    ledger, burst = ledger_in(where), StoredBurst(uuid.uuid4().hex, Burst(), None)
    await ledger.claim(claimed(), (), burst)
    with pytest.raises(WriteConflict, match=f"batch_bursts/{burst.id}"):
        await ledger.claim(claimed("second"), (), burst)
    entry = await ledger.claim(claimed("third"))
    with pytest.raises(WriteConflict, match=f"batch_bursts/{burst.id}"):
        await ledger.change(entry, replace(entry.record, revision=1), (), burst)
    await ledger.change(entry, replace(entry.record, revision=1, owner="fourth"))
    with pytest.raises(WriteConflict) as raised:
        await ledger.change(entry, replace(entry.record, revision=1))
    path = f"{ledger.collection}/{entry.record.id}"
    assert str(raised.value) == f"{path} was changed by another writer"
    assert raised.value.document == path


async def test_a_burst_of_a_later_version_is_read_as_far_as_this_one_knows(ledger: Ledger) -> None:
    burst_id, firestore = uuid.uuid4().hex, ledger.firestore
    stored = {"windows": {"ann": {"until": NOW, "new": 1}}, "about": {}, "new": 1}
    await firestore.commit([firestore.put(f"batch_bursts/{burst_id}", stored)])
    assert (await ledger.read_burst(burst_id)).burst == Burst({"ann": Window(NOW)})


async def test_a_burst_of_an_earlier_version_names_no_documents(ledger: Ledger) -> None:
    burst_id, firestore = uuid.uuid4().hex, ledger.firestore
    stored = {"windows": {}, "about": {"D": {"count": 2}}, "expire_at": datetime.now(UTC)}
    await firestore.commit([firestore.put(f"batch_bursts/{burst_id}", stored)])
    assert (await ledger.read_burst(burst_id)).burst == Burst({}, {"D": Joined(2)})


async def test_a_record_of_a_later_version_is_named_and_stops_nothing(
    ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    good, later = claimed(), claimed()
    for record in (good, later):
        await ledger.claim(record)
    path = f"{ledger.collection}/{later.id}"
    (found,) = (await ledger.firestore.read(path)).values()
    stored = found.fields | {"calls": [{"app": "ios", "body": 0, "state": "PAUSED"}]}
    await ledger.firestore.commit([ledger.firestore.put(path, stored)])
    assert [each.id async for each in ledger.each(DeliveryState)] == [good.id]
    line = json.loads(capsys.readouterr().out)
    assert (line["severity"], line["message"]) == ("ERROR", "record.unreadable")
    assert line["error"] == "UnreadableRecord"
    stored = found.fields | {"state": "PAUSED"}
    await ledger.firestore.commit([ledger.firestore.put(path, stored)])
    with pytest.raises(UnreadableRecord, match=f"record {later.id} has an unknown state"):
        await ledger.waits()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"state": "PAUSED"}, " has an unknown state"),
        ({"calls": [{"app": "ios", "body": 0, "state": "PAUSED"}]}, ": ValueError"),
        ({"calls": [{"app": "ios"}]}, ": KeyError"),
        ({"bodies": 5}, ": TypeError"),
        ({"left_out": ["ann"]}, ": AttributeError"),
    ],
)
async def test_what_is_no_record_is_named(
    ledger: Ledger, fields: dict[str, Any], problem: str
) -> None:
    record, firestore = claimed(), ledger.firestore
    document = batchpush.delivery.ledger.to_document(record) | fields
    await firestore.commit([firestore.put(f"{ledger.collection}/{record.id}", document)])
    with pytest.raises(UnreadableRecord, match=f"^record {record.id}{problem}$"):
        await ledger.read(record.id)


async def test_an_outcome_that_firestore_refuses_is_written_without_the_texts_of_problems(
    capsys: pytest.CaptureFixture[str],
) -> None:
    memory = Memory()
    ledger, record = ledger_of(memory), claimed()
    entry = await ledger.claim(record)

    async def refuse(name: str, operation: Operation) -> Any:
        memory.strike = None
        raise FirestoreRefused("INVALID_ARGUMENT: too large")

    memory.strike = refuse
    reply = Reply(400, b'{"code": 31, "type": "T", "message": "m"}')
    calls = [call.after(Outcome.REFUSED, reply, 1) for call in record.calls]
    beside = [ledger.firestore.put("users/bob", {"unread": 0})]
    settled = (await ledger.settle(entry, record.after(calls, NOW), beside)).record
    assert await ledger.firestore.read("users/bob")
    assert (settled.state, settled.calls[0].problem) == (DeliveryState.REFUSED, None)
    line = json.loads(capsys.readouterr().out)
    assert (line["severity"], line["message"]) == ("ERROR", "record.reduced")
    assert (line["error"], line["data"]["error"]) == (
        "LedgerRefused",
        "Firestore: INVALID_ARGUMENT: too large",
    )


async def test_a_claim_beside_what_is_gone_conflicts_and_a_second_one_finds_the_first(
    ledger: Ledger,
) -> None:
    """Such as the items of a digest that another push has told."""
    firestore = ledger.firestore
    path, record = f"batch_digests/{uuid.uuid4().hex}", claimed()
    await firestore.commit([firestore.put(path, {"a": 1})])
    gone = [firestore.delete(path, must_exist=True)]
    entry = await ledger.claim(record, beside=gone)
    again = await ledger.claim(replace(record, owner="second"), beside=gone)
    assert again.record == entry.record == record
    with pytest.raises(WriteConflict):
        await ledger.claim(claimed(), beside=gone)


async def test_a_record_that_has_changed_is_named_and_not_its_burst(ledger: Ledger) -> None:
    entry, burst = await ledger.claim(claimed()), StoredBurst(uuid.uuid4().hex, Burst(), None)
    await ledger.change(entry, replace(entry.record, revision=1, owner="second"))
    with pytest.raises(WriteConflict) as raised:
        await ledger.change(entry, replace(entry.record, revision=1), (), burst)
    assert raised.value.document == f"{ledger.collection}/{entry.record.id}"
