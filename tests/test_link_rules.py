"""Addresses anywhere in a push or a campaign, as the settings allow them."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchpush.addresses import NO_APPS
from batchpush.environment import process_settings
from batchpush.errors import InvalidPush
from batchpush.pushes.campaign import Campaign
from batchpush.pushes.link_rules import DATA, check_links, check_payload
from batchpush.pushes.push import Media, Message, Push, Recipients

PUSH = Push(group_id="g", recipients=Recipients(custom_ids=["ann"]), message=Message(body="Hello"))
CAMPAIGN = Campaign(
    name="Sale", push_time="now", messages=[{"language": "en", "body": "Half price"}]
)


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment, which the next push is checked by."""
    process_settings.cache_clear()
    yield monkeypatch
    process_settings.cache_clear()


def landing(**fields: Any) -> dict[str, Any]:
    return {"theme": "t", "actions": []} | fields


def tapped(link: str) -> dict[str, Any]:
    return landing(actions=[{"action": "batch.deeplink", "label": "Go", "args": {"l": link}}])


INNER = "http://10.0.0.1/p.jpg"
REFUSED_IN_A_PUSH = [
    ({"deeplink": "otherapp://x"}, "deeplink"),
    ({"media": Media(picture="https://127.0.0.1.nip.io/p.jpg")}, "media"),
    ({"landing": tapped("otherapp://x")}, "landing.actions[0].args.l"),
    ({"landing": tapped("http://example.com/")}, "landing.actions[0].args.l"),
    ({"landing": tapped("javascript:alert(1)")}, "landing.actions[0].args.l"),
    ({"landing": tapped(" java\nscript:alert(1)")}, "landing.actions[0].args.l"),
    ({"landing": tapped("intent:#Intent;component=a/.B;end")}, "landing.actions[0].args.l"),
    ({"landing": tapped("https://bank.example.com@evil.com")}, "landing.actions[0].args.l"),
    ({"landing": landing(image=INNER)}, "landing.image"),
    ({"landing": landing(image="p.jpg")}, "landing.image"),
    ({"landing": landing(close={"deeplink": "orders/1"})}, "landing.close.deeplink"),
    ({"extra": {"messages": [{"deeplink": "otherapp://x"}]}}, "extra.messages[0].deeplink"),
    ({"extra": {"messages": [{"media": {"icon": INNER}}]}}, "extra.messages[0].media.icon"),
    ({"extra": {"click": "otherapp://x"}}, "extra.click"),
    ({"extra": {"a": {"custom_payload": '{"b": "file:///etc"}'}}}, "extra.a.custom_payload.b"),
    ({"custom_payload": {"link": "otherapp://x"}}, "custom_payload.link"),
    ({"custom_payload": {"a": [{"b": "javascript:alert(1)"}]}}, "custom_payload.a[0].b"),
    ({"custom_payload": '{"a": "data:text/html,x"}'}, "custom_payload.a"),
    ({"custom_payload": {"a": "INTENT://x"}}, "custom_payload.a"),
]


@pytest.mark.parametrize(("fields", "named"), REFUSED_IN_A_PUSH)
def test_a_push_with_an_address_that_is_not_allowed_is_refused_naming_it(
    fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidPush) as refused:
        replace(PUSH, **fields).check()
    assert refused.value.field == named


REFUSED_IN_A_CAMPAIGN = [
    ({"landing": tapped("otherapp://x")}, "landing.actions[0].args.l"),
    ({"custom_payload": {"link": "otherapp://x"}}, "custom_payload.link"),
    ({"batch": {"deeplink": "otherapp://x"}}, "batch.deeplink"),
    ({"batch": {"media": {"picture": INNER}}}, "batch.media.picture"),
    ({"batch": {"custom_payload": '{"a": "otherapp://x"}'}}, "batch.custom_payload.a"),
    ({"batch": {"ab": {"versions": [{"link": "otherapp://x"}]}}}, "batch.ab.versions[0].link"),
]
REFUSED_IN_A_LANGUAGE = [
    ({"deeplink": "otherapp://x"}, "messages[0].deeplink"),
    ({"deeplink": "sale"}, "messages[0].deeplink"),
    ({"media": {"picture": INNER}}, "messages[0].media.picture"),
    ({"landing": tapped("otherapp://x")}, "messages[0].landing.actions[0].args.l"),
]


@pytest.mark.parametrize(("fields", "named"), REFUSED_IN_A_CAMPAIGN)
def test_a_campaign_with_an_address_that_is_not_allowed_is_refused_naming_it(
    fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidPush) as refused:
        replace(CAMPAIGN, **fields).bodies(["ios"])
    assert refused.value.field == named


