import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchpush.events.change
import handlers.people
from batchpush import Document, InvalidDocument, Message, Push, QuietHours, Recipients
from batchpush.delivery.plan import Context, plan
from batchpush.delivery.record import DeliveryState
from batchpush.documents import Reference
from batchpush.pushes.push import ID_LISTS
from handlers.people import (
    MAX_IDS,
    MAX_PEOPLE,
    NO_ID,
    PROFILE,
    Person,
    in_their_words,
    people,
    person,
    person_ids,
    recipients,
    who_is_told,
)
from tests.deliveries import claimed
from tests.events import Stored
from tests.pushes import PATIENT, PROFILES, read_by

NIGHT = datetime(2026, 6, 10, 22, 0, tzinfo=UTC)
ALWAYS = {"start": "00:00", "end": "23:59"}


def somebody(user_id: str = "ann", **profile: Any) -> Person:
    return person(user_id, Document(f"users/{user_id}", profile))


def test_a_person_as_the_profile_says() -> None:
    ann = somebody(
        display_name=" Ann ",
        language="fr-CA",
        time_zone="America/Montreal",
        push_muted=True,
        batch={"install_ids": ["i1"]},
    )
    assert (ann.name, ann.language, ann.is_muted) == ("Ann", "fr", True)
    assert ann.zone is not None
    assert ann.zone.key == "America/Montreal"
    assert ann.batch == {"install_ids": ["i1"]}


@pytest.mark.parametrize(
    "profile",
    [
        None,
        {},
        {"display_name": None, "language": None, "time_zone": None, "batch": None},
        {"display_name": " ", "language": "", "time_zone": "", "batch": {}},
        {"display_name": 5, "language": 5, "time_zone": 5, "push_muted": 5, "batch": 5},
        {"display_name": ["Ann"], "language": ["fr"], "time_zone": {}, "batch": ["i1"]},
        {"display_name": "\ud800", "language": "\ud800", "time_zone": "\ud800"},
        {"time_zone": "Mars/Olympus", "push_muted": "true"},
        {"time_zone": "../../etc/passwd"},
        {"time_zone": "America"},
        {"push_preferences": True},
        {"push_preferences": ["game_turn"]},
        {"push_preferences": {"game_turn": "false", "poke": 0, "call_me": None}},
        {"quiet_hours": None},
        {"quiet_hours": "22:00"},
        {"quiet_hours": {"start": "22:00"}},
        {"quiet_hours": {"start": "22:00", "end": "24:00"}},
        {"quiet_hours": {"start": "10pm", "end": 7}},
        {"batch": {"custom_ids": "ann", "tokens": {"a": "t"}, "install_ids": []}},
        {"batch": {"custom_ids": ["", " ", 5, None, "\ud800", "a\nb", "a" * 1024]}},
        {"batch": {"install_ids": ["i" * 1025, "é" * 513, "\u200b"], "tokens": ["t" * 5000]}},
        {"display_name": "\u200b\u2060", "language": "français", "time_zone": "x" * 10**6},
        {"display_name": Reference("users/ann"), "language": Reference("teams/1")},
        {"quiet_hours": {"start": "10:00 PM", "end": "07:00"}},
        {"quiet_hours": {"start": "2200", "end": "0700"}},
        {"quiet_hours": {"start": NIGHT, "end": NIGHT}},
        {"quiet_hours": {"start": "22:00", "end": "07:00", "enabled": False}},
        {"quiet_hours": {"start": "22:00", "end": "07:00", "enabled": "no"}},
        {"quiet_hours": {"start": "22:60", "end": "07:00"}},
        {"quiet_hours": {"start": "22:00:99", "end": "07:00"}},
        {"quiet_hours": {"start": "٢٢:00", "end": "07:00"}},
    ],
)
def test_what_a_profile_lacks_or_has_wrong_counts_as_absent(profile: Any) -> None:
    ann = person("ann", None if profile is None else Document("users/ann", profile))
    assert ann == Person(
        user_id="ann",
        name=None,
        language="en",
        zone=None,
        is_muted=False,
        preferences={},
        quiet=None,
        batch={"custom_ids": ("ann",)},
        has_profile=profile is not None,
        own_language=(profile or {}).get("language"),
    )


