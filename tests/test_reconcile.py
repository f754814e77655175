"""Campaigns in memory and on the Firestore emulator, against the strict Batch emulator."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from batchpush.campaigns import decide, reconcile
from batchpush.campaigns import store as publications
from batchpush.campaigns.reconcile import Publisher
from batchpush.campaigns.state import SKEW
from batchpush.documents import Document
from batchpush.errors import DeliveryUnfinished, EventTurnedAway, TryAgainLater
from batchpush.google.firestore import Query
from batchpush.testing import ManualClock, Memory
from batchpush.timing import Timing
from emulators.batch import Batch
from handlers.campaigns import campaign as handler
from tests.publishing import batch_at, is_there, publisher_for, said, sale


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def api(clock: ManualClock) -> Iterator[Batch]:
    with batch_at(clock, ios="IOSKEY", android="ANDROIDKEY", dev="DEVKEY") as api:
        yield api


@pytest.fixture
def environment() -> dict[str, str]:
    return {}


@pytest.fixture(params=["memory", pytest.param("emulator", marks=pytest.mark.suite)])
async def publisher(
    request: pytest.FixtureRequest, api: Batch, clock: ManualClock, environment: dict[str, str]
) -> AsyncIterator[Publisher]:
    transport = Memory() if request.param == "memory" else None
    publisher = publisher_for(api.url, clock, transport, **environment)
    yield publisher
    await publisher.caller.client.aclose()


class Editor:
    """Writes a campaign's document, and has it published as an event would."""

    def __init__(self, publisher: Publisher, clock: ManualClock) -> None:
        self.publisher, self.clock = publisher, clock
        self.path = f"campaigns/{uuid.uuid4().hex}"
        self.firestore = publisher.publications._client()

    async def saves(self, **fields: Any) -> None:
        await self.stores(self.path, sale(self.clock, **fields))

    async def stores(self, path: str, fields: dict[str, Any]) -> None:
        await self.firestore.commit([self.firestore.put(path, fields)])

    async def deletes(self) -> None:
        await self.firestore.commit([self.firestore.delete(self.path)])

    async def publishes(self, **fields: Any) -> bool:
        """Whether the event is done, as opposed to being delivered again."""
        await self.saves(**fields)
        return await self.event()

    async def event(self) -> bool:
        try:
            await self.publisher.publish(self.path, handler)
        except TryAgainLater:
            return False
        return True

    async def events_until_done(self) -> None:
        """As the platform brings an event that failed, again and again."""
        for _ in range(10):
            if await self.event():
                return
            self.clock.forward(61)
        raise AssertionError(f"not done: {await self.states()}")

    async def states(self) -> dict[str, dict[str, Any]]:
        stored = await self.firestore.find(Query(f"{self.path}/batch", fields=()))
        return {each.id: each.fields for each in stored}

    async def state(self, app: str = "ios") -> dict[str, Any]:
        return (await self.states())[app]


@pytest.fixture
async def editor(publisher: Publisher, clock: ManualClock) -> Editor:
    return Editor(publisher, clock)


def routes(api: Batch, app: str = "ios") -> list[str]:
    """What was called for an app, in order: `create`, `update`, ..."""
    paths = [call["path"].split("/campaigns/")[1] for call in api.calls() if call["app"] == app]
    return [path.partition("/")[0] for path in paths]


def of_app(api: Batch, app: str = "ios") -> list[dict[str, Any]]:
    return [each for each in api.campaigns() if each["app"] == app]


# A document's life


async def test_a_document_is_created_once_in_every_app(
    editor: Editor, api: Batch, clock: ManualClock
) -> None:
    assert await editor.publishes()
    assert await editor.event()
    assert routes(api, "ios") == routes(api, "android") == ["create"]
    for app, state in (await editor.states()).items():
        (campaign,) = of_app(api, app)
        assert campaign["state"] == "scheduled"
        assert (state["state"], state["error"]) == ("APPLIED", None)
        assert state["campaign_token"] == campaign["campaign_token"]
        assert state["updated_at"] == clock.now()


