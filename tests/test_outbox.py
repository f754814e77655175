import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush import InvalidDocument, InvalidPush, Push
from handlers.outbox import outbox
from tests.events import Stored, created

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


async def pushed(**fields: Any) -> Push:
    push = await outbox(created("pushes/p1", fields, push_id="p1"), Stored({}))
    assert push is not None
    return push


@pytest.mark.parametrize("document", [LEAST, MOST, LEAST | {"new_at_batch": {"a": 1}}])
async def test_the_document_is_the_body_of_the_call(document: dict[str, Any]) -> None:
    (call,) = (await pushed(**document)).calls(("android",))
    assert json.loads(call.body) == document


async def test_a_document_may_choose_its_apps() -> None:
    push = await pushed(**LEAST, apps=["ios_driver"])
    assert [call.app for call in push.calls(("ios", "ios_driver"))] == ["ios_driver"]


AT = datetime(2026, 5, 4, 12, 20, 30, tzinfo=UTC)  # two hours after the event


@pytest.mark.parametrize(
    "best_before", [AT, AT.isoformat(), AT.timestamp() * 1000, "2026-05-04T14:20:30+02:00"]
)
async def test_a_document_may_say_how_long_it_is_worth_sending(best_before: object) -> None:
    assert (await pushed(**LEAST, best_before=best_before)).best_before == timedelta(hours=2)


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
        ({"recipients": {"custom_ids": "ann"}}, "recipients.custom_ids must be a list"),
        ({"recipients": {"custom_ids": [5]}}, "recipients.custom_ids must be a list"),
        ({"recipients": {"custom_ids": None}}, "recipients.custom_ids must be a list"),
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
        ({"apps": ["windows"]}, "apps names apps that BATCH_APPS does not"),
        ({"apps": "ios"}, "apps must be a list"),
        ({"best_before": "soon"}, "best_before is not a date and time"),
        ({"best_before": "2026-05-04T12:00:00"}, "best_before must be a date and time with its"),
        ({"best_before": True}, "best_before must be a date and time"),
        ({"best_before": 1e300}, "best_before is not a date and time"),
        ({"best_before": AT + timedelta(days=2)}, "best_before must be at most 24 hours"),
        ({"extra": {"priority": "high"}}, "extra must be a map"),
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
        push = await outbox(change, Stored({}))
        assert push is not None
        list(push.calls(("ios", "android")))
    except (InvalidDocument, InvalidPush) as error:
        assert error.field  # noqa: PT017 - there is an error or there is none
