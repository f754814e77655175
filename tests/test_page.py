"""The page of phones, in a real browser."""

import json
import os
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from emulators.batch import Batch, running
from tests.firebase_log import SYNTAX_ERROR, FirebaseLog, beside
from tests.pages import opening
from tests.pages import started as started_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

APPS = {"ios": "IOSKEY", "android": "ANDROIDKEY", "web": "WEBKEY"}
SEND = "transactional/send"  # the profiles that an example writes are requests, too
DEADLINE = 120_000.0  # milliseconds; the first event starts the function's process
REFUSED_IN_ITS_OWN_WORDS = "the server responded with a status of 400"  # which the page tells
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cf"
    "c0000003010100c9fe92ef0000000049454e44ae426082"
)


# One browser for this file: while it is open, no other test can have an event loop of its own.
@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    with started_browser() as browser:
        yield browser


@pytest.fixture
def open_page(browser: "Browser") -> "Iterator[Callable[..., Page]]":
    """Opens an emulator's page, and waits until it is live."""
    with opening(browser, DEADLINE, REFUSED_IN_ITS_OWN_WORDS) as open_it:

        def open_live(url: str, **options: Any) -> "Page":
            page = open_it(url, **options)
            page.get_by_text("live", exact=True).wait_for()
            return page

        yield open_live


@pytest.fixture
def batch() -> Iterator[Batch]:
    """A Batch emulator on its own."""
    with running(apps=APPS) as batch:
        yield batch


def send(batch: Batch, app: str = "ios", **changes: Any) -> int:
    body = {
        "group_id": "like",
        "recipients": {"custom_ids": ["ann"]},
        "message": {"title": "Hello", "body": "Bob likes you"},
    }
    body = {name: value for name, value in (body | changes).items() if value is not None}
    return post(batch, app, "transactional/send", body)


def post(batch: Batch, app: str, route: str, body: Any, version: str = "1.1") -> int:
    url = f"{batch.url}/{version}/{APPS.get(app, app)}/{route}"
    headers = {"X-Authorization": "secret-key"}
    return httpx.post(url, json=body, headers=headers, trust_env=False).status_code


def phone(page: "Page", name: str) -> "Locator":
    return page.get_by_role("article", name=name)


def pushes(page: "Page", name: str) -> "Locator":
    return phone(page, name).locator("button.push")


def wait_for(page: "Page", condition: str, **values: Any) -> None:
    page.wait_for_function(condition, arg=values)


# What a phone shows