@pytest.mark.parametrize("environment", [{"BATCH_APPS": "ios=IOSKEY"}])
async def test_each_end_is_a_line_in_the_log(
    editor: Editor, api: Batch, capsys: pytest.CaptureFixture[str]
) -> None:
    await editor.publishes()
    await editor.publishes(labels=["a", "b", "c", "d"])
    state = await editor.state()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["severity"], line["message"], line["app"], line["data"]) for line in lines] == [
        (severity, message, "ios", {"campaign_token": state["campaign_token"], "error": error})
        for severity, message, error in (
            ("INFO", "campaign.applied", None),
            ("ERROR", "campaign.refused", state["error"]),
        )
    ]


async def test_the_state_has_when_phones_may_get_it(editor: Editor, clock: ManualClock) -> None:
    await editor.publishes(live=True, push_time="now")
    assert (await editor.state())["live_from"] == clock.now()


async def test_an_edit_is_an_update_with_the_apps_own_token(editor: Editor, api: Batch) -> None:
    await editor.publishes()
    await editor.publishes(name="Winter sale")
    for app in ("ios", "android"):
        (campaign,) = of_app(api, app)
        assert routes(api, app) == ["create", "update"]
        assert campaign["body"]["name"] == "Winter sale"
        created, updated = (call["body"] for call in api.calls() if call["app"] == app)
        assert updated == created | {"name": "Winter sale"}, "an edit sends the whole body"


async def test_a_change_that_batch_does_not_see_is_no_call_and_no_write(
    editor: Editor, api: Batch
) -> None:
    await editor.publishes()
    before = await editor.states()
    assert await editor.publishes(author="Zoé")
    assert routes(api) == ["create"]
    assert await editor.states() == before


async def test_a_campaign_is_switched_off_and_on(editor: Editor, api: Batch) -> None:
    await editor.publishes(live=False)
    assert of_app(api)[0]["state"] == "draft"
    await editor.publishes()
    assert of_app(api)[0]["state"] == "scheduled"
    await editor.publishes(live=False)
    assert of_app(api)[0]["state"] == "draft"


async def test_a_deleted_document_deletes_the_campaign_in_every_app(
    editor: Editor, api: Batch
) -> None:
    await editor.publishes()
    await editor.deletes()
    assert await editor.event()
    assert not any(map(is_there, api.campaigns()))
    states = await editor.states()
    assert {each["state"] for each in states.values()} == {"ABSENT"}
    assert {each["campaign_token"] for each in states.values()} == {None}
    assert await editor.event()
    assert routes(api) == ["create", "delete"]


async def test_a_document_that_comes_back_is_a_new_campaign(editor: Editor, api: Batch) -> None:
    await editor.publishes()
    await editor.deletes()
    await editor.event()
    await editor.publishes()
    assert [is_there(each) for each in of_app(api)] == [False, True]


async def test_an_app_that_the_document_no_longer_names_loses_its_campaign(
    editor: Editor, api: Batch
) -> None:
    await editor.publishes(apps=["ios"])
    assert of_app(api, "android") == []
    await editor.publishes(apps=["android"])
    assert [is_there(each) for each in of_app(api, "ios")] == [False]
    assert [is_there(each) for each in of_app(api, "android")] == [True]


async def test_a_campaign_that_somebody_deleted_at_batch_is_gone_without_a_fuss(
    editor: Editor, api: Batch
) -> None:
    await editor.publishes()
    api.clear_campaigns()
    await editor.deletes()
    assert await editor.event()
    assert (await editor.state())["state"] == "ABSENT"


# What goes wrong with the document


