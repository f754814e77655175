"""Articles, and the campaigns' documents that they become."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

import main
from batchpush import InvalidDocument
from batchpush.campaigns.articles import Newsroom
from batchpush.documents import Document
from batchpush.environment import Settings, process_settings
from batchpush.errors import BatchpushError, DeliveryUnfinished
from batchpush.google.connection import Connection
from batchpush.google.firestore import Firestore
from batchpush.testing import Project
from handlers.articles import breaking_news, is_archived, is_published
from handlers.campaigns import campaign
from tests.events import changed
from tests.publishing import PROJECT

NOW = datetime(2026, 5, 4, 10, 20, 30, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
ARTICLE: dict[str, Any] = {
    "published": True,
    "title": {"en": "Storm ahead", "fr": "Tempête en vue"},
    "summary": {"en": "Stay at home tonight"},
    "topics": ["weather", "local"],
    "image_url": "https://example.com/storm.jpg",
}


def news(**fields: Any) -> dict[str, Any]:
    return breaking_news(Document("articles/a1", ARTICLE | fields))


# Whether there is a campaign


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PUBLISH_ARTICLES", "live")
    process_settings.cache_clear()
    yield
    process_settings.cache_clear()


@pytest.mark.usefixtures("live")
@pytest.mark.parametrize(
    ("before", "after", "is_old"),
    [
        (None, {"push_time": NOW - timedelta(hours=7)}, True),
        (None, {"push_time": NOW - timedelta(hours=5)}, False),
        (None, {}, False),
        (None, {"push_time": "soon"}, False),
        (None, {"push_time": NOW - timedelta(hours=7), "published": "yes"}, False),
        ({"published": False}, {"push_time": NOW - timedelta(hours=7)}, True),
        ({"push_time": LATER}, {"push_time": NOW - timedelta(hours=7)}, False),  # an edit
        ({}, {"push_time": NOW - timedelta(hours=7), "published": False}, False),
    ],
)
def test_an_article_that_is_published_long_after_its_time_is_of_an_archive(
    before: dict[str, Any] | None, after: dict[str, Any], is_old: bool
) -> None:
    then = None if before is None else ARTICLE | before
    assert is_archived(changed("articles/a1", then, ARTICLE | after)) is is_old


OFFER = {"open": True, "title": "Come back", "segments": ["NEW"]}
MADE = {"campaigns/article-a1", "campaigns/offer-o1"}


async def campaigns_of_an_import(project: Project) -> set[str]:
    """What becomes of an article and an offer of three days ago."""
    assert main.article
    old = NOW - timedelta(days=3)
    await project.write("articles/a1", ARTICLE | {"push_time": old})
    await project.write("offers/o1", OFFER | {"starts_at": old})
    return set(await project.firestore.read(*MADE))


@pytest.mark.usefixtures("live")
async def test_an_import_of_old_articles_and_offers_makes_no_live_campaigns() -> None:
    project = Project(now=NOW)
    assert await campaigns_of_an_import(project) == set()
    await project.write("articles/a1", ARTICLE | {"published": False})
    await project.write("articles/a1", ARTICLE)
    await project.write("offers/o1", OFFER | {"open": False})
    await project.write("offers/o1", OFFER | {"starts_at": NOW - timedelta(days=1)})
    assert set(await project.firestore.read(*MADE)) == MADE


async def test_a_draft_is_made_of_each_however_old_it_is() -> None:
    assert await campaigns_of_an_import(Project(now=NOW)) == MADE


def between(project: Project, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> None:
    """Have the article written, and its event handled, between a read and the write after it."""
    newsroom = project.worker.newsroom
    write = newsroom.write

    async def written(*args: Any) -> None:
        monkeypatch.undo()
        await project.write("articles/a1", ARTICLE | {"push_time": LATER} | fields)
        await write(*args)

    monkeypatch.setattr(newsroom, "write", written)


async def campaign_of(project: Project) -> dict[str, Any]:
    path = "campaigns/article-a1"
    return (await project.firestore.read(path))[path].fields


@pytest.mark.parametrize("published", [True, False])
async def test_the_campaign_is_as_the_article_says_if_that_changes_between_read_and_write(
    published: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Project(now=NOW, PUBLISH_ARTICLES="live")
    article = ARTICLE | {"push_time": LATER, "published": published}
    if published:
        await project.write("articles/a1", article)
    between(project, monkeypatch, published=published)
    await project.write("articles/a1", article | {"published": not published})
    assert (await campaign_of(project))["live"] is published


# What a campaign says of an article


def test_an_article_is_told_to_those_who_are_interested_in_one_of_its_topics() -> None:
    assert news() == {
        "name": "Storm ahead (a1)",
        "push_time": "now",
        "targeting": {"query": {"t.topics": {"$contains": ["weather", "local"]}}},
        "messages": {
            "en": {"title": "Storm ahead", "body": "Stay at home tonight"},
            "fr": {"body": "Tempête en vue"},
        },
        "media": {"picture": "https://example.com/storm.jpg"},
        "deeplink": "myapp://articles/a1",
    }


def test_texts_without_a_language_are_in_the_default_one() -> None:
    told = news(title="Storm", summary="At home", deeplink="https://example.com/storm")
    assert told["messages"] == {"en": {"title": "Storm", "body": "At home"}}
    assert told["deeplink"] == "https://example.com/storm"


def test_each_language_may_have_its_own_picture_and_link() -> None:
    urls = {"en": "https://example.com/en", "fr": "https://example.com/fr"}
    told = news(image_url=urls, deeplink=urls)
    assert told["messages"]["fr"]["media"] == {"picture": "https://example.com/fr"}
    assert told["messages"]["fr"]["deeplink"] == "https://example.com/fr"
    assert "media" not in told
    assert "deeplink" not in told


BLANKS: tuple[Any, ...] = (None, "", " ", {}, {"en": None, "fr": ""})


@pytest.mark.parametrize("blank", BLANKS)
def test_a_blank_field_counts_as_absent(blank: Any) -> None:
    told = news(image_url=blank, deeplink=blank, summary=blank)
    assert told == news(image_url=None, summary=None)
    assert told["deeplink"] == "myapp://articles/a1"


@pytest.mark.parametrize("blank", [None, "", " "])
def test_a_language_without_a_text_counts_as_absent(blank: Any) -> None:
    told = news(title={"en": "Storm", "fr": blank}, summary={"en": blank})
    assert told["messages"] == {"en": {"body": "Storm"}}
    urls = {"en": "https://example.com/en", "fr": blank}
    assert news(deeplink=urls) == news(deeplink={"en": urls["en"]})


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"title": None}, "title is missing"),
        ({"title": {"en": "", "fr": None}}, "title is missing"),
        ({"title": {"en": 5}}, "title.en must be a string"),
        ({"title": {"": "Storm"}}, "title has a text without a language"),
        ({"topics": None}, "topics is missing"),  # it would be news to everybody
        ({"topics": []}, "topics is missing"),
        ({"topics": "weather"}, "topics must be a list"),
        ({"summary": ["Stay"]}, "summary must be a string"),
        ({"image_url": 5}, "image_url must be a string"),
        ({"push_time": "soon"}, "push_time is not a date and time"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidDocument, match=named):
        news(**wrong)


def test_what_comes_of_an_article_is_a_campaign_that_batch_takes() -> None:
    made = campaign(Document("campaigns/article-a1", news(push_time=LATER)))
    assert made is not None
    assert made.bodies(("ios",))


# When it is written, on the real Firestore emulator


class Desk:
    def __init__(self, publish_articles: str) -> None:
        self.client = AsyncClient(project=PROJECT)
        environment = {"BATCH_APPS": "ios=KEY", "PUBLISH_ARTICLES": publish_articles}
        self.time = NOW
        firestore = Firestore(Connection(project=PROJECT))
        self.newsroom = Newsroom(
            lambda: firestore, Settings.from_environment(environment), lambda: self.time
        )
        self.article_id = uuid.uuid4().hex
        self.path = f"articles/{self.article_id}"
        self.reference: Any = self.client.document(f"campaigns/article-{self.article_id}")

    async def saves(self, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        """Write the article, and have the event handled."""
        document = self.client.document(self.path)
        await (document.delete() if after is None else document.set(after))
        await self.event(before, after)

    async def event(self, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        await self.newsroom.announce(changed(self.path, before, after), is_published, breaking_news)

    async def campaign(self) -> dict[str, Any] | None:
        return (await self.reference.get()).to_dict()  # type: ignore[no-any-return]

    async def is_live(self) -> bool:
        fields = await self.campaign()
        assert fields is not None
        return bool(fields["live"])


DRAFT = ARTICLE | {"published": False}
PLANNED = ARTICLE | {"push_time": LATER}


@pytest.fixture
async def desk() -> Desk:
    return Desk("live")


@pytest.mark.suite
@pytest.mark.parametrize(("setting", "live"), [("draft", False), ("live", True)])
async def test_an_article_that_is_published_is_a_draft_unless_the_setting_says_live(
    setting: str, live: bool
) -> None:
    desk = Desk(setting)
    await desk.saves(None, DRAFT)
    assert await desk.campaign() is None
    await desk.saves(DRAFT, ARTICLE)
    assert await desk.is_live() is live


@pytest.mark.suite
@pytest.mark.parametrize(
    ("before", "after"),
    [(ARTICLE, ARTICLE | {"title": "New"}), (DRAFT, DRAFT), (None, DRAFT), (DRAFT, None)],
)
async def test_only_becoming_published_counts(desk: Desk, before: Any, after: Any) -> None:
    await desk.saves(before, after)
    assert await desk.campaign() is None


@pytest.mark.suite
async def test_what_the_editors_made_of_the_campaign_stays(desk: Desk) -> None:
    await desk.saves(DRAFT, PLANNED)
    await desk.reference.update({"name": "Edited", "live": False})
    await desk.event(DRAFT, PLANNED)  # delivered twice
    assert (await desk.campaign() or {})["name"] == "Edited"
    assert not await desk.is_live()


@pytest.mark.suite
@pytest.mark.parametrize("after", [PLANNED | {"published": False}, None])
async def test_an_article_that_is_taken_back_in_time_stops_its_campaign(
    desk: Desk, after: Any
) -> None:
    await desk.saves(DRAFT, PLANNED)
    await desk.saves(PLANNED, after)
    assert not await desk.is_live()
    await desk.saves(after, PLANNED)
    assert await desk.is_live()


@pytest.mark.suite
async def test_what_was_sent_cannot_be_taken_back(desk: Desk) -> None:
    await desk.saves(DRAFT, PLANNED)
    desk.time = LATER
    await desk.saves(PLANNED, PLANNED | {"published": False})
    assert await desk.is_live()


@pytest.mark.suite
async def test_an_event_that_comes_late_does_not_undo_a_later_one(desk: Desk) -> None:
    await desk.saves(DRAFT, PLANNED)
    await desk.saves(PLANNED, DRAFT)
    await desk.event(DRAFT, PLANNED)
    assert not await desk.is_live()
    await desk.saves(DRAFT, PLANNED)
    await desk.event(PLANNED, DRAFT)
    assert await desk.is_live()


@pytest.mark.suite
async def test_whoever_edits_the_campaign_meanwhile_is_not_overwritten(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.saves(DRAFT, PLANNED)
    write = desk.newsroom.write

    async def edited(*args: Any) -> None:
        await desk.reference.update({"name": "Edited"})
        await write(*args)

    monkeypatch.setattr(desk.newsroom, "write", edited)
    with pytest.raises(DeliveryUnfinished):
        await desk.saves(PLANNED, DRAFT)
    monkeypatch.undo()
    await desk.event(PLANNED, DRAFT)
    fields = await desk.campaign() or {}
    assert (fields["name"], fields["live"]) == ("Edited", False)


@pytest.mark.suite
async def test_a_campaign_of_that_name_that_an_editor_wrote_is_left_alone(desk: Desk) -> None:
    own = {"name": "Our own", "live": False}
    await desk.reference.set(own)
    await desk.saves(DRAFT, ARTICLE)
    assert await desk.campaign() == own


@pytest.mark.suite
async def test_an_article_whose_campaign_can_have_no_document_is_refused_for_good(
    desk: Desk,
) -> None:
    """With `article-` before it, its id is too long."""
    path = "articles/" + "x" * 1499
    await desk.client.document(path).set(ARTICLE)
    with pytest.raises(BatchpushError, match="longer than 1500 bytes"):
        await desk.newsroom.announce(changed(path, None, ARTICLE), is_published, breaking_news)
