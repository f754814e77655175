"""A person's ids in a record, a body and a burst: found in every form, and nobody else's."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_type_hints
from urllib.parse import quote, unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from batchpush.delivery import erasure
from batchpush.delivery.erasure import Erasure, Person, body_names, burst_without, names, without
from batchpush.delivery.record import CallRecord, CallState, DeliveryState, Record
from batchpush.delivery.waiting import Window, name_of
from batchpush.pushes.push import ID_LISTS
from tests.deliveries import claimed

NOW = datetime(2026, 5, 4, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
FIRESTORE = "//firestore.googleapis.com/projects/demo-batchpush/databases/(default)"
P, A, R = CallState.PENDING, CallState.ACCEPTED, CallState.REFUSED
UID = "Qm3kZx81LwTnV0aYcR5dUeHfJgB2"  # as Firebase makes them
INSTALL = "0b9cf1a4-7f7e-4c1e-9d1b-6a6f5c0f3e2d"


def body(*custom_ids: str, **more: Any) -> str:
    push = {"group_id": "g", "message": {"body": "Hello"}} | more
    return json.dumps({"recipients": {"custom_ids": custom_ids}} | push, ensure_ascii=False)


def a_record(state: DeliveryState = DeliveryState.SENT, *calls: CallState, **more: Any) -> Record:
    record = claimed(
        "0f0f",
        NOW,
        id="ab" * 32,
        function="new_message",
        source=FIRESTORE,
        event_id="5f0c",
        document="conversations/c1/messages/m1",
        state=state,
        lease_until=None,
        group_id="new_message",
        calls=tuple(CallRecord("ios", 0, call) for call in calls or (A,)),
        bodies=(body("bob", "zoé"),),
    )
    return replace(record, **more)


def texts(value: Any) -> Iterator[str]:
    """Every text in it, the names in maps too."""
    if isinstance(value, str):
        yield value
    elif is_dataclass(value):
        yield from texts(vars(value))
    elif isinstance(value, Mapping):
        yield from texts([*value, *value.values()])
    elif isinstance(value, list | tuple):
        for each in value:
            yield from texts(each)


# Every field of a record


def forms(person: str) -> dict[str, str]:
    """An id in a text, in each way in which one can stand there."""
    encoded = quote(person, safe="")
    return {
        "plain": person,
        "in a path": f"users/{person}/x/y",
        "at the end of a path": f"users/{person}",
        "percent-encoded": f"https://example.com/o/users%2F{encoded}%2Fp.jpg",
        "encoded twice": f"myapp://open?link={quote(f'myapp://users/{encoded}', safe='')}",
        "in JSON": json.dumps({"sender": person}, ensure_ascii=False),
        "in ASCII JSON": json.dumps({"sender": [person]}),
        "in a link": f"myapp://users/{person}?from=push",
        "in a query": f"myapp://open?user={person}&x=1",
        "in quotes": f"31 T: '{person}' is not a custom id",
        "in a list": f"31 T: not known: ['tom', '{person}']",
        "in the event of a cart": f"carts/{person}@2026-05-04T10:20:30+00:00",
    }


def sentences(person: str) -> dict[str, str]:
    """For ids that no sentence has as a word or number of its own."""
    return {"in words": f"31 T: {person} is not known", "last": f"no such id: {person}."}


def anywhere(person: str) -> dict[str, str]:
    """For ids that are so long that nothing else is called so."""
    return {"in a key": f"friend-request-{person}", "in an id": f"dm_{person}_bob"}


def all_forms(person: str) -> dict[str, str]:
    found = forms(person)
    found |= sentences(person) if len(person) >= 3 and not person.isdecimal() else {}
    return found | (anywhere(person) if len(person) >= erasure.LONG else {})


def paths(person: str) -> dict[str, str]:
    found = {
        "Firestore": f"users/{person}/friend_requests/tom",
        "deeper": f"users/tom/friend_requests/{person}",
        "Realtime Database": f"friend_requests/tom/{person}",
        "percent-encoded": f"carts/{quote(person, safe='')}",
    }
    return found | ({"in an id": f"chats/bob_{person}"} if len(person) >= erasure.LONG else {})


# What erasure does not look into, and why that holds no id of a person.
WITHOUT_IDS = {
    "id": "a hash",
    "function": "a name in main.py",
    "owner": "a nonce",
    "burst": "a hash",
    "chunks": "a nonce and a number",
    "later": "hashes and times",
    "bodies_until": "a day",
    "people": "hashes, of which theirs is removed",
    "people_until": "a day",
    "day": "a day",
    "app": "a name in BATCH_APPS",
}
# Whose texts have forms of their own; all other fields are filled with all of `forms`.
OF_THEIR_OWN: dict[str, Callable[[str], dict[str, str]]] = {
    "document": paths,
    "report_to": paths,
    "about": paths,
    "source": lambda person: {
        "a caller": f"//firebase.callable/notify/{person}/databases/(default)"
    },
    "bodies": lambda person: bodies(person),
}


def bodies(person: str) -> dict[str, str]:
    lists = {name: body("bob", recipients={name: ["x", person]}) for name in ID_LISTS}
    fields = ("deeplink", "custom_payload", "landing", "media", "extra", "gcm_collapse_key")
    named = {
        f"{field} {form}": body("bob", **{field: {"a": [text]} if field != "deeplink" else text})
        for field in fields
        for form, text in all_forms(person).items()
    }
    key = body("bob", gcm_collapse_key={"enabled": True, "key": f"friend-request-{person}"})
    payload = body("bob", custom_payload=json.dumps({"from": person}))
    return lists | named | {"a key": key, "a payload": payload}


def filled(hint: Any, text: str, name: str) -> Any:
    """A value of a field's kind that holds the text."""
    if hint in (str, str | None):
        return text
    if hint == tuple[str, ...]:
        return (text,)
    if name == "left_out":
        return (("muted", ("bob", text)),)
    raise AssertionError(f"{name}: say here how a text stands in {hint}, and see erasure.OURS")


