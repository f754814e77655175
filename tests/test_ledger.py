"""The delivery record on the real Firestore emulator."""

import asyncio
import contextlib
import json
import uuid
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import batchpush.callables
import batchpush.ledger
from batchpush.errors import LedgerUnavailable
from batchpush.firestore import Firestore, Outrun
from batchpush.ledger import Entry, Ledger
from batchpush.outcome import Outcome, Reply
from batchpush.record import CallRecord, Record, State
from tests.deliveries import claimed, ledger_for, rpcs

suite = pytest.mark.suite

MOST_BYTES = {"claim": 900, "outcome": 500}


@pytest.fixture
async def ledger() -> Ledger:
    return ledger_for(f"t{uuid.uuid4().hex}")


def sent(record: Record, outcome: Outcome = Outcome.ACCEPTED) -> Record:
    """The record once all its calls had this outcome."""
    calls = [call.after(outcome, Reply(), 1) for call in record.calls]
    return record.after(calls, record.created_at)


def test_a_record_is_small_beside_what_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both writes of a delivery to two apps, in bytes; their sizes differ with nothing but ids."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", "127.0.0.1:9")
    firestore, record = Firestore(), claimed()
    ledger = Ledger(lambda: firestore, "batch_deliveries")
    body = sum(map(len, record.bodies))
    claim = ledger._create(record)
    outcome = ledger._update(Entry(record, claim.update.update_time), sent(record))
    assert claim.ByteSize() - body <= MOST_BYTES["claim"]
    assert outcome.ByteSize() <= MOST_BYTES["outcome"]


def test_only_what_is_searched_is_in_the_indexes() -> None:
    """A field whose values follow one another limits an index to 500 writes a second."""
    overrides = json.loads(Path("firestore.indexes.json").read_text())["fieldOverrides"]
    for collection in ("batch_deliveries", batchpush.ledger.CHUNKS):
        exempt = {
            entry["fieldPath"]
            for entry in overrides
            if entry["collectionGroup"] == collection and entry["indexes"] == []
        }
        # Groups are found by their index; equal values do not follow one another.
        indexed = {"id", "state", "not_before"}
        indexed |= {"group_id"} if collection == "batch_deliveries" else set()
        assert exempt == {field.name for field in fields(Record)} - indexed
    assert {entry["collectionGroup"] for entry in overrides if entry.get("ttl")} == {
        "batch_deliveries",
        batchpush.ledger.BURSTS,
        batchpush.ledger.CHUNKS,
        batchpush.callables.LIMITS,
    }


@suite
async def test_a_good_delivery_takes_two_writes_and_no_read(ledger: Ledger) -> None:
    record = claimed()
    with rpcs(ledger) as made:
        entry = await ledger.claim(record)
        await ledger.change(entry, sent(record))
    assert made == ["Commit", "Commit"]


@suite
async def test_a_record_comes_back_as_it_was_written(ledger: Ledger) -> None:
    record = claimed()
    entry = await ledger.claim(record)
    assert await ledger.read(record.id) == entry
    changed = await ledger.change(entry, sent(record))
    assert await ledger.read(record.id) == changed
    assert changed.record.state is State.SENT
    assert await ledger.read("0" * 64) is None


@suite
async def test_of_many_claims_at_once_one_wins_and_the_others_see_it(ledger: Ledger) -> None:
    record = claimed()
    claims = [replace(record, owner=str(number)) for number in range(32)]
    entries = await asyncio.gather(*map(ledger.claim, claims))
    owners = {entry.record.owner for entry in entries}
    assert len(owners) == 1
    assert sum(e.record.owner == c.owner for e, c in zip(entries, claims, strict=True)) == 1


@suite
async def test_of_many_changes_at_once_one_wins_and_the_others_are_told(ledger: Ledger) -> None:
    record = claimed()
    entry = await ledger.claim(record)

    async def change(owner: str) -> bool:
        try:
            await ledger.change(entry, replace(sent(record), owner=owner))
        except Outrun:
            return False
        return True

    assert sum(await asyncio.gather(*(change(str(number)) for number in range(32)))) == 1


@suite
async def test_a_change_that_changes_nothing_fences_all_the_same(ledger: Ledger) -> None:
    record = claimed()
    entry = await ledger.claim(record)
    await ledger.change(entry, replace(record, revision=1))
    with pytest.raises(Outrun):
        await ledger.change(entry, replace(record, owner="second", revision=1))


@suite
async def test_a_write_whose_answer_was_lost_is_known_as_ours(
    ledger: Ledger,
) -> None:
    """The commit is repeated, and told that it came second."""
    firestore = ledger._client()
    commit = firestore._methods["Commit"]

    async def committed_and_lost(*args: Any, **options: Any) -> None:
        await commit(*args, **options)
        firestore._methods["Commit"] = commit
        raise trouble(grpc.StatusCode.UNAVAILABLE)

    record = claimed()
    firestore._methods["Commit"] = committed_and_lost
    entry = await ledger.claim(record)
    assert entry.record == record
    firestore._methods["Commit"] = committed_and_lost
    changed = await ledger.change(entry, sent(record))
    assert changed.record.state is State.SENT


