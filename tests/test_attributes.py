"""What of a profile becomes an attribute at Batch, and what is left out."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush import ConfigurationError, Document, Reference, check_names
from batchpush.profiles.requests import bodies, request_for
from batchpush.profiles.state import Mirrored
from batchpush.pushes.attributes import attribute
from emulators.batch.limits import size
from emulators.batch.profiles import profile_refusal
from handlers import attributes
from tests.pushes import ANYTHING, PROFILES

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "value", "is_sent", "problem"),
    [
        ("u.city", "Lyon", "Lyon", None),
        ("u.city", None, None, None),
        ("u.city", "  ", None, None),
        ("u.city", "x" * 64, "x" * 64, None),
        ("u.city", "x" * 65, None, "longer than 64 characters"),
        ("u.city", "🍝" * 32, "🍝" * 32, None),
        ("u.city", "🍝" * 32 + "x", None, "longer than 64 characters"),
        ("u.city", "☀" * 33, None, "longer than 64 characters"),
        ("u.city", "\ud800", None, "not valid Unicode"),
        ("u.city", Reference("cities/lyon"), None, "not a reference"),
        ("u.city", ["Lyon"], None, "not a list"),
        ("u.city", NOON, None, "not a datetime"),
        ("u.age", 42, 42, None),
        ("u.age", 4.5, 4.5, None),
        ("u.age", float("nan"), None, "must be a text, a number"),
        ("u.premium", False, False, None),
        ("date(u.last_order_at)", NOON, "2026-05-04T12:00:00", None),
        ("date(u.last_order_at)", "yesterday", None, "must be a time"),
        ("ut.topics", ["ski", "art", "ski"], ["ski", "art"], None),
        ("ut.topics", [], None, None),
        ("ut.topics", {}, None, "not a map"),
        ("ut.topics", {"0": "ski", "2": "art"}, ["ski", "art"], None),
        ("ut.topics", "ski", None, "must be a list of texts"),
        ("ut.topics", ["ski", "x" * 65, 3], ["ski"], "a tag that"),
        ("ut.topics", ["", None], None, None),
    ],
)
def test_what_batch_does_not_take_is_left_out(
    name: str, value: Any, is_sent: Any, problem: str | None
) -> None:
    told: list[str] = []
    assert attribute(name, value, told.append) == is_sent
    assert bool(told) == bool(problem)
    assert not problem or problem in told[0]


@pytest.mark.parametrize(
    "names",
    [["city"], ["u.City"], ["u." + "x" * 31], ["ut."], ["date(ut.x)"], ["u.city", "u.city"]],
)
def test_a_name_that_batch_does_not_take_stops_the_deployment(names: list[str]) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(names[0])):
        check_names(names)


def test_a_bad_value_is_named_once_and_the_others_go_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    attributes.warn.cache_clear()
    document = Document("users/ann", {"city": "x" * 65, "last_order_at": NOON, "topics": ["ski"]})
    for _ in range(2):
        values = attributes.profile(document).values
    assert values["u.city"] is None
    assert values["date(u.last_order_at)"] == "2026-05-04T12:00:00"
    assert values["ut.topics"] == ["ski"]
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (line["message"], line["severity"]) == ("attribute.invalid", "WARNING")
    assert line["data"]["field"] == "city"
    assert "xxx" not in json.dumps(line)


FIELDS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(attributes.ATTRIBUTES, ANYTHING | st.lists(st.text(max_size=70)))
)


@given(FIELDS, PROFILES)
def test_whatever_a_profile_holds_batch_takes_what_is_sent(
    fields: dict[str, Any], profile: dict[str, Any]
) -> None:
    made = attributes.profile(Document("users/ann", {**profile, **fields}))
    changes = Mirrored().changes(made, ["ios"])
    for group in bodies({"ann": changes["ios"]} if changes else {}):
        request = request_for(group.values())
        custom_id = request.route.removeprefix("data/users").removeprefix("/")
        assert request.body is not None
        assert profile_refusal(custom_id, json.loads(request.body)) is None


def test_people_are_split_over_requests_of_a_bounded_size() -> None:
    people = {f"u{n}": {f"u{n}": {"u.city": "x" * 60}} for n in range(12_000)}
    groups = list(bodies(people))
    assert [each for group in groups for each in group] == list(people)
    for group in groups:
        body = request_for(group.values()).body
        assert body is not None
        assert len(group) <= 10_000
        assert len(body) < 1_000_000


@pytest.mark.parametrize(
    ("custom_id", "route"),
    [("ann", "data/users/ann"), ("a/b c", "data/users/a%2Fb%20c"), ("..", "data/users")],
)
def test_an_id_leads_to_no_other_route(custom_id: str, route: str) -> None:
    assert request_for([{custom_id: {"u.city": "Lyon"}}]).route == route


def test_the_local_batch_counts_an_emoji_as_two() -> None:
    assert size("a🍝") == 3
