"""What a delivery claims: who is told now, who waits, and what is too much for one record."""

import json
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest

import batchpush.delivery.plan
from batchpush import Audience, Digest, Message, Push, QuietHours, Recipients, Schedule
from batchpush.batch_api.outcome import Outcome, Reply
from batchpush.delivery.ledger import to_document
from batchpush.delivery.plan import (
    CALL_BYTES,
    LATER_BYTES,
    NO_CUSTOM_ID,
    OVER_LIMIT,
    Context,
    Plan,
    names_of,
    plan,
    plan_within,
)
from batchpush.delivery.record import CallState, DeliveryState, Record
from batchpush.delivery.waiting import (
    MAX_ABOUT,
    MAX_PART,
    Burst,
    Joined,
    StoredBurst,
    Window,
    ids_of,
    name_of,
)
from batchpush.errors import InvalidPush
from batchpush.google.firestore import Firestore
from batchpush.pushes.limits import Counter, Over
from batchpush.testing.memory import Memory
from tests.deliveries import claimed
from tests.events import streamed

NOW = datetime(2026, 6, 10, 23, 0, tzinfo=UTC)
MORNING = datetime(2026, 6, 11, 7, 0, tzinfo=UTC)
NOON = datetime(2026, 6, 11, 12, 0, tzinfo=UTC)
DIGEST = Digest(Schedule(time(7)), UTC, lambda number, or_more: Message(f"{number}"))
NIGHT = QuietHours(time(22), time(7), UTC)
LONG_NIGHT = QuietHours(time(22), time(12), UTC)
LEASE_UNTIL = NOW + timedelta(seconds=60)
WINDOW = timedelta(seconds=30)
FRESH_FOR = timedelta(hours=2)
RECORD = claimed(
    event_time=NOW,
    calls=(),
    bodies=(),
    lease_until=None,
    report_to="users/ann/deliveries/d1",
)


def push_to(*groups: Recipients, **fields: Any) -> Push:
    return Push(
        group_id="g",
        recipients=groups,
        message=Message("Hello"),
        fresh_for=FRESH_FOR,
        **fields,
    )


def to(*custom_ids: str, quiet: QuietHours | None = None) -> Recipients:
    return Recipients(custom_ids=custom_ids, quiet=quiet)


def planned(push: Push, since: datetime = NOW, **given: Any) -> Plan:
    return plan(
        RECORD.evolve(event_time=since),
        push,
        Context(
            now=NOW,
            lease_until=LEASE_UNTIL,
            apps=("ios", "android"),
            **given,
        ),
    )


def told(record: Record) -> str:
    """The only body of the calls to both apps."""
    assert [(call.app, call.body) for call in record.calls] == [("ios", 0), ("android", 0)]
    (body,) = record.bodies
    return body


def test_without_anybody_who_waits_the_calls_are_claimed_until_the_lease_ends() -> None:
    found = planned(push_to(to("ann")))
    assert found.record == replace(
        RECORD.with_calls(list(push_to(to("ann")).calls(("ios", "android")))),
        group_id="g",
        best_before=NOW + FRESH_FOR,
        lease_until=LEASE_UNTIL,
    )
    assert found == Plan(found.record, push_to(to("ann")))


def test_who_has_no_custom_id_is_left_out_where_all_apps_are_on_cep() -> None:
    anyone = Recipients(custom_ids=["ann"], tokens=["t"])
    bob = Recipients(install_ids=["i"], person="bob")
    eve = Recipients(custom_ids=["e"], install_ids=["j"], person="eve")
    push = push_to(anyone, bob, eve)
    context = Context(now=NOW, lease_until=LEASE_UNTIL, apps={"ios": "CEP", "android": "CEP"})
    found = plan(RECORD.evolve(event_time=NOW), push, context).record
    assert dict(found.left_out) == {NO_CUSTOM_ID: ("t", "bob")}
    assert [json.loads(body)["recipients"] for body in found.bodies] == [
        {"custom_ids": ["ann", "e"]}
    ]
    mixed = replace(context, apps={"ios": "CEP", "android": "android"})
    assert plan(RECORD.evolve(event_time=NOW), push, mixed).record.left_out == ()
    with pytest.raises(InvalidPush, match="by no other id"):
        plan(RECORD.evolve(event_time=NOW), push_to(bob), context)


