"""Writes what this version leaves, at its release: `BATCH_APPS=ios=A python -m tests.records`.

A delivery in each state, waiting and coalesced ones, a large audience half sent, and a campaign in
each state. The files of a version are never written again: see tests/test_records.py.
"""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

import batchpush.pushes.push
from batchpush.cli.version import VERSION
from batchpush.environment import VARIABLES, Settings
from batchpush.errors import TryAgainLater
from batchpush.testing import Project
from batchpush.testing.memory import Operation
from handlers import campaigns
from tests.records.files import FOLDER, FUNCTIONS, SETTINGS, Left, plain

EVENING = datetime(2026, 6, 10, 23, 0, tzinfo=UTC)
MORNING = datetime(2026, 6, 11, 7, 0, tzinfo=UTC)
PEOPLE: dict[str, dict[str, Any]] = {
    "users/ann": {"display_name": "Ann"},
    "users/bob": {"display_name": "Bob", "language": "fr"},
    "users/eve": {"display_name": "Eve", "quiet_hours": {"start": "22:00", "end": "07:00"}},
    "conversations/c1": {"member_ids": ["ann", "bob"]},
    "conversations/night": {"member_ids": ["ann", "eve"]},
}
REFUSAL = httpx.Response(400, json={"code": 31, "type": "MALFORMED_PARAMETER", "message": "no"})
AWAY = httpx.Response(503, json={"code": 2, "type": "MAINTENANCE_ERROR", "message": "soon"})
LOST = [httpx.ReadTimeout("no answer")] * 20


class Died(BaseException):
    """The process ends here."""


async def wrote(project: Project, path: str, fields: dict[str, Any]) -> None:
    """A write; what has to be redelivered is not, yet."""
    with suppress(TryAgainLater, Died):
        await project.write(path, fields)


async def message(project: Project, name: str = "m1", conversation: str = "c1") -> None:
    fields = {"sender_id": "ann", "text": f"Hello {name} 🍝", "sent_at": project.clock.now()}
    await wrote(project, f"conversations/{conversation}/messages/{name}", fields)


async def sent(project: Project) -> None:
    await message(project)


async def reported(project: Project) -> None:
    await project.write("pushes/p1", push("ann", ours="ignored"))


async def claimed(project: Project) -> None:
    async def die(name: str, operation: Operation) -> Any:
        done = operation()
        if name == "claim":
            raise Died
        return done

    project.memory.strike = die
    await message(project)


async def retry(project: Project) -> None:
    project.batch.answer_next(httpx.Response(201, json={"token": "t"}))
    project.batch.answer = AWAY
    await message(project)


async def refused(project: Project) -> None:
    project.batch.answer = REFUSAL
    await message(project)


async def held(project: Project) -> None:
    project.batch.answer_next(*LOST)
    await message(project)


async def expired(project: Project) -> None:
    project.batch.answer = AWAY
    await message(project)
    project.clock.forward(7200)
    await project.worker.sweep.run()


async def waiting(project: Project) -> None:
    await message(project, conversation="night")


async def coalesced(project: Project) -> None:
    for name in ("m1", "m2", "m3"):
        await message(project, name)
        project.clock.forward(5)


async def scheduled(project: Project) -> None:
    await project.write("pushes/p2", push("bob", send_at=MORNING))


async def obsolete(project: Project) -> None:
    await message(project, conversation="night")
    path = "conversations/night/messages/m1"
    read = {"sender_id": "ann", "text": "Hello m1 🍝", "unread_by": {"eve": False}}
    await project.write(path, read)
    await project.wait_until(MORNING)


async def audience(project: Project) -> None:
    """One chunk is sent, the task of another has not come."""
    batchpush.pushes.push.MAX_RECIPIENTS = 2
    run, tasks = project.run_task, list[Any]()

    async def first_only(function: str, data: Any) -> None:
        if tasks:
            tasks.append((function, data))
        else:
            tasks.append(None)
            await run(function, data)

    project.run_task = first_only  # type: ignore[method-assign]
    await project.write("pushes/many", push("u1", "u2", "u3", "u4", "u5"))
    project.queue.tasks, project.queue.times = tasks[1:], [None] * len(tasks[1:])


def push(*people: str, **fields: Any) -> dict[str, Any]:
    return {
        "group_id": "sale",
        "recipients": {"custom_ids": [*people]},
        "message": {"title": "Sale", "body": "Half price"},
    } | fields


CREATED = [httpx.Response(201, json={"campaign_token": f"token-{n}"}) for n in (1, 2)]
CAMPAIGN = {
    "name": "Summer sale",
    "live": True,
    "push_time": EVENING + timedelta(days=30),
    "messages": {"en": {"title": "Sale", "body": "Half price"}},
}


async def campaign_applied(project: Project) -> None:
    project.batch.answer_next(*CREATED)
    await wrote(project, "campaigns/c1", CAMPAIGN)


