"""Deliveries on the Firestore emulator, against the strict Batch emulator."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

import batchpush.batch_api.requests
import batchpush.delivery.planning
import batchpush.delivery.sweep
import batchpush.logs
from batchpush.batch_api.breaker import FAILURES
from batchpush.batch_api.client import BatchClient
from batchpush.batch_api.rest_key import RestKey, RestKeyCache
from batchpush.delivery.ledger import Entry
from batchpush.delivery.plan import Plan
from batchpush.delivery.record import CallState, DeliveryState, Record
from batchpush.environment import Settings
from batchpush.errors import DeliveryUnfinished, EventTurnedAway, LookUpFailed, TryAgainLater
from batchpush.events.change import Change
from batchpush.events.lookup import LookUp
from batchpush.google.protocol.firestore_pb2 import Write
from batchpush.pushes.push import Message, Push, Recipients
from batchpush.testing import ManualClock, Queue
from batchpush.worker import Worker
from emulators import batch
from tests.deliveries import REST_KEY, TIMING, change_at, greet, rpcs, worker_for

pytestmark = pytest.mark.suite

APPS = {"ios": "IOSKEY", "android": "ANDROIDKEY"}


@pytest.fixture(scope="module")
def server() -> Iterator[batch.Batch]:
    with batch.running(apps=APPS, rest_keys=[REST_KEY]) as server:
        yield server


@pytest.fixture
def api(server: batch.Batch) -> batch.Batch:
    server.clear_faults()
    server.clear()
    return server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def resends() -> int:
    return 1


@pytest.fixture
async def worker(api: batch.Batch, clock: ManualClock, resends: int) -> AsyncIterator[Worker]:
    worker = worker_for(api.url, f"t{uuid.uuid4().hex}", clock, MAX_AMBIGUOUS_RESENDS=str(resends))
    yield worker
    await worker.client.aclose()


async def recorded(worker: Worker, change: Change) -> Record:
    entry = await worker.ledger.read(change.delivery_id)
    assert entry is not None
    return entry.record


async def delivered(worker: Worker, change: Change, handler: Any = greet) -> Record:
    """The record after one delivery of the event, whether or not it is to come again."""
    try:
        await worker.deliverer.deliver(change, handler)
    except DeliveryUnfinished:
        record = await recorded(worker, change)
        assert not record.is_settled
        return record
    record = await recorded(worker, change)
    assert record.is_settled
    return record


async def planned(worker: Worker, change: Change) -> Record:
    """What a delivery of the event would claim."""
    plan = await worker.deliverer.planner.plan(change, greet, None)
    assert plan is not None
    return plan.record


def states(record: Record) -> dict[str, CallState]:
    return {call.app: call.state for call in record.calls}


def calls_per_app(api: batch.Batch) -> dict[str, int]:
    apps = [call["app"] for call in api.calls()]
    return {app: apps.count(app) for app in APPS}


async def test_a_good_delivery_is_two_writes_and_no_read(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    change = change_at(clock)
    with rpcs(worker.ledger) as made:
        await worker.deliverer.deliver(change, greet)
    assert made == ["Commit", "Commit"]
    record = await recorded(worker, change)
    assert record.state is DeliveryState.SENT
    assert record.expire_at == clock.now() + timedelta(days=30)
    assert calls_per_app(api) == {"ios": 1, "android": 1}


async def test_the_log_says_how_long_it_took_since_the_write(
    worker: Worker, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    change = change_at(clock)
    clock.forward(1.5)
    await worker.deliverer.deliver(change, greet)
    ended = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert ended["message"] == "delivery.sent"
    assert ended["data"]["milliseconds"] == 1500


async def test_an_event_that_comes_again_is_not_sent_again(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    change = change_at(clock)
    for _ in range(3):
        assert (await delivered(worker, change)).state is DeliveryState.SENT
    assert calls_per_app(api) == {"ios": 1, "android": 1}


async def test_two_functions_of_one_event_each_send_theirs(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    change = change_at(clock)
    for function in ("first", "second"):
        await worker.deliverer.deliver(replace(change, function=function), greet)
    assert calls_per_app(api) == {"ios": 2, "android": 2}


async def test_no_push_is_no_write_and_a_line_for_who_debugs(
    worker: Worker,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def silent(change: Change, look_up: LookUp) -> None:
        return None

    with rpcs(worker.ledger) as made:
        await worker.deliverer.deliver(change_at(clock), silent)
        assert capsys.readouterr().out == ""
        monkeypatch.setattr(
            batchpush.logs, "settings", lambda: replace(worker.settings, log_level="DEBUG")
        )
        await worker.deliverer.deliver(change_at(clock), silent)
    assert made == []
    assert json.loads(capsys.readouterr().out) == {"severity": "DEBUG", "message": "push.none"}


async def test_an_accepted_call_is_not_repeated_because_another_failed(
    worker: Worker, clock: ManualClock, api: batch.Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batchpush.batch_api.requests, "MAX_ATTEMPTS", 1)
    api.fault(app="android", status=503, times=2)
    change = change_at(clock)
    assert (await delivered(worker, change)).state is DeliveryState.RETRY
    assert (await delivered(worker, change)).state is DeliveryState.RETRY
    assert (await delivered(worker, change)).state is DeliveryState.SENT
    assert calls_per_app(api) == {"ios": 1, "android": 3}


async def test_what_was_claimed_is_what_is_sent(
    worker: Worker, clock: ManualClock, api: batch.Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def other(change: Change, look_up: LookUp) -> Push:
        recipients = Recipients(custom_ids=["eve"])
        return Push(group_id="other", recipients=recipients, message=Message("Other"))

    monkeypatch.setattr(batchpush.batch_api.requests, "MAX_ATTEMPTS", 1)
    api.fault(status=503, times=2)
    change = change_at(clock)
    await delivered(worker, change)
    await delivered(worker, change, other)
    assert {call["body"]["message"]["body"] for call in api.calls()} == {"Hello"}


@pytest.mark.parametrize(
    ("fault", "state", "android", "calls"),
    [
        ({"status": 400}, DeliveryState.REFUSED, CallState.REFUSED, 1),
        ({"status": 403}, DeliveryState.REFUSED, CallState.REFUSED, 1),
        ({"status": 404}, DeliveryState.REFUSED, CallState.REFUSED, 1),
        ({"status": 401}, DeliveryState.RETRY, CallState.PENDING, 1),
        ({"status": 429}, DeliveryState.SENT, CallState.ACCEPTED, 2),
        (
            {"status": 429, "headers": {"Retry-After": "3"}},
            DeliveryState.SENT,
            CallState.ACCEPTED,
            2,
        ),
        (
            {"status": 429, "headers": {"Retry-After": "300"}},
            DeliveryState.RETRY,
            CallState.PENDING,
            1,
        ),
        ({"status": 500}, DeliveryState.SENT, CallState.ACCEPTED, 2),
        ({"status": 500, "body": "<html>"}, DeliveryState.RETRY, CallState.PENDING, 1),
        ({"status": 502}, DeliveryState.RETRY, CallState.PENDING, 1),
        ({"status": 503}, DeliveryState.SENT, CallState.ACCEPTED, 2),
        ({"status": 503, "times": 4}, DeliveryState.SENT, CallState.ACCEPTED, 5),
        ({"status": 503, "times": 5}, DeliveryState.RETRY, CallState.PENDING, 5),
        ({"status": 504}, DeliveryState.RETRY, CallState.PENDING, 1),
        ({"status": 200, "body": "{}"}, DeliveryState.RETRY, CallState.PENDING, 1),
        ({"status": 201, "body": "<html>"}, DeliveryState.RETRY, CallState.PENDING, 1),
    ],
)
async def test_what_becomes_of_a_call(
    worker: Worker,
    clock: ManualClock,
    api: batch.Batch,
    fault: dict[str, Any],
    state: DeliveryState,
    android: CallState,
    calls: int,
) -> None:
    api.fault(app="android", **fault)
    record = await delivered(worker, change_at(clock))
    assert record.state is state
    assert states(record) == {"ios": CallState.ACCEPTED, "android": android}
    assert calls_per_app(api) == {"ios": 1, "android": calls}


async def test_a_retry_after_is_waited_for_and_never_less(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    api.fault(app="android", status=429, headers={"Retry-After": "7"})
    await delivered(worker, change_at(clock))
    assert sum(clock.slept) == 7.0


@pytest.mark.parametrize("resends", [0, 1, 2])
@pytest.mark.parametrize("lost", [{"reset": True, "accept": True}, {"cut": True}, {"hang": True}])
async def test_an_unknown_call_is_sent_again_so_often_and_then_held(
    worker: Worker, api: batch.Batch, clock: ManualClock, resends: int, lost: dict[str, Any]
) -> None:
    api.fault(app="android", times=None, **lost)
    change = change_at(clock)
    for _ in range(resends):
        assert (await delivered(worker, change)).state is DeliveryState.RETRY
    record = await delivered(worker, change)
    assert record.state is DeliveryState.HELD
    assert states(record) == {"ios": CallState.ACCEPTED, "android": CallState.HELD}
    await delivered(worker, change)
    assert calls_per_app(api) == {"ios": 1, "android": 1 + resends}


async def test_while_somebody_sends_the_event_is_to_come_again(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    api.fault(delay=0.3, times=2)
    change = change_at(clock)
    first = asyncio.create_task(worker.deliverer.deliver(change, greet))
    await asyncio.to_thread(api.wait_for_calls, 2)
    with pytest.raises(DeliveryUnfinished):
        await worker.deliverer.deliver(change, greet)
    await first
    await worker.deliverer.deliver(change, greet)
    assert calls_per_app(api) == {"ios": 1, "android": 1}


async def test_an_owner_whose_lease_ended_does_not_send_and_is_fenced_off(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    change = change_at(clock)
    claimed = await planned(worker, change)
    stale = await worker.ledger.claim(claimed)
    clock.forward(61)
    await worker.deliverer.deliver(change, greet)
    assert calls_per_app(api) == {"ios": 1, "android": 1}
    with pytest.raises(DeliveryUnfinished):
        await worker.sender.finish(stale, stale.record)
    assert calls_per_app(api) == {"ios": 1, "android": 1}
    assert (await recorded(worker, change)).state is DeliveryState.SENT


@pytest.mark.parametrize(
    ("age", "state"),
    [(timedelta(minutes=59), DeliveryState.SENT), (timedelta(hours=1), DeliveryState.EXPIRED)],
)
async def test_what_is_too_old_is_recorded_and_not_sent(
    worker: Worker, clock: ManualClock, api: batch.Batch, age: timedelta, state: DeliveryState
) -> None:
    change = replace(change_at(clock), time=clock.now() - age)
    assert (await delivered(worker, change)).state is state
    assert len(api.calls()) == (2 if state is DeliveryState.SENT else 0)


async def test_a_push_says_itself_how_long_it_is_worth_sending(
    worker: Worker, clock: ManualClock
) -> None:
    async def lasting(change: Change, look_up: LookUp) -> Push:
        return replace(await greet(change, look_up), fresh_for=timedelta(hours=6))

    change = replace(change_at(clock), time=clock.now() - timedelta(hours=5))
    assert (await delivered(worker, change, lasting)).state is DeliveryState.SENT


async def test_no_try_begins_once_it_is_too_old(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    api.fault(status=503, headers={"Retry-After": "20"}, times=None)
    change = replace(change_at(clock), time=clock.now() - timedelta(minutes=59, seconds=50))
    record = await delivered(worker, change)
    assert len(api.calls()) == 2
    clock.forward(20)
    assert record.state is DeliveryState.RETRY
    assert (await delivered(worker, change)).state is DeliveryState.EXPIRED
    assert len(api.calls()) == 2


class Mistake(Exception):
    pass


@pytest.mark.parametrize(
    ("push", "reason"),
    [
        ({"group_id": "no good"}, "group_id must be letters, digits, _ and - only"),
        ({"recipients": Recipients()}, "recipients is empty"),
    ],
)
async def test_a_push_that_batch_would_refuse_is_recorded_with_its_field(
    worker: Worker, clock: ManualClock, api: batch.Batch, push: dict[str, Any], reason: str
) -> None:
    async def wrong(change: Change, look_up: LookUp) -> Push:
        return replace(await greet(change, look_up), **push)

    record = await delivered(worker, change_at(clock), wrong)
    assert (record.state, record.reason) == (DeliveryState.REFUSED, reason)
    assert api.calls() == []


async def test_a_handlers_mistake_is_recorded_with_its_place_and_without_its_text(
    worker: Worker, clock: ManualClock
) -> None:
    async def mistaken(change: Change, look_up: LookUp) -> Push:
        raise Mistake("something private")

    record = await delivered(worker, change_at(clock), mistaken)
    assert record.state is DeliveryState.REFUSED
    assert record.reason is not None
    assert record.reason.startswith(f"Mistake at {__file__}:")


async def test_a_document_without_a_field_is_recorded_with_its_name(
    worker: Worker, clock: ManualClock
) -> None:
    async def reading(change: Change, look_up: LookUp) -> Push | None:
        return await greet(change, look_up) if change.document.string("name") else None

    record = await delivered(worker, change_at(clock), reading)
    assert (record.state, record.reason) == (DeliveryState.REFUSED, "users/ann: name is missing")


async def test_what_cannot_be_read_is_tried_for_hours_and_then_recorded(
    worker: Worker, clock: ManualClock
) -> None:
    async def unread(change: Change, look_up: LookUp) -> Push:
        raise LookUpFailed("Firestore: ServiceUnavailable")

    change = change_at(clock)
    with pytest.raises(LookUpFailed):
        await worker.deliverer.deliver(change, unread)
    clock.forward(6 * 3600)
    record = await delivered(worker, change, unread)
    assert (record.state, record.reason) == (DeliveryState.EXPIRED, "Firestore: ServiceUnavailable")


async def test_a_mistake_of_ours_is_not_recorded_as_the_handler_s(
    worker: Worker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is redelivered: a fixed version sends what this one could not."""

    def broken(*_: Any) -> Plan:
        raise KeyError("a mistake of ours")

    change = change_at(clock)
    with monkeypatch.context() as patched:
        patched.setattr(batchpush.delivery.planning, "plan", broken)
        with pytest.raises(KeyError):
            await worker.deliverer.deliver(change, greet)
    assert await worker.ledger.read(change.delivery_id) is None
    assert (await delivered(worker, change)).state is DeliveryState.SENT