def test_who_sleeps_is_told_in_a_delivery_of_its_own_and_the_others_now() -> None:
    found = planned(push_to(to("ann"), to("bob", quiet=NIGHT)), about=["users/ann", "users/bob"])
    assert "ann" in told(found.record)
    assert "bob" not in told(found.record)
    assert found.record.report_to == RECORD.report_to
    (waiting,) = found.later
    assert found.record.later == ((waiting.id, MORNING),)
    assert (waiting.state, waiting.not_before) == (DeliveryState.WAITING, MORNING)
    assert waiting.waits_for == {"custom_ids": ["bob"]}
    assert waiting.best_before == MORNING + FRESH_FOR
    assert waiting.about == ("users/ann", "users/bob")
    assert waiting.group_id == "g"
    assert waiting.report_to is None, "one summary is written, that of the delivery itself"


def test_where_all_sleep_the_delivery_itself_waits_for_the_first_of_them() -> None:
    found = planned(push_to(to("ann", quiet=LONG_NIGHT), to("bob", quiet=NIGHT)))
    assert (found.record.id, found.record.state) == (RECORD.id, DeliveryState.WAITING)
    assert found.record.waits_for == {"custom_ids": ["bob"]}
    assert found.record.report_to == RECORD.report_to
    assert found.large is None
    (ann,) = found.later
    assert (ann.waits_for, ann.not_before) == ({"custom_ids": ["ann"]}, NOON)
    assert dict(found.record.later) == {RECORD.id: MORNING, ann.id: NOON}


def test_who_is_named_twice_waits_once_and_every_list_of_ids_is_kept() -> None:
    groups = (
        Recipients(custom_ids=["ann", "bob"], tokens=["t"], quiet=NIGHT),
        Recipients(custom_ids=["bob", "cyd"], quiet=NIGHT),
    )
    waits_for = planned(push_to(*groups)).record.waits_for
    assert waits_for == {"custom_ids": ["ann", "bob", "cyd"], "tokens": ["t"]}


@pytest.mark.parametrize(
    ("age", "state"),
    [
        (FRESH_FOR - timedelta(seconds=1), DeliveryState.CLAIMED),
        (FRESH_FOR, DeliveryState.EXPIRED),
    ],
)
@pytest.mark.parametrize("count", [1, 10_001])
def test_what_is_too_old_is_not_claimed_to_be_sent(
    count: int, age: timedelta, state: DeliveryState
) -> None:
    found = planned(push_to(to(*map(str, range(count)))), since=NOW - age)
    assert found.record.state is state
    assert bool(found.large) is (state is DeliveryState.CLAIMED and count > 1)
    assert found.record.group_id == "g"


def test_who_is_told_later_does_not_miss_what_is_too_old_to_be_told_now() -> None:
    """Their entries stay; who would be told now has neither an entry nor a window."""
    bob = Recipients(
        custom_ids=["bob"],
        digest=Digest(Schedule(time(7)), UTC, lambda number, or_more: Message(f"{number} things")),
    )
    push = push_to(to("ann"), bob, to("tom", quiet=NIGHT))
    burst = StoredBurst("b", Burst(), None)
    days = timedelta(days=90)
    found = planned(push, NOW - FRESH_FOR, burst=burst, window=WINDOW, history_for=days)
    assert (found.record.state, found.push) == (DeliveryState.EXPIRED, None)
    assert {call.state for call in found.record.calls} == {CallState.EXPIRED}
    assert "ann" in told(found.record)
    (waiting,) = found.later
    assert waiting.waits_for == {"custom_ids": ["tom"]}
    assert found.record.later == ((waiting.id, MORNING),)
    assert [each.person for each in found.digests] == ["bob"]
    assert {each.user_id for each in found.history} == {"bob", "tom"}
    assert found.burst
    assert set(found.burst.burst.windows) == {name_of("custom_ids", "tom")}
    nobody = planned(push_to(to("tom", quiet=NIGHT)), NOW - FRESH_FOR)
    assert nobody.record.state is DeliveryState.WAITING


