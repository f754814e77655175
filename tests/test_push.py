import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchpush.pushes.push
from batchpush.documents import Reference, is_blank
from batchpush.environment import CEP
from batchpush.errors import InvalidPush
from batchpush.pushes.campaign import RULES as RULES_OF_A_CAMPAIGN
from batchpush.pushes.push import (
    AROUND_IDS,
    ID_LISTS,
    RULES,
    Audience,
    CollapseKey,
    Media,
    Message,
    Push,
    Recipients,
    Rule,
    problem_of_id,
)
from batchpush.pushes.quiet_hours import QuietHours
from emulators.batch.rules import refusal
from tests.pushes import nested

ANN = Recipients(custom_ids=["ann"])
EVERYTHING: dict[str, Any] = {
    "title": "Title",
    "deeplink": "myapp://here",
    "media": Media(picture="https://example.com/p.jpg", icon="https://example.com/i.png"),
    "gcm_collapse_key": CollapseKey("key"),
    "priority": "high",
    "time_to_live": 3600,
    "labels": ["A", "B", "C"],
    "custom_payload": {"order": 7},
    "sandbox": False,
    "skip_media_check": True,
    "wp_template": "generic",
}


LANDING: dict[str, Any] = {"theme": "t", "actions": []}


def listed(times: int, value: object) -> object:
    """A list in a list in a list."""
    for _ in range(times):
        value = [value]
    return value


A_NUMBER: Any = 7


def push(**fields: Any) -> Push:
    title = fields.pop("title", None)
    defaults: dict[str, Any] = {
        "group_id": "g",
        "recipients": ANN,
        "message": Message("Hello", title),
    }
    return Push(**defaults | fields)


def bodies(push: Push, *apps: str) -> list[dict[str, Any]]:
    return [json.loads(call.body) for call in push.calls(apps or ("android",))]


def test_the_least_push_is_the_least_body() -> None:
    assert bodies(push()) == [
        {"group_id": "g", "message": {"body": "Hello"}, "recipients": {"custom_ids": ["ann"]}}
    ]


def test_times_are_sent_as_iso_8601() -> None:
    noon = datetime(2030, 6, 1, 12, 5, tzinfo=UTC)
    landing = LANDING | {"actions": [{"args": {"at": [noon]}}]}
    (body,) = bodies(push(custom_payload={"at": noon}, landing=landing, extra={"new": noon}))
    assert json.loads(body["custom_payload"]) == {"at": "2030-06-01T12:05:00+00:00"}
    assert body["landing"]["actions"] == [{"args": {"at": ["2030-06-01T12:05:00+00:00"]}}]
    assert body["new"] == "2030-06-01T12:05:00+00:00"


def test_whose_ids_they_are_is_not_told_to_batch() -> None:
    bob = Recipients(install_ids=["i1"], person="bob")
    (body,) = bodies(push(recipients=bob))
    assert body["recipients"] == {"install_ids": ["i1"]}


def test_every_field_arrives_under_batchs_name() -> None:
    assert bodies(push(**EVERYTHING, landing={"theme": "t", "actions": []}, extra={"new": 1})) == [
        {
            "group_id": "g",
            "recipients": {"custom_ids": ["ann"]},
            "message": {"title": "Title", "body": "Hello"},
            "deeplink": "myapp://here",
            "media": {
                "picture": "https://example.com/p.jpg",
                "icon": "https://example.com/i.png",
            },
            "gcm_collapse_key": {"enabled": True, "key": "key"},
            "priority": "high",
            "time_to_live": 3600,
            "labels": ["A", "B", "C"],
            "custom_payload": '{"order":7}',
            "landing": {"theme": "t", "actions": []},
            "sandbox": False,
            "skip_media_check": True,
            "wp_template": "generic",
            "new": 1,
        }
    ]


def test_the_longest_ids_are_as_long_as_batch_takes_them() -> None:
    longest: dict[str, Any] = {"custom_ids": ["x" * 1023], "tokens": ["x" * 4096]}
    (body,) = bodies(push(recipients=Recipients(**longest)))
    assert body["recipients"] == longest