def test_each_app_has_a_phone_with_its_pushes_the_newest_first(
    batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(batch.url)
    send(batch, message={"title": "Older", "body": "one"})
    send(batch, message={"title": "Newer", "body": "two"}, deeplink="app://x")
    send(batch, "android", recipients={"custom_ids": ["ann", "bob", "zoé", "tom", "eva"]})
    pushes(page, "Android, android").wait_for()
    newest, oldest = pushes(page, "iOS, ios").all_inner_texts()
    assert re.search(r"Newer\s+two\s+opens app://x\s+to ann$", newest)
    assert "Older" in oldest
    (android,) = pushes(page, "Android, android").all_inner_texts()
    assert android.endswith("to ann, bob, zoé and 2 more")
    assert phone(page, "Web, web").inner_text().endswith("No pushes yet")


def test_what_batch_knows_of_people_is_shown(
    batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(batch.url)
    people = page.get_by_role("region", name="People at Batch")
    assert not people.is_visible()
    for app in ("ios", "android"):
        body = {"values": {"u.city": "Lyon", "ut.topics": ["<b>ski</b>"]}}
        assert post(batch, app, "data/users/ann", body, version="1.0") == 200
    told = {"events": [{"name": "ue.added_to_cart"}]}
    assert post(batch, "ios", "events/users/bob", told, version="1.0") == 201
    people.get_by_text("ue.added_to_cart").wait_for()
    ann, bob = people.get_by_role("listitem").all_inner_texts()
    assert ann.split("\n")[0].startswith("ann")
    assert "<b>ski</b>" in ann
    assert "ios, android" in ann
    assert "bob" in bob


def test_without_configured_apps_a_phone_appears_when_its_app_is_called(
    open_page: "Callable[..., Page]",
) -> None:
    with running() as batch:
        page = open_page(batch.url)
        assert send(batch, "SOMEKEY") == 201
        pushes(page, "App, SOMEKEY").wait_for()
        page.close()


def test_events_of_cep_are_shown_on_a_phone_of_their_own(
    batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(batch.url)
    event = {"name": "like", "attributes": {"title": "Hello", "body": "Bob likes you"}}
    wrong = {"name": "No name"}
    profiles = [
        {"identifiers": {"custom_id": who}, "events": [tracked]}
        for who, tracked in (("ann", event), ("eve", wrong), ("zoé", event))
    ]
    headers = {"Authorization": "Bearer secret-key", "X-Batch-Project": "project_1"}
    url = f"{batch.url}/2.11/profiles/update"
    assert httpx.post(url, json=profiles, headers=headers, trust_env=False).status_code == 202
    pushes(page, "Project, CEP").wait_for()
    (shown,) = pushes(page, "Project, CEP").all_inner_texts()
    assert re.search(r"Hello\s+Bob likes you\s+event like, to ann, zoé$", shown)
    assert "secret-key" not in page.content()


def test_a_push_takes_the_place_of_the_one_with_its_collapse_key_on_android_only(
    batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(batch.url)
    for app in ("ios", "android"):
        for words in ("first", "second", "third"):
            key = {"enabled": True, "key": "chat"}
            send(batch, app, message={"body": words}, gcm_collapse_key=key)
        send(batch, app, message={"body": "another"})
    phone(page, "Android").get_by_text("another").wait_for()
    assert pushes(page, "iOS").count() == 4
    visible = [one.inner_text() for one in pushes(page, "Android").all() if one.is_visible()]
    assert ["another" in visible[0], "third" in visible[1]] == [True, True]
    assert len(visible) == 2
    phone(page, "Android").get_by_text("2 replaced by it").click()
    assert pushes(page, "Android").last.inner_text().count("first") == 1
    assert pushes(page, "Android").last.is_visible()


def test_a_silent_push_and_a_refused_call_show_nothing(
    batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(batch.url)
    for body in ([1], "text", None, {"recipients": [None]}, {"recipients": {"custom_ids": 5}}):
        assert post(batch, "ios", "transactional/send", body) == 400
    assert send(batch, group_id="no group", message={"body": "refused"}) == 400
    assert send(batch, push_type="background", message=None) == 201
    pushes(page, "iOS").get_by_text("Silent: wakes the app, shows nothing").wait_for()
    assert pushes(page, "iOS").count() == 1


def test_a_campaign_that_was_sent_is_a_push_in_each_of_its_languages(
    batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(batch.url)
    campaign = {
        "name": "Summer sale",
        "live": True,
        "push_time": "now",
        "messages": [
            {"language": "en", "title": "Sale", "body": "Everything must go"},
            {"language": "fr", "title": "Soldes", "body": "Tout doit disparaître"},
        ],
    }
    aimed = {"name": "Aimed", "targeting": {"segments": ["DORMANT"]}}
    draft = {"name": "A draft", "live": False}
    for body in (campaign, campaign | draft, campaign | aimed):
        assert post(batch, "ios", "campaigns/create", body) == 201
    screen = phone(page, "iOS")
    screen.get_by_text('campaign Aimed, in en, to {"segments":["DORMANT"]}').wait_for()
    assert screen.get_by_text("campaign Summer sale, in fr, to everybody").is_visible()
    assert screen.get_by_text("Tout doit disparaître").count() == 2
    assert pushes(page, "iOS").count() == 4
    pushes(page, "iOS").filter(has_text="campaign Aimed, in en").click()
    assert "/1.1/IOSKEY/campaigns/create" in page.locator("#timeline").inner_text()


def test_only_the_pushes_of_one_person_are_shown_on_demand(
    batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(batch.url)
    send(batch, recipients={"custom_ids": ["ann", "bob"]}, message={"body": "both"})
    send(batch, recipients={"custom_ids": ["bob"]}, message={"body": "bob only"})
    page.get_by_role("option", name="ann").wait_for(state="attached")
    page.get_by_label("of", exact=True).select_option("ann")
    assert "both" in pushes(page, "iOS").inner_text()


def test_a_picture_is_shown_and_its_address_where_it_cannot_be_had(
    batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(batch.url)
    asked: list[dict[str, str]] = []

    def answer(route: Any) -> None:
        asked.append(route.request.headers)
        is_there = "there" in route.request.url
        body = PIXEL if is_there else b"no picture"
        route.fulfill(body=body, content_type="image/png")

    page.route(re.compile("^https://"), answer)
    send(batch, media={"picture": "https://example.com/there.png"})
    send(batch, "android", media={"picture": "https://example.com/gone.png"})
    phone(page, "Android").get_by_text("https://example.com/gone.png").wait_for()
    wait_for(page, "() => document.querySelector('.ios img.picture')?.naturalWidth === 1")
    assert all("referer" not in headers for headers in asked)


HOSTILE = (
    '<img src=x onerror="document.title=1"><script>document.title=2</script>',
    "</button></li><style>*{display:none}</style>",
    "javascript:alert(1)",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_anybody_wrote_is_shown_as_text(
    batch: Batch, open_page: "Callable[..., Page]", text: str
) -> None:
    page = open_page(batch.url)
    words = {"title": text, "body": text}
    assert send(batch, message=words, deeplink=text, recipients={"custom_ids": [text]}) == 201
    pushes(page, "iOS").wait_for()
    pushes(page, "iOS").click()
    page.locator("#timeline summary").click()
    assert pushes(page, "iOS").inner_text().count(text) >= 3
    assert text in json.loads(page.locator("#timeline pre").first.inner_text())["deeplink"]
    assert page.title() == "Phones · batchpush"
    assert page.locator("#screens script, #timeline script, #screens style").count() == 0


# What happened


def test_a_push_leads_to_its_call_and_the_reply_and_never_to_the_rest_key(
    batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(batch.url)
    send(batch, message={"title": "Hello", "body": "the one"})
    send(batch, message={"title": "Hello", "body": "another"})
    page.get_by_role("button", name="the one").click()
    timeline = page.get_by_role("region", name="What happened")
    assert "ios request for ann" in timeline.inner_text()
    assert re.search(r"\+\d+ ms\s+ios reply 201", timeline.inner_text())
    timeline.locator("summary").click()
    call = timeline.get_by_role("region", name="The ios request").inner_text()
    assert json.loads(call)["message"] == {"title": "Hello", "body": "the one"}
    reply = timeline.get_by_role("region", name="The ios reply").inner_text()
    assert re.fullmatch(r"[0-9a-f-]{36}", json.loads(reply)["token"])
    assert "secret-key" not in page.content()


def test_what_is_open_stays_open_when_pushes_arrive(
    batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(batch.url)
    send(batch, message={"body": "the one"})
    page.get_by_role("button", name="the one").click()
    page.locator("#timeline summary").click()
    send(batch, message={"body": "another"})
    page.get_by_role("button", name="another").wait_for()
    assert page.locator("#timeline details[open]").count() == 1
    page.get_by_role("button", name="Follow the newest").click()
    page.locator("#timeline details").get_by_text("another").wait_for(state="attached")


def test_the_newest_push_stays_in_view_when_a_profile_follows(
    batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(batch.url)
    send(batch, message={"body": "the one"})
    profile = {"values": {"u.city": "Lyon"}}
    assert post(batch, "ios", "data/users/ann", profile, version="1.0") == 200
    page.locator("#event option", has_text="ATTRIBUTES").wait_for(state="attached")
    page.locator("#timeline pre", has_text="the one").wait_for(state="attached")
    page.get_by_label("The event").select_option(label=option(page, "ATTRIBUTES"))
    page.locator("#timeline pre", has_text="u.city").wait_for(state="attached")


# What can be ordered


def test_an_outage_is_begun_seen_and_ended(batch: Batch, open_page: "Callable[..., Page]") -> None:
    page = open_page(batch.url)
    page.get_by_label("What it does").select_option(label="is down (503)")
    page.get_by_label("To requests of").select_option("ios")
    page.get_by_label("How often").select_option("3 times")
    page.get_by_role("button", name="Begin it").click()
    faults = page.get_by_role("list", name="Outages that are on")
    faults.get_by_text("Batch is down (503), ios, 3 times more").wait_for()
    assert [send(batch, "ios"), send(batch, "android")] == [503, 201]
    faults.get_by_text("Batch is down (503), ios, 2 times more").wait_for()
    page.get_by_role("button", name="End it").click()
    faults.locator("li").wait_for(state="detached")
    assert send(batch, "ios") == 201


def test_a_stand_in_that_runs_alone_says_so(batch: Batch, open_page: "Callable[..., Page]") -> None:
    page = open_page(batch.url)
    page.get_by_text("so there is no database to").wait_for()
    assert page.get_by_role("button", name="Write it").is_disabled()
    assert page.get_by_role("button", name="Rotate the REST key").is_disabled()


# Beside firebase-tools, of which only the log is needed


@pytest.fixture
def firebase() -> Iterator[FirebaseLog]:
    with FirebaseLog.served() as log:
        yield log


def test_code_that_does_not_load_is_said_with_its_place_until_it_does(
    firebase: FirebaseLog, open_page: "Callable[..., Page]"
) -> None:
    with beside(firebase) as url:
        page = open_page(url)
        assert page.get_by_role("alert").count() == 0
        firebase.write("error", SYNTAX_ERROR)
        firebase.write("error", "Failed to load function definition from source: FirebaseError")
        alert = page.get_by_role("alert")
        alert.get_by_text("handlers/orders.py:44: SyntaxError: invalid syntax").wait_for()
        assert "the functions run the code from before" in alert.inner_text()
        firebase.write("info", "Loaded functions definitions from source: order_delivered.")
        alert.wait_for(state="detached")
        page.close()


def test_the_page_leads_to_firebases_own_where_that_is_on(
    firebase: FirebaseLog, batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    with beside(firebase, EMULATOR_UI_URL="http://127.0.0.1:4000") as url:
        page = open_page(url)
        link = page.get_by_role("link", name="Firebase's Emulator UI")
        assert link.get_attribute("href") == "http://127.0.0.1:4000"
        page.close()
    assert open_page(batch.url).get_by_role("link", name="Firebase's Emulator UI").count() == 0


# For everybody


def test_all_can_be_done_with_the_keyboard(batch: Batch, open_page: "Callable[..., Page]") -> None:
    page = open_page(batch.url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the phones"
    page.keyboard.press("Enter")
    send(batch)
    pushes(page, "iOS").wait_for()
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.dataset.key ?? ''"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", reached
        if reached[-1].startswith("call-"):
            break
    page.keyboard.press("Enter")
    wait_for(page, "() => document.activeElement.getAttribute('aria-pressed') === 'true'")
    page.locator("#timeline summary").focus()
    page.keyboard.press("Enter")
    page.locator("#timeline details[open]").wait_for()


def test_every_field_and_button_has_a_name_and_news_is_announced(
    batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(batch.url)
    send(batch, message={"title": "Ann", "body": "Hi"})
    page.get_by_role("status").get_by_text("ios: Ann Hi").wait_for(state="attached")
    for field in page.locator("input, select, textarea").all():
        assert field.evaluate("field => field.labels.length") == 1
    for button in page.locator("button").all():
        assert button.inner_text().strip()


def test_on_a_phone_the_pushes_come_before_the_forms(
    batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(batch.url, viewport={"width": 390, "height": 844})
    send(batch)
    pushes(page, "iOS").wait_for()
    tops = [
        page.get_by_role("region", name=name).evaluate("each => each.getBoundingClientRect().top")
        for name in ("Phones", "What happened", "Write a document", "Make Batch fail", "Deliveries")
    ]
    assert tops == sorted(tops)
    page.set_viewport_size({"width": 1440, "height": 900})
    left = "each => each.getBoundingClientRect().left"
    write, phones = (
        page.get_by_role("region", name=each) for each in ("Write a document", "Phones")
    )
    assert write.evaluate(left) < phones.evaluate(left)


def test_nothing_is_wider_than_the_screen(batch: Batch, open_page: "Callable[..., Page]") -> None:
    page = open_page(batch.url)
    long = "W" * 300
    send(batch, message={"title": long, "body": long}, deeplink=f"app://{long}")
    page.locator("#timeline summary").click()
    for width in (320, 390, 768, 1100, 1440):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const over = (colors) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const color of colors) { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (color) => {
    const [r, g, b] = color.map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const poor = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const isShown = texts.currentNode.data.trim() && element.checkVisibility();
    if (!isShown || element.closest(":disabled, .unseen, .skip, .empty")) continue;
    const backs = [];
    for (let at = element; at; at = at.parentElement) {
      backs.unshift(getComputedStyle(at).backgroundColor);
    }
    const back = over(["white", ...backs]);
    const [high, low] = [back, over([`rgb(${back})`, getComputedStyle(element).color])]
      .map(light).sort((one, other) => other - one);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < 4.5) poor.push(`${texts.currentNode.data.trim()} ${ratio.toFixed(1)}`);
  }
  return poor;
}"""


def test_all_text_stands_out_from_its_background(
    batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    """WCAG's AA: a ratio of 4.5."""
    page = open_page(batch.url)
    batch.fault(status=503, times=2)
    send(batch)
    send(batch, "android", deeplink="app://x")
    send(batch, "web", media={"picture": "http://example.com/not-https.png"})
    send(batch, push_type="background", message=None)
    page.get_by_text("Silent: wakes the app").wait_for()
    page.locator("#timeline summary").click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST) == [], scheme


# The whole story, on the emulator suite


@pytest.fixture
def suite_batch() -> Batch:
    batch = Batch(os.environ["BATCH_EMULATOR_URL"])
    batch.clear_faults()
    batch.clear_campaigns()
    batch.clear()
    return batch


def write(page: "Page", example: str) -> str:
    """Write an example; returns the document's path."""
    page.get_by_label("Example").select_option(label=example)
    page.get_by_role("button", name="Write it").click()
    said = page.get_by_role("status").get_by_text("Written: ").inner_text()
    return said.removeprefix("Written: ")


def delivery(page: "Page", document: str, state: "str | re.Pattern[str]") -> "Locator":
    """Its row, once it is in the state."""
    row = page.get_by_role("row").filter(has=page.get_by_text(document, exact=True))
    row.get_by_text(state, exact=True).first.wait_for()
    return row


def write_document(page: "Page", path: str, fields: Any) -> str:
    page.get_by_label("Example").select_option(label="Any document")
    page.get_by_label("Path").fill(path)
    page.get_by_label("Fields, as JSON").fill(json.dumps(fields))
    page.get_by_role("button", name="Write it").click()
    said = page.get_by_role("status").get_by_text("Written: ").inner_text()
    return said.removeprefix("Written: ")


def replay(page: "Page", row: "Locator", answer: str) -> str:
    """Ask for a replay and answer the question; returns the plan that was shown."""
    row.get_by_role("button", name=re.compile("^(Replay|Send anyway)")).click()
    plan = page.get_by_role("dialog", name="What a replay would do")
    button = plan.get_by_role("button", name=answer, exact=True)
    button.wait_for()
    shown = plan.inner_text()
    button.click()
    return shown


def what_happened(page: "Page", path: str, text: str) -> str:
    """The timeline of the event, once it has the text."""
    timeline = page.locator("#timeline").filter(has_text=path).filter(has_text=text)
    timeline.wait_for()
    return timeline.inner_text()


@pytest.mark.suite
def test_a_write_that_calls_no_function_is_said(
    suite_batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(suite_batch.url)
    path = write_document(page, "order/{id}", {"customer_id": "zoe", "status": "delivered"})
    created = "No function of main.py is called when this document is created."
    assert "NO FUNCTION" in what_happened(page, path, created)
    # A function of new documents is not called for one that was there.
    for status in ("declined", "withdrawn"):
        path = write_document(page, "users/zoe/friend_requests/once", {"status": status})
    what_happened(page, path, "No function of main.py is called when this document is updated.")


@pytest.mark.suite
def test_a_handler_that_returned_nothing_is_said(
    suite_batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(suite_batch.url)
    path = write_document(page, "orders/{id}", {"customer_id": "zoe", "status": "packed"})
    no_push = "The handler returned nothing, so there is no push and no record."
    said = what_happened(page, path, no_push)
    assert re.search(rf"NO PUSH\s+order_delivered\s+{path}", said), said


@pytest.mark.suite
def test_who_was_left_out_and_why_is_said(
    suite_batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(suite_batch.url)
    write_document(page, "users/tom", {"display_name": "Tom", "push_muted": True})
    write_document(page, "conversations/quiet", {"member_ids": ["ann", "tom"]})
    hello = {"sender_id": "ann", "text": "Hello"}
    path = write_document(page, "conversations/quiet/messages/{id}", hello)
    delivery(page, path, "OBSOLETE")
    said = what_happened(page, path, "everybody is left out")
    assert "Left out: tom (muted)" in said

    write_document(page, "conversations/loud", {"member_ids": ["ann", "tom", "bob"]})
    path = write_document(page, "conversations/loud/messages/{id}", hello)
    delivery(page, path, "SENT")
    assert "ios request for bob" in what_happened(page, path, "Left out: tom (muted)")


@pytest.mark.suite
def test_a_campaign_is_an_event_with_its_state_in_each_app(
    suite_batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(suite_batch.url)
    path = write(page, "Campaign")
    apps = page.get_by_role("list", name="The campaign in each app")
    for app in APPS:
        apps.locator("li", has_text=app).get_by_text("APPLIED").wait_for()
    said = what_happened(page, path, "ios reply 201")
    assert re.search("ios request.*ios reply 201", said, re.DOTALL), said

    bad = write_document(page, "campaigns/{id}", {"name": "x", "messages": {"en": {"body": "b"}}})
    apps.locator("li", has_text="ios").get_by_text("REFUSED").wait_for()
    what_happened(page, bad, "name must be")
    page.get_by_label("The event").select_option(label=option(page, path))
    apps.locator("li", has_text="ios").get_by_text("APPLIED").wait_for()


def option(page: "Page", text: str) -> str:
    return page.locator("#event option", has_text=text).first.inner_text()


@pytest.mark.suite
def test_a_held_delivery_is_sent_only_once_its_risk_is_said(
    suite_batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(suite_batch.url)
    suite_batch.fault(status=504, app="ios", times=2, route=SEND)
    path = write(page, "New message")
    row = delivery(page, path, "RETRY")
    assert "would be sent" in replay(page, row, "Send it")
    delivery(page, path, "HELD")
    for width in (390, 800, 1000, 1100, 1440):
        page.set_viewport_size({"width": width, "height": 900})
        table = page.locator("#deliveries")
        assert table.evaluate("each => each.scrollWidth - each.clientWidth") <= 0, width
    count = len(suite_batch.pushes())

    plan = replay(page, row, "Cancel")
    assert "people may get it twice" in plan
    assert "its outcome is unknown, would be sent" in plan
    page.get_by_text("Nothing was sent.").wait_for()
    assert len(suite_batch.pushes()) == count

    replay(page, row, "Send anyway")
    delivery(page, path, "SENT")
    assert len(suite_batch.pushes()) == count + 1


@pytest.mark.suite
def test_what_was_refused_before_any_call_offers_no_replay(
    suite_batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(suite_batch.url)
    path = write_document(page, "orders/{id}", {"customer_id": 5, "status": "delivered"})
    row = delivery(page, path, "REFUSED")
    assert row.get_by_role("button").all_inner_texts() == ["Show"]
    suite_batch.fault(status=400, times=3, route=SEND)
    path = write(page, "Order delivered")
    row = delivery(page, path, "REFUSED")
    assert row.get_by_role("button").all_inner_texts() == ["Show", "Replay"]


@pytest.mark.suite
def test_a_message_is_seen_on_the_phones_and_an_outage_is_recovered_from(
    suite_batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(suite_batch.url)
    first = write(page, "New message")
    delivery(page, first, "SENT")
    for app in ("iOS, ios", "Android, android", "Web, web"):
        assert "Dinner at eight?" in pushes(page, app).inner_text()
    timeline = page.get_by_role("region", name="What happened").inner_text()
    steps = ("Document written", "Claimed", "ios request", "ios reply 201", "Recorded SENT")
    places = [timeline.find(step) for step in steps]
    assert -1 not in places, timeline
    assert places == sorted(places), timeline

    page.get_by_label("What it does").select_option(label="loses the answer (504)")
    page.get_by_role("button", name="Begin it").click()
    page.get_by_text("Batch loses the answer (504), all apps, until ended").wait_for()
    second = write(page, "New message")
    row = delivery(page, second, "RETRY")
    assert "ios pending (1 attempt, 504)" in row.inner_text()
    assert pushes(page, "iOS, ios").count() == 1

    page.get_by_role("button", name="End it").click()
    page.get_by_text("Batch loses the answer").wait_for(state="detached")
    replay(page, row, "Send it")
    delivery(page, second, "SENT")
    page.locator("#replayed", has_text="now SENT").wait_for()
    assert pushes(page, "iOS, ios").count() == 2


@pytest.mark.suite
def test_a_short_outage_is_got_over_without_anybodys_help(
    suite_batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(suite_batch.url)
    page.get_by_label("What it does").select_option(label="is down (503)")
    page.get_by_label("To requests of").select_option("ios")
    page.get_by_label("How often").select_option("once")
    page.get_by_role("button", name="Begin it").click()
    page.get_by_text("Batch is down (503), ios, once more").wait_for()
    # without an example's people: the request for a new profile could meet the outage instead
    order = {"customer_id": "zoe", "number": "A-7", "status": "delivered"}
    delivery(page, write_document(page, "orders/{id}", order), "SENT")
    said = page.get_by_role("region", name="What happened").inner_text()
    assert re.search(r"ios reply 503.*ios reply 201", said, re.DOTALL), said


EXAMPLES = {
    "New message with a picture": "new_message",
    "Unread message": "message_unread",
    "Friend request": "friend_request",
    "Credit limit reached": "credit_limit",
    "Turn in a game": "game_turn",
    "Order delivered": "order_delivered",
    "Flight delayed": "flight_delayed",
    "Train cancelled": "train_cancelled",
    "Push of another back end": "outbox",
    "Silent push of another back end": "outbox",
}


@pytest.mark.suite
def test_every_example_becomes_a_push_or_a_campaign(
    suite_batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(suite_batch.url)
    page.route(
        re.compile("^https://"), lambda route: route.fulfill(body=PIXEL, content_type="image/png")
    )
    for example, function in EXAMPLES.items():
        row = delivery(page, write(page, example), "SENT")
        assert function in row.first.inner_text()
    write(page, "Campaign")
    for app in APPS:
        phone(page, app).get_by_text("Tout doit disparaître").first.wait_for()
    _, _, article_id = write(page, "Article published").partition("/")
    page.locator("#timeline pre", has_text=article_id).first.wait_for(state="attached")


@pytest.mark.suite
def test_what_cannot_be_written_is_said(
    suite_batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(suite_batch.url)
    for path, fields, problem in (
        ("orders/{id}", "{", "The fields are not JSON"),
        ("orders/{id}", "[]", "a document must be a JSON object"),
        ("orders/{id}", '{"at": {"$timestamp": 5}}', "$timestamp must be a time"),
        ("orders/{id}", '{"lists": [[1]]}', "Cannot convert an array value in an array value"),
        ("orders", "{}", "the path of a document"),
    ):
        page.get_by_label("Path").fill(path)
        page.get_by_label("Fields, as JSON").fill(fields)
        page.get_by_role("button", name="Write it").click()
        page.locator("#written.wrong").get_by_text(problem).wait_for()


@pytest.mark.suite
def test_a_rotated_key_is_found_out_and_never_shown(
    suite_batch: Batch, open_page: "Callable[..., Page]"
) -> None:
    page = open_page(suite_batch.url)
    delivery(page, write(page, "Order delivered"), "SENT")
    key = suite_batch.pushes()[-1]["headers"]["x-authorization"]
    page.get_by_role("button", name="Rotate the REST key").click()
    page.get_by_text("Batch now accepts only a new key").wait_for()
    # A function that read the old one less than half a minute ago does not ask again so soon.
    row = delivery(page, write(page, "Order delivered"), re.compile("^(RETRY|SENT)$"))
    if row.get_by_text("RETRY", exact=True).count():
        replay(page, row, "Send it")
        page.locator("#replayed", has_text="now SENT").wait_for()
    new_key = suite_batch.pushes()[-1]["headers"]["x-authorization"]
    suite_batch.accept_rest_keys(key, new_key)  # for the tests that come after
    assert new_key != key
    assert key not in page.content()
    assert new_key not in page.content()