def cases(kind: type) -> Iterator[tuple[str, Any]]:
    """The fields of a kind that can hold a text and are looked into."""
    for name, hint in get_type_hints(kind).items():
        if "str" in repr(hint) and name not in WITHOUT_IDS:
            yield name, hint


def filled_records(person: str) -> Iterator[tuple[str, Record]]:
    for name, hint in cases(Record):
        for form, text in OF_THEIR_OWN.get(name, all_forms)(person).items():
            yield f"{name} {form}", a_record(**{name: filled(hint, text, name)})
    for name, hint in cases(CallRecord):
        for form, text in all_forms(person).items():
            call = replace(CallRecord("ios", 0, R), **{name: filled(hint, text, name)})
            yield f"calls.{name} {form}", a_record(DeliveryState.REFUSED, calls=(call,))


def test_what_erasure_does_not_look_into_holds_no_id() -> None:
    every = {each.name for kind in (Record, CallRecord) for each in fields(kind)}
    assert WITHOUT_IDS.keys() == erasure.OURS <= every


IDS = ["ann", "zoé", "a.b", 'a"b', "ann@example.com", "q", "42", "1042", "é 1", UID, INSTALL]


@pytest.mark.parametrize("person", IDS)
def test_every_field_that_can_hold_a_text_comes_out_without_the_id(person: str) -> None:
    """Generated from the fields: a new one fails here until it is known how to fill it."""
    for words, record in filled_records(person):
        assert names(record, person), words
        erased = without(person, record, NOW)
        assert erased.done, words
        assert erased.left is None, words
        assert not names(erased.record, person), words
        for text in texts(erased.record):
            assert not holds(text, person), (words, text)
        again = without(person, erased.record, NOW)
        assert (again.record, again.done) == (erased.record, ()), words


def holds(text: str, person: str) -> bool:
    word = re.compile(rf"(?<![^\W_]){re.escape(person)}(?![^\W_])")
    return any(word.search(each) for each in (text, unquote(text), unquote(unquote(text))))


