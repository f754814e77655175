import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from batchpush import CallableRequest, CallRefused
from batchpush.documents import Reference
from batchpush.errors import TryAgainLater
from batchpush.testing import Project
from batchpush.timing import Timing
from batchpush.worker import deliver_call, sweep_deliveries, working_with
from handlers.app_to_app import LONG, TEMPLATES, limits, notify, read
from handlers.texts import TEXTS
from tests.events import Stored
from tests.pushes import bodies, only_body

SECRET = "marker-8f3a"  # what a client sends, and must not read again
FRIENDS: dict[str, dict[str, Any]] = {
    "users/ann": {"display_name": "Ann"},
    "users/bob": {"language": "fr"},
    "users/ann/friends/bob": {},
}
TALK = {"member_ids": ["ann", "bob"]}
ANN, BOB = Reference("users/ann"), Reference("users/bob")


def call(**data: Any) -> CallableRequest:
    return CallableRequest("notify", "ann", "request-1", data, datetime.now(UTC))


def poke(**data: Any) -> CallableRequest:
    return call(**{"to": "bob", "template": "poke"} | data)


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ({"to": None}, "to"),
        ({"to": ""}, "to"),
        ({"to": 5}, "to"),
        ({"to": [SECRET]}, "to"),
        ({"to": "a" * 129}, "to"),
        ({"to": f"{SECRET}/friends/ann"}, "to"),
        ({"to": ".."}, "to"),
        ({"to": "__all__"}, "to"),
        ({"to": "\ud800"}, "to"),
        ({"to": "ann"}, "to"),
        ({"template": None}, "template"),
        ({"template": SECRET}, "template"),
        ({"template": [SECRET]}, "template"),
        ({"template": {SECRET: 1}}, "template"),
        ({"params": SECRET}, "params"),
        ({"params": [SECRET]}, "params"),
        ({"params": {SECRET: "x"}}, "params"),
        ({"params": {"minutes": 5}}, "params"),  # not one of poke's
        ({"params": {"conversation_id": None}}, "params.conversation_id"),
        ({"params": {"conversation_id": 7}}, "params.conversation_id"),
        ({"params": {"conversation_id": f"{SECRET}/x"}}, "params.conversation_id"),
        ({"params": {"conversation_id": "c" * 129}}, "params.conversation_id"),
        ({"template": "call_me", "params": {"minutes": "5"}}, "params.minutes"),
        ({"template": "call_me", "params": {"minutes": True}}, "params.minutes"),
        ({"template": "call_me", "params": {"minutes": 5.0}}, "params.minutes"),
        ({"template": "call_me", "params": {"minutes": 4}}, "params.minutes"),
        ({"template": "call_me", "params": {"minutes": 121}}, "params.minutes"),
        ({"template": "call_me", "params": {"minutes": {"@type": LONG}}}, "params.minutes"),
        (
            {"template": "call_me", "params": {"minutes": {"@type": [SECRET], "value": "9"}}},
            "params.minutes",
        ),
        ({"sender": SECRET}, "data"),
        ({SECRET: "x"}, "data"),
        ({"message": {"title": SECRET}}, "data"),
    ],
)
def test_what_is_not_as_it_has_to_be_is_named_and_not_repeated(
    sent: dict[str, Any], named: str
) -> None:
    with pytest.raises(CallRefused) as raised:
        read(poke(**sent))
    assert raised.value.code == "invalid-argument"
    assert str(raised.value).split()[0] == named
    assert SECRET not in str(raised.value)
    assert len(str(raised.value)) < 100


@pytest.mark.parametrize(
    "documents",
    [
        {"users/ann/friends/bob": {}},
        {"users/ann/friend_requests/bob": {"status": "accepted"}},
        {"users/bob/friend_requests/ann": {"status": "accepted"}},
        {"conversations/c1": TALK, "users/bob": {}},
        {"conversations/c1": {"member_ids": {"3": "ann", "9": "bob"}}, "users/bob": {}},
        {"conversations/c1": {"member_ids": [ANN, BOB, 5, ""]}, "users/bob": {}},
        {"conversations/c1": TALK | {"muted_by": {"bob": False}}, "users/bob": {}},
        {"conversations/c1": TALK | {"muted_by": "bob"}, "users/bob": {}},
    ],
)
async def test_a_friend_or_a_member_of_the_same_conversation_may_be_told(
    documents: dict[str, dict[str, Any]],
) -> None:
    push = await notify(poke(params={"conversation_id": "c1"}), Stored(documents))
    assert only_body(push)["recipients"] == {"custom_ids": ["bob"]}


STRANGERS: list[dict[str, dict[str, Any]]] = [
    {},
    {"users/bob": {"display_name": "Bob"}},
    {"users/ann/friends/eve": {}, "users/eve/friends/bob": {}},
    {"users/ann/friend_requests/bob": {"status": "pending"}},
    {"users/bob/friend_requests/ann": {"status": ["accepted"]}},
    {"conversations/c1": {"member_ids": ["ann"]}},
    {"conversations/c1": {"member_ids": ["bob", "eve"]}},
    {"conversations/c1": {"member_ids": "ann bob"}},
    {"conversations/c1": {"member_ids": {"ann": True, "bob": True}}},
    {"conversations/c1": {"member_ids": [["ann"], {"bob": 1}]}},
    {"conversations/c2": TALK},
    {  # Bob's id is what Tom is to Batch
        "conversations/c1": TALK,
        "users/tom": {"push_muted": True, "batch": {"custom_ids": ["bob"]}},
    },
]


