"""The local Batch's Custom Data API, and who a campaign is for."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from emulators.batch import Batch, create_app
from emulators.batch.checks import first_refusal
from emulators.batch.gdpr import CREATION_RULES
from emulators.batch.person_apis import PersonApis
from emulators.batch.profiles import MAX_PEOPLE, audience, profile_refusal
from emulators.batch.tracked import Tracked
from emulators.serving import in_background

HEADERS = {"X-Authorization": "0123456789abcdef"}
CITY = {"values": {"u.city": "Lyon"}}


@pytest.mark.parametrize(
    ("values", "problem", "is_lenient"),
    [
        ({"u.city": "Lyon", "u.age": 3, "u.premium": True, "u.score": 0.5}, None, None),
        ({"date(u.last)": "2026-05-04T12:00:00", "ut.topics": ["ski"]}, None, None),
        ({"u.city": None, "ut.topics": None, "date(u.last)": None}, None, None),
        ({}, "not empty", False),
        ({"city": "Lyon"}, "no name of an attribute", True),
        ({"u." + "x" * 31: 1}, "no name of an attribute", True),
        ({"u.city": "x" * 65}, "at most 64", True),
        ({"u.city": "🍝" * 33}, "at most 64", True),
        ({"u.city": ""}, "at most 64", True),
        ({"u.city": {"name": "Lyon"}}, "a text of at most", True),
        ({"ut.topics": "ski"}, "an array", True),
        ({"ut.topics": []}, "left out or null if empty", True),
        ({"ut.topics": ["x" * 65]}, "at most 64", True),
        ({"date(u.last)": "yesterday"}, "yyyy-MM-dd", True),
        ({"date(u.last)": "2026-05-04T12:00:00Z"}, "yyyy-MM-dd", True),
    ],
)
def test_attributes_are_judged(
    values: dict[str, Any], problem: str | None, is_lenient: bool | None
) -> None:
    """`is_lenient` is whether the lenient mode judges it, too."""
    for lenient in (False, True):
        refused = profile_refusal("ann", {"overwrite": False, "values": values}, lenient)
        if problem is None or (lenient and not is_lenient):
            assert refused is None
        else:
            assert refused is not None
            assert (refused.status, problem in refused.body["message"]) == (400, True)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ([{"id": "ann", "update": CITY}, {"id": "bob", "update": CITY}], None),
        ([], "a list of people"),
        (CITY, "a list of people"),
        ([{"update": CITY}], "[0]: `id` is missing"),
        ([{"id": 1, "update": CITY}], "`id` must be a text"),
        ([{"id": "ann"}], "`update` is missing"),
        ([{"id": "ann", "update": CITY}, {"id": "bob", "update": {}}], "[1]: `values` is missing"),
        ([{"id": str(n), "update": CITY} for n in range(MAX_PEOPLE + 1)], "over 10000"),
    ],
)
def test_a_list_of_people_is_judged(body: Any, problem: str | None) -> None:
    refused = profile_refusal("", body)
    assert (refused is None) == (problem is None)
    assert refused is None or problem is None or problem in refused.body["message"]


@pytest.fixture
def batch() -> Iterator[Batch]:
    apps = {"ios": "IOSKEY", "android": "ANDROIDKEY"}
    with in_background(create_app(apps, HEADERS.values())) as url:
        yield Batch(url)


def post(batch: Batch, path: str, body: Any) -> httpx.Response:
    url = f"{batch.url}/1.0/IOSKEY/{path}"
    return httpx.post(url, json=body, headers=HEADERS, timeout=60, trust_env=False)


def test_what_is_taken_is_merged_by_person_and_app(batch: Batch) -> None:
    assert post(batch, "data/users/ann", CITY).json().keys() == {"token"}
    more = {"values": {"u.city": None, "ut.topics": ["ski"]}}
    assert post(batch, "data/users/ann", more).status_code == 200
    assert post(batch, "data/users", [{"id": "a/b", "update": CITY}]).status_code == 200
    assert post(batch, "data/users/a%2Fb", {"overwrite": True, **more}).status_code == 200
    tags = {"ut.topics": ["ski"]}
    assert batch.profiles() == [
        {"app": "ios", "id": "ann", "values": tags},
        {"app": "ios", "id": "a/b", "values": tags},
    ]
    batch.clear_profiles()
    assert batch.profiles() == []


def test_what_is_refused_changes_nothing(batch: Batch) -> None:
    assert post(batch, "data/users/ann", {"values": {"city": "Lyon"}}).json()["code"] == 31
    url = f"{batch.url}/1.0/IOSKEY/data/users/ann"
    refused = httpx.post(url, content="{", headers=HEADERS, timeout=60, trust_env=False)
    assert refused.json()["code"] == 32
    assert batch.profiles() == []
    assert [call["accepted"] for call in batch.calls()] == [False, False]


PEOPLE = {
    "ann": {"ut.topics": ["ski", "art"], "u.city": "Lyon"},
    "bob": {"ut.topics": ["art"], "u.city": "Rome"},
    "eve": {},
}


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ({"ut.topics": {"$contains": ["ski"]}}, ["ann"]),
        ({"ut.topics": {"$contains": ["art"]}}, ["ann", "bob"]),
        ({"ut.topics": {"$contains": ["art"]}, "u.city": "Rome"}, ["bob"]),
        ({"u.city": "Oslo"}, []),
        ({"u.city": {"$unheard": 1}}, None),
        ({}, None),
        (None, None),
    ],
)
def test_a_query_means_people(query: Any, ids: list[str] | None) -> None:
    assert audience(query, PEOPLE) == ids


def test_a_campaign_says_whom_it_targets(batch: Batch) -> None:
    post(batch, "data/users/ann", {"values": {"ut.topics": ["ski"]}})
    post(batch, "data/users/bob", {"values": {"ut.topics": ["art"]}})
    batch.add_dashboard_campaign(
        "IOSKEY",
        {
            "name": "Snow",
            "live": True,
            "push_time": "now",
            "messages": [{"language": "en", "body": "It snows"}],
            "targeting": {"query": {"ut.topics": {"$contains": ["ski"]}}},
        },
    )
    (campaign,) = batch.campaigns()
    assert campaign["audience"] == ["ann"]


def test_events_are_kept_by_person(batch: Batch) -> None:
    told = {"name": "ue.added_to_cart", "label": "Shoes"}
    assert post(batch, "events/users/ann", {"events": [told]}).status_code == 201
    assert post(batch, "events/users", [{"id": "bob", "events": [told]}]).status_code == 201
    assert post(batch, "events/users/ann", {"events": [{"name": "added"}]}).json()["code"] == 31
    assert batch.tracked() == [
        {"app": "ios", "id": "ann", "event": told},
        {"app": "ios", "id": "bob", "event": told},
    ]


def test_a_removal_forgets_a_person_in_one_app_and_is_listed(batch: Batch) -> None:
    post(batch, "data/users/ann", CITY)
    post(batch, "data/users/bob", CITY)
    ids = [post(batch, "gdpr/request", removal(who)).json()["request_id"] for who in ("ann", "eve")]
    assert [each["id"] for each in batch.profiles()] == ["bob"]
    url = f"{batch.url}/1.0/IOSKEY/gdpr"
    told = [
        httpx.get(f"{url}/request/{each}", headers=HEADERS, timeout=60, trust_env=False).json()
        for each in ids
    ]
    assert [(each["status"], each.get("error")) for each in told] == [
        ("done", None),
        ("done", "user not found"),
    ]
    listed = httpx.get(f"{url}/requests", headers=HEADERS, timeout=60, trust_env=False).json()
    assert listed == told == batch.removals("IOSKEY")
    unknown = httpx.get(f"{url}/request/none", headers=HEADERS, timeout=60, trust_env=False)
    assert unknown.status_code == 404


def test_the_page_shows_people_whom_the_apps_know_alike_once() -> None:
    apis = PersonApis({"IOSKEY": "ios", "ANDROIDKEY": "android"})
    for app_key in ("IOSKEY", "ANDROIDKEY"):
        apis.profiles.update(app_key, "ann", CITY)
    apis.profiles.update("IOSKEY", "bob", {"values": {"u.city": "Rome"}})
    apis.tracked.append(Tracked("ios", "bob", {"name": "ue.left"}))
    assert apis.known() == [
        {"id": "ann", "apps": ["ios", "android"], "values": {"u.city": "Lyon"}, "events": []},
        {"id": "bob", "apps": ["ios"], "values": {"u.city": "Rome"}, "events": ["ue.left"]},
    ]


def removal(who: str) -> dict[str, Any]:
    return {"request_type": "remove", "id": {"type": "custom_id", "value": who}}


@pytest.mark.parametrize(
    ("body", "is_lenient"),
    [
        ({"id": {"type": "custom_id", "value": "ann"}}, True),
        ({"request_type": "forget", "id": {"type": "custom_id", "value": "ann"}}, True),
        ({"request_type": "remove"}, False),
        ({"request_type": "remove", "id": "ann"}, False),
        ({"request_type": "remove", "id": {"type": "email", "value": "ann"}}, False),
        (removal("ann") | {"reason": "left"}, False),
    ],
)
def test_what_a_request_must_hold_is_judged(body: dict[str, Any], is_lenient: bool) -> None:
    """`is_lenient` is whether the lenient mode judges it, too."""
    for lenient in (False, True):
        refused = first_refusal(CREATION_RULES, body, None, lenient)
        assert (refused is not None) == (not lenient or is_lenient)
