"""Somebody leaves: Batch is asked to forget them, our records do, and a receipt says so."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

import main  # noqa: F401 - the functions that a project calls
from batchpush.batch_api.outcome import Reply, classify, is_success
from batchpush.cli import erase
from batchpush.cli.main import parser
from batchpush.cli.receipts import receipts
from batchpush.cli.terminal import CannotDo
from batchpush.delivery.record import DeliveryState
from batchpush.errors import TryAgainLater
from batchpush.events.change import Change
from batchpush.leaving.receipt import ReceiptState, Removal, RemovalState, receipt_id
from batchpush.leaving.requests import removal_request
from batchpush.leaving.store import Entry
from batchpush.testing import Project
from batchpush.testing.batch import Call
from batchpush.worker import sweep_receipts, working_with
from emulators.batch.checks import first_refusal
from emulators.batch.gdpr import CREATION_RULES
from handlers.people import custom_ids
from tests.crashes import killed_at
from tests.events import DATABASE, Stored, changed

BUSY = httpx.Response(503, json={"code": 2, "type": "MAINTENANCE_ERROR", "message": "later"})
FORBIDDEN = httpx.Response(403, json={"code": 12, "type": "API_MISUSE", "message": "no"})
ANN = {"display_name": "Ann", "city": "Lyon"}


class AtBatch:
    """A Batch that takes requests, and says of each what a test has it say."""

    def __init__(self, made: Project) -> None:
        self.requests: dict[str, str] = {}  # the custom id by the request's id
        self.says: dict[str, Any] = {"status": "done"}
        self.answer: httpx.Response | None = None
        self._numbers = itertools.count(1)
        self._record = made.batch.handle_async_request
        self._batch = made.batch
        made.batch.handle_async_request = self.asked  # type: ignore[method-assign]

    async def asked(self, request: httpx.Request) -> httpx.Response:
        self._batch.answer = self.answer or self._answered(request)
        return await self._record(request)

    def _answered(self, request: httpx.Request) -> httpx.Response | None:
        if "/gdpr/" not in request.url.path:
            return None
        if request.method == "GET":
            return httpx.Response(200, content=json.dumps({"request_type": "remove", **self.says}))
        request_id = f"r{next(self._numbers)}"
        self.requests[request_id] = json.loads(request.content)["id"]["value"]
        return httpx.Response(201, json={"request_id": request_id})


def project(documents: Mapping[str, Mapping[str, Any]] | None = None, **settings: str) -> Project:
    settings = {"FORGET_DELETED_USERS": "true", "BATCH_APPS": "ios=A,android=B"} | settings
    return Project(documents, None, None, **settings)


def removals(made: Project) -> list[tuple[str, str]]:
    """The app and the custom id of each removal that Batch was asked for."""
    return sorted(
        (call.app, call.body["id"]["value"]) for call in made.batch.calls if _is_removal(call)
    )


def _is_removal(call: Call) -> bool:
    return call.route == "gdpr/request" and call.method == "POST"


async def receipt(made: Project, user_id: str = "ann") -> Entry:
    entry = await made.worker.leaver.receipts.of_user(user_id)
    assert entry is not None
    return entry


async def swept(made: Project) -> None:
    with working_with(made.worker):
        await sweep_receipts()


def deleted(made: Project, fields: dict[str, Any] = ANN) -> Change:
    """The event of the deletion, to come again."""
    made.memory.remove("users/ann")
    change = changed("users/ann", fields, None, user_id="ann")
    return replace(change, time=made.clock.now())


async def comes(made: Project, change: Change) -> None:
    await made.worker.leaver.of_change(change, custom_ids)


def stored(made: Project) -> str:
    """Everything that Firestore holds, as text."""
    return "\n".join(map(str, made.memory.documents.values())) + "\n".join(made.memory.documents)


async def test_off_a_deletion_asks_nothing_of_batch() -> None:
    made = Project({"users/ann": ANN})
    made.memory.operations.clear()
    assert await made.delete("users/ann") == []


async def test_every_app_is_asked_to_remove_them_by_each_of_their_ids() -> None:
    ids = {"batch": {"custom_ids": ["crm-7", "bob"]}}
    made = project({"users/ann": ANN | ids, "users/bob": {}})
    AtBatch(made)
    await made.delete("users/ann")
    assert removals(made) == [("A", "ann"), ("A", "crm-7"), ("B", "ann"), ("B", "crm-7")]
    assert made.batch.calls[0].body == {
        "request_type": "remove",
        "id": {"type": "custom_id", "value": made.batch.calls[0].body["id"]["value"]},
    }
    assert (await receipt(made)).receipt.state is ReceiptState.REQUESTED


async def test_an_id_that_another_profile_lists_as_well_is_theirs_who_stay() -> None:
    merged = {"batch": {"custom_ids": ["crm-7", "crm-8"]}}
    made = project({"users/old": merged, "users/new": {"batch": {"custom_ids": ["crm-7"]}}})
    AtBatch(made)
    await made.delete("users/old")
    assert removals(made) == [("A", "crm-8"), ("A", "old"), ("B", "crm-8"), ("B", "old")]


async def test_the_whole_way_to_a_receipt_without_an_id() -> None:
    order = {"customer_id": "ann", "status": "delivered"}
    made = project({"users/ann": ANN}, RECIPIENT_INDEX_DAYS="7")
    AtBatch(made)
    await made.write("orders/o1", order)
    assert "ann" in str((await made.record("order_delivered", "orders/o1")).bodies)
    made.clock.forward(61)
    await made.delete("users/ann")
    made.memory.remove("orders/o1")
    await swept(made)
    done = (await receipt(made)).receipt
    assert done.state is ReceiptState.DONE
    assert [each.status for each in done.removals] == ["done", "done"]
    assert all(each.request_id for each in done.removals)
    assert done.records_erased_at == made.clock.now()
    assert '"ann"' not in stored(made)
    assert "users/ann" not in stored(made)


async def test_an_event_that_comes_again_asks_nothing_again() -> None:
    made = project()
    AtBatch(made)
    change = deleted(made)
    for _ in range(3):
        await comes(made, change)
    assert removals(made) == [("A", "ann"), ("B", "ann")]
    await swept(made)
    await comes(made, change)
    assert len(removals(made)) == 2


async def test_somebody_who_is_back_is_not_removed() -> None:
    made = project()
    AtBatch(made)
    change = deleted(made)
    made.hold("users/ann", ANN)
    await comes(made, change)
    assert removals(made) == []
    assert await made.worker.leaver.receipts.of_user("ann") is None


async def test_who_is_back_before_batch_could_be_asked_is_not_removed_until_they_leave_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = project(MIRROR_PROFILES="true")
    await leaves_while_batch_is_down(made, AtBatch(made))
    await made.write("users/ann", ANN)
    for _ in range(2):
        await swept(made)
    assert taken(made) == []
    assert "batch_profiles/ann" in stored(made)
    assert await run(made, "--user", "ann") == 1
    assert capsys.readouterr().out.count("pending  error the profile is there again") == 4
    made.clock.forward(60)
    await made.delete("users/ann")
    await swept(made)
    assert taken(made) == ALL
    assert (await receipt(made)).receipt.state is ReceiptState.DONE
    assert '"ann"' not in stored(made)


async def test_who_is_back_in_the_realtime_database_is_not_removed() -> None:
    made = project(BATCH_APPS="ios=A")
    batch = AtBatch(made)
    documents: dict[str, dict[str, Any]] = {}
    firestore = made.worker.leaver.look_up_in
    made.worker.leaver.look_up_in = lambda source: (
        Stored(documents) if source == DATABASE else firestore(source)
    )
    batch.answer = BUSY
    with pytest.raises(TryAgainLater):
        await comes(made, replace(deleted(made), source=DATABASE, database="database"))
    batch.answer = None
    documents["users/ann"] = ANN
    made.clock.forward(3600)
    await swept(made)
    assert taken(made) == []
    del documents["users/ann"]
    await swept(made)
    assert taken(made) == [("A", "ann")]


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("step", range(9))
async def test_a_sweep_that_crashes_removes_nobody_who_is_back(step: int, is_done: bool) -> None:
    made = project(MIRROR_PROFILES="true")
    await leaves_while_batch_is_down(made, AtBatch(made))
    await made.write("users/ann", ANN)
    await made.write("orders/o1", {"customer_id": "ann", "status": "delivered"})
    with killed_at(made, step, is_done):
        await swept(made)
    await swept(made)
    assert taken(made) == []
    assert "ann" in str((await made.record("order_delivered", "orders/o1")).bodies)
    assert (await receipt(made)).receipt.records_erased_at == made.clock.now()


async def test_an_operator_has_somebody_removed_whose_profile_is_there() -> None:
    made = project({"users/ann": ANN})
    batch = AtBatch(made)
    batch.answer = BUSY
    with pytest.raises(TryAgainLater):
        await made.worker.leaver.by_operator("ann", (), are_records_erased=True)
    batch.answer = None
    made.clock.forward(120)
    await swept(made)
    assert taken(made) == [("A", "ann"), ("B", "ann")]


async def test_a_receipt_without_the_source_of_its_event_is_read() -> None:
    made = project()
    await leaves_while_batch_is_down(made, AtBatch(made))
    ((name, document),) = (
        each for each in made.memory.documents.items() if "batch_receipts" in each[0]
    )
    del document.fields["source"]
    assert name in made.memory.documents
    await swept(made)
    assert taken(made) == ALL


ASLEEP = {
    "quiet_hours": {"start": "00:00", "end": "23:59"},
    "push_preferences": {"game_turn": "8:00"},
}


async def friends_write(made: Project, number: int) -> None:
    """What waits for Ann: a message of Bob's, and an item of her digest; both are in her inbox."""
    message = {"sender_id": "bob", "text": "Hi"}
    await made.write(f"conversations/c{number}/messages/m", message)
    await made.write(f"games/g{number}", {"current_player_id": "ann"})