async def test_the_outcome_is_mirrored_only_when_asked_for(
    worker: Worker, clock: ManualClock
) -> None:
    path = f"rooms/{uuid.uuid4().hex}"
    firestore = worker.ledger.firestore
    for mirrored in ("false", "true"):
        environment = {
            "BATCH_APPS": "ios=IOSKEY",
            "DELIVERIES_COLLECTION": worker.settings.deliveries_collection,
            "MIRROR_DELIVERIES": mirrored,
        }
        one = replace(worker, settings=Settings.from_environment(environment))
        change = change_at(clock, path)
        await one.deliverer.deliver(change, greet)
        record = await recorded(worker, change)
        summary = f"{path}/deliveries/{record.id}"
        written = await firestore.read(summary)
        assert (summary in written) is (mirrored == "true")
    assert written[summary].fields["state"] == "SENT"


# Large audiences


def audience(count: int, length: int = 12) -> Any:
    async def many(change: Change, look_up: LookUp) -> Push:
        ids = [f"{number:0>{length}}" for number in range(count)]
        return replace(await greet(change, look_up), recipients=Recipients(custom_ids=ids))

    return many


async def hand_out(worker: Worker, times: int = 1) -> None:
    """Call what the tasks call, each so often and all at once."""
    assert isinstance(worker.tasks, Queue)
    tasks, worker.tasks.tasks = worker.tasks.tasks, []
    assert {function for function, _ in tasks} <= {"sendchunk"}
    await asyncio.gather(
        *(worker.chunks.send(**data) for _, data in tasks for _ in range(times)),
        return_exceptions=True,
    )