@pytest.mark.parametrize(
    ("start", "end"),
    [("22:00", "07:00"), ("22:00:00", "7:00"), (" 22:00 ", "07:00:59"), ("22:00:00.000", "7:00")],
)
def test_quiet_hours_as_people_write_them(start: str, end: str) -> None:
    hours = {"start": start, "end": end}
    quiet = QuietHours(time(22), time(7), ZoneInfo("Europe/Paris"))
    for zone in ("Europe/Paris", " Europe/Paris ", "europe/paris"):
        assert somebody(quiet_hours=hours, time_zone=zone).quiet == quiet
        assert somebody(quiet_hours=hours | {"enabled": True}, time_zone=zone).quiet == quiet
    assert somebody(quiet_hours=hours).quiet == QuietHours(time(22), time(7), UTC)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quiet_hours", {"start": "marker 10:00 PM", "end": "marker"}),
        ("quiet_hours", "marker"),
        ("quiet_hours", {"start": "22:00", "end": "07:00", "enabled": "marker"}),
        ("time_zone", "marker"),
        ("language", "marker!"),
        ("display_name", ["marker"]),
        ("push_muted", "marker"),
        ("push_preferences", "marker"),
        ("push_preferences", {"marker": "marker", "game_turn": False}),
        ("batch", "marker"),
        ("batch.custom_ids", "marker"),
        ("batch.tokens", ["marker" * 1000]),
        ("batch.install_ids", [f"marker-{number}" for number in range(11)]),
        ("batch.advertising_ids", {"marker": True}),
    ],
)
def test_what_is_not_understood_is_named_once_in_a_process_and_not_repeated(
    field: str, value: object, capsys: pytest.CaptureFixture[str]
) -> None:
    batchpush.documents.warn_of_field.cache_clear()
    name, _, inner = field.partition(".")
    for user_id in ("ann", "bob"):
        somebody(user_id, **{name: {inner: value} if inner else value})
    out = capsys.readouterr().out
    assert "marker" not in out
    (line,) = out.splitlines()
    assert json.loads(line) == {
        "severity": "WARNING",
        "message": "field.invalid",
        "data": {"field": field},
    }


@pytest.mark.parametrize(
    "profile",
    [
        {},
        {"display_name": " ", "language": "", "time_zone": "", "quiet_hours": None},
        {"language": "ja", "push_muted": False, "batch": {"tokens": None, "custom_ids": [None]}},
        {"push_preferences": {"game_turn": None, "poke": False}},
        {"quiet_hours": {"enabled": False}},
        {"batch": {"custom_ids": ["ann", "ann"], "install_ids": {"3": "i1", "8": "i2"}}},
    ],
)
def test_what_is_only_absent_is_not_warned_of(
    profile: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    batchpush.documents.warn_of_field.cache_clear()
    somebody(**profile)
    assert capsys.readouterr().out == ""


def test_a_list_that_lost_its_first_items_in_the_realtime_database_is_one_still() -> None:
    ann = somebody(batch={"install_ids": {"3": "i1", "8": "i2"}, "tokens": [None, "t1"]})
    assert ann.batch == {"install_ids": ["i1", "i2"], "tokens": ["t1"]}


def test_of_many_ids_the_first_count() -> None:
    ids = [f"i{number}" for number in range(60)]
    assert somebody(batch={"install_ids": ids}).batch == {"install_ids": ids[:MAX_IDS]}


def test_a_name_is_shown_in_one_line() -> None:
    assert somebody(display_name="\u202eAnn\u200b \n Lee\u2069").name == "Ann Lee"


def test_one_wrong_field_leaves_the_others() -> None:
    ann = somebody(display_name=5, language="fr", batch={"custom_ids": ["a1", 5], "tokens": 5})
    assert (ann.name, ann.language) == (None, "fr")
    assert ann.batch == {"custom_ids": ["a1"]}


class Masked(Stored):
    """What is stored, only with the fields that were asked for."""

    fields: Sequence[str] = ()

    async def many(self, *paths: str, fields: Sequence[str] = ()) -> list[Document | None]:
        self.fields = fields
        found = await super().many(*paths)
        return [
            document and Document(document.path, {k: v for k, v in document.items() if k in fields})
            for document in found
        ]


async def test_people_are_read_at_once_and_only_what_is_needed_of_them() -> None:
    look_up = Masked({"users/ann": {"display_name": "Ann", "diary": "…"}})
    ann, bob = await people(look_up, "ann", "bob")
    assert (ann.name, bob.name) == ("Ann", None)
    assert look_up.reads == [("users/ann", "users/bob")]
    assert look_up.fields == PROFILE


async def test_for_nobody_nothing_is_read() -> None:
    look_up = Stored({})
    assert await people(look_up) == []
    assert look_up.reads == []


def test_more_people_than_are_looked_up_for_one_push_are_named_with_both_numbers() -> None:
    ids = [f"u{number}" for number in range(MAX_PEOPLE + 1)]
    assert person_ids(Document("c", {"ids": ids[:-1]}), "ids") == tuple(ids[:-1])
    assert person_ids(Document("c", {}), "ids") is None
    with pytest.raises(InvalidDocument, match="c: ids has 1001 people; the maximum is 1000"):
        person_ids(Document("c", {"ids": ids}), "ids")


# Groups


def lists(group: Recipients) -> dict[str, Sequence[str]]:
    return {name: getattr(group, name) for name in ID_LISTS if getattr(group, name)}


def test_those_who_read_the_same_are_one_group_unless_they_have_ids_of_their_own() -> None:
    told = [
        somebody("ann"),
        somebody("zoé", language="fr"),
        somebody("bob", language="en-GB", batch={"custom_ids": ["b1", "b2"], "install_ids": ["i"]}),
        somebody("tom", time_zone="Asia/Tokyo"),
        somebody("eva", batch={"custom_ids": ["eva"]}),
    ]
    assert {(group.reads, group.person): lists(group) for group in recipients(told, "g")} == {
        ("en", None): {"custom_ids": ["ann", "eva"]},
        ("en", "bob"): {"custom_ids": ["b1", "b2"], "install_ids": ["i"]},
        ("fr", None): {"custom_ids": ["zoé"]},
        ("en Asia/Tokyo", None): {"custom_ids": ["tom"]},
    }


def test_who_has_no_id_that_batch_takes_is_left_out_whatever_the_push() -> None:
    told, left_out = who_is_told("flight_delayed", [somebody("x" * 1100), somebody("ann")])
    assert [one.user_id for one in told] == ["ann"]
    assert left_out == {NO_ID: ["x" * 1100]}
    assert somebody("x" * 1100, batch={"install_ids": ["i1"]}).why_not_told("poke") is None


def test_each_group_has_its_message() -> None:
    told = [somebody("ann"), somebody("zoé", language="fr"), somebody("bob")]
    said = in_their_words(told, lambda reader: Message(f"In {reader.language}"))
    assert said == {"en": Message("In en"), "fr": Message("In fr")}
    push = Push(group_id="g", recipients=recipients(told, "g"), message=said)
    assert read_by(push) == {"ann": "In en", "zoé": "In fr", "bob": "In en"}


def test_tokens_are_warned_of_once_in_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    handlers.people.warn_of_tokens.cache_clear()
    recipients([somebody("ann", batch={"custom_ids": ["a1"]})], "g")
    assert capsys.readouterr().out == ""
    recipients([somebody("ann", batch={"tokens": ["t1"]}), somebody(batch={"tokens": ["t2"]})], "g")
    recipients([somebody("ann", batch={"tokens": ["t1"]})], "g")
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"severity": "WARNING", "message": "recipients.tokens"}