async def test_who_is_back_keeps_what_is_of_after_their_return() -> None:
    members = {"member_ids": ["ann", "bob"]}
    conversations = {f"conversations/c{number}": members for number in (1, 2)}
    profiles: dict[str, dict[str, Any]] = {"users/ann": ANN | ASLEEP, "users/bob": {}}
    made = project({**conversations, **profiles}, NOTIFICATION_HISTORY_DAYS="90")
    AtBatch(made)
    order = {"customer_id": "ann", "status": "delivered"}
    await made.write("orders/o1", order)
    await friends_write(made, 1)
    made.clock.forward(60)
    await made.delete("users/ann")
    made.clock.forward(60)
    await made.write("users/ann", ANN | ASLEEP)
    made.clock.forward(60)
    await friends_write(made, 2)
    await swept(made)
    kept = [each for each in made.memory.documents if "notifications" in each or "digests" in each]
    assert len(kept) == 3
    record = await made.record("new_message", "conversations/c2/messages/m")
    assert record.state is DeliveryState.WAITING
    assert record.waits_for == {"custom_ids": ["ann"]}
    assert "ann" not in str((await made.record("order_delivered", "orders/o1")).bodies)
    assert (await receipt(made)).receipt.records_erased_at is None, "c1 waits, and may have more"