@pytest.mark.parametrize(
    "state", [DeliveryState.RETRY, DeliveryState.WAITING, DeliveryState.CLAIMED]
)
@pytest.mark.parametrize("person", IDS)
def test_what_is_not_settled_comes_out_without_the_id_or_says_that_it_is_left(
    person: str, state: DeliveryState
) -> None:
    lists = {"custom_ids": [person, "bob"]}
    for words, record in filled_records(person):
        open_one = replace(record, state=state, calls=(CallRecord("ios", 0),))
        if state is DeliveryState.WAITING:
            open_one = open_one.waiting(NOW, lists, timedelta(hours=1))
        erased = without(person, open_one, NOW)
        assert erased.left or not names(erased.record, person), words
        settled = replace(erased.record, state=DeliveryState.SENT)
        assert not names(without(person, settled, NOW).record, person), words


ALMOST_LONG, JUST_LONG = "a" * 15, "a" * 16


@pytest.mark.parametrize(
    ("person", "text", "left"),
    [
        ("ann", "50%25 off", "50%25 off"),
        ("ann", "users%2Fann%2Fx", "users/(erased)/x"),
        ("ann", "users%25252Fann", "users/(erased)"),  # a link in a link in a link
        ("ann", "for ann: no", "for (erased): no"),
        ("ann", "ann.", "ann."),  # another id
        ("ann", "no ann.", "no (erased)."),
        ("ab", "for ab: no", "for ab: no"),
        ("ab", "for 'ab': no", "for '(erased)': no"),
        ("1234567", "over 1234567 bytes", "over 1234567 bytes"),
        ("12345678", "over 12345678 bytes", "over (erased) bytes"),
        (ALMOST_LONG, f"dm_{ALMOST_LONG}_bob", f"dm_{ALMOST_LONG}_bob"),
        (JUST_LONG, f"dm_{JUST_LONG}_bob", "dm_(erased)_bob"),
        (JUST_LONG, f"dm{JUST_LONG}", f"dm{JUST_LONG}"),
        ("zoé", '"zo\\u00e9"', '"(erased)"'),
        ('a"b', r'{"by":"a\"b"}', '{"by":"(erased)"}'),
        ('é"b', r'{"by":"é\"b"}', '{"by":"(erased)"}'),
    ],
)
def test_an_id_in_a_text_is_replaced_where_it_stands_alone(
    person: str, text: str, left: str
) -> None:
    assert Person.of(person).out_of(text) == left


@pytest.mark.parametrize(
    ("person", "path", "left"),
    [
        ("ann", "ann/ann", "ann/(erased)"),
        ("ann", "users/%61nn", "users/(erased)"),
        ("ann", "ann/ann/ann", "ann/(erased)/(erased)"),  # in the Realtime Database
        ("ann", "ann/ann/ann/ann", "ann/(erased)/ann/(erased)"),
        ("ann", "users/ann-marie", "users/ann-marie"),
        (UID, f"chats/bob_{UID}", "chats/bob_(erased)"),
    ],
)
def test_an_id_in_a_path_is_replaced_and_no_collection(person: str, path: str, left: str) -> None:
    assert Person.of(person).out_of_path(path) == left
    assert Person.of(person).is_in_path(path) is (left != path)
    assert not Person.of(person).is_in_path(None)


def test_of_two_ids_the_longer_one_is_replaced() -> None:
    person = Person.of("o", profile={"o'brien@x"})
    assert person.ids == {"o", "o'brien@x"}
    assert person.out_of_words("o'brien@x and o") == "(erased) and (erased)"


# Whatever the profile calls them


FOUND = ["ann", "cust-9", "i-1", INSTALL, "ann@example.com"]
ANN = Person.of("ann", "cust-9", profile={"i-1", INSTALL, "ann@example.com", "annette"})