def test_the_longest_time_to_live_is_28_days() -> None:
    (body,) = bodies(push(time_to_live=28 * 24 * 3600))
    assert body["time_to_live"] == 2_419_200


def test_a_silent_push_has_no_message() -> None:
    (body,) = bodies(push(message=None, push_type="background"))
    assert "message" not in body


def test_texts_may_be_given_as_batch_takes_them() -> None:
    texts = [{"language": "en", "body": "Hello"}]
    (body,) = bodies(push(message=None, extra={"messages": texts}))
    assert body["messages"] == texts


def test_a_payload_may_be_json_already() -> None:
    (body,) = bodies(push(custom_payload='{"a": 1}'))
    assert body["custom_payload"] == '{"a": 1}'


def test_a_push_may_be_for_some_apps_only() -> None:
    calls = push(apps=["ios_driver", "web"]).calls(("ios", "ios_driver", "android", "web"))
    assert [call.app for call in calls] == ["ios_driver", "web"]


def test_an_icon_is_kept_from_ios_apps() -> None:
    icon = Media(icon="https://example.com/i.png")
    both = Media(icon="https://example.com/i.png", picture="https://example.com/p.png")
    apps = ("ios", "ios_driver", "android")
    assert [body.get("media") for body in bodies(push(media=icon), *apps)] == [
        None,
        None,
        {"icon": "https://example.com/i.png"},
    ]
    assert "icon" not in bodies(push(media=both), "ios")[0]["media"]


def test_each_language_has_its_own_call_per_app() -> None:
    push_ = push(
        recipients=[
            Recipients(custom_ids=["ann"], reads="en"),
            Recipients(custom_ids=["zoé"], reads="fr"),
        ],
        message={"en": Message("Hello"), "fr": Message("Bonjour")},
    )
    calls = list(push_.calls(("ios", "android")))
    said = {(call.app, json.loads(call.body)["message"]["body"]) for call in calls}
    assert len(calls) == 4
    assert said == {(app, text) for app in ("ios", "android") for text in ("Hello", "Bonjour")}


def test_a_message_may_have_a_link_and_a_picture_in_place_of_the_pushs() -> None:
    picture = Media(picture="https://example.com/p.jpg")
    groups = [Recipients(custom_ids=[who], reads=who) for who in ("ann", "zoé")]
    french = Message("Bonjour", deeplink="myapp://fr", media=picture)
    sent = push(
        recipients=groups, message={"ann": Message("Hello"), "zoé": french}, deeplink="myapp://en"
    )
    of_ann, of_zoe = bodies(sent)
    assert (of_ann["deeplink"], "media" in of_ann) == ("myapp://en", False)
    assert of_zoe["message"] == {"body": "Bonjour"}
    assert (of_zoe["deeplink"], of_zoe["media"]) == ("myapp://fr", {"picture": picture.picture})


def test_languages_that_read_the_same_share_a_call() -> None:
    recipients = [
        Recipients(custom_ids=["ann"], reads="en"),
        Recipients(custom_ids=["zoé", "ann"], reads="fr"),
    ]
    for message in (Message("👍"), {"en": Message("👍"), "fr": Message("👍")}):
        (body,) = bodies(push(recipients=recipients, message=message))
        assert body["recipients"] == {"custom_ids": ["ann", "zoé"]}


ids = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(
    lambda text: not is_blank(text)
)


