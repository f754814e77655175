import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush import InvalidDocument, InvalidPush, Push
from batchpush.delivery.plan import Context, plan
from batchpush.documents import Reference
from handlers.outbox import outbox
from tests.deliveries import claimed
from tests.events import Stored, created
from tests.pushes import only_body, sent

LEAST = {
    "group_id": "sale",
    "recipients": {"custom_ids": ["ann"]},
    "message": {"body": "Hello"},
}
MOST = {
    "group_id": "sale",
    "recipients": {"custom_ids": ["ann"], "install_ids": ["i1"], "tokens": ["t1"]},
    "message": {"title": "Sale", "body": "Hello"},
    "deeplink": "myapp://sale",
    "media": {"picture": "https://example.com/p.jpg"},
    "gcm_collapse_key": {"enabled": True, "key": "sale"},
    "priority": "normal",
    "time_to_live": 60,
    "labels": ["OFFERS"],
    "custom_payload": '{"sale": 7}',
    "sandbox": False,
    "skip_media_check": True,
}


AT = datetime(2026, 5, 4, 12, 20, 30, tzinfo=UTC)  # two hours after the event


ADA = Reference("users/ada")
NAN = float("nan")


async def pushed(**fields: Any) -> Push:
    push = sent(await outbox(created("pushes/p1", fields, push_id="p1"), Stored({})))
    assert push is not None
    return push


@pytest.mark.parametrize("document", [LEAST, MOST])
async def test_the_document_is_the_body_of_the_call(document: dict[str, Any]) -> None:
    assert only_body(await pushed(**document)) == document


async def test_what_is_not_known_of_batch_goes_into_extra_and_is_sent_as_it_is() -> None:
    push = await pushed(**LEAST, extra={"new_at_batch": {"a": 1}, "since": AT})
    assert only_body(push) == LEAST | {"new_at_batch": {"a": 1}, "since": AT.isoformat()}
    assert push.ignored == ()


async def test_the_fields_of_the_back_end_are_not_sent_and_the_outcome_names_them() -> None:
    own = {"created_at": AT, "created_by": "ann", "delivery": {"state": "PENDING"}, "none": None}
    push = await pushed(**LEAST, **own)
    assert only_body(push) == LEAST
    assert push.ignored == ("created_at", "created_by", "delivery")
    planned = plan(
        claimed(event_time=AT),
        push,
        Context(now=AT, lease_until=AT, apps=("ios", "android")),
    )
    assert planned.record.summary()["ignored"] == ["created_at", "created_by", "delivery"]
    assert "ignored" not in claimed().summary()


async def test_of_many_and_long_names_the_outcome_has_some_and_their_beginnings() -> None:
    push = await pushed(
        **LEAST, **{f"{number:02}" * 999: 1 for number in range(99)}, **{"\ud800": 1}
    )
    assert push.ignored == tuple(f"{number:02}" * 50 for number in range(20))


@pytest.mark.parametrize(
    "custom_ids", [["bob", ADA], {"3": "bob", "7": ADA}, [None, "bob", None, ADA]]
)
async def test_people_may_be_references_and_a_list_may_have_holes(custom_ids: object) -> None:
    push = await pushed(**LEAST | {"recipients": {"custom_ids": custom_ids}})
    assert only_body(push)["recipients"] == {"custom_ids": ["bob", "ada"]}


async def test_a_null_in_a_map_means_the_same_as_nothing() -> None:
    push = await pushed(
        **LEAST
        | {
            "recipients": {"custom_ids": ["ann"], "tokens": None},
            "message": {"body": "Hello", "title": None, "subtitle": None},
            "media": {"picture": "https://example.com/p.jpg", "icon": None, "gif": None},
            "gcm_collapse_key": {"key": "sale", "enabled": None},
        }
    )
    assert only_body(push) == LEAST | {
        "media": {"picture": "https://example.com/p.jpg"},
        "gcm_collapse_key": {"key": "sale", "enabled": True},
    }


async def test_times_in_maps_are_sent_as_iso_8601() -> None:
    landing = {"theme": "t", "actions": [{"args": {"at": AT}}]}
    body = only_body(await pushed(**LEAST, custom_payload={"at": AT, "by": ADA}, landing=landing))
    assert json.loads(body["custom_payload"]) == {"at": AT.isoformat(), "by": "users/ada"}
    assert body["landing"]["actions"] == [{"args": {"at": AT.isoformat()}}]


async def test_a_whole_number_may_come_as_javascript_and_the_realtime_database_have_it() -> None:
    (call,) = (await pushed(**LEAST, time_to_live=60.0)).calls(("android",))
    assert b'"time_to_live":60' in call.body
    assert b"60.0" not in call.body


async def test_a_document_may_choose_its_apps() -> None:
    push = await pushed(**LEAST, apps=["ios_driver"])
    assert [call.app for call in push.calls(("ios", "ios_driver"))] == ["ios_driver"]


