"""The console's page, in a real browser."""

import asyncio
import json
import os
import re
import uuid
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from batchpush.cli import finding
from batchpush.cli.console import answers
from batchpush.delivery.ledger import Entry, Ledger
from batchpush.delivery.record import CallRecord, CallState, DeliveryState, Record
from batchpush.google.connection import Connection, Meaning, fix_of
from batchpush.google.firestore import Firestore, FirestoreMisconfigured
from emulators.batch import Batch
from local.suite import LOCAL_SETTINGS
from tests.console import REST_KEY, Running, campaign, conversation, record, running
from tests.deliveries import claimed
from tests.house import House
from tests.pages import opening
from tests.pages import started as started_browser
from tests.test_console import APPLIED, BROKEN, HELD, REFUSED, started
from tests.test_page import CONTRAST

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

DEADLINE = 60_000.0  # milliseconds
REFUSED_IN_ITS_OWN_WORDS = "the server responded with a status of"  # which the page tells
HOSTILE = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


# One browser for this file: while it is open, no other test can have an event loop of its own.
@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with started_browser() as browser:
        yield browser


@pytest.fixture
def open_page(browser: "Browser") -> "Iterator[Callable[..., Page]]":
    with opening(browser, DEADLINE, REFUSED_IN_ITS_OWN_WORDS) as open_it:
        yield open_it


@pytest.fixture
def console() -> Iterator[Running]:
    with running(House(RECIPIENT_INDEX_DAYS="7")) as console:
        yield console


def search(page: "Page", *states: str, **fields: str) -> None:
    for name, text in fields.items():
        page.get_by_label(name.capitalize(), exact=True).fill(text)
    for state in states:
        page.get_by_label(state, exact=True).check()
    page.get_by_role("button", name="Search").click()


def listed(page: "Page", count: int) -> list[str]:
    """The texts of the deliveries in the list, once there are so many."""
    words = "delivery" if count == 1 else "deliveries"
    page.get_by_role("status").get_by_text(f"{count} {words}", exact=True).wait_for()
    return page.locator("#found article").all_inner_texts()


def open_one(console: Running, page: "Page", stored: Record) -> None:
    page.goto(f"{console.address}/#/deliveries/{stored.id}")
    page.get_by_role("heading", name=f"{stored.function} {stored.document}").wait_for()


# The token


