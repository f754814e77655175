"""Who waits: a table, and any story of pushes and wakings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchpush import QuietHours, Recipients
from batchpush.delivery import waiting
from batchpush.delivery.waiting import (
    MAX_ABOUT,
    MAX_ABOUT_BYTES,
    MAX_PART,
    MAX_WINDOWS,
    Burst,
    Deferral,
    Joined,
    Part,
    Window,
    burst_id,
    defer,
    ids_of,
    is_anyone_quiet,
    name_of,
    waiting_lists,
)
from batchpush.pushes.push import ID_LISTS
from tests.events import created

NOW = datetime(2026, 6, 10, 23, 0, tzinfo=UTC)
MORNING = datetime(2026, 6, 11, 7, 0, tzinfo=UTC)
NIGHT = QuietHours(time(22), time(7), UTC)
WINDOW = timedelta(seconds=60)


def to(*custom_ids: str, quiet: QuietHours | None = None) -> Recipients:
    return Recipients(custom_ids=custom_ids, reads="en", quiet=quiet)


def ids(groups: Sequence[Recipients]) -> list[str]:
    return [each for group in groups for name in ID_LISTS for each in getattr(group, name)]


def deferred(*groups: Recipients, burst: Burst | None = None, now: datetime = NOW) -> Deferral:
    return defer(groups, document="d", delivery="D", now=now, burst=burst, window=WINDOW)


def later(deferral: Deferral) -> Mapping[datetime, list[str]]:
    return {part.until: ids(part.recipients) for part in deferral.later.values()}


def test_without_quiet_hours_or_a_burst_all_are_told_now_as_they_came() -> None:
    groups = (to("ann", "bob"), to("zoé"))
    assert deferred(*groups) == Deferral(now=list(groups), later={})


def test_who_has_quiet_hours_is_told_when_they_end() -> None:
    siesta = QuietHours(time(22, 30), time(23, 30), UTC)
    found = deferred(to("ann"), to("bob", quiet=NIGHT), to("zoé", quiet=siesta))
    assert ids(found.now) == ["ann"]
    assert later(found) == {MORNING: ["bob"], datetime(2026, 6, 10, 23, 30, tzinfo=UTC): ["zoé"]}


def test_where_all_wait_the_delivery_itself_is_the_first_to_go() -> None:
    siesta = QuietHours(time(22, 30), time(23, 30), UTC)
    found = deferred(to("bob", quiet=NIGHT), to("zoé", quiet=siesta))
    assert ids(found.later["D"].recipients) == ["zoé"]
    again = deferred(to("bob", quiet=NIGHT), to("zoé", quiet=siesta))
    assert list(again.later) == list(found.later), "the ids are the same each time"
    assert "D" not in deferred(to("ann"), to("bob", quiet=NIGHT)).later


BOB = name_of("custom_ids", "bob")


@pytest.mark.parametrize(
    ("window", "quiet", "now", "waits_until", "counted"),
    [
        (None, None, ["bob"], None, False),
        (Window(NOW), None, ["bob"], None, False),  # it has just ended
        (Window(NOW + WINDOW), None, [], NOW + WINDOW, False),
        (Window(NOW + WINDOW, "W"), None, [], None, True),
        (None, NIGHT, [], MORNING, False),
        (Window(MORNING, "W"), NIGHT, [], None, True),
        (Window(NOW + WINDOW), NIGHT, [], NOW + WINDOW, False),
    ],
)
def test_a_burst(
    window: Window | None,
    quiet: QuietHours | None,
    now: list[str],
    waits_until: datetime | None,
    counted: bool,
) -> None:
    burst = Burst({BOB: window} if window else {})
    found = deferred(to("bob", quiet=quiet), burst=burst)
    assert ids(found.now) == now
    assert later(found) == ({waits_until: ["bob"]} if waits_until else {})
    assert found.burst is not None
    assert found.burst.about == ({"W": Joined(1, ("d",))} if counted else {})
    (opened,) = found.burst.windows.values()
    assert opened.until == (waits_until or (window.until if counted and window else NOW + WINDOW))
    assert opened.delivery == ("D" if waits_until else "W" if counted else None)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.sets(st.sampled_from("abc"), min_size=1)),
        st.tuples(st.just("wake"), st.integers(0, 5)),
        st.tuples(st.just("pass"), st.integers(0, 90)),
    ),
    max_size=25,
)


@given(STEPS, st.sets(st.sampled_from("abc")))
def test_everybody_is_told_of_everything_exactly_once(
    steps: list[tuple[str, object]], asleep: set[str]
) -> None:
    now, burst = NOW, Burst()
    waiting: dict[str, tuple[Part, str]] = {}  # by delivery, with its own document
    due: Counter[tuple[str, str]] = Counter()
    told: Counter[tuple[str, str]] = Counter()

    def wake(delivery: str) -> None:
        nonlocal burst
        part, document = waiting.pop(delivery)
        documents = {document, *burst.about.get(delivery, Joined()).newest}
        burst = burst.without(delivery)
        # The handler says who of them is told of what: those to whom it was addressed.
        told.update(
            (each, document)
            for each in ids(part.recipients)
            for document in documents
            if (each, document) in due
        )

    for number, (what, value) in enumerate(steps):
        if what == "pass":
            now += timedelta(seconds=int(str(value)))
        elif what == "wake":
            ready = [name for name, (part, _) in waiting.items() if part.until <= now]
            if ready:
                wake(ready[int(str(value)) % len(ready)])
        else:
            document = f"d{number}"
            people = sorted(value)  # type: ignore[call-overload]
            due.update((each, document) for each in people)
            groups = [to(each, quiet=NIGHT if each in asleep else None) for each in people]
            found = defer(
                groups, document=document, delivery=document, now=now, burst=burst, window=WINDOW
            )
            told.update((each, document) for each in ids(found.now))
            waiting |= {name: (part, document) for name, part in found.later.items()}
            assert found.burst is not None
            burst = found.burst
    for delivery in list(waiting):
        wake(delivery)
    assert told == due
    assert not burst.about


def test_what_a_burst_says_of_people_cannot_be_read_as_their_ids() -> None:
    found = deferred(replace(to("bob"), tokens=("t1",)), burst=Burst())
    assert found.burst is not None
    assert not {"bob", "t1"} & set(found.burst.windows)
    assert len(found.burst.windows) == 2


def test_names_that_are_stored_stay_as_they_are() -> None:
    assert BOB == "700d8dc883476ec63722"
    key = burst_id(created("users/ann", {}), "c1")
    assert key == "ba8d190f85efb61c58356ad7127e538f6c3881d4d2de80ef379dbccb4a980554"


def test_a_person_is_named_by_their_user_id_where_it_is_known() -> None:
    bob = Recipients(install_ids=["i1", "i2"], person="bob")
    zoe = Recipients(custom_ids=["zoe"], install_ids=["i3"])
    assert list(ids_of([bob, zoe])) == ["bob", "zoe", "i3"]
    lists = waiting_lists([bob, to("bob"), zoe, zoe])
    assert lists == {"custom_ids": ["bob", "zoe"], "install_ids": ["i3"]}


def test_a_person_is_one_in_a_burst_whatever_ids_they_have() -> None:
    bob = Recipients(install_ids=["i1", "i2"], person="bob")
    found = deferred(bob, burst=Burst())
    assert found.burst is not None
    assert set(found.burst.windows) == {BOB}
    assert deferred(to("bob"), burst=found.burst).now == [], "as the same person by the user id"


def test_whoever_has_to_wait_again_gets_a_delivery_that_was_never_there() -> None:
    """The parts of a delivery that waits again are no parts of its first claim."""
    siesta = QuietHours(time(22, 30), time(23, 30), UTC)
    groups = (to("ann"), to("bob", quiet=NIGHT), to("zoé", quiet=siesta))
    first = defer(groups, document="d", delivery="D", now=NOW, claimant="one")
    again = defer(groups, document="d", delivery="D", now=NOW, claimant="two")
    assert not {*first.later} & {*again.later}


# What grows with what people write


@given(
    st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 120)), max_size=60),
    st.integers(1, 400),
    st.integers(1, 4000),
)
@settings(max_examples=30)
def test_a_burst_is_bounded_however_many_write_and_wait(
    deliveries: list[tuple[int, int]], length: int, people: int
) -> None:
    burst = Burst({f"{number:020}": Window(NOW + WINDOW, f"{number}") for number in range(people)})
    burst = burst.bounded()
    for number, times in deliveries:
        for each in range(times):
            path = f"{'p' * length}/{number}-{each}"
            burst = burst.after(NOW, {}, {f"{number}": path}, by="n" * 20)
    assert len(burst.windows) <= MAX_WINDOWS
    assert all(len(joined.newest) <= MAX_ABOUT for joined in burst.about.values())
    texts = [text for each in burst.about.values() for text in (*each.newest, *each.by)]
    assert sum(map(len, texts)) <= MAX_ABOUT_BYTES


def test_of_many_documents_the_newest_are_kept_and_all_are_counted() -> None:
    burst = Burst()
    for number in range(50):
        burst = burst.after(NOW, {}, {"D": f"messages/{number}"})
    joined = burst.about["D"]
    assert (joined.count, joined.omitted) == (50, 50 - MAX_ABOUT)
    assert joined.newest[-1] == "messages/49"


def test_of_too_many_documents_those_of_who_wrote_the_most_go_first() -> None:
    burst = Burst().after(NOW, {}, {"D": "messages/bob"}, by="bob")
    for number in range(50):
        burst = burst.after(NOW, {}, {"D": f"messages/{number}"}, by="cat")
    joined = burst.about["D"]
    assert (joined.count, joined.omitted) == (51, 51 - MAX_ABOUT)
    assert (joined.newest[0], joined.newest[-1]) == ("messages/bob", "messages/49")
    assert joined.by == ("bob", *["cat"] * (MAX_ABOUT - 1))
    assert joined.with_newest(2) == Joined(51, ("messages/bob", "messages/49"), ("bob", "cat"))


def test_who_caused_what_joined_is_kept() -> None:
    burst = Burst({BOB: Window(NOW + WINDOW, "W")})
    found = defer([to("bob")], document="d", delivery="D", now=NOW, by="zoe", burst=burst)
    assert found.burst is not None
    assert found.burst.about == {"W": Joined(1, ("d",), ("zoe",))}


def test_a_document_that_changes_again_and_again_joins_once() -> None:
    burst = Burst()
    for _ in range(3):
        burst = burst.after(NOW, {}, {"D": "games/g1"})
    assert burst.about["D"] == Joined(1, ("games/g1",))


def test_the_windows_that_last_longest_are_kept() -> None:
    windows = {f"{number}": Window(NOW + timedelta(seconds=number)) for number in range(1, 3000)}
    kept = Burst(windows).bounded().windows
    assert min(each.until for each in kept.values()) == NOW + timedelta(seconds=3000 - MAX_WINDOWS)


def test_a_part_holds_no_more_than_a_record_can() -> None:
    many = [to(f"{number:0400}", quiet=NIGHT) for number in range(3 * MAX_PART // 400)]
    parts = deferred(*many).later.values()
    assert len(parts) > 2
    for part in parts:
        listed = waiting_lists(part.recipients)["custom_ids"]
        assert sum(len(each) + 4 for each in listed) < MAX_PART + 1000
    assert sorted(each for part in parts for each in ids(part.recipients)) == sorted(
        each for group in many for each in group.custom_ids
    )


def test_what_is_kept_of_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MAX_WINDOWS", 2)
    windows = {"a": Window(MORNING), "b": Window(NOW), "c": Window(NOW + WINDOW)}
    about = {"D": Joined(7), "E": Joined(1), "F": Joined(9)}
    kept = Burst(windows, about).bounded()
    assert kept.windows.keys() == {"a", "c"}, "those that last longest"
    assert kept.about == {"D": Joined(7), "F": Joined(9)}, "those of most documents"
    del windows["b"], about["E"]
    assert Burst(windows, about).bounded() == Burst(windows, about)


@pytest.mark.parametrize(("max_bytes", "kept"), [(200, 20), (199, 10), (100, 10), (99, 5), (9, 0)])
def test_too_long_paths_are_halved_until_they_fit(
    monkeypatch: pytest.MonkeyPatch, max_bytes: int, kept: int
) -> None:
    monkeypatch.setattr(waiting, "MAX_ABOUT_BYTES", max_bytes)
    paths = tuple(f"{number:02}" + "é" * 4 for number in range(20))
    joined = Burst({}, {"D": Joined(20, paths)}).bounded().about["D"]
    assert (joined.count, joined.newest) == (20, paths[20 - kept :])


def test_a_window_that_has_ended_is_not_kept() -> None:
    burst = Burst({"a": Window(NOW), "b": Window(NOW + WINDOW)})
    assert burst.after(NOW, {}, {}).windows == {"b": Window(NOW + WINDOW)}
    assert burst.open_window("a", NOW) is None
    assert burst.open_window("c", NOW) is None


def test_without_a_coalescing_window_only_who_waits_has_one() -> None:
    groups = (to("ann"), to("bob", quiet=NIGHT))
    found = defer(groups, document="d", delivery="D", now=NOW, burst=Burst())
    assert ids(found.now) == ["ann"]
    assert found.burst is not None
    assert {name: each.until for name, each in found.burst.windows.items()} == {BOB: MORNING}


def test_those_who_joined_are_named_with_the_delivery_that_tells_them() -> None:
    window = Window(NOW + WINDOW, "W")
    burst = Burst({name_of("custom_ids", each): window for each in ("bob", "zoé")})
    found = deferred(to("ann"), to("bob"), to("zoé"), burst=burst)
    assert ids(found.now) == ["ann"]
    assert {delivery: ids(some) for delivery, some in found.joined.items()} == {"W": ["bob", "zoé"]}


@pytest.mark.parametrize(
    ("quiet", "now", "is_quiet"),
    [(None, NOW, False), (NIGHT, NOW, True), (NIGHT, MORNING, False)],
)
def test_whether_anyone_is_quiet(quiet: QuietHours | None, now: datetime, is_quiet: bool) -> None:
    assert is_anyone_quiet([to("ann"), to("bob", quiet=quiet)], now) is is_quiet


HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("send_at", "quiet", "until"),
    [
        (None, None, None),
        (NOW - HOUR, None, None),
        (NOW, None, None),  # its time has come
        (NOW + HOUR, None, NOW + HOUR),
        (None, NIGHT, MORNING),
        (NOW - 3 * HOUR, NIGHT, MORNING),  # it was due before the night
        (NOW + HOUR, NIGHT, MORNING),
        (MORNING + HOUR, NIGHT, MORNING + HOUR),
    ],
)
def test_until_when_somebody_waits(
    send_at: datetime | None, quiet: QuietHours | None, until: datetime | None
) -> None:
    assert replace(to("ann", quiet=quiet), send_at=send_at).waits_until(NOW) == until
