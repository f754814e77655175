"""Attributes of people come to Batch: what changed, in every app, and the newest wins."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from random import Random
from typing import Any

import httpx
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

import main  # noqa: F401 - the functions that a project calls
from batchpush.errors import TryAgainLater
from batchpush.google.firestore import FirestoreRefused
from batchpush.profiles import mirror as mirroring
from batchpush.profiles.state import ProfileState
from batchpush.profiles.store import Entry
from batchpush.testing import Project
from batchpush.testing.memory import Operation
from batchpush.worker import mirror, mirror_page, sweep_profiles, working_with
from handlers import attributes
from tests.crashes import killed_at
from tests.events import DATABASE, Stored, changed
from tests.pushes import ANYTHING, LONG

BUSY = httpx.Response(503, json={"code": 2, "type": "MAINTENANCE_ERROR", "message": "later"})
REFUSED = httpx.Response(400, json={"code": 31, "type": "MALFORMED_PARAMETER", "message": "no"})


def project(documents: Mapping[str, Mapping[str, Any]] | None = None, **settings: str) -> Project:
    settings = {"MIRROR_PROFILES": "true", "BATCH_APPS": "ios=A,android=B"} | settings
    return Project(documents, None, None, **settings)


def values(made: Project, app: str = "A") -> dict[str, dict[str, Any]]:
    """What an app has of each custom id, after every call that it accepted."""
    known: dict[str, dict[str, Any]] = {}
    for call in made.batch.calls:
        if call.app != app or call.status not in (200, 201):
            continue
        _, _, custom_id = call.route.partition("data/users/")
        updates = (
            {custom_id: call.body}
            if custom_id
            else {each["id"]: each["update"] for each in call.body}
        )
        for each, update in updates.items():
            assert update["overwrite"] is False
            merged = known.get(each, {}) | update["values"]
            known[each] = {name: value for name, value in merged.items() if value is not None}
    return known


async def state(made: Project, user_id: str = "ann") -> Entry:
    found = await made.worker.mirror.profiles.read([user_id], with_profiles=False)
    return found[user_id][0]


async def event(made: Project, user_id: str = "ann") -> None:
    """An event of the person comes, however old it is."""
    await made.worker.mirror.mirror(user_id, made.worker.backfill.source, attributes.profile)


ANN = {"city": "Lyon", "topics": ["ski"], "display_name": "Ann"}


async def test_a_profile_becomes_attributes_in_every_app_and_nothing_else_goes() -> None:
    made = project()
    calls = await made.write("users/ann", ANN)
    assert sorted((call.app, call.method, call.route) for call in calls) == [
        ("A", "POST", "data/users/ann"),
        ("B", "POST", "data/users/ann"),
    ]
    assert values(made) == values(made, "B") == {"ann": {"u.city": "Lyon", "ut.topics": ["ski"]}}


async def test_only_what_changed_is_sent_and_null_clears() -> None:
    made = project()
    await made.write("users/ann", ANN)
    calls = await made.write("users/ann", ANN | {"city": "Paris"})
    assert [call.body["values"] for call in calls] == [{"u.city": "Paris"}] * 2
    calls = await made.write("users/ann", {"topics": []})
    assert [call.body["values"] for call in calls] == [{"u.city": None, "ut.topics": None}] * 2


async def test_true_is_not_1() -> None:
    made = project(BATCH_APPS="ios=A")
    await made.write("users/ann", {"city": 1})
    (call,) = await made.write("users/ann", {"city": True})
    assert call.body["values"]["u.city"] is True


async def test_a_write_that_batch_need_not_know_of_costs_nothing() -> None:
    made = project()
    await made.write("users/ann", ANN)
    made.memory.operations.clear()
    change = changed("users/ann", ANN, ANN | {"last_seen": 1}, user_id="ann")
    with working_with(made.worker):
        await mirror(change, attributes.profile)
    assert made.memory.operations == []


async def test_off_it_costs_nothing() -> None:
    made = Project()
    made.memory.operations.clear()
    with working_with(made.worker):
        await mirror(changed("users/ann", None, ANN, user_id="ann"), attributes.profile)
    assert (made.memory.operations, made.batch.calls) == ([], [])


async def test_an_event_takes_two_reads_and_two_writes() -> None:
    made = project({"users/ann": ANN})
    made.memory.operations.clear()
    await event(made)
    assert [name == "read" for name in made.memory.operations] == [True, False, True, False]


def happens_before_the_claim(made: Project, meanwhile: Callable[[], Awaitable[object]]) -> None:
    """Something happens once, after the next event has read the profile, and before its claim."""

    async def strike(name: str, operation: Operation) -> Any:
        if name not in ("read", "query"):
            made.memory.strike = None
            await meanwhile()
        return operation()

    made.memory.strike = strike


async def test_a_change_that_is_undone_before_its_claim_does_not_stay() -> None:
    made = project({"users/ann": {"city": "Lyon"}})
    await event(made)
    made.hold("users/ann", {"city": "Paris"})
    happens_before_the_claim(made, lambda: made.write("users/ann", {"city": "Lyon"}))
    await event(made)
    assert values(made) == values(made, "B") == {"ann": {"u.city": "Lyon"}}
    assert (await state(made)).mirrored.state is ProfileState.APPLIED


@pytest.mark.parametrize("forgets", ["true", "false"])
async def test_a_profile_that_is_deleted_before_its_claim_leaves_nothing(forgets: str) -> None:
    made = project({"users/ann": {"city": "Lyon"}}, FORGET_DELETED_USERS=forgets)
    happens_before_the_claim(made, lambda: made.delete("users/ann"))
    await event(made)
    assert [call.route for call in made.batch.calls if "data/" in call.route] == []
    assert (await state(made)).version is None


async def test_after_an_unknown_outcome_nothing_newer_overtakes_the_request() -> None:
    made = project({"users/ann": {"city": "Lyon"}}, BATCH_APPS="ios=A")
    made.batch.answer_next(httpx.ReadTimeout("no answer"))
    with pytest.raises(TryAgainLater):
        await event(made)
    with pytest.raises(TryAgainLater):
        await event(made)
    assert len(made.batch.calls) == 1
    made.clock.forward(61)
    await event(made)
    assert values(made) == {"ann": {"u.city": "Lyon"}}


async def test_an_event_that_comes_twice_or_late_finds_nothing_to_do() -> None:
    made = project()
    await made.write("users/ann", ANN)
    await made.write("users/ann", {"city": "Paris"})
    seen = len(made.batch.calls)
    await event(made)  # of the first write, as far as anybody knows
    assert len(made.batch.calls) == seen
    assert values(made)["ann"] == {"u.city": "Paris"}


async def test_what_one_app_refuses_the_others_have_and_it_is_asked_again_after_an_edit() -> None:
    made = project()
    made.batch.answer_next(REFUSED)
    await made.write("users/ann", {"city": "Lyon"})
    entry = await state(made)
    assert entry.mirrored.state is ProfileState.REFUSED
    (app,) = entry.mirrored.problems
    other = {"ios": "B", "android": "A"}[app]
    assert values(made, other) == {"ann": {"u.city": "Lyon"}}
    seen = len(made.batch.calls)
    await event(made)
    assert len(made.batch.calls) == seen
    await made.write("users/ann", {"city": "Paris"})
    assert values(made, "A") == values(made, "B") == {"ann": {"u.city": "Paris"}}
    assert (await state(made)).mirrored.state is ProfileState.APPLIED


async def test_an_app_that_does_not_answer_gets_it_with_the_redelivery() -> None:
    made = project()
    made.batch.answer = BUSY
    with pytest.raises(TryAgainLater):
        await made.write("users/ann", {"city": "Lyon"})
    assert (await state(made)).mirrored.state is ProfileState.RETRY
    made.batch.answer = None
    made.clock.forward(60)
    await event(made)
    assert values(made, "A") == values(made, "B") == {"ann": {"u.city": "Lyon"}}


async def test_a_deleted_profile_is_cleared_and_forgotten() -> None:
    made = project()
    await made.write("users/ann", ANN)
    await made.delete("users/ann")
    assert values(made, "A") == values(made, "B") == {"ann": {}}
    assert (await state(made)).version is None


async def test_ids_of_other_users_are_nobody_s_to_describe() -> None:
    bob = {"city": "Rome"}
    made = project({"users/bob": bob})
    ids = {"custom_ids": ["crm-7", "bob", "crm-8"]}
    await made.write("users/ann", {"city": "Lyon", "batch": ids})
    assert values(made) == {"crm-7": {"u.city": "Lyon"}, "crm-8": {"u.city": "Lyon"}}
    (call, _) = made.batch.calls
    assert call.route == "data/users"


async def test_what_is_no_longer_on_the_list_is_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    made = project()
    await made.write("users/ann", ANN)
    monkeypatch.setattr(attributes, "ATTRIBUTES", {"city": "u.city"})
    await event(made)
    assert values(made) == {"ann": {"u.city": "Lyon"}}


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("step", range(8))
async def test_a_crash_at_any_step_loses_nothing(step: int, is_done: bool) -> None:
    """Before or after each request to Firestore and Batch."""
    made = project({"users/ann": ANN})
    with killed_at(made, step, is_done):
        await event(made)
    made.hold("users/ann", {"city": "Paris"})
    made.clock.forward(61)
    await event(made)
    assert values(made, "A")["ann"] == values(made, "B")["ann"] == {"u.city": "Paris"}


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_order_events_run_in_the_newest_wins(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - the same order each time
    made = project()
    answer = made.batch.handle_async_request

    async def pause() -> None:
        for _ in range(random.randrange(9)):
            await asyncio.sleep(0)

    async def slow(request: httpx.Request) -> httpx.Response:
        await pause()
        return await answer(request)

    async def strike(name: str, operation: Operation) -> Any:
        await pause()
        return operation()

    made.batch.handle_async_request = slow  # type: ignore[method-assign]
    made.memory.strike = strike
    events: list[asyncio.Task[None]] = []
    cities = [random.choice(["Lyon", "Paris", None]) for _ in range(random.randint(2, 6))]
    for city in cities:
        made.hold("users/ann", {"city": city})
        events.append(asyncio.create_task(event(made)))
        await pause()
    ends = await asyncio.gather(*events, return_exceptions=True)
    if any(ends):  # those come again
        made.clock.forward(61)
        await event(made)
    for app in ("A", "B"):
        assert values(made, app).get("ann", {}).get("u.city") == cities[-1]


async def test_a_profile_may_be_in_the_realtime_database() -> None:
    made = project()
    documents: dict[str, dict[str, Any]] = {
        "users/ann": {"city": "Lyon", "batch": {"custom_ids": ["ann", "bob"]}},
        "users/bob": {},
    }
    made.worker.mirror.look_up_in = lambda source: Stored(documents)
    await made.worker.mirror.mirror("ann", DATABASE, attributes.profile)
    assert values(made) == {"ann": {"u.city": "Lyon"}}
    del documents["users/ann"]
    await made.worker.mirror.mirror("ann", DATABASE, attributes.profile)
    assert values(made) == {"ann": {}}


USERS = ("bob", "cyd", "dan")


@given(
    st.lists(st.sampled_from([*USERS, "crm-7", "ann"]) | LONG | ANYTHING, max_size=12),
    st.dictionaries(st.sampled_from(["city", "topics", "last_order_at"]), ANYTHING),
)
async def test_what_one_person_writes_describes_nobody_else(
    ids: list[Any], fields: dict[str, Any]
) -> None:
    made = project({f"users/{who}": {"city": who} for who in USERS})
    document = {**fields, "batch": {"custom_ids": ids}}
    try:
        made.hold("users/ann", document)
    except FirestoreRefused:
        reject()
    await event(made)
    assert not values(made).keys() & set(USERS)
    assert (await state(made)).mirrored.state is ProfileState.APPLIED


async def test_a_sweep_leaves_a_state_that_no_version_wrote_to_the_next_write(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = project({"users/ann": ANN, "batch_profiles/ann": {"state": "RETRY"}})
    with working_with(made.worker):
        await sweep_profiles(attributes.profile)
    assert made.batch.calls == []
    assert "event.crashed" not in capsys.readouterr().out


async def test_words_of_batch_that_firestore_cannot_store_are_no_obstacle() -> None:
    made = project({"users/ann": {"city": "Lyon"}})
    body = b'{"code": 31, "type": "MALFORMED_PARAMETER", "message": "\\ud800"}'
    made.batch.answer = httpx.Response(400, content=body)
    await event(made)
    assert set((await state(made)).mirrored.problems.values()) == {"31 MALFORMED_PARAMETER: ?"}


async def test_a_sweep_finishes_what_the_platform_gave_up_on() -> None:
    made = project()
    made.batch.answer = BUSY
    with pytest.raises(TryAgainLater):
        await made.write("users/ann", {"city": "Lyon"})
    made.batch.answer = None
    with working_with(made.worker):
        await sweep_profiles(attributes.profile)
        assert values(made) == {}  # its event may still come
        made.clock.forward(901)
        await sweep_profiles(attributes.profile)
    assert values(made) == {"ann": {"u.city": "Lyon"}}


async def test_a_sweep_is_bounded_and_the_next_one_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made, people = project(), {"ann", "bob", "cyd"}
    made.batch.answer = BUSY
    for each in people:
        with pytest.raises(TryAgainLater):
            await made.write(f"users/{each}", {"city": "Lyon"})
    made.batch.answer = None
    made.clock.forward(901)
    with working_with(made.worker):
        with monkeypatch.context() as patch:
            patch.setattr(mirroring, "SWEEP_FOR", timedelta(0))
            await sweep_profiles(attributes.profile)
        assert values(made) == {}
        monkeypatch.setattr(mirroring, "MAX_SWEPT", 1)
        for number in range(1, 4):
            await sweep_profiles(attributes.profile)
            assert len(values(made)) == number
    assert values(made).keys() == people


async def test_a_broken_allow_list_is_logged_and_not_retried(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = project({"users/ann": ANN})

    def broken(document: Any) -> Any:
        raise KeyError("city")

    await made.worker.mirror.mirror("ann", made.worker.backfill.source, broken)
    assert json.loads(capsys.readouterr().out)["message"] == "profile.broken"


async def test_a_state_that_no_version_wrote_is_sent_anew() -> None:
    made = project({"users/ann": ANN, "batch_profiles/ann": {"state": "GREAT"}})
    await event(made)
    assert values(made)["ann"]["u.city"] == "Lyon"
    assert (await state(made)).mirrored.state is ProfileState.APPLIED


# Everybody who was there before


async def people(made: Project, count: int) -> None:
    for number in range(count):
        made.hold(f"users/u{number:04}", {"city": f"City {number}"})


async def test_a_page_of_people_is_one_request_for_each_app() -> None:
    made = project()
    await people(made, 200)
    with working_with(made.worker):
        await mirror_page({"after": "", "upto": "u0199"}, attributes.profile)
    assert sorted((call.app, call.route) for call in made.batch.calls) == [
        ("A", "data/users"),
        ("B", "data/users"),
    ]
    assert len(values(made)) == 200
    with working_with(made.worker):
        await mirror_page({"after": "", "upto": "u0199"}, attributes.profile)
    assert len(made.batch.calls) == 2


async def test_what_batch_refuses_of_one_person_keeps_nobody_else_s_from_it() -> None:
    made = project(BATCH_APPS="ios=A")
    await people(made, 20)
    answer = made.batch.handle_async_request

    async def picky(request: httpx.Request) -> httpx.Response:
        is_refused = b"City 7" in request.content
        made.batch.answer = REFUSED if is_refused else None
        return await answer(request)

    made.batch.handle_async_request = picky  # type: ignore[method-assign]
    with working_with(made.worker):
        await mirror_page({"after": "", "upto": "u0019"}, attributes.profile)
    assert len(values(made)) == 19
    assert (await state(made, "u0007")).mirrored.state is ProfileState.REFUSED
    assert (await state(made, "u0008")).mirrored.state is ProfileState.APPLIED


@pytest.mark.parametrize("status", [403, 404])
async def test_what_batch_refuses_of_the_route_is_not_asked_again_for_fewer_people(
    status: int,
) -> None:
    made = project(BATCH_APPS="ios=A")
    await people(made, 20)
    refusal = {"code": 12, "type": "API_MISUSE", "message": "not for this app"}
    made.batch.answer = httpx.Response(status, json=refusal)
    with working_with(made.worker):
        await mirror_page({"after": "", "upto": "u0019"}, attributes.profile)
    assert len(made.batch.calls) == 1
    assert (await state(made, "u0007")).mirrored.state is ProfileState.REFUSED


async def test_a_page_has_everybody_up_to_its_end_whoever_signed_up_since() -> None:
    made = project(BATCH_APPS="ios=A")
    await people(made, 300)
    (page, *_) = [each async for each in made.worker.backfill.pages("", attributes.profile)]
    for number in range(301):
        made.hold(f"users/u0000-{number:03}", {"city": "Lyon"})
    with working_with(made.worker):
        await made.worker.backfill.send(page.after, page.upto, attributes.profile)
    assert len(values(made)) == 601
    assert [each async for each in made.worker.backfill.pages(page.upto, attributes.profile)] == []


async def test_pages_say_what_is_left_and_send_only_that() -> None:
    made = project()
    await people(made, 700)
    pages = [each async for each in made.worker.backfill.pages("", attributes.profile)]
    assert [(page.people, page.lacking) for page in pages] == [(300, 300), (300, 300), (100, 100)]
    assert made.batch.calls == []
    for page in pages[:2]:
        await made.worker.backfill.enqueue(page)
    tasks, made.queue.tasks = made.queue.tasks, []
    for function, data in tasks:
        assert function == "syncprofiles"
        with working_with(made.worker):
            await mirror_page(data, attributes.profile)
    pages = [each async for each in made.worker.backfill.pages("", attributes.profile)]
    assert [page.lacking for page in pages] == [0, 0, 100]


async def test_a_page_with_a_change_that_is_undone_before_its_claim_comes_again() -> None:
    made = project()
    await people(made, 2)
    await event(made, "u0001")
    made.hold("users/u0001", {"city": "Paris"})
    happens_before_the_claim(made, lambda: made.write("users/u0001", {"city": "City 1"}))
    with working_with(made.worker):
        with pytest.raises(TryAgainLater):
            await mirror_page({"after": "", "upto": "u0001"}, attributes.profile)
        await mirror_page({"after": "", "upto": "u0001"}, attributes.profile)
    assert values(made) == {"u0000": {"u.city": "City 0"}, "u0001": {"u.city": "City 1"}}


async def test_a_page_whose_people_are_not_done_comes_again() -> None:
    made = project()
    await people(made, 3)
    made.batch.answer = BUSY
    with working_with(made.worker), pytest.raises(TryAgainLater):
        await mirror_page({"after": "", "upto": "u0002"}, attributes.profile)
    made.batch.answer = None
    made.clock.forward(60)
    with working_with(made.worker):
        await mirror_page({"after": "", "upto": "u0002"}, attributes.profile)
    assert len(values(made)) == 3