async def test_what_is_wrong_with_a_document_is_in_its_state_and_no_call_is_made(
    editor: Editor, api: Batch
) -> None:
    assert await editor.publishes(name="")
    state = await editor.state()
    assert state["state"] == "REFUSED"
    assert state["error"] == f"{editor.path}: name is empty"
    assert api.calls() == []
    assert await editor.publishes()
    assert (await editor.state())["state"] == "APPLIED"


async def test_what_is_wrong_with_an_edit_leaves_the_campaign_as_it_is(
    editor: Editor, api: Batch
) -> None:
    await editor.publishes()
    assert await editor.publishes(labels=["a", "b", "c", "d"])
    assert "labels must be at most 3" in (await editor.state())["error"]
    assert await editor.publishes()  # as it was
    assert (await editor.state())["state"] == "APPLIED"
    assert routes(api) == ["create"]


async def test_a_document_that_was_emptied_is_refused_and_its_campaign_stays(
    editor: Editor, api: Batch
) -> None:
    await editor.publishes()
    await editor.stores(editor.path, {})
    assert await editor.event()
    assert (await editor.state())["error"] == f"{editor.path}: name is missing"
    assert routes(api) == ["create"]


async def test_a_mistake_in_a_handler_is_named_by_its_place(editor: Editor, api: Batch) -> None:
    def broken(document: Document) -> None:
        raise KeyError("a secret text")

    await editor.saves()
    await editor.publisher.publish(editor.path, broken)
    error = (await editor.state())["error"]
    assert error.startswith("KeyError at ")
    assert "secret" not in error


async def test_what_batch_refuses_is_in_the_state_until_the_document_is_saved_again(
    editor: Editor, api: Batch
) -> None:
    wrong = {"targeting": {"segments": ["EVERYBODY"]}}
    assert await editor.publishes(**wrong)
    assert "31 MALFORMED_PARAMETER" in (await editor.state())["error"]
    assert await editor.event()
    assert routes(api) == ["create"]
    assert await editor.publishes(**wrong, saved_by="Zoé")
    assert routes(api) == ["create", "create"]


async def test_an_edit_of_a_completed_campaign_is_an_error_that_says_so(
    editor: Editor, api: Batch, clock: ManualClock
) -> None:
    push_time = clock.now() + timedelta(minutes=1)
    await editor.publishes(push_time=push_time)
    clock.forward(120)
    assert of_app(api)[0]["state"] == "completed"
    assert await editor.publishes(push_time=push_time, name="Too late")
    state = await editor.state()
    assert state["state"] == "REFUSED"
    assert "the campaign is completed" in state["error"]
    assert f"It was due at {push_time:%Y-%m-%dT%H:%M:%SZ}" in state["error"]
    assert await editor.publishes(push_time=push_time)  # taken back
    assert (await editor.state())["state"] == "APPLIED"


# One app fails, the others stand


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 429}, {"status": 504}])
async def test_one_app_fails_and_is_tried_again_while_the_other_stands(
    editor: Editor, api: Batch, clock: ManualClock, fault: dict[str, Any]
) -> None:
    api.fault(app="ios", times=5, **fault)
    api.fault(app="android", delay=0.2)
    await editor.saves()
    with pytest.raises(DeliveryUnfinished) as raised:
        await editor.publisher.publish(editor.path, handler)
    states = await editor.states()
    assert (states["ios"]["state"], states["android"]["state"]) == ("RETRY", "APPLIED")
    assert str(raised.value) == f"ios: {states['ios']['error']}"
    api.clear_faults()
    await editor.events_until_done()
    assert (await editor.state("ios"))["state"] == "APPLIED"
    assert [len(of_app(api, app)) for app in ("ios", "android")] == [1, 1]
    assert routes(api, "android") == ["create"]


async def test_an_update_without_an_answer_is_done_again(
    editor: Editor, api: Batch, clock: ManualClock
) -> None:
    await editor.publishes()
    api.fault(app="ios", status=504)
    assert not await editor.publishes(name="Winter sale")
    assert await editor.event()
    assert of_app(api)[0]["body"]["name"] == "Winter sale"
    assert routes(api) == ["create", "update", "update"]