@pytest.mark.parametrize(
    "best_before", [AT, AT.isoformat(), AT.timestamp() * 1000, "2026-05-04T14:20:30+02:00"]
)
async def test_a_document_may_say_how_long_it_is_worth_sending(best_before: object) -> None:
    assert (await pushed(**LEAST, best_before=best_before)).fresh_for == timedelta(hours=2)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"group_id": None}, "group_id is missing"),
        ({"group_id": 5}, "group_id must be a string"),
        ({"group_id": "a b"}, "group_id must be letters"),
        ({"recipients": None}, "recipients is missing"),
        ({"recipients": ["ann"]}, "recipients must be a map"),
        ({"recipients": {"users": ["ann"]}}, "recipients.users is not one of custom_ids"),
        ({"recipients": {"person": "ann"}}, "recipients.person is not one of custom_ids"),
        (
            {"recipients": {"custom_ids": ["ann"], "send_at": AT}},
            "recipients.send_at is not one of custom_ids, install_ids, tokens, advertising_ids$",
        ),
        ({"recipients": {"custom_ids": "ann"}}, "recipients.custom_ids must be a list"),
        ({"recipients": {"custom_ids": [5]}}, "recipients.custom_ids.0. must be a string"),
        (
            {"recipients": {"custom_ids": ["a", "b", "c", ""]}},
            "recipients.custom_ids.3. must be a string that is not blank",
        ),
        (
            {"recipients": {"custom_ids": ["a", "a\nb"]}},
            "recipients.custom_ids.1. must be one line",
        ),
        ({"recipients": {"tokens": ["x" * 4097]}}, "recipients.tokens.0. must be at most 4096"),
        ({"recipients": {"custom_ids": {"0": "a", "9": 5}}}, "recipients.custom_ids.1. must be"),
        ({"recipients": {"custom_ids": {"a": True}}}, "recipients.custom_ids must be a list"),
        (
            {"recipients": {"custom_ids": ["a", Reference("teams/1")]}},
            "recipients.custom_ids.1. is a reference to a document outside users/",
        ),
        (
            {"recipients": {"install_ids": [ADA]}},
            "recipients.install_ids.0. must be a string that is not blank, not a reference",
        ),
        ({"recipients": {"custom_ids": None}}, "recipients is empty"),
        ({"message": {"body": None}}, "message.body is missing"),
        ({"recipients": {}}, "recipients is empty"),
        ({"message": None}, "message is missing"),
        ({"message": {}}, "message.body is missing"),
        ({"message": {"text": "Hello"}}, "message.text is not one of body, title"),
        ({"message": {"body": 5}}, "message.body must be a string"),
        ({"message": {"body": "Hello", "title": 5}}, "message.title must be a string"),
        ({"media": {"gif": "https://example.com"}}, "media.gif is not one of"),
        ({"media": {"picture": "http://example.com"}}, "media must hold https"),
        ({"gcm_collapse_key": "sale"}, "gcm_collapse_key must be a map"),
        ({"custom_payload": "no JSON"}, "custom_payload must be a map"),
        ({"labels": "OFFERS"}, "labels must be"),
        ({"apps": ["windows"]}, "apps names apps that are not in BATCH_APPS"),
        ({"apps": "ios"}, "apps must be a list"),
        ({"best_before": "soon"}, "best_before is not a date and time"),
        ({"best_before": "2026-05-04T12:00:00"}, "best_before must be a date and time with its"),
        ({"best_before": True}, "best_before must be a date and time"),
        ({"best_before": 1e300}, "best_before is not a date and time"),
        ({"best_before": AT + timedelta(days=2)}, "best_before must be at most 24 hours"),
        ({"best_before": 1.9e15}, "best_before is not a date and time"),
        ({"best_before": AT, "send_at": AT}, "best_before must be after send_at"),
        ({"best_before": AT, "send_at": "4100-01-01T00:00:00Z"}, "send_at must be at most 366 day"),
        ({"extra": {"priority": "high"}}, "extra must be a map"),
        ({"extra": 0}, "extra must be a map"),
        ({"custom_payload": {"at": b"bytes"}}, "custom_payload.at is bytes"),
        (
            {"landing": {"theme": "t", "actions": [{"args": {"x": NAN}}]}},
            r"landing.actions.0..args.x",
        ),
        ({"landing": {"theme": "t", "actions": "abc"}}, "landing must be a map with a theme and"),
        ({"landing": {"theme": "t", "actions": b"abc"}}, "landing must be a map with a theme"),
        ({"extra": {"new": [NAN]}}, r"extra.new.0. is a number JSON cannot hold"),
        ({"deeplink": Reference("teams/1")}, "deeplink must be .*, not a reference"),
        ({"group_id": ADA}, "group_id must be a string, not a reference"),
        ({"message": {"body": ADA}}, "message.body must be .*, not a reference"),
        ({"message": {"body": "\u200b\u2060"}}, "message.body must be a string that is not blank"),
        ({"message": {"body": "Hello", "title": "\u2066"}}, "message.title must be a string"),
        ({"time_to_live": 60.5}, "time_to_live must be whole seconds"),
    ],
)
async def test_a_wrong_field_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises((InvalidDocument, InvalidPush), match=named):
        list((await pushed(**LEAST | wrong)).calls(("ios",)))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
names = st.sampled_from([*MOST, "apps", "best_before", "extra", "landing", "messages", "x"])


@given(st.dictionaries(names, anything))
async def test_whatever_is_written_is_a_push_or_has_its_field_named(
    document: dict[str, Any],
) -> None:
    change = replace(created("pushes/p1", LEAST | document, push_id="p1"))
    try:
        push = sent(await outbox(change, Stored({})))
        if push is not None:
            list(push.calls(("ios", "android")))
    except (InvalidDocument, InvalidPush) as error:
        assert error.field  # noqa: PT017 - there is an error or there is none