@pytest.mark.parametrize(
    "identifier", ["ann", "cust-9", "i-1", INSTALL, "ann@example.com", "annette"]
)
@pytest.mark.parametrize("id_list", ID_LISTS)
def test_every_id_of_a_person_is_a_recipient_who_is_taken_out(
    identifier: str, id_list: str
) -> None:
    lists = {id_list: [identifier, "bob"], "tokens": ["t"]} | {id_list: [identifier, "bob"]}
    retry = a_record(DeliveryState.RETRY, P, bodies=(body(recipients=lists),))
    erased = without(ANN, retry, NOW)
    (left,) = erased.record.bodies
    assert json.loads(left)["recipients"] == lists | {id_list: ["bob"]}
    waiting = a_record(DeliveryState.WAITING).waiting(NOW, lists, timedelta(hours=1))
    assert without(ANN, waiting, NOW).record.waits_for == lists | {id_list: ["bob"]}
    sent = without(ANN, replace(retry, state=DeliveryState.SENT), NOW)
    assert sent.record.bodies == ()


@pytest.mark.parametrize("other", ["ann-marie", "friend-request-ann", "mary ann"])
def test_whom_a_push_waits_for_is_known_by_the_whole_id(other: str) -> None:
    waiting = a_record(DeliveryState.WAITING).waiting(
        NOW, {"custom_ids": [other]}, timedelta(hours=1)
    )
    assert not names(waiting, "ann")
    assert names(waiting, other)


@pytest.mark.parametrize(("waits_for", "is_theirs"), [("ann", True), ("bob", False)])
def test_what_waits_for_a_person_is_theirs(waits_for: str, is_theirs: bool) -> None:
    waiting = a_record(DeliveryState.WAITING).waiting(
        NOW, {"custom_ids": [waits_for]}, timedelta(hours=1)
    )
    assert names(waiting, ANN) is is_theirs


@pytest.mark.parametrize("identifier", FOUND)
def test_every_id_of_a_person_is_found_wherever_it_stands(identifier: str) -> None:
    for words, record in filled_records(identifier):
        assert names(record, ANN), words
        assert not names(without(ANN, record, NOW).record, ANN), words


def test_a_word_that_a_profile_calls_itself_is_left_in_what_others_are_sent() -> None:
    """Whoever writes `messages` into their profile does not empty everybody's records."""
    words = {"messages", "friend_requests", "Hello", "new_message", "firestore.googleapis.com"}
    hostile = Person.of("eve", profile={*words, "conversation", "example.com", "myapp"})
    link = body(
        "bob",
        group_id="new_message",
        deeplink="myapp://friend_requests/tom",
        gcm_collapse_key={"key": "conversation-c1"},
        media={"picture": "https://example.com/p.jpg"},
    )
    record = a_record(DeliveryState.REFUSED, R, bodies=(link,), reason="conversations/c1: no text")
    erased = without(hostile, record, NOW).record
    assert erased.bodies == record.bodies
    for name in ("document", "source", "function", "group_id"):
        assert getattr(erased, name) == getattr(record, name)


# Nobody else


OTHERS = ("ann-marie", "annie", "joann", "mary-ann", "ann_b", "b_ann", "ann.b", "ann@example.com")


@pytest.mark.parametrize("other", OTHERS)
def test_ids_that_hold_the_id_are_other_people_s(other: str) -> None:
    assert not names(of_somebody(other), "ann")
    assert not names(that_waits(other), "ann")


@pytest.mark.parametrize("person", ["a", "is", "31", "400", "1000"])
def test_words_and_numbers_of_sentences_are_nobody(person: str) -> None:
    call = CallRecord("ios", 0, R, status=400, problem="31 T: a title is over 1000 bytes; 400")
    assert not names(
        a_record(DeliveryState.REFUSED, calls=(call,), reason="a text is missing"), person
    )


def of_somebody(user_id: str) -> Record:
    """A record that is somebody's in every way but the links in its body."""
    return a_record(
        DeliveryState.REFUSED,
        R,
        source=f"//firebase.callable/notify/{user_id}/databases/(default)",
        event_id=f"carts/{user_id}@2026-05-04T10:20:30+00:00",
        document=f"users/{user_id}/friend_requests/{user_id}",
        reason=f"users/{user_id}: text is missing",
        about=(f"carts/{user_id}",),
        bodies=(body(user_id),),
    )