@pytest.mark.parametrize(("fields", "named"), REFUSED_IN_A_LANGUAGE)
def test_so_is_one_in_the_message_of_a_language(fields: dict[str, Any], named: str) -> None:
    (message,) = CAMPAIGN.messages
    with pytest.raises(InvalidPush) as refused:
        replace(CAMPAIGN, messages=[{**message, **fields}]).bodies(["ios"])
    assert refused.value.field == named


ALLOWED: list[dict[str, Any]] = [
    {"deeplink": "myapp://orders/1"},
    {"deeplink": "https://example.com/orders/1"},
    {"media": Media(picture="https://example.com/p.jpg")},
    {"landing": tapped("myapp://orders/1")},
    {"landing": landing(image="https://example.com/p.jpg", body="data: 5 GB, see http://a.b")},
    {"landing": landing(title="javascript:", header="file://")},
    {"extra": {"caption": "Note: at 10:30", "ratio": "16:9"}},
    {"custom_payload": {"site": "http://example.com/", "call": "tel:112", "at": "10:30"}},
    {"custom_payload": {"socket": "wss://example.com/", "id": "urn:isbn:1", "text": "see a://b"}},
    {"custom_payload": {"picture": "http://10.0.0.1/p.jpg", "n": 1, "list": [None, True, 1.5]}},
    {"custom_payload": '{"link": "myapp://x"}'},
]


@pytest.mark.parametrize("fields", ALLOWED, ids=repr)
def test_what_leads_to_the_app_or_to_the_web_is_allowed(fields: dict[str, Any]) -> None:
    replace(PUSH, **fields).check()


def test_texts_are_never_taken_for_addresses() -> None:
    message = {"language": "en", "title": "javascript:", "body": "file:///x otherapp://y"}
    assert replace(CAMPAIGN, messages=[message]).bodies(["ios"])


@pytest.mark.parametrize(
    ("base", "schemes", "link", "is_allowed"),
    [
        ("myapp://", "", "myapp://x", True),
        ("MyApp://", "", "myapp://x", True),
        ("https://example.com/", "", "myapp://x", False),
        ("https://example.com/", "", "https://other.com/", True),
        ("", "", "myapp://x", False),
        ("", "", "https://example.com/", True),
        ("", "myapp,partner", "partner://x", True),
        ("myapp://", "partner", "partner://x", True),
        ("myapp://", "partner", "other://x", False),
    ],
)
def test_the_settings_say_which_apps_a_push_may_open(
    chosen: pytest.MonkeyPatch, base: str, schemes: str, link: str, is_allowed: bool
) -> None:
    chosen.setenv("DEEPLINK_BASE", base)
    chosen.setenv("DEEPLINK_SCHEMES", schemes)
    for part in ({"deeplink": link}, {"custom_payload": {"a": link}}, {"landing": tapped(link)}):
        push = replace(PUSH, **part)
        if is_allowed:
            push.check()
        else:
            with pytest.raises(InvalidPush, match="DEEPLINK_BASE or DEEPLINK_SCHEMES"):
                push.check()


def test_the_settings_say_which_hosts_pictures_come_from(chosen: pytest.MonkeyPatch) -> None:
    chosen.setenv("MEDIA_HOSTS", "cdn.example.com, .example.org")
    for host in ("cdn.example.com", "a.example.org"):
        replace(PUSH, media=Media(picture=f"https://{host}/p.jpg")).check()
    for part in (
        {"media": Media(picture="https://example.com/p.jpg")},
        {"landing": landing(image="https://example.com/p.jpg")},
    ):
        with pytest.raises(InvalidPush, match="MEDIA_HOSTS"):
            replace(PUSH, **part).check()


def nested(levels: int) -> Any:
    value: Any = "myapp://x"
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [101, 5_000])
def test_what_is_nested_too_deeply_is_refused(levels: int) -> None:
    for push in (
        replace(PUSH, extra={"a": nested(levels)}),
        replace(PUSH, custom_payload={"a": nested(levels)}),
    ):
        with pytest.raises(InvalidPush, match="nested too deeply"):
            push.check()


def test_what_holds_itself_is_refused() -> None:
    turning: dict[str, Any] = {}
    turning["self"] = turning
    with pytest.raises(InvalidPush, match="nested too deeply"):
        replace(PUSH, custom_payload=turning).check()


@given(st.sampled_from(sorted(NO_APPS - DATA)), st.sampled_from([":", "://"]), st.text(), st.data())
def test_wherever_it_stands_a_scheme_that_phones_open_themselves_is_refused(
    scheme: str, colon: str, rest: str, data: st.DataObject
) -> None:
    address = data.draw(st.sampled_from(["", " ", "\t", "\n"])) + scheme + colon + rest
    for wrapped in (address, [address], {"a": [{"b": address}]}):
        for check in (check_links, check_payload):
            with pytest.raises(InvalidPush):
                check("field", wrapped)