async def campaign_absent(project: Project) -> None:
    await campaign_applied(project)
    project.batch.answer = httpx.Response(200, json={})
    await project.delete("campaigns/c1")


async def campaign_claimed(project: Project) -> None:
    """The process ended before it asked Batch, or before it wrote down the answer."""

    async def die(request: httpx.Request) -> httpx.Response:
        raise Died

    project.batch.handle_async_request = die  # type: ignore[method-assign]
    await wrote(project, "campaigns/c1", CAMPAIGN)


async def campaign_retry(project: Project) -> None:
    project.batch.answer = AWAY
    await wrote(project, "campaigns/c1", CAMPAIGN)


async def campaign_refused(project: Project) -> None:
    project.batch.answer = REFUSAL
    await wrote(project, "campaigns/c1", CAMPAIGN)


async def campaign_unknown(project: Project) -> None:
    project.batch.answer_next(*LOST[:2])
    await wrote(project, "campaigns/c1", CAMPAIGN)


async def campaign_held(project: Project) -> None:
    await campaign_unknown(project)
    project.batch.answer = httpx.Response(200, json=[])
    project.clock.forward(7200)
    await project.worker.publisher.sweep(campaigns.campaign)


ONCE = {"MAX_AMBIGUOUS_RESENDS": "0"}
Scenario = Callable[[Project], Awaitable[None]]
SCENARIOS: dict[Scenario, dict[str, str]] = {
    sent: {"RECIPIENT_INDEX_DAYS": "30"},
    reported: {},
    claimed: {},
    retry: {},
    refused: {},
    held: ONCE,
    expired: {},
    waiting: {},
    coalesced: {"COALESCE_SECONDS": "60"},
    scheduled: {},
    obsolete: {},
    audience: {},
    campaign_applied: {},
    campaign_absent: {},
    campaign_claimed: {},
    campaign_retry: {},
    campaign_refused: {},
    campaign_unknown: {},
    campaign_held: ONCE,
}


async def left_by(scenario: Scenario, settings: dict[str, str]) -> Left:
    settings = {"BATCH_APPS": "ios=A,android=B"} | settings
    project = Project(PEOPLE, EVENING, FUNCTIONS, **settings)
    await scenario(project)
    return Left.of(project, settings)


# A value of each setting other than its default.
EXAMPLES = {
    "BATCH_APPS": "ios=A,ios_driver=B",
    "BATCH_REST_KEY_SECRET": "projects/p/secrets/key",
    "BATCH_API_URL": "http://127.0.0.1:4010/",
    "SECRET_MANAGER_URL": "http://localhost:4011",
    "REGION": "europe-west1",
    "SOURCES": "firestore,database",
    "DATABASE_INSTANCE": "shop-rtdb",
    "DATABASE": "orders",
    "SERVICE_ACCOUNT": "batchpush@",
    "DEFAULT_LANGUAGE": "pt-BR",
    "DEEPLINK_BASE": "myapp://",
    "DEEPLINK_SCHEMES": "partner,other://",
    "MEDIA_HOSTS": "cdn.example.com,.example.org",
    "DELIVERIES_COLLECTION": "deliveries",
    "KEEP_DELIVERIES_DAYS": "2",
    "KEEP_BODIES_DAYS": "0",
    "RECIPIENT_INDEX_DAYS": "30",
    "COALESCE_SECONDS": "60",
    "PROFILE_CACHE_SECONDS": "5",
    "MAX_AMBIGUOUS_RESENDS": "0",
    "MIRROR_DELIVERIES": "true",
    "PUSH_TEXTS": "true",
    "PUBLISH_ARTICLES": "live",
    "MAX_PUSHES_PER_SENDER": "10",
    "MAX_PUSHES_PER_PAIR": "5",
    "CART_HOURS": "48",
    "ENFORCE_APP_CHECK": "true",
    "CONCURRENCY": "10",
    "MIN_INSTANCES": "1",
    "LOG_LEVEL": "DEBUG",
}


def settings_known() -> dict[str, dict[str, Any]]:
    """What each setting means by default, as "", and with its example."""
    required = {"BATCH_APPS": EXAMPLES["BATCH_APPS"]}
    default = Settings.from_environment(required)
    chosen = Settings.from_environment(EXAMPLES)
    return {
        name: ({} if name in required else {"": plain(getattr(default, name.lower()))})
        | {EXAMPLES[name]: plain(getattr(chosen, name.lower()))}
        for name in VARIABLES
    }


def main(version: str) -> None:
    folder = FOLDER / version
    for scenario, settings in SCENARIOS.items():
        asyncio.run(left_by(scenario, settings)).write(folder / f"{scenario.__name__}.json")
    known = json.dumps(settings_known(), indent=1)
    (folder / SETTINGS).write_text(f"{known}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else VERSION)