user_ids = st.text("ab1-_.@é ", min_size=1, max_size=5).filter(str.strip)


@given(user_ids, user_ids)
def test_who_is_erased_takes_nothing_from_a_record_of_somebody_else(
    person: str, other: str
) -> None:
    # In a sentence a blank ends an id, and so does a full stop before one: `1 ` and `1. ` are
    # taken for `1`, too often rather than not.
    words = f" {other} "
    assume(person != other)
    assume(not any(f" {person.strip()} " in each for each in (words, words.replace(". ", " "))))
    record = of_somebody(other)
    assert without(person, record, NOW).record == record
    assert names(record, other)
    assert not names(without(other, record, NOW).record, other)


# What an operator is told


IN_LINK = body("bob", deeplink="myapp://users/ann")


def two_bodies(first: str, of_first: CallState) -> Record:
    calls = (CallRecord("ios", 0, of_first), CallRecord("web", 1, P))
    return a_record(DeliveryState.RETRY, calls=calls, bodies=(first, body("bob")))


def that_waits(*custom_ids: str, about: tuple[str, ...] = ()) -> Record:
    record = a_record(DeliveryState.WAITING, about=about)
    return record.waiting(NOW, {"custom_ids": custom_ids}, timedelta(hours=1))


@pytest.mark.parametrize(
    ("record", "state", "done"),
    [
        (a_record(), "SENT", []),
        (a_record(bodies=(body("ann", "bob"),)), "SENT", ["bodies dropped"]),
        (a_record(bodies=(), reason="users/ann: no text"), "SENT", ["id replaced"]),
        (a_record(document="users/ann/x/y"), "SENT", ["bodies dropped", "id replaced"]),
        (a_record(about=("users/ann/x/y",)), "SENT", ["bodies dropped", "id replaced"]),
        (a_record(report_to="users/ann/d/1"), "SENT", ["bodies dropped", "id replaced"]),
        (a_record(report_to="conversations/c1/messages/m1/deliveries/ann"), "SENT", []),
        (a_record(sender="ann"), "SENT", ["bodies dropped", "id replaced"]),
        (
            a_record(DeliveryState.RETRY, P, bodies=(body("ann", "bob"),)),
            "RETRY",
            ["removed from the recipients"],
        ),
        (
            a_record(DeliveryState.CLAIMED, P, bodies=(body("ann"),), lease_until=NOW),
            "REFUSED",
            [
                "removed from the recipients",
                "body 0 dropped",
                "ios body 0 refused: it has no recipient left",
            ],
        ),
        (
            two_bodies(body("ann"), P),
            "RETRY",
            [
                "removed from the recipients",
                "body 0 dropped",
                "ios body 0 refused: it has no recipient left",
            ],
        ),
        (two_bodies(IN_LINK, A), "RETRY", ["body 0 dropped"]),
        (
            a_record(DeliveryState.CLAIMED, P, sender="ann", lease_until=NOW),
            "REFUSED",
            ["refused: they are its sender", "bodies dropped", "id replaced"],
        ),
        (
            a_record(DeliveryState.RETRY, CallState.HELD, P, sender="ann"),
            "HELD",
            ["refused: they are its sender", "bodies dropped", "id replaced"],
        ),
        (
            replace(that_waits("bob"), sender="ann"),
            "REFUSED",
            ["refused: they are its sender", "bodies dropped", "id replaced"],
        ),
        (that_waits("ann", "bob"), "WAITING", ["removed from the recipients"]),
        (that_waits("bob", about=("users/ann/x/y", "a/b")), "WAITING", ["documents dropped"]),
        (
            that_waits("ann", about=("users/ann/x/y", "a/b")),
            "OBSOLETE",
            ["removed from the recipients", "documents dropped"],
        ),
    ],
)
def test_what_was_done_is_told(record: Record, state: str, done: list[str]) -> None:
    erased = without("ann", record, LATER)
    assert (erased.record.state.value, list(erased.done)) == (state, done)
    assert erased.left is None
    if done:
        assert erased.record.revision == record.revision + 1
        assert erased.record.updated_at == LATER
        assert len(erased.record.owner) == 16 != len(record.owner)
        assert erased.record.lease_until is None
    if erased.record.is_settled:
        assert erased.record.not_before is None
    if erased.record.state is DeliveryState.OBSOLETE:
        assert erased.record.about == ()
    for before, after in zip(record.calls, erased.record.calls, strict=True):
        if after.state is not before.state:
            assert (after.state, after.problem) == (R, "erased")