def test_the_token_leaves_the_address_and_a_reload_keeps_it(
    console: Running, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(console.url)
    listed(page, 0)
    assert page.url == f"{console.address}/#/deliveries"
    page.reload()
    listed(page, 0)
    assert page.title() == "demo-batchpush · batchpush"


def test_without_the_token_the_page_says_what_to_open(
    console: Running, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(console.address)
    alert = page.get_by_role("alert")
    alert.get_by_text("Open the address that the command printed").wait_for()
    page.goto(console.url)
    listed(page, 0)


# Why did Ann get nothing?


def test_a_user_sees_what_they_were_sent_wait_for_and_why_they_were_left_out(
    console: Running, open_page: "Callable[..., Page]"
) -> None:
    console.run(conversation(console.house))
    page = open_page(console.url)
    search(page, user="tom")
    page.get_by_role("heading", name="Deliveries about tom").wait_for()
    (of_tom,) = listed(page, 1)
    assert "Not sent to tom: muted the conversation" in of_tom
    assert "to others: Batch accepted every request" in of_tom
    search(page, user="bob")
    page.get_by_role("heading", name="Deliveries about bob").wait_for()
    (of_bob,) = listed(page, 1)
    assert "Not sent" not in of_bob
    search(page, user="eve")
    page.get_by_role("heading", name="Deliveries about eve").wait_for()
    assert "until 2026-06-11 07:00:00Z" in "".join(listed(page, 2))


def test_a_user_about_whom_there_is_nothing_gets_an_explanation(
    console: Running, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(console.url)
    search(page, user="ann")
    page.get_by_text("No delivery was for ann, waits for them, or left them out.").wait_for()


def test_without_the_index_a_search_by_user_says_what_to_set(
    open_page: "Callable[..., Page]",
) -> None:
    with running(House()) as console:
        page = open_page(console.url)
        search(page, user="ann")
        page.get_by_role("alert").get_by_text("needs RECIPIENT_INDEX_DAYS, which is 0").wait_for()
        page.close()


# Searching


def test_a_document_a_function_states_and_a_time_narrow_the_list(
    console: Running, open_page: "Callable[..., Page]"
) -> None:
    for state in (DeliveryState.REFUSED, DeliveryState.EXPIRED):
        console.run(record(console.house, state, REFUSED))
    console.run(record(console.house, DeliveryState.REFUSED, document="users/ann", function="g"))
    page = open_page(console.url)
    first = listed(page, 3)
    assert ["users/ann" in first[0], "EXPIRED" in first[1], "REFUSED" in first[2]] == [True] * 3
    search(page, document="orders/o1")
    listed(page, 2)
    search(page, "EXPIRED", document="orders/o1")
    listed(page, 1)
    page.goto(f"{console.address}/#/deliveries?function=g&since=2026-06-10")
    assert "users/ann" in listed(page, 1)[0]
    assert page.get_by_label("Function").input_value() == "g"
    search(page, since="yesterday")
    page.get_by_role("alert").get_by_text("expected 2026-05-04T10:20, or 30m").wait_for()


def test_more_goes_on_after_the_last_one(
    console: Running, open_page: "Callable[..., Page]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "PAGE", 2)
    for _ in range(5):
        console.run(record(console.house, DeliveryState.REFUSED, REFUSED))
    page = open_page(f"{console.url}")
    search(page, document="orders/o1")
    for count in (2, 4, 5):
        times = [re.findall(r"\d\d:\d\d:\d\d", each)[0] for each in listed(page, count)]
        assert times == sorted(times, reverse=True)
        if count < 5:
            page.get_by_role("button", name="More").click()
    assert page.get_by_role("button", name="More").count() == 0


def test_before_it_reads_very_many_it_says_how_many_it_read_and_asks(
    console: Running, open_page: "Callable[..., Page]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "ASK_AFTER", 2)
    monkeypatch.setattr(finding, "PAGE", 2)
    for _ in range(3):
        console.run(record(console.house, DeliveryState.REFUSED, REFUSED))
    page = open_page(console.url)
    page.get_by_text("2 deliveries read, 2 found; read on?").wait_for()
    page.get_by_role("button", name="Read on").click()
    listed(page, 3)
    assert page.get_by_role("button", name="Read on").count() == 0


# One delivery


def test_a_delivery_is_told_in_order_with_its_calls_bodies_and_who_was_left_out(
    console: Running, open_page: "Callable[..., Page]"
) -> None:
    console.run(conversation(console.house))
    page = open_page(console.url)
    search(page, user="tom")
    page.get_by_role("heading", name="Deliveries about tom").wait_for()
    page.get_by_role("link", name="conversations/c1/messages/m0").click()
    story = page.get_by_role("region", name="Story").inner_text()
    steps = ("m0 was written", "handled it", "left out", "request for ios to bob", "SENT: ")
    places = [story.find(step) for step in steps]
    assert -1 not in places, story
    assert places == sorted(places), story
    left_out = page.get_by_role("region", name="Left out").inner_text()
    assert re.search(r"muted the conversation\s+tom", left_out)
    calls = page.get_by_role("region", name="Calls").inner_text()
    assert re.search(r"ios accepted 1 attempt, status 201", calls)
    bodies = page.get_by_role("region", name="Bodies")
    bodies.get_by_text("Body 0, for ios, android").click()
    body = json.loads(bodies.locator("pre").inner_text())
    assert body["recipients"] == {"custom_ids": ["bob"]}
    assert "Batch accepted every request" in page.get_by_role("region", name="Replay").inner_text()
    page.get_by_role("link", name="Back to the list").click()
    page.get_by_role("heading", name="Deliveries about tom").wait_for()


def test_a_replay_shows_its_plan_asks_and_sends_that_one_only(
    console: Running, open_page: "Callable[..., Page]"
) -> None:
    stored = console.run(record(console.house, DeliveryState.REFUSED, REFUSED))
    console.run(record(console.house, DeliveryState.REFUSED, REFUSED, document="orders/o2"))
    page = open_page(console.url)
    listed(page, 2)
    open_one(console, page, stored)
    page.get_by_role("button", name="Replay").click()
    dialog = page.get_by_role("dialog", name="Replay it?")
    dialog.get_by_text("ios body 0: refused (1 attempt, 400): no title, would be sent").wait_for()
    dialog.get_by_role("button", name="Cancel").click()
    assert console.house.batch.calls == []
    page.get_by_role("button", name="Replay").click()
    dialog.get_by_role("button", name="Replay").click()
    page.get_by_role("status").get_by_text("now SENT").wait_for()
    assert len(console.house.batch.calls) == 1
    page.get_by_role("link", name="Back to the list").click()
    assert "orders/o2" in listed(page, 1)[0]


def test_what_may_have_arrived_is_sent_anyway_only_with_its_risk_said(
    console: Running, open_page: "Callable[..., Page]"
) -> None:
    stored = console.run(record(console.house, DeliveryState.HELD, HELD))
    page = open_page(console.url)
    listed(page, 1)
    open_one(console, page, stored)
    assert page.get_by_role("button", name="Replay").count() == 0
    page.get_by_role("button", name="Send anyway").click()
    dialog = page.get_by_role("dialog", name="Send it anyway?")
    dialog.get_by_text("people may get the push twice").wait_for()
    dialog.get_by_role("button", name="Send anyway").click()
    page.get_by_role("status").get_by_text("now SENT").wait_for()
    assert len(console.house.batch.calls) == 1


def test_what_was_refused_before_any_call_offers_no_replay(
    console: Running, open_page: "Callable[..., Page]"
) -> None:
    stored = console.run(record(console.house, DeliveryState.REFUSED, reason="text is missing"))
    page = open_page(console.url)
    listed(page, 1)
    open_one(console, page, stored)
    replay = page.get_by_role("region", name="Replay")
    assert "there is nothing to send: text is missing" in replay.inner_text()
    assert replay.get_by_role("button").count() == 0


def test_a_delivery_that_changed_meanwhile_says_so(
    console: Running, open_page: "Callable[..., Page]"
) -> None:
    stored = console.run(record(console.house, DeliveryState.REFUSED, REFUSED))
    page = open_page(console.url)
    listed(page, 1)
    open_one(console, page, stored)

    async def resumed() -> None:
        entry = await console.house.worker.ledger.read(stored.id)
        assert isinstance(entry, Entry)
        await console.house.worker.replay.replay(entry, resend_unknown=False)

    console.run(resumed())
    page.get_by_role("button", name="Replay").click()
    page.get_by_role("dialog").get_by_role("button", name="Replay").click()
    page.get_by_role("alert").get_by_text("it changed since you looked at it").wait_for()
    page.get_by_role("button", name="Look again").click()
    page.get_by_text("Nothing to replay: Batch accepted every request.").wait_for()
    assert len(console.house.batch.calls) == 1


# Campaigns


def test_campaigns_show_their_state_per_app_with_the_reason(
    console: Running, open_page: "Callable[..., Page]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "PAGE", 3)
    campaign(console.house, "c1", android=APPLIED, ios=BROKEN)
    campaign(console.house, "c2", android=APPLIED, ios=APPLIED)
    page = open_page(console.url)
    page.get_by_role("link", name="Campaigns").click()
    page.get_by_text("1 campaign needs care").wait_for()
    text = page.locator("#campaigns-found").inner_text()
    assert re.search(r"The c1\s+campaigns/c1\s+ios REFUSED .*\s+targeting: unknown segment", text)
    page.get_by_label("also in apps that have what the document says").check()
    page.get_by_role("button", name="More").click()
    page.get_by_role("button", name="More").wait_for(state="detached")
    page.get_by_text("2 campaigns", exact=True).wait_for()
    assert page.locator("#campaigns-found article").count() == 2
    assert page.locator("#campaigns-found .badge").all_inner_texts() == [
        *("APPLIED", "REFUSED"),
        *("APPLIED", "APPLIED"),
    ]


# What stands in the way


@pytest.mark.parametrize("meaning", [Meaning.NO_IDENTITY, Meaning.NO_PERMISSION, Meaning.NO_INDEX])
def test_an_error_of_google_is_shown_with_the_command_that_fixes_it(
    console: Running, open_page: "Callable[..., Page]", meaning: Meaning
) -> None:
    async def refuse(name: str, operation: Any) -> Any:
        raise FirestoreMisconfigured(f"DENIED: words. {fix_of(meaning, 'p', '(default)')}")

    console.house.memory.strike = refuse
    page = open_page(console.url)
    alert = page.get_by_role("alert")
    alert.get_by_text("Firestore: DENIED: words").wait_for()
    command = fix_of(meaning, "p", "(default)").removeprefix("Fix it with: ")
    assert alert.locator("code").inner_text() == command
    console.house.memory.strike = None
    search(page)
    listed(page, 0)
    assert alert.inner_text() == ""


def test_what_anybody_wrote_is_shown_as_text(
    console: Running, open_page: "Callable[..., Page]"
) -> None:
    stored = console.run(
        record(
            console.house,
            DeliveryState.REFUSED,
            CallRecord("ios", 0, CallState.REFUSED, 1, problem=HOSTILE),
            document=f"orders/{HOSTILE.replace('/', '')}",
            reason=HOSTILE,
            left_out=((HOSTILE, (HOSTILE,)),),
            bodies=(json.dumps({"recipients": {"custom_ids": [HOSTILE]}}),),
        )
    )
    campaign(console.house, "c1", ios=BROKEN)
    console.house.hold("campaigns/c1", {"name": HOSTILE})
    page = open_page(console.url)
    assert HOSTILE in listed(page, 1)[0]
    open_one(console, page, stored)
    for name in ("Story", "Left out", "Calls"):
        assert HOSTILE in page.get_by_role("region", name=name).inner_text()
    page.get_by_role("button", name="Replay").click()
    page.get_by_role("dialog").get_by_text(HOSTILE).wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("link", name="Campaigns").click()
    page.get_by_role("heading", name=HOSTILE).wait_for()
    assert page.title() == "demo-batchpush · batchpush"
    assert page.locator("main script, main img, dialog script, dialog img").count() == 0
    assert REST_KEY not in page.content()


# For everybody


def press_tab_until(page: "Page", text: str) -> None:
    """Moves the focus on, to the element with this text, and sees it on each."""
    for _ in range(40):
        page.keyboard.press("Tab")
        focused = "document.activeElement"
        if page.evaluate(f"{focused} !== document.body"):
            assert page.evaluate(f"getComputedStyle({focused}).outlineStyle") != "none"
        if text in page.evaluate(f"{focused}.textContent || {focused}.id"):
            return
    pytest.fail(f"{text} is not reached")


def test_all_can_be_done_with_the_keyboard(
    console: Running, open_page: "Callable[..., Page]"
) -> None:
    console.run(record(console.house, DeliveryState.HELD, HELD))
    page = open_page(console.url)
    listed(page, 1)
    press_tab_until(page, "document")
    page.keyboard.type("orders/o1")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Deliveries", exact=True).wait_for()
    listed(page, 1)
    press_tab_until(page, "orders/o1")
    page.keyboard.press("Enter")
    page.get_by_role("region", name="Story").wait_for()
    press_tab_until(page, "Send anyway")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.textContent === 'Cancel'")
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.textContent === 'Send anyway'")
    assert console.house.batch.calls == []
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.textContent === 'Cancel'")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("now SENT").wait_for()


def test_it_fits_on_a_phone_and_all_text_stands_out_by_day_and_by_night(
    console: Running, open_page: "Callable[..., Page]"
) -> None:
    """WCAG's AA: a ratio of 4.5."""
    long = "W" * 300
    stored = console.run(
        record(
            console.house,
            DeliveryState.HELD,
            HELD,
            document=f"orders/{long}",
            left_out=((long, (long,)),),
            bodies=(json.dumps({"message": {"body": long}}),),
        )
    )
    campaign(console.house, long, ios=BROKEN, android=APPLIED)
    page = open_page(console.url)
    listed(page, 1)
    views = (
        ("deliveries", "#found article"),
        (f"deliveries/{stored.id}", "#delivery pre"),
        ("campaigns?all=yes", "#campaigns article"),
    )
    for address, there in views:
        page.goto(f"{console.address}/#/{address}")
        page.locator(there).first.wait_for(state="attached")
        for summary in page.locator("summary").all():
            if summary.is_visible():
                summary.click()
        for width in (320, 390, 768, 1440):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, address
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate(CONTRAST) == [], (address, scheme)


def test_every_field_and_button_has_a_name(
    console: Running, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(console.url)
    listed(page, 0)
    for field in page.locator("input").all():
        assert field.evaluate("field => field.labels.length") == 1
    for button in page.locator("button").all():
        assert button.inner_text().strip()


# On the emulator suite


def elsewhere(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs it on a loop in another thread: the browser has the one of this."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(asyncio.run, work).result(60)


@pytest.mark.suite
def test_a_replay_from_the_page_reaches_batch(
    open_page: "Callable[..., Page]",
) -> None:
    batch, collection = Batch(os.environ["BATCH_EMULATOR_URL"]), f"d_{uuid.uuid4().hex}"
    batch.clear_faults()
    batch.clear()
    text = f"Hello {collection}"
    body = {
        "group_id": "order",
        "recipients": {"custom_ids": ["ann"]},
        "message": {"title": "Order", "body": text},
    }
    stored = claimed(
        state=DeliveryState.HELD,
        calls=(HELD,),
        document="orders/o1",
        bodies=(json.dumps(body),),
    )

    async def store() -> None:
        firestore = Firestore(Connection())
        await Ledger(lambda: firestore, collection).claim(stored)

    elsewhere(store())
    settings = {"DELIVERIES_COLLECTION": collection, "BATCH_APPS": LOCAL_SETTINGS["BATCH_APPS"]}
    with started("--project", "demo-batchpush", "--port", "0", **settings) as (_, line):
        page = open_page(line.split()[1])
        page.get_by_role("link", name="orders/o1").click()
        page.get_by_role("button", name="Send anyway").click()
        page.get_by_role("dialog").get_by_role("button", name="Send anyway").click()
        page.get_by_role("status").get_by_text("now SENT").wait_for()
        page.close()
    (call,) = batch.pushes()
    assert (call["app"], call["body"]["message"]["body"]) == ("ios", text)
