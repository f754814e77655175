import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import handlers.people
from batchpush import Document, InvalidDocument, Message, Push, Recipients
from batchpush.push import ID_LISTS
from handlers.people import (
    MOST_PEOPLE,
    PROFILE,
    Person,
    in_their_words,
    people,
    person,
    person_ids,
    recipients,
)
from tests.events import Stored
from tests.pushes import ANYTHING, PATIENT, read_by


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
        {"quiet_hours": None},
        {"quiet_hours": "22:00"},
        {"quiet_hours": {"start": "22:00"}},
        {"quiet_hours": {"start": "22:00", "end": "24:00"}},
        {"quiet_hours": {"start": "10pm", "end": 7}},
        {"batch": {"custom_ids": "ann", "tokens": {"0": "t"}, "install_ids": []}},
        {"batch": {"custom_ids": ["", " ", 5, None, "\ud800", "a\nb", "a" * 1024]}},
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
        quiet=None,
        batch={"custom_ids": ("ann",)},
    )


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
    ids = [f"u{number}" for number in range(MOST_PEOPLE + 1)]
    assert person_ids(Document("c", {"ids": ids[:-1]}), "ids") == tuple(ids[:-1])
    assert person_ids(Document("c", {}), "ids") is None
    with pytest.raises(InvalidDocument, match="c: ids has 1001 people; at most 1000 can be"):
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
    assert {(group.reads, group.person): lists(group) for group in recipients(told)} == {
        ("en", None): {"custom_ids": ["ann", "eva"]},
        ("en", "bob"): {"custom_ids": ["b1", "b2"], "install_ids": ["i"]},
        ("fr", None): {"custom_ids": ["zoé"]},
        ("en Asia/Tokyo", None): {"custom_ids": ["tom"]},
    }


def test_each_group_has_its_message() -> None:
    told = [somebody("ann"), somebody("zoé", language="fr"), somebody("bob")]
    said = in_their_words(told, lambda reader: Message(f"In {reader.language}"))
    assert said == {"en": Message("In en"), "fr": Message("In fr")}
    push = Push(group_id="g", recipients=recipients(told), message=said)
    assert read_by(push) == {"ann": "In en", "zoé": "In fr", "bob": "In en"}


def test_tokens_are_warned_of_once_in_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    handlers.people._warn_of_tokens.cache_clear()
    recipients([somebody("ann", batch={"custom_ids": ["a1"]})])
    assert capsys.readouterr().out == ""
    recipients([somebody("ann", batch={"tokens": ["t1"]}), somebody(batch={"tokens": ["t2"]})])
    recipients([somebody("ann", batch={"tokens": ["t1"]})])
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {"severity": "WARNING", "message": "recipients.tokens"}


PROFILES = st.dictionaries(
    st.sampled_from(PROFILE),
    ANYTHING | st.dictionaries(st.sampled_from(ID_LISTS), st.lists(ANYTHING, max_size=3)),
)


@PATIENT
@given(PROFILES)
def test_whatever_a_profile_holds_there_is_a_push(profile: Mapping[str, Any]) -> None:
    told = [somebody("ann", **profile), somebody("bob")]
    said = in_their_words(told, lambda reader: Message(reader.name or "Hello"))
    push = Push(group_id="g", recipients=recipients(told), message=said)
    assert "bob" in read_by(push)