def names(*people: str) -> tuple[str, ...]:
    return tuple(sorted(name_of("custom_ids", each) for each in people))


DAY = "2026-07-10"


def test_a_record_is_found_by_whom_it_tells_and_whom_it_leaves_out() -> None:
    push = push_to(to("ann"), to("bob", quiet=NIGHT), left_out={"muted": ["eve"]})
    found = planned(push, people_until=DAY)
    assert (found.record.people, found.record.people_until) == (names("ann", "bob", "eve"), DAY)
    (later,) = found.later
    assert (later.people, later.people_until) == (names("bob"), DAY)
    assert planned(push).record.people == ()


def test_a_record_that_sends_nothing_is_found_as_well() -> None:
    old = planned(push_to(to("ann")), since=NOW - FRESH_FOR, people_until=DAY)
    assert old.record.people == names("ann")
    joined = stored(ann=Window(NOW + WINDOW, "other"))
    found = planned(push_to(to("ann")), burst=joined, window=WINDOW, people_until=DAY)
    assert (found.record.state, found.record.people) == (DeliveryState.OBSOLETE, names("ann"))


@pytest.mark.parametrize(("people", "count"), [(1_000, 1_000), (1_001, 0)])
def test_a_record_of_more_people_than_anybody_looks_for_is_found_by_none(
    people: int, count: int
) -> None:
    push = push_to(to(*map(str, range(people))))
    assert len(planned(push, people_until=DAY).record.people) == count


@pytest.mark.parametrize(("left_out", "count"), [(1, 1_000), (2, 0)])
def test_those_left_out_count_as_well(left_out: int, count: int) -> None:
    more = {"muted": [f"m{number}" for number in range(left_out)]}
    push = push_to(to(*map(str, range(999))), left_out=more)
    record = planned(push, people_until=DAY).record
    assert len(record.people) == count
    assert record.people_until == (DAY if count else None)


def test_the_record_lists_the_fields_that_were_ignored() -> None:
    assert planned(push_to(to("ann"), ignored=["created_at"])).record.ignored == ("created_at",)


@pytest.mark.parametrize(
    "recipients", [[Recipients(custom_ids=["ann"], digest=DIGEST)], Audience(streamed([]))]
)
def test_nobody_waits_for_more_than_a_year_in_a_digest_or_an_audience(recipients: Any) -> None:
    push = Push(
        group_id="g",
        recipients=recipients,
        message=Message("hello"),
        send_at=NOW + timedelta(days=367),
    )
    with pytest.raises(InvalidPush, match=r"^send_at must be at most 366 days ahead"):
        planned(push)


@pytest.mark.parametrize(("days", "is_refused"), [(366, False), (367, True)])
def test_a_push_may_wait_for_a_year(days: int, is_refused: bool) -> None:
    push = push_to(to("ann"), send_at=NOW + timedelta(days=days))
    if is_refused:
        with pytest.raises(InvalidPush, match=r"^send_at must be at most 366 days ahead"):
            planned(push)
    else:
        assert planned(push).record.not_before == push.send_at


def test_an_audience_whose_time_has_come_is_not_put_off() -> None:
    push = Push(group_id="g", recipients=Audience(streamed([])), send_at=NOW)
    assert planned(push).large is push
    later = planned(replace(push, send_at=NOW + timedelta(seconds=1)))
    assert (later.record.state, later.push) == (DeliveryState.WAITING, None)


def test_the_parts_of_two_workers_that_wait_have_different_ids() -> None:
    """Each commits its own beside the record, which only one of them can create."""
    push = push_to(to("ann"), to("bob", quiet=NIGHT))
    context = Context(now=NOW, lease_until=LEASE_UNTIL, apps=("ios",))
    found = [plan(RECORD.evolve(owner=owner), push, context).later[0].id for owner in "aab"]
    assert len(set(found)) == 2