async def test_a_profile_may_have_been_in_the_realtime_database() -> None:
    made = project(BATCH_APPS="ios=A")
    AtBatch(made)
    made.worker.leaver.look_up_in = lambda source: Stored({})
    change = replace(deleted(made), source=DATABASE, database="database")
    await comes(made, change)
    assert removals(made) == [("A", "ann")]


async def test_an_id_that_firestore_reserves_is_removed_too() -> None:
    made = project(BATCH_APPS="ios=A")
    AtBatch(made)
    made.worker.leaver.look_up_in = lambda source: Stored({})
    change = changed("users/__ann__", ANN, None, user_id="__ann__")
    reserved = replace(change, time=made.clock.now(), source=DATABASE, database="database")
    await comes(made, reserved)
    assert removals(made) == [("A", "__ann__")]
    await swept(made)
    assert (await receipt(made, "__ann__")).receipt.state is ReceiptState.DONE


async def test_somebody_who_leaves_again_is_removed_again() -> None:
    made = project({"users/ann": ANN})
    AtBatch(made)
    await made.delete("users/ann")
    await swept(made)
    made.clock.forward(60)
    await made.write("users/ann", ANN)
    await made.delete("users/ann")
    assert len(removals(made)) == 4
    assert (await receipt(made)).receipt.state is ReceiptState.REQUESTED


async def leaves_while_batch_is_down(made: Project, batch: AtBatch) -> Change:
    """Ann, who has another id as well, and who is back with a profile that does not name it."""
    change = deleted(made, ANN | {"batch": {"custom_ids": ["ann", "crm-7"]}})
    batch.answer = BUSY
    with pytest.raises(TryAgainLater):
        await comes(made, change)
    made.clock.forward(120)
    batch.answer = None
    return change


