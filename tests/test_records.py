"""What any version has left is read, finished and shown by this one: nothing lost, nothing doubled.

Each file of tests/records is Firestore and Cloud Tasks as a version left them; 0.0.0 was the first,
before versions had numbers. It is continued in every order in which the platform, the sweep and the
tasks may come.
"""

import argparse
import itertools
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from packaging.version import Version

from batchpush.campaigns.state import CampaignState
from batchpush.campaigns.store import publication_in
from batchpush.cli import deliveries
from batchpush.cli.version import VERSION
from batchpush.delivery.record import DeliveryState, Record
from batchpush.environment import Settings
from batchpush.errors import TryAgainLater
from batchpush.events.change import Change, path_params
from batchpush.testing import Project
from batchpush.worker import working_with
from handlers import campaigns
from tests.records.__main__ import SCENARIOS
from tests.records.files import FOLDER, SETTINGS, Left, plain

VERSIONS = sorted(
    (each.parent for each in FOLDER.glob("*/settings.json")), key=lambda each: Version(each.name)
)
FILES = [
    file for version in VERSIONS for file in sorted(version.glob("*.json")) if file.name != SETTINGS
]
OF_CAMPAIGNS = [file for file in FILES if file.stem.startswith("campaign_")]
OF_DELIVERIES = [file for file in FILES if file not in OF_CAMPAIGNS]
DAY = timedelta(days=1)

# Who is still to be told, once in each app, and how the deliveries end. What a person has to decide
# stays as it is until they replay it.
CONTINUED: dict[str, tuple[list[str], list[str]]] = {
    "sent": ([], ["SENT"]),
    "reported": ([], ["SENT"]),
    "claimed": (["bob"], ["SENT"]),
    "retry": (["bob"], ["SENT"]),
    "refused": ([], ["REFUSED"]),
    "held": ([], ["HELD"]),
    "expired": ([], ["EXPIRED"]),
    "waiting": (["eve"], ["SENT"]),
    "coalesced": (["bob"], ["OBSOLETE", "SENT", "SENT"]),
    "scheduled": (["bob"], ["SENT"]),
    "obsolete": ([], ["OBSOLETE"]),
    "audience": (["u3", "u4", "u5"], ["SENT"]),
}
REPLAYED = {"refused": ["bob"], "held": ["bob"], "expired": ["bob"]}


def name(file: Path) -> str:
    return f"{file.parent.name}/{file.stem}"


def accepted(project: Project) -> Counter[tuple[str, str]]:
    """Who was told, by app."""
    return Counter(
        (call.app, person)
        for call in project.batch.calls
        if call.is_accepted
        for person in call.body["recipients"]["custom_ids"]
    )


async def records(project: Project) -> list[Record]:
    return [each async for each in project.worker.ledger.each(DeliveryState)]


async def redelivery(project: Project) -> None:
    """The platform brings the event of each delivery again."""
    for record in await records(project):
        watched = project.functions[record.function]
        change = Change(
            id=record.event_id,
            source=record.source,
            path=record.document,
            params=path_params(watched.path, record.document) or {},
            before=None,
            after=await project._read(record.document),
            time=record.event_time,
            database="firestore",
            function=record.function,
        )
        if change.delivery_id == record.id:  # the others were made along with one
            with suppress(TryAgainLater), working_with(project.worker):
                await watched.function(change)


async def sweep(project: Project) -> None:
    await project.worker.sweep.run()


async def tasks(project: Project) -> None:
    with suppress(TryAgainLater):
        await project.wait_until(project.clock.now())


Way = Callable[[Project], Awaitable[None]]
ORDERS = list(itertools.permutations((redelivery, sweep, tasks)))


async def continued(project: Project, ways: tuple[Way, ...]) -> None:
    """Soon, once leases have ended, and when the day has come that things wait for."""
    start = project.clock.now()
    for after in (timedelta(minutes=2), timedelta(minutes=15), timedelta(hours=8, minutes=1)):
        project.clock.value = start + after
        for way in (*ways, *ways):
            await way(project)


def test_each_version_left_every_state_there_was() -> None:
    assert VERSIONS[-1].name == VERSION or "dev" in VERSION  # a release writes its files
    scenarios = {each.__name__ for each in SCENARIOS}
    for version in VERSIONS:
        assert {file.stem for file in FILES if file.parent == version} <= scenarios
    assert {file.stem for file in FILES if file.parent == VERSIONS[-1]} == scenarios
    assert scenarios == CONTINUED.keys() | REQUESTS.keys()


@pytest.mark.parametrize("ways", ORDERS, ids=lambda ways: "-".join(each.__name__ for each in ways))
@pytest.mark.parametrize("file", OF_DELIVERIES, ids=name)
async def test_a_delivery_is_finished_once(file: Path, ways: tuple[Way, ...]) -> None:
    left = Left.read(file)
    project = left.project()
    people, states = CONTINUED[file.stem]
    await continued(project, ways)
    owed = Counter((app, person) for app in "AB" for person in people)
    assert accepted(project) == owed - (already_told(left) if file.stem == "retry" else Counter())
    assert sorted(each.state.value for each in await records(project)) == states


def already_told(left: Left) -> Counter[tuple[str, str]]:
    """Bob, in the app whose call was accepted."""
    keys = dict(each.split("=") for each in left.settings["BATCH_APPS"].split(","))
    (record,) = (each for each in left.documents if "/batch_deliveries/" in each["name"])
    calls = [
        each["mapValue"]["fields"] for each in record["fields"]["calls"]["arrayValue"]["values"]
    ]
    apps = {each["app"]["stringValue"]: each["state"]["stringValue"] for each in calls}
    (app,) = (app for app, state in apps.items() if state == "accepted")
    return Counter([(keys[app], "bob")])