def test_of_those_left_out_the_delivery_itself_says_who_and_no_part_of_it() -> None:
    push = push_to(to("ann", quiet=NIGHT), to("bob", quiet=LONG_NIGHT), left_out={"muted": ["eve"]})
    found = planned(push)
    assert found.record.state is DeliveryState.WAITING
    assert dict(found.record.left_out) == {"muted": ("eve",)}
    assert [dict(each.left_out) for each in found.later] == [{}]


def test_what_waits_names_the_newest_documents_and_counts_the_others() -> None:
    about = [f"messages/{number}" for number in range(MAX_ABOUT + 5)]
    found = planned(push_to(to("ann", quiet=NIGHT)), about=about, omitted=2)
    assert (found.record.about, found.record.omitted) == (tuple(about[5:]), 7)


# Bursts


def stored(**windows: Window) -> StoredBurst:
    named = {name_of("custom_ids", name): window for name, window in windows.items()}
    return StoredBurst("b1", Burst(named), "read as")


def test_the_first_push_of_a_burst_is_told_and_opens_a_window() -> None:
    found = planned(push_to(to("ann")), burst=stored(), window=WINDOW)
    assert "ann" in told(found.record)
    assert found.record.burst == "b1"
    assert found.burst == stored(ann=Window(NOW + WINDOW)), "to be written as what it was read as"


def test_the_second_push_of_a_burst_waits_for_the_end_of_the_window() -> None:
    end = NOW + timedelta(seconds=12)
    found = planned(push_to(to("ann")), burst=stored(ann=Window(end)), window=WINDOW)
    assert (found.record.state, found.record.not_before) == (DeliveryState.WAITING, end)
    assert found.burst == stored(ann=Window(end, RECORD.id))


def test_a_push_that_is_counted_in_another_one_is_not_sent_itself() -> None:
    window = Window(NOW + WINDOW, "other")
    found = planned(push_to(to("ann")), burst=stored(ann=window), window=WINDOW)
    assert found.record.state is DeliveryState.OBSOLETE
    assert found.record.reason == "told in another push of its burst: other"
    assert found.burst is not None
    assert found.burst.burst.about == {"other": Joined(1, (RECORD.document,))}
    by = planned(push_to(to("ann"), sender="bob"), burst=stored(ann=window), window=WINDOW).burst
    assert by is not None
    assert by.burst.about == {"other": Joined(1, (RECORD.document,), names("bob"))}


def test_a_push_that_is_counted_in_several_names_them_all() -> None:
    windows = {each: Window(NOW + WINDOW, f"of {each}") for each in ("bob", "ann")}
    found = planned(push_to(to("ann", "bob")), burst=stored(**windows), window=WINDOW)
    assert found.record.reason == "told in another push of its burst: of ann, of bob"


# What one record holds


@pytest.mark.parametrize(("count", "is_large"), [(10_000, False), (10_001, True)])
def test_more_recipients_than_one_call_takes_are_for_chunks(count: int, is_large: bool) -> None:
    push = push_to(to("ann", quiet=NIGHT), to(*map(str, range(count))))
    found = planned(push)
    assert (found.large == replace(push, recipients=[push.groups[1]])) is is_large
    assert len(found.record.calls) == (0 if is_large else 2)


def test_bodies_that_are_too_much_for_one_record_are_for_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for push, more in (
        (push_to(to("ann")), 0),
        (push_to(to("ann"), to("bob", quiet=NIGHT)), LATER_BYTES),
    ):
        size = len(told(planned(push).record)) + 2 * CALL_BYTES + len("ios" + "android") + more
        for inline, is_large in ((size, False), (size - 1, True)):
            with monkeypatch.context() as patch:
                patch.setattr(batchpush.delivery.plan, "INLINE", inline)
                assert (planned(push).large is not None) is is_large


def test_what_is_wrong_with_a_large_push_is_found_before_its_chunks_are_written() -> None:
    push = push_to(to(*map(str, range(10_001))), apps=["windows"])
    with pytest.raises(InvalidPush) as raised:
        planned(push)
    assert raised.value.field == "apps"