ALL = [("A", "ann"), ("A", "crm-7"), ("B", "ann"), ("B", "crm-7")]


def taken(made: Project) -> list[tuple[str, str]]:
    """The app and the custom id of each removal that Batch took."""
    calls = [each for each in made.batch.calls if _is_removal(each) and each.status == 201]
    return sorted((call.app, call.body["id"]["value"]) for call in calls)


@pytest.mark.parametrize("is_told_by_an_operator", [False, True])
async def test_leaving_again_keeps_what_is_left_of_the_first_leaving(
    is_told_by_an_operator: bool,
) -> None:
    made = project()
    batch = AtBatch(made)
    await leaves_while_batch_is_down(made, batch)
    if is_told_by_an_operator:
        await made.worker.leaver.by_operator("ann", (), are_records_erased=True)
    else:
        await comes(made, deleted(made))
    assert (await receipt(made)).receipt.records_erased_at is None, "not those of crm-7"
    await swept(made)
    assert taken(made) == ALL
    done = (await receipt(made)).receipt
    assert (done.state, done.ids) == (ReceiptState.DONE, ())


async def test_what_batch_took_after_the_first_leaving_is_read_back_after_the_second() -> None:
    made = project(BATCH_APPS="ios=A")
    batch = AtBatch(made)
    batch.says = {"status": "processing"}
    await comes(made, deleted(made, ANN | {"batch": {"custom_ids": ["crm-7"]}}))
    await swept(made)
    assert (await receipt(made)).receipt.ids == ()
    made.clock.forward(60)
    await comes(made, deleted(made))
    assert taken(made) == [("A", "ann"), ("A", "ann"), ("A", "crm-7")]
    batch.says = {"status": "done"}
    await swept(made)
    ends = [each.state for each in (await receipt(made)).receipt.removals]
    assert ends == [RemovalState.DONE] * 2


async def test_what_an_app_refused_after_the_first_leaving_is_not_done_after_the_second() -> None:
    made = project(BATCH_APPS="ios=A")
    batch = AtBatch(made)
    batch.answer = FORBIDDEN
    await comes(made, deleted(made, ANN | {"batch": {"custom_ids": ["crm-7"]}}))
    batch.answer = None
    made.clock.forward(60)
    await comes(made, deleted(made))
    await swept(made)
    assert (await receipt(made)).receipt.state is ReceiptState.REFUSED


async def test_an_event_that_comes_after_a_later_leaving_adds_the_ids_that_only_it_has() -> None:
    made = project()
    AtBatch(made)
    first = deleted(made, ANN | {"batch": {"custom_ids": ["crm-7"]}})
    made.clock.forward(60)
    second = deleted(made)
    for change in (second, first, second, first):
        await comes(made, change)
    assert taken(made) == ALL
    assert (await receipt(made)).receipt.left_at == second.time


async def test_an_app_that_cannot_be_asked_is_asked_by_the_redelivery_or_the_sweep() -> None:
    made = project()
    batch = AtBatch(made)
    batch.answer = BUSY
    change = deleted(made)
    with pytest.raises(TryAgainLater):
        await comes(made, change)
    batch.answer = None
    made.clock.forward(600)
    await swept(made)
    assert (await receipt(made)).receipt.state is ReceiptState.DONE


async def test_an_unknown_outcome_is_asked_again() -> None:
    made = project(BATCH_APPS="ios=A")
    AtBatch(made)
    made.batch.answer_next(httpx.ReadTimeout("lost"))
    change = deleted(made)
    with pytest.raises(TryAgainLater):
        await comes(made, change)
    await comes(made, change)
    assert removals(made) == [("A", "ann"), ("A", "ann")]


