"""Articles as pushes to the followers of their topics, with PUBLISH_ARTICLES=followers."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from batchpush import Change, LookUp, Message, Push, Recipients
from batchpush.delivery.record import DeliveryState
from batchpush.environment import process_settings
from batchpush.errors import LookUpFailed
from handlers.articles import is_announced, to_followers
from tests.events import created
from tests.house import EVENING, MORNING, NIGHT, House

ARTICLE = {"published": True, "topics": ["ski", "snow"], "title": {"en": "Snow", "fr": "Neige"}}
PATTERN = "articles/{article_id}"


@pytest.fixture(autouse=True)
def chosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PUBLISH_ARTICLES", "followers")
    process_settings.cache_clear()
    yield
    process_settings.cache_clear()


@pytest.fixture
async def house() -> House:
    house = House()
    profiles: dict[str, dict[str, Any]] = {
        "ann": {"language": "fr"},
        "bob": {},
        "eve": {"push_muted": True},
        "tom": {"quiet_hours": NIGHT},
        "dan": {"language": "ja"},
    }
    for who, profile in profiles.items():
        await house.stores(f"users/{who}", profile)
    for topic, followers in {"ski": ["ann", "tom"], "snow": ["ann", "bob", "eve", "dan"]}.items():
        for who in followers:
            await house.stores(f"topics/{topic}/followers/{who}", {})
    return house


async def published(house: House, **fields: Any) -> Any:
    change = await house.happens(to_followers, PATTERN, ARTICLE | fields, article_id="a1")
    return await house.record_of(change)


async def test_each_follower_is_told_once_in_their_language(house: House) -> None:
    await published(house)
    await house.run_tasks(EVENING)
    told = {("ann", "Neige"): 1, ("bob", "Snow"): 1, ("dan", "Snow"): 1}
    assert Counter(house.all_told()) == told
    await house.run_tasks(MORNING)
    assert ("tom", "Snow") in house.all_told()


@pytest.mark.parametrize(
    ("titles", "language", "read"),
    [
        ({"de": "Schnee", "en": "Snow"}, "ja", "Snow"),
        ({"de": "Schnee", "en": "Snow"}, None, "Snow"),
        ({"ar": "ثلج", "en-GB": "Snow"}, "es", "Snow"),
        ({"en": "Snow", "nl": "Sneeuw"}, "nl", "Sneeuw"),
        ({"en": "Snow", "nl": "Sneeuw"}, "nl_BE", "Sneeuw"),
        ({"en": "Snow", "pt-BR": "Neve"}, "pt", "Neve"),
        ({"de": "Schnee", "it": "Neve"}, "ja", "Schnee"),
        ({"de": "Schnee", "en": "Snow"}, "français", "Snow"),
    ],
)
async def test_the_articles_languages_count_and_then_the_default_one(
    house: House, titles: dict[str, str], language: Any, read: str
) -> None:
    await house.stores("users/bob", {"language": language})
    await published(house, title=titles)
    await house.run_tasks(EVENING)
    assert ("bob", read) in house.all_told()


async def read_by(house: House, who: str) -> dict[str, Any]:
    """What Batch is asked to show them."""
    await house.run_tasks(EVENING)
    (body,) = (call.body for call in house.batch.calls if call.app == "A" and call.words_to(who))
    return {name: body.get(name) for name in ("message", "deeplink", "media")}


@pytest.mark.parametrize("blank", [None, "", {}, {"en": None, "fr": " "}])
async def test_a_blank_field_counts_as_absent(house: House, blank: Any) -> None:
    await published(house, image_url=blank, deeplink=blank, summary=blank)
    assert await read_by(house, "bob") == {
        "message": {"body": "Snow"},
        "deeplink": "myapp://articles/a1",
        "media": None,
    }


async def test_the_articles_link_and_picture_are_for_all_readers(house: House) -> None:
    await published(house, deeplink="https://example.com/a", image_url="https://example.com/p")
    for who in ("ann", "bob"):
        read = await read_by(house, who)
        assert read["deeplink"] == "https://example.com/a"
        assert read["media"] == {"picture": "https://example.com/p"}


async def test_a_language_may_have_its_own_link_and_picture(house: House) -> None:
    fr = "https://example.com/fr"
    await published(house, deeplink={"fr": fr, "en": ""}, image_url={"fr": fr})
    of_ann, of_bob = await read_by(house, "ann"), await read_by(house, "bob")
    assert (of_ann["deeplink"], of_ann["media"]) == (fr, {"picture": fr})
    assert (of_bob["deeplink"], of_bob["media"]) == ("myapp://articles/a1", None)


async def test_who_switched_articles_off_is_not_told(house: House) -> None:
    await house.stores("users/bob", {"push_preferences": {"article": False}})
    await published(house)
    await house.run_tasks(EVENING)
    assert {who for who, _ in house.all_told()} == {"ann", "dan"}


@pytest.mark.parametrize("odd", ["a\nb", " ", "\u200b", "\u2028", "x" * 1100])
async def test_a_follower_whom_batch_cannot_know_keeps_nobody_else_from_the_push(
    house: House, odd: str
) -> None:
    await house.stores(f"topics/ski/followers/{odd}", {})
    await published(house)
    await house.run_tasks(EVENING)
    assert {who for who, _ in house.all_told()} == {"ann", "bob", "dan"}


async def test_an_article_may_be_withdrawn_until_its_time(house: House) -> None:
    at = EVENING + timedelta(hours=1)
    record = await published(house, push_time=at)
    assert (record.state, record.not_before) == (DeliveryState.WAITING, at)
    await house.stores("articles/a1", ARTICLE | {"published": False})
    await house.run_tasks(at)
    assert house.all_told() == []


@pytest.mark.parametrize("hours", [1, 2, 3])
async def test_an_article_that_is_published_again_before_its_time_is_told_once(
    house: House, hours: int
) -> None:
    first = await published(house, push_time=EVENING + timedelta(hours=2))
    await house.stores("articles/a1", ARTICLE | {"published": False})
    house.clock.forward(60)
    await published(house, push_time=EVENING + timedelta(hours=hours), title="Fresh snow")
    for later in range(1, 4):
        await house.run_tasks(EVENING + timedelta(hours=later))
        told = house.all_told().count(("bob", "Fresh snow"))
        assert told == (later >= hours)
    (left,) = [each for each in await house.records() if each.id == first.id]
    assert left.state is DeliveryState.OBSOLETE
    assert "told by a later write of its document" in (left.reason or "")


async def test_an_article_that_is_published_again_with_a_mistake_is_told_once_it_is_mended(
    house: House,
) -> None:
    at = EVENING + timedelta(hours=1)
    await published(house, push_time=at)
    house.clock.forward(60)
    assert (await published(house, push_time=at, title="")).state is DeliveryState.REFUSED
    await house.stores("articles/a1", ARTICLE | {"push_time": at})
    await house.run_tasks(at)
    assert house.all_told().count(("bob", "Snow")) == 1


async def test_who_follows_by_then_is_told_at_its_time(house: House) -> None:
    at = EVENING + timedelta(hours=1)
    await published(house, push_time=at)
    await house.stores("users/new", {})
    await house.stores("topics/ski/followers/new", {})
    await house.run_tasks(at)
    assert ("new", "Snow") in house.all_told()


@pytest.mark.parametrize(("late", "awake"), [(0, {"tom"}), (60, set[str]())])
async def test_who_sleeps_once_it_is_sent_is_told_in_the_morning(
    house: House, late: int, awake: set[str]
) -> None:
    """Its time was before their quiet hours, also where its task comes in them."""
    at = EVENING.replace(hour=21, minute=30)
    house.clock.value = at - timedelta(hours=12)
    await published(house, push_time=at)
    await house.run_tasks(at + timedelta(minutes=late))
    assert dict(house.all_told()).keys() == {"ann", "bob", "dan"} | awake
    await house.run_tasks(MORNING)
    assert house.all_told().count(("tom", "Snow")) == 1


async def test_who_is_told_later_does_not_miss_an_article_whose_event_comes_late(
    house: House,
) -> None:
    await house.stores("users/bob", {"push_preferences": {"article": "06:00"}})
    house.clock.value = EVENING - timedelta(hours=6)

    async def late(article: Change, look_up: LookUp) -> Push | None:
        if house.clock.now() < EVENING:
            raise LookUpFailed("Firestore: away")
        return await to_followers(article, look_up)

    with pytest.raises(LookUpFailed):
        await house.happens(late, PATTERN, ARTICLE, article_id="a1")
    change = replace(
        created("articles/a1", ARTICLE, article_id="a1"), function="late", time=house.clock.now()
    )
    house.clock.value = EVENING
    await house.watches["late"].function(change)
    await house.run_tasks(EVENING)
    assert house.all_told() == []
    await house.worker.digests.look()
    await house.run_tasks(MORNING)
    await house.worker.digests.look()
    await house.run_tasks(MORNING)
    assert sorted(house.all_told()) == [("bob", "Snow"), ("tom", "Snow")]
    assert (await house.record_of(change)).state is DeliveryState.EXPIRED


async def test_an_article_whose_time_was_moved_back_behind_its_task_is_told(house: House) -> None:
    house.clock.value = EVENING - timedelta(hours=14)
    await published(house, push_time=EVENING)
    earlier = ARTICLE | {"push_time": EVENING - timedelta(hours=11)}
    await house.stores("articles/a1", earlier)
    await house.run_tasks(EVENING)
    assert {who for who, _ in house.all_told()} == {"ann", "bob", "dan"}


async def test_an_old_article_that_is_imported_is_told_nobody(house: House) -> None:
    at = EVENING - timedelta(hours=7)
    fields = ARTICLE | {"push_time": at}
    change = await house.happens(to_followers, PATTERN, fields, article_id="a1")
    assert await house.worker.ledger.read(change.delivery_id) is None
    await published(house, push_time=at + timedelta(hours=2))
    await house.run_tasks(EVENING)
    assert house.all_told() != []


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"topics": []}, "topics is missing"),
        ({"title": ""}, "title is missing"),
        ({"image_url": {"fr": "http://a.com"}}, "media must hold https"),
    ],
)
async def test_an_article_that_lacks_something_is_refused(
    house: House, fields: dict[str, Any], reason: str
) -> None:
    record = await published(house, **fields)
    assert record.state is DeliveryState.REFUSED
    assert reason in record.reason


def test_it_is_a_campaign_or_a_push_and_never_both(monkeypatch: pytest.MonkeyPatch) -> None:
    article = created("articles/a1", ARTICLE).document
    assert not is_announced(article)
    monkeypatch.setenv("PUBLISH_ARTICLES", "draft")
    process_settings.cache_clear()
    assert is_announced(article)


async def test_without_the_setting_nobody_is_told(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBLISH_ARTICLES", "live")
    process_settings.cache_clear()
    change = await house.happens(to_followers, PATTERN, ARTICLE, article_id="a1")
    assert await house.worker.ledger.read(change.delivery_id) is None


async def test_what_another_article_and_another_function_tell_takes_no_articles_place(
    house: House,
) -> None:
    async def reviewed(change: Change, look_up: LookUp) -> Push:
        to_max = Recipients(custom_ids=["max"])
        return Push(group_id="review", recipients=to_max, message=Message("Reviewed"))

    at = EVENING + timedelta(hours=1)
    article = ARTICLE | {"push_time": at}
    for handler, article_id in ((to_followers, "a1"), (to_followers, "a2"), (reviewed, "a1")):
        house.clock.forward(60)
        await house.happens(handler, PATTERN, article, article_id=article_id)
    await house.run_tasks(at)
    assert house.all_told().count(("max", "Reviewed")) == 1
    assert house.all_told().count(("bob", "Snow")) == 2