def told(api: batch.Batch, app: str) -> list[str]:
    accepted = [call for call in api.calls() if call["app"] == app and call["accepted"]]
    return sorted(user for call in accepted for user in call["body"]["recipients"]["custom_ids"])


@pytest.mark.parametrize(
    ("count", "length", "chunks"),
    [(10_000, 12, 0), (10_001, 12, 2), (25_003, 12, 3), (4_000, 1_000, 5)],
)
async def test_a_large_audience_is_sent_in_chunks_by_tasks(
    worker: Worker, clock: ManualClock, api: batch.Batch, count: int, length: int, chunks: int
) -> None:
    change = change_at(clock)
    await worker.deliverer.deliver(change, audience(count, length))
    record = await recorded(worker, change)
    assert len(record.chunks) == chunks
    assert record.state is (DeliveryState.RETRY if chunks else DeliveryState.SENT)
    await hand_out(worker)
    assert (await recorded(worker, change)).state is DeliveryState.SENT
    ids = sorted(f"{number:0>{length}}" for number in range(count))
    for app in APPS:
        assert told(api, app) == ids
    assert all(len(call["body"]["recipients"]["custom_ids"]) <= 10_000 for call in api.calls())


async def test_a_large_audience_that_comes_again_and_tasks_that_come_twice_send_once(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    change = change_at(clock)
    for _ in range(2):
        await worker.deliverer.deliver(change, audience(10_001))
    await hand_out(worker, times=3)
    assert (await recorded(worker, change)).state is DeliveryState.SENT
    await worker.deliverer.deliver(change, audience(10_001))
    await hand_out(worker)
    assert calls_per_app(api) == {"ios": 2, "android": 2}


async def test_two_claims_of_a_large_audience_at_once_send_it_once(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    change = change_at(clock)
    claims = (worker.deliverer.deliver(change, audience(10_001)) for _ in range(3))
    await asyncio.gather(*claims, return_exceptions=True)
    await hand_out(worker)
    assert (await recorded(worker, change)).state is DeliveryState.SENT
    assert calls_per_app(api) == {"ios": 2, "android": 2}


async def test_a_chunk_that_fails_is_sent_again_without_the_others(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    change = change_at(clock)
    api.fault(app="android", status=504)
    await worker.deliverer.deliver(change, audience(10_001))
    await hand_out(worker)
    assert (await recorded(worker, change)).state is DeliveryState.RETRY
    clock.forward(901)
    await worker.sweep.run()
    await hand_out(worker)
    assert (await recorded(worker, change)).state is DeliveryState.SENT
    assert calls_per_app(api) == {"ios": 2, "android": 3}


async def test_a_large_audience_whose_tasks_were_never_enqueued_is_swept_up(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    assert isinstance(worker.tasks, Queue)
    change = change_at(clock)
    worker.tasks.is_down = True
    with pytest.raises(DeliveryUnfinished, match="every chunk"):
        await worker.deliverer.deliver(change, audience(10_001))
    worker.tasks.is_down = False
    clock.forward(worker.timing.redelivery)
    await worker.sweep.run()
    await hand_out(worker)
    assert (await recorded(worker, change)).state is DeliveryState.SENT


async def test_a_refused_chunk_can_be_replayed(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    change = change_at(clock)
    api.fault(app="android", status=403)
    await worker.deliverer.deliver(change, audience(10_001))
    await hand_out(worker)
    assert (await recorded(worker, change)).state is DeliveryState.REFUSED
    entry = await worker.ledger.read(change.delivery_id)
    assert entry is not None
    assert (await worker.replay.replay(entry, resend_unknown=False)).state is DeliveryState.SENT
    assert calls_per_app(api) == {"ios": 2, "android": 3}


async def test_an_audience_in_several_languages_is_one_record(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    async def many(change: Change, look_up: LookUp) -> Push:
        groups = [
            Recipients(custom_ids=[f"{language}-{n}" for n in range(8_334)], reads=language)
            for language in ("en", "fr", "de")
        ]
        words = {language: Message(f"Hello in {language}") for language in ("en", "fr", "de")}
        return replace(await greet(change, look_up), recipients=groups, message=words)

    change = change_at(clock)
    await worker.deliverer.deliver(change, many)
    await hand_out(worker)
    assert (await recorded(worker, change)).state is DeliveryState.SENT
    for app in APPS:
        assert len(told(api, app)) == len(set(told(api, app))) == 25_002


# The sweep


async def test_the_sweep_takes_up_a_lease_that_ended(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    change = change_at(clock)
    claimed = await planned(worker, change)
    await worker.ledger.claim(claimed)
    await worker.sweep.run()
    assert api.calls() == []
    clock.forward(61)
    await worker.sweep.run()
    assert (await recorded(worker, change)).state is DeliveryState.SENT
    assert calls_per_app(api) == {"ios": 1, "android": 1}


async def test_the_sweep_leaves_a_retry_to_the_platform_for_a_while(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    api.fault(app="android", status=504)
    change = change_at(clock)
    await delivered(worker, change)
    await worker.sweep.run()
    assert calls_per_app(api) == {"ios": 1, "android": 1}
    clock.forward(901)
    await worker.sweep.run()
    assert (await recorded(worker, change)).state is DeliveryState.SENT
    assert calls_per_app(api) == {"ios": 1, "android": 2}


async def test_the_sweep_records_what_became_too_old(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    api.fault(status=504, times=2)
    change = change_at(clock)
    await delivered(worker, change)
    clock.forward(3601)
    await worker.sweep.run()
    assert (await recorded(worker, change)).state is DeliveryState.EXPIRED
    assert len(api.calls()) == 2


async def test_a_sweep_is_bounded_and_the_next_goes_on(
    worker: Worker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batchpush.delivery.sweep, "MAX_SWEPT", 3)
    for _ in range(7):
        claimed = await planned(worker, change_at(clock))
        await worker.ledger.claim(claimed)
    clock.forward(61)
    left = []
    for _ in range(3):
        await worker.sweep.run()
        left.append(len(await worker.ledger.unsettled("0", 10)))
    assert left == [4, 1, 0]


async def test_an_app_that_is_no_longer_deployed_is_refused_by_name(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    change = change_at(clock)
    claimed = await planned(worker, change)
    calls = (replace(claimed.calls[0], app="tv"), *claimed.calls[1:])
    await worker.ledger.claim(replace(claimed, calls=calls))
    clock.forward(61)
    await worker.sweep.run()
    record = await recorded(worker, change)
    assert record.state is DeliveryState.REFUSED
    assert record.calls[0].problem == "BATCH_APPS no longer has tv"
    assert calls_per_app(api) == {"ios": 0, "android": 1}


async def test_one_record_does_not_keep_the_sweep_from_the_others(
    worker: Worker, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = [change_at(clock) for _ in range(3)]
    for change in changes:
        claimed = await planned(worker, change)
        await worker.ledger.claim(claimed)
    clock.forward(61)
    send_all = worker.sender.send

    async def failing(entry: Entry, record: Record, beside: Sequence[Write]) -> Entry:
        if entry.record.event_id == changes[0].id:
            raise ValueError("a mistake of ours")
        return await send_all(entry, record, beside)

    monkeypatch.setattr(worker.sender, "send", failing)
    await worker.sweep.run()
    states_ = [(await recorded(worker, change)).state for change in changes]
    assert states_ == [DeliveryState.CLAIMED, DeliveryState.SENT, DeliveryState.SENT]


async def test_a_replay_sends_what_was_refused_and_nothing_that_was_accepted(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    api.fault(app="android", status=403)
    change = change_at(clock)
    await delivered(worker, change)
    entry = await worker.ledger.read(change.delivery_id)
    assert entry is not None
    clock.forward(24 * 3600)
    assert (await worker.replay.replay(entry, resend_unknown=False)).state is DeliveryState.SENT
    assert calls_per_app(api) == {"ios": 1, "android": 2}


# Batch is down


async def test_an_outage_does_not_burn_the_instance(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    api.fault(status=503, times=None)
    while calls_per_app(api)["ios"] < FAILURES:
        await delivered(worker, change_at(clock))
    with rpcs(worker.ledger) as made:
        for _ in range(10):
            with pytest.raises(EventTurnedAway, match="does not answer"):
                await worker.deliverer.deliver(change_at(clock), greet)
    assert made == []
    assert calls_per_app(api) == {"ios": FAILURES, "android": FAILURES}
    assert sum(clock.slept) < 60
    api.clear_faults()
    clock.forward(6)
    assert (await delivered(worker, change_at(clock))).state is DeliveryState.SENT


async def test_an_outage_of_one_app_leaves_the_others_alone(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    api.fault(app="android", status=503, times=None)
    for _ in range(5):
        record = await delivered(worker, change_at(clock))
        assert states(record)["ios"] is CallState.ACCEPTED


# Secrets


async def test_the_rest_key_is_in_no_record_and_no_line(
    worker: Worker, clock: ManualClock, api: batch.Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    for fault in ({"status": 400}, {"status": 401}, {"reset": True}, {"hang": True}):
        api.fault(app="android", **fault)
        record = await delivered(worker, change_at(clock))
        assert REST_KEY not in repr(record) + json.dumps(record.bodies)
    assert REST_KEY not in capsys.readouterr().out
    assert REST_KEY not in repr(worker)


async def test_without_a_key_nothing_is_sent_and_the_event_comes_again(
    worker: Worker, clock: ManualClock, api: batch.Batch
) -> None:
    from batchpush.errors import RestKeyUnavailable

    async def none() -> RestKey:
        raise RestKeyUnavailable("secret: NotFound")

    worker.client = BatchClient(worker.settings, TIMING, RestKeyCache(none))
    record = await delivered(worker, change_at(clock))
    assert record.state is DeliveryState.RETRY
    assert record.calls[0].problem == "secret: NotFound"
    assert api.calls() == []
    assert issubclass(RestKeyUnavailable, TryAgainLater)