@PATIENT
@given(PROFILES)
def test_whatever_a_profile_holds_there_is_a_push(profile: Mapping[str, Any]) -> None:
    told = [somebody("ann", **profile), somebody("bob")]
    said = in_their_words(told, lambda reader: Message(reader.name or "Hello"))
    push = Push(group_id="g", recipients=recipients(told, "g"), message=said)
    assert "bob" in read_by(push)


OTHERS = [
    somebody("zoé", language="fr"),
    somebody("bob"),
    somebody("tom", batch={"custom_ids": ["t1"], "install_ids": ["t2"], "tokens": ["t3"]}),
]


def claimed_for(told: Sequence[Person]) -> set[str]:
    """What is claimed for them: the bodies of the calls."""
    said = in_their_words(told, lambda reader: Message(f"In {reader.language}"))
    push = Push(group_id="g", recipients=recipients(told, "g", at_any_hour=True), message=said)
    planned = plan(
        claimed(event_time=NIGHT), push, Context(now=NIGHT, lease_until=NIGHT, apps=("ios",))
    )
    assert planned.large is None
    assert planned.record.state is DeliveryState.CLAIMED
    return set(planned.record.bodies)


def without(person: Person, body: str) -> str:
    """The body without a person's ids; empty if it is for nobody else."""
    call = json.loads(body)
    lists = {
        name: [each for each in ids if each not in person.batch.get(name, ())]
        for name, ids in call.pop("recipients").items()
    }
    call["recipients"] = {name: ids for name, ids in lists.items() if ids}
    is_for_others = bool(call["recipients"])
    return json.dumps(call, ensure_ascii=False, separators=(",", ":")) if is_for_others else ""


@PATIENT
@given(PROFILES, st.integers(0, len(OTHERS)))
def test_whatever_one_profile_holds_the_others_are_sent_the_same_bytes(
    profile: Mapping[str, Any], place: int
) -> None:
    eve = somebody("eve", **profile)
    sent = claimed_for([*OTHERS[:place], eve, *OTHERS[place:]])
    assert {without(eve, body) for body in sent} - {""} == claimed_for(OTHERS)


def test_32_profiles_of_60_long_ids_leave_the_others_their_push() -> None:
    ids = {name: [f"{number}" * 512 for number in range(60)] for name in ID_LISTS}
    hostile = [somebody(f"eve-{number}", batch=ids, quiet_hours=ALWAYS) for number in range(32)]
    assert claimed_for([*hostile, *OTHERS])
    assert max(len(group) for group in recipients(hostile, "g")) == MAX_IDS * len(ID_LISTS)