@pytest.mark.parametrize(
    ("record", "left"),
    [
        (
            a_record(DeliveryState.CLAIMED, P, lease_until=NOW + timedelta(seconds=1)),
            "it is being sent: run this again in a minute",
        ),
        (
            a_record(DeliveryState.RETRY, P, bodies=(IN_LINK,)),
            "the id is in a push still to be sent: run this again once it is settled",
        ),
    ],
)
def test_what_has_to_wait_is_told(record: Record, left: str) -> None:
    assert without("ann", record, NOW) == Erasure(record, left=left)


def test_only_the_call_that_has_no_recipient_left_is_refused() -> None:
    record = replace(
        two_bodies(body("ann"), P), state=DeliveryState.CLAIMED, lease_until=NOW, sender="bob"
    )
    erased = without("ann", record, NOW).record
    assert [(call.app, call.state) for call in erased.calls] == [("ios", R), ("web", P)]
    assert erased.bodies == ("", body("bob"))
    assert (erased.state, erased.lease_until) == (DeliveryState.CLAIMED, NOW)
    assert without("zoe", erased, NOW) == Erasure(erased)


def test_what_is_left_of_a_body_is_as_it_was_sent() -> None:
    """Without blanks, and with its letters: what Batch is sent, and the record, are no larger."""
    both = body("ann", "bob", deeplink="myapp://zoé")
    erased = without("ann", a_record(DeliveryState.RETRY, P, bodies=(both,)), NOW).record
    left = json.loads(body("bob", deeplink="myapp://zoé"))
    assert erased.bodies == (json.dumps(left, ensure_ascii=False, separators=(",", ":")),)


def test_what_was_done_and_what_has_to_wait_are_told_together() -> None:
    both = body("ann", "bob", deeplink="myapp://users/ann")
    erased = without("ann", a_record(DeliveryState.RETRY, P, bodies=(both,)), NOW)
    assert erased.done == ["removed from the recipients"]
    assert "run this again" in str(erased.left)


@pytest.mark.parametrize("bodies", [(body("bob"),), (body("ann"),)])
def test_bodies_that_stay_are_kept_no_longer_than_before(bodies: tuple[str, ...]) -> None:
    record = a_record(reason="users/ann: no text", bodies=bodies, bodies_until="2026-05-05")
    erased = without("ann", record, NOW).record
    is_kept = bodies == (body("bob"),)
    assert erased.bodies == (bodies if is_kept else ())
    assert erased.bodies_until == ("2026-05-05" if is_kept else None)


# What they wrote


@dataclass(frozen=True, kw_only=True)
class Signed(Record):
    """A record that says who wrote the document."""

    sender: str | None = None


def signed(state: DeliveryState, *calls: CallState, **more: Any) -> Signed:
    return Signed(**vars(a_record(state, *calls)) | {"sender": "ann"} | more)


def from_caller(record: Record) -> Record:
    source = "//firebase.callable/notify/ann/databases/(default)"
    return replace(
        a_record(**{each: getattr(record, each) for each in ("state", "calls", "bodies")}),
        source=source,
    )


@pytest.mark.parametrize(
    "state", [DeliveryState.SENT, DeliveryState.REFUSED, DeliveryState.HELD, DeliveryState.EXPIRED]
)
@pytest.mark.parametrize("form", [lambda record: record, from_caller])
def test_what_a_person_wrote_goes_with_them(state: DeliveryState, form: Any) -> None:
    erased = without("ann", form(signed(state)), NOW).record
    assert erased.bodies == ()
    assert "ann" not in list(texts(erased))