@given(
    custom_ids=st.lists(ids, max_size=40),
    tokens=st.lists(ids, max_size=40),
    most=st.integers(1, 9),
    room=st.integers(400, 900),
)
def test_every_id_is_in_one_call_per_app_and_no_call_is_too_large(
    custom_ids: list[str], tokens: list[str], most: int, room: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batchpush.pushes.push, "MAX_RECIPIENTS", most)
        patch.setattr(batchpush.pushes.push, "MAX_BODY", room)
        recipients = Recipients(custom_ids=custom_ids, tokens=tokens)
        if not len(recipients):
            return
        calls = list(push(recipients=recipients).calls(("ios", "android")))
    for app in ("ios", "android"):
        sent: Counter[tuple[str, str]] = Counter()
        for call in (call for call in calls if call.app == app):
            assert len(call.body) <= room
            lists = json.loads(call.body)["recipients"]
            assert 1 <= sum(map(len, lists.values())) <= most
            sent.update((name, value) for name, values in lists.items() for value in values)
        assert sent == Counter(
            {("custom_ids", i) for i in custom_ids} | {("tokens", i) for i in tokens}
        )
    assert len({(call.app, call.chunk) for call in calls}) == len(calls)


def test_two_bodies_of_a_chunk_fit_into_one_record() -> None:
    many = Recipients(custom_ids=[f"{number:0>1000}" for number in range(1000)])
    icon = Media(icon="https://example.com/i.png")
    calls = list(push(recipients=many, media=icon).calls(("ios", "android")))
    assert max(len(call.body) for call in calls) <= batchpush.pushes.push.MAX_BODY // 2
    assert {call.chunk for call in calls} == {0, 1, 2}
    assert len(bodies(push(recipients=many))) == 2, "a chunk's only body may be twice as large"


