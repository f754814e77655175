"""`push_texts/{language}`: texts in other words, without a deployment."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import handlers.texts
import main  # noqa: F401 - its functions are called
from batchpush import CallableRequest, Change, Document, LookUp, Push, Recipients
from batchpush.errors import DeliveryUnfinished
from batchpush.events import push_texts
from batchpush.google.firestore import FirestoreUnavailable, WriteConflict
from batchpush.testing import Project
from batchpush.worker import deliver, deliver_call, working_with
from handlers.app_to_app import notify
from handlers.texts import BODY, TITLE, Count, in_other_words, say
from tests.events import DATABASE, created
from tests.pushes import PATIENT

POKE = {"title": "{sender}", "body": "Thinks of you"}
COUNTED: dict[str, Any] = {
    "title": "{sender}",
    "plural": "count",
    "body": {"one": "{count} letter", "other": "{count} letters"},
}
ORDER = {"status": "delivered", "customer_id": "ann", "number": "7"}
ARRIVED = {"title": "Hooray", "body": "{number} is here"}
STATE = "push_texts/en/delivery/state"


def project(texts: dict[str, Any] | None = None, on: str = "true") -> Project:
    house = Project({"users/ann": {}}, PUSH_TEXTS=on)
    if texts:
        house.hold("push_texts/en", texts)
    return house


async def state(project: Project, path: str = STATE) -> dict[str, Any]:
    return (await project.firestore.read(path))[path].fields


async def test_a_push_says_what_the_document_says() -> None:
    house = project({"order_delivered": ARRIVED})
    await house.write("orders/o1", ORDER)
    assert house.told("ann") == ["7 is here"]
    await house.write("games/g1", {"current_player_id": "ann"})  # the others are as in the file
    assert house.told("ann")[1:] == ["It’s your turn to play"]


async def test_without_the_setting_nothing_is_read_and_the_files_are_said() -> None:
    house = project({"order_delivered": ARRIVED}, on="false")
    await house.write("orders/o1", ORDER)
    assert house.told("ann") == ["Your order 7 has arrived"]
    assert "query" not in house.memory.operations


async def test_a_process_reads_the_documents_once_a_minute() -> None:
    house = project({"order_delivered": ARRIVED})
    for number in range(3):
        await house.write(f"orders/o{number}", ORDER)
    house.hold("push_texts/en", {"order_delivered": ARRIVED | {"body": "{number}!"}})
    house.clock.forward(59)
    await house.write("orders/o8", ORDER)
    assert house.memory.operations.count("query") == 1
    house.clock.forward(1)
    await house.write("orders/o9", ORDER)
    assert house.memory.operations.count("query") == 2
    assert house.told("ann") == ["7 is here"] * 4 + ["7!"]


async def test_of_many_events_at_once_one_reads_and_all_say_it() -> None:
    house = project({"order_delivered": ARRIVED})
    await asyncio.gather(*(house.write(f"orders/o{number}", ORDER) for number in range(5)))
    assert house.memory.operations.count("query") == 1
    assert house.told("ann") == ["7 is here"] * 5


async def test_while_firestore_does_not_answer_what_was_read_last_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(push_texts, "READ_WITHIN", 0.01)
    house = project({"order_delivered": ARRIVED})
    await house.write("orders/o1", ORDER)
    faults = ["down", "deaf"]

    async def strike(name: str, operation: Any) -> Any:
        if name == "query":
            if faults.pop(0) == "deaf":
                await asyncio.Event().wait()
            raise FirestoreUnavailable("down")
        return operation()

    house.memory.strike = strike
    for number in (2, 3):
        house.clock.forward(60)
        await house.write(f"orders/o{number}", ORDER)
    assert house.told("ann") == ["7 is here"] * 3
    assert faults == []
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kept = [line for line in lines if line["message"] == "texts.kept"]
    assert [line["error"] for line in kept] == ["FirestoreUnavailable", "TimeoutError"]


async def test_a_wrong_text_is_not_said_and_the_right_ones_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    handlers.texts.log_refused.cache_clear()
    house = project({"order_delivered": ARRIVED | {"body": "{nummer}"}, "game_turn_unnamed": POKE})
    await house.write("orders/o1", ORDER)
    await house.write("orders/o2", ORDER)
    assert house.told("ann") == ["Your order 7 has arrived"] * 2
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (broken,) = [line for line in lines if line["message"] == "text.broken"]
    assert (broken["severity"], broken["data"]) == (
        "ERROR",
        {
            "document": "push_texts/en",
            "text": "order_delivered",
            "problem": "body: the default language has no {nummer}",
        },
    )


async def test_a_message_that_waited_is_told_in_the_words_of_by_then() -> None:
    house = Project(
        {
            "users/ann": {"display_name": "Ann"},
            "users/bob": {},
            "conversations/c": {"member_ids": ["ann", "bob"]},
        },
        PUSH_TEXTS="true",
        COALESCE_SECONDS="120",
    )
    for number in range(3):
        message = {"sender_id": "ann", "text": "Hello"}
        await house.write(f"conversations/c/messages/{number}", message)
    house.hold("push_texts/en", {"new_messages": COUNTED})
    await house.wait_until(house.clock.now() + timedelta(minutes=3))
    assert house.told("bob") == ["Hello", "2 letters"]


def test_the_plural_form_is_chosen_in_the_language_of_the_document() -> None:
    polish = {"one": "{count} list", "few": "{count} listy", "many": "{count} listów"}
    body = polish | {"other": "{count} listu"}
    token = push_texts._in_use.set({"pl": {"new_messages": COUNTED | {"body": body}}})
    try:
        said = [say("new_messages", "pl", sender="", count=Count(n)).body for n in (1, 3, 5)]
    finally:
        push_texts._in_use.reset(token)
    assert said == ["1 list", "3 listy", "5 listów"]


async def test_events_of_the_realtime_database_and_calls_of_apps_say_it_too() -> None:
    house = project({"poke_unnamed": POKE | {"title": "Hello"}, "order_delivered": ARRIVED})
    now = house.clock.now()
    written = created("orders/o1", ORDER, order_id="o1")
    change = replace(written, source=DATABASE, database="database", time=now)

    async def handler(change: Change, look_up: LookUp) -> Push:
        words = say("order_delivered", "en", number="7")
        return Push(group_id="order", recipients=Recipients(custom_ids=["ann"]), message=words)

    house.hold("users/eve/friends/ann", {})
    call = CallableRequest("notify", "eve", "r1", {"to": "ann", "template": "poke"}, now)
    with working_with(house.worker):
        await deliver(change, handler)
        await deliver_call(call, notify, limits=[])
    assert house.told("ann") == ["7 is here", "Thinks of you"]


# What became of a document


async def test_the_state_names_what_is_used_and_what_is_wrong(
    capsys: pytest.CaptureFixture[str],
) -> None:
    house = project()
    await house.write("push_texts/en", {"poke": POKE, "new_messages": COUNTED})
    now = house.clock.now()
    right = {"state": "APPLIED", "texts": ["new_messages", "poke"], "problems": []}
    assert await state(house) == right | {"updated_at": now}
    await house.write("push_texts/en", {"poke": POKE, "pokes": POKE, "call_me": 5})
    problems = [
        "call_me: is not a table with a title and a body",
        "pokes: is not the name of a text",
    ]
    assert await state(house) == {
        "state": "REFUSED",
        "texts": ["poke"],
        "problems": problems,
        "updated_at": now,
    }
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["data"] for line in lines if line["message"] == "texts.refused"] == [
        {"problems": problems}
    ]
    await house.delete("push_texts/en")
    assert (await state(house))["state"] == "ABSENT"


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"poke": POKE}, ("OFF", ["poke"], [])),
        ({"poke": 5}, ("OFF", [], ["poke: is not a table with a title and a body"])),
    ],
)
async def test_the_state_says_that_no_document_is_used(
    texts: dict[str, Any], told: tuple[str, list[str], list[str]]
) -> None:
    house = project(on="false")
    await house.write("push_texts/en", texts)
    found = await state(house)
    assert (found["state"], found["texts"], found["problems"]) == told


async def test_a_document_of_an_unknown_language_is_refused() -> None:
    house = project()
    await house.write("push_texts/tlh", {"poke": POKE})
    found = await state(house, "push_texts/tlh/delivery/state")
    assert (found["state"], found["texts"]) == ("REFUSED", [])
    assert found["problems"] == ["there is no handlers/texts/tlh.toml"]


async def test_a_state_stays_below_firestore_s_limits() -> None:
    house = project()
    await house.write("push_texts/en", {f"{'x' * 1000}{n}": {} for n in range(500)})
    problems = (await state(house))["problems"]
    assert len(problems) == 100
    assert {len(each) for each in problems} == {300}


async def test_the_state_is_of_the_document_as_it_is_now() -> None:
    """A late event of an earlier version must not have the last word."""
    house = project()
    await house.write("push_texts/en", {"poke": 5})

    async def changed_meanwhile(name: str, operation: Any) -> Any:
        if name == "read":
            return operation()
        raise WriteConflict("somebody else wrote it")

    house.memory.strike = changed_meanwhile
    with pytest.raises(DeliveryUnfinished):
        await house.write("push_texts/en", {"poke": POKE})


@pytest.mark.parametrize(
    ("key", "table", "problem"),
    [
        ("poke", POKE, None),
        ("new_messages", COUNTED, None),
        ("new_messages", {"title": "New", "body": "Letters"}, None),
        ("poke", {"title": "{{sender}}", "body": "{sender}" * 100}, None),
        ("poke", {"title": "x" * TITLE, "body": "👩‍👩‍👧‍👦" * 75}, None),
        ("peek", POKE, "is not the name of a text"),
        ("poke", "Hello", "is not a table with a title and a body"),
        ("poke", {"title": "x"}, "has no body"),
        ("poke", {"title": 5, "body": "x"}, "has no title"),
        ("poke", {"title": "x", "body": " \u200b"}, "has no body"),
        ("poke", POKE | {"subtitle": "x"}, "subtitle is not one of title, body, plural"),
        ("poke", POKE | {"body": "{text}"}, "body: the default language has no {text}"),
        ("poke", POKE | {"body": "{sender"}, "body: expected '}'"),
        ("poke", POKE | {"body": "{sender.name}"}, "body: {sender.name} is not the name of a"),
        ("poke", POKE | {"title": "x" * (TITLE + 1)}, "title is longer than 65 characters"),
        ("poke", POKE | {"body": "x" * (BODY + 1)}, "body is longer than 240 characters"),
        ("poke", POKE | {"body": "{sender}" * 1000}, "body is longer than 4000 characters"),
        ("poke", COUNTED, "body: the default language has no {count}"),
        ("poke", POKE | {"plural": "sender"}, "plural: the default language counts nothing"),
        ("new_messages", COUNTED | {"plural": "sender"}, "plural: the default language counts"),
        ("new_messages", COUNTED | {"plural": 5}, "plural is not the name of a value"),
        ("new_messages", COUNTED | {"body": {"other": "{count}"}}, "body has no one"),
        ("new_messages", COUNTED | {"body": "{count}"}, "body has no one"),
        ("new_messages", {"title": "New", "body": "{count}"}, 'has no plural = "count"'),
        ("new_messages", COUNTED | {"body": {"one": "x"}}, "body has no other"),
        ("new_messages", COUNTED | {"body": {"two": "x"} | COUNTED["body"]}, "body has two, which"),
        ("new_messages", COUNTED | {"body": {"all": "x"} | COUNTED["body"]}, "body.all is not one"),
        ("new_messages", COUNTED | {"body": {"one": 1, "other": "x"}}, "has no body.one"),
    ],
)
def test_a_wrong_text_is_refused_with_what_is_wrong(
    key: str, table: Any, problem: str | None
) -> None:
    read = in_other_words(Document("push_texts/en", {key: table, "call_me": POKE}))
    if problem is None:
        assert read.texts.keys() == {key, "call_me"}
    else:
        assert read.texts.keys() == {"call_me"}
        assert read.problems[key].startswith(problem)


TEXT = st.text("{}!:.[]scount ", max_size=12) | st.text(max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary(max_size=3) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["title", "body", "plural", "one", "other", "few"]) | TEXT, inner
        )
    ),
    max_leaves=12,
)


@PATIENT
@given(VALUES, st.sampled_from(["en", "pl", "ar"]))
def test_whatever_a_document_holds_the_push_is_said(table: Any, language: str) -> None:
    token = push_texts._in_use.set({language: {"new_messages": table}})
    try:
        said = say("new_messages", language, sender="Ann", count=Count(3))
    finally:
        push_texts._in_use.reset(token)
    assert said.body
    read = in_other_words(Document(f"push_texts/{language}", {"new_messages": table}))
    assert len(read.texts) + len(read.problems) == 1
