"""Statistics on the Firestore emulator, from the strict Batch emulator."""

import json
import secrets
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from batchpush.campaigns import stats
from batchpush.campaigns.stats import Pull, Results
from batchpush.google.connection import Connection
from batchpush.google.firestore import Firestore
from batchpush.testing import ManualClock
from emulators.batch import Batch
from handlers.campaigns import campaign as handler
from tests.publishing import PROJECT, batch_at, publisher_for, sale

pytestmark = pytest.mark.suite

APPS = {"BATCH_APPS": "ios=IOSKEY,dev=DEVKEY"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def api(clock: ManualClock) -> Iterator[Batch]:
    with batch_at(clock, ios="IOSKEY", dev="DEVKEY") as api:
        yield api


class Desk:
    """One who publishes campaigns and asks for results."""

    def __init__(self, url: str, clock: ManualClock) -> None:
        self.clock = clock
        self.publisher = publisher_for(url, clock, None, **APPS)
        self.client: Any = AsyncClient(project=PROJECT)
        self.firestore = Firestore(Connection(project=PROJECT))
        self.deliveries = f"t{uuid.uuid4().hex}"
        self.path = f"campaigns/{uuid.uuid4().hex}"

    async def publish(self, **fields: Any) -> str:
        """The campaign's token for ios."""
        await self.client.document(self.path).set(sale(self.clock, **fields))
        await self.publisher.publish(self.path, handler)
        state = await self.client.document(f"{self.path}/batch/ios").get()
        return str(state.get("campaign_token"))

    async def sends(self, *group_ids: str | None) -> None:
        for group_id in group_ids:
            await self.client.collection(self.deliveries).add({"group_id": group_id})

    async def pull(self, **since: Any) -> Pull:
        publisher = self.publisher
        results = Results(lambda: self.firestore, self.deliveries)
        pull = Pull(results, publisher.publications, publisher.caller, publisher.settings, **since)
        await pull.run()
        return pull

    async def fields(self, path: str) -> dict[str, Any] | None:
        snapshot = await self.client.document(path).get()
        return snapshot.to_dict()  # type: ignore[no-any-return]

    async def results_of_campaign(self) -> dict[str, Any]:
        rows = self.client.collection(f"{self.path}/batch/ios/stats").stream()
        return {row.id: row.to_dict() async for row in rows}


@pytest.fixture
async def desk(api: Batch, clock: ManualClock) -> AsyncIterator[Desk]:
    desk = Desk(api.url, clock)
    await forget_what_others_have_due(desk)
    yield desk
    await desk.publisher.caller.client.aclose()


async def forget_what_others_have_due(desk: Desk) -> None:
    for known in await desk.publisher.publications.with_stats_due(
        desk.clock.now() + timedelta(days=365), 500
    ):
        await desk.client.document(known.path).update({"stats_at": None})


def asked(api: Batch) -> list[str]:
    return [call["path"] for call in api.calls() if "/stats/" in call["path"]]


async def test_the_results_of_a_campaign_come_to_its_document(
    desk: Desk, api: Batch, clock: ManualClock
) -> None:
    token = await desk.publish(push_time="now")
    today = clock.now().date().isoformat()
    api.script_stats(token, [{"date": today, "sent": 200, "direct_open": 20, "influenced_open": 5}])
    await desk.pull()
    row = (await desk.results_of_campaign())[today]
    assert (row["sent"], row["open_rate"], row["app"]) == (200, 0.125, "ios")
    assert row["campaign"] == desk.path.removeprefix("campaigns/")


async def test_a_campaign_is_asked_for_once_it_is_sent_and_while_it_can_change(
    desk: Desk, api: Batch, clock: ManualClock
) -> None:
    token = await desk.publish(push_time=clock.now() + timedelta(hours=2))
    await desk.pull()
    assert asked(api) == []
    clock.forward(3 * 3600)
    await desk.pull()
    await desk.pull()  # too early
    assert asked(api) == [f"/1.1/IOSKEY/campaigns/stats/{token}"]
    clock.forward(3600)
    await desk.pull()
    assert len(asked(api)) == 2
    clock.forward(36 * 24 * 3600)
    await desk.pull()
    clock.forward(36 * 24 * 3600)
    await desk.pull()
    assert len(asked(api)) == 3


async def test_a_draft_and_a_deleted_campaign_are_not_asked_for(
    desk: Desk, api: Batch, clock: ManualClock
) -> None:
    await desk.publish(live=False)
    clock.forward(3 * 24 * 3600)
    await desk.pull()
    await desk.publish(push_time="now")
    await desk.client.document(desk.path).delete()
    await desk.publisher.publish(desk.path, handler)
    await desk.pull()
    assert asked(api) == []


async def test_the_results_of_each_group_come_into_a_collection(
    desk: Desk, api: Batch, clock: ManualClock
) -> None:
    group = f"g{uuid.uuid4().hex}"
    await desk.sends(group, group, None, f"{group}2", group)
    today = clock.now().date()
    rows = [
        {"date": today.isoformat(), "sent": 10, "direct_open": 1, "influenced_open": 1},
        {"date": (today - timedelta(days=1)).isoformat(), "sent": 0},
    ]
    api.script_stats(group, rows)
    pull = await desk.pull()
    assert (pull.asked, pull.failed) == (2, 0)
    kept = await desk.fields(f"batch_stats/ios_{group}_{today}")
    assert kept is not None
    assert (kept["sent"], kept["open_rate"], kept["group_id"]) == (10, 0.2, group)
    assert not await desk.fields(f"batch_stats/ios_{group}_{today - timedelta(days=1)}")
    (query, _) = api.calls()
    assert query["path"] == f"/1.1/IOSKEY/transactional/stats/{group}"


async def test_a_row_that_did_not_change_is_not_written_again(
    desk: Desk, api: Batch, clock: ManualClock
) -> None:
    group = f"g{uuid.uuid4().hex}"
    await desk.sends(group)
    today = clock.now().date()
    reference = desk.client.document(f"batch_stats/ios_{group}_{today}")
    times = []
    for sent in (10, 10, 11):
        api.script_stats(group, [{"date": today.isoformat(), "sent": sent}])
        await desk.pull()
        times.append((await reference.get()).update_time)
    assert times[0] == times[1] < times[2]


async def test_dev_keys_are_skipped_with_one_line(
    desk: Desk, api: Batch, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    await desk.sends("g1", "g2")
    await desk.publish(push_time="now")
    await desk.pull()
    lines = capsys.readouterr().out.splitlines()
    assert len([line for line in lines if "stats.skipped" in line]) == 1
    assert all("IOSKEY" in path for path in asked(api))
    state = await desk.fields(f"{desk.path}/batch/dev")
    assert state is not None
    assert (state["state"], state["stats_at"]) == ("APPLIED", None)


async def test_at_most_sixty_calls_go_in_a_minute_and_batch_may_ask_for_more_time(
    desk: Desk, api: Batch, clock: ManualClock
) -> None:
    await desk.sends(*(f"g{number:02}" for number in range(5)))
    api.fault(status=429, times=1)
    begun = clock.now()
    pull = await desk.pull()
    assert pull.asked == 5
    assert pull.failed == 0
    assert clock.now() - begun >= timedelta(seconds=5 + 5)


async def test_what_fails_now_is_counted_and_asked_for_the_next_time(
    desk: Desk, api: Batch, clock: ManualClock
) -> None:
    token = await desk.publish(push_time="now")
    today = clock.now().date().isoformat()
    api.script_stats(token, [{"date": today, "sent": 1}])
    api.fault(status=502)
    pull = await desk.pull()
    assert (pull.asked, pull.failed) == (1, 1)
    assert await desk.results_of_campaign() == {}
    await desk.pull()
    assert list(await desk.results_of_campaign()) == [today]


async def test_a_run_ends_before_the_platform_ends_it(
    desk: Desk, api: Batch, clock: ManualClock
) -> None:
    await desk.sends(*(f"g{number:03}" for number in range(8)))
    api.fault(status=429, times=None, headers={"Retry-After": "200"})
    begun = clock.now()
    await desk.pull()
    assert clock.now() - begun <= timedelta(seconds=430)


async def test_a_person_may_ask_for_all_that_can_change_from_a_day_on(
    desk: Desk, api: Batch, clock: ManualClock
) -> None:
    await desk.publish(push_time="now")
    await desk.pull()
    since = clock.now().date() - timedelta(days=60)
    pull = await desk.pull(since=since)
    assert len(asked(api)) == 2
    assert await pull.results.since(clock.now().date() + timedelta(days=1)) == []


async def test_where_there_are_more_groups_than_one_run_takes_each_has_its_turn(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stats, "MAX_PER_RUN", 2)
    groups = {f"promotion_{number}" for number in range(6)}
    for group in groups:
        record = desk.client.collection(desk.deliveries).document(secrets.token_hex(32))
        await record.set({"group_id": group})
    results, seen = Results(lambda: desk.firestore, desk.deliveries), set[str]()
    for _ in range(200):
        found = await results.group_ids()
        assert 1 <= len(found) <= 2
        seen |= set(found)
        if seen == groups:
            break
    assert seen == groups


async def test_every_group_is_found_wherever_the_search_begins(desk: Desk) -> None:
    groups = ["a", "b", "c"]
    await desk.sends("c", "a", None, "b", "a", "b/../c", "", "x" * 501)
    results = Results(lambda: desk.firestore, desk.deliveries)
    for _ in range(10):
        assert sorted(await results.group_ids()) == groups


async def test_one_campaign_in_trouble_does_not_keep_the_others_from_their_results(
    desk: Desk, api: Batch, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    token, today = await desk.publish(push_time="now"), clock.now().date().isoformat()
    api.script_stats(token, [{"date": today, "sent": 1}])
    far_off = desk.client.document(f"campaigns/{uuid.uuid4().hex}/batch/ios")
    moment = datetime(1, 1, 1, tzinfo=UTC)  # before which there is nothing
    await far_off.set(
        {"state": "APPLIED", "campaign_token": token, "stats_at": moment, "stats_of": moment}
    )
    await desk.pull()
    assert list(await desk.results_of_campaign()) == [today]
    (line,) = [
        json.loads(line) for line in capsys.readouterr().out.splitlines() if "event.crashed" in line
    ]
    assert line["document"] == far_off.path
    await far_off.delete()