def test_a_call_is_as_full_as_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the room: of ids as short as can be, in lists of all names."""
    lists: dict[str, Any] = {name: [f"{number}" for number in range(30)] for name in ID_LISTS}
    for room in range(250, 400):
        monkeypatch.setattr(batchpush.pushes.push, "MAX_BODY", room)
        *full, last = push(recipients=Recipients(**lists)).calls(("android",))
        assert full
        assert all(room - AROUND_IDS < len(call.body) <= room for call in full)
        assert len(last.body) <= room


def test_all_but_the_recipients_may_be_100_000_bytes() -> None:
    rest = 100_000 - len('{"group_id":"g","message":{"body":""}}')
    assert bodies(push(message=Message("x" * rest)))
    with pytest.raises(InvalidPush, match="is larger than 100000 bytes without its recipients"):
        bodies(push(message=Message("x" * (rest + 1))))


def test_ten_thousand_and_one_recipients_are_two_calls() -> None:
    many = Recipients(custom_ids=[str(number) for number in range(10_001)])
    sizes = [len(body["recipients"]["custom_ids"]) for body in bodies(push(recipients=many))]
    assert sizes == [10_000, 1]


def test_a_push_that_waited_goes_to_those_who_still_want_it_as_it_was() -> None:
    night = QuietHours(time(22), time(7), UTC)
    lists: dict[str, Any] = {name: (f"{name}-1", f"{name}-2", f"{name}-3") for name in ID_LISTS}
    groups = [
        Recipients(**lists, reads="en", quiet=night),
        Recipients(custom_ids=["zoé"], reads="fr"),
    ]
    words = {"en": Message("Hello"), "fr": Message("Bonjour")}
    some: dict[str, Any] = {name: (f"{name}-1", f"{name}-3") for name in ID_LISTS}
    sent = push(recipients=groups, message=words, **EVERYTHING)
    assert sent.only_to({name: [*reversed(ids), "eve"] for name, ids in some.items()}) == replace(
        sent, recipients=[Recipients(**some, reads="en", quiet=night)]
    )
    assert sent.only_to({"custom_ids": ["zoé"]}) == replace(
        sent, recipients=[Recipients(custom_ids=("zoé",), reads="fr")]
    )
    assert sent.only_to({"tokens": ["zoé"]}) is None


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"group_id": "a group"}, "group_id"),
        ({"group_id": ""}, "group_id"),
        ({"recipients": Recipients()}, "recipients"),
        ({"recipients": []}, "recipients"),
        ({"recipients": Recipients(custom_ids="ann")}, "recipients.custom_ids"),
        ({"recipients": Recipients(custom_ids=[""])}, "recipients.custom_ids"),
        ({"recipients": Recipients(custom_ids=["x" * 1024])}, "recipients.custom_ids"),
        ({"recipients": Recipients(custom_ids=["a\nb"])}, "recipients.custom_ids"),
        ({"recipients": Recipients(install_ids=[A_NUMBER])}, "recipients.install_ids"),
        ({"recipients": Recipients(tokens=["x" * 4097])}, "recipients.tokens"),
        ({"message": Message("x" * 100_000)}, "body"),
        ({"message": None}, "message"),
        ({"message": {"fr": Message("Bonjour")}}, "message"),
        ({"message": Message("")}, "message.body"),
        ({"message": Message(A_NUMBER)}, "message.body"),
        ({"message": Message("\ud83d")}, "message.body"),
        ({"message": Message("Hello", "")}, "message.title"),
        ({"message": Message("Hello", deeplink="javascript:x")}, "deeplink"),
        ({"message": Message("Hello", media=Media(picture="http://a.com"))}, "media"),
        ({"deeplink": ""}, "deeplink"),
        ({"media": Media()}, "media"),
        ({"media": Media(picture="http://example.com/p.jpg")}, "media"),
        ({"gcm_collapse_key": CollapseKey("")}, "gcm_collapse_key"),
        ({"gcm_collapse_key": "key"}, "gcm_collapse_key"),
        ({"priority": "urgent"}, "priority"),
        ({"time_to_live": -1}, "time_to_live"),
        ({"time_to_live": 0}, "time_to_live"),
        ({"time_to_live": 2_419_201}, "time_to_live"),
        ({"time_to_live": True}, "time_to_live"),
        ({"labels": ["a", "b", "c", "d"]}, "labels"),
        ({"push_type": "loud"}, "push_type"),
        ({"labels": "abc"}, "labels"),
        ({"custom_payload": "[]"}, "custom_payload"),
        ({"custom_payload": "{"}, "custom_payload"),
        ({"apps": ["windows"]}, "apps"),
        ({"apps": []}, "apps"),
        ({"apps": "ios"}, "apps"),
        ({"fresh_for": timedelta(hours=25)}, "fresh_for"),
        ({"fresh_for": 3600}, "fresh_for"),
        ({"custom_payload": '{"n": NaN}'}, "custom_payload"),
        ({"custom_payload": {"at": object()}}, "custom_payload.at"),
        ({"custom_payload": {"n": float("nan")}}, "custom_payload.n"),
        ({"custom_payload": {"a": {"b": [1, b"bytes"]}}}, "custom_payload.a.b[1]"),
        ({"custom_payload": {"a": [{"\ud83d": 1}]}}, "custom_payload.a[0]"),
        ({"custom_payload": {"\ud83d": b"bytes"}}, "custom_payload"),
        ({"custom_payload": {"n": 10**5000}}, "custom_payload"),
        ({"custom_payload": nested(2000)}, "custom_payload"),
        ({"custom_payload": nested(2000, float("inf"))}, "custom_payload"),
        ({"landing": LANDING | {"title": {1}}}, "landing.title"),
        (
            {"landing": LANDING | {"actions": [{"args": {"x": float("-inf")}}]}},
            "landing.actions[0].args.x",
        ),
        ({"landing": {"theme": "t"}}, "landing"),
        ({"sandbox": 1}, "sandbox"),
        ({"skip_media_check": "yes"}, "skip_media_check"),
        ({"extra": {"deeplink": "x"}}, "extra"),
        ({"extra": {"new": "\ud83d"}}, "extra.new"),
        ({"extra": {"new": [b""]}}, "extra.new[0]"),
        ({"message": Message("\u200b\u2060")}, "message.body"),
        ({"message": Message("Hello", "\u200b")}, "message.title"),
    ],
)
def test_what_batch_would_refuse_is_refused_here_with_the_name_of_the_field(
    fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidPush) as raised:
        list(push(**fields).calls(("ios",)))
    assert raised.value.field == named


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"group_id": "a group"}, "group_id must be letters, digits, _ and - only"),
        ({"recipients": Recipients()}, "recipients is empty"),
        (
            {"recipients": Recipients(tokens=[" "])},
            "recipients.tokens must be a list of strings, none of them blank",
        ),
        (
            {"recipients": Recipients(tokens=["x" * 4097])},
            "recipients.tokens must be at most 4096 characters each",
        ),
        (
            {"recipients": Recipients(custom_ids=["x" * 1024])},
            "recipients.custom_ids must be one line under 1024 characters each",
        ),
        ({"apps": ["tv"]}, "apps names apps that are not in BATCH_APPS: ['tv']"),
        ({"message": None}, "message is missing"),
        ({"message": {"fr": Message("Bonjour")}}, "message has no text for those who read None"),
        ({"message": Message("")}, "message.body must be a string that is not blank"),
        (
            {"message": {"en": None}, "recipients": Recipients(custom_ids=["ann"], reads="en")},
            "message is missing",
        ),
        ({"message": Message("Hi", "")}, "message.title must be a string that is not blank"),
        ({"extra": {"new": {1}}}, "extra.new is set, which JSON cannot hold"),
        ({"extra": {"new": "\ud83d"}}, "extra.new is not valid Unicode"),
        ({"extra": {"new": {"\ud83d": 1}}}, "extra.new has a name that is not valid Unicode"),
        (
            {"extra": {"new": [datetime(2026, 5, 4, tzinfo=UTC), {1}]}},
            "extra.new[1] is set, which JSON cannot hold",
        ),
        ({"extra": {"new": (1.5, [{1}])}}, "extra.new[1][0] is set, which JSON cannot hold"),
        ({"extra": {"new": {(1, 2): 3}}}, "extra holds a value JSON cannot hold"),
        ({"landing": LANDING | {(1, 2): 3}}, "body holds a value JSON cannot hold"),
        ({"extra": nested(99, {1})}, f"extra{'.in' * 100} is set, which JSON cannot hold"),
        ({"extra": nested(100, {1})}, "extra is nested too deeply"),
        ({"extra": {"new": nested(2000)}}, "extra is nested too deeply"),
        (
            {"extra": {"in": listed(99, {1})}},
            f"extra.in{'[0]' * 99} is set, which JSON cannot hold",
        ),
        ({"extra": {"x": listed(100, {1})}}, "extra is nested too deeply"),
        ({"extra": {"new": [[{1}]] * 2}}, "extra.new[0][0] is set, which JSON cannot hold"),
        ({"landing": LANDING | {"x": float("nan")}}, "landing.x is a number JSON cannot hold"),
        ({"custom_payload": nested(2000)}, "custom_payload is nested too deeply"),
        (
            {"message": Message(Reference("users/ann"))},
            "message.body must be a string that is not blank, not a reference",
        ),
        (
            {"message": Message("Hi", Reference("users/ann"))},
            "message.title must be a string that is not blank, not a reference",
        ),
        (
            {"deeplink": Reference("teams/1")},
            "deeplink must be a link: https://, or of an app that DEEPLINK_BASE or "
            "DEEPLINK_SCHEMES names, not a reference",
        ),
    ],
)
def test_the_record_says_in_words_what_is_wrong(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidPush) as raised:
        bodies(push(**fields))
    assert str(raised.value) == said


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("ann", None),
        ("zoé", None),
        (" ", "must be a string that is not blank"),
        (7, "must be a string that is not blank"),
        (Reference("users/ann"), "must be a string that is not blank, not a reference"),
        ("two\nlines", "must be one line under 1024 characters"),
    ],
)
def test_an_id_that_batch_cannot_know_is_said_with_its_problem(
    value: object, problem: str | None
) -> None:
    assert problem_of_id("custom_ids", value) == problem


doubtful_only = {
    "group_id": st.text("abcXYZ019_-", min_size=1, max_size=130),
    "push_type": st.sampled_from(["alert", "background"]),
    "landing": st.just({"theme": "t", "actions": []}),
    "time_to_live": st.integers(1, 2_419_200),
}
optional = {name: st.just(value) for name, value in EVERYTHING.items() if name not in doubtful_only}


@given(st.fixed_dictionaries({}, optional=optional | doubtful_only))
def test_a_push_that_passes_here_passes_batchs_known_rules(fields: dict[str, Any]) -> None:
    for app in ("ios", "android", "web"):
        for body in bodies(push(**fields), app):
            assert refusal(body, app, lenient=True) is None


# On CEP

MIXED = {"ios": CEP, "android": "android", "web": CEP}


def calls_of(made: Push, apps: Any) -> list[tuple[str, int, list[str]]]:
    """Each call: what for, the chunk, and the ids, however they are listed."""
    bodies = [(call, json.loads(call.body)["recipients"]) for call in made.calls(apps)]
    return [
        (call.app, call.chunk, [each for ids in lists.values() for each in ids])
        for call, lists in bodies
    ]


def test_apps_on_cep_are_called_once_for_all_beside_the_others() -> None:
    both = Recipients(custom_ids=["ann"], tokens=["t"])
    assert calls_of(push(recipients=both), MIXED) == [
        ("android", 0, ["ann", "t"]),
        (CEP, 1, ["ann"]),
    ]
    assert calls_of(push(), dict.fromkeys(("ios", "web"), CEP)) == [(CEP, 0, ["ann"])]


@pytest.mark.parametrize(
    ("apps", "called"),
    [(None, [CEP, "android"]), (["web"], [CEP]), (["android"], ["android"])],
)
def test_a_push_for_some_apps_is_for_what_those_are_on(apps: Any, called: list[str]) -> None:
    assert push(apps=apps).called(MIXED) == called
    with pytest.raises(InvalidPush, match="BATCH_APPS"):
        push(apps=["windows"]).called(MIXED)


@pytest.mark.parametrize(
    ("people", "sizes"), [(1, [1]), (200, [200]), (201, [200, 1]), (401, [200, 200, 1])]
)
def test_a_call_to_cep_has_at_most_200_people(people: int, sizes: list[int]) -> None:
    ids = [f"u{number}" for number in range(people)]
    calls = calls_of(push(recipients=Recipients(custom_ids=ids)), {"ios": CEP})
    assert [len(told) for _, _, told in calls] == sizes
    assert [each for _, _, told in calls for each in told] == ids
    assert [chunk for _, chunk, _ in calls] == [*range(len(sizes))]


def test_a_body_for_cep_holds_what_an_event_can() -> None:
    (call,) = push(**EVERYTHING).calls({"ios": CEP})
    assert json.loads(call.body).keys() == {
        *("group_id", "message", "deeplink", "media", "custom_payload", "recipients")
    }


async def test_an_audience_has_chunks_for_both_platforms() -> None:
    async def groups() -> AsyncIterator[tuple[Recipients, Message | None]]:
        for number in range(250):
            yield Recipients(custom_ids=[f"u{number}"]), Message("Hello")

    made = Push(group_id="g", recipients=Audience(groups()))
    found = [calls async for calls, _ in made.chunks(MIXED, datetime(2026, 6, 10, tzinfo=UTC))]
    sizes = [
        (call.app, call.chunk, len(json.loads(call.body)["recipients"]["custom_ids"]))
        for calls in found
        for call in calls
    ]
    assert sizes == [(CEP, 0, 200), ("android", 1, 250), (CEP, 2, 50)]


@pytest.mark.parametrize("rule", [*RULES, *RULES_OF_A_CAMPAIGN], ids=lambda rule: rule.field)
def test_every_rule_says_whether_it_is_batchs_and_how_well_that_is_known(rule: Rule) -> None:
    known, _, where = rule.source.partition(": ")
    assert known in {"official", "client", "inferred", "ours"}
    assert where or known == "ours"