def test_more_sleepers_than_one_record_holds_wait_in_several() -> None:
    many = [f"{number:0500}" for number in range(2 * MAX_PART // 500)]
    found = planned(push_to(to(*many, quiet=NIGHT)))
    waiting = [found.record, *found.later]
    assert {record.not_before for record in waiting} == {MORNING}
    assert len(waiting) == len({record.id for record in waiting}) > 1
    assert [each for record in waiting for each in record.waits_for["custom_ids"]] == many
    for record in waiting:
        assert len(record.bodies[0].encode()) < 1_000_000


def test_who_waits_is_remembered_as_a_person_and_not_as_the_ids_of_the_moment() -> None:
    bob = Recipients(install_ids=["i1", "i2"], tokens=["t"], person="bob", quiet=NIGHT)
    found = planned(push_to(to("ann", quiet=NIGHT), bob))
    assert found.record.waits_for == {"custom_ids": ["ann", "bob"]}


# Limits

PEOPLE = ("ann", "bob", "cyd")
NAMES = {each: name_of("custom_ids", each) for each in PEOPLE}
OF_EACH = "over the limit of 20 to one recipient in 60 s"


@pytest.mark.parametrize(
    ("over", "is_told", "reason"),
    [
        (Over(), PEOPLE, None),
        (Over(OF_EACH, names=frozenset([NAMES["bob"]])), ("ann", "cyd"), None),
        (Over(OF_EACH, names=frozenset(NAMES.values())), (), OF_EACH),
        (Over("over the limit of 60 in 60 s", is_all=True), (), "over the limit of 60 in 60 s"),
    ],
)
def test_who_is_over_a_limit_is_left_out_and_the_others_are_told(
    over: Over, is_told: tuple[str, ...], reason: str | None
) -> None:
    bob = Recipients(install_ids=["i1", "i2"], person="bob")
    push = push_to(to("ann", "cyd"), bob)
    before = planned(push, history_for=timedelta(days=7))
    found = before.limited([Over(), over], ("ios", "android"))
    assert found.record.state is (DeliveryState.CLAIMED if is_told else DeliveryState.REFUSED)
    assert found.record.reason == reason
    assert {each.user_id for each in found.history} == set(is_told)
    if not is_told:
        assert found.push is None
        assert (found.record.calls, found.record.bodies, found.record.chunks) == ((), (), ())
        return
    ids = [{"bob": "i1"}.get(each, each) for each in is_told]
    assert [each for each in ("ann", "i1", "cyd") if each in told(found.record)] == [
        each for each in ("ann", "i1", "cyd") if each in ids
    ]
    left_out = {OVER_LIMIT: ("bob",)} if "bob" not in is_told else {}
    assert dict(found.record.left_out) == left_out
    assert found.push is not None
    assert names_of(found.push) == {NAMES[each] for each in is_told}


def test_a_limit_leaves_nobody_out_of_a_push_for_chunks_and_may_refuse_all_of_it() -> None:
    large = planned(push_to(to("ann", *map(str, range(10_000)))))
    large = replace(large, record=large.record.evolve(chunks=("c1", "c2")))
    of_ann = Over(OF_EACH, names=frozenset([NAMES["ann"]]))
    assert large.limited([of_ann], ("ios", "android")) is large
    of_all = Over("over the limit of 60 in 60 s", is_all=True)
    refused = large.limited([of_ann, of_all], ("ios", "android"))
    assert (refused.record.state, refused.record.reason) == (DeliveryState.REFUSED, of_all.problem)
    assert (refused.large, refused.record.chunks) == (None, ())


def test_who_joins_another_push_keeps_an_entry_where_all_others_are_over_a_limit() -> None:
    joined = stored(bob=Window(NOW + WINDOW, "other"))
    over = Over(OF_EACH, names=frozenset([NAMES["ann"]]))
    found = planned(
        push_to(to("ann", "bob")), burst=joined, window=WINDOW, history_for=timedelta(days=7)
    ).limited([over], ("ios", "android"))
    assert (found.record.state, found.push) == (DeliveryState.REFUSED, None)
    assert [each.user_id for each in found.history] == ["bob"]
    assert found.burst is not None
    assert found.burst.burst.about == {"other": Joined(1, (RECORD.document,))}


def test_a_push_that_all_join_is_within_every_limit() -> None:
    joined = stored(ann=Window(NOW + WINDOW, "other"))
    found = planned(push_to(to("ann")), burst=joined, window=WINDOW)
    of_all = Over("over the limit of 60 in 60 s", is_all=True)
    assert found.limited([of_all], ("ios", "android")) is found


@pytest.mark.parametrize(
    ("groups", "window", "counted"),
    [
        ([to("ann")], timedelta(0), ()),
        ([to("ann", quiet=NIGHT)], timedelta(0), ("ann",)),
        ([to("ann"), to("bob", quiet=NIGHT)], timedelta(0), ("bob",)),
        ([Recipients(custom_ids=["ann"], send_at=NOON)], timedelta(0), ("ann",)),
        ([Recipients(custom_ids=["ann"], digest=DIGEST)], timedelta(0), ("ann",)),
        ([Recipients(custom_ids=["ann"], digest=DIGEST), to("bob")], timedelta(0), ("ann",)),
        ([to("joins", quiet=NIGHT)], timedelta(0), ("joins",)),
        ([to("joins", quiet=NIGHT)], WINDOW, ()),
        ([to("waits")], WINDOW, ("waits",)),
    ],
)
def test_limits_count_who_is_told_later_but_for_who_joins_in_a_coalescing_window(
    groups: list[Recipients], window: timedelta, counted: tuple[str, ...]
) -> None:
    end = NOW + timedelta(seconds=20)
    burst = stored(joins=Window(end, "other"), waits=Window(end))
    found = planned(push_to(*groups), burst=burst, window=window)
    assert tuple(ids_of(found.told_later)) == counted
    assert found.is_for_later is bool(counted)


def test_who_is_over_a_limit_does_not_wait_and_the_others_do() -> None:
    push = push_to(to("ann", "bob", quiet=NIGHT), Recipients(custom_ids=["cyd"], digest=DIGEST))
    counter = Counter("c1", MORNING, 60, max_each=20, names=sorted(NAMES.values()))
    over = Over(OF_EACH, names=frozenset([NAMES["bob"], NAMES["cyd"]]))
    context = Context(
        now=NOW,
        lease_until=LEASE_UNTIL,
        apps=("ios", "android"),
        burst=stored(),
        history_for=timedelta(days=7),
    )
    found = plan_within(plan(RECORD, push, context), RECORD, push, context, [(counter, over)])
    assert found.record.waits_for == {"custom_ids": ["ann"]}
    assert dict(found.record.left_out) == {OVER_LIMIT: ("bob", "cyd")}
    assert found.burst == stored(ann=Window(MORNING, RECORD.id))
    assert [each.user_id for each in found.history] == ["ann"]
    assert (found.later, found.digests) == ((), ())
    assert [each.names for each in found.counters] == [[NAMES["ann"]]]

    of_all = Over("over the limit of 60 in 60 s", is_all=True)
    refused = plan_within(plan(RECORD, push, context), RECORD, push, context, [(counter, of_all)])
    assert (refused.record.state, refused.record.reason) == (DeliveryState.REFUSED, of_all.problem)
    assert (refused.burst, refused.later, refused.history) == (None, (), ())
    assert (refused.counters, refused.digests, refused.record.bodies) == ((), (), ())


def test_a_push_of_one_record_fits_with_whatever_becomes_of_it() -> None:
    """Many calls, each with the longest problem, beside the largest bodies."""
    groups = [Recipients(custom_ids=[f"u{number}"], reads=f"{number}") for number in range(800)]
    words = {f"{number}": Message(f"{number:0800}") for number in range(800)}
    push = replace(push_to(*groups), message=words)
    record = planned(push).record
    assert record.calls
    refused = Reply(400, json.dumps({"code": 31, "type": "T", "message": "\u20ac" * 500}).encode())
    calls = [call.after(Outcome.REFUSED, refused, 1) for call in record.calls]
    ended = record.after(calls, NOW)
    memory = Memory()
    size = Firestore(memory).create("d/r", to_document(ended)).ByteSize()
    assert size < 1_040_000
    assert {call.status for call in ended.calls} == {400}
    assert all(call.problem for call in ended.calls)