# A create is not idempotent


async def test_a_create_whose_answer_was_lost_is_found_and_not_made_again(
    editor: Editor, api: Batch, clock: ManualClock
) -> None:
    api.fault(app="ios", reset=True, accept=True)
    assert not await editor.publishes()
    await editor.events_until_done()
    (campaign,) = of_app(api)
    state = await editor.state()
    assert (state["state"], state["campaign_token"]) == ("APPLIED", campaign["campaign_token"])
    assert routes(api) == ["create", "list"]


async def test_it_is_not_looked_for_while_batch_may_still_be_at_it(
    editor: Editor, api: Batch, clock: ManualClock
) -> None:
    api.fault(app="ios", status=504)
    assert not await editor.publishes()
    assert not await editor.event()
    assert routes(api) == ["create"]


async def test_what_was_edited_meanwhile_is_updated_once_it_is_found(
    editor: Editor, api: Batch, clock: ManualClock
) -> None:
    api.fault(app="ios", reset=True, accept=True)
    await editor.publishes()
    await editor.saves(name="Winter sale")
    clock.forward(61)
    await editor.events_until_done()
    (campaign,) = of_app(api)
    assert campaign["body"]["name"] == "Winter sale"
    assert routes(api) == ["create", "list", "update"]


async def test_what_was_deleted_meanwhile_is_deleted_once_it_is_found(
    editor: Editor, api: Batch, clock: ManualClock
) -> None:
    api.fault(app="ios", reset=True, accept=True)
    await editor.publishes()
    await editor.deletes()
    clock.forward(61)
    await editor.events_until_done()
    assert not any(map(is_there, api.campaigns()))
    assert (await editor.state())["state"] == "ABSENT"


async def test_what_is_not_in_the_list_is_created_again_but_not_for_ever(
    editor: Editor, api: Batch, clock: ManualClock
) -> None:
    api.fault(app="ios", times=None, route="campaigns/create", status=504)
    await editor.publishes()
    clock.forward(61)
    await editor.events_until_done()
    assert routes(api) == ["create", "list", "create", "list"]
    state = await editor.state()
    assert state["state"] == "HELD"
    assert state["error"] == "created 2 times without an answer, and it is not in Batch's list"


async def test_another_campaign_of_that_name_is_not_taken_for_it(
    editor: Editor, publisher: Publisher, api: Batch, clock: ManualClock
) -> None:
    await Editor(publisher, clock).publishes()
    api.fault(app="ios", status=504)
    await editor.publishes()
    clock.forward(61)
    await editor.events_until_done()
    first, second = of_app(api)
    assert (await editor.state())["campaign_token"] == second["campaign_token"]
    assert first["campaign_token"] != second["campaign_token"]


@pytest.mark.parametrize("page", [100, 1])
async def test_when_it_may_be_any_of_several_a_person_decides(
    editor: Editor,
    publisher: Publisher,
    api: Batch,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    page: int,
) -> None:
    for module in (decide, reconcile):
        monkeypatch.setattr(module, "LIST_PAGE", page)
    another = Editor(publisher, clock)
    api.fault(app="ios", times=2, reset=True, accept=True)
    await editor.publishes()
    await another.publishes()
    clock.forward(61)
    await editor.events_until_done()
    state = await editor.state()
    tokens = sorted(each["campaign_token"] for each in of_app(api))
    assert state["state"] == "HELD"
    assert state["error"] == f"any of these may be it: {', '.join(tokens)}"
    # The person writes down which one it is, and saves the campaign again.
    await editor.stores(f"{editor.path}/batch/ios", state | {"campaign_token": tokens[0]})
    assert await editor.publishes(name="Winter sale")
    state = await editor.state()
    assert (state["state"], state["campaign_token"]) == ("APPLIED", tokens[0])
    await another.events_until_done()
    assert (await another.state())["campaign_token"] == tokens[1]