async def test_what_an_app_refuses_is_said_and_a_person_decides(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = project()
    batch = AtBatch(made)
    batch.answer = FORBIDDEN
    await comes(made, deleted(made))
    batch.answer = None
    await swept(made)
    entry = await receipt(made)
    assert entry.receipt.state is ReceiptState.REFUSED
    assert {each.error for each in entry.receipt.removals} == {"12 API_MISUSE: no"}
    assert entry.receipt.ids == ()
    assert '"receipt.refused"' in capsys.readouterr().out


@pytest.mark.parametrize("is_asked_before", [False, True])
async def test_of_an_app_that_is_gone_from_the_settings_nothing_is_asked_any_more(
    is_asked_before: bool,
) -> None:
    made = project()
    batch = AtBatch(made)
    change = deleted(made)
    if is_asked_before:
        batch.says = {"status": "processing"}
        await comes(made, change)
    else:
        await leaves_while_batch_is_down(made, batch)
    made.worker.leaver.settings = replace(made.worker.settings, batch_apps={"ios": "A"})
    batch.says = {"status": "done"}
    await swept(made)
    ended = (await receipt(made)).receipt
    assert (ended.state, ended.ids) == (ReceiptState.REFUSED, ())
    errors = {each.app: (each.state, each.error) for each in ended.removals}
    assert errors["ios"] == (RemovalState.DONE, None)
    assert errors["android"] == (RemovalState.REFUSED, "BATCH_APPS no longer has android")


async def test_a_batch_that_hangs_leaves_the_sweep_time_to_erase_records(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = project()
    for number in range(100):
        await made.worker.leaver.begin(f"u{number}", (), made.clock.now())
    made.clock.forward(3600)
    begun = made.clock.now()

    async def hang(request: httpx.Request) -> httpx.Response:
        made.clock.forward(5)  # of the 10 seconds that both apps take together
        raise httpx.ReadTimeout("")

    monkeypatch.setattr(made.batch, "handle_async_request", hang)
    await swept(made)
    assert timedelta(seconds=200) <= made.clock.now() - begun <= timedelta(seconds=210)
    erased = [
        each.receipt.records_erased_at
        async for each in made.worker.leaver.receipts.all({ReceiptState.REQUESTED})
    ]
    assert len(erased) == 100
    assert all(erased)


@pytest.mark.parametrize(
    ("says", "state", "status"),
    [
        ({"status": "done"}, RemovalState.DONE, "done"),
        ({"status": "done", "error": "user not found"}, RemovalState.DONE, "done"),
        ({"status": "done", "error": "broken"}, RemovalState.REFUSED, "done"),
        ({"status": "processing"}, RemovalState.ASKED, "processing"),
        ({"status": "\ud800"}, RemovalState.ASKED, "?"),
        ({"status": ["done"]}, RemovalState.ASKED, "['done']"),
        ({}, RemovalState.ASKED, None),
    ],
)
async def test_what_batch_says_of_a_request_is_read_back(
    says: dict[str, Any], state: RemovalState, status: str | None
) -> None:
    made = project(BATCH_APPS="ios=A")
    batch = AtBatch(made)
    batch.says = says
    await comes(made, deleted(made))
    await swept(made)
    (removal,) = (await receipt(made)).receipt.removals
    assert (removal.state, removal.status) == (state, status)


@pytest.mark.parametrize(
    ("status", "state"),
    [(404, RemovalState.DONE), (401, RemovalState.PENDING), (503, RemovalState.PENDING)],
)
def test_somebody_whom_batch_does_not_know_is_removed(status: int, state: RemovalState) -> None:
    reply = Reply(status, b'{"code": 20, "type": "ROUTE_NOT_FOUND", "message": "User not found"}')
    outcome = classify(reply, is_success).outcome
    assert Removal("ios", "x").asked(outcome, reply).state is state


async def test_a_receipt_that_cannot_be_read_keeps_no_other_open(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = project({"users/ann": ANN})
    made.hold("batch_receipts/later", {"state": "REQUESTED", "removals": "of a later version"})
    ((name, later),) = (each for each in made.memory.documents.items() if "/later" in each[0])
    AtBatch(made)
    await comes(made, deleted(made))
    await swept(made)
    assert (await receipt(made)).receipt.state is ReceiptState.DONE
    assert made.memory.documents[name] == later
    lines = map(json.loads, capsys.readouterr().out.splitlines())
    told = {line["data"]["receipt"] for line in lines if line["message"] == "receipt.unreadable"}
    assert told == {"batch_receipts/later"}


async def test_attributes_are_not_mirrored_any_more_and_what_is_known_of_them_goes() -> None:
    made = project({"users/ann": ANN}, MIRROR_PROFILES="true")
    AtBatch(made)
    await made.write("users/ann", ANN | {"topics": ["ski"]})
    await made.delete("users/ann")
    assert [call.route for call in made.batch.calls if "gdpr" not in call.route] == [
        "data/users/ann",
        "data/users/ann",
    ]
    assert "batch_profiles/ann" not in stored(made)


async def test_one_who_leaves_takes_nothing_of_somebody_else() -> None:
    made = project({"users/ann": ANN, "users/bob": {}})
    AtBatch(made)
    for who in ("ann", "bob"):
        await made.write(f"orders/{who}1", {"customer_id": who, "status": "delivered"})
    made.clock.forward(61)
    await made.delete("users/ann")
    await swept(made)
    record = await made.record("order_delivered", "orders/bob1")
    assert "bob" in str(record.bodies)
    assert {custom_id for _, custom_id in removals(made)} == {"ann"}


async def test_a_push_that_is_still_to_be_sent_keeps_the_receipt_open() -> None:
    made = project({"users/ann": ANN, "users/bob": {}}, BATCH_APPS="ios=A")
    batch = AtBatch(made)
    batch.answer = BUSY
    with pytest.raises(TryAgainLater):
        await made.write(
            "pushes/p1",
            {
                "group_id": "g",
                "recipients": {"custom_ids": ["bob"]},
                "message": {"body": "Hello"},
                "deeplink": "myapp://users/ann",
            },
        )
    batch.answer = None
    made.clock.forward(61)
    await made.delete("users/ann")
    await swept(made)
    waits = (await receipt(made)).receipt
    assert (waits.state, waits.ids) == (ReceiptState.REQUESTED, ("ann",))
    record = await made.record("outbox", "pushes/p1")
    entry = await made.worker.ledger.read(record.id)
    assert entry is not None
    await made.worker.sender.resume(entry)
    await swept(made)
    done = (await receipt(made)).receipt
    assert (done.state, done.ids) == (ReceiptState.DONE, ())


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("step", range(9))
async def test_a_crash_at_any_step_is_finished_by_the_redelivery(step: int, is_done: bool) -> None:
    made = project()
    AtBatch(made)
    change = deleted(made)
    with killed_at(made, step, is_done):
        await comes(made, change)
    made.clock.forward(61)
    await comes(made, change)
    await swept(made)
    assert (await receipt(made)).receipt.state is ReceiptState.DONE
    assert set(removals(made)) == {("A", "ann"), ("B", "ann")}


def test_a_receipt_is_not_named_by_the_id() -> None:
    assert "ann" not in receipt_id("ann")
    assert receipt_id("ann") != receipt_id("bob")


def test_the_request_is_one_that_the_local_batch_takes() -> None:
    body = json.loads(removal_request("ann").body or b"")
    assert first_refusal(CREATION_RULES, body, None, lenient=False) is None


# The commands


async def run(made: Project, *arguments: str) -> int:
    return await receipts(parser().parse_args(["receipts", *arguments]), made.worker)


async def test_an_operator_sees_the_receipt_and_reads_it_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = project(BATCH_APPS="ios=A")
    batch = AtBatch(made)
    batch.says = {"status": "processing"}
    await comes(made, deleted(made))
    assert await run(made, "--user", "ann") == 1
    out = capsys.readouterr().out
    assert "REQUESTED" in out
    assert "request r1  Batch says processing" in out
    assert "still to be erased" in out
    batch.says = {"status": "done"}
    assert await run(made, "--finish", "--json") == 0
    last = capsys.readouterr().out.splitlines()[-1]
    told = json.loads(last)
    assert (told["state"], told["removals"][0]["request_id"]) == ("DONE", "r1")
    assert "ann" not in last


async def test_an_operator_asks_for_somebody_without_a_receipt() -> None:
    with pytest.raises(CannotDo, match="no receipt of eve"):
        await run(project(), "--user", "eve")


async def test_erase_asks_batch_too_if_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    made = project({"users/ann": ANN | {"batch": {"custom_ids": ["crm-7"]}}})
    AtBatch(made)
    for arguments in (["--dry-run"], []):
        chosen = parser().parse_args(["erase", "--user", "ann", "--at-batch", *arguments])
        await erase.erase(chosen, made.worker)
        assert len(removals(made)) == (0 if arguments else 4)
    assert await run(made, "--user", "ann") == 0
    assert "DONE" in capsys.readouterr().out