async def test_nobody_learns_whether_a_stranger_is_there() -> None:
    """The same answer after the same one look-up, whatever the reason."""
    seen = set()
    for documents in STRANGERS:
        stored = Stored(documents)
        with pytest.raises(CallRefused) as raised:
            await notify(poke(params={"conversation_id": "c1"}), stored)
        seen.add((raised.value.code, str(raised.value), tuple(stored.reads)))
    ((code, _, reads),) = seen
    assert code == "permission-denied"
    assert len(reads) == 1


@pytest.mark.parametrize(
    "documents",
    [
        FRIENDS | {"users/bob": {"push_muted": True}},
        {"users/bob": {}, "conversations/c1": TALK | {"muted_by": ["bob"]}},
        {"users/bob": {}, "conversations/c1": TALK | {"muted_by": {"bob": True}}},
    ],
)
async def test_who_wants_no_pushes_gets_none_and_the_sender_is_not_told(
    documents: dict[str, dict[str, Any]],
) -> None:
    push = await notify(poke(params={"conversation_id": "c1"}), Stored(documents))
    assert bodies(push) == []


async def test_the_words_are_ours_and_in_the_language_of_the_one_who_reads_them() -> None:
    body = only_body(await notify(poke(), Stored(FRIENDS)))
    assert body == {
        "group_id": "poke",
        "recipients": {"custom_ids": ["bob"]},
        "message": {"title": "Ann", "body": "👋 Pense à vous"},
        "deeplink": "myapp://users/ann",
        "gcm_collapse_key": {"enabled": True, "key": "poke-ann"},
        "time_to_live": 3600,
    }


@pytest.mark.parametrize("name", [None, "", "  ", 5, "\ud800"])
async def test_a_sender_without_a_name_is_someone(name: Any) -> None:
    stored = Stored(FRIENDS | {"users/ann": {"display_name": name}, "users/bob": {}})
    message = only_body(await notify(poke(), stored))["message"]
    assert message == {"title": "👋 Hello", "body": "Someone is thinking of you"}


@pytest.mark.parametrize(
    ("minutes", "said"),
    [
        ({}, "📞 Aimerait que vous l’appeliez"),
        ({"minutes": 20}, "📞 Aimerait que vous l’appeliez d’ici 20 minutes"),
        # as the client for iOS sends an Int
        (
            {"minutes": {"@type": LONG, "value": "20"}},
            "📞 Aimerait que vous l’appeliez d’ici 20 minutes",
        ),
    ],
)
async def test_a_parameter_stands_in_the_words(minutes: dict[str, Any], said: str) -> None:
    push = await notify(poke(template="call_me", params=minutes), Stored(FRIENDS))
    assert only_body(push)["message"] == {"title": "Ann", "body": said}


@pytest.mark.parametrize(
    ("documents", "link"),
    [
        (FRIENDS | {"conversations/c1": TALK}, "myapp://conversations/c1"),
        (FRIENDS | {"conversations/c1": {"member_ids": ["bob"]}}, "myapp://users/ann"),
        (FRIENDS, "myapp://users/ann"),
    ],
)
async def test_the_link_leads_to_a_conversation_only_if_both_are_in_it(
    documents: dict[str, dict[str, Any]], link: str
) -> None:
    push = await notify(poke(params={"conversation_id": "c1"}), Stored(documents))
    assert only_body(push)["deeplink"] == link


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("language", TEXTS)
async def test_every_template_has_words_in_every_language(template: str, language: str) -> None:
    stored = Stored(FRIENDS | {"users/bob": {"language": language}})
    body = only_body(await notify(poke(template=template), stored))
    assert body["message"]["body"] == TEXTS[language][template].body["other"]


def test_limits_are_per_sender_and_per_pair() -> None:
    everybody, to_bob = limits(poke())
    assert limits(poke(template="call_me")) == [everybody, to_bob]
    assert limits(poke(to="eve"))[0] == everybody
    assert limits(poke(to="eve"))[1] != to_bob
    assert (everybody.max_count, to_bob.max_count) == (30, 5)


async def test_whoever_finishes_a_call_logs_the_id_of_its_record_and_nothing_of_the_caller(
    capsys: pytest.CaptureFixture[str],
) -> None:
    request = poke()
    house = Project(FRIENDS, request.time, {})
    house.batch.answer = httpx.Response(503)
    with working_with(house.worker):
        with suppress(TryAgainLater):
            await deliver_call(request, notify, limits(request))
        house.batch.answer = None
        house.clock.forward(Timing().redelivery)
        capsys.readouterr()
        await sweep_deliveries()
    lines = capsys.readouterr().out
    assert request.request_id not in lines
    assert "/ann" not in lines
    named = {
        (line["event_id"], line.get("document")) for line in map(json.loads, lines.split("\n")[:-1])
    }
    assert named == {(request.change.delivery_id, None)}