@pytest.mark.parametrize("form", [lambda record: record, from_caller])
def test_what_a_person_wrote_and_was_not_sent_yet_is_not_sent(form: Any) -> None:
    erased = without("ann", form(signed(DeliveryState.RETRY, A, P)), NOW)
    assert erased.left is None
    assert (erased.record.state, erased.record.reason) == (DeliveryState.REFUSED, "erased")
    assert [call.state for call in erased.record.calls] == [A, R]
    assert not any(call.is_replayable(resend_unknown=True) for call in erased.record.calls)


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({}, DeliveryState.REFUSED),
        ({"burst": "b"}, DeliveryState.WAITING),  # what others wrote may be told with it
        ({"about": ("conversations/c1/messages/m2",)}, DeliveryState.WAITING),
    ],
)
def test_what_waits_with_the_words_of_others_is_still_told(
    more: dict[str, Any], state: DeliveryState
) -> None:
    waiting = signed(DeliveryState.WAITING, **more).waiting(
        NOW, {"custom_ids": ["bob"]}, timedelta(hours=1)
    )
    erased = without("ann", waiting, NOW)
    assert erased.record.state is state
    assert bool(erased.left) is (state is DeliveryState.WAITING)


def test_a_push_of_several_documents_goes_out_though_one_of_them_was_theirs() -> None:
    resumed = signed(DeliveryState.RETRY, P, waited_until=NOW)
    erased = without("ann", resumed, NOW)
    assert (erased.record, bool(erased.left)) == (resumed, True)


def test_the_name_that_an_app_gave_its_call_goes_with_a_person() -> None:
    call = a_record(
        source="//firebase.callable/notify/ann/databases/(default)",
        event_id="poke-ann-bob-1",
        document="notify/ann/poke-ann-bob-1",
    )
    erased = without("ann", call, NOW).record
    assert erased.event_id == "poke-(erased)-bob-1"
    assert erased.document == "notify/(erased)/poke-(erased)-bob-1"


def test_a_record_is_no_longer_found_by_the_person() -> None:
    ann, bob = (name_of("custom_ids", each) for each in ("ann", "bob"))
    erased = without("ann", a_record(people=(ann, bob)), NOW)
    assert (erased.record.people, list(erased.done)) == ((bob,), ["id replaced"])


def test_the_id_of_an_event_that_no_app_named_stays() -> None:
    event = signed(DeliveryState.SENT, event_id="poke-ann-1", document="pokes/poke-ann-1")
    erased = without("ann", event, NOW).record
    assert (erased.event_id, erased.document) == (event.event_id, event.document)


def test_a_profile_does_not_make_its_owner_the_sender_of_what_others_wrote() -> None:
    eve = Person.of("eve", profile={"ann"})
    for record in (signed(DeliveryState.RETRY, P), from_caller(signed(DeliveryState.RETRY, P))):
        assert without(eve, record, NOW).record == record


# Summaries


SUMMARY = "conversations/c1/messages/m1/deliveries/d1"


@pytest.mark.parametrize(
    ("record", "summary"),
    [
        (a_record(report_to=SUMMARY, bodies=(body("ann"),)), None),
        (
            a_record(DeliveryState.REFUSED, R, report_to=SUMMARY, reason="users/ann: no text"),
            SUMMARY,
        ),
        (a_record(report_to="users/ann/x/y/deliveries/d1"), "users/ann/x/y/deliveries/d1"),
        (
            a_record(document="users/ann/x/y", report_to="users/ann/x/y/deliveries/d1"),
            "users/ann/x/y/deliveries/d1",
        ),
        (
            a_record(
                document="pushes/ann",
                report_to="pushes/ann/delivery/state",
                source="//firebasedatabase.googleapis.com/projects/_/locations/l/instances/i",
            ),
            None,  # it went with the document
        ),
    ],
)
def test_a_summary_that_names_a_person_is_to_be_deleted(
    record: Record, summary: str | None
) -> None:
    erased = without("ann", record, NOW)
    assert erased.summary == summary
    assert erased.done