def trouble(code: grpc.StatusCode) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())


@suite
async def test_the_unsettled_are_found_page_by_page(ledger: Ledger) -> None:
    states = [State.CLAIMED, State.RETRY, State.SENT, State.HELD, State.REFUSED, State.EXPIRED]
    ids: dict[State, set[str]] = {state: set() for state in states}
    for number in range(18):
        state = states[number % 6]
        entry = await ledger.claim(claimed(state=state))
        ids[state].add(entry.record.id)
    found, after = [], "0"
    while page := await ledger.unsettled(after=after, limit=2):
        found += page
        after = page[-1]
    assert found == sorted(ids[State.CLAIMED] | ids[State.RETRY])
    held = {record.id async for record in ledger.each([State.HELD, State.SENT])}
    assert held == ids[State.HELD] | ids[State.SENT]


@suite
async def test_when_asked_the_outcome_is_written_under_the_document(ledger: Ledger) -> None:
    document = f"rooms/{uuid.uuid4().hex}"
    firestore, summary = ledger._client(), f"{document}/deliveries/d1"
    record = claimed(document=document, report_to=summary)
    entry = await ledger.claim(record)
    assert not await firestore.read(summary)
    with rpcs(ledger) as made:
        await ledger.change(entry, sent(record))
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
    firestore = Firestore(seconds=0.3)
    ledger = Ledger(lambda: firestore, "t")
    record = claimed()
    for operation in (ledger.claim(record), ledger.read(record.id), ledger.unsettled("0", 1)):
        with pytest.raises(LedgerUnavailable):
            await operation


@suite
async def test_a_trouble_in_passing_is_sat_out(ledger: Ledger) -> None:
    methods = ledger._client()._methods
    commit, troubles = methods["Commit"], [trouble(grpc.StatusCode.UNAVAILABLE)] * 2

    async def troubled(*args: Any, **options: Any) -> Any:
        if troubles:
            raise troubles.pop()
        return await commit(*args, **options)

    methods["Commit"] = troubled
    assert (await ledger.claim(claimed())).record.owner == "first"
    assert troubles == []


# Random interleavings, on the real thing

STEPS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from(["come", "send", "lose", "record", "die", "wait"]),
    ),
    max_size=30,
)


class Actors:
    """Four deliveries of one event, which act in whatever order they are told to."""

    def __init__(self, ledger: Ledger, most_resends: int) -> None:
        self.ledger, self.most_resends = ledger, most_resends
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
            taken = entry.record.taken_up(
                owner=owner,
                now=self.now,
                lease_until=lease_until,
                most_resends=self.most_resends,
            )
            entry = await self.ledger.change(entry, taken)
        if entry.record.state is State.CLAIMED:
            self.holding[who] = entry, entry.record.calls[0]

    def send(self, who: int, outcome: Outcome) -> None:
        """Batch takes the call, and the answer comes or is lost."""
        entry, call = self.holding[who]
        lease_until = entry.record.lease_until
        assert lease_until is not None
        if self.now < lease_until and call == entry.record.calls[0] and call.is_pending:
            self.accepted += 1
            self.holding[who] = entry, call.after(outcome, Reply(), self.most_resends)

    async def record(self, entry: Entry, call: CallRecord) -> None:
        with contextlib.suppress(Outrun):
            await self.ledger.change(entry, entry.record.after([call], self.now))

    async def finish(self) -> Record:
        """What the sweep makes of it, once all of them are dead."""
        self.holding.clear()
        for what in ["wait", "come", "send", "record"] * 4:
            await self.act(0, what)
        entry = await self.ledger.read(self.first.id)
        assert entry is not None
        return entry.record


@suite
@pytest.mark.parametrize("most_resends", [0, 1])
def test_in_whatever_order_deliveries_act_the_promise_holds(most_resends: int) -> None:
    with asyncio.Runner() as runner:
        ledger = ledger_for(f"t{uuid.uuid4().hex}")

        async def play(steps: list[tuple[int, str]]) -> None:
            actors = Actors(ledger, most_resends)
            for who, what in steps:
                await actors.act(who, what)
                assert actors.accepted <= 1 + most_resends
            record = await actors.finish()
            assert actors.accepted <= 1 + most_resends
            assert record.state in (State.SENT, State.HELD)
            assert actors.accepted >= (record.state is State.SENT)

        @given(STEPS)
        @settings(max_examples=60, deadline=None)
        def check(steps: list[tuple[int, str]]) -> None:
            runner.run(play(steps))

        check()