@pytest.mark.parametrize(
    "file", [each for each in OF_DELIVERIES if each.stem in REPLAYED], ids=name
)
async def test_what_a_person_decides_is_sent_once(file: Path) -> None:
    project = Left.read(file).project()
    for _ in range(2):
        for record in await records(project):
            entry = await project.worker.ledger.read(record.id)
            assert entry is not None
            await project.worker.replay.replay(entry, resend_unknown=True)
    people = REPLAYED[file.stem]
    assert accepted(project) == Counter({(app, each): 1 for app in "AB" for each in people})
    assert {each.state for each in await records(project)} == {DeliveryState.SENT}


@pytest.mark.parametrize("file", OF_DELIVERIES, ids=name)
async def test_a_delivery_is_shown_and_nothing_of_it_is_unknown(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = Left.read(file).project()
    for record in await records(project):
        for as_json in (False, True):
            chosen = argparse.Namespace(id=record.id, json=as_json)
            assert await deliveries.show(chosen, project.worker) == 0
        assert record.id[:12] in capsys.readouterr().out
    unreadable = [each async for each in project.worker.ledger.everything() if each.record is None]
    assert unreadable == []


# Campaigns

REQUESTS: dict[str, tuple[list[str], CampaignState]] = {
    "campaign_applied": ([], CampaignState.APPLIED),
    "campaign_absent": ([], CampaignState.ABSENT),
    "campaign_claimed": (["campaigns/list", "campaigns/create"], CampaignState.APPLIED),
    "campaign_unknown": (["campaigns/list", "campaigns/create"], CampaignState.APPLIED),
    "campaign_retry": (["campaigns/create"], CampaignState.APPLIED),
    "campaign_refused": ([], CampaignState.REFUSED),
    "campaign_held": ([], CampaignState.HELD),
}


def answering(project: Project, *listed: dict[str, Any]) -> None:
    """Batch as it answers each request; `listed` is what it has in each app, with a token."""
    answered = project.batch.handle_async_request

    async def handle(request: httpx.Request) -> httpx.Response:
        app, token = request.url.path.split("/")[2], "campaign_token"
        rows = [row | {token: f"there-{app}"} for row in listed]
        project.batch.answer = httpx.Response(200, json={})
        if request.url.path.endswith("/create"):
            project.batch.answer = httpx.Response(201, json={token: f"new-{app}"})
        if request.url.path.endswith("/list"):
            project.batch.answer = httpx.Response(200, json=rows)
        return await answered(request)

    project.batch.handle_async_request = handle  # type: ignore[method-assign]


async def reconciled(project: Project) -> None:
    """A redelivery of the last event, and two sweeps, when every lease has ended."""
    project.clock.value += DAY
    change = Change(
        id="again",
        source="//firestore.googleapis.com/projects/demo-batchpush/databases/(default)",
        path="campaigns/c1",
        params={"campaign_id": "c1"},
        before=None,
        after=await project._read("campaigns/c1"),
        time=project.clock.now(),
        database="firestore",
        function="campaign",
    )
    with working_with(project.worker):
        await project.functions["campaign"].function(change)
    for _ in range(2):
        await project.worker.publisher.sweep(campaigns.campaign)


async def campaign_states(project: Project) -> list[CampaignState]:
    found = [
        await project.firestore.read(f"campaigns/c1/batch/{app}") for app in ("ios", "android")
    ]
    return [publication_in(each.fields).state for one in found for each in one.values()]


def asked(project: Project) -> Counter[str]:
    return Counter(call.route.partition("?")[0] for call in project.batch.calls)


@pytest.mark.parametrize("file", OF_CAMPAIGNS, ids=name)
async def test_a_campaign_is_finished_once(file: Path) -> None:
    project = Left.read(file).project()
    answering(project)
    await reconciled(project)
    requests, state = REQUESTS[file.stem]
    assert asked(project) == Counter(requests * 2)  # in each app
    assert await campaign_states(project) == [state, state]


@pytest.mark.parametrize(
    "file",
    [each for each in OF_CAMPAIGNS if each.stem in ("campaign_claimed", "campaign_unknown")],
    ids=name,
)
async def test_a_campaign_that_batch_has_is_not_created_again(file: Path) -> None:
    left = Left.read(file)
    project = left.project()
    created = left.at.replace(tzinfo=None).isoformat()
    answering(project, {"name": "Summer sale", "created_date": created})
    await reconciled(project)
    assert asked(project)["campaigns/create"] == 0
    assert await campaign_states(project) == [CampaignState.APPLIED] * 2


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("campaign_applied", "campaigns/update/token-"),
        ("campaign_refused", "campaigns/create"),
        ("campaign_absent", "campaigns/create"),
    ],
)
@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
async def test_an_edit_is_followed(version: Path, name: str, request_: str) -> None:
    file = version / f"{name}.json"
    project = Left.read(file).project()
    answering(project)
    document = {"name": "Sale", "live": True, "push_time": "now", "messages": {"en": {"body": "A"}}}
    await project.write("campaigns/c1", document)
    assert [call.route.startswith(request_) for call in project.batch.calls] == [True, True]
    assert await campaign_states(project) == [CampaignState.APPLIED] * 2


# Settings


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
def test_every_setting_works_with_the_same_meaning(version: Path) -> None:
    known: dict[str, Any] = json.loads((version / SETTINGS).read_text(encoding="utf-8"))
    for setting, values in known.items():
        for text, meaning in values.items():
            environment = {"BATCH_APPS": "ios=KEY"} | ({setting: text} if text else {})
            found = getattr(Settings.from_environment(environment), setting.lower())
            assert plain(found) == meaning, f"{setting}={text}"