# Bodies


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        (body("bob", deeplink="myapp://users/ann-marie"), True),  # too often rather than not
        (body("bob", deeplink="myapp://users/annie"), False),
        (body("bob", message={"title": "Ann", "body": "Hi ann!"}), False),
        (body("bob", group_id="ann"), False),
    ],
)
def test_a_short_id_is_not_a_word_of_the_message(text: str, is_named: bool) -> None:
    assert body_names(text, "ann") is is_named


@pytest.mark.parametrize(
    "more",
    [
        {"message": {"body": f"User {UID} has joined"}},
        {"message": {"body": f"users%2F{UID}"}},
        {"group_id": f"g_{UID}"},
        {"extra": {"members": {UID: True}}},
        {"custom_payload": json.dumps({"members": {UID: True}})},
    ],
)
def test_a_long_id_is_found_wherever_it_stands(more: dict[str, Any]) -> None:
    assert body_names(body("bob", **more), UID)


# Bursts


def test_a_burst_comes_out_without_the_person_s_windows_and_documents() -> None:
    window = Window(NOW)
    theirs = [name_of(id_list, each) for id_list in ID_LISTS for each in ("ann", INSTALL, "i-1")]
    bob_s = name_of("custom_ids", "bob")
    stored = {
        "windows": {name: vars(window) for name in (*theirs, bob_s)},
        "about": {
            "d1": ["conversations/c1/messages/m2", "users/ann/x/y"],
            "d2": ["friend_requests/b/ann"],
        },
        "expire_at": NOW,
    }
    changed = burst_without(ANN, stored)
    assert changed == {
        "windows": {bob_s: vars(window)},
        "about": {"d1": ["conversations/c1/messages/m2"]},
    }
    assert burst_without(ANN, stored | changed) == {}
    assert burst_without(Person.of("eve", profile={"messages"}), stored) == {}


def test_a_burst_may_have_neither_windows_nor_documents() -> None:
    assert burst_without(ANN, {}) == {}
    theirs = {"windows": {name_of("custom_ids", "ann"): vars(Window(NOW))}}
    assert burst_without(ANN, theirs) == {"windows": {}}


@pytest.mark.parametrize(
    ("person", "document", "is_theirs"),
    [
        ("ann", "a/b", True),
        ("bob", "users/ann/x/y", True),
        ("bob", "users/ann-marie/x/y", False),
        ("ann-marie", "a/b", False),
    ],
)
def test_whose_an_item_of_a_digest_is(person: str, document: str, is_theirs: bool) -> None:
    assert erasure.is_item_of(ANN, {"person": person, "document": document}) is is_theirs


@pytest.mark.parametrize(
    ("newest", "by", "left", "writers"),
    [
        (["a/b", "users/ann/x/y"], ["bob", "bob"], ["a/b"], []),
        (["a/b"], [name_of("custom_ids", "ann")], ["a/b"], []),
        (["a/b"], ["bob"], ["a/b"], ["bob"]),
    ],
)
def test_a_burst_says_no_more_what_the_person_wrote(
    newest: list[str], by: list[str], left: list[str], writers: list[str]
) -> None:
    stored = {"windows": {}, "about": {"d1": {"count": 2, "newest": newest, "by": by}}}
    joined = (stored | burst_without(ANN, stored))["about"]["d1"]
    assert joined == {"count": 2, "newest": left, "by": writers}


def test_a_profile_has_ids_in_whatever_form() -> None:
    lists = {"custom_ids": ["c"], "install_ids": {"0": "i", "7": "j"}, "tokens": "t", "x": [1, ""]}
    assert erasure.profile_ids({"batch": lists}) == {"c", "i", "j", "t"}
    for as_text in (json.dumps(lists), json.dumps(["c"])):
        assert "c" in erasure.profile_ids({"batch": as_text})
    assert erasure.profile_ids({"batch": 5}) == erasure.profile_ids({}) == set()
