"""What becomes of a handler's answer, whatever it is."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

from batchpush import (
    Change,
    Digest,
    Event,
    InvalidDocument,
    Limit,
    LookUp,
    Message,
    NoPush,
    Push,
    QuietHours,
    Recipients,
    Schedule,
)
from batchpush.delivery.ledger import Entry
from batchpush.delivery.plan import Plan
from batchpush.delivery.planning import UNRECORDED_FOR, PushHandler
from batchpush.delivery.record import DeliveryState
from batchpush.errors import LookUpFailed
from batchpush.google.firestore import Version
from tests.events import DATABASE, FIRESTORE, created
from tests.house import EVENING, MORNING, House

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
NIGHT = QuietHours(time(22), time(7), UTC)
ORDER = Event(name="ue.ordered", recipients=Recipients(custom_ids=["bob"]))


def to_bob(**more: Any) -> Push:
    recipients = Recipients(custom_ids=["bob"], quiet=more.pop("quiet", None))
    return Push(group_id="g", recipients=recipients, message=Message("Hello"), **more)


def in_digest() -> Push:
    """A push to Bob, who has a digest at seven."""
    digest = Digest(Schedule(time(7)), UTC, lambda number, is_more: Message(f"{number} pokes"))
    return replace(to_bob(), recipients=Recipients(custom_ids=["bob"], digest=digest))


def answers(answer: Any) -> PushHandler:
    """A handler that returns or raises this."""

    async def handler(change: Change, look_up: LookUp) -> Any:
        assert await look_up("users/nobody") is None
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handler


async def planned(
    answer: Any,
    settings: Mapping[str, str] = {},
    *,
    at: datetime = EVENING,
    source: str = FIRESTORE,
    report_to: str | None = None,
) -> Plan | None:
    change = replace(created("orders/o", {"a": 1}), id="e1", source=source, time=at, function="f")
    planner = House(**settings).worker.deliverer.planner
    return await planner.plan(change, answers(answer), report_to)


async def test_a_record_begins_with_its_event() -> None:
    at = EVENING - timedelta(minutes=1)
    plan = await planned(to_bob(), {"KEEP_DELIVERIES_DAYS": "7"}, at=at)
    assert plan is not None
    record = plan.record
    assert (record.function, record.source, record.event_id) == ("f", FIRESTORE, "e1")
    assert (record.document, record.event_time) == ("orders/o", at)
    assert (record.created_at, record.updated_at, record.day) == (EVENING, EVENING, "2026-06-10")
    assert record.expire_at == EVENING + timedelta(days=7)
    assert (record.state, record.report_to) == (DeliveryState.CLAIMED, None)
    assert len(record.owner) == 16
    again = await planned(to_bob())
    assert again is not None
    assert again.record.id == record.id
    assert again.record.owner != record.owner


@pytest.mark.parametrize(
    ("answer", "age", "state", "reason"),
    [
        (KeyError("secret"), timedelta(0), "REFUSED", "KeyError at "),
        (InvalidDocument("a/b", "x", "is 7"), timedelta(0), "REFUSED", "a/b: x is 7"),
        (to_bob(priority="low"), timedelta(0), "REFUSED", "priority must be normal or high"),
        (replace(ORDER, name="?"), timedelta(0), "REFUSED", "name "),
        (replace(ORDER, time=EVENING - 25 * HOUR), timedelta(0), "REFUSED", "time must be"),
        (to_bob(send_at=EVENING + timedelta(days=400)), timedelta(0), "REFUSED", "send_at must be"),
        (LookUpFailed("Firestore: away"), UNRECORDED_FOR, "EXPIRED", "Firestore: away"),
        (NoPush(reason="cancelled"), timedelta(0), "OBSOLETE", "cancelled"),
    ],
)
async def test_a_record_says_why_there_is_no_push(
    answer: Any, age: timedelta, state: str, reason: str
) -> None:
    plan = await planned(answer, at=EVENING - age)
    assert plan is not None
    assert (plan.record.state.value, plan.push) == (state, None)
    assert plan.record.best_before >= plan.record.event_time
    assert str(plan.record.reason).startswith(reason)
    assert "secret" not in str(plan.record.reason)


async def test_what_may_work_later_is_raised_for_six_hours() -> None:
    with pytest.raises(LookUpFailed):
        await planned(LookUpFailed("Firestore: away"), at=EVENING - UNRECORDED_FOR + SECOND)


async def test_without_a_push_there_is_no_record() -> None:
    assert await planned(None) is None


@pytest.mark.parametrize(
    ("mirror", "source", "report_to", "where"),
    [
        ("false", FIRESTORE, None, None),
        ("false", FIRESTORE, "delivery/state", "orders/o/delivery/state"),
        ("true", FIRESTORE, None, "orders/o/deliveries/{id}"),
        ("true", FIRESTORE, "delivery/state", "orders/o/delivery/state"),
        ("true", DATABASE, None, None),
    ],
)
async def test_where_a_summary_is_written(
    mirror: str, source: str, report_to: str | None, where: str | None
) -> None:
    settings = {"MIRROR_DELIVERIES": mirror}
    plan = await planned(to_bob(), settings, source=source, report_to=report_to)
    assert plan is not None
    assert plan.record.report_to == (where and where.format(id=plan.record.id))


@pytest.mark.parametrize(
    ("days", "kept", "until"), [(0, 30, None), (10, 30, "2026-06-20"), (90, 30, "2026-07-10")]
)
async def test_a_record_is_found_by_its_people_for_as_long_as_it_is_kept_at_most(
    days: int, kept: int, until: str | None
) -> None:
    settings = {"RECIPIENT_INDEX_DAYS": str(days), "KEEP_DELIVERIES_DAYS": str(kept)}
    for answer in (to_bob(), in_digest(), NoPush(left_out={"muted": ["bob"]}), ORDER):
        plan = await planned(answer, settings)
        assert plan is not None
        assert (plan.record.people_until, bool(plan.record.people)) == (until, until is not None)


async def test_the_record_of_an_event_says_what_a_push_s_says() -> None:
    left_out = {"muted": ["zoe"]}
    event = replace(ORDER, sender="ann", ignored=["colour"], left_out=left_out)
    plan = await planned(event, at=EVENING - HOUR + SECOND)
    assert plan is not None
    record = plan.record
    assert (record.state, record.event) == (DeliveryState.CLAIMED, "ue.ordered")
    assert (record.sender, record.ignored) == ("ann", ("colour",))
    assert dict(record.left_out) == {"muted": ("zoe",)}
    assert record.best_before == EVENING + SECOND
    assert record.lease_until == EVENING + timedelta(seconds=60)
    late = await planned(event, at=EVENING - HOUR)
    assert late is not None
    assert (late.record.state, late.record.updated_at) == (DeliveryState.EXPIRED, EVENING)
    in_time = await planned(replace(event, time=EVENING - 23 * HOUR))
    assert in_time is not None
    assert in_time.record.state is DeliveryState.CLAIMED


# After a wait


async def after_the_night(answer: Callable[[Change], Any], house: House | None = None) -> House:
    """The house in the morning, after a handler was asked again about what had waited."""
    house = house or House()

    async def poke(change: Change, look_up: LookUp) -> Any:
        assert await look_up("users/nobody") is None
        return answer(change) if change.late else to_bob(quiet=NIGHT)

    await house.happens(poke, "pokes/{poke_id}", {}, poke_id="p")
    await house.run_tasks(MORNING)
    return house


async def test_an_event_cannot_wait() -> None:
    (record,) = await (await after_the_night(lambda change: ORDER)).records()
    assert record.state is DeliveryState.REFUSED
    assert record.reason == "name cannot be an Event where a push had to wait"


@pytest.mark.parametrize(
    ("answer", "reason"), [(None, "nobody is left to tell"), (NoPush(reason="read"), "read")]
)
async def test_after_a_wait_there_may_be_nobody_left(answer: NoPush | None, reason: str) -> None:
    (record,) = await (await after_the_night(lambda change: answer)).records()
    assert (record.state, record.reason) == (DeliveryState.OBSOLETE, reason)


async def test_only_those_who_waited_are_told_after_the_wait() -> None:
    everybody = Recipients(custom_ids=["ann", "bob", "zoe"])
    house = await after_the_night(lambda change: replace(to_bob(), recipients=everybody))
    assert house.all_told() == [("bob", "Hello")]
    (record,) = await house.records()
    assert (record.waited_until, len(record.owner)) == (MORNING, 16)


async def test_the_only_document_that_became_invalid_is_the_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def invalid(change: Change) -> Push:
        raise InvalidDocument(change.path, "text", "is 7")

    (record,) = await (await after_the_night(invalid)).records()
    assert (record.state, record.reason) == (DeliveryState.REFUSED, "pokes/p: text is 7")
    assert "document.dropped" not in capsys.readouterr().out


async def test_a_document_that_became_invalid_is_dropped_and_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    house = House(COALESCE_SECONDS="30")

    async def poke(change: Change, look_up: LookUp) -> Push:
        for each in change.documents:
            if change.late and each.path == "pokes/p2":
                raise InvalidDocument(each.path, "text", "is 7")
        pushed = replace(to_bob(burst="b"), message=Message(f"{len(change.documents)} pokes"))
        return replace(pushed, recipients=Recipients(custom_ids=["bob"]))

    for number in range(4):
        await house.happens(poke, "pokes/{poke_id}", {}, poke_id=f"p{number}")
    await house.run_tasks(EVENING + timedelta(seconds=30))
    assert house.all_told() == [("bob", "1 pokes"), ("bob", "2 pokes")]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (dropped,) = [line for line in lines if line["message"] == "document.dropped"]
    assert (dropped["severity"], dropped["error"]) == ("ERROR", "InvalidDocument")
    assert dropped["data"]["error"] == "pokes/p2: text is 7"


# In a digest


async def in_a_digest(*answers: Any) -> House:
    """The house at seven, after a handler was asked again about each document of a digest."""
    house = House()

    async def poke(change: Change, look_up: LookUp) -> Any:
        assert await look_up("users/nobody") is None
        answer = answers[int(change.params["poke_id"])]
        if change.late and isinstance(answer, Exception):
            raise answer
        if change.late and answer is not True:
            return answer
        return replace(in_digest(), message=Message(change.path))

    for number, _ in enumerate(answers):
        await house.happens(poke, "pokes/{poke_id}", {}, poke_id=str(number))
        house.clock.forward(1)
    house.clock.value = MORNING
    await house.worker.digests.look()
    await house.run_tasks(MORNING)
    return house


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (ORDER, "name cannot be an Event where a push had to wait"),
        (InvalidDocument("pokes/1", "text", "is 7"), "pokes/1: text is 7"),
        (to_bob(priority="low"), "priority must be normal or high"),
    ],
)
async def test_one_document_of_a_digest_does_not_silence_the_others(
    answer: Any, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    house = await in_a_digest(True, answer, True)
    assert house.all_told() == [("bob", "2 pokes")]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (dropped,) = [line for line in lines if line["message"] == "document.dropped"]
    assert (dropped["severity"], dropped["data"]["error"]) == ("ERROR", problem)


@pytest.mark.parametrize("answer", [None, NoPush(reason="read"), to_bob()])
async def test_what_is_no_more_for_somebody_is_not_in_their_digest(answer: Any) -> None:
    if isinstance(answer, Push):
        answer = replace(answer, recipients=Recipients(custom_ids=["ann"]))
    assert (await in_a_digest(True, answer)).all_told() == [("bob", "pokes/0")]


@pytest.mark.parametrize(
    ("answer", "reason"), [(NoPush(reason="read"), "read"), (None, "nobody is left to tell")]
)
async def test_a_digest_of_nothing_says_why(answer: NoPush | None, reason: str) -> None:
    house = await in_a_digest(answer)
    found = {record.reason: record.waited_until for record in await house.records()}
    assert found == {"told in digests": None, reason: MORNING}


# Bursts and limits


@pytest.mark.parametrize(("wait", "is_combined"), [(timedelta(0), True), (SECOND, False)])
async def test_a_push_with_a_time_of_its_own_is_in_no_burst(
    wait: timedelta, is_combined: bool
) -> None:
    push = to_bob(burst="b", send_at=EVENING + wait)
    plan = await planned(push, {"COALESCE_SECONDS": "30"})
    assert plan is not None
    assert (plan.burst is not None) is is_combined


@pytest.mark.parametrize(("is_late", "morning"), [(False, ["p1 p2 p3"]), (True, ["p1 p3", "p2"])])
async def test_what_waits_into_the_night_keeps_its_burst_open(
    is_late: bool, morning: list[str]
) -> None:
    """If its task comes after the next push of the burst, each of them waits, and one is joined."""
    house = House(COALESCE_SECONDS="600")
    at = EVENING.replace(hour=21, minute=55)

    async def poke(change: Change, look_up: LookUp) -> Push:
        names = " ".join(each.path.rpartition("/")[2] for each in change.documents)
        return replace(to_bob(quiet=NIGHT, burst="b"), message=Message(names))

    async def pokes(time: datetime, *names: str) -> None:
        house.clock.value = time
        for name in names:
            await house.happens(poke, "pokes/{poke_id}", {}, poke_id=name)

    await pokes(at, "p0")
    await pokes(at + timedelta(minutes=3), "p1")
    if not is_late:
        await house.run_tasks(at + timedelta(minutes=10))
    await pokes(at + timedelta(minutes=12), "p2")
    await house.run_tasks(at + timedelta(minutes=13))
    await pokes(at + HOUR, "p3")
    assert house.all_told() == [("bob", "p0")]
    await house.run_tasks(MORNING)
    assert sorted(house.all_told()) == [("bob", each) for each in ("p0", *morning)]


@pytest.mark.parametrize("seconds", ["0", "30"])
async def test_whoever_is_awake_is_told_of_each_state_at_once(seconds: str) -> None:
    plan = await planned(to_bob(state="turn of g1"), {"COALESCE_SECONDS": seconds})
    assert plan is not None
    assert (plan.burst, plan.record.state) == (None, DeliveryState.CLAIMED)


async def test_where_the_counts_of_a_claim_are_lost_it_is_within_its_limits() -> None:
    planner = House().worker.deliverer.planner
    change = replace(created("orders/o", {}), id="e1", time=EVENING, function="f")
    plan = await planner.plan(change, answers(to_bob(limits=[Limit(("a",), 1)])), None)
    assert plan is not None
    assert len(plan.counters) == 1
    assert planner.within_limits(plan, Entry(plan.record, Version())) == plan