async def test_the_list_is_read_no_further_back_than_the_create(
    editor: Editor,
    publisher: Publisher,
    api: Batch,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (decide, reconcile):
        monkeypatch.setattr(module, "LIST_PAGE", 2)
    for _ in range(4):
        await Editor(publisher, clock).publishes()
    clock.forward(3600)
    api.fault(app="ios", reset=True, accept=True)
    await editor.publishes()
    clock.forward(61)
    await editor.events_until_done()
    assert routes(api) == ["create"] * 5 + ["list"]


@pytest.mark.parametrize("environment", [{"BATCH_APPS": "dev=DEVKEY"}])
async def test_a_dev_key_has_no_list_so_the_create_stays_unknown(
    editor: Editor, api: Batch, clock: ManualClock
) -> None:
    api.fault(app="dev", times=2, route="campaigns/create", status=504)
    await editor.publishes()
    clock.forward(61)
    await editor.events_until_done()
    assert routes(api, "dev") == ["create", "list", "create", "list"]
    state = await editor.state("dev")
    assert state["error"] == "created 2 times without an answer, and Batch gives no list"


@pytest.mark.parametrize("environment", [{"MAX_AMBIGUOUS_RESENDS": "0"}])
async def test_without_resends_nothing_is_ever_created_twice(
    editor: Editor, api: Batch, clock: ManualClock
) -> None:
    api.fault(app="ios", status=504)
    await editor.publishes()
    clock.forward(61)
    await editor.events_until_done()
    assert routes(api) == ["create", "list"]
    assert (await editor.state())["state"] == "HELD"


@pytest.mark.parametrize(("status", "attempts"), [(502, 1), (503, 5)])
async def test_a_list_that_cannot_be_had_now_is_asked_for_again(
    editor: Editor, api: Batch, clock: ManualClock, status: int, attempts: int
) -> None:
    api.fault(app="ios", reset=True, accept=True)
    await editor.publishes()
    clock.forward(61)
    api.fault(app="ios", status=status, times=attempts)
    assert not await editor.event()
    assert routes(api) == ["create", *["list"] * attempts]
    assert (await editor.state())["state"] == "RETRY"
    clock.forward(61)
    await editor.events_until_done()
    assert [len(of_app(api)), (await editor.state())["state"]] == [1, "APPLIED"]


async def test_a_create_is_found_behind_a_hundred_others(
    editor: Editor, publisher: Publisher, api: Batch, clock: ManualClock
) -> None:
    api.fault(app="ios", reset=True, accept=True)
    await editor.publishes()
    clock.forward(61)
    for number in range(101):
        body = {
            "name": f"Another {number}",
            "live": False,
            "push_time": "now",
            "messages": [{"language": "en", "body": "Hello"}],
        }
        await publisher.caller.client.request(
            "ios", "POST", "campaigns/create", json.dumps(body).encode()
        )
    await editor.events_until_done()
    assert routes(api).count("list") == 2
    assert (await editor.state())["campaign_token"] == of_app(api)[0]["campaign_token"]


# Owners that die, freeze, or race


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("environment", [{"BATCH_APPS": "ios=IOSKEY"}])
@pytest.mark.parametrize("before_it_took_effect", [True, False])
@pytest.mark.parametrize("killed_at", range(1, 5))
@pytest.mark.parametrize("kind", ["create", "update", "delete", "look"])
async def test_a_kill_between_any_two_steps_ends_with_what_the_document_says(
    editor: Editor,
    api: Batch,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    killed_at: int,
    before_it_took_effect: bool,
) -> None:
    if kind in ("update", "delete"):
        await editor.publishes()
    if kind == "look":
        api.fault(app="ios", reset=True, accept=True)
        await editor.publishes()
        clock.forward(61)
    if kind == "delete":
        await editor.deletes()
    else:
        await editor.saves(name="As it is to be")
    done = 0

    def dying(work: Any) -> Any:
        async def step(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            done += 1
            if done == killed_at and before_it_took_effect:
                raise Killed
            result = await work(*args, **kwargs)
            if done == killed_at:
                raise Killed
            return result

        return step

    with monkeypatch.context() as patched, suppress(Killed, TryAgainLater):
        written, called = editor.publisher.publications, editor.publisher.caller.client
        patched.setattr(written, "write", dying(written.write))
        patched.setattr(called, "request", dying(called.request))
        await editor.publisher.publish(editor.path, handler)
    clock.forward(61)
    await editor.events_until_done()
    there = [each["body"]["name"] for each in of_app(api) if is_there(each)]
    assert there == ([] if kind == "delete" else ["As it is to be"])
    assert (await editor.state())["state"] == ("ABSENT" if kind == "delete" else "APPLIED")


async def test_nobody_takes_a_campaign_from_an_owner_whose_lease_runs(
    editor: Editor, api: Batch
) -> None:
    api.fault(app="ios", delay=0.3)
    await editor.saves()
    first = asyncio.create_task(editor.event())
    await asyncio.to_thread(api.wait_for_calls, 2)
    with pytest.raises(DeliveryUnfinished, match=r"^ios: another worker has the lease, or "):
        await editor.publisher.publish(editor.path, handler)
    assert await first
    assert routes(api) == ["create"]


async def test_a_frozen_owner_calls_nobody_once_its_lease_is_over(
    editor: Editor, api: Batch, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await editor.publishes()
    await editor.saves(name="Old")
    call = editor.publisher.caller.call

    async def frozen(*args: Any) -> Any:
        monkeypatch.setattr(editor.publisher.caller, "call", call)
        clock.forward(61)
        await editor.publishes(name="New")
        return await call(*args)

    monkeypatch.setattr(editor.publisher.caller, "call", frozen)
    with pytest.raises(DeliveryUnfinished, match=r": somebody else resumed it$"):
        await editor.publisher.publish(editor.path, handler)
    await editor.events_until_done()
    assert {each["body"]["name"] for each in api.campaigns()} == {"New"}


async def test_edits_in_quick_succession_end_with_the_last_one(editor: Editor, api: Batch) -> None:
    await editor.publishes()
    api.fault(delay=0.05, times=6)

    async def edit(number: int) -> None:
        await editor.saves(messages={"en": {"body": f"Edit {number}"}})
        await asyncio.gather(editor.event(), editor.event())  # at least once

    await asyncio.gather(*(edit(number) for number in range(8)))
    await editor.saves(messages={"en": {"body": "The last"}})
    await editor.events_until_done()
    for app in ("ios", "android"):
        (campaign,) = of_app(api, app)
        assert said(campaign) == "The last"


async def test_a_document_that_changes_during_a_call_is_applied_again_by_the_same_owner(
    editor: Editor, api: Batch
) -> None:
    api.fault(app="ios", delay=0.3)
    await editor.saves()
    event = asyncio.create_task(editor.event())
    await asyncio.to_thread(api.wait_for_calls, 2)
    await editor.saves(name="Winter sale")
    assert await event
    assert {each["body"]["name"] for each in api.campaigns()} == {"Winter sale"}


async def test_a_document_that_keeps_changing_is_left_to_its_next_event(
    editor: Editor, api: Batch, clock: ManualClock
) -> None:
    api.fault(app="ios", delay=0.3)
    await editor.saves()
    publish = editor.publisher.publish(editor.path, handler)
    event = asyncio.create_task(publish)
    await asyncio.to_thread(api.wait_for_calls, 2)
    await editor.saves(name="Winter sale")
    clock.forward(editor.publisher.timing.budget)
    with pytest.raises(EventTurnedAway, match=r"^the campaign was changed again$"):
        await event


async def test_an_event_that_comes_late_does_not_bring_back_what_it_says(
    editor: Editor, api: Batch
) -> None:
    await editor.saves(name="The first")
    await editor.saves(name="The second")
    for _ in range(3):
        await editor.event()
    assert routes(api) == ["create"]
    assert of_app(api)[0]["body"]["name"] == "The second"


async def test_the_sweep_finishes_what_the_platform_gave_up_on(
    editor: Editor, api: Batch, clock: ManualClock
) -> None:
    api.fault(app="ios", status=503, times=5)
    assert not await editor.publishes()
    api.clear_faults()
    await editor.publisher.sweep(handler)
    assert (await editor.state())["state"] == "RETRY"  # it may still come by itself
    clock.forward(editor.publisher.timing.redelivery)
    await editor.publisher.sweep(handler)
    assert (await editor.state())["state"] == "APPLIED"


async def abandoned(editor: Editor, api: Batch) -> None:
    """A campaign that is in neither app, and whose event has not come again."""
    api.fault(status=503, times=None)
    assert not await editor.publishes()
    api.clear_faults()
    editor.clock.forward(editor.publisher.timing.redelivery)


async def test_the_sweep_takes_every_campaign_however_many_there_are(
    publisher: Publisher,
    api: Batch,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(publications, "PAGE", 3)
    editors = [Editor(publisher, clock) for _ in range(4)]
    for editor in editors:
        await abandoned(editor, api)
    capsys.readouterr()
    await publisher.sweep(handler)
    assert all([await is_applied(editor) for editor in editors])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    applied = {
        (line["function"], line["document"]) for line in lines if "applied" in line["message"]
    }
    assert applied >= {("sweep", editor.path) for editor in editors}


async def is_applied(editor: Editor) -> bool:
    return {state["state"] for state in (await editor.states()).values()} == {"APPLIED"}


REDELIVERY = Timing().redelivery


@pytest.mark.parametrize(
    ("state", "field", "seconds", "is_taken"),
    [
        ("CLAIMED", "lease_until", 1, False),
        ("CLAIMED", "lease_until", 0, True),
        ("RETRY", "updated_at", 1 - REDELIVERY, False),  # the platform may still bring it
        ("RETRY", "updated_at", -REDELIVERY, True),
        ("RETRY", "updated_at", SKEW.total_seconds(), False),
        ("RETRY", "updated_at", SKEW.total_seconds() + 1, True),  # a clock was wrong
        ("APPLIED", "updated_at", -REDELIVERY, False),
    ],
)
async def test_the_sweep_takes_what_nobody_else_will(
    editor: Editor, clock: ManualClock, state: str, field: str, seconds: float, is_taken: bool
) -> None:
    await editor.publishes()
    stored = await editor.state() | {"state": state, "applied": None}
    at = clock.now() + timedelta(seconds=seconds)
    await editor.stores(f"{editor.path}/batch/ios", stored | {field: at})
    await editor.publisher.sweep(handler)
    assert ((await editor.state())["applied"] is not None) is is_taken


@pytest.mark.parametrize("publisher", ["memory"], indirect=True)  # others' campaigns count as well
@pytest.mark.parametrize(("states", "finished"), [(2, 1), (3, 2)])
async def test_a_sweep_is_bounded_and_the_next_one_goes_on(
    publisher: Publisher,
    api: Batch,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    states: int,
    finished: int,
) -> None:
    editors = [Editor(publisher, clock) for _ in range(4)]
    for editor in editors:
        await abandoned(editor, api)
    monkeypatch.setattr(reconcile, "SWEEP_FOR", timedelta(0))
    await publisher.sweep(handler)
    assert not any([await is_applied(editor) for editor in editors])
    monkeypatch.undo()
    monkeypatch.setattr(reconcile, "MAX_SWEPT", states)
    await publisher.sweep(handler)
    assert [await is_applied(editor) for editor in editors].count(True) == finished
    for _ in editors:
        await publisher.sweep(handler)
    assert all([await is_applied(editor) for editor in editors])


UNREADABLE: dict[str, dict[str, Any]] = {
    "a state of a later version": {"state": "PAUSED"},
    "a state that is a number": {"state": 7},
    "a state that is a list": {"state": ["RETRY"]},
    "a time that is a text": {"state": "RETRY", "updated_at": "yesterday"},
    "no time": {"state": "RETRY", "updated_at": None},
    "a revision that is a text": {"state": "RETRY", "revision": "7"},
    "a revision that is too large": {"state": "RETRY", "revision": 2**63 - 1},
    "a revision below nothing": {"state": "RETRY", "revision": -1},
    "doubts that are a text": {"state": "RETRY", "doubts": "many"},
    "doubts that are none": {"state": "RETRY", "doubts": [1, {"name": "Sale"}]},
    "a lease that is a number": {"state": "CLAIMED", "lease_until": 7},
    "an error that is a map": {"state": "RETRY", "error": {"a": 1}},
}


@pytest.fixture
async def broken(publisher: Publisher, clock: ManualClock) -> AsyncIterator[Editor]:
    """Of a campaign whose state in one app is not there for the tests that follow."""
    editor = Editor(publisher, clock)
    yield editor
    await editor.firestore.commit([editor.firestore.delete(f"{editor.path}/batch/ios")])


@pytest.mark.parametrize("stored", UNREADABLE.values(), ids=UNREADABLE)
async def test_what_cannot_be_read_is_left_as_it_is_and_stops_nothing_else(
    editor: Editor,
    broken: Editor,
    publisher: Publisher,
    api: Batch,
    clock: ManualClock,
    capsys: pytest.CaptureFixture[str],
    stored: dict[str, Any],
) -> None:
    """An event, the sweep and the results go on with the others, and a line names it."""
    stored = stored | {"stats_at": clock.now()}
    state = f"{broken.path}/batch/ios"
    await broken.saves()
    await broken.stores(state, stored)
    assert await broken.event()
    assert (await broken.state("android"))["state"] == "APPLIED"
    await abandoned(editor, api)
    await publisher.sweep(handler)
    assert (await editor.state())["state"] == "APPLIED"
    due = await publisher.publications.with_stats_due(clock.now(), 500)
    assert state not in {known.path for known in due}
    assert await broken.state() == stored
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    named = [line for line in lines if line["message"] == "campaign.unreadable"]
    assert {line["data"]["state"] for line in named} == {state}
    assert {line["severity"] for line in named} == {"ERROR"}


async def test_what_a_later_version_adds_is_kept_and_does_not_matter(
    editor: Editor, api: Batch
) -> None:
    assert await editor.publishes()
    later = {"paused_by": "ann", "doubts": []}
    await editor.stores(f"{editor.path}/batch/ios", await editor.state() | later)
    assert await editor.publishes(name="Winter sale")
    stored = await editor.state()
    assert (stored["state"], stored["paused_by"]) == ("APPLIED", "ann")


async def test_a_collection_of_another_owner_is_not_ours(
    editor: Editor,
    publisher: Publisher,
    clock: ManualClock,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = uuid.uuid4().hex
    for path in (f"campaigns_of_{name}/a/batch/ios", f"campaigns/{name}/a/b/batch/ios"):
        await editor.stores(path, {"state": "RETRY", "stats_at": clock.now(), "revision": ""})
    found = [known.path async for known in publisher.publications.unfinished()]
    found += [each.path for each in await publisher.publications.with_stats_due(clock.now(), 500)]
    assert not [path for path in found if name in path]
    assert "campaign.unreadable" not in capsys.readouterr().out


async def test_of_any_number_of_tokens_those_are_told_that_are_taken(
    editor: Editor, publisher: Publisher
) -> None:
    await editor.publishes()
    token = (await editor.state())["campaign_token"]
    tokens = {f"{number}-{uuid.uuid4()}" for number in range(100)} | {token}
    assert await publisher.publications.taken(tokens) == {token}
    assert await publisher.publications.taken(set()) == set()
